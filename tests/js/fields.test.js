/* The fields of a target, on a document that is not real. */
'use strict';

const assert = require('node:assert');
const {before, beforeEach, test} = require('node:test');
const {document} = require('./fake_document.js');
const {settled} = require('./fake_gateway.js');

const STORE = 'targets';

let page, storage, form, fields;
before(async () => {
  globalThis.document = document;
  globalThis.location = {protocol: 'http:', host: 'gateway.test', pathname: '/index.html'};
  Object.defineProperty(globalThis, 'localStorage', {get: () => storage, configurable: true});
  page = await import('../../ws2s-js/page.mjs');
});

function begin(...targets) {
  const items = {[STORE]: JSON.stringify(targets)};
  storage = {getItem: key => items[key], setItem(key, value) { items[key] = value; }};
  form = document.createElement('form');
  form.append(Object.assign(document.createElement('button'), {type: 'submit'}));
  fields = page.targetFields(form, {store: STORE});
}

const byId = id => form.all.find(node => node.id === `target-${id}`);
const complaints = () => form.all.filter(node => node.className === 'complaint');

function fill(values) {
  for (const [id, value] of Object.entries(values)) {
    byId(id).value = value;
    byId(id).happens('input');
  }
}

function wrong(values) {
  fill(values);
  try {
    fields.read();
  } catch (error) {
    assert.ok(error instanceof page.FieldError, error);
    return error;
  }
  throw new assert.AssertionError({message: 'nothing was wrong'});
}

function choose(index) {
  byId('recent').value = String(index);
  byId('recent').happens('change');
}

beforeEach(() => begin());

// -- what is wrong ----------------------------------------------------------------------------------------------------

const WRONG = [
  ['host', {}, 'Which host?'],
  ['host', {host: 'a b'}, 'A host is a name or an address, without spaces or slashes.'],
  ['port', {host: 'a', port: '0'}, 'A port is a number from 1 to 65535.'],
  ['ssh-host', {host: 'a', port: '1', 'ssh-username': 'u'},
    'Which SSH host? To go without SSH, clear its other fields.'],
  ['ssh-port', {host: 'a', port: '1', 'ssh-host': 's', 'ssh-port': 'x'}, 'A port is a number from 1 to 65535.'],
  ['gateway', {host: 'a', port: '1', gateway: 'http://x'}, 'The URL of the gateway begins with ws:// or wss://.'],
];

for (const [id, values, words] of WRONG) {
  test(`${id} ${JSON.stringify(values)}: what is wrong stands right below the field, and describes it`, () => {
    const error = wrong(values), field = byId(id);
    assert.deepStrictEqual([error.message, error.field], [words, field]);
    const [complaint, ...others] = complaints();
    assert.deepStrictEqual([complaint.textContent, others], [words, []]);
    assert.strictEqual(complaint.previousElementSibling, field);
    assert.strictEqual(field.getAttribute('aria-describedby'), complaint.id);
    assert.strictEqual(field.getAttribute('aria-invalid'), 'true');
  });
}

const marks = id => [byId(id).getAttribute('aria-invalid'), byId(id).getAttribute('aria-describedby')];

test('what is wrong is withdrawn when the field changes', () => {
  wrong({});
  fill({host: 'a'});
  assert.deepStrictEqual([marks('host'), complaints()], [[null, null], []]);
});

test('what is wrong stays when another field changes', () => {
  wrong({});
  fill({port: '1'});
  assert.strictEqual(complaints().length, 1);
});

test('only one thing is wrong at a time', () => {
  wrong({});
  wrong({host: 'a'});
  assert.deepStrictEqual([marks('host'), complaints().length], [[null, null], 1]);
});

test('a field that was wrong because of others is right when they have changed', () => {
  wrong({host: 'a', port: '1', 'ssh-username': 'u'});
  fill({'ssh-username': ''});
  assert.strictEqual(fields.read().ssh, undefined);
  assert.deepStrictEqual([marks('ssh-host'), complaints()], [[null, null], []]);
});

test('a page can tell what is wrong with a field of its own rules', () => {
  const error = fields.wrong('host', 'Not this one.');
  assert.deepStrictEqual([error.field, complaints()[0].textContent], [byId('host'), 'Not this one.']);
});

