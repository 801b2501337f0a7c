/* Many keys at once, as the page asks for them and tells of them, without a browser. */
'use strict';

const assert = require('node:assert');
const {before, beforeEach, test} = require('node:test');
const {RedisError} = require('../../ws2s-js/ws2s.js');
const {settled, until} = require('./fake_gateway.js');
const {beginPage} = require('./fake_page.js');

let many, body, files;

/* A file that was saved stays for a minute, which no test waits for. */
function forgetLongTimers() {
  const begin = globalThis.setTimeout;
  globalThis.setTimeout = (action, milliseconds, ...more) => {
    const timer = begin(action, milliseconds, ...more);
    return milliseconds >= 60000 ? timer.unref() : timer;
  };
}

before(async () => {
  forgetLongTimers();
  body = beginPage();
  many = await import('../../ws2s-js/redis-many.mjs');
  URL.createObjectURL = blob => { files.push(blob); return 'blob:x'; };
});
beforeEach(() => {
  body.replaceChildren();
  files = [];
});

const utf8 = text => new Uint8Array(Buffer.from(text));
const range = (length, name = i => `k:${i}`) => Array.from({length}, (_, i) => name(i));
const byId = id => document.getElementById(id);

/* One database, as a client of its own sees it. */
class Store {
  constructor(names) {
    this.keys = new Map(names.map(name => [name, -1]));
    this.asked = [];
    this.isClosed = false;
    this.faults = [];
  }

  async bytes(name, ...rest) {
    this.asked.push(name);
    for (const fault of this.faults) await fault(name, rest);
    if (this.isClosed) throw new RedisError('ERR closed');
    const keys = rest.map(word => (word instanceof Uint8Array ? Buffer.from(word).toString() : word));
    return this[name](...keys);
  }

  SCAN(cursor, ...[, match, , number]) {
    const all = [...this.keys.keys()], end = Number(cursor) + number;
    const prefix = match.replace('*', '');
    const found = all.slice(Number(cursor), end).filter(name => name.startsWith(prefix));
    return [utf8(String(end < all.length ? end : 0)), found.map(utf8)];
  }

  UNLINK(...keys) {
    return keys.filter(key => this.keys.delete(key)).length;
  }

  EXPIRE(key, seconds) {
    return this.keys.has(key) && this.keys.set(key, seconds) ? 1 : 0;
  }

  MEMORY(usage, key) {
    return this.keys.has(key) ? 50 : null;
  }

  TIME() {
    return [utf8('1800000000'), utf8('0')];
  }

  DUMP(key) {
    return this.keys.has(key) ? utf8(`dump of ${key}`) : null;
  }

  PEXPIRETIME(key) {
    return this.keys.get(key);
  }

  RESTORE(key, time) {
    if (this.keys.has(key)) throw new RedisError('BUSYKEY no');
    this.keys.set(key, Number(time) || -1);
    return 'OK';
  }

  async close() {
    this.isClosed = true;
  }
}

function begin(names, {marked = [], wanted = {match: '*', type: ''}, refused = null} = {}) {
  const store = new Store(names), said = [], clients = [], unmarked = [];
  const session = {
    db: 2, knowsScanType: true, refusal: () => refused,
    another() {
      clients.push(store);
      store.isClosed = false;
      return store;
    },
  };
  const page = {
    session, target: 'redis.test:6379', changes: 0, status: {say: text => said.push(text)},
    onManyChanged() { this.changes++; },
  };
  const node = document.createElement('section');
  body.append(node);
  const keys = new many.ManyKeys(node, page, {marked, wanted, unmark: gone => unmarked.push(...gone)});
  return {store, said, page, clients, keys, unmarked};
}

/* What is chosen in the first dialog, and then whether one is sure. */
async function choose(action, {scope = 'wanted', seconds} = {}) {
  byId('keys-many').click();
  await until(() => byId('dialog-many'), 'the question');
  byId('many-scope').value = scope;
  byId('many-action').value = action;
  byId('many-action').happens('change');
  if (seconds !== undefined) byId('ttl-time').value = seconds;
  byId('dialog-many').querySelector('form').happens('submit');
}

