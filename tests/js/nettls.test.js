/*
 * ws2s/tls does what Node's own tls does: the same programs, by straight TCP and through a real gateway, see the same
 * events, orders and errors. Wants openssl, and Node packages in WS2S_TEST_NODE_MODULES, as tests/environments.py sets
 * it; WS2S_TEST_PYTHON runs the gateway.
 */
'use strict';

const assert = require('node:assert');
const {execFileSync} = require('node:child_process');
const {once} = require('node:events');
const fs = require('node:fs');
const nodeNet = require('node:net');
const nodeTls = require('node:tls');
const os = require('node:os');
const path = require('node:path');
const {after, before, test} = require('node:test');
const {beginGateway} = require('./real_gateway.js');
const {MODULES, STREAMS, library} = require('./net_library.js');
const {beginSecureServer, beginServer, play} = require('./net_stage.js');
const {SCENARIOS} = require('./nettls_scenarios.js');

const skip = MODULES ? false : 'needs packages of Node (python3 tests/environments.py node)';
const DEADLINE = {timeout: 20000, skip};

const world = {};
const expected = new Map();

/* A certificate that is its own authority, and its key: {cert, key}. */
function certificateFor(name, alternatives) {
  const [key, cert] = ['key', 'cert'].map(ending => path.join(world.folder, `${name}.${ending}`));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
                           '-days', '2', '-subj', `/CN=${name}`, '-addext', `subjectAltName=${alternatives}`,
                           '-keyout', key, '-out', cert], {stdio: 'ignore'});
  return {cert: fs.readFileSync(cert, 'utf8'), key: fs.readFileSync(key, 'utf8')};
}

before(async () => {
  if (skip) return;
  world.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ws2s-'));
  world.server = certificateFor('server', 'IP:127.0.0.1,DNS:server.test');
  world.client = certificateFor('client', 'DNS:client.test');
  const config = path.join(world.folder, 'lenient.json');
  fs.writeFileSync(config, JSON.stringify({tls: {allowUnverified: true}}), {mode: 0o600});
  world.strict = await beginGateway(world.folder);
  world.lenient = await beginGateway(world.folder, '--config', config);
});

after(async () => {
  for (const {child, ended} of [world.strict, world.lenient].filter(Boolean)) {
    child.kill();
    await ended;
  }
  if (world.folder) fs.rmSync(world.folder, {recursive: true});
});

function played(scenario, modules) {
  return play(scenario, {...modules, ca: world.server.cert, client: world.client}, world.server);
}

async function expectation(scenario) {
  if (!expected.has(scenario)) expected.set(scenario, await played(scenario, {net: nodeNet, tls: nodeTls}));
  return expected.get(scenario);
}

async function through(stream, gateway = world.strict) {
  const {configure, ...modules} = await library(stream);
  configure({gateway: gateway.url, WebSocket: require(path.join(MODULES, 'ws'))});
  return modules;
}

for (const stream of STREAMS) {
  for (const scenario of SCENARIOS) {
    test(`${stream}: ${scenario.name}`, DEADLINE, async () => {
      assert.deepStrictEqual(await played(scenario, await through(stream)), await expectation(scenario));
    });
  }
}

const told = (socket, event) => new Promise(resolve => socket.once(event, resolve));
const HOST = '127.0.0.1';

/* A server by TLS, for as long as `use(port)` takes. */
async function besideServer(use, onConnection = socket => socket.pipe(socket)) {
  const server = await beginSecureServer(onConnection, world.server);
  try {
    await use(server.port);
  } finally {
    await server.end();
  }
}

test('rejectUnauthorized: false is refused by a gateway that verifies', DEADLINE, async () => {
  const {tls} = await through('node');
  await besideServer(async port => {
    const error = await told(tls.connect({port, host: HOST, rejectUnauthorized: false}), 'error');
    assert.strictEqual(error.code, 'EINVAL');
    assert.match(error.message, /this gateway verifies certificates/);
  });
});

test('rejectUnauthorized: false is unauthorized, since nobody has verified anything', DEADLINE, async () => {
  const {tls} = await through('node', world.lenient);
  await besideServer(async port => {
    const socket = tls.connect({port, host: HOST, rejectUnauthorized: false, checkServerIdentity: assert.fail});
    await told(socket, 'secureConnect');
    assert.deepStrictEqual([socket.authorized, socket.authorizationError], [false, 'ERR_TLS_NOT_VERIFIED']);
    assert.strictEqual(tls.checkServerIdentity(HOST, socket.getPeerCertificate()).code, 'ERR_TLS_CERT_ALTNAME_INVALID');
    socket.destroy();
    await told(socket, 'close');
  });
});

