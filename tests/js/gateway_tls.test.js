/*
 * ws2s.js and the real gateway: TLS to targets, and halves of connections. Wants Node's package ws in
 * WS2S_TEST_NODE_MODULES, as tests/environments.py sets it, and the openssl program; WS2S_TEST_PYTHON runs the gateway.
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
const WS2S = require('../../ws2s-js/ws2s.js');
const {readAll, until} = require('./fake_gateway.js');
const {beginGateway, serve} = require('./real_gateway.js');

const MODULES = process.env.WS2S_TEST_NODE_MODULES;
const skip = MODULES ? false : "needs Node's package ws (python3 tests/environments.py node)";
const MIB = 1024 * 1024;
const SSL_REQUEST = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47);

const world = {};
const bytes = text => new TextEncoder().encode(text);
const sha256 = data => createHash('sha256').update(data).digest('hex');

/* A certificate that is its own authority, and its key: {cert, key}. */
function certificateFor(folder, name, alternatives) {
  const [key, cert] = ['key', 'cert'].map(ending => path.join(folder, `${name}.${ending}`));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
                           '-days', '2', '-subj', `/CN=${name}`, '-addext', `subjectAltName=${alternatives}`,
                           '-keyout', key, '-out', cert], {stdio: 'ignore'});
  return {cert: fs.readFileSync(cert, 'utf8'), key: fs.readFileSync(key, 'utf8')};
}

before(async () => {
  if (skip) return;
  world.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ws2s-'));
  world.server = certificateFor(world.folder, 'server', 'IP:127.0.0.1,DNS:server.test');
  world.client = certificateFor(world.folder, 'client', 'DNS:client.test');
  world.WebSocket = require(path.join(MODULES, 'ws'));
  const config = path.join(world.folder, 'lenient.json');
  fs.writeFileSync(config, JSON.stringify({tls: {allowUnverified: true}}), {mode: 0o600});
  world.strict = await beginGateway(world.folder);
  world.lenient = await beginGateway(world.folder, '--config', config);
});

after(async () => {
  if (skip) return;
  for (const {child, ended} of [world.strict, world.lenient].filter(Boolean)) {
    child.kill();
    await ended;
  }
  fs.rmSync(world.folder, {recursive: true});
});

const echo = socket => socket.pipe(socket);

/* By TLS, what each connection sees of the other end; the port. */
async function serveTls(t, onConnection, options = {}) {
  const server = tls.createServer({...world.server, allowHalfOpen: true, ...options}, socket => {
    socket.on('error', () => {});  // its clients leave as they like
    setImmediate(() => onConnection(socket));  // at once Node would end it without a close_notify, as if it was cut
  });
  server.on('tlsClientError', () => {});
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return server.address().port;
}

/* In the clear. */
async function servePlain(t, onConnection) {
  const server = await serve(onConnection);
  t.after(() => server.close());
  return server.address().port;
}

function connect(port, options, gateway = world.strict) {
  return WS2S.connect(gateway.url, {host: '127.0.0.1', port, WebSocket: world.WebSocket, ...options});
}

const trusting = (options = {}) => ({ca: world.server.cert, ...options});

// -- connect ----------------------------------------------------------------------------------------------------------

for (const binary of [true, false]) {
  test(`1 MiB to an echo by TLS and back, binary ${binary}`, {skip}, async t => {
    const connection = await connect(await serveTls(t, echo), {tls: trusting(), binary});
    const data = randomBytes(MIB);
    const writing = connection.writable.getWriter().write(data).then(() => connection.finish());
    assert.strictEqual(sha256(await readAll(connection.readable)), sha256(data));
    await writing;
    await connection.closed;
  });
}

test('version and protocol are those of the handshake', {skip}, async t => {
  const port = await serveTls(t, echo, {maxVersion: 'TLSv1.2', ALPNProtocols: ['redis', 'x']});
  const connection = await connect(port, {tls: trusting({alpn: ['h2', 'redis']})});
  assert.deepStrictEqual(connection.tls, {version: 'TLSv1.2', alpn: 'redis'});
  await connection.close();
  const newest = await connect(await serveTls(t, echo), {tls: trusting()});
  assert.strictEqual(newest.tls.version, 'TLSv1.3');
  await newest.close();
});

