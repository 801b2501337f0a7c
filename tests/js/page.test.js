'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const {RedisError, WS2SError} = require('../../ws2s-js/ws2s.js');

let page, targets;
before(async () => {
  page = await import('../../ws2s-js/page.mjs');
  targets = await import('../../ws2s-js/targets.mjs');
});

const bytes = (...values) => Uint8Array.from(values);
const utf8 = text => new TextEncoder().encode(text);
const pattern = length => Uint8Array.from({length}, (_, i) => i % 256);

// -- visible ----------------------------------------------------------------------------------------------------------

const AS_THEY_ARE = [
  '', 'plain', 'a b', '<img src=x onerror=alert(1)>', '\\x00', 'h\u00e9 \u4e2d \ud83d\ude00', '\u2764\ufe0f',
  '\u05d0\u0628',
];

for (const text of AS_THEY_ARE) {
  test(`${JSON.stringify(text)} is shown as it is, from text and from bytes`, () => {
    assert.strictEqual(page.visible(text).text, text);
    assert.strictEqual(page.visible(utf8(text)).text, text);
  });
}

const ESCAPED = [
  ['a NUL', 'a\0b', 'a\\x00b'],
  ['a line end', 'a\r\nb', 'a\\x0d\\x0ab'],
  ['a tab', 'a\tb', 'a\\x09b'],
  ['an escape sequence', '\x1b[31m', '\\x1b[31m'],
  ['DEL', '\x7f', '\\x7f'],
  ['a control character beyond ASCII', '\x85', '\\u{85}'],
  ['an override of the direction', 'a\u202ecod.exe', 'a\\u{202e}cod.exe'],
  ['an isolate', '\u2066a\u2069', '\\u{2066}a\\u{2069}'],
  ['marks of direction', '\u200e\u200f\u061c', '\\u{200e}\\u{200f}\\u{61c}'],
  ['a zero-width space', 'a\u200bb', 'a\\u{200b}b'],
  ['joiners', '\u200c\u200d\u2060', '\\u{200c}\\u{200d}\\u{2060}'],
  ['a byte order mark', '\ufeffa', '\\u{feff}a'],
  ['a soft hyphen', 'a\u00adb', 'a\\u{ad}b'],
  ['separators', '\u2028\u2029', '\\u{2028}\\u{2029}'],
  ['a tag', '\u{e0041}', '\\u{e0041}'],
  ['a filler', '\u3164', '\\u{3164}'],
];

for (const [name, text, shown] of ESCAPED) {
  test(`${name} is shown as an escape, from text and from bytes`, () => {
    assert.strictEqual(page.visible(text).text, shown);
    assert.strictEqual(page.visible(utf8(text)).text, shown);
  });
}

const NO_UTF8 = [
  ['a lone byte', [0x41, 0xff, 0x42], 'A\\xffB'],
  ['a continuation without a lead', [0x80, 0x41], '\\x80A'],
  ['a character cut short', [0x41, 0xe2, 0x82], 'A\\xe2\\x82'],
  ['a character interrupted', [0xe2, 0x82, 0x41], '\\xe2\\x82A'],
  ['two bytes for one', [0xc0, 0x80], '\\xc0\\x80'],
  ['three bytes for one', [0xe0, 0x80, 0x80], '\\xe0\\x80\\x80'],
  ['four bytes for three', [0xf0, 0x82, 0x82, 0xac], '\\xf0\\x82\\x82\\xac'],
  ['half a surrogate pair', [0xed, 0xb2, 0x80], '\\xed\\xb2\\x80'],
  ['a number too large', [0xf4, 0x90, 0x80, 0x80], '\\xf4\\x90\\x80\\x80'],
  ['a lead that is none', [0xf5, 0x80, 0x80, 0x80], '\\xf5\\x80\\x80\\x80'],
  ['characters around it', [0xff, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80, 0xc3, 0xa9],
    '\\xff\u20ac\ud83d\ude00\u00e9'],
  ['a control character with it', [0xff, 0, 0x0a], '\\xff\\x00\\x0a'],
  ['an override with it', [0xff, 0xe2, 0x80, 0xae], '\\xff\\u{202e}'],
];

