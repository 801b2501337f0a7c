/*
 * cluster.mjs, the real gateway and a real cluster of three masters and a replica. Wants redis-server, and Node's
 * package ws in WS2S_TEST_NODE_MODULES, as tests/environments.py sets it; WS2S_TEST_PYTHON runs the gateway.
 */
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const {after, before, test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {until} = require('./fake_gateway.js');
const {begin, beginGateway, freePort} = require('./real_gateway.js');

const MODULES = process.env.WS2S_TEST_NODE_MODULES;
const REDIS = (process.env.PATH || '').split(path.delimiter).map(folder => path.join(folder, 'redis-server'))
  .find(file => fs.existsSync(file));
const skip = MODULES && REDIS ? false : "needs Node's package ws (python3 tests/environments.py node) and redis-server";
const SLOTS = 16384;
const PASSWORD = 'secret';
const world = {nodes: []};

async function beginNode() {
  const [port, bus] = [await freePort(), await freePort()];
  const folder = fs.mkdtempSync(path.join(world.folder, 'node-'));
  const args = [
    '--port', port, '--bind', '127.0.0.1', '--save', '', '--requirepass', PASSWORD, '--masterauth', PASSWORD,
    '--cluster-enabled', 'yes', '--cluster-port', bus, '--cluster-node-timeout', '1000',
    '--repl-diskless-sync-delay', '0',
  ];
  const running = begin(REDIS, args.map(String), folder, 'stdout');
  const node = {...running, port, bus, redis: open(port)};
  world.nodes.push(node);
  await until(() => /Ready to accept connections/.test(running.lines), 'redis-server to begin');
  node.id = await node.redis.command('CLUSTER', 'MYID');
  return node;
}

function open(port) {
  const options = {host: '127.0.0.1', port, password: PASSWORD, text: true, WebSocket: world.WebSocket};
  const redis = new WS2S.Redis(world.gateway.url, options);
  redis.onLost = () => {};
  return redis;
}

async function eventually(isSo) {
  for (const deadline = Date.now() + 30000; !await isSo();) {
    assert.ok(Date.now() < deadline, `waited in vain for ${isSo}`);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}

/* Until `isRight(text)` of what each node answers. */
function agreed(words, isRight) {
  return eventually(async () => {
    const answers = await Promise.all(world.nodes.map(({redis}) => redis.command(...words)));
    return answers.every(isRight);
  });
}

async function beginCluster() {
  for (let i = 0; i < 4; i++) await beginNode();
  const [first, ...others] = world.nodes;
  const slots = Array.from({length: SLOTS}, (_, slot) => slot);
  for (const [i, {redis}] of world.nodes.slice(0, 3).entries()) {
    const own = slots.filter(slot => Math.floor(3 * slot / SLOTS) === i);
    await redis.command('CLUSTER', 'ADDSLOTS', ...own);
    await redis.command('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
  }
  for (const {port, bus} of others) await first.redis.command('CLUSTER', 'MEET', '127.0.0.1', port, bus);
  await agreed(['CLUSTER', 'INFO'], text => /cluster_known_nodes:4/.test(text));
  await world.nodes[3].redis.command('CLUSTER', 'REPLICATE', world.nodes[2].id);
  await agreed(['CLUSTER', 'INFO'], text => /cluster_state:ok/.test(text));
  await agreed(['CLUSTER', 'NODES'], text => /slave/.test(text));
}

before(async () => {
  if (skip) return;
  world.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ws2s-'));
  world.WebSocket = require(path.join(MODULES, 'ws'));
  ({RedisCluster: world.RedisCluster, slotOf: world.slotOf} = await import('../../ws2s-js/cluster.mjs'));
  world.gateway = await beginGateway(world.folder);
  await beginCluster();
});

after(async () => {
  if (skip) return;
  for (const {redis} of world.nodes) await redis.close();
  for (const running of [...world.nodes, world.gateway]) {
    running.child.kill();
    await running.ended;
  }
  fs.rmSync(world.folder, {recursive: true});
});

function start(t, options) {
  const cluster = new world.RedisCluster(world.gateway.url, {
    host: '127.0.0.1', port: world.nodes[0].port, password: PASSWORD, text: true, WebSocket: world.WebSocket,
    ...options,
  });
  t.after(() => cluster.close());
  return cluster;
}

test('a hundred keys, over all nodes, and the slots are those that Redis knows', {skip}, async t => {
  const cluster = start(t);
  const keys = Array.from({length: 100}, (_, i) => i % 2 ? `key:${i}` : `\u00e9{tag ${i}}${i}`);
  await Promise.all(keys.map((key, i) => cluster.command('SET', key, i)));
  const values = await Promise.all(keys.map(key => cluster.command('GET', key)));
  assert.deepStrictEqual(values, keys.map((_, i) => String(i)));
  for (const key of keys) {
    assert.strictEqual(await cluster.command('CLUSTER', 'KEYSLOT', key), world.slotOf(key));
  }
  const sizes = await Promise.all((await cluster.nodes()).map(node => node.command('DBSIZE')));
  assert.strictEqual(sizes.length, 3);
  assert.strictEqual(sizes.reduce((sum, size) => sum + size), 100);
  assert.ok(sizes.every(size => size > 0));
});

test('commands whose key is not their first word reach its node', {skip}, async t => {
  const cluster = start(t);
  const lines = [
    'XADD s 1-1 a b', 'XREAD COUNT 1 STREAMS s 0', 'XGROUP CREATE s g 0', 'XREADGROUP GROUP g c STREAMS s >',
    'XINFO STREAM s', 'OBJECT ENCODING s', 'MEMORY USAGE s', 'ZADD {z}1 1 a', 'ZUNION 1 {z}1',
    'ZUNIONSTORE {z}2 1 {z}1', 'ZMPOP 1 {z}2 MIN', 'BITOP NOT {b}2 {b}1', 'SORT {z}1 BY nosort STORE {z}3',
    'LMPOP 1 list LEFT', 'SINTERCARD 1 set',
  ];
  for (const line of lines) await cluster.command(...line.split(' '));
  assert.deepStrictEqual(await cluster.command('EVAL', 'return {KEYS[1], ARGV[1]}', 1, 'x', 'y'), ['x', 'y']);
  assert.strictEqual(await cluster.command('EVAL', 'return 7', 0), 7);
  await assert.rejects(cluster.command('MGET', 'foo', 'bar'), {name: 'RedisError', code: 'CROSSSLOT'});
  await assert.rejects(cluster.multi([['GET', 'foo'], ['MGET', 'foo', 'bar']]), {code: 'CROSSSLOT'});
});

test('a slot that moves: ASK and TRYAGAIN while it does, MOVED afterwards, transactions as well', {skip}, async t => {
  const cluster = start(t);
  const [source, target] = [world.nodes[2], world.nodes[0]], slot = world.slotOf('{foo}');
  await cluster.command('MSET', '{foo}1', 'a', '{foo}2', 'b');
  await target.redis.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', source.id);
  await source.redis.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target.id);
  const migrate = key => source.redis.command(
    'MIGRATE', '127.0.0.1', target.port, key, 0, 5000, 'AUTH', PASSWORD);
  await migrate('{foo}1');
  assert.strictEqual(await cluster.command('GET', '{foo}1'), 'a');
  assert.strictEqual(await cluster.command('GET', '{foo}2'), 'b');
  assert.deepStrictEqual(await cluster.multi([['GET', '{foo}1'], ['APPEND', '{foo}1', 'a']]), ['a', 2]);
  const both = cluster.command('MGET', '{foo}1', '{foo}2');
  await new Promise(resolve => setTimeout(resolve, 200));
  await migrate('{foo}2');
  assert.deepStrictEqual(await both, ['aa', 'b']);
  for (const {redis} of [target, source]) await redis.command('CLUSTER', 'SETSLOT', slot, 'NODE', target.id);
  assert.deepStrictEqual(await cluster.multi([['MGET', '{foo}1', '{foo}2'], ['INCR', '{foo}n']]), [['aa', 'b'], 1]);
  assert.deepStrictEqual(await cluster.command('MGET', '{foo}1', '{foo}2'), ['aa', 'b']);
});

test('messages come from whichever node they are published on', {skip}, async t => {
  const cluster = start(t, {protocol: 3});
  const heard = [];
  await cluster.subscribe('c', message => heard.push(message));
  for (const [i, node] of (await cluster.nodes()).entries()) await node.command('PUBLISH', 'c', String(i));
  await until(() => heard.length === 3);
});

test('RESP3: what a node has cached for us is told to be invalid', {skip}, async t => {
  const cluster = start(t, {protocol: 3});
  const told = [];
  cluster.onPush = items => told.push(items);
  await (await cluster.nodeOf('cached')).command('CLIENT', 'TRACKING', 'ON');
  await cluster.command('GET', 'cached');
  const other = start(t);
  await other.command('SET', 'cached', 1);
  await until(() => told.length);
  assert.deepStrictEqual(told, [['invalidate', ['cached']]]);
});

const KEY = 'x';  // of slot 16287

test('a master is stopped: nothing is repeated, and what follows goes to its replica', {skip}, async t => {
  const cluster = start(t), [, , old, next] = world.nodes;
  await cluster.command('SET', KEY, 0);
  await replicated(cluster);
  t.after(() => old.child.kill('SIGCONT'));
  old.child.kill('SIGSTOP');
  const asked = assert.rejects(cluster.command('INCR', KEY), {reason: 'not-answered'});
  const silent = await cluster.nodeOf(KEY);
  await eventually(async () => (await next.redis.command('ROLE')).includes('master'));
  await eventually(async () => await cluster.nodeOf(KEY) !== silent);
  assert.strictEqual(await cluster.command('INCR', KEY), 1);
  await cluster.close();
  await asked;
});

/* The node that has the key has a replica, which has all of it. */
function replicated(cluster) {
  return eventually(async () => await (await cluster.nodeOf(KEY)).command('WAIT', 1, 500) === 1);
}

test('a master is killed: nothing is counted twice, and what follows goes to its replica', {skip}, async t => {
  const cluster = start(t);
  cluster.onLost = () => {};
  const heard = [];
  await cluster.subscribe('news', message => heard.push(message));
  let answered = 0, unsure = 0;
  const ask = () => cluster.command('INCR', KEY).then(() => answered++, error => {
    assert.strictEqual(error.reason, 'not-answered', error.stack);
    unsure++;
  });
  await cluster.command('SET', KEY, 0);
  await replicated(cluster);
  await Promise.all(Array.from({length: 50}, ask));
  await replicated(cluster);
  const [, , next, old] = world.nodes;  // as the test before has left them
  old.child.kill('SIGKILL');
  await old.ended;
  await ask();
  await ask();
  const value = Number(await cluster.command('GET', KEY));
  assert.ok(value >= answered && value <= answered + unsure, `${value} ${answered} ${unsure}`);
  assert.ok(answered >= 51, String(answered));
  assert.ok((await next.redis.command('ROLE')).includes('master'));
  const deadline = Date.now() + 20000;
  while (!heard.length && Date.now() < deadline) await cluster.command('PUBLISH', 'news', 'on');
  assert.ok(heard.length);
});
