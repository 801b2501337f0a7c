/** What of TLS a program may choose, as the gateway wants it: it is the gateway that speaks TLS to the target. */
import {nodeError, unavailable} from './net-errors.mjs';

const VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];
export const DEFAULT_MIN_VERSION = 'TLSv1.2';
const DECODER = new TextDecoder();

function textOf(value, name) {
  if (typeof value === 'string') return value;
  if (ArrayBuffer.isView(value)) return DECODER.decode(value);
  throw nodeError('ERR_INVALID_ARG_TYPE', `The "options.${name}" property must be a text or bytes, in PEM`, TypeError);
}

/** One PEM text of one or several, and of lists of `{pem}`; undefined for none. */
function pemOf(value, name) {
  const items = [value].flat(Infinity).filter(item => item !== undefined && item !== null && item !== false);
  const texts = items.map(item => textOf(item.pem || item, name)).filter(text => text !== '');
  return texts.length ? texts.join('\n') : undefined;
}

// A list without any would otherwise stand for all the authorities that the gateway trusts.
function authoritiesOf({ca, crl}) {
  const pem = pemOf([ca, crl], 'ca');
  if (!ca || pem !== undefined) return pem;
  throw nodeError('ERR_INVALID_ARG_VALUE', 'The "options.ca" property is empty', TypeError);
}

function versionOf(minVersion) {
  const version = minVersion === undefined || minVersion === null ? DEFAULT_MIN_VERSION : minVersion;
  if (VERSIONS.includes(version)) return version;
  throw nodeError('ERR_TLS_INVALID_PROTOCOL_VERSION', 'The option minVersion is no version of TLS', TypeError);
}

function openKey(options) {
  const key = pemOf(options.key, 'key');
  if (key && /ENCRYPTED/.test(key)) throw unavailable('a key that is encrypted (give it without its passphrase)');
  return key;
}

/** `ca`, `cert`, `key` and `crl` as PEM, and `minVersion`. Other wishes about TLS are left to the gateway. */
export class SecureContext {
  constructor(options = {}) {
    for (const name of ['pfx', 'pskCallback']) if (options[name]) throw unavailable(`the option ${name} of TLS`);
    this.context = {ca: authoritiesOf(options), cert: pemOf(options.cert, 'cert'), key: openKey(options)};
    this.minVersion = versionOf(options.minVersion);
  }
}

export function createSecureContext(options) {
  return new SecureContext(options);
}

/** Of a connection with these options: its own, or one that is to be shared. */
export function contextOf(options) {
  const {secureContext} = options;
  if (!secureContext) return new SecureContext(options);
  if (secureContext instanceof SecureContext) return secureContext;
  throw nodeError('ERR_INVALID_ARG_TYPE', 'The option secureContext is none of createSecureContext()', TypeError);
}

/** Whether a version is one that a program does not want. */
export function isTooOld(version, minVersion) {
  return VERSIONS.indexOf(version) < VERSIONS.indexOf(minVersion);
}

/** A list of texts, of what Node takes: texts, bytes, or all in one Buffer behind their lengths. */
export function protocolsOf(protocols) {
  if (!protocols) return undefined;
  if (Array.isArray(protocols)) return protocols.map(protocol => textOf(protocol, 'ALPNProtocols'));
  const names = [];
  for (let at = 0; at < protocols.length; at += 1 + protocols[at]) {
    names.push(DECODER.decode(protocols.subarray(at + 1, at + 1 + protocols[at])));
  }
  return names;
}
