/* The ways of the Redis page to a cluster and to the master that a Sentinel tells of, as sessions go them. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const {FakeCluster} = require('./fake_cluster.js');
const {FakeGateway, until} = require('./fake_gateway.js');
const {FakeRedis, bulk, list} = require('./fake_redis.js');

const URL = 'ws://gateway.test/';
const RETRY = {first: 5, longest: 20};

let Session, Scanner, slotOf;
before(async () => {
  ({Session} = await import('../../ws2s-js/redis-session.mjs'));
  ({Scanner} = await import('../../ws2s-js/redis-scan.mjs'));
  ({slotOf} = await import('../../ws2s-js/cluster.mjs'));
});

// -- a cluster --------------------------------------------------------------------------------------------------------

/* Three nodes; `answers(address)` are more of them. */
async function beginCluster(options = {}, answers = () => ({})) {
  const cluster = new FakeCluster();
  for (const [address, redis] of cluster.redises) {
    Object.assign(redis.answers, {
      INFO: bulk('redis_version:7.0.0\r\nredis_mode:cluster\r\n'), TYPE: '+string\r\n', DBSIZE: ':2\r\n',
      SCAN: ([, cursor]) => `*2\r\n${bulk(cursor === '0' ? '7' : '0')}${list([`${address}-${cursor}`])}`,
    }, answers(address));
  }
  const told = [];
  const session = await Session.open(URL, {
    host: 'a', port: 1, retry: RETRY, WebSocket: cluster.gateway.WebSocket, ...options,
  }, {news: text => told.push(text), lost: () => told.push('lost'), ready: () => told.push('ready'), avoiding() {}});
  return {cluster, session, told};
}

const ADDRESSES = ['a:1', 'b:2', 'c:3'];

function keyAt(cluster, address) {
  const [first, last] = cluster.ranges.find(([, , host, port]) => `${host}:${port}` === address);
  for (let i = 0; ; i++) if (slotOf(`k${i}`) >= first && slotOf(`k${i}`) <= last) return `k${i}`;
}

async function allKeys(session) {
  const found = [];
  for (const scanner = new Scanner(session, {match: '*', type: ''}); !scanner.isWhole;) {
    found.push(...await scanner.step());
  }
  return found.sort();
}

test('a scan looks through all nodes, and the size is that of all', async () => {
  const {session} = await beginCluster();
  assert.deepStrictEqual(session.nodes, ADDRESSES);
  assert.deepStrictEqual(await allKeys(session), ADDRESSES.flatMap(each => [`${each}-0`, `${each}-7`]));
  assert.strictEqual(await session.ask('DBSIZE'), 6);
  assert.deepStrictEqual(await session.keyspace(), [{db: 0, keys: 6}]);
  await session.close();
});

test('what is found on the others is there when a node cannot be reached, which the failure names', async () => {
  const {cluster, session} = await beginCluster();
  cluster.fail('b:2');
  const scanner = new Scanner(session, {match: '*', type: ''}), found = [];
  await assert.rejects(async () => {
    while (!scanner.isWhole) found.push(...await scanner.step());
  }, /^NodeError: Node b:2: The target refused/);
  assert.deepStrictEqual(found.sort(), ['a:1', 'c:3'].flatMap(each => [`${each}-0`, `${each}-7`]));
  await session.close();
});

test('a change is one transaction on the node of its key, also where that has just moved', async () => {
  const {cluster, session} = await beginCluster();
  const key = keyAt(cluster, 'a:1');
  const redis = cluster.redises.get('a:1');
  Object.assign(redis.answers, {WATCH: `-MOVED ${slotOf(key)} c:3\r\n`, TYPE: `-MOVED ${slotOf(key)} c:3\r\n`});
  Object.assign(cluster.redises.get('c:3').answers, {EXEC: '*1\r\n+OK\r\n'});
  cluster.ranges = [[0, 5461, 'c', '3'], ...cluster.ranges.slice(1)];
  await session.change(key, 'string', {writes: [['SET', key, 'v']]});
  assert.deepStrictEqual(cluster.commands('c:3').filter(each => !/^(PING|TYPE)/.test(each)),
    [`WATCH ${key}`, 'MULTI', `SET ${key} v`, 'EXEC']);
  assert.ok(!cluster.commands('a:1').includes(`SET ${key} v`));
  assert.strictEqual(await session.nodeOf(key), 'c:3');
  await session.close();
});

