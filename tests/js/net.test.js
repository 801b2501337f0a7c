/*
 * ws2s/net does what Node's own net does: the same programs, by straight TCP and through a real gateway, see the same
 * events, orders and errors. Wants Node packages in WS2S_TEST_NODE_MODULES, as tests/environments.py sets it;
 * WS2S_TEST_PYTHON runs the gateway.
 */
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const nodeNet = require('node:net');
const os = require('node:os');
const path = require('node:path');
const {after, before, test} = require('node:test');
const {beginGateway} = require('./real_gateway.js');
const {MODULES, STREAMS, library} = require('./net_library.js');
const {SCENARIOS} = require('./net_scenarios.js');
const {beginServer, play} = require('./net_stage.js');

const skip = MODULES ? false : 'needs packages of Node (python3 tests/environments.py node)';
const DEADLINE = {timeout: 20000, skip};

const world = {};
const expected = new Map();  // of each scenario, by straight TCP

before(async () => {
  if (skip) return;
  world.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ws2s-'));
  world.gateway = await beginGateway(world.folder);
});

after(async () => {
  if (!world.gateway) return;
  world.gateway.child.kill();
  await world.gateway.ended;
  fs.rmSync(world.folder, {recursive: true});
});

async function expectation(scenario) {
  if (!expected.has(scenario)) expected.set(scenario, await play(scenario, {net: nodeNet}));
  return expected.get(scenario);
}

/* The net of a stream, through the gateway of `url`. */
async function through(stream, url = world.gateway.url) {
  const {net, configure} = await library(stream);
  configure({gateway: url, WebSocket: require(path.join(MODULES, 'ws'))});
  return net;
}

for (const stream of STREAMS) {
  for (const scenario of SCENARIOS.filter(({isUnlike}) => isUnlike !== stream)) {
    test(`${stream}: ${scenario.name}`, DEADLINE, async () => {
      assert.deepStrictEqual(await play(scenario, {net: await through(stream)}), await expectation(scenario));
    });
  }
}

function failure(socket) {
  return new Promise(resolve => socket.once('error', resolve));
}

test('a name that leads nowhere is ENOTFOUND', DEADLINE, async () => {
  const net = await through('node');
  const {code, errno, syscall, hostname, message, cause} = await failure(net.connect(1, 'nowhere.invalid'));
  assert.deepStrictEqual({code, errno, syscall, hostname},
    {code: 'ENOTFOUND', errno: -3008, syscall: 'getaddrinfo', hostname: 'nowhere.invalid'});
  assert.match(message, /^getaddrinfo ENOTFOUND nowhere\.invalid \(.+\)$/);
  assert.strictEqual(cause.reason, 'dns');
});

test('what is written just before destroy() arrives', DEADLINE, async () => {
  const net = await through('node'), server = await beginServer(socket => socket.resume());
  const socket = net.connect(server.port, '127.0.0.1');
  await new Promise(resolve => socket.once('connect', resolve));
  socket.write('QUIT');
  socket.destroy();
  await new Promise(resolve => socket.once('close', resolve));
  const {until} = require('./fake_gateway.js');
  await until(() => server.seen[0].ended, 'the end');
  assert.strictEqual(server.seen[0].text, 'QUIT');
  await server.end();
});

test('a gateway that dies is a reset', DEADLINE, async () => {
  const gateway = await beginGateway(world.folder);
  const net = await through('node', gateway.url), server = await beginServer(socket => socket.resume());
  const socket = net.connect(server.port, '127.0.0.1');
  await new Promise(resolve => socket.once('connect', resolve));
  const failed = failure(socket), closed = new Promise(resolve => socket.once('close', resolve));
  gateway.child.kill('SIGKILL');
  const error = await failed;
  assert.deepStrictEqual([error.code, error.syscall, error.cause.reason], ['ECONNRESET', 'read', 'gateway-lost']);
  assert.strictEqual(await closed, true);
  await gateway.ended;
  await server.end();
});
