/** What of TLS a program may choose, as the gateway wants it: it is the gateway that speaks TLS to the target. */
import {nodeError, unavailable} from './net-errors.mjs';

const VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];
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

function openKey(options) {
  const key = pemOf(options.key, 'key');
  if (key && /ENCRYPTED/.test(key)) throw unavailable('a key that is encrypted (give it without its passphrase)');
  return key;
}

/** `ca`, `cert`, `key` and `crl` as PEM, and `minVersion`. Other wishes about TLS are left to the gateway. */
export class SecureContext {
  constructor(options = {}) {
    for (const name of ['pfx', 'pskCallback']) if (options[name]) throw unavailable(`the option ${name} of TLS`);
    const ca = pemOf([options.ca, options.crl], 'ca');
    this.context = {ca, cert: pemOf(options.cert, 'cert'), key: openKey(options)};
    this.minVersion = options.minVersion;
  }
}

export function createSecureContext(options) {
  return new SecureContext(options);
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
