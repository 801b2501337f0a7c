/** What Node's sockets do beyond a Duplex, on each `stream` that a bundler may bring: that of Node, or of npm. */
import {Duplex} from 'stream';
import {nodeError} from './net-errors.mjs';
import {later} from './net-link.mjs';

const LONGEST_TIMER = 2147483647;

/** The connection that a TLSSocket goes through was that of the socket below it. */
export const LOWER = Symbol('ws2s.lower');

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

/** A Duplex that closes, ends and times out as a socket of Node. */
export class SocketDuplex extends Duplex {
  [LOWER] = null;

  #idle = new IdleTimer(() => this._onTimeout());
  #closing = null;       // {hadError, then, isTelling}, until `close` is told
  #isEndTold = false;

  constructor({allowHalfOpen, highWaterMark, readableHighWaterMark, writableHighWaterMark, signal} = {}) {
    super({
      allowHalfOpen: Boolean(allowHalfOpen), highWaterMark, readableHighWaterMark, writableHighWaterMark,
      autoDestroy: true, emitClose: true, decodeStrings: true,
    });
    if (signal) this.#heed(signal);
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
    if (closing.isTelling) return;
    closing.isTelling = true;
    later(() => {
      if (this.#closing === closing) this.#closing = null;
      super.emit('close', ...closing.hadError === undefined ? [] : [closing.hadError]);
      closing.then();
    });
  }

  // readable-stream 3 would tell an error that comes too late.
  destroy(error, callback) {
    return this.destroyed ? this : super.destroy(error, callback);
  }

  // The stream has ended by itself, and says less.
  write(chunk, encoding, callback) {
    const isEnded = this.#isEndTold && !this.allowHalfOpen && this._writableState.ended;
    if (!isEnded) return super.write(chunk, encoding, callback);
    const error = nodeError('EPIPE', 'This socket has been ended by the other party');
    const told = typeof encoding === 'function' ? encoding : callback;
    if (told) queueMicrotask(() => told(error));
    this.destroy(error);
    return false;
  }

  /** To be called by _destroy(): `then` is called when `close` has been told. */
  _closeWith(hadError, then) {
    this.#idle.stop();
    this.#closing = {hadError, then, isTelling: false};
    this.#setOwn(false);
  }

  /** Once more as if it had never been open. */
  _reset() {
    this._undestroy();
    this.#closing = null;
    this.#isEndTold = false;
    this.#setOwn(true);
  }

  // Those of readable-stream 3 are its own, and stay as they are.
  #setOwn(value) {
    for (const name of ['readable', 'writable']) if (Object.hasOwn(this, name)) this[name] = value;
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
