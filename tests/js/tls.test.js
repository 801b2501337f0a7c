/* TLS to the target: nothing that was meant for it goes in the clear, whatever the gateway is. */
'use strict';

const assert = require('node:assert');
const {test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {FakeGateway, echo, slowTarget, until, settled, readAll} = require('./fake_gateway.js');
const {FakeRedis} = require('./fake_redis.js');

const {WS2SError} = WS2S;
const URL = 'ws://gateway.test/';
const bytes = text => new TextEncoder().encode(text);
const TLS = {version: 'TLSv1.3', alpn: null};
const EXPIRED = [1, 'tls', 'the certificate has expired'];

function connect(gateway, options) {
  return WS2S.connect(URL, {host: 'db.test', port: 6379, WebSocket: gateway.WebSocket, ...options});
}

function isError(code, reason, words = '') {
  return error => error instanceof WS2SError && error.code === code && error.reason === reason
    && error.message.includes(words) && error.message !== '';
}

const KINDS = [
  ['2.1.5', {isOld: true}],
  ['a gateway that ignores the field', {tls: null}],
  ['a gateway that says nothing of a version', {tls: {}}],
  ['a gateway that makes a number of the version', {tls: {version: 1}}],
];

function gatewayOf(kind, options = {}) {
  return Object.assign(new FakeGateway(options), kind);
}

// -- connect ----------------------------------------------------------------------------------------------------------

const ASKED = [true, {}, {servername: 'n.test'}, {verify: false}, {
  servername: 'n.test', verify: true, ca: 'CA', cert: 'CERT', key: 'KEY', alpn: ['h2', 'redis'],
}];

for (const tls of ASKED) {
  test(`tls ${JSON.stringify(tls)} is passed on as it is`, async () => {
    const gateway = new FakeGateway();
    const connection = await connect(gateway, {tls});
    assert.deepStrictEqual(gateway.last.requests[1].tls, tls);
    await connection.close();
  });
}

for (const tls of [undefined, null, false]) {
  test(`tls ${tls} is none`, async () => {
    const gateway = new FakeGateway();
    const connection = await connect(gateway, {tls});
    assert.ok(!('tls' in gateway.last.requests[1]));
    assert.strictEqual(connection.tls, null);
    await connection.close();
  });
}

const WRONG = [
  'true', 1, 0, '', [], [true], () => {}, {verfy: true}, {Verify: true}, {verify: 'false'}, {verify: 0}, {verify: null},
  {servername: 1}, {servername: ''}, {ca: ['CA']}, {ca: ''}, {cert: {}}, {key: null}, {alpn: 'h2'}, {alpn: [1]},
  {alpn: ['']}, {constructor: 1}, Object.create({verfy: true}),
];

for (const tls of WRONG) {
  test(`tls ${typeof tls} ${JSON.stringify(tls)} is refused before anything is opened`, async () => {
    const gateway = new FakeGateway();
    await assert.rejects(connect(gateway, {tls}), TypeError);
    assert.throws(() => new WS2S.Redis(URL, {host: 'h', tls, WebSocket: gateway.WebSocket}), TypeError);
    await settled();
    assert.strictEqual(gateway.sockets.length, 0);
  });
}

test('the error names the field, never what stands in it', async () => {
  await assert.rejects(connect(new FakeGateway(), {tls: {key: ['KEY']}}), /^TypeError: tls\.key must be a text/);
  await assert.rejects(connect(new FakeGateway(), {tls: {verfy: 'SECRET'}}), /^TypeError: tls has no field verfy$/);
});

test('fields that an object inherits are passed on, too', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway, {tls: Object.create({ca: 'CA'})});
  assert.deepStrictEqual(gateway.last.requests[1].tls, {ca: 'CA'});
  await connection.close();
});

test('version and protocol are given to the caller', async () => {
  const gateway = gatewayOf({tls: {version: 'TLSv1.2', alpn: 'h2'}}, {makeTarget: echo});
  const connection = await connect(gateway, {tls: true});
  assert.deepStrictEqual(connection.tls, {version: 'TLSv1.2', alpn: 'h2'});
  await connection.close();
});

