/* The parts of the Redis page that need no page: bytes, lines, names, INFO, sources of rows, and sessions. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const {RedisError, WS2SError} = require('../../ws2s-js/ws2s.js');
const {FakeGateway, settled, until} = require('./fake_gateway.js');
const {FakeRedis, bulk, list} = require('./fake_redis.js');

let bytes, errors, lines, names, info, rows, session;
before(async () => {
  [bytes, errors, lines, names, info, rows, session] = await Promise.all(
    ['bytes', 'errors', 'lines', 'names', 'info', 'rows', 'session'].map(name => (
      import(`../../ws2s-js/redis-${name}.mjs`))));
});

const of = (...values) => Uint8Array.from(values);
const utf8 = text => new Uint8Array(Buffer.from(text));
const ALL = Uint8Array.from({length: 256}, (_, i) => i);

// -- bytes ------------------------------------------------------------------------------------------------------------

for (const length of [0, 1, 256, 8192, 8193, 100000]) {
  test(`${length} bytes come back from their name`, () => {
    const data = Uint8Array.from({length}, (_, i) => i % 251);
    assert.strictEqual(bytes.nameOf(data).length, length);
    assert.deepStrictEqual(bytes.bytesOfName(bytes.nameOf(data)), data);
  });
}

test('names sort as bytes do', () => {
  const sorted = [of(), of(0), of(0x41), of(0x7f), of(0x80), of(0xff), of(0xff, 0)];
  assert.deepStrictEqual(sorted.map(bytes.nameOf).sort(), sorted.map(bytes.nameOf));
});

const FORMS = [
  ['plain text', utf8('a b'), 'text', 'a b'],
  ['a backslash', utf8('a\\x41'), 'text', 'a\\\\x41'],
  ['what is not ASCII', utf8('h\u00e9 \u4e2d \ud83d\ude00'), 'text', 'h\u00e9 \u4e2d \ud83d\ude00'],
  ['an emoji with a selector', utf8('\u2764\ufe0f'), 'text', '\u2764\ufe0f'],
  ['lines', utf8('a\nb\tc'), 'text', 'a\nb\\tc'],
  ['CR LF', utf8('a\r\nb'), 'escaped', 'a\\r\nb'],
  ['a NUL', of(0), 'escaped', '\\x00'],
  ['a C1 control character', utf8('\x85'), 'escaped', '\\u{85}'],
  ['an override of the direction', utf8('a\u202eb'), 'escaped', 'a\\u{202e}b'],
  ['a zero-width space', utf8('a\u200bb'), 'escaped', 'a\\u{200b}b'],
  ['no UTF-8', of(0xff, 0x61, 0xfe), 'escaped', '\\xffa\\xfe'],
  ['half a character', of(0x61, 0xe4, 0xb8), 'escaped', 'a\\xe4\\xb8'],
  ['an overlong form', of(0xc0, 0x80), 'escaped', '\\xc0\\x80'],
  ['a longer overlong form', of(0xe0, 0x80, 0x80), 'escaped', '\\xe0\\x80\\x80'],
  ['a surrogate', of(0xed, 0xa0, 0x80), 'escaped', '\\xed\\xa0\\x80'],
  ['more than U+10FFFF', of(0xf4, 0x90, 0x80, 0x80), 'escaped', '\\xf4\\x90\\x80\\x80'],
  ['text among other bytes', of(0xff, 0xc3, 0xa9, 0xff), 'escaped', '\\xff\u00e9\\xff'],
];

for (const [what, data, form, escaped] of FORMS) {
  test(`${what} is edited as ${form}, and is ${JSON.stringify(escaped)} with escapes`, () => {
    assert.strictEqual(bytes.bestForm(data), form);
    assert.strictEqual(bytes.toEscaped(data), escaped);
    assert.deepStrictEqual(bytes.fromEscaped(escaped), data);
  });
}

test('in one line, line ends are escapes', () => {
  assert.strictEqual(bytes.bestForm(utf8('a\nb'), true), 'escaped');
  assert.strictEqual(bytes.toEscaped(utf8('a\nb'), true), 'a\\nb');
});

test('every byte survives escapes', () => {
  for (const isLine of [false, true]) {
    assert.deepStrictEqual(bytes.fromEscaped(bytes.toEscaped(ALL, isLine)), ALL);
  }
});

test('every byte survives hexadecimal', async () => {
  const {parseHex} = await import('../../ws2s-js/page.mjs');
  assert.deepStrictEqual(parseHex(bytes.toHex(ALL)), ALL);
  assert.strictEqual(bytes.toHex(ALL).split('\n').length, 16);
});

const WRITTEN = [
  ['\\n\\r\\t\\0\\a\\b', of(10, 13, 9, 0, 7, 8)],
  ['\\x00\\xFF\\XfF', of(0, 255, 255)],
  ['\\u{e9}\\u{1F600}', utf8('\u00e9\ud83d\ude00')],
  ['\\"\\\'\\\\', utf8('"\'\\')],
];

for (const [text, data] of WRITTEN) {
  test(`${text} is understood`, () => assert.deepStrictEqual(bytes.fromEscaped(text), data));
}

for (const text of ['\\', 'a\\q', '\\x4', '\\xg0', '\\u{}', '\\u{110000}', '\\u{d800}', '\\u{1234567}']) {
  test(`${text} is no escape`, () => assert.throws(() => bytes.fromEscaped(text), RangeError));
}

test('a wrong escape is told by its place', () => {
  assert.throws(() => bytes.fromEscaped('\\n ok \\q'), /character 7 /);
});

const AS_TEXT = [
  [utf8('a\n\tb'), true], [utf8('a\rb'), false], [of(0), false], [of(0xff), false], [utf8('\u202e'), true],
];

for (const [data, can] of AS_TEXT) {
  test(`a field can${can ? '' : 'not'} hold ${JSON.stringify(Buffer.from(data).toString('latin1'))} as text`, () => {
    assert.strictEqual(bytes.canBeText(data), can);
  });
}

const CUT = [['a\u00e9', 0], ['a\u00e9', 1], ['a\u4e2d', 1], ['a\u4e2d', 2], ['a\ud83d\ude00', 3]];

for (const [text, missing] of CUT) {
  test(`${JSON.stringify(text)} without its last ${missing} bytes loses no more than that character`, () => {
    const whole = utf8(text);
    const cut = bytes.withoutCutCharacter(whole.subarray(0, whole.length - missing));
    assert.deepStrictEqual(Buffer.from(cut).toString(), missing ? 'a' : text);
  });
}

test('bytes that are no UTF-8 at all are not cut further', () => {
  assert.deepStrictEqual(bytes.withoutCutCharacter(of(0x80, 0x80, 0x80, 0x80)), of(0x80, 0x80, 0x80, 0x80));
});

test('a long name is shown by its beginning and its size', () => {
  assert.strictEqual(bytes.labelOfName('x'.repeat(10000000), 5), 'xxxxx… 10.0 MB');
  assert.strictEqual(bytes.labelOfName(bytes.nameOf(utf8('\u00e9'.repeat(100))), 2), '\u00e9\u00e9… 200 bytes');
  assert.strictEqual(bytes.labelOfName('', 5), '(empty)');
  assert.strictEqual(bytes.labelOfName('a\\x00', 50), 'a\\\\x00');
  assert.strictEqual(bytes.labelOfName('a\0', 50), 'a\\x00');
});

test('the beginning of bytes and a name look the same', () => {
  const data = utf8('\u4e2d'.repeat(50));
  assert.strictEqual(bytes.labelOf(data, 7), bytes.labelOfName(bytes.nameOf(data), 7));
});

// -- lines ------------------------------------------------------------------------------------------------------------

const LINES = [
  ['', []],
  [' \t get  name ', ['get', 'name']],
  ['set k "a b"', ['set', 'k', 'a b']],
  ["set k 'a \\' \\n b'", ['set', 'k', "a ' \\n b"]],
  ['set k ""', ['set', 'k', '']],
  ['a"b"', ['ab']],
  ['"\\n\\r\\t\\b\\a\\\\\\"\\q"', ['\n\r\t\b\x07\\"q']],
  ['a\\nb C:\\dir', ['a\\nb', 'C:\\dir']],
  ['set h\u00e9 \ud83d\ude00', ['set', 'h\u00e9', '\ud83d\ude00']],
];

for (const [line, words] of LINES) {
  test(`the words of ${JSON.stringify(line)}`, () => {
    assert.deepStrictEqual(lines.splitLine(line).map(word => Buffer.from(word).toString()), words);
  });
}

test('an escape before a character of four bytes is that character', () => {
  assert.deepStrictEqual(lines.splitLine('"\\\ud83d\ude00"'), [utf8('\ud83d\ude00')]);
});

test('an escape can name any byte', () => {
  assert.deepStrictEqual(lines.splitLine('"\\x00\\xfF"'), [of(0, 255)]);
});

for (const line of ['"', "'", 'get "a', '"a\\"', '"\\', '"a"b', "'a'b"]) {
  test(`the quotes of ${line} are wrong`, () => assert.throws(() => lines.splitLine(line), SyntaxError));
}

const TEXTS = [['a\nb', ['a', 'b']], ['a\r\nb\r\n', ['a', 'b']], ['a\rb', ['a', 'b']], ['\n \na', ['a']], ['', []],
  ['a\u2028b', ['a', 'b']], [' a ', [' a ']]];

for (const [text, found] of TEXTS) {
  test(`the lines of ${JSON.stringify(text)}`, () => assert.deepStrictEqual(lines.linesOf(text), found));
}

for (const [words, is] of [['GET', true], ['SET', false], ['EVAL', false], ['EXEC', false], ['FT.SEARCH', false]]) {
  test(`${words} ${is ? 'only looks' : 'may write'}`, () => assert.strictEqual(lines.isRead([words]), is));
}

const PATTERNS = [['', '*'], ['user', '*user*'], ['user:*', 'user:*'], ['a?c', 'a?c'], ['[ab]', '[ab]'], ['\\*', '\\*'],
  ['h\u00e9', '*h\u00e9*']];

for (const [typed, match] of PATTERNS) {
  test(`${JSON.stringify(typed)} looks for ${match}`, () => assert.strictEqual(lines.matchOf(typed), match));
}

const SECRET = [
  'AUTH pw', ' auth user pw', 'HELLO 3 AUTH u p', 'hello 3 setname x auth u p', 'CONFIG SET requirepass x',
  'config  set  masterauth x',
  'config set maxmemory 1 tls-key-file-pass x', 'ACL SETUSER u >p', 'MIGRATE h 1 "" 0 1 AUTH p',
  'migrate h 1 k 0 1 AUTH2 u p', '"AUTH" pw', '"\\x41UTH" pw', 'auth "unclosed', 'SENTINEL SET m auth-pass p',
];
const OPEN = [
  'HELLO 3', 'hello', 'HELLO 3 SETNAME x',
  'GET auth', 'author x', 'CONFIG SET maxmemory 1', 'CONFIG GET requirepass', 'ACL LIST', 'MIGRATE h 1 k 0 1',
  'SET pw auth x',
];

for (const line of SECRET) {
  test(`${line} is neither kept nor shown`, () => {
    const history = new lines.CommandHistory();
    history.add(line);
    assert.strictEqual(history.older(''), null);
    assert.strictEqual(lines.isSecret(line), true);
    assert.match(lines.shownLine(line), /^\S+ \(the rest is not shown\)$/);
  });
}

for (const line of OPEN) {
  test(`${line} is no secret`, () => {
    assert.strictEqual(lines.isSecret(line), false);
    assert.strictEqual(lines.shownLine(line), line);
  });
}

test('the history goes back and forth, and gives back what was begun', () => {
  const history = new lines.CommandHistory();
  for (const line of ['a', 'b', 'b', ' ']) history.add(line);
  const back = [history.older('draft'), history.older('b'), history.older('a')];
  assert.deepStrictEqual(back, ['b', 'a', null]);
  assert.deepStrictEqual([history.newer(), history.newer(), history.newer()], ['b', 'draft', null]);
});

const REPLIES = [
  ['OK', 'OK'],
  [7, '(integer) 7'],
  [2n ** 63n, '(integer) 9223372036854775808'],
  [1.5, '(double) 1.5'],
  [true, '(true)'],
  [null, '(nil)'],
  [utf8('h\u00e9 "q" \\'), '"h\u00e9 \\"q\\" \\\\"'],
  [of(0, 255, 10), '"\\x00\\xff\\n"'],
  [utf8('\u202e'), '"\\u{202e}"'],
  [[], '(empty array)'],
  [new Map(), '(empty hash)'],
  [new Set(), '(empty set)'],
  [[utf8('a'), 1, null], '1) "a"\n2) (integer) 1\n3) (nil)'],
  [[[utf8('a'), [1, 2]], 'c'], '1) 1) "a"\n   2) 1) (integer) 1\n      2) (integer) 2\n2) c'],
  [Array(10).fill([1, 2]).slice(0, 10), Array.from({length: 10}, (_, i) => (
    `${String(i + 1).padStart(2)}) 1) (integer) 1\n    2) (integer) 2`)).join('\n')],
  [[new RedisError('ERR no')], '1) (error) ERR no'],
  [new RedisError('ERR \u202e\n'), '(error) ERR \\u{202e}\\x0a'],
  [new Map([['k', utf8('v')], [utf8('\xff'), [1]]]), '1# "k" => "v"\n2# "\u00ff" => 1) (integer) 1'],
  [new Set([1, 2]), '1~ (integer) 1\n2~ (integer) 2'],
];

for (const [reply, text] of REPLIES) {
  test(`printed: ${JSON.stringify(text)}`, () => assert.strictEqual(lines.printReply(reply), text));
}

test('a long string is cut, with its size', () => {
  assert.strictEqual(lines.printReply(utf8('x'.repeat(5000)), 10), '"xxxxxxxxxx"… cut: 5,000 bytes in all');
});

test('a long array is cut, with what is missing', () => {
  assert.match(lines.printReply(Array(5000).fill(1), 100), /^ +1\) \(integer\) 1\n[^]*\n… cut: 4,99\d more$/);
});

test('however much comes, little more than the room for it is printed', () => {
  const deep = Array(100).fill(Array(100).fill(utf8('x'.repeat(1000))));
  assert.ok(lines.printReply(deep, 1000).length < 6000);
});

test('a text of lines stays one', () => {
  assert.strictEqual(lines.printText(utf8('# A\r\nb:\\n\tc\u202e\r\n')), '# A\nb:\\n\tc\\u{202e}');
  assert.strictEqual(lines.printText(utf8('abcdef'), 3), 'abc\n… cut: 6 bytes in all');
});

const TEXT_REPLIES = [['INFO', '', true], ['client', 'LIST', true], ['CLUSTER', 'NODES', true], ['GET', 'info', false]];

for (const [first, second, is] of TEXT_REPLIES) {
  test(`${first} ${second} answers with ${is ? 'lines' : 'a value'}`, () => {
    assert.strictEqual(lines.isTextReply(first, second), is);
  });
}

const COMPLETED = [
  ['hg', ['HGET', 'HGETALL']], ['HGETA', ['HGETALL']], ['hget', ['HGET', 'HGETALL']], ['hgetall', []], ['', []],
  ['hget k', []], ['x', []],
];

for (const [typed, found] of COMPLETED) {
  test(`${JSON.stringify(typed)} is completed to ${found.join(', ') || 'nothing'}`, () => {
    assert.deepStrictEqual(lines.completionsOf(typed, ['GET', 'HGET', 'HGETALL']), found);
  });
}

test('the commands that are known without a server are sorted and single', () => {
  assert.deepStrictEqual(lines.COMMANDS, [...new Set(lines.COMMANDS)]);
  assert.ok(lines.COMMANDS.includes('XREVRANGE') && !lines.COMMANDS.includes(''));
});

// -- names ------------------------------------------------------------------------------------------------------------

function namesOf(...batches) {
  const all = new names.Names();
  for (const batch of batches) all.add(batch);
  return all;
}

test('names that come twice are there once', () => {
  const all = new names.Names();
  assert.deepStrictEqual([all.add(['b', 'a', 'b']), all.add(['a', 'c']), all.length], [2, 1, 3]);
  assert.deepStrictEqual(all.range(0, 9, false), ['b', 'a', 'c']);
  assert.deepStrictEqual(all.range(0, 9, true), ['a', 'b', 'c']);
  assert.strictEqual(all.size, all.range(0, all.length, false).join('').length);
});

test('many batches in any order are sorted', () => {
  const numbers = Array.from({length: 5000}, (_, i) => String((i * 7919) % 5000).padStart(4, '0'));
  const all = namesOf(...Array.from({length: 50}, (_, i) => numbers.slice(i * 100, i * 100 + 100)));
  assert.deepStrictEqual(all.range(0, 5000, true), [...numbers].sort());
  assert.deepStrictEqual(all.range(0, 5000, false), numbers);
  assert.strictEqual(all.indexOf('1234', true), 1234);
  assert.strictEqual(all.indexOf('1234', false), numbers.indexOf('1234'));
});

test('a name that was removed is gone from both orders', () => {
  const all = namesOf(['c', 'a', 'b']);
  all.remove('a');
  all.remove('unknown');
  assert.deepStrictEqual([all.range(0, 9, true), all.range(0, 9, false)], [['b', 'c'], ['c', 'b']]);
  assert.deepStrictEqual([all.indexOf('a', true), all.has('a'), all.length], [-1, false, 2]);
});

const VIEWS = [
  [{scrollTop: 0, height: 100, length: 0}, 0, 0],
  [{scrollTop: 0, height: 100, length: 5}, 0, 5],
  [{scrollTop: 0, height: 100, length: 1000}, 0, 12],
  [{scrollTop: 5000, height: 100, length: 1000}, 498, 512],
  [{scrollTop: 9900, height: 100, length: 1000}, 988, 1000],
  [{scrollTop: 9900, height: 100, length: 3}, 3, 3],
];

for (const [view, first, end] of VIEWS) {
  test(`rows ${first} to ${end} are in view of ${JSON.stringify(view)}`, () => {
    assert.deepStrictEqual(names.rowsInView({...view, rowHeight: 10, margin: 2}), {first, end});
  });
}

const PAGES = [
  [0, 0, {first: 0, end: 0, last: 0}], [0, 1, {first: 0, end: 1, last: 0}], [0, 250, {first: 0, end: 100, last: 200}],
  [150, 250, {first: 100, end: 200, last: 200}], [200, 250, {first: 200, end: 250, last: 200}],
  [900, 250, {first: 200, end: 250, last: 200}], [200, 200, {first: 100, end: 200, last: 100}],
  [-5, 250, {first: 0, end: 100, last: 200}],
];

for (const [start, length, page] of PAGES) {
  test(`the page at ${start} of ${length} rows`, () => assert.deepStrictEqual(names.pageAt(start, 100, length), page));
}

const LARGEST = '18446744073709551615';
const IDS = [
  ['5-0', '5-1', `4-${LARGEST}`], ['5-7', '5-8', '5-6'], [`5-${LARGEST}`, '6-0', '5-18446744073709551614'],
  ['0-0', '0-1', null],
  [`${LARGEST}-${LARGEST}`, null, `${LARGEST}-18446744073709551614`], ['5', '5-1', `4-${LARGEST}`],
];

for (const [id, after, previous] of IDS) {
  test(`${id} has neighbours`, () => {
    assert.strictEqual(names.idAfter(id), after);
    assert.strictEqual(names.idBefore(id), previous);
  });
}

test('an id of a stream tells its time, if it is one', () => {
  assert.strictEqual(names.timeOfId('1700000000000-3'), '2023-11-14 22:13:20 UTC');
  assert.strictEqual(names.timeOfId('5-0'), '');
});

const DURATIONS = [[0, '0 seconds'], [-3, '0 seconds'], [1, '1 second'], [59.6, '1 minute'], [61, '1 minute 1 second'],
  [3600, '1 hour'], [3605, '1 hour'], [90061, '1 day 1 hour'], [172800, '2 days'], [1e9, '11,574 days 1 hour']];

for (const [seconds, text] of DURATIONS) {
  test(`${seconds} seconds are ${text}`, () => assert.strictEqual(names.duration(seconds), text));
}

// -- INFO -------------------------------------------------------------------------------------------------------------

const INFO = '# Server\r\nredis_version:7.0.15\r\nos:Linux: a b\r\nconfig_file:\r\n\r\n' +
  '# Memory\r\nused_memory:1500000\r\nmaxmemory:0\r\nodd_one:3\r\n\r\n' +
  '# Keyspace\r\ndb0:keys=12345,expires=1,avg_ttl=0\r\ndb15:keys=1,expires=0\r\n';

test('INFO has sections, and colons in values', () => {
  const sections = info.parseInfo(INFO);
  assert.deepStrictEqual(sections.map(({name}) => name), ['Server', 'Memory', 'Keyspace']);
  assert.strictEqual(sections[0].values.get('os'), 'Linux: a b');
});

test('INFO without sections, or empty, is no failure', () => {
  assert.deepStrictEqual(info.parseInfo(''), []);
  assert.deepStrictEqual(info.parseInfo('a:1')[0].values, new Map([['a', '1']]));
});

test('the main figures have names for people, and the others stay', () => {
  const [server, memory, keyspace] = info.parseInfo(INFO).map(info.figuresOf);
  assert.deepStrictEqual(server.main, [['Version', '7.0.15'], ['System', 'Linux: a b']]);
  assert.deepStrictEqual(server.others, [['config_file', '']]);
  assert.deepStrictEqual(memory.main, [['Used', '1.5 MB'], ['Limit', 'none']]);
  assert.deepStrictEqual(memory.others, [['odd_one', '3']]);
  assert.deepStrictEqual(keyspace.main, [
    ['Database 0', '12,345 keys, 1 with a time to live'], ['Database 15', '1 key, 0 with a time to live']]);
});

test('databases with keys are known from INFO', () => {
  const found = info.keyspaceOf(info.parseInfo(INFO));
  assert.deepStrictEqual(found, [{db: 0, keys: 12345, expires: 1}, {db: 15, keys: 1, expires: 0}]);
  assert.deepStrictEqual(info.keyspaceOf([]), []);
});

// -- sources of rows --------------------------------------------------------------------------------------------------

test('rows that are large come in smaller pages', () => {
  const sizes = [[null, 5], [1000, 10], [4e8, 1000], [1e9, 2]].map(([memory, length]) => rows.pageSize(memory, length));
  assert.deepStrictEqual(sizes, [100, 100, 10, 1]);
});

test('rows with an index have a first and a last page', async () => {
  const items = Array.from({length: 250}, (_, i) => i);
  const read = async (first, last) => items.slice(first, last + 1);
  const source = new rows.RangeSource(100, async () => items.length, read);
  const [first, last] = [await source.page(0), await source.page(200)];
  assert.deepStrictEqual([first.note, first.previous, first.next, first.last], ['1–100 of 250', null, 100, 200]);
  assert.deepStrictEqual([last.note, last.previous, last.next, last.last], ['201–250 of 250', 100, null, null]);
  items.length = 100;
  assert.strictEqual((await source.page(200)).note, '1–100 of 100');
  items.length = 0;
  assert.strictEqual((await source.page(0)).note, 'nothing');
});

function scanned(batches, size = 2) {
  const asked = [];
  const source = new rows.ScanSource(size, async cursor => {
    asked.push(cursor);
    const at = Number(cursor);
    return {cursor: String((at + 1) % batches.length), rows: batches[at].map(name => [utf8(name)])};
  });
  const page = async start => {
    const {rows: found, ...rest} = await source.page(start);
    return {...rest, found: found.map(([name]) => Buffer.from(name).toString())};
  };
  return {source, asked, page};
}

test('rows of a scan are read as far as they are needed, and once each', async () => {
  const {page, asked} = scanned([['a'], ['a', 'b'], ['c'], ['d'], ['e']]);
  const first = await page(0);
  assert.deepStrictEqual([first.found, first.note, first.next, asked.length], [['a', 'b'], '1–2 of more than 3', 2, 3]);
  const last = await page(4);
  assert.deepStrictEqual([last.found, last.note, last.previous, last.next], [['e'], '5 of 5', 2, null]);
});

test('a scan that finds nothing for long can be gone on with', async () => {
  const {page} = scanned([...Array(70).fill([]), ['x']]);
  const first = await page(0);
  assert.deepStrictEqual([first.found, first.note, first.next], [[], 'nothing found so far', 0]);
  assert.deepStrictEqual((await page(first.next)).found, ['x']);
});

test('rows of a scan that were written or removed here are seen so', async () => {
  const {page, source} = scanned([['a', 'b'], ['c', 'b']], 10);
  await page(0);
  source.put([utf8('new')]);
  source.drop(utf8('b'));
  assert.deepStrictEqual((await page(0)).found, ['new', 'a', 'c']);
});

test('rows that follow one another go back by the way they came', async () => {
  const items = [1, 2, 3, 4, 5];
  const source = new rows.ChainSource(2, async () => items.length, async (after, size) => (
    items.filter(item => after === null || item > after).slice(0, size)));
  const pages = [];
  for (const start of [0, 2, 4, 2]) pages.push(await source.page(start));
  assert.deepStrictEqual(pages.map(page => page.rows), [[1, 2], [3, 4], [5], [3, 4]]);
  assert.deepStrictEqual(pages.map(page => page.next), [2, 4, null, 4]);
  assert.strictEqual(pages[2].note, '5 of 5');
});

// -- sessions ---------------------------------------------------------------------------------------------------------

/* A session with a fake Redis that answers so; what was told, and the commands after those of the beginning. */
async function begin(answers = {}, options = {}) {
  const config = list(['databases', '32']);
  const server = new FakeRedis({INFO: bulk('redis_version:6.2.1\r\n'), CONFIG: config, ...answers});
  const gateway = new FakeGateway({makeTarget: server.makeTarget});
  const told = [];
  const found = await session.Session.open('ws://gateway.test/', {
    host: 'redis.test', WebSocket: gateway.WebSocket, retry: {first: 5, longest: 20}, ...options,
  }, {
    lost: () => told.push('lost'), ready: () => told.push('ready'), over: () => told.push('over'), avoiding: () => {},
  });
  server.commands.length = 0;
  return {server, gateway, told, session: found};
}

