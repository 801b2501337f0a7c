/** Looking within values: patterns as Redis reads them, items of a list, an exact name first, and places in streams. */

import {nameOf, utf8} from './redis-bytes.mjs';
import {matchOf} from './redis-lines.mjs';
import {RedisError} from './ws2s.mjs';

// -- Patterns ---------------------------------------------------------------------------------------------------------

/**
 * Does this name match? As MATCH of Redis does, where the server cannot be asked: `* ? [a-c] [^a] \x`. Both are names:
 * one character for each byte. It takes no longer than their lengths multiplied, whatever the pattern is.
 */
export function globMatches(pattern, name) {
  const parts = partsOf(pattern);
  let part = 0, at = 0, star = -1, again = 0;
  while (at < name.length) {
    if (part < parts.length && parts[part] === ANY) {
      star = part++;
      again = at;
    } else if (part < parts.length && parts[part](name.charCodeAt(at))) {
      part++;
      at++;
    } else if (star >= 0) {
      part = star + 1;
      at = ++again;
    } else {
      return false;
    }
  }
  while (parts[part] === ANY) part++;
  return part === parts.length;
}

const ANY = null;  // what `*` stands for; other parts are functions of one byte

function partsOf(pattern) {
  const parts = [];
  for (let at = 0; at < pattern.length;) {
    const character = pattern[at];
    if (character === '*') {
      if (parts.at(-1) !== ANY || !parts.length) parts.push(ANY);
      at++;
    } else if (character === '[') {
      const {part, end} = classOf(pattern, at + 1);
      parts.push(part);
      at = end;
    } else {
      const isEscaped = character === '\\' && at + 1 < pattern.length;
      parts.push(character === '?' ? () => true : equals(pattern.charCodeAt(at + (isEscaped ? 1 : 0))));
      at += isEscaped ? 2 : 1;
    }
  }
  return parts;
}

const equals = code => byte => byte === code;

// As Redis does: a class that is not closed ends with the pattern.
function classOf(pattern, begin) {
  const isNot = pattern[begin] === '^';
  const ranges = [];
  let at = begin + (isNot ? 1 : 0);
  while (at < pattern.length && pattern[at] !== ']') {
    if (pattern[at] === '\\' && at + 1 < pattern.length) at++;
    const first = pattern.charCodeAt(at);
    const isRange = pattern[at + 1] === '-' && at + 2 < pattern.length;
    const last = isRange ? pattern.charCodeAt(at + 2) : first;
    ranges.push([Math.min(first, last), Math.max(first, last)]);
    at += isRange ? 3 : 1;
  }
  const isIn = byte => ranges.some(([low, high]) => byte >= low && byte <= high);
  return {part: byte => isIn(byte) !== isNot, end: at + 1};
}

// -- Rows -------------------------------------------------------------------------------------------------------------

/**
 * A scan for a ScanSource that begins with the row of exactly this name, if there is one: among many rows a scan comes
 * to it late. `exact()`: that row or null; `scan(cursor)`: as of the source.
 */
export function exactFirst(exact, scan) {
  return async cursor => {
    const [row, found] = await Promise.all([cursor === '0' ? ifAllowed(exact()) : null, scan(cursor)]);
    return row ? {cursor: found.cursor, rows: [row, ...found.rows]} : found;
  };
}

// Users may be allowed to scan only; then the row comes with the others.
async function ifAllowed(asked) {
  try {
    return await asked;
  } catch (error) {
    if (!(error instanceof RedisError)) throw error;
    return null;
  }
}

/**
 * A scan for a ScanSource through a list, which no command of Redis looks through: rows `[index (bytes), item]`.
 * `read(first, last)`: as LRANGE; `size`: how many items at once. The cursor is the index of the next one.
 */
export function listScan(read, typed, size) {
  const pattern = nameOf(utf8(matchOf(typed)));
  return async cursor => {
    const first = Number(cursor);
    const items = await read(first, first + size - 1);
    const rows = items.map((item, i) => [utf8(String(first + i)), item]).filter(([, item]) => (
      globMatches(pattern, nameOf(item))));
    return {cursor: items.length < size ? '0' : String(first + size), rows};
  };
}

// -- Streams ----------------------------------------------------------------------------------------------------------

const ID = /^\d{1,20}(-\d{1,20})?$/;
const LARGEST = 2n ** 64n;
const TIME = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,3})?)?)?(Z| ?UTC)?$/i;

/**
 * Where to go in a stream: the id that was typed, or the one that entries of this moment begin with; UTC, unless it
 * says otherwise. Null for an empty text. `isNewest`: entries are read backwards from there. Throws a RangeError.
 */
export function placeInStream(typed, isNewest) {
  const text = typed.trim();
  if (text === '') return null;
  if (ID.test(text) && text.split('-').every(part => BigInt(part) < LARGEST)) return idOf(text, isNewest);
  const moment = TIME.test(text) ? Date.parse(isoOf(text)) : NaN;
  if (Number.isNaN(moment) || moment < 0) {
    throw new RangeError('Write an id (1700000000000-0), its first part, or a time (2027-01-31 12:00, in UTC).');
  }
  return idOf(String(isNewest ? moment + spanOf(text) - 1 : moment), isNewest);
}

// Backwards, all entries of a millisecond are meant.
function idOf(text, isNewest) {
  return text.includes('-') ? text : `${text}-${isNewest ? LARGEST - 1n : 0}`;
}

function isoOf(text) {
  const plain = text.replace(/ ?UTC$|Z$/i, '').replace(/[ t]/i, 'T');
  return plain.includes('T') ? `${plain}Z` : `${plain}T00:00Z`;
}

// Backwards, a day is meant to its end, and so are a minute and a second.
function spanOf(text) {
  const digits = text.replace(/ ?UTC$|Z$/i, '').replace(/\D/g, '').length;
  return {8: 86400000, 12: 60000, 14: 1000}[digits] || 1;
}