for (const [name, values, shown] of NO_UTF8) {
  test(`no UTF-8: ${name} is shown as an escape`, () => {
    assert.deepStrictEqual(page.visible(bytes(...values)), {
      text: shown, isText: false, isCut: false, length: values.length,
    });
  });
}

test('half a surrogate pair of a text is not mistaken for a byte', () => {
  assert.strictEqual(page.visible('\udcff').text, '\\u{dcff}');
});

test('line ends and tabs stay in lines, and a lone return does not', () => {
  const text = 'a\tb\r\nc\nd\re\0';
  for (const given of [text, utf8(text)]) {
    assert.strictEqual(page.visible(given, 100, {lines: true}).text, 'a\tb\r\nc\nd\\x0de\\x00');
  }
});

const CUTS = [
  ['within plain text', 'abcdef', 4, 'abcd', true],
  ['not where it just fits', 'abcd', 4, 'abcd', false],
  ['before an escape that does not fit', 'abc\0', 6, 'abc', true],
  ['not before an escape that fits', 'abc\0', 7, 'abc\\x00', false],
  ['after an escape', '\0\0\0', 8, '\\x00\\x00', true],
  ['before a pair that does not fit', 'abc\ud83d\ude00', 4, 'abc', true],
  ['after a pair', '\ud83d\ude00a', 2, '\ud83d\ude00', true],
  ['at nothing', 'a', 0, '', true],
  ['never where nothing is', '', 0, '', false],
  ['after three-byte characters', '\u20ac'.repeat(9), 5, '\u20ac'.repeat(5), true],
];

for (const [name, text, limit, shown, isCut] of CUTS) {
  test(`cut ${name}`, () => {
    for (const given of [text, utf8(text)]) {
      assert.deepStrictEqual(page.visible(given, limit), {text: shown, isText: true, isCut, length: utf8(text).length});
    }
  });
}

for (const limit of [0, 1, 5, 100, 1000]) {
  test(`all kinds of bytes cut at ${limit} have no half escape`, () => {
    const {text, isCut} = page.visible(pattern(1024), limit);
    assert.ok(text.length <= limit && text.length > limit - 9, String(text.length));
    assert.ok(isCut);
    assert.ok(page.visible(pattern(1024)).text.startsWith(text));
    assert.match(text, /^(?:\\x[0-9a-f]{2}|\\u\{[0-9a-f]+\}|[^\\]|\\(?=[\]\\]))*$/u);
  });
}

test('what is wrong behind the cut is no text, too', () => {
  const long = new Uint8Array(3000000).fill(0x61);
  assert.ok(page.visible(long, 10).isText);
  long[2999999] = 0xff;
  assert.deepStrictEqual(page.visible(long, 10), {text: 'a'.repeat(10), isText: false, isCut: true, length: 3000000});
});

test('a character across what is checked at a time is text', () => {
  const long = new Uint8Array(1048578).fill(0x61);
  long.set(utf8('\u20ac'), 1048575);
  assert.ok(page.visible(long, 10).isText);
});

test('the length of a text is that of its UTF-8', () => {
  for (const text of ['a', '\u00e9', '\u07ff', '\u0800', '\uffff', '\ud83d\ude00', 'a\u00e9\u20ac\ud83d\ude00']) {
    assert.strictEqual(page.visible(text).length, utf8(text).length);
  }
});

test('10 MB of anything are cut in little time', () => {
  const begin = performance.now();
  for (const value of [0x61, 0, 0xff]) page.visible(new Uint8Array(10000000).fill(value), 1000);
  page.visible('\0'.repeat(10000000), 1000);
  assert.ok(performance.now() - begin < 5000);
});

// -- hexDump ----------------------------------------------------------------------------------------------------------

test('a hex dump has offset, bytes and characters', () => {
  assert.strictEqual(page.hexDump(utf8('Hello, ws2s gateway\n')), [
    '00000000  48 65 6c 6c 6f 2c 20 77  73 32 73 20 67 61 74 65  |Hello, ws2s gate|',
    '00000010  77 61 79 0a                                       |way.|',
  ].join('\n'));
});

test('a hex dump of nothing is empty', () => {
  assert.strictEqual(page.hexDump(bytes()), '');
});

