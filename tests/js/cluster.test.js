/* cluster.mjs: commands find their nodes, redirections are followed, and nothing is carried out twice. */
'use strict';

const assert = require('node:assert');
const {test, before} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {until, settled} = require('./fake_gateway.js');
const {FakeCluster, slotsReply} = require('./fake_cluster.js');
const {takeTime} = require('./fake_time.js');

const URL = 'ws://gateway.test/';
const QUICK = {first: 5, longest: 20};
let RedisCluster, slotOf, keyOf;

before(async () => { ({RedisCluster, slotOf, keyOf} = await import('../../ws2s-js/cluster.mjs')); });

function start(fake, options) {
  const cluster = new RedisCluster(URL, {
    host: 'a', port: 1, WebSocket: fake.gateway.WebSocket, retry: QUICK, text: true, ...options,
  });
  const told = [];
  cluster.onReady = () => told.push('ready');
  cluster.onLost = (error, address) => told.push(`lost ${address} ${error.reason || error.code}`);
  cluster.onClose = error => told.push(error ? `closed ${error.reason || error.code}` : 'closed');
  return {cluster, told};
}

// -- slots of keys ----------------------------------------------------------------------------------------------------

// As CLUSTER KEYSLOT gives them.
const SLOTS = [
  ['123456789', 12739], ['foo', 12182], ['bar', 5061], ['', 0], ['{user1000}.following', 3443], ['user1000', 3443],
  ['foo{}{bar}', 8363], ['foo{{bar}}zap', 4015], ['foo{bar}{zap}', 5061], ['{', 4092], ['\u00e9{\u00e9}', 10180],
];

for (const [key, slot] of SLOTS) {
  test(`the key ${JSON.stringify(key)} is of slot ${slot}, as bytes, too`, () => {
    assert.strictEqual(slotOf(key), slot);
    assert.strictEqual(slotOf(new TextEncoder().encode(key)), slot);
  });
}

const KEYS = [
  ['GET k', 'k'], ['get k', 'k'], ['MSET k 1 l 2', 'k'], ['PING', undefined], ['ECHO k', undefined],
  ['PUBLISH c m', undefined], ['SPUBLISH k m', 'k'], ['OBJECT ENCODING k', 'k'], ['XINFO STREAM k', 'k'],
  ['XGROUP CREATE k g $', 'k'], ['MEMORY USAGE k', 'k'], ['BITOP AND k l m', 'k'], ['EVAL s 1 k v', 'k'],
  ['EVAL s 0 v', undefined], ['FCALL f 2 k l', 'k'], ['BLMPOP 0 2 k l LEFT', 'k'], ['ZUNION 2 k l', 'k'],
  ['ZUNIONSTORE k 2 l m', 'k'], ['LMPOP 1 k LEFT', 'k'], ['XREAD COUNT 2 STREAMS k l 0 0', 'k'],
  ['XREADGROUP GROUP g c BLOCK 0 streams k >', 'k'], ['XREAD', undefined], ['GET', undefined],
  ['MIGRATE h 1 k 0 1', 'k'], ['JSON.SET k $ 1', 'k'],
];

for (const [line, key] of KEYS) {
  test(`the key of ${line} is ${key}`, () => assert.strictEqual(keyOf(line.split(' ')), key));
}

test('the key of MIGRATE with many is the first of them', () => {
  assert.strictEqual(keyOf(['MIGRATE', 'h', '1', '', '0', '1', 'KEYS', 'k', 'l']), 'k');
});

// -- commands ---------------------------------------------------------------------------------------------------------

test('commands go to the nodes that have their keys, and what has no key to any', async () => {
  const fake = new FakeCluster();
  const {cluster, told} = start(fake);
  await Promise.all(['bar', 'foo', '{bar}2'].map(key => cluster.command('SET', key, 1)));
  assert.deepStrictEqual(['a:1', 'b:2', 'c:3'].map(address => fake.commands(address)),
    [['SET bar 1', 'SET {bar}2 1'], [], ['SET foo 1']]);
  assert.strictEqual(await cluster.command('PING'), 'PONG');
  assert.deepStrictEqual(told, ['ready']);
  await cluster.close();
  assert.deepStrictEqual(told, ['ready', 'closed']);
  assert.ok(fake.gateway.sessions.every(session => session.isOver));
});

