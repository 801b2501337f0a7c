/** redis-monitor.mjs: the lines of MONITOR, as commands, without what nobody may see; and the newest of them. */

import {shownCount} from './redis-secrets.mjs';

const HEAD = /^(\d{1,12})\.(\d{6}) \[(\d{1,9}) ([^"]{0,200}?)\] (?=")/;
const WORDS = 32;              // of one command that are kept
const WORD_CHARACTERS = 200;   // of one word
const LINE_CHARACTERS = 16384; // that are looked at
const KEPT = 5000;

const LETTERS = {n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b', '"': '"', '\\': '\\'};
const WORD = /"((?:[^"\\]|\\.)*)"(?: |$)/ys;

function plain(escaped) {
  return escaped.replace(/\\(?:x([0-9a-f]{2})|(.))/gis, (_, hex, letter) => {
    if (hex !== undefined) return String.fromCharCode(parseInt(hex, 16));
    return Object.hasOwn(LETTERS, letter) ? LETTERS[letter] : letter;
  });
}

function wordsOf(text, begin) {
  const words = [];
  WORD.lastIndex = begin;
  for (let end = begin; words.length < WORDS; end = WORD.lastIndex) {
    const match = WORD.exec(text);
    if (!match) return {words, isCut: end < text.length};
    words.push(plain(match[1]));
  }
  return {words, isCut: true};
}

/**
 * What a line of MONITOR says: `{time, db, client, words, isHidden, isCut}`; null when it is no such line. `time` has
 * milliseconds; `words` are names (a character is a byte), of which those that may be secret are missing, which
 * `isHidden` tells; `isCut`: there is more than is kept.
 */
export function monitored(line) {
  const text = line.slice(0, LINE_CHARACTERS);
  const head = HEAD.exec(text);
  if (!head) return null;
  const {words: all, isCut} = wordsOf(text, head[0].length);
  if (!all.length) return null;
  const words = all.slice(0, shownCount(all));
  return {
    time: Number(head[1]) * 1000 + Number(head[2]) / 1000, db: Number(head[3]), client: head[4],
    words: words.map(word => word.slice(0, WORD_CHARACTERS)), isHidden: words.length < all.length,
    isCut: isCut || words.some(word => word.length > WORD_CHARACTERS),
  };
}

/** The newest ones of very many, in a ring. */
export class Newest {
  #items;
  #at = 0;       // where the next one goes

  /** How many there were. */
  total = 0;

  constructor(limit = KEPT) {
    this.#items = new Array(limit);
  }

  /** How many are kept. */
  get length() {
    return Math.min(this.total, this.#items.length);
  }

  add(item) {
    this.#items[this.#at] = item;
    this.#at = (this.#at + 1) % this.#items.length;
    this.total++;
  }

  /** The last `count` of them, or all behind the first `after` that there were, whichever are fewer; oldest first. */
  last(count, after = 0) {
    const wanted = Math.max(0, Math.min(count, this.length, this.total - after));
    const size = this.#items.length, begin = this.#at - wanted + size;
    return Array.from({length: wanted}, (_, i) => this.#items[(begin + i) % size]);
  }

  clear() {
    this.#items.fill(undefined);
    this.#at = this.total = 0;
  }
}
