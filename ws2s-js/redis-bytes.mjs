/**
 * Bytes of Redis as people see and write them. Nothing here is lost: what is not plain text is escaped.
 *
 * A *name* is a string in which each character is one byte (0 to 255). Names of keys, fields and members are kept in
 * this form: they can be compared and looked up, need little memory, and sort as Redis sorts bytes.
 */

import {byteCount, joined, lengthByLead, visible} from './page.mjs';

const ENCODER = new TextEncoder();
const STRICT_DECODER = new TextDecoder('utf-8', {ignoreBOM: true, fatal: true});
const BACKSLASH = 0x5c;
const ARGUMENTS = 8192;  // as many as one call may have in every browser

// The same characters as in visible(): what cannot be seen, or changes the order of what is seen.
const UNSEEN = '(?![\\uFE0E\\uFE0F])[\\p{Cc}\\p{Default_Ignorable_Code_Point}\\p{Zl}\\p{Zp}\\uFFF9-\\uFFFB]';
const SPECIAL = new RegExp(UNSEEN, 'u');
const SPECIALS_OR_BACKSLASH = new RegExp(`${UNSEEN}|\\\\`, 'gu');
const NOT_IN_A_FIELD = /[^\P{Cc}\n\t]/u;  // a textarea turns CR LF into LF

const LETTERS = {'\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\'};
const ESCAPES = {n: 10, r: 13, t: 9, a: 7, b: 8, 0: 0, '\\': 92, '"': 34, "'": 39};

/** The UTF-8 of a text. */
export function utf8(text) {
  return ENCODER.encode(text);
}

/** The text whose UTF-8 these bytes are; null when they are not UTF-8. */
export function textOf(bytes) {
  try {
    return STRICT_DECODER.decode(bytes);
  } catch (error) {
    return null;  // that is the answer: fatal decoders tell it in no other way
  }
}

/** The name of bytes. */
export function nameOf(bytes) {
  if (bytes.length <= ARGUMENTS) return String.fromCharCode.apply(null, bytes);
  const pieces = [];
  for (let start = 0; start < bytes.length; start += ARGUMENTS) {
    pieces.push(String.fromCharCode.apply(null, bytes.subarray(start, start + ARGUMENTS)));
  }
  return pieces.join('');
}

/** The bytes of a name, or of the first `limit` characters of it. */
export function bytesOfName(name, limit = name.length) {
  const bytes = new Uint8Array(Math.min(limit, name.length));
  for (let i = 0; i < bytes.length; i++) bytes[i] = name.charCodeAt(i);
  return bytes;
}

/** Are these the same bytes? */
export function sameBytes(a, b) {
  if (a.length !== b.length) return false;
  return a.every((byte, i) => byte === b[i]);
}

// -- UTF-8 with gaps --------------------------------------------------------------------------------------------------

// Which second bytes are allowed, where it is not 80 to BF: no overlong forms, no surrogates, nothing above U+10FFFF.
const SECONDS = {0xe0: [0xa0, 0xbf], 0xed: [0x80, 0x9f], 0xf0: [0x90, 0xbf], 0xf4: [0x80, 0x8f]};

function isSequence(bytes, at, length) {
  if (length === 0 || at + length > bytes.length) return false;
  const [lowest, highest] = SECONDS[bytes[at]] || [0x80, 0xbf];
  for (let i = 1; i < length; i++) {
    const byte = bytes[at + i];
    if (byte < (i === 1 ? lowest : 0x80) || byte > (i === 1 ? highest : 0xbf)) return false;
  }
  return true;
}

// Where the UTF-8 that begins at `at` ends.
function endOfUtf8(bytes, at) {
  while (at < bytes.length) {
    const length = lengthByLead(bytes[at]);
    if (!isSequence(bytes, at, length)) return at;
    at += length;
  }
  return at;
}

/** Without a character of UTF-8 that is cut off at the end, if there is one. */
export function withoutCutCharacter(bytes) {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if (byte >= 0xc0) return lengthByLead(byte) > back ? bytes.subarray(0, bytes.length - back) : bytes;
    if (byte < 0x80) return bytes;
  }
  return bytes;
}

function escapeOfByte(byte) {
  return '\\x' + byte.toString(16).padStart(2, '0');
}

function escapeOfCharacter(character) {
  if (Object.hasOwn(LETTERS, character)) return LETTERS[character];
  const code = character.codePointAt(0);
  return code < 0x80 ? escapeOfByte(code) : `\\u{${code.toString(16)}}`;
}

