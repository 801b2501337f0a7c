/** Errors as Node's net and tls have them, of what a gateway tells. */
import {WS2SError} from './ws2s.mjs';

// Those of Linux.
const ERRNO = {
  EACCES: -13, EAGAIN: -11, EALREADY: -114, ECANCELED: -125, ECONNREFUSED: -111, ECONNRESET: -104, EHOSTUNREACH: -113,
  EINVAL: -22, EIO: -5, ENETUNREACH: -101, ENOTCONN: -107, ENOTFOUND: -3008, ENOTSUP: -95, EPIPE: -32, EPROTO: -71,
  ETIMEDOUT: -110,
};

// By the reason of a WS2SError.
const CODES = {
  refused: 'ECONNREFUSED', dns: 'ENOTFOUND', timeout: 'ETIMEDOUT', unreachable: 'EHOSTUNREACH', forbidden: 'EACCES',
  limit: 'EAGAIN', 'bad-request': 'EINVAL', internal: 'EIO', protocol: 'EPROTO', 'not-connected': 'ENOTCONN',
  closed: 'ECONNRESET', reset: 'ECONNRESET', idle: 'ETIMEDOUT', aborted: 'ECANCELED',
  'gateway-unreachable': 'ENETUNREACH', 'gateway-lost': 'ECONNRESET',
  'ssh-auth': 'EACCES', 'ssh-hostkey': 'EACCES', 'ssh-disabled': 'EACCES', 'ssh-unreachable': 'EHOSTUNREACH',
  'ssh-timeout': 'ETIMEDOUT', 'ssh-missing': 'EHOSTUNREACH', 'ssh-failed': 'EHOSTUNREACH',
};

// For the reason `tls` the gateway has sentences, which tell more than its reason does.
const TLS_CODES = [
  [/has expired$/, 'CERT_HAS_EXPIRED'],
  [/is not yet valid$/, 'CERT_NOT_YET_VALID'],
  [/is self-signed$/, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  [/signed by an unknown authority$/, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
  [/has been revoked$/, 'CERT_REVOKED'],
  [/for other names$/, 'ERR_TLS_CERT_ALTNAME_INVALID'],
  [/^the certificate /, 'CERT_UNTRUSTED'],
  [/does not speak TLS|came in the clear/, 'ERR_SSL_WRONG_VERSION_NUMBER'],
  [/no common version/, 'ERR_SSL_UNSUPPORTED_PROTOCOL'],
  [/has ended the connection/, 'ECONNRESET'],
  [/did not answer in time/, 'ETIMEDOUT'],
];

/** An error of Node's own kind, such as ERR_SOCKET_CLOSED. */
export function nodeError(code, message, Kind = Error, more = {}) {
  const error = new Kind(message);
  return Object.assign(error, {code}, more);
}

/** What can be done in Node and not in a page. */
export function unavailable(what) {
  return nodeError('ERR_FEATURE_UNAVAILABLE_ON_PLATFORM', `${what} is not possible through a gateway`);
}

/**
 * The error of a socket, with Node's `code`, `errno` and `syscall`, and as `cause` what the gateway has told. What is
 * none of the gateway's errors stays as it is: an option was wrong, say.
 *
 * @param {*} cause
 * @param {string} syscall `connect`, `read`, `write` or `shutdown`
 * @param {{host?: string, port?: number}} [target] that was to be connected
 */
export function socketError(cause, syscall, target) {
  if (!(cause instanceof WS2SError)) return cause;
  if (cause.reason === 'tls') return tlsError(cause);
  const code = codeOf(cause, syscall);
  if (code === 'ENOTFOUND') return lookupError(cause, target);
  const fields = {errno: ERRNO[code], code, syscall, ...target && {address: target.host, port: target.port}};
  const where = target ? ` ${target.host}:${target.port}` : '';
  return withCause(new Error(`${syscall} ${code}${where} (${cause.message})`), cause, fields);
}

// Whoever writes to a connection that the other end has closed is told of a broken pipe.
function codeOf({reason}, syscall) {
  if (reason === 'closed' && syscall !== 'read') return 'EPIPE';
  return Object.hasOwn(CODES, reason) ? CODES[reason] : 'EIO';
}

function lookupError(cause, {host} = {}) {
  const fields = {errno: ERRNO.ENOTFOUND, code: 'ENOTFOUND', syscall: 'getaddrinfo', hostname: host};
  return withCause(new Error(`getaddrinfo ENOTFOUND ${host} (${cause.message})`), cause, fields);
}

function tlsError(cause) {
  const [, code] = TLS_CODES.find(([sentence]) => sentence.test(cause.message)) || [null, 'EPROTO'];
  return withCause(new Error(cause.message), cause, {code});
}

function withCause(error, cause, fields) {
  Object.defineProperty(error, 'cause', {value: cause, writable: true, configurable: true});
  return Object.assign(error, fields);
}

/** As of a system call that failed here. */
export function systemError(code, syscall, message) {
  return Object.assign(new Error(`${syscall} ${code} (${message})`), {errno: ERRNO[code], code, syscall});
}
