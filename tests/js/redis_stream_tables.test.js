/* The tables of a stream beside its entries; what is told to Redis, and what must be as it was seen. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const {document} = require('./fake_document.js');

let tables, values;
before(async () => {
  globalThis.document = document;
  tables = await import('../../ws2s-js/redis-stream-tables.mjs');
  values = await import('../../ws2s-js/redis-values.mjs');
});

const utf8 = text => new Uint8Array(Buffer.from(text));
const list = record => Object.entries(record).flatMap(([name, value]) => [utf8(name), value]);
const KEY = utf8('k'), GROUP = utf8('g'), ANNA = utf8('anna');
const words = command => command.map(word => (word instanceof Uint8Array ? Buffer.from(word).toString() : word));

/* An editor of a server that answers like this, by the first two words. */
function editorOf(answers) {
  const asked = [], opened = [], removals = [], changes = [];
  return {
    asked, opened, removals, changes, pageRows: 2, place: {key: KEY, run: task => task()},
    ask: async (...command) => {
      asked.push(words(command));
      const answer = answers[`${command[0]} ${command[1]}`] ?? answers[command[0]];
      return typeof answer === 'function' ? answer(words(command)) : answer;
    },
    open: table => opened.push(table),
    removal: (about, settings) => removals.push({about, ...settings}),
    change: async guard => { changes.push(guard); return [1]; },
    showEntry: entry => opened.push(entry),
  };
}

const GROUPS = ['g', 'h', 'i'].map((name, i) => list({
  'name': utf8(name), 'consumers': i, 'pending': 1000 * i, 'last-delivered-id': utf8('1795953600000-1'), 'lag': null}));
const CONSUMERS = [list({name: ANNA, pending: 2, idle: 61000, inactive: -1}),
  list({name: utf8('ben'), pending: 1, idle: 0, inactive: 5000})];
const cellTexts = cells => cells.map(cell => cell.textContent ?? cell);
const action = (table, row, name) => table.actions(row).find(each => each.name === name);

test('groups are told with what they have not read, and by pages', async () => {
  const editor = editorOf({'XINFO GROUPS': GROUPS}), table = new tables.GroupsTable(editor);
  const {rows, note, next} = await table.makeSource().page(0);
  assert.deepStrictEqual([rows.length, note, next], [2, '1–2 of 3', 2]);
  assert.deepStrictEqual(cellTexts(table.cells(rows[1])), [
    'h', '1', '1,000', 'unknown', '1795953600000-12026-11-29 12:00:00 UTC']);
  assert.strictEqual(table.cells(rows[0]).length, table.columns.length);
});

test('a group leads to its consumers and to what is pending, and these to one consumer', async () => {
  const editor = editorOf({'XINFO CONSUMERS': CONSUMERS}), table = new tables.GroupsTable(editor);
  action(table, {name: GROUP, pending: 3}, 'consumers').run();
  action(table, {name: GROUP, pending: 3}, 'pending').run();
  const [consumers, pending] = editor.opened;
  assert.deepStrictEqual([consumers.title, pending.title], ['Consumers of g', 'Pending of g']);
  const {rows} = await consumers.makeSource().page(0);
  assert.deepStrictEqual(cellTexts(consumers.cells(rows[0])), ['anna', '2', '1 minute 1 second ago', 'never']);
  assert.strictEqual(consumers.cells(rows[0]).length, consumers.columns.length);
  action(consumers, rows[0], 'pending').run();
  assert.strictEqual(editor.opened[2].title, 'Pending of g, anna');
});

test('a table goes on with the editor that reads the key anew', async () => {
  const before = editorOf({});
  const editor = editorOf({'XINFO CONSUMERS': CONSUMERS, 'XINFO GROUPS': GROUPS, 'XPENDING': []});
  const made = [new tables.GroupsTable(before), new tables.ConsumersTable(before, GROUP),
    new tables.PendingTable(before, GROUP, ANNA)];
  for (const table of made) {
    const again = table.of(editor);
    await again.makeSource().page(0);
    assert.deepStrictEqual([again.title, again.columns, before.asked], [table.title, table.columns, []]);
  }
  assert.deepStrictEqual(editor.asked.map(([name, second]) => `${name} ${second}`).sort(), [
    'XINFO CONSUMERS', 'XINFO CONSUMERS', 'XINFO CONSUMERS', 'XINFO GROUPS', 'XINFO GROUPS', 'XPENDING k']);
});

test('a group is removed after a question that tells what is pending', async () => {
  const editor = editorOf({}), table = new tables.GroupsTable(editor);
  action(table, {name: GROUP, pending: 3}, 'remove').run();
  assert.strictEqual(editor.removals[0].about, 'g, with 3 pending entries');
  assert.strictEqual(await editor.removals[0].onSubmit(), 'The group was removed.');
  assert.deepStrictEqual(editor.changes[0].writes.map(words), [['XGROUP', 'DESTROY', 'k', 'g']]);
});

