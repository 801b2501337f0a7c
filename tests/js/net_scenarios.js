/*
 * Programs that use a socket of net, and what the other end does meanwhile. Each is played with Node's own net and with
 * that of ws2s, on several streams: all must see the same, but for a stream that `isUnlike`.
 *
 * `play({net, port, note, watch, sleep})`: `note` writes down what it is given, `watch(socket)` all events of a socket,
 * and resolves when it is closed. `serve(socket)` is called with each connection of the other end.
 */
'use strict';

const {finished, pipeline, PassThrough, Readable} = require('node:stream');
const {once} = require('node:events');

const HOST = '127.0.0.1';
const IDLE = 60;  // milliseconds
const LARGE = Buffer.from(Array.from({length: 300000}, (_, i) => i * 7 % 251));

const echo = socket => socket.pipe(socket);
const saying = text => socket => socket.end(text);
const quiet = socket => socket.resume();
const silent = () => {};  // it does not even end when we do
// Its writes fail with fewer words, and have no writableNeedDrain.
const readable3 = 'stream-browserify';
const code = error => error ? error.code || error.name : null;

function state({readyState, connecting, pending, destroyed, readable, writable, bytesRead, bytesWritten}) {
  // When nothing could be sent, Node counts what was to be.
  return {readyState, connecting, pending, destroyed, readable, writable, bytesRead, ...!destroyed && {bytesWritten}};
}

/* When the socket has told it. */
const told = (socket, event) => new Promise(resolve => socket.once(event, resolve));