const KNOWN = [
  ['a command of a module is known', {COMMAND: `*1\r\n${list(['json.set', -4])}`}, true],
  ['a command that no module has is not', {COMMAND: '*1\r\n$-1\r\n'}, false],
  ['where COMMAND is forbidden nothing is known', {COMMAND: '-NOPERM no\r\n'}, false],
  ['where the version is not told nobody asks', {INFO: '-NOPERM no\r\n', COMMAND: '-ERR never\r\n'}, false],
];

for (const [what, answers, isKnown] of KNOWN) {
  test(what, async () => {
    const {session: found, server} = await begin(answers);
    await found.learn();
    server.commands.length = 0;
    assert.strictEqual(await found.knowsCommand('JSON.SET'), isKnown);
    assert.deepStrictEqual(server.commands, answers.INFO ? [] : ['COMMAND INFO JSON.SET']);
    await found.close();
  });
}

const isChanged = pattern => error => error instanceof errors.ChangedError && pattern.test(error.message);
const STRING = {TYPE: '+string\r\n', EXEC: '*1\r\n+OK\r\n'};

test('a session learns the version and the number of databases', async () => {
  const {session: found} = await begin();
  assert.deepStrictEqual([found.version, found.databases, found.db], [[6, 2], 32, 0]);
  await found.close();
});

