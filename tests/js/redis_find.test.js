/* Looking within values of Redis: patterns, items of a list, an exact name first, places in streams. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');

let finds, sources;
before(async () => {
  [finds, sources] = await Promise.all(['find', 'rows'].map(name => import(`../../ws2s-js/redis-${name}.mjs`)));
});

const utf8 = text => new Uint8Array(Buffer.from(text));
const text = bytes => Buffer.from(bytes).toString();

/* As stringmatchlen() of Redis answers. */
const MATCHES = [
  ['*', '', true], ['*', 'abc', true], ['', '', true], ['', 'a', false], ['a*', 'abc', true], ['*c', 'abc', true],
  ['a*c', 'ac', true], ['a*c', 'abbbc', true], ['a*c', 'acb', false], ['**', 'x', true], ['a**b', 'ab', true],
  ['?', '', false], ['?', 'x', true], ['a?c', 'abc', true], ['a?c', 'ac', false],
  ['[ab]', 'a', true], ['[ab]', 'c', false], ['[^ab]', 'c', true], ['[^ab]', 'a', false], ['[a-c]', 'b', true],
  ['[c-a]', 'b', true], ['[a-c]x', 'bx', true], ['[a-]', '-', false], ['[abc', 'b', true], ['[', 'a', false],
  ['[\\]]', ']', true], ['[\\a]', 'a', true], ['[]', 'a', false], ['[^]', 'a', true],
  ['\\*', '*', true], ['\\*', 'a', false], ['\\?', '?', true], ['a\\', 'a\\', true], ['\\\\', '\\', true],
  ['h*llo', 'heeello', true], ['*a*b*', 'xxaxxbxx', true], ['*a*b', 'ab c', false], ['\xff?', '\xff\0', true],
  ['A', 'a', false], ['a.c', 'abc', false], ['(a|b)', 'a', false],
];

for (const [pattern, name, is] of MATCHES) {
  test(`${JSON.stringify(pattern)} matches ${JSON.stringify(name)}: ${is}`, () => (
    assert.strictEqual(finds.globMatches(pattern, name), is)));
}

test('no pattern takes long', () => {
  const started = process.cpuUsage();
  assert.strictEqual(finds.globMatches('a*'.repeat(50) + 'b', 'a'.repeat(20000)), false);
  assert.strictEqual(finds.globMatches('*'.repeat(100000), 'a'.repeat(100)), true);
  assert.ok(process.cpuUsage(started).user < 1e6);
});

// -- lists ------------------------------------------------------------------------------------------------------------

function listOf(items, typed, size) {
  const asked = [];
  const scan = finds.listScan(async (first, last) => {
    asked.push([first, last]);
    return items.slice(first, last + 1).map(utf8);
  }, typed, size);
  return {asked, source: new sources.ScanSource(2, scan)};
}

test('items of a list are found with their indexes, page by page, and equal ones each', async () => {
  const {source, asked} = listOf(['xa', 'b', 'ax', 'c', 'xa', 'd', 'aa'], 'a', 3);
  const pages = [await source.page(0), await source.page(2)];
  assert.deepStrictEqual(pages.map(page => page.rows.map(row => row.map(text))),
    [[['0', 'xa'], ['2', 'ax']], [['4', 'xa'], ['6', 'aa']]]);
  assert.deepStrictEqual([asked, pages[1].next], [[[0, 2], [3, 5], [6, 8]], null]);
});

test('a pattern, and one that finds nothing', async () => {
  const pageOf = typed => listOf(['abc', 'b\u00e9', ''], typed, 10).source.page(0);
  const found = async typed => (await pageOf(typed)).rows.map(row => text(row[1]));
  assert.deepStrictEqual(await found('b?'), []);
  assert.deepStrictEqual(await found('b??'), ['b\u00e9']);  // as many bytes, as Redis counts
  assert.deepStrictEqual(await found('\u00e9'), ['b\u00e9']);
  assert.deepStrictEqual(await found('nothing'), []);
});

test('a list whose length is one of pages ends', async () => {
  const {source, asked} = listOf(['a', 'a', 'a', 'a'], 'a', 2);
  assert.strictEqual((await source.page(2)).next, null);
  assert.deepStrictEqual(asked.at(-1), [4, 5]);
});

// -- an exact name ----------------------------------------------------------------------------------------------------

test('the row of exactly this name comes first, and once', async () => {
  const pages = {0: {cursor: '1', rows: [['x1']]}, 1: {cursor: '0', rows: [['x'], ['x2']]}};
  const exact = [];
  const scan = finds.exactFirst(async () => { exact.push(1); return [utf8('x')]; }, async cursor => (
    {cursor: pages[cursor].cursor, rows: pages[cursor].rows.map(([name]) => [utf8(name)])}));
  const source = new sources.ScanSource(10, scan);
  assert.deepStrictEqual((await source.page(0)).rows.map(([name]) => text(name)), ['x', 'x1', 'x2']);
  assert.strictEqual(exact.length, 1);
});

test('without such a row all is as before', async () => {
  const scan = finds.exactFirst(async () => null, async () => ({cursor: '0', rows: [[utf8('a')]]}));
  assert.deepStrictEqual((await new sources.ScanSource(10, scan).page(0)).rows.length, 1);
});

// -- streams ----------------------------------------------------------------------------------------------------------

const LAST = '18446744073709551615';
const PLACES = [
  ['', null, null],
  ['1700000000000-5', '1700000000000-5', '1700000000000-5'],
  [' 1700000000000 ', '1700000000000-0', `1700000000000-${LAST}`],
  ['0', '0-0', `0-${LAST}`],
  [`${LAST}-${LAST}`, `${LAST}-${LAST}`, `${LAST}-${LAST}`],
  ['2023-11-14', '1699920000000-0', `1700006399999-${LAST}`],
  ['2023-11-14 22:13', '1699999980000-0', `1700000039999-${LAST}`],
  ['2023-11-14T22:13:20Z', '1700000000000-0', `1700000000999-${LAST}`],
  ['2023-11-14 22:13:20.5 UTC', '1700000000500-0', `1700000000500-${LAST}`],
];

for (const [typed, forwards, backwards] of PLACES) {
  test(`“${typed}” is ${forwards} in a stream, and ${backwards} backwards`, () => {
    const found = [false, true].map(isNewest => finds.placeInStream(typed, isNewest));
    assert.deepStrictEqual(found, [forwards, backwards]);
  });
}

for (const typed of ['x', '-', '1-', '-1', '1-2-3', '18446744073709551616', '0-18446744073709551616', '2023-13-01',
  '2023-11-14 25:00', '1969-01-01', '14.11.2023', '+', '$', '1 2', '1e5', '2023-11-14 22:13:20+01:00']) {
  test(`“${typed}” is no place in a stream`, () => {
    assert.throws(() => finds.placeInStream(typed, false), RangeError);
  });
}
