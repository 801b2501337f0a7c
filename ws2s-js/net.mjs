/**
 * What drivers use of Node's `net`, through a ws2s gateway: for a bundler's alias, as `ws2s/net`.
 *
 *     esbuild app.js --bundle --alias:net=ws2s/net --alias:tls=ws2s/tls --alias:stream=readable-stream
 *
 * The gateway is that of configure() of `ws2s/sockets`, or of the options `gateway`, `token` and `ssh` of a call. Its
 * own ends have no addresses here: `localAddress` is 0.0.0.0, and `remoteAddress` the host that was asked for.
 */
import {configured} from './gateway.mjs';
import {connectArguments, familyOf, isIP, isIPv4, isIPv6, portOf} from './net-address.mjs';
import {LOWER} from './net-duplex.mjs';
import {nodeError, systemError, unavailable} from './net-errors.mjs';
import {BEGIN, GatewayStream, LINK} from './net-stream.mjs';

const OWN_OPTIONS = ['gateway', 'token', 'ssh', 'heartbeat', 'window', 'binary', 'WebSocket'];

function ownOptions(options) {
  return Object.fromEntries(OWN_OPTIONS.map(name => [name, options[name]]));
}

function checkedMilliseconds(milliseconds) {
  if (typeof milliseconds !== 'number') {
    throw nodeError('ERR_INVALID_ARG_TYPE', 'The "msecs" argument must be a number', TypeError);
  }
  if (milliseconds >= 0 && milliseconds < Infinity) return milliseconds;
  throw nodeError('ERR_OUT_OF_RANGE', 'The value of "msecs" must be a finite number, and not below 0', RangeError);
}

/** One TCP connection, as a Duplex with the methods, properties, events and errors of Node's net.Socket. */
export class Socket extends GatewayStream {
  #peer = null;      // of the last connection, as Node keeps it once it was asked for
  #host = null;

  constructor(options = {}) {
    const settings = typeof options === 'number' ? {fd: options} : options || {};
    for (const name of ['fd', 'handle', 'onread']) if (settings[name]) throw unavailable(`the option ${name} of net`);
    super(settings);
    this.timeout = undefined;
  }

  /**
   * (port, host, callback) or (options, callback). The callback is a listener of `connect`. A failure is an `error`;
   * only arguments that are wrong throw.
   */
  connect(...values) {
    const [options, callback] = connectArguments(values);
    const port = options.path ? 0 : portOf(options);
    const isBusy = !this.destroyed && (this.connecting || !this.pending);
    if (this.destroyed) this._reset();
    if (callback) this.once('connect', callback);
    this.connecting = true;
    this.#peer = null;
    this.#host = options.host || 'localhost';
    this._unrefTimer();
    if (isBusy) queueMicrotask(() => this.destroy(systemError('EALREADY', 'connect', 'it has a connection already')));
    else if (options.path) queueMicrotask(() => this.destroy(pathError(options.path)));
    else this.#lookup(options, address => this.#begin({...options, host: address, port}));
    return this;
  }

