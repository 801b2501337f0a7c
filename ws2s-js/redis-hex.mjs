/** A dump of bytes that are read piece by piece: rows of offsets, hexadecimal digits and characters. */

import {hexDump} from './page.mjs';

export const COLUMNS = 16;
const PIECE = 65536;
const PIECES = 32;  // are kept

/** Bytes that are there already, as a source: `{length, read(first, end)}`; `read` resolves to bytes. */
export function sourceOf(bytes) {
  return {length: bytes.length, read: async (first, end) => bytes.subarray(first, end)};
}

/** The rows of a source. Of what was read, the pieces that were used last are kept. */
export class HexRows {
  #source;
  #pieces = new Map();   // by number; those that were used last are the last ones
  #reading = new Map();
  #digits;

  constructor(source) {
    this.#source = source;
    this.#digits = Math.max(8, (source.length - 1).toString(16).length);
  }

  get length() {
    return Math.ceil(this.#source.length / COLUMNS);
  }

  /** The row of this number; null while its bytes are not there. */
  row(number) {
    const offset = number * COLUMNS, piece = this.#pieces.get(Math.floor(offset / PIECE));
    if (!piece) return null;
    const from = offset % PIECE;
    return hexDump(piece.subarray(from, from + COLUMNS), offset, COLUMNS, this.#digits);
  }

  /** Read what these rows need. Were there any that it did not have? `end` is not included. */
  async load(first, end) {
    const last = Math.floor((Math.min(end, this.length) * COLUMNS - 1) / PIECE);
    const wanted = [];
    for (let number = Math.floor(first * COLUMNS / PIECE); number <= last; number++) wanted.push(number);
    const missing = wanted.filter(number => !this.#use(number));
    await Promise.all(missing.map(number => this.#read(number)));
    return missing.length > 0;
  }

  #use(number) {
    const piece = this.#pieces.get(number);
    if (!piece) return false;
    this.#pieces.delete(number);
    this.#pieces.set(number, piece);
    return true;
  }

  // Whoever wants a piece that is being read waits for the same read.
  #read(number) {
    if (!this.#reading.has(number)) {
      const reading = this.#readNow(number).finally(() => this.#reading.delete(number));
      this.#reading.set(number, reading);
    }
    return this.#reading.get(number);
  }

  async #readNow(number) {
    const first = number * PIECE;
    const piece = await this.#source.read(first, Math.min(first + PIECE, this.#source.length));
    this.#pieces.set(number, piece);
    if (this.#pieces.size > PIECES) this.#pieces.delete(this.#pieces.keys().next().value);
  }
}

/** The offset that is written in a text: decimal, or hexadecimal with 0x before. Throws a RangeError. */
export function parseOffset(text, length) {
  const word = text.trim();
  const offset = /^(?:\d+|0x[0-9a-f]+)$/i.test(word) ? Number(word) : NaN;
  if (!(offset < length)) {
    throw new RangeError(`An offset is a number below ${length}, in hexadecimal with 0x before.`);
  }
  return offset;
}