test('a hex dump counts from its offset', () => {
  const lines = page.hexDump(pattern(17), 0xfffffff0).split('\n');
  assert.deepStrictEqual(lines.map(line => line.split(' ', 1)[0]), ['fffffff0', '100000000']);
});

test('a narrow hex dump has eight bytes in a line', () => {
  assert.strictEqual(page.hexDump(bytes(0, 0x1f, 0x20, 0x7e, 0x7f, 0x80, 0xa0, 0xff, 0x41), 0, 8), [
    '00000000  00 1f 20 7e 7f 80 a0 ff  |.. ~....|',
    '00000008  41                       |A|',
  ].join('\n'));
});

test('a hex dump with short offsets has longer ones where it must', () => {
  const lines = page.hexDump(pattern(16), 0xfff8, 8, 4).split('\n');
  assert.deepStrictEqual(lines.map(line => line.split(' ', 1)[0]), ['fff8', '10000']);
});

test('a hex dump can be read again', () => {
  const digits = page.hexDump(pattern(300)).split('\n').map(line => line.slice(8, 58)).join('');
  assert.deepStrictEqual(page.parseHex(digits), pattern(300));
});

// -- parseHex ---------------------------------------------------------------------------------------------------------

const HEX = [
  ['', []], ['  \n', []], ['00', [0]], ['fF', [255]], ['4865', [0x48, 0x65]],
  ['48 65\t6c\r\n6C', [0x48, 0x65, 0x6c, 0x6c]],
  ['48:65', [0x48, 0x65]], ['0x48, 0x65;', [0x48, 0x65]], ['\\x48\\x65', [0x48, 0x65]], ['0x4865', [0x48, 0x65]],
  ['0X0a', [10]],
];

for (const [text, values] of HEX) {
  test(`hexadecimal ${JSON.stringify(text)} is [${values}]`, () => {
    assert.deepStrictEqual(page.parseHex(text), bytes(...values));
  });
}

const NO_HEX = [
  ['4', /digit “4” \(character 1\) stands alone/],
  ['48 6', /digit “6” \(character 4\) stands alone/],
  ['4 8', /digit “4” \(character 1\) stands alone/],
  ['48 zz', /“z” \(character 4\) is not/],
  ['48 0xg', /“g” \(character 6\) is not/],
  ['48 0x', /missing at the end/],
  ['\u202e', /“\\u\{202e\}” \(character 1\) is not/],
  ['48 \ud83d\ude00', /“\ud83d\ude00” \(character 4\) is not/],
];

for (const [text, message] of NO_HEX) {
  test(`${JSON.stringify(text)} is not hexadecimal, and where is told`, () => {
    assert.throws(() => page.parseHex(text), error => error instanceof RangeError && message.test(error.message));
  });
}

// -- byteCount --------------------------------------------------------------------------------------------------------

const COUNTS = [
  [0, '0 bytes'], [1, '1 byte'], [2, '2 bytes'], [999, '999 bytes'], [1000, '1.0 KB'], [12345, '12.3 KB'],
  [99949, '99.9 KB'], [99950, '100 KB'], [123456, '123 KB'], [999499, '999 KB'], [999500, '1.0 MB'], [1e6, '1.0 MB'],
  [200e6, '200 MB'], [1e9, '1.0 GB'], [1.5e12, '1.5 TB'], [5e15, '5000 TB'],
];

for (const [count, text] of COUNTS) {
  test(`${count} bytes are ${text}`, () => {
    assert.strictEqual(page.byteCount(count), text);
  });
}

// -- explain ----------------------------------------------------------------------------------------------------------

const REASONS = [
  'dns', 'timeout', 'unreachable', 'refused', 'not-connected', 'forbidden', 'closed', 'reset', 'idle',
  'ssh-hostkey', 'ssh-unreachable', 'ssh-timeout', 'ssh-disabled', 'ssh-missing', 'gateway-unreachable',
  'gateway-lost', 'protocol', 'not-answered', 'aborted',
];

for (const reason of REASONS) {
  test(`${reason} has a sentence of its own`, () => {
    const told = page.explain(new WS2SError(1, reason, 'what the gateway says'));
    assert.strictEqual(told.reason, reason);
    assert.match(told.sentence, /^[A-Z].*[.?]$/);
    assert.doesNotMatch(told.sentence, /what the gateway says/);
  });
}

