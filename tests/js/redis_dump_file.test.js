/* Files of exported keys: whole, byte by byte, with bytes behind, cut, damaged and made up. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const zlib = require('node:zlib');

let files;
before(async () => { files = await import('../../ws2s-js/redis-dump-file.mjs'); });

const of = (...values) => Uint8Array.from(values);
const utf8 = text => new Uint8Array(Buffer.from(text));

const KEYS = [
  {name: utf8('user:1'), dump: of(0, 1, 2, 255), deadline: null},
  {name: of(), dump: of(), deadline: 1n},
  {name: of(0, 255, 10, 13), dump: utf8('x'.repeat(5000)), deadline: 1893456000123n},
  {name: utf8('K'), dump: utf8('E'), deadline: 2n ** 64n - 1n},
];
const FACTS = {redis: '7.0', db: 3, text: 'h\u00e9'};

async function fileOf(keys = KEYS, facts = FACTS) {
  const parts = await Promise.all(keys.map(key => files.keyOf(key)));
  return whole(files.headOf(facts), ...parts, files.endOfKeys(keys.length));
}

const whole = (...pieces) => new Uint8Array(Buffer.concat(pieces.flat()));

/* What is read of it in pieces of this size. */
function read(bytes, size = bytes.length || 1) {
  const reader = new files.KeyFileReader(), keys = [];
  for (let at = 0; at < bytes.length; at += size) keys.push(...reader.push(bytes.subarray(at, at + size)));
  reader.end();
  return {keys, facts: reader.facts, number: reader.number};
}

const plain = ({name, dump, deadline}) => ({name: Buffer.from(name), dump: Buffer.from(dump), deadline});

for (const size of [100000, 1, 2, 7, 17, 4096]) {
  test(`a file is what was written, in pieces of ${size} bytes`, async () => {
    const {keys, facts, number} = read(await fileOf(), size);
    assert.deepStrictEqual(keys.map(plain), KEYS.map(plain));
    assert.deepStrictEqual([facts, number], [FACTS, 4]);
  });
}

test('a file without keys is one', async () => {
  assert.deepStrictEqual(read(await fileOf([], {})), {keys: [], facts: {}, number: 0});
});

test('empty pieces change nothing', async () => {
  const reader = new files.KeyFileReader(), file = await fileOf();
  assert.deepStrictEqual(reader.push(of()), []);
  assert.strictEqual(reader.push(file).length, 4);
  assert.deepStrictEqual(reader.push(of()), []);
  reader.end();
});

test('the check is that of zip', async () => {
  const bytes = Uint8Array.from({length: 5000}, (_, i) => i * 7 % 256);
  if (zlib.crc32) assert.strictEqual(files.checkOf(bytes), zlib.crc32(bytes));
  assert.strictEqual(files.checkOf(utf8('123456789')), 0xcbf43926);
});

test('a file has as many bytes as its description says', async () => {
  const content = KEYS.reduce((sum, {name, dump}) => sum + name.length + dump.length, 0);
  assert.strictEqual((await fileOf()).length, 13 + 6 + utf8(JSON.stringify(FACTS)).length + 4 + 4 * 21 + content + 13);
});

test('a file that is cut anywhere is told, as a whole and byte by byte', async () => {
  const file = await fileOf([KEYS[0], KEYS[1]]);
  for (let length = 0; length < file.length; length++) {
    for (const size of [file.length, 1]) {
      assert.throws(() => read(file.subarray(0, length), size), files.FileError, String(length));
    }
  }
});

test('bytes behind the end are told', async () => {
  for (const size of [100000, 1]) {
    const file = await fileOf();
    for (const more of [[0], file]) assert.throws(() => read(whole(file, of(...more)), size), /behind its end/);
  }
});

test('each bit that has changed is told', async () => {
  const file = await fileOf([KEYS[0], KEYS[3]], {a: 1});
  for (let at = 0; at < file.length; at++) {
    for (const bit of [1, 128]) {
      const changed = file.slice();
      changed[at] ^= bit;
      for (const size of [changed.length, 1]) assert.throws(() => read(changed, size), files.FileError, String(at));
    }
  }
});

test('line ends that were turned are told', async () => {
  const turned = Buffer.from(Buffer.from(await fileOf()).toString('latin1').replaceAll('\r\n', '\n'), 'latin1');
  assert.throws(() => read(new Uint8Array(turned)), /no file of keys/);
});

const ODD = [
  ['nothing', of(), /no file of keys/],
  ['text', utf8('hello'), /no file of keys/],
  ['the beginning of a zip file', of(0x50, 0x4b, 3, 4), /no file of keys/],
  ['an RDB file', utf8('REDIS0011'), /no file of keys/],
];

for (const [what, bytes, message] of ODD) {
  test(`${what} is no file of keys`, async () => {
    assert.throws(() => read(bytes), message);
    assert.throws(() => read(bytes, 1), message);
  });
}

test('a later version is told by its number', async () => {
  const file = await fileOf();
  file[14] = 2;
  assert.throws(() => read(file), /version 2, and this page knows only version 1/);
});

test('a length that is made up does not take memory, nor a while', async () => {
  const head = Buffer.concat(files.headOf({}));
  const claim = lengths => new Uint8Array([...head, 0x4b, 0, 0, 0, 0, 0, 0, 0, 0, ...lengths]);
  for (const lengths of [[255, 255, 255, 255, 0, 0, 0, 1], [0, 0, 0, 1, 0x40, 0, 0, 1]]) {
    assert.throws(() => read(claim(lengths)), /key 1 is not what was written/);
  }
  assert.throws(() => read(claim([0x1f, 0, 0, 0, 0, 0, 0, 1])), /cut off/);
  const facts = await fileOf();
  facts[15] = 255;
  assert.throws(() => read(facts), /beginning of the file is damaged/);
});

test('a number of keys that is not theirs is told', async () => {
  const file = whole(files.headOf({}), await files.keyOf(KEYS[0]), files.endOfKeys(2));
  assert.throws(() => read(file), /damaged/);
});

for (const facts of [null, 7, 'text', [1]]) {
  test(`${JSON.stringify(facts)} as facts is no mistake`, async () => {
    const file = await fileOf([], facts);
    assert.strictEqual(typeof read(file).facts, 'object');
  });
}

test('a large key in many pieces is copied a few times, not once for each piece', async () => {
  const file = await fileOf([{name: utf8('k'), dump: new Uint8Array(20000000), deadline: null}]);
  const started = process.cpuUsage();
  assert.strictEqual(read(file, 4096).keys[0].dump.length, 20000000);
  assert.ok(process.cpuUsage(started).user < 3e6);
});

for (const sizes of [[0x10000000, 0x10000001], [0, 0x20000001], [0xffffffff, 0xffffffff]]) {
  test(`a key of ${sizes.join(' and ')} bytes is none, before a page has held half of it`, () => {
    const head = Buffer.alloc(17);
    head.write('K');
    sizes.forEach((size, i) => head.writeUInt32BE(size, 9 + 4 * i));
    const reader = new files.KeyFileReader();
    reader.push(whole(files.headOf(FACTS)));
    assert.throws(() => reader.push(new Uint8Array(head)), /damaged/);
  });
}
