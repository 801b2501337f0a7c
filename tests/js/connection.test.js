'use strict';

const assert = require('node:assert');
const {test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {FakeGateway, echo, slowTarget, until, settled, readAll} = require('./fake_gateway.js');

const {WS2SError} = WS2S;
const URL = 'ws://gateway.test/';
const KIB = 1024, MIB = 1024 * 1024;
const bytes = text => new TextEncoder().encode(text);

function connect(gateway, options) {
  return WS2S.connect(URL, {host: 'db.test', port: 6379, WebSocket: gateway.WebSocket, ...options});
}

function isError(code, reason) {
  return error => error instanceof WS2SError && error.code === code && error.reason === reason && error.message !== '';
}

async function write(connection, ...chunks) {
  const writer = connection.writable.getWriter();
  for (const chunk of chunks) await writer.write(chunk);
  writer.releaseLock();
}

/* Writes without end; tells how much was taken from it. */
function flood(connection, chunk) {
  const writer = connection.writable.getWriter();
  const state = {taken: 0, error: null};
  state.end = (async () => {
    for (;;) {
      await writer.ready;
      await writer.write(chunk);
      state.taken += chunk.length;
    }
  })().catch(error => { state.error = error; });
  return state;
}

const KINDS = [
  ['binary', {}, {}],
  ['base64', {}, {binary: false}],
  ['2.1.5', {isOld: true}, {}],
];

for (const [name, kind, options] of KINDS) {
  test(`${name}: what is written comes back from an echo, in order`, async () => {
    const gateway = new FakeGateway({makeTarget: echo, ...kind});
    const connection = await connect(gateway, options);
    const reader = connection.readable.getReader();
    const view = new DataView(bytes('xthree').buffer, 1);
    await write(connection, bytes('one'), bytes('two').buffer, view, new Uint8Array(0));
    let text = '';
    while (text.length < 11) text += Buffer.from((await reader.read()).value).toString();
    assert.strictEqual(text, 'onetwothree');
    await connection.close();
  });

  test(`${name}: every byte value passes both ways`, async () => {
    const gateway = new FakeGateway({makeTarget: echo, ...kind});
    const connection = await connect(gateway, options);
    const all = Uint8Array.from({length: 256}, (_, i) => i);
    await write(connection, all);
    assert.deepStrictEqual((await connection.readable.getReader().read()).value, all);
    await connection.close();
  });

  test(`${name}: a target that closes ends readable after its last byte`, async () => {
    const gateway = new FakeGateway({makeTarget: () => ({onData() {}}), ...kind});
    const connection = await connect(gateway, options);
    gateway.last.respond('last words');
    gateway.last.close();
    await connection.closed;
    assert.strictEqual((await readAll(connection.readable)).toString(), 'last words');
    await assert.rejects(connection.writable.getWriter().write(bytes('x')), isError(5, 'closed'));
  });

  test(`${name}: closing the writable closes the connection after what was written`, async () => {
    let received = '', ended = false;
    const makeTarget = () => ({onData(data) { received += Buffer.from(data); }, onEnd() { ended = true; }});
    const gateway = new FakeGateway({makeTarget, ...kind});
    const connection = await connect(gateway, options);
    const writer = connection.writable.getWriter();
    for (let i = 0; i < 10; i++) writer.write(bytes(`${i}`));
    await writer.close();
    assert.strictEqual(received, '0123456789');
    assert.ok(ended);
    await writer.closed;
    await connection.closed;
    assert.strictEqual((await readAll(connection.readable)).length, 0);
    assert.strictEqual(gateway.last.commands().pop(), 'close');
  });

  test(`${name}: a large chunk goes in pieces, and slowly when the target is slow`, async () => {
    let target;
    const gateway = new FakeGateway({makeTarget: session => (target = slowTarget(session, 256 * KIB)), ...kind});
    const connection = await connect(gateway, options);
    const writing = write(connection, new Uint8Array(5 * MIB));
    await settled();
    const session = gateway.last;
    const ahead = session.queue.reduce((sum, request) => sum + sizeOf(request), 0);
    assert.ok(ahead > MIB / 2 && ahead <= MIB, `${ahead} bytes were sent ahead`);
    while (target.received < 5 * MIB) {
      target.drain();
      await settled();
    }
    await writing;
    assert.ok(session.requests.every(request => sizeOf(request) <= 64 * KIB));
    const closing = connection.close();
    await settled();
    target.drain();
    await closing;
  });
}

function sizeOf(request) {
  if (request instanceof Uint8Array) return request.length;
  return request.command === 'sendb' ? Buffer.from(request.data, 'base64').length : 0;
}

test('binary messages are not sent before the gateway is known to take them', async () => {
  const gateway = new FakeGateway({isOld: true, makeTarget: echo});
  const connection = await connect(gateway);
  await write(connection, bytes('x'));
  assert.deepStrictEqual(gateway.last.commands(), ['ack', 'connect', 'sendb']);
  await connection.close();
});

test('the first requests are those of the contract', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway, {window: 65536});
  assert.deepStrictEqual(gateway.last.requests, [
    {command: 'ack', bytes: 0},
    {command: 'connect', host: 'db.test', port: 6379, binary: true, window: 65536},
  ]);
  await connection.close();
});

