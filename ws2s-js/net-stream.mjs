/** A Duplex of the bundler's `stream` whose other end is a target behind a gateway: what net.Socket is built on. */
import {Buffer} from 'buffer';
import {Duplex} from 'stream';
import {nodeError, socketError, systemError} from './net-errors.mjs';
import {Link, tell} from './net-link.mjs';

const BATCH_BYTES = 65536;         // of small writes that were corked go in one message
const LONGEST_TIMER = 2147483647;

/** What tls.mjs sees of a socket, and no program does. */
export const LINK = Symbol('ws2s.link');
export const ADOPT = Symbol('ws2s.adopt');
export const BEGIN = Symbol('ws2s.begin');
export const CONNECTED = Symbol('ws2s.connected');
export const LOWER = Symbol('ws2s.lower');
export const UPPER = Symbol('ws2s.upper');
export const WHEN_CONNECTED = Symbol('ws2s.whenConnected');

/** Tells once when nothing has happened for so many milliseconds, and again after something has. */
class IdleTimer {
  #onIdle;
  #milliseconds = 0;
  #last = 0;
  #timer = null;

  constructor(onIdle) {
    this.#onIdle = onIdle;
  }

  /** 0 for no limit. */
  set(milliseconds) {
    this.stop();
    this.#milliseconds = Math.min(milliseconds, LONGEST_TIMER);
    this.touch();
  }

  /** Something has happened. */
  touch() {
    if (!this.#milliseconds) return;
    this.#last = performance.now();
    if (this.#timer === null) this.#arm(this.#milliseconds);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#milliseconds = 0;
  }

  // One that is set anew for every chunk would cost more than the chunk.
  #arm(milliseconds) {
    this.#timer = setTimeout(() => this.#look(), milliseconds);
    if (this.#timer.unref) this.#timer.unref();
  }

  #look() {
    this.#timer = null;
    const left = this.#last + this.#milliseconds - performance.now();
    if (left > 0) this.#arm(Math.ceil(left));
    else this.#onIdle();
  }
}

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
export class GatewayStream extends Duplex {
  /** Whether a connection is being opened. */
  connecting = false;
  /** A TLSSocket has the connection that it goes through below it, and that one has the TLSSocket above it. */
  [LOWER] = null;
  [UPPER] = null;
  [LINK] = null;

  #events = {
    chunk: bytes => this.#onChunk(bytes),
    end: () => this.#onEnd(),
    failed: error => this.destroy(socketError(error, 'read')),
    active: () => this._unrefTimer(),
  };
  #idle = new IdleTimer(() => this._onTimeout());
  #waiting = [];         // {run, fail}: what was asked before the connection stands
  #isReadAsked = false;  // before the connection stands
  #closing = null;       // {hadError, fails, timer}, until `close` is told
  #isEndTold = false;
  #received = 0;         // by connections that have ended
  #written = 0;

  constructor({allowHalfOpen, highWaterMark, readableHighWaterMark, writableHighWaterMark, signal} = {}) {
    super({
      allowHalfOpen: Boolean(allowHalfOpen), highWaterMark, readableHighWaterMark, writableHighWaterMark,
      autoDestroy: true, emitClose: true, decodeStrings: true,
    });
    if (signal) this.#heed(signal);
  }

  get bytesRead() {
    return this.#received + (this[LINK] ? this[LINK].received : 0);
  }

  /** Also those that are still to be sent. */
  get bytesWritten() {
    return this.#written + this.writableLength;
  }

  /** Something has happened: `timeout` waits. */
  _unrefTimer() {
    for (let socket = this; socket; socket = socket[LOWER]) socket.#idle.touch();
  }

  _onTimeout() {
    this.emit('timeout');
  }

  /** 0 for none. */
  _setIdle(milliseconds) {
    this.#idle.set(milliseconds);
  }

