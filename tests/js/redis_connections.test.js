/* What the gateway offers to the Redis page, and how that is listed. */
'use strict';

const assert = require('node:assert');
const {before, beforeEach, test} = require('node:test');
const {document, FakeElement} = require('./fake_document.js');

let page;
before(async () => { page = await import('../../ws2s-js/redis-connections.mjs'); });

let asked, answer;
beforeEach(() => {
  asked = [];
  answer = () => Response.json({connections: [SHOP, {...SHOP, name: 'test', colour: undefined}], wantsIdentity: false});
  globalThis.location = {protocol: 'http:', host: 'gw.example:3613', pathname: '/ws2s/redis.html'};
  globalThis.document = {...document, body: new FakeElement('body')};
  globalThis.fetch = async (...call) => {
    asked.push(call);
    return answer();
  };
});

const SHOP = {name: 'shop', host: '10.0.0.1', port: 6379, db: 2, tls: true, readOnly: true, colour: 'red'};
const OWN = 'ws://gw.example:3613/ws2s/';
const none = {connections: [], wantsIdentity: false};

async function loaded() {
  const connections = new page.Connections();
  await connections.load();
  return connections;
}

// -- what is answered -------------------------------------------------------------------------------------------------

test('a connection has all that may be left out', () => {
  const {connections: [found]} = page.connectionsIn({connections: [{name: 'a', host: 'h', port: 1}]});
  assert.deepStrictEqual(found, {name: 'a', host: 'h', port: 1, db: 0, tls: false, readOnly: false, colour: null});
});

for (const wrong of [null, 5, 'a', [], {}, {name: ''}, {name: 5}, {host: ''}, {host: null}, {port: 0}, {port: 65536},
  {port: '6379'}, {port: 1.5}, {db: -1}, {db: '0'}, {db: 2 ** 31}, {db: NaN}]) {
  test(`${JSON.stringify(wrong)} is no connection`, () => {
    const isChange = wrong?.constructor === Object && Object.keys(wrong).length > 0;
    const found = isChange ? {...SHOP, ...wrong} : wrong;
    assert.deepStrictEqual(page.connectionsIn({connections: [found, SHOP]}).connections, [SHOP]);
  });
}

test('a flag of another kind is the safe one, and a colour that nobody knows is none', () => {
  for (const value of ['no', 0, null, {}, 1]) {
    const strange = {...SHOP, tls: value, readOnly: value, colour: value};
    const [found] = page.connectionsIn({connections: [strange]}).connections;
    assert.deepStrictEqual([found.tls, found.readOnly, found.colour], [true, true, null]);
  }
});

test('any answer of another kind offers nothing', () => {
  for (const found of [null, undefined, 5, 'x', [], {}, {connections: {}}, {connections: 'abc'},
    {wantsIdentity: 'yes'}]) {
    assert.deepStrictEqual(page.connectionsIn(found), none);
  }
  assert.strictEqual(page.connectionsIn({wantsIdentity: true}).wantsIdentity, true);
});

test('of very many the first thousand are offered', () => {
  const connections = Array.from({length: 100000}, (_, i) => ({...SHOP, name: String(i)}));
  assert.strictEqual(page.connectionsIn({connections}).connections.length, 1000);
});

// -- asking -----------------------------------------------------------------------------------------------------------

test('the gateway that has served the page is asked, and told who asks in a header alone', async () => {
  const connections = await loaded();
  assert.deepStrictEqual(connections.all.map(({name}) => name), ['shop', 'test']);
  await connections.load('the-token');
  const [[url, plain], [again, known]] = asked;
  assert.deepStrictEqual([url, again], ['redis-connections.json', 'redis-connections.json']);
  assert.deepStrictEqual([plain.headers, plain.credentials], [{}, 'same-origin']);
  assert.deepStrictEqual([known.headers, known.credentials], [{Authorization: 'Bearer the-token'}, 'omit']);
});

const OTHER_ANSWERS = {
  'a refusal': () => new Response('The name is not known.', {status: 403}),
  'a page of another server': () => new Response('<!doctype html>', {status: 200}),
  'nothing': () => { throw new TypeError('Failed to fetch'); },
  'nonsense': () => Response.json([1, 2, {connections: 3}]),
};
for (const [what, given] of Object.entries(OTHER_ANSWERS)) {
  test(`${what} offers nothing, and breaks nothing`, async () => {
    answer = given;
    const connections = await loaded();
    assert.deepStrictEqual([connections.all, connections.wantsIdentity], [[], false]);
  });
}

test('a page that is a file asks nobody', async () => {
  globalThis.location = {protocol: 'file:', host: '', pathname: '/redis.html'};
  assert.deepStrictEqual((await loaded()).all, []);
  assert.deepStrictEqual(asked, []);
});

// -- finding ----------------------------------------------------------------------------------------------------------

