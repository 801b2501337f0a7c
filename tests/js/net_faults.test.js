/* ws2s/net with a gateway that answers what a test wants: failures, settings, and time. */
'use strict';

const assert = require('node:assert');
const {test} = require('node:test');
const {FakeGateway, echo, until} = require('./fake_gateway.js');
const {takeTime} = require('./fake_time.js');
const {plainLibrary} = require('./net_library.js');

const URL = 'ws://gateway.test/';

const told = (socket, event) => new Promise(resolve => socket.once(event, resolve));

/* net through a gateway of its own. */
async function through(t, options) {
  const {net, tls, configure} = await plainLibrary();
  const gateway = new FakeGateway(options);
  configure({gateway: URL, WebSocket: gateway.WebSocket});
  t.after(() => configure());
  return {net, tls, gateway, configure};
}

function requestsOf(gateway) {
  return gateway.last.requests.filter(request => !(request instanceof Uint8Array));
}

const FAILURES = [
  [2, 'refused', 'ECONNREFUSED', 'connect'], [1, 'dns', 'ENOTFOUND', 'getaddrinfo'],
  [1, 'timeout', 'ETIMEDOUT', 'connect'], [1, 'unreachable', 'EHOSTUNREACH', 'connect'],
  [4, 'forbidden', 'EACCES', 'connect'], [1, 'limit', 'EAGAIN', 'connect'],
  [1, 'bad-request', 'EINVAL', 'connect'], [1, 'internal', 'EIO', 'connect'], [6, 'ssh-auth', 'EACCES', 'connect'],
  [6, 'ssh-hostkey', 'EACCES', 'connect'], [6, 'ssh-unreachable', 'EHOSTUNREACH', 'connect'],
  [6, 'ssh-timeout', 'ETIMEDOUT', 'connect'], [6, 'ssh-disabled', 'EACCES', 'connect'],
  [6, 'ssh-missing', 'EHOSTUNREACH', 'connect'], [6, 'ssh-failed', 'EHOSTUNREACH', 'connect'],
  [1, 'a-later-one', 'EIO', 'connect'],
];

for (const [number, reason, code, syscall] of FAILURES) {
  test(`${reason} is ${code}, and the words of the gateway are kept`, async t => {
    const {net} = await through(t, {failure: [number, reason, 'because']});
    const error = await told(net.connect(7, 'h'), 'error');
    assert.deepStrictEqual([error.code, error.syscall, error.cause.reason], [code, syscall, reason]);
    assert.match(error.message, new RegExp(`^${syscall} ${code} h(:7)? \\(because\\)$`));
    assert.ok(error.errno < 0);
    assert.ok(!Object.keys(error).includes('cause'));
  });
}

for (const [reason, code] of [['reset', 'ECONNRESET'], ['closed', null], ['idle', 'ETIMEDOUT']]) {
  test(`${reason} by the target is ${code || 'an end'}`, async t => {
    const {net, gateway} = await through(t);
    const socket = net.connect(7, 'h');
    let error = null;
    socket.on('error', found => { error = found; });
    await told(socket, 'ready');
    gateway.last.close(reason);
    assert.strictEqual(await told(socket, 'close'), code !== null);
    assert.strictEqual(error && error.code, code);
  });
}

test('a gateway that is not there is ENETUNREACH', async t => {
  const {net, gateway} = await through(t);
  gateway.refuses = true;
  const error = await told(net.connect(7, 'h'), 'error');
  assert.deepStrictEqual([error.code, error.cause.reason], ['ENETUNREACH', 'gateway-unreachable']);
});

test('without a gateway the error says how to give one', async () => {
  const {net, configure} = await plainLibrary();
  configure();
  assert.match((await told(net.connect(7, 'h'), 'error')).message, /^no gateway is known: call configure/);
});

test('a call may have a gateway, a token and an SSH server of its own', async t => {
  const {net, gateway} = await through(t);
  const own = new FakeGateway();
  const socket = net.connect({
    port: 7, host: 'h', gateway: 'ws://own.test/', token: 'secret', ssh: {host: 's', username: 'u'},
    WebSocket: own.WebSocket,
  });
  await told(socket, 'ready');
  const [{url, protocols}] = own.sockets;
  assert.deepStrictEqual([url, protocols.length, gateway.sockets.length], ['ws://own.test/', 1, 0]);
  const {host, port, ssh_host, ssh_username, tls} = requestsOf(own).find(({command}) => command === 'connect');
  assert.deepStrictEqual({host, port, ssh_host, ssh_username, tls},
    {host: 'h', port: 7, ssh_host: 's', ssh_username: 'u', tls: undefined});
  socket.destroy();
});

test('a Unix socket is an error that says why', async t => {
  const {net} = await through(t);
  for (const attempt of [() => net.connect('/run/x.sock'), () => net.connect({path: '/run/x.sock'})]) {
    const error = await told(attempt(), 'error');
    assert.strictEqual(error.code, 'ENOTSUP');
    assert.match(error.message, /\/run\/x\.sock.*not to Unix sockets/);
  }
});

