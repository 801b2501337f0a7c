/**
 * TCP sockets of two standards, for pages, through a ws2s gateway: connect() of the WinterTC sockets proposal, which
 * `cloudflare:sockets` has, and TCPSocket of Direct Sockets.
 *
 *     import {configure, connect, TCPSocket} from './sockets.mjs';
 *     configure({gateway: 'wss://gateway.example/'});
 *     const socket = connect('mail.lan:25', {secureTransport: 'starttls'});
 *     const {readable, writable} = await new TCPSocket('mail.lan', 25).opened;
 *
 * A Wire is the connection, which is yet to come. An Inlet and an Outlet make its two streams; they can be used before
 * it is open, and handed over to those of TLS. Flow control is that of ws2s.js: no stream here holds more than a chunk.
 */

import {configure, configured} from './gateway.mjs';
import WS2S from './ws2s.mjs';

export {configure};

const OURS = ['gateway', 'token', 'ssh', 'timeout', 'heartbeat', 'window', 'binary', 'WebSocket'];
const TLS_OURS = ['servername', 'ca', 'cert', 'key', 'alpn', 'verify'];
// Of Node's tls.connect(): what would protect, and cannot be heeded.
const TLS_UNKNOWN = ['secureContext', 'pfx', 'crl', 'minVersion', 'checkServerIdentity'];
const KINDS = ['off', 'on', 'starttls'];
const WAITING_BYTES = 65536;  // that a writer may give before it is told to wait
const SMALLEST_WINDOW = 16384, LARGEST_WINDOW = 4194304;
const ASYNC_DISPOSE = Symbol.asyncDispose || Symbol.for('Symbol.asyncDispose');

function ignore() {}

// =====================================================================================================================
// Errors
// =====================================================================================================================

/** What goes wrong with a socket of connect(). Its `cause` is a WS2SError with a `code` and a `reason`, if one is. */
export class SocketError extends TypeError {
  constructor(message, options) {
    super(`SocketError: ${message}`, options);
    this.name = 'SocketError';
  }
}

function socketErrorOf(error) {
  return error instanceof SocketError ? error : new SocketError(error.message, {cause: error});
}

// Chromium's own DOMException takes no cause.
function domExceptionOf(error, name = error.reason === 'forbidden' ? 'NotAllowedError' : 'NetworkError') {
  return Object.defineProperty(new DOMException(error.message, name), 'cause', {value: error, configurable: true});
}

function invalidState(message) {
  return new DOMException(message, 'InvalidStateError');
}

// =====================================================================================================================
// Arguments
// =====================================================================================================================

function portOf(value) {
  const port = typeof value === 'string' && /^[0-9]+$/.test(value) ? Number(value) : value;
  if (Number.isInteger(port) && port >= 1 && port <= 65535) return port;
  throw new SocketError('a port is a number from 1 to 65535');
}

// Which names there are the gateway knows. An address of IPv6 has brackets in a text, and nowhere else.
function hostOf(value) {
  if (typeof value !== 'string') throw new SocketError('a host is a name or an address');
  const host = value.replace(/^\[([0-9a-fA-F:.]+(%[^\]]+)?)\]$/, '$1');
  if (host && host.length <= 255 && !/[\s\0-\x1f\x7f/?#@\\[\]]/.test(host)) return host;
  throw new SocketError('a host is a name or an address');
}

function addressOf(address) {
  if (typeof address === 'object' && address !== null) {
    return {host: hostOf(address.hostname), port: portOf(address.port)};
  }
  const [, host, port] = /^(\[[^\]]*\]|[^:[\]]+):([0-9]{1,5})$/.exec(address) || [];
  if (host === undefined) throw new SocketError('an address is host:port or [address of IPv6]:port');
  return {host: hostOf(host), port: portOf(port)};
}