for (const [name, kind] of KINDS) {
  test(`${name} is not spoken to in the clear: connect with tls fails, and the WebSocket is closed`, async () => {
    const gateway = gatewayOf(kind);
    await assert.rejects(connect(gateway, {tls: true}), isError(1, 'tls'));
    assert.deepStrictEqual(gateway.last.commands(), ['ack', 'connect']);
    assert.ok(gateway.last.isOver);
    assert.strictEqual(gateway.last.clear, '');
  });

  test(`${name}: a Redis client with tls says nothing in the clear, and does not try again`, async () => {
    const gateway = gatewayOf(kind);
    const options = {host: 'h', password: 'secret', tls: {}, WebSocket: gateway.WebSocket};
    await assert.rejects(new WS2S.Redis(URL, options).command('PING'), isError(1, 'tls'));
    await settled();
    assert.deepStrictEqual([gateway.sessions.length, gateway.last.clear], [1, '']);
  });
}

test('a failure of TLS comes with the sentence of the gateway', async () => {
  await assert.rejects(connect(gatewayOf({tls: EXPIRED}), {tls: true}), isError(...EXPIRED));
});

test('a Redis client speaks by TLS', async () => {
  const gateway = new FakeGateway(new FakeRedis());
  const client = new WS2S.Redis(URL, {host: 'h', tls: {ca: 'CA'}, WebSocket: gateway.WebSocket, text: true});
  assert.strictEqual(await client.command('PING'), 'PONG');
  assert.strictEqual(gateway.last.clear, '');
  assert.match(gateway.last.secret, /PING/);
  await client.close();
});

test('the callbacks of 2.1, which send before they know, take neither tls nor ssh from the options', () => {
  const {WebSocket} = new FakeGateway();
  for (const options of [{tls: true}, {ssh: {host: 's'}}]) {
    assert.throws(() => new WS2S(URL, {...options, WebSocket}).newSocket(), /^TypeError: newSocket\(\) does not know/);
  }
});

test('the Redis client with callbacks keeps tls and ssh of the options', async () => {
  const gateway = new FakeGateway(new FakeRedis());
  const options = {WebSocket: gateway.WebSocket, tls: true, ssh: {host: 's'}};
  const client = new WS2S(URL, options).newRedisClient('h', 6379);
  await new Promise(resolve => { client.onReady = resolve; });
  assert.deepStrictEqual([gateway.last.requests[1].tls, gateway.last.requests[1].ssh_host], [true, 's']);
  await client.close();
});

// -- startTls ---------------------------------------------------------------------------------------------------------

test('startTls() sends the fields, and gives what connect gives', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  assert.strictEqual(connection.tls, null);
  assert.deepStrictEqual(await connection.startTls({servername: 'n', verify: false}), TLS);
  assert.deepStrictEqual(connection.tls, TLS);
  assert.deepStrictEqual(gateway.last.requests.at(-1), {command: 'starttls', servername: 'n', verify: false});
  await connection.close();
});

for (const options of [undefined, true, {}]) {
  test(`startTls(${JSON.stringify(options)}) asks with the standards`, async () => {
    const gateway = new FakeGateway();
    const connection = await connect(gateway);
    await connection.startTls(options);
    assert.deepStrictEqual(gateway.last.requests.at(-1), {command: 'starttls'});
    await connection.close();
  });
}

for (const options of [{}, {binary: false}]) {
  test(`before it in the clear, behind it by TLS, though written at once: ${JSON.stringify(options)}`, async () => {
    const gateway = new FakeGateway();
    const connection = await connect(gateway, options);
    const writer = connection.writable.getWriter();
    const before = ['a', 'b', 'c'].map(text => writer.write(bytes(text)));
    const starting = connection.startTls();
    const after = ['d', 'e'].map(text => writer.write(bytes(text)));
    await Promise.all([...before, starting, ...after]);
    await settled();
    assert.deepStrictEqual([gateway.last.clear, gateway.last.secret], ['abc', 'de']);
    await connection.close();
  });
}

test('what is written before it waits for room, and goes in the clear', async () => {
  let target;
  const gateway = new FakeGateway({makeTarget: session => (target = slowTarget(session, 1))});
  const connection = await connect(gateway, {window: 16384});
  const writer = connection.writable.getWriter();
  const writing = [writer.write(new Uint8Array(100000)), writer.write(new Uint8Array(100000))];
  let isStarted = false;
  const starting = connection.startTls().then(() => { isStarted = true; });
  writing.push(writer.write(bytes('secret')));
  await settled();
  assert.ok(!gateway.last.commands().includes('starttls'));
  while (!isStarted) {
    target.drain();
    await settled();
  }
  await Promise.all([starting, ...writing]);
  await settled();
  target.drain();
  await settled();
  assert.deepStrictEqual([gateway.last.clear.length, gateway.last.secret], [200000, 'secret']);
  connection.abort();
});

