/**
 * Keys on their way: into a file (redis-dump-file.mjs), out of one, and to another database.
 *
 * A `client` is a WS2S.Redis of its own for the work, so that it stays in its database.
 */

import {bytesOfName, textOf} from './redis-bytes.mjs';
import {insist} from './redis-batch.mjs';
import {endOfKeys, FileError, headOf, KeyFileReader, keyOf} from './redis-dump-file.mjs';
import {ChangedError, isForbidden, isUnknown} from './redis-errors.mjs';
import {pace} from './redis-slices.mjs';
import {RedisError} from './ws2s.mjs';

const GROUP_BYTES = 8000000;      // of values that are asked for at once
const GROUP_KEYS = 1000;
const UNSIZED_KEYS = 10;          // at once, where a server does not tell how large they are
const LARGEST_VALUE = 200000000;  // as its memory: a reply may have a little more
const LARGEST_FILE = 1000000000;
const PART_BYTES = 8000000;       // what a browser may put on its disk
const PART_PIECES = 4000;
const READ_BYTES = 131072;        // thousands of small keys, which is what a task may be for
const TOO_LARGE = 'The file would be larger than 1 GB. Choose fewer keys.';

// -- Clocks -----------------------------------------------------------------------------------------------------------

/** Gives a function for the time of the server, in milliseconds; that of this computer where it does not tell. */
export async function serverClock(client, now = () => Date.now()) {
  const before = now();
  try {
    const ahead = momentOf(await client.bytes('TIME')) - (before + now()) / 2;
    return Number.isFinite(ahead) ? () => now() + ahead : now;
  } catch (error) {
    if (!(error instanceof RedisError)) throw error;
    return now;
  }
}

// NaN for anything but seconds and microseconds.
function momentOf(reply) {
  const [seconds, microseconds] = Array.isArray(reply) ? reply.map(part => Number.parseInt(textOf(part), 10)) : [NaN];
  return seconds * 1000 + microseconds / 1000;
}

// -- Into a file ------------------------------------------------------------------------------------------------------

/** The file that is being made, in parts that a browser may keep elsewhere than in memory. */
export class FileParts {
  #parts = [];
  #pieces = [];
  #size = 0;  // of the pieces

  size = 0;

  /** Throws a FileError when it becomes too large. */
  write(pieces) {
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (this.size + length > LARGEST_FILE) throw new FileError(TOO_LARGE);
    this.size += length;
    this.#size += length;
    this.#pieces.push(...pieces);
    if (this.#size >= PART_BYTES || this.#pieces.length >= PART_PIECES) this.#pack();
  }

  #pack() {
    this.#parts.push(new Blob(this.#pieces));
    this.#pieces = [];
    this.#size = 0;
  }

  /** All of it, for a Blob. */
  get parts() {
    return [...this.#parts, ...this.#pieces];
  }
}

/** Names as batches `{keys (bytes), isTooLarge}`, so few that their values can be held. `largest`: bytes of a value. */
export async function* sizedBatches(client, names, largest = LARGEST_VALUE) {
  let sizes = [];
  for (let at = 0; at < names.length; at += GROUP_KEYS) {
    const keys = names.slice(at, at + GROUP_KEYS).map(name => bytesOfName(name));
    sizes = sizes && await insist(() => sizesOf(client, keys));
    yield* groups(keys, sizes, largest);
  }
}

// In bytes; null where the server does not tell.
async function sizesOf(client, keys) {
  const outcomes = await Promise.allSettled(keys.map(key => client.bytes('MEMORY', 'USAGE', key)));
  refuseLost(outcomes);
  const isKnown = outcomes.some(({status}) => status === 'fulfilled');
  return isKnown ? outcomes.map(({value}) => Number(value ?? 0)) : null;
}

// An error of Redis is that of one key; all others are those of the connection.
function refuseLost(outcomes) {
  const lost = outcomes.find(({reason}) => reason && !(reason instanceof RedisError));
  if (lost) throw lost.reason;
}

export const TOO_LARGE_VALUE = 'A value is too large for a file';

/** Exports keys, in the batches of sizedBatches(). */
export class Exporting {
  #client;
  #file;
  #now;
  #command = 'PEXPIRETIME';
  #number = 0;

