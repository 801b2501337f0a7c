/**
 * What drivers use of Node's `net`, through a ws2s gateway: for a bundler's alias, as `ws2s/net`.
 *
 *     esbuild app.js --bundle --alias:net=ws2s/net --alias:tls=ws2s/tls --alias:stream=readable-stream
 *
 * The gateway is that of configure() of `ws2s/sockets`, or of the options `gateway`, `token` and `ssh` of a call. Its
 * own ends have no addresses here: `localAddress` is 0.0.0.0, and `remoteAddress` the host that was asked for.
 */
import {configured} from './gateway.mjs';
import {nodeError, systemError, unavailable} from './net-errors.mjs';
import {BEGIN, GatewayStream, LINK, LOWER} from './net-stream.mjs';

const LARGEST_PORT = 65535;
const OWN_OPTIONS = ['gateway', 'token', 'ssh', 'heartbeat', 'window', 'binary', 'WebSocket'];
const V4 = '(?:(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)\\.){3}(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const V4_ADDRESS = new RegExp(`^${V4}$`);
const GROUP = /^[0-9a-f]{1,4}$/i;

export function isIPv4(text) {
  return V4_ADDRESS.test(`${text}`);
}

export function isIPv6(text) {
  const [, address] = /^([^%]*)(?:%[0-9a-z.:-]+)?$/i.exec(`${text}`) || [null, ''];
  const halves = address.split('::').map(groupsOf);
  const groups = halves.flat();
  if (halves.length > 2 || !groups.every(group => GROUP.test(group))) return false;
  return halves.length === 2 ? groups.length < 8 : groups.length === 8;
}

// The last two groups may be written as an IPv4 address.
function groupsOf(text, at, {length}) {
  if (text === '') return length > 1 ? [] : [''];
  const groups = text.split(':');
  if (at === length - 1 && isIPv4(groups[groups.length - 1])) groups.splice(-1, 1, '0', '0');
  return groups;
}

/** 4, 6, or 0 for what is no address. */
export function isIP(text) {
  return isIPv4(text) ? 4 : isIPv6(text) ? 6 : 0;
}

function familyOf(address) {
  return {4: 'IPv4', 6: 'IPv6'}[isIP(address)];
}

function isNumber(text) {
  return Number(text) >= 0;
}

/** `[options, callback]` of the arguments that connect() takes: (options), (port, host) or (path), each with a callback. */
export function connectArguments(values) {
  const [first, second] = values, last = values[values.length - 1];
  const callback = typeof last === 'function' ? last : null;
  if (typeof first === 'object' && first !== null) return [first, callback];
  if (typeof first === 'string' && !isNumber(first)) return [{path: first}, callback];
  return [{port: first, ...typeof second === 'string' && {host: second}}, callback];
}

/** The port as a number. Throws a RangeError or a TypeError as Node does. */
function portOf({port}) {
  if (port === undefined) {
    throw nodeError('ERR_MISSING_ARGS', 'The "options" or "port" or "path" argument must be specified', TypeError);
  }
  if (typeof port !== 'number' && typeof port !== 'string') {
    throw nodeError('ERR_INVALID_ARG_TYPE', 'The "options.port" property must be a number or a string', TypeError);
  }
  const number = Number(port);
  if (`${port}`.trim() !== '' && Number.isInteger(number) && number >= 0 && number <= LARGEST_PORT) return number;
  throw nodeError('ERR_SOCKET_BAD_PORT', `Port should be >= 0 and < 65536. Received ${port}.`, RangeError);
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
    for (const name of ['fd', 'handle', 'onread']) if (settings[name]) throw unavailable(`the option ${name} of a socket`);
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
    this._reset();
    if (callback) this.once('connect', callback);
    this.connecting = true;
    this.#peer = null;
    this.#host = options.host || 'localhost';
    this._unrefTimer();
    if (options.path) queueMicrotask(() => this.destroy(pathError(options.path)));
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
    let settings;
    try {
      settings = configured(import.meta.url, this._ownOptions(options));
    } catch (error) {
      queueMicrotask(() => this.destroy(error));
      return;
    }
    const {host, port} = options;
    this[BEGIN](settings, {host, port, tls: this._tlsFor(settings, this.#host)});
  }

  _ownOptions(options) {
    return Object.fromEntries(OWN_OPTIONS.map(name => [name, options[name]]));
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

  // Those of the gateway are its own, and nothing keeps a page awake.
  setNoDelay() {
    return this;
  }

  setKeepAlive() {
    return this;
  }

  ref() {
    return this;
  }

  unref() {
    return this;
  }
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

export {connect as createConnection, Socket as Stream};

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
