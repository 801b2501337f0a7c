/* Read-only connections of the Redis page: what passes, what is refused, and that nothing of it is sent. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const {FakeGateway, settled} = require('./fake_gateway.js');
const {FakeRedis, bulk} = require('./fake_redis.js');

let guards, sessions, errors;
before(async () => {
  [guards, sessions, errors] = await Promise.all(['guard', 'session', 'errors'].map(name => (
    import(`../../ws2s-js/redis-${name}.mjs`))));
});

const utf8 = text => new Uint8Array(Buffer.from(text));
const line = text => text.split(' ').filter(word => word !== '');

/* As Redis 7.0 flags them. */
const TOLD = [
  ['get', 2, ['readonly', 'fast']], ['set', -3, ['write', 'denyoom']], ['sort', -2, ['write', 'denyoom']],
  ['georadius', -6, ['write']], ['bitfield', -2, ['write']], ['flushall', -1, ['write']], ['pfcount', -2, ['readonly']],
  ['eval', -3, ['noscript']], ['eval_ro', -3, ['readonly']], ['publish', 3, ['pubsub']],
  ['migrate', -6, ['write']], ['json.get', -2, ['readonly']], ['json.set', -4, ['write']], ['ft.config', -2, ['admin']],
  ['odd.admin', 1, ['readonly', 'admin']], ['odd.spread', 1, ['readonly', 'may_replicate']],
  ['xgroup', -2, [], 0, 0, 0, [], [], [], [['xgroup|create', -5, ['write']], ['xgroup|help', 2, ['loading']]]],
  ['box', -2, [], 0, 0, 0, [], [], [], [['box|look', 2, ['readonly']], ['box|put', 2, ['write']]]],
];

function guard(told = TOLD) {
  const made = new guards.ReadOnlyGuard();
  made.learn(told);
  return made;
}

const REFUSED = `
  SET k v | set k v | SeT k v | FLUSHALL | FLUSHALL ASYNC | FLUSHDB | flushdb sync | DEL k | UNLINK k | EVAL return 0 |
  EVALSHA x 0 | FCALL f 0 | SCRIPT LOAD x | SCRIPT FLUSH | script kill | SCRIPT DEBUG YES | FUNCTION LOAD x |
  FUNCTION DELETE x | FUNCTION FLUSH | FUNCTION RESTORE x | FUNCTION KILL | FUNCTION | SCRIPT |
  MIGRATE h 1 k 0 1 | migrate h 1 k 0 1 COPY | SORT k | SORT k STORE d | sort k by nosort store d |
  GEORADIUS k 0 0 1 km STORE d | GEORADIUS k 0 0 1 km STOREDIST d | GEORADIUSBYMEMBER k m 1 km STORE d |
  BITFIELD k SET u8 0 1 | BITFIELD k GET u8 0 | BITOP NOT a b | GETDEL k | GETEX k PERSIST | GETSET k v | SPOP k |
  LPOP k | BLPOP k 0 | LMPOP 1 k LEFT | XREADGROUP GROUP g c STREAMS s > | XACK s g 1 | XCLAIM s g c 0 1 |
  XAUTOCLAIM s g c 0 0 | XGROUP CREATE s g 0 | xgroup create s g 0 | XGROUP DESTROY s g | XGROUP | XSETID s 0 |
  EXPIRE k 1 | PERSIST k | RESTORE k 0 x | RESTORE-ASKING k 0 x | COPY a b | RENAME a b | MOVE k 1 | SWAPDB 0 1 |
  SINTERSTORE d a | ZRANGESTORE d a 0 1 | GEOSEARCHSTORE d a | PFADD k v | PFCOUNT k | PFMERGE d a | PFDEBUG x k |
  PUBLISH c m | SPUBLISH c m | CONFIG SET a b | CONFIG REWRITE | CONFIG RESETSTAT | CONFIG | CLIENT KILL ID 1 |
  CLIENT PAUSE 1 | CLIENT UNBLOCK 1 | CLIENT NO-EVICT on | CLIENT REPLY OFF | CLUSTER RESET | CLUSTER FAILOVER |
  CLUSTER MEET h 1 | CLUSTER FLUSHSLOTS | ACL SETUSER u | ACL DELUSER u | ACL LOAD | ACL SAVE | ACL LOG RESET |
  acl log reset | SLOWLOG RESET | LATENCY RESET | MEMORY PURGE | MODULE LOAD x | MODULE LOADEX x | MODULE UNLOAD x |
  DEBUG SLEEP 1 | DEBUG SET-ACTIVE-EXPIRE 0 | SAVE | BGSAVE | BGREWRITEAOF | SHUTDOWN NOSAVE | REPLICAOF NO ONE |
  SLAVEOF NO ONE | FAILOVER | SYNC | PSYNC ? -1 | REPLCONF ACK 0 | HPEXPIRE k 1 FIELDS 1 f | HGETDEL k FIELDS 1 f |
  HGETEX k FIELDS 1 f | HSETEX k FIELDS 1 f v | SENTINEL FAILOVER m | SENTINEL SET m a b | SENTINEL FLUSHCONFIG |
  NOSUCH k | FT.ADD x | JSON.SET k $ 1 | json.set k $ 1 | FT.CONFIG SET a b | ODD.ADMIN | ODD.SPREAD | BOX PUT |
  BOX | BOX NOTHING | CONSTRUCTOR | __PROTO__ | TOSTRING x | HASOWNPROPERTY`.split('|').map(each => each.trim());