test('what is asked in one go reaches a node in that order, also before its slots are known', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake);
  const words = [['SET', 'k', 1], ['INCR', 'k'], ['GET', 'k'], ['DEL', 'k']];
  await Promise.all(words.map(each => cluster.command(...each)));
  await Promise.all(words.map(each => cluster.command(...each)));
  const address = [...fake.redises.keys()].find(each => fake.commands(each).length);
  const lines = words.map(each => each.join(' '));
  assert.deepStrictEqual(fake.commands(address), [...lines, ...lines]);
  await cluster.close();
});

const NO_COMMANDS = ['KEYS *', 'SCAN 0', 'FLUSHALL', 'dbsize', 'MULTI', 'EXEC', 'WATCH k', 'SELECT 0', 'SUBSCRIBE c'];

for (const line of NO_COMMANDS) {
  test(`${line} is refused, as it concerns one node or connection`, async () => {
    const fake = new FakeCluster();
    const {cluster} = start(fake);
    await assert.rejects(cluster.command(...line.split(' ')), TypeError);
    await cluster.close();
  });
}

test('nodes() gives a client of each node, and nodeOf() that of a key', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake);
  for (const redis of await cluster.nodes()) await redis.command('FLUSHALL');
  await (await cluster.nodeOf('foo')).command('WATCH', 'foo');
  assert.deepStrictEqual(fake.commands('a:1'), ['FLUSHALL']);
  assert.deepStrictEqual(fake.commands('b:2'), ['FLUSHALL']);
  assert.deepStrictEqual(fake.commands('c:3'), ['FLUSHALL', 'WATCH foo']);
  await cluster.close();
});

test('each node is reached and logged in to as the first one', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake, {
    username: 'u', password: 'p', protocol: 3, tls: {servername: 's'}, ssh: {host: 'jump', password: 'q'}, token: 't',
  });
  await cluster.command('GET', 'foo');
  const login = ['AUTH u p', 'HELLO 3'];
  assert.deepStrictEqual(fake.commands('c:3'), [...login, 'GET foo']);
  assert.deepStrictEqual(fake.commands('a:1'), login);
  for (const {tls, ssh_host, ssh_password} of fake.connects) {
    assert.deepStrictEqual([tls, ssh_host, ssh_password], [{servername: 's'}, 'jump', 'q']);
  }
  assert.deepStrictEqual(new Set(fake.gateway.sockets.map(({protocols}) => String(protocols))),
    new Set(['ws2s.bearer.dA']));
  await cluster.close();
});

// -- redirections -----------------------------------------------------------------------------------------------------

test('MOVED is followed, its slot is remembered, and all slots are learnt anew', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake);
  await cluster.command('SET', 'foo', 1);
  fake.redises.get('c:3').answers.GET = '-MOVED 12182 b:2\r\n';
  fake.redises.get('b:2').answers.GET = '$1\r\nv\r\n';
  fake.share(['a:1', 'b:2']);
  assert.strictEqual(await cluster.command('GET', 'foo'), 'v');
  await until(() => fake.redises.get('c:3').connections[0].session.isOver);  // it has no slots any more
  assert.strictEqual(await cluster.command('GET', 'foo'), 'v');
  assert.deepStrictEqual(fake.commands('c:3'), ['SET foo 1', 'GET foo']);
  assert.deepStrictEqual(fake.commands('b:2'), ['GET foo', 'GET foo']);
  await cluster.close();
});

test('ASK is followed once, with ASKING in front of the command in the same go', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake);
  fake.redises.get('c:3').answers.GET = '-ASK 12182 b:2\r\n';
  fake.redises.get('b:2').answers.GET = '$1\r\nv\r\n';
  assert.strictEqual(await cluster.command('GET', 'foo'), 'v');
  const [, other] = await Promise.all([cluster.command('SET', 'foo', 1), cluster.command('GET', 'foo')]);
  assert.strictEqual(other, 'v');
  assert.deepStrictEqual(fake.commands('b:2'), ['ASKING', 'GET foo', 'ASKING', 'GET foo']);
  assert.deepStrictEqual(fake.commands('c:3'), ['GET foo', 'SET foo 1', 'GET foo']);
  await cluster.close();
});

for (const error of ['TRYAGAIN', 'CLUSTERDOWN', 'LOADING']) {
  test(`${error} is asked again, for as long as the option patience says`, async () => {
    const fake = new FakeCluster();
    const {cluster} = start(fake), {cluster: hasty} = start(fake, {patience: 100});
    const {answers} = fake.redises.get('c:3');
    let left = 2;
    answers.GET = () => left-- > 0 ? `-${error} not now\r\n` : '$1\r\nv\r\n';
    assert.strictEqual(await cluster.command('GET', 'foo'), 'v');
    answers.GET = `-${error} never\r\n`;
    await assert.rejects(hasty.command('GET', 'foo'), {name: 'RedisError', code: error});
    await Promise.all([cluster.close(), hasty.close()]);
  });
}

