/* The tree of names on the Redis page: against a plain model of it, with strange names, with many, and by keys. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');

let trees;
before(async () => { trees = await import('../../ws2s-js/redis-tree.mjs'); });

function treeOf(names, separator = ':', open = []) {
  const tree = new trees.KeyTree(separator);
  tree.update([...names].sort());
  for (const prefix of open) tree.open(prefix);
  return tree;
}

const drawn = tree => tree.range(0, tree.length).map(row => (
  `${'  '.repeat(row.level - 1)}${row.isFolder ? (row.isOpen ? '-' : '+') : ' '}${row.label}${
    row.isFolder ? ` (${row.size})` : ''}`));

/* The same rows, made one by one. */
function modelOf(names, separator, open, prefix = '', level = 1) {
  const within = names.filter(name => name.startsWith(prefix)).sort();
  const children = [...new Set(within.map(name => {
    const at = separator === '' ? -1 : name.indexOf(separator, prefix.length);
    return at < 0 ? `k${name}` : `f${name.slice(0, at + separator.length)}`;
  }))];
  return children.flatMap((child, i) => {
    const name = child.slice(1), isFolder = child[0] === 'f', isOpen = isFolder && open.has(name);
    const row = {
      name, isFolder, isOpen, label: name.slice(prefix.length), level, parent: prefix, position: i + 1,
      size: isFolder ? within.filter(each => each.startsWith(name)).length : 1, siblings: children.length,
    };
    return isOpen ? [row, ...modelOf(names, separator, open, name, level + 1)] : [row];
  });
}

function random(seed) {
  let state = seed;
  return limit => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return Math.floor(state / 65536) % limit;
  };
}

test('folders open where they stand, and count what is in them', () => {
  const names = ['user:1:name', 'user:1:mail', 'user:2', 'user', 'zebra', 'a:b'];
  assert.deepStrictEqual(drawn(treeOf(names)), ['+a: (1)', ' user', '+user: (3)', ' zebra']);
  assert.deepStrictEqual(drawn(treeOf(names, ':', ['user:1:', 'user:'])),
    ['+a: (1)', ' user', '-user: (3)', '  -1: (2)', '     mail', '     name', '   2', ' zebra']);
});

test('names with separators at their beginning, at their end, and alone', () => {
  const names = [':', '::', ':a', 'a:', 'a', '', 'b::c'];
  assert.deepStrictEqual(drawn(treeOf(names)), [' ', '+: (3)', ' a', '+a: (1)', '+b: (1)']);
  assert.deepStrictEqual(drawn(treeOf(names, ':', [':', '::', 'a:', 'b:', 'b::'])), [' ', '-: (3)', '   ', '  -: (1)',
    '     ', '   a', ' a', '-a: (1)', '   ', '-b: (1)', '  -: (1)', '     c']);
});

test('without a separator, and with one of several bytes', () => {
  assert.deepStrictEqual(drawn(treeOf(['a:b', 'a'], '')), [' a', ' a:b']);
  assert.deepStrictEqual(drawn(treeOf(['a->b->c', 'a-b', 'a->>'], '->', ['a->'])),
    ['-a-> (2)', '   >', '  +b-> (1)', ' a-b']);
  assert.deepStrictEqual(drawn(treeOf(['a\xc3\xa9b', 'a\xc3b'], '\xc3\xa9')), [' a\xc3b', '+a\xc3\xa9 (1)']);
});

test('names as __proto__ and constructor are names', () => {
  const names = ['__proto__', '__proto__:x', 'constructor:y', 'toString'];
  assert.deepStrictEqual(drawn(treeOf(names, ':', ['__proto__:'])),
    [' __proto__', '-__proto__: (1)', '   x', '+constructor: (1)', ' toString']);
});

