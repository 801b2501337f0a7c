/* What values seem to be, and their bytes as a dump. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const zlib = require('node:zlib');

let kinds, hex;
before(async () => {
  [kinds, hex] = await Promise.all(['kinds', 'hex'].map(name => import(`../../ws2s-js/redis-${name}.mjs`)));
});

const bytes = (text, encoding = 'latin1') => new Uint8Array(Buffer.from(text, encoding));
const MAP = bytes('82a16101a16293010203', 'hex');

const KINDS = [
  ['', 'text', ''], ['hello', 'text', ''], ['12', 'text', ''], [' {"a": 1}\n', 'tree', 'JSON'], ['[]', 'tree', 'JSON'],
  ['{"a": 1', 'text', ''], ['[x}', 'text', ''], ['{a} and {b}', 'text', ''],
  [zlib.gzipSync('x'), 'gzip', 'packed with gzip'], [zlib.deflateSync('some text'), 'zlib', 'packed with zlib'],
  ['x^2 + y^2 = z^2', 'text', ''], ['hbar is small', 'text', ''],
  [MAP, 'msgpack', 'MessagePack'], [MAP.subarray(0, 6), 'hex', 'no text'], ['\x90', 'msgpack', 'MessagePack'],
  ['\xff\xfe\xfd', 'hex', 'no text'], ['\x89PNG\r\n\x1a\n\0', 'hex', 'a PNG image'],
  ['HYLL\x01', 'text', 'a HyperLogLog of Redis'],
  ['a:1:{i:0;s:1:"x";}', 'text', 'a value of PHP'], ['\x80\x04\x95.', 'hex', 'a pickle of Python'],
  ['\x28\xb5\x2f\xfd\0', 'hex', 'packed with Zstandard'], ['N;', 'text', 'a value of PHP'], ['Now', 'text', ''],
];

for (const [data, look, words] of KINDS) {
  const value = typeof data === 'string' ? bytes(data) : new Uint8Array(data);
  test(`${JSON.stringify(Buffer.from(value).toString('latin1'))} seems to be ${words || 'text'}`, () => {
    assert.deepStrictEqual(kinds.kindOf(value), {look, words});
  });
}

test('of a part, what goes on behind its end is known, too', () => {
  const packed = bytes('de0400' + 'a161a162'.repeat(1024), 'hex');
  assert.strictEqual(kinds.kindOf(packed.subarray(0, 1001), false).look, 'msgpack');
  assert.strictEqual(kinds.kindOf(bytes('{"a": "b'), false).look, 'tree');
  assert.strictEqual(kinds.kindOf(bytes('a\xe4\xb8'), false).look, 'text');
  assert.strictEqual(kinds.kindOf(bytes('a\xe4\xb8'), true).look, 'hex');
});

test('of a long value the beginning is looked at', () => {
  const json = bytes(`[${'"\u00e9",'.repeat(30000)}1]`, 'utf8');
  assert.strictEqual(kinds.kindOf(json).look, 'tree');
  assert.strictEqual(kinds.kindOf(bytes('\u4e2d'.repeat(50000), 'utf8')).look, 'text');
  assert.strictEqual(kinds.kindOf(bytes(`dc7530${'01'.repeat(30000)}${'c2'.repeat(50000)}`, 'hex')).look, 'hex');
});

// -- dumps ------------------------------------------------------------------------------------------------------------

const ALL = Uint8Array.from({length: 256}, (_, i) => i);

async function rowsOf(data) {
  const rows = new hex.HexRows(hex.sourceOf(data));
  await rows.load(0, rows.length);
  return Array.from({length: rows.length}, (_, i) => rows.row(i));
}

test('each byte has its offset, its digits and its character', async () => {
  const rows = await rowsOf(ALL);
  assert.strictEqual(rows.length, 16);
  assert.strictEqual(rows[4],
    '00000040  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  |@ABCDEFGHIJKLMNO|');
  assert.strictEqual(rows[0].slice(-18), `|${'.'.repeat(16)}|`);
  const digits = rows.flatMap(row => row.slice(10, 58).trim().split(/ +/));
  assert.deepStrictEqual(Uint8Array.from(digits, each => parseInt(each, 16)), ALL);
});

for (const length of [0, 1, 15, 16, 17, 65535, 65536, 65537, 200000]) {
  test(`a dump of ${length} bytes has all of them`, async () => {
    const data = Uint8Array.from({length}, (_, i) => i * 7 & 255);
    const rows = await rowsOf(data);
    const digits = rows.flatMap(row => row.slice(10, 58).trim().split(/ +/));
    assert.deepStrictEqual(Uint8Array.from(digits, each => parseInt(each, 16)), data);
  });
}

/* 512 MB that nobody has. */
function hugeSource() {
  const reads = [];
  const read = async (first, end) => {
    reads.push([first, end]);
    return new Uint8Array(end - first).fill(first / 65536);
  };
  return {reads, length: 536870912, read};
}

test('of a huge value only what is seen is read, once', async () => {
  const source = hugeSource(), rows = new hex.HexRows(source);
  assert.strictEqual(rows.length, 33554432);
  assert.strictEqual(rows.row(5000), null);
  const both = await Promise.all([rows.load(4090, 4100), rows.load(4090, 4100)]);
  assert.deepStrictEqual(both, [true, true]);
  assert.strictEqual(await rows.load(4090, 4100), false);
  assert.deepStrictEqual(source.reads, [[0, 65536], [65536, 131072]]);
  assert.ok(rows.row(4096).startsWith('00010000  01 01'));
  await rows.load(33554431, 33554440);
  assert.deepStrictEqual(source.reads[2], [536805376, 536870912]);
  assert.ok(rows.row(33554431).startsWith('1ffffff0  '));
});

test('the pieces that were used last are kept, and no more than some', async () => {
  const source = hugeSource(), rows = new hex.HexRows(source);
  for (let piece = 0; piece < 40; piece++) {
    await rows.load(piece * 4096, piece * 4096 + 1);
    await rows.load(0, 1);
  }
  assert.strictEqual(source.reads.length, 40);
  assert.notStrictEqual(rows.row(0), null);
  assert.strictEqual(rows.row(4096), null);
});

test('a piece that could not be read is read again', async () => {
  let fails = true;
  const rows = new hex.HexRows({length: 10, read: async () => {
    if (fails) throw new Error('lost');
    return new Uint8Array(10);
  }});
  await assert.rejects(rows.load(0, 1), /lost/);
  fails = false;
  assert.strictEqual(await rows.load(0, 1), true);
});

test('an offset is decimal or hexadecimal, and within the value', () => {
  assert.strictEqual(hex.parseOffset(' 255 ', 256), 255);
  assert.strictEqual(hex.parseOffset('0xFf', 256), 255);
  for (const text of ['', '256', '0x100', '-1', '1.5', 'ff', '1e2']) {
    assert.throws(() => hex.parseOffset(text, 256), RangeError);
  }
});
