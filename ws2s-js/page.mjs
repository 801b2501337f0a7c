/**
 * page.mjs: what the pages of ws2s share. It looks at `document` and `location` only when it is asked to.
 *
 * What stands where:
 *
 *     1. Pages        saveFile, guardLeaving, ConnectButton, and all of elements.mjs
 *     2. Bytes        joined, hexDump, parseHex
 *     3. Failures     explain
 *     4. Choices      Choices
 */

import {element, localStorageIfAny, visible} from './elements.mjs';

export * from './elements.mjs';

// =====================================================================================================================
// 1. Pages
// =====================================================================================================================

// A browser may still read the file for a while after the click.
const FILE_MILLISECONDS = 60000;

/** Let the browser save a file. `parts`: those of a Blob, all in one type. */
export function saveFile(name, parts, type = 'application/octet-stream') {
  const url = URL.createObjectURL(new Blob(parts, {type}));
  const link = element('a', {href: url, download: name, hidden: true});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), FILE_MILLISECONDS);
}

const GUARD_MILLISECONDS = 250;

/**
 * Ask before the page is left while `isUnsaved()`. Only then: a listener that stands there all the time keeps a page
 * out of the cache in which Back finds it again. Returns what looks at once, for whoever knows that there is news.
 */
export function guardLeaving(isUnsaved) {
  const ask = event => event.preventDefault();
  const look = () => {
    if (isUnsaved()) addEventListener('beforeunload', ask);
    else removeEventListener('beforeunload', ask);
  };
  for (const event of ['input', 'click', 'keyup']) document.addEventListener(event, () => setTimeout(look));
  setInterval(look, GUARD_MILLISECONDS);  // it also is saved, or lost, by itself
  return look;
}

/** Of a form for a target: after a failure it reads Retry, until the form is changed. */
export class ConnectButton {
  #button;

  constructor(button) {
    this.#button = button;
    button.form.addEventListener('input', () => this.offerRetry(false));
  }

  offerRetry(hasFailed) {
    this.#button.textContent = hasFailed ? 'Retry' : 'Connect';
  }
}

// =====================================================================================================================
// 2. Bytes
// =====================================================================================================================

/** Arrays of bytes as one. A single one is given back, not copied. */
export function joined(pieces) {
  if (pieces.length === 1) return pieces[0];
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}

const HEX = Array.from({length: 256}, (_, byte) => byte.toString(16).padStart(2, '0'));
const ASCII = Array.from({length: 256}, (_, byte) => byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.');

/** Lines of `00000000  48 65 ...  |He...|`, with `columns` bytes in each, and at least `digits` in an offset. */
export function hexDump(bytes, offset = 0, columns = 16, digits = 8) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += columns) {
    const shown = (offset + at).toString(16).padStart(digits, '0');
    lines.push(`${shown} ${hexLine(bytes.subarray(at, at + columns), columns)}`);
  }
  return lines.join('\n');
}

function hexLine(bytes, columns) {
  let hex = '', text = '';
  for (let i = 0; i < bytes.length; i++) {
    hex += (i && i % 8 === 0 ? '  ' : ' ') + HEX[bytes[i]];
    text += ASCII[bytes[i]];
  }
  const width = 3 * columns + Math.ceil(columns / 8) - 1;
  return `${hex.padEnd(width)}  |${text}|`;
}

/**
 * The bytes that are written in hexadecimal. Spaces, commas, colons and semicolons may stand between them, and `0x` or
 * `\x` before each. Throws a RangeError that tells where it is wrong.
 */
export function parseHex(text) {
  const next = /[\s,:;]*(?:0x|\\x)?([0-9a-f]{2})/iy, rest = /[\s,:;]*/y;
  const bytes = [];
  let at = 0;
  for (let match = next.exec(text); match; match = next.exec(text)) {
    bytes.push(parseInt(match[1], 16));
    at = next.lastIndex;
  }
  rest.lastIndex = at;
  rest.exec(text);
  if (rest.lastIndex < text.length) throw hexError(text, rest.lastIndex);
  return Uint8Array.from(bytes);
}

