/* One file as a script, as a module and in Node, and what it leaves behind. */
'use strict';

const assert = require('node:assert');
const {execFile} = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const {promisify} = require('node:util');
const {test} = require('node:test');
const {pathToFileURL} = require('node:url');
const vm = require('node:vm');
const WS2S = require('../../ws2s-js/ws2s.js');
const {FakeGateway, echo, until, settled} = require('./fake_gateway.js');

const FOLDER = path.join(__dirname, '..', '..', 'ws2s-js');
const SOURCE = fs.readFileSync(path.join(FOLDER, 'ws2s.js'), 'utf8');
const NAMES = ['Redis', 'RedisError', 'WS2SError'];

function run(...args) {
  return promisify(execFile)(process.execPath, args, {timeout: 20000});
}

test('as a script it makes one global', () => {
  const page = {TextEncoder, TextDecoder};
  vm.runInNewContext(SOURCE, page);
  assert.deepStrictEqual(Object.keys(page).sort(), ['TextDecoder', 'TextEncoder', 'WS2S']);
  for (const name of NAMES) assert.strictEqual(typeof page.WS2S[name], 'function');
});

test('in Node it makes no global', () => {
  assert.strictEqual(globalThis.WS2S, undefined);
});

for (const name of ['ws2s.js', 'ws2s.mjs']) {
  test(`Node imports ${name}, and has the same classes`, async () => {
    const file = await import(pathToFileURL(path.join(FOLDER, name)));
    assert.strictEqual(file.default, WS2S);
    for (const key of NAMES) assert.strictEqual(file[key], WS2S[key]);
  });
}

test('where ws2s.js itself is loaded as a module, as in a page, ws2s.mjs exports the same', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ws2s-'));
  try {
    for (const name of ['ws2s.js', 'ws2s.mjs']) fs.copyFileSync(path.join(FOLDER, name), path.join(folder, name));
    fs.writeFileSync(path.join(folder, 'package.json'), '{"type": "module"}');
    fs.writeFileSync(path.join(folder, 'page.mjs'), `
      import WS2S, {WS2SError, RedisError, Redis} from './ws2s.mjs';
      console.log(WS2S === globalThis.WS2S, WS2S.Redis === Redis, new WS2SError(1, 'r', 'm').name, RedisError.name);`);
    assert.strictEqual((await run(path.join(folder, 'page.mjs'))).stdout, 'true true WS2SError RedisError\n');
  } finally {
    fs.rmSync(folder, {recursive: true});
  }
});