for (const separator of [':', '', '::', 'ab', '\xff']) {
  test(`random names are the rows of a plain model, separator ${JSON.stringify(separator)}`, () => {
    const next = random(7 + separator.length);
    const letters = ['a', 'b', ':', ':', '\0', '\xff', separator || 'x'];
    for (let round = 0; round < 150; round++) {
      const names = [...new Set(Array.from({length: next(40)}, () => (
        Array.from({length: next(7)}, () => letters[next(letters.length)]).join(''))))];
      const tree = treeOf(names, separator), open = new Set();
      for (let i = 0; i < 8; i++) {
        const folders = tree.range(0, tree.length).filter(row => row.isFolder);
        if (!folders.length) break;
        const {name, isOpen} = folders[next(folders.length)];
        if (isOpen) tree.close(name);
        else tree.open(name);
        if (isOpen) open.delete(name);
        else open.add(name);
        const model = modelOf(names, separator, open);
        assert.deepStrictEqual(tree.range(0, tree.length), model);
        model.forEach((row, at) => assert.strictEqual(tree.indexOf(row), at));
        assert.deepStrictEqual(tree.range(2, 5), model.slice(2, 5));
      }
      for (const name of names) tree.reveal(name);
      for (const name of names) assert.strictEqual(rowOf(tree, name).name, name);
    }
  });
}

function rowOf(tree, name) {
  const at = tree.indexOf({name, isFolder: false});
  return tree.range(at, at + 1)[0];
}

test('what is open stays open when names come and go, also by and by', () => {
  const tree = treeOf(['a:x', 'b:y'], ':', ['b:']);
  tree.update(['a:x', 'a:z', 'b', 'b:y', 'b:z']);
  assert.deepStrictEqual(drawn(tree), ['+a: (2)', ' b', '-b: (2)', '   y', '   z']);
  tree.update(['a:x', 'c']);
  assert.deepStrictEqual(drawn(tree), ['+a: (1)', ' c']);
  tree.update(['b:y']);
  assert.deepStrictEqual(drawn(tree), ['-b: (1)', '   y']);
});

test('what is not to be seen, or not there, has no row', () => {
  const tree = treeOf(['a:b:c', 'd']);
  for (const name of ['a:b:c', 'nothing', '', 'a', 'e']) assert.strictEqual(tree.indexOf({name, isFolder: false}), -1);
  for (const name of ['a:b:', 'd', 'd:', 'z:', '']) assert.strictEqual(tree.indexOf({name, isFolder: true}), -1);
  assert.deepStrictEqual([treeOf([]).length, treeOf([]).range(0, 9), treeOf([]).indexOf({name: 'a'})], [0, [], -1]);
});

test('the names within a folder are those that a model finds', () => {
  const names = ['a', 'a:', 'a:b', 'a:b:c', 'ab:c', 'a;'];
  assert.deepStrictEqual(treeOf(names).namesWithin('a:'), ['a:', 'a:b', 'a:b:c']);
  assert.deepStrictEqual(treeOf(names).namesWithin('x:'), []);
});

test('a name of separators only does not go deeper than anybody looks', () => {
  const deep = ':'.repeat(200000);
  const tree = treeOf([deep, 'a']);
  tree.reveal(deep);
  const rows = tree.range(0, tree.length);
  assert.strictEqual(rows.length, 66);
  assert.strictEqual(rows[64].name, deep);
  assert.strictEqual(tree.indexOf({name: deep, isFolder: false}), 64);
});

// -- many -------------------------------------------------------------------------------------------------------------

const MANY = 100000;
const KINDS = {
  'in few folders': i => `app:${i % 10}:user:${i % 1000}:${i}`,
  'in a folder each': i => `u${i}:name`,
  'without folders': i => `key${i}`,
  'deep': i => `a:b:c:d:e:f:g:h:${i}`,
};

for (const [what, name] of Object.entries(KINDS)) {
  test(`${MANY} names ${what}: opened, and drawn at any place, with few looks at each`, () => {
    const sorted = Array.from({length: MANY}, (_, i) => name(i)).sort();
    const tree = new trees.KeyTree(':');
    const started = process.cpuUsage();
    tree.update(sorted);
    tree.reveal(sorted[MANY / 2]);
    for (let i = 0; i < 100; i++) tree.range(Math.floor(tree.length * i / 100), Math.floor(tree.length * i / 100) + 40);
    const {user} = process.cpuUsage(started);
    assert.ok(tree.indexOf({name: sorted[MANY / 2], isFolder: false}) >= 0);
    assert.ok(user < 1e6, `${user} microseconds of work`);  // of a processor, however busy the machine is
  });
}

// -- keyboard ---------------------------------------------------------------------------------------------------------

