/* Each half of a connection may end before the other one: finish(), and the option halfOpen. */
'use strict';

const assert = require('node:assert');
const {test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {FakeGateway, echo, slowTarget, settled, readAll} = require('./fake_gateway.js');

const {WS2SError} = WS2S;
const KIB = 1024;
const bytes = text => new TextEncoder().encode(text);

function connect(gateway, options) {
  return WS2S.connect('ws://gateway.test/', {host: 'db.test', port: 79, WebSocket: gateway.WebSocket, ...options});
}

function isError(code, reason) {
  return error => error instanceof WS2SError && error.code === code && error.reason === reason && error.message !== '';
}

/* A target that answers when it sees the end of our half. */
const answering = session => ({onData() {}, onFinish() { session.respond('answer'); session.close(); }});

// -- ours -------------------------------------------------------------------------------------------------------------

for (const options of [{}, {binary: false}, {halfOpen: true}]) {
  test(`after finish() what the target sends still comes: ${JSON.stringify(options)}`, async () => {
    const gateway = new FakeGateway({makeTarget: answering});
    const connection = await connect(gateway, options);
    await connection.writable.getWriter().write(bytes('question'));
    await connection.finish();
    assert.strictEqual((await readAll(connection.readable)).toString(), 'answer');
    await connection.closed;
    assert.strictEqual(gateway.last.clear, 'question');
  });
}

test('finish() goes behind what was written, though that waits for room', async () => {
  let target;
  const gateway = new FakeGateway({makeTarget: session => (target = slowTarget(session, 1))});
  const connection = await connect(gateway, {window: 16384});
  const writing = connection.writable.getWriter().write(new Uint8Array(200000));
  let isFinished = false;
  const finishing = connection.finish().then(() => { isFinished = true; });
  await settled();
  assert.ok(!gateway.last.commands().includes('finish'));
  while (!isFinished) {
    target.drain();
    await settled();
  }
  await Promise.all([finishing, writing]);
  assert.strictEqual(target.received, 200000);
  assert.strictEqual(gateway.last.commands().at(-1), 'finish');
  connection.abort();
});

test('after finish() nothing can be written', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  const writer = connection.writable.getWriter();
  const finishing = connection.finish();
  await assert.rejects(writer.write(bytes('x')), isError(1, 'closed'));
  await finishing;
  await connection.close();
  assert.strictEqual(gateway.last.clear, '');
});

test('finish() twice is asked for once', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  await Promise.all([connection.finish(), connection.finish()]);
  await connection.finish();
  assert.strictEqual(gateway.last.commands().filter(command => command === 'finish').length, 1);
  await connection.close();
});

const UNKNOWING = [['2.1.5, which answers done to anything', {isOld: true}], ['a later one', {unknown: ['finish']}]];

for (const [name, kind] of UNKNOWING) {
  test(`a gateway that knows no halves ends none, and the connection goes on: ${name}`, async () => {
    const gateway = Object.assign(new FakeGateway({makeTarget: echo}), kind);
    const connection = await connect(gateway);
    const finishing = connection.finish();
    const writing = connection.writable.getWriter().write(bytes('on'));
    await assert.rejects(finishing, isError(1, 'bad-request'));
    await assert.rejects(connection.finish(), isError(1, 'bad-request'));
    await writing;
    assert.strictEqual((await connection.readable.getReader().read()).value.length, 2);
    await connection.close();
  });
}

test('finish() behind startTls() waits for TLS, and what was written between goes by TLS', async () => {
  const gateway = new FakeGateway({makeTarget: answering});
  const connection = await connect(gateway);
  const writer = connection.writable.getWriter();
  const asked = [writer.write(bytes('a')), connection.startTls(), writer.write(bytes('b')), connection.finish()];
  const late = assert.rejects(writer.write(bytes('c')), isError(1, 'closed'));
  await Promise.all(asked);
  await late;
  assert.deepStrictEqual([gateway.last.clear, gateway.last.secret], ['a', 'b']);
  assert.strictEqual((await readAll(connection.readable)).toString(), 'answer');
});