test('the name to verify is sent, too', {skip}, async t => {
  let name;
  const port = await serveTls(t, socket => { name = socket.servername; socket.end(); });
  const connection = await connect(port, {tls: trusting({servername: 'server.test'})});
  await connection.closed;
  assert.strictEqual(name, 'server.test');
});

test('a target that wants a certificate of its client gets it', {skip}, async t => {
  const port = await serveTls(t, socket => socket.end(socket.getPeerCertificate().subject.CN), {
    requestCert: true, rejectUnauthorized: true, ca: world.client.cert,
  });
  const connection = await connect(port, {tls: trusting(world.client)});
  assert.strictEqual((await readAll(connection.readable)).toString(), 'client');
});

const REFUSED = [
  ['nobody vouches for the certificate', () => true, 'tls'],
  ['the authority is another one', () => ({ca: world.client.cert}), 'tls'],
  ['the certificate is for other names', () => trusting({servername: 'other.test'}), 'tls'],
  ['the operator wants all to be verified', () => ({verify: false}), 'bad-request'],
];

for (const [name, options, reason] of REFUSED) {
  test(`nothing is sent when ${name}`, {skip}, async t => {
    let isReached = false;
    const port = await serveTls(t, socket => { socket.on('data', () => { isReached = true; }); });
    const error = await connect(port, {tls: options()}).catch(caught => caught);
    assert.deepStrictEqual([error.name, error.code, error.reason], ['WS2SError', 1, reason], error.message);
    assert.strictEqual(isReached, false);
  });
}

test('without verification where the operator allows it', {skip}, async t => {
  const connection = await connect(await serveTls(t, echo), {tls: {verify: false}}, world.lenient);
  assert.strictEqual(connection.tls.version, 'TLSv1.3');
  await connection.close();
});

const FORMS = [['true', () => true], ['an empty object', () => ({})], ['an authority', () => trusting()]];

for (const [name, options] of FORMS) {
  test(`a target that speaks no TLS sees nothing but the begin of a handshake: ${name}`, {skip}, async t => {
    let seen = Buffer.alloc(0);
    const port = await servePlain(t, socket => {
      socket.on('data', data => { seen = Buffer.concat([seen, data]); socket.end('-ERR what?\r\n'); });
    });
    await assert.rejects(connect(port, {tls: options()}), {name: 'WS2SError', code: 1, reason: 'tls'});
    assert.deepStrictEqual([seen[0], seen[1]], [0x16, 0x03]);
  });
}

test('a Redis client with tls says its password to nobody else', {skip}, async t => {
  let seen = '';
  const port = await servePlain(t, socket => {
    socket.on('data', data => { seen += data.toString('latin1'); socket.end(); });
  });
  const redis = new WS2S.Redis(world.strict.url, {
    host: '127.0.0.1', port, password: 'Corr3ct-h0rse', tls: true, WebSocket: world.WebSocket,
  });
  await assert.rejects(redis.command('PING'), {reason: 'tls'});
  assert.ok(seen && !seen.includes('Corr3ct-h0rse'));
});

// -- startTls ---------------------------------------------------------------------------------------------------------

/* As PostgreSQL: answers a question in the clear, and goes on by TLS. */
const postgres = socket => socket.once('data', question => {
  assert.deepStrictEqual(new Uint8Array(question), SSL_REQUEST);
  socket.write('S');
  secured(socket);
});

function refusing(socket) {
  socket.once('data', () => {
    socket.write('N');
    socket.once('data', () => socket.write('ERROR: what?'));
  });
}

function secured(socket) {
  const secure = new tls.TLSSocket(socket, {isServer: true, ...world.server});
  secure.on('error', () => {});
  secure.pipe(secure);
}