  // Node closes in a later turn than it fails, whether somebody listens to errors or not, and tells if it has failed.
  emit(name, ...values) {
    if (this.#closing && (name === 'error' || name === 'close')) this.#closeLater();
    if (name === 'end') this.#onEndTold();
    return name === 'close' && this.#closing ? true : super.emit(name, ...values);
  }

  // That of readable-stream 3 ends our half only once, and not when a program has removed all listeners.
  #onEndTold() {
    this.#isEndTold = true;
    if (!this.allowHalfOpen) queueMicrotask(() => { if (this.writable && !this._writableState.ended) this.end(); });
  }

  #closeLater() {
    const closing = this.#closing;
    closing.timer = closing.timer || setTimeout(() => {
      if (this.#closing === closing) this.#closing = null;
      super.emit('close', ...closing.hadError === undefined ? [] : [closing.hadError]);
      for (const fail of closing.fails) fail(unconnectedError());
    });
  }

  // readable-stream 3 would tell an error that comes too late.
  destroy(error, callback) {
    return this.destroyed ? this : super.destroy(error, callback);
  }

  // The stream has ended by itself, and says less.
  write(chunk, encoding, callback) {
    if (!this.#isEndTold || this.allowHalfOpen || !this._writableState.ended) return super.write(chunk, encoding, callback);
    const error = nodeError('EPIPE', 'This socket has been ended by the other party');
    const told = typeof encoding === 'function' ? encoding : callback;
    if (told) queueMicrotask(() => told(error));
    this.destroy(error);
    return false;
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
  [ADOPT](link, tlsOptions) {
    this[LINK] = link;
    const secured = link.startTls(tlsOptions, this.#events);
    this.#goOn();
    return secured;
  }

  #onOpened() {
    this.connecting = false;
    this._unrefTimer();
    this.emit('connect');
    this.emit('ready');
    if (!this.destroyed) this.#goOn();
    if (!this.destroyed) this[CONNECTED]();
  }

  #goOn() {
    for (const {run} of this.#waiting.splice(0)) run();
    if (this.#isReadAsked) this[LINK].read();
    // As Node does: the end of a connection on which nothing comes is told though nobody reads.
    else if (!this.isPaused()) this.read(0);
  }

  /** To be overridden. */
  [CONNECTED]() {}

  /** `run()` at once, or once the connection stands; `fail(error)` when there will be none. */
  [WHEN_CONNECTED](run, fail) {
    if (this[LINK] && !this.connecting) run();
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
    if (!this[LINK] || this.connecting) this.#isReadAsked = true;
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
      tell(() => this.#fail(failure, callback));
      return;
    }
    this._unrefTimer();
    this.#written += pieces.reduce((sum, piece) => sum + piece.length, 0);
    tell(callback);
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
    tell(callback, failure);
  }

  /** Forget the connection that has ended, before the next one. */
  _reset() {
    if (!this.destroyed) return;
    this._undestroy();
    for (const name of ['readable', 'writable']) if (Object.hasOwn(this, name)) this[name] = true;
    this.#closing = null;
    this.#isReadAsked = this.#isEndTold = false;
    this.#received = this.#written = 0;
    this[LINK] = this[LOWER] = this[UPPER] = null;
  }

  _destroy(error, callback) {
    const link = this[LINK], isBegun = link || this[LOWER] || this.connecting;
    this.connecting = false;
    this.#idle.stop();
    this.#closing = {
      hadError: isBegun ? Boolean(error) : undefined, fails: this.#waiting.splice(0).map(({fail}) => fail), timer: null,
    };
    if (link) this.#leave(link);
    for (const other of [this[UPPER], this[LOWER]]) if (other) other.destroy();
    // Those of readable-stream 3 are its own, and stay as they are.
    for (const name of ['readable', 'writable']) if (Object.hasOwn(this, name)) this[name] = false;
    callback(error);
  }

  #leave(link) {
    this.#received += link.received;
    this[LINK] = null;
    link.close();
  }

  #heed(signal) {
    const abort = () => {
      const error = nodeError('ABORT_ERR', 'The operation was aborted', Error, {name: 'AbortError'});
      this.destroy(Object.assign(error, {cause: signal.reason}));
    };
    if (signal.aborted) queueMicrotask(abort);
    else signal.addEventListener('abort', abort, {once: true});
    this.once('close', () => signal.removeEventListener('abort', abort));
  }
}
