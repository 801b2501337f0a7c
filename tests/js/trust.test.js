/* ws2s/tls, ws2s/net and ws2s/sockets never say that something is safe which is not, whatever target and gateway do. */
'use strict';

const assert = require('node:assert');
const path = require('node:path');
const {test} = require('node:test');
const {pathToFileURL} = require('node:url');
const {FakeGateway, settled} = require('./fake_gateway.js');
const {plainLibrary} = require('./net_library.js');

const URL = 'ws://gateway.test/';
const SOCKETS = pathToFileURL(path.join(__dirname, '..', '..', 'ws2s-js', 'sockets.mjs')).href;

const told = (socket, event) => new Promise(resolve => socket.once(event, resolve));

/* The library through a gateway of its own. `settings` are more of configure(). */
async function through(t, settings, options) {
  const {net, tls, configure} = await plainLibrary();
  const gateway = new FakeGateway(options);
  configure({gateway: URL, WebSocket: gateway.WebSocket, ...settings});
  t.after(() => configure());
  return {net, tls, gateway};
}

async function startTlsFields(gateway, startTls) {
  const {connect} = await import(SOCKETS);
  const socket = connect('h:7', {secureTransport: 'starttls'});
  await socket.opened;
  const secure = startTls(socket);
  await secure.opened;
  await secure.close();
  return gateway.last.requests.find(({command}) => command === 'starttls');
}

// -- who is verified --------------------------------------------------------------------------------------------------

test('a socket that configure() lets go unverified is unauthorized', async t => {
  const {net, tls} = await through(t, {tls: {verify: false}});
  for (const options of [{port: 7, host: 'h'}, {socket: net.connect(7, 'h'), host: 'h'}]) {
    const socket = tls.connect({...options, checkServerIdentity: assert.fail});
    await told(socket, 'secureConnect');
    assert.deepStrictEqual([socket.authorized, socket.authorizationError], [false, 'ERR_TLS_NOT_VERIFIED']);
    assert.ok(tls.checkServerIdentity('h', socket.getPeerCertificate()) instanceof Error);
    socket.destroy();
  }
});

test('rejectUnauthorized: true goes before what configure() says', async t => {
  const {tls, gateway} = await through(t, {tls: {verify: false}});
  const socket = tls.connect({port: 7, host: 'h', rejectUnauthorized: true});
  await told(socket, 'secureConnect');
  assert.strictEqual(gateway.last.requests.find(({command}) => command === 'connect').tls.verify, true);
  assert.strictEqual(socket.authorized, true);
  socket.destroy();
  const fields = await startTlsFields(gateway, plain => plain.startTls({rejectUnauthorized: true}));
  assert.strictEqual(fields.verify, true);
});

test('a socket that connects once more is unauthorized until that has TLS', async t => {
  const {tls} = await through(t);
  const socket = tls.connect({port: 7, host: 'h'});
  await told(socket, 'secureConnect');
  socket.destroy();
  await told(socket, 'close');
  socket.connect(7, 'h');
  assert.deepStrictEqual([socket.authorized, socket.secureConnecting, socket.alpnProtocol], [false, true, null]);
  await told(socket, 'secureConnect');
  assert.strictEqual(socket.authorized, true);
  socket.destroy();
});

// -- what a target gets that a program refuses ------------------------------------------------------------------------

const REFUSALS = [
  ['checkServerIdentity', {checkServerIdentity: () => new Error('not mine')}], ['minVersion', {minVersion: 'TLSv1.3'}],
];

for (const [what, options] of REFUSALS) {
  for (const how of ['from the beginning', 'by STARTTLS']) {
    test(`a target that ${what} refuses gets nothing of what was written, with TLS ${how}`, async t => {
      const {net, tls, gateway} = await through(t);
      gateway.tls = {version: 'TLSv1.2', alpn: null};
      const way = how === 'by STARTTLS' ? {socket: net.connect(7, 'h')} : {port: 7};
      const socket = tls.connect({...way, host: 'h', ...options});
      socket.write('secret at once');
      socket.on('connect', () => socket.write('secret when connected'));
      await told(socket, 'error');
      await settled();
      assert.deepStrictEqual([gateway.last.clear, gateway.last.secret], ['', '']);
    });
  }
}

test('what was written before TLS is there goes by TLS, in order, behind what secureConnect writes not', async t => {
  const {tls, gateway} = await through(t);
  const socket = tls.connect({port: 7, host: 'h'});
  socket.write('1');
  socket.on('connect', () => socket.write('2'));
  socket.on('secureConnect', () => socket.end('3'));
  await told(socket, 'finish');
  assert.deepStrictEqual([gateway.last.clear, gateway.last.secret], ['', '123']);
  socket.destroy();
});

