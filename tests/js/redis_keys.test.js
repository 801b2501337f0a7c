/* The list of keys as the page draws it: flat and as a tree, by mouse and keyboard, with marks; and an exact name. */
'use strict';

const assert = require('node:assert');
const {before, beforeEach, test} = require('node:test');
const {settled, until} = require('./fake_gateway.js');
const {beginPage} = require('./fake_page.js');

let keys, body;
before(async () => {
  body = beginPage();
  keys = await import('../../ws2s-js/redis-keys.mjs');
});
beforeEach(() => body.replaceChildren());

const utf8 = text => new Uint8Array(Buffer.from(text));

/* A session with these keys: names and types. */
function sessionOf(types, asked = []) {
  return {
    isReady: true, isOver: false, knowsScanType: true, asked,
    async ask(name, ...rest) {
      asked.push(name);
      if (name === 'DBSIZE') return Object.keys(types).length;
      if (name === 'TYPE') return types[Buffer.from(rest[0]).toString()] || 'none';
      return [utf8('0'), Object.keys(types).map(utf8)];
    },
  };
}

async function begin(types) {
  const opened = [], said = [];
  const page = {
    session: sessionOf(types), open: (...what) => opened.push(what), make() {}, onRefresh() {},
    status: {say: text => said.push(text)},
  };
  const panel = document.createElement('section');
  body.append(panel);
  const list = new keys.KeyList(panel, page);
  await list.search();
  return {list, page, opened, said, node: document.getElementById('key-list')};
}

const rows = node => node.firstChild.children;
const shown = node => rows(node).map(row => {
  const [level, open] = ['aria-level', 'aria-expanded'].map(name => row.getAttribute(name));
  const name = row.children.find(each => each.className.includes('key-name')).textContent;
  return `${'  '.repeat(Number(level || 1) - 1)}${open === null ? '' : open === 'true' ? '-' : '+'}${name}`;
});
const rowOf = (node, label) => rows(node).find(row => row.textContent.includes(label));
const chosen = node => rows(node).filter(row => row.className.includes('active')).map(row => row.keyRow.name);
const byId = id => document.getElementById(id);

function view(kind, separator) {
  byId('key-order').value = kind;
  if (separator !== undefined) byId('key-separator').value = separator;
  byId('key-order').happens('change');
}

const TYPES = {'user:1': 'hash', 'user:2': 'string', 'user': 'set', ':x': 'list', 'zoo': 'zset'};

test('keys are a list of options, sorted', async () => {
  const {node, list} = await begin(TYPES);
  assert.deepStrictEqual(shown(node), [':x', 'user', 'user:1', 'user:2', 'zoo']);
  assert.deepStrictEqual([node.getAttribute('role'), rows(node)[0].getAttribute('role')], ['listbox', 'option']);
  assert.deepStrictEqual(rows(node)[4].getAttribute('aria-posinset'), '5');
  assert.ok(['aria-level', 'aria-expanded', 'aria-checked'].every(name => rows(node)[0].getAttribute(name) === null));
  assert.match(byId('key-count').textContent, /^5 keys found, 5 in the database\.$/);
  list.clear();
  assert.deepStrictEqual(shown(node), []);
});

test('as a tree they are in folders, with what screen readers want to know', async () => {
  const {node} = await begin(TYPES);
  view('tree', ':');
  assert.deepStrictEqual(shown(node), ['+:', 'user', '+user:', 'zoo']);
  const folder = rows(node)[2];
  assert.deepStrictEqual(['role', 'aria-level', 'aria-expanded', 'aria-posinset', 'aria-setsize'].map(name => (
    folder.getAttribute(name))), ['treeitem', '1', 'false', '3', '4']);
  assert.strictEqual(node.getAttribute('role'), 'tree');
  folder.click();
  assert.deepStrictEqual(shown(node), ['+:', 'user', '-user:', '  1', '  2', 'zoo']);
  rows(node)[2].click();
  assert.deepStrictEqual(shown(node), ['+:', 'user', '+user:', 'zoo']);
});