test('a consumer is removed only if as much is pending for it as was seen', async () => {
  const editor = editorOf({}), table = new tables.ConsumersTable(editor, GROUP);
  action(table, {name: ANNA, pending: 2}, 'remove').run();
  await editor.removals[0].onSubmit();
  const [{reads, isSame, writes}] = editor.changes;
  assert.deepStrictEqual(reads.map(words), [['XINFO', 'CONSUMERS', 'k', 'g']]);
  assert.deepStrictEqual(writes.map(words), [['XGROUP', 'DELCONSUMER', 'k', 'g', 'anna']]);
  assert.ok(isSame(CONSUMERS));
  assert.ok(!isSame([list({name: ANNA, pending: 3, idle: 0})]));
  assert.ok(!isSame([CONSUMERS[1]]));
});

function pendingServer(count) {
  const all = Array.from({length: count}, (_, i) => [utf8(`${i + 1}-0`), ANNA, 1000, i + 1]);
  return editorOf({
    'XINFO CONSUMERS': [list({name: ANNA, pending: count, idle: 0})],
    'XPENDING': ([, , , from, , size]) => (
      all.filter(([id]) => from === '-' || parseInt(Buffer.from(id), 10) >= parseInt(from, 10)).slice(0, size)),
    'XRANGE': ([, , id]) => (id === '1-0' ? [[utf8('1-0'), [utf8('f'), utf8('v')]]] : []),
  });
}

test('what is pending is paged by ids, and each page begins behind the one before', async () => {
  const editor = pendingServer(5), source = new tables.PendingTable(editor, GROUP, ANNA).makeSource();
  const first = await source.page(0);
  assert.deepStrictEqual([first.rows.map(({id}) => id), first.note, first.next], [['1-0', '2-0'], '1–2 of 5', 2]);
  await source.page(2);
  const pages = editor.asked.filter(([name]) => name === 'XPENDING');
  assert.deepStrictEqual(pages, [
    ['XPENDING', 'k', 'g', '-', '+', 2, 'anna'], ['XPENDING', 'k', 'g', '2-1', '+', 2, 'anna']]);
});

test('a pending entry is shown, or told to be removed, and acknowledged after a question', async () => {
  const editor = pendingServer(2), table = new tables.PendingTable(editor, GROUP);
  const {rows} = await table.makeSource().page(0);
  assert.deepStrictEqual(cellTexts(table.cells(rows[1])), ['2-0', 'anna', '1 second ago', '2']);
  await action(table, rows[0], 'show').run();
  assert.deepStrictEqual(editor.opened[0][1].map(each => `${Buffer.from(each)}`), ['f', 'v']);
  await assert.rejects(async () => action(table, rows[1], 'show').run(), {
    message: 'This entry was removed from the stream; it still is pending.'});
  action(table, rows[0], 'acknowledge').run();
  assert.strictEqual(await editor.removals[0].onSubmit(), 'The entry was acknowledged.');
  assert.deepStrictEqual(editor.changes[0].writes.map(words), [['XACK', 'k', 'g', '1-0']]);
});

// -- within the editor of a stream ------------------------------------------------------------------------------------

const ENTRY = [utf8('1-0'), [utf8('f'), utf8('v')]];

async function opened(answers) {
  const fails = [];
  const session = {ask: editorOf({XLEN: 1, XREVRANGE: [ENTRY], XRANGE: [ENTRY], ...answers}).ask};
  const run = task => { place.last = task().catch(error => fails.push(error.message)); };
  const place = {key: KEY, memory: null, session, say() {}, run};
  const make = () => values.editorOf('stream', place);
  const editor = make();
  document.activeElement = null;
  document.getElementById = id => find(editor, id);
  await editor.load();
  return {editor, make, fails};
}

const find = (editor, id) => editor.node.all.find(node => node.id === id);
const headings = editor => editor.node.all.filter(node => node.localName === 'th').map(node => node.textContent);
const ENTRIES = ['Id', 'Fields', 'Actions'], OF_GROUPS = ['Group', 'Consumers', 'Pending'];

async function click(editor, id) {
  find(editor, id).happens('click');
  await editor.place.last;
}

test('a stream shows its entries, then its groups, and its entries again', async () => {
  const {editor, fails} = await opened({'XINFO GROUPS': GROUPS});
  assert.deepStrictEqual([headings(editor), find(editor, 'stream-trail').hidden], [ENTRIES, true]);
  await click(editor, 'stream-groups');
  assert.deepStrictEqual(headings(editor).slice(0, 3), OF_GROUPS);
  assert.strictEqual(find(editor, 'stream-table').textContent, 'Groups');
  assert.strictEqual(document.activeElement, find(editor, 'stream-entries'));
  await click(editor, 'stream-entries');
  assert.deepStrictEqual([headings(editor), find(editor, 'stream-table').textContent, fails], [ENTRIES, '', []]);
});

test('a stream that is read anew shows the same table again', async () => {
  const {editor, make} = await opened({'XINFO GROUPS': GROUPS});
  await click(editor, 'stream-groups');
  const again = make();
  again.resume(editor);
  await again.load();
  assert.deepStrictEqual([headings(again).slice(0, 3), find(again, 'stream-trail').hidden], [OF_GROUPS, false]);
});

test('groups that may not be asked for leave the entries where they are', async () => {
  const {editor, fails} = await opened({'XINFO GROUPS': () => { throw new Error('NOPERM'); }});
  await click(editor, 'stream-groups');
  assert.deepStrictEqual([fails, headings(editor), find(editor, 'stream-trail').hidden], [['NOPERM'], ENTRIES, true]);
});