test('ssh and tls are passed on', async () => {
  const gateway = new FakeGateway();
  const ssh = {host: 's.test', port: 2222, username: 'u', password: 'p', privateKey: 'K', passphrase: 'q'};
  const connection = await connect(gateway, {ssh, tls: true});
  const {command, host, port, binary, window, ...rest} = gateway.last.requests[1];
  assert.deepStrictEqual(rest, {
    tls: true, ssh_host: 's.test', ssh_port: 2222, ssh_username: 'u', ssh_password: 'p', ssh_private_key: 'K',
    ssh_private_key_password: 'q',
  });
  await connection.close();
});

test('ssh without a host is refused: it would be a direct connection', async () => {
  const gateway = new FakeGateway();
  await assert.rejects(connect(gateway, {ssh: {username: 'u'}}), TypeError);
  await settled();
  assert.strictEqual(gateway.sessions.length, 0);
});

test('opened tells the streams and the target', async () => {
  const connection = await connect(new FakeGateway(), {port: '6379'});
  const opened = await connection.opened;
  assert.strictEqual(opened.readable, connection.readable);
  assert.strictEqual(opened.writable, connection.writable);
  assert.deepStrictEqual([opened.remoteAddress, opened.remotePort], ['db.test', 6379]);
  await connection.close();
});

const FAILURES = [
  ['refused', [2, 'refused', 'connection refused']],
  ['forbidden', [4, 'forbidden', 'no']],
  ['dns', [1, 'dns', 'no such name']],
  ['ssh-auth', [6, 'ssh-auth', 'no']],
];

for (const [name, failure] of FAILURES) {
  test(`a connect that fails rejects with code, reason and message: ${name}`, async () => {
    await assert.rejects(connect(new FakeGateway({failure})), error => {
      assert.deepStrictEqual([error.code, error.reason, error.message], failure);
      return error instanceof WS2SError && error.name === 'WS2SError';
    });
  });
}

test('2.1.5 gives no reasons: they come from the codes', async () => {
  const gateway = new FakeGateway({isOld: true, failure: [2, 'refused', 'connection refused']});
  await assert.rejects(connect(gateway), isError(2, 'refused'));
});

const NO_TEXTS = [
  ['numbers', {success: false, code: 2, reason: 7, message: 7}, [2, 'refused']],
  ['objects', {success: false, code: {}, reason: {toString: 1}, message: {toString: 1}}, [1, 'internal']],
  ['nothing', 7, [1, 'internal']],
  ['names of every object', {success: false, code: 'constructor'}, [1, 'internal']],
];

for (const [name, reply, [code, reason]] of NO_TEXTS) {
  test(`a gateway that answers with ${name} where texts should be is a failure that can be shown`, async () => {
    const gateway = new FakeGateway();
    gateway.isPaused = true;
    const connecting = connect(gateway);
    await until(() => gateway.last);
    gateway.last.reply(reply);
    await assert.rejects(connecting, isError(code, reason));
  });
}

test('a gateway that cannot be reached', async () => {
  const gateway = new FakeGateway();
  gateway.refuses = true;
  await assert.rejects(connect(gateway), isError(1, 'gateway-unreachable'));
});

test('a server that does not speak ws2s', async () => {
  const gateway = new FakeGateway();
  gateway.isPaused = true;
  const connecting = connect(gateway);
  await until(() => gateway.last);
  gateway.last.later('hello');
  await assert.rejects(connecting, isError(1, 'protocol'));
});

for (const window of [0, 16383, 16384.5, '65536', 4194305]) {
  test(`window ${JSON.stringify(window)} is refused`, async () => {
    await assert.rejects(connect(new FakeGateway(), {window}), RangeError);
  });
}