function textOfAddress({host, port}) {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function dictionary(options) {
  if (options === undefined || options === null) return {};
  if (typeof options === 'object' || typeof options === 'function') return options;
  throw new SocketError('the options are no object');
}

function picked(options, names) {
  return Object.fromEntries(names.filter(name => options[name] !== undefined && options[name] !== null)
    .map(name => [name, options[name]]));
}

/** `secureTransport`, and the fields of TLS for now or for later. */
function securityOf(options) {
  const {secureTransport = 'off', sni, alpn, tls} = options;
  if (!KINDS.includes(secureTransport)) throw new SocketError(`secureTransport is one of ${KINDS.join(', ')}`);
  const wishes = {...tls && tls !== true ? tls : {}};
  if (sni !== undefined && sni !== null) wishes.servername = sni;
  if (alpn && alpn.length) wishes.alpn = Array.isArray(alpn) ? [...alpn] : alpn;
  // What was asked for and would not be done: all would go in the clear.
  if (secureTransport === 'off' && (tls || Object.keys(wishes).length)) {
    throw new SocketError('sni, alpn and tls are for secureTransport on and starttls');
  }
  return {secureTransport, tls: wishes};
}

// Drivers pass the options of Node's tls.connect() to startTls(), with much that is not for us.
function tlsOf(options) {
  const {expectedServerHostname, rejectUnauthorized} = options;
  const [unknown] = Object.keys(picked(options, TLS_UNKNOWN));
  if (unknown) throw new SocketError(`startTls() knows no option ${unknown}`);
  const fields = picked(options, TLS_OURS);
  if (expectedServerHostname !== undefined) fields.servername = expectedServerHostname;
  if (typeof rejectUnauthorized === 'boolean') fields.verify = rejectUnauthorized;
  return fields;
}

function bytesOf(chunk) {
  if (ArrayBuffer.isView(chunk)) return chunk;
  if (Object.prototype.toString.call(chunk) === '[object ArrayBuffer]') return chunk;
  throw new TypeError('a socket takes bytes: a Uint8Array, another view or an ArrayBuffer; text must be encoded');
}

// =====================================================================================================================
// The connection and its streams
// =====================================================================================================================

/** A promise with its handles. It may be rejected though nobody looks at it. */
function promised() {
  const handles = {};
  handles.promise = handled(new Promise((resolve, reject) => Object.assign(handles, {resolve, reject})));
  return handles;
}

function handled(promise) {
  promise.catch(ignore);
  return promise;
}

/** A connection that is yet to come: `opened` resolves to it, `closed` when it has ended in order. */
class Wire {
  #translate;
  #connection = null;
  #stop = new AbortController();
  #dropped = null;  // {reason}
  #last = null;     // the error that was translated last: all that fails of one cause fails with one error

  opened;
  closed;

  /** `translate` makes the errors of a standard of those of ws2s.js. */
  constructor({gateway, signal, ...options}, translate) {
    this.#translate = translate;
    const drop = () => this.drop(signal.reason);
    if (signal) signal.addEventListener('abort', drop);
    if (signal && signal.aborted) drop();
    this.opened = handled(this.#open(gateway, options));
    this.closed = handled(this.#follow());
    if (signal) this.closed.catch(ignore).then(() => signal.removeEventListener('abort', drop));
  }

  /** Is it over because somebody here wanted that? */
  get isDropped() {
    return this.#dropped !== null;
  }

  /** End all at once; everything fails with `reason`. */
  drop(reason) {
    if (this.#dropped) return;
    this.#dropped = {reason};
    this.#stop.abort(reason);
    if (this.#connection) this.#connection.abort(reason);
  }

  /** The error to show for one of ws2s.js. */
  errorOf(error) {
    if (this.#dropped) return this.#dropped.reason;
    if (!this.#last || this.#last.cause !== error) this.#last = this.#translate(error);
    return this.#last;
  }

  // Other ends are the business of whoever has the streams, so a target may end its half alone.
  async #open(gateway, options) {
    try {
      const {signal} = this.#stop;
      this.#connection = await WS2S.connect(gateway, {...options, halfOpen: true, signal});
      if (this.#dropped) this.#connection.abort(this.#dropped.reason);
      signal.throwIfAborted();
      return this.#connection;
    } catch (error) {
      throw this.errorOf(error);
    }
  }

  async #follow() {
    const connection = await this.opened;
    try {
      await connection.closed;
    } catch (error) {
      throw this.errorOf(error);
    }
  }
}

/** What comes: a stream of bytes, which takes a chunk of the connection when somebody reads. */
class Inlet {
  #ready;
  #wire;
  #controller;
  #reader = null;
  #pulling = null;
  #isOver = false;
  #hasRest = false;   // something has come behind the end of this stream
  #over = promised();

  /** `ready`: a promise of the connection. */
  constructor(ready, wire) {
    this.#ready = ready;
    this.#wire = wire;
    this.stream = new ReadableStream({
      type: 'bytes',
      start: controller => { this.#controller = controller; },
      pull: () => { this.#pulling = this.#move(); return this.#pulling; },
      cancel: () => this.#cancel(),
    });
    ready.catch(error => this.fail(error));
  }

  /** Resolves when the stream has ended in any way. */
  get over() {
    return this.#over.promise;
  }

  fail(error) {
    if (this.#isOver) return;
    this.#setOver();
    this.#controller.error(error);
  }

  /** The end of the stream; what comes is thrown away. */
  close() {
    if (this.#isOver) return;
    this.#end();
    this.#discard();
  }

  /**
   * The end of the stream; what comes is for the next one. Resolves to whether something has come that nobody read.
   */
  async detach() {
    const hasUnread = this.#controller.desiredSize < 0;
    if (!this.#isOver) this.#end();
    if (this.#reader) this.#reader.releaseLock();
    await this.#pulling;
    return hasUnread || this.#hasRest;
  }

  async #move() {
    try {
      const connection = await this.#ready;
      if (this.#isOver) return;
      this.#reader = this.#reader || connection.readable.getReader();
      this.#take(await this.#next());
    } catch (error) {
      this.fail(this.#wire.errorOf(error));
    }
  }

  // A stream of bytes cannot stand an empty chunk.
  async #next() {
    for (;;) {
      const piece = await this.#reader.read();
      if (piece.done || piece.value.length) return piece;
    }
  }

  #take({done, value}) {
    if (this.#isOver) this.#hasRest = !done;
    else if (done) this.#end();
    else this.#controller.enqueue(value);
  }

  #cancel() {
    this.#setOver();
    this.#discard();
  }

  #discard() {
    const cancel = connection => (this.#reader || connection.readable).cancel();
    this.#ready.then(cancel).catch(ignore);  // it has failed, and that is told elsewhere
  }

  #end() {
    this.#setOver();
    try {
      this.#controller.close();
    } catch (error) {
      return;  // the stream has failed by it: a view of larger elements was filled to the half of one
    }
    if (this.#controller.byobRequest) this.#controller.byobRequest.respond(0);
  }

  #setOver() {
    this.#isOver = true;
    this.#over.resolve();
  }
}

/** What goes: a stream of bytes, which gives a chunk to the connection when that takes it. */
class Outlet {
  #ready;
  #wire;
  #controller;
  #writer = null;
  #given = 0;         // chunks that somebody has asked the stream to write
  #written = 0;       // those of them that the connection has taken
  #flushes = [];      // {behind, resolve, reject}
  #ending = null;     // {error}, null for the error of an end in order
  #isWriting = false;
  #over = promised();

  /** `onAbort(reason, isWriting)`: somebody aborts the stream, and may be in the midst of a chunk. */
  constructor(ready, wire, highWaterMark, onAbort) {
    this.#ready = ready;
    this.#wire = wire;
    this.stream = new WritableStream({
      start: controller => this.#start(controller, onAbort),
      write: chunk => this.#write(chunk),
      close: () => this.#finish(),
    }, {highWaterMark, size: chunk => this.#sizeOf(chunk)});
    ready.catch(error => this.fail(error));
  }

  /** Resolves when the stream has ended in any way. */
  get over() {
    return this.#over.promise;
  }

  fail(error) {
    if (this.#ending) return;
    this.#end(error);
    this.#controller.error(error);
  }

  /** The stream fails with `error`; its place at the connection is free for the next one. */
  detach(error) {
    this.fail(error);
    if (this.#writer) this.#writer.releaseLock();
  }

  /** Resolves when the connection has all that was written so far, rejects when it never will. */
  flush() {
    return new Promise((resolve, reject) => {
      this.#flushes.push({behind: this.#given, resolve, reject});
      this.#lookAtFlushes();
    });
  }

  // The stream itself would wait for the write that waits for room.
  #start(controller, onAbort) {
    this.#controller = controller;
    controller.signal.addEventListener('abort', () => {
      const {reason} = controller.signal;
      this.#end(reason);
      // Later: the stream is in the midst of its own abort.
      queueMicrotask(() => onAbort(reason, this.#isWriting));
    });
  }

  // The stream asks when a chunk is given to it, which may be long before it is written.
  #sizeOf(chunk) {
    this.#given++;
    return chunk && chunk.byteLength || 0;
  }

  async #write(chunk) {
    this.#isWriting = true;
    try {
      await this.#send(bytesOf(chunk));
    } catch (error) {
      this.#end(error);  // the stream has failed
      throw error;
    } finally {
      this.#isWriting = false;
    }
    this.#written++;
    this.#lookAtFlushes();
  }

  async #send(bytes) {
    try {
      const connection = await this.#ready;
      if (this.#ending) throw this.#ending.error;
      this.#writer = this.#writer || connection.writable.getWriter();
      await this.#writer.write(bytes);
    } catch (error) {
      throw this.#ending ? this.#ending.error : this.#wire.errorOf(error);
    }
  }

  async #finish() {
    try {
      await (await this.#ready).finish();
    } catch (error) {
      const failure = this.#wire.errorOf(error);
      this.#end(failure);
      throw failure;
    }
    this.#end(null);
  }

  #end(error) {
    this.#ending = this.#ending || {error};
    this.#over.resolve();
    this.#lookAtFlushes();
  }

  #lookAtFlushes() {
    const isDone = ({behind}) => this.#written >= behind;
    for (const flush of this.#flushes.splice(0)) {
      if (isDone(flush)) flush.resolve();
      else if (this.#ending) flush.reject(this.#ending.error);
      else this.#flushes.push(flush);
    }
  }
}

// =====================================================================================================================
// connect()
// =====================================================================================================================

/** A socket of the WinterTC proposal. Made by connect(), and by startTls(). */
class Socket {
  #wire;
  #settings;             // address, secureTransport, tls, allowHalfOpen, highWaterMark
  #inlet;
  #outlet;
  #connection = null;    // once it is open
  #opened = promised();
  #closed = promised();
  #isUpgraded = false;
  #isClosing = false;
  #isOver = false;

  /** `ready`: a promise of the connection, as far as this socket may use it. */
  constructor(wire, ready, settings) {
    this.#wire = wire;
    this.#settings = settings;
    this.#inlet = new Inlet(ready, wire);
    // Whoever gets the first part of something must not take it for the whole: there is no end in order.
    this.#outlet = new Outlet(ready, wire, settings.highWaterMark, reason => wire.drop(reason));
    this.#follow(ready);
  }

  /** What the target sends: a ReadableStream of bytes, with BYOB readers, too. */
  get readable() {
    return this.#inlet.stream;
  }

  /** What the target gets: a WritableStream of bytes. Closing it ends our half, aborting it drops the connection. */
  get writable() {
    return this.#outlet.stream;
  }

  /** Resolves to `{remoteAddress, localAddress, alpn}` once the target is connected, and TLS is there. */
  get opened() {
    return this.#opened.promise;
  }

  /** Resolves when the connection has ended in order, or belongs to the socket of startTls(). */
  get closed() {
    return this.#closed.promise;
  }

  /** Has startTls() been called? */
  get upgraded() {
    return this.#isUpgraded;
  }

  /** @returns {'off'|'on'|'starttls'} */
  get secureTransport() {
    return this.#settings.secureTransport;
  }

  /**
   * Close the socket. What was written reaches the target; what was not read is lost. Before it is open nothing was
   * sent, and the attempt ends. Gives `closed`.
   *
   * @param {*} [reason] that `writable` fails with, and `opened` if it is not settled yet
   */
  close(reason) {
    if (!this.#isClosing && !this.#isOver && !this.#isUpgraded) {
      this.#isClosing = true;
      this.#close(reason === undefined ? new SocketError('the socket has been closed') : reason);
    }
    return this.closed;
  }

  /** close(), for `await using`. */
  async [ASYNC_DISPOSE]() {
    await this.close();
  }

  /**
   * Speak TLS from here on, on a socket of its own; the streams of this one end. What was written goes before, in the
   * clear. Throws a SocketError where TLS is not possible any more.
   *
   * @param {object} [options] `expectedServerHostname`, and `servername`, `ca`, `cert`, `key`, `alpn`, `verify`;
   *   others mean nothing, unless they would protect: these throw
   * @returns {Socket}
   */
  startTls(options) {
    this.#refuseTls();
    const tls = {...this.#settings.tls, ...tlsOf(dictionary(options))};
    this.#isUpgraded = true;
    const ready = handled(this.#upgrade(tls));
    return new Socket(this.#wire, ready, {...this.#settings, secureTransport: 'on'});
  }

  #refuseTls() {
    if (this.#isUpgraded) throw new SocketError('startTls() has been called already');
    if (this.secureTransport === 'on') throw new SocketError('the socket has TLS already');
    if (this.secureTransport === 'off') throw new SocketError("startTls() wants secureTransport: 'starttls'");
    if (this.#isClosing || this.#isOver) throw new SocketError('the socket has been closed');
  }

  async #upgrade(tls) {
    const detaching = this.#inlet.detach();
    try {
      const connection = await this.#wire.opened;
      await this.#outlet.flush();
      this.#outlet.detach(new SocketError('the connection belongs to the socket of startTls()'));
      this.#closed.resolve();
      // Whoever stands between could put words of their own before those that come by TLS.
      if (await detaching) throw new SocketError('something came in the clear just before TLS');
      await connection.startTls(tls);
      return connection;
    } catch (error) {
      const failure = this.#wire.errorOf(error);
      this.#closed.reject(failure);
      this.#wire.drop(failure);
      throw failure;
    }
  }

  async #follow(ready) {
    try {
      const connection = await ready;
      this.#onOpen(connection);
      await this.#wire.closed;
      this.#end(null);
    } catch (error) {
      this.#end({error});
    }
  }

  #onOpen(connection) {
    if (this.#isOver) return;
    this.#connection = connection;
    this.#opened.resolve({
      remoteAddress: textOfAddress(this.#settings.address), localAddress: null,
      alpn: connection.tls ? connection.tls.alpn : null,
    });
    if (this.#settings.allowHalfOpen) return;
    connection.finished.then(() => this.#shut(new SocketError('the target has ended the connection')), ignore);
  }

  #close(reason) {
    if (this.#connection) {
      this.#shut(reason).then(() => this.#inlet.close());
      return;
    }
    this.#opened.reject(reason);
    this.#closed.resolve();
    this.#inlet.close();
    this.#wire.drop(reason);
  }

  async #shut(reason) {
    await this.#outlet.flush().catch(ignore);  // what is lost with the connection is told by `closed`
    if (this.#isOver || this.#isUpgraded) return;
    this.#outlet.fail(reason);
    this.#connection.close().catch(ignore);
  }

  // What came before the loss can be read, and then the stream fails. Not so when it is the page that wants no more.
  #end(failure) {
    if (this.#isOver) return;
    this.#isOver = true;
    const error = failure ? failure.error : new SocketError('the connection has ended');
    this.#opened.reject(error);
    if (failure) this.#closed.reject(error);
    else this.#closed.resolve();
    if (this.#wire.isDropped) this.#inlet.fail(error);
    this.#outlet.fail(error);
  }
}

/**
 * Connect to a target, as `cloudflare:sockets` and the WinterTC proposal have it.
 *
 * Throws a SocketError for an address or an option that makes no sense, and a TypeError when no gateway is known. All
 * else that fails rejects `opened` and `closed`, and fails the streams, with a SocketError whose `cause` is the
 * WS2SError, or with the reason of `signal`.
 *
 * @param {string|{hostname: string, port: number}} address `host:port`, `[address of IPv6]:port`
 * @param {object} [options] `secureTransport` ('off', 'on' or 'starttls'), `allowHalfOpen`, `sni`, `alpn`,
 *   `highWaterMark` (bytes); `signal` for the whole life of the socket, `tls` (`{ca, cert, key, verify}`), and
 *   `gateway`, `token`, `ssh`, `timeout`, `heartbeat`, `window`, `binary`, `WebSocket` as of configure()
 * @returns {Socket}
 */
export function connect(address, options) {
  const given = dictionary(options), target = addressOf(address), security = securityOf(given);
  const {tls: common, ...settings} = configured(import.meta.url, picked(given, OURS));
  const tls = {...common, ...security.tls};
  const isSecure = security.secureTransport === 'on';
  const {signal, allowHalfOpen, highWaterMark = WAITING_BYTES} = given;
  if (!(typeof highWaterMark === 'number' && highWaterMark >= 0)) throw new SocketError('highWaterMark is a number');
  const wire = new Wire({...settings, ...target, tls: isSecure ? tls : undefined, signal}, socketErrorOf);
  return new Socket(wire, wire.opened, {
    address: target, secureTransport: security.secureTransport, tls, allowHalfOpen: Boolean(allowHalfOpen),
    highWaterMark,
  });
}

// =====================================================================================================================
// TCPSocket
// =====================================================================================================================

function numberOption(options, name, least) {
  if (options[name] === undefined) return undefined;
  const number = Math.trunc(Number(options[name]));
  if (number >= least && number <= 4294967295) return number;
  throw new TypeError(`${name} must be a number from ${least} to 4294967295`);
}

function checkedOptions(options) {
  const {dnsQueryType, secureTransport = 'off', sni, alpn} = options;
  // The words of connect(): all would go in the clear.
  if (secureTransport !== 'off' || sni || alpn) throw new TypeError('a TCPSocket has TLS by the option tls alone');
  if (dnsQueryType !== undefined && dnsQueryType !== 'ipv4' && dnsQueryType !== 'ipv6') {
    throw new TypeError('dnsQueryType is ipv4 or ipv6');
  }
  numberOption(options, 'keepAliveDelay', 1000);
  const window = numberOption(options, 'receiveBufferSize', 1);
  return {
    highWaterMark: numberOption(options, 'sendBufferSize', 1) || WAITING_BYTES,
    window: window && Math.min(Math.max(window, SMALLEST_WINDOW), LARGEST_WINDOW),
  };
}

/**
 * A socket of Direct Sockets. Each half ends by itself: the connection has ended when both have.
 *
 * `noDelay`, `keepAliveDelay` and `dnsQueryType` are the business of the gateway, and mean nothing here.
 */
export class TCPSocket {
  #wire;
  #streams = null;       // {inlet, outlet, connection}, once it is open
  #opened = promised();
  #closed = promised();
  #isClosing = false;
  #isOver = false;

  /**
   * Throws a TypeError for an argument that makes no sense, or when no gateway is known.
   *
   * @param {string} remoteAddress
   * @param {number} remotePort
   * @param {object} [options] `sendBufferSize`, `receiveBufferSize` (bytes), `noDelay`, `keepAliveDelay`,
   *   `dnsQueryType`; `signal`, `tls` (true or an object: TLS from the beginning), and those of configure()
   */
  constructor(remoteAddress, remotePort, options) {
    const given = dictionary(options), host = hostOf(remoteAddress), port = portOf(remotePort);
    const {highWaterMark, window} = checkedOptions(given);
    const settings = configured(import.meta.url, {window, ...picked(given, OURS)});
    const {tls, signal} = given;
    this.#wire = new Wire({...settings, host, port, tls: mergedTls(settings.tls, tls), signal}, domExceptionOf);
    this.#follow({host, port}, highWaterMark);
  }

  /** Resolves to `{readable, writable, remoteAddress, remotePort}`; rejects with a DOMException. */
  get opened() {
    return this.#opened.promise;
  }

  /** Resolves when both halves have ended, rejects when the connection was lost. */
  get closed() {
    return this.#closed.promise;
  }

  /** Drop what was not read and not sent, and close. Rejects while the socket is not open, or a stream is locked. */
  async close() {
    if (!this.#streams) throw invalidState('the socket is not open');
    if (this.#isOver) return this.closed;
    const {inlet: {stream: readable}, outlet: {stream: writable}} = this.#streams;
    if (readable.locked || writable.locked) throw invalidState('a stream of the socket is locked');
    this.#isClosing = true;
    handled(readable.cancel());
    handled(writable.abort(new DOMException('the socket has been closed', 'AbortError')));
    return this.closed;
  }

  /** close(), for `await using`, if there is something to close. */
  async [ASYNC_DISPOSE]() {
    if (this.#streams) await this.close();
    else this.#wire.drop(new DOMException('the socket is not wanted any more', 'AbortError'));
  }

  async #follow({host, port}, highWaterMark) {
    try {
      const connection = await this.#wire.opened;
      const {inlet, outlet} = this.#begin(connection, highWaterMark);
      this.#opened.resolve({
        readable: inlet.stream, writable: outlet.stream, remoteAddress: host, remotePort: port,
      });
      await this.#wire.closed;
      this.#end(null);
    } catch (error) {
      this.#end({error});
    }
  }

  #begin(connection, highWaterMark) {
    const {opened} = this.#wire;
    const inlet = new Inlet(opened, this.#wire);
    const outlet = new Outlet(opened, this.#wire, highWaterMark, (...abort) => this.#onAbort(connection, ...abort));
    this.#streams = {inlet, outlet};
    Promise.all([inlet.over, outlet.over]).then(() => { handled(connection.close()); });
    return this.#streams;
  }

  // In the midst of a chunk there is no end in order.
  #onAbort(connection, reason, isWriting) {
    if (isWriting) this.#wire.drop(reason);
    else handled(connection.finish());
  }

  #end(failure) {
    this.#isOver = true;
    const error = failure ? failure.error : invalidState('the connection has ended');
    this.#opened.reject(error);
    if (failure && !this.#isClosing) this.#closed.reject(error);
    else this.#closed.resolve();
    if (!this.#streams) return;
    if (this.#wire.isDropped) this.#streams.inlet.fail(error);
    this.#streams.outlet.fail(error);
  }
}

function mergedTls(common, tls) {
  if (tls === undefined || tls === null || tls === false) return undefined;
  return tls === true ? {...common} : {...common, ...tls};
}
