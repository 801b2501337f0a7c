/* ws2s/sockets, whatever page, target, gateway and signal do, and in whatever order. */
'use strict';

const assert = require('node:assert');
const path = require('node:path');
const test = require('node:test');
const {pathToFileURL} = require('node:url');
const {FakeGateway, echo, slowTarget, settled} = require('./fake_gateway.js');

const ROUNDS = 60;  // of each seed
const WINDOW = 16384;

let sockets;
test.before(async () => {
  const file = path.join(__dirname, '..', '..', 'ws2s-js', 'sockets.mjs');
  sockets = await import(pathToFileURL(file).href);
});

/* Whole numbers below n, the same for the same seed. */
function chances(seed) {
  return n => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return Math.floor(seed / 65536) % n;
  };
}

/* One socket, and what it has promised. */
class Round {
  constructor(chance) {
    this.chance = chance;
    this.promises = [];  // [what, is it settled?]
    this.stop = new AbortController();
    const failure = chance(12) ? null : [2, 'refused', 'x'];
    this.gateway = new FakeGateway({failure, makeTarget: session => this.makeTarget(session)});
    if (!chance(12)) this.gateway.tls = [1, 'tls', 'the certificate has expired'];
    const options = {gateway: 'ws://x/', WebSocket: this.gateway.WebSocket, window: WINDOW, signal: this.stop.signal};
    if (chance(4)) this.use(sockets.connect('h:1', {...options, ...this.standardOptions()}));
    else this.useDirect(new sockets.TCPSocket('h', 1, options));
  }

  standardOptions() {
    return {allowHalfOpen: this.chance(2) === 1, secureTransport: ['off', 'on', 'starttls'][this.chance(3)]};
  }

  makeTarget(session) {
    this.target = this.chance(2) ? slowTarget(session, 20000) : echo(session);
    return this.target;
  }

  use(socket) {
    Object.assign(this, {socket, readable: socket.readable, writable: socket.writable, reader: null, writer: null});
    for (const name of ['opened', 'closed']) this.note(name, socket[name]);
  }

  useDirect(socket) {
    this.use(socket);
    socket.opened.then(({readable, writable}) => Object.assign(this, {readable, writable}), () => {});
  }

  note(what, promise) {
    const entry = [what, false];
    this.promises.push(entry);
    const settle = () => { entry[1] = true; };
    promise.then(settle, settle);
  }

  get session() {
    return this.gateway.last && this.gateway.last.target ? this.gateway.last : null;
  }

  write() {
    if (!this.writer && this.writable && !this.writable.locked) this.writer = this.writable.getWriter();
    if (this.writer) this.note('write', this.writer.write(new Uint8Array(this.chance(60000))));
  }

  read() {
    const mode = this.chance(2) ? 'byob' : undefined;
    if (!this.reader && this.readable && !this.readable.locked) this.reader = this.readable.getReader({mode});
    if (!this.reader) return;
    const isByob = this.reader instanceof ReadableStreamBYOBReader;
    this.note('read', isByob ? this.reader.read(new Uint8Array(500)) : this.reader.read());
  }

  endStream(what) {
    const lock = what === 'cancel' ? this.reader : this.writer;
    if (lock) this.note(what, lock[what](new Error('enough')));
    if (what === 'close') this.writable = this.writer = null;  // Node 20 cannot stand a write behind it
  }

  release(name) {
    if (this[name]) this[name].releaseLock();
    this[name] = null;
  }

  startTls() {
    if (!this.socket.startTls || this.socket.secureTransport !== 'starttls') return;
    try {
      this.use(this.socket.startTls());
    } catch (error) {
      assert.ok(error instanceof sockets.SocketError, error);
    }
  }

  step() {
    const {chance, session, target} = this;
    const rarely = what => () => { if (!chance(4)) what(); };
    const steps = [
      () => this.write(), () => this.write(), () => this.read(), () => this.read(), () => this.startTls(),
      () => this.release('reader'), () => this.release('writer'),
      () => session && session.respond(new Uint8Array(chance(50000))),
      () => target && target.drain && target.drain(),
      rarely(() => this.endStream('close')), rarely(() => this.endStream('abort')),
      rarely(() => this.endStream('cancel')), rarely(() => this.note('close()', this.socket.close())),
      rarely(() => session && session.finish()), rarely(() => session && session.close('reset')),
      rarely(rarely(() => this.gateway.sockets.forEach(socket => socket.drop(1006)))),
      rarely(rarely(() => this.stop.abort(new Error('stopped')))),
    ];
    steps[chance(steps.length)]();
  }

  async run() {
    for (let left = this.chance(25) + 3; left; left--) {
      this.step();
      if (this.chance(2)) await new Promise(resolve => setImmediate(resolve));
    }
    this.stop.abort(new Error('stopped'));
    await settled();
  }
}

for (const seed of [1, 2, 3, 4, 5]) {
  test(`a signal settles whatever was promised, and no WebSocket is left: seed ${seed}`, async () => {
    const chance = chances(seed);
    for (let round = 0; round < ROUNDS; round++) {
      const one = new Round(chance);
      await one.run();
      assert.deepStrictEqual(one.promises.filter(([, isSettled]) => !isSettled), [], `round ${round}`);
      assert.ok(one.gateway.sockets.every(({readyState}) => readyState === 3), `round ${round}`);
    }
  });
}
