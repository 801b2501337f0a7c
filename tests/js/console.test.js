'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');

let Transcript, bodyRuns, bodyText, savedText, timeText, NARROW, History, typedBytes;
before(async () => {
  const transcripts = await import('../../ws2s-js/console-transcript.mjs');
  ({Transcript, bodyRuns, bodyText, savedText, timeText, NARROW} = transcripts);
  ({typedBytes} = await import('../../ws2s-js/console-input.mjs'));
  ({History} = await import('../../ws2s-js/history.mjs'));
});

const utf8 = text => new TextEncoder().encode(text);
const bytes = (...values) => Uint8Array.from(values);
const texts = transcript => transcript.entries.map(entry => bodyText(entry, 'text'));
const sizes = transcript => transcript.entries.map(entry => entry.size);

function transcriptOf(pieces, limits) {
  const transcript = new Transcript(limits);
  for (const piece of pieces) {
    transcript.received(piece);
    transcript.seal();
  }
  return transcript;
}

// -- History ----------------------------------------------------------------------------------------------------------

test('what was changed in a line that came back stays while others are looked at', () => {
  const history = new History();
  for (const line of ['one', 'two']) history.add(line);
  const back = [history.older('draft'), history.older('two, changed')];
  const seen = [...back, history.newer('one'), history.newer('two, changed')];
  assert.deepStrictEqual(seen, ['two', 'one', 'two, changed', 'draft']);
  history.add('three');
  assert.deepStrictEqual([history.older(''), history.older('three')], ['three', 'two']);
});

// -- Transcript -------------------------------------------------------------------------------------------------------

test('what comes before it is shown stands in one entry', () => {
  const transcript = new Transcript();
  for (const text of ['a', 'b', 'c']) transcript.received(utf8(text));
  assert.deepStrictEqual(texts(transcript), ['abc']);
});

test('what comes after it was shown stands in another entry', () => {
  assert.deepStrictEqual(texts(transcriptOf([utf8('a'), utf8('b')])), ['a', 'b']);
});

test('what comes after something was sent stands in another entry', () => {
  const transcript = new Transcript();
  transcript.received(utf8('a'));
  transcript.sent(utf8('b'));
  transcript.received(utf8('c'));
  assert.deepStrictEqual(transcript.entries.map(entry => entry.kind), ['received', 'sent', 'received']);
});

test('each thing sent has its own entry', () => {
  const transcript = new Transcript();
  transcript.sent(utf8('a'));
  transcript.sent(utf8('b'));
  assert.deepStrictEqual(texts(transcript), ['a', 'b']);
});

test('an entry is changed until it is shown, and again when more is known of it', () => {
  const transcript = transcriptOf([bytes(0xe2)]);
  const [entry] = transcript.entries;
  assert.ok(entry.isChanged);
  entry.isChanged = false;
  transcript.received(bytes(0x82));
  assert.ok(entry.isChanged);
});

test('what is long is cut into entries of 8 KiB, and nothing is lost', () => {
  const all = Uint8Array.from({length: 20000}, (_, i) => i % 251);
  const transcript = new Transcript();
  transcript.received(all);
  assert.deepStrictEqual(sizes(transcript), [8192, 8192, 3616]);
  assert.deepStrictEqual(Buffer.concat(transcript.entries.map(entry => entry.bytes)), Buffer.from(all));
});

test('an entry keeps no more than its own bytes', () => {
  const transcript = new Transcript();
  transcript.received(new Uint8Array(20000));
  assert.ok(transcript.entries.every(entry => entry.bytes.buffer.byteLength <= 8192));
});

test('many single bytes are one entry', () => {
  const transcript = new Transcript();
  for (let i = 0; i < 1000; i++) transcript.received(bytes(i % 256));
  assert.deepStrictEqual(transcript.entries[0].bytes, Uint8Array.from({length: 1000}, (_, i) => i % 256));
});