test('what is written meanwhile waits in the page until TLS is there', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  gateway.isPaused = true;
  const starting = connection.startTls(), writing = connection.writable.getWriter().write(bytes('secret'));
  await settled();
  assert.deepStrictEqual(gateway.last.commands(), ['ack', 'connect', 'starttls']);
  gateway.resume();
  await Promise.all([starting, writing]);
  await settled();
  assert.deepStrictEqual([gateway.last.clear, gateway.last.secret], ['', 'secret']);
  await connection.close();
});

const FAILING = [
  ...KINDS.map(([name, kind]) => [name, kind, true, isError(1, 'tls')]),
  ['a handshake that fails', {tls: EXPIRED}, true, isError(...EXPIRED)],
  ['a gateway that does not know the command', {unknown: ['starttls']}, true, isError(1, 'bad-request')],
  ['a misspelt field', {}, {verfy: true}, TypeError],
  ['false', {}, false, TypeError],
  ['null', {}, null, TypeError],
];

for (const [name, kind, options, error] of FAILING) {
  test(`startTls() that fails ends the connection, and nothing more goes in the clear: ${name}`, async () => {
    const gateway = gatewayOf(kind);
    const connection = await connect(gateway);
    const writer = connection.writable.getWriter();
    await writer.write(bytes('hello'));
    await settled();
    const starting = connection.startTls(options);
    const writing = writer.write(bytes('secret'));
    await assert.rejects(starting, error);
    await assert.rejects(writing);
    await assert.rejects(connection.closed, error);
    await settled();
    assert.deepStrictEqual([gateway.last.clear, gateway.last.secret, gateway.last.isOver], ['hello', '', true]);
    assert.strictEqual(connection.tls, null);
  });
}

for (const [name, ask] of [['connect with tls', {tls: true}], ['startTls()', {}]]) {
  test(`after ${name} startTls() is refused, and the connection goes on`, async () => {
    const gateway = new FakeGateway();
    const connection = await connect(gateway, ask);
    if (!ask.tls) await connection.startTls();
    await assert.rejects(connection.startTls(), isError(1, 'bad-request'));
    await connection.writable.getWriter().write(bytes('on'));
    await settled();
    assert.strictEqual(gateway.last.secret, 'on');
    await connection.close();
  });
}

test('startTls() twice at a time is asked for once', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  const starting = connection.startTls();
  await assert.rejects(connection.startTls(), isError(1, 'bad-request'));
  assert.deepStrictEqual(await starting, TLS);
  assert.strictEqual(gateway.last.commands().filter(command => command === 'starttls').length, 1);
  await connection.close();
});

const ENDED = [['close()', connection => connection.close()], ['abort()', connection => connection.abort()]];

for (const [name, end] of ENDED) {
  test(`after ${name} startTls() and finish() tell that nothing is connected`, async () => {
    const connection = await connect(new FakeGateway());
    const ending = end(connection);
    for (const ask of ['startTls', 'finish']) await assert.rejects(connection[ask](), isError(3, 'not-connected'));
    await ending;
  });

  test(`startTls() that waits rejects at ${name}`, async () => {
    const gateway = new FakeGateway();
    const connection = await connect(gateway);
    gateway.isPaused = true;
    const starting = assert.rejects(connection.startTls(), error => error instanceof WS2SError);
    await settled();
    const ending = end(connection);
    if (name === 'abort()') await starting;
    gateway.tls = EXPIRED;
    gateway.resume();
    await starting;
    await ending;
  });
}

test('startTls() that waits rejects when the WebSocket is lost', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  gateway.isPaused = true;
  const starting = connection.startTls();
  await settled();
  gateway.last.socket.drop(1006);
  await assert.rejects(starting, isError(1, 'gateway-lost'));
});

const INJECTED = [
  ['that nobody has read', () => {}],
  ['that was read while TLS began', connection => connection.readable.getReader().read()],
];