test('startTls() after a question in the clear', {skip}, async t => {
  const connection = await connect(await servePlain(t, postgres));
  const writer = connection.writable.getWriter(), reader = connection.readable.getReader();
  await writer.write(SSL_REQUEST);
  assert.strictEqual((await reader.read()).value[0], 83);
  const starting = connection.startTls(trusting());
  await writer.write(bytes('by TLS'));
  assert.strictEqual((await starting).version, 'TLSv1.3');
  assert.strictEqual(Buffer.from((await reader.read()).value).toString(), 'by TLS');
  await assert.rejects(connection.startTls(trusting()), {code: 1, reason: 'bad-request'});
  await connection.close();
});

const FAILING = [
  ['the certificate is not trusted', postgres, () => true, {code: 1, reason: 'tls'}],
  ['the target does not speak TLS', refusing, () => true, {code: 1, reason: 'tls'}],
  ['the operator wants all to be verified', postgres, () => ({verify: false}), {code: 1, reason: 'bad-request'}],
];

for (const [name, onConnection, options, error] of FAILING) {
  test(`startTls() fails when ${name}, and nothing is sent`, {skip}, async t => {
    let seen = '';
    const connection = await connect(await servePlain(t, socket => {
      onConnection(socket);
      socket.on('data', data => { seen += data.toString('latin1'); });
    }));
    const writer = connection.writable.getWriter();
    await writer.write(SSL_REQUEST);
    await connection.readable.getReader().read();
    const starting = connection.startTls(options());
    const writing = writer.write(bytes('secret'));
    await assert.rejects(starting, {name: 'WS2SError', ...error});
    await assert.rejects(writing);
    await assert.rejects(connection.closed, error);
    assert.ok(!seen.includes('secret'));
  });
}

test('startTls() fails when something in the clear comes between', {skip}, async t => {
  const connection = await connect(await servePlain(t, socket => socket.once('data', () => {
    socket.write('S');
    socket.once('data', () => {
      socket.write('injected');
      secured(socket);
    });
  })));
  const writer = connection.writable.getWriter();
  await writer.write(SSL_REQUEST);
  await connection.readable.getReader().read();
  await writer.write(bytes('more'));
  await assert.rejects(connection.startTls(trusting()), {code: 1, reason: 'tls'});
});

// -- halves -----------------------------------------------------------------------------------------------------------

/* Answers when it has all. */
function digesting(socket) {
  const hash = createHash('sha256');
  socket.on('data', data => hash.update(data));
  socket.on('end', () => socket.end(hash.digest('hex')));
}

const WAYS = [
  ['in the clear', servePlain, () => undefined],
  ['by TLS', serveTls, trusting],
];

for (const [name, begin, options] of WAYS) {
  test(`${name}: after finish() the target answers, and its answer comes whole`, {skip}, async t => {
    const connection = await connect(await begin(t, digesting), {tls: options()});
    const data = randomBytes(3 * MIB);
    connection.writable.getWriter().write(data);
    await connection.finish();
    assert.strictEqual((await readAll(connection.readable)).toString(), sha256(data));
    await connection.closed;
  });

  test(`${name}: with halfOpen a target that has ended its half is still written to`, {skip}, async t => {
    let received = '', isOver = false;
    const connection = await connect(await begin(t, socket => {
      socket.end('last words');
      socket.on('data', data => { received += data; });
      socket.on('end', () => { isOver = true; });
    }), {tls: options(), halfOpen: true});
    await connection.finished;
    assert.strictEqual((await readAll(connection.readable)).toString(), 'last words');
    await connection.writable.getWriter().write(bytes('still here'));
    await connection.finish();
    await connection.closed;
    await until(() => isOver);
    assert.strictEqual(received, 'still here');
  });

  test(`${name}: without halfOpen the end of the target is the end`, {skip}, async t => {
    const connection = await connect(await begin(t, socket => socket.end('last words')), {tls: options()});
    await connection.closed;
    assert.strictEqual((await readAll(connection.readable)).toString(), 'last words');
  });
}