test('what makes no sense in a page is refused when it is used', async () => {
  const {net, tls} = await plainLibrary();
  const attempts = [
    () => net.createServer(), () => new net.Server(), () => new net.Socket({fd: 3}), () => new net.Socket(3),
    () => new net.Socket({handle: {}}), () => new net.Socket({onread: {}}),
    () => tls.createServer(), () => new tls.Server(), () => tls.createSecureContext({pfx: 'x'}),
    () => tls.createSecureContext({pskCallback() {}}),
    () => tls.createSecureContext({key: '-----BEGIN ENCRYPTED PRIVATE KEY-----', passphrase: 'x'}),
    () => tls.connect({socket: new (require('node:stream').PassThrough)()}),
  ];
  for (const attempt of attempts) assert.throws(attempt, {code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM'});
});

test('names can be imported, and all of them stand in the default export', async () => {
  const {net, tls} = await plainLibrary();
  for (const {default: all, ...named} of [net, tls]) {
    assert.deepStrictEqual({...all}, named);
  }
});

test('small writes that were corked go together, large ones as they are', async t => {
  const {net, gateway} = await through(t);
  const socket = net.connect(7, 'h');
  await told(socket, 'ready');
  socket.cork();
  for (let i = 0; i < 1000; i++) socket.write('x'.repeat(100));
  socket.write(Buffer.alloc(200000, 'y'));
  socket.write('z');
  socket.uncork();
  await told(socket, 'drain');
  const sizes = gateway.last.requests.filter(request => request instanceof Uint8Array).map(({length}) => length);
  assert.deepStrictEqual(sizes, [65500, 34500, 65536, 65536, 65536, 3392, 1]);
  socket.destroy();
});

test('no more is taken from a gateway than the window and what the stream holds, while nobody reads', async t => {
  const makeTarget = session => ({onData: () => session.respond(Buffer.alloc(4194304))});
  const {net, gateway} = await through(t, {makeTarget});
  const socket = net.connect({port: 7, host: 'h', window: 65536});
  await told(socket, 'ready');
  socket.write('go');
  await until(() => socket.readableLength > 0, 'data');
  for (let i = 0; i < 50; i++) await new Promise(resolve => setImmediate(resolve));
  assert.ok(socket.readableLength <= 2 * 65536, `${socket.readableLength}`);
  assert.ok(gateway.mostOutstanding <= 65536);
  let bytes = 0;
  socket.on('data', data => { bytes += data.length; });
  await until(() => bytes === 4194304, 'all of it');
  socket.destroy();
});

const STATES = {
  'it connects': () => {},
  'it is connected': socket => told(socket, 'ready'),
  'something was written': async socket => { await told(socket, 'ready'); socket.write('x'); },
  'something was read': async socket => { socket.write('x'); await told(socket, 'data'); },
  'it is paused': async socket => { socket.pause(); socket.write('x'.repeat(100000)); await told(socket, 'ready'); },
  'our half has ended': async socket => { socket.end('x'); await told(socket, 'finish'); },
};

for (const [state, reach] of Object.entries(STATES)) {
  test(`destroyed when ${state}, nothing is left of it`, async t => {
    const {net, gateway} = await through(t, {makeTarget: echo});
    const socket = net.connect(7, 'h');
    await until(() => gateway.sockets.length > 0, 'a WebSocket');
    await reach(socket);
    socket.destroy();
    assert.strictEqual(await told(socket, 'close'), false);
    await until(() => gateway.sockets[0].readyState === 3, 'the WebSocket to be closed');
  });
}

test('a gateway that swallows everything is a reset within 45 seconds', async t => {
  const time = takeTime(t);
  const {net, gateway} = await through(t);
  const socket = net.connect(7, 'h');
  await told(socket, 'ready');
  let error = null;
  socket.on('error', found => { error = found; });
  gateway.isPaused = true;
  await time.pass(46000);
  assert.deepStrictEqual([error.code, error.syscall, error.cause.reason], ['ECONNRESET', 'read', 'gateway-lost']);
});

/* Timers that run when a test says so. */
function takeTimers(t) {
  let now = 0;
  const timers = new Set();
  t.mock.method(globalThis, 'setTimeout', (action, delay = 0) => {
    const timer = {action, at: now + delay};
    timers.add(timer);
    return timer;
  });
  t.mock.method(globalThis, 'clearTimeout', timer => timers.delete(timer));
  t.mock.method(performance, 'now', () => now);
  return milliseconds => {
    now += milliseconds;
    for (const timer of [...timers]) if (timer.at <= now && timers.delete(timer)) timer.action();
  };
}

test('a timeout counts from what has moved last, and comes once', async t => {
  const {net} = await through(t, {makeTarget: echo});
  const socket = net.connect(7, 'h');
  let timeouts = 0;
  socket.on('timeout', () => timeouts++);
  await told(socket, 'ready');
  const pass = takeTimers(t);
  socket.setTimeout(1000);
  for (let i = 0; i < 5; i++) {
    pass(900);
    socket.write('x');
    await told(socket, 'data');
  }
  pass(900);
  assert.strictEqual(timeouts, 0);
  pass(100);
  assert.strictEqual(timeouts, 1);
  pass(5000);
  assert.strictEqual(timeouts, 1);
  socket.write('x');
  pass(999);
  assert.strictEqual(timeouts, 1);
  pass(1);
  assert.strictEqual(timeouts, 2);
  socket.destroy();
});

test('a gateway that is too old for halves closes the connection at our end', async t => {
  const {net, gateway} = await through(t, {isOld: true, makeTarget: echo});
  const socket = net.connect(7, 'h');
  socket.resume();
  socket.end('x');
  assert.strictEqual(await told(socket, 'close'), false);
  assert.ok(gateway.last.commands().includes('close'));
});
