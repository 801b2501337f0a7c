/* TCPSocket of ws2s/sockets, as Direct Sockets has it, with a gateway in this process. */
'use strict';

const assert = require('node:assert');
const path = require('node:path');
const test = require('node:test');
const {pathToFileURL} = require('node:url');
const {WS2SError} = require('../../ws2s-js/ws2s.js');
const {FakeGateway, echo, slowTarget, until, settled, readAll} = require('./fake_gateway.js');

const URL = 'ws://gateway.example/';
const bytes = text => new Uint8Array(Buffer.from(text));
const text = data => Buffer.from(data).toString();

let TCPSocket, configure;
test.before(async () => {
  const file = path.join(__dirname, '..', '..', 'ws2s-js', 'sockets.mjs');
  ({TCPSocket, configure} = await import(pathToFileURL(file).href));
});
test.afterEach(() => configure());

function through(gateway, options, host = 'db.lan', port = 5432) {
  configure({gateway: URL, WebSocket: gateway.WebSocket});
  return new TCPSocket(host, port, options);
}

const isDom = (name, reason) => error => error instanceof DOMException && error.name === name
  && (reason === undefined || error.cause instanceof WS2SError && error.cause.reason === reason);

test('opened gives the streams, and the target as it was asked for', async () => {
  const socket = through(new FakeGateway({makeTarget: echo}));
  const {readable, writable, ...address} = await socket.opened;
  assert.deepStrictEqual(address, {remoteAddress: 'db.lan', remotePort: 5432});
  const writer = writable.getWriter(), reader = readable.getReader();
  await writer.write(bytes('hello'));
  assert.strictEqual(text((await reader.read()).value), 'hello');
  for (const lock of [writer, reader]) lock.releaseLock();
  await socket.close();
  await socket.closed;
});

test('a BYOB reader fills its own buffer', async () => {
  const gateway = new FakeGateway();
  const {readable} = await through(gateway).opened;
  gateway.last.respond('hello');
  const reader = readable.getReader({mode: 'byob'});
  for (const part of ['hel', 'lo']) assert.strictEqual(text((await reader.read(new Uint8Array(3))).value), part);
});

for (const [name, options] of Object.entries({
  'a keep-alive of less than a second': {keepAliveDelay: 999}, 'no number': {keepAliveDelay: 'often'},
  'no room to send': {sendBufferSize: 0}, 'no room to receive': {receiveBufferSize: 0},
  'less than nothing': {sendBufferSize: -1}, 'too much': {receiveBufferSize: 4294967296},
  'not finite': {sendBufferSize: Infinity},
  'another family': {dnsQueryType: 'ipx'}, 'no family': {dnsQueryType: null}, 'no object': 5,
})) {
  test(`the constructor throws a TypeError at ${name}`, () => {
    const gateway = new FakeGateway();
    assert.throws(() => through(gateway, options), TypeError);
    assert.strictEqual(gateway.sockets.length, 0);
  });
}

for (const [host, port] of [['', 80], ['a b', 80], [null, 80], ['a', 0], ['a', 65536], ['a', 'x'], ['a', null]]) {
  test(`the constructor throws a TypeError at ${host}, ${port}`, () => {
    assert.throws(() => through(new FakeGateway(), {}, host, port), TypeError);
  });
}

test('without a gateway the constructor throws a TypeError that tells how to name one', () => {
  assert.throws(() => new TCPSocket('a', 80), /^TypeError: no gateway is known/);
});

test('what a gateway cannot do is taken, and the sizes of buffers mean something', async () => {
  const gateway = new FakeGateway();
  const socket = through(gateway, {
    noDelay: true, keepAliveDelay: 1000, dnsQueryType: 'ipv6', sendBufferSize: 1000, receiveBufferSize: 100000,
  });
  const {writable} = await socket.opened;
  assert.strictEqual(writable.getWriter().desiredSize, 1000);
  assert.strictEqual(gateway.last.requests[1].window, 100000);
});

for (const [size, window] of [[1, 16384], [4294967295, 4194304]]) {
  test(`a buffer of ${size} bytes is a window of ${window}`, async () => {
    const gateway = new FakeGateway();
    await through(gateway, {receiveBufferSize: size}).opened;
    assert.strictEqual(gateway.last.requests[1].window, window);
  });
}

for (const [failure, name] of [[[2, 'refused', 'x'], 'NetworkError'], [[4, 'forbidden', 'x'], 'NotAllowedError']]) {
  test(`${failure[1]} is a ${name}`, async () => {
    const socket = through(new FakeGateway({failure}));
    for (const failing of [socket.opened, socket.closed]) await assert.rejects(failing, isDom(name, failure[1]));
    await assert.rejects(socket.close(), isDom('InvalidStateError'));
  });
}

