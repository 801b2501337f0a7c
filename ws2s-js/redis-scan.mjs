/** Looking for keys: an exact name, and SCAN in steps that suit the round trip. */

import {nameOf, textOf} from './redis-bytes.mjs';
import {endOf, isUnknown, MasterError} from './redis-errors.mjs';

// Keys that Redis looks at in one step: the most take it a few milliseconds.
const LOOKING = {fewest: 1000, most: 10000, perMillisecond: 100};
const SLOW_MILLISECONDS = 50;
const LONGEST_EXACT = 10000;  // bytes of a name that is asked for as it was typed
const SENTINEL = 'This server is a Sentinel, which has no keys. To see those of a master, name it when you connect.';
const ROUND = 100000;         // keys to find before somebody has to ask for more
const LARGEST = 500000;       // in a list: browsers do not scroll much farther
const LARGEST_BYTES = 134217728;  // of their names

/**
 * How many keys the next step is for. The longer the way, the more (`perMillisecond`): so that a far server is not
 * asked a hundred times. Where steps take much longer than the way does, as the server is slow or the line narrow, they
 * become shorter.
 */
export class Stride {
  #way = Infinity;  // milliseconds of the fastest answer
  #bounds;
  #most;            // a step of more was slow

  /** Milliseconds that the last step has taken besides the way. */
  work = 0;

  constructor(bounds) {
    this.#bounds = bounds;
    this.#most = bounds.most;
    this.count = bounds.fewest;
  }

  /** A step has taken so long. */
  took(milliseconds) {
    if (!(milliseconds >= 0)) return;  // clocks may be set
    const {fewest, perMillisecond} = this.#bounds;
    this.#way = Math.min(this.#way, milliseconds);
    this.work = milliseconds - this.#way;
    if (this.work > SLOW_MILLISECONDS && this.work > this.#way) {
      this.#most = Math.max(fewest, Math.round(this.count / 2));
    }
    const wanted = Math.min(2 * this.count, Math.round(perMillisecond * this.#way));
    this.count = Math.min(this.#most, Math.max(fewest, wanted));
  }
}

/** Finds the names of keys in steps. `wanted`: {match, type}; `now()`: milliseconds. */
export class Scanner {
  #session;
  #wanted;
  #now;
  #cursor = '0';
  #stepping = null;
  #stride = new Stride(LOOKING);

  isWhole = false;
  looked = 0;  // at about so many keys

  constructor(session, wanted, now = () => performance.now()) {
    this.#session = session;
    this.#wanted = wanted;
    this.#now = now;
  }

  /** The names that one step has found. Whoever asks while one is under way gets that one. */
  step() {
    this.#stepping = this.#stepping || this.#step().finally(() => { this.#stepping = null; });
    return this.#stepping;
  }

  async #step() {
    const {count} = this.#stride, started = this.#now();
    const [cursor, keys] = await this.#ask(count);
    this.#stride.took(this.#now() - started);
    const found = this.#isFilteredHere() ? await this.#ofType(keys) : keys;
    this.#cursor = textOf(cursor);
    this.isWhole = this.#cursor === '0';
    this.looked += count;
    return found.map(nameOf);
  }

  #isFilteredHere() {
    return this.#wanted.type && !this.#session.knowsScanType;
  }

  async #ask(count) {
    const {match, type} = this.#wanted;
    const words = ['SCAN', this.#cursor, 'MATCH', match, 'COUNT', count];
    if (!type || !this.#session.knowsScanType) return this.#session.ask(...words);
    try {
      return await this.#session.ask(...words, 'TYPE', type);
    } catch (error) {
      if (!isUnknown(error)) throw error;
      this.#session.knowsScanType = false;  // before 6.0
      return this.#session.ask(...words);
    }
  }

  async #ofType(keys) {
    const types = await Promise.all(keys.map(key => this.#session.ask('TYPE', key)));
    return keys.filter((key, i) => types[i] === this.#wanted.type);
  }
}

/**
 * The type of the key that is called exactly so, or null: by one question, however many keys there are. `name`: bytes;
 * `type`: the only one that is wanted, or empty.
 */
export async function exactType(session, name, type) {
  if (!name.length || name.length > LONGEST_EXACT) return null;
  const found = await session.ask('TYPE', name);
  return found === 'none' || (type && found !== type) ? null : String(found);
}

/** Finds names in rounds, as long as nobody stops it. */
export class KeySearch {
  #session;
  #names;
  #events;
  #scanner;
  #turn = 0;

  isScanning = false;
  size = null;   // of the database; null where it is not known
  error = null;  // what has stopped it

  /** What is found goes into `names`. `events`: found(number of new ones), changed(), ended(). */
  constructor(session, wanted, names, events) {
    this.#session = session;
    this.#names = names;
    this.#events = events;
    this.#scanner = new Scanner(session, wanted);
  }

  get found() {
    return this.#names.length;
  }

  /** At about how many keys. */
  get looked() {
    return this.#scanner.looked;
  }

  get isWhole() {
    return this.#scanner.isWhole;
  }

  /** The names are as many as can be shown. */
  get isFull() {
    return this.found >= LARGEST || this.#names.size >= LARGEST_BYTES;
  }

  /** One round, until it is whole, stopped, or has failed. */
  async run() {
    const turn = ++this.#turn, goal = this.found + ROUND;
    this.isScanning = true;
    this.error = null;
    this.#events.changed();
    try {
      this.size = await this.#session.ask('DBSIZE');
    } catch (error) {
      this.size = null;  // DBSIZE may be forbidden; the list does not need it
    }
    while (turn === this.#turn && !this.isWhole && !this.isFull && this.found < goal) {
      if (!await this.#step(turn)) break;
    }
    if (turn !== this.#turn) return;
    this.isScanning = false;
    this.#events.ended();
  }

  /** What the step under way finds counts, too: the next one goes on behind it. */
  stop() {
    this.#turn++;
    this.isScanning = false;
  }

  // A step whose answer was lost with the connection is made again: looking changes nothing.
  async #step(turn) {
    try {
      this.#events.found(this.#names.add(await this.#scanner.step()));
      return true;
    } catch (error) {
      if (turn !== this.#turn) return false;
      const isLost = error.name === 'WS2SError' && !endOf(error) && !this.#session.isOver;
      if (isLost) return this.#session.ready().then(() => true, () => false);
      this.error = this.#session.isSentinel && isUnknown(error) ? new MasterError(SENTINEL) : error;
      return false;
    }
  }
}
