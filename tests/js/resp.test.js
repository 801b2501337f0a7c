'use strict';

const assert = require('node:assert');
const {performance} = require('node:perf_hooks');
const {test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const vectors = require('../data/resp.json');

const {RespParser, Push, encodeCommand} = WS2S.internals;
const utf8 = text => new Uint8Array(Buffer.from(text));

/* What the parser gives, in the words of the vectors. */
function plain(value) {
  if (value instanceof Uint8Array) return {bytes: Buffer.from(value).toString()};
  if (value instanceof WS2S.RedisError) return {error: value.message};
  if (value instanceof Push) return {push: value.items.map(plain)};
  if (value instanceof Map) return {map: [...value].map(([key, item]) => [plain(key), plain(item)])};
  if (value instanceof Set) return {set: [...value].map(plain)};
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'bigint') return {big: String(value)};
  if (Number.isNaN(value)) return {double: 'nan'};
  if (value === Infinity || value === -Infinity) return {double: value > 0 ? 'inf' : '-inf'};
  return value;
}

function parse(...pieces) {
  const parser = new RespParser();
  return pieces.flatMap(piece => parser.push(piece)).map(plain);
}

for (const [name, wire, meaning] of vectors.replies) {
  test(`${name}: whole, cut at every byte, byte by byte, and twice`, () => {
    const bytes = utf8(wire);
    assert.deepStrictEqual(parse(bytes), meaning);
    for (let cut = 0; cut <= bytes.length; cut++) {
      assert.deepStrictEqual(parse(bytes.subarray(0, cut), bytes.subarray(cut)), meaning, `cut at ${cut}`);
    }
    assert.deepStrictEqual(parse(...Array.from(bytes, byte => Uint8Array.of(byte))), meaning);
    assert.deepStrictEqual(parse(utf8(wire + wire)), [...meaning, ...meaning]);
  });

  test(`${name}: no reply is given before its last byte`, () => {
    const parser = new RespParser(), bytes = utf8(wire);
    const given = parser.push(bytes.subarray(0, bytes.length - 1));
    assert.strictEqual(given.length, meaning.length - 1);
  });
}

for (const [name, wire] of vectors.errors) {
  test(`${name} is refused, also byte by byte`, () => {
    const isRefusal = error => error instanceof WS2S.WS2SError && error.reason === 'protocol';
    assert.throws(() => parse(utf8(wire)), isRefusal);
    assert.throws(() => parse(...Array.from(utf8(wire), byte => Uint8Array.of(byte))), isRefusal);
  });
}

test('bulk strings are bytes, whatever they hold, and copies', () => {
  const all = Uint8Array.from({length: 256}, (_, i) => i);
  const wire = new Uint8Array(Buffer.concat([Buffer.from('$256\r\n'), all, Buffer.from('\r\n')]));
  const [value] = new RespParser().push(wire);
  wire.fill(0);
  assert.deepStrictEqual(value, all);
  assert.strictEqual(value.buffer.byteLength, 256);
});

test('keys of a map that are no UTF-8 stay bytes, and apart', () => {
  const wire = Buffer.from('%2\r\n$1\r\nA\r\n:1\r\n$1\r\nB\r\n:2\r\n');
  wire[wire.indexOf('A')] = 0xff;
  wire[wire.indexOf('B')] = 0xfe;
  const [map] = new RespParser().push(new Uint8Array(wire));
  assert.deepStrictEqual([...map], [[Uint8Array.of(0xff), 1], [Uint8Array.of(0xfe), 2]]);
});

test('errors have their first word as code', () => {
  const [error] = new RespParser().push(utf8('-WRONGTYPE Operation against a key\r\n'));
  assert.strictEqual(error.code, 'WRONGTYPE');
});

test('nesting is bounded', () => {
  assert.deepStrictEqual(parse(utf8('*1\r\n'.repeat(256) + ':1\r\n')).flat(256), [1]);
  assert.throws(() => parse(utf8('*1\r\n'.repeat(257))), /nested/);
});

const TOO_LARGE = {
  'a string': ['$1001\r\n', 1000], 'a verbatim string': ['=1001\r\n', 1000], 'an error': ['!1001\r\n', 1000],
  'a string of an array': ['*2\r\n$500\r\n' + 'x'.repeat(500) + '\r\n$373\r\n', 1000],
  'many items': ['*16\r\n', 1000], 'a set': ['~16\r\n', 1000], 'a map': ['%8\r\n', 1000], 'a push': ['>16\r\n', 1000],
  'items of items': ['*5\r\n*5\r\n:1\r\n*6\r\n', 1000], 'an attribute': ['|8\r\n', 1000],
  'lines': ['*2\r\n+' + 'x'.repeat(500) + '\r\n+' + 'x'.repeat(373) + '\r\n', 1000],
  'the longest array, by default': ['*9999999999\r\n', undefined],
  'the longest string, by default': ['$9999999999\r\n', undefined],
};