// Where each character begins, there it is shown, however it was cut.
const CUT = [
  ['two of three bytes first', [[0x61, 0xe2, 0x82], [0xac, 0x62]], ['a\u20ac', 'b']],
  ['one of three bytes first', [[0xe2], [0x82, 0xac, 0x62]], ['\u20ac', 'b']],
  ['three pieces', [[0xe2], [0x82], [0xac, 0x62]], ['\u20ac', '', 'b']],
  ['four pieces', [[0xf0], [0x9f], [0x98], [0x80], [0x62]], ['\ud83d\ude00', '', '', '', 'b']],
  ['two characters', [[0xe2, 0x82], [0xac, 0xf0, 0x9f], [0x98, 0x80]], ['\u20ac', '\ud83d\ude00', '']],
  ['not cut at all', [[0xe2, 0x82, 0xac], [0x62]], ['\u20ac', 'b']],
  ['never finished', [[0x61, 0xe2, 0x82]], ['a\\xe2\\x82']],
  ['broken off', [[0xe2, 0x82], [0x62]], ['\\xe2\\x82', 'b']],
  ['broken off after more', [[0xe2], [0x82], [0x62]], ['\\xe2\\x82', '', 'b']],
  ['broken off by a beginning', [[0xe2], [0xe2, 0x82], [0xac]], ['\\xe2', '\u20ac', '']],
  ['continuations that nothing wants', [[0x61], [0x82, 0xac]], ['a', '\\x82\\xac']],
  ['too many continuations', [[0xc3], [0xa9, 0xa9]], ['\u00e9', '\\xa9']],
];

for (const [name, pieces, shown] of CUT) {
  test(`a character cut: ${name}`, () => {
    const transcript = transcriptOf(pieces.map(piece => bytes(...piece)));
    assert.deepStrictEqual(texts(transcript), shown);
    assert.deepStrictEqual(sizes(transcript), pieces.map(piece => piece.length));
  });
}

test('a text cut anywhere is the same text', () => {
  const text = 'h\u00e9 \u20ac \ud83d\ude00 \u4e2d!';
  const all = utf8(text);
  for (let first = 0; first <= all.length; first++) {
    for (let second = first; second <= all.length; second++) {
      const pieces = [all.slice(0, first), all.slice(first, second), all.slice(second)];
      assert.strictEqual(texts(transcriptOf(pieces)).join(''), text, `${first} ${second}`);
    }
  }
});

test('a cut character goes on behind what was sent', () => {
  const transcript = transcriptOf([bytes(0xe2, 0x82)]);
  transcript.sent(utf8('x'));
  transcript.received(bytes(0xac));
  assert.deepStrictEqual(texts(transcript), ['\u20ac', 'x', '']);
});

test('a cut character does not go on in another connection', () => {
  const transcript = transcriptOf([bytes(0xe2, 0x82)]);
  transcript.beginStream();
  transcript.received(bytes(0xac));
  assert.deepStrictEqual(texts(transcript), ['\\xe2\\x82', '\\xac']);
});

test('a hex dump shows the bytes where they came', () => {
  const transcript = transcriptOf([bytes(0xe2, 0x82), bytes(0xac)]);
  assert.deepStrictEqual(transcript.entries.map(entry => bodyText(entry, 'hex').replace(/ +/g, ' ')), [
    '00000000 e2 82 |..|', '00000000 ac |.|',
  ]);
});

test('a narrow hex dump has lines of 41 characters, in the longest entry, too', () => {
  const lines = bodyText(transcriptOf([new Uint8Array(8192)]).entries[0], 'hex', NARROW).split('\n');
  assert.deepStrictEqual([lines[0], lines.at(-1)], [
    '0000  00 00 00 00 00 00 00 00  |........|', '1ff8  00 00 00 00 00 00 00 00  |........|',
  ]);
});

test('only the newest bytes are kept, and the loss is told', () => {
  const transcript = transcriptOf(['aaaa', 'bbbb', 'cccc'].map(utf8), {bytes: 9, entries: 100});
  assert.deepStrictEqual(texts(transcript), ['bbbb', 'cccc']);
  assert.strictEqual(transcript.loss, '1 older entry (4 bytes) was dropped: only the newest 9 bytes, in at most ' +
    '100 entries and 20,000 lines, are kept.');
});

