/**
 * Files of exported keys: what DUMP gives for each, byte for byte, and when its time runs out. All numbers are
 * big-endian; a check is the CRC-32 (that of zip) of all bytes of its part before it.
 *
 *     head     "ws2s keys" 0d 0a 1a 0a | version, 2 bytes | length, 4 bytes | facts, JSON in UTF-8 | check, 4 bytes
 *     key      "K" | deadline, 8 bytes | length of the name, 4 | length of the dump, 4 | name | dump | check, 4 bytes
 *     end      "E" | number of keys, 8 bytes | check, 4 bytes
 *
 * A deadline is in milliseconds since 1970 by the clock of the server; 0 is none. The beginning tells of programs that
 * turn line ends, the end of files that were cut.
 */

import {joined} from './page.mjs';
import {textOf, utf8} from './redis-bytes.mjs';
import {count} from './redis-names.mjs';
import {pace} from './redis-slices.mjs';

const MAGIC = Uint8Array.from([...utf8('ws2s keys'), 0x0d, 0x0a, 0x1a, 0x0a]);
const VERSION = 1;
const KEY = 0x4b, END = 0x45;
const HEAD_BYTES = MAGIC.length + 6, KEY_BYTES = 17, END_BYTES = 13, CHECK_BYTES = 4;
const SLICE_BYTES = 1048576;
const MOST_FACTS = 65536;
const MOST_BYTES = 0x20000000;  // of a name and a dump, which a page must hold: Redis takes no more

/** A file that holds no keys, or not all of them. */
export class FileError extends Error {
  constructor(message) {
    super(message);
    this.name = 'FileError';
  }
}

// -- Checks -----------------------------------------------------------------------------------------------------------

