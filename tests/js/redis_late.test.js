/* Views of the Redis page that are loaded when their tabs are opened, without a browser. */
'use strict';

const assert = require('node:assert');
const {before, beforeEach, test} = require('node:test');
const {settled} = require('./fake_gateway.js');
const {beginPage} = require('./fake_page.js');

let LateView, said, loads;
before(async () => {
  beginPage();
  document.head = document.createElement('head');
  ({LateView} = await import('../../ws2s-js/redis-late.mjs'));
});
beforeEach(() => {
  said = [];
  loads = 0;
});

/* `outcomes`: what load() gives, one after the other: a view, or an error. */
function lateView(...outcomes) {
  const load = async () => {
    const outcome = outcomes[loads++];
    await settled();
    if (outcome instanceof Error) throw outcome;
    return outcome;
  };
  return new LateView('no-template', load, {say: (text, kind = '') => said.push([text, kind])});
}

test('nothing is loaded before the tab is opened, and then once', async () => {
  const view = {isShown: false}, late = lateView(view);
  late.isShown = false;
  assert.deepStrictEqual([loads, late.view, said], [0, null, []]);
  late.isShown = true;
  late.isShown = true;
  await settled();
  await settled();
  assert.deepStrictEqual([loads, late.view === view, view.isShown], [1, true, true]);
  late.isShown = false;
  assert.deepStrictEqual([loads, view.isShown], [1, false]);
  assert.deepStrictEqual(said, [['Loading this view…', 'busy'], ['', '']]);
});

test('a view whose tab was left meanwhile is told so, and one that does not care is not', async () => {
  for (const view of [{isShown: true}, {}]) {
    const late = lateView(view);
    loads = 0;
    late.isShown = true;
    late.isShown = false;
    await settled();
    await settled();
    assert.deepStrictEqual([late.view, view.isShown], [view, 'isShown' in view ? false : undefined]);
  }
});

test('what could not be loaded is told, and loaded when the tab is opened again', async () => {
  const view = {}, late = lateView(new Error('no network'), view);
  late.isShown = true;
  await settled();
  await settled();
  assert.deepStrictEqual([late.view, said.at(-1)], [null, ['This view could not be loaded: no network', 'bad']]);
  late.isShown = true;
  await settled();
  await settled();
  assert.deepStrictEqual([late.view, said.at(-1)], [view, ['', '']]);
});