test('a tree without a separator has no folders, and another separator others', async () => {
  const {node} = await begin({'a/b': 'set', 'a:c': 'set'});
  view('tree', '');
  assert.deepStrictEqual(shown(node), ['a/b', 'a:c']);
  view('tree', '/');
  assert.deepStrictEqual(shown(node), ['+a/', 'a:c']);
  view('sorted');
  assert.strictEqual(node.getAttribute('role'), 'listbox');
});

test('keys move in a tree, open and close folders, and open keys', async () => {
  const {node, opened} = await begin(TYPES);
  view('tree', ':');
  const press = (...names) => { for (const key of names) node.happens('keydown', {key}); };
  press('ArrowDown', 'ArrowDown', 'ArrowDown', 'ArrowRight', 'ArrowRight');
  assert.deepStrictEqual([shown(node)[3], chosen(node)], ['  1', ['user:1']]);
  press('Enter', ' ');
  assert.deepStrictEqual(opened, [['user:1', true], ['user:1', false]]);
  press('ArrowLeft', 'ArrowLeft');
  assert.deepStrictEqual([shown(node).length, chosen(node)], [4, ['user:']]);
  press('z');
  assert.deepStrictEqual(chosen(node), ['zoo']);
  press('Home', 'Enter');
  assert.deepStrictEqual(shown(node).slice(0, 2), ['-:', '  x']);
  assert.strictEqual(node.getAttribute('aria-activedescendant'), 'key-row-0');
  assert.ok(!node.happens('keydown', {key: 'F5'}) && !node.happens('keydown', {key: 'a', ctrlKey: true}));
});

test('in a flat list arrows to the sides and letters do nothing', async () => {
  const {node} = await begin(TYPES);
  for (const key of ['ArrowLeft', 'ArrowRight', 'z']) assert.ok(!node.happens('keydown', {key}), key);
  node.happens('keydown', {key: 'End'});
  assert.deepStrictEqual(chosen(node), ['zoo']);
});

test('the name that was typed is offered at once, with its type, also where it is no pattern', async () => {
  const {list, page, opened} = await begin({'a[1]': 'hash', 'b': 'set'});
  byId('pattern').value = 'a[1]';
  page.session.ask = async (name, key) => {
    if (name !== 'TYPE') return new Promise(() => {});  // the rest takes its time
    return Buffer.from(key).toString() === 'a[1]' ? 'hash' : 'none';
  };
  list.search();
  await until(() => byId('key-exact'), 'the offer');
  assert.strictEqual(byId('key-exact-row').textContent, ' A hash of exactly this name.Open a[1]');
  byId('key-exact').click();
  assert.deepStrictEqual(opened, [['a[1]', true]]);
});

for (const [what, change] of Object.entries({
  opened: list => list.markOpened('a'), deleted: list => list.remove('a'), renamed: list => list.rename('a', 'c'),
})) {
  test(`a name that was offered is offered no more as soon as its key is ${what}`, async () => {
    const {list} = await begin({a: 'hash', b: 'set'});
    byId('pattern').value = 'a';
    list.search();
    await until(() => !byId('key-exact-row').hidden, 'the offer');
    list.markOpened('b');
    assert.ok(!byId('key-exact-row').hidden, 'another key changes nothing');
    change(list);
    assert.ok(byId('key-exact-row').hidden);
  });
}

test('the key that is open is not offered when the list is read anew', async () => {
  const {list, page} = await begin({a: 'hash', b: 'set'});
  list.markOpened('a');
  byId('pattern').value = 'a';
  await list.search();
  await settled();
  assert.deepStrictEqual([page.session.asked.includes('TYPE'), byId('key-exact-row').hidden], [true, true]);
});