test('other errors are told, and nothing is asked again', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake);
  fake.redises.get('c:3').answers.MGET = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
  await assert.rejects(cluster.command('MGET', 'foo', 'bar'), {name: 'RedisError', code: 'CROSSSLOT'});
  assert.deepStrictEqual(fake.commands('c:3'), ['MGET foo bar']);
  await cluster.close();
});

test('redirections in a circle end', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake);
  fake.redises.get('c:3').answers.GET = '-MOVED 12182 b:2\r\n';
  fake.redises.get('b:2').answers.GET = '-MOVED 12182 c:3\r\n';
  await assert.rejects(cluster.command('GET', 'foo'), {code: 'MOVED'});
  assert.strictEqual([...fake.commands('b:2'), ...fake.commands('c:3')].length, 17);
  await cluster.close();
});

// -- transactions -----------------------------------------------------------------------------------------------------

test('multi() goes to the node of its keys whole, and is redirected whole', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake);
  const [old, now] = ['c:3', 'b:2'].map(address => fake.redises.get(address));
  Object.assign(old.answers, {SET: '-ASK 12182 b:2\r\n', EXEC: '-EXECABORT no\r\n'});
  Object.assign(now.answers, {SET: '+QUEUED\r\n', EXEC: '*1\r\n+OK\r\n'});
  assert.deepStrictEqual(await cluster.multi([['PING'], ['SET', 'foo', '1']]), ['OK']);
  assert.deepStrictEqual(fake.commands('c:3'), ['MULTI', 'PING', 'SET foo 1', 'EXEC']);
  assert.deepStrictEqual(fake.commands('b:2'), ['ASKING', 'MULTI', 'PING', 'SET foo 1', 'EXEC']);
  await cluster.close();
});

test('multi() over several slots is refused, and nothing is sent', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake);
  const both = [['SET', 'foo', '1'], ['SET', 'bar', '1']];
  await assert.rejects(cluster.multi(both), error => error instanceof TypeError && /foo and bar/.test(error.message));
  await assert.rejects(cluster.multi([['EXEC']]), TypeError);
  await cluster.command('PING');
  for (const address of fake.redises.keys()) assert.ok(!fake.commands(address).includes('MULTI'));
  await cluster.close();
});

// -- losses -----------------------------------------------------------------------------------------------------------

test('a command without a reply is told and not repeated; the next one goes to the new master', async () => {
  const fake = new FakeCluster();
  const {cluster, told} = start(fake);
  fake.redises.get('c:3').answers.INCR = null;
  const lost = assert.rejects(cluster.command('INCR', 'foo'), {reason: 'not-answered', command: 'INCR'});
  await until(() => fake.commands('c:3').length);
  fake.fail('c:3');
  fake.share(['a:1', 'b:2']);
  await lost;
  await cluster.command('GET', 'foo');
  assert.deepStrictEqual(fake.commands('b:2'), ['GET foo']);
  assert.deepStrictEqual(fake.commands('c:3'), ['INCR foo']);
  assert.ok(told.includes('lost c:3 closed'), told.join());
  await cluster.close();
});

test('what waits for a node that has failed is sent to its successor, once there is one', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake);
  await cluster.command('GET', 'bar');
  fake.fail('c:3');
  const asked = cluster.command('GET', 'foo');
  await until(() => fake.connects.filter(({host}) => host === 'c').length > 2);
  fake.share(['a:1', 'b:2']);
  await asked;
  assert.deepStrictEqual(fake.commands('b:2'), ['GET foo']);
  await cluster.close();
});

test('a node that does not come back rejects with its address', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake, {patience: 150});
  await cluster.command('GET', 'bar');
  fake.fail('c:3');
  await assert.rejects(cluster.command('GET', 'foo'), error => error instanceof WS2S.WS2SError
    && /^c:3: /.test(error.message));
  await cluster.close();
});

test('slots that nobody has are waited for', async () => {
  const fake = new FakeCluster();
  fake.ranges = [[0, 100, 'a', 1]];
  const {cluster} = start(fake), {cluster: hasty} = start(fake, {patience: 100});
  await assert.rejects(hasty.command('GET', 'foo'), {name: 'RedisError', code: 'CLUSTERDOWN'});
  const asked = cluster.command('GET', 'foo');
  fake.share(['a:1']);
  await asked;
  await Promise.all([cluster.close(), hasty.close()]);
});

