/* What the console sends, records and replays, with the elements of its page, but without a browser. */
'use strict';

const assert = require('node:assert');
const {readFileSync} = require('node:fs');
const {join} = require('node:path');
const {before, beforeEach, test} = require('node:test');
const {beginPage, FakeNode} = require('./fake_page.js');
const {settled, until} = require('./fake_gateway.js');

const HTML = readFileSync(join(__dirname, '..', '..', 'ws2s-js', 'index.html'), 'utf8');
const utf8 = text => new TextEncoder().encode(text);

let body, FileSending, Input, Log, Replaying, saved;

// A file that was saved may be read for a minute; this process need not wait for that.
const {setTimeout: start} = globalThis;
globalThis.setTimeout = (...timer) => {
  const started = start(...timer);
  return timer[1] >= 60000 ? started.unref() : started;
};

before(async () => {
  beginPage();
  globalThis.matchMedia = () => ({matches: false, addEventListener() {}});
  ({FileSending} = await import('../../ws2s-js/console-sending.mjs'));
  ({Input} = await import('../../ws2s-js/console-typing.mjs'));
  ({Log} = await import('../../ws2s-js/console-log.mjs'));
  ({Replaying} = await import('../../ws2s-js/console-replaying.mjs'));
});

beforeEach(() => {
  body = beginPage();
  for (const [, name, attributes] of HTML.matchAll(/<(\w+)([^>]* id="[^>]*)>/g)) body.append(nodeOf(name, attributes));
  for (const id of ['view', 'mode', 'line-ending']) fillSelect(id);
  for (const name of ['div', 'pre']) document.getElementById('ruler').append(new FakeNode(name));
  saved = [];
  URL.createObjectURL = blob => { saved.push(blob); return 'blob:'; };
  URL.revokeObjectURL = () => {};
});

function nodeOf(name, attributes) {
  const node = new FakeNode(name);
  node.id = / id="(.*?)"/.exec(attributes)[1];
  node.hidden = / hidden\b/.test(attributes);
  node.classList.toggle = () => {};
  return node;
}

function fillSelect(id) {
  const [, options] = new RegExp(`<select id="${id}"[^>]*>(.*?)</select>`, 's').exec(HTML);
  for (const [, value] of options.matchAll(/<option value="(.*?)"/g)) {
    byId(id).append(Object.assign(new FakeNode('option'), {value}));
  }
}

const byId = id => document.getElementById(id);
const choose = (id, file) => {
  byId(id).files = [file];
  byId(id).happens('change');
};
const named = (name, content) => Object.assign(new Blob([content]), {name});

// -- sending a file ---------------------------------------------------------------------------------------------------

function sender({send = async () => true, refusal = ''} = {}) {
  const page = {
    told: [], line: {send}, log: {tell: (text, tone) => page.told.push([text, tone])}, refusal: () => refusal,
    sendStatus: {say: (text, kind) => { page.status = [text, kind]; }},
  };
  page.sending = new FileSending(page);
  return page;
}

test('a file is sent, and its name is safe to look at', async () => {
  const page = sender();
  choose('file', named('a\u202eb.bin', 'x'.repeat(100000)));
  assert.ok(page.sending.isBusy && !byId('file-row').hidden);
  await until(() => !page.sending.isBusy);
  assert.deepStrictEqual(page.status, ['The file a\\u{202e}b.bin was sent.', 'good']);
  const {max, value} = byId('file-bar');
  assert.deepStrictEqual([byId('file-row').hidden, value, max], [true, 100000, 100000]);
});

test('a file is not sent where nothing can be sent, and not without a file', async () => {
  const page = sender({refusal: 'Not connected: nothing was sent.'});
  choose('file', named('a', 'x'));
  assert.deepStrictEqual([page.sending.isBusy, page.status], [false, ['Not connected: nothing was sent.', 'bad']]);
  byId('file').files = [];
  byId('file').happens('change');
  assert.strictEqual(page.sending.isBusy, false);
});

for (const [name, send, act, words] of [
  ['Stop', () => new Promise(() => {}), () => byId('file-stop').click(), 'it was stopped'],
  ['the end of the connection', async () => false, () => {}, 'the connection has ended'],
]) {
  test(`a file is not sent to its end: ${name}`, async () => {
    const page = sender({send});
    choose('file', named('a', 'x'.repeat(3000000)));
    await settled();
    act();
    await until(() => !page.sending.isBusy);
    assert.deepStrictEqual(page.status, [
      `The file a was not sent to its end: ${words}. At least 0 bytes of 3.0 MB went out.`, 'bad']);
  });
}

// -- recording and replaying ------------------------------------------------------------------------------------------

async function recordedBy(act) {
  const log = new Log();
  byId('record').click();
  act(log);
  assert.ok(log.isRecording);
  byId('record').click();
  assert.ok(!log.isRecording);
  return saved.at(-1).text();
}

test('what happens is recorded, and of a secret nothing', async () => {
  const text = await recordedBy(log => {
    log.beginStream('a:1');
    log.tell('Connected.');
    log.sent(utf8('x'));
    log.secret();
    log.received(utf8('y'));
  });
  const [head, ...events] = text.trim().split('\n').map(JSON.parse);
  assert.strictEqual(head.target, 'a:1');
  assert.deepStrictEqual(events.map(([, kind, what]) => [kind, what]),
    [['notice', 'Connected.'], ['sent', 'eA=='], ['secret', null], ['received', 'eQ==']]);
});

test('a recording without anything is no file', () => {
  const log = new Log();
  byId('record').click();
  byId('record').click();
  assert.deepStrictEqual([log.isRecording, saved], [false, []]);
});

test('only what was sent or received, and not saved since, would be a loss; a replay would not', () => {
  const log = new Log();
  log.tell('Connecting…');
  log.replayed({kind: 'received', what: utf8('x')});
  const seen = [log.isUnsaved];
  log.received(utf8('x'));
  seen.push(log.isUnsaved);
  byId('save').click();
  seen.push(log.isUnsaved);
  log.secret();
  seen.push(log.isUnsaved);
  byId('clear').click();
  seen.push(log.isUnsaved);
  assert.deepStrictEqual(seen, [false, true, false, true, false]);
});

function replayer(mayBegin = true) {
  const page = {
    seen: [], isOver: false, beginReplay: () => mayBegin, endReplay() { page.isOver = true; },
    log: {beginReplay: () => page.seen.push('begin'), replayed: event => page.seen.push(event)},
    status: {say: (text, kind) => { page.status.last = [text, kind]; }},
  };
  new Replaying(page);
  byId('replay-speed').value = 'Infinity';
  return page;
}

test('what was recorded is replayed', async () => {
  const text = await recordedBy(log => {
    log.beginStream('a:1');
    log.received(utf8('y'));
    log.secret();
  });
  const page = replayer();
  choose('replay-file', named('x', text));
  await until(() => page.isOver);
  const [begin, head, ...events] = page.seen;
  assert.deepStrictEqual([begin, head.kind], ['begin', 'notice']);
  assert.match(head.what, /^Replaying a recording of a:1, \d{4}-/);
  const seen = events.map(({kind, what}) => [kind, what && String(Buffer.from(what))]);
  assert.deepStrictEqual(seen, [['received', 'y'], ['secret', null]]);
  assert.deepStrictEqual(page.status.last, ['The recording has been replayed.', 'good']);
});

test('a file that is no recording is told, and nothing is replayed', async () => {
  const page = replayer();
  choose('replay-file', named('x', 'PING\n'));
  await until(() => page.isOver);
  assert.deepStrictEqual([page.seen, page.status.last[1]], [[], 'bad']);
  assert.match(page.status.last[0], /^This is no recording of the console: .* \(line 1\)\.$/);
});

test('nothing is replayed while something else happens', async () => {
  const page = replayer(false);
  choose('replay-file', named('x', 'PING\n'));
  await settled();
  assert.deepStrictEqual([page.seen, page.isOver], [[], false]);
});

// -- secrets ----------------------------------------------------------------------------------------------------------

function typeInto(id, text) {
  byId(id).value = text;
}

test('a secret is typed into a field of its own, and is not brought back', () => {
  const input = new Input();
  byId('mode').value = 'secret';
  byId('mode').happens('change');
  assert.deepStrictEqual([byId('input').hidden, byId('secret').hidden], [true, false]);
  assert.strictEqual(byId('input-label').htmlFor, 'secret');
  typeInto('secret', 'pa55');
  assert.deepStrictEqual([input.isSecret, String(Buffer.from(input.read()))], [true, 'pa55\n']);
  input.next();
  assert.strictEqual(byId('secret').value, '');
  byId('mode').value = 'text';
  byId('mode').happens('change');
  byId('input').happens('keydown', {key: 'ArrowUp'});
  assert.strictEqual(byId('input').value ?? '', '');
});

test('a target that asks for a secret gets one, and what was being typed is still there afterwards', () => {
  const input = new Input();
  byId('mode').value = 'hex';
  typeInto('input', '00 ff');
  input.isSecretAsked = true;
  typeInto('secret', 'pa55');
  input.isSecretAsked = true;
  assert.deepStrictEqual([input.isSecret, byId('secret').value], [true, 'pa55']);
  input.isSecretAsked = false;
  assert.deepStrictEqual([input.isSecret, byId('mode').value, byId('input').value, byId('secret').value],
    [false, 'hex', '00 ff', '']);
});

test('a line ending that nobody knows is LF', () => {
  const input = new Input();
  const seen = ['crlf', 'cr', 'x', undefined, 'none'].map(ending => {
    input.ending = ending;
    return input.ending;
  });
  assert.deepStrictEqual(seen, ['crlf', 'cr', 'lf', 'lf', 'none']);
});
