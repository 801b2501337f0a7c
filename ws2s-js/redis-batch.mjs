/** Work on many keys: in batches, with breath for the server between them, until it is done or stopped. */

import {bytesOfName} from './redis-bytes.mjs';
import {isForbidden, isUnknown} from './redis-errors.mjs';
import {Stride} from './redis-scan.mjs';
import {expireCommand} from './redis-ttl.mjs';
import {RedisError} from './ws2s.mjs';

const CHANGING = {fewest: 100, most: 1000, perMillisecond: 10};  // keys in a batch
const BATCH_BYTES = 1000000;    // of their names
const LONGEST_REST = 500;       // milliseconds
const SHORTEST_REST = 5;        // a browser may make a second of any timer, in a tab that is not seen
const MOST_LOSSES = 5;          // of the connection, at one batch

const sleep = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));

/**
 * Carries out a step for each batch. A step gives what has become of its keys, in numbers: `{done: 3, gone: 1}`, and
 * `failed` with the `error` of one of them. A step whose connection is lost is made again on the next one: so steps
 * must be such as may come twice.
 */
export class Batches {
  #onProgress;
  #now;
  #sleep;

  stride = new Stride(CHANGING);
  isStopped = false;
  /** What has become of all keys so far, in numbers. */
  tally = {};
  /** The first failure; null while there is none. */
  error = null;

  constructor({onProgress = () => {}, now = () => performance.now(), rest = sleep} = {}) {
    this.#onProgress = onProgress;
    this.#now = now;
    this.#sleep = rest;
  }

  /** No further batch is begun. The present one ends as it would. */
  stop() {
    this.isStopped = true;
  }

  /** `source`: batches, one after the other. Resolves when there are no more, or none more are begun. */
  async run(source, step) {
    for await (const batch of source) {
      if (this.isStopped) break;
      const started = this.#now();
      const counts = await insist(() => step(batch), () => this.isStopped);
      this.stride.took(this.#now() - started);
      this.#add(counts);
      this.#onProgress(this.tally);
      if (isHopeless(counts)) break;
      await this.#rest();
    }
  }

  #add({error = null, ...counts}) {
    this.error = this.error || error;
    for (const [name, number] of Object.entries(counts)) this.tally[name] = (this.tally[name] || 0) + number;
  }

  // As long as the server has worked: so that it has half of its time for others.
  async #rest() {
    const milliseconds = Math.min(LONGEST_REST, this.stride.work);
    if (milliseconds >= SHORTEST_REST && !this.isStopped) await this.#sleep(milliseconds);
  }
}

/**
 * Make this step, again where the connection is lost, unless `isStopped()`. A client makes its next connection by
 * itself, and tells of each one that it cannot make.
 */
export async function insist(step, isStopped = () => false) {
  for (let losses = 1; ; losses++) {
    try {
      return await step();
    } catch (error) {
      const isLoss = error.name === 'WS2SError' || error.isLoss;
      if (!isLoss || losses >= MOST_LOSSES || isStopped()) throw error;
    }
  }
}

// All of a batch have failed: so will those that follow. A single one may have its own reason.
function isHopeless({failed = 0, error, ...others}) {
  return failed > 1 && Object.values(others).every(number => number === 0);
}

/** Names as batches of bytes, as large as `stride` is just then. */
export function* batchesOf(names, stride) {
  for (let at = 0; at < names.length;) {
    const batch = [];
    let size = 0;
    while (at < names.length && batch.length < stride.count && (!batch.length || size < BATCH_BYTES)) {
      size += names[at].length;
      batch.push(bytesOfName(names[at++]));
    }
    yield batch;
  }
}

/** The names that a Scanner finds, all of them, into `names` (a Names). `isEnough()`: no more are wanted. */
export async function collect(scanner, names, {isEnough = () => false, onProgress = () => {}} = {}) {
  while (!scanner.isWhole && !isEnough()) {
    names.add(await insist(() => scanner.step(), isEnough));
    onProgress(names.length);
  }
}

// -- Steps ------------------------------------------------------------------------------------------------------------

/** Ask this for each key, all at once; `count(reply, key)` names what became of it. An error of Redis is one key's. */
async function askEach(client, keys, commandOf, count) {
  const outcomes = await Promise.allSettled(keys.map(key => client.bytes(...commandOf(key))));
  const counts = {};
  for (const [i, {status, value, reason}] of outcomes.entries()) {
    if (status === 'rejected' && !(reason instanceof RedisError)) throw reason;
    const name = status === 'rejected' ? 'failed' : count(value, keys[i]);
    counts[name] = (counts[name] || 0) + 1;
    if (status === 'rejected') counts.error = counts.error || reason;
  }
  return counts;
}

/** Deletes keys: with UNLINK, which does not hold up the server for large values, or with DEL where there is none. */
export class Deleting {
  #client;
  #onGone;
  #command = 'UNLINK';

  /** `onGone(keys)`: these are not there any more. */
  constructor(client, onGone = () => {}) {
    this.#client = client;
    this.#onGone = onGone;
  }

  async step(keys) {
    try {
      const reply = await this.#client.bytes(this.#command, ...keys);
      this.#onGone(keys);
      const removed = Math.min(Math.max(0, Number.parseInt(reply, 10) || 0), keys.length);
      return {done: removed, gone: keys.length - removed};
    } catch (error) {
      if (!(error instanceof RedisError)) throw error;
      return this.#otherwise(keys, error);
    }
  }

  // One of them may be forbidden, or they are in different slots of a cluster.
  #otherwise(keys, error) {
    const isOld = isUnknown(error) || (isForbidden(error) && /unlink/i.test(error.message));
    if (this.#command === 'UNLINK' && isOld) {
      this.#command = 'DEL';
      return this.step(keys);
    }
    return askEach(this.#client, keys, key => [this.#command, key], (removed, key) => {
      this.#onGone([key]);
      return removed ? 'done' : 'gone';
    });
  }
}

/** Gives keys a time to live, which is one of parseTtl(). */
export function expiring(client, ttl) {
  return keys => askEach(client, keys, key => expireCommand(key, ttl), reply => (reply ? 'done' : 'gone'));
}

/** Takes it away; `unchanged` are those that had none, or are gone. */
export function persisting(client) {
  return keys => askEach(client, keys, key => ['PERSIST', key], reply => (reply ? 'done' : 'unchanged'));
}
