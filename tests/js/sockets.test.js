/* connect() of ws2s/sockets, as the WinterTC proposal has it, with a gateway in this process. */
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

let connect, configure, SocketError;
test.before(async () => {
  const file = path.join(__dirname, '..', '..', 'ws2s-js', 'sockets.mjs');
  ({connect, configure, SocketError} = await import(pathToFileURL(file).href));
});
test.afterEach(() => configure());

function through(gateway, options, address = 'db.lan:5432') {
  configure({gateway: URL, WebSocket: gateway.WebSocket});
  return connect(address, options);
}

/* Of ours, and telling what ws2s.js has told. */
const isSocketError = reason => error => error instanceof SocketError && error instanceof TypeError
  && error.message.startsWith('SocketError: ') && error.cause instanceof WS2SError && error.cause.reason === reason;

/* A target that says what a client does to it. */
function recorder(session, more = {}) {
  const target = {text: '', ends: 0, halves: 0, onData: data => { target.text += text(data); },
    onEnd: () => { target.ends++; }, onFinish: () => { target.halves++; }, ...more};
  return target;
}

function recording(more) {
  const targets = [];
  const gateway = new FakeGateway({makeTarget: session => {
    const target = recorder(session, more);
    targets.push(Object.assign(target, {session}));
    return target;
  }});
  return {gateway, targets};
}

/* The target reads until the promise is settled. */
async function drained(target, promise) {
  let isSettled = false;
  promise.catch(() => {}).then(() => { isSettled = true; });
  while (!isSettled) {
    target.drain();
    await settled();
  }
  await promise;
}

// -- addresses and options --------------------------------------------------------------------------------------------

for (const [address, host, port, shown] of [
  ['db.lan:5432', 'db.lan', 5432, 'db.lan:5432'],
  ['127.0.0.1:80', '127.0.0.1', 80, '127.0.0.1:80'],
  ['[::1]:80', '::1', 80, '[::1]:80'],
  [{hostname: 'db.lan', port: 5432}, 'db.lan', 5432, 'db.lan:5432'],
  [{hostname: '::1', port: 80}, '::1', 80, '[::1]:80'],
  [{hostname: '[fe80::1]', port: '443'}, 'fe80::1', 443, '[fe80::1]:443'],
]) {
  test(`the target of ${JSON.stringify(address)}`, async () => {
    const gateway = new FakeGateway();
    const socket = through(gateway, {}, address);
    assert.deepStrictEqual(await socket.opened, {remoteAddress: shown, localAddress: null, alpn: null});
    const [, {host: asked, port: number}] = gateway.last.requests;
    assert.deepStrictEqual([asked, number], [host, port]);
    await socket.close();
  });
}

for (const address of [
  '', 'db.lan', 'db.lan:', ':80', '::1:80', '[::1]', '[db.lan]:80', 'a:b:80', 'a b:80', 'a\n:80', 'tcp://a:80',
  'a:80/', 'a/x:80', 'u@a:80', 'a:0', 'a:65536', 'a:-1', 'a:1e2', 'x'.repeat(256) + ':80', null, 5, {}, {hostname: 'a'},
  {port: 80}, {hostname: '', port: 80}, {hostname: 'a', port: 0}, {hostname: 'a', port: 65536},
  {hostname: 'a', port: 1.5}, {hostname: 5, port: 80}, {hostname: 'a/', port: 80},
]) {
  test(`connect() throws at the address ${JSON.stringify(address)}`, () => {
    const gateway = new FakeGateway();
    assert.throws(() => through(gateway, {}, address), SocketError);
    assert.strictEqual(gateway.sockets.length, 0);
  });
}

for (const options of [
  5, 'on', {secureTransport: 'yes'}, {secureTransport: null}, {sni: 'n'}, {alpn: ['h2']}, {tls: {ca: 'CA'}},
  {tls: true}, {highWaterMark: -1}, {highWaterMark: NaN}, {highWaterMark: '5'}, {secureTransport: 'off', sni: 'n'},
]) {
  test(`connect() throws at the options ${JSON.stringify(options)}`, () => {
    const gateway = new FakeGateway();
    assert.throws(() => through(gateway, options), SocketError);
    assert.strictEqual(gateway.sockets.length, 0);
  });
}

