/**
 * A time to live as people write it: as seconds, as a duration (1h 30m, 2 days) or as a date (2027-01-31 12:00), which
 * is in UTC unless it names its zone.
 */

import {duration, timeText} from './redis-names.mjs';

const LARGEST = 9e15;  // milliseconds
const LARGEST_DATE = 8.64e15;
const UNITS = [
  [1, ['ms', 'millisecond', 'milliseconds']], [1000, ['s', 'sec', 'secs', 'second', 'seconds']],
  [60000, ['m', 'min', 'mins', 'minute', 'minutes']], [3600000, ['h', 'hr', 'hrs', 'hour', 'hours']],
  [86400000, ['d', 'day', 'days']], [604800000, ['w', 'week', 'weeks']],
];
const MILLISECONDS = new Map(UNITS.flatMap(([size, names]) => names.map(name => [name, size])));
const PARTS = /(\d+(?:\.\d+)?)\s*([a-z]+)(?:\s*,\s*|\s+and\s+|\s*)/gy;
const DATE = /^(\d{4}-\d\d-\d\d)(?:[T ]+(\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?))?\s*(Z|UTC|[-+]\d\d:?\d\d)?$/i;

const HOW = 'A time to live is a number of seconds (90), a duration (1h 30m, 2 days) or a date (2027-01-31 12:00).';

function durationOf(text) {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  let sum = 0, end = 0;
  for (const [part, number, unit] of text.matchAll(PARTS)) {
    if (!MILLISECONDS.has(unit)) throw new RangeError(`“${unit}” is no unit of time. ${HOW}`);
    sum += Number(number) * MILLISECONDS.get(unit);
    end += part.length;
  }
  if (!text || end < text.length) throw new RangeError(HOW);
  return sum;
}

// A day that its month does not have would become one of the next month.
function momentOf([, day, time = '00:00', zone = 'Z']) {
  const offset = /^(Z|UTC)$/i.test(zone) ? 'Z' : zone.replace(/(\d\d)(\d\d)$/, '$1:$2');
  const moment = Date.parse(`${day}T${time}${offset}`);
  const isDay = new Date(`${day}T00:00Z`).getUTCDate() === Number(day.slice(8));
  if (Number.isNaN(moment) || !isDay) throw new RangeError('There is no such date.');
  return moment;
}

/**
 * `{after}` or `{at}`, both in milliseconds: so long from now, or at this moment. Throws a RangeError with a sentence
 * where it makes no sense, or is over. `now`: milliseconds.
 */
export function parseTtl(text, now = Date.now()) {
  const word = text.trim();
  const date = DATE.exec(word);
  if (date) {
    const at = momentOf(date);
    if (at <= now) throw new RangeError('This date is over.');
    return {at};
  }
  const after = Math.round(durationOf(word.toLowerCase()));
  if (after < 1) throw new RangeError('A time to live is longer than nothing.');
  if (after > LARGEST) throw new RangeError('This is longer than Redis can count.');
  return {after};
}

/** The command that gives a key this time to live. Whole seconds in the words of old servers. */
export function expireCommand(key, {after, at}) {
  const time = after ?? at;
  const isWhole = time % 1000 === 0;
  const command = after === undefined ? 'EXPIREAT' : 'EXPIRE';
  return isWhole ? [command, key, time / 1000] : [`P${command}`, key, time];
}

/** How long that is, and until when; for people. */
export function ttlText(ttl, now = Date.now()) {
  const at = ttl.at ?? now + ttl.after;
  return durationText(at - now) + untilText(at);
}

/** `, until 2027-01-31 12:00:00 UTC`; empty where no date goes so far. */
export function untilText(at) {
  return at < LARGEST_DATE ? `, until ${timeText(at)}` : '';
}

function durationText(milliseconds) {
  return milliseconds < 1000 ? `${Math.max(0, Math.round(milliseconds))} ms` : duration(milliseconds / 1000);
}

const LETTERS = [['d', 86400000], ['h', 3600000], ['m', 60000], ['s', 1000]];

/** Milliseconds as parseTtl() reads them, to the second: 1d 2h 3m 4s. */
export function writtenTtl(milliseconds) {
  let left = Math.max(1000, Math.round(milliseconds / 1000) * 1000);
  const parts = [];
  for (const [letter, size] of LETTERS) {
    if (left >= size) parts.push(`${Math.floor(left / size)}${letter}`);
    left %= size;
  }
  return parts.join(' ');
}