test('marks are of keys and whole folders, are told, and stay while the list is read anew', async () => {
  const {list, node, opened} = await begin(TYPES);
  view('tree', ':');
  byId('keys-mark').click();
  rowOf(node, 'user:').click();
  rowOf(node, 'zoo').click();
  assert.deepStrictEqual([list.marked.sort(), opened], [['user:1', 'user:2', 'zoo'], []]);
  assert.strictEqual(byId('keys-marked').textContent, '3 keys marked');
  assert.strictEqual(rowOf(node, 'zoo').getAttribute('aria-checked'), 'true');
  assert.deepStrictEqual(rows(node).map(row => row.getAttribute('aria-checked')), ['false', 'false', 'true', 'true']);
  assert.ok(rowOf(node, 'user:').textContent.includes('✓ 2'));
  await list.outdate('');
  assert.strictEqual(list.marked.length, 3);
  rowOf(node, 'zoo').click();
  assert.strictEqual(list.marked.length, 2);
  list.remove('user:1');
  assert.deepStrictEqual(list.marked, ['user:2']);
  list.insert('user:3');
  assert.strictEqual(rowOf(node, 'user:').getAttribute('aria-checked'), 'mixed');
  assert.ok(rowOf(node, 'user:').textContent.includes('– 2'));
  list.unmark(['user:1', 'user:2']);
  assert.deepStrictEqual(list.marked, []);
  assert.strictEqual(byId('keys-marked').textContent, 'Click keys, or press the space bar.');
  byId('keys-mark').click();
  assert.deepStrictEqual([list.marked, byId('keys-mark').getAttribute('aria-pressed')], [[], 'false']);
});

test('with the shift key all rows between are marked; the space bar marks one', async () => {
  const {list, node} = await begin(TYPES);
  view('sorted');
  byId('keys-mark').click();
  rowOf(node, ':x').click();
  rowOf(node, 'user:1').happens('click', {shiftKey: true});
  assert.deepStrictEqual(list.marked, [':x', 'user', 'user:1']);
  node.happens('keydown', {key: 'End'});
  node.happens('keydown', {key: ' '});
  assert.strictEqual(list.marked.length, 4);
  list.clear();
  assert.deepStrictEqual(list.marked, []);
});

test('a key that was made, renamed or deleted here is seen so', async () => {
  const {list, node} = await begin(TYPES);
  view('tree', ':');
  list.insert('user:3');
  list.rename('zoo', 'new:key');
  assert.deepStrictEqual([shown(node), chosen(node)], [['+:', '-new:', '  key', 'user', '+user:'], ['new:key']]);
  list.remove('new:key');
  assert.deepStrictEqual([shown(node), chosen(node)], [['+:', 'user', '+user:'], ['user:']]);
  list.markOpened('user');
  assert.strictEqual(rowOf(node, 'user').getAttribute('aria-selected'), 'true');
});

test('of 100,000 keys few rows stand in the document, and a scroll shows others', async () => {
  const {node} = await begin(Object.fromEntries(Array.from({length: 100000}, (_, i) => [`k:${i}`, 'set'])));
  view('sorted');
  assert.ok(rows(node).length < 40);
  node.scrollTop = 28 * 50000;
  node.happens('scroll');
  assert.ok(rows(node).length < 40 && Number(rows(node)[0].dataset.index) > 49000);
  view('tree', ':');
  assert.deepStrictEqual(shown(node), ['+k:']);
  assert.match(rows(node)[0].textContent, /100,000/);
});

test('the types of keys in view are asked for, those of folders are not', async () => {
  const {node, page} = await begin(TYPES);
  view('tree', ':');
  await until(() => rowOf(node, 'zoo').textContent.includes('sorted set'), 'the type of a key');
  assert.strictEqual(rowOf(node, 'user:').lastChild.textContent, '2');
  assert.strictEqual(page.session.asked.filter(name => name === 'TYPE').length, 2);
});