test('it begins with whichever of its nodes is there, and again when none is', async () => {
  const fake = new FakeCluster();
  for (const address of fake.redises.keys()) fake.down.add(address);
  const {cluster, told} = start(fake, {nodes: ['b:2', {host: 'c', port: 3}]});
  await assert.rejects(cluster.command('GET', 'foo'), {reason: 'refused'});
  fake.down.delete('c:3');
  await until(() => told.includes('ready'));
  await cluster.command('GET', 'foo');
  await cluster.close();
});

test('when all masters that it knew are gone, their replicas tell of the new ones', async () => {
  const fake = new FakeCluster(['a:1', 'b:2']);
  fake.ranges = [[0, 16383, 'a', 1, 'b', 2]];
  const {cluster, told} = start(fake);
  await cluster.command('GET', 'foo');
  fake.ranges = [[0, 16383, 'b', 2]];
  fake.fail('a:1');
  await until(() => told.includes('lost a:1 closed'));
  await cluster.command('GET', 'foo');
  assert.deepStrictEqual([fake.commands('a:1'), fake.commands('b:2')], [['GET foo'], ['GET foo']]);
  await cluster.close();
});

test('a wrong password ends the client, and so does a server that is no cluster', async () => {
  const answers = [['AUTH', '-WRONGPASS no\r\n', 'WRONGPASS'], ['CLUSTER', '-ERR disabled\r\n', 'ERR']];
  for (const [name, answer, code] of answers) {
    const fake = new FakeCluster();
    fake.redises.get('a:1').answers[name] = answer;
    const {cluster, told} = start(fake, {password: 'p'});
    await assert.rejects(cluster.command('GET', 'foo'), {name: 'RedisError', code});
    await until(() => told.includes(`closed ${code}`) && fake.gateway.sessions.every(session => session.isOver));
    await assert.rejects(cluster.command('GET', 'foo'), {name: 'RedisError', code});
  }
});

test('a gateway that is gone is told, and asked again for the next command', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake);
  await cluster.command('GET', 'foo');
  fake.gateway.refuses = true;
  for (const {socket} of fake.gateway.sessions) socket.drop(1006);
  await settled();
  await assert.rejects(cluster.command('GET', 'foo'), {reason: 'gateway-unreachable'});
  fake.gateway.refuses = false;
  await cluster.command('GET', 'foo');
  assert.deepStrictEqual(fake.commands('c:3'), ['GET foo', 'GET foo']);
  await cluster.close();
});

test('close() rejects what has no reply, and what waits', async () => {
  const fake = new FakeCluster();
  const {cluster, told} = start(fake);
  fake.redises.get('a:1').answers.INCR = null;
  fake.redises.get('c:3').answers.GET = '-TRYAGAIN no\r\n';
  const asked = [
    assert.rejects(cluster.command('INCR', 'bar'), {reason: 'not-answered'}),
    assert.rejects(cluster.command('GET', 'foo'), {reason: 'closed'}),
  ];
  await until(() => fake.commands('a:1').length && fake.commands('c:3').length);
  await settled();
  await cluster.close();
  await Promise.all(asked);
  await cluster.close();
  assert.deepStrictEqual(told, ['ready', 'closed']);
  await assert.rejects(cluster.command('PING'), {reason: 'closed'});
});

// -- addresses --------------------------------------------------------------------------------------------------------

const TOLD = {
  'an object': [['x:1', 'y:2'], {'x:1': 'a:1', 'y:2': {host: 'b', port: 2}}],
  'a function': [['x:1', 'y:2'], (host, port) => ({host: {x: 'a', y: 'b'}[host], port})],
  'a function that knows nothing': [['a:1', 'b:2'], () => undefined],
};

for (const [name, [addresses, nodeAddress]] of Object.entries(TOLD)) {
  test(`nodeAddress: ${name} tells where nodes are`, async () => {
    const fake = new FakeCluster(['a:1', 'b:2']);
    fake.share(addresses);
    const {cluster} = start(fake, {nodeAddress});
    fake.redises.get('b:2').answers.GET = `-MOVED 12182 ${addresses[0]}\r\n`;
    await cluster.command('GET', 'foo');
    assert.deepStrictEqual([fake.commands('a:1'), fake.commands('b:2')], [['GET foo'], ['GET foo']]);
    await cluster.close();
  });
}

