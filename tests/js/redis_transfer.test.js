/* Keys into a file and out of it, as JSON, and to another database; with a model of Redis that has its faults. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const {RedisError, WS2SError} = require('../../ws2s-js/ws2s.js');

let transfer, batch, json, errors;
before(async () => {
  [transfer, batch, json, errors] = await Promise.all(['transfer', 'batch', 'json-lines', 'errors'].map(name => (
    import(`../../ws2s-js/redis-${name}.mjs`))));
});

const latin = data => Buffer.from(data).toString('latin1');
const utf8 = text => new Uint8Array(Buffer.from(text));
const raw = text => new Uint8Array(Buffer.from(text, 'latin1'));
const NOW = 1800000000000;

/* Keys by name: {dump, deadline}. `lacks`: commands that it does not know; `faults`: functions of the words. */
class Store {
  constructor(keys = {}, {lacks = [], faults = [], ahead = 0} = {}) {
    this.keys = new Map(Object.entries(keys));
    Object.assign(this, {lacks, faults, ahead, asked: []});
  }

  async bytes(...words) {
    const [name, ...rest] = words;
    this.asked.push(words.map(word => (word instanceof Uint8Array ? latin(word) : String(word))).join(' '));
    for (const fault of this.faults) fault(name, rest);
    if (this.lacks.includes(name)) throw new RedisError(`ERR unknown command '${name}'`);
    return this[name](...rest);
  }

  TIME() {
    return [utf8(String((NOW + this.ahead) / 1000)), utf8('0')];
  }

  MEMORY(usage, key) {
    return this.keys.has(latin(key)) ? this.keys.get(latin(key)).size ?? 100 : null;
  }

  DUMP(key) {
    return this.keys.has(latin(key)) ? raw(this.keys.get(latin(key)).dump) : null;
  }

  PEXPIRETIME(key) {
    const found = this.keys.get(latin(key));
    return found ? found.deadline ?? -1 : -2;
  }

  PTTL(key) {
    const found = this.keys.get(latin(key));
    return found ? (found.deadline ? found.deadline - NOW - this.ahead : -1) : -2;
  }

  RESTORE(key, time, dump, ...more) {
    if (more.includes('ABSTTL') && this.lacks.includes('ABSTTL')) throw new RedisError('ERR syntax error');
    if (this.keys.has(latin(key)) && !more.includes('REPLACE')) throw new RedisError('BUSYKEY Target key name');
    if (latin(dump) === 'bad') throw new RedisError('ERR DUMP payload version or checksum are wrong');
    const left = Number(time) ? Number(time) + (more.includes('ABSTTL') ? 0 : NOW + this.ahead) : null;
    this.keys.set(latin(key), {dump: latin(dump), deadline: left});
    return 'OK';
  }
}

const KEYS = {
  'plain': {dump: 'one', deadline: null}, 'timed': {dump: 'two\0\xff', deadline: NOW + 60000},
  '\xff\0': {dump: '', deadline: null}, '': {dump: 'empty name', deadline: NOW + 5e10},
  ['__proto__']: {dump: 'p', deadline: null},
};

const quiet = () => new batch.Batches({rest: async () => {}});

async function exported(store, names = [...store.keys.keys()]) {
  const file = new transfer.FileParts(), run = quiet();
  const exporting = new transfer.Exporting(store, file, await transfer.serverClock(store, () => NOW));
  exporting.begin({redis: '7.0'});
  await run.run(transfer.sizedBatches(store, names), exporting.step);
  exporting.end();
  return {file: new Blob(file.parts), run, size: file.size};
}

async function imported(store, file, isReplacing = false) {
  const run = quiet();
  const importing = new transfer.Importing(store, await transfer.serverClock(store, () => NOW), isReplacing);
  await run.run(transfer.keysOf(file), importing.step);
  return run;
}

const plain = store => Object.fromEntries([...store.keys].map(([name, {dump, deadline}]) => [name, {dump, deadline}]));