test('options that mean their standards are taken', async () => {
  for (const options of [null, {sni: null, alpn: [], allowHalfOpen: undefined, secureTransport: undefined}]) {
    const socket = through(new FakeGateway(), options);
    assert.strictEqual(socket.secureTransport, 'off');
    await socket.opened;
    await socket.close();
  }
});

test('connect() throws without a gateway', () => {
  assert.throws(() => connect('db.lan:5432'), /^TypeError: no gateway is known/);
});

test('what configure() has set goes to the gateway, and options of the call before it', async () => {
  const gateway = new FakeGateway();
  configure({gateway: URL, token: 'secret', ssh: {host: 's'}, WebSocket: gateway.WebSocket});
  const socket = connect('db.lan:5432', {window: 65536, ssh: {host: 't'}});
  await socket.opened;
  assert.deepStrictEqual(gateway.sockets[0].protocols, ['ws2s.bearer.c2VjcmV0']);
  const {ssh_host: ssh, window, tls} = gateway.last.requests[1];
  assert.deepStrictEqual([ssh, window, tls], ['t', 65536, undefined]);
  await socket.close();
});

// -- reading and writing ----------------------------------------------------------------------------------------------

test('the socket is there at once, and what is written and read before it is open is carried out then', async () => {
  const socket = through(new FakeGateway({makeTarget: echo}));
  const writing = socket.writable.getWriter().write(bytes('hello'));
  const reading = socket.readable.getReader().read();
  await writing;
  assert.strictEqual(text((await reading).value), 'hello');
  await socket.close();
});

test('views and buffers are written', async () => {
  const {gateway, targets} = recording();
  const socket = through(gateway);
  const writer = socket.writable.getWriter(), {buffer} = bytes('abcdef');
  writer.write(buffer);
  writer.write(new DataView(buffer, 1, 2));
  writer.write(new Uint8Array(0));
  await writer.write(new Uint16Array(buffer, 2, 1));
  await socket.close();
  assert.strictEqual(targets[0].text, 'abcdefbccd');
});

test('text is refused with a TypeError, after what was written before it', async () => {
  const {gateway, targets} = recording();
  const socket = through(gateway);
  const writer = socket.writable.getWriter();
  writer.write(bytes('first'));
  await assert.rejects(writer.write('text'), /^TypeError: a socket takes bytes/);
  await settled();
  assert.strictEqual(targets[0].text, 'first');
  await socket.close();
});

test('a BYOB reader fills its own buffer, and what is left is read next', async () => {
  const gateway = new FakeGateway();
  const socket = through(gateway);
  await socket.opened;
  gateway.last.respond('hello');
  const reader = socket.readable.getReader({mode: 'byob'});
  const first = await reader.read(new Uint8Array(new ArrayBuffer(8), 1, 3));
  assert.deepStrictEqual([text(first.value), first.value.byteOffset, first.value.buffer.byteLength], ['hel', 1, 8]);
  assert.strictEqual(text((await reader.read(new Uint8Array(8))).value), 'lo');
  reader.releaseLock();
  await socket.close();
});

test('a BYOB reader sees the end', async () => {
  const {gateway, targets} = recording();
  const socket = through(gateway);
  await socket.opened;
  const reading = socket.readable.getReader({mode: 'byob'}).read(new Uint8Array(8));
  await settled();
  targets[0].session.finish();
  const {done, value} = await reading;
  assert.deepStrictEqual([done, value.byteLength], [true, 0]);
  await socket.closed;
});

test('a BYOB reader that waits sees the end at close()', async () => {
  const socket = through(new FakeGateway());
  await socket.opened;
  const reading = socket.readable.getReader({mode: 'byob'}).read(new Uint8Array(8));
  await settled();
  await socket.close();
  assert.strictEqual((await reading).done, true);
});

test('a chunk is not copied: its buffer goes from the WebSocket to the reader', async () => {
  const gateway = new FakeGateway(), given = [];
  const socket = through(gateway);
  await socket.opened;
  gateway.sockets[0].deliver = function (message) {
    if (typeof message !== 'string') given.push(message = message.slice().buffer);
    this.onmessage({data: message});
  };
  gateway.last.respond('hello');
  const {value} = await socket.readable.getReader().read();
  assert.strictEqual(text(value), 'hello');
  assert.strictEqual(given[0].byteLength, 0);  // it was transferred
  await socket.close();
});