test('a program that looks into the certificate fails', DEADLINE, async () => {
  const {tls} = await through('node');
  await besideServer(async port => {
    const checkServerIdentity = (name, {subject}) => subject.CN === 'server' ? undefined : new Error('x');
    const socket = tls.connect({port, host: HOST, ca: world.server.cert, checkServerIdentity});
    const error = await told(socket, 'error');
    assert.strictEqual(error.code, 'ERR_TLS_CERT_ALTNAME_INVALID');
    assert.match(error.message, /a gateway does not show the certificate/);
    assert.strictEqual(socket.authorized, false);
  });
});

test('a version that is older than wanted fails', DEADLINE, async () => {
  const {tls} = await through('node');
  const old = {...world.server, maxVersion: 'TLSv1.2'};
  const server = await beginSecureServer(socket => socket.resume(), old);
  const error = await told(tls.connect({port: server.port, host: HOST, ca: old.cert, minVersion: 'TLSv1.3'}), 'error');
  assert.strictEqual(error.code, 'ERR_SSL_UNSUPPORTED_PROTOCOL');
  await server.end();
});

test('a target that does not speak TLS', DEADLINE, async () => {
  const {tls} = await through('node'), server = await beginServer(socket => socket.end('SSH-2.0-OpenSSH_9.2\r\n'));
  const error = await told(tls.connect({port: server.port, host: HOST}), 'error');
  assert.strictEqual(error.code, 'ERR_SSL_WRONG_VERSION_NUMBER');
  await server.end();
});

for (const [how, words] of [['at once', ['Sinjected']], ['in the next piece', ['S', 'injected']]]) {
  test(`what is put before TLS ${how} never seems to come by TLS`, DEADLINE, async () => {
    const {net, tls} = await through('node');
    const server = await beginServer(socket => socket.once('data', async () => {
      for (const text of words) {
        socket.write(text);
        await new Promise(resolve => setImmediate(resolve));
      }
    }));
    const plain = net.connect(server.port, HOST);
    plain.write('?');
    const [answer] = await once(plain, 'data');
    // It may all come in one, and a program that reads on gives back what is not its own.
    if (answer.length > 1) plain.unshift(answer.subarray(1));
    const socket = tls.connect({socket: plain, ca: world.server.cert, host: HOST});
    socket.on('data', assert.fail);
    const error = await told(socket, 'error');
    assert.strictEqual(error.code, 'ERR_SSL_WRONG_VERSION_NUMBER');
    await server.end();
  });
}

test('nothing more is written in the clear once TLS was asked for', DEADLINE, async () => {
  const {net, tls} = await through('node');
  let clear = '';
  const server = await beginServer(socket => socket.on('data', data => { clear += data.toString('latin1'); }));
  const plain = net.connect(server.port, HOST);
  plain.on('error', () => {});
  plain.write('before');
  await told(plain, 'ready');
  plain.write(' and behind');
  const socket = tls.connect({socket: plain, ca: world.server.cert, host: HOST});
  socket.write('secret');
  const {until} = require('./fake_gateway.js');
  await until(() => clear.includes('\x16\x03'), 'the beginning of a handshake');
  const error = await new Promise(resolve => plain.write('late', resolve));
  assert.strictEqual(error.code, 'EPIPE');
  assert.ok(clear.startsWith('before and behind\x16\x03'), clear);
  assert.ok(!clear.includes('secret'));
  await server.end();
});

test('TLS within TLS is refused', DEADLINE, async () => {
  const {tls} = await through('node');
  await besideServer(async port => {
    const socket = tls.connect({port, host: HOST, ca: world.server.cert});
    assert.throws(() => tls.connect({socket}), {code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM'});
    socket.destroy();
    await told(socket, 'close');
  });
});

test('configure() may say what all connections with TLS trust', DEADLINE, async () => {
  const {configure, tls, net} = await library('node');
  configure({gateway: world.strict.url, WebSocket: require(path.join(MODULES, 'ws')), tls: {ca: world.server.cert}});
  await besideServer(async port => {
    for (const options of [{port, host: HOST}, {socket: net.connect(port, HOST), host: HOST}]) {
      const socket = tls.connect(options);
      await told(socket, 'secureConnect');
      socket.destroy();
      await told(socket, 'close');
    }
  });
});