test('only the newest entries are kept, notices too', () => {
  const transcript = new Transcript({bytes: 100, entries: 2});
  for (const text of ['a', 'b', 'c', 'd']) transcript.notice(text);
  assert.deepStrictEqual(texts(transcript), ['c', 'd']);
  assert.match(transcript.loss, /^2 older entries \(0 bytes\) were dropped/);
});

test('a flood of 200 MB keeps 1 MiB', () => {
  const transcript = new Transcript();
  const piece = new Uint8Array(65536).fill(0x61);
  for (let i = 0; i < 3200; i++) transcript.received(piece);
  const kept = sizes(transcript).reduce((sum, size) => sum + size);
  assert.strictEqual(kept, 1048576);
  assert.strictEqual(kept + transcript.dropped.bytes, 3200 * 65536);
});

test('only the newest lines are kept', () => {
  const transcript = transcriptOf(['a\na\n', 'b\nb\n', 'c\nc\n'].map(utf8), {lines: 5});
  assert.deepStrictEqual(texts(transcript), ['b\nb\n', 'c\nc\n']);
  assert.match(transcript.loss, /^1 older entry \(4 bytes\) was dropped: .* and 5 lines, are kept\.$/);
});

test('lines that were sent count as well', () => {
  const transcript = new Transcript({lines: 1});
  transcript.sent(utf8('a\n'));
  transcript.sent(utf8('b\n'));
  assert.deepStrictEqual(texts(transcript), ['b\n']);
});

const linesOf = text => text.split('\n').length - 1;

test('a flood of short lines keeps 20,000 of them, in entries of 500', () => {
  const transcript = transcriptOf(Array(160).fill(utf8('x\n'.repeat(32768))));
  assert.deepStrictEqual([...new Set(texts(transcript).map(linesOf))].sort((a, b) => b - a)[0], 500);
  const kept = texts(transcript).reduce((sum, text) => sum + linesOf(text), 0);
  assert.ok(kept > 19000 && kept <= 20000, String(kept));
  const bytesKept = sizes(transcript).reduce((sum, size) => sum + size);
  assert.strictEqual(bytesKept + transcript.dropped.bytes, 160 * 65536);
});

test('short lines in many small pieces are cut into entries of 500, and nothing is lost', () => {
  const transcript = new Transcript();
  for (let i = 0; i < 1200; i++) transcript.received(utf8('x\n'));
  assert.deepStrictEqual(texts(transcript).map(linesOf), [500, 500, 200]);
});

test('line feeds alone are cut into entries, too', () => {
  const transcript = new Transcript();
  transcript.received(utf8('\n'.repeat(1001)));
  assert.deepStrictEqual(sizes(transcript), [500, 500, 1]);
});

test('nothing is lost when nothing was dropped', () => {
  assert.strictEqual(transcriptOf([utf8('a')]).loss, '');
});

test('clearing forgets entries and losses', () => {
  const transcript = transcriptOf(['aaaa', 'bbbb', 'cccc'].map(utf8), {bytes: 9, entries: 100});
  transcript.clear();
  assert.deepStrictEqual([transcript.entries, transcript.loss], [[], '']);
  transcript.received(utf8('aaaaaaaa'));
  assert.deepStrictEqual(texts(transcript), ['aaaaaaaa']);
});

test('cleared lines are not counted any more', () => {
  const transcript = new Transcript({lines: 2});
  transcript.received(utf8('a\na\n'));
  transcript.clear();
  transcript.received(utf8('b\nb\n'));
  assert.deepStrictEqual([texts(transcript), transcript.loss], [['b\nb\n'], '']);
});

test('CR LF is a line end, and a lone CR is an escape', () => {
  assert.deepStrictEqual(texts(transcriptOf([utf8('a\r\nb\rc\n')])), ['a\nb\\x0dc\n']);
});

test('times have milliseconds', () => {
  assert.strictEqual(timeText(new Date(2026, 0, 2, 3, 4, 5, 67)), '03:04:05.067');
});