test('an empty message of base64 is no chunk', async () => {
  const gateway = new FakeGateway();
  const socket = through(gateway, {binary: false});
  await socket.opened;
  const reading = socket.readable.getReader().read();
  gateway.last.data(new Uint8Array(0));
  gateway.last.respond('x');
  assert.strictEqual(text((await reading).value), 'x');
  await socket.close();
});

test('the gateway sends no more than its window to a page that does not read', async () => {
  const gateway = new FakeGateway();
  const socket = through(gateway, {window: 65536});
  await socket.opened;
  gateway.last.respond(new Uint8Array(1000000));
  await settled();
  assert.ok(gateway.mostOutstanding <= 65536, gateway.mostOutstanding);
  gateway.last.finish();
  assert.strictEqual((await readAll(socket.readable)).length, 1000000);
  assert.ok(gateway.mostOutstanding <= 65536, gateway.mostOutstanding);
  await socket.closed;
});

test('a writer waits while the target does not read', async () => {
  let target;
  const gateway = new FakeGateway({makeTarget: session => (target = slowTarget(session, 1))});
  const socket = through(gateway, {window: 16384, highWaterMark: 1000});
  const writer = socket.writable.getWriter();
  assert.strictEqual(writer.desiredSize, 1000);
  const writing = writer.write(new Uint8Array(500000));
  assert.strictEqual(writer.desiredSize, -499000);
  await socket.opened;
  await settled();
  assert.ok(target.received < 100000, target.received);
  await drained(target, Promise.all([writing, socket.close()]));
  assert.strictEqual(target.received, 500000);
});

// -- ends -------------------------------------------------------------------------------------------------------------

test('close() sends what was written before it, and resolves closed', async () => {
  const {gateway, targets} = recording();
  const socket = through(gateway);
  await socket.opened;
  const writer = socket.writable.getWriter(), reader = socket.readable.getReader();
  const writing = ['a', 'b', 'c'].map(letter => writer.write(bytes(letter)));
  const reading = reader.read();
  assert.strictEqual(socket.close(), socket.closed);
  await Promise.all([...writing, socket.closed]);
  assert.deepStrictEqual([targets[0].text, targets[0].ends], ['abc', 1]);
  assert.strictEqual((await reading).done, true);
  await assert.rejects(writer.write(bytes('d')), SocketError);
  assert.strictEqual(socket.close(), socket.closed);
});

test('close() waits for what waits for room, and the page can read meanwhile', async () => {
  let target;
  const gateway = new FakeGateway({makeTarget: session => (target = slowTarget(session, 1))});
  const socket = through(gateway, {window: 16384});
  await socket.opened;
  const writing = socket.writable.getWriter().write(new Uint8Array(300000));
  const closing = socket.close();
  gateway.last.respond('meanwhile');
  assert.strictEqual(text((await socket.readable.getReader().read()).value), 'meanwhile');
  await drained(target, Promise.all([writing, closing]));
  assert.strictEqual(target.received, 300000);
});

test('close(reason) fails what is written next with it', async () => {
  const socket = through(new FakeGateway());
  await socket.opened;
  const reason = new Error('enough'), writer = socket.writable.getWriter();
  await socket.close(reason);
  await assert.rejects(writer.write(bytes('x')), error => error === reason);
  await assert.rejects(writer.closed, error => error === reason);
});

for (const reason of [undefined, new Error('enough')]) {
  test(`close(${reason ? 'reason' : ''}) before the socket is open ends the attempt`, async () => {
    const {gateway, targets} = recording();
    const socket = through(gateway);
    const reading = socket.readable.getReader().read(), writing = socket.writable.getWriter().write(bytes('x'));
    await socket.close(reason);
    const isRight = error => reason ? error === reason : error instanceof SocketError;
    await assert.rejects(socket.opened, isRight);
    await assert.rejects(writing, isRight);
    assert.strictEqual((await reading).done, true);
    await until(() => gateway.sockets.every(one => one.readyState === 3), 'the WebSocket to end');
    assert.strictEqual(targets.length, 0);
  });
}

test('the end of the target ends the socket: what came can be read, and what was written is sent first', async () => {
  const {gateway, targets} = recording();
  const socket = through(gateway);
  await socket.opened;
  const writer = socket.writable.getWriter(), writing = writer.write(bytes('last'));
  gateway.last.respond('bye');
  gateway.last.finish();
  await Promise.all([writing, socket.closed]);
  assert.deepStrictEqual([targets[0].text, text(await readAll(socket.readable))], ['last', 'bye']);
  await assert.rejects(writer.write(bytes('x')), SocketError);
});