for (const reason of ['reset', 'idle']) {
  test(`${reason} fails readable after the last byte, and closed`, async () => {
    const gateway = new FakeGateway();
    const connection = await connect(gateway);
    gateway.last.respond('part');
    gateway.last.close(reason);
    await assert.rejects(connection.closed, isError(5, reason));
    const reader = connection.readable.getReader();
    assert.strictEqual(Buffer.from((await reader.read()).value).toString(), 'part');
    await assert.rejects(reader.read(), isError(5, reason));
    await assert.rejects(connection.writable.getWriter().closed, isError(5, reason));
  });
}

test('a reset as 2.1.5 tells it', async () => {
  const gateway = new FakeGateway({isOld: true});
  const connection = await connect(gateway);
  gateway.last.close('', 1);
  await assert.rejects(connection.closed, isError(1, 'reset'));
});

test('a WebSocket that is lost fails both streams, with its close code in the message', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  const reading = connection.readable.getReader().read();
  gateway.last.socket.drop(1013, 'the gateway holds too much');
  await assert.rejects(reading, isError(1, 'gateway-lost'));
  await assert.rejects(connection.closed, /1013 the gateway holds too much/);
});

test('a write that waits for room fails when the connection ends', async () => {
  const gateway = new FakeGateway({makeTarget: session => slowTarget(session, 1)});
  const connection = await connect(gateway);
  const writing = write(connection, new Uint8Array(4 * MIB));
  await settled();
  gateway.last.socket.drop(1006);
  await assert.rejects(writing, isError(1, 'gateway-lost'));
});

test('close() with a writer that waits fails its write, and ends', async () => {
  const gateway = new FakeGateway({makeTarget: session => slowTarget(session, 1)});
  const connection = await connect(gateway);
  const writing = write(connection, new Uint8Array(4 * MIB));
  await settled();
  const closed = connection.close();
  await assert.rejects(writing, isError(1, 'closed'));
  gateway.last.target.isFull = () => false;
  gateway.resume();
  await closed;
});

// -- abort ------------------------------------------------------------------------------------------------------------

/* A connection to a target that takes nothing, and so does its gateway: a close would wait. */
async function stuck(prepare = () => {}) {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  gateway.isPaused = true;
  const writer = connection.writable.getWriter();
  await prepare(writer);
  return {gateway, connection, writer};
}

test('abort() fails closed and both streams with a WS2SError', async () => {
  const {gateway, connection, writer} = await stuck();
  const reading = connection.readable.getReader().read();
  connection.abort();
  assert.ok(gateway.last.isOver);
  for (const promise of [connection.closed, reading, writer.closed, writer.write(bytes('x'))]) {
    await assert.rejects(promise, isError(1, 'aborted'));
  }
});

const GIVEN = [new Error('enough'), 'enough', null, 0];

for (const reason of GIVEN) {
  test(`abort() with ${reason} fails closed and both streams with it`, async () => {
    const {connection, writer} = await stuck();
    const reading = connection.readable.getReader().read();
    connection.abort(reason);
    for (const promise of [connection.closed, reading, writer.closed]) {
      assert.strictEqual(await promise.then(() => 'resolved', error => error), reason);
    }
  });
}

test('abort() with an error that tells of an end in order is no end in order', async () => {
  const {connection} = await stuck();
  connection.abort(new WS2SError(5, 'closed', 'the target has closed'));
  await assert.rejects(connection.closed, isError(5, 'closed'));
});

const WAITING = [
  ['close()', ({connection}) => connection.close()],
  ['close() without a writer', ({connection, writer}) => { writer.releaseLock(); return connection.close(); }],
  ['the closing of the writable', ({writer}) => writer.close()],
];

for (const [name, close] of WAITING) {
  test(`abort() ends at once though ${name} waits`, async () => {
    const all = await stuck(writer => writer.write(new Uint8Array(1000)));
    const closing = assert.rejects(close(all), isError(1, 'aborted'));
    await settled();
    assert.ok(!all.gateway.last.isOver);
    all.connection.abort();
    assert.ok(all.gateway.last.isOver);
    await closing;
    await assert.rejects(all.connection.closed, isError(1, 'aborted'));
  });
}

test('abort() ends at once though close() and a write wait', async () => {
  const {connection, gateway, writer} = await stuck();
  const writing = assert.rejects(writer.write(new Uint8Array(4 * MIB)), isError(1, 'closed'));
  await settled();
  const closing = assert.rejects(connection.close(), isError(1, 'aborted'));
  await writing;
  connection.abort();
  assert.ok(gateway.last.isOver);
  await closing;
});

