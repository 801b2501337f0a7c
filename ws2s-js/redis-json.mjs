/**
 * JSON as it is written. Nothing is turned into numbers or objects of JavaScript: so numbers of any length, escapes,
 * names that come twice and the order of members stay what they are. What stands where: JsonError, checking, a
 * document that can be opened bit by bit, other layouts.
 *
 * Functions with a * are for inSlices().
 */

import {visible} from './page.mjs';
import {shortened} from './redis-bytes.mjs';
import {Containers, TooMuchError} from './redis-outline.mjs';

const STRIDE = 16384;  // characters between two yields
const LARGEST_LAYOUT = 33554432;  // characters
const DEEPEST_INDENT = 40;

const QUOTE = 0x22, BACKSLASH = 0x5c, MINUS = 0x2d, PLUS = 0x2b, DOT = 0x2e, ZERO = 0x30, COMMA = 0x2c, COLON = 0x3a;
const OPEN_OBJECT = 0x7b, CLOSE_OBJECT = 0x7d, OPEN_LIST = 0x5b, CLOSE_LIST = 0x5d;
const LITERALS = {t: 'true', f: 'false', n: 'null'};

const isBlank = code => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
const isDigit = code => code >= ZERO && code <= 0x39;
const isExponent = code => code === 0x65 || code === 0x45;

// -- errors -----------------------------------------------------------------------------------------------------------

/** Where a text stops being JSON: `at` (in UTF-16 units, from 0), `line` and `column` (in characters, from 1). */
export class JsonError extends SyntaxError {
  constructor(text, at, words) {
    const before = text.slice(0, at);
    const lineStart = before.lastIndexOf('\n') + 1;
    const line = lineStart ? before.split('\n').length : 1;
    const counted = Math.max(lineStart, at - STRIDE);  // of a very long line only the end, by characters
    const column = counted - lineStart + [...before.slice(counted)].length + 1;
    super(`Line ${line}, column ${column}: ${words}`);
    this.name = 'JsonError';
    Object.assign(this, {at, line, column});
  }
}

function foundAt(text, at) {
  return at >= text.length ? 'the text ends' : `“${visible(String.fromCodePoint(text.codePointAt(at))).text}” stands`;
}

// -- parts of a text --------------------------------------------------------------------------------------------------

function skipBlanks(text, at, limit = text.length) {
  while (at < limit && isBlank(text.charCodeAt(at))) at++;
  return at;
}

function endOfDigits(text, at) {
  const end = at;
  while (isDigit(text.charCodeAt(at))) at++;
  if (at === end) throw new JsonError(text, at, `${foundAt(text, at)} where a digit must be.`);
  return at;
}

function endOfNumber(text, at) {
  if (text.charCodeAt(at) === MINUS) at++;
  const first = at;
  at = endOfDigits(text, at);
  if (text.charCodeAt(first) === ZERO && at > first + 1) throw new JsonError(text, first, 'a number begins with no 0.');
  if (text.charCodeAt(at) === DOT) at = endOfDigits(text, at + 1);
  if (!isExponent(text.charCodeAt(at))) return at;
  const sign = text.charCodeAt(++at);
  return endOfDigits(text, sign === PLUS || sign === MINUS ? at + 1 : at);
}

const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

function endOfEscape(text, at) {
  ESCAPE.lastIndex = at;
  if (!ESCAPE.test(text)) throw new JsonError(text, at, 'this backslash begins no escape of JSON.');
  return ESCAPE.lastIndex;
}

