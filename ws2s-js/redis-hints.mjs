/** What a short text may mean besides: a moment, a size, a number that is easier to read with its thousands apart. */

import {byteCount} from './page.mjs';
import {duration, timeText} from './redis-names.mjs';

const LONGEST = 64;  // characters
const INTEGER = /^[-+]?\d+$/;
const ISO = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[-+]\d\d:?\d\d)?)?$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-([1-8])[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;

// 2001-09-09 to 2286-11-20: smaller and larger numbers are seldom times.
const EARLIEST = 1000000000n, LATEST = 10000000000n;
const UNITS = [['seconds', 1n], ['milliseconds', 1000n], ['microseconds', 1000000n], ['nanoseconds', 1000000000n]];
const GREGORIAN = 12219292800000n;  // milliseconds from 1582-10-15, where the times of UUIDs begin, to 1970
const SAFE = 2n ** 53n;

/** How far a moment is from `now`, both in milliseconds. */
export function distance(moment, now) {
  const seconds = Math.round((moment - now) / 1000);
  if (seconds === 0) return 'now';
  return seconds > 0 ? `in ${duration(seconds)}` : `${duration(-seconds)} ago`;
}

function momentHint(milliseconds, now) {
  return `${timeText(milliseconds)}, ${distance(milliseconds, now)}`;
}

function timeOfNumber(number, now) {
  const unit = UNITS.find(([, each]) => number >= EARLIEST * each && number < LATEST * each);
  if (!unit) return null;
  const milliseconds = Number(number * 1000n / unit[1]);
  return `as Unix time in ${unit[0]}: ${momentHint(milliseconds, now)}`;
}

function hintsOfInteger(text, now) {
  const number = BigInt(text.replace('+', ''));
  const size = number < 0n ? -number : number;
  const hints = [timeOfNumber(number, now)];
  if (size >= 10000n) hints.push(`as a number: ${number.toLocaleString('en')}`);
  if (number >= 1000n && number < SAFE) hints.push(`as a size: ${sizeText(Number(number))}`);
  if (size > SAFE) hints.push('larger than 2^53: a double cannot hold each such number');
  return hints.filter(Boolean);
}

const BINARY_UNITS = ['KiB', 'MiB', 'GiB', 'TiB'];

/** A size in both kinds of units: `1.0 MB, 1.0 MiB`. */
function sizeText(bytes) {
  let size = bytes / 1024, unit = 0;
  for (; size >= 1023.95 && unit < BINARY_UNITS.length - 1; unit++) size /= 1024;
  return `${byteCount(bytes)}, ${size.toFixed(1)} ${BINARY_UNITS[unit]}`;
}

// Without a zone: UTC, as everywhere on this page.
function hintsOfIso(text, now) {
  const isWithoutZone = /\d$/.test(text) && !/[-+]\d\d:?\d\d$/.test(text.slice(10));
  const zoned = text.length === 10 || !isWithoutZone ? text : `${text}Z`;
  const milliseconds = Date.parse(zoned.replace(' ', 'T').replace(/([-+]\d\d)(\d\d)$/, '$1:$2'));
  if (Number.isNaN(milliseconds)) return [];
  const zone = isWithoutZone && text.length > 10 ? ' (taken as UTC)' : '';
  return [`a moment${zone}: ${momentHint(milliseconds, now)}, Unix time ${Math.floor(milliseconds / 1000)}`];
}

function hintsOfUuid(text, version, now) {
  const digits = text.replace(/-/g, '');
  const times = {
    1: () => BigInt(`0x${digits.slice(13, 16)}${digits.slice(8, 12)}${digits.slice(0, 8)}`) / 10000n - GREGORIAN,
    6: () => BigInt(`0x${digits.slice(0, 12)}${digits.slice(13, 16)}`) / 10000n - GREGORIAN,
    7: () => BigInt(`0x${digits.slice(0, 12)}`),
  };
  const time = times[version] && Number(times[version]());
  const isTime = time !== undefined && time < 1e13;
  return [`a UUID, version ${version}${isTime ? `: made at ${momentHint(time, now)}` : ''}`];
}

/** Sentences about what a text may mean; none where it means nothing special. `now`: milliseconds. */
export function hintsOf(text, now = Date.now()) {
  const word = text.length > LONGEST ? '' : text.trim();
  if (INTEGER.test(word)) return hintsOfInteger(word, now);
  if (ISO.test(word)) return hintsOfIso(word, now);
  const uuid = UUID.exec(word);
  return uuid ? hintsOfUuid(word, Number(uuid[1]), now) : [];
}