for (const lacks of [
  [], ['PEXPIRETIME'], ['MEMORY'], ['ABSTTL'], ['TIME'], ['PEXPIRETIME', 'MEMORY', 'ABSTTL', 'TIME'],
]) {
  test(`what is exported and imported is the same, without ${lacks.join(', ') || 'nothing'}`, async () => {
    const store = new Store(KEYS, {lacks}), other = new Store({}, {lacks});
    const {file, run, size} = await exported(store);
    assert.deepStrictEqual([run.tally.done, run.error, file.size], [5, null, size]);
    assert.deepStrictEqual((await transfer.checkFile(file)).number, 5);
    assert.strictEqual((await imported(other, file)).tally.done, 5);
    assert.deepStrictEqual(plain(other), plain(store));
  });
}

test('a server whose clock goes otherwise has the same deadlines', async () => {
  for (const lacks of [[], ['PEXPIRETIME', 'ABSTTL']]) {
    const store = new Store({a: {dump: 'x', deadline: NOW + 7200000}}, {ahead: 3600000, lacks});
    const other = new Store({}, {ahead: 3600000, lacks});
    await imported(other, (await exported(store)).file);
    assert.strictEqual(other.keys.get('a').deadline, NOW + 7200000);
  }
});

test('keys whose time has run out since are told, and not made', async () => {
  const {file} = await exported(new Store(KEYS));
  const later = new Store({}, {ahead: 120000});
  const {tally} = await imported(later, file);
  assert.deepStrictEqual([tally.late, tally.done, later.keys.has('timed')], [1, 4, false]);
});

test('a key that is there stays, unless it is to be replaced', async () => {
  const {file} = await exported(new Store(KEYS));
  for (const isReplacing of [false, true]) {
    const store = new Store({plain: {dump: 'mine', deadline: null}});
    const {tally} = await imported(store, file, isReplacing);
    assert.deepStrictEqual([tally.kept, store.keys.get('plain').dump], isReplacing ? [0, 'one'] : [1, 'mine']);
  }
});

test('a key that the server does not take is counted, and the others are made', async () => {
  const {file} = await exported(new Store({...KEYS, evil: {dump: 'bad', deadline: null}}));
  const store = new Store();
  const {tally, error} = await imported(store, file);
  assert.deepStrictEqual([tally.failed, tally.done, /DUMP payload/.test(error.message)], [1, 5, true]);
});

test('where deadlines are unknown to the server, each key is made once', async () => {
  const store = new Store({}, {lacks: ['ABSTTL']});
  const {tally} = await imported(store, (await exported(new Store(KEYS))).file);
  assert.deepStrictEqual([tally.done, tally.kept], [5, 0]);
});

test('a key that is gone meanwhile is not in the file', async () => {
  const {run, file} = await exported(new Store(KEYS), ['plain', 'gone', 'timed']);
  assert.deepStrictEqual([run.tally.done, run.tally.gone, (await transfer.checkFile(file)).number], [2, 1, 2]);
});

test('a batch whose connection is lost is in the file once', async () => {
  let losses = 2;
  const store = new Store(KEYS, {faults: [name => {
    if (name === 'DUMP' && losses-- > 0) throw new WS2SError(1, 'not-answered', 'lost');
  }]});
  const {run, file} = await exported(store);
  assert.deepStrictEqual([run.tally.done, (await transfer.checkFile(file)).number], [5, 5]);
});

test('large values are asked for a few at once, and one that is too large is told', async () => {
  const keys = Object.fromEntries(Array.from({length: 20}, (_, i) => [`k${i}`, {dump: 'x', size: 3000000}]));
  const store = new Store({...keys, huge: {dump: 'x', size: 3e9}});
  const groups = [];
  for await (const {keys: group, isTooLarge} of transfer.sizedBatches(store, [...store.keys.keys()])) {
    groups.push(isTooLarge ? 'huge' : group.length);
  }
  assert.deepStrictEqual(groups, [...Array(10).fill(2), 'huge']);
  const {run} = await exported(store);
  assert.deepStrictEqual([run.tally.done, run.tally.failed, /too large/.test(run.error.message)], [20, 1, true]);
});