const PASSES = `
  GET k | get k | gEt k | MGET a b | SCAN 0 | HSCAN h 0 | TYPE k | TTL k | PTTL k | DUMP k | OBJECT ENCODING k |
  object encoding k | MEMORY USAGE k | XINFO STREAM s | XRANGE s - + | XPENDING s g | ZRANGE z 0 -1 | LRANGE l 0 -1 |
  EVAL_RO return 0 | FCALL_RO f 0 | SORT_RO k | BITFIELD_RO k GET u8 0 | GEORADIUS_RO k 0 0 1 km | PING | ECHO x |
  INFO | INFO server | CONFIG GET * | CLIENT LIST | CLIENT SETNAME x | SLOWLOG GET | SLOWLOG LEN | ACL WHOAMI |
  ACL LOG | ACL LOG 10 | LATENCY LATEST | CLUSTER NODES | CLUSTER SLOTS | COMMAND DOCS get | COMMAND | MULTI | EXEC |
  DISCARD | WATCH k | UNWATCH | SELECT 1 | SUBSCRIBE c | MONITOR | WAIT 0 0 | DBSIZE | TIME | ROLE | FUNCTION LIST |
  SCRIPT EXISTS x | MODULE LIST | SENTINEL MASTERS | READONLY | READWRITE | ASKING | HELLO 3 | AUTH p | RESET | QUIT |
  JSON.GET k | json.get k $ | BOX LOOK | box look | XGROUP HELP`.split('|').map(each => each.trim());

for (const [texts, is, what] of [[REFUSED, false, 'is refused'], [PASSES, true, 'passes']]) {
  for (const text of texts) {
    test(`${text} ${what}, as text and as bytes`, () => {
      for (const words of [line(text), line(text).map(utf8)]) assert.strictEqual(guard().refusal(words) === null, is);
    });
  }
}

for (const text of [...REFUSED, ...PASSES.filter(each => !/^(JSON\.|BOX)/i.test(each))]) {
  test(`${text} is judged alike where COMMAND may not be asked for`, () => {
    assert.strictEqual(guard(null).refusal(line(text)) === null, PASSES.includes(text));
  });
}

test('of a module nothing passes where the server does not tell its commands', () => {
  assert.notStrictEqual(guard(null).refusal(['JSON.GET', 'k']), null);
});

for (const words of [[], [''], [utf8('')], ['GET\0', 'k'], [' GET', 'k'], ['GET ', 'k'], ['G\u0130T'],
  ['\u017fCAN', '0'], ['SET k', 'v'], ['\nFLUSHALL'], [utf8('G\u00cbT')], ['x'.repeat(1000000)],
  [new Uint8Array(1000000)], [7], [null], [undefined], ['GET\r\nFLUSHALL']]) {
  test(`${JSON.stringify(String(words[0])).slice(0, 30)} is no command that is known`, () => {
    assert.notStrictEqual(guard().refusal(words), null);
  });
}

test('what a server flags as write is refused, however well its name is known', () => {
  for (const flags of [['write'], [utf8('write')], new Set(['write']), ['WRITE', 'readonly']]) {
    assert.notStrictEqual(guard([['get', 2, flags]]).refusal(['GET', 'k']), null);
  }
});