test('a target that is typed is the connection that leads there', async () => {
  const connections = await loaded();
  const options = {host: '10.0.0.1', port: 6379, tls: {}, db: 9};
  assert.strictEqual(connections.of({url: OWN, options}).name, 'shop');
  assert.strictEqual(connections.of({url: OWN, options}, 'test').name, 'test');
  answer = () => Response.json({connections: [SHOP, {...SHOP, name: 'nine', db: 9}]});
  assert.strictEqual((await loaded()).of({url: OWN, options}).name, 'nine');
  assert.strictEqual(connections.of({url: `${OWN}?a=b`, options}, 'other').name, 'shop');
  for (const change of [{host: '10.0.0.2'}, {port: 6380}, {tls: undefined}, {ssh: {host: 'h'}}]) {
    assert.strictEqual(connections.of({url: OWN, options: {...options, ...change}}, 'shop'), null);
  }
  for (const url of ['wss://gw.example:3613/ws2s/', 'ws://gw.example/ws2s/', 'ws://gw.example:3613/',
    'ws://other:3613/ws2s/']) {
    assert.strictEqual(connections.of({url, options}, 'shop'), null);
  }
});

test('what stands in the fields leads to the connection', async () => {
  const {find} = await loaded().then(connections => ({find: name => connections.find(name)}));
  assert.deepStrictEqual(page.targetOf(find('shop'), 3), {
    host: '10.0.0.1', port: '6379', db: '3', tls: 'verified', readOnly: 'yes'});
  assert.strictEqual(page.targetOf({...SHOP, tls: false}, 0).tls, '');
  assert.strictEqual(find('Shop'), null);
});

// -- the list ---------------------------------------------------------------------------------------------------------

async function listed() {
  const connections = await loaded();
  const node = new FakeElement('nav'), chosen = [];
  const events = {onChosen: each => chosen.push(each.name), onAsked: () => {}};
  const list = new page.ConnectionList(node, connections, events);
  const links = () => node.all.filter(each => each.localName === 'a');
  return {node, chosen, list, links, connections};
}

function click(link, more = {}) {
  let isPrevented = false;
  link.listeners.click({button: 0, preventDefault: () => { isPrevented = true; }, ...more});
  return isPrevented;
}

test('each is a link with its name, its place and what it may not', async () => {
  const {links, node} = await listed();
  const [shop, other] = links();
  assert.strictEqual(shop.getAttribute('href') || shop.href, '#shop');
  assert.strictEqual(shop.textContent.replace('shop', ''), ' 10.0.0.1:6379 db 2, TLS (read-only)');
  assert.deepStrictEqual([shop.children[0].className, other.children[0].className], ['badge red', 'badge grey']);
  assert.strictEqual(node.hidden, false);
});

test('a click chooses it; for a new tab it is the browser that follows it', async () => {
  const {links, chosen} = await listed();
  assert.strictEqual(click(links()[1]), true);
  for (const more of [{button: 1}, {ctrlKey: true}, {metaKey: true}, {shiftKey: true}, {altKey: true}]) {
    assert.strictEqual(click(links()[0], more), false);
  }
  assert.deepStrictEqual(chosen, ['test']);
});

test('where nothing is offered nothing is seen, unless an identity would help', async () => {
  answer = () => Response.json(none);
  const {node, list, connections} = await listed();
  assert.strictEqual(node.hidden, true);
  answer = () => Response.json({connections: [], wantsIdentity: true});
  await connections.load();
  list.show();
  assert.strictEqual(node.hidden, false);
  assert.strictEqual(node.all.find(each => each.id === 'connections-more').hidden, false);
});

test('a name is shown as text, and what cannot be seen in it is', async () => {
  const strange = {...SHOP, name: '<b>\u202e\u0000'.repeat(100), host: 'h\u202e'.repeat(200)};
  answer = () => Response.json({connections: [strange]});
  const {links} = await listed();
  assert.doesNotMatch(links()[0].textContent, /[\p{Cc}\u202e]/u);
  assert.ok(links()[0].textContent.length < 600);
});

test('the connection that is open colours the page', () => {
  const bar = new FakeElement('span');
  page.showConnection(bar, SHOP, true);
  assert.deepStrictEqual(bar.children.map(each => [each.className, each.textContent]),
    [['badge red', 'shop'], ['mark', 'read-only']]);
  assert.deepStrictEqual([bar.hidden, globalThis.document.body.dataset.colour], [false, 'red']);
  page.showConnection(bar, {...SHOP, colour: null, readOnly: false});
  assert.deepStrictEqual(bar.children.map(each => each.className), ['badge grey']);
  assert.strictEqual('colour' in globalThis.document.body.dataset, false);
  page.showConnection(bar, SHOP, true);
  page.showConnection(bar, null);
  assert.deepStrictEqual([bar.hidden, bar.children.length], [true, 0]);
  assert.strictEqual('colour' in globalThis.document.body.dataset, false);
});