test('a session does without what it may not ask', async () => {
  const {session: found} = await begin({INFO: '-NOPERM no\r\n', CONFIG: '-NOPERM no\r\n'});
  assert.deepStrictEqual([found.version, found.databases, await found.keyspace()], [[0, 0], 16, []]);
  await found.close();
});

test('a first attempt that fails is not repeated', async () => {
  const gateway = new FakeGateway();
  gateway.failure = [2, 'refused', 'connection refused'];
  let sockets = 0;
  const WebSocket = class extends gateway.WebSocket {
    constructor(url) {
      super(url);
      sockets++;
    }
  };
  const options = {host: 'redis.test', WebSocket, retry: {first: 1, longest: 1}};
  await assert.rejects(session.Session.open('ws://gateway.test/', options, {}), error => error.reason === 'refused');
  await new Promise(resolve => setTimeout(resolve, 5));  // timers fire in order: a second attempt would have been made
  assert.strictEqual(sockets, 1);
});

test('a server that wants a password is no session', async () => {
  await assert.rejects(begin({PING: '-NOAUTH Authentication required.\r\n'}), error => error.code === 'NOAUTH');
});

test('another database is one of a new connection, and stays that of later ones', async () => {
  const {session: found, server} = await begin();
  await found.select(5);
  await found.ask('PING');
  assert.deepStrictEqual([found.db, server.commands], [5, ['SELECT 5', 'PING']]);
  server.last.close();
  await settled();
  await found.ready();
  await found.ask('PING');
  assert.deepStrictEqual(server.commands.slice(2), ['SELECT 5', 'PING', 'PING']);  // the first one is a probe
  await found.close();
});

