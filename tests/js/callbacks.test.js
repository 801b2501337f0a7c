/* The interface of ws2s.js 2.1. */
'use strict';

const assert = require('node:assert');
const {test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {FakeGateway, echo, until, settled} = require('./fake_gateway.js');
const {FakeRedis, list} = require('./fake_redis.js');

const URL = 'ws://gateway.test/';
const bytes = text => new Uint8Array(Buffer.from(text));

function recorded(object, ...names) {
  const told = [];
  for (const name of names) object[name] = (...values) => told.push([name, ...values]);
  told.names = () => told.map(([name]) => name);
  return told;
}

function newSocket(gateway) {
  const socket = new WS2S(URL, {WebSocket: gateway.WebSocket}).newSocket();
  return {socket, told: recorded(socket, 'onReady', 'onOpen', 'onRecv', 'onClose', 'onError')};
}

for (const isOld of [false, true]) {
  const name = isOld ? '2.1.5' : 'this gateway';
  test(`${name}: ready, open, bytes there and back, closed`, async () => {
    const gateway = new FakeGateway({makeTarget: echo, isOld});
    const {socket, told} = newSocket(gateway);
    await until(() => told.length === 1);
    socket.connect('h.test', 80);
    await until(() => told.length === 2);
    socket.send('h\u00e9');
    socket.sendb(Uint8Array.of(0, 255));
    await until(() => told.length === 4);
    socket.close();
    await until(() => told.names().includes('onClose'));
    assert.deepStrictEqual([...told], [
      ['onReady'], ['onOpen'], ['onRecv', bytes('h\u00e9')], ['onRecv', Uint8Array.of(0, 255)], ['onClose'],
    ]);
  });
}

test('what is asked before the WebSocket is open is sent when it is', async () => {
  const gateway = new FakeGateway({makeTarget: echo});
  const {socket, told} = newSocket(gateway);
  socket.connect('h.test', '80');
  socket.send('early');
  await until(() => told.length === 3);
  assert.deepStrictEqual(told.names(), ['onReady', 'onOpen', 'onRecv']);
  assert.deepStrictEqual(gateway.last.requests, [
    {command: 'connect', host: 'h.test', port: '80', binary: true}, {command: 'send', data: 'early'},
  ]);
  socket.close();
});

test('the arguments of connect for SSH are its fields', async () => {
  const gateway = new FakeGateway();
  const {socket} = newSocket(gateway);
  socket.connect('h', 1, 's', 22, 'user', 'password', 'key', 'passphrase');
  await until(() => gateway.last && gateway.last.requests.length);
  assert.deepStrictEqual(gateway.last.requests[0], {
    command: 'connect', host: 'h', port: 1, binary: true, ssh_host: 's', ssh_port: 22, ssh_username: 'user',
    ssh_password: 'password', ssh_private_key: 'key', ssh_private_key_password: 'passphrase',
  });
  socket.close();
});

test('without an ssh_host the other arguments are left out', async () => {
  const gateway = new FakeGateway();
  const {socket} = newSocket(gateway);
  socket.connect('h', 1, '', 22, 'user', 'password');
  await until(() => gateway.last && gateway.last.requests.length);
  assert.deepStrictEqual(Object.keys(gateway.last.requests[0]), ['command', 'host', 'port', 'binary']);
  socket.close();
});

test('a refused connect is told by onError as the gateway tells it, and another one works', async () => {
  const gateway = new FakeGateway({failure: [2, 'refused', 'connection refused']});
  const {socket, told} = newSocket(gateway);
  socket.connect('h', 1);
  await until(() => told.length === 2);
  assert.deepStrictEqual(told[1], ['onError', {
    success: false, code: 2, message: 'connection refused', reason: 'refused',
  }]);
  gateway.failure = null;
  socket.connect('h', 2);
  await until(() => told.length === 3);
  assert.strictEqual(told[2][0], 'onOpen');
  socket.close();
});

test('a target that closes, and a send without a target, end with onClose alone', async () => {
  const gateway = new FakeGateway();
  const one = newSocket(gateway);
  one.socket.connect('h', 1);
  await until(() => one.told.length === 2);
  gateway.last.close();
  await until(() => one.told.length === 3);
  const two = newSocket(gateway);
  two.socket.send('x');
  await until(() => two.told.length === 2);
  assert.deepStrictEqual(one.told.names(), ['onReady', 'onOpen', 'onClose']);
  assert.deepStrictEqual(two.told.names(), ['onReady', 'onClose']);
});

test('a reset is told by onError, then onClose', async () => {
  const gateway = new FakeGateway();
  const {socket, told} = newSocket(gateway);
  socket.connect('h', 1);
  await until(() => told.length === 2);
  gateway.last.close('reset');
  await until(() => told.length === 4);
  assert.deepStrictEqual(told.names().slice(2), ['onError', 'onClose']);
  assert.deepStrictEqual([told[2][1].code, told[2][1].reason], [5, 'reset']);
});

test('a gateway that cannot be reached: onError, then onClose, and nothing after it', async () => {
  const gateway = new FakeGateway();
  gateway.refuses = true;
  const {socket, told} = newSocket(gateway);
  socket.connect('h', 1);
  await until(() => told.length === 2);
  socket.send('x');
  socket.close();
  await settled();
  assert.deepStrictEqual(told.names(), ['onError', 'onClose']);
  assert.deepStrictEqual([told[0][1].success, told[0][1].code, told[0][1].reason], [false, 1, 'gateway-unreachable']);
});

test('a WebSocket that is lost: onError, then onClose', async () => {
  const gateway = new FakeGateway();
  const {told} = newSocket(gateway);
  await until(() => told.length === 1);
  gateway.last.socket.drop(1001, 'stopping');
  await settled();
  assert.deepStrictEqual(told.names(), ['onReady', 'onError', 'onClose']);
});

test('nothing comes after onClose, although it was on its way', async () => {
  const gateway = new FakeGateway();
  const {socket, told} = newSocket(gateway);
  socket.connect('h', 1);
  await until(() => told.length === 2);
  gateway.last.close();
  for (let i = 0; i < 3; i++) gateway.last.later(bytes('late'));
  gateway.last.fail(1, 'internal', 'late');
  await settled();
  assert.deepStrictEqual(told.names(), ['onReady', 'onOpen', 'onClose']);
});

test('large texts and bytes go in pieces that every gateway takes', async () => {
  const received = [];
  const gateway = new FakeGateway({makeTarget: () => ({onData: data => received.push(Buffer.from(data))})});
  const {socket, told} = newSocket(gateway);
  socket.connect('h', 1);
  const text = '\u4e2d'.repeat(100000), data = Buffer.alloc(300001, 7);
  socket.send(text);
  socket.sendb(data);
  socket.close();
  await until(() => told.names().includes('onClose'));
  assert.ok(Buffer.concat(received).equals(Buffer.concat([Buffer.from(text), data])));
  assert.ok(gateway.last.requests.every(request => JSON.stringify(request).length < 131000));
});

test('callbacks that nobody has set do nothing, and errors are seen on the console', async t => {
  const seen = t.mock.method(console, 'error', () => {});
  const gateway = new FakeGateway({failure: [4, 'forbidden', 'no']});
  const socket = new WS2S(URL, {WebSocket: gateway.WebSocket}).newSocket();
  socket.connect('h', 1);
  socket.close();
  await until(() => gateway.last && gateway.last.isOver);
  assert.strictEqual(seen.mock.callCount(), 1);
});

// -- Redis ------------------------------------------------------------------------------------------------------------

const NAMES = ['onSocketReady', 'onReady', 'onReconnected', 'onResponse', 'onError'];

function newRedis(answers, auth, method = 'newRedisCient') {
  const server = new FakeRedis(answers);
  const gateway = new FakeGateway({makeTarget: server.makeTarget});
  const options = {WebSocket: gateway.WebSocket, retry: {first: 5, longest: 10}};
  const redis = new WS2S(URL, options)[method]('redis.test', 6379, auth);
  return {server, gateway, redis, told: recorded(redis, ...NAMES)};
}

const shown = told => told.map(([name, value]) => [name, value]);

for (const method of ['newRedisCient', 'newRedisClient']) {
  test(`${method}: requests and their replies`, async () => {
    const {redis, server, told} = newRedis({GET: '$3\r\nbob\r\n', INCR: ':24\r\n'}, undefined, method);
    await until(() => told.length === 2);
    redis.request('ping');
    redis.request('get name\n\nincr age\r\nECHO "Hello World!"');
    await until(() => told.length === 6);
    assert.deepStrictEqual(shown(told), [
      ['onSocketReady', undefined], ['onReady', undefined], ['onResponse', 'PONG'], ['onResponse', 'bob'],
      ['onResponse', 24], ['onResponse', 'Hello World!'],
    ]);
    assert.deepStrictEqual(server.commands, ['ping', 'get name', 'incr age', 'ECHO Hello World!']);
    await redis.close();
  });
}

test('a request that is made at once waits for Redis', async () => {
  const {redis, told} = newRedis();
  redis.request('ping');
  await until(() => told.length === 3);
  assert.strictEqual(told[2][1], 'PONG');
  await redis.close();
});

test('nil, empty arrays and nested ones are replies, and the next one is not lost', async () => {
  const {redis, told} = newRedis({A: '$-1\r\n', B: '*0\r\n', C: '*2\r\n*1\r\n$1\r\nx\r\n$-1\r\n', D: ':5\r\n'});
  redis.request('a\nb\nc\nd');
  await until(() => told.length === 6);
  assert.deepStrictEqual(shown(told).slice(2), [
    ['onResponse', null], ['onResponse', ''], ['onResponse', '1) 1) x\n2) (nil)'], ['onResponse', 5],
  ]);
  await redis.close();
});

test('the second argument pairs a reply with its request', async () => {
  const {redis, told} = newRedis({BAD: '-ERR no\r\n'});
  redis.request('echo "a b"\nbad thing');
  await until(() => told.length === 4);
  assert.deepStrictEqual(told[2][2], {words: [bytes('echo'), bytes('a b')], reply: bytes('a b')});
  assert.deepStrictEqual(told[3].slice(0, 2), ['onError', 'ERR no']);
  assert.deepStrictEqual(told[3][2].words, [bytes('bad'), bytes('thing')]);
  await redis.close();
});

test('a quote that is not closed is told by onError, and nothing of the request is sent', async () => {
  const {redis, server, told} = newRedis();
  await until(() => told.length === 2);
  redis.request('ping\nget "a');
  await settled();
  assert.deepStrictEqual(told.names().slice(2), ['onError']);
  assert.deepStrictEqual(server.commands, []);
  await redis.close();
});

test('RESP3 does not stop it', async () => {
  const {redis, told} = newRedis();
  redis.request('hello 3\nping');
  await until(() => told.length === 4);
  assert.deepStrictEqual(shown(told).slice(2), [['onResponse', '1) server\n2) redis'], ['onResponse', 'PONG']]);
  await redis.close();
});

test('RESP3: a push is no reply to what was asked, and the confirmation of a subscription is', async () => {
  const {redis, server, told} = newRedis({GET: null});
  redis.request('hello 3\nsubscribe c\nget k');
  await until(() => server.commands.includes('get k'));
  server.last.say('>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n$1\r\nv\r\n');
  redis.request('ping');
  await until(() => told.length === 7);
  const asked = told.slice(3).map(([, text, {words}]) => [text, words && Buffer.from(words[0]).toString()]);
  assert.deepStrictEqual(asked, [
    ['1) subscribe\n2) c\n3) 1', 'subscribe'], ['1) invalidate\n2) 1) k', undefined], ['v', 'get'], ['PONG', 'ping'],
  ]);
  await redis.close();
});

test('messages of subscriptions are responses', async () => {
  const {redis, server, told} = newRedis();
  redis.request('subscribe c');
  await until(() => told.length === 3);
  server.publish('c', 'm');
  await until(() => told.length === 4);
  assert.deepStrictEqual(shown(told).slice(2), [
    ['onResponse', '1) subscribe\n2) c\n3) 1'], ['onResponse', '1) message\n2) c\n3) m'],
  ]);
  await redis.close();
});

const AUTHS = [
  ['secret', 'AUTH secret'], ["it's\"", "AUTH it's\""], ['user secret', 'AUTH user secret'], [1234, 'AUTH 1234'],
];

for (const [auth, command] of AUTHS) {
  test(`auth ${JSON.stringify(auth)} is checked before onReady`, async () => {
    const {redis, server, told} = newRedis({AUTH: null}, auth);
    await until(() => server.commands.length);
    await settled();
    assert.deepStrictEqual([server.commands, told.names()], [[command], ['onSocketReady']]);
    server.last.say('+OK\r\n');
    await until(() => told.length === 2);
    assert.deepStrictEqual(told.names(), ['onSocketReady', 'onReady']);
    await redis.close();
  });
}

test('a wrong auth is told by onError, without onReady, and not tried again', async () => {
  const {redis, server, told} = newRedis({AUTH: '-WRONGPASS no\r\n'}, 'x');
  redis.request('ping');
  await until(() => told.length >= 2);
  await settled();
  assert.ok(told.names().slice(1).every(name => name === 'onError'));
  assert.match(told[1][1].message, /WRONGPASS/);
  assert.deepStrictEqual(server.commands, ['AUTH x']);
  await redis.close();
});

test('it connects again by itself: onReconnected, and a lost request is told, not repeated', async () => {
  const {redis, server, told} = newRedis({INCR: null});
  redis.request('incr n');
  await until(() => server.commands.length);
  server.last.close();
  await until(() => told.names().includes('onReconnected'));
  assert.deepStrictEqual(told.names(), [
    'onSocketReady', 'onReady', 'onError', 'onError', 'onSocketReady', 'onReconnected',
  ]);
  assert.deepStrictEqual([told[2][1].code, told[3][2].words], [5, [bytes('incr'), bytes('n')]]);
  assert.match(told[3][1], /^connection loss/);
  assert.strictEqual(redis.reconnectCount, 1);
  redis.request('ping');
  await until(() => told.length === 7);
  assert.deepStrictEqual(server.commands, ['incr n', 'ping']);
  await redis.close();
});

test('after nine more attempts it gives up, and says so', async () => {
  const gateway = new FakeGateway();
  gateway.refuses = true;
  const redis = new WS2S(URL, {WebSocket: gateway.WebSocket, retry: {first: 1, longest: 1}}).newRedisCient('h', 1);
  const told = recorded(redis, ...NAMES);
  await until(() => told.some(([, error]) => /^connection loss/.test(error)));
  await settled();
  assert.strictEqual(told.filter(([, error]) => error.reason === 'gateway-unreachable').length, 10);
  assert.strictEqual(told.length, 11);
});

test('the arguments for SSH are passed on', async () => {
  const gateway = new FakeGateway();
  const redis = new WS2S(URL, {WebSocket: gateway.WebSocket}).newRedisCient('h', 1, '', 's', 22, 'u', 'p', 'k', 'q');
  await until(() => gateway.last && gateway.last.requests.length);
  const {ssh_host, ssh_port, ssh_username, ssh_password, ssh_private_key, ...rest} = gateway.last.requests[1];
  assert.deepStrictEqual([ssh_host, ssh_port, ssh_username, ssh_password, ssh_private_key], ['s', 22, 'u', 'p', 'k']);
  assert.strictEqual(rest.ssh_private_key_password, 'q');
  await redis.close();
});

test('lists of 100 items are shown', async () => {
  const {redis, told} = newRedis({LRANGE: list(Array(100).fill('x'))});
  redis.request('lrange l 0 -1');
  await until(() => told.length === 3);
  assert.ok(told[2][1].endsWith('\n100) x'));
  await redis.close();
});