  /** `file`: with write(pieces); `now()`: the time of the server. */
  constructor(client, file, now) {
    this.#client = client;
    this.#file = file;
    this.#now = now;
    this.step = batch => this.#step(batch);
  }

  begin(facts) {
    this.#file.write(headOf(facts));
  }

  end() {
    this.#file.write(endOfKeys(this.#number));
  }

  async #step(batch) {
    const {keys, isTooLarge} = batch;
    if (isTooLarge) return {failed: keys.length, error: new FileError(`${TOO_LARGE_VALUE}.`)};
    const asked = keys.flatMap(key => [this.#client.bytes('DUMP', key), this.#client.bytes(this.#command, key)]);
    const outcomes = await Promise.allSettled(asked);
    refuseLost(outcomes);
    const isOld = outcomes.some(({reason}, i) => i % 2 === 1 && reason && (isUnknown(reason) || isForbidden(reason)));
    if (!isOld || this.#command === 'PTTL') return this.#write(keys, outcomes);
    this.#command = 'PTTL';  // before 7.0
    return this.#step(batch);
  }

  async #write(keys, outcomes) {
    const counts = {done: 0, gone: 0, failed: 0}, rest = pace();
    for (const [i, name] of keys.entries()) {
      const [dump, left] = outcomes.slice(2 * i, 2 * i + 2);
      const error = dump.reason || left.reason;
      if (error) counts.error = counts.error || error;
      counts[error ? 'failed' : await this.#put(name, dump.value, left.value, rest)]++;
    }
    return counts;
  }

  async #put(name, dump, left, rest) {
    if (dump === null || Number(left) === -2) return 'gone';  // the time of the key may run out between the two
    if (!(dump instanceof Uint8Array) || !['number', 'bigint'].includes(typeof left)) return 'failed';
    this.#file.write(await keyOf({name, dump, deadline: this.#deadline(left)}, rest));
    this.#number++;
    return 'done';
  }

  #deadline(left) {
    if (left < 0) return null;
    return this.#command === 'PTTL' ? BigInt(Math.round(this.#now())) + BigInt(left) : BigInt(left);
  }
}

function* groups(keys, sizes, largest) {
  if (sizes === null) {
    for (let at = 0; at < keys.length; at += UNSIZED_KEYS) yield {keys: keys.slice(at, at + UNSIZED_KEYS)};
    return;
  }
  let group = [], size = 0;
  for (const [i, key] of keys.entries()) {
    if (group.length && size + sizes[i] > GROUP_BYTES) {
      yield {keys: group};
      group = [];
      size = 0;
    }
    if (sizes[i] > largest) yield {keys: [key], isTooLarge: true};
    else group.push(key);
    size += sizes[i] > largest ? 0 : sizes[i];
  }
  if (group.length) yield {keys: group};
}

// -- Out of a file ----------------------------------------------------------------------------------------------------

/** The keys of a file, in batches that can be held; `onRead(bytes)` tells how far it is. */
export async function* keysOf(file, reader = new KeyFileReader(), onRead = () => {}) {
  const rest = pace();
  for (let at = 0; at < file.size; at += READ_BYTES) {
    await rest();
    const keys = reader.push(new Uint8Array(await file.slice(at, at + READ_BYTES).arrayBuffer()));
    for (let first = 0; first < keys.length; first += GROUP_KEYS) yield keys.slice(first, first + GROUP_KEYS);
    onRead(Math.min(file.size, at + READ_BYTES));
  }
  reader.end();
}

/** Looks whether all of a file is as it was written, before anything of it is used: `{facts, number}`. */
export async function checkFile(file, {onRead, isStopped = () => false} = {}) {
  const reader = new KeyFileReader();
  let number = 0;
  for await (const keys of keysOf(file, reader, onRead)) {
    if (isStopped()) throw new DOMException('Cancelled.', 'AbortError');
    number += keys.length;
  }
  return {facts: reader.facts, number};
}

/**
 * Makes the keys of a file. `late` are those whose time has run out meanwhile, `kept` those of whose name there is a
 * key already, which stays unless `isReplacing`.
 */
export class Importing {
  #client;
  #now;
  #isReplacing;
  #knowsDeadlines = true;