test('a page with a strict Content-Security-Policy can use it', () => {
  assert.doesNotMatch(SOURCE, /\beval\b|new Function|innerHTML|outerHTML|document\.|javascript:|import\(/);
});

test('the types name every export', () => {
  const types = fs.readFileSync(path.join(FOLDER, 'ws2s.d.ts'), 'utf8');
  for (const name of [...NAMES, 'connect', 'newSocket', 'newRedisClient', 'newRedisCient']) {
    assert.match(types, new RegExp(`\\b${name}\\b`));
  }
});

test('without a WebSocket anywhere the error says what to do', async t => {
  const there = globalThis.WebSocket;
  delete globalThis.WebSocket;
  t.after(() => { if (there) globalThis.WebSocket = there; });
  await assert.rejects(WS2S.connect('ws://x/', {host: 'h', port: 1}), /give its class in the options/);
});

// -- timers -----------------------------------------------------------------------------------------------------------

/* Every timer that begins, and whether it has ended. */
function watchTimers(t) {
  const timers = new Map();
  for (const kind of ['Interval', 'Timeout']) {
    const {[`set${kind}`]: set, [`clear${kind}`]: clear} = globalThis;
    t.mock.method(globalThis, `set${kind}`, (action, milliseconds) => {
      const timer = set(() => {
        if (kind === 'Timeout') timers.delete(timer);
        action();
      }, milliseconds);
      timers.set(timer, {action, milliseconds, timer});
      return timer;
    });
    t.mock.method(globalThis, `clear${kind}`, timer => {
      timers.delete(timer);
      clear(timer);
    });
  }
  return timers;
}

test('the gateway is pinged every 30 seconds, by a timer that does not keep Node awake', async t => {
  const timers = watchTimers(t);
  const gateway = new FakeGateway({makeTarget: echo});
  const connection = await WS2S.connect('ws://x/', {host: 'h', port: 1, WebSocket: gateway.WebSocket});
  const [{action, milliseconds, timer}] = timers.values();
  assert.deepStrictEqual([timers.size, milliseconds, timer.hasRef()], [1, 30000, false]);
  action();
  await settled();
  assert.strictEqual(gateway.last.commands().pop(), 'ping');
  await connection.close();
  assert.strictEqual(timers.size, 0);
});

const ENDINGS = {
  'close()': (connection, session) => connection.close(),
  'the end of the target': (connection, session) => session.close(),
  'a reset': (connection, session) => session.close('reset'),
  'the loss of the WebSocket': (connection, session) => session.socket.drop(1006),
};

for (const [name, end] of Object.entries(ENDINGS)) {
  test(`no timer is left after ${name}`, async t => {
    const gateway = new FakeGateway();
    const timers = watchTimers(t);
    const connection = await WS2S.connect('ws://x/', {host: 'h', port: 1, WebSocket: gateway.WebSocket});
    assert.strictEqual(timers.size, 1);
    end(connection, gateway.last);
    await connection.closed.catch(() => {});
    assert.strictEqual(timers.size, 0);
  });
}

test('no timer is left after an old socket was closed, or has failed', async t => {
  const gateway = new FakeGateway();
  const timers = watchTimers(t);
  const one = new WS2S('ws://x/', {WebSocket: gateway.WebSocket}).newSocket();
  const two = new WS2S('ws://x/', {WebSocket: gateway.WebSocket}).newSocket();
  let closed = 0;
  one.onClose = two.onClose = () => { closed++; };
  two.onError = () => {};
  await settled();
  assert.strictEqual(timers.size, 2);
  one.close();
  gateway.last.socket.drop(1006);
  await settled();
  assert.deepStrictEqual([closed, timers.size], [2, 0]);
});

test('no timer is left of a Redis client that was closed in a pause', async t => {
  const timers = watchTimers(t);
  const gateway = new FakeGateway();
  gateway.refuses = true;
  const redis = new WS2S.Redis('ws://x/', {host: 'h', WebSocket: gateway.WebSocket});
  await settled();
  assert.strictEqual(timers.size, 1);
  await redis.close();
  assert.strictEqual(timers.size, 0);
});

const PROGRAMS = {
  'a connection that is closed': `
    const connection = await WS2S.connect('ws://x/', {host: 'h', port: 1, WebSocket: gateway.WebSocket});
    await connection.close();`,
  'a connection that nobody closes': `
    await WS2S.connect('ws://x/', {host: 'h', port: 1, WebSocket: gateway.WebSocket});`,
  'a Redis client that is closed': `
    const redis = new WS2S.Redis('ws://x/', {host: 'h', WebSocket: gateway.WebSocket});
    const asked = redis.command('PING').catch(error => error);
    await new Promise(resolve => setImmediate(() => setImmediate(resolve)));
    await redis.close();
    await asked;`,
};

for (const [name, program] of Object.entries(PROGRAMS)) {
  test(`Node ends by itself: ${name}`, async () => {
    const {stdout} = await run('-e', `
      const WS2S = require(${JSON.stringify(path.join(FOLDER, 'ws2s.js'))});
      const {FakeGateway} = require(${JSON.stringify(path.join(__dirname, 'fake_gateway.js'))});
      const gateway = new FakeGateway();
      (async () => {${program}
        console.log('done');
      })();`);
    assert.strictEqual(stdout, 'done\n');
  });
}
