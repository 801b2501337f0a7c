/** One TCP connection through a gateway, as the sockets of net.mjs and tls.mjs use it. */
import WS2S from './ws2s.mjs';

const FIRST_PORT = 49152, PORTS = 16384;  // those that a system gives to clients
const PIECE_BYTES = 65536;  // of a long write: after each one something has happened

function ignore() {}

/** In a turn of its own, soon: in a hidden page timers may wait for a minute. */
export function later(callback) {
  const {port1, port2} = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    callback();
  };
  port2.postMessage(null);
}

/**
 * Calls a socket, and through it the listeners of a program. What these throw is no failure of the connection, and no
 * promise's: it is uncaught, as in Node.
 */
export function tell(callback, ...values) {
  try {
    callback(...values);
  } catch (error) {
    queueMicrotask(() => { throw error; });
  }
}

let ports = 0;

function nextPort() {
  return FIRST_PORT + ports++ % PORTS;
}

/**
 * A connection, and the socket that it is for just now: STARTTLS hands it over from a net.Socket to a TLSSocket.
 *
 * `events`: `chunk(bytes)`, `end()` or `failed(error)` behind each read(), and `active()` as data moves. After close()
 * and abort() there are none.
 */
export class Link {
  #events;
  #opening = new AbortController();
  #connection = null;
  #reader;
  #writer;
  #isReading = false;
  #isClosed = false;
  #securing = null;   // a promise, once TLS was asked for behind what went in the clear

  /** Bytes that have come. */
  received = 0;
  /** What was asked for: the gateway does not tell to which address that led. */
  host;
  port;
  /** Of what end the gateway uses nothing is known, but programs tell connections by their ports. */
  localPort = nextPort();
  /** As configured() gives them. */
  settings;

  constructor(events) {
    this.#events = events;
  }

  /** It rejects with what WS2S.connect() does. */
  async open(settings, {host, port, tls}) {
    Object.assign(this, {host, port, settings});
    const {gateway, ...options} = settings;
    const {signal} = this.#opening;
    const connection = await WS2S.connect(gateway, {...options, host, port, tls, halfOpen: true, signal});
    if (this.#isClosed) connection.abort();
    this.#connection = connection;
    this.#reader = connection.readable.getReader();
    this.#writer = connection.writable.getWriter();
    this.#writer.closed.catch(ignore);  // each write tells as well
  }

  /** `{version, alpn}`, or null. */
  get tls() {
    return this.#connection && this.#connection.tls;
  }

  get isClosed() {
    return this.#isClosed;
  }

  /** Whether this is what `events` belongs to now. */
  isOf(events) {
    return this.#events === events;
  }

  /** Ask for one more chunk. */
  async read() {
    if (this.#isReading) return;
    this.#isReading = true;
    let piece = {};
    try {
      piece = await this.#next();
      if (piece.isClear) this.#refuseClear();  // the connection may have been handed over just now
    } catch (error) {
      piece = {error};
    }
    this.#isReading = false;
    this.#tell(piece);
  }

  async #next() {
    const {value, done} = await this.#reader.read();
    const isClear = !done && !this.tls;
    if (isClear) this.#refuseClear();
    if (this.#securing) await this.#securing;
    return {value, done, isClear};
  }

  #tell({value, done, error}) {
    if (this.#isClosed) return;
    if (value) this.received += value.length;
    const {chunk, end, failed} = this.#events;
    if (error !== undefined) tell(failed, error);
    else tell(done ? end : chunk, value);
  }

  // Read before TLS was asked for, and not yet told: it would seem to have come by TLS.
  #refuseClear() {
    if (!this.#securing) return;
    const error = new WS2S.WS2SError(1, 'tls', 'something came in the clear just before TLS');
    this.#connection.abort(error);
    throw error;
  }

  /** Resolves when it was sent, and there is room for more. */
  async write(bytes) {
    for (let start = 0; start < bytes.length && !this.#isClosed; start += PIECE_BYTES) {
      await this.#writer.write(bytes.subarray(start, start + PIECE_BYTES));
      this.#events.active();
    }
  }

  /** End our half; resolves when the gateway knows. A gateway that knows no halves ends both. */
  async finish() {
    try {
      await this.#connection.finish();
    } catch (error) {
      if (error.reason === 'bad-request') this.#connection.close().catch(ignore);
      else if (error.reason !== 'not-connected' && error.reason !== 'closed') throw error;
    }
  }

  /** Hand over to another socket, which speaks TLS from here on. */
  startTls(options, events) {
    this.#events = events;
    this.#securing = this.#connection.startTls(options);
    this.#securing.catch(ignore);  // who has asked is told
    return this.#securing;
  }

  /** What was written so far reaches the target; nothing is told any more. */
  close() {
    this.#shut(() => this.#connection.close().catch(ignore));
  }

  /** The same, without waiting for a target that does not read. */
  abort() {
    this.#shut(() => this.#connection.abort());
  }

  #shut(end) {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#opening.abort();
    if (!this.#connection) return;
    this.#reader.cancel().catch(ignore);
    later(end);  // what was written just now is sent first
  }
}