test('a file does not grow beyond its bound', () => {
  const file = new transfer.FileParts();
  const piece = new Uint8Array(0);
  Object.defineProperty(piece, 'length', {value: 600000000});
  file.size = 500000000;
  assert.throws(() => file.write([piece]), /larger than 1 GB/);
});

test('what was written in parts is the same in a file', async () => {
  const file = new transfer.FileParts();
  for (let i = 0; i < 5; i++) file.write([new Uint8Array(3000000).fill(i)]);
  const bytes = new Uint8Array(await new Blob(file.parts).arrayBuffer());
  assert.deepStrictEqual([bytes.length, file.size, bytes[0], bytes[14999999]], [15000000, 15000000, 0, 4]);
});

test('a server that answers something else than Redis does is not believed for that key', async () => {
  for (const odd of [{dump: 'text', left: -1}, {dump: [1], left: -1}, {dump: utf8('x'), left: 'soon'}]) {
    const store = new Store(KEYS), {bytes} = store;
    store.bytes = async (...words) => {
      const isOdd = words[1] instanceof Uint8Array && latin(words[1]) === 'plain';
      if (isOdd && words[0] === 'DUMP') return odd.dump;
      return isOdd && words[0] === 'PEXPIRETIME' ? odd.left : bytes.apply(store, words);
    };
    const {run, file} = await exported(store);
    assert.deepStrictEqual([run.tally.failed, run.tally.done], [1, 4]);
    assert.strictEqual((await transfer.checkFile(file)).number, 4);
  }
});

// -- checking ---------------------------------------------------------------------------------------------------------

test('a damaged file is told before anything of it is made', async () => {
  const {file} = await exported(new Store(KEYS));
  const bytes = new Uint8Array(await file.arrayBuffer());
  bytes[100] ^= 1;
  await assert.rejects(transfer.checkFile(new Blob([bytes])), {name: 'FileError'});
  await assert.rejects(transfer.checkFile(new Blob([bytes.subarray(0, 50)])), {name: 'FileError'});
  await assert.rejects(transfer.checkFile(new Blob([])), /no file of keys/);
});

test('checking a file can be stopped', async () => {
  const {file} = await exported(new Store(KEYS));
  await assert.rejects(transfer.checkFile(file, {isStopped: () => true}), {name: 'AbortError'});
});

test('many keys are checked and made over pieces of the file', async () => {
  const store = new Store(Object.fromEntries(Array.from({length: 3000}, (_, i) => (
    [`key:${i}`, {dump: `${i}`.repeat(300), deadline: i % 2 ? NOW + i + 1e6 : null}]))));
  const {file} = await exported(store), other = new Store(), told = [];
  assert.strictEqual((await transfer.checkFile(file, {onRead: bytes => told.push(bytes)})).number, 3000);
  assert.strictEqual(told.at(-1), file.size);
  await imported(other, file);
  assert.deepStrictEqual(plain(other), plain(store));
});

for (const answer of ['OK', [], [utf8('x'), utf8('y')], null]) {
  test(`a time of ${JSON.stringify(answer)} is not that of the server`, async () => {
    assert.strictEqual((await transfer.serverClock({bytes: async () => answer}, () => 5))(), 5);
  });
}

// -- copies -----------------------------------------------------------------------------------------------------------

function sessionOf(answers, other) {
  const asked = [];
  return {
    asked,
    async ask(...words) {
      asked.push(words.map(word => (word instanceof Uint8Array ? latin(word) : String(word))).join(' '));
      const answer = answers[words[0]];
      if (answer instanceof Error) throw answer;
      return answer;
    },
    another({db}) {
      asked.push(`-> ${db}`);
      return {bytes: (...words) => other.bytes(...words), async close() {}};
    },
  };
}