function hexError(text, begin) {
  const at = begin + /^(?:0x|\\x)?/i.exec(text.slice(begin))[0].length;
  const [first] = text.slice(at);
  if (first === undefined) return new RangeError('Two hexadecimal digits are missing at the end.');
  const isDigit = /[0-9a-f]/i.test(first);
  return new RangeError(isDigit
    ? `The digit “${first}” (character ${at + 1}) stands alone, but a byte has two.`
    : `“${visible(first).text}” (character ${at + 1}) is not a hexadecimal digit.`);
}

// =====================================================================================================================
// 3. Failures
// =====================================================================================================================

// By the reason of a WS2SError. `bad-request`, `limit`, `internal`, `tls` and `ssh-auth` say more than we could.
const SENTENCES = {
  'dns': 'There is no host of this name, or its address cannot be found.',
  'timeout': 'The target did not answer in time: it may be switched off, or a firewall may drop what is sent to it.',
  'unreachable': 'There is no way to the target from the gateway.',
  'refused': 'The target refused the connection: nothing listens on this port, or a firewall turns it away.',
  'not-connected': 'Nothing is connected.',
  'forbidden': 'The rules of the gateway forbid this target. Whoever runs the gateway must allow it there.',
  'closed': 'The target has closed the connection.',
  'reset': 'The target has reset the connection; the last bytes may be missing.',
  'idle': 'The gateway has closed the connection, as nothing was sent either way for too long.',
  'ssh-hostkey': 'The SSH server shows another key than the one the gateway knows. Someone may stand in between; if ' +
    'the server is new, whoever runs the gateway must remove the old key from its known hosts.',
  'ssh-unreachable': 'The gateway cannot reach the SSH server.',
  'ssh-timeout': 'The SSH server did not answer in time.',
  'ssh-disabled': 'This gateway offers no SSH. Whoever runs it can switch it on (ssh.enabled).',
  'ssh-missing': 'The gateway has no ssh program. Whoever runs it must install one, or name it (ssh.program).',
  'gateway-unreachable': 'The gateway cannot be reached, or it lets no page of this address in. Does ws2s run there, ' +
    'and is the gateway’s URL right?',
  'gateway-lost': 'The way to the gateway was lost: it may have been stopped, or the network is gone.',
  'protocol': 'The gateway’s answer makes no sense: is it ws2s, and does the target speak what is expected?',
  'not-answered': 'The connection was lost before an answer came. The command may have been carried out, or not.',
  'aborted': 'The connection was dropped; what was on its way may be lost.',
};

// By the setting that a gateway names when it forbids a target.
const FORBIDDEN = {
  'allowConnectToServerLocal': 'This target is on the gateway’s own machine, which it does not let anyone reach. ' +
    'Whoever runs the gateway can allow that: python3 ws2s.py --allow-local',
  'own port': 'This is the port of the gateway itself, which it never connects to.',
  'allowTargets': 'The gateway does not allow this target. Whoever runs it can add it to the setting allowTargets.',
  'denyTargets': 'The gateway forbids this target by its setting denyTargets.',
};

// By the name of what a browser throws.
const BROWSER_SENTENCES = {
  AbortError: 'Cancelled.',
  SecurityError: 'The browser does not let this page open that address. From https:// only wss:// can be reached.',
};

/** What has gone wrong, for people: `{sentence, reason}`. */
export function explain(error) {
  const name = error?.name;
  if (name === 'WS2SError' && isOther(error.cause)) return explain(error.cause);
  if (name === 'WS2SError') return {sentence: gatewaySentence(error), reason: wordOf(error.reason)};
  if (name === 'RedisError') return {sentence: sentenceOf(`Redis: ${error.message}`), reason: wordOf(error.code)};
  if (name === 'FieldError') return {sentence: error.message, reason: 'field'};
  if (name === 'AbortError') return {sentence: BROWSER_SENTENCES.AbortError, reason: 'cancelled'};
  const message = error?.message || name || String(error);
  return {sentence: BROWSER_SENTENCES[name] || sentenceOf(message), reason: name || 'error'};
}