test('close() before the socket is open is an InvalidStateError, and the socket opens', async () => {
  const socket = through(new FakeGateway());
  await assert.rejects(socket.close(), isDom('InvalidStateError'));
  await socket.opened;
  await socket.close();
});

for (const side of ['readable', 'writable']) {
  test(`close() is an InvalidStateError while ${side} is locked, and the socket goes on`, async () => {
    const socket = through(new FakeGateway({makeTarget: echo}));
    const streams = await socket.opened;
    const lock = side === 'readable' ? streams.readable.getReader() : streams.writable.getWriter();
    await assert.rejects(socket.close(), isDom('InvalidStateError'));
    lock.releaseLock();
    await socket.close();
  });
}

test('close() once more gives closed', async () => {
  const socket = through(new FakeGateway());
  await socket.opened;
  await socket.close();
  await socket.close();
});

test('close() discards what waits for room, and still resolves', async () => {
  const gateway = new FakeGateway({makeTarget: session => slowTarget(session, 1)});
  const socket = through(gateway, {receiveBufferSize: 16384});
  const {writable} = await socket.opened;
  const writer = writable.getWriter();
  const writing = writer.write(new Uint8Array(500000));
  writer.releaseLock();
  await settled();
  await Promise.all([socket.close(), assert.rejects(writing)]);
  assert.ok(gateway.last.isOver);
});

test('closing writable ends our half, and reading goes on; closed resolves when both have ended', async () => {
  const gateway = new FakeGateway();
  const socket = through(gateway);
  const {readable, writable} = await socket.opened;
  let isClosed = false;
  socket.closed.then(() => { isClosed = true; });
  await writable.close();
  gateway.last.respond('answer');
  await settled();
  assert.deepStrictEqual([isClosed, gateway.last.hasFinished], [false, true]);
  gateway.last.finish();
  assert.strictEqual(text(await readAll(readable)), 'answer');
  await socket.closed;
});

test('cancelling readable leaves writable; closed resolves when that is closed', async () => {
  let written = '';
  const gateway = new FakeGateway({makeTarget: () => ({onData: data => { written += text(data); }})});
  const socket = through(gateway);
  const {readable, writable} = await socket.opened;
  await readable.cancel();
  const writer = writable.getWriter();
  await writer.write(bytes('more'));
  await writer.close();
  await socket.closed;
  assert.strictEqual(written, 'more');
  assert.ok(gateway.last.isOver);
});

test('the end of the target leaves writable', async () => {
  const gateway = new FakeGateway();
  const socket = through(gateway);
  const {readable, writable} = await socket.opened;
  gateway.last.finish();
  assert.strictEqual((await readAll(readable)).length, 0);
  const writer = writable.getWriter();
  await writer.write(bytes('x'));
  await writer.close();
  await socket.closed;
});

test('a reset fails both streams with a NetworkError', async () => {
  const gateway = new FakeGateway();
  const socket = through(gateway);
  const {readable, writable} = await socket.opened;
  gateway.last.close('reset');
  await assert.rejects(socket.closed, isDom('NetworkError', 'reset'));
  await assert.rejects(readable.getReader().read(), isDom('NetworkError', 'reset'));
  await assert.rejects(writable.getWriter().write(bytes('x')), isDom('NetworkError', 'reset'));
});

test('a signal drops it with its reason', async () => {
  const gateway = new FakeGateway(), stop = new AbortController(), reason = new Error('enough');
  const socket = through(gateway, {signal: stop.signal});
  const {readable} = await socket.opened;
  const reading = readable.getReader().read();
  await settled();
  stop.abort(reason);
  for (const failing of [reading, socket.closed]) await assert.rejects(failing, error => error === reason);
});

test('TLS is asked for by tls, and never by the tls of configure() alone', async () => {
  const gateway = new FakeGateway();
  configure({gateway: URL, WebSocket: gateway.WebSocket, tls: {ca: 'CA'}});
  for (const [tls, sent] of [
    [undefined, undefined], [false, undefined], [true, {ca: 'CA'}], [{ca: 'X', verify: true}, {ca: 'X', verify: true}],
  ]) {
    const socket = new TCPSocket('db.lan', 5432, {tls});
    await socket.opened;
    assert.deepStrictEqual(gateway.last.requests[1].tls, sent);
    await socket.close();
  }
});

for (const isOpen of [false, true]) {
  test(`await using ends it, ${isOpen ? 'open' : 'not open yet'}`, async () => {
    const gateway = new FakeGateway();
    const socket = through(gateway);
    if (isOpen) await socket.opened;
    await socket[Symbol.asyncDispose]();
    await until(() => gateway.sockets.every(one => one.readyState === 3), 'the WebSocket to end');
  });
}