const TOLD = ['bad-request', 'limit', 'internal', 'tls', 'ssh-auth', 'ssh-failed', 'a-new-one', 'constructor'];

for (const reason of TOLD) {
  test(`${reason} is told in the words of the gateway`, () => {
    const told = page.explain(new WS2SError(1, reason, 'no such thing'));
    assert.deepStrictEqual(told, {sentence: 'No such thing.', reason});
  });
}

const SETTINGS = [
  ['allowConnectToServerLocal', /own machine.*--allow-local/],
  ['own port', /port of the gateway itself/],
  ['allowTargets', /can add it to the setting allowTargets/],
  ['denyTargets', /by its setting denyTargets/],
  ['something new', /must allow it there/],
];

for (const [setting, words] of SETTINGS) {
  test(`what is forbidden by ${setting} tells how it could be allowed`, () => {
    const error = new WS2SError(4, 'forbidden', `the rules of this gateway forbid this target (${setting})`);
    assert.match(page.explain(error).sentence, words);
    assert.strictEqual(page.explain(error).reason, 'forbidden');
  });
}

const OTHERS = [
  ['an error of Redis', () => new RedisError('WRONGTYPE no list'), 'Redis: WRONGTYPE no list.', 'WRONGTYPE'],
  ['a cancelled attempt', () => new DOMException('x', 'AbortError'), 'Cancelled.', 'cancelled'],
  ['an Error', () => new RangeError('too much'), 'Too much.', 'RangeError'],
  ['an Error without words', () => new TypeError(), 'TypeError.', 'TypeError'],
  ['a string', () => 'oh', 'Oh.', 'error'],
  ['undefined', () => undefined, 'Undefined.', 'error'],
  ['a sentence', () => new Error('Is it there?'), 'Is it there?', 'Error'],
  ['what is not to be seen', () => new Error('a\u202e\0b'), 'A\\u{202e}\\x00b.', 'Error'],
];

for (const [name, make, sentence, reason] of OTHERS) {
  test(`${name} is explained`, () => {
    assert.deepStrictEqual(page.explain(make()), {sentence, reason});
  });
}

test('a field that makes no sense is explained in its own words', () => {
  assert.strictEqual(page.explain(new page.FieldError('Which host?', null)).sentence, 'Which host?');
});

test('Redis turning a client away is told in the words of Redis', () => {
  const cause = new RedisError('ERR max number of clients reached');
  const error = new WS2SError(5, 'closed', 'Redis: ' + cause.message, {cause});
  const sentence = 'Redis: ERR max number of clients reached.';
  assert.deepStrictEqual(page.explain(error), {sentence, reason: 'closed'});
});

const LOST = new WS2SError(1, 'gateway-lost', 'the WebSocket has ended');
const NOT_ANSWERED = [
  // P6: what answers is not Redis, and that is told instead of what became of the command.
  ['by HTTP', new WS2SError(1, 'protocol', 'this is not RESP: the port seems to speak HTTP'),
    {sentence: 'This is not Redis; the port seems to speak HTTP.', reason: 'protocol'}],
  ['by something unknown', new WS2SError(1, 'protocol', 'this is not RESP: a reply of unknown type'),
    {sentence: 'This is not Redis; the port speaks another protocol.', reason: 'protocol'}],
  // C1: the command at which a proxy ends the connection has a name.
  ['as the server has gone', new WS2SError(5, 'closed', 'Redis has closed the connection'), {
    sentence: 'The server has ended the connection at INFO. The command may have been carried out, or not.',
    reason: 'not-answered'}],
  ['as the reply is too large', new WS2SError(1, 'limit', 'a reply would take too much'), {
    sentence: 'The connection was lost before the answer to INFO came: a reply would take too much. The command may have '
      + 'been carried out, or not.',
    reason: 'not-answered'}],
  ['as the gateway has gone', LOST, {
    sentence: 'The connection was lost before the answer to INFO came. The command may have been carried out, or not.',
    reason: 'not-answered'}],
];