  constructor(client, now, isReplacing) {
    this.#client = client;
    this.#now = now;
    this.#isReplacing = isReplacing;
    this.step = keys => this.#step(keys);
  }

  async #step(keys) {
    const now = BigInt(Math.round(this.#now()));
    const timely = keys.filter(({deadline}) => deadline === null || deadline > now);
    const outcomes = await this.#restore(timely, now);
    return {late: keys.length - timely.length, ...countsOf(outcomes)};
  }

  async #restore(keys, now) {
    const outcomes = await Promise.allSettled(keys.map(key => this.#client.bytes(...this.#words(key, now))));
    refuseLost(outcomes);
    const isOld = ({reason}) => this.#knowsDeadlines && reason !== undefined && isUnknown(reason);
    const refused = keys.filter((key, i) => isOld(outcomes[i]));
    if (!refused.length) return outcomes;
    const rest = outcomes.filter(outcome => !isOld(outcome));
    this.#knowsDeadlines = false;  // before 5.0
    return [...rest, ...await this.#restore(refused, now)];
  }

  #words({name, dump, deadline}, now) {
    const words = ['RESTORE', name, this.#timeOf(deadline, now), dump];
    if (this.#isReplacing) words.push('REPLACE');
    if (deadline !== null && this.#knowsDeadlines) words.push('ABSTTL');
    return words;
  }

  #timeOf(deadline, now) {
    if (deadline === null) return 0;
    return String(this.#knowsDeadlines ? deadline : deadline - now);
  }
}

function countsOf(outcomes) {
  const counts = {done: 0, kept: 0, failed: 0};
  for (const {reason} of outcomes) {
    const isKept = reason?.code === 'BUSYKEY';
    counts[reason ? (isKept ? 'kept' : 'failed') : 'done']++;
    if (reason && !isKept) counts.error = counts.error || reason;
  }
  return counts;
}

// -- To another database ----------------------------------------------------------------------------------------------

/**
 * Copy a key to another database of the same server, with its time to live: with COPY, or DUMP and RESTORE before 6.2.
 * `session`: as redis-session.mjs; `name` and `to`: bytes. Throws a ChangedError where there is nothing to copy, or a
 * key in its place that must stay.
 */
export async function copyKey(session, name, {db, to = name, isReplacing = false}) {
  const more = isReplacing ? ['REPLACE'] : [];
  try {
    if (await session.ask('COPY', name, to, 'DB', db, ...more)) return;
  } catch (error) {
    if (!isUnknown(error) && !isForbidden(error)) throw error;
    await copyByDump(session, name, {db, to, more});
    return;
  }
  const isGone = await session.ask('TYPE', name) === 'none';
  throw new ChangedError(isGone ? GONE : TAKEN, isGone, isGone);
}

const GONE = 'This key does not exist any more. Nothing was copied.';
const TAKEN = 'There is already a key of this name there. Nothing was copied.';

async function copyByDump(session, name, {db, to, more}) {
  const [dump, left] = await Promise.all([session.ask('DUMP', name), session.ask('PTTL', name)]);
  if (dump === null || left === -2) throw new ChangedError(GONE, true, true);
  const client = session.another({db});
  try {
    await client.bytes('RESTORE', to, left < 0 ? 0 : String(left || 1), dump, ...more);
  } catch (error) {
    if (error instanceof RedisError && error.code === 'BUSYKEY') throw new ChangedError(TAKEN);
    throw error;
  } finally {
    await client.close();
  }
}