test('with allowHalfOpen the target may end its half, and be written to', async () => {
  const {gateway, targets} = recording();
  const socket = through(gateway, {allowHalfOpen: true});
  await socket.opened;
  gateway.last.respond('bye');
  gateway.last.finish();
  assert.strictEqual(text(await readAll(socket.readable)), 'bye');
  const writer = socket.writable.getWriter();
  await writer.write(bytes('more'));
  await settled();
  assert.deepStrictEqual([targets[0].text, targets[0].ends], ['more', 0]);
  await writer.close();
  await socket.closed;
});

for (const allowHalfOpen of [false, true]) {
  test(`closing writable ends our half alone, with allowHalfOpen ${allowHalfOpen}`, async () => {
    const {gateway, targets} = recording();
    const socket = through(gateway, {allowHalfOpen});
    const writer = socket.writable.getWriter();
    writer.write(bytes('all'));
    await writer.close();
    assert.deepStrictEqual([targets[0].text, targets[0].halves, targets[0].ends], ['all', 1, 0]);
    gateway.last.respond('answer');
    gateway.last.finish();
    assert.strictEqual(text(await readAll(socket.readable)), 'answer');
    await socket.closed;
  });
}

test('neither cancelling readable nor closing writable resolves closed', async () => {
  const {gateway, targets} = recording();
  const socket = through(gateway, {window: 16384});
  await socket.opened;
  await socket.readable.cancel();
  gateway.last.respond(new Uint8Array(200000));  // nobody reads it, and it holds nothing up
  await socket.writable.close();
  let isClosed = false;
  socket.closed.then(() => { isClosed = true; });
  await settled();
  assert.deepStrictEqual([isClosed, targets[0].halves, gateway.last.outgoing.length], [false, 1, 0]);
  await socket.close();
});

for (const options of [{}, {window: 16384}]) {
  test(`aborting writable drops the connection, also in the midst of a write: ${JSON.stringify(options)}`, async () => {
    const gateway = new FakeGateway({makeTarget: session => slowTarget(session, 1)});
    const socket = through(gateway, options);
    await socket.opened;
    const writer = socket.writable.getWriter(), reason = new Error('enough');
    const writing = options.window ? writer.write(new Uint8Array(200000)) : Promise.reject(reason);
    writing.catch(() => {});
    const reading = socket.readable.getReader().read();
    await settled();
    await writer.abort(reason);
    for (const failing of [writing, reading, socket.closed]) await assert.rejects(failing, error => error === reason);
    assert.ok(!gateway.last.commands().includes('finish') && !gateway.last.commands().includes('close'));
    assert.ok(gateway.last.isOver);
  });
}

test('a reset: what came before it can be read, then all fails with one error', async () => {
  const {gateway, targets} = recording();
  const socket = through(gateway);
  await socket.opened;
  gateway.last.respond('part');
  gateway.last.close('reset');
  const error = await socket.closed.catch(failure => failure);
  assert.ok(isSocketError('reset')(error));
  assert.strictEqual(error.cause.code, 5);
  const reader = socket.readable.getReader();
  assert.strictEqual(text((await reader.read()).value), 'part');
  await assert.rejects(reader.read(), failure => failure === error);
  await assert.rejects(socket.writable.getWriter().write(bytes('x')), failure => failure === error);
  assert.strictEqual(targets[0].text, '');
});

for (const failure of [
  [2, 'refused', 'connection refused'], [4, 'forbidden', 'not allowed'], [1, 'dns', 'no such name'],
]) {
  test(`a target that is not reached: ${failure[1]}`, async () => {
    const socket = through(new FakeGateway({failure}));
    const reading = socket.readable.getReader().read(), writing = socket.writable.getWriter().write(bytes('x'));
    const error = await socket.opened.catch(reason => reason);
    assert.ok(isSocketError(failure[1])(error));
    assert.deepStrictEqual([error.cause.code, error.message], [failure[0], `SocketError: ${failure[2]}`]);
    for (const failing of [socket.closed, reading, writing]) await assert.rejects(failing, one => one === error);
  });
}

test('a gateway that is not there', async () => {
  const gateway = new FakeGateway();
  gateway.refuses = true;
  await assert.rejects(through(gateway).opened, isSocketError('gateway-unreachable'));
});