for (const [what, cause, told] of NOT_ANSWERED) {
  test(`a command that is not answered ${what} is told by its cause`, () => {
    const message = `no reply to INFO, which may have been carried out: ${cause.message}`;
    assert.deepStrictEqual(page.explain(new WS2SError(1, 'not-answered', message, {cause})), told);
  });
}

const WORDS = [
  ['an override', 'a\u202eb', 'a\\u{202e}b'], ['a line end', 'a\nb', 'a\\x0ab'],
  ['endless', 'x'.repeat(1e6), 'x'.repeat(40) + '…'], ['a number', 7, '7'], ['nothing', undefined, 'undefined'],
];

for (const [name, given, shown] of WORDS) {
  test(`a reason that is ${name} is safe to look at`, () => {
    assert.strictEqual(page.explain(new WS2SError(1, given, 'no')).reason, shown);
    const error = Object.assign(new RedisError('no'), {code: given});
    assert.strictEqual(page.explain(error).reason, shown);
  });
}

test('an endless message is cut', () => {
  const {sentence} = page.explain(new Error('x'.repeat(1e6)));
  assert.strictEqual(sentence.length, 1001);
  assert.ok(sentence.endsWith('x…'));
});

test('as one text the reason stands behind the sentence', () => {
  assert.match(page.failureText(new WS2SError(2, 'refused', 'connection refused')), /\. \(refused\)$/);
  assert.strictEqual(page.failureText(new DOMException('x', 'AbortError')), 'Cancelled.');
});

// -- addressText, TargetMemory ----------------------------------------------------------------------------------------

test('an address with colons has brackets before its port', () => {
  assert.strictEqual(targets.addressText('db.lan', 80), 'db.lan:80');
  assert.strictEqual(targets.addressText('::1', 80), '[::1]:80');
  assert.strictEqual(targets.addressText('[::1]', 80), '[::1]:80');
});

class Storage {
  items = new Map();

  getItem(key) {
    return this.items.has(key) ? this.items.get(key) : null;
  }

  setItem(key, value) {
    this.items.set(key, value);
  }
}

const target = port => ({host: 'db.lan', port: String(port)});

function memoryOf(...added) {
  const storage = new Storage();
  const memory = new targets.TargetMemory('targets', storage);
  for (const each of added) memory.add(each);
  return new targets.TargetMemory('targets', storage);
}

test('the newest target is the first', () => {
  assert.deepStrictEqual(memoryOf(target(1), target(2)).targets, [target(2), target(1)]);
});

test('a target that comes again moves to the front', () => {
  assert.deepStrictEqual(memoryOf(target(1), target(2), {port: '1', host: 'db.lan'}).targets, [target(1), target(2)]);
});

test('eight targets are kept', () => {
  const ports = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  assert.deepStrictEqual(memoryOf(...ports.map(target)).targets, ports.map(target).reverse().slice(0, 8));
});

test('a target can be forgotten', () => {
  const memory = memoryOf(target(1), target(2));
  memory.forget(target(2));
  assert.deepStrictEqual(memory.targets, [target(1)]);
});

for (const text of ['', 'no JSON', 'null', '7', '{}', '[null, 7, {}, {"host": 7}, {"host": "a", "port": {}}]']) {
  test(`${JSON.stringify(text)} in the storage is no target`, () => {
    const storage = new Storage();
    storage.setItem('targets', text);
    assert.deepStrictEqual(new targets.TargetMemory('targets', storage).targets, []);
  });
}

test('what was chosen is found again, and nothing where nothing or nonsense is kept', () => {
  const storage = new Storage();
  new page.Choices('choices', storage).set('ending', 'crlf');
  assert.strictEqual(new page.Choices('choices', storage).get('ending'), 'crlf');
  for (const text of ['', '7', '{}', '[1]']) {
    storage.setItem('choices', text);
    assert.strictEqual(new page.Choices('choices', storage).get('ending'), undefined);
  }
  new page.Choices('choices', undefined).set('ending', 'lf');
});

test('a browser that keeps nothing is no failure', () => {
  const memory = new targets.TargetMemory('targets', undefined);
  memory.add(target(1));
  assert.deepStrictEqual(memory.targets, []);
});
