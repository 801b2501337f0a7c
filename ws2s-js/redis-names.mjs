/** The names of keys that were found: without duplicates, in two orders; and which of their rows are to be seen. */

const COUNT = new Intl.NumberFormat('en');

/** A number for people: 12,345. */
export function count(number) {
  return COUNT.format(number);
}

/** `1 key`, `1,024 keys`. */
export function keyCount(number) {
  return countOf(number, 'key');
}

/** So many of what `word` is one of: `1 client`, `2,000 clients`. */
export function countOf(number, word) {
  return `${count(number)} ${word}${number === 1 ? '' : 's'}`;
}

/** Both sorted; the result is, too. */
function merged(a, b) {
  const all = new Array(a.length + b.length);
  for (let i = 0, j = 0, at = 0; at < all.length; at++) {
    all[at] = j >= b.length || (i < a.length && a[i] <= b[j]) ? a[i++] : b[j++];
  }
  return all;
}

/** Where `name` is, or belongs, in sorted names. */
export function positionOf(sorted, name) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Names in the order in which they came, and sorted.
 *
 * They come in batches. New ones are sorted apart, and merged only when there are many or somebody asks: so no batch
 * takes long, however many names are there already.
 */
export class Names {
  #known = new Set();
  #found = [];
  #sorted = [];
  #fresh = [];  // found, but not in #sorted yet

  /** How long they are, all together. */
  size = 0;

  get length() {
    return this.#found.length;
  }

  has(name) {
    return this.#known.has(name);
  }

  /** How many of them are new. */
  add(names) {
    const before = this.#found.length;
    for (const name of names) this.#addOne(name);
    if (this.#fresh.length * 16 > this.#sorted.length) this.#merge();
    return this.#found.length - before;
  }

  #addOne(name) {
    if (this.#known.has(name)) return;
    this.#known.add(name);
    this.size += name.length;
    this.#found.push(name);
    this.#fresh.push(name);
  }

  #merge() {
    if (this.#fresh.length) this.#sorted = merged(this.#sorted, this.#fresh.sort());
    this.#fresh = [];
  }

  remove(name) {
    if (!this.#known.delete(name)) return;
    this.size -= name.length;
    this.#merge();
    this.#found.splice(this.#found.indexOf(name), 1);
    this.#sorted.splice(positionOf(this.#sorted, name), 1);
  }

  /** The names from `first` up to, but not including, `end`. */
  range(first, end, isSorted) {
    if (isSorted) this.#merge();
    return (isSorted ? this.#sorted : this.#found).slice(first, end);
  }

  /** All of them in their order, to look at. */
  get sorted() {
    this.#merge();
    return this.#sorted;
  }

  /** At which row it is; -1 when it is not known. */
  indexOf(name, isSorted) {
    if (!this.#known.has(name)) return -1;
    if (!isSorted) return this.#found.indexOf(name);
    this.#merge();
    return positionOf(this.#sorted, name);
  }
}

/** Which of `length` rows stand in the DOM: those to be seen, and `margin` more on both sides. */
export function rowsInView({scrollTop, height, rowHeight, length, margin = 10}) {
  const first = Math.max(0, Math.floor(scrollTop / rowHeight) - margin);
  const end = Math.min(length, Math.ceil((scrollTop + height) / rowHeight) + margin);
  return {first: Math.min(first, end), end};
}

/** The page of `size` rows that begins at or before `start`, of `length`. `end` is not included. */
export function pageAt(start, size, length) {
  const last = Math.max(0, Math.floor((length - 1) / size) * size);
  const first = Math.min(Math.max(0, Math.floor(start / size) * size), last);
  return {first, end: Math.min(length, first + size), last};
}

// -- Ids of streams ---------------------------------------------------------------------------------------------------

const LARGEST = 2n ** 64n - 1n;

function partsOf(id) {
  const [time, sequence = '0'] = id.split('-');
  return [BigInt(time), BigInt(sequence)];
}

/** The id after this one; null after the last. Servers before 6.2 take no open ranges. */
export function idAfter(id) {
  const [time, sequence] = partsOf(id);
  if (sequence < LARGEST) return `${time}-${sequence + 1n}`;
  return time < LARGEST ? `${time + 1n}-0` : null;
}

/** The id before this one; null before the first. */
export function idBefore(id) {
  const [time, sequence] = partsOf(id);
  if (sequence > 0n) return `${time}-${sequence - 1n}`;
  return time > 0n ? `${time - 1n}-${LARGEST}` : null;
}

/** When an entry was added, as its id tells; empty where the id is no time. */
export function timeOfId(id) {
  const milliseconds = Number(partsOf(id)[0]);
  const isTime = milliseconds > 1e12 && milliseconds < 1e13;
  return isTime ? timeText(milliseconds) : '';
}

/** A moment, to the second. */
export function timeText(milliseconds) {
  return `${new Date(milliseconds).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

// -- Times to live ----------------------------------------------------------------------------------------------------

const UNITS = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];

/** Seconds in words, with at most two units: 1 day 2 hours. */
export function duration(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const words = [];
  for (const [unit, size] of UNITS) {
    const number = Math.floor(left / size);
    left -= number * size;
    if (number) words.push(`${count(number)} ${unit}${number === 1 ? '' : 's'}`);
    else if (words.length) break;
  }
  return words.slice(0, 2).join(' ') || '0 seconds';
}
