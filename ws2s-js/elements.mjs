/**
 * elements.mjs: what a page needs to begin; all of it is in page.mjs, too. It looks at `document` and `location` only
 * when it is asked to.
 *
 * What stands where:
 *
 *     1. Elements     byId, element, Status, FieldError, startPage
 *     2. Texts        visible, byteCount
 */

// =====================================================================================================================
// 1. Elements
// =====================================================================================================================

export function byId(id) {
  return document.getElementById(id);
}

// Their properties cannot be set, or not in every browser.
const ATTRIBUTES = new Set(['list', 'role', 'form', 'colspan', 'rowspan', 'scope']);

/**
 * A new element. `properties` are those of the DOM; besides there are `on` ({event: listener}), `dataset`, and names of
 * attributes. Children are nodes, or strings, which become text; null, undefined and false are none.
 */
export function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  const {on = {}, dataset = {}, ...others} = properties;
  for (const [property, value] of Object.entries(others)) setProperty(node, property, value);
  for (const [event, listener] of Object.entries(on)) node.addEventListener(event, listener);
  Object.assign(node.dataset, dataset);
  node.append(...children.flat().filter(isThere));
  return node;
}

function setProperty(node, name, value) {
  const aria = /^aria([A-Z]\w*)$/.exec(name);
  if (!isThere(value) && !(name in node)) return;
  if (aria) node.setAttribute('aria-' + aria[1].toLowerCase(), value);
  else if (name in node && !ATTRIBUTES.has(name)) node[name] = value;
  else node.setAttribute(name, value);
}

function isThere(value) {
  return value !== null && value !== undefined && value !== false;
}

/** A line that tells how things stand, and is read out when it changes. */
export class Status {
  #node;

  constructor(node) {
    this.#node = node;
    node.setAttribute('role', 'status');
    this.say('');
  }

  get node() {
    return this.#node;
  }

  /** `kind`: '', 'busy', 'good' or 'bad'. */
  say(text, kind = '') {
    this.#node.className = `status ${kind}`.trim();
    this.#node.textContent = text;
  }
}

/** What was typed into a field makes no sense. `field` is where. */
export class FieldError extends Error {
  constructor(message, field) {
    super(message);
    this.name = 'FieldError';
    this.field = field;
  }
}

export function localStorageIfAny() {
  try {
    return globalThis.localStorage;
  } catch {
    return undefined;  // forbidden by the user
  }
}

const TOO_EARLY = 'Connecting when the rest of this page is there…';
const NOT_WHOLE = 'A part of this page could not be loaded: load it again.';

/** Fetch all modules side by side that a template names, once; they are run when they are imported. */
export function fetchModules(id) {
  document.head.append(document.getElementById(id)?.content || '');
}

/**
 * The form for a target can be filled in while `load()` imports the rest of the page, all modules of which are named in
 * the template `later`, to be fetched side by side. What is wanted too early is done when it is there. Those that are
 * imported only when they are needed are in the template `last`, if there are such, or in one that has the name of the
 * module, for whoever imports that one.
 */
export async function startPage(form, load) {
  const status = new Status(document.getElementById('status'));
  const others = [...document.querySelectorAll('main > section')].filter(section => !section.contains(form));
  const setBusy = isBusy => {
    for (const section of others) section.inert = isBusy;
    document.body.setAttribute('aria-busy', String(isBusy));
  };
  let answer = [TOO_EARLY, 'busy'], isWanted = false;
  const onSubmit = event => {
    event.preventDefault();
    isWanted = true;
    status.say(...answer);
  };
  form.addEventListener('submit', onSubmit);
  document.getElementById('unstarted').remove();
  fetchModules('later');
  setBusy(true);
  try {
    await load();
  } catch (error) {
    status.say(...answer = [NOT_WHOLE, 'bad']);
    throw error;
  }
  form.removeEventListener('submit', onSubmit);
  setBusy(false);
  if (isWanted) form.requestSubmit();
  fetchModules('last');
}

// =====================================================================================================================
// 2. Texts
// =====================================================================================================================

const DECODER = new TextDecoder('utf-8', {ignoreBOM: true});
const CHECKED_BYTES = 1048576;

// What cannot be seen, or changes the order of what is seen. The two selectors belong to many an emoji.
const HIDDEN = /(?![\uFE0E\uFE0F])[\p{Cc}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}\p{Cs}\uFFF9-\uFFFB]/gu;
const HIDDEN_IN_LINES = new RegExp(`(?!\\r\\n|[\\n\\t])${HIDDEN.source}`, 'gu');

// In a decoded text a byte that is not UTF-8 is half a surrogate pair, which UTF-8 cannot hold.
const NO_TEXT = 0xdc00;