for (const [name, read] of INJECTED) {
  test(`something in the clear just before TLS, ${name}, is not taken for what came by TLS`, async () => {
    const gateway = new FakeGateway();
    const connection = await connect(gateway);
    gateway.isPaused = true;
    read(connection);
    const starting = connection.startTls();
    await settled();
    gateway.last.respond('220 injected');
    await settled();
    gateway.resume();
    await assert.rejects(starting, isError(1, 'tls', 'in the clear'));
    await assert.rejects(connection.closed, isError(1, 'tls'));
  });
}

test('what was left unread before startTls() is not taken for what came by TLS', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  gateway.last.respond('220 ready');
  await settled();
  await assert.rejects(connection.startTls(), isError(1, 'tls', 'in the clear'));
});

test('what comes at once behind TLS is no mistake', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  const starting = connection.startTls();
  await until(() => gateway.last.isTls);
  gateway.last.respond('welcome');
  gateway.last.close();
  await starting;
  assert.strictEqual((await readAll(connection.readable)).toString(), 'welcome');
});

// -- the token --------------------------------------------------------------------------------------------------------

const TOKENS = [
  ['abc', 'YWJj'], ['a', 'YQ'], ['ab', 'YWI'], ['\u00fc\u4e2d\ud83d\ude00', 'w7zkuK3wn5iA'], ['???>>>', 'Pz8_Pj4-'],
];

for (const [token, encoded] of TOKENS) {
  test(`the token ${token} is offered as a subprotocol, in base64url of its UTF-8`, async () => {
    const gateway = new FakeGateway();
    const connection = await connect(gateway, {token});
    assert.deepStrictEqual(gateway.sockets[0].protocols, [`ws2s.bearer.${encoded}`]);
    assert.strictEqual(gateway.sockets[0].url, URL);
    await connection.close();
  });
}

for (const token of [undefined, null]) {
  test(`token ${token}: no subprotocol is offered, which a gateway would have to choose`, async () => {
    const gateway = new FakeGateway();
    const connection = await connect(gateway, {token});
    assert.strictEqual(gateway.sockets[0].protocols, undefined);
    await connection.close();
  });
}

for (const token of ['', 7, true, ['abc'], {}]) {
  test(`token ${JSON.stringify(token)} is refused before anything is opened`, async () => {
    const gateway = new FakeGateway();
    await assert.rejects(connect(gateway, {token}), TypeError);
    assert.throws(() => new WS2S.Redis(URL, {host: 'h', token, WebSocket: gateway.WebSocket}), TypeError);
    assert.throws(() => new WS2S(URL, {token, WebSocket: gateway.WebSocket}).newSocket(), TypeError);
    assert.strictEqual(gateway.sockets.length, 0);
  });
}

test('a token of the instance is that of all that it opens', async () => {
  const gateway = new FakeGateway(new FakeRedis());
  const instance = new WS2S(URL, {token: 'abc', WebSocket: gateway.WebSocket});
  const connection = await instance.connect({host: 'h', port: 1});
  const client = instance.newRedisClient('h', 6379), socket = instance.newSocket();
  await new Promise(resolve => { client.onReady = resolve; });
  assert.deepStrictEqual(gateway.sockets.map(({protocols}) => protocols), Array(3).fill(['ws2s.bearer.YWJj']));
  await Promise.all([connection.close(), client.close(), socket.close()]);
});

test('a gateway that refuses the token is unreachable, and no error or output holds the token', async t => {
  const said = [];
  for (const name of ['log', 'warn', 'error', 'info', 'debug']) {
    t.mock.method(console, name, (...words) => said.push(...words));
  }
  const gateway = new FakeGateway();
  gateway.refuses = true;
  const token = 'Corr3ct-h0rse', encoded = Buffer.from(token).toString('base64url');
  await assert.rejects(connect(gateway, {token}), error => {
    said.push(error.stack, JSON.stringify(error));
    return isError(1, 'gateway-unreachable', 'does not take the token')(error);
  });
  const socket = new WS2S(URL, {token, WebSocket: gateway.WebSocket}).newSocket();
  await new Promise(resolve => { socket.onClose = resolve; });
  assert.ok(said.length >= 3);
  const {inspect} = require('node:util');
  const text = inspect([...said, socket], {depth: 9, showHidden: true});
  assert.ok(!text.includes(token) && !text.includes(encoded), text);
});