test('a database that is not there changes nothing', async () => {
  const {session: found} = await begin({SELECT: '-ERR DB index is out of range\r\n'});
  await assert.rejects(found.select(99), RedisError);
  assert.deepStrictEqual([found.db, await found.ask('PING')], [0, 'PONG']);
  await found.close();
});

test('a change is watched, looks first, and is written in one transaction', async () => {
  const {session: found, server} = await begin({...STRING, GET: bulk('old')});
  await found.change('k', 'string', {
    reads: [['GET', 'k']], isSame: now => now.length === 3, writes: [['APPEND', 'k', 'x']]});
  assert.deepStrictEqual(server.commands, ['WATCH k', 'TYPE k', 'GET k', 'MULTI', 'APPEND k x', 'EXEC']);
  await found.close();
});

const REFUSED = [
  ['another type', {TYPE: '+zset\r\n'}, {}, /is a sorted set now, no longer a string\. Nothing was written/],
  ['a key that is gone', {TYPE: '+none\r\n'}, {}, /does not exist any more.*Nothing was written/],
  ['another value', {}, {reads: [['GET', 'k']], isSame: () => false}, /changed this meanwhile\. Nothing was written/],
  ['a read of another type', {GET: '-WRONGTYPE no\r\n'}, {reads: [['GET', 'k']]}, /another type of value now/],
];

