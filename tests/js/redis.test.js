'use strict';

const assert = require('node:assert');
const {test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {FakeGateway, until, settled} = require('./fake_gateway.js');
const {FakeRedis, bulk, list} = require('./fake_redis.js');

const {WS2SError, RedisError} = WS2S;
const bytes = text => new Uint8Array(Buffer.from(text));
const QUICK = {first: 5, longest: 20};

/* A client of a fake Redis, behind a fake gateway. */
function start(answers, options) {
  const server = new FakeRedis(answers);
  const gateway = new FakeGateway({makeTarget: server.makeTarget});
  const redis = new WS2S.Redis('ws://gateway.test/', {
    host: 'redis.test', WebSocket: gateway.WebSocket, retry: QUICK, ...options,
  });
  const told = [];
  redis.onReady = () => told.push('ready');
  redis.onLost = error => told.push(`lost: ${error.reason || error.code}`);
  redis.onClose = error => told.push(error ? `closed: ${error.reason || error.code}` : 'closed');
  return {server, gateway, redis, told};
}

function isError(code, reason) {
  return error => error instanceof WS2SError && error.code === code && error.reason === reason;
}

test('a command has its reply', async () => {
  const {redis, gateway} = start();
  assert.strictEqual(await redis.command('PING'), 'PONG');
  assert.deepStrictEqual([gateway.last.requests[1].host, gateway.last.requests[1].port], ['redis.test', 6379]);
  await redis.close();
});

test('a command that comes just when the connection ends is told as not answered', async () => {
  for (let microtasks = 0; microtasks < 20; microtasks++) {
    const {redis} = start({GET: '+OK\r\n-ERR shutting down\r\n', SET: null}, {retry: {first: 1, longest: 1}});
    await redis.command('GET', 'k');
    for (let i = 0; i < microtasks; i++) await null;
    const set = redis.command('SET', 'k', 'v');
    set.catch(() => {});
    await settled();
    await redis.close();
    await assert.rejects(set, error => error.name === 'WS2SError' || error.code === 'ERR', `${microtasks} microtasks`);
  }
});

test('bulk strings are bytes', async () => {
  const {redis} = start();
  assert.deepStrictEqual(await redis.command('ECHO', 'h\u00e9'), bytes('h\u00e9'));
  assert.strictEqual(await redis.text('ECHO', 'h\u00e9'), 'h\u00e9');
  await redis.close();
});

test('with the option text bulk strings are strings, wherever they are', async () => {
  const {redis} = start({X: '*2\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n~1\r\n$1\r\nc\r\n'}, {text: true});
  assert.deepStrictEqual(await redis.command('X'), [new Map([['a', 'b']]), new Set(['c'])]);
  assert.deepStrictEqual(await redis.bytes('ECHO', 'x'), bytes('x'));
  await redis.close();
});

test('replies find their commands, many at once', async () => {
  const {redis} = start();
  const asked = Array.from({length: 2000}, (_, i) => redis.text('ECHO', i));
  assert.deepStrictEqual(await Promise.all(asked), asked.map((_, i) => String(i)));
  await redis.close();
});

test('what is asked while something is written goes together', async () => {
  const {redis, gateway} = start();
  await redis.command('PING');
  const before = gateway.last.requests.length;
  await Promise.all(Array.from({length: 100}, () => redis.command('PING')));
  assert.ok(gateway.last.requests.length - before < 10);
  await redis.close();
});

test('commands are sent at once, without waiting for replies', async () => {
  const {redis, server} = start({GET: null});
  await redis.command('PING');
  const one = redis.command('GET', '1'), two = redis.command('GET', '2');
  await until(() => server.commands.length === 3);
  server.last.say(bulk('first') + bulk('second'));
  assert.deepStrictEqual([await one, await two], [bytes('first'), bytes('second')]);
  await redis.close();
});

test('an error reply rejects its command alone', async () => {
  const {redis} = start({BAD: '-WRONGTYPE no\r\n'});
  const replies = await Promise.allSettled([redis.command('PING'), redis.command('BAD'), redis.command('PING')]);
  assert.deepStrictEqual(replies.map(({status}) => status), ['fulfilled', 'rejected', 'fulfilled']);
  assert.ok(replies[1].reason instanceof RedisError);
  assert.strictEqual(replies[1].reason.code, 'WRONGTYPE');
  await redis.close();
});

test('errors in an array are values', async () => {
  const {redis} = start({EXEC: '*2\r\n+OK\r\n-ERR no\r\n'});
  const [ok, error] = await redis.command('EXEC');
  assert.strictEqual(ok, 'OK');
  assert.ok(error instanceof RedisError && error.message === 'ERR no');
  await redis.close();
});

const UNPAIRED = [
  ['SUBSCRIBE', 'c'], ['monitor'], ['CLIENT', 'reply', 'off'], ['punsubscribe'],
  [bytes('Subscribe'), 'c'], [bytes('MONITOR').buffer], ['client', bytes('REPLY'), 'off'],
  [new DataView(bytes('CLIENT').buffer), 'REPLY', 'OFF'],
];

for (const words of UNPAIRED) {
  const name = words.map(word => typeof word === 'string' ? word : `<${Buffer.from(word.buffer || word)}>`).join(' ');
  test(`${name} is no command: its replies do not pair`, async () => {
    const {redis, server} = start();
    await assert.rejects(redis.command(...words), TypeError);
    assert.deepStrictEqual(server.commands, []);
    await redis.close();
  });
}

test('a command given as bytes has its reply', async () => {
  const {redis} = start();
  assert.strictEqual(await redis.command(bytes('PING')), 'PONG');
  assert.strictEqual(await redis.text(bytes('echo').buffer, 'x'), 'x');
  await redis.close();
});

test('a large key is not made a text', async t => {
  const {redis} = start();
  await redis.command('PING');
  const key = new Uint8Array(10000000);
  key.toString = t.mock.fn(() => '');
  await redis.command('GET', key);
  await redis.command('CLIENT', key);
  await redis.command(key).catch(() => {});
  assert.strictEqual(key.toString.mock.callCount(), 0);
  await redis.close();
});

test('a command of endless length has a short name in the error', async () => {
  const {redis, server} = start({['X'.repeat(1e6)]: null});
  await redis.command('PING');
  const lost = redis.command('x'.repeat(1e6));
  await until(() => server.commands.length === 2);
  server.last.close();
  await assert.rejects(lost, error => isError(1, 'not-answered')(error) && error.message.length < 200);
  await redis.close();
});

test('a wrong argument rejects, and the next command works', async () => {
  const {redis} = start();
  await assert.rejects(redis.command('SET', 'k', null), TypeError);
  assert.strictEqual(await redis.command('PING'), 'PONG');
  await redis.close();
});

// -- login ------------------------------------------------------------------------------------------------------------

const LOGINS = [
  [{password: 'p'}, ['AUTH p']],
  [{username: 'u', password: 'p w'}, ['AUTH u p w']],
  [{db: 3}, ['SELECT 3']],
  [{db: 0}, []],
  [{password: 'p', db: 3}, ['AUTH p', 'SELECT 3']],
  [{password: 'p', db: 3, protocol: 3}, ['AUTH p', 'HELLO 3', 'SELECT 3']],
];

for (const [options, commands] of LOGINS) {
  test(`${JSON.stringify(options)} first says ${JSON.stringify(commands)}`, async () => {
    const {redis, server, told} = start({}, options);
    await redis.command('PING');
    assert.deepStrictEqual(server.commands, [...commands, 'PING']);
    assert.deepStrictEqual(told, ['ready']);
    await redis.close();
  });
}

test('nothing is sent before AUTH and SELECT have succeeded, one after the other', async () => {
  const {redis, server} = start({AUTH: null, SELECT: null}, {password: 'p', db: 1});
  const reply = redis.command('PING');
  await until(() => server.commands.length);
  await settled();
  assert.deepStrictEqual(server.commands, ['AUTH p']);
  server.last.say('+OK\r\n');
  await settled();
  assert.deepStrictEqual(server.commands, ['AUTH p', 'SELECT 1']);
  server.last.say('+OK\r\n');
  await reply;
  await redis.close();
});

const WRONG = [['AUTH', 'WRONGPASS no', {password: 'x'}], ['SELECT', 'ERR out of range', {db: 99}]];

for (const [command, message, options] of WRONG) {
  test(`a refused ${command} ends the client for good`, async () => {
    const {redis, server, told} = start({[command]: `-${message}\r\n`}, options);
    await assert.rejects(redis.command('SET', 'k', 'v'), error => {
      assert.ok(error instanceof RedisError);
      return error.message === message;
    });
    assert.strictEqual(server.commands.length, 1);
    assert.deepStrictEqual(told, [`closed: ${message.split(' ')[0]}`]);
    await assert.rejects(redis.command('PING'), isError(1, 'closed'));
    await redis.close();
    assert.strictEqual(server.connections.length, 1);
  });
}

test('a Redis that is loading is asked again', async () => {
  let asked = 0;
  const {redis, told} = start({AUTH: () => ++asked < 3 ? '-LOADING not yet\r\n' : '+OK\r\n'}, {password: 'p'});
  await until(() => told.includes('ready'));
  assert.deepStrictEqual(told, ['lost: LOADING', 'lost: LOADING', 'ready']);
  assert.strictEqual(await redis.command('PING'), 'PONG');
  await redis.close();
});

test('tls is passed on, and a refusal of it ends the client', async () => {
  const {redis, gateway, told} = start({}, {tls: true});
  gateway.failure = [1, 'bad-request', 'this gateway does not offer TLS to the target'];
  await assert.rejects(redis.command('PING'), /TLS/);
  assert.strictEqual(gateway.last.requests[1].tls, true);
  assert.deepStrictEqual(told, ['closed: bad-request']);
});

// -- reconnect --------------------------------------------------------------------------------------------------------

test('a command without a reply is not repeated, and rejects', async () => {
  const {redis, server, told} = start({INCR: null});
  await redis.command('PING');
  const lost = redis.command('INCR', 'n');
  await until(() => server.commands.includes('INCR n'));
  server.last.close();
  await assert.rejects(lost, error => isError(1, 'not-answered')(error) && /INCR/.test(error.message));
  assert.strictEqual(await redis.command('PING'), 'PONG');
  assert.strictEqual(server.commands.filter(command => command === 'INCR n').length, 1);
  assert.deepStrictEqual(told, ['ready', 'lost: closed', 'ready']);
  await redis.close();
});

test('a lost WebSocket is replaced', async () => {
  const {redis, gateway, told} = start();
  await redis.command('PING');
  gateway.last.socket.drop(1006);
  await until(() => told.length > 1);
  assert.strictEqual(await redis.command('PING'), 'PONG');
  assert.deepStrictEqual(told, ['ready', 'lost: gateway-lost', 'ready']);
  await redis.close();
});

test('what waits for a connection rejects when the attempt fails, and attempts go on', async () => {
  const {redis, gateway, told} = start();
  gateway.failure = [2, 'refused', 'connection refused'];
  await assert.rejects(redis.command('PING'), isError(2, 'refused'));
  await assert.rejects(redis.command('PING'), isError(2, 'refused'));
  gateway.failure = null;
  await until(() => told.includes('ready'));
  assert.strictEqual(await redis.command('PING'), 'PONG');
  await redis.close();
});

test('pauses grow up to the longest, and are not all the same', async t => {
  const pauses = [];
  t.mock.method(globalThis, 'setTimeout', (callback, milliseconds) => {
    pauses.push(milliseconds);
    setImmediate(callback);
  });
  const {redis, told} = start({}, {host: 'x', retry: {first: 100, longest: 1000, attempts: 7}, WebSocket: refusing()});
  for (let i = 0; i < 500 && !told.some(line => line.startsWith('closed')); i++) await settled();
  assert.strictEqual(told.filter(line => line === 'lost: gateway-unreachable').length, 7);
  assert.strictEqual(told[7], 'closed: gateway-unreachable');
  const most = [100, 200, 400, 800, 1000, 1000, 1000];
  assert.ok(pauses.every((pause, i) => pause >= most[i] / 2 && pause <= most[i]), String(pauses));
  assert.strictEqual(new Set(pauses).size, 7);
  await redis.close();
});

function refusing() {
  const gateway = new FakeGateway();
  gateway.refuses = true;
  return gateway.WebSocket;
}

test('a Redis that turns clients away is asked again, and its reason is told', async () => {
  const {redis, server, told} = start();
  await redis.command('PING');
  server.last.say('-ERR max number of clients reached\r\n');
  await until(() => told.length === 3);
  assert.deepStrictEqual(told, ['ready', 'lost: closed', 'ready']);
  await redis.close();
});

test('what is no RESP ends the client', async () => {
  const {redis, told} = start({PING: 'HTTP/1.1 400 Bad Request\r\n'});
  await assert.rejects(redis.command('PING'), isError(1, 'not-answered'));
  assert.deepStrictEqual(told, ['ready', 'closed: protocol']);
  await redis.close();
});

// -- close ------------------------------------------------------------------------------------------------------------

test('close() sends what was asked, rejects what has no reply, and tells once', async () => {
  const {redis, server, told} = start({SET: null});
  await redis.command('PING');
  const asked = redis.command('SET', 'k', 'v');
  const closing = redis.close();
  await assert.rejects(asked, isError(1, 'not-answered'));
  await closing;
  await redis.close();
  assert.deepStrictEqual(server.commands, ['PING', 'SET k v']);
  assert.deepStrictEqual(told, ['ready', 'closed']);
  await assert.rejects(redis.command('PING'), isError(1, 'closed'));
});

for (const [state, prepare] of [
  ['while the WebSocket opens', async () => {}],
  ['while the gateway connects', async ({gateway}) => { gateway.isPaused = true; await until(() => gateway.last); }],
  ['while it logs in', async ({server}) => { await until(() => server.commands.length); }],
  ['in a pause', async ({gateway, told}) => {
    await until(() => gateway.last);
    gateway.last.socket.drop(1006);
    await until(() => told.length);
  }],
]) {
  test(`close() ${state} ends it`, async () => {
    const all = start({AUTH: null}, {password: 'p', retry: {first: 100000, longest: 100000}});
    const waiting = all.redis.command('PING').catch(error => error);
    await prepare(all);
    await all.redis.close();
    assert.ok(await waiting instanceof WS2SError);
    await settled();
    assert.strictEqual(all.told.filter(line => line === 'closed').length, 1);
    assert.strictEqual(all.told[all.told.length - 1], 'closed');
    assert.ok(all.gateway.sessions.every(session => session.isOver));
  });
}

test('nothing is called after onClose', async () => {
  const {redis, server, told} = start();
  const messages = [];
  await redis.subscribe('c', message => messages.push(message));
  const closing = redis.close();
  server.publish('c', 'late');
  await closing;
  await settled();
  assert.deepStrictEqual([messages, told], [[], ['ready', 'closed']]);
});

// -- subscriptions ----------------------------------------------------------------------------------------------------

for (const protocol of [2, 3]) {
  test(`RESP${protocol}: messages come to their callbacks, and replies to their commands`, async () => {
    const {redis, server} = start({}, {protocol, text: true});
    const told = [];
    await redis.subscribe('c', (...values) => told.push(values));
    await redis.psubscribe('n*', (...values) => told.push(values));
    server.publish('c', 'one');
    server.publish('news', 'two', 'n*');
    server.publish('other', 'three');
    assert.strictEqual(await redis.command('PING'), 'PONG');
    assert.deepStrictEqual(told, [['one', 'c', 'c'], ['two', 'news', 'n*']]);
    await redis.close();
  });

  test(`RESP${protocol}: messages are bytes by default`, async () => {
    const {redis, server} = start({}, {protocol});
    const told = [];
    await redis.subscribe('c', message => told.push(message));
    server.publish('c', 'one');
    await redis.command('PING');
    assert.deepStrictEqual(told, [bytes('one')]);
    await redis.close();
  });

  test(`RESP${protocol}: subscriptions are renewed after a loss, before anything else`, async () => {
    const {redis, server, told} = start({}, {protocol, text: true});
    const messages = [];
    await redis.subscribe('c', message => messages.push(message));
    await redis.psubscribe('p*', message => messages.push(message));
    server.last.close();
    await until(() => told.includes('lost: closed'));
    server.commands = [];
    await redis.command('PING');
    const expected = ['SUBSCRIBE c', 'PSUBSCRIBE p*', 'PING'];
    assert.deepStrictEqual(server.commands, protocol === 3 ? ['HELLO 3', ...expected] : expected);
    server.publish('c', 'again');
    await redis.command('PING');
    assert.deepStrictEqual(messages, ['again']);
    await redis.close();
  });

  test(`RESP${protocol}: unsubscribe ends one callback, or all, and the channel with the last`, async () => {
    const {redis, server} = start({}, {protocol});
    const told = [];
    const one = () => told.push(1), two = () => told.push(2), three = () => told.push(3);
    await Promise.all([redis.subscribe('c', one), redis.subscribe('c', two), redis.subscribe('c', three)]);
    await redis.unsubscribe('c', two);
    await redis.unsubscribe('nothing');
    server.publish('c', 'x');
    await redis.command('PING');
    assert.deepStrictEqual(told, [1, 3]);
    await redis.unsubscribe('c');
    server.publish('c', 'x');
    server.answers.LRANGE = list(['message', 'c', 'x']);
    assert.deepStrictEqual(await redis.text('LRANGE'), ['message', 'c', 'x']);
    assert.deepStrictEqual(told, [1, 3]);
    assert.deepStrictEqual(server.commands.filter(command => /SUB/.test(command)), ['SUBSCRIBE c', 'UNSUBSCRIBE c']);
    await redis.close();
  });
}

test('a reply that looks like a message is a reply while nothing is subscribed', async () => {
  const {redis} = start({LRANGE: list(['message', 'c', 'x'])});
  assert.deepStrictEqual(await redis.text('LRANGE', 'l', 0, -1), ['message', 'c', 'x']);
  await redis.close();
});

test('a subscription that Redis refuses rejects, and is not renewed', async () => {
  const {redis, server, told} = start({SUBSCRIBE: '-NOPERM no\r\n'});
  await assert.rejects(redis.subscribe('c', () => {}), RedisError);
  server.last.close();
  await until(() => told.length === 3);
  await redis.command('PING');
  assert.strictEqual(server.commands.filter(command => command === 'SUBSCRIBE c').length, 1);
  await redis.close();
});

test('other pushes come to onPush', async () => {
  const {redis, server} = start({}, {protocol: 3, text: true});
  const told = [];
  redis.onPush = items => told.push(items);
  await redis.command('PING');
  server.last.say('>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n');
  await redis.command('PING');
  assert.deepStrictEqual(told, [['invalidate', ['k']]]);
  await redis.close();
});

test('a callback that throws is heard of, and does not end the connection', async t => {
  const mistakes = [];
  t.mock.method(globalThis, 'queueMicrotask', action => {
    try {
      action();
    } catch (error) {
      mistakes.push(error.message);
    }
  });
  const {redis, server} = start();
  await redis.subscribe('c', () => { throw new Error('oops'); });
  server.publish('c', 'x');
  assert.strictEqual(await redis.command('PING'), 'PONG');
  assert.deepStrictEqual(mistakes, ['oops']);
  await redis.close();
});
