/** A Duplex of the bundler's `stream` whose other end is a target behind a gateway: what net.Socket is built on. */
import {Buffer} from 'buffer';
import {LOWER, SocketDuplex} from './net-duplex.mjs';
import {nodeError, socketError, systemError} from './net-errors.mjs';
import {Link, tell} from './net-link.mjs';

const BATCH_BYTES = 65536;  // of small writes that were corked go in one message

/** What tls.mjs sees of a socket, and no program does. */
export const LINK = Symbol('ws2s.link');
export const ADOPT = Symbol('ws2s.adopt');
export const BEGIN = Symbol('ws2s.begin');
export const CONNECTED = Symbol('ws2s.connected');
export const UPPER = Symbol('ws2s.upper');
export const WHEN_CONNECTED = Symbol('ws2s.whenConnected');

/** Small pieces together, as far as they make one message; large ones as they are. */
function batches(pieces) {
  const groups = [];
  let bytes = BATCH_BYTES;
  for (const piece of pieces) {
    if (bytes + piece.length > BATCH_BYTES) {
      groups.push([]);
      bytes = 0;
    }
    groups[groups.length - 1].push(piece);
    bytes += piece.length;
  }
  return groups.map(group => group.length === 1 ? group[0] : Buffer.concat(group));
}

function unconnectedError() {
  return nodeError('ERR_SOCKET_CLOSED_BEFORE_CONNECTION', 'Socket closed before the connection was established');
}

/**
 * The stream of one connection at a time: [BEGIN] opens one, destroy() ends it. Errors are Node's, see net-errors.mjs.
 */
export class GatewayStream extends SocketDuplex {
  /** Whether a connection is being opened. */
  connecting = false;
  /** A TLSSocket is above the socket whose connection it goes through. */
  [UPPER] = null;
  [LINK] = null;

  #events = {
    chunk: bytes => this.#onChunk(bytes),
    end: () => this.#onEnd(),
    failed: error => this.destroy(socketError(error, 'read')),
    active: () => this._unrefTimer(),
  };
  #isReady = false;      // the connection stands, and nobody has refused its target
  #waiting = [];         // {run, fail}: what was asked before
  #isReadAsked = false;  // before
  #received = 0;         // by connections that have ended
  #written = 0;

  get bytesRead() {
    return this.#received + (this[LINK] ? this[LINK].received : 0);
  }

  /** Also those that are still to be sent. */
  get bytesWritten() {
    return this.#written + this.writableLength;
  }

  /** Open a connection to `{host, port, tls}`, with the settings of configured(). */
  [BEGIN](settings, target) {
    const link = new Link(this.#events);
    this[LINK] = link;
    link.open(settings, target).then(
      () => { if (!link.isClosed) tell(() => this.#onOpened()); },
      error => { if (!link.isClosed) this.destroy(socketError(error, 'connect', target)); });
  }

  /** Take over the connection of another socket, with TLS. */
  async [ADOPT](link, tlsOptions) {
    this[LINK] = link;
    const secured = link.startTls(tlsOptions, this.#events);
    link.read();  // what comes in the clear is found at once
    await secured;
    if (!this.destroyed) tell(() => this.#begin());
  }

  #onOpened() {
    this.connecting = false;
    this._unrefTimer();
    this.emit('connect');
    this.emit('ready');
    if (!this.destroyed) this.#begin();
  }

  // A target that is refused must not get what waits.
  #begin() {
    this[CONNECTED]();
    if (this.destroyed) return;
    this.#isReady = true;
    for (const {run} of this.#waiting.splice(0)) run();
    if (this.#isReadAsked) this[LINK].read();
    // As Node does: the end of a connection on which nothing comes is told though nobody reads.
    else if (!this.isPaused()) this.read(0);
  }

  /** To be overridden: it may refuse the target by destroy(). */
  [CONNECTED]() {}

  /** `run()` at once, or once the connection stands; `fail(error)` when there will be none. */
  [WHEN_CONNECTED](run, fail) {
    if (this.#isReady) run();
    else this.#waiting.push({run, fail});
  }

  get #isHandedOver() {
    return this[LINK] !== null && !this[LINK].isOf(this.#events);
  }

  #onChunk(bytes) {
    this._unrefTimer();
    this.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }

  #onEnd() {
    this.push(null);
    this.read(0);  // tells it, unless something is still to be read
  }

  _read() {
    if (!this.#isReady) this.#isReadAsked = true;
    else if (!this.#isHandedOver) this[LINK].read();
  }

  _write(chunk, encoding, callback) {
    this.#send([chunk], callback);
  }

  _writev(items, callback) {
    this.#send(batches(items.map(({chunk}) => chunk)), callback);
  }

  #send(pieces, callback) {
    if (!this[LINK] && !this.connecting && !this[LOWER]) {
      queueMicrotask(() => this.#fail(nodeError('ERR_SOCKET_CLOSED', 'Socket is closed'), callback));
    } else if (this.#isHandedOver) {
      const error = systemError('EPIPE', 'write', 'the connection speaks TLS, and a TLSSocket has it');
      queueMicrotask(() => this.#fail(error, callback));
    } else {
      this[WHEN_CONNECTED](() => this.#sendNow(pieces, callback), callback);
    }
  }

  // readable-stream 3 does not tell an error that only its callback is given.
  #fail(error, callback) {
    this.destroy(error);
    callback(error);
  }

  async #sendNow(pieces, callback) {
    const link = this[LINK];
    this._unrefTimer();
    try {
      for (const piece of pieces) await link.write(piece);
    } catch (error) {
      const failure = link.isClosed ? systemError('ECANCELED', 'write', 'the socket was destroyed')
        : socketError(error, 'write');
      if (!this.#isPast(link)) tell(() => this.#fail(failure, callback));
      return;
    }
    if (this.#isPast(link)) return;
    this._unrefTimer();
    this.#written += pieces.reduce((sum, piece) => sum + piece.length, 0);
    tell(callback);
  }

  // The socket has been connected once more: what becomes of its last connection must not end the next one.
  #isPast(link) {
    return this[LINK] !== link && (this[LINK] !== null || this.connecting);
  }

  _final(callback) {
    if (this.#isHandedOver) callback();
    else this[WHEN_CONNECTED](() => this.#finish(callback), () => {});
  }

  async #finish(callback) {
    const link = this[LINK];
    let failure = null;
    try {
      await link.finish();
    } catch (error) {
      failure = link.isClosed ? null : socketError(error, 'shutdown');
    }
    if (!this.#isPast(link)) tell(callback, failure);
  }

  /** Forget the connection that has ended, before the next one. */
  _reset() {
    super._reset();
    this.#isReady = this.#isReadAsked = false;
    this.#received = this.#written = 0;
    this[LINK] = this[LOWER] = this[UPPER] = null;
  }

  _destroy(error, callback) {
    const link = this[LINK], isBegun = link || this[LOWER] || this.connecting;
    const waiting = this.#waiting.splice(0);
    this.connecting = this.#isReady = false;
    this._closeWith(isBegun ? Boolean(error) : undefined, () => {
      for (const {fail} of waiting) fail(unconnectedError());
    });
    if (link) this.#leave(link);
    for (const other of [this[UPPER], this[LOWER]]) if (other) other.destroy();
    callback(error);
  }

  #leave(link) {
    this.#received += link.received;
    this[LINK] = null;
    link.close();
  }
}
