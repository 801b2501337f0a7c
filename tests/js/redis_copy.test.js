/* The dialog in which a key is copied, without a browser. */
'use strict';

const assert = require('node:assert');
const {before, beforeEach, test} = require('node:test');
const {until} = require('./fake_gateway.js');
const {beginPage} = require('./fake_page.js');

let dialogs, body;
before(async () => {
  body = beginPage();
  dialogs = await import('../../ws2s-js/redis-key-dialogs.mjs');
});
beforeEach(() => body.replaceChildren());

const byId = id => document.getElementById(id);
const submit = () => byId('dialog-copy').querySelector('form').happens('submit');

function begin(databases = 16) {
  const asked = [];
  const session = {db: 2, databases, ask: async (...words) => {
    asked.push(words.map(word => (word instanceof Uint8Array ? Buffer.from(word).toString() : String(word))).join(' '));
    return 1;
  }};
  return {asked, copied: dialogs.askCopy(session, 'a:b')};
}

test('a key is copied to another database, by its own name', async () => {
  const {asked, copied} = begin();
  byId('copy-db').value = '5';
  submit();
  assert.deepStrictEqual([await copied, asked], [{db: 5, name: 'a:b'}, ['COPY a:b a:b DB 5']]);
});

test('it may have another name, and take the place of another key', async () => {
  const {asked, copied} = begin();
  byId('copy-name').value = 'c';
  byId('copy-replace').checked = true;
  submit();
  assert.deepStrictEqual([await copied, asked], [{db: 2, name: 'c'}, ['COPY a:b c DB 2 REPLACE']]);
});

test('itself is no place for a copy, and words are no database; nothing is sent', async () => {
  const {asked, copied} = begin();
  const wrong = [['2', 'That is the key itself'], ['two', 'A database is a number'], ['-1', 'A database is']];
  for (const [text, complaint] of wrong) {
    byId('copy-db').value = text;
    submit();
    await until(() => byId('dialog-copy-status').textContent.includes(complaint), complaint);
  }
  byId('dialog-copy-cancel').click();
  assert.deepStrictEqual([await copied, asked], [undefined, []]);
});

test('where there is one database it is that one', () => {
  begin(1);
  assert.ok(byId('copy-db').disabled);
  byId('dialog-copy-cancel').click();
});
