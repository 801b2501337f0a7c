/* P4, B3, B4, B5: what cannot be heard any more is given up, and what only takes its time is not. */
'use strict';

const assert = require('node:assert');
const {test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {FakeGateway, echo, slowTarget, settled, until} = require('./fake_gateway.js');
const {FakeRedis} = require('./fake_redis.js');
const {takeTime} = require('./fake_time.js');

const URL = 'ws://gateway.test/';
const bytes = text => new TextEncoder().encode(text);

async function connected(t, {makeTarget, ...options} = {}) {
  const time = takeTime(t);
  const gateway = new FakeGateway({makeTarget});
  const connection = await WS2S.connect(URL, {host: 'h', port: 1, WebSocket: gateway.WebSocket, ...options});
  let error = null;
  connection.closed.catch(reason => { error = reason; });
  return {time, gateway, connection, error: () => error, pings: () => pingsOf(gateway)};
}

function pingsOf(gateway) {
  return gateway.last.commands().filter(command => command === 'ping').length;
}

test('a gateway that answers no ping is lost after 15 seconds more, and its WebSocket is closed', async t => {
  const {time, gateway, connection, error} = await connected(t);
  gateway.isPaused = true;
  await time.pass(44000);
  assert.strictEqual(error(), null);
  await time.pass(2000);
  assert.strictEqual(error().reason, 'gateway-lost');
  assert.match(error().message, /not answered for 15 seconds.*may have arrived/);
  assert.strictEqual(time.timers.size, 0);
  assert.ok(gateway.last.isOver);
  await assert.rejects(connection.readable.getReader().read(), {reason: 'gateway-lost'});
});

for (const [name, heartbeat, seconds] of [['3 seconds', 3000, 10], ['20 seconds', 20000, 52], ['a minute', 60000, 92]]) {
  test(`heartbeat may be ${name}`, async t => {
    const {time, gateway, error} = await connected(t, {heartbeat});
    gateway.isPaused = true;
    await time.pass((seconds - 3) * 1000);
    assert.strictEqual(error(), null);
    await time.pass(3000);
    assert.strictEqual(error().reason, 'gateway-lost');
  });
}

test('without a heartbeat nobody listens for it', async t => {
  const {time, gateway, error, connection} = await connected(t, {heartbeat: 0});
  gateway.isPaused = true;
  await time.pass(1000000);
  assert.strictEqual(error(), null);
  connection.abort();
});

test('a command that was sent just when the path died does not wait for ever', async t => {
  const {time, gateway, connection, error} = await connected(t, {makeTarget: echo});
  gateway.isPaused = true;
  connection.writable.getWriter().write(bytes('GET k\r\n')).catch(() => {});
  await time.pass(46000);
  assert.strictEqual(error().reason, 'gateway-lost');
});

for (const timeout of [60000, 20000]) {
  test(`a handshake of TLS may take as long as a connect, ${timeout} milliseconds`, async t => {
    const {time, gateway, connection, error} = await connected(t, {timeout});
    gateway.isPaused = true;
    const starting = assert.rejects(connection.startTls(), {code: 1, reason: 'timeout', message: /speaks TLS$/});
    await settled();
    await time.pass(timeout - 6000);
    assert.strictEqual(error(), null);
    await time.pass(7000);
    assert.strictEqual(error().reason, 'timeout');
    await starting;
  });
}

test('a gateway that does not answer finish is lost after 15 seconds', async t => {
  const {time, gateway, connection} = await connected(t);
  gateway.isPaused = true;
  const finishing = assert.rejects(connection.finish(), {reason: 'gateway-lost'});
  await settled();
  await time.pass(16000);
  await finishing;
});

test('what comes from the target shows that the gateway is there, though no ping is answered', async t => {
  const {time, gateway, error, connection} = await connected(t);
  gateway.isPaused = true;
  for (let i = 0; i < 30; i++) {
    await time.pass(10000);
    gateway.last.respond('tick');
  }
  assert.strictEqual(error(), null);
  connection.abort();
});

test('a ping behind much data for a target that does not read waits as long as the gateway lets it', async t => {
  const {time, gateway, connection, error} = await connected(t, {makeTarget: session => slowTarget(session, 200000)});
  connection.writable.getWriter().write(new Uint8Array(3000000)).catch(() => {});
  await settled();
  await time.pass(300000);
  assert.strictEqual(error(), null);
  await time.pass(400000);  // the gateway would have ended it
  assert.strictEqual(error().reason, 'gateway-lost');
  assert.ok(gateway.last.isOver);
});

test('a close() that nothing answers ends', async t => {
  const {time, gateway, connection} = await connected(t);
  gateway.isPaused = true;
  const closing = connection.close();
  await settled();
  await time.pass(16000);
  await assert.rejects(closing, {reason: 'gateway-lost'});
});

test('a ping behind a large message, which may take its time on a slow line, has longer', async t => {
  const {time, gateway, error, connection} = await connected(t);
  const reading = connection.readable.getReader().read();
  gateway.last.respond(new Uint8Array(65536));
  await reading;
  gateway.isPaused = true;
  await time.pass(100000);
  assert.strictEqual(error(), null);
  connection.abort();
});

test('a ping behind a large message that came on a fast line does not', async t => {
  const {time, gateway, error, connection} = await connected(t);
  const reader = connection.readable.getReader();
  for (let read = 0; read < 3145728;) {
    if (read % 1048576 === 0) gateway.last.respond(new Uint8Array(1048576));
    read += (await reader.read()).value.length;
  }
  gateway.isPaused = true;
  await time.pass(44000);
  assert.strictEqual(error(), null);
  await time.pass(2000);
  assert.strictEqual(error().reason, 'gateway-lost');
});

test('whenever the path dies, that is noticed within 45 seconds', async t => {
  for (let alive = 0; alive < 66000; alive += 3000) {
    const {time, gateway, error, connection} = await connected(t, {makeTarget: echo});
    const writer = connection.writable.getWriter();
    for (let passed = 0; passed < alive; passed += 3000) {
      if (passed % 6000) await writer.write(bytes('PING\r\n'));
      await time.pass(3000);
    }
    gateway.isPaused = true;
    await time.pass(46000);  // the clock of the test goes by seconds
    assert.strictEqual(error()?.reason, 'gateway-lost', `alive for ${alive}`);
    t.mock.restoreAll();
  }
});

test('hours of sleep are no silence', async t => {
  const {time, gateway, error, connection, pings} = await connected(t);
  await time.sleep();                  // the ping is sent late
  gateway.isPaused = true;
  await time.sleep();
  await time.sleep();
  gateway.resume();
  await settled();
  await time.pass(60000);
  assert.strictEqual(error(), null);
  assert.ok(pings() >= 2);
  connection.abort();
});

// -- the page comes back ----------------------------------------------------------------------------------------------

/* globalThis as in a page, or as in a worker. */
function becomePage(t, {isWorker = false} = {}) {
  const page = new EventTarget(), document = new EventTarget();
  const given = [];
  for (const name of ['addEventListener', 'removeEventListener']) {
    globalThis[name] = (type, ...rest) => { given.push([name, type]); page[name](type, ...rest); };
  }
  document.visibilityState = 'visible';
  if (!isWorker) globalThis.document = document;
  t.after(() => {
    for (const name of ['addEventListener', 'removeEventListener', 'document']) delete globalThis[name];
  });
  return {page, document, given};
}

const SIGNS = {
  online: ({page}) => page.dispatchEvent(new Event('online')),
  'resume of a page that was frozen': ({document}) => document.dispatchEvent(new Event('resume')),
  'visibilitychange to visible': ({document}) => document.dispatchEvent(new Event('visibilitychange')),
  'pageshow out of the cache': ({page}) =>
    page.dispatchEvent(Object.assign(new Event('pageshow'), {persisted: true})),
};

for (const [name, happen] of Object.entries(SIGNS)) {
  test(`${name}: a ping at once, and the gateway is lost when that has no answer`, async t => {
    const world = becomePage(t);
    const {time, gateway, error, pings} = await connected(t);
    happen(world);
    await settled();
    assert.strictEqual(pings(), 1);
    await time.pass(20000);
    assert.strictEqual(error(), null);
    gateway.isPaused = true;
    happen(world);
    await settled();
    await time.pass(16000);
    assert.strictEqual(error().reason, 'gateway-lost');
  });
}

test('a page that is hidden, or shown for the first time, is no reason for a ping', async t => {
  const world = becomePage(t);
  const {connection, pings} = await connected(t);
  world.document.visibilityState = 'hidden';
  world.document.dispatchEvent(new Event('visibilitychange'));
  world.page.dispatchEvent(Object.assign(new Event('pageshow'), {persisted: false}));
  await settled();
  assert.strictEqual(pings(), 0);
  connection.abort();
});

test('a worker has no document, and hears of the network', async t => {
  const world = becomePage(t, {isWorker: true});
  const {connection, pings} = await connected(t);
  SIGNS.online(world);
  await settled();
  assert.strictEqual(pings(), 1);
  connection.abort();
});

test('no listener is left, and none that keeps pages out of the back/forward cache', async t => {
  const world = becomePage(t);
  const {connection} = await connected(t);
  const types = world.given.map(([, type]) => type);
  assert.ok(types.length && !types.some(type => /unload|pagehide/.test(type)), types.join());
  await connection.close();
  const added = world.given.filter(([name]) => name === 'addEventListener');
  assert.strictEqual(world.given.length, 2 * added.length);
});

test('B4: a WebSocket that was closed in the cache, without a word, is lost when the page is back', async t => {
  const world = becomePage(t);
  const {gateway, error, connection, time} = await connected(t);
  gateway.last.socket.readyState = 3;
  SIGNS['pageshow out of the cache'](world);
  await settled();
  assert.strictEqual(time.timers.size, 0);
  assert.strictEqual(error().reason, 'gateway-lost');
  await assert.rejects(connection.writable.getWriter().write(bytes('x')), {reason: 'gateway-lost'});
});

test('B4: onclose that comes after the return is told once', async t => {
  const world = becomePage(t);
  const {gateway, error, connection} = await connected(t);
  SIGNS['pageshow out of the cache'](world);
  gateway.last.socket.drop(1006);
  await settled();
  assert.match(error().message, /1006/);
  await assert.rejects(connection.closed, {reason: 'gateway-lost'});
});

// -- connecting -------------------------------------------------------------------------------------------------------

function silentWebSocket() {
  return class {
    readyState = 0;
    close() { this.readyState = 3; }
  };
}

test('a gateway that never opens the WebSocket is unreachable after a minute', async t => {
  const time = takeTime(t);
  const connecting = WS2S.connect(URL, {host: 'h', port: 1, WebSocket: silentWebSocket()});
  const seen = connecting.catch(error => error);
  await time.pass(59000);
  assert.strictEqual(time.timers.size, 1);
  await time.pass(2000);
  const {reason, message} = await seen;
  assert.strictEqual(reason, 'gateway-unreachable');
  assert.match(message, /60 seconds/);
  assert.strictEqual(time.timers.size, 0);
});

test('a connect without an answer ends after its timeout, not after a heartbeat', async t => {
  const time = takeTime(t);
  const gateway = new FakeGateway();
  gateway.isPaused = true;
  const seen = WS2S.connect(URL, {host: 'h', port: 1, WebSocket: gateway.WebSocket}).catch(error => error);
  await settled();
  let isOver = false;
  seen.then(() => { isOver = true; });
  await time.pass(55000);
  assert.ok(!isOver);
  await time.pass(6000);
  assert.strictEqual((await seen).reason, 'timeout');
});

test('timeout may be short, for both', async () => {
  const begun = Date.now();
  const options = {host: 'h', port: 1, timeout: 90};
  await assert.rejects(WS2S.connect(URL, {...options, WebSocket: silentWebSocket()}), {reason: 'gateway-unreachable'});
  const gateway = new FakeGateway();
  gateway.isPaused = true;
  await assert.rejects(WS2S.connect(URL, {...options, WebSocket: gateway.WebSocket}), {code: 1, reason: 'timeout'});
  assert.ok(Date.now() - begun < 10000);
});

for (const wrong of [-1, NaN, '5', null, {}]) {
  for (const name of ['timeout', 'heartbeat', 'commandTimeout']) {
    test(`${name} ${String(wrong)} is refused`, async () => {
      const gateway = new FakeGateway();
      const options = {host: 'h', port: 1, WebSocket: gateway.WebSocket, [name]: wrong};
      if (name !== 'commandTimeout') await assert.rejects(WS2S.connect(URL, options), RangeError);
      await assert.rejects(async () => { await new WS2S.Redis(URL, options).command('PING'); }, RangeError);
      assert.strictEqual(gateway.sessions.length, 0);
    });
  }
}

test('the old socket is told that the gateway is silent, and that all is over', async t => {
  const time = takeTime(t);
  const gateway = new FakeGateway();
  const socket = new WS2S(URL, {WebSocket: gateway.WebSocket}).newSocket();
  const told = [];
  socket.onError = error => told.push(error.reason);
  socket.onClose = () => told.push('close');
  socket.connect('h', 1);
  await settled();
  gateway.isPaused = true;
  socket.send('x');
  await time.pass(50000);
  assert.deepStrictEqual(told, ['gateway-lost', 'close']);
  assert.strictEqual(time.timers.size, 0);
});

// -- local network access ---------------------------------------------------------------------------------------------

const PAGES = [
  ['https://app.example.com/', 'ws://127.0.0.1:3613/', true], ['https://app.example.com/', 'ws://localhost/', true],
  ['https://app.example.com/', 'ws://[::1]:3613/', true], ['https://app.example.com/', 'wss://192.168.1.2/', true],
  ['https://app.example.com/', 'wss://10.0.0.7/', true], ['https://app.example.com/', 'wss://172.31.0.1/', true],
  ['https://app.example.com/', 'wss://[fd00::1]/', true], ['https://app.example.com/', 'wss://nas.local/', true],
  ['https://192.168.1.2/', 'ws://127.0.0.1/', true], ['https://app.example.com/', 'ws://ws2s.localhost:3613/', true],
  ['https://app.example.com/', 'wss://gateway.example.com/', false], ['https://127.0.0.1/', 'ws://localhost/', false],
  ['http://localhost:3613/', 'ws://127.0.0.1:3613/', false], ['https://app.example.com/', 'wss://172.32.0.1/', false],
  ['https://192.168.1.2/', 'wss://192.168.1.3/', false], ['https://app.example.com/', 'wss://11.0.0.1/', false],
  ['https://app.example.com/', 'wss://127.example.com/', false], ['https://x.test/', 'wss://10.example.com/', false],
];

for (const [page, url, isHinted] of PAGES) {
  test(`B5: on ${page} an unreachable ${url} ${isHinted ? 'may be' : 'is not'} the browser's doing`, async t => {
    globalThis.location = new globalThis.URL(page);
    t.after(() => { delete globalThis.location; });
    const gateway = new FakeGateway();
    gateway.refuses = true;
    await assert.rejects(WS2S.connect(url, {host: 'h', port: 1, WebSocket: gateway.WebSocket}), error => {
      assert.strictEqual(error.reason, 'gateway-unreachable');
      assert.strictEqual(/local network/.test(error.message), isHinted, error.message);
      return true;
    });
  });
}

test('P10: without a WebSocket the error names the package and the option', async t => {
  const there = globalThis.WebSocket;
  delete globalThis.WebSocket;
  t.after(() => { if (there) globalThis.WebSocket = there; });
  const sentence = /Node has one from version 22.*npm package ws.*WebSocket: require\('ws'\)/;
  await assert.rejects(WS2S.connect(URL, {host: 'h', port: 1}), sentence);
  await assert.rejects(new WS2S.Redis(URL, {host: 'h'}).command('PING'), sentence);
  assert.throws(() => new WS2S(URL).newSocket(), sentence);
});

test('a Redis whose gateway is silent tells it, connects again, and repeats nothing by itself', async t => {
  const time = takeTime(t);
  const server = new FakeRedis({INCR: null});
  const gateway = new FakeGateway({makeTarget: server.makeTarget});
  const redis = new WS2S.Redis(URL, {host: 'h', WebSocket: gateway.WebSocket, retry: {first: 5, longest: 20}});
  const told = [];
  redis.onReady = () => told.push('ready');
  redis.onLost = ({reason}) => told.push(reason);
  await redis.command('PING');
  const asked = assert.rejects(redis.command('INCR', 'n'), ({reason, cause}) =>
    reason === 'not-answered' && cause.reason === 'gateway-lost');
  await until(() => server.commands.includes('INCR n'));
  gateway.isPaused = true;
  await time.pass(46000);
  await asked;
  gateway.resume();
  await until(() => told.length === 3);
  assert.strictEqual(await redis.command('PING'), 'PONG');
  assert.deepStrictEqual(told, ['ready', 'gateway-lost', 'ready']);
  assert.deepStrictEqual(server.commands, ['PING', 'INCR n', 'PING']);
  await redis.close();
});

test('the old Redis client tells that the gateway is silent, connects again, and repeats nothing by itself', async t => {
  const time = takeTime(t);
  const server = new FakeRedis({INCR: null});
  const gateway = new FakeGateway({makeTarget: server.makeTarget});
  const options = {WebSocket: gateway.WebSocket, retry: {first: 5, longest: 20}};
  const redis = new WS2S(URL, options).newRedisClient('h', 6379);
  const told = [];
  redis.onReady = () => told.push('ready');
  redis.onReconnected = () => told.push('again');
  redis.onError = (error, about) => told.push(error.reason || String(about?.words.length));
  redis.request('INCR n');
  await until(() => server.commands.includes('INCR n'));
  gateway.isPaused = true;
  await time.pass(46000);
  gateway.resume();
  await until(() => told.length === 4);
  assert.deepStrictEqual(told, ['ready', 'gateway-lost', '2', 'again']);
  assert.deepStrictEqual(server.commands, ['INCR n']);
  await redis.close();
});
