'use strict';

const assert = require('node:assert');
const {performance} = require('node:perf_hooks');
const {test} = require('node:test');
const {Queue, toBase64, fromBase64} = require('../../ws2s-js/ws2s.js').internals;

function someBytes(size) {
  return Uint8Array.from({length: size}, (_, i) => (i * 31 + (i >> 8)) & 255);
}

for (const size of [0, 1, 2, 3, 4, 255, 256, 8191, 8192, 8193, 65536, 100001]) {
  test(`base64 of ${size} bytes, there and back`, () => {
    const bytes = someBytes(size);
    assert.strictEqual(toBase64(bytes), Buffer.from(bytes).toString('base64'));
    assert.deepStrictEqual(fromBase64(toBase64(bytes)), bytes);
  });
}

test('base64 of a view takes the view only', () => {
  assert.strictEqual(toBase64(Uint8Array.of(9, 1, 2, 3, 9).subarray(1, 4)), 'AQID');
});

test('base64 of 8 MB is quick', () => {
  const bytes = new Uint8Array(8e6), begun = performance.now();
  assert.strictEqual(fromBase64(toBase64(bytes)).length, 8e6);
  assert.ok(performance.now() - begun < 2000);
});

for (const text of ['!!!!', 'A', 'AA-_']) {
  test(`${text} is no base64`, () => {
    assert.throws(() => fromBase64(text));
  });
}

test('a queue gives back in order, and undefined when it is empty', () => {
  const queue = new Queue();
  assert.deepStrictEqual([queue.length, queue.first, queue.shift()], [0, undefined, undefined]);
  for (let i = 0; i < 10; i++) queue.push(i);
  assert.deepStrictEqual([queue.shift(), queue.shift(), queue.first, queue.length], [0, 1, 2, 8]);
  queue.push(10);
  assert.deepStrictEqual(queue.drain(), [2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepStrictEqual([queue.length, queue.shift()], [0, undefined]);
  queue.push('again');
  assert.strictEqual(queue.shift(), 'again');
});

test('a queue of 300,000 is emptied in no time', () => {
  const queue = new Queue(), begun = performance.now();
  for (let i = 0; i < 300000; i++) queue.push(i);
  for (let i = 0; i < 300000; i++) assert.strictEqual(queue.shift(), i);
  assert.ok(performance.now() - begun < 2000);
});