// Behind the quote that ends a string which was checked; `at` is behind the one that begins it.
function endOfString(text, at) {
  for (let quote = text.indexOf('"', at); ; quote = text.indexOf('"', quote + 1)) {
    let slashes = 0;
    while (text.charCodeAt(quote - 1 - slashes) === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return quote + 1;
  }
}

// -- checking ---------------------------------------------------------------------------------------------------------

/** Reads a text once. Its private methods are states: each reads a piece, and gives the state that comes next. */
class Checker {
  #text;
  #at = 0;
  #limit = 0;     // a state stops there, and is entered again
  #open = [];     // the numbers of the containers it is in
  #counts = [];   // of their members so far
  #afterString;
  #containers;

  constructor(text, containers) {
    this.#text = text;
    this.#containers = containers;
  }

  *run() {
    let state = this.#value;
    while (state) {
      if (this.#at >= this.#limit) {
        this.#limit = this.#at + STRIDE;
        yield;
      }
      if (state !== this.#string) this.#at = skipBlanks(this.#text, this.#at, this.#limit);
      if (this.#at < this.#limit || this.#at >= this.#text.length) state = state.call(this);
    }
  }

  get #code() {
    return this.#text.charCodeAt(this.#at);
  }

  #fail(wanted) {
    throw new JsonError(this.#text, this.#at, `${foundAt(this.#text, this.#at)} where ${wanted} must be.`);
  }

  #value() {
    const code = this.#code;
    if (code === QUOTE) return this.#beginString(this.#after);
    if (code === OPEN_OBJECT || code === OPEN_LIST) return this.#beginContainer(code);
    if (code === MINUS || isDigit(code)) this.#at = endOfNumber(this.#text, this.#at);
    else this.#literal();
    return this.#after;
  }

  #literal() {
    const word = LITERALS[this.#text[this.#at]];
    if (!word || !this.#text.startsWith(word, this.#at)) this.#fail('a value');
    this.#at += word.length;
  }

  #beginContainer(code) {
    this.#open.push(this.#containers.open(this.#at++));
    this.#counts.push(0);
    return code === OPEN_OBJECT ? this.#firstName : this.#firstItem;
  }

  #firstName() {
    return this.#code === CLOSE_OBJECT ? this.#end() : this.#name();
  }

  #firstItem() {
    return this.#code === CLOSE_LIST ? this.#end() : this.#item();
  }

  #name() {
    if (this.#code !== QUOTE) this.#fail('a name in double quotes');
    this.#counts[this.#counts.length - 1]++;
    return this.#beginString(this.#colon);
  }

  #item() {
    this.#counts[this.#counts.length - 1]++;
    return this.#value();
  }

  #colon() {
    if (this.#code !== COLON) this.#fail('a colon');
    this.#at++;
    return this.#value;
  }

  #beginString(after) {
    this.#at++;
    this.#afterString = after;
    return this.#string;
  }

  #string() {
    const text = this.#text;
    let at = this.#at;
    for (; at < this.#limit; at++) {
      const code = text.charCodeAt(at);
      if (code === QUOTE) break;
      if (code === BACKSLASH) at = endOfEscape(text, at) - 1;
      else if (!(code >= 0x20)) throw new JsonError(text, at, `${foundAt(text, at)} within a string.`);
    }
    const isEnd = at < this.#limit;
    this.#at = isEnd ? at + 1 : at;
    return isEnd ? this.#afterString : this.#string;
  }

  // What follows a value.
  #after() {
    const depth = this.#open.length;
    if (!depth) return this.#afterAll();
    const isObject = this.#text.charCodeAt(this.#containers.startOf(this.#open[depth - 1])) === OPEN_OBJECT;
    if (this.#code === (isObject ? CLOSE_OBJECT : CLOSE_LIST)) return this.#end();
    if (this.#code !== COMMA) this.#fail(isObject ? 'a comma or }' : 'a comma or ]');
    this.#at++;
    return isObject ? this.#name : this.#item;
  }

  #end() {
    this.#containers.close(this.#open.pop(), ++this.#at, this.#counts.pop());
    return this.#after;
  }

  #afterAll() {
    if (this.#at < this.#text.length) this.#fail('the end');
    return null;
  }
}

/** The JsonDocument of a text. Throws a JsonError, or a TooMuchError. */
export function* readJson(text) {
  const containers = new Containers();
  yield* new Checker(text, containers).run();
  return new JsonDocument(text, containers);
}

// -- a document -------------------------------------------------------------------------------------------------------

const KINDS = {'{': 'object', '[': 'list', '"': 'string', t: 'boolean', f: 'boolean', n: 'null'};

/**
 * A text that is JSON. A node of it is `{kind, name, at, end, count}`: what it is, its name as it is written (with
 * quotes) or its index, which part of the text it is, and how many members it has (0 where it is no container).
 */
export class JsonDocument {
  #text;
  #containers;

  constructor(text, containers) {
    this.#text = text;
    this.#containers = containers;
  }

  get root() {
    return this.#node(skipBlanks(this.#text, 0), null);
  }

  #node(at, name) {
    const kind = KINDS[this.#text[at]] || 'number';
    const {end, count} = this.#extent(at, kind);
    return {kind, name, at, end, count};
  }