for (const host of [null, '', '?']) {
  test(`the host ${host} is that of the node that tells it, also in a redirection`, async () => {
    const fake = new FakeCluster(['a:1', 'a:2']);
    fake.share(['a:1', 'a:2'], address => [host, Number(address.split(':')[1])]);
    const {cluster} = start(fake);
    fake.redises.get('a:2').answers.GET = '-MOVED 12182 :1\r\n';
    await cluster.command('GET', 'foo');
    assert.deepStrictEqual([fake.commands('a:1'), fake.commands('a:2')], [['GET foo'], ['GET foo']]);
    await cluster.close();
  });
}

test('an IPv6 address is one', async () => {
  const fake = new FakeCluster(['::1:7000', '::1:7001']);
  fake.share(['::1:7000', '::1:7001'], address => ['::1', Number(address.slice(4))]);
  const {cluster} = start(fake, {host: '::1', port: 7000});
  fake.redises.get('::1:7001').answers.GET = '-MOVED 12182 ::1:7000\r\n';
  await cluster.command('GET', 'foo');
  assert.deepStrictEqual(fake.commands('::1:7000'), ['GET foo']);
  await cluster.close();
});

test('no more than maxConnections nodes are connected, and busy ones stay', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake, {maxConnections: 2});
  for (const key of ['foo', 'bar', 'k', 'foo', 'bar', 'k']) await cluster.command('GET', key);
  await settled();
  assert.ok(fake.gateway.sessions.filter(session => !session.isOver).length <= 2);
  for (const redis of fake.redises.values()) redis.answers.BLPOP = null;
  const keys = Array.from({length: 40}, (_, i) => `k${i}`);
  const ofNode = [0, 1, 2].map(node => keys.find(key => Math.floor(slotOf(key) / 5462) === node));
  const waiting = ofNode.slice(0, 2).map(key =>
    assert.rejects(cluster.command('BLPOP', key, 0), {reason: 'not-answered'}));
  await until(() => ['a:1', 'b:2'].every(address => fake.commands(address).some(line => /BLPOP/.test(line))));
  await assert.rejects(cluster.command('GET', ofNode[2]), {reason: 'limit'});
  await cluster.close();
  await Promise.all(waiting);
});

for (const wrong of [{host: undefined}, {nodes: []}, {maxConnections: 0}, {patience: NaN}, {db: 1}]) {
  test(`${JSON.stringify(wrong)} is refused`, () => {
    assert.throws(() => start(new FakeCluster(), wrong), /host is wanted|maxConnections|patience|database/);
  });
}

test('what is no list of slots is told', async () => {
  for (const reply of ['*1\r\n:1\r\n', '+OK\r\n', slotsReply([[0, 16384, 'a', 1]])]) {
    const fake = new FakeCluster();
    fake.redises.get('a:1').answers.CLUSTER = reply;
    const {cluster} = start(fake);
    await assert.rejects(cluster.command('GET', 'foo'), {reason: 'protocol'});
    await cluster.close();
  }
});

// -- subscriptions ----------------------------------------------------------------------------------------------------

test('subscriptions have a connection of their own, and go on at another node when that is lost', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake);
  const heard = [];
  await cluster.subscribe('c', (...message) => heard.push(message));
  await cluster.psubscribe('p*', (...message) => heard.push(message));
  await cluster.command('PING');
  const subscribed = () => [...fake.redises.entries()].find(([address, {commands}]) =>
    !fake.down.has(address) && commands.includes('PSUBSCRIBE p*'));
  const [address, redis] = subscribed();
  redis.publish('c', 'one');
  await until(() => heard.length === 1);
  fake.fail(address);
  await until(() => subscribed() !== undefined);
  const [, next] = subscribed();
  next.publish('c', 'two');
  next.publish('p1', 'three', 'p*');
  await until(() => heard.length === 3);
  assert.deepStrictEqual(heard, [['one', 'c', 'c'], ['two', 'c', 'c'], ['three', 'p1', 'p*']]);
  await cluster.unsubscribe('c');
  assert.ok(next.commands.includes('UNSUBSCRIBE c'));
  await cluster.close();
});

