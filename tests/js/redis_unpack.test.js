/* What the Redis page unpacks, and how much of it. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const zlib = require('node:zlib');

const PACKERS = {gzip: zlib.gzipSync, zlib: zlib.deflateSync, deflate: zlib.deflateRawSync};

let packing;
before(async () => {
  packing = await import('../../ws2s-js/redis-unpack.mjs');
});

const plain = bytes => new Uint8Array(bytes);
const pack = (kind, bytes) => plain(PACKERS[kind](bytes));
const DATA = plain(Array.from({length: 5000}, (_, i) => (i * i >> 3) & 255));

for (const kind of Object.keys(PACKERS)) {
  test(`${kind} is unpacked`, async () => {
    assert.deepStrictEqual(await packing.unpack(pack(kind, DATA), kind), {bytes: DATA, isCut: false, isBroken: false});
  });

  test(`${kind} of nothing is nothing`, async () => {
    const {bytes, isCut, isBroken} = await packing.unpack(pack(kind, ''), kind);
    assert.deepStrictEqual([bytes.length, isCut, isBroken], [0, false, false]);
  });

  test(`${kind} without its end gives what there is, and is broken`, async () => {
    const packed = pack(kind, DATA);
    const {bytes, isBroken} = await packing.unpack(packed.subarray(0, packed.length - 9), kind);
    assert.ok(isBroken);
    assert.ok(bytes.length > 2500);
    assert.deepStrictEqual(bytes, DATA.subarray(0, bytes.length));
  });

  test(`what is not ${kind} is broken`, async () => {
    const {bytes, isBroken} = await packing.unpack(plain(Buffer.alloc(100, 0xff)), kind);
    assert.deepStrictEqual([bytes.length, isBroken], [0, true]);
  });

  test(`of ${kind} no more is unpacked than may be`, async () => {
    const {bytes, isCut, isBroken} = await packing.unpack(pack(kind, DATA), kind, {limit: 100});
    assert.deepStrictEqual([bytes, isCut, isBroken], [DATA.subarray(0, 100), true, false]);
    const exact = await packing.unpack(pack(kind, DATA), kind, {limit: DATA.length});
    assert.deepStrictEqual([exact.bytes.length, exact.isCut], [DATA.length, false]);
  });
}

test('every beginning of gzip is broken, and none gives a wrong byte', async () => {
  const packed = pack('gzip', DATA.subarray(0, 300));
  for (let end = 0; end < packed.length; end++) {
    const {bytes, isBroken} = await packing.unpack(packed.subarray(0, end), 'gzip');
    assert.ok(isBroken, String(end));
    assert.deepStrictEqual(bytes, DATA.subarray(0, bytes.length));
  }
});

for (const kind of Object.keys(PACKERS)) {
  test(`what follows the end of ${kind} changes nothing of what is unpacked`, async () => {
    const packed = plain(Buffer.concat([pack(kind, DATA), Buffer.from('more')]));
    assert.deepStrictEqual((await packing.unpack(packed, kind)).bytes, DATA);
  });
}

test('gzip with a wrong sum is broken, and what is in it is there', async () => {
  const packed = pack('gzip', DATA);
  packed[packed.length - 6] ^= 1;
  assert.deepStrictEqual(await packing.unpack(packed, 'gzip'), {bytes: DATA, isCut: false, isBroken: true});
});

/* 1 GB of zeros: a part of it that ends where another can begin, sixteen times. */
function makeBomb() {
  const part = zlib.deflateRawSync(Buffer.alloc(1 << 26), {finishFlush: zlib.constants.Z_FULL_FLUSH});
  return plain(Buffer.concat([pack('gzip', '').subarray(0, 10), ...Array(16).fill(part)]));
}

test('1 MB that would be 1 GB is cut, and what is kept meanwhile is bounded', async () => {
  const bomb = makeBomb();
  assert.ok(bomb.length > 1000000 && bomb.length < 1100000);
  const before = process.memoryUsage().arrayBuffers;
  const {bytes, isCut} = await packing.unpack(bomb, 'gzip');
  const grown = process.memoryUsage().arrayBuffers - before;
  assert.deepStrictEqual([bytes.length, isCut], [packing.LARGEST_UNPACKED, true]);
  assert.ok(grown < 5 * packing.LARGEST_UNPACKED, String(grown));
});

test('unpacking can be stopped, with a reason', async () => {
  const stop = new AbortController(), reason = new Error('stopped');
  stop.abort(reason);
  await assert.rejects(packing.unpack(pack('gzip', DATA), 'gzip', {signal: stop.signal}), reason);
});

const MARKS = [
  ['gzip', () => pack('gzip', 'x')], ['zlib', () => pack('zlib', 'x'.repeat(9))],
  ['zlib', () => plain(zlib.deflateSync('a text', {level: 0}))], [null, () => pack('deflate', 'x'.repeat(99))],
  [null, () => plain(Buffer.from('h'))], [null, () => plain(Buffer.from('some text'))], [null, () => plain([])],
  [null, () => plain(Buffer.from('1f8b07000000000000', 'hex'))],
];

for (const [kind, make] of MARKS) {
  test(`${JSON.stringify(Buffer.from(make()).toString('latin1').slice(0, 9))} begins like ${kind}`, () => {
    assert.strictEqual(packing.packingOf(make()), kind);
  });
}