for (const [what, answers, guard, message] of REFUSED) {
  test(`nothing is written over ${what}`, async () => {
    const {session: found, server} = await begin({...STRING, GET: bulk('x'), ...answers});
    await assert.rejects(found.change('k', 'string', {...guard, writes: [['SET', 'k', 'v']]}), isChanged(message));
    await found.ask('PING');
    assert.deepStrictEqual(server.commands.filter(line => /^(MULTI|SET)/.test(line)), []);
    assert.ok(server.commands.includes('UNWATCH'));
    await found.close();
  });
}

test('a transaction that Redis has given up is told', async () => {
  const {session: found} = await begin({...STRING, EXEC: '*-1\r\n'});
  await assert.rejects(found.change('k', 'string', {writes: [['SET', 'k', 'v']]}), isChanged(/Nothing was written/));
  await found.close();
});

test('an error within a transaction is told', async () => {
  const {session: found} = await begin({...STRING, EXEC: '*1\r\n-OOM no\r\n'});
  await assert.rejects(found.change('k', 'string', {writes: [['SET', 'k', 'v']]}), error => error.code === 'OOM');
  await found.close();
});

test('who may not use transactions gets the same checks', async () => {
  const {session: found, server} = await begin({...STRING, WATCH: '-NOPERM no\r\n'});
  await found.change('k', 'string', {writes: [['SET', 'k', 'v']]});
  assert.deepStrictEqual(server.commands, ['WATCH k', 'TYPE k', 'SET k v']);
  await found.close();
});