test('without minVersion a version that Node does not take fails', async t => {
  const {tls, gateway} = await through(t);
  gateway.tls = {version: 'TLSv1.1', alpn: null};
  assert.strictEqual((await told(tls.connect({port: 7, host: 'h'}), 'error')).code, 'ERR_SSL_UNSUPPORTED_PROTOCOL');
  const socket = tls.connect({port: 7, host: 'h', minVersion: 'TLSv1.1'});
  await told(socket, 'secureConnect');
  socket.destroy();
});

// -- what came in the clear -------------------------------------------------------------------------------------------

test('what comes in the clear at the moment TLS is asked for never seems to come by TLS', async t => {
  const {net, tls, gateway} = await through(t);
  for (let turns = 0; turns < 30; turns++) {
    const plain = net.connect(7, 'h');
    plain.on('data', () => {});
    await told(plain, 'ready');
    await settled();
    gateway.last.socket.deliver(new TextEncoder().encode('injected'));
    for (let turn = 0; turn < turns; turn++) await null;
    const secured = tls.connect({socket: plain, host: 'h'});
    let text = '';
    secured.on('data', data => { text += data; });
    secured.on('error', () => {});
    await settled();
    assert.strictEqual(text, '', `after ${turns} turns`);
    secured.destroy();
  }
});

// -- wishes that are not fulfilled ------------------------------------------------------------------------------------

const WRONG = [
  [{minVersion: 'TLS1.3'}, 'ERR_TLS_INVALID_PROTOCOL_VERSION'], [{ca: []}, 'ERR_INVALID_ARG_VALUE'],
  [{ca: ['']}, 'ERR_INVALID_ARG_VALUE'], [{secureContext: {context: {}}}, 'ERR_INVALID_ARG_TYPE'],
];

for (const [options, code] of WRONG) {
  test(`${JSON.stringify(options)} is refused, and does not mean less`, async t => {
    const {tls} = await through(t);
    assert.throws(() => tls.connect({port: 7, host: 'h', ...options}), {code});
  });
}

for (const name of ['secureContext', 'pfx', 'crl', 'minVersion', 'checkServerIdentity']) {
  test(`startTls() of a standard socket refuses ${name}, which it would not heed`, async t => {
    await through(t);
    const {connect} = await import(SOCKETS);
    const socket = connect('h:7', {secureTransport: 'starttls'});
    await socket.opened;
    assert.throws(() => socket.startTls({[name]: 'x'}), {name: 'SocketError', message: new RegExp(name)});
    assert.strictEqual(socket.startTls({[name]: undefined, expectedServerHostname: 'h'}).secureTransport, 'on');
    await socket.close();
  });
}

test('a wish for TLS in the words of another module is refused, and nothing goes in the clear', async t => {
  const {net, gateway} = await through(t);
  assert.match((await told(net.connect({port: 7, host: 'h', tls: true}), 'error')).message, /ws2s\/tls/);
  assert.strictEqual(gateway.sockets.length, 0);
  const {TCPSocket} = await import(SOCKETS);
  for (const options of [{secureTransport: 'on'}, {secureTransport: 'starttls'}, {sni: 'h'}, {alpn: ['x']}]) {
    assert.throws(() => new TCPSocket('h', 7, options), {name: 'TypeError', message: /tls/});
  }
  assert.strictEqual(gateway.sockets.length, 0);
});

test('a protocol that is no list is refused, and not taken for its letters', async t => {
  const {gateway} = await through(t);
  const {connect} = await import(SOCKETS);
  await assert.rejects(connect('h:7', {secureTransport: 'on', alpn: 'h2'}).opened, /tls.alpn must be a list of texts/);
  assert.strictEqual(gateway.sockets.length, 0);
});

// -- a gateway that says anything -------------------------------------------------------------------------------------

for (const reason of ['constructor', '__proto__', 'toString']) {
  test(`the reason ${reason} is an error like any other`, async t => {
    const {net} = await through(t, {}, {failure: [1, reason, 'because']});
    const {code, errno} = await told(net.connect(7, 'h'), 'error');
    assert.deepStrictEqual([code, errno], ['EIO', -5]);
  });
}

test('the end of a half before there is a connection is no exception of nobody', async t => {
  const {net, gateway} = await through(t);
  gateway.isPaused = true;
  const socket = net.connect(7, 'h');
  while (!gateway.last) await settled();
  const reply = {success: false, code: 5, reason: 'finished', message: 'x'};
  assert.doesNotThrow(() => gateway.last.socket.deliver(JSON.stringify(reply)));
  gateway.resume();
  await told(socket, 'end');
  socket.destroy();
});

test('a write of a connection that was given up does not end the next one', async t => {
  const {net, gateway} = await through(t);
  const socket = net.connect(7, 'h');
  await told(socket, 'ready');
  gateway.isPaused = true;
  socket.write(new Uint8Array(4194304), () => {});
  await settled();
  gateway.isPaused = false;
  socket.destroy();
  socket.connect(7, 'h');
  await told(socket, 'ready');
  await settled();
  assert.strictEqual(socket.destroyed, false);
  socket.destroy();
});