test('a key is copied by COPY', async () => {
  const session = sessionOf({COPY: 1});
  await transfer.copyKey(session, utf8('k'), {db: 3, isReplacing: true});
  assert.deepStrictEqual(session.asked, ['COPY k k DB 3 REPLACE']);
});

test('a key that is gone, and one whose name is taken, are told apart', async () => {
  const outcomes = [['none', /does not exist any more/, true], ['hash', /already a key/, false]];
  for (const [TYPE, message, isMissing] of outcomes) {
    await assert.rejects(transfer.copyKey(sessionOf({COPY: 0, TYPE}), utf8('k'), {db: 1}),
      error => error instanceof errors.ChangedError && message.test(error.message) && error.isMissing === isMissing);
  }
});

for (const refusal of ["ERR unknown command 'COPY'", 'NOPERM this user has no permissions']) {
  test(`after ${refusal} a key is copied by DUMP and RESTORE, with its time`, async () => {
    for (const [left, deadline] of [[5000, NOW + 5000], [-1, null], [0, NOW + 1]]) {
      const store = new Store();
      const session = sessionOf({COPY: new RedisError(refusal), DUMP: utf8('d'), PTTL: left}, store);
      await transfer.copyKey(session, utf8('k'), {db: 2, to: utf8('n')});
      assert.deepStrictEqual(plain(store), {n: {dump: 'd', deadline}});
      assert.strictEqual(session.asked.at(-1), '-> 2');
    }
  });
}

test('a copy by RESTORE replaces nothing that was not to be replaced', async () => {
  const store = new Store({k: {dump: 'mine', deadline: null}});
  const session = sessionOf({COPY: new RedisError("ERR unknown command 'COPY'"), DUMP: utf8('d'), PTTL: -1}, store);
  await assert.rejects(transfer.copyKey(session, utf8('k'), {db: 2}), /already a key/);
  await transfer.copyKey(session, utf8('k'), {db: 2, isReplacing: true});
  assert.strictEqual(store.keys.get('k').dump, 'd');
});

// -- JSON -------------------------------------------------------------------------------------------------------------

const list = (...items) => items.map(item => (typeof item === 'string' ? raw(item) : item));

const VALUES = [
  ['string', {GET: raw('a"b\n')}, 'a"b\n'],
  ['string', {GET: raw('\xff')}, {base64: '/w=='}],
  ['hash', {HSCAN: list('0', list('2', 'b', '__proto__', 'p'))}, JSON.parse('{"2":"b","__proto__":"p"}')],
  ['hash', {HSCAN: list('0', list('\xff', 'x'))}, [[{base64: '/w=='}, 'x']]],
  ['list', {LRANGE: list('a', '', '\xc3\xa9')}, ['a', '', '\u00e9']],
  ['set', {SSCAN: list('0', list('a', 'b', 'a'))}, ['a', 'b']],
  ['zset', {ZRANGE: list('a', '1.5', 'b', 'inf', 'c', '-inf')}, [['a', 1.5], ['b', 'inf'], ['c', '-inf']]],
  ['stream', {XRANGE: [list('1-0', list('f', 'v'))]}, [['1-0', {f: 'v'}]]],
  ['ReJSON-RL', {'JSON.GET': raw('{"a":[1,\n2]}')}, {a: [1, 2]}],
  ['ReJSON-RL', {'JSON.GET': raw('} oops')}, '} oops'],
  ['MBbloom--', {}, null], ['constructor', {}, null],
];

async function lineOf(answers) {
  const client = {bytes: async (...words) => {
    const answer = answers[words.find(word => Object.hasOwn(answers, word))];
    if (answer instanceof Error) throw answer;
    return typeof answer === 'function' ? answer() : answer;
  }};
  const file = new transfer.FileParts();
  const counts = await new json.JsonLines(client, file, () => NOW).step({keys: [raw('k\xe9')]});
  return {counts, text: await new Blob(file.parts).text()};
}

