/**
 * What drivers use of Node's `tls`, through a ws2s gateway: for a bundler's alias, as `ws2s/tls`.
 *
 * The gateway speaks TLS to the target and verifies its certificate, and the name in it. It shows no certificate:
 * getPeerCertificate() has no fields, and a checkServerIdentity() of one's own is asked in addition to the gateway.
 */
import {Socket} from './net.mjs';
import {connectArguments} from './net-address.mjs';
import {LOWER} from './net-duplex.mjs';
import {nodeError, socketError, unavailable} from './net-errors.mjs';
import {ADOPT, CONNECTED, LINK, UPPER, WHEN_CONNECTED} from './net-stream.mjs';
import {
  contextOf, createSecureContext, DEFAULT_MIN_VERSION, isTooOld, protocolsOf, SecureContext,
} from './tls-context.mjs';

const NOT_VERIFIED = 'ERR_TLS_NOT_VERIFIED';

const verifiedNames = new WeakMap();  // of what getPeerCertificate() gives

function plainName(name) {
  return `${name}`.toLowerCase().replace(/\.$/, '');
}

/** Undefined where the gateway has verified that `certificate` is for `name`, else an Error. */
export function checkServerIdentity(name, certificate) {
  if (verifiedNames.has(certificate) && verifiedNames.get(certificate) === plainName(name)) return undefined;
  return nodeError('ERR_TLS_CERT_ALTNAME_INVALID', `The gateway has not verified that the certificate is for ${name}`,
    Error, {host: name, cert: certificate});
}

// A program's own may look for what a gateway does not show.
function judged(check, name, certificate) {
  try {
    return check(name, certificate);
  } catch (error) {
    return nodeError('ERR_TLS_CERT_ALTNAME_INVALID', 'checkServerIdentity() has failed: a gateway does not show the '
      + `certificate that it has verified (${error.message})`, Error, {host: name, cause: error});
  }
}

function clearError() {
  return nodeError('ERR_SSL_WRONG_VERSION_NUMBER', 'something came in the clear just before TLS');
}

/** A connection with TLS, as a Duplex with the methods, properties, events and errors of Node's tls.TLSSocket. */
export class TLSSocket extends Socket {
  encrypted = true;
  authorized = false;
  authorizationError = null;
  alpnProtocol = null;
  servername = null;
  secureConnecting = true;

  #options;
  #context;
  #name = null;          // that the gateway verifies
  #isVerified = false;   // whether it does

  /**
   * @param {Socket} [socket] that has a connection, or will have one: STARTTLS
   * @param {object} [options] of tls.connect()
   */
  constructor(socket, options = {}) {
    if (socket && !(socket instanceof Socket)) throw unavailable('TLS over what is no net.Socket');
    if (socket instanceof TLSSocket) throw unavailable('TLS within TLS');
    const {highWaterMark, signal} = options;
    super({allowHalfOpen: socket ? socket.allowHalfOpen : options.allowHalfOpen, highWaterMark, signal});
    this.#options = options;
    this.#context = contextOf(options);
    if (socket) this.#wrap(socket);
  }

  #wrap(socket) {
    this[LOWER] = socket;
    socket[UPPER] = this;
    this.connecting = socket.connecting;
    if (socket.connecting) socket.once('connect', () => { this.connecting = false; this.emit('connect'); });
    const fail = () => this.destroy();  // the socket below tells why
    if (socket.destroyed) queueMicrotask(fail);
    // Behind what it has been given to write.
    else socket[WHEN_CONNECTED](() => this.#await(socket), fail);
  }

  #await(socket) {
    if (!socket.writableLength) this.#startTls(socket);
    else socket.write('', error => { if (!error) this.#startTls(socket); });
  }

  async #startTls(socket) {
    if (this.destroyed) return;
    const link = socket[LINK];
    try {
      if (socket.readableLength) throw clearError();
      await this[ADOPT](link, this._tlsFor(link.settings, socket._host));
    } catch (error) {
      this.destroy(socketError(error, 'connect'));
    }
  }

  /** What the gateway is asked for. */
  _tlsFor(settings, host) {
    const {servername, rejectUnauthorized, ALPNProtocols} = this.#options;
    const common = typeof settings.tls === 'object' ? settings.tls : {};
    this.#name = servername || this.#options.host || host;
    const fields = {
      ...this.#context.context, servername: this.#name, alpn: protocolsOf(ALPNProtocols),
      verify: typeof rejectUnauthorized === 'boolean' ? rejectUnauthorized : undefined,
    };
    const own = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
    this.#isVerified = {...common, ...own}.verify !== false;
    return {...common, ...own};
  }

