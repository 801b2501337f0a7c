/**
 * console-transcript.mjs: what the console has sent and received, as far as it is kept, and how it is written down.
 */
import {AnsiReader, styledRuns} from './console-ansi.mjs';
import {byteCount, hexDump, joined, lengthByLead, visible} from './page.mjs';

const KEPT_BYTES = 1048576;
const KEPT_ENTRIES = 2000;
const KEPT_LINES = 20000;    // short ones are slow to lay out, and fill a page long before there are many bytes
const ENTRY_BYTES = 8192;    // what comes at once stands in one entry, up to this
const ENTRY_LINES = 500;
const LINE_FEED = 10;
const PIECES = 64;           // many small arrays take far more room than one
const CHARACTER_BYTES = 4;   // of the longest character of UTF-8

function isContinuation(byte) {
  return (byte & 0xc0) === 0x80;
}

function linesIn(bytes) {
  let count = 0;
  for (const byte of bytes) if (byte === LINE_FEED) count++;
  return count;
}

// How many bytes the character at the end still wants.
function missingBytes(bytes) {
  for (let back = 1; back < CHARACTER_BYTES && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back];
    if (!isContinuation(byte)) return Math.max(0, lengthByLead(byte) - back);
  }
  return 0;
}

/**
 * `kind`: sent, received, notice, or secret for what was sent and is not kept. `tone` of a notice: '', 'good' or 'bad'.
 * `ansi`: the state of an AnsiReader before what was received.
 */
class Entry {
  #pieces = [];
  #lent = 0;            // how many bytes at the begin are shown as the end of a character of an earlier entry
  #borrowed = [];       // the end of our last character, which came with a later one
  #end = new Uint8Array(0);

  size = 0;
  lines = 0;
  isChanged = true;     // since it was last shown

  constructor(kind, {text = '', tone = '', ansi} = {}) {
    this.kind = kind;
    this.text = text;
    this.tone = tone;
    this.ansi = ansi;
    this.time = new Date();
  }

  get bytes() {
    this.#pieces = [joined(this.#pieces)];
    return this.#pieces[0];
  }

  /** As `bytes`, but with whole characters of UTF-8. */
  get characters() {
    return joined([this.bytes.subarray(this.#lent), ...this.#borrowed]);
  }

  get missing() {
    return missingBytes(this.#end);
  }

  add(piece, lent) {
    this.#pieces.push(piece);
    if (this.#pieces.length >= PIECES) this.#pieces = [joined(this.#pieces)];
    this.#lent += lent;
    this.size += piece.length;
    this.lines += linesIn(piece);
    this.#onText(piece.subarray(lent));
  }

  /** Take the end of our last character from `piece`; how many bytes that are. */
  borrow(piece) {
    let count = 0;
    while (count < this.missing && count < piece.length && isContinuation(piece[count])) count++;
    if (!count) return 0;
    this.#borrowed.push(piece.slice(0, count));
    this.#onText(piece.subarray(0, count));
    return count;
  }

  #onText(bytes) {
    this.#end = joined([this.#end, bytes.slice(-CHARACTER_BYTES)]).slice(-CHARACTER_BYTES);
    this.isChanged = true;
  }
}

/** The newest entries; older ones are dropped, and counted. */
export class Transcript {
  #limits;
  #bytes = 0;
  #lines = 0;
  #unfinished = null;   // the received entry that ends within a character
  #mayGrow = false;     // the last entry has not been shown yet
  #ansi = new AnsiReader();

  /** Is there something that was sent or received, and not saved since? */
  isUnsaved = false;
  entries = [];
  dropped = {entries: 0, bytes: 0};

  constructor({bytes = KEPT_BYTES, entries = KEPT_ENTRIES, lines = KEPT_LINES} = {}) {
    this.#limits = {bytes, entries, lines};
  }

  notice(text, tone = '') {
    this.#push(new Entry('notice', {text, tone}));
  }

  /** Something was sent that nobody may see, nor how long it was. */
  secret() {
    this.#push(new Entry('secret', {text: 'a secret, which is neither shown nor kept'}));
    this.isUnsaved = true;
  }

  sent(bytes) {
    this.isUnsaved = true;
    for (const piece of pieced(bytes)) {
      this.#push(new Entry('sent'));
      this.#extend(piece, 0);
    }
  }

  received(bytes) {
    this.isUnsaved = true;
    for (const piece of pieced(bytes)) this.#receive(piece);
  }

  /** What is received next belongs to another connection. */
  beginStream() {
    this.#unfinished = null;
    this.#mayGrow = false;
    this.#ansi = new AnsiReader();
  }

  /** All entries have been shown: what comes now stands in a new one. */
  seal() {
    this.#mayGrow = false;
  }

  clear() {
    this.entries = [];
    this.dropped = {entries: 0, bytes: 0};
    this.#bytes = this.#lines = 0;
    this.isUnsaved = false;
    this.beginStream();
  }

  /** What to say about what is not kept; '' if nothing is missing. */
  get loss() {
    const {entries, bytes} = this.dropped;
    if (!entries) return '';
    const limits = this.#limits;
    const count = `${number(entries)} older ${entries === 1 ? 'entry' : 'entries'}`;
    return `${count} (${byteCount(bytes)}) ${entries === 1 ? 'was' : 'were'} dropped: only the newest ` +
      `${byteCount(limits.bytes)}, in at most ${number(limits.entries)} entries and ${number(limits.lines)} lines, ` +
      'are kept.';
  }

  #receive(piece) {
    const last = this.entries.at(-1);
    if (!this.#mayGrow || last.kind !== 'received' || !fits(last, piece)) {
      this.#push(new Entry('received', {ansi: this.#ansi.state}));
    }
    this.#ansi.read(piece);
    const entry = this.entries.at(-1);
    const lender = this.#unfinished;
    const lent = lender && lender !== entry ? lender.borrow(piece) : 0;
    this.#extend(piece, lent);
    const isInside = lent && lent === piece.length && lender.missing;
    if (!isInside) this.#unfinished = entry.missing ? entry : null;
  }

  #push(entry) {
    this.entries.push(entry);
    this.#mayGrow = true;
    this.#drop();
  }

  #extend(piece, lent) {
    const entry = this.entries.at(-1), {lines} = entry;
    entry.add(piece, lent);
    this.#bytes += piece.length;
    this.#lines += entry.lines - lines;
    this.#drop();
  }

  #drop() {
    const {bytes, entries, lines} = this.#limits;
    while (this.#bytes > bytes || this.entries.length > entries || this.#lines > lines) {
      const {size, lines: dropped} = this.entries.shift();
      this.#bytes -= size;
      this.#lines -= dropped;
      this.dropped.entries++;
      this.dropped.bytes += size;
    }
  }
}