test('the saved text has all that is kept', () => {
  const transcript = new Transcript();
  transcript.notice('Connected.');
  transcript.sent(utf8('PING\r\n'));
  transcript.received(utf8('+PONG\r\n'));
  const lines = [...savedText(transcript, 'text')].join('').replace(/\d\d:\d\d:\d\d\.\d{3}/g, 'T').split('\n');
  assert.match(lines.shift(), /^ws2s console, transcript saved at \d{4}-\S+Z; times are local$/);
  assert.deepStrictEqual(lines, [
    '', 'T notice: Connected.', '', 'T sent 6 bytes', 'PING', '', 'T received 7 bytes', '+PONG', '',
  ]);
});

test('what a target has sent does not read like an entry in the saved text', () => {
  const forged = '15:04:05.123 sent 4 bytes\r\nQUIT\n\n15:04:05.124 notice: x\n15:04 is no time';
  const transcript = transcriptOf([utf8(forged)]);
  const lines = [...savedText(transcript, 'text')].join('').split('\n');
  assert.deepStrictEqual(lines.slice(3), [
    '\\x315:04:05.123 sent 4 bytes', 'QUIT', '', '\\x315:04:05.124 notice: x', '15:04 is no time', '',
  ]);
  assert.strictEqual(lines.filter(line => /^\d\d:\d\d:\d\d\.\d{3} /.test(line)).length, 1);
});

test('the saved text tells what was dropped', () => {
  const transcript = transcriptOf(['aaaa', 'bbbb', 'cccc'].map(utf8), {bytes: 9, entries: 100});
  assert.ok([...savedText(transcript, 'hex')].join('').includes(transcript.loss));
});

// -- colours, secrets, what is unsaved --------------------------------------------------------------------------------

const coloursOf = transcript => transcript.entries.map(
  entry => bodyRuns(entry, 'colour').map(({text, style}) => [text, style?.fore ?? null]));

test('a colour goes on in later entries, behind what was sent, and over a cut sequence', () => {
  const transcript = transcriptOf([utf8('a\x1b[31mb'), utf8('c\x1b[3')]);
  transcript.sent(utf8('\x1b[34md'));
  transcript.received(utf8('2me\r\n'));
  assert.deepStrictEqual(coloursOf(transcript), [
    [['a', null], ['b', 1]], [['c', 1]], [['\\x1b[34md', null]], [['e\n', 2]],
  ]);
});

test('colours are the same however the text is cut', () => {
  const all = utf8('\u20ac\x1b[31m\u20ac\x1b]0;\u20ac\x07\u20ac\x1b[mx');
  const wanted = [['\u20ac', null], ['\u20ac\u20ac', 1], ['x', null]];
  for (let at = 0; at <= all.length; at++) {
    const runs = coloursOf(transcriptOf([all.slice(0, at), all.slice(at)])).flat().filter(([text]) => text);
    const together = [];
    for (const [text, fore] of runs) {
      if (together.length && together.at(-1)[1] === fore) together.at(-1)[0] += text;
      else together.push([text, fore]);
    }
    assert.deepStrictEqual(together, wanted, String(at));
  }
});

test('another connection begins without the colour of the one before', () => {
  const transcript = transcriptOf([utf8('\x1b[31ma')]);
  transcript.beginStream();
  transcript.received(utf8('b'));
  assert.deepStrictEqual(coloursOf(transcript), [[['a', 1]], [['b', null]]]);
});

test('as text and as a hex dump sequences can be seen', () => {
  const [entry] = transcriptOf([utf8('\x1b[31ma')]).entries;
  assert.strictEqual(bodyText(entry, 'text'), '\\x1b[31ma');
  assert.strictEqual(bodyText(entry, 'colour'), 'a');
  assert.match(bodyText(entry, 'hex'), /^00000000  1b 5b 33 31 6d 61 /);
});

test('of a secret nothing is kept, in each view and in the saved text', () => {
  const transcript = new Transcript();
  transcript.secret();
  assert.deepStrictEqual(transcript.entries.map(({kind, size}) => [kind, size]), [['secret', 0]]);
  for (const view of ['colour', 'text', 'hex']) {
    assert.match(bodyText(transcript.entries[0], view), /^a secret, which is neither/);
    assert.match([...savedText(transcript, view)].join(''), / secret: a secret, /);
  }
});

