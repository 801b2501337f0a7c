/* Other looks at a value: the tree, many lines, help with JSON, the viewer. On a document that is not real. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const zlib = require('node:zlib');
const {document} = require('./fake_document.js');
const {until} = require('./fake_gateway.js');

let json, tree, virtual, aid, viewer, fields, msgpack;
before(async () => {
  globalThis.document = document;
  globalThis.ResizeObserver = class { observe() {} };
  [json, tree, virtual, aid, viewer, fields, msgpack] = await Promise.all(
    ['json', 'value-tree', 'virtual-rows', 'json-aid', 'viewer', 'fields', 'msgpack'].map(name => (
      import(`../../ws2s-js/redis-${name}.mjs`))));
});

function run(steps) {
  for (;;) {
    const {done, value} = steps.next();
    if (done) return value;
  }
}

const utf8 = text => new Uint8Array(Buffer.from(text));
const read = text => run(json.readJson(text));
const TEXT = '{"a": [1, {"b": "x"}], "c": 1795953600, "d": {}}';

// -- the rows of a tree -----------------------------------------------------------------------------------------------

const lines = rows => rows.rows.map(row => `${' '.repeat(row.level - 1)}${rows.name(row)} ${rows.value(row)}`);

test('a tree begins closed; what is opened shows its members, and closing it hides all of them', () => {
  const rows = new tree.TreeRows(read(TEXT));
  assert.deepStrictEqual(lines(rows), [' object of 3 members']);
  assert.strictEqual(rows.open(0), 3);
  assert.strictEqual(rows.open(1), 2);
  assert.strictEqual(rows.open(3), 1);
  assert.deepStrictEqual(lines(rows), [
    ' object of 3 members', ' "a" list of 2 items', '  0 1', '  1 object of 1 member', '   "b" "x"', ' "c" 1795953600',
    ' "d" object of 0 members']);
  assert.deepStrictEqual([rows.open(2), rows.open(6), rows.open(1)], [0, 0, 0]);
  assert.deepStrictEqual([rows.parentOf(4), rows.parentOf(3), rows.parentOf(1), rows.parentOf(0)], [3, 1, 0, -1]);
  assert.strictEqual(rows.path(rows.rows[4]), '$["a"][1]["b"]');
  assert.strictEqual(rows.close(1), 3);
  assert.strictEqual(rows.close(0), 3);
  assert.deepStrictEqual(lines(rows), [' object of 3 members']);
});

test('what has the focus is told with its path, and with what it may mean', () => {
  const rows = new tree.TreeRows(read(TEXT));
  rows.open(0);
  assert.match(rows.detail(rows.rows[2]),
    /^\$\["c"\]: 1795953600; as Unix time in seconds: 2026-11-29 12:00:00 UTC, .*; as a number: 1,795,953,600;/);
  assert.strictEqual(rows.detail(rows.rows[1]), '$["a"]: list of 2 items');
});

test('of many members a hundred are shown, and the others when they are wanted', () => {
  const rows = new tree.TreeRows(read(JSON.stringify(Array.from({length: 250}, (_, i) => i))));
  assert.strictEqual(rows.open(0), 101);
  assert.strictEqual(rows.value(rows.rows[101]), '150 more');
  assert.strictEqual(rows.open(101), 101);
  assert.strictEqual(rows.value(rows.rows[201]), '50 more');
  assert.strictEqual(rows.open(201), 50);
  assert.deepStrictEqual([rows.rows.length, rows.value(rows.rows[250]), rows.rows[250].place], [251, '249', 250]);
});

test('a tree takes no more rows than some, however often somebody asks', () => {
  const rows = new tree.TreeRows(read(`[${'0,'.repeat(50000)}0]`));
  rows.open(0);
  while (!rows.isFull) assert.ok(rows.open(rows.rows.length - 1));
  assert.strictEqual(rows.open(rows.rows.length - 1), 0);
  assert.ok(rows.rows.length <= 20000);
});

test('MessagePack is a tree, too', () => {
  const rows = new tree.TreeRows(run(msgpack.readMsgpack(Uint8Array.of(0x82, 1, 0x91, 0xc0, 0xa1, 0x61, 2))));
  rows.open(0);
  rows.open(1);
  assert.deepStrictEqual(lines(rows), [' map of 2 members', ' 1 list of 1 item', '  0 null', ' "a" 2']);
});

// -- the tree on the page ---------------------------------------------------------------------------------------------

function treeOf(text) {
  const view = new tree.TreeView({id: 't', label: 'JSON', document: read(text)});
  const [node, detail] = view.node.children;
  return {node, detail, texts: () => node.children.map(row => row.textContent), press: key => (
    document.activeElement.bubbles('keydown', {key}))};
}

test('a tree on the page has the roles and states of a tree', () => {
  const {node, texts} = treeOf(TEXT);
  const [root, a, c, d] = node.children;
  const of = (row, ...names) => names.map(name => row.getAttribute(`aria-${name}`));
  assert.strictEqual(node.getAttribute('role'), 'tree');
  assert.deepStrictEqual(texts(), [
    'object of 3 members', '"a": list of 2 items', '"c": 1795953600', '"d": object of 0 members']);
  assert.deepStrictEqual(of(root, 'level', 'expanded', 'setsize', 'posinset'), ['1', 'true', '1', '1']);
  assert.deepStrictEqual(of(a, 'level', 'expanded', 'setsize', 'posinset'), ['2', 'false', '3', '1']);
  assert.deepStrictEqual([of(c, 'expanded'), of(d, 'expanded')], [[null], [null]]);
  assert.deepStrictEqual(node.children.map(row => row.tabIndex), [0, -1, -1, -1]);
});

test('a tree is walked with the arrow keys, opened and closed', () => {
  const {node, texts, press} = treeOf(TEXT);
  const at = () => node.children.indexOf(document.activeElement);
  const walk = keys => keys.map(key => { press(key); return at(); });
  node.children[0].focus();
  assert.deepStrictEqual(walk(['ArrowDown', 'ArrowRight', 'ArrowRight', 'ArrowDown', 'Enter', 'ArrowDown']),
    [1, 1, 2, 3, 3, 4]);
  assert.strictEqual(texts()[4], '"b": "x"');
  assert.deepStrictEqual(walk(['ArrowLeft', 'ArrowLeft', 'ArrowLeft', 'ArrowLeft', 'End', 'ArrowDown', 'Home',
    'ArrowUp']), [3, 3, 1, 1, 3, 3, 0, 0]);
  assert.deepStrictEqual(node.children.map(row => row.tabIndex), [0, -1, -1, -1]);
});

test('a click opens, another one closes; the click on what stands for more puts that in its place', () => {
  const {node, detail} = treeOf(`[${'0,'.repeat(149)}7]`);
  assert.strictEqual(node.children.length, 102);
  node.children[101].children[0].bubbles('click');
  assert.strictEqual(node.children.length, 151);
  assert.strictEqual(document.activeElement, node.children[101]);
  assert.strictEqual(detail.textContent, '$[100]: 0');
  node.children[0].bubbles('click');
  assert.deepStrictEqual([node.children.length, node.children[0].getAttribute('aria-expanded')], [1, 'false']);
  node.children[0].bubbles('click');
  assert.strictEqual(node.children.length, 102);
});

test('names and values are text, whatever they contain, and nothing unseen', () => {
  const {texts} = treeOf('{"<b>\\u202e": "<img src=x onerror=alert(1)>\\u0000"}');
  assert.strictEqual(texts()[1], '"<b>\\u{202e}": "<img src=x onerror=alert(1)>\\x00"');
});

// -- many lines -------------------------------------------------------------------------------------------------------

test('a long text has its lines, of each the beginning, and no more than some', () => {
  const found = run(virtual.Lines.of(`a\n\n${'x'.repeat(5000)}\nb\u202e`));
  assert.deepStrictEqual([found.length, found.isCut], [4, false]);
  assert.deepStrictEqual([0, 1, 3].map(i => found.row(i)), ['a', '', 'b\\u{202e}']);
  assert.strictEqual(found.row(2), `${'x'.repeat(2000)}…`);
  const cut = run(virtual.Lines.of('\n'.repeat(50), 10));
  assert.deepStrictEqual([cut.length, cut.isCut], [10, true]);
});

test('of many rows those to be seen are in the document', async () => {
  const loaded = [];
  const rows = new virtual.VirtualRows({
    id: 'v', label: 'Rows', length: 100000, row: i => (loaded.length ? `row ${i}` : null),
    load: async (first, end) => { loaded.push([first, end]); return true; }, onError: assert.fail,
  });
  rows.node.clientHeight = 100;
  rows.show(5000);
  const texts = () => rows.node.children[0].children.map(row => row.textContent);
  await until(() => texts()[0] === 'row 4990');
  assert.deepStrictEqual([texts().length, loaded], [25, [[4990, 5015]]]);
  assert.strictEqual(rows.node.children[0].style.height, '2000000px');
});

test('rows that cannot be got are told', async () => {
  const errors = [], error = new Error('lost');
  const rows = new virtual.VirtualRows({
    id: 'v', label: 'Rows', length: 10, row: () => null, load: () => Promise.reject(error),
    onError: each => errors.push(each),
  });
  rows.node.clientHeight = 100;
  rows.node.scrollTop = 0;
  rows.draw();
  await until(() => errors.length);
  assert.deepStrictEqual(errors, [error]);
});

// -- help with JSON ---------------------------------------------------------------------------------------------------

const byId = (node, id) => node.all.find(each => each.id === id);

function fieldOf(text) {
  const field = new fields.BytesField({id: 'f', label: 'Value', rows: 12, bytes: utf8(text)});
  const find = id => byId(field.node, id);
  return {field, find, text: find('f'), type(words) { find('f').value = words; find('f').happens('input'); }};
}

test('what was only looked at is given back byte for byte, whatever it is', () => {
  for (const text of ['{"a" : 1.0,\n "a":12345678901234567890}', '{"a":1}', '[1,\r\n2]', 'x', '', '{bad', ' [ ] ']) {
    const {field} = fieldOf(text);
    assert.ok(!field.isChanged);
    assert.deepStrictEqual(field.read(), utf8(text));
  }
});

test('JSON is told to be JSON, what is typed is told where it is wrong, and is saved as typed', async () => {
  const {field, find, type} = fieldOf('{"a": 12345678901234567890}');
  assert.deepStrictEqual([find('f-json').textContent, field.lossOfJson], ['This is JSON.', null]);
  type('{"a": 1,\n}');
  await until(() => find('f-json').textContent !== 'This is JSON.');
  assert.match(find('f-json').textContent, /^Not JSON\. Line 2, column 1: “}” stands where a name/);
  assert.strictEqual(field.lossOfJson.line, 2);
  find('f').setSelectionRange = (...range) => { find('f').selected = range; };
  find('f-error').happens('click');
  assert.deepStrictEqual(find('f').selected, [9, 10]);
  assert.deepStrictEqual(field.read(), utf8('{"a": 1,\n}'));
  type('{"a" : 1}');
  assert.strictEqual(field.lossOfJson, null);
  assert.deepStrictEqual(field.read(), utf8('{"a" : 1}'));
});

test('a layout is typed, numbers stay as they are written, and it can be taken back', () => {
  const before = '{"a": 12345678901234567890, "b": 1.00}';
  const {field, find, text} = fieldOf(before);
  find('f-layout').happens('click');
  assert.strictEqual(text.value, '{\n  "a": 12345678901234567890,\n  "b": 1.00\n}');
  assert.ok(field.isChanged);
  find('f-compact').happens('click');
  assert.strictEqual(text.value, '{"a":12345678901234567890,"b":1.00}');
  assert.deepStrictEqual(field.read(), utf8('{"a":12345678901234567890,"b":1.00}'));
  find('f-undo').happens('click');
  assert.deepStrictEqual([text.value, field.isChanged, find('f-undo').hidden], [before, false, true]);
});

test('a text that is no JSON gets no help, and nothing to lose', () => {
  for (const text of ['hello', '[info] started', '{name}', '12', '']) {
    const {field, find} = fieldOf(text);
    assert.deepStrictEqual([find('f-json').parentElement.hidden, field.lossOfJson], [true, null], text);
  }
});

test('a field for a name has no help with JSON', () => {
  const field = new fields.BytesField({id: 'f', label: 'Name', bytes: utf8('{}')});
  assert.deepStrictEqual([byId(field.node, 'f-json'), field.lossOfJson], [undefined, null]);
});

// -- the viewer -------------------------------------------------------------------------------------------------------

function viewed(bytes, {source = {length: bytes.length, read: async (first, end) => bytes.subarray(first, end)}} = {}) {
  const view = new viewer.ValueViewer({id: 'v'});
  view.set(source, bytes);
  const find = id => byId(view.node, id);
  const status = () => find('v-status').textContent;
  return {find, view, status, guess: () => find('v-guess').textContent, async choose(look) {
    find('v-look').value = look;
    find('v-look').happens('change');
    await until(() => status() !== 'Reading…');
  }};
}

test('a value is guessed at, and stays closed till somebody wants to look', () => {
  const {guess, find} = viewed(utf8('{"a": 1}'));
  assert.strictEqual(guess(), 'It seems to be JSON.');
  assert.strictEqual(find('v-look').value, '');
  assert.match(viewed(utf8('1048576')).guess(), /^As a number: 1,048,576\. As a size: 1\.0 MB, 1\.0 MiB\.$/);
  assert.strictEqual(viewed(utf8('hello')).guess(), '');
});

test('JSON is looked at as a tree and laid out, or told where it is wrong', async () => {
  const {find, choose} = viewed(utf8('{"a": [1]}'));
  await choose('tree');
  assert.deepStrictEqual(find('v-tree').children.map(row => row.textContent), [
    'object of 1 member', '"a": list of 1 item']);
  await choose('layout');
  find('v-layout').clientHeight = 200;
  find('v-layout').scrollTop = 0;
  find('v-layout').happens('scroll');
  assert.deepStrictEqual(find('v-layout').children[0].children.map(row => row.textContent), [
    '{', '  "a": [', '    1', '  ]', '}']);
  const wrong = viewed(utf8('{"a": }'));
  await wrong.choose('tree');
  assert.strictEqual(wrong.status(), 'Line 1, column 7: “}” stands where a value must be.');
  const binary = viewed(Uint8Array.of(0xff));
  await binary.choose('tree');
  assert.strictEqual(binary.status(), 'These bytes are no UTF-8, so they are no text and no JSON.');
});

test('what is packed is unpacked, and looked at as what it is then', async () => {
  const {find, choose, guess, status} = viewed(new Uint8Array(zlib.gzipSync('{"a": 1}')));
  assert.strictEqual(guess(), 'It seems to be packed with gzip.');
  await choose('gzip');
  assert.strictEqual(status(), '8 bytes are unpacked.');
  await until(() => find('v-gzip-inner-tree'));
  assert.deepStrictEqual(find('v-gzip-inner-tree').children.map(row => row.textContent), [
    'object of 1 member', '"a": 1']);
  await choose('zlib');
  assert.strictEqual(status(), 'This is not packed with zlib.');
});

test('what is packed and broken, or too much, says so', async () => {
  const whole = new Uint8Array(zlib.gzipSync(Buffer.alloc(20000000)));
  const large = viewed(whole);
  await large.choose('gzip');
  assert.strictEqual(large.status(), 'Cut: more is packed in it. The first 16,777,216 bytes are unpacked.');
  const broken = viewed(new Uint8Array(zlib.gzipSync('x'.repeat(9))).subarray(0, -4));
  await broken.choose('gzip');
  assert.strictEqual(broken.status(),
    'Broken: its end is missing or damaged, or something follows it. The first 9 bytes are unpacked.');
});

test('MessagePack, or where it is wrong', async () => {
  const good = viewed(Uint8Array.of(0x91, 1)), bad = viewed(Uint8Array.of(0x92, 1));
  await good.choose('msgpack');
  assert.deepStrictEqual(good.find('v-msgpack').children.map(row => row.textContent), ['list of 1 item', '0: 1']);
  await bad.choose('msgpack');
  assert.strictEqual(bad.status(), 'Byte 2 (hexadecimal 2): the data end where a value must begin.');
});

test('of a huge value a dump is seen, and nothing else is read', async () => {
  const reads = [], source = {length: 536870912, read: async (first, end) => {
    reads.push(end - first);
    return new Uint8Array(end - first);
  }};
  const {find, choose, status} = viewed(new Uint8Array(100), {source});
  await choose('tree');
  assert.match(status(), /A value of 537 MB is too long for that: only a hex dump shows it\./);
  assert.deepStrictEqual(reads, []);
  await choose('hex');
  assert.match(status(), /4,194,304 bytes can be scrolled at once/);
  find('v-hex-offset').value = '0x1fffffff';
  find('v-hex-go').happens('click');
  const dump = find('v-hex');
  dump.clientHeight = 100;
  dump.happens('scroll');
  await until(() => dump.children[0].textContent.includes('1ffffff0  00'));
  assert.ok(reads.every(length => length <= 65536) && reads.length < 5);
  find('v-hex-offset').value = '999999999999';
  find('v-hex-go').happens('click');
  assert.match(status(), /An offset is a number below 536870912/);
});

test('a failure to read is told, and another choice is not disturbed by what comes too late', async () => {
  let fail;
  const read = () => new Promise((resolve, reject) => { fail = () => reject(new Error('It was lost')); });
  const source = {length: 3, read};
  const {choose, status, find} = viewed(utf8('[1]'), {source});
  find('v-look').value = 'tree';
  find('v-look').happens('change');
  await until(() => fail);
  find('v-look').value = '';
  find('v-look').happens('change');
  fail();
  await new Promise(resolve => setImmediate(resolve));
  assert.strictEqual(status(), '');
  fail = null;
  const again = choose('tree');
  await until(() => fail);
  fail();
  await again;
  assert.match(status(), /It was lost/);
});
