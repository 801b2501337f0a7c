/* Values of many rows on the Redis page: what is looked for in them, and where one goes in a stream. */
'use strict';

const assert = require('node:assert');
const {before, beforeEach, test} = require('node:test');
const {RedisError} = require('../../ws2s-js/ws2s.js');
const {settled, until} = require('./fake_gateway.js');
const {beginPage} = require('./fake_page.js');

let values, body;
before(async () => {
  body = beginPage();
  values = await import('../../ws2s-js/redis-values.mjs');
});
beforeEach(() => body.replaceChildren());

const utf8 = text => new Uint8Array(Buffer.from(text));
const byId = id => document.getElementById(id);
const shown = word => (word instanceof Uint8Array ? Buffer.from(word).toString() : String(word));

/* An editor of a value whose server answers so; `failures` are those that were told. */
async function open(type, answers) {
  const asked = [], failures = [];
  const session = {
    async ask(...words) {
      asked.push(words.map(shown).join(' '));
      const answer = answers[words[0]];
      const value = typeof answer === 'function' ? answer(...words.slice(1).map(shown)) : answer;
      if (value instanceof Error) throw value;
      return value;
    },
  };
  const place = {
    key: utf8('k'), memory: null, session, say() {}, changed() {},
    run: task => Promise.resolve().then(task).catch(error => failures.push(error)),
  };
  const editor = values.editorOf(type, place);
  body.append(editor.node);
  await editor.load();
  return {asked, failures, editor};
}

const rows = () => byId('rows').children.map(row => row.children.slice(0, -1).map(cell => cell.textContent));

async function find(text) {
  byId('rows-pattern').value = text;
  byId('rows-filter').happens('submit');
  await settled();
}

const ITEMS = Array.from({length: 2500}, (_, i) => `item ${i}`);
const list = {LLEN: ITEMS.length, LRANGE: (key, first, last) => ITEMS.slice(Number(first), Number(last) + 1).map(utf8)};

test('items of a list are found in all of it, with their indexes', async () => {
  await open('list', list);
  assert.deepStrictEqual(rows()[0], ['0', 'item 0']);
  await find('249?');
  assert.deepStrictEqual(rows(), []);  // a pattern is of the whole item
  await find('*249?');
  assert.deepStrictEqual(rows(), Array.from({length: 10}, (_, i) => [`${2490 + i}`, `item ${2490 + i}`]));
  await find('');
  assert.strictEqual(rows().length, 100);
});

test('members of a sorted set are found, the one of exactly this name first, with their scores', async () => {
  const {asked} = await open('zset', {
    ZCARD: 2, ZRANGE: ['a', '1', 'b', '2'].map(utf8), ZSCORE: (key, member) => (member === 'b' ? utf8('2') : null),
    ZSCAN: [utf8('0'), ['ab', '5', 'b', '2'].map(utf8)]});
  assert.deepStrictEqual(rows(), [['0', '1', 'a'], ['1', '2', 'b']]);
  await find('b');
  assert.deepStrictEqual(rows(), [['', '2', 'b'], ['', '5', 'ab']]);
  assert.ok(asked.includes('ZSCAN k 0 MATCH *b* COUNT 1000') && asked.includes('ZSCORE k b'));
});

for (const [type, answers, found] of [
  ['hash', {HLEN: 9, HSCAN: [utf8('0'), ['xf', '1'].map(utf8)], HGET: utf8('v')}, [['f', 'v'], ['xf', '1']]],
  ['set', {SCARD: 9, SSCAN: [utf8('0'), ['xf'].map(utf8)], SISMEMBER: 1}, [['f'], ['xf']]],
]) {
  test(`in a ${type} the one of exactly this name is first, if there is one and it may be asked for`, async () => {
    await open(type, answers);
    await find('f');
    assert.deepStrictEqual(rows(), found);
    for (const answer of [type === 'hash' ? null : 0, new RedisError('NOPERM no')]) {
      body.replaceChildren();
      await open(type, {...answers, HGET: answer, SISMEMBER: answer});
      await find('f');
      assert.deepStrictEqual(rows(), found.slice(1));
    }
  });
}

test('without a pattern nothing exact is asked for', async () => {
  const {asked} = await open('hash', {HLEN: 1, HSCAN: [utf8('0'), ['f', 'v'].map(utf8)]});
  assert.deepStrictEqual(asked.filter(line => line.startsWith('HGET')), []);
});

const entry = id => [utf8(id), ['f', 'v'].map(utf8)];

test('in a stream one goes to an id or a time, both ways, and a wrong one is told at its field', async () => {
  const {asked, failures} = await open('stream', {XLEN: 5, XREVRANGE: [entry('5-0')], XRANGE: [entry('1-0')]});
  const go = async text => {
    byId('stream-from').value = text;
    byId('stream-jump').happens('submit');
    await settled();
    return asked.at(-1);
  };
  assert.strictEqual(asked.at(-1), 'XREVRANGE k + - COUNT 100');
  assert.strictEqual(await go('1700000000000-3'), 'XREVRANGE k 1700000000000-3 - COUNT 100');
  assert.strictEqual(await go('2023-11-14 22:13:20'), 'XREVRANGE k 1700000000999-18446744073709551615 - COUNT 100');
  byId('rows-order').value = 'oldest';
  assert.strictEqual(await go('2023-11-14 22:13:20'), 'XRANGE k 1700000000000-0 + COUNT 100');
  assert.strictEqual(await go(''), 'XRANGE k - + COUNT 100');
  await go('yesterday');
  await until(() => failures.length, 'the complaint');
  assert.deepStrictEqual([failures[0].name, failures[0].field], ['FieldError', byId('stream-from')]);
});
