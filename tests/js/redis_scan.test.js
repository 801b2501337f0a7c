/* How the Redis page looks for keys: an exact name, and steps that suit the way to the server. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const {RedisError} = require('../../ws2s-js/ws2s.js');

let scans;
before(async () => { scans = await import('../../ws2s-js/redis-scan.mjs'); });

const BOUNDS = {fewest: 1000, most: 10000, perMillisecond: 100};
const utf8 = text => new Uint8Array(Buffer.from(text));

/* The counts of the next steps on a server at this distance that takes so long for a thousand keys. */
function counts(way, perThousand, steps = 12) {
  const stride = new scans.Stride(BOUNDS);
  return Array.from({length: steps}, () => {
    const {count} = stride;
    stride.took(way + perThousand * count / 1000);
    return count;
  });
}

const DISTANCES = [
  ['beside the gateway', 0.2, 0.5, 1000, 1000],
  ['at 20 ms', 20, 0.5, 2000, 2100],
  ['at 100 ms', 100, 0.5, 10000, 10000],
  ['at a second', 1000, 0.5, 10000, 10000],
  ['that is slow', 1, 400, 1000, 2000],
  ['behind a narrow line', 400, 1000, 2000, 2000],
];

for (const [what, way, perThousand, least, most] of DISTANCES) {
  test(`a server ${what} is asked for ${least} to ${most} keys at once`, () => {
    const all = counts(way, perThousand);
    assert.strictEqual(all[0], 1000);
    assert.ok(all.every(count => Number.isInteger(count) && count >= 1000 && count <= 10000), String(all));
    for (const count of all.slice(-4)) assert.ok(count >= least && count <= most, String(all));
  });
}

test('100,000 keys at 100 ms take thirteen steps', () => {
  let looked = 0, steps = 0;
  for (const count of counts(100, 0.5, 100)) {
    if (looked >= 100000) break;
    looked += count;
    steps++;
  }
  assert.strictEqual(steps, 13);
});

for (const odd of [0, -5, NaN, Infinity]) {
  test(`a clock that says ${odd} leaves the steps within their bounds`, () => {
    const stride = new scans.Stride(BOUNDS);
    for (let i = 0; i < 5; i++) {
      stride.took(odd);
      assert.ok(stride.count >= 1000 && stride.count <= 10000, String(stride.count));
    }
  });
}

// -- scanning ---------------------------------------------------------------------------------------------------------

/* A session that answers a SCAN with these pages; `asked` collects the words. */
function sessionOf(pages, asked, {knowsScanType = true, types = {}} = {}) {
  const shown = word => (word instanceof Uint8Array ? Buffer.from(word).toString() : String(word));
  return {
    knowsScanType,
    async ask(...words) {
      asked.push(words.map(shown).join(' '));
      if (words[0] === 'TYPE') return types[Buffer.from(words[1]).toString()] || 'none';
      if (words.includes('TYPE') && this.isOld) throw new RedisError('ERR syntax error');
      const at = Number(words[1]);
      return [utf8(String(at + 1 < pages.length ? at + 1 : 0)), pages[at].map(utf8)];
    },
  };
}

test('steps go on until the cursor is 0 again, each with the count for it', async () => {
  const asked = [], times = [0, 100, 100, 200, 200, 300];
  const session = sessionOf([['a'], [], ['b', 'c']], asked);
  const scanner = new scans.Scanner(session, {match: 'x*', type: ''}, () => times.shift());
  const found = [];
  while (!scanner.isWhole) found.push(...await scanner.step());
  assert.deepStrictEqual(found, ['a', 'b', 'c']);
  assert.deepStrictEqual(asked, [0, 1, 2].map(at => `SCAN ${at} MATCH x* COUNT ${1000 * 2 ** at}`));
  assert.strictEqual(scanner.looked, 7000);
});

test('two who ask for a step at once get the same one', async () => {
  const asked = [];
  const scanner = new scans.Scanner(sessionOf([['a'], ['b']], asked), {match: '*', type: ''});
  assert.deepStrictEqual(await Promise.all([scanner.step(), scanner.step()]), [['a'], ['a']]);
  assert.strictEqual(asked.length, 1);
});

test('a step that has failed can be made again', async () => {
  const session = sessionOf([['a'], ['b']], []), {ask} = session;
  session.ask = async () => { throw new RedisError('LOADING x'); };
  const scanner = new scans.Scanner(session, {match: '*', type: ''});
  await assert.rejects(scanner.step(), RedisError);
  session.ask = ask;
  assert.deepStrictEqual(await scanner.step(), ['a']);
});

test('an old server is asked for the type of each key', async () => {
  const asked = [], session = sessionOf([['a', 'b']], asked, {types: {a: 'hash', b: 'list'}});
  session.isOld = true;
  const scanner = new scans.Scanner(session, {match: '*', type: 'list'});
  assert.deepStrictEqual(await scanner.step(), ['b']);
  assert.deepStrictEqual([session.knowsScanType, asked.slice(-2)], [false, ['TYPE a', 'TYPE b']]);
});

// -- an exact name ----------------------------------------------------------------------------------------------------

const EXACT = [
  ['a', '', 'hash'], ['a', 'hash', 'hash'], ['a', 'list', null], ['b', '', null], ['', '', null],
  ['x[1]*', '', 'string'],
];

for (const [name, type, found] of EXACT) {
  test(`the exact name “${name}” of type “${type}” is ${found}, by at most one TYPE`, async () => {
    const asked = [], session = sessionOf([], asked, {types: {'a': 'hash', 'x[1]*': 'string'}});
    assert.strictEqual(await scans.exactType(session, utf8(name), type), found);
    assert.deepStrictEqual(asked, name === '' ? [] : [`TYPE ${name}`]);
  });
}

test('a text of megabytes is not asked for as a name', async () => {
  const asked = [];
  assert.strictEqual(await scans.exactType(sessionOf([], asked), new Uint8Array(1000000), ''), null);
  assert.deepStrictEqual(asked, []);
});
