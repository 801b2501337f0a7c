/* Which gateway ws2s/sockets, ws2s/net and ws2s/tls go through. */
'use strict';

const assert = require('node:assert');
const path = require('node:path');
const test = require('node:test');
const {pathToFileURL} = require('node:url');

const FILE = pathToFileURL(path.join(__dirname, '..', '..', 'ws2s-js', 'gateway.mjs')).href;
const A = 'wss://a.example/', B = 'wss://b.example/';
const OF_B = `https://page.example/sockets.mjs?gateway=${B}`;

let configure, configured;
test.before(async () => ({configure, configured} = await import(FILE)));
test.afterEach(() => {
  configure();
  delete globalThis.document;
});

function page(content, baseURI = 'https://page.example/app/') {
  const meta = content === null ? null : {content};
  globalThis.document = {baseURI, querySelector: words => words === 'meta[name="ws2s-gateway"]' ? meta : null};
}

test('configure() sets the gateway', () => {
  configure({gateway: A, token: 'secret', timeout: 5});
  assert.deepStrictEqual(configured(), {gateway: A, token: 'secret', timeout: 5});
});

test('a later configure() replaces all of an earlier one', () => {
  configure({gateway: A, token: 'secret'});
  configure({gateway: B});
  assert.deepStrictEqual(configured(), {gateway: B});
});

test('what a caller does to its options afterwards means nothing', () => {
  const options = {gateway: A};
  configure(options);
  options.gateway = B;
  assert.strictEqual(configured().gateway, A);
});

test('the gateway stands behind the URL of the import, or in the page', () => {
  assert.strictEqual(configured(OF_B).gateway, B);
  const encoded = encodeURIComponent(B + '?a=1');
  assert.strictEqual(configured('https://page.example/net.mjs?gateway=' + encoded).gateway, B + '?a=1');
  page(A);
  assert.strictEqual(configured('https://page.example/sockets.mjs').gateway, A);
});

test('configure() goes before the import, and the import before the page', () => {
  page('wss://c.example/');
  assert.strictEqual(configured(OF_B).gateway, B);
  configure({gateway: A});
  assert.strictEqual(configured(OF_B).gateway, A);
});

test('options of one connection go before all', () => {
  configure({gateway: A, timeout: 5});
  assert.deepStrictEqual(configured(OF_B, {gateway: B, timeout: 6}), {gateway: B, timeout: 6});
  assert.deepStrictEqual(configured(OF_B, {timeout: undefined, gateway: undefined}), {gateway: A, timeout: 5});
});

test('a token goes to the gateway of the import or of the page, too', () => {
  configure({token: 'secret'});
  assert.deepStrictEqual(configured(OF_B), {gateway: B, token: 'secret'});
});

test('a gateway that only one connection names does not get the secrets of configure()', () => {
  configure({gateway: A, token: 'secret', ssh: {host: 's', password: 'p'}, tls: {key: 'k'}, timeout: 5});
  assert.deepStrictEqual(configured(OF_B, {gateway: B}), {gateway: B, timeout: 5});
  assert.deepStrictEqual(configured(OF_B, {gateway: B, token: 'own'}), {gateway: B, token: 'own', timeout: 5});
  assert.strictEqual(configured(OF_B, {gateway: A}).token, 'secret');
});

test('a module that stands in the page itself has no URL of its own: a link could name any gateway', async () => {
  const link = `https://page.example/app/?gateway=${B}`;
  page(A, link);
  Object.assign(globalThis.document, {URL: `${link}#x`});
  const inPage = await import(`${FILE}?in-page`);
  for (const now of [link, 'https://page.example/app/', 'https://page.example/app/route']) {
    Object.assign(globalThis.document, {URL: now, baseURI: now});
    for (const url of [link, `${link}#x`, `${link}&utm=1`]) assert.strictEqual(inPage.configured(url).gateway, A);
    assert.strictEqual(inPage.configured(`https://page.example/app/app.js?gateway=${B}`).gateway, B);
  }
});

test('without a gateway the error tells all three ways', () => {
  for (const importUrl of [undefined, '', 'no URL', 'blob:null/1', 'https://page.example/sockets.mjs?other=1']) {
    assert.throws(() => configured(importUrl), error => error instanceof TypeError
      && /configure\(\{gateway/.test(error.message) && /\?gateway=/.test(error.message)
      && /<meta name="ws2s-gateway"/.test(error.message));
  }
  page(null);
  assert.throws(() => configured(), /no gateway is known/);
});

test('a URL is one of a WebSocket, and a relative one is seen from the page', () => {
  page('../ws');
  assert.strictEqual(configured().gateway, 'wss://page.example/ws');
  configure({gateway: new URL('http://[::1]:3613')});
  assert.strictEqual(configured().gateway, 'ws://[::1]:3613/');
});

test('in a worker a relative one is seen from its script', () => {
  globalThis.location = {href: 'http://127.0.0.1:3613/app/worker.mjs'};
  assert.strictEqual(configured('http://127.0.0.1:3613/sockets.mjs?gateway=/').gateway, 'ws://127.0.0.1:3613/');
  delete globalThis.location;
});

test('what is no URL of a gateway is refused at once, and not shown', () => {
  for (const gateway of ['', 'gateway.example', 'ftp://a.example/', 'wss://a.example/#x', 'secret', 5, {}]) {
    assert.throws(() => configure({gateway}), error => error instanceof TypeError && !error.message.includes('secret'));
    assert.throws(() => configured(OF_B, {gateway}), TypeError);
  }
  assert.throws(() => configured('https://page.example/?gateway=secret'), error => !error.message.includes('secret'));
});

test('tls says how, so it is an object', () => {
  assert.throws(() => configure({gateway: A, tls: true}), /^TypeError: the option tls must be an object/);
});

test('a misspelt option is refused', () => {
  assert.throws(() => configure({gateway: A, tokn: 'secret'}), error => error instanceof TypeError
    && /no option tokn/.test(error.message) && !error.message.includes('secret'));
});

test('several copies of the module are configured together', async () => {
  const copy = await import(`${FILE}?copy`);
  assert.notStrictEqual(copy.configure, configure);
  configure({gateway: A, token: 'secret'});
  assert.deepStrictEqual(copy.configured(), {gateway: A, token: 'secret'});
  copy.configure({gateway: B});
  assert.deepStrictEqual(configured(), {gateway: B});
});

test('nothing that shows all globals shows a token', () => {
  configure({gateway: A, token: 'secret'});
  const place = Symbol.for('ws2s.gateway');
  assert.strictEqual(Object.getOwnPropertyDescriptor(globalThis, place).enumerable, false);
  assert.ok(!require('node:util').inspect(globalThis, {showHidden: true, depth: 3}).includes('secret'));
});