// -- Looking at bytes -------------------------------------------------------------------------------------------------

/** The beginning of bytes, to look at: about `limit` characters, with a note when that is not all. */
export function labelOf(bytes, limit) {
  if (bytes.length === 0) return '(empty)';
  const begin = bytes.length > 4 * limit ? withoutCutCharacter(bytes.subarray(0, 4 * limit)) : bytes;
  const {text, isCut} = visible(distinct(begin), limit);
  return isCut || begin !== bytes ? `${text}… ${byteCount(bytes.length)}` : text;
}

/** About `limit` characters of bytes or of a text, without what cannot be seen, and … where there are more. */
export function shortened(bytesOrText, limit) {
  const {text, isCut} = visible(bytesOrText, limit);
  return isCut ? `${text}…` : text;
}

// A backslash is shown as two, so that `a\x00` and `a` with a NUL do not look the same.
function distinct(bytes) {
  if (!bytes.includes(BACKSLASH)) return bytes;
  return Uint8Array.from([...bytes].flatMap(byte => (byte === BACKSLASH ? [byte, byte] : byte)));
}

/** labelOf() of a name. Only the beginning of a long one is looked at. */
export function labelOfName(name, limit) {
  if (name.length <= 4 * limit) return labelOf(bytesOfName(name), limit);
  const begin = withoutCutCharacter(bytesOfName(name, 4 * limit));
  return `${visible(distinct(begin), limit).text}… ${byteCount(name.length)}`;
}

// -- Forms in which bytes are edited ----------------------------------------------------------------------------------

/** Can a text field hold exactly these bytes as text? */
export function canBeText(bytes) {
  const text = textOf(bytes);
  return text !== null && !NOT_IN_A_FIELD.test(text);
}

/** `text` where people see all of it then, else `escaped`. A line shows no line feeds. */
export function bestForm(bytes, isLine = false) {
  const text = textOf(bytes);
  if (text === null) return 'escaped';
  const seen = isLine ? text : text.replace(/[\n\t]/g, '');
  return SPECIAL.test(seen) ? 'escaped' : 'text';
}

function escapedText(text, isLine) {
  return text.replace(SPECIALS_OR_BACKSLASH, character => (
    character === '\n' && !isLine ? character : escapeOfCharacter(character)));
}

/** Text in which everything that is not plain is an escape. Line feeds stay what they are, except in a line. */
export function toEscaped(bytes, isLine = false) {
  const pieces = [];
  for (let at = 0; at < bytes.length;) {
    const end = endOfUtf8(bytes, at);
    pieces.push(end > at ? escapedText(textOf(bytes.subarray(at, end)), isLine) : escapeOfByte(bytes[at]));
    at = Math.max(end, at + 1);
  }
  return pieces.join('');
}

const ESCAPE = /\\(?:x([0-9a-f]{2})|u\{([0-9a-f]{1,6})\}|([nrtab0\\"']))/iy;

function bytesOfEscape(match) {
  const [, hex, code, letter] = match;
  if (hex) return Uint8Array.of(parseInt(hex, 16));
  if (letter) return Uint8Array.of(ESCAPES[letter.toLowerCase()]);
  const point = parseInt(code, 16);
  if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) throw new RangeError(`${match[0]} is no character.`);
  return utf8(String.fromCodePoint(point));
}

/** The bytes of a text with escapes. Throws a RangeError at a backslash that begins none. */
export function fromEscaped(text) {
  const pieces = [];
  let at = 0;
  for (let slash = text.indexOf('\\'); slash >= 0; slash = text.indexOf('\\', at)) {
    ESCAPE.lastIndex = slash;
    const match = ESCAPE.exec(text);
    if (!match) throw new RangeError(`The backslash at character ${slash + 1} begins no escape. For one write \\\\.`);
    pieces.push(utf8(text.slice(at, slash)), bytesOfEscape(match));
    at = ESCAPE.lastIndex;
  }
  return joined([...pieces, utf8(text.slice(at))]);
}

/** Pairs of hexadecimal digits, 16 bytes in a line. */
export function toHex(bytes) {
  const lines = [];
  for (let start = 0; start < bytes.length; start += 16) {
    lines.push(Array.from(bytes.subarray(start, start + 16), byte => byte.toString(16).padStart(2, '0')).join(' '));
  }
  return lines.join('\n');
}