test('a server that flags what writes as readonly is not believed', () => {
  const told = ['flushall', 'eval', 'pfcount', 'shutdown', 'config', 'migrate'].map(name => [name, 1, ['readonly']]);
  for (const [name] of told) assert.notStrictEqual(guard(told).refusal([name, 'SET']), null, name);
});

test('a server that flags all there is as readonly has nothing sent that writes', () => {
  const names = [...new Set(REFUSED.map(text => text.split(' ')[0].toUpperCase()))];
  const told = names.map(name => [name, 1, ['readonly']]);
  const unknown = ['NOSUCH', 'BOX', 'CONSTRUCTOR', '__PROTO__', 'TOSTRING', 'HASOWNPROPERTY', 'ODD.SPREAD',
    'ODD.ADMIN'];
  const passing = REFUSED.filter(text => guard(told).refusal(line(text)) === null).map(text => text.split(' ')[0]);
  assert.deepStrictEqual(passing.filter(name => !unknown.includes(name)), []);
});

/* As RediSearch, RedisGears and others flag them. */
for (const name of ['FT.DICTADD', 'FT.DICTDEL', 'FT.DEBUG', 'FT.CONFIG', 'FT.CURSOR', '_FT.CONFIG', 'RG.PYEXECUTE',
  'RG.TRIGGER', 'RG.ABORTEXECUTION', 'GRAPH.CONFIG', 'SEARCH.CLUSTERSET', 'TIMESERIES.REFRESHCLUSTER', 'TFCALL']) {
  test(`${name} is refused, though its module calls it readonly: it changes something that is no key`, () => {
    assert.notStrictEqual(guard([[name.toLowerCase(), -1, ['readonly']]]).refusal([name, 'x']), null);
  });
}

for (const name of ['FT.SEARCH', 'FT.INFO', 'FT.AGGREGATE', 'FT.DICTDUMP', 'TS.MRANGE', 'TS.GET', 'BF.EXISTS',
  'JSON.MGET', 'GRAPH.RO_QUERY', 'TOPK.QUERY', 'CMS.INFO']) {
  test(`${name} passes where the server flags it readonly`, () => {
    assert.strictEqual(guard([[name.toLowerCase(), -1, ['readonly']]]).refusal([name, 'x']), null);
  });
}

for (const reply of [undefined, null, 'OK', 7, [null], [[]], [['get']], [['get', 1, 'write']], [[{}, 1, ['write']]],
  [['a', 1, [null, 7, {}]]], [['a', 1, [], 0, 0, 0, 0, 0, 0, 'x']], new Map(), [[['get'], 1, ['write']]]]) {
  test(`${JSON.stringify(reply)} as the list of commands changes nothing`, () => {
    assert.strictEqual(guard(reply).refusal(['GET', 'k']), null);
    assert.notStrictEqual(guard(reply).refusal(['SET', 'k', 'v']), null);
  });
}

test('the sentence names the command, and what can be used instead', () => {
  const said = words => guard().refusal(words);
  assert.match(said(['set', 'k', 'secret']), /read-only, and SET may change something.*Nothing was sent\.$/);
  assert.match(said(['SORT', 'k']), /SORT_RO only looks\.$/);
  assert.match(said(['config', 'set', 'requirepass', 'pw']), /CONFIG SET may/);
  assert.ok(!said(['SET', 'k', 'secret']).includes('secret'));
  assert.match(said(['\u202e', 'x']), /and this command may/);
  assert.match(said(['config', '\u202e']), /and CONFIG may/);
});

// -- sessions ---------------------------------------------------------------------------------------------------------

const wire = told => `*${told.length}\r\n${told.map(([name, , flags]) => (
  `*3\r\n${bulk(name)}:1\r\n*${flags.length}\r\n${flags.map(flag => `+${flag}\r\n`).join('')}`)).join('')}`;

const EVENTS = {ready() {}, lost() {}, over() {}, avoiding() {}};

async function begin(answers = {}) {
  const server = new FakeRedis({COMMAND: wire(TOLD), ...answers});
  const gateway = new FakeGateway({makeTarget: server.makeTarget});
  const options = {host: 'redis.test', WebSocket: gateway.WebSocket, readOnly: true};
  const session = await sessions.Session.open('ws://gateway.test/', options, EVENTS);
  server.commands = [];
  return {session, server};
}

const isRefused = error => error instanceof errors.ReadOnlyError && errors.sentenceOf(error) === error.message;