test('abort() loses what has arrived and was not read', async () => {
  const {connection, gateway} = await stuck();
  gateway.last.respond('unread');
  await settled();
  connection.abort();
  await assert.rejects(connection.readable.getReader().read(), isError(1, 'aborted'));
});

test('after abort() there is no timer, and nothing of the WebSocket is heard', async t => {
  const timers = new Set();
  t.mock.method(globalThis, 'setInterval', () => { const timer = {}; timers.add(timer); return timer; });
  t.mock.method(globalThis, 'clearInterval', timer => timers.delete(timer));
  const {connection, gateway} = await stuck();
  assert.strictEqual(timers.size, 1);
  connection.abort();
  assert.strictEqual(timers.size, 0);
  gateway.last.socket.readyState = 1;
  gateway.last.socket.deliver('no JSON');
  gateway.last.socket.drop(1006);
  await assert.rejects(connection.closed, isError(1, 'aborted'));
});

const ENDS = [['in order', gateway => gateway.last.close()], ['lost', gateway => gateway.last.close('reset')]];

for (const [name, end] of ENDS) {
  test(`abort() does nothing to a connection that has ended: ${name}`, async () => {
    const gateway = new FakeGateway();
    const connection = await connect(gateway);
    gateway.last.respond('last words');
    end(gateway);
    await connection.closed.catch(error => assert.strictEqual(error.reason, 'reset'));
    connection.abort();
    assert.strictEqual(Buffer.from((await connection.readable.getReader().read()).value).toString(), 'last words');
  });
}

test('abort() twice keeps the first reason', async () => {
  const {connection} = await stuck();
  connection.abort(new Error('first'));
  connection.abort(new Error('second'));
  await assert.rejects(connection.closed, /first/);
});

test('aborting the writable is abort(), though a write waits', async () => {
  const {connection, gateway, writer} = await stuck();
  const writing = assert.rejects(writer.write(new Uint8Array(4 * MIB)));
  await settled();
  await writer.abort(new Error('enough'));
  await writing;
  await assert.rejects(connection.closed, /enough/);
  assert.ok(gateway.last.isOver);
});

test('aborting the writable without a reason is abort() without one', async () => {
  const {connection, writer} = await stuck();
  await writer.abort();
  await assert.rejects(connection.closed, isError(1, 'aborted'));
});

for (const [name, close] of [WAITING[0], WAITING[2]]) {
  test(`aborting the writable ends at once though ${name} waits`, async () => {
    const all = await stuck(writer => writer.write(new Uint8Array(1000)));
    const closing = assert.rejects(close(all), /enough/);
    await settled();
    assert.ok(!all.gateway.last.isOver);
    await all.writer.abort(new Error('enough')).catch(ignoredByClosing);
    await closing;
    assert.ok(all.gateway.last.isOver);
    await assert.rejects(all.connection.closed, /enough/);
  });
}

/* Of a stream that was being closed abort() fails as the closing does. */
function ignoredByClosing(error) {
  assert.match(error.message, /enough/);
}

test('a source that fails while it is piped into the writable aborts the connection with its error', async () => {
  const {connection, writer} = await stuck();
  writer.releaseLock();
  const source = new ReadableStream({pull(controller) { controller.error(new Error('no disk')); }});
  await assert.rejects(source.pipeTo(connection.writable), /no disk/);
  await assert.rejects(connection.closed, /no disk/);
});

test('after close() the writer that held the stream can close it, too', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  const writer = connection.writable.getWriter();
  await Promise.all([connection.close(), writer.close()]);
});

test('after close() a write fails', async () => {
  const {connection, writer} = await stuck();
  connection.close().catch(() => {});
  await assert.rejects(writer.write(bytes('x')), isError(1, 'closed'));
  connection.abort();
});

// -- close ------------------------------------------------------------------------------------------------------------

test('close() twice, and after the end, is the same', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  await Promise.all([connection.close(), connection.close()]);
  await connection.close();
  assert.strictEqual(gateway.last.commands().filter(command => command === 'close').length, 1);
});

test('what has arrived before close() can still be read', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  gateway.last.respond('early');
  await settled();
  await connection.close();
  assert.strictEqual((await readAll(connection.readable)).toString(), 'early');
});