const SCENARIOS = [
  {
    name: 'what was written comes back, and we end',
    serve: echo,
    async play({net, port, watch}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      socket.write('hello');
      socket.once('data', () => socket.end('bye'));
      await closed;
    },
  },
  {
    name: 'the target ends, and so do we',
    serve: saying('bye'),
    async play({net, port, watch}) {
      await watch(net.connect({port, host: HOST}));
    },
  },
  {
    name: 'the target ends before it has said anything, and nobody reads',
    serve: socket => socket.end(),
    async play({net, port, note}) {
      const socket = net.connect(port, HOST);
      await told(socket, 'end');
      await told(socket, 'close');
      note(state(socket));
    },
  },
  {
    name: 'the target ends, and nobody has read what it has said',
    serve: saying('unread'),
    async play({net, port, note, sleep, until}) {
      const socket = net.connect(port, HOST);
      socket.on('end', () => note('end'));
      await until(() => socket.readableLength === 6, 'what it says');
      await sleep(IDLE);
      note(state(socket));
      socket.resume();
      await told(socket, 'close');
    },
  },
  {
    name: 'with allowHalfOpen we write after the target has ended',
    serve: saying('bye'),
    async play({net, port, watch, note}) {
      const socket = net.connect({port, host: HOST, allowHalfOpen: true}), closed = watch(socket);
      await told(socket, 'end');
      note(state(socket));
      socket.write('more', error => note('written', code(error)));
      socket.end('last');
      await closed;
    },
  },
  {
    name: 'we end first, and the target answers then',
    serve: socket => { socket.resume(); socket.on('end', () => socket.end('answer')); },
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      socket.end('question', () => note('ended', state(socket)));
      await closed;
      note(state(socket));
    },
  },
  {
    name: 'we end our half at once',
    serve: socket => { socket.resume(); socket.on('end', () => socket.end()); },
    async play({net, port, watch}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      socket.end();
      await closed;
    },
  },
  {
    name: 'nobody listens',
    async play({net, closedPort, watch, note}) {
      const socket = net.connect(closedPort, HOST), closed = watch(socket);
      socket.on('error', ({address, port, syscall, errno}) => note(address, port === closedPort, syscall, errno < 0));
      socket.write('lost', error => note('written', code(error)));
      await closed;
      note(state(socket));
    },
  },
  {
    name: 'the target resets',
    isUnlike: readable3,
    serve: socket => socket.once('data', () => socket.resetAndDestroy()),
    async play({net, port, watch, note, sleep}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      socket.on('error', ({syscall, errno}) => note(syscall, errno < 0));
      socket.write('x');
      await closed;
      socket.write('y', error => note('written', code(error)));
      await sleep(IDLE);
    },
  },
  {
    name: 'a socket that was never connected',
    async play({net, watch, note, sleep}) {
      const socket = new net.Socket(), closed = watch(socket);
      note(state(socket), socket.address(), socket.remoteAddress, socket.localPort, socket.timeout);
      note(socket.setNoDelay() === socket, socket.setKeepAlive() === socket, socket.ref() === socket,
           socket.unref() === socket, socket.setTimeout(0) === socket, socket.end === socket.write);
      socket.destroy();
      await closed;
      note(state(socket));
    },
  },
  {
    name: 'a write before connect()',
    async play({net, watch, note}) {
      const socket = new net.Socket(), closed = watch(socket);
      socket.write('x', error => note('written', code(error)));
      await closed;
    },
  },
  {
    name: 'an end before connect()',
    async play({net, note, sleep}) {
      const socket = new net.Socket();
      socket.end();
      await sleep(IDLE);
      note(state(socket));
      socket.destroy();
      await told(socket, 'close');
    },
  },
  ...[['before connect()', socket => socket.destroy()],
      ['with an error', socket => socket.destroy(Object.assign(new Error('x'), {code: 'EX'}))],
      ['twice', socket => socket.destroy().destroy()]].map(([when, destroy]) => ({
    name: `destroyed while it connects, ${when}`,
    serve: silent,
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST, () => note('callback')), closed = watch(socket);
      socket.write('x', error => note('written', code(error)));
      destroy(socket);
      note(state(socket));
      await closed;
      note(state(socket));
    },
  })),
  {
    name: 'destroyed when it is connected',
    serve: silent,
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      socket.on('connect', () => socket.destroy());
      await closed;
      note(state(socket));
    },
  },
  {
    name: 'destroyed when something comes',
    serve: socket => socket.write('x'),
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      socket.on('data', () => socket.destroy());
      await closed;
      socket.destroy(new Error('late'));
      note(state(socket));
    },
  },
  {
    name: 'destroyed with an error, behind what was written',
    serve: socket => socket.resume(),
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      await told(socket, 'ready');
      socket.write('QUIT\r\n');
      socket.destroy(Object.assign(new Error('mine'), {code: 'EMINE'}));
      await closed;
    },
  },
  {
    name: 'destroyed at the end',
    serve: saying('bye'),
    async play({net, port, watch}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      socket.on('end', () => socket.destroy());
      await closed;
    },
  },
  {
    name: 'many writes before it is connected, in all encodings',
    serve: echo,
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      note(socket.write('häh'), socket.write('636465', 'hex'), socket.write('Zm9v', 'base64'));
      note(socket.write(Buffer.from('bytes')), socket.write(new Uint8Array([33, 34])), socket.write('é', 'latin1'));
      note(socket.bytesWritten, socket.writableLength > 0);
      const calls = [];
      for (const i of [1, 2, 3]) socket.write(`${i}`, error => calls.push([i, code(error), socket.bytesWritten]));
      socket.write('');
      socket.end('.', () => calls.push('ended'));
      await closed;
      note(...calls);
      note(socket.bytesWritten, socket.bytesRead);
    },
  },
  {
    name: 'what is written must be text or bytes',
    isUnlike: readable3,
    serve: echo,
    async play({net, port, note}) {
      const socket = net.connect(port, HOST);
      for (const value of [1, null, {}, undefined]) {
        try {
          socket.write(value);
        } catch (error) {
          note(error.code);
        }
      }
      socket.destroy();
      await told(socket, 'close');
    },
  },
  {
    name: 'a write after our end',
    isUnlike: readable3,
    serve: echo,
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      socket.end('x');
      socket.write('y', error => note('written', code(error)));
      await closed;
    },
  },
  {
    name: 'a write after all was destroyed',
    isUnlike: readable3,
    serve: echo,
    async play({net, port, watch, note, sleep}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      await told(socket, 'connect');
      socket.destroy();
      note(socket.write('y', error => note('written', code(error))));
      await closed;
      note(socket.write('z', error => note('written', code(error))));
      await sleep(5);
    },
  },
  {
    name: 'a write when the target has ended',
    serve: saying('bye'),
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      await told(socket, 'end');
      note(socket.write('y', error => note('written', code(error), error.message)));
      await closed;
    },
  },
  {
    name: 'paused and resumed',
    serve: socket => { socket.write('one'); socket.once('data', () => socket.end('two')); },
    async play({net, port, watch, note, sleep}) {
      const socket = net.connect(port, HOST);
      socket.pause();
      const closed = watch(socket);
      await sleep(IDLE);
      note(socket.isPaused(), socket.readableLength);
      socket.resume();
      socket.write('x');
      await closed;
    },
  },
  {
    name: 'setEncoding',
    serve: socket => {
      const bytes = Buffer.from('häß€');
      socket.write(bytes.subarray(0, 2));
      socket.once('data', () => socket.end(bytes.subarray(2)));
    },
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST);
      socket.setEncoding('utf8');
      socket.on('data', data => note(typeof data));
      socket.once('data', () => socket.write('more'));
      await watch(socket);
    },
  },
  {
    name: 'much is echoed through pipes',
    serve: echo,
    async play({net, port, note}) {
      const socket = net.connect(port, HOST), pieces = [];
      Readable.from([LARGE.subarray(0, 100000), LARGE.subarray(100000)]).pipe(socket);
      socket.pipe(new PassThrough()).on('data', data => pieces.push(data));
      await told(socket, 'close');
      note(Buffer.concat(pieces).equals(LARGE), socket.bytesRead, socket.bytesWritten);
    },
  },
  {
    name: 'a pipeline, and for await',
    serve: echo,
    async play({net, port, note}) {
      const socket = net.connect(port, HOST), pieces = [];
      pipeline(Readable.from([LARGE]), socket, error => note('sent', code(error)));
      for await (const piece of socket) pieces.push(piece);
      note(Buffer.concat(pieces).equals(LARGE), typeof pieces[0].readUInt8);
    },
  },
  {
    name: 'finished() of a socket that is destroyed',
    serve: silent,
    async play({net, port, note}) {
      const socket = net.connect(port, HOST);
      await told(socket, 'connect');
      const over = new Promise(resolve => finished(socket, resolve));
      socket.destroy();
      note(code(await over));
    },
  },
  {
    name: 'read() on readable',
    serve: saying('0123456789'),
    async play({net, port, note}) {
      const socket = net.connect(port, HOST);
      let text = '';
      socket.on('readable', () => {
        for (let piece; (piece = socket.read(4) || socket.read());) text += `${piece},`;
      });
      socket.on('end', () => note('end'));
      await told(socket, 'close');
      note(text);
    },
  },
  {
    name: 'unshift() for the next reader',
    serve: socket => socket.write('head|body'),
    async play({net, port, note}) {
      const socket = net.connect(port, HOST);
      const head = await told(socket, 'data');
      socket.pause();
      socket.unshift(head.subarray(5));
      socket.on('data', data => { note(`${data}`); socket.destroy(); });
      socket.resume();
      await told(socket, 'close');
    },
  },
  {
    name: 'corked',
    serve: echo,
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      await told(socket, 'connect');
      socket.cork();
      const calls = [];
      for (const i of [1, 2, 3]) socket.write(`${i}`, () => calls.push(i));
      note(socket.writableLength, socket.bytesWritten);
      socket.uncork();
      await told(socket, 'data');
      socket.end(LARGE.subarray(0, 10));
      await closed;
      note(...calls);
    },
  },
  {
    name: 'the buffer is full, and drains',
    isUnlike: readable3,
    serve: socket => socket.resume().on('end', () => socket.end()),
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST), closed = watch(socket, ['end', 'error', 'close']);
      note(socket.write(LARGE), socket.writableNeedDrain);
      await told(socket, 'drain');
      note(socket.writableLength);
      socket.end();
      await closed;
    },
  },
  {
    name: 'the timeout of a silent connection',
    serve: quiet,
    async play({net, port, watch, note, sleep}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      await told(socket, 'connect');
      socket.setTimeout(IDLE, () => note('called'));
      note(socket.timeout);
      await told(socket, 'timeout');
      await sleep(2 * IDLE);  // it comes once
      socket.write('x');
      await told(socket, 'timeout');
      socket.end();
      await closed;
    },
  },
  {
    name: 'no timeout once it was taken back',
    serve: quiet,
    async play({net, port, note, sleep}) {
      const socket = net.connect({port, host: HOST, timeout: IDLE});
      const listener = () => note('timeout');
      note(socket.timeout);
      socket.setTimeout(IDLE, listener);
      socket.setTimeout(0, listener);
      note(socket.timeout, socket.listenerCount('timeout'));
      await told(socket, 'connect');
      await sleep(3 * IDLE);
      socket.destroy();
      await told(socket, 'close');
    },
  },
  {
    name: 'setTimeout() takes milliseconds',
    async play({net, note}) {
      const socket = new net.Socket();
      for (const value of ['1', undefined, -1, NaN, Infinity]) {
        try {
          socket.setTimeout(value);
        } catch (error) {
          note(error.code, error.name);
        }
      }
    },
  },
  {
    name: 'the order of listeners and callbacks',
    serve: echo,
    async play({net, port, note}) {
      const socket = new net.Socket();
      socket.on('connect', () => note('first'));
      note(socket.connect(port, HOST, () => note('callback')) === socket);
      note(state(socket));
      socket.on('connect', () => note('last', state(socket)));
      socket.on('ready', () => note('ready'));
      await told(socket, 'ready');
      note(socket.remoteAddress, socket.remoteFamily, socket.remotePort === port, typeof socket.localPort);
      note(socket.address().family, socket.localPort === socket.address().port);
      socket.destroy();
      await told(socket, 'close');
      note(socket.remoteAddress, socket.localFamily, socket.address());
    },
  },
  {
    name: 'arguments that are wrong',
    async play({net, note}) {
      const tries = [() => net.connect(), () => net.connect({}), () => net.connect(65536), () => net.connect(-1, HOST),
                     () => net.connect({port: {}}), () => net.connect({port: 'x', host: HOST}), () => net.connect(1.5)];
      for (const attempt of tries) {
        try {
          attempt().on('error', error => note('error', error.code)).destroy();
          note('none');
        } catch (error) {
          note(error.name, error.code);
        }
      }
    },
  },
  {
    name: 'a port as text, and createConnection',
    serve: saying('hi'),
    async play({net, port, watch}) {
      await watch(net.createConnection(`${port}`, HOST));
      await watch(net.createConnection({port: `${port}`, host: HOST}));
    },
  },
  {
    name: 'a socket connects again after it was closed',
    serve: saying('hi'),
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST);
      await watch(socket);
      socket.connect(port, HOST);
      note(state(socket));
      await told(socket, 'close');
      note(state(socket));
    },
  },
  {
    name: 'a socket connects again after it was refused',
    serve: saying('hi'),
    async play({net, port, closedPort, watch}) {
      const socket = net.connect(closedPort, HOST);
      await watch(socket);
      socket.connect(port, HOST);
      await told(socket, 'close');
    },
  },
  {
    name: 'a second connect() while the first is under way',
    serve: silent,
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST), closed = watch(socket, ['error', 'close']);
      socket.once('error', ({syscall, errno}) => note(syscall, errno < 0));
      socket.connect(port, HOST);
      await closed;
    },
  },
  {
    name: 'destroySoon() behind what is to be written',
    serve: silent,
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      socket.write('all ');
      socket.write('of it');
      socket.destroySoon();
      await closed;
      note(state(socket));
    },
  },
  {
    name: 'resetAndDestroy()',
    serve: silent,
    async play({net, port, watch, note}) {
      const socket = net.connect(port, HOST), closed = watch(socket);
      await told(socket, 'ready');
      note(socket.resetAndDestroy() === socket, state(socket));
      await closed;
      const never = new net.Socket(), over = watch(never);
      never.resetAndDestroy();
      await over;
    },
  },
  {
    name: 'a signal ends a connection',
    serve: silent,
    async play({net, port, watch, note}) {
      const controller = new AbortController();
      const socket = net.connect({port, host: HOST, signal: controller.signal}), closed = watch(socket);
      await told(socket, 'connect');
      controller.abort();
      await closed;
    },
  },
  {
    name: 'an error without a listener is uncaught',
    async play({net, closedPort, note, uncaught}) {
      const thrown = uncaught();
      const socket = net.connect(closedPort, HOST);
      note(code(await thrown));
      await told(socket, 'close');
    },
  },
  {
    name: 'what a listener throws is uncaught',
    serve: socket => socket.write('x'),
    async play({net, port, note, uncaught}) {
      const thrown = uncaught();
      const socket = net.connect(port, HOST);
      socket.on('data', () => { throw new RangeError('mine'); });
      note(code(await thrown));
      note(state(socket));
      socket.destroy();
      await told(socket, 'close');
    },
  },
  {
    name: 'a look-up of its own',
    serve: saying('hi'),
    async play({net, port, watch, note}) {
      const lookup = (name, options, callback) => {
        note(name);
        setImmediate(() => callback(null, options.all ? [{address: HOST, family: 4}] : HOST, 4));
      };
      const socket = net.connect({port, host: 'name.test', lookup});
      socket.on('lookup', (...about) => note(about));
      await watch(socket);
    },
  },
  {
    name: 'a look-up of its own that fails',
    async play({net, watch}) {
      const lookup = (name, options, callback) => {
        setImmediate(() => callback(Object.assign(new Error('x'), {code: 'ENOTFOUND'})));
      };
      await watch(net.connect({port: 1, host: 'name.test', lookup}));
    },
  },
  {
    name: 'once() of node:events',
    serve: saying('hi'),
    async play({net, port, note}) {
      const socket = net.connect(port, HOST);
      await once(socket, 'connect');
      note(`${(await once(socket, 'data'))[0]}`);
      await once(socket, 'close');
    },
  },
  {
    name: 'isIP',
    async play({net, note}) {
      const texts = ['127.0.0.1', '1.2.3', '256.1.1.1', '01.2.3.4', '1.2.3.4.5', '', 'x', '::', '::1', '1::', ':1',
                     '1:', '1::2::3', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7::', '::2:3:4:5:6:7:8',
                     '1:2:3:4:5:6:7:8:9',
                     '::ffff:1.2.3.4', '1.2.3.4::', '1:2:3:4:5:6:1.2.3.4', 'fe80::1%eth0', 'fe80::1%', '12345::', 'g::',
                     ' ::1', '1::2:3:4:5:6:7:8', null, undefined, 1, {}, ':::', '1:2:3:4:5:6:7:1.2.3.4'];
      for (const text of texts) note(`${text}`, net.isIP(text), net.isIPv4(text), net.isIPv6(text));
    },
  },
];

module.exports = {SCENARIOS};
