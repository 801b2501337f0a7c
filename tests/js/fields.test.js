/* The fields of a target, on a document that is not real. */
'use strict';

const assert = require('node:assert');
const {before, beforeEach, test} = require('node:test');
const {document} = require('./fake_document.js');
const {FakeGateway, settled} = require('./fake_gateway.js');
const {WS2SError} = require('../../ws2s-js/ws2s.js');

const STORE = 'targets';

let page, targets, items, storage, form, fields;
before(async () => {
  globalThis.document = document;
  globalThis.location = {protocol: 'http:', host: 'gateway.test', pathname: '/index.html'};
  Object.defineProperty(globalThis, 'localStorage', {get: () => storage, configurable: true});
  page = await import('../../ws2s-js/page.mjs');
  targets = await import('../../ws2s-js/targets.mjs');
});

function begin(...remembered) {
  beginWith({}, ...remembered);
}

function beginWith(options, ...remembered) {
  items = {[STORE]: JSON.stringify(remembered)};
  storage = {getItem: key => items[key], setItem(key, value) { items[key] = value; }};
  form = document.createElement('form');
  form.append(Object.assign(document.createElement('button'), {type: 'submit'}));
  fields = targets.targetFields(form, {store: STORE, ...options});
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

const WITHOUT_TLS = 'With TLS? To go without, clear the other fields of TLS.';
const PRIVATE_KEY = '-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----';
const WRONG = [
  ['host', {}, 'Which host?'],
  ['host', {host: 'a b'}, 'A host is a name or an address, without spaces or slashes.'],
  ['port', {host: 'a', port: '0'}, 'A port is a number from 1 to 65535.'],
  ['ssh-host', {host: 'a', port: '1', 'ssh-username': 'u'},
    'Which SSH host? To go without SSH, clear its other fields.'],
  ['ssh-port', {host: 'a', port: '1', 'ssh-host': 's', 'ssh-port': 'x'}, 'A port is a number from 1 to 65535.'],
  ['gateway', {host: 'a', port: '1', gateway: 'http://x'}, 'The URL of the gateway begins with ws:// or wss://.'],
  ['tls', {host: 'a', port: '1', 'tls-servername': 'n'}, WITHOUT_TLS],
  ['tls', {host: 'a', port: '1', 'tls-ca': 'CA'}, WITHOUT_TLS],
  ['tls', {host: 'a', port: '1', 'tls-cert': 'CERT'}, WITHOUT_TLS],
  ['tls', {host: 'a', port: '1', 'tls-key': 'KEY'}, WITHOUT_TLS],
  ['tls-servername', {host: 'a', port: '1', tls: 'verified', 'tls-servername': 'a b'},
    'A host is a name or an address, without spaces or slashes.'],
  ['tls-ca', {host: 'a', port: '1', tls: 'verified', 'tls-ca': PRIVATE_KEY},
    'A private key stands here. It has a field of its own.'],
  ['tls-key', {host: 'a', port: '1', tls: 'verified', 'tls-cert': 'CERT'}, 'The key of the certificate is missing.'],
  ['tls-cert', {host: 'a', port: '1', tls: 'verified', 'tls-key': 'KEY'}, 'The certificate of the key is missing.'],
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

const sections = () => ['tls', 'ssh', 'gateway'].map(name => byId(`${name}-section`).open);

test('a recent target is the one that is named, though another page has changed the memory', () => {
  begin({host: 'one', port: '1'}, {host: 'two', port: '2'});
  new targets.TargetMemory(STORE).add({host: 'three', port: '3'});
  choose(1);
  assert.strictEqual(byId('host').value, 'two');
  byId('forget').happens('click');
  assert.deepStrictEqual(new targets.TargetMemory(STORE).targets.map(({host}) => host), ['three', 'one']);
});

test('the sections can be closed together', () => {
  byId('tls-section').open = byId('ssh-section').open = byId('gateway-section').open = true;
  fields.fold();
  assert.deepStrictEqual(sections(), [false, false, false]);
});

test('what is wrong in a closed section opens it', () => {
  wrong({host: 'a', port: '1', 'ssh-host': 's', 'ssh-port': 'x'});
  assert.deepStrictEqual(sections(), [false, true, false]);
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
  assert.match(told(), /^This file cannot be read\.$/);
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

for (const [id, what] of [['tls-ca', 'certificate'], ['tls-cert', 'certificate'], ['tls-key', 'key']]) {
  test(`${id} is read from a file`, async () => {
    byId(`${id}-file`).files = [{size: 3, text: async () => 'PEM'}];
    byId(`${id}-file`).happens('change');
    await settled();
    assert.deepStrictEqual([byId(id).value, byId(`${id}-file-status`).textContent],
      ['PEM', `The ${what} was read: 3 bytes.`]);
  });
}

// -- TLS --------------------------------------------------------------------------------------------------------------

const TARGET = {host: 'a', port: '1'};
const summary = id => byId(id).children[0].textContent;

function readTls(values) {
  fill({...TARGET, ...values});
  return JSON.parse(JSON.stringify({tls: fields.read().tls})).tls;
}

const TLS_READ = [
  [{}, undefined],
  [{tls: 'verified'}, {}],
  [{tls: 'unverified'}, {verify: false}],
  [{tls: 'verified', 'tls-servername': ' n.test ', 'tls-ca': ' CA\n', 'tls-cert': 'CERT\n', 'tls-key': 'KEY\n'},
    {servername: 'n.test', ca: 'CA', cert: 'CERT', key: 'KEY'}],
  [{tls: 'verified', 'tls-cert': `CERT\n${PRIVATE_KEY}`}, {cert: `CERT\n${PRIVATE_KEY}`}],
];

for (const [values, wanted] of TLS_READ) {
  test(`the fields of TLS ${JSON.stringify(values)} are the option ${JSON.stringify(wanted)}`, () => {
    assert.deepStrictEqual(readTls(values), wanted);
  });
}

test('what is said of TLS at the fields is what ws2s.js takes', async () => {
  const WS2S = require('../../ws2s-js/ws2s.js');
  const gateway = new FakeGateway();
  fill({...TARGET, tls: 'unverified', 'tls-ca': 'CA', token: ' abc '});
  const {url, ...options} = fields.read();
  const connection = await WS2S.connect(url, {...options, WebSocket: gateway.WebSocket});
  assert.deepStrictEqual(gateway.last.requests[1].tls, {verify: false, ca: 'CA'});
  assert.deepStrictEqual(gateway.sockets[0].protocols, ['ws2s.bearer.YWJj']);
  await connection.close();
});

test('neither certificate nor key of the client is remembered, nor that nothing is verified', () => {
  readTls({tls: 'unverified', 'tls-servername': 'n', 'tls-ca': 'CA', 'tls-cert': 'CERT', 'tls-key': 'KEY'});
  fields.remember();
  assert.deepStrictEqual(JSON.parse(items[STORE]), [
    {host: 'a', port: '1', tls: 'verified', tlsServername: 'n', tlsCa: 'CA'},
  ]);
});

const tlsOptions = () => byId('tls').children.map(option => option.value);

test('TLS can begin later where that is wanted, and only there', () => {
  assert.deepStrictEqual(tlsOptions(), ['', 'verified', 'unverified']);
  beginWith({startsTlsLater: true});
  assert.deepStrictEqual(tlsOptions(), ['', 'verified', 'unverified', 'later', 'later-unverified']);
});

for (const [tls, verify] of [['later', undefined], ['later-unverified', false]]) {
  test(`TLS that begins ${tls} is none of the connection, and is remembered as verified`, () => {
    beginWith({startsTlsLater: true});
    fill({...TARGET, tls, 'tls-ca': 'CA'});
    const read = fields.read();
    assert.deepStrictEqual([read.tls, read.startTls.verify, read.startTls.ca], [undefined, verify, 'CA']);
    fields.remember();
    assert.deepStrictEqual(JSON.parse(items[STORE]), [{host: 'a', port: '1', tls: 'later', tlsCa: 'CA'}]);
    assert.match(byId('recent').textContent, /a:1 with TLS later$/);
  });
}

for (const tls of ['verified', 'unverified', 'something new']) {
  test(`a remembered target with TLS (${tls}) is with TLS again, and verified`, () => {
    begin({...TARGET, tls, tlsCa: 'CA'});
    assert.deepStrictEqual(readTls({}), {ca: 'CA'});
    assert.deepStrictEqual([summary('tls-section'), byId('tls-section').open], ['TLS to the target: yes', true]);
    assert.match(byId('recent').textContent, /a:1 with TLS/);
  });
}

test('a target without TLS that is chosen after one with it is without', () => {
  begin({...TARGET, tls: 'verified', tlsCa: 'CA'}, {host: 'b', port: '2'});
  fill({'tls-cert': 'CERT', 'tls-key': 'KEY'});
  choose(1);
  assert.strictEqual(fields.read().tls, undefined);
  assert.deepStrictEqual(['tls-ca', 'tls-cert', 'tls-key'].map(id => byId(id).value), ['', '', '']);
});

test('the title of TLS tells when nothing is verified', () => {
  assert.strictEqual(summary('tls-section'), 'TLS to the target');
  fill({tls: 'unverified'});
  assert.strictEqual(summary('tls-section'), 'TLS to the target: without verification');
});

// -- the token --------------------------------------------------------------------------------------------------------

test('the token is a password, and is neither remembered nor a part of the URL', () => {
  assert.strictEqual(byId('token').type, 'password');
  fill({...TARGET, token: 'Corr3ct'});
  const {url, token} = fields.read();
  fields.remember();
  assert.deepStrictEqual([url, token], ['ws://gateway.test/', 'Corr3ct']);
  assert.ok(!JSON.stringify(items).includes('Corr3ct'));
});

test('without a token there is none', () => {
  fill({...TARGET, token: ' '});
  assert.strictEqual(fields.read().token, undefined);
});

test('the token stays for targets by the same gateway, and is not for another one', () => {
  begin(TARGET, {host: 'b', port: '2'}, {host: 'c', port: '3', gateway: 'ws://other.test/'});
  fill({token: 'Corr3ct'});
  choose(1);
  assert.strictEqual(byId('token').value, 'Corr3ct');
  choose(2);
  assert.strictEqual(byId('token').value, '');
  fill({token: 'other'});
  choose(0);
  assert.strictEqual(byId('token').value, '');
});

// -- who is not let in ------------------------------------------------------------------------------------------------

const WANTS = 'The gateway is there, but it has refused this page: perhaps it wants an access token.';
const TAKES_NOT = 'The gateway is there, but it has refused this page: perhaps it does not take this access token.';
const OK = async () => new Response('ok\n');
const REFUSALS = [
  ['the gateway is there', {}, OK, WANTS],
  ['the gateway is there, and a token was given', {token: 'abc'}, OK, TAKES_NOT],
  ['another program is there', {}, async () => new Response('<html>'), null],
  ['it says that it stops', {}, async () => new Response('stopping', {status: 503}), null],
  ['nobody is there', {}, async () => { throw new TypeError('Failed to fetch'); }, null],
  ['it is another gateway', {gateway: 'ws://other.test/'}, OK, null],
  ['it is one by TLS', {gateway: 'wss://gateway.test/'}, OK, null],
];

for (const [name, values, answer, words] of REFUSALS) {
  test(`a WebSocket is refused, and ${name}: ${words ? 'the token is asked for' : 'it is unreachable'}`, async t => {
    const asked = [];
    t.mock.method(globalThis, 'fetch', url => { asked.push(url); return answer(); });
    const {admitted} = await import('../../ws2s-js/admission.mjs');
    fill({...TARGET, ...values});
    const refused = new WS2SError(1, 'gateway-unreachable', 'not there');
    const error = await admitted(() => Promise.reject(refused), fields.read(), fields).catch(reason => reason);
    assert.deepStrictEqual(asked, values.gateway ? [] : ['healthz']);
    if (!words) {
      assert.strictEqual(error, refused);
      return;
    }
    assert.deepStrictEqual([error.message, error.field], [words, byId('token')]);
    assert.strictEqual(byId('gateway-section').open, true);
  });
}

test('of other failures, and of success, the gateway is not asked', async t => {
  t.mock.method(globalThis, 'fetch', () => assert.fail('asked'));
  const {admitted} = await import('../../ws2s-js/admission.mjs');
  fill(TARGET);
  const target = fields.read();
  assert.strictEqual(await admitted(async () => 7, target, fields), 7);
  for (const error of [new WS2SError(2, 'refused', 'x'), new DOMException('x', 'AbortError'), null]) {
    assert.strictEqual(await admitted(() => Promise.reject(error), target, fields).catch(reason => reason), error);
  }
});
