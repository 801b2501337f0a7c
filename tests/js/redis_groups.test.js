/* Groups, consumers and pending entries of streams, in the words of several servers. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');

let groups;
before(async () => {
  groups = await import('../../ws2s-js/redis-groups.mjs');
});

const utf8 = text => new Uint8Array(Buffer.from(text));
const list = record => Object.entries(record).flatMap(([name, value]) => [utf8(name), value]);
const map = record => new Map(Object.entries(record).map(([name, value]) => [utf8(name), value]));
const NAME = Uint8Array.of(0xff, 0x67);

const OLD = {'name': NAME, 'consumers': 2, 'pending': 3, 'last-delivered-id': utf8('5-1')};
const NEW = {...OLD, 'entries-read': 7, 'lag': 4, 'what-comes-later': [1, 2]};

for (const [form, write] of [['list', list], ['map', map]]) {
  test(`a group is told as a ${form}, with its lag where the server knows it`, () => {
    const group = {name: NAME, consumers: 2, pending: 3, lastId: '5-1', lag: null};
    assert.deepStrictEqual(groups.groupsOf([write(OLD)]), [group]);
    assert.deepStrictEqual(groups.groupsOf([write(NEW)]), [{...group, lag: 4}]);
    assert.deepStrictEqual(groups.groupsOf([write({...NEW, lag: null})]), [group]);
  });

  test(`a consumer is told as a ${form}, and whether it has ever got something`, () => {
    const told = {name: NAME, pending: 1, idle: 1500};
    assert.deepStrictEqual(groups.consumersOf([write(told)]), [{...told, inactive: null}]);
    assert.deepStrictEqual(groups.consumersOf([write({...told, inactive: -1})]), [{...told, inactive: -1}]);
  });
}

test('a stream without groups has none', () => {
  assert.deepStrictEqual([groups.groupsOf([]), groups.consumersOf([]), groups.pendingOf([])], [[], [], []]);
});

test('what is pending is told with its consumer, how long ago and how often', () => {
  assert.deepStrictEqual(groups.pendingOf([[utf8('1-2'), NAME, 60000, 3], [utf8('1-3'), NAME, 2n ** 60n, 1]]), [
    {id: '1-2', consumer: NAME, idle: 60000, deliveries: 3},
    {id: '1-3', consumer: NAME, idle: 2 ** 60, deliveries: 1},
  ]);
});

test('pages of what is pending follow one another, of a group or of one consumer', () => {
  assert.deepStrictEqual(groups.pendingCommand('k', 'g', null, null, 5), ['XPENDING', 'k', 'g', '-', '+', 5]);
  assert.deepStrictEqual(groups.pendingCommand('k', 'g', NAME, '1-3', 5),
    ['XPENDING', 'k', 'g', '1-3', '+', 5, NAME]);
});

test('what makes no sense is unknown, and no failure', () => {
  assert.deepStrictEqual(groups.groupsOf([[utf8('name'), utf8('g'), utf8('pending'), 'many', utf8('odd')]]), [
    {name: utf8('g'), consumers: null, pending: null, lastId: '', lag: null}]);
});