const TABLE = Uint32Array.from({length: 256}, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** A CRC-32 that is taken piece by piece. */
class Check {
  #value = 0xffffffff;

  add(bytes) {
    let value = this.#value;
    for (let i = 0; i < bytes.length; i++) value = TABLE[(value ^ bytes[i]) & 0xff] ^ (value >>> 8);
    this.#value = value;
    return this;
  }

  get value() {
    return ~this.#value >>> 0;
  }
}

/** The CRC-32 of these bytes. */
export function checkOf(bytes) {
  return new Check().add(bytes).value;
}

function checked(...pieces) {
  const check = new Check();
  for (const piece of pieces) check.add(piece);
  return [...pieces, bytesOf(check)];
}

function bytesOf({value}) {
  const bytes = new Uint8Array(CHECK_BYTES);
  viewOf(bytes).setUint32(0, value);
  return bytes;
}

function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

// -- Writing ----------------------------------------------------------------------------------------------------------

/** The beginning of a file, as pieces. `facts`: what people may want to know of it later. */
export function headOf(facts) {
  const text = utf8(JSON.stringify(facts));
  const head = new Uint8Array(HEAD_BYTES);
  head.set(MAGIC);
  viewOf(head).setUint16(MAGIC.length, VERSION);
  viewOf(head).setUint32(MAGIC.length + 2, text.length);
  return checked(head, text);
}

/** A key, as pieces. `deadline`: in milliseconds, or null; `rest()` lets others have their turn. */
export async function keyOf({name, dump, deadline}, rest = pace()) {
  const head = new Uint8Array(KEY_BYTES);
  head[0] = KEY;
  viewOf(head).setBigUint64(1, BigInt(deadline ?? 0));
  viewOf(head).setUint32(9, name.length);
  viewOf(head).setUint32(13, dump.length);
  const check = new Check().add(head).add(name);
  for (let at = 0; at < dump.length; at += SLICE_BYTES) {
    check.add(dump.subarray(at, at + SLICE_BYTES));
    await rest();
  }
  return [head, name, dump, bytesOf(check)];
}

/** The end of a file with so many keys, as pieces. */
export function endOfKeys(number) {
  const end = new Uint8Array(END_BYTES - CHECK_BYTES);
  end[0] = END;
  viewOf(end).setBigUint64(1, BigInt(number));
  return checked(end);
}

// -- Reading ----------------------------------------------------------------------------------------------------------

/** Reads a file piece by piece. Throws a FileError where it is not one, or is damaged. */
export class KeyFileReader {
  #pieces = [];
  #length = 0;   // of them
  #needed = 1;   // bytes until something can be done
  #part = 'head';
  #begun = null; // the check of the part that is not whole yet, of `covered` bytes: so no piece of it takes long
  #keys = [];

  /** What the head tells; null before. */
  facts = null;
  /** How many keys were read so far. */
  number = 0;

  /** The keys that end in these bytes: `{name, dump, deadline}`. They may share memory with what was pushed. */
  push(bytes) {
    this.#pieces.push(bytes);
    this.#length += bytes.length;
    if (this.#begun) this.#cover(bytes);
    if (this.#length >= this.#needed && this.#length) this.#read(joined(this.#pieces));
    return this.#keys.splice(0);
  }

  #cover(bytes) {
    const {check, covered} = this.#begun;
    const more = Math.min(bytes.length, this.#needed - CHECK_BYTES - covered);
    this.#begun = {check: check.add(bytes.subarray(0, more)), covered: covered + more};
  }

  /** There are no more bytes. */
  end() {
    if (this.#part === 'over') return;
    throw new FileError(this.#part === 'head' ? NOT_ONE
      : `The file was cut off: it ends within or behind key ${count(this.number + 1)}, and has no end of its own.`);
  }

  #read(bytes) {
    const view = viewOf(bytes);
    for (let at = 0; ;) {
      const size = this.#sizeOf(bytes, view, at);
      if (bytes.length - at < size || !size) {
        this.#keep(bytes.subarray(at), size);
        return;
      }
      this.#take(bytes, view, at, at + size - CHECK_BYTES);
      at += size;
    }
  }

  #keep(rest, size) {
    this.#pieces = rest.length ? [rest] : [];
    this.#length = rest.length;
    this.#needed = size;
    if (rest.length < KEY_BYTES || this.#part !== 'keys') return;  // the size of the next key may not be known yet
    const covered = Math.min(rest.length, size - CHECK_BYTES);
    this.#begun = {check: new Check().add(rest.subarray(0, covered)), covered};
  }

  // The bytes of the part that begins here, as far as they tell; 0 when none may follow.
  #sizeOf(bytes, view, at) {
    const left = bytes.length - at;
    if (this.#part === 'head') return sizeOfHead(bytes, view);
    if (this.#part === 'over' && left) throw new FileError('The file goes on behind its end: it is damaged.');
    if (this.#part === 'over') return 0;
    if (!left) return 1;
    if (bytes[at] === END) return END_BYTES;
    if (bytes[at] !== KEY) throw this.#damaged();
    return left < KEY_BYTES ? KEY_BYTES : this.#sizeOfKey(view.getUint32(at + 9), view.getUint32(at + 13));
  }

  #sizeOfKey(name, dump) {
    if (name + dump > MOST_BYTES) throw this.#damaged();
    return KEY_BYTES + name + dump + CHECK_BYTES;
  }

  // The part from `at` to `end`, where its check is.
  #take(bytes, view, at, end) {
    const check = this.#begun ? this.#begun.check.value : checkOf(bytes.subarray(at, end));
    this.#begun = null;
    if (view.getUint32(end) !== check) throw this.#damaged();
    if (this.#part === 'head') this.#takeHead(bytes.subarray(at + HEAD_BYTES, end));
    else if (bytes[at] === END) this.#takeEnd(view.getBigUint64(at + 1));
    else this.#takeKey(bytes, view, at, end);
  }

  #takeHead(facts) {
    this.facts = factsOf(facts);
    this.#part = 'keys';
  }

  #takeKey(bytes, view, at, end) {
    const begin = at + KEY_BYTES + view.getUint32(at + 9);
    const deadline = view.getBigUint64(at + 1);
    this.#keys.push({
      name: bytes.subarray(at + KEY_BYTES, begin), dump: bytes.subarray(begin, end),
      deadline: deadline === 0n ? null : deadline});
    this.number++;
  }

  #takeEnd(number) {
    if (number !== BigInt(this.number)) throw this.#damaged();
    this.#part = 'over';
  }

  #damaged() {
    return new FileError(this.#part === 'head' ? 'The beginning of the file is damaged.'
      : `The file is damaged: key ${count(this.number + 1)} is not what was written.`);
  }
}

const NOT_ONE = 'This is no file of keys that this page has exported.';

function sizeOfHead(bytes, view) {
  const begun = Math.min(bytes.length, MAGIC.length);
  for (let i = 0; i < begun; i++) if (bytes[i] !== MAGIC[i]) throw new FileError(NOT_ONE);
  if (bytes.length < HEAD_BYTES) return HEAD_BYTES;
  const version = view.getUint16(MAGIC.length), length = view.getUint32(MAGIC.length + 2);
  if (version !== VERSION) {
    throw new FileError(`The file is of version ${version}, and this page knows only version ${VERSION}.`);
  }
  if (length > MOST_FACTS) throw new FileError('The beginning of the file is damaged.');
  return HEAD_BYTES + length + CHECK_BYTES;
}

// The facts are for people: a file without them is as good.
function factsOf(bytes) {
  try {
    const facts = JSON.parse(textOf(bytes));
    return typeof facts === 'object' && facts !== null ? facts : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}
