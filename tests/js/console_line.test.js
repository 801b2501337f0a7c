/* A connection of the console, through a gateway that is not real. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {FakeGateway, echo, until, settled} = require('./fake_gateway.js');

const bytes = text => new TextEncoder().encode(text);

let Line, Telnet, sendFile;
before(async () => {
  globalThis.requestAnimationFrame = callback => setTimeout(callback, 1);
  ({Line} = await import('../../ws2s-js/console-line.mjs'));
  ({Telnet} = await import('../../ws2s-js/console-telnet.mjs'));
  ({sendFile} = await import('../../ws2s-js/console-file.mjs'));
});

async function begin(options, telnet) {
  const gateway = new FakeGateway(options);
  const connection = await WS2S.connect('ws://gateway.test/', {host: 'a', port: 1, WebSocket: gateway.WebSocket});
  const told = {text: '', largest: 0, changes: 0, ends: []};
  const line = new Line(connection, {
    received(data) {
      told.text += Buffer.from(data);
      told.largest = Math.max(told.largest, data.length);
    },
    changed() { told.changes++; },
    ended(error) { told.ends.push(error && error.reason); },
  }, telnet && new Telnet(telnet));
  return {gateway, connection, line, told};
}

const counts = ({sent, waiting, received}) => ({sent, waiting, received});

test('what is sent and received is told and counted', async () => {
  const {line, told} = await begin({makeTarget: echo});
  await line.send(bytes('hello'));
  await until(() => told.text === 'hello');
  assert.deepStrictEqual([counts(line), told.changes, told.ends], [{sent: 5, waiting: 0, received: 5}, 1, []]);
  line.leave();
  await until(() => told.ends.length);
});

test('of what comes at once no more than 32 KB is told between two looks at the clock', async () => {
  const {gateway, line, told} = await begin();
  gateway.last.respond(new Uint8Array(100000).fill(97));
  await until(() => told.text.length === 100000);
  assert.deepStrictEqual([line.received, told.largest], [100000, 32768]);
  line.leave();
  await until(() => told.ends.length);
});

const ENDS = [
  ['by the target', ({gateway}) => gateway.last.close(), 'closed'],
  ['a reset', ({gateway}) => gateway.last.close('reset'), 'reset'],
  ['the gateway lost', ({gateway}) => gateway.last.socket.drop(1006), 'gateway-lost'],
  ['left', ({line}) => line.leave(), null],
  ['dropped', ({line}) => line.drop(), null],
];

for (const [name, end, reason] of ENDS) {
  test(`the end is told once: ${name}`, async () => {
    const all = await begin();
    end(all);
    await until(() => all.told.ends.length);
    await settled();
    assert.deepStrictEqual(all.told.ends, [reason]);
  });
}

test('leaving waits for a target that does not read, and dropping does not', async () => {
  const {gateway, connection, line, told} = await begin();
  gateway.isPaused = true;
  line.send(new Uint8Array(2000000));
  await settled();
  line.leave();
  await settled();
  assert.deepStrictEqual(told.ends, []);
  line.drop();
  assert.deepStrictEqual(told.ends, [null]);
  assert.ok(gateway.last.isOver);
  await assert.rejects(connection.closed, {reason: 'aborted'});
  assert.deepStrictEqual(counts(line), {sent: 0, waiting: 2000000, received: 0});
});

test('nothing is told after a drop', async () => {
  const {gateway, line, told} = await begin();
  gateway.last.respond('early');
  await until(() => told.text);
  gateway.last.respond(new Uint8Array(200000).fill(0x61));
  line.drop();
  const {text} = told;
  await settled();
  assert.deepStrictEqual([told.text, told.ends], [text, [null]]);
});

test('what waits while nothing is taken leaves no room in the end', async () => {
  const {gateway, line, told} = await begin();
  gateway.isPaused = true;
  assert.ok(line.hasRoom);
  line.send(new Uint8Array(17000000));
  assert.ok(!line.hasRoom);
  line.drop();
  await until(() => told.ends.length);
});

test('nothing is read in a pause, and all of it after', async () => {
  const {gateway, line, told} = await begin();
  line.setPaused(true);
  gateway.last.respond(new Uint8Array(3000000));
  await settled();
  assert.ok(line.isPaused && line.received <= 65536, String(line.received));
  assert.ok(gateway.last.outgoing.length > 0);
  line.setPaused(false);
  await until(() => line.received === 3000000);
  line.leave();
  await until(() => told.ends.length);
});

test('leaving ends a pause, or it would wait for ever', async () => {
  const {line, told} = await begin();
  line.setPaused(true);
  line.leave();
  await until(() => told.ends.length);
  assert.ok(!line.isPaused);
});

// -- telnet -----------------------------------------------------------------------------------------------------------

/* A target that keeps what it gets, as numbers. */
function keeping(kept) {
  return {makeTarget: () => ({onData: piece => kept.push(...piece)})};
}

async function end({line, told}) {
  line.drop();
  await until(() => told.ends.length);
}

