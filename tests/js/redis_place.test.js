/* Where the Redis page is: as its address tells it, and how the two are kept the same. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');

let place, places;
before(async () => {
  [place, places] = await Promise.all(['place', 'places'].map(name => import(`../../ws2s-js/redis-${name}.mjs`)));
});

const ALL = String.fromCharCode(...Array(256).keys());
const of = (connection, db = null, key = null) => ({connection, db, key});
const bytes = text => Buffer.from(text).toString('latin1');

// -- addresses --------------------------------------------------------------------------------------------------------

const ADDRESSES = [
  [of('shop'), '#shop'],
  [of('shop', 2), '#shop/2'],
  [of('shop', 0, 'cart:17'), '#shop/0/cart:17'],
  [of('shop', 0, ''), '#shop/0/'],
  [of('a/b #?%"<', 0, 'a/b #?%"<'), '#a%2Fb%20%23%3F%25%22%3C/0/a%2Fb%20%23%3F%25%22%3C'],
  [of('Sh\u00f6p \ud83d\ude00', 2147483647, bytes('\u00f6')), '#Sh%C3%B6p%20%F0%9F%98%80/2147483647/%C3%B6'],
  [of('..', 1, '\u0000\u00ff'), '#../1/%00%FF'],
  [of('x', 1, '../..'), '#x/1/..%2F..'],
  [of('x', 1, '%41+&='), '#x/1/%2541%2B%26='],
];

for (const [where, address] of ADDRESSES) {
  test(`${JSON.stringify(where)} is ${address}, and is found again`, () => {
    assert.strictEqual(place.addressOf(where), address);
    assert.deepStrictEqual(place.placeOf(address), where);
    assert.strictEqual(new URL(`http://x/redis.html${address}`).hash, address);  // browsers leave it as it is
  });
}

test('every byte of a key comes back, one by one and all together', () => {
  for (const key of [...ALL, ALL, ALL + ALL]) {
    assert.deepStrictEqual(place.placeOf(place.addressOf(of('x', 0, key))), of('x', 0, key));
  }
});

test('a key of very many bytes, a key without a database and a place without a connection are not named', () => {
  assert.strictEqual(place.addressOf(of('x', 0, 'k'.repeat(1000))).length, 1005);
  assert.strictEqual(place.addressOf(of('x', 0, 'k'.repeat(1001))), '#x/0');
  assert.strictEqual(place.addressOf(of('x', null, 'k')), '#x');
  assert.strictEqual(place.addressOf(of(null, 0, 'k')), '');
  assert.strictEqual(place.addressOf(null), '');
});

test('what people and other programs write is understood', () => {
  assert.deepStrictEqual(place.placeOf('shop'), of('shop'));
  assert.deepStrictEqual(place.placeOf('#shop/'), of('shop'));
  assert.deepStrictEqual(place.placeOf('#shop//k'), of('shop', null, 'k'));
  assert.deepStrictEqual(place.placeOf('#Sh\u00f6p/0/a/b/\u00f6'), of('Sh\u00f6p', 0, bytes('a/b/\u00f6')));
  assert.deepStrictEqual(place.placeOf('#shop/007'), of('shop', 7));
  assert.deepStrictEqual(place.placeOf('#%73hop/0/%c3%B6'), of('shop', 0, bytes('\u00f6')));
});

for (const address of ['', '#', '#/', '#/0/k', '#%', '#%zz', '#a%2', '#%ff', '#a/x', '#a/-1', '#a/1.5', '#a/2147483648',
  '#a/99999999999', '#a/0x1', '#a/1e3', '#a/ 1', '#a/0/%', '#a/0/%4', '#a/0/%g0', '#a/\uff11']) {
  test(`${JSON.stringify(address)} names no place`, () => {
    assert.strictEqual(place.placeOf(address), null);
  });
}

test('an address of a million characters is read soon', () => {
  const begin = process.cpuUsage();
  for (const part of ['%', '/', '%41', 'a', '\ud83d\ude00', '#']) place.placeOf(`#a/0/${part.repeat(300000)}`);
  assert.ok(process.cpuUsage(begin).user < 5e6);
});

test('a title names key, connection and page, and nothing that cannot be seen', () => {
  assert.strictEqual(place.titleOf(null), 'ws2s Redis');
  assert.strictEqual(place.titleOf(of('shop', 0)), 'shop – ws2s Redis');
  assert.strictEqual(place.titleOf(of('shop', 2, 'cart:17')), 'cart:17 – shop/2 – ws2s Redis');
  assert.strictEqual(place.titleOf(of(null, 1), '[::1]:6379'), '[::1]:6379/1 – ws2s Redis');
  const title = place.titleOf(of('a\u202eb'.repeat(100), 0, bytes('c\u200bd\u0000').repeat(100)));
  assert.doesNotMatch(title, /[\p{Cc}\p{Default_Ignorable_Code_Point}\u202e]/u);
  assert.ok(title.length < 400);
});

// -- going there ------------------------------------------------------------------------------------------------------

const SHOP = {name: 'shop', db: 2}, TEST = {name: 'test', db: 0};

/* A page and its window with a history; what is done to the page is noted. */
class Stage {
  place = null;
  target = '';
  done = [];
  told = [];
  may = true;        // is what was typed left?
  canConnect = true;
  entries = [''];
  at = 0;
  wantsIdentity = false;