async function agree(id = 'dialog-many-sure') {
  await until(() => byId(id), 'the second question');
  const text = byId(id).textContent;
  byId(id).querySelector('form').happens('submit');
  return text;
}

const idle = () => until(() => byId('many').hidden, 'the end of the work');

test('all keys that match are counted, asked about, and deleted, and no others', async () => {
  const names = [...range(3000), ...range(500, i => `other:${i}`)];
  const {store, said, page} = begin(names, {wanted: {match: 'k:*', type: ''}});
  await choose('delete');
  const text = await agree();
  assert.match(text, /3,000 keys: delete them\?/);
  assert.match(text, /database 2 of redis\.test:6379/);
  assert.match(text, /and 2,995 more/);
  await idle();
  assert.deepStrictEqual([...store.keys.keys()], range(500, i => `other:${i}`));
  assert.deepStrictEqual([said.at(-1), page.changes, store.isClosed], ['3,000 deleted.', 1, true]);
});

test('whoever is not sure changes nothing', async () => {
  const {store, page} = begin(range(10));
  await choose('delete');
  await until(() => byId('dialog-many-sure'), 'the second question');
  byId('dialog-many-sure-cancel').click();
  await idle();
  assert.deepStrictEqual([store.keys.size, page.changes, store.asked.includes('UNLINK')], [10, 0, false]);
});

test('only the keys that are marked get a time to live, which must be one', async () => {
  const {store, said} = begin(range(10), {marked: ['k:1', 'k:7']});
  await choose('expire', {scope: 'marked', seconds: 'soon'});
  await until(() => byId('ttl-time').getAttribute('aria-invalid') === 'true', 'the complaint');
  byId('ttl-time').value = '90';
  byId('dialog-many').querySelector('form').happens('submit');
  assert.match(await agree(), /2 keys: give them a time to live \(1 minute 30 seconds, until .* UTC\)\?/);
  await idle();
  assert.deepStrictEqual([...store.keys].filter(([, left]) => left > 0), [['k:1', 90], ['k:7', 90]]);
  assert.ok(!store.asked.includes('SCAN'));
  assert.strictEqual(said.at(-1), '2 with a new time to live.');
});

test('Stop half-way leaves the rest, and tells how many are gone', async () => {
  const {store, said} = begin(range(5000));
  store.faults.push(name => { if (name === 'UNLINK' && store.keys.size <= 3000) byId('many-stop').click(); });
  await choose('delete');
  await agree();
  await idle();
  assert.match(said.at(-1), /^Stopped: 2,\d00 deleted\.$/);
  assert.ok(store.keys.size >= 2800 && store.keys.size <= 3000);
});

test('marks of exactly those keys go that are gone, also where the deletion was stopped', async () => {
  const {store, unmarked} = begin(range(5000), {marked: range(5000)});
  store.faults.push(name => { if (name === 'UNLINK' && store.keys.size <= 3000) byId('many-stop').click(); });
  await choose('delete', {scope: 'marked'});
  await agree();
  await idle();
  assert.ok(unmarked.length >= 2000);
  assert.deepStrictEqual(range(5000).filter(name => !store.keys.has(name)), unmarked);
});

test('marks of the keys of another database stay', async () => {
  const {page, unmarked} = begin(range(10), {marked: range(10)});
  await choose('delete', {scope: 'marked'});
  page.onManyChanged = () => { page.session.db = 3; };
  await agree();
  await idle();
  assert.deepStrictEqual(unmarked, []);
});

test('Stop while keys are counted changes nothing, and asks nothing', async () => {
  const {store, said} = begin(range(5000));
  store.faults.push(name => { if (name === 'SCAN') byId('many-stop').click(); });
  await choose('delete');
  await until(() => said.at(-1) === 'Stopped while counting. Nothing was changed.', 'the end of the counting');
  assert.deepStrictEqual([store.keys.size, byId('dialog-many-sure')], [5000, null]);
});