  // Whoever brings a look-up of its own means the addresses that come of it.
  #lookup({lookup, family}, found) {
    const host = this.#host;
    if (typeof lookup !== 'function' || isIP(host)) {
      found(host);
      return;
    }
    lookup(host, {family: family || 0, hints: 0, all: false}, (error, address, kind) => {
      if (this.destroyed || !this.connecting) return;
      this.emit('lookup', error, address, kind, host);
      if (error) this.destroy(error);
      else found(address);
    });
  }

  #begin(options) {
    const {host, port} = options;
    let settings, tls;
    try {
      settings = configured(import.meta.url, ownOptions(options));
      tls = this._tlsFor(settings, this.#host);
      // All would go in the clear.
      if (options.tls && !tls) throw new TypeError('net knows no option tls: connect() of ws2s/tls has TLS');
    } catch (error) {
      queueMicrotask(() => this.destroy(error));
      return;
    }
    this[BEGIN](settings, {host, port, tls});
  }

  /** The option `tls` of WS2S.connect(): for a TLSSocket. */
  _tlsFor() {
    return undefined;
  }

  get _host() {
    return this.#host;
  }

  get pending() {
    return !this[LINK] && !this[LOWER] || this.connecting;
  }

  get readyState() {
    if (this.connecting) return 'opening';
    if (this.readable && this.writable) return 'open';
    return this.readable ? 'readOnly' : this.writable ? 'writeOnly' : 'closed';
  }

  get bufferSize() {
    return this[LINK] ? this.writableLength : undefined;
  }

  #remote() {
    const link = this[LINK];
    if (!link || this.connecting) return this.#peer || {};
    this.#peer = {address: link.host, family: familyOf(link.host), port: link.port};
    return this.#peer;
  }

  get remoteAddress() {
    return this.#remote().address;
  }

  get remoteFamily() {
    return this.#remote().family;
  }

  get remotePort() {
    return this.#remote().port;
  }

  address() {
    const link = this[LINK];
    return link && !this.connecting ? {address: '0.0.0.0', family: 'IPv4', port: link.localPort} : {};
  }

  get localAddress() {
    return this.address().address;
  }

  get localFamily() {
    return this.address().family;
  }

  get localPort() {
    return this.address().port;
  }

  /** `timeout` is told when nothing has moved for so many milliseconds; 0 for never. */
  setTimeout(milliseconds, callback) {
    if (this.destroyed) return this;
    this.timeout = milliseconds;
    this._setIdle(checkedMilliseconds(milliseconds));
    if (callback && milliseconds === 0) this.removeListener('timeout', callback);
    else if (callback) this.once('timeout', callback);
    return this;
  }

  end(...values) {
    super.end(...values);
    return this;
  }

  /** As soon as all is written. */
  destroySoon() {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  /** What was not sent yet is lost. A reset is nothing that a gateway can be asked for: the target sees an end. */
  resetAndDestroy() {
    if (!this[LINK]) return this.destroy(nodeError('ERR_SOCKET_CLOSED', 'Socket is closed'));
    if (this.connecting) {
      this.once('connect', () => this.resetAndDestroy());
      return this;
    }
    this[LINK].abort();
    return this.destroy();
  }
}

// Those of the gateway are its own, and nothing keeps a page awake.
for (const name of ['setNoDelay', 'setKeepAlive', 'ref', 'unref']) {
  Object.defineProperty(Socket.prototype, name, {value() { return this; }, writable: true, configurable: true});
}

function pathError(path) {
  return systemError('ENOTSUP', 'connect', `${path}: a gateway leads to hosts and ports, not to Unix sockets`);
}

/** A Socket that connects; see its connect(). The options are those of both. */
export function connect(...values) {
  const [options, callback] = connectArguments(values);
  const socket = new Socket(options);
  if (options.timeout) socket.setTimeout(options.timeout);
  return callback ? socket.connect(options, callback) : socket.connect(options);
}

export {connect as createConnection, isIP, isIPv4, isIPv6, Socket as Stream};

/** Nothing can listen in a page. */
export class Server {
  constructor() {
    throw unavailable('listening');
  }
}

export function createServer() {
  return new Server();
}

// The gateway tries the addresses of a name by itself.
let autoSelectFamily = true, attemptTimeout = 250;

export function getDefaultAutoSelectFamily() {
  return autoSelectFamily;
}

export function setDefaultAutoSelectFamily(value) {
  autoSelectFamily = value;
}

export function getDefaultAutoSelectFamilyAttemptTimeout() {
  return attemptTimeout;
}

export function setDefaultAutoSelectFamilyAttemptTimeout(milliseconds) {
  attemptTimeout = milliseconds;
}

export default {
  Socket, Stream: Socket, Server, connect, createConnection: connect, createServer, isIP, isIPv4, isIPv6,
  getDefaultAutoSelectFamily, setDefaultAutoSelectFamily,
  getDefaultAutoSelectFamilyAttemptTimeout, setDefaultAutoSelectFamilyAttemptTimeout,
};