test('several commands are not sent where they cannot be made as one', async () => {
  const {session: found, server} = await begin({...STRING, WATCH: '-NOPERM no\r\n'});
  const writes = [['APPEND', 'k', 'v'], ['PEXPIRE', 'k', 5]];
  await assert.rejects(found.change('k', 'string', {writes}), /Nothing was written/);
  assert.deepStrictEqual(server.commands, ['WATCH k', 'TYPE k']);
  await found.close();
});

test('changes wait for each other', async () => {
  const {session: found, server} = await begin(STRING);
  await Promise.all(['a', 'b'].map(key => found.change(key, 'string', {writes: [['SET', key, 'v']]})));
  assert.deepStrictEqual(server.commands, ['a', 'b'].flatMap(key => [
    `WATCH ${key}`, `TYPE ${key}`, 'MULTI', `SET ${key} v`, 'EXEC']));
  await found.close();
});

test('a string keeps its time to live', async () => {
  const {session: found, server} = await begin(STRING);
  await found.setString('k', 'v', {});
  assert.ok(server.commands.includes('SET k v KEEPTTL'));
  await found.close();
});

test('on servers before 6.0 a string keeps its time to live, too', async () => {
  const asked = [];
  const {session: found, server} = await begin({...STRING, PTTL: ':5000\r\n', EXEC: () => {
    const isNew = asked.length === 0;
    asked.push(isNew);
    return isNew ? '*1\r\n-ERR syntax error\r\n' : '*2\r\n+OK\r\n:1\r\n';
  }});
  await found.setString('k', 'v', {reads: [['GET', 'k']]});
  assert.deepStrictEqual(server.commands.slice(-7),
    ['WATCH k', 'TYPE k', 'PTTL k', 'GET k', 'MULTI', 'SET k v', 'PEXPIRE k 5000', 'EXEC'].slice(-7));
  await found.close();
});

test('a time to live of less than a millisecond is not taken away', async () => {
  const {session: found, server} = await begin({...STRING, PTTL: ':0\r\n', EXEC: '*2\r\n+OK\r\n:1\r\n'});
  found.knowsKeepTtl = false;
  await found.setString('k', 'v', {});
  assert.ok(server.commands.includes('PEXPIRE k 1'), server.commands.join());
  await found.close();
});

const FIELDS = [
  ['with a time to live keeps it', '*1\r\n:1900000000000\r\n', ['HSET k f v', 'HPEXPIREAT k 1900000000000 FIELDS 1 f']],
  ['without one gets none', '*1\r\n:-1\r\n', ['HSET k f v']],
  ['of a server before 7.4 is set', "-ERR unknown command 'HPEXPIRETIME'\r\n", ['HSET k f v']],
  ['whose time to live may not be asked for is set', '-NOPERM no\r\n', ['HSET k f v']],
];

for (const [what, answer, writes] of FIELDS) {
  test(`a field ${what}`, async () => {
    const {session: found, server} = await begin({TYPE: '+hash\r\n', HPEXPIRETIME: answer, EXEC: '*1\r\n:0\r\n'});
    await found.setField('k', 'f', 'v', {});
    assert.deepStrictEqual(server.commands,
      ['HPEXPIRETIME k FIELDS 1 f', 'WATCH k', 'TYPE k', 'MULTI', ...writes, 'EXEC']);
    await found.close();
  });
}

test('where there is no UNLINK, DEL deletes', async () => {
  const {session: found, server} = await begin({UNLINK: "-ERR unknown command 'UNLINK'\r\n", DEL: ':1\r\n'});
  assert.strictEqual(await found.remove('k'), true);
  assert.strictEqual(await found.remove('k'), true);
  assert.deepStrictEqual(server.commands, ['UNLINK k', 'DEL k', 'DEL k']);
  await found.close();
});

const ELSEWHERE = [
  ['in one database is not made in another', found => found.select(5)],
  ['on a connection that is lost is not made on the next', async (found, server) => {
    server.last.close();
    await settled();
    await found.ready();
  }],
];

for (const [what, leave] of ELSEWHERE) {
  test(`a change that was asked for ${what}`, async () => {
    const {session: found, server} = await begin({...STRING, GET: null});
    const first = found.change('k', 'string', {reads: [['GET', 'k']], writes: [['SET', 'k', 'v']]});
    const second = found.change('k', 'string', {writes: [['APPEND', 'k', 'x']]});
    const refused = [assert.rejects(first), assert.rejects(second, isChanged(/Nothing was written/))];
    await settled();
    await Promise.all([leave(found, server), ...refused]);
    await found.change('k', 'string', {writes: [['INCR', 'k']]});
    assert.deepStrictEqual(server.commands.filter(line => /^(SET|APPEND|INCR)/.test(line)), ['INCR k']);
    await found.close();
  });
}

test('a session that was closed does not go to another database', async () => {
  const {session: found, server, gateway} = await begin();
  const rejected = assert.rejects(found.select(5), error => error.name === 'AbortError');
  await found.close();
  await rejected;
  await settled();
  assert.deepStrictEqual([found.db, gateway.sessions.filter(each => !each.isOver).length], [0, 0]);
  assert.deepStrictEqual(server.commands, ['SELECT 5']);
});

test('a session that is given up before the server is known is none', async () => {
  const stop = new AbortController();
  const INFO = () => { stop.abort(); return null; };
  const server = new FakeRedis({INFO});
  const gateway = new FakeGateway({makeTarget: server.makeTarget});
  const options = {host: 'redis.test', WebSocket: gateway.WebSocket};
  await assert.rejects(session.Session.open('ws://gateway.test/', options, {}, stop.signal), {name: 'AbortError'});
  await settled();
  assert.strictEqual(gateway.sessions.filter(each => !each.isOver).length, 0);
});

test('a server that ends the connection for good before it is known is no session', async () => {
  await assert.rejects(begin({INFO: '?\r\n'}), error => error.reason === 'protocol');
});