test('what concerns one node is asked of the one that is chosen', async () => {
  const {cluster, session} = await beginCluster();
  for (const address of ADDRESSES) {
    session.node = address;
    await session.ask('SLOWLOG', 'GET', '10');
    const client = session.commandLine();
    await client.bytes('FLUSHDB');
    assert.strictEqual(client.from, address);
    await client.close();
    for (const line of ['SLOWLOG GET 10', 'FLUSHDB']) {
      assert.strictEqual(cluster.commands(address).filter(each => each === line).length, 1);
    }
  }
  await session.close();
});

test('a read-only cluster sends nothing that writes to any node', async () => {
  const {cluster, session} = await beginCluster({readOnly: true});
  const refused = {name: 'ReadOnlyError'};
  const clients = [session.another(), session.commandLine()];
  for (const address of ADDRESSES) {
    session.node = address;
    const key = keyAt(cluster, address);
    const lines = [`SET ${key} v`, 'FLUSHALL', 'FLUSHDB', `EVAL x 1 ${key}`, 'CONFIG SET a b'];
    for (const words of lines.map(line => line.split(' '))) {
      await assert.rejects(session.ask(...words), refused);
      await assert.rejects(session.onOneConnection(key)(...words), refused);
      for (const client of clients) await assert.rejects(client.bytes(...words), refused);
    }
    await session.ask('GET', key);
  }
  for (const address of ADDRESSES) {
    assert.deepStrictEqual(cluster.commands(address).filter(each => /^(SET|FLUSH|EVAL|CONFIG SET)/.test(each)), []);
  }
  await Promise.all([...clients, session].map(each => each.close()));
});

test('a node that is lost is told by its name, and so is the one that takes over', async () => {
  const {cluster, session, told} = await beginCluster();
  cluster.ranges = cluster.ranges.map(([first, last, host, port]) => (
    host === 'b' ? [first, last, 'd', '4'] : [first, last, host, port]));
  cluster.redises.set('d:4', new FakeRedis({...cluster.redises.get('a:1').answers}));
  await session.ask('DBSIZE');
  cluster.fail('b:2');
  await until(() => told.some(each => each === 'Node d:4 has taken over from b:2.'));
  assert.deepStrictEqual(session.nodes, ['a:1', 'c:3', 'd:4']);
  assert.ok(!told.includes('lost'));
  await session.close();
});

test('nodes with names that mislead or never end are told as what they are, and not all of many', async () => {
  const {cluster, session, told} = await beginCluster();
  const names = [`\u202e${'x'.repeat(1000)}`, 'evil\nlogged out', ...Array.from({length: 40}, (_, i) => `n${i}`)];
  cluster.ranges = [[0, 10922, 'a', '1'], ...names.map((name, i) => [10923 + i, 10923 + i, name, '7'])];
  await session.ask('DBSIZE').catch(() => {});
  cluster.fail('b:2');
  await until(() => told.some(each => each.startsWith('The nodes of the cluster are now')));
  for (const text of told) {
    assert.ok(text.length < 2000, text.length);
    assert.doesNotMatch(text, /[\u202e\n]/);
  }
  await session.close();
});

// -- a Sentinel -------------------------------------------------------------------------------------------------------

/* A Sentinel at s:9 that tells of `place.master`, and servers at a:1 and b:2 of which that is the master. */
async function beginMaster(options = {}, others = '*0\r\n', address = null) {
  const place = {master: 'a:1'};
  const server = address => new FakeRedis({
    ROLE: () => list([place.master === address ? 'master' : 'slave', 0, 'x']), INFO: bulk('redis_version:7.0.0\r\n'),
    TYPE: '+string\r\n'});
  const redises = new Map(['a:1', 'b:2'].map(address => [address, server(address)]));
  const tell = name => (name === 'shop' ? address || list(place.master.split(':')) : '*-1\r\n');
  redises.set('s:9', new FakeRedis({SENTINEL: ([, word, name]) => (
    word === 'GET-MASTER-ADDR-BY-NAME' ? tell(name) : others)}));
  const gateway = new FakeGateway({
    makeTarget: (session, {host, port}) => redises.get(`${host}:${port}`).connect(session)});
  const told = [];
  const session = await Session.open(URL, {
    host: 's', port: 9, master: 'shop', retry: RETRY, WebSocket: gateway.WebSocket, ...options,
  }, {news() {}, lost: error => told.push(error.name), ready: news => told.push(news), avoiding() {}});
  return {place, redises, session, told};
}