test('a subscription that is refused rejects; one that cannot be renewed is told and given up', async () => {
  const fake = new FakeCluster();
  const {cluster, told} = start(fake);
  await cluster.subscribe('c', () => {});
  for (const redis of fake.redises.values()) redis.answers.SUBSCRIBE = '-NOPERM no\r\n';
  await assert.rejects(cluster.subscribe('d', () => {}), {code: 'NOPERM'});
  const [address] = [...fake.redises.entries()].find(([, {commands}]) => commands.includes('SUBSCRIBE c'));
  fake.redises.get(address).connections.forEach(connection => connection.close());
  await until(() => told.some(each => /NOPERM/.test(each)));
  await cluster.close();
});

test('a node that says nothing any more is left when others tell of its successor', async t => {
  const time = takeTime(t);
  const fake = new FakeCluster(['a:1', 'b:2']);
  const {cluster} = start(fake);
  await cluster.subscribe('c', () => {});
  await cluster.command('GET', 'foo');
  const silent = fake.redises.get('a:1');
  for (const name of ['CLUSTER', 'GET']) silent.answers[name] = null;
  const lost = assert.rejects(cluster.command('GET', 'bar'), {reason: 'not-answered'});
  await until(() => silent.commands.includes('GET bar'));
  fake.share(['b:2']);
  await time.pass(11000);
  await cluster.command('GET', 'bar');
  assert.deepStrictEqual(fake.commands('b:2').filter(line => /GET/.test(line)), ['GET foo', 'GET bar']);
  await until(() => fake.commands('b:2').includes('SUBSCRIBE c'));
  await cluster.close();
  await lost;
});

test('a push of RESP3 is told with its node', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake, {protocol: 3});
  const told = [];
  cluster.onPush = (...push) => told.push(push);
  await cluster.command('GET', 'foo');
  fake.redises.get('c:3').last.say('>2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nfoo\r\n');
  await until(() => told.length);
  assert.deepStrictEqual(told, [[['invalidate', ['foo']], 'c:3']]);
  await cluster.close();
});

// -- nodes that lie ---------------------------------------------------------------------------------------------------

const LIES = [
  'MOVED', 'MOVED 12182', 'MOVED 12182 b', 'MOVED 12182 b:x', 'MOVED 12182 b:0', 'MOVED 12182 b:65536',
  'MOVED 4294967294 b:2', 'MOVED -1 b:2', 'MOVED x b:2', 'ASK 16384 b:2',
];

for (const line of LIES) {
  test(`the redirection ${line} leads nowhere, and nothing hangs`, async () => {
    const fake = new FakeCluster();
    const {cluster} = start(fake);
    fake.redises.get('c:3').answers.GET = `-${line}\r\n`;
    await assert.rejects(cluster.command('GET', 'foo'), {name: 'WS2SError', reason: 'protocol'});
    assert.strictEqual((await cluster.nodes()).length, 3);
    await cluster.close();
  });
}

const NO_SLOTS = [
  '*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n+a\r\n:1\r\n', '*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n',
  '*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\na\r\n:65536\r\n', '*1\r\n*3\r\n:0\r\n:16383\r\n*0\r\n',
  `*16385\r\n${slotsReply([[0, 0, 'a', 1]]).slice(4).repeat(16385)}`,
  slotsReply([[0, 16383, 'a', 1], [16383, 16383, 'b', 2]]), slotsReply([[16383, 0, 'a', 1]]),
];

for (const reply of NO_SLOTS) {
  test(`${JSON.stringify(reply.slice(0, 60))} is no list of slots`, async () => {
    const fake = new FakeCluster();
    fake.redises.get('a:1').answers.CLUSTER = reply;
    const {cluster} = start(fake);
    await assert.rejects(cluster.command('GET', 'foo'), {name: 'WS2SError', reason: 'protocol'});
    await cluster.close();
  });
}

for (const error of ['MOVED 12182 b:2', 'ASK 12182 b:2', 'TRYAGAIN later']) {
  test(`a transaction whose MULTI alone was refused by ${error} is told, and not sent once more`, async () => {
    const fake = new FakeCluster();
    const {cluster} = start(fake);
    fake.redises.get('c:3').answers.MULTI = `-${error}\r\n`;
    await assert.rejects(cluster.multi([['INCR', 'foo']]), /may have been carried out/);
    const sent = [...fake.redises.keys()].flatMap(address => fake.commands(address));
    assert.deepStrictEqual(sent.filter(command => command === 'INCR foo'), ['INCR foo']);
    await cluster.close();
  });
}

test('nodes() gives no client that is closed already', async () => {
  const fake = new FakeCluster();
  const {cluster} = start(fake, {maxConnections: 2});
  await assert.rejects(cluster.nodes(), {reason: 'limit'});
  await cluster.close();
});