test('whoever waits for a connection is told that there will be none', async () => {
  let isFirst = true;
  const {session: found, server} = await begin({SELECT: () => {
    const answer = isFirst ? '+OK\r\n' : '-ERR DB index is out of range\r\n';
    isFirst = false;
    return answer;
  }}, {db: 5});
  server.last.close();
  await settled();
  await assert.rejects(found.ready(), RedisError);
  assert.strictEqual(found.isOver, true);
});

test('a loss and the return from it are told', async () => {
  const {session: found, server, told} = await begin();
  server.last.close();
  await settled();
  await found.ready();
  assert.deepStrictEqual([told, found.isReady], [['lost', 'ready'], true]);
  await found.close();
});

// -- B6, C1, P4: what proves a connection, what ends it, and what waits -----------------------------------------------

for (const answer of ['-NOPERM no\r\n', '-LOADING Redis is loading\r\n', '-BUSY a script\r\n', '-ERR unknown\r\n']) {
  test(`B6: ${answer.trim()} to PING proves that Redis is there`, async () => {
    const {session: found} = await begin({PING: answer});
    assert.deepStrictEqual(found.version, [6, 2]);
    await found.close();
  });
}

for (const answer of ['-WRONGPASS no\r\n', '-DENIED protected mode\r\n', '-ERR max number of clients reached\r\n',
  '-ERR operation not permitted\r\n']) {
  test(`B6: ${answer.trim()} to PING is no session`, async () => {
    await assert.rejects(begin({PING: answer}), RedisError);
  });
}

const hangUp = (words, connection) => { connection.close(); return null; };

test('C1: a probe at which the server ends the connection is not made again', async () => {
  const {session: found, gateway, server} = await begin({CONFIG: hangUp, INFO: hangUp});
  assert.deepStrictEqual([found.version, found.databases, gateway.sessions.length], [[0, 0], 16, 3]);
  assert.deepStrictEqual(await found.keyspace(), []);
  await assert.rejects(found.ask('INFO'), error => (
    errors.endOf(error) === 'INFO' && /ends the connection at INFO/.test(errors.sentenceOf(error))));
  assert.deepStrictEqual(server.commands, []);
  await found.close();
});

test('C1: what was asked behind the command at which the connection was ended is not blamed', async () => {
  const {session: found} = await begin({OBJECT: hangUp});
  const [first, second] = await Promise.allSettled([found.ask('OBJECT', 'ENCODING', 'k'), found.ask('GET', 'k')]);
  assert.deepStrictEqual([errors.endOf(first.reason), errors.endOf(second.reason)], ['OBJECT', null]);
  assert.match(errors.sentenceOf(second.reason), /^The connection was lost before an answer came/);
  await found.close();
});

test('C1: a command that the page cannot do without is asked twice, and again after an answer', async () => {
  let ends = 1;
  const {session: found, server} = await begin({GET: (words, connection) => (
    ends-- > 0 ? hangUp(words, connection) : '$-1\r\n')});
  await assert.rejects(found.ask('GET', 'k'), error => errors.endOf(error) === 'GET');
  assert.strictEqual(await found.ask('GET', 'k'), null);
  ends = 9;
  for (let i = 0; i < 4; i++) await assert.rejects(found.ask('GET', 'k'), error => errors.endOf(error) === 'GET');
  assert.strictEqual(server.commands.filter(line => line === 'GET k').length, 4);
  await found.close();
});

test('C1: the commands that are avoided are known: one that was answered again is none', async () => {
  let ends = 2;
  const {session: found} = await begin({INFO: hangUp, GET: (words, connection) => (
    ends-- > 0 ? hangUp(words, connection) : '$-1\r\n')});
  assert.deepStrictEqual(found.avoided, ['INFO']);
  await assert.rejects(found.ask('GET', 'k'));
  assert.deepStrictEqual(found.avoided, ['INFO']);
  await found.ask('GET', 'k').catch(() => found.ask('GET', 'k')).catch(() => null);
  assert.deepStrictEqual(found.avoided, ['INFO', 'GET']);
  await found.close();
});

test('P6: a server that ends every connection, or answers nothing, was not found to be Redis', async () => {
  await assert.rejects(begin({PING: hangUp, ECHO: hangUp}), error => (
    /^The server has ended the connection at PING: it is not Redis, or .* \(closed\)$/.test(errors.sentenceOf(error))));
  await assert.rejects(begin({PING: () => null}, {commandTimeout: 50}), error => (
    /answers nothing that is understood: it is not Redis, or .* \(timeout\)$/.test(errors.sentenceOf(error))));
});

const APPEND = {writes: [['APPEND', 'k', 'v']]};

/* Hangs up at WATCH as often as `plan.ends` says. */
function endingAtWatch(plan) {
  return {...STRING, WATCH: (words, connection) => (plan.ends-- > 0 ? hangUp(words, connection) : '+OK\r\n')};
}

/* Changes `k`, which fails at WATCH. */
async function failAtWatch(found) {
  await assert.rejects(found.change('k', 'string', APPEND), /no reply to WATCH/);
  await found.ready();
}

test('C1: where WATCH has ended the connection twice a change is made with its checks only', async () => {
  const {session: found, server, told} = await begin({...STRING, WATCH: hangUp, UNWATCH: hangUp, DISCARD: hangUp});
  for (let i = 0; i < 2; i++) await failAtWatch(found);
  await found.change('k', 'string', APPEND);
  server.last.close();
  await until(() => told.length === 6);
  const ended = ['WATCH k', 'PING'];  // with nothing that ends what was lost
  assert.deepStrictEqual(server.commands, [...ended, ...ended, 'TYPE k', 'APPEND k v', 'PING']);
  assert.deepStrictEqual(told, Array(3).fill(['lost', 'ready']).flat());
  await found.close();
});

test('C1: where WATCH has ended the connection several commands are not sent, and the sentence says why', async () => {
  const {session: found, server} = await begin({...STRING, WATCH: hangUp});
  for (let i = 0; i < 2; i++) await failAtWatch(found);
  server.commands.length = 0;
  const writes = [['APPEND', 'k', 'v'], ['PEXPIRE', 'k', 5]];
  await assert.rejects(found.change('k', 'string', {writes}), error => isChanged(/Nothing was written/)(error)
    && /the connection has ended at WATCH/.test(error.message) && !/this user/.test(error.message));
  assert.deepStrictEqual(server.commands, ['TYPE k']);
  await found.close();
});

