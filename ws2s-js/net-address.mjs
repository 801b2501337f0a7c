/** What connect() of net.mjs and tls.mjs is given: hosts, addresses, ports. */
import {nodeError} from './net-errors.mjs';

const LARGEST_PORT = 65535;
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

export function familyOf(address) {
  return {4: 'IPv4', 6: 'IPv6'}[isIP(address)];
}

function isNumber(text) {
  return Number(text) >= 0;
}

/** `[options, callback]` of what connect() takes: (options), (port, host) or (path), each with a callback. */
export function connectArguments(values) {
  const [first, second] = values, last = values[values.length - 1];
  const callback = typeof last === 'function' ? last : null;
  if (typeof first === 'object' && first !== null) return [first, callback];
  if (typeof first === 'string' && !isNumber(first)) return [{path: first}, callback];
  return [{port: first, ...typeof second === 'string' && {host: second}}, callback];
}

/** The port as a number. Throws a RangeError or a TypeError as Node does. */
export function portOf({port}) {
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