for (const [name, [wire, maxReplyBytes]] of Object.entries(TOO_LARGE)) {
  test(`${name} of more than maxReplyBytes is refused before more has come, also byte by byte`, () => {
    const isRefusal = error => error.reason === 'limit' && /maxReplyBytes/.test(error.message);
    assert.throws(() => new RespParser(maxReplyBytes).push(utf8(wire)), isRefusal);
    const parser = new RespParser(maxReplyBytes);
    const bytes = utf8(wire);
    for (const byte of bytes.subarray(0, bytes.length - 1)) parser.push(Uint8Array.of(byte));
    assert.throws(() => parser.push(bytes.subarray(bytes.length - 1)), isRefusal);
  });
}

test('maxReplyBytes is that of one reply, and what is just as large is taken', () => {
  const parser = new RespParser(1000);
  const string = `$1000\r\n${'x'.repeat(1000)}\r\n`, items = `*15\r\n${'*-1\r\n'.repeat(15)}`;
  assert.strictEqual(parser.push(utf8((string + items).repeat(3))).length, 6);
});

test('a line is bounded', () => {
  const parser = new RespParser();
  parser.push(utf8('+' + 'x'.repeat(1048575)));
  assert.throws(() => parser.push(utf8('x')), /too long/);
});

/* Milliseconds; the shortest of three times, since the machine may be busy. */
function time(action) {
  return Math.min(...[1, 2, 3].map(() => {
    const begun = process.cpuUsage();  // of this process alone: the machine may be busy
    action();
    const {user, system} = process.cpuUsage(begun);
    return user + system;
  }));
}

function inPieces(bytes, size) {
  const parser = new RespParser();
  const replies = [];
  for (let start = 0; start < bytes.length; start += size) {
    for (const reply of parser.push(bytes.subarray(start, start + size))) replies.push(reply);
  }
  return replies;
}

function bulkOf(size) {
  return new Uint8Array(Buffer.concat([Buffer.from(`$${size}\r\n`), Buffer.alloc(size), Buffer.from('\r\n')]));
}

for (const piece of [1024, 65536, Infinity]) {
  test(`a value of 50 MB in pieces of ${piece} is parsed within 2 seconds`, () => {
    const wire = bulkOf(50e6), begun = performance.now();
    assert.strictEqual(inPieces(wire, piece)[0].length, 50e6);
    assert.ok(performance.now() - begun < 2000);
  });
}

const GROWING = [
  ['a large value byte by byte', size => bulkOf(size), 1, 1e5],
  ['an array of many elements', size => utf8(`*${size}\r\n` + '$3\r\nabc\r\n'.repeat(size)), 65536, 10000],
  ['many replies in one piece', size => utf8('+OK\r\n'.repeat(size)), Infinity, 20000],
  ['a long line byte by byte', size => utf8('+' + 'x'.repeat(size) + '\r\n'), 1, 50000],
];

for (const [name, make, piece, size] of GROWING) {
  test(`the time grows with the size: ${name}`, () => {
    const small = make(size), large = make(8 * size);
    inPieces(large, piece);
    const ratio = time(() => inPieces(large, piece)) / time(() => inPieces(small, piece));
    assert.ok(ratio < 30, `eight times as much took ${ratio} times as long`);
  });
}

test('100,000 elements, nested', () => {
  const wire = utf8('*1000\r\n' + ('*100\r\n' + ':1\r\n'.repeat(100)).repeat(1000));
  const [reply] = inPieces(wire, 1000);
  assert.strictEqual(reply.flat().length, 100000);
});

test('a command is an array of bulk strings, sizes in bytes', () => {
  const words = ['SET', 'h\u00e9', 12, -1.5, 10n ** 20n, Uint8Array.of(0, 13, 10), new ArrayBuffer(1), ''];
  assert.strictEqual(Buffer.from(encodeCommand(words)).toString(),
    '*8\r\n$3\r\nSET\r\n$3\r\nh\u00e9\r\n$2\r\n12\r\n$4\r\n-1.5\r\n$21\r\n100000000000000000000\r\n' +
    '$3\r\n\0\r\n\r\n$1\r\n\0\r\n$0\r\n\r\n');
});

for (const argument of [null, undefined, true, {}, [1], Symbol('x')]) {
  test(`${String(argument)} is no argument`, () => {
    assert.throws(() => encodeCommand(['SET', 'k', argument]), TypeError);
  });
}
