/*
 * ws2s.js, Node's package ws, the real gateway and, where there is one, a real redis-server. Wants the folder of the
 * package in WS2S_TEST_NODE_MODULES, as tests/environments.py sets it; WS2S_TEST_PYTHON runs the gateway.
 */
'use strict';

const assert = require('node:assert');
const {createHash, randomBytes} = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const {after, before, test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {until, readAll} = require('./fake_gateway.js');
const {begin, beginGateway, serve, freePort} = require('./real_gateway.js');

const MODULES = process.env.WS2S_TEST_NODE_MODULES;
const REDIS = (process.env.PATH || '').split(path.delimiter).map(folder => path.join(folder, 'redis-server'))
  .find(file => fs.existsSync(file));
const skip = MODULES ? false : "needs Node's package ws (python3 tests/environments.py node)";
const skipRedis = skip || (REDIS ? false : 'needs redis-server');
const MIB = 1024 * 1024;

const world = {};

async function beginRedis(folder) {
  const port = await freePort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--requirepass', 'secret'];
  const redis = begin(REDIS, args, folder, 'stdout');
  await until(() => /Ready to accept connections/.test(redis.lines), 'redis-server to begin');
  return {...redis, port};
}

before(async () => {
  if (skip) return;
  world.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ws2s-'));
  world.WebSocket = require(path.join(MODULES, 'ws'));
  world.gateway = await beginGateway(world.folder);
  if (!skipRedis) world.redis = await beginRedis(world.folder);
});

after(async () => {
  if (skip) return;
  for (const running of [world.gateway, world.redis]) {
    if (!running) continue;
    running.child.kill();
    await running.ended;
  }
  fs.rmSync(world.folder, {recursive: true});
});

function connect(port, options) {
  return WS2S.connect(world.gateway.url, {host: '127.0.0.1', port, WebSocket: world.WebSocket, ...options});
}

/* A connection to a server that does so with each of its connections, and the server's end. */
async function connected(t, onConnection, options) {
  const server = await serve(onConnection);
  t.after(() => server.close());
  return connect(server.address().port, options);
}

const sha256 = data => createHash('sha256').update(data).digest('hex');

for (const binary of [true, false]) {
  test(`8 MiB to an echo and back, binary ${binary}`, {skip}, async t => {
    const connection = await connected(t, socket => socket.pipe(socket), {binary, window: 262144});
    const data = randomBytes(8 * MIB), pieces = [];
    const writer = connection.writable.getWriter();
    const writing = writer.write(data);
    const reader = connection.readable.getReader();
    for (let size = 0; size < data.length; size += pieces[pieces.length - 1].length) {
      pieces.push((await reader.read()).value);
    }
    await writing;
    assert.strictEqual(sha256(Buffer.concat(pieces)), sha256(data));
    await writer.close();
    await connection.closed;
  });
}

test('what was written before the end reaches the target', {skip}, async t => {
  let received = null;
  const connection = await connected(t, socket => {
    const pieces = [];
    socket.on('data', data => pieces.push(data));
    socket.on('end', () => { received = Buffer.concat(pieces); socket.end(); });
  });
  const data = randomBytes(3 * MIB);
  const writer = connection.writable.getWriter();
  writer.write(data);
  await writer.close();
  await until(() => received);
  assert.strictEqual(sha256(received), sha256(data));
});

test('what the target has sent before its end is read to the last byte', {skip}, async t => {
  const data = randomBytes(3 * MIB);
  const connection = await connected(t, socket => socket.end(data), {window: 65536});
  assert.strictEqual(sha256(await readAll(connection.readable)), sha256(data));
  await connection.closed;
});

test('a reset of the target fails both streams', {skip}, async t => {
  const connection = await connected(t, socket => socket.resetAndDestroy());
  await assert.rejects(connection.closed, {name: 'WS2SError', code: 5, reason: 'reset'});
  await assert.rejects(readAll(connection.readable), {reason: 'reset'});
});

test('while nobody reads, the target cannot send much more than the window', {skip}, async t => {
  let target;
  const connection = await connected(t, socket => { target = socket; socket.write(Buffer.alloc(64 * MIB)); });
  await until(() => target && target.bytesWritten > 0);
  let before = null;
  while (before !== target.writableLength) {
    before = target.writableLength;
    await new Promise(resolve => setTimeout(resolve, 200));
  }
  assert.ok(target.writableLength > 32 * MIB, `${target.writableLength} bytes still wait at the target`);
  const reader = connection.readable.getReader();
  for (let size = 0; size < 64 * MIB;) size += (await reader.read()).value.length;
  await connection.close();
  target.destroy();
});

/* Writes until nothing more is taken; tells how the last write ends. */
async function writeUntilStuck(writer) {
  let taken = 0, before = null;
  const end = (async () => {
    for (;; taken++) await writer.write(new Uint8Array(65536));
  })().catch(error => error);
  while (before !== taken) {
    before = taken;
    await new Promise(resolve => setTimeout(resolve, 200));
  }
  return {end};
}

test('abort() ends at once though close() waits for a target that does not read', {skip}, async t => {
  let target;
  const connection = await connected(t, socket => { target = socket.pause(); });
  const writing = await writeUntilStuck(connection.writable.getWriter());
  let isAborted = false;
  const closing = connection.close().catch(error => { assert.ok(isAborted); return error; });
  assert.strictEqual((await writing.end).reason, 'closed');
  isAborted = true;
  connection.abort();
  assert.strictEqual((await closing).reason, 'aborted');
  target.destroy();
});

test('an echo that reads only when it could write: 40 MiB, and a reader that is slow', {skip}, async t => {
  const connection = await connected(t, socket => socket.pipe(socket));
  const size = 40 * MIB, writer = connection.writable.getWriter();
  let isWritten = false;
  const writing = writer.write(new Uint8Array(size)).then(() => { isWritten = true; });
  const reader = connection.readable.getReader();
  for (let read = 0; read < size;) {
    if (!isWritten) await new Promise(resolve => setTimeout(resolve, 1));
    read += (await reader.read()).value.length;
  }
  await writing;
  await connection.close();
});

test('refused, forbidden and unknown targets reject with their reasons', {skip}, async () => {
  await assert.rejects(connect(await freePort()), {name: 'WS2SError', code: 2, reason: 'refused'});
  await assert.rejects(connect(80, {host: '169.254.169.254'}), {code: 4, reason: 'forbidden'});
  await assert.rejects(connect(80, {host: 'a b'}), {code: 1, reason: 'bad-request'});
});

test('a gateway that is not there', {skip}, async () => {
  const url = `ws://127.0.0.1:${await freePort()}/`;
  await assert.rejects(WS2S.connect(url, {host: 'h', port: 1, WebSocket: world.WebSocket}), {
    name: 'WS2SError', code: 1, reason: 'gateway-unreachable',
  });
});

test('a signal ends an attempt', {skip}, async () => {
  const controller = new AbortController();
  const connecting = connect(80, {signal: controller.signal});
  controller.abort();
  await assert.rejects(connecting, {name: 'AbortError'});
});

test('the old interface', {skip}, async t => {
  const server = await serve(socket => socket.pipe(socket));
  t.after(() => server.close());
  const socket = new WS2S(world.gateway.url, {WebSocket: world.WebSocket}).newSocket();
  const told = [];
  socket.onOpen = () => told.push('open');
  socket.onRecv = bytes => told.push(Buffer.from(bytes).toString());
  socket.onClose = () => told.push('close');
  socket.connect('127.0.0.1', server.address().port);
  socket.send('hello');
  await until(() => told.includes('hello'));
  socket.close();
  await until(() => told.includes('close'));
  assert.deepStrictEqual(told, ['open', 'hello', 'close']);
});

// -- Redis ------------------------------------------------------------------------------------------------------------

function client(options) {
  return new WS2S.Redis(world.gateway.url, {
    host: '127.0.0.1', port: world.redis.port, password: 'secret', WebSocket: world.WebSocket, ...options,
  });
}

for (const protocol of [2, 3]) {
  test(`RESP${protocol}: values, lists, errors`, {skip: skipRedis}, async () => {
    const redis = client({protocol, db: protocol});
    const value = new Uint8Array(randomBytes(2 * MIB));
    assert.strictEqual(await redis.command('SET', 'k', value), 'OK');
    assert.strictEqual(sha256(await redis.command('GET', 'k')), sha256(value));
    assert.strictEqual(await redis.command('GET', 'nothing'), null);
    await redis.command('RPUSH', 'l', ...Array.from({length: 5000}, (_, i) => i));
    assert.deepStrictEqual(await redis.text('LRANGE', 'l', -2, -1), ['4998', '4999']);
    await assert.rejects(redis.command('INCR', 'l'), {name: 'RedisError', code: 'WRONGTYPE'});
    await redis.command('HSET', 'h', 'f', 'v');
    const hash = await redis.text('HGETALL', 'h');
    assert.deepStrictEqual(hash, protocol === 3 ? new Map([['f', 'v']]) : ['f', 'v']);
    await redis.command('FLUSHDB');
    await redis.close();
  });

  test(`RESP${protocol}: messages reach a subscriber, after a reconnect too`, {skip: skipRedis}, async () => {
    const subscriber = client({protocol, text: true, retry: {first: 10}}), publisher = client();
    const told = [];
    let lost = 0;
    subscriber.onLost = () => { lost++; };
    await subscriber.subscribe('c', message => told.push(message));
    await publisher.command('PUBLISH', 'c', 'one');
    await until(() => told.length === 1);
    await publisher.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await until(() => lost === 1);
    let receivers = 0;
    while (!receivers) receivers = await publisher.command('PUBLISH', 'c', 'two');
    await until(() => told.length === 2);
    assert.deepStrictEqual(told, ['one', 'two']);
    await Promise.all([subscriber.close(), publisher.close()]);
  });
}

test('P11: a transaction ends with its connection, and multi() is one', {skip: skipRedis}, async () => {
  const redis = client({text: true, retry: {first: 10}}), other = client({text: true});
  let ready = 0;
  redis.onReady = () => { ready++; };
  const id = await redis.command('CLIENT', 'ID');
  assert.strictEqual(await redis.command('MULTI'), 'OK');
  await other.command('CLIENT', 'KILL', 'ID', id);
  await until(() => ready === 2);
  await assert.rejects(redis.command('SET', 'tx', '1'), {name: 'WS2SError', reason: 'transaction-lost'});
  await assert.rejects(redis.command('EXEC'), {reason: 'transaction-lost'});
  assert.strictEqual(await other.command('EXISTS', 'tx'), 0);
  const [set, push, count] = await redis.multi([['SET', 'tx', '1'], ['LPUSH', 'tx', 'x'], ['INCR', 'tx']]);
  assert.deepStrictEqual([set, push.code, count], ['OK', 'WRONGTYPE', 2]);
  await assert.rejects(redis.multi([['SET', 'tx', '9'], ['NONSENSE']]), {name: 'RedisError', code: 'ERR'});
  assert.strictEqual(await redis.command('GET', 'tx'), '2');
  await redis.command('WATCH', 'tx');
  await other.command('DEL', 'tx');
  assert.strictEqual(await redis.multi([['SET', 'tx', '3']]), null);
  await Promise.all([redis.close(), other.close()]);
});

test('SELECT holds for the next connection', {skip: skipRedis}, async () => {
  const redis = client({text: true, retry: {first: 10}}), other = client();
  await redis.command('SELECT', 7);
  let ready = 0;
  redis.onReady = () => { ready++; };
  await other.command('CLIENT', 'KILL', 'ID', await redis.command('CLIENT', 'ID'));
  await until(() => ready);
  assert.match(await redis.command('CLIENT', 'LIST', 'ID', await redis.command('CLIENT', 'ID')), / db=7 /);
  await Promise.all([redis.close(), other.close()]);
});

const PORTS = {
  'HTTP': socket => socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')),
  'TLS': socket => socket.once('data', () => socket.end(Buffer.from('15030100020228', 'hex'))),
  'SMTP': socket => socket.write('220 mail.test ESMTP ready\r\n'),
  'POP3': socket => socket.write('+OK ready\r\n'),
};

for (const [speaks, onConnection] of Object.entries(PORTS)) {
  test(`P6: a port that speaks ${speaks} is named`, {skip}, async t => {
    const server = await serve(onConnection);
    t.after(() => server.close());
    const {port} = server.address();
    const redis = new WS2S.Redis(world.gateway.url, {host: '127.0.0.1', port, WebSocket: world.WebSocket});
    const closed = new Promise(resolve => { redis.onClose = resolve; });
    await assert.rejects(redis.command('PING'), new RegExp(`seems to speak ${speaks}`));
    const {reason, speaks: found} = await closed;
    assert.deepStrictEqual([reason, found], ['protocol', speaks]);
  });
}

test('P4: a target that says nothing is given up after commandTimeout', {skip}, async t => {
  const server = await serve(() => {});
  t.after(() => server.close());
  const {port} = server.address();
  const redis = new WS2S.Redis(world.gateway.url, {
    host: '127.0.0.1', port, WebSocket: world.WebSocket, commandTimeout: 200,
  });
  await assert.rejects(redis.command('PING'), /has not answered PING for 0.2 seconds/);
  await redis.close();
});

test('many commands at once', {skip: skipRedis}, async () => {
  const redis = client({text: true});
  const replies = await Promise.all(Array.from({length: 20000}, (_, i) => redis.command('ECHO', i)));
  assert.ok(replies.every((reply, i) => reply === String(i)));
  await redis.close();
});

test('a wrong password', {skip: skipRedis}, async () => {
  await assert.rejects(client({password: 'wrong'}).command('PING'), {name: 'RedisError', code: 'WRONGPASS'});
});

test('the old Redis client', {skip: skipRedis}, async () => {
  const redis = new WS2S(world.gateway.url, {WebSocket: world.WebSocket})
    .newRedisCient('127.0.0.1', world.redis.port, 'secret');
  const told = [];
  redis.onReady = () => told.push('ready');
  redis.onResponse = data => told.push(data);
  redis.onError = error => told.push(error);
  redis.request('set k "a b"\nget k\nget nothing\nlrange nothing 0 -1\nincr n\nincr k');
  await until(() => told.length === 7);
  assert.deepStrictEqual(told.slice(0, 6), ['ready', 'OK', 'a b', null, '', 1]);
  assert.match(told[6], /^ERR/);
  await redis.close();
});