test('text is no bytes: the writer is told', async () => {
  const connection = await connect(new FakeGateway());
  await assert.rejects(connection.writable.getWriter().write('text'), TypeError);
  await connection.close();
});

// -- signal -----------------------------------------------------------------------------------------------------------

test('a signal that was aborted before opens no WebSocket', async () => {
  const gateway = new FakeGateway();
  await assert.rejects(connect(gateway, {signal: AbortSignal.abort()}), {name: 'AbortError'});
  await settled();
  assert.strictEqual(gateway.sessions.length, 0);
});

test('a signal ends the attempt before the WebSocket is open', async () => {
  const gateway = new FakeGateway(), controller = new AbortController();
  const connecting = connect(gateway, {signal: controller.signal});
  controller.abort();
  await assert.rejects(connecting, {name: 'AbortError'});
});

test('a signal ends the attempt while the target is dialled, with its own reason', async () => {
  const gateway = new FakeGateway(), controller = new AbortController();
  gateway.isPaused = true;
  const connecting = connect(gateway, {signal: controller.signal});
  await until(() => gateway.last && gateway.last.requests.length === 2);
  controller.abort(new Error('enough'));
  await assert.rejects(connecting, /^Error: enough$/);
  assert.ok(gateway.last.isOver);
});

test('a signal has no say once the target is connected', async () => {
  const gateway = new FakeGateway({makeTarget: echo}), controller = new AbortController();
  const connection = await connect(gateway, {signal: controller.signal});
  controller.abort();
  await write(connection, bytes('x'));
  assert.strictEqual((await connection.readable.getReader().read()).value.length, 1);
  await connection.close();
});

// -- what comes -------------------------------------------------------------------------------------------------------

test('no more than the window comes before somebody reads', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway, {window: 65536});
  gateway.last.respond(new Uint8Array(MIB));
  await settled();
  assert.strictEqual(gateway.last.outstanding, 65536);
  assert.ok(!gateway.last.commands().slice(1).includes('ack'));
  gateway.last.close();
  assert.strictEqual((await readAll(connection.readable)).length, MIB);
  assert.strictEqual(gateway.mostOutstanding, 65536);
});

test('acks are given for half a window, not for each chunk', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway, {window: 16384});
  const reader = connection.readable.getReader();
  for (let i = 0; i < 64; i++) {
    gateway.last.respond(new Uint8Array(1024));
    await reader.read();
  }
  const acks = gateway.last.requests.filter(request => request.command === 'ack').slice(1);
  assert.deepStrictEqual(acks, Array(8).fill({command: 'ack', bytes: 8192}));
  await connection.close();
});

test('a readable that was cancelled takes in all that comes, and the writable goes on', async () => {
  const received = [];
  const gateway = new FakeGateway({makeTarget: () => ({onData: data => received.push(data)})});
  const connection = await connect(gateway, {window: 16384});
  gateway.last.respond(new Uint8Array(40000));
  await settled();
  await connection.readable.cancel();
  gateway.last.respond(new Uint8Array(100000));
  await settled();
  assert.strictEqual(gateway.last.outgoing.length, 0);
  await write(connection, bytes('still here'));
  await connection.close();
  assert.strictEqual(Buffer.from(received[0]).toString(), 'still here');
});

test('2.1.5 gets no acks after the first', async () => {
  const gateway = new FakeGateway({isOld: true});
  const connection = await connect(gateway, {window: 16384});
  gateway.last.respond(new Uint8Array(100000));
  gateway.last.close();
  assert.strictEqual((await readAll(connection.readable)).length, 100000);
  assert.deepStrictEqual(gateway.last.commands(), ['ack', 'connect']);
});

// -- what goes --------------------------------------------------------------------------------------------------------

test('writer.ready waits while the gateway takes nothing, and goes on when it does', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  gateway.isPaused = true;
  const state = flood(connection, new Uint8Array(32 * KIB));
  await settled();
  const before = state.taken;
  assert.ok(before <= MIB, `${before} bytes were taken`);
  await settled();
  assert.strictEqual(state.taken, before);
  gateway.resume();
  await until(() => state.taken > 8 * MIB, 'the rest');
  await connection.close();
  await state.end;
});

test('small writes do not ask the gateway each time', async () => {
  const gateway = new FakeGateway();
  const connection = await connect(gateway);
  for (let i = 0; i < 1000; i++) await write(connection, new Uint8Array(100));
  assert.ok(!gateway.last.commands().includes('ping'));
  await connection.close();
});