test('a gateway that is lost', async () => {
  const gateway = new FakeGateway();
  const socket = through(gateway);
  await socket.opened;
  gateway.sockets[0].drop(1006);
  await assert.rejects(socket.closed, isSocketError('gateway-lost'));
});

test('a failure that nobody looks at is no unhandled rejection', async () => {
  const seen = [], see = reason => seen.push(reason);
  process.on('unhandledRejection', see);
  const gateway = new FakeGateway();
  through(new FakeGateway({failure: [2, 'refused', 'x']}), {secureTransport: 'starttls'}).startTls();
  const lost = through(gateway), dropped = through(gateway, {signal: AbortSignal.abort()});
  await Promise.all([lost.opened, dropped.closed.catch(() => {})]);
  gateway.last.close('reset');
  await settled();
  process.off('unhandledRejection', see);
  assert.deepStrictEqual(seen, []);
});

test('a gateway of before halves: closing writable fails, and the socket can be read and closed', async () => {
  const gateway = new FakeGateway({isOld: true, makeTarget: echo});
  const socket = through(gateway);
  const writer = socket.writable.getWriter();
  await writer.write(bytes('x'));
  await assert.rejects(writer.close(), isSocketError('bad-request'));
  assert.strictEqual(text((await socket.readable.getReader().read()).value), 'x');
  await socket.close();
});

test('await using closes the socket', async () => {
  const {gateway, targets} = recording();
  const socket = through(gateway);
  await socket.opened;
  socket.writable.getWriter().write(bytes('x'));
  await socket[Symbol.asyncDispose]();
  assert.deepStrictEqual([targets[0].text, targets[0].ends], ['x', 1]);
});

// -- signal -----------------------------------------------------------------------------------------------------------

test('a signal that is aborted already: nothing is connected', async () => {
  const gateway = new FakeGateway(), reason = new Error('enough');
  const socket = through(gateway, {signal: AbortSignal.abort(reason)});
  await assert.rejects(socket.opened, error => error === reason);
  await assert.rejects(socket.closed, error => error === reason);
  assert.strictEqual(gateway.sockets.length, 0);
});

for (const steps of [0, 1, 2, 3, 4, 6, 8, 12]) {
  test(`a signal that is aborted after ${steps} turns of connecting`, async () => {
    const gateway = new FakeGateway(), stop = new AbortController(), reason = new Error('enough');
    const socket = through(gateway, {signal: stop.signal});
    const reading = socket.readable.getReader().read();
    for (let step = 0; step < steps; step++) await new Promise(resolve => setImmediate(resolve));
    stop.abort(reason);
    await assert.rejects(socket.closed, error => error === reason);
    await assert.rejects(reading, error => error === reason);
    await until(() => gateway.sockets.every(one => one.readyState === 3), 'the WebSocket to end');
  });
}

test('a signal that is aborted while the socket is open drops it, also while close() waits', async () => {
  const gateway = new FakeGateway({makeTarget: session => slowTarget(session, 1)});
  const stop = new AbortController(), reason = new Error('enough');
  const socket = through(gateway, {signal: stop.signal, window: 16384});
  await socket.opened;
  const writing = socket.writable.getWriter().write(new Uint8Array(300000)), reader = socket.readable.getReader();
  const closing = socket.close();
  await settled();
  stop.abort(reason);
  for (const failing of [writing, closing, reader.read(), reader.closed]) {
    await assert.rejects(failing, error => error === reason);
  }
});

test('a signal is let go when the socket has ended, and means nothing afterwards', async () => {
  const stop = new AbortController(), listeners = new Set();
  const {addEventListener: add, removeEventListener: remove} = EventTarget.prototype;
  stop.signal.addEventListener = (type, listener) => {
    listeners.add(listener);
    add.call(stop.signal, type, listener);
  };
  stop.signal.removeEventListener = (type, listener) => {
    listeners.delete(listener);
    remove.call(stop.signal, type, listener);
  };
  const socket = through(new FakeGateway(), {signal: stop.signal});
  await socket.opened;
  assert.strictEqual(listeners.size, 1);
  await socket.close();
  await settled();
  assert.strictEqual(listeners.size, 0);
  stop.abort();
  await socket.closed;
});

// -- TLS --------------------------------------------------------------------------------------------------------------