test('startTls() behind finish() fails, and ends the connection', async () => {
  const connection = await connect(new FakeGateway());
  await connection.finish();
  await assert.rejects(connection.startTls(), isError(1, 'bad-request'));
  await assert.rejects(connection.closed, isError(1, 'bad-request'));
});

test('finish() that waits rejects when the connection is lost', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  gateway.isPaused = true;
  const finishing = connection.finish();
  await settled();
  gateway.last.close('reset');
  await assert.rejects(finishing, isError(5, 'reset'));
});

test('finish() rejects when a chunk that was written before is no bytes', async () => {
  const connection = await connect(new FakeGateway());
  const writing = assert.rejects(connection.writable.getWriter().write('text'), TypeError);
  await assert.rejects(connection.finish(), TypeError);
  await writing;
  connection.abort();
});

test('close() after finish() closes the rest', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  await connection.finish();
  await connection.close();
  assert.deepStrictEqual(gateway.last.commands().slice(-2), ['finish', 'close']);
});

// -- the target's -----------------------------------------------------------------------------------------------------

test('halfOpen is asked for as the contract says, and only when it is wanted', async () => {
  for (const [halfOpen, sent] of [[true, true], [false, undefined], [undefined, undefined]]) {
    const gateway = new FakeGateway();
    const connection = await connect(gateway, {halfOpen});
    assert.strictEqual(gateway.last.requests[1].half_open, sent);
    await connection.close();
  }
});

test('with halfOpen a target that ends its half is told at once, and may still be sent to', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway, {halfOpen: true});
  gateway.last.respond('last words');
  gateway.last.finish();
  await connection.finished;
  assert.strictEqual((await readAll(connection.readable)).toString(), 'last words');
  await connection.writable.getWriter().write(bytes('still'));
  await settled();
  assert.strictEqual(gateway.last.clear, 'still');
  await connection.close();
});

test('when both halves have ended the connection is closed', async () => {
  for (const isTargetFirst of [true, false]) {
    const gateway = new FakeGateway();
    const connection = await connect(gateway, {halfOpen: true});
    if (isTargetFirst) gateway.last.finish();
    await settled();
    await connection.finish();
    if (!isTargetFirst) gateway.last.finish();
    await connection.closed;
    assert.strictEqual((await readAll(connection.readable)).length, 0);
  }
});

test('without halfOpen the end of the target ends both, and is told as finished, too', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  gateway.last.finish();
  await Promise.all([connection.finished, connection.closed]);
});

test('a target that resets after its half has ended: what it sent can be read, and closed rejects', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway, {halfOpen: true});
  gateway.last.respond('last words');
  gateway.last.finish();
  await connection.finished;
  gateway.last.close('reset');
  await assert.rejects(connection.closed, isError(5, 'reset'));
  assert.strictEqual((await readAll(connection.readable)).toString(), 'last words');
});

test('a connection that is lost was not finished', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway, {halfOpen: true});
  gateway.last.socket.drop(1006);
  await assert.rejects(connection.finished, isError(1, 'gateway-lost'));
});

test('a target that has ended its half with its window used up does not hold up what is written to it', async () => {
  const window = 16384;
  const gateway = new FakeGateway({makeTarget: session => ({pending: 0, onData() {}, session})});
  const connection = await connect(gateway, {halfOpen: true, window});
  gateway.last.respond(new Uint8Array(window));
  gateway.last.finish();
  await connection.finished;
  const writing = connection.writable.getWriter().write(new Uint8Array(40 * window));
  assert.strictEqual((await readAll(connection.readable)).length, window);
  await writing;
  await settled();
  assert.strictEqual(gateway.last.clear.length, 40 * window);
  await connection.close();
});

test('much can be written to a target that has ended its half', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway, {halfOpen: true});
  gateway.last.finish();
  await connection.finished;
  const writer = connection.writable.getWriter();
  for (let i = 0; i < 64; i++) await writer.write(new Uint8Array(128 * KIB));
  await connection.close();
  assert.strictEqual(gateway.last.clear.length, 64 * 128 * KIB);
});
