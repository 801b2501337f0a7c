/**
 * console-recording.mjs: a connection as a file, and the file as a connection that can be looked at again.
 *
 * Such a file has lines of JSON. The first is an object: `format`, `version`, `begun` (ISO 8601) and `target`. Each
 * other one is `[milliseconds since then, kind, what]`. Kinds: `received` and `sent`, of which `what` is bytes in
 * base64; `secret`, of which nothing is known (null); and `notice`, a text.
 */

const FORMAT = 'ws2s-recording', VERSION = 1;
const LIMITS = {characters: 33554432, events: 100000};
const PIECE_BYTES = 24576;        // of one event; a multiple of three, and its base64 is short enough for a line
const LINE_CHARACTERS = 65536;
const READ_BYTES = 262144;
const LONGEST_MILLISECONDS = 8.64e10;  // a thousand days

const whole = value => Number.isInteger(value) && value >= 0;

/** A file is no recording. `line`: where that was seen. */
export class RecordingError extends Error {
  constructor(message, line) {
    super(`This is no recording of the console: ${message} (line ${line}).`);
    this.name = 'RecordingError';
    this.line = line;
  }
}

/** What happens is written down until it is too much; what was before is kept then. */
export class Recording {
  #now;
  #limits;
  #begun;
  #date;
  #events = [];        // lines
  #characters = 0;

  /** What is recorded, for people. */
  target;
  /** Is the recording as large as it may be? Then nothing more is written down. */
  isFull = false;

  /** `now()`: milliseconds that never go back. */
  constructor(target, {now = () => performance.now(), limits = LIMITS, date = new Date()} = {}) {
    this.#now = now;
    this.#limits = limits;
    this.#begun = now();
    this.#date = date;
    this.target = target;
  }

  /** How many events there are. */
  get size() {
    return this.#events.length;
  }

  /** Those of the file. */
  get lines() {
    return [lineOf({format: FORMAT, version: VERSION, begun: this.#date.toISOString(), target: this.target}),
      ...this.#events];
  }

  received(bytes) {
    this.#addBytes('received', bytes);
  }

  sent(bytes) {
    this.#addBytes('sent', bytes);
  }

  secret() {
    this.#add('secret', null);
  }

  notice(text) {
    this.#add('notice', text);
  }

  #addBytes(kind, bytes) {
    for (let at = 0; at < bytes.length && !this.isFull; at += PIECE_BYTES) {
      this.#add(kind, base64(bytes.subarray(at, at + PIECE_BYTES)));
    }
  }

  #add(kind, what) {
    if (this.isFull) return;
    const line = lineOf([Math.round(this.#now() - this.#begun), kind, what]);
    this.#events.push(line);
    this.#characters += line.length;
    const {characters, events} = this.#limits;
    this.isFull = this.#characters >= characters || this.size >= events;
  }
}

function lineOf(value) {
  return `${JSON.stringify(value)}\n`;
}

function base64(bytes) {
  return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''));
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), character => character.charCodeAt(0));
}

// -- reading ----------------------------------------------------------------------------------------------------------

async function* linesOf(file) {
  const decoder = new TextDecoder('utf-8', {fatal: true});
  let rest = '', number = 1;
  for (let at = 0; at < file.size; at += READ_BYTES) {
    const bytes = await file.slice(at, at + READ_BYTES).arrayBuffer();
    const lines = (rest + decodedLine(decoder, bytes, number)).split('\n');
    rest = lines.pop();
    for (const text of lines) yield {text, number: number++};
    if (rest.length > LINE_CHARACTERS) throw new RecordingError('a line is too long', number);
  }
  if (rest) yield {text: rest, number};
}

function decodedLine(decoder, bytes, number) {
  try {
    return decoder.decode(bytes, {stream: true});
  } catch {
    throw new RecordingError('it is not UTF-8', number);
  }
}

function parsed({text, number}) {
  try {
    return JSON.parse(text);
  } catch {
    throw new RecordingError('something in it is not JSON', number);
  }
}

function headOf(line) {
  const head = parsed(line);
  if (head?.format !== FORMAT) throw new RecordingError('it does not begin like one', line.number);
  if (head.version !== VERSION) throw new RecordingError('its version is not known here', line.number);
  const {begun, target} = head;
  return {begun: typeof begun === 'string' ? begun : '', target: typeof target === 'string' ? target : ''};
}

const READ = {
  received: bytesOf, sent: bytesOf,
  secret: nothing => (nothing === null ? null : undefined),
  notice: text => (typeof text === 'string' ? text : undefined),
};

function eventOf(line, earlier) {
  const event = parsed(line);
  const [at, kind, value] = Array.isArray(event) && event.length === 3 ? event : [];
  const isRight = whole(at) && at >= earlier && at <= LONGEST_MILLISECONDS && Object.hasOwn(READ, kind);
  const what = isRight ? valueOf(kind, value) : undefined;
  if (what === undefined) throw new RecordingError('something in it is no event', line.number);
  return {at, kind, what};
}

function valueOf(kind, value) {
  const isBytes = READ[kind] === bytesOf;
  try {
    return isBytes && typeof value !== 'string' ? undefined : READ[kind](value);
  } catch {
    return undefined;  // no base64
  }
}

/** The head of a recording, `{begun, target}`, and then its events, `{at, kind, what}`. Throws a RecordingError. */
export async function* recorded(file) {
  let isBegun = false, earlier = 0;
  for await (const line of linesOf(file)) {
    if (line.text.length > LINE_CHARACTERS) throw new RecordingError('a line is too long', line.number);
    if (!isBegun) yield headOf(line);
    else if (line.text) {
      const event = eventOf(line, earlier);
      earlier = event.at;
      yield event;
    }
    isBegun = true;
  }
  if (!isBegun) throw new RecordingError('it is empty', 1);
}

// -- replaying --------------------------------------------------------------------------------------------------------

const LONGEST_PAUSE = 5000;  // milliseconds: nobody waits for what somebody did meanwhile

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', end);
      resolve();
    }, milliseconds);
    signal.addEventListener('abort', end, {once: true});
  });
}

/**
 * Let a recording happen again: `onHead(head)`, and each event at its time, `onEvent(event)`. Pauses are cut to five
 * seconds. `speed`: 2 is twice as fast, Infinity as fast as it can be read. `signal` ends it, by rejecting.
 */
export async function replay(file, {speed, signal, onHead, onEvent, now = () => performance.now(), wait = pause}) {
  const events = recorded(file);
  onHead((await events.next()).value);
  let at = 0, due = now();
  for await (const event of events) {
    due += Math.min(event.at - at, LONGEST_PAUSE) / speed;
    at = event.at;
    if (due > now()) await wait(due - now(), signal);
    signal.throwIfAborted();
    onEvent(event);
  }
}
