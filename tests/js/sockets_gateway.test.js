/*
 * connect() and TCPSocket of ws2s/sockets, and the real gateway. Wants Node's package ws in WS2S_TEST_NODE_MODULES, as
 * tests/environments.py sets it, and the openssl program; WS2S_TEST_PYTHON runs the gateway.
 */
'use strict';

const assert = require('node:assert');
const {execFileSync} = require('node:child_process');
const {createHash, randomBytes} = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const {after, before, test} = require('node:test');
const tls = require('node:tls');
const {pathToFileURL} = require('node:url');
const {readAll, until} = require('./fake_gateway.js');
const {beginGateway, freePort, serve} = require('./real_gateway.js');

const MODULES = process.env.WS2S_TEST_NODE_MODULES;
const skip = MODULES ? false : "needs Node's package ws (python3 tests/environments.py node)";
const MIB = 1024 * 1024;
const HOST = '127.0.0.1';

const world = {};
const bytes = text => new TextEncoder().encode(text);
const sha256 = data => createHash('sha256').update(data).digest('hex');
const because = reason => error => error instanceof world.SocketError && error.cause.reason === reason;

before(async () => {
  if (skip) return;
  world.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ws2s-'));
  const [key, cert] = ['key', 'cert'].map(name => path.join(world.folder, name));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
                           '-days', '2', '-subj', '/CN=server', '-addext', 'subjectAltName=DNS:server.test',
                           '-keyout', key, '-out', cert], {stdio: 'ignore'});
  world.server = {cert: fs.readFileSync(cert, 'utf8'), key: fs.readFileSync(key, 'utf8')};
  world.gateway = await beginGateway(world.folder);
  const file = path.join(__dirname, '..', '..', 'ws2s-js', 'sockets.mjs');
  Object.assign(world, await import(pathToFileURL(file).href));
  world.WebSocket = require(path.join(MODULES, 'ws'));
  world.configure({gateway: world.gateway.url, WebSocket: world.WebSocket, tls: {ca: world.server.cert}});
});

after(async () => {
  if (skip) return;
  world.gateway.child.kill();
  await world.gateway.ended;
  fs.rmSync(world.folder, {recursive: true});
});

const echo = socket => socket.pipe(socket);

async function served(t, onConnection, options) {
  const server = await serve(onConnection);
  t.after(() => server.close());
  return world.connect({hostname: HOST, port: server.address().port}, options);
}

async function sent(socket, data) {
  const writer = socket.writable.getWriter();
  for (let start = 0; start < data.length; start += 100000) await writer.write(data.subarray(start, start + 100000));
  await writer.close();
}

for (const options of [{}, {binary: false}, {window: 16384}]) {
  test(`3 MiB to an echo and back: ${JSON.stringify(options)}`, {skip}, async t => {
    const socket = await served(t, echo, options), data = randomBytes(3 * MIB);
    const [, back] = await Promise.all([sent(socket, data), readAll(socket.readable)]);
    assert.strictEqual(sha256(back), sha256(data));
    await socket.closed;
  });
}

test('3 MiB read by a BYOB reader', {skip}, async t => {
  const data = randomBytes(3 * MIB);
  const socket = await served(t, peer => peer.end(data));
  const reader = socket.readable.getReader({mode: 'byob'}), pieces = [];
  let view = new Uint8Array(10007);
  for (;;) {
    const {done, value} = await reader.read(view);
    if (done) break;
    pieces.push(Buffer.from(value));  // a copy
    view = new Uint8Array(value.buffer);
  }
  assert.strictEqual(sha256(Buffer.concat(pieces)), sha256(data));
  await socket.closed;
});

test('a target that ends at once, and one that is told of our end', {skip}, async t => {
  const ended = await served(t, peer => peer.end('bye'));
  assert.strictEqual(String(await readAll(ended.readable)), 'bye');
  await ended.closed;
  let heard = '';
  const asked = await served(t, peer => {
    peer.on('data', data => { heard += data; });
    peer.on('end', () => peer.end(`got ${heard}`));
  });
  await sent(asked, bytes('all'));
  assert.strictEqual(String(await readAll(asked.readable)), 'got all');
  await asked.closed;
});

test('what was written before close() reaches the target', {skip}, async t => {
  let received = 0, hasEnded = false;
  const socket = await served(t, peer => {
    peer.on('data', data => { received += data.length; });
    peer.on('end', () => { hasEnded = true; peer.end(); });
  });
  const writer = socket.writable.getWriter();
  const writing = Array.from({length: 50}, () => writer.write(new Uint8Array(100000)));
  await socket.opened;
  await Promise.all([...writing, socket.close()]);
  await until(() => hasEnded, 'the end');
  assert.strictEqual(received, 5000000);
});

