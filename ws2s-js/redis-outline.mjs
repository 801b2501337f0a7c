/**
 * Where the containers (objects, lists, maps) of a document begin and end, as numbers. So a tree of it needs little
 * memory, and what lies within a container is read when somebody opens it.
 */

import {count} from './redis-names.mjs';

const FIRST_ROOM = 1024;
const LARGEST = 2000000;  // containers: 24 MB

/** A document that has more of something than is shown. */
export class TooMuchError extends Error {
  constructor(message) {
    super(message);
    this.name = 'TooMuchError';
  }
}

function grown(column, room) {
  const larger = new Uint32Array(room);
  larger.set(column);
  return larger;
}

/** Containers in the order in which they begin. */
export class Containers {
  #starts = new Uint32Array(FIRST_ROOM);
  #ends = new Uint32Array(FIRST_ROOM);
  #counts = new Uint32Array(FIRST_ROOM);
  #length = 0;
  #limit;

  constructor(limit = LARGEST) {
    this.#limit = limit;
  }

  get length() {
    return this.#length;
  }

  /** One begins at `start`. Gives its number. */
  open(start) {
    if (this.#length === this.#limit) {
      throw new TooMuchError(`There are more than ${count(this.#limit)} objects and lists in it.`);
    }
    if (this.#length === this.#starts.length) this.#grow();
    this.#starts[this.#length] = start;
    return this.#length++;
  }

  #grow() {
    const room = Math.min(this.#limit, 2 * this.#starts.length);
    this.#starts = grown(this.#starts, room);
    this.#ends = grown(this.#ends, room);
    this.#counts = grown(this.#counts, room);
  }

  /** The container of this number ends before `end`, with so many members. */
  close(number, end, members) {
    this.#ends[number] = end;
    this.#counts[number] = members;
  }

  startOf(number) {
    return this.#starts[number];
  }

  /** Of the one that begins at `start`: `{end, count}`. */
  at(start) {
    let low = 0, high = this.#length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle] < start) low = middle + 1;
      else high = middle;
    }
    return {end: this.#ends[low], count: this.#counts[low]};
  }
}
