/* Recordings of the console, written, read, and replayed. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');

let Recording, recorded, replay, RecordingError, LineEndings;
before(async () => {
  ({Recording, recorded, replay, RecordingError} = await import('../../ws2s-js/console-recording.mjs'));
  ({LineEndings} = await import('../../ws2s-js/console-endings.mjs'));
});

const utf8 = text => new TextEncoder().encode(text);
const DATE = new Date('2026-01-02T03:04:05Z');
const HEAD = '{"format":"ws2s-recording","version":1,"begun":"2026-01-02T03:04:05.000Z","target":"a:1"}\n';

async function read(text) {
  const all = [];
  for await (const each of recorded(new Blob([text]))) all.push(each);
  return all;
}

function recordingAt(times, limits) {
  return new Recording('a:1', {now: () => times.shift(), date: DATE, limits});
}

test('a recording has a line for its head and one for each event', () => {
  const recording = recordingAt([100, 101, 102.6, 103, 104]);
  recording.notice('Connected.');
  recording.sent(utf8('PING\r\n'));
  recording.secret();
  recording.received(Uint8Array.of(0, 255));
  assert.deepStrictEqual(recording.lines, [HEAD, '[1,"notice","Connected."]\n', '[3,"sent","UElORw0K"]\n',
    '[3,"secret",null]\n', '[4,"received","AP8="]\n']);
});

test('what was recorded is read as it was, all bytes and lengths', async () => {
  const recording = new Recording('h\u00e9:1');
  const all = Uint8Array.from({length: 100001}, (_, i) => i * 7 % 256);
  recording.received(all);
  for (let length = 0; length < 5; length++) recording.sent(all.subarray(0, length));
  const [head, ...events] = await read(recording.lines.join(''));
  assert.strictEqual(head.target, 'h\u00e9:1');
  const of = kind => events.filter(event => event.kind === kind).map(({what}) => what);
  assert.deepStrictEqual(Buffer.concat(of('received')), Buffer.from(all));
  assert.deepStrictEqual(of('sent').map(bytes => bytes.length), [1, 2, 3, 4]);
});

test('a recording ends when it has too many characters, or events', () => {
  const tooLong = new Recording('a', {limits: {characters: 1000, events: 100}});
  const tooMany = new Recording('a', {limits: {characters: 1e6, events: 3}});
  for (let i = 0; i < 200; i++) for (const each of [tooLong, tooMany]) each.received(new Uint8Array(300));
  assert.deepStrictEqual([tooLong.isFull, tooLong.size, tooMany.isFull, tooMany.size], [true, 3, true, 3]);
  const large = new Recording('a', {limits: {characters: 100000, events: 100}});
  large.received(new Uint8Array(10e6));
  assert.ok(large.isFull && large.size < 5);
});

const WRONG = [
  ['nothing', '', 1], ['another file', 'PING\n', 1], ['other JSON', '[]\n', 1], ['null', 'null', 1],
  ['another version', HEAD.replace('1,', '2,'), 1], ['bytes that are no UTF-8', Uint8Array.of(0x7b, 0xff), 1],
  ['what is not JSON', `${HEAD}[1,"notice"\n`, 2], ['no list', `${HEAD}{}\n`, 2],
  ['too short', `${HEAD}[1,"notice"]\n`, 2],
  ['a kind that is none', `${HEAD}[1,"toString","x"]\n`, 2], ['no base64', `${HEAD}[1,"sent","?"]\n`, 2],
  ['a number for bytes', `${HEAD}[1,"sent",1]\n`, 2], ['null for bytes', `${HEAD}[1,"sent",null]\n`, 2],
  ['bytes of a secret', `${HEAD}[1,"secret","x"]\n`, 2], ['a secret that is told', `${HEAD}[1,"secret",7]\n`, 2],
  ['a notice that is none', `${HEAD}[1,"notice",{}]\n`, 2], ['a time that is none', `${HEAD}["1","notice","x"]\n`, 2],
  ['a time that goes back', `${HEAD}[2,"notice","x"]\n[1,"notice","x"]\n`, 3],
  ['a time that nobody waits for', `${HEAD}[1e300,"notice","x"]\n`, 2],
  ['a long line', `${HEAD}[1,"notice","${'x'.repeat(70000)}"]\n`, 2],
  ['a line of 1 MB without an end', HEAD + 'x'.repeat(1e6), 2],
];

for (const [name, text, line] of WRONG) {
  test(`no recording: ${name}`, async () => {
    await assert.rejects(read(text), error => error instanceof RecordingError && error.line === line);
  });
}

test('a recording without its last end of line, with empty lines, and with characters cut between reads', async () => {
  assert.strictEqual((await read(`${HEAD}\n[1,"notice","x"]`)).length, 2);
  const line = `[1,"notice","${'\u20ac'.repeat(100)}"]\n`;
  const events = (await read(HEAD + line.repeat(3000))).slice(1);
  assert.ok(events.length === 3000 && events.every(({what}) => what === '\u20ac'.repeat(100)));
});

// -- replaying --------------------------------------------------------------------------------------------------------

const EVENTS = `${HEAD}[100,"notice","a"]\n[100,"notice","b"]\n[400,"notice","c"]\n[900000,"notice","d"]\n`;

async function replayed(speed, takes = 0) {
  const seen = [], signal = new AbortController().signal;
  let time = 0;
  await replay(new Blob([EVENTS]), {
    speed, signal, now: () => time, wait: async milliseconds => { time += milliseconds; },
    onHead: head => seen.push(head.target),
    onEvent({what}) {
      seen.push([what, time]);
      time += takes;
    },
  });
  return seen;
}

test('events happen again at their time, and long pauses are cut', async () => {
  assert.deepStrictEqual(await replayed(1), ['a:1', ['a', 100], ['b', 100], ['c', 400], ['d', 5400]]);
});

test('twice as fast, and at once', async () => {
  assert.deepStrictEqual(await replayed(2), ['a:1', ['a', 50], ['b', 50], ['c', 200], ['d', 2700]]);
  assert.deepStrictEqual(await replayed(Infinity), ['a:1', ['a', 0], ['b', 0], ['c', 0], ['d', 0]]);
});

test('what takes time is made up for', async () => {
  assert.deepStrictEqual((await replayed(1, 50)).slice(1), [['a', 100], ['b', 150], ['c', 400], ['d', 5400]]);
});

test('a replay is ended while it waits, and its timer with it', async () => {
  const attempt = new AbortController(), seen = [];
  const ended = replay(new Blob([EVENTS]), {
    speed: 1e-6, signal: attempt.signal, onHead: () => setTimeout(() => attempt.abort()),
    onEvent: event => seen.push(event),
  });
  await assert.rejects(ended, {name: 'AbortError'});
  assert.deepStrictEqual(seen, []);
});

// -- line endings -----------------------------------------------------------------------------------------------------

function storageOf(texts = {}) {
  return {
    getItem: name => texts[name] ?? null,
    setItem(name, text) { texts[name] = text; },
  };
}

test('the line ending of each target is remembered, over visits', () => {
  const storage = storageOf();
  const endings = new LineEndings(storage);
  endings.set('a:1', 'lf');
  endings.set('b:1', 'cr');
  endings.set('a:1', 'crlf');
  const later = new LineEndings(storage);
  assert.deepStrictEqual(['a:1', 'b:1', 'c:1'].map(name => later.get(name)), ['crlf', 'cr', undefined]);
});

test('the oldest of more than fifty line endings are forgotten', () => {
  const endings = new LineEndings(storageOf());
  for (let port = 1; port <= 60; port++) endings.set(`a:${port}`, 'cr');
  assert.deepStrictEqual([endings.get('a:10'), endings.get('a:11')], [undefined, 'cr']);
});

for (const text of ['x', 'null', '{}', '[1,["a:1"],["a:1",2],null]']) {
  test(`line endings that another program has written: ${text}`, () => {
    const endings = new LineEndings(storageOf({'ws2s.console.endings': text}));
    assert.strictEqual(endings.get('a:1'), undefined);
    endings.set('a:1', 'cr');
    assert.strictEqual(endings.get('a:1'), 'cr');
  });
}

test('without a storage nothing is remembered, and nothing fails', () => {
  const endings = new LineEndings(undefined);
  endings.set('a:1', 'cr');
  assert.strictEqual(endings.get('a:1'), undefined);
});