test('a read-only connection counts and exports, and refuses the rest before anything is sent', async () => {
  const {store, said, clients} = begin(range(3), {refused: 'This connection is read-only.'});
  for (const action of ['delete', 'persist']) {
    await choose(action);
    await until(() => said.at(-1) === 'This connection is read-only.', 'the refusal');
    said.length = 0;
  }
  byId('keys-import').click();
  await until(() => said.at(-1) === 'This connection is read-only.', 'the refusal');
  assert.deepStrictEqual([clients, store.asked], [[], []]);
  await choose('export');
  await until(() => files.length, 'the file');
});

test('a dialog that has outlived its database does nothing in another one', async () => {
  const {page, said, clients} = begin(range(3), {marked: ['k:1']});
  byId('keys-many').click();
  await until(() => byId('dialog-many'), 'the question');
  page.session.db = 3;
  byId('many-action').value = 'delete';
  byId('dialog-many').querySelector('form').happens('submit');
  await until(() => /another database meanwhile\. Nothing was done/.test(said.at(-1)), 'the refusal');
  assert.deepStrictEqual(clients, []);
});

test('what is exported is imported again, after a look at the whole file', async () => {
  const {store} = begin(range(50));
  store.keys.set('k:3', 1900000000000);
  await choose('export');
  await until(() => files.length, 'the file');
  await idle();
  const saved = [...store.keys].sort();
  store.keys.clear();
  const said = await importFile(files[0]);
  assert.deepStrictEqual([...store.keys].sort(), saved);
  assert.strictEqual(said, 50);
});

/* Gives how many keys the page has asked about. */
async function importFile(blob) {
  byId('keys-import').click();
  await until(() => byId('dialog-import'), 'the question for a file');
  byId('import-file').files = [blob];
  byId('dialog-import').querySelector('form').happens('submit');
  const text = await agree('dialog-import-sure');
  await idle();
  return Number(/Import (\d+) keys/.exec(text)[1]);
}

test('a file that is none, or is damaged, is told, and nothing of it is made', async () => {
  const {store, said} = begin(range(5));
  await choose('export');
  await until(() => files.length, 'the file');
  await idle();
  store.keys.clear();
  const bytes = new Uint8Array(await files[0].arrayBuffer());
  bytes[bytes.length - 20] ^= 1;
  for (const [blob, message] of [[new Blob([bytes]), /damaged/], [new Blob(['hello']), /no file of keys/]]) {
    byId('keys-import').click();
    await until(() => byId('dialog-import'), 'the question for a file');
    byId('import-file').files = [blob];
    byId('dialog-import').querySelector('form').happens('submit');
    await until(() => message.test(said.at(-1)), 'the complaint');
    await idle();
  }
  assert.deepStrictEqual([store.keys.size, store.asked.includes('RESTORE')], [0, false]);
});

test('no file is no import', async () => {
  const {said, clients} = begin([]);
  byId('keys-import').click();
  await until(() => byId('dialog-import'), 'the question for a file');
  byId('import-file').files = [];
  byId('dialog-import').querySelector('form').happens('submit');
  await until(() => byId('dialog-import').textContent.includes('Choose a file'), 'the complaint');
  byId('dialog-import-cancel').click();
  await settled();
  assert.deepStrictEqual([said, clients], [[], []]);
});

test('one piece of work at a time, and none after the session', async () => {
  const {store, said, page, keys} = begin(range(10));
  let go;
  store.faults.push(name => name === 'SCAN' && new Promise(resolve => { go = resolve; }));
  await choose('delete');
  await until(() => go, 'the scan');
  assert.ok(keys.isBusy);
  byId('keys-import').click();
  assert.match(said.at(-1), /not done yet/);
  page.session = null;
  keys.end();
  go();
  await idle();
  assert.deepStrictEqual([keys.isBusy, said.length, store.isClosed, store.keys.size], [false, 1, true, 10]);
  byId('keys-many').click();
  assert.strictEqual(byId('dialog-many'), null);
});

test('what has become of keys is told in words', () => {
  assert.strictEqual(many.tallyText({done: 3, gone: 1, failed: 0}, 'deleted'), '3 deleted, 1 gone already');
  assert.strictEqual(many.tallyText({failed: 2}, 'exported'), '0 exported, 2 failed');
});
