/* The editor of a document of RedisJSON, on a document that is not real and before a server that is none. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const {document} = require('./fake_document.js');

let key, values, session;
before(async () => {
  globalThis.document = document;
  globalThis.ResizeObserver = class { observe() {} };
  [key, values, session] = await Promise.all(
    ['json-key', 'values', 'session'].map(name => import(`../../ws2s-js/redis-${name}.mjs`)));
});

const utf8 = text => new Uint8Array(Buffer.from(text));
const text = bytes => Buffer.from(bytes).toString();
const words = command => command.map(word => (word instanceof Uint8Array ? text(word) : word));
const NAME = utf8('doc');

/* One key of a server with RedisJSON; `now` is what it holds. */
class Server {
  constructor(now, {ttl = -1} = {}) {
    Object.assign(this, {now, ttl, written: []});
  }

  async ask(command) {
    assert.strictEqual(command, 'JSON.GET');
    return this.now === null ? null : utf8(this.now);
  }

  async change(name, type, {reads = [], isSame = () => true, writes}) {
    const replies = reads.map(([command]) => (command === 'PTTL' ? this.ttl : utf8(this.now)));
    if (!isSame(...replies)) throw new Error('changed meanwhile');
    const commands = typeof writes === 'function' ? writes(...replies) : writes;
    this.written.push([type, ...commands.map(words)]);
    this.now = this.written[this.written.length - 1][1][3];
  }
}

async function opened(now, {memory = null, ...settings} = {}) {
  const server = new Server(now, settings), told = [];
  const place = {key: NAME, memory, session: server, run: task => task(), say() {}, changed: news => told.push(news)};
  const editor = values.editorOf('ReJSON-RL', place);
  await editor.load();
  const find = id => editor.node.all.find(each => each.id === id);
  return {server, told, editor, find, save: () => find('json-save').happens('click')};
}

test('a document is laid out to be read, and that changes nothing', async () => {
  const {editor, find, server} = await opened('{"a":12345678901234567890,"b":[1.50]}');
  assert.strictEqual(find('json-value').value, '{\n  "a": 12345678901234567890,\n  "b": [\n    1.50\n  ]\n}');
  assert.deepStrictEqual([editor.isChanged, editor.size, server.written], [false, '37 bytes as text', []]);
});

test('what is typed is written as typed, in the place of what was seen, and its time to live stays', async () => {
  const {find, save, server, told} = await opened('{"a":1}', {ttl: 5000});
  find('json-value').value = '{"a": 1.0,\n\t"b": 12345678901234567890}';
  await save();
  assert.deepStrictEqual(server.written, [['ReJSON-RL',
    ['JSON.SET', 'doc', '.', '{"a": 1.0,\n\t"b": 12345678901234567890}'], ['PEXPIRE', 'doc', 5000]]]);
  assert.deepStrictEqual(told, ['The document was saved.']);
});

test('a document without a time to live gets none, and one of less than a millisecond is not kept for ever', () => {
  assert.deepStrictEqual(key.jsonWrites('k', 'v', -1), [['JSON.SET', 'k', '.', 'v']]);
  assert.deepStrictEqual(key.jsonWrites('k', 'v', 0), [['JSON.SET', 'k', '.', 'v'], ['PEXPIRE', 'k', 1]]);
});

test('a document that somebody else has changed is not written over', async () => {
  const {find, save, server} = await opened('{"a":1}');
  server.now = '{"a":2}';
  find('json-value').value = '{"a":3}';
  await assert.rejects(save(), /changed meanwhile/);
  assert.deepStrictEqual([server.written, find('json-value').value], [[], '{"a":3}']);
});

test('what is no JSON is told by its place before anything is sent', async () => {
  const {find, save, server} = await opened('{"a":1}');
  find('json-value').value = '{"a":1\n,}';
  await assert.rejects(async () => save(), error => (
    error.name === 'FieldError' && error.field === find('json-value') && /^Line 2, column 2: /.test(error.message)));
  assert.deepStrictEqual(server.written, []);
});

test('a document that is gone says so; what was typed makes it anew', async () => {
  await assert.rejects(opened(null), {name: 'ChangedError', isGone: true, isMissing: true});
  const {editor, find, server} = await opened('{"a":1}');
  server.now = null;
  find('json-value').value = '[2]';
  await editor.recreate();
  assert.deepStrictEqual(server.written, [['none', ['JSON.SET', 'doc', '.', '[2]']]]);
  assert.ok(!editor.isChanged);
});

test('a long document is looked at and not edited; a very long one is not asked for', async () => {
  const long = await opened(`["${'x'.repeat(300000)}"]`);
  assert.deepStrictEqual([long.find('json-save').hidden, long.find('json-note').textContent],
    [true, 'This document is too long to be edited here.']);
  const huge = await opened(null, {memory: 1e9});
  assert.match(huge.find('json-note').textContent, /1,000,000,000 bytes of memory/);
});

test('a new document begins as an object, and must be JSON', () => {
  const content = values.firstContent('ReJSON-RL');
  assert.deepStrictEqual(words(content.words(NAME)), ['JSON.SET', 'doc', '.', '{}']);
  content.main.control.value = '{';
  assert.throws(() => content.words(NAME), {name: 'FieldError'});
});

test('the type has a name for people, and is none that each server has', () => {
  assert.strictEqual(session.typeName('ReJSON-RL'), 'JSON');
  assert.ok(values.TYPES.includes('ReJSON-RL') && !values.OWN_TYPES.includes('ReJSON-RL'));
});
