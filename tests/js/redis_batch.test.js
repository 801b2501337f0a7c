/* Work on many keys of Redis: exactly those, with rests, until it is stopped, and over what goes wrong. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const {RedisError, WS2SError} = require('../../ws2s-js/ws2s.js');

let batches, bytes, names;
before(async () => {
  [batches, bytes, names] = await Promise.all(['batch', 'bytes', 'names'].map(name => (
    import(`../../ws2s-js/redis-${name}.mjs`))));
});

const nameOf = data => Buffer.from(data).toString('latin1');
const range = (length, name = i => `key:${i}`) => Array.from({length}, (_, i) => name(i));

/* As much of Redis as batches ask; `faults`: functions of the words that may throw. */
class FakeClient {
  constructor(keys, faults = []) {
    this.keys = new Map(keys.map(key => [key, -1]));
    this.faults = faults;
    this.asked = [];
  }

  async bytes(...words) {
    const [name, ...rest] = words;
    this.asked.push([name, rest.length]);
    for (const fault of this.faults) fault(name, rest.map(word => (typeof word === 'object' ? nameOf(word) : word)));
    if (name === 'UNLINK' || name === 'DEL') return rest.filter(key => this.keys.delete(nameOf(key))).length;
    const key = nameOf(rest[0]);
    if (name === 'EXPIRE') return this.keys.has(key) && this.keys.set(key, rest[1]) ? 1 : 0;
    if (name === 'PERSIST') return (this.keys.get(key) ?? -1) >= 0 && this.keys.set(key, -1) ? 1 : 0;
    throw new RedisError(`ERR unknown command '${name}'`);
  }
}

/* Runs it over these names; gives what came of it. */
async function work(client, step, wanted, settings = {}) {
  const run = new batches.Batches({rest: async () => {}, ...settings});
  await run.run(batches.batchesOf(wanted, run.stride), step);
  return run;
}

const deleting = (client, onGone) => {
  const steps = new batches.Deleting(client, onGone);
  return keys => steps.step(keys);
};

test('exactly the names that were given are deleted, whatever bytes they have', async () => {
  const odd = ['', '\0', '\xff\xfe', 'a b', '*', '[x]', 'key:1\r\n', '__proto__', '\xc3\xa9'];
  const client = new FakeClient([...odd, ...range(1000)]);
  const {tally, error} = await work(client, deleting(client), [...odd, ...range(500)]);
  assert.deepStrictEqual([tally, error], [{done: 509, gone: 0}, null]);
  assert.deepStrictEqual([...client.keys.keys()], range(1000).slice(500));
});

test('50,000 names go in batches that are never larger than 1,000', async () => {
  const client = new FakeClient(range(100000));
  const {tally} = await work(client, deleting(client), range(50000, i => `key:${2 * i}`));
  assert.strictEqual(tally.done, 50000);
  assert.ok([...client.keys.keys()].every(key => /[13579]$/.test(key)));
  assert.ok(client.asked.every(([name, size]) => name === 'UNLINK' && size <= 1000));
});

test('names of megabytes are not sent together', () => {
  const wanted = range(10, i => String(i).repeat(700000));
  const sizes = [...batches.batchesOf(wanted, {count: 1000})].map(batch => batch.length);
  assert.deepStrictEqual(sizes, [2, 2, 2, 2, 2]);
});

test('nothing is asked for no names', async () => {
  const client = new FakeClient([]);
  assert.deepStrictEqual((await work(client, deleting(client), [])).tally, {});
  assert.deepStrictEqual(client.asked, []);
});

test('what is gone already is counted apart', async () => {
  const client = new FakeClient(['a']);
  assert.deepStrictEqual((await work(client, deleting(client), ['a', 'b', 'c'])).tally, {done: 1, gone: 2});
});

for (const reply of ['OK', null, -5, 1e9, [1]]) {
  test(`${JSON.stringify(reply)} keys are not believed to be gone`, async () => {
    const {tally} = await work({bytes: async () => reply}, deleting({bytes: async () => reply}), ['a', 'b']);
    assert.ok(tally.done >= 0 && tally.done + tally.gone === 2, JSON.stringify(tally));
  });
}

test('Stop lets the batch that is under way end, and begins none', async () => {
  const client = new FakeClient(range(1000));
  const run = new batches.Batches({rest: async () => {}, onProgress: ({done}) => { if (done >= 300) run.stop(); }});
  await run.run(batches.batchesOf(range(1000), {count: 100}), deleting(client));
  assert.deepStrictEqual([run.tally.done, client.keys.size, run.isStopped, client.asked.length], [300, 700, true, 3]);
});

test('what was stopped before it has begun asks nothing', async () => {
  const client = new FakeClient(['a']), run = new batches.Batches();
  run.stop();
  await run.run(batches.batchesOf(['a'], run.stride), deleting(client));
  assert.deepStrictEqual([client.asked, run.tally], [[], {}]);
});

test('times to live are set and taken away, and those without are told apart', async () => {
  const client = new FakeClient(range(3));
  assert.deepStrictEqual((await work(client, batches.expiring(client, {after: 60000}), ['key:0', 'key:1', 'no'])).tally,
    {done: 2, gone: 1});
  assert.deepStrictEqual([...client.keys.values()], [60, 60, -1]);
  assert.deepStrictEqual((await work(client, batches.persisting(client), [...range(3), 'no'])).tally,
    {done: 2, unchanged: 2});
  assert.deepStrictEqual([...client.keys.values()], [-1, -1, -1]);
});