/* Presses keys one after the other; gives the row where one is then. */
function press(tree, keys, row = null) {
  let active = row;
  for (const key of keys) {
    const move = trees.moveIn(tree, active, key, 3);
    if (move === null) continue;
    if ('open' in move) tree.open(move.open);
    if ('close' in move) tree.close(move.close);
    if ('to' in move) [active] = tree.range(move.to, move.to + 1);
  }
  return active && active.name;
}

const WALK = ['a', 'b:1', 'b:2:x', 'b:2:y', 'c', 'd', 'e', 'f'];
const WALKS = [
  ['ArrowDown', 'a'], ['ArrowUp', 'a'], ['End', 'f'], ['Home', 'a'], ['ArrowRight', null], ['ArrowLeft', null],
  ['Home ArrowUp', 'a'], ['End ArrowDown', 'f'], ['Home ArrowRight', 'a'], ['Home ArrowLeft', 'a'],
  ['Home ArrowDown', 'b:'], ['Home ArrowDown ArrowRight', 'b:'], ['Home ArrowDown ArrowRight ArrowRight', 'b:1'],
  ['Home ArrowDown ArrowRight ArrowDown ArrowDown ArrowRight ArrowRight', 'b:2:x'],
  ['Home ArrowDown ArrowRight ArrowDown ArrowDown ArrowRight ArrowRight ArrowLeft', 'b:2:'],
  ['Home ArrowDown ArrowRight ArrowDown ArrowDown ArrowRight ArrowLeft ArrowLeft', 'b:'],
  ['Home PageDown', 'd'], ['End PageUp', 'c'], ['Home PageUp', 'a'], ['End PageDown', 'f'],
  ['Home F1', 'a'], ['Home Enter', 'a'], ['Home constructor', 'a'], ['ArrowDown ArrowDown ArrowLeft', 'b:'],
];

for (const [keys, name] of WALKS) {
  test(`${keys} leads to ${name}`, () => assert.strictEqual(press(treeOf(WALK), keys.split(' ')), name));
}

test('the right arrow opens, and the left one closes what it opened', () => {
  const tree = treeOf(WALK);
  press(tree, ['Home', 'ArrowDown', 'ArrowRight']);
  assert.strictEqual(tree.length, 8);
  press(tree, ['ArrowLeft'], {name: 'b:', isFolder: true});
  assert.strictEqual(tree.length, 6);
});

test('no key does anything in an empty tree, or from a row that is gone', () => {
  for (const key of ['ArrowDown', 'Home', 'ArrowRight']) assert.strictEqual(trees.moveIn(treeOf([]), null, key), null);
  assert.strictEqual(trees.moveIn(treeOf(['a']), {name: 'z', isFolder: false}, 'ArrowRight'), null);
  assert.deepStrictEqual(trees.moveIn(treeOf(['a']), {name: 'z', isFolder: false}, 'ArrowDown'), {to: 0});
});

test('letters lead to a row of the same folder; one that is repeated, to the next', () => {
  const tree = treeOf(['ab', 'ac:1', 'b', 'x:ab', 'x:ac', 'x:b'], ':', ['x:']);
  const at = name => tree.range(0, tree.length).find(row => row.name === name);
  const found = (name, typed, isNext) => tree.startingWith(at(name), typed, isNext)?.name;
  assert.deepStrictEqual(
    [found('b', 'a', true), found('ab', 'a', true), found('ac:', 'a', true), found('ab', 'ab', false)],
    ['ab', 'ac:', 'ab', 'ab']);
  assert.deepStrictEqual([found('x:b', 'a', true), found('x:ab', 'ac', false), found('b', 'z', true)],
    ['x:ab', 'x:ac', undefined]);
});

test('letters that come soon after one another are a word', () => {
  const typed = new trees.TypedAhead();
  const add = (...characters) => characters.map(([each, now]) => typed.add(each, now)).pop();
  assert.deepStrictEqual(add(['a', 0]), {text: 'a', isNext: true});
  assert.deepStrictEqual(add(['a', 100]), {text: 'a', isNext: true});
  assert.deepStrictEqual(add(['b', 200]), {text: 'aab', isNext: false});
  assert.deepStrictEqual(add(['b', 2000]), {text: 'b', isNext: true});
});