  constructor(hash = '') {
    const stage = this;
    const write = (replaces, address) => {
      if (!replaces) stage.entries.splice(++stage.at);
      stage.entries[stage.at] = address.startsWith('#') ? address : '';
      if (!address.startsWith('#')) assert.strictEqual(address, '/ws2s/redis.html?x');
    };
    this.entries[0] = hash;
    this.window = {
      document: {title: ''}, addEventListener: (name, listener) => { stage.listener = listener; },
      location: {pathname: '/ws2s/redis.html', search: '?x', get hash() { return stage.entries[stage.at]; }},
      history: {pushState: (_, __, to) => write(false, to), replaceState: (_, __, to) => write(true, to)},
    };
    this.places = new places.Places(this, this, this.window);
  }

  find(name) { return [SHOP, TEST].find(each => each.name === name) || null; }
  tell(text) { this.told.push(text); }

  async connectTo(connection, db) {
    this.done.push(`connect ${connection.name} ${db}`);
    if (this.place && !this.may) return;
    this.place = null;
    await null;
    if (this.canConnect) this.logIn(connection.name, db ?? connection.db);
  }

  logIn(connection, db) {
    this.place = of(connection, db);
    if (!this.places.resume()) this.places.note();
  }

  async select(db) {
    this.done.push(`select ${db}`);
    if (!this.may) return;
    this.place = of(this.place.connection, db);
    this.places.note();
  }

  async open(key) {
    this.done.push(`open ${key}`);
    await null;
    if (this.may) this.place = {...this.place, key: key === 'gone' ? null : key};
    this.places.note();
  }

  async closeKey() {
    this.done.push('close');
    if (this.may) this.place = {...this.place, key: null};
  }

  /* What the browser does. */
  async go(steps) {
    this.at += steps;
    await this.listener();
  }

  async type(hash) {
    this.entries.splice(++this.at);
    this.entries[this.at] = hash;
    await this.listener();
  }
}

test('a link in a fresh tab connects, goes to the database and opens the key, and leaves one entry', async () => {
  const stage = new Stage('#shop/3/cart:17');
  await stage.places.follow();
  assert.deepStrictEqual(stage.done, ['connect shop 3', 'open cart:17']);
  assert.deepStrictEqual(stage.entries, ['#shop/3/cart:17']);
  assert.strictEqual(stage.window.document.title, 'cart:17 – shop/3 – ws2s Redis');
});

test('a link that names no database goes to that of the connection', async () => {
  const stage = new Stage('#shop');
  await stage.places.follow();
  assert.deepStrictEqual([stage.done, stage.entries], [['connect shop null'], ['#shop/2']]);
});

test('Back and Forward go through what was shown', async () => {
  const stage = new Stage();
  await stage.places.choose(SHOP);
  await stage.open('a');
  await stage.open('b');
  await stage.select(5);
  assert.deepStrictEqual(stage.entries, ['#shop/2', '#shop/2/a', '#shop/2/b', '#shop/5']);
  stage.done = [];
  await stage.go(-1);
  assert.deepStrictEqual(stage.place, of('shop', 2, 'b'));
  await stage.go(-1);
  await stage.go(-1);
  assert.deepStrictEqual(stage.place, of('shop', 2));
  await stage.go(3);
  assert.deepStrictEqual(stage.place, of('shop', 5));
  assert.deepStrictEqual(stage.done, ['select 2', 'open b', 'open a', 'close', 'select 5']);
  assert.deepStrictEqual(stage.entries, ['#shop/2', '#shop/2/a', '#shop/2/b', '#shop/5']);
});