test('a target that resets', {skip}, async t => {
  const socket = await served(t, peer => peer.write('part', () => peer.resetAndDestroy()));
  await assert.rejects(socket.closed, because('reset'));
  await assert.rejects(readAll(socket.readable), because('reset'));
});

test('a target that refuses, one that is forbidden, and a name that nobody has', {skip}, async () => {
  await assert.rejects(world.connect(`${HOST}:${await freePort()}`).opened, because('refused'));
  await assert.rejects(world.connect('169.254.169.254:80').opened, because('forbidden'));
  await assert.rejects(world.connect('nobody.invalid:80').opened, because('dns'));
});

async function servedByTls(t, options = {}) {
  const server = tls.createServer({...world.server, allowHalfOpen: true, ...options}, peer => {
    peer.on('error', () => {});  // its clients leave as they like
    setImmediate(() => echo(peer));
  });
  server.on('tlsClientError', () => {});
  await new Promise(resolve => server.listen(0, HOST, resolve));
  t.after(() => server.close());
  return `${HOST}:${server.address().port}`;
}

test("secureTransport 'on': a certificate for that name, and the protocol that was chosen", {skip}, async t => {
  const options = {secureTransport: 'on', sni: 'server.test', alpn: ['other', 'mine']};
  const socket = world.connect(await servedByTls(t, {ALPNProtocols: ['mine']}), options);
  assert.strictEqual((await socket.opened).alpn, 'mine');
  await sent(socket, bytes('secret'));
  assert.strictEqual(String(await readAll(socket.readable)), 'secret');
  await socket.closed;
});

for (const [name, options] of [
  ['for other names', () => ({sni: 'other.test'})],
  ['for no address', () => ({})],
  // What configure() says of TLS is for its own gateway, and this one has another name.
  ['of nobody', () => ({sni: 'server.test', gateway: world.gateway.url.replace(HOST, 'localhost')})],
]) {
  test(`a certificate ${name} is refused`, {skip}, async t => {
    const socket = world.connect(await servedByTls(t), {...options(), secureTransport: 'on'});
    await assert.rejects(socket.opened, because('tls'));
    await assert.rejects(socket.closed, because('tls'));
  });
}

test('startTls() as mail and databases do it', {skip}, async t => {
  const context = tls.createSecureContext(world.server);
  const socket = await served(t, peer => peer.once('data', data => {
    if (String(data) !== 'STARTTLS') return peer.destroy();
    peer.write('GO');
    const secure = new tls.TLSSocket(peer, {isServer: true, secureContext: context});
    secure.on('error', () => {});
    secure.on('secure', () => echo(secure));
  }), {secureTransport: 'starttls', allowHalfOpen: true});
  const writer = socket.writable.getWriter(), reader = socket.readable.getReader();
  await writer.write(bytes('STARTTLS'));
  assert.strictEqual(Buffer.from((await reader.read()).value).toString(), 'GO');
  writer.releaseLock();
  reader.releaseLock();
  const secure = socket.startTls({expectedServerHostname: 'server.test'});
  await Promise.all([socket.closed, secure.opened]);
  const data = randomBytes(MIB);
  const reading = secure.readable.getReader();
  const writing = secure.writable.getWriter().write(data), pieces = [];
  for (let size = 0; size < MIB; size += pieces.at(-1).length) pieces.push((await reading.read()).value);
  await writing;
  assert.strictEqual(sha256(Buffer.concat(pieces)), sha256(data));
  await secure.close();
});

test('TCPSocket: 3 MiB to an echo and back, half by half', {skip}, async t => {
  const server = await serve(echo);
  t.after(() => server.close());
  const socket = new world.TCPSocket(HOST, server.address().port, {noDelay: true}), data = randomBytes(3 * MIB);
  const streams = await socket.opened;
  const [, back] = await Promise.all([sent(streams, data), readAll(streams.readable)]);
  assert.strictEqual(sha256(back), sha256(data));
  await socket.closed;
});

test('TCPSocket: a target that refuses, and one that is forbidden', {skip}, async () => {
  await assert.rejects(new world.TCPSocket(HOST, await freePort()).opened, {name: 'NetworkError'});
  await assert.rejects(new world.TCPSocket('169.254.169.254', 80).opened, {name: 'NotAllowedError'});
});
