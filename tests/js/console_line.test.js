/* A connection of the console, through a gateway that is not real. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {FakeGateway, echo, until, settled} = require('./fake_gateway.js');

const bytes = text => new TextEncoder().encode(text);

let Line;
before(async () => {
  globalThis.requestAnimationFrame = callback => setTimeout(callback, 1);
  ({Line} = await import('../../ws2s-js/console-line.mjs'));
});

async function begin(options) {
  const gateway = new FakeGateway(options);
  const connection = await WS2S.connect('ws://gateway.test/', {host: 'a', port: 1, WebSocket: gateway.WebSocket});
  const told = {text: '', changes: 0, ends: []};
  const line = new Line(connection, {
    received(data) { told.text += Buffer.from(data); },
    changed() { told.changes++; },
    ended(error) { told.ends.push(error && error.reason); },
  });
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