  /** The connection stands, and speaks TLS. */
  [CONNECTED]() {
    const {version, alpn} = this[LINK].tls;
    this.alpnProtocol = alpn || false;
    this.servername = this.#options.servername || false;
    const failure = this.#failure(version);
    if (failure) {
      this.destroy(failure);
      return;
    }
    this.secureConnecting = false;
    this.emit('secure');
    if (!this.destroyed) this.emit('secureConnect');
  }

  // The gateway has verified all but what a program checks itself.
  #failure(version) {
    const {minVersion} = this.#context;
    if (isTooOld(version, minVersion)) {
      return nodeError('ERR_SSL_UNSUPPORTED_PROTOCOL', `the target speaks ${version}, and ${minVersion} is wanted`);
    }
    this.authorized = this.#isVerified;
    this.authorizationError = this.authorized ? null : NOT_VERIFIED;
    const check = this.#options.checkServerIdentity;
    if (!this.authorized || !check || check === checkServerIdentity) return null;
    const failure = judged(check, this.#name, this.getPeerCertificate());
    if (failure) this.authorized = false;
    return failure;
  }

  _reset() {
    super._reset();
    this.authorized = false;
    this.secureConnecting = true;
    this.authorizationError = this.alpnProtocol = this.servername = null;
  }

  /** An object without fields, which checkServerIdentity() knows; null when there is no connection. */
  getPeerCertificate() {
    if (this.destroyed) return null;
    const certificate = {};
    if (this.authorized) verifiedNames.set(certificate, plainName(this.#name));
    return certificate;
  }

  /** Such as `TLSv1.3`. */
  getProtocol() {
    return this[LINK] && this[LINK].tls ? this[LINK].tls.version : null;
  }

  /** Which one the gateway does not tell. */
  getCipher() {
    return {name: 'unknown', standardName: 'unknown', version: this.getProtocol()};
  }

  isSessionReused() {
    return false;
  }

  setServername(name) {
    this.#options = {...this.#options, servername: name};
  }

  renegotiate(options, callback) {
    if (callback) queueMicrotask(() => callback(unavailable('renegotiation')));
    return false;
  }

  setMaxSendFragment() {
    return false;
  }

  exportKeyingMaterial() {
    throw unavailable('exporting keys of TLS');
  }
}

// What the gateway does not tell, and what it does not do.
const UNKNOWN = {
  getCertificate: {}, getEphemeralKeyInfo: {}, getFinished: undefined, getPeerFinished: undefined,
  getPeerX509Certificate: undefined, getSession: undefined, getSharedSigalgs: [], getTLSTicket: undefined,
  getX509Certificate: undefined, setSession: undefined, disableRenegotiation: undefined, enableTrace: undefined,
};
for (const [name, value] of Object.entries(UNKNOWN)) {
  Object.defineProperty(TLSSocket.prototype, name, {value: () => value, writable: true, configurable: true});
}

/**
 * (options), (port, host, options) or (port, options), each with a callback, which is a listener of `secureConnect`.
 * With `options.socket`, a net.Socket, it is STARTTLS on its connection.
 */
export function connect(...values) {
  const [first, callback] = connectArguments(values);
  const more = values.slice(1).find(value => typeof value === 'object' && value !== null);
  const options = {...first, ...more};
  const socket = new TLSSocket(options.socket, options);
  if (callback) socket.once('secureConnect', callback);
  if (options.socket) return socket;
  if (options.timeout) socket.setTimeout(options.timeout);
  return socket.connect(options);
}

export class Server {
  constructor() {
    throw unavailable('listening');
  }
}

export function createServer() {
  return new Server();
}

export const DEFAULT_MAX_VERSION = 'TLSv1.3';
export const DEFAULT_CIPHERS = '', DEFAULT_ECDH_CURVE = 'auto';
/** Those of the gateway's system count, and it does not show them. */
export const rootCertificates = Object.freeze([]);

export function getCiphers() {
  return [];
}

export {createSecureContext, DEFAULT_MIN_VERSION, SecureContext};

export default {
  connect, TLSSocket, createSecureContext, SecureContext, checkServerIdentity, Server, createServer, rootCertificates,
  getCiphers, DEFAULT_MIN_VERSION, DEFAULT_MAX_VERSION, DEFAULT_CIPHERS, DEFAULT_ECDH_CURVE,
};
