'use strict';

const assert = require('node:assert');
const {test} = require('node:test');
const {RedisError, internals: {splitLine, splitLines, textOfReply}} = require('../../ws2s-js/ws2s.js');

const text = words => words.map(word => Buffer.from(word).toString());

const LINES = [
  ['', []],
  ['   \t ', []],
  ['ping', ['ping']],
  ['  get   name\t', ['get', 'name']],
  ['ECHO "Hello World!"', ['ECHO', 'Hello World!']],
  ["set k 'a b'", ['set', 'k', 'a b']],
  ['pi" "ng', ['pi ng']],
  ['"pi ng"', ['pi ng']],
  ['set k ""', ['set', 'k', '']],
  ["''", ['']],
  ['a"b"c\'d\'e', ['abcde']],
  [`"it's" '"'`, ["it's", '"']],
  ['"a\\"b"', ['a"b']],
  ["'a\\'b'", ["a'b"]],
  ["'a\\nb\\x41'", ['a\\nb\\x41']],
  ['"\\n\\r\\t\\b\\a\\\\"', ['\n\r\t\b\x07\\']],
  ['"\\x41\\x4a\\x4A"', ['AJJ']],
  ['"\\x4g\\x"', ['x4gx']],
  ['"\\q"', ['q']],
  ['a\\nb C:\\dir', ['a\\nb', 'C:\\dir']],
  ['set h\u00e9 \u4e2d\ud83d\ude00', ['set', 'h\u00e9', '\u4e2d\ud83d\ude00']],
  ['set "h\u00e9 \u4e2d"', ['set', 'h\u00e9 \u4e2d']],
];

for (const [line, words] of LINES) {
  test(`${JSON.stringify(line)} has the words ${JSON.stringify(words)}`, () => {
    assert.deepStrictEqual(text(splitLine(line)), words);
  });
}

for (const line of ['"', "'", 'get "a', "get 'a\"", '"a\\"', '"\\']) {
  test(`${JSON.stringify(line)} has a quote that is not closed`, () => {
    assert.throws(() => splitLine(line), SyntaxError);
  });
}

test('an escape can name any byte', () => {
  assert.deepStrictEqual(splitLine('"\\x00\\xff"'), [Uint8Array.of(0, 255)]);
});

test('each line is a command, and empty ones are none', () => {
  const commands = splitLines('get age\n\nincr age\r\n  \r\nget "a b"\n').map(text);
  assert.deepStrictEqual(commands, [['get', 'age'], ['incr', 'age'], ['get', 'a b']]);
});

const bytes = word => new Uint8Array(Buffer.from(word));
const REPLIES = [
  ['OK', 'OK'],
  [7, '7'],
  [2n ** 63n, '9223372036854775808'],
  [null, '(nil)'],
  [true, 'true'],
  [bytes('h\u00e9'), 'h\u00e9'],
  [[], ''],
  [[bytes('a'), 1, null], '1) a\n2) 1\n3) (nil)'],
  [[[bytes('a'), bytes('b')], 'c'], '1) 1) a\n   2) b\n2) c'],
  [[[['x', 'y'], 'z'], 'c'], '1) 1) 1) x\n      2) y\n   2) z\n2) c'],
  [[new RedisError('ERR no')], '1) (error) ERR no'],
  [new Map([['k', bytes('v')]]), '1) k\n2) v'],
  [new Set([1, 2]), '1) 1\n2) 2'],
];

for (const [reply, shown] of REPLIES) {
  test(`as text: ${JSON.stringify(shown)}`, () => {
    assert.strictEqual(textOfReply(reply), shown);
  });
}