test('a transcript is unsaved from what was sent or received until it is cleared or saved', () => {
  const transcript = new Transcript();
  transcript.notice('Connected.');
  const seen = [transcript.isUnsaved];
  for (const what of ['sent', 'received']) {
    transcript[what](utf8('a'));
    seen.push(transcript.isUnsaved);
    transcript.isUnsaved = false;
  }
  transcript.secret();
  seen.push(transcript.isUnsaved);
  transcript.clear();
  seen.push(transcript.isUnsaved);
  assert.deepStrictEqual(seen, [false, true, true, true, false]);
});

// -- what is typed ----------------------------------------------------------------------------------------------------

const TYPED = [
  ['PING', 'text', 'lf', 'PING\n'],
  ['PING', 'text', 'crlf', 'PING\r\n'],
  ['PING', 'text', 'none', 'PING'],
  ['PING', 'text', 'cr', 'PING\r'],
  ['a\nb', 'text', 'cr', 'a\rb\r'],
  ['PING', 'secret', 'crlf', 'PING\r\n'],
  ['', 'text', 'lf', '\n'],
  ['', 'text', 'none', ''],
  ['a\nb', 'text', 'lf', 'a\nb\n'],
  ['a\nb\r\nc\n', 'text', 'crlf', 'a\r\nb\r\nc\r\n\r\n'],
  ['a\nb', 'text', 'none', 'a\nb'],
  ['h\u00e9 \ud83d\ude00', 'text', 'none', 'h\u00e9 \ud83d\ude00'],
  ['\\x00', 'text', 'none', '\\x00'],
  ['50 49', 'hex', 'crlf', 'PI'],
  ['', 'hex', 'lf', ''],
];

for (const [text, mode, ending, wanted] of TYPED) {
  test(`${JSON.stringify(text)} as ${mode} with ${ending} is ${JSON.stringify(wanted)}`, () => {
    assert.deepStrictEqual(typedBytes(text, mode, ending), utf8(wanted));
  });
}

test('what is not hexadecimal is refused', () => {
  assert.throws(() => typedBytes('5', 'hex', 'lf'), RangeError);
});

function historyOf(...lines) {
  const history = new History();
  for (const line of lines) history.add(line);
  return history;
}

test('an empty history has nothing', () => {
  const history = historyOf();
  assert.deepStrictEqual([history.older('x'), history.newer()], [null, null]);
});

test('the history forgets the oldest of more than 200 lines, and what is too long for a typed one', () => {
  const history = historyOf(...Array.from({length: 201}, (_, i) => `line ${i}`), 'x'.repeat(10001));
  const seen = [];
  for (let line = history.older(''); line !== null; line = history.older('')) seen.push(line);
  assert.deepStrictEqual([seen.length, seen[0], seen[199]], [200, 'line 200', 'line 1']);
});

test('the history goes back, and forth to what was being typed', () => {
  const history = historyOf('a', 'b');
  const seen = [history.older('draft'), history.older('b'), history.older('a'), history.newer(), history.newer(),
    history.newer()];
  assert.deepStrictEqual(seen, ['b', 'a', null, 'b', 'draft', null]);
});

test('a line that comes twice in a row is kept once, an empty one not at all', () => {
  const history = historyOf('a', 'a', '', 'b', 'a');
  assert.deepStrictEqual([1, 2, 3, 4].map(() => history.older('')), ['a', 'b', 'a', null]);
});

test('after a new line the history begins at its end', () => {
  const history = historyOf('a', 'b');
  history.older('');
  history.older('');
  history.add('c');
  assert.deepStrictEqual([history.newer(), history.older('')], [null, 'c']);
});

test('two hundred lines are kept', () => {
  const history = historyOf(...Array.from({length: 300}, (_, i) => String(i)));
  const seen = [];
  for (let line = history.older(''); line !== null; line = history.older('')) seen.push(line);
  assert.deepStrictEqual([seen.length, seen.at(-1)], [200, '100']);
});

test('what is very long is not kept', () => {
  assert.strictEqual(historyOf('x'.repeat(10001)).older(''), null);
});

test('a few bytes of a large array are kept without the array', () => {
  const transcript = new Transcript();
  transcript.received(new Uint8Array(1000000).subarray(10, 15));
  assert.strictEqual(transcript.entries[0].bytes.buffer.byteLength, 5);
});