test('Back goes to another connection', async () => {
  const stage = new Stage();
  await stage.places.choose(SHOP);
  await stage.type('#test/1/k');
  assert.deepStrictEqual(stage.place, of('test', 1, 'k'));
  await stage.go(-1);
  assert.deepStrictEqual(stage.place, of('shop', 2));
  assert.deepStrictEqual(stage.entries, ['#shop/2', '#test/1/k']);
});

for (const hash of ['#test', '#shop/7', '#shop/2/b']) {
  test(`where what is typed is not left for ${hash}, the address is again that of what is shown`, async () => {
    const stage = new Stage('#shop/2/a');
    await stage.places.follow();
    stage.may = false;
    await stage.type(hash);
    assert.deepStrictEqual(stage.place, of('shop', 2, 'a'));
    assert.strictEqual(stage.entries.at(-1), '#shop/2/a');
  });
}

test('a key that is gone is not in the address any more', async () => {
  const stage = new Stage('#shop/2/gone');
  await stage.places.follow();
  assert.deepStrictEqual([stage.done, stage.entries], [['connect shop 2', 'open gone'], ['#shop/2']]);
});

test('where a password is wanted the link waits for the login by hand', async () => {
  const stage = new Stage('#shop/3/k');
  stage.canConnect = false;
  await stage.places.follow();
  assert.deepStrictEqual([stage.place, stage.entries], [null, ['#shop/3/k']]);
  stage.logIn('shop', 2);
  await stage.places.follow();
  assert.deepStrictEqual(stage.place, of('shop', 3, 'k'));
  assert.deepStrictEqual(stage.entries, ['#shop/3/k']);
});

test('a login elsewhere by hand forgets the link', async () => {
  for (const [connection, address] of [['test', '#test/0'], [null, '']]) {
    const stage = new Stage('#shop/3/k');
    stage.canConnect = false;
    await stage.places.follow();
    stage.logIn(connection, 0);
    assert.strictEqual(stage.entries.at(-1), address);
  }
});

test('a disconnected page has no place, and no entry of its own', async () => {
  const stage = new Stage('#shop');
  await stage.places.follow();
  stage.place = null;
  stage.places.note();
  assert.deepStrictEqual([stage.entries, stage.window.document.title], [[''], 'ws2s Redis']);
});

test('a change that is no step takes the place of the entry', async () => {
  const stage = new Stage('#shop/2/a');
  await stage.places.follow();
  stage.place = of('shop', 2, 'renamed');
  stage.places.note(false);
  assert.deepStrictEqual(stage.entries, ['#shop/2/renamed']);
});

test('a link that is broken, or names what is not there, says so and changes nothing', async () => {
  for (const [hash, words, wantsIdentity] of [
    ['#shop/x', /broken/, false], ['#%', /broken/, false], ['#none/0', /names no connection "none"/, false],
    ['#none', /only to those that it knows/, true], ['#a%E2%80%AEb', /"a[^\u202e]*b"/, false]]) {
    const stage = new Stage(hash);
    stage.wantsIdentity = wantsIdentity;
    await stage.places.follow();
    assert.match(stage.told[0], words);
    assert.deepStrictEqual([stage.done, stage.entries, stage.told.length], [[], [hash], 1]);
  }
});

test('of links that come while one is followed the last counts, and each is whole', async () => {
  const stage = new Stage();
  await Promise.all([stage.type('#shop/1/a'), stage.type('#test/0/b'), stage.type('#shop/2/c')]);
  assert.deepStrictEqual(stage.place, of('shop', 2, 'c'));
  assert.deepStrictEqual(stage.done, ['connect shop 2', 'open c']);
});

test('a failure on the way is told to who waits, and the next link is followed all the same', async () => {
  const stage = new Stage('#shop/1/a');
  const {open} = stage;
  stage.open = async () => { throw new Error('a mistake'); };
  await assert.rejects(stage.places.follow(), /a mistake/);
  assert.deepStrictEqual(stage.entries, ['#shop/1']);
  stage.open = open;
  await stage.type('#shop/1/b');
  assert.deepStrictEqual(stage.place, of('shop', 1, 'b'));
});