/* A target that reads only while what it has sent is on its way, as a simple echo server does. */
function blockingEcho(session) {
  const target = {
    pending: 0, held: [],
    onData(data) { target.held.push(data); target.pending += data.length; target.onFlow(); },
    isFull: () => target.pending >= 256 * KIB,
    onFlow() {
      while (target.held.length && !session.outgoing.length) {
        const data = target.held.shift();
        target.pending -= data.length;
        session.respond(data);
      }
      session.work();
    },
  };
  return target;
}

const SLOW_READERS = [
  // window, limits.messageBytes, size of a chunk, of all
  [1048576, 16 * MIB, 24 * MIB, 24 * MIB],
  [1048576, 4 * MIB, 24 * MIB, 24 * MIB],
  [65536, 320 * KIB, 100000, 20 * 100000],
  [16384, 320 * KIB, 1000, 500 * 1000],
  [16384, 320 * KIB, 20000, 100 * 20000],
];

for (const [window, messageBytes, chunk, size] of SLOW_READERS) {
  const name = `window ${window}, messageBytes ${messageBytes}, chunks of ${chunk}`;
  test(`a reader that is slower than the writer does not stop for good (${name})`, async () => {
    const gateway = new FakeGateway({makeTarget: blockingEcho});
    gateway.messageBytes = messageBytes;
    const connection = await connect(gateway, {window});
    const chunks = Array(size / chunk).fill(new Uint8Array(chunk));
    const writing = write(connection, ...chunks).then(() => { isWritten = true; });
    let read = 0, isWritten = false;
    const reader = connection.readable.getReader();
    while (read < size) {
      for (let i = 0; i < 20 && !isWritten; i++) await new Promise(resolve => setImmediate(resolve));
      read += (await reader.read()).value.length;
    }
    await writing;
    assert.strictEqual(read, size);
    await connection.close();
  });
}

test('a target that writes for long before it reads does not stop for good', async () => {
  const window = 16384;
  const makeTarget = session => {
    const target = {
      pending: 0, isWriting: true,
      onData(data) { target.pending += data.length; },
      isFull: () => target.isWriting && target.pending >= window,
      onFlow() {
        if (session.outgoing.length) return;
        target.isWriting = false;
        target.pending = 0;
        session.work();
      },
    };
    return target;
  };
  const gateway = new FakeGateway({makeTarget});
  gateway.messageBytes = 16 * window;
  const connection = await connect(gateway, {window});
  gateway.last.outgoing = Array(40).fill(new Uint8Array(window));
  const writing = write(connection, new Uint8Array(40 * window));
  gateway.last.flow();
  const reader = connection.readable.getReader();
  for (let read = 0; read < 40 * window;) read += (await reader.read()).value.length;
  await writing;
  await connection.close();
});

test('nobody reads: no more than four windows go ahead, and it goes on when somebody does', async () => {
  const gateway = new FakeGateway({makeTarget: blockingEcho});
  const connection = await connect(gateway, {window: 65536});
  const writing = write(connection, new Uint8Array(2 * MIB));
  await settled();
  await settled();
  const sent = gateway.last.requests.reduce((sum, request) => sum + sizeOf(request), 0);
  assert.ok(sent <= 5 * 65536, `${sent} bytes were sent`);
  let read = 0;
  const reader = connection.readable.getReader();
  while (read < 2 * MIB) read += (await reader.read()).value.length;
  await writing;
  await connection.close();
});

test('an upload goes on, not piece by piece, while a download uses its window up all the time', async () => {
  const makeTarget = session => ({
    onData() {},
    onFlow() { if (!session.outgoing.length) session.outgoing.push(new Uint8Array(2 * MIB)); },
  });
  const gateway = new FakeGateway({makeTarget});
  const connection = await connect(gateway);
  gateway.last.respond(new Uint8Array(MIB));
  const reader = connection.readable.getReader();
  let isOver = false, read = 0;
  const reading = (async () => {
    while (!isOver) read += (await reader.read()).value.length;
  })();
  await write(connection, new Uint8Array(32 * MIB));
  isOver = true;
  await reading;
  assert.ok(read < 32 * MIB, `${read} bytes had to be read meanwhile`);
  await connection.close();
});

test('instances have connect(), and the class may come with the instance', async () => {
  const gateway = new FakeGateway({makeTarget: echo});
  const connection = await new WS2S(URL, {WebSocket: gateway.WebSocket}).connect({host: 'h', port: 1});
  assert.strictEqual(gateway.last.socket.url, URL);
  await connection.close();
});