/** The same as one text, with the reason behind the sentence. */
export function failureText(error) {
  const {sentence, reason} = explain(error);
  return reason === 'field' || reason === 'cancelled' ? sentence : `${sentence} (${reason})`;
}

// What was asked of somebody who speaks something else was not carried out: what counts is that.
function isOther(cause) {
  return cause?.name === 'WS2SError' && cause.reason === 'protocol';
}

function gatewaySentence({reason, message, cause, endedAt}) {
  if (cause?.name === 'RedisError') return sentenceOf(message);
  if (reason === 'not-answered' && cause) return notAnsweredSentence(message, cause, endedAt);
  if (reason === 'protocol' && /RESP|seems? to speak/.test(message)) return protocolSentence(message);
  const setting = reason === 'forbidden' && /\(([\w ]+)\)$/.exec(message);
  if (setting && Object.hasOwn(FORBIDDEN, setting[1])) return FORBIDDEN[setting[1]];
  return Object.hasOwn(SENTENCES, reason) ? SENTENCES[reason] : sentenceOf(message);
}

function notAnsweredSentence(message, cause, endedAt) {
  const [, command] = /^no reply to (\S+),/.exec(message) || [null, 'a command'];
  if (cause.cause?.name === 'RedisError') return sentenceOf(cause.message);
  const isEnd = cause.name === 'WS2SError' && cause.code === 5 && ['closed', 'reset'].includes(cause.reason);
  const what = isEnd ? `The server has ended the connection at ${wordOf(endedAt || command)}`
    : `The connection was lost before the answer to ${wordOf(command)} came${ofLimit(cause)}`;
  const which = endedAt && endedAt !== command ? wordOf(command) : 'The command';
  return `${what}. ${which} may have been carried out, or not.`;
}

function ofLimit({name, reason, message}) {
  return name === 'WS2SError' && reason === 'limit' ? `: ${message}` : '';
}

function protocolSentence(message) {
  const [guess] = /seems? to speak [^.;]+/.exec(message) || ['speaks another protocol'];
  return sentenceOf(`This is not Redis; the port ${guess}`);
}

const WORD_CHARACTERS = 40;
const SENTENCE_CHARACTERS = 1000;

// Gateways and servers may give any text as their reason.
function wordOf(reason) {
  const {text, isCut} = visible(String(reason), WORD_CHARACTERS);
  return isCut ? text + '…' : text;
}

// What others have written ends like a sentence, and is safe to look at.
function sentenceOf(message) {
  const {text, isCut} = visible(message, SENTENCE_CHARACTERS);
  const begin = text.charAt(0).toUpperCase() + text.slice(1);
  return isCut ? begin + '…' : /[.!?…]$/.test(begin) ? begin : begin + '.';
}

// =====================================================================================================================
// 4. Choices
// =====================================================================================================================

/** What was chosen last, by name, in localStorage. */
export class Choices {
  #key;
  #storage;
  #chosen;

  constructor(key, storage = localStorageIfAny()) {
    this.#key = key;
    this.#storage = storage;
    this.#chosen = this.#read();
  }

  get(name) {
    return this.#chosen.get(name);
  }

  set(name, value) {
    this.#chosen.set(name, value);
    try {
      this.#storage.setItem(this.#key, JSON.stringify([...this.#chosen]));
    } catch {
      // The browser keeps nothing for this page. All else works without.
    }
  }

  #read() {
    try {
      return new Map(JSON.parse(this.#storage.getItem(this.#key)));
    } catch {
      return new Map();  // nothing is kept, or nothing may be, or another program has written there
    }
  }
}