for (const answers of [0, 2]) {
  test(`C1: a change after one connection that has ended at WATCH is guarded, after ${answers} answers`, async () => {
    const plan = {ends: 0};
    const {session: found, server} = await begin(endingAtWatch(plan));
    for (let i = 0; i < answers; i++) await found.change('k', 'string', APPEND);
    for (let round = 0; round < 3; round++) {
      plan.ends = 1;
      await failAtWatch(found);
      server.commands.length = 0;
      await found.change('k', 'string', APPEND);
      assert.deepStrictEqual(server.commands, ['WATCH k', 'TYPE k', 'MULTI', 'APPEND k v', 'EXEC']);
    }
    await found.close();
  });
}

for (const name of ['PTTL', 'UNLINK', 'INFO', 'MEMORY', 'DBSIZE', 'HPEXPIRETIME']) {
  test(`C1: ${name} that was answered is asked again after one end of the connection, and not after two`, async () => {
    const plan = {ends: 0};
    const {session: found} = await begin({
      [name]: (words, connection) => (plan.ends-- > 0 ? hangUp(words, connection) : ':1\r\n')});
    const isAtEnd = error => errors.endOf(error) === name;
    assert.strictEqual(await found.ask(name), 1);
    plan.ends = 1;
    await assert.rejects(found.ask(name), isAtEnd);
    assert.strictEqual(await found.ask(name), 1);
    plan.ends = 2;
    for (let i = 0; i < 2; i++) await assert.rejects(found.ask(name), isAtEnd);
    await assert.rejects(found.ask(name), errors.EndedError);
    await found.close();
  });
}

test('P4: what waits longest is known, and a connection that is given up fails it and is made anew', async () => {
  const {session: found, told, gateway} = await begin({GET: null});
  assert.strictEqual(found.wait, null);
  const asked = [found.ask('GET', 'k'), found.ask('PING')].map(each => assert.rejects(each, {reason: 'not-answered'}));
  assert.strictEqual(found.wait.name, 'GET');
  found.renew();
  assert.ok(found.wait === null && found.secondsLost >= 0);
  await Promise.all(asked);
  await found.ready();
  assert.deepStrictEqual([told, found.secondsLost, await found.ask('PING')], [['lost', 'ready'], null, 'PONG']);
  assert.strictEqual(gateway.sessions.filter(each => !each.isOver).length, 1);
  await found.close();
});

test('a login that is wrong after a loss ends the session, and nothing is sent any more', async () => {
  let isLocked = false;
  const {session: found, server, told} = await begin({PING: () => (isLocked ? '-NOAUTH no\r\n' : '+PONG\r\n')});
  isLocked = true;
  server.last.close();
  await settled();
  await assert.rejects(found.ready(), {code: 'NOAUTH'});
  assert.deepStrictEqual([told, found.isOver], [['lost', 'over'], true]);
  await assert.rejects(found.ask('GET', 'k'), /Nothing was sent/);
});

test('a cluster has one database', async () => {
  const {session: found} = await begin({INFO: bulk('redis_version:7.0.1\r\nredis_mode:cluster\r\n')});
  assert.deepStrictEqual([found.databases, found.isCluster], [1, true]);
  await found.close();
});

test('whoever looks for keys at a Sentinel is told to name the master, and of other failures as they are', async () => {
  const {KeySearch} = await import('../../ws2s-js/redis-scan.mjs');
  const {Names} = await import('../../ws2s-js/redis-names.mjs');
  let refusal = "-ERR unknown command 'SCAN'\r\n";
  const {session: found} = await begin({
    INFO: bulk('redis_version:7.0.1\r\nredis_mode:sentinel\r\n'), SCAN: () => refusal});
  const search = new KeySearch(found, {match: '*', type: ''}, new Names(), {found() {}, changed() {}, ended() {}});
  await search.run();
  assert.match(errors.sentenceOf(search.error), /^This server is a Sentinel, .*name it when you connect\.$/);
  refusal = '-NOPERM no\r\n';
  await search.run();
  assert.strictEqual(search.error.code, 'NOPERM');
  await found.close();
});

const SENTENCES = [
  ['NOAUTH Authentication required.', /wants a password/],
  ['WRONGPASS invalid', /does not accept/],
  ['NOPERM no', /may not/],
  ['WRONGTYPE Operation', /another type/],
  ['LOADING Redis is', /loading its data/],
  ['READONLY You', /read-only replica/],
  ['MOVED 3999 127.0.0.1:6381', /another node of the cluster/],
  ['CLUSTERDOWN x', /cluster is down/],
  ['ERR odd', /answered with an error/],
  ['ERR AUTH <password> called without any password configured', /has no password/],
];

for (const [message, sentence] of SENTENCES) {
  test(`${message} is told in words`, () => {
    assert.match(errors.sentenceOf(new RedisError(message)), sentence);
    assert.ok(errors.sentenceOf(new RedisError(message)).includes(message));
  });
}

for (const code of ['constructor', '__proto__', 'toString']) {
  test(`an error and a type called ${code} are only words`, () => {
    assert.match(errors.sentenceOf(new RedisError(`${code} x`)), /^Redis has answered with an error\. /);
    assert.strictEqual(session.typeName(code), code);
    const section = {name: code, values: new Map([['a', 'b']])};
    assert.deepStrictEqual(info.figuresOf(section), {main: [], others: [['a', 'b']]});
  });
}

test('the words of a server are safe to look at', () => {
  const told = errors.sentenceOf(new RedisError(`ERR a\u202eb\x1b${'x'.repeat(1000000)}`));
  assert.ok(told.includes('a\\u{202e}b\\x1b') && told.length < 1200, told.slice(0, 100));
  assert.strictEqual(session.typeName('a\u202eb'), 'a\\u{202e}b');
});

test('figures that are no numbers are shown as they are', () => {
  const values = new Map([['rdb_last_save_time', '1e99'], ['loading', '0']]);
  assert.deepStrictEqual(info.figuresOf({name: 'Persistence', values}).main,
    [['Loading its data', 'no'], ['Last snapshot', '1e99']]);
  const used = new Map([['used_memory', 'much']]);
  assert.deepStrictEqual(info.figuresOf({name: 'Memory', values: used}).main, [['Used', 'much']]);
});

test('what is not of Redis is told by others', () => {
  assert.strictEqual(errors.sentenceOf(new WS2SError(2, 'refused', 'no')), null);
});
