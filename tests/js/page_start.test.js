/* The form of a page is there before the rest of the page. */
'use strict';

const assert = require('node:assert');
const {before, beforeEach, test} = require('node:test');
const {FakeElement} = require('./fake_document.js');
const {settled} = require('./fake_gateway.js');

let startPage, page;
before(async () => { ({startPage} = await import('../../ws2s-js/elements.mjs')); });

beforeEach(() => {
  const nodes = {status: new FakeElement('p'), unstarted: new FakeElement('p'), later: {content: new FakeElement('x')},
    last: {content: new FakeElement('y')}};
  const form = new FakeElement('form');
  const [card, other] = [new FakeElement('section'), new FakeElement('section')];
  card.append(form);
  form.requestSubmit = () => form.happens('submit');
  form.removeEventListener = (name, listener) => {
    if (form.listeners[name] === listener) delete form.listeners[name];
  };
  const [head, body, main] = ['head', 'body', 'main'].map(name => new FakeElement(name));
  main.append(nodes.unstarted);
  globalThis.document = {head, body, getElementById: id => nodes[id], querySelectorAll: () => [card, other]};
  page = {nodes, form, card, other, head, body, main, told: () => [nodes.status.className, nodes.status.textContent]};
});

/* A load() that ends when told to. */
function slow() {
  let done, fail;
  const promise = new Promise((resolve, reject) => { [done, fail] = [resolve, reject]; });
  return {load: () => promise, done, fail};
}

test('while the rest is on its way only the form can be used, and all of the rest is asked for', async () => {
  const rest = slow();
  const started = startPage(page.form, rest.load);
  assert.deepStrictEqual(page.head.children, [page.nodes.later.content]);
  assert.deepStrictEqual(page.main.children, []);
  assert.deepStrictEqual([page.card.inert, page.other.inert], [undefined, true]);
  assert.strictEqual(page.body.getAttribute('aria-busy'), 'true');
  rest.done();
  await started;
  assert.strictEqual(page.other.inert, false);
  assert.strictEqual(page.body.getAttribute('aria-busy'), 'false');
  assert.deepStrictEqual(page.form.listeners, {});
  assert.deepStrictEqual(page.head.children, [page.nodes.later.content, page.nodes.last.content]);
});

for (const times of [0, 1, 3]) {
  test(`a form that was sent ${times} times too early is sent ${Math.min(times, 1)} times in the end`, async () => {
    const rest = slow();
    let sent = 0;
    const started = startPage(page.form, async () => {
      await rest.load();
      page.form.removeEventListener('submit', page.form.listeners.submit);
      page.form.addEventListener('submit', () => { sent++; });
    });
    for (let i = 0; i < times; i++) page.form.happens('submit');
    await settled();
    assert.strictEqual(sent, 0);
    if (times) assert.deepStrictEqual(page.told(), ['status busy', 'Connecting when the rest of this page is there…']);
    rest.done();
    await started;
    assert.strictEqual(sent, Math.min(times, 1));
  });
}

test('what could not be loaded is told, at each try too, and the failure is not hidden', async () => {
  const rest = slow();
  const started = startPage(page.form, rest.load);
  rest.fail(new TypeError('no module'));
  await assert.rejects(started, /no module/);
  const told = ['status bad', 'A part of this page could not be loaded: load it again.'];
  assert.deepStrictEqual(page.told(), told);
  page.nodes.status.textContent = '';
  page.form.happens('submit');
  assert.deepStrictEqual(page.told(), told);
  assert.strictEqual(page.other.inert, true);
});
