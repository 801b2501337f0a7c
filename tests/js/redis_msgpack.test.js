/* MessagePack as the Redis page shows it. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');

let msgpack;
before(async () => {
  msgpack = await import('../../ws2s-js/redis-msgpack.mjs');
});

const of = hex => new Uint8Array(Buffer.from(hex.replace(/ /g, ''), 'hex'));
const ascii = text => Buffer.from(text).toString('hex');

function read(bytes) {
  const steps = msgpack.readMsgpack(bytes);
  for (;;) {
    const {done, value} = steps.next();
    if (done) return value;
  }
}

function tree(document, node = document.root, size = 2) {
  if (node.kind !== 'list' && node.kind !== 'map') return document.label(node, 100);
  const found = [];
  let cursor = null;
  do {
    const page = document.children(node, cursor, size);
    found.push(...page.nodes);
    cursor = page.cursor;
  } while (cursor);
  assert.strictEqual(found.length, node.count);
  return found.map(child => [document.nameLabel(child, 100), tree(document, child, size)]);
}

const shown = hex => tree(read(of(hex)));

const VALUES = [
  ['00', '0'], ['7f', '127'], ['ff', '-1'], ['e0', '-32'],
  ['cc ff', '255'], ['cd ffff', '65535'], ['ce ffffffff', '4294967295'],
  ['cf ffffffffffffffff', '18446744073709551615'],
  ['d0 80', '-128'], ['d1 8000', '-32768'], ['d2 80000000', '-2147483648'],
  ['d3 8000000000000000', '-9223372036854775808'], ['cf 0020000000000001', '9007199254740993'],
  ['c0', 'null'], ['c2', 'false'], ['c3', 'true'],
  ['ca 3dcccccd', '0.1'], ['ca 3f800000', '1.0'], ['ca 7f800000', 'Infinity'], ['ca 80000000', '-0.0'],
  ['ca 3eaaaaab', '0.33333334'], ['ca 00000001', '1e-45'],
  ['cb 3fb999999999999a', '0.1'], ['cb 7ff8000000000000', 'NaN'], ['cb fff0000000000000', '-Infinity'],
  ['cb 4340000000000000', '9007199254740992.0'],
  ['a0', '""'], [`a5 ${ascii('Zo\u00eb!')}`, '"Zo\u00eb!"'], [`d9 01 ${ascii('a')}`, '"a"'],
  [`da 0001 ${ascii('a')}`, '"a"'], [`db 00000001 ${ascii('a')}`, '"a"'], ['a2 ff00', '"\\xff\\x00"'],
  ['c4 02 0aff', '0aff (2 bytes)'], ['c5 0001 00', '00 (1 byte)'], ['c6 00000000', '(0 bytes)'],
  ['d4 05 aa', 'extension 5: aa (1 byte)'], ['d5 05 aabb', 'extension 5: aabb (2 bytes)'],
  ['d6 80 00000000', 'extension -128: 00000000 (4 bytes)'], ['c7 01 7f cc', 'extension 127: cc (1 byte)'],
  ['d8 01' + '00'.repeat(16), `extension 1: ${'00'.repeat(16)} (16 bytes)`],
  ['c8 0001 07 cc', 'extension 7: cc (1 byte)'], ['c9 00000001 07 cc', 'extension 7: cc (1 byte)'],
  ['d6 ff 00000000', '1970-01-01 00:00:00 UTC'], ['d6 ff ffffffff', '2106-02-07 06:28:15 UTC'],
  ['d7 ff 00000004 00000001', '1970-01-01 00:00:01.000000001 UTC'],
  ['c7 0c ff 00000000 fffffffffffffffe', '1969-12-31 23:59:58 UTC'],
  ['c7 0c ff 1dcd6500 0000000000000000', '1970-01-01 00:00:00.500 UTC'],
  ['c7 0c ff 3b9aca00 0000000000000000', 'extension -1: 3b9aca000000000000000000 (12 bytes)'],
  ['c7 0c ff 00000000 7fffffffffffffff', 'extension -1: 000000007fffffffffffffff (12 bytes)'],
  ['d4 ff 00', 'extension -1: 00 (1 byte)'],
];

for (const [hex, label] of VALUES) {
  test(`${hex} is ${label}`, () => assert.strictEqual(shown(hex), label));
}

const CONTAINERS = [
  ['90', []], ['80', []], ['dc 0000', []], ['dd 00000000', []], ['de 0000', []], ['df 00000000', []],
  ['93 01 92 02 03 c0', [['0', '1'], ['1', [['0', '2'], ['1', '3']]], ['2', 'null']]],
  ['dc 0001 01', [['0', '1']]], ['dd 00000001 01', [['0', '1']]],
  [`82 a1 ${ascii('a')} 01 02 81 c0 90`, [['"a"', '1'], ['2', [['null', []]]]]],
  ['de 0001 91 01 c3', [['list of 1', 'true']]], ['df 00000001 80 c2', [['map of 0', 'false']]],
  ['82 01 01 01 02', [['1', '1'], ['1', '2']]],
];

for (const [hex, found] of CONTAINERS) {
  test(`${hex} is opened member by member`, () => assert.deepStrictEqual(shown(hex), found));
}

test('each single byte from 00 to ff is a value, or told to be none, or cut off', () => {
  for (let byte = 0; byte < 256; byte++) {
    const isWhole = byte <= 0x80 || byte === 0x90 || byte === 0xa0 || [0xc0, 0xc2, 0xc3].includes(byte) || byte >= 0xe0;
    if (isWhole) read(Uint8Array.of(byte));
    else assert.throws(() => read(Uint8Array.of(byte)), {name: 'MsgpackError', at: byte > 0x80 && byte < 0xa0 ? 1 : 0});
  }
});

const WHOLE = of(`84 a1 ${ascii('a')} 93 01 cd 0102 cb 3fb999999999999a a1 62 da 0003 ${ascii('xyz')}
  a1 63 c7 0c ff 1dcd6500 0000000000000000 02 81 d3 8000000000000000 c4 02 0aff`.replace(/\s+/g, ''));

test('every beginning of a value is cut off, and what follows its end is told by its place', () => {
  read(WHOLE);
  for (let end = 0; end < WHOLE.length; end++) {
    assert.throws(() => read(WHOLE.subarray(0, end)), error => error.name === 'MsgpackError' && error.at <= end);
  }
  assert.throws(() => read(of('01 02')), {
    name: 'MsgpackError', at: 1, message: 'Byte 1 (hexadecimal 1): here the value ends, and 1 byte more stand.'});
});

test('a view within a larger buffer is read, and nothing around it', () => {
  const large = new Uint8Array(WHOLE.length + 20).fill(0xc1);
  large.set(WHOLE, 10);
  assert.deepStrictEqual(tree(read(large.subarray(10, 10 + WHOLE.length))), tree(read(WHOLE)));
});

test('whatever the bytes are, reading ends: with a document, or a MsgpackError', () => {
  let seed = 1;
  const random = () => (seed = seed * 48271 % 2147483647);
  for (let i = 0; i < 3000; i++) {
    const bytes = Uint8Array.from({length: random() % 40}, () => random() % 256);
    try {
      tree(read(bytes));
    } catch (error) {
      assert.strictEqual(error.name, 'MsgpackError', error.stack);
    }
  }
});

for (const hex of ['dd ffffffff', 'df ffffffff 01', 'db ffffffff', 'c6 ffffffff 00', 'c9 ffffffff 01']) {
  test(`${hex}: a length that is not there costs nothing`, () => {
    assert.throws(() => read(of(hex)), {name: 'MsgpackError'});
  });
}

test('lists within lists are opened up to a bound', () => {
  assert.strictEqual(read(new Uint8Array(1000).fill(0x91, 0, 999)).root.count, 1);
  assert.throws(() => read(new Uint8Array(2000).fill(0x91, 0, 1999)), {
    name: 'TooMuchError', message: 'There are more than 1,000 lists and maps within one another.'});
});

test('values are read up to a bound, in many steps', () => {
  const many = new Uint8Array(5000005);
  many.set(of('dd 004c4b40'));
  let steps = 0;
  assert.throws(() => { for (const step of msgpack.readMsgpack(many)) steps++; }, {
    name: 'TooMuchError', message: 'There are more than 4,000,000 values in it.'});
  assert.ok(steps > 1900, String(steps));
});

test('a long string, and many bytes, are shown by their beginning', () => {
  const text = read(of(`da 03e8 ${'78'.repeat(1000)}`)), bytes = read(of(`c5 03e8 ${'ab'.repeat(1000)}`));
  assert.strictEqual(text.label(text.root, 10), '"xxxxxxxxxx…"');
  assert.strictEqual(bytes.label(bytes.root, 10), 'ababababab… (1.0 KB)');
});