test("secureTransport 'on': TLS from the beginning, with sni and alpn", async () => {
  const gateway = new FakeGateway();
  gateway.tls = {version: 'TLSv1.3', alpn: 'h2'};
  const options = {secureTransport: 'on', sni: 'name.example', alpn: ['h2'], tls: {ca: 'CA', verify: true}};
  const socket = through(gateway, options);
  assert.deepStrictEqual(await socket.opened, {remoteAddress: 'db.lan:5432', localAddress: null, alpn: 'h2'});
  assert.deepStrictEqual(
    gateway.last.requests[1].tls, {ca: 'CA', verify: true, servername: 'name.example', alpn: ['h2']});
  assert.deepStrictEqual([socket.secureTransport, socket.upgraded], ['on', false]);
  assert.throws(() => socket.startTls(), /^SocketError: SocketError: the socket has TLS already/);
  await socket.close();
});

test("the tls of configure() is for secureTransport 'on' and 'starttls', and never makes TLS of 'off'", async () => {
  const gateway = new FakeGateway();
  configure({gateway: URL, WebSocket: gateway.WebSocket, tls: {ca: 'CA'}});
  for (const [secureTransport, sent] of [['off', undefined], ['starttls', undefined], ['on', {ca: 'CA'}]]) {
    const socket = connect('db.lan:5432', {secureTransport});
    await socket.opened;
    assert.deepStrictEqual(gateway.last.requests[1].tls, sent);
    await socket.close();
  }
});

test('TLS that fails', async () => {
  const gateway = new FakeGateway();
  gateway.tls = [1, 'tls', 'the certificate has expired'];
  const socket = through(gateway, {secureTransport: 'on'});
  await assert.rejects(socket.opened, isSocketError('tls'));
  await assert.rejects(socket.closed, isSocketError('tls'));
});

test('a misspelt field of tls is told, and nothing goes', async () => {
  const {gateway, targets} = recording();
  const socket = through(gateway, {secureTransport: 'on', tls: {verfy: false}});
  await assert.rejects(socket.opened, /SocketError: tls has no field verfy/);
  assert.strictEqual(targets.length, 0);
});

test('startTls(): what was written goes before it in the clear, what is written to the new socket by TLS', async () => {
  const gateway = new FakeGateway();
  const socket = through(gateway, {secureTransport: 'starttls'});
  const writer = socket.writable.getWriter();
  for (const letter of 'abc') writer.write(bytes(letter));
  writer.releaseLock();
  const secure = socket.startTls();
  assert.deepStrictEqual([socket.upgraded, socket.secureTransport], [true, 'starttls']);
  assert.deepStrictEqual([secure.upgraded, secure.secureTransport], [false, 'on']);
  await secure.writable.getWriter().write(bytes('secret'));
  await Promise.all([socket.closed, secure.opened]);
  await settled();
  assert.deepStrictEqual([gateway.last.clear, gateway.last.secret], ['abc', 'secret']);
  await secure.close();
  assert.ok(gateway.last.isOver);
});

test('startTls() once the old socket was read and written in turn', async () => {
  const gateway = new FakeGateway({makeTarget: echo});
  const socket = through(gateway, {secureTransport: 'starttls', alpn: ['x']});
  const writer = socket.writable.getWriter(), reader = socket.readable.getReader();
  await writer.write(bytes('S'));
  assert.strictEqual(text((await reader.read()).value), 'S');
  for (const lock of [writer, reader]) lock.releaseLock();
  const secure = socket.startTls({expectedServerHostname: 'n', socket: 'of Node', rejectUnauthorized: true, ca: 'CA'});
  assert.strictEqual((await secure.opened).alpn, null);
  assert.deepStrictEqual(
    gateway.last.requests.find(one => one.command === 'starttls'),
    {command: 'starttls', alpn: ['x'], ca: 'CA', servername: 'n', verify: true});
  await secure.writable.getWriter().write(bytes('secret'));
  assert.strictEqual(text((await secure.readable.getReader().read()).value), 'secret');
  await secure.close();
});

test('rejectUnauthorized false is what verify false is', async () => {
  const gateway = new FakeGateway();
  const secure = through(gateway, {secureTransport: 'starttls'}).startTls({rejectUnauthorized: false});
  await secure.opened;
  assert.deepStrictEqual(gateway.last.requests.at(-1), {command: 'starttls', verify: false});
  await secure.close();
});

