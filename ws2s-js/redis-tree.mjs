/**
 * Names of keys as a tree of folders, made of sorted names and a separator.
 *
 * Nothing is built beforehand: in sorted names a folder is a range of those that begin alike, so the children of a
 * folder are found by leaps when somebody opens it, and only open folders take memory. `user:1:name` is the key `name`
 * in the folder `user:1:` in `user:`. A folder keeps its separator in its name: so the folder `a:` and the key `a` are
 * two rows, and names that begin with a separator have a folder of nothing else.
 */

import {positionOf} from './redis-names.mjs';

/** Where the names that begin with `prefix` end, from `first` on, where they begin. */
function endOfPrefix(sorted, prefix, first, end) {
  let step = 1, low = first;
  while (low + step < end && sorted[low + step].startsWith(prefix)) {
    low += step;
    step *= 2;
  }
  let high = Math.min(end, low + step);  // the last one at `low` begins so, the one at `high` does not
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle].startsWith(prefix)) low = middle;
    else high = middle;
  }
  return high;
}

const DEEPEST = 64;  // levels; what is deeper is shown as a key with separators in its name

// The prefixes of the folders that this name is in, the outermost first.
function foldersOf(name, separator) {
  const folders = [];
  if (separator === '') return folders;
  for (let at = name.indexOf(separator); at >= 0 && folders.length < DEEPEST;
    at = name.indexOf(separator, at + separator.length)) folders.push(name.slice(0, at + separator.length));
  return folders;
}

/** An open folder: where its children begin in the sorted names, and which of them are open. */
class Folder {
  opened = new Map();  // Folders by the number of the child, in that order

  constructor(prefix, first, end, level) {
    Object.assign(this, {prefix, first, end, level, starts: [], rows: 0});
  }

  find(sorted, separator) {
    const {first, end} = this;
    for (let at = first; at < end;) {
      this.starts.push(at);
      const inner = this.inner(sorted[at], separator);
      at = inner === null ? at + 1 : endOfPrefix(sorted, inner, at, end);
    }
    this.rows = this.starts.length;
  }

  /** The prefix of the child that this name is in; null where the name is a child itself. */
  inner(name, separator) {
    const at = separator === '' || this.level >= DEEPEST ? -1 : name.indexOf(separator, this.prefix.length);
    return at < 0 ? null : name.slice(0, at + separator.length);
  }

  /** Where the child of this number ends. */
  endOf(number) {
    return number + 1 < this.starts.length ? this.starts[number + 1] : this.end;
  }

  /** The number of the child that holds the name at this place of the sorted ones. */
  numberOf(place) {
    let low = 0, high = this.starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.starts[middle] <= place) low = middle;
      else high = middle;
    }
    return low;
  }
}

/**
 * The rows of the tree that are to be seen. A row: `{name, isFolder, isOpen, label, parent (a prefix), level (from 1),
 * size (keys within), position (from 1), siblings}`; `name` of a folder is its prefix. What is open stays so when the
 * names change.
 */
export class KeyTree {
  #sorted = [];
  #separator;
  #open = new Map();  // sets of prefixes by that of the folder around them
  #root = new Folder('', 0, 0, 0);

  /** `separator`: as a name (one character for each byte); empty for a flat list. */
  constructor(separator) {
    this.#separator = separator;
  }

  get separator() {
    return this.#separator;
  }

  /** How many rows there are. */
  get length() {
    return this.#root.rows;
  }

  /** The names are these now, sorted and without doubles. They are not copied. */
  update(sorted) {
    this.#sorted = sorted;
    this.#root = this.#folder('', 0, sorted.length, 0);
  }