  #extent(at, kind) {
    if (kind === 'object' || kind === 'list') return this.#containers.at(at);
    if (kind === 'string') return {end: endOfString(this.#text, at + 1), count: 0};
    if (kind === 'number') return {end: endOfNumber(this.#text, at), count: 0};
    return {end: at + LITERALS[this.#text[at]].length, count: 0};
  }

  /** How a node is written, all of it. */
  textOf({at, end}) {
    return this.#text.slice(at, end);
  }

  /** How a name, or a value that is no container, is shown; at most about `limit` characters of it. */
  label({kind, at, end}, limit) {
    if (kind !== 'string') return shortened(this.#text.slice(at, Math.min(end, at + limit + 1)), limit);
    return stringLabel(this.#text.slice(at, Math.min(end, at + 6 * limit + 2)), limit, end - at > 6 * limit + 2);
  }

  nameLabel({name}, limit) {
    if (typeof name !== 'string') return name === null ? '' : String(name);
    return stringLabel(name.slice(0, 6 * limit + 2), limit, name.length > 6 * limit + 2);
  }

  /** Up to `size` members of a container, from `cursor` (null: the first): `{nodes, cursor}`; null is the end. */
  children(node, cursor, size) {
    const text = this.#text, nodes = [];
    let {at, index} = cursor || {at: node.at + 1, index: 0};
    for (; nodes.length < size && index < node.count; index++) {
      const start = skipBlanks(text, at);
      const colon = node.kind === 'object' ? endOfString(text, start + 1) : -1;
      const name = colon < 0 ? index : text.slice(start, colon);
      nodes.push(this.#node(colon < 0 ? start : skipBlanks(text, skipBlanks(text, colon) + 1), name));
      at = skipBlanks(text, nodes[nodes.length - 1].end) + 1;  // behind the comma
    }
    return {nodes, cursor: index < node.count ? {at, index} : null};
  }
}

// `written`: a string of JSON with its quotes; the end may be missing, within an escape even.
function stringLabel(written, limit, isCut) {
  const body = isCut ? withoutHalfEscape(written.slice(1)) : written.slice(1, -1);
  const label = shortened(JSON.parse(`"${body}"`), limit);
  return isCut && !label.endsWith('…') ? `"${label}…"` : `"${label}"`;
}

function withoutHalfEscape(body) {
  const half = /(?:^|[^\\])(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)$/.exec(body.slice(-STRIDE));
  return half ? body.slice(0, body.length - half[1].length) : body;
}

const BEGIN = /^\s*(?:\{\s*(?:["}]|$)|\[\s*(?:["\d\-[{\]tfn]|$))/;
const END = /[\]}]\s*$/;

/** Does a text seem to be an object or a list? `isWhole`: is its end there, too? */
export function seemsJson(text, isWhole) {
  return BEGIN.test(text) && (!isWhole || END.test(text.slice(-STRIDE)));
}

// -- layouts ----------------------------------------------------------------------------------------------------------

/** A text that grows by many small pieces, up to a bound. */
class Pieces {
  #chunks = [];
  #fresh = [];
  #length = 0;

  add(piece) {
    this.#length += piece.length;
    if (this.#length > LARGEST_LAYOUT) throw new TooMuchError('Laid out like this, the text would be too long.');
    if (this.#fresh.push(piece) === STRIDE) this.#join();
  }

  #join() {
    this.#chunks.push(this.#fresh.join(''));
    this.#fresh = [];
  }

  get text() {
    this.#join();
    return this.#chunks.join('');
  }
}

const isOpening = code => code === OPEN_OBJECT || code === OPEN_LIST;
const isClosing = code => code === CLOSE_OBJECT || code === CLOSE_LIST;

// Very deep ones are indented no further: else a short text could become a very long one.
const breakAt = (depth, indent) => (indent ? `\n${' '.repeat(indent * Math.min(depth, DEEPEST_INDENT))}` : '');

// Of a text that was checked. A container without members is one token.
function endOfToken(text, at) {
  const code = text.charCodeAt(at);
  if (code === QUOTE) return endOfString(text, at + 1);
  if (code === COMMA || code === COLON || isClosing(code)) return at + 1;
  const next = isOpening(code) ? skipBlanks(text, at + 1) : endOfPlain(text, at);
  return isOpening(code) ? (isClosing(text.charCodeAt(next)) ? next + 1 : at + 1) : next;
}

function endOfPlain(text, at) {
  while (at < text.length && !isBlank(text.charCodeAt(at)) && !',]}'.includes(text[at])) at++;
  return at;
}

/**
 * Text that was checked, with other blanks: each member in a line of its own, or no blanks at all where `indent` is 0.
 * Names, strings and numbers stay as they are written. Throws a TooMuchError.
 */
export function* layout(text, indent = 2) {
  const pieces = new Pieces();
  let depth = 0, rested = 0;
  for (let at = skipBlanks(text, 0), end; at < text.length; at = skipBlanks(text, end)) {
    const code = text.charCodeAt(at);
    end = endOfToken(text, at);
    const isBegin = isOpening(code) && end === at + 1;
    if (isClosing(code)) pieces.add(breakAt(--depth, indent));
    pieces.add(isOpening(code) && !isBegin ? text[at] + text[end - 1] : text.slice(at, end));
    if (isBegin) depth++;
    if (isBegin || code === COMMA) pieces.add(breakAt(depth, indent));
    if (code === COLON && indent) pieces.add(' ');
    if (end - rested > STRIDE) { rested = end; yield; }
  }
  return pieces.text;
}
