/* What an operator of Redis looks at: MONITOR, slow commands, clients, INFO over time, the biggest keys. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const {RedisError, WS2SError} = require('../../ws2s-js/ws2s.js');

let settings, monitored, Newest, slowCommands, microsText, clients, samples, parseInfo, Biggest, weighing;
before(async () => {
  ({monitored, Newest} = await import('../../ws2s-js/redis-monitor.mjs'));
  ({slowCommands, microsText} = await import('../../ws2s-js/redis-slowlog.mjs'));
  settings = await import('../../ws2s-js/redis-settings.mjs');
  clients = await import('../../ws2s-js/redis-clients.mjs');
  samples = await import('../../ws2s-js/redis-samples.mjs');
  ({parseInfo} = await import('../../ws2s-js/redis-info.mjs'));
  ({Biggest, weighing} = await import('../../ws2s-js/redis-biggest.mjs'));
});

const bytes = text => new Uint8Array(Buffer.from(text));

// -- MONITOR ----------------------------------------------------------------------------------------------------------

const AT = '1339518083.107412 [0 127.0.0.1:60866] ';

test('a line of MONITOR', () => {
  assert.deepStrictEqual(monitored(`${AT}"keys" "*"`), {
    time: 1339518083107.412, db: 0, client: '127.0.0.1:60866', words: ['keys', '*'], isHidden: false, isCut: false,
  });
});

const SENDERS = ['lua', '[::1]:1234', 'unix:/tmp/a b.sock', '127.0.0.1:1', ''];

for (const sender of SENDERS) {
  test(`a line of MONITOR by ${JSON.stringify(sender)}`, () => {
    const {db, client, words} = monitored(`1.000000 [12 ${sender}] "PING"`);
    assert.deepStrictEqual([db, client, words], [12, sender, ['PING']]);
  });
}

const WORDS = [
  ['"a" ""', ['a', '']], ['"a b" "c\\"d" "e\\\\f"', ['a b', 'c"d', 'e\\f']],
  ['"\\n\\r\\t\\a\\b"', ['\n\r\t\x07\b']], ['"\\xe2\\x82\\xac\\xFF\\x00"', ['\xe2\x82\xac\xff\x00']],
  ['"a\\\\" "b"', ['a\\', 'b']], ['"\\q\\x4"', ['qx4']],
];

for (const [text, words] of WORDS) {
  test(`words of MONITOR: ${text}`, () => {
    const found = monitored(AT + text);
    assert.deepStrictEqual([found.words, found.isCut], [words, false]);
  });
}

for (const line of ['', 'OK', AT, `${AT}keys`, '1 [0 a] "x"', 'x'.repeat(1e6), `${AT}"unfinished`, '"a"',
  '1.000000 [x a] "b"']) {
  test(`no line of MONITOR: ${line.slice(0, 50)}`, () => assert.strictEqual(monitored(line), null));
}

const SECRET = 'Corr3ct-h0rse';
const HIDDEN = [
  [['AUTH', SECRET], 1], [['auth', 'user', SECRET], 1], [['AuTh'], 1], [['HELLO', '3', 'AUTH', 'user', SECRET], 1],
  [['ACL', 'SETUSER', 'user', `>${SECRET}`], 2], [['acl', 'getuser', SECRET], 2],
  [['MIGRATE', 'host', '1', 'key', '0', '1', 'AUTH', SECRET], 1],
  [['migrate', 'host', '1', '', '0', '1', 'AUTH2', 'user', SECRET, 'KEYS', 'a'], 1],
  [['CONFIG', 'SET', 'requirepass', SECRET], 2], [['SENTINEL', 'SET', 'm', 'auth-pass', SECRET], 2],
  [['MODULE', 'LOADEX', 'x.so', 'CONFIG', 'a', SECRET], 2], [['NAMESPACE', 'ADD', 'ns', SECRET], 2],
  [['HSET', 'user:1', 'Password', SECRET], 3], [['EVALSHA', 'ab', '0', 'h', 'AUTH2', 'user', SECRET], 5],
  [['SET', 'db-pass', SECRET], 2], [['PUBLISH', 'requirepass', SECRET], 2],
  [['EVAL', `return redis.call("MIGRATE", "AUTH", "${SECRET}")`, '0'].map(word => word.replaceAll('"', "'")), 1],
  [['eval_ro', 'return redis.call(ARGV[1])', '0', 'x-auth-y', SECRET], 1],
];

const quoted = words => words.map(word => `"${word}"`).join(' ');
const escaped = word => Buffer.from(word).toString('hex').replace(/../g, '\\x$&');

for (const [words, shown] of HIDDEN) {
  test(`of ${quoted(words.slice(0, shown))} no more is kept, in any log, however it is written`, () => {
    const entry = [1, 2, 3, words.map(bytes), bytes('a:1'), bytes('')];
    const lines = [words, words.map(escaped)].map(each => monitored(AT + quoted(each)));
    for (const found of [...lines, slowCommands([entry])[0]]) {
      assert.deepStrictEqual([found.words, found.isHidden], [words.slice(0, shown), words.length > shown]);
      assert.ok(!JSON.stringify(found).includes(SECRET));
    }
  });
}

test('commands that look alike and hold no secret are shown', () => {
  for (const text of ['"CONFIG" "GET" "maxmemory"', '"acl" "cat" "read"', '"GET" "auth"', '"__proto__" "a" "b"']) {
    assert.strictEqual(monitored(AT + text).isHidden, false, text);
  }
});

test('of long lines only the begin is kept', () => {
  const many = monitored(AT + Array(100).fill('"a"').join(' '));
  assert.deepStrictEqual([many.words.length, many.isCut], [32, true]);
  const long = monitored(`${AT}"SET" "k" "${'x'.repeat(1000)}"`);
  assert.deepStrictEqual([long.words[2].length, long.isCut], [200, true]);
  const huge = monitored(`${AT}"SET" "k" "${'x'.repeat(1e6)}"`);
  assert.deepStrictEqual([huge.words, huge.isCut], [['SET', 'k'], true]);
});

test('the newest are kept, and those behind the ones that were seen are given', () => {
  const newest = new Newest(3);
  assert.deepStrictEqual(newest.last(5), []);
  for (let i = 1; i <= 5; i++) newest.add(i);
  assert.deepStrictEqual([newest.total, newest.length], [5, 3]);
  const last = [[5], [2], [5, 4], [5, 5]].map(how => newest.last(...how));
  assert.deepStrictEqual(last, [[3, 4, 5], [4, 5], [5], []]);
  newest.clear();
  assert.deepStrictEqual([newest.total, newest.length, newest.last(5)], [0, 0, []]);
});

test('20,000 lines take far less than a second of a processor', () => {
  const newest = new Newest(), begin = process.cpuUsage();
  for (let i = 0; i < 20000; i++) newest.add(monitored(`${AT}"SET" "key:${i}" "value \\xff"`));
  const {user, system} = process.cpuUsage(begin);
  assert.strictEqual(newest.length, 5000);
  assert.ok(user + system < 1e6, `${user + system} microseconds`);
});

// -- slow commands ----------------------------------------------------------------------------------------------------

test('slow commands, the slowest first', () => {
  const rows = slowCommands([
    [2, 1700000001, 10, [bytes('GET'), bytes('a')], bytes('127.0.0.1:1'), bytes('me')],
    [3, 1700000002, 20000, [bytes('KEYS'), bytes('*')], bytes('127.0.0.1:2'), bytes('')],
  ]);
  assert.deepStrictEqual(rows.map(({id, micros, words}) => [id, micros, words]),
    [[3, 20000, ['KEYS', '*']], [2, 10, ['GET', 'a']]]);
  assert.deepStrictEqual([rows[1].time, rows[1].client, rows[1].name], [1700000001000, '127.0.0.1:1', 'me']);
});

test('slow commands of a server before 4.0, and a reply that makes no sense', () => {
  assert.deepStrictEqual(slowCommands([[1, 2, 3, [bytes('GET')]]])[0],
    {id: 1, time: 2000, micros: 3, words: ['GET'], isHidden: false, client: '', name: ''});
  for (const reply of [null, 'OK', [null, 1, [], ['a', 1, 2, []], [1, 2, 3, 'x']]]) {
    assert.deepStrictEqual(slowCommands(reply), []);
  }
});

test('how long a command took, for people', () => {
  const texts = [0, 999, 1000, 12345, 999949, 1500000].map(micros => microsText(micros));
  assert.deepStrictEqual(texts, ['0 µs', '999 µs', '1.0 ms', '12.3 ms', '999.9 ms', '1.50 s']);
});

// -- clients ----------------------------------------------------------------------------------------------------------

const LIST = 'id=3 addr=127.0.0.1:6001 laddr=127.0.0.1:6379 fd=8 name=me age=10 idle=0 flags=N db=2 sub=0 psub=0 ' +
  'multi=-1 tot-mem=22426 cmd=client|list user=default lib-name=redis-py lib-ver=5.0\n' +
  'id=12 addr=[::1]:6002 fd=9 name= age=5 idle=4 flags=xbU db=0 sub=1 psub=2 multi=3 cmd=blpop user=a=b\n\n';

test('rows of CLIENT LIST', () => {
  const [one, two] = clients.clientsOf(LIST);
  assert.deepStrictEqual(one, {
    id: 3, age: 10, idle: 0, db: 2, memory: 22426, received: null, sent: null, channels: 0, patterns: 0, queued: null,
    address: '127.0.0.1:6001', name: 'me', user: 'default', command: 'client list', library: 'redis-py 5.0', flags: [],
  });
  assert.deepStrictEqual([two.address, two.queued, two.user, two.memory, two.flags],
    ['[::1]:6002', 3, 'a=b', null, ['in a transaction', 'waiting', 'by a socket file']]);
});

test('lines that are no clients are left out, and a field that comes twice counts once', () => {
  assert.deepStrictEqual(clients.clientsOf('\r\nx\nid=\nid=x addr=a\n=1\nid=1e9 a=b\n'), []);
  const [twice] = clients.clientsOf('id=1 addr=a addr=b name=x id=2');
  assert.deepStrictEqual([twice.id, twice.address], [1, 'a']);
});

test('clients are sorted by numbers and texts, those that are not known last', () => {
  const rows = clients.clientsOf('id=1 age=10 name=b\nid=2 age=9 name=\nid=3 name=a\nid=4 age=10 name=c\n');
  const ids = (...how) => clients.sortedClients(rows, ...how).map(({id}) => id);
  assert.deepStrictEqual([ids('age'), ids('age', true), ids('name'), ids('name', true)],
    [[2, 1, 4, 3], [1, 4, 2, 3], [3, 1, 4, 2], [4, 1, 3, 2]]);
});

test('a client is ended by its id, and never the one that asks', () => {
  assert.deepStrictEqual(clients.killCommand({id: 12}, 3), ['CLIENT', 'KILL', 'ID', '12']);
  assert.strictEqual(clients.killCommand({id: 3}, 3), null);
});

// -- configuration and users ------------------------------------------------------------------------------------------

const PASSWORDS = ['requirepass', 'masterauth', 'masteruser-pass', 'tls-key-file-pass', 'sentinel-pass', 'x-SECRET-y',
  'namespace.shop', 's3-token'];

for (const name of PASSWORDS) {
  test(`the setting ${name} is hidden, unless it is empty`, () => {
    const rows = settings.settingsOf([name, SECRET, 'other', 'x'].map(bytes));
    assert.deepStrictEqual(rows.find(row => row.name === name), {name, value: '', isHidden: true});
    assert.deepStrictEqual(settings.settingsOf([name, ''].map(bytes)), [{name, value: '', isHidden: false}]);
  });
}

test('a setting that only sounds secret is shown', () => {
  const [row] = settings.settingsOf(['tls-auth-clients', 'no'].map(bytes));
  assert.deepStrictEqual(row, {name: 'tls-auth-clients', value: 'no', isHidden: false});
});

test('settings come sorted, as an array or as a map, and what makes no sense is left out', () => {
  const wanted = [{name: 'a', value: '1', isHidden: false}, {name: 'b', value: '\xff', isHidden: false}];
  const b = Uint8Array.of(255);
  assert.deepStrictEqual(settings.settingsOf([bytes('b'), b, bytes('a'), bytes('1'), bytes('odd')]), wanted);
  assert.deepStrictEqual(settings.settingsOf(new Map([['b', b], ['a', bytes('1')]])), wanted);
  for (const reply of [null, 'OK', 1, []]) assert.deepStrictEqual(settings.settingsOf(reply), []);
});

test('of users no password is kept, nor the hash of one', () => {
  const hash = 'ab'.repeat(32);
  const lines = [`user a on #${hash} #${hash} >${SECRET} <${SECRET} !${hash} ~* (+get ~x)`, 'nobody on', 'user', ''];
  const users = settings.usersOf(lines.map(bytes));
  assert.deepStrictEqual(users, [{name: 'a', isOn: true, rules: '~* (+get ~x)', passwords: 2}]);
  assert.deepStrictEqual(settings.usersOf('OK'), []);
});

// -- INFO over time ---------------------------------------------------------------------------------------------------

function sample(at, {run = 'a', memory = 1, operations = 0, hits = 0, misses = 0} = {}) {
  return samples.sampleOf(parseInfo(`# Server\r\nrun_id:${run}\r\n# Memory\r\nused_memory:${memory}\r\n# Stats\r\n` +
    `total_commands_processed:${operations}\r\nkeyspace_hits:${hits}\r\nkeyspace_misses:${misses}\r\n`), at);
}

function samplesOf(...all) {
  const kept = new samples.Samples();
  for (const each of all) kept.add(each);
  return kept;
}

const values = points => points.map(({value}) => value);

test('levels are what INFO tells, and counters how much they grow in a second', () => {
  const grown = {memory: 7, operations: 100};
  const kept = samplesOf(sample(0, {memory: 5}), sample(2000, grown), sample(3000, {operations: 100}));
  assert.deepStrictEqual(values(kept.series('memory')), [5, 7, 1]);
  assert.deepStrictEqual(kept.series('operations'), [{at: 2000, value: 50}, {at: 3000, value: 0}]);
});

test('a server that counts from zero again has no rate at that moment', () => {
  const again = samplesOf(sample(0, {operations: 100}), sample(1000, {operations: 5}), sample(2000, {operations: 6}));
  assert.deepStrictEqual(values(again.series('operations')), [null, 1]);
  const other = samplesOf(sample(0, {operations: 1}), sample(1000, {operations: 500, run: 'b'}));
  assert.deepStrictEqual(values(other.series('operations')), [null]);
});

test('the share of hits, where there was anything', () => {
  const kept = samplesOf(sample(0), sample(1000, {hits: 3, misses: 1}), sample(2000, {hits: 3, misses: 1}));
  assert.deepStrictEqual(values(kept.series('hitShare')), [0.75, null]);
});

test('what a server does not tell, or tells in other words, is not known', () => {
  const kept = samplesOf(sample(0), sample(1000, {memory: '-5', operations: 'many'}));
  const found = ['memory', 'operations', 'clients'].map(name => values(kept.series(name)));
  assert.deepStrictEqual(found, [[1, null], [null], [null, null]]);
});

test('an interruption is a gap in each series', () => {
  const kept = samplesOf(sample(0));
  kept.interrupt();
  kept.add(sample(60000, {operations: 600}));
  kept.add(sample(61000, {operations: 610}));
  assert.deepStrictEqual(values(kept.series('memory')), [1, null, 1, 1]);
  assert.deepStrictEqual(values(kept.series('operations')), [null, 10]);
});

test('an hour is kept, and a clock that was set back begins anew', () => {
  const kept = new samples.Samples();
  for (let i = 0; i < 1000; i++) kept.add(sample(5000 * i));
  assert.strictEqual(kept.all.length, 720);
  kept.add(sample(5));
  assert.strictEqual(kept.all.length, 1);
});

const BOX = {width: 100, height: 50, from: 0, to: 1000, end: 10};
const points = (...all) => all.map(([at, value]) => ({at, value}));

test('a path goes through its points, and has gaps', () => {
  const path = samples.pathOf(points([0, 0], [250, 5], [500, null], [750, 10], [1000, 20]), BOX);
  assert.strictEqual(path, 'M0 50h0L25 25M75 0h0L100 0');
  assert.deepStrictEqual([samples.pathOf([], BOX), samples.pathOf(points([1, null]), BOX)], ['', '']);
  assert.strictEqual(samples.pathOf(points([5, 5]), {...BOX, from: 5, to: 5}), 'M0 25h0');
});

test('a path holds numbers and letters only', () => {
  const wild = points([0, 1e300], [333, 1 / 3], [1000, -5], [5, 0.00001]);
  assert.match(samples.pathOf(wild, BOX), /^[MLh0-9. -]+$/);
});

test('the end of an axis is 1, 2 or 5 with zeros, and never below the most', () => {
  const ends = [[], [null], [0], [1], [1.5], [3], [7], [1000], [1001], [123456]].map(all => samples.niceEnd(all));
  assert.deepStrictEqual(ends, [1, 1, 1, 1, 2, 5, 10, 1000, 2000, 200000]);
  for (let most = 1; most < 1e15; most *= 1.37) assert.ok(samples.niceEnd([most]) >= most);
});

test('fewer points keep what stands out, and gaps', () => {
  const many = Array.from({length: 720}, (_, i) => ({at: i, value: i === 401 ? 99 : i === 100 ? null : 1}));
  const few = samples.thinned(many, 100);
  assert.ok(few.length <= 100 && values(few).includes(99) && values(few).includes(null));
  assert.strictEqual(samples.thinned(few, 100), few);
});

// -- the biggest keys -------------------------------------------------------------------------------------------------

test('the biggest keys are kept, and all are counted', () => {
  const biggest = new Biggest(3);
  for (const [name, size] of [['a', 1], ['b', 5], ['c', 3], ['d', 5], ['e', 2], ['f', 4]]) biggest.add(name, size);
  assert.deepStrictEqual(biggest.keys.map(({name}) => name), ['b', 'd', 'f']);
  assert.deepStrictEqual([biggest.count, biggest.size], [6, 20]);
});

test('a key that is found again stands there once, with its last size', () => {
  const biggest = new Biggest(3);
  for (const [name, size] of [['a', 9], ['b', 5], ['a', 1], ['a', 7]]) biggest.add(name, size);
  assert.deepStrictEqual(biggest.keys, [{name: 'a', size: 7}, {name: 'b', size: 5}]);
});

test('of any keys the biggest are those that sorting finds', () => {
  const biggest = new Biggest(50), all = [];
  let seed = 1;
  for (let i = 0; i < 5000; i++) {
    seed = seed * 16807 % 2147483647;
    all.push(seed % 1000);
    biggest.add(String(i), seed % 1000);
  }
  assert.deepStrictEqual(biggest.keys.map(({size}) => size), all.sort((a, b) => b - a).slice(0, 50));
});

function weighingWith(replies) {
  const asked = [];
  const client = {
    async bytes(...words) {
      asked.push(words);
      const reply = replies.shift();
      if (reply instanceof Error) throw reply;
      return reply;
    },
  };
  return {client, asked};
}

test('a batch is weighed: what is gone and what fails is told', async () => {
  const {client, asked} = weighingWith([100, null, new RedisError('NOPERM no'), 50n]);
  const biggest = new Biggest();
  const counts = await weighing(client, biggest)([bytes('a'), bytes('b'), bytes('c'), bytes('\xff')]);
  const {error, ...numbers} = counts;
  assert.deepStrictEqual([numbers, error.message], [{weighed: 2, gone: 1, failed: 1}, 'NOPERM no']);
  assert.deepStrictEqual(biggest.keys, [{name: 'a', size: 100}, {name: '\xc3\xbf', size: 50}]);
  assert.deepStrictEqual(asked[0].map(String), ['MEMORY', 'USAGE', '97', 'SAMPLES', '5']);
});

test('the loss of a connection while weighing is thrown, and nothing of that batch counts', async () => {
  const {client} = weighingWith([100, new WS2SError(5, 'gateway-lost', 'lost')]);
  const biggest = new Biggest();
  await assert.rejects(weighing(client, biggest)([bytes('a'), bytes('b')]), {reason: 'gateway-lost'});
  assert.deepStrictEqual([biggest.count, biggest.keys], [0, []]);
});