function number(count) {
  return count.toLocaleString('en');
}

function fits(entry, piece) {
  return entry.size + piece.length <= ENTRY_BYTES && entry.lines + linesIn(piece) <= ENTRY_LINES;
}

function* pieced(bytes) {
  for (let begin = 0, end; begin < bytes.length; begin = end) {
    end = endOfPiece(bytes, begin);
    // Copies: a view would keep the whole.
    yield end - begin === bytes.buffer.byteLength ? bytes : bytes.slice(begin, end);
  }
}

function endOfPiece(bytes, begin) {
  const end = Math.min(begin + ENTRY_BYTES, bytes.length);
  let lines = 0;
  for (let at = begin; at < end; at++) {
    if (bytes[at] === LINE_FEED && ++lines === ENTRY_LINES) return at + 1;
  }
  return end;
}

const DIGITS = new Intl.NumberFormat('en', {minimumIntegerDigits: 2});

/** `15:04:05.123`, in local time. */
export function timeText(time) {
  const parts = [time.getHours(), time.getMinutes(), time.getSeconds()].map(part => DIGITS.format(part));
  return `${parts.join(':')}.${String(time.getMilliseconds()).padStart(3, '0')}`;
}

// Of hex dumps. The offset of a byte in its entry needs four digits at most.
export const WIDE = {columns: 16, digits: 8}, NARROW = {columns: 8, digits: 4};

function lineText(bytes) {
  return visible(bytes, Infinity, {lines: true}).text.replaceAll('\r\n', '\n');
}

/**
 * What an entry says. `view`: 'colour', in which sequences of terminals are obeyed, or removed; 'text', in which they
 * can be seen; or 'hex', which has the shape WIDE or NARROW.
 */
export function bodyText(entry, view, {columns, digits} = WIDE) {
  if (entry.text) return entry.text;
  if (view === 'hex') return hexDump(entry.bytes, 0, columns, digits);
  return bodyRuns(entry, view).map(({text}) => text).join('');
}

/** The same for 'colour' and 'text', as runs of one style each: `{text, style}`; plain ones have none. */
export function bodyRuns(entry, view) {
  if (entry.text) return [{text: entry.text}];
  const isObeyed = view === 'colour' && entry.kind === 'received';
  if (!isObeyed) return [{text: lineText(entry.characters)}];
  return styledRuns(entry.characters, entry.ansi).map(({bytes, style}) => ({text: lineText(bytes), style}));
}

/** The whole as lines of a file, in pieces. */
export function* savedText(transcript, view) {
  yield `ws2s console, transcript saved at ${new Date().toISOString()}; times are local\n`;
  if (transcript.loss) yield `${transcript.loss}\n`;
  for (const entry of transcript.entries) yield savedEntry(entry, view);
}

// The first line of an entry, were it within a text.
const FORGED = /^\d(?=\d:\d\d:\d\d\.\d{3} )/gm;

function savedEntry(entry, view) {
  const head = `\n${timeText(entry.time)} ${entry.kind}`;
  // What a target has sent must not read like an entry of its own: its first digit is an escape.
  const body = bodyText(entry, view).replace(FORGED, digit => `\\x3${digit}`);
  if (entry.text) return `${head}: ${body}\n`;
  return `${head} ${byteCount(entry.size)}\n${body}${body.endsWith('\n') ? '' : '\n'}`;
}