test('a session that is read-only asks what the commands are, and sends none that writes', async () => {
  const {session, server} = await begin();
  assert.strictEqual(session.isReadOnly, true);
  await session.ask('JSON.GET', 'k');
  for (const text of REFUSED) await assert.rejects(session.ask(...line(text)), isRefused);
  assert.deepStrictEqual(server.commands, ['JSON.GET k']);
  await session.close();
});

test('a connection of its own has the guard, too, and so has a transaction', async () => {
  const {session, server} = await begin();
  const other = session.another();
  await other.command('PING');
  server.commands = [];
  for (const text of REFUSED) {
    await assert.rejects(other.command(...line(text)), isRefused);
    await assert.rejects(other.text(...line(text)), isRefused);
    await assert.rejects(other.multi([['GET', 'k'], line(text).values()]), isRefused);
  }
  await other.command('PING');
  assert.deepStrictEqual(server.commands, ['PING']);
  await Promise.all([other.close(), session.close()]);
});

test('connections that are made later have it: after a loss, anew, and to another database', async () => {
  const {session, server} = await begin();
  for (const change of [() => session.renew(), () => session.select(3), () => server.last.close()]) {
    await change();
    await settled();
    await session.ready();
    server.commands = [];
    await assert.rejects(session.ask('SET', 'k', 'v'), isRefused);
    await assert.rejects(session.onOneConnection()('SET', 'k', 'v'), isRefused);
    await session.ask('GET', 'k');
    assert.deepStrictEqual(server.commands.filter(each => !/^(PING|SELECT)/.test(each)), ['GET k']);
  }
  await session.close();
});

test('a change is refused before anything of it is sent', async () => {
  const {session, server} = await begin({TYPE: '+string\r\n'});
  await assert.rejects(session.change('k', 'string', {reads: [['GET', 'k']], writes: [['SET', 'k', 'v']]}), isRefused);
  await assert.rejects(session.change('k', 'string', {writes: () => [['SET', 'k', 'v']]}), isRefused);
  await assert.rejects(session.setString('k', 'v', {}), isRefused);
  await assert.rejects(session.remove('k'), isRefused);
  await assert.rejects(session.setField('k', 'f', 'v', {}), isRefused);
  assert.deepStrictEqual(server.commands.filter(each => !each.startsWith('HPEXPIRETIME')), []);
  await session.close();
});

for (const answer of ['-NOPERM no\r\n', '+OK\r\n', '*-1\r\n']) {
  test(`where COMMAND is answered by ${answer.trim()} the session is read-only all the same`, async () => {
    const {session, server} = await begin({COMMAND: answer});
    await session.ask('GET', 'k');
    for (const text of REFUSED) await assert.rejects(session.ask(...line(text)), isRefused);
    assert.deepStrictEqual(server.commands, ['GET k']);
    await session.close();
  });
}

test('without readOnly everything is sent, and nobody asks for the commands', async () => {
  const server = new FakeRedis();
  const gateway = new FakeGateway({makeTarget: server.makeTarget});
  const session = await sessions.Session.open('ws://gateway.test/', {host: 'r', WebSocket: gateway.WebSocket}, {});
  assert.deepStrictEqual(server.commands.filter(each => each.startsWith('COMMAND')), []);
  assert.deepStrictEqual([session.isReadOnly, session.refusal('SET', 'k', 'v')], [false, null]);
  assert.strictEqual(await session.ask('SET', 'k', 'v'), 'OK');
  await session.close();
});

// redis-watching.mjs sends AUTH and MONITOR, and nothing else: see redis_watching.test.js.
const MAKERS = ['redis-guard.mjs', 'redis-watching.mjs'];

test('no other module of the page makes a client of its own', async () => {
  const {readdirSync, readFileSync} = require('node:fs');
  const {join} = require('node:path');
  const folder = join(__dirname, '..', '..', 'ws2s-js');
  const files = readdirSync(folder).filter(name => /^redis.*\.m?js$/.test(name) && !MAKERS.includes(name));
  const makes = name => /import \{[^}]*\b(Redis|WS2S|connect)\b[^}]*\} from '\.\/ws2s\.mjs'|WS2S\.|internals/.test(
    readFileSync(join(folder, name), 'utf8').replace(/\/\*[^]*?\*\/|\/\/.*/g, ''));
  assert.deepStrictEqual(files.filter(makes), []);
});