// -- breath -----------------------------------------------------------------------------------------------------------

test('between batches it rests for as long as the server has worked, and no longer than half a second', async () => {
  let now = 0;
  const rests = [], took = [10, 10, 40, 2000, 11];
  const client = new FakeClient(range(500));
  const run = new batches.Batches({now: () => now, rest: async time => { rests.push(time); }});
  const step = deleting(client);
  await run.run(batches.batchesOf(range(500), {count: 100}), keys => {
    now += took.shift();
    return step(keys);
  });
  assert.deepStrictEqual(rests, [30, 500]);
});

// -- what goes wrong --------------------------------------------------------------------------------------------------

const unknown = wanted => name => { if (name === wanted) throw new RedisError(`ERR unknown command '${name}'`); };

test('where there is no UNLINK, or it is forbidden, DEL deletes', async () => {
  const refusal = "NOPERM no permissions to run the 'unlink' command";
  const forbidden = name => { if (name === 'UNLINK') throw new RedisError(refusal); };
  for (const fault of [unknown('UNLINK'), forbidden]) {
    const client = new FakeClient(range(300), [fault]);
    assert.deepStrictEqual((await work(client, deleting(client), range(300))).tally, {done: 300, gone: 0});
    assert.strictEqual(client.asked.filter(([name]) => name === 'UNLINK').length, 1);
  }
});

test('keys of several slots, or one that is forbidden, are deleted one by one', async () => {
  const slots = (name, keys) => { if (keys.length > 1) throw new RedisError('CROSSSLOT Keys in request'); };
  const secret = (name, keys) => { if (keys.includes('key:7')) throw new RedisError('NOPERM this key'); };
  const client = new FakeClient(range(250), [slots, secret]), gone = [];
  const {tally, error} = await work(client, deleting(client, keys => gone.push(...keys.map(nameOf))), range(250));
  assert.deepStrictEqual([tally, error.code, [...client.keys.keys()]], [{done: 249, failed: 1}, 'NOPERM', ['key:7']]);
  assert.deepStrictEqual([gone.length, gone.includes('key:7')], [249, false]);
});

test('where a whole batch has failed no other one is begun', async () => {
  const client = new FakeClient(range(1000), [() => { throw new RedisError('READONLY no'); }]);
  const {tally, error} = await work(client, batches.expiring(client, {after: 5000}), range(1000));
  assert.deepStrictEqual([tally, error.code, client.asked.length], [{failed: 100}, 'READONLY', 100]);
});

test('a batch whose connection is lost is made again, and all are gone in the end', async () => {
  let losses = 3;
  const client = new FakeClient(range(1000));
  const bytesOf = client.bytes;
  client.bytes = async (...words) => {
    const reply = await bytesOf.apply(client, words);
    if (losses-- > 0) throw new WS2SError(1, 'not-answered', 'lost');
    return reply;
  };
  const {tally} = await work(client, deleting(client), range(1000));
  assert.deepStrictEqual([client.keys.size, tally.done + tally.gone], [0, 1000]);
});

test('a connection that does not come back is told', async () => {
  const client = new FakeClient(range(10), [() => { throw new WS2SError(2, 'refused', 'no'); }]);
  await assert.rejects(work(client, deleting(client), range(10)), {reason: 'refused'});
  assert.strictEqual(client.asked.length, 5);
});

test('whoever has stopped does not wait for a connection', async () => {
  const client = new FakeClient(range(10), [() => { run.stop(); throw new WS2SError(2, 'refused', 'no'); }]);
  const run = new batches.Batches();
  await assert.rejects(run.run(batches.batchesOf(range(10), run.stride), deleting(client)), {reason: 'refused'});
  assert.strictEqual(client.asked.length, 1);
});

test('other mistakes are not made twice', async () => {
  let calls = 0;
  await assert.rejects(work(null, () => { calls++; throw new TypeError('x'); }, ['a']), TypeError);
  assert.strictEqual(calls, 1);
});

// -- collecting -------------------------------------------------------------------------------------------------------

function scannerOf(pages) {
  return {
    isWhole: false,
    async step() {
      const page = pages.shift();
      this.isWhole = !pages.length;
      if (page instanceof Error) throw page;
      return page;
    },
  };
}

test('names are collected once each, over a loss of the connection, until there are enough', async () => {
  const found = new names.Names(), told = [];
  await batches.collect(scannerOf([['a', 'b'], new WS2SError(1, 'gateway-lost', 'x'), ['b', 'c'], []]), found,
    {onProgress: length => told.push(length)});
  assert.deepStrictEqual([found.range(0, 9, true), told], [['a', 'b', 'c'], [2, 3, 3]]);
  const some = new names.Names();
  await batches.collect(scannerOf([['a'], ['b'], ['c']]), some, {isEnough: () => some.length >= 2});
  assert.deepStrictEqual(some.range(0, 9, true), ['a', 'b']);
});

test('an error of Redis ends the collecting', async () => {
  const scanner = scannerOf([['a'], new RedisError('NOPERM no'), ['b']]);
  await assert.rejects(batches.collect(scanner, new names.Names()), {code: 'NOPERM'});
});