/**
 * Text that is safe to look at: `{text, isText, isCut, length}`.
 *
 * Bytes that are no UTF-8, and control characters, are shown as `\xHH`; other characters that cannot be seen or that
 * turn the order of reading as `\u{...}`. `text` has at most `limit` characters, and no half escape. `isText`: is all
 * of it UTF-8, not only what is shown? `length`: how many bytes all of it has.
 * With `{lines: true}` line ends and tabs stay what they are.
 */
export function visible(bytesOrText, limit = Infinity, {lines = false} = {}) {
  const isString = typeof bytesOrText === 'string';
  const isText = isString ? bytesOrText.isWellFormed?.() !== false : isUtf8(bytesOrText);
  const all = isString ? bytesOrText : decoded(bytesOrText.subarray(0, 3 * limit + 4), isText);
  const {text, taken} = escaped(all, limit, lines, isString);
  const isWhole = taken === all.length && (isString || bytesOrText.length <= 3 * limit + 4);
  return {text, isText, isCut: !isWhole, length: isString ? utf8Length(bytesOrText) : bytesOrText.length};
}

function isUtf8(bytes) {
  const decoder = new TextDecoder('utf-8', {fatal: true});
  try {
    for (let start = 0; start < bytes.length; start += CHECKED_BYTES) {
      decoder.decode(bytes.subarray(start, start + CHECKED_BYTES), {stream: true});
    }
    decoder.decode();
    return true;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}

function utf8Length(text) {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // A pair has four bytes, two for each half.
    if (unit > 0x7f) length += unit > 0x7ff && !(unit >= 0xd800 && unit <= 0xdfff) ? 2 : 1;
  }
  return length;
}

function decoded(bytes, isText) {
  return isText ? DECODER.decode(bytes) : decodedLoosely(bytes);
}

function decodedLoosely(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length;) {
    const codePoint = codePointAt(bytes, at);
    text += codePoint < 0 ? String.fromCharCode(NO_TEXT + bytes[at]) : String.fromCodePoint(codePoint);
    at += codePoint < 0 ? 1 : lengthOf(codePoint);
  }
  return text;
}

function lengthOf(codePoint) {
  return codePoint < 0x80 ? 1 : codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4;
}

/** How many bytes a character has that begins with this byte; 0 if none does. */
export function lengthByLead(lead) {
  if (lead < 0x80) return 1;
  return lead < 0xc2 || lead > 0xf4 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

// -1 where no UTF-8 is.
function codePointAt(bytes, at) {
  const length = lengthByLead(bytes[at]);
  if (length === 0) return -1;
  if (length === 1) return bytes[at];
  let codePoint = bytes[at] & (0x7f >> length);
  for (let i = at + 1; i < at + length; i++) {
    if ((bytes[i] & 0xc0) !== 0x80) return -1;
    codePoint = codePoint << 6 | bytes[i] & 0x3f;
  }
  const isSurrogate = codePoint >= 0xd800 && codePoint <= 0xdfff;
  return lengthOf(codePoint) !== length || isSurrogate || codePoint > 0x10ffff ? -1 : codePoint;
}

// `taken`: how much of the text is shown.
function escaped(all, limit, lines, isString) {
  const hidden = lines ? HIDDEN_IN_LINES : HIDDEN;
  const escape = isString ? escapeOf : escapeOfByte;
  const begin = all.slice(0, limit);
  const text = begin.replace(hidden, escape);
  const splitsPair = begin.length < all.length && /[\ud800-\udbff]$/.test(begin);
  if (text.length <= limit && !splitsPair) return {text, taken: begin.length};
  return escapedUpTo(all, limit, new RegExp(hidden.source, 'uy'), escape);
}

function escapedUpTo(all, limit, hiddenHere, escape) {
  let text = '', taken = 0;
  for (const character of all) {
    hiddenHere.lastIndex = taken;
    const piece = hiddenHere.test(all) ? escape(character) : character;
    if (text.length + piece.length > limit) break;
    text += piece;
    taken += character.length;
  }
  return {text, taken};
}

function escapeOf(character) {
  const codePoint = character.codePointAt(0);
  const digits = codePoint.toString(16);
  return codePoint < 0x80 ? '\\x' + digits.padStart(2, '0') : `\\u{${digits}}`;
}

function escapeOfByte(character) {
  const byte = character.charCodeAt(0) - NO_TEXT;
  return byte >= 0x80 && byte <= 0xff ? '\\x' + byte.toString(16) : escapeOf(character);
}

const UNITS = ['KB', 'MB', 'GB', 'TB'];

/** `1 byte`, `12.3 KB`: a thousand bytes are a KB. */
export function byteCount(count) {
  if (count < 1000) return count === 1 ? '1 byte' : `${count} bytes`;
  let unit = 0, size = count / 1000;
  for (; size >= 999.5 && unit < UNITS.length - 1; unit++) size /= 1000;
  return `${size < 99.95 ? size.toFixed(1) : Math.round(size)} ${UNITS[unit]}`;
}