test('what is wrong is withdrawn when another target is chosen', () => {
  begin({host: 'a', port: '1'});
  wrong({host: ''});
  choose(0);
  assert.deepStrictEqual([marks('host'), complaints()], [[null, null], []]);
});

// -- sections ---------------------------------------------------------------------------------------------------------

const sections = () => [byId('ssh-section').open, byId('gateway-section').open];

test('a recent target is the one that is named, though another page has changed the memory', () => {
  begin({host: 'one', port: '1'}, {host: 'two', port: '2'});
  new page.TargetMemory(STORE).add({host: 'three', port: '3'});
  choose(1);
  assert.strictEqual(byId('host').value, 'two');
  byId('forget').happens('click');
  assert.deepStrictEqual(new page.TargetMemory(STORE).targets.map(({host}) => host), ['three', 'one']);
});

test('the sections can be closed together', () => {
  byId('ssh-section').open = byId('gateway-section').open = true;
  fields.fold();
  assert.deepStrictEqual(sections(), [false, false]);
});

test('what is wrong in a closed section opens it', () => {
  wrong({host: 'a', port: '1', 'ssh-host': 's', 'ssh-port': 'x'});
  assert.deepStrictEqual(sections(), [true, false]);
});

test('a closed section tells that it is in use', () => {
  const summary = id => byId(id).children[0].textContent;
  assert.deepStrictEqual(['ssh-section', 'gateway-section'].map(summary), ['Through an SSH server', 'Gateway']);
  fill({'ssh-host': ' bastion\u202e ', gateway: 'ws://other.test/?key=secret'});
  assert.strictEqual(summary('ssh-section'), 'Through an SSH server: bastion\\u{202e}');
  assert.strictEqual(summary('gateway-section'), 'Gateway: other.test');
});

test('a closed section tells what a recent target has put into it', () => {
  begin({host: 'a', port: '1', sshHost: 'bastion'}, {host: 'b', port: '2'});
  assert.strictEqual(byId('ssh-section').children[0].textContent, 'Through an SSH server: bastion');
  choose(1);
  assert.strictEqual(byId('ssh-section').children[0].textContent, 'Through an SSH server');
});

// -- the file of a key ------------------------------------------------------------------------------------------------

/* A file whose text is there when one says so. */
function keyFile(size = 3) {
  const file = {size};
  file.text = () => new Promise((resolve, reject) => Object.assign(file, {resolve, reject}));
  byId('ssh-key-file').files = [file];
  byId('ssh-key-file').happens('change');
  return file;
}

const told = () => byId('ssh-key-file-status').textContent;

test('a key is read from a file', async () => {
  keyFile().resolve('KEY');
  await settled();
  assert.deepStrictEqual([byId('ssh-private-key').value, told()], ['KEY', 'The key was read: 3 bytes.']);
});

test('a file that is far too large is not read', () => {
  const file = keyFile(65537);
  assert.strictEqual(file.resolve, undefined);
  assert.match(told(), /far too much for a key/);
});

test('a file that cannot be read is told', async () => {
  keyFile().reject(new Error('no permission'));
  await settled();
  assert.match(told(), /^No permission/);
});

test('a key that comes after another target was chosen is not for that one', async () => {
  begin({host: 'a', port: '1', sshHost: 's'}, {host: 'b', port: '2', sshHost: 'other'});
  const file = keyFile();
  choose(1);
  file.resolve('KEY');
  await settled();
  assert.deepStrictEqual([byId('ssh-private-key').value, told()], ['', '']);
});

test('of two files the last one counts', async () => {
  const first = keyFile(), second = keyFile();
  second.resolve('SECOND');
  first.resolve('FIRST');
  await settled();
  assert.strictEqual(byId('ssh-private-key').value, 'SECOND');
});

test('that a key was read is not told of another target', async () => {
  begin({host: 'a', port: '1', sshHost: 's'});
  keyFile().resolve('KEY');
  await settled();
  choose(0);
  assert.deepStrictEqual([byId('ssh-private-key').value, told()], ['', '']);
});