for (const [type, answers, value] of VALUES) {
  test(`a ${type} as JSON is ${JSON.stringify(value)}`, async () => {
    const {counts, text} = await lineOf({TYPE: type, PTTL: 1500, ...answers});
    assert.ok(text.endsWith('\n') && text.indexOf('\n') === text.length - 1, text);
    assert.deepStrictEqual(JSON.parse(text),
      {key: {base64: 'a+k='}, type, expires: '2027-01-15T08:00:01.500Z', value});
    assert.deepStrictEqual([counts.done, counts.failed], [1, 0]);
  });
}

test('fields stand in their order, numbers too', async () => {
  const {text} = await lineOf({TYPE: 'hash', PTTL: -1, HSCAN: list('0', list('9', 'a', '1', 'b'))});
  assert.match(text, /"expires":null,"value":\{"9":"a","1":"b"\}/);
});

test('a key that is gone has no line, and one that may not be read is counted', async () => {
  assert.deepStrictEqual((await lineOf({TYPE: 'none', PTTL: -2})).counts, {done: 0, gone: 1, failed: 0});
  const {counts, text} = await lineOf({TYPE: 'string', PTTL: -1, GET: new RedisError('NOPERM no')});
  assert.deepStrictEqual([counts.failed, counts.error.code, text], [1, 'NOPERM', '']);
});

for (const [type, answer] of [['hash', {HSCAN: 'OK'}], ['list', {LRANGE: 7}], ['stream', {XRANGE: [[raw('x'), []]]}],
  ['hash', {HSCAN: [utf8('1'), []]}]]) {
  test(`a server that answers ${JSON.stringify(answer).slice(0, 40)} for a ${type} ends nothing else`, async () => {
    const {counts} = await lineOf({TYPE: type, PTTL: -1, ...answer});
    assert.ok(counts.failed + counts.done === 1);
  });
}

test('a connection that is lost is no failure of a key', async () => {
  const lost = new WS2SError(1, 'not-answered', 'lost');
  await assert.rejects(lineOf({TYPE: 'string', PTTL: -1, GET: lost}), {reason: 'not-answered'});
});

test('long values are read piece by piece', async () => {
  const items = Array.from({length: 2500}, (_, i) => raw(String(i))), asked = [];
  const client = {bytes: async (name, key, first, last) => {
    asked.push(name);
    return {TYPE: 'list', PTTL: -1, LRANGE: items.slice(first, last + 1)}[name];
  }};
  const file = new transfer.FileParts();
  await new json.JsonLines(client, file, () => NOW).step({keys: [raw('k')]});
  assert.strictEqual(JSON.parse(await new Blob(file.parts).text()).value.length, 2500);
  assert.strictEqual(asked.filter(name => name === 'LRANGE').length, 3);
});

test('a line is JSON, whatever a server has answered for a time and for a score', async () => {
  const scores = ['1', ' 1', '0x10', '', '1\n', 'inf', '-2.5e-7', '1e400', '.5', '\u0661'];
  const {text} = await lineOf({TYPE: 'zset', PTTL: 'x,"evil":1', ZRANGE: list(...scores.flatMap(each => ['m', each]))});
  assert.strictEqual(text.indexOf('\n'), text.length - 1);
  const {expires, value, evil} = JSON.parse(text);
  assert.deepStrictEqual([expires, evil, value.map(([, score]) => typeof score)], [null, undefined,
    ['number', 'string', 'string', 'string', 'string', 'string', 'number', 'number', 'string', 'string']]);
});

for (const [type, command] of [['hash', 'HSCAN'], ['list', 'LRANGE']]) {
  test(`a ${type} of which a server tells more and more is given up before it fills the memory`, async () => {
    const items = Array(1000).fill(new Uint8Array(10000)), all = type === 'hash' ? [raw('7'), items] : items;
    let asked = 0;
    const {counts} = await lineOf({TYPE: type, PTTL: -1, [command]: () => { asked++; return all; }});
    assert.deepStrictEqual([counts.failed, counts.error.name], [1, 'FileError']);
    assert.ok(asked < 30, asked);
  });
}