test('a target that negotiates is answered, and what is sent then is escaped', async () => {
  const kept = [], all = await begin(keeping(kept), 'auto');
  all.gateway.last.respond(Uint8Array.of(255, 251, 1, 97));
  await until(() => all.told.text === 'a');
  await all.line.send(Uint8Array.of(255, 13));
  await until(() => kept.length === 7);
  assert.deepStrictEqual(kept, [255, 253, 1, 255, 255, 13, 0]);
  await end(all);
});

test('a new size of the output is told to a target that wants to know', async () => {
  const kept = [], all = await begin(keeping(kept), 'on');
  all.gateway.last.respond(Uint8Array.of(255, 253, 31));
  await until(() => kept.length === 12);
  all.line.resize(100, 30);
  await until(() => kept.length === 21);
  assert.deepStrictEqual(kept.slice(12), [255, 250, 31, 0, 100, 0, 30, 255, 240]);
  await end(all);
});

test('a byte that was held back is told before the end', async () => {
  const {gateway, told} = await begin({}, 'auto');
  gateway.last.respond(Uint8Array.of(255));
  gateway.last.close();
  await until(() => told.ends.length);
  assert.strictEqual(told.text, String(Buffer.of(255)));
});

test('a target that asks and does not read the answers is not read any more', async () => {
  const all = await begin({}, 'on');
  await all.line.send(Uint8Array.of(1));
  all.gateway.isPaused = true;
  const question = new Uint8Array(65535).map((_, i) => [255, 253, 6][i % 3]);
  for (let i = 0; i < 300; i++) all.gateway.last.respond(question);
  await until(() => all.gateway.last.outstanding === all.gateway.last.window);
  await settled();
  assert.ok(all.line.waiting < 17e6, String(all.line.waiting));
  await end(all);
});

// -- files ------------------------------------------------------------------------------------------------------------

const sum = values => values.reduce((total, value) => total + value, 0);

test('a file is sent as it is, and its progress is told', async () => {
  const kept = [], all = await begin({makeTarget: () => ({onData: piece => kept.push(Buffer.from(piece))})});
  const content = Buffer.from(Uint8Array.from({length: 3000001}, (_, i) => i * 31 % 256)), seen = [];
  assert.ok(await sendFile(new Blob([content]), all.line, {
    signal: new AbortController().signal, onProgress: bytes => seen.push(bytes),
  }));
  await until(() => sum(kept.map(piece => piece.length)) === content.length);
  assert.ok(Buffer.concat(kept).equals(content));
  assert.ok(seen.every((bytes, i) => !i || bytes > seen[i - 1]) && seen.at(-1) === content.length, String(seen));
  await end(all);
});

for (const size of [0, 1, 65536, 65537]) {
  test(`a file of ${size} bytes`, async () => {
    const kept = [], all = await begin(keeping(kept));
    await sendFile(new Blob([new Uint8Array(size)]), all.line, {signal: new AbortController().signal});
    await until(() => kept.length === size);
    await end(all);
  });
}

test('a CR LF of a file is not cut for telnet', async () => {
  for (const [behind, wanted] of [[[10, 97], [13, 10, 97]], [[97], [13, 0, 97]], [[], [13, 0]]]) {
    const kept = [], all = await begin(keeping(kept), 'on');
    const content = Uint8Array.from([...new Uint8Array(65535), 13, ...behind]);
    await sendFile(new Blob([content]), all.line, {signal: new AbortController().signal});
    await until(() => kept.length === 65535 + wanted.length);
    assert.deepStrictEqual(kept.slice(65535), wanted);
    await end(all);
  }
});

test('of a file no more than 1 MB waits for a target that does not read, and Stop ends it at once', async () => {
  const all = await begin(), attempt = new AbortController();
  all.gateway.isPaused = true;
  const sending = sendFile(new Blob([new Uint8Array(5000000)]), all.line, {signal: attempt.signal});
  await until(() => all.line.waiting === 1048576);
  await settled();
  assert.strictEqual(all.line.waiting, 1048576);
  attempt.abort();
  await assert.rejects(sending, {name: 'AbortError'});
  await end(all);
});

for (const way of ['leave', 'drop']) {
  test(`a file is not sent to its end when the connection ends: ${way}`, async () => {
    const all = await begin(), seen = [];
    all.gateway.isPaused = true;
    const sending = sendFile(new Blob([new Uint8Array(2500000)]), all.line, {
      signal: new AbortController().signal, onProgress: bytes => seen.push(bytes),
    });
    await until(() => all.line.waiting === 1048576);
    all.line[way]();
    assert.strictEqual(await sending, false);
    assert.ok(seen.every(bytes => bytes < 2500000 - 1048576), String(seen));
    await end(all);
  });
}

test('a file that cannot be read is told', async () => {
  const all = await begin();
  const file = {size: 10, slice: () => ({arrayBuffer: () => Promise.reject(new Error('it is gone'))})};
  await assert.rejects(sendFile(file, all.line, {signal: new AbortController().signal}), /it is gone/);
  await end(all);
});

test('startTls() of a line is that of its connection', async () => {
  const all = await begin();
  const tls = await all.line.startTls({ca: 'CA'});
  assert.deepStrictEqual([tls.version, all.gateway.last.requests.at(-1)],
    ['TLSv1.3', {command: 'starttls', ca: 'CA'}]);
  await end(all);
});