test('a master that is lost is followed to the next one, which is told', async () => {
  const {place, redises, session, told} = await beginMaster();
  assert.strictEqual(session.where, 'master a:1');
  place.master = 'b:2';
  redises.get('a:1').last.close();
  await until(() => told.includes('The master is b:2 now; it was a:1.'));
  await session.ask('SET', 'k', 'v');
  assert.ok(redises.get('b:2').commands.includes('SET k v'));
  assert.strictEqual(session.where, 'master b:2');
  await session.close();
});

test('a master that has become a replica, as it answers, is left for the next one', async () => {
  const {place, redises, session, told} = await beginMaster();
  redises.get('a:1').answers.SET = '-READONLY a replica\r\n';
  place.master = 'b:2';
  await assert.rejects(session.ask('SET', 'k', 'v'), {code: 'READONLY'});
  await until(() => told.includes('The master is b:2 now; it was a:1.'));
  assert.strictEqual(await session.ask('SET', 'k', 'v'), 'OK');
  await session.close();
});

test('a master that always says it is a replica is not sought without a pause', async () => {
  const {redises, session} = await beginMaster();
  const master = redises.get('a:1'), begin = performance.now();
  Object.assign(master.answers, {SET: '-READONLY a replica\r\n', PING: '-READONLY a replica\r\n'});
  await assert.rejects(session.ask('SET', 'k', 'v'), {code: 'READONLY'});
  await until(() => master.commands.filter(each => each === 'ROLE').length >= 4);
  assert.ok(performance.now() - begin >= 1500, `${performance.now() - begin} ms`);
  await session.close();
});

const ODD_SENTINELS = [
  '*1\r\n*0\r\n', `*1\r\n${list(['ip', 'c', 'port', '0'])}`,
  `*1\r\n${list(['ip', 'c', 'port'])}`,
  '*1\r\n*4\r\n$2\r\nip\r\n:1\r\n$4\r\nport\r\n:1\r\n', '+OK\r\n', ':7\r\n', '*-1\r\n'];

for (const reply of ODD_SENTINELS) {
  test(`a Sentinel that tells ${JSON.stringify(reply)} of others is asked alone`, async () => {
    const {session} = await beginMaster({}, reply);
    assert.strictEqual(session.where, 'master a:1');
    await session.close();
  });
}

for (const reply of ['+OK\r\n', ':7\r\n', '*0\r\n', '*2\r\n:1\r\n:2\r\n', list(['', '1']), list(['a', '1.5'])]) {
  test(`${JSON.stringify(reply)} is no address of a master`, async () => {
    const wanted = {name: 'NodeError', message: /no address|understood|protocol/};
    await assert.rejects(beginMaster({}, undefined, reply), wanted);
  });
}

test('a name that the Sentinel does not know is told', async () => {
  await assert.rejects(beginMaster({master: 'nobody'}), /The Sentinel knows no master of the name nobody/);
});

test('a login goes to the master, and to no Sentinel that wants none', async () => {
  const {redises, session} = await beginMaster({username: 'ann', password: 'secret'});
  assert.ok(redises.get('a:1').commands.includes('AUTH ann secret'));
  assert.ok(!redises.get('s:9').commands.join().includes('secret'));
  await session.close();
});

test('a read-only session sends nothing that writes, nor does it after a failover', async () => {
  const {place, redises, session, told} = await beginMaster({readOnly: true});
  await assert.rejects(session.ask('SET', 'k', 'v'), {name: 'ReadOnlyError'});
  place.master = 'b:2';
  redises.get('a:1').last.close();
  await until(() => told.includes('The master is b:2 now; it was a:1.'));
  for (const client of [session.another(), session.commandLine()]) {
    await assert.rejects(client.bytes('FLUSHALL'), {name: 'ReadOnlyError'});
    await client.close();
  }
  for (const {commands} of redises.values()) assert.ok(!commands.some(each => /^(SET|FLUSH)/.test(each)));
  await session.close();
});