  #folder(prefix, first, end, level) {
    const folder = new Folder(prefix, first, end, level);
    folder.find(this.#sorted, this.#separator);
    for (const each of [...this.#open.get(prefix) || []].sort()) this.#attach(folder, each);
    return folder;
  }

  #attach(folder, prefix) {
    const place = positionOf(this.#sorted, prefix);
    if (place >= folder.end || !this.#sorted[place].startsWith(prefix)) return;  // no such key any more, or not yet
    const number = folder.numberOf(place);
    const inner = this.#folder(prefix, place, folder.endOf(number), folder.level + 1);
    folder.opened.set(number, inner);
    folder.rows += inner.rows;
  }

  open(prefix) {
    this.#note(prefix);
    this.update(this.#sorted);
  }

  #note(prefix) {
    const around = foldersOf(prefix, this.#separator).at(-2) || '';
    if (!this.#open.has(around)) this.#open.set(around, new Set());
    this.#open.get(around).add(prefix);
  }

  close(prefix) {
    for (const each of this.#open.values()) each.delete(prefix);
    this.update(this.#sorted);
  }

  /** Open the folders that this name is in. */
  reveal(name) {
    for (const each of foldersOf(name, this.#separator)) this.#note(each);
    this.update(this.#sorted);
  }

  // -- rows -----------------------------------------------------------------------------------------------------------

  /** The rows from `first` up to, but not including, `end`. */
  range(first, end) {
    const rows = [];
    for (let at = Math.max(0, first); at < Math.min(end, this.length); at++) rows.push(this.#at(this.#root, at));
    return rows;
  }

  #at(folder, index) {
    let before = 0;  // rows of open folders before it
    for (const [number, inner] of folder.opened) {
      if (index - before <= number) break;
      if (index - before <= number + inner.rows) return this.#at(inner, index - before - number - 1);
      before += inner.rows;
    }
    return this.#row(folder, index - before);
  }

  #row(folder, number) {
    const first = this.#sorted[folder.starts[number]];
    const inner = folder.inner(first, this.#separator);
    const name = inner === null ? first : inner;
    return {
      name, isFolder: inner !== null, isOpen: inner !== null && folder.opened.has(number),
      label: name.slice(folder.prefix.length), level: folder.level + 1, parent: folder.prefix,
      size: inner === null ? 1 : folder.endOf(number) - folder.starts[number],
      position: number + 1, siblings: folder.starts.length,
    };
  }

  /** At which row this key or folder is; -1 where it is not to be seen. */
  indexOf({name, isFolder}) {
    const place = positionOf(this.#sorted, name);
    const found = this.#sorted[place];
    if (found === undefined || (isFolder ? !found.startsWith(name) : found !== name)) return -1;
    return this.#indexIn(this.#root, place, name, isFolder);
  }

  #indexIn(folder, place, name, isFolder) {
    const number = folder.numberOf(place);
    const inner = folder.inner(this.#sorted[folder.starts[number]], this.#separator);
    let index = number;
    for (const [other, {rows}] of folder.opened) if (other < number) index += rows;
    if (inner === null) return isFolder ? -1 : index;
    if (inner === name && isFolder) return index;
    const opened = folder.opened.get(number);
    if (!opened || !name.startsWith(inner)) return -1;
    const within = this.#indexIn(opened, place, name, isFolder);
    return within < 0 ? -1 : index + 1 + within;
  }

  /** The names of the keys within a folder. */
  namesWithin(prefix) {
    const first = positionOf(this.#sorted, prefix);
    const isThere = first < this.#sorted.length && this.#sorted[first].startsWith(prefix);
    return isThere ? this.#sorted.slice(first, endOfPrefix(this.#sorted, prefix, first, this.#sorted.length)) : [];
  }

  /**
   * A row of the folder of `row` whose label begins with `typed` (a name); null where none does. From `row` on and
   * around the end; `row` itself only where `isNext` is false.
   */
  startingWith(row, typed, isNext) {
    const folder = this.#opened(row.parent);
    const wanted = row.parent + typed;
    const place = positionOf(this.#sorted, wanted);
    if (!folder || place >= folder.end || !this.#sorted[place].startsWith(wanted)) return null;
    const first = folder.numberOf(place);
    const last = folder.numberOf(endOfPrefix(this.#sorted, wanted, place, folder.end) - 1);
    const from = row.position - 1 + (isNext ? 1 : 0);
    return this.#row(folder, from >= first && from <= last ? from : first);
  }

  #opened(prefix) {
    let folder = this.#root;
    while (folder && folder.prefix !== prefix) {
      folder = [...folder.opened.values()].find(each => prefix.startsWith(each.prefix));
    }
    return folder;
  }
}

// -- Keyboard ---------------------------------------------------------------------------------------------------------

/**
 * What a key does in a tree, as screen readers expect it (`role=tree`): `{to: index}`, `{open: prefix}`,
 * `{close: prefix}`, or null where the key means nothing here. `active`: the row where the user is, or null; `page`:
 * how many rows are to be seen.
 */
export function moveIn(tree, active, key, page = 10) {
  if (!tree.length) return null;
  const at = active ? tree.indexOf(active) : -1;
  const row = at < 0 ? null : tree.range(at, at + 1)[0];
  if (key === 'ArrowRight') return row && moveRight(row, at);
  if (key === 'ArrowLeft') return row && moveLeft(tree, row);
  const moves = {ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: Infinity};
  if (!Object.hasOwn(moves, key)) return null;
  return {to: Math.min(Math.max(0, moves[key]), tree.length - 1)};
}

function moveRight(row, at) {
  if (!row.isFolder) return null;
  return row.isOpen ? {to: at + 1} : {open: row.name};
}

function moveLeft(tree, row) {
  if (row.isFolder && row.isOpen) return {close: row.name};
  return row.parent === '' ? null : {to: tree.indexOf({name: row.parent, isFolder: true})};
}

const TYPED_MILLISECONDS = 700;

/** What is typed to get to a row: letters that come soon after one another are one word. */
export class TypedAhead {
  #text = '';
  #last = -Infinity;

  /** Takes one more character, at this moment. `isNext`: a letter that was only repeated leads on to the next row. */
  add(character, now) {
    this.#text = now - this.#last < TYPED_MILLISECONDS ? this.#text + character : character;
    this.#last = now;
    const isNext = [...this.#text].every(each => each === character);
    return {text: isNext ? character : this.#text, isNext};
  }
}