test('after startTls() the streams of the old socket have ended, though somebody has them', async () => {
  const gateway = new FakeGateway({makeTarget: echo});
  const socket = through(gateway, {secureTransport: 'starttls'});
  await socket.opened;
  const writer = socket.writable.getWriter(), reading = socket.readable.getReader().read();
  await settled();
  const secure = socket.startTls();
  assert.strictEqual((await reading).done, true);
  await secure.opened;
  await assert.rejects(writer.write(bytes('in the clear')), SocketError);
  await socket.close();  // means nothing any more
  await secure.writable.getWriter().write(bytes('secret'));
  assert.strictEqual(text((await secure.readable.getReader().read()).value), 'secret');
  assert.deepStrictEqual([gateway.last.clear, gateway.last.secret], ['', 'secret']);
  await secure.close();
});

test('startTls() throws where there can be no TLS any more', async () => {
  const off = through(new FakeGateway());
  assert.throws(() => off.startTls(), SocketError);
  const socket = through(new FakeGateway(), {secureTransport: 'starttls'});
  const secure = socket.startTls();
  for (const one of [socket, secure]) assert.throws(() => one.startTls(), SocketError);
  const closed = through(new FakeGateway(), {secureTransport: 'starttls'});
  await closed.close();
  assert.throws(() => closed.startTls(), SocketError);
  await Promise.all([off.close(), secure.close()]);
});

test('startTls() that fails ends all, and nothing more goes in the clear', async () => {
  const gateway = new FakeGateway();
  const socket = through(gateway, {secureTransport: 'starttls'});
  await socket.opened;
  gateway.tls = [1, 'tls', 'the certificate has expired'];
  const secure = socket.startTls();
  const writing = secure.writable.getWriter().write(bytes('secret')), reading = secure.readable.getReader().read();
  for (const failing of [secure.opened, secure.closed, writing, reading]) {
    await assert.rejects(failing, isSocketError('tls'));
  }
  assert.deepStrictEqual([gateway.last.clear, gateway.last.secret, gateway.last.isOver], ['', '', true]);
});

/* What whoever stands between may do: put something before the first byte of TLS. */
for (const [name, read] of [
  ['that nobody has read', () => {}],
  ['while a read waits', socket => { socket.readable.getReader().read(); }],
  ['while a read waited', socket => {
    const reader = socket.readable.getReader();
    reader.read().catch(() => {});
    reader.releaseLock();
  }],
]) {
  for (const when of ['before', 'in the turn of', 'behind']) {
    test(`something in the clear ${when} startTls() ends all: ${name}`, async () => {
      const gateway = new FakeGateway();
      const socket = through(gateway, {secureTransport: 'starttls'});
      await socket.opened;
      read(socket);
      await settled();
      const inject = () => gateway.sockets[0].deliver(bytes('injected'));
      if (when !== 'behind') inject();
      if (when === 'before' && name === 'while a read waits') return socket.close();  // that one has read it
      if (when === 'before') await settled();
      const secure = socket.startTls(), reading = secure.readable.getReader().read();
      if (when === 'behind') inject();
      await assert.rejects(secure.opened, /in the clear just before TLS/);
      await assert.rejects(reading, /in the clear just before TLS/);
      await until(() => gateway.last.isOver, 'the connection to end');
    });
  }
}

test('what a BYOB reader has left over ends all, too', async () => {
  const gateway = new FakeGateway();
  const socket = through(gateway, {secureTransport: 'starttls'});
  await socket.opened;
  gateway.last.respond('Sinjected');
  const reader = socket.readable.getReader({mode: 'byob'});
  assert.strictEqual(text((await reader.read(new Uint8Array(1))).value), 'S');
  reader.releaseLock();
  await assert.rejects(socket.startTls().opened, /in the clear just before TLS/);
});

test('close() of the new socket before TLS is there ends all', async () => {
  const gateway = new FakeGateway();
  const socket = through(gateway, {secureTransport: 'starttls'});
  await socket.opened;
  gateway.isPaused = true;
  const secure = socket.startTls();
  await settled();
  await secure.close();
  await assert.rejects(secure.opened, SocketError);
  assert.ok(gateway.last.isOver);
});

test('the signal of connect() is that of the new socket, too', async () => {
  const gateway = new FakeGateway(), stop = new AbortController(), reason = new Error('enough');
  const secure = through(gateway, {secureTransport: 'starttls', signal: stop.signal}).startTls();
  await secure.opened;
  stop.abort(reason);
  await assert.rejects(secure.closed, error => error === reason);
  assert.ok(gateway.last.isOver);
});
