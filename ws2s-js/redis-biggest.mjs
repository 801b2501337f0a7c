/** redis-biggest.mjs: the keys that take most memory, as far as MEMORY USAGE was asked for them. */

import {nameOf} from './redis-bytes.mjs';
import {RedisError} from './ws2s.mjs';

const KEPT = 100;
const SAMPLES = 5;  // nested values that the server looks at in one key, as it does by itself

/** Keys with their sizes, of which the biggest are kept. */
export class Biggest {
  #limit;

  /** `{name, size}`, the biggest first. */
  keys = [];
  /** Of all that were weighed. */
  count = 0;
  size = 0;

  constructor(limit = KEPT) {
    this.#limit = limit;
  }

  /** SCAN may find a key more than once: its last size counts in the list, but in `count` and `size` each time. */
  add(name, size) {
    this.count++;
    this.size += size;
    const known = this.keys.findIndex(key => key.name === name);
    if (known >= 0) this.keys.splice(known, 1);
    const isFull = this.keys.length >= this.#limit;
    if (isFull && size <= this.keys.at(-1).size) return;
    this.keys.splice(this.#placeOf(size), 0, {name, size});
    if (this.keys.length > this.#limit) this.keys.pop();
  }

  // Behind those that are as big.
  #placeOf(size) {
    let low = 0, high = this.keys.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.keys[middle].size >= size) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * A step that weighs a batch of keys (bytes) into `biggest`: gives `{weighed, gone, failed, error}`, how many of them.
 * `client`: what has `bytes(...words)`. The loss of a connection is thrown.
 */
export function weighing(client, biggest, samples = SAMPLES) {
  const ask = key => client.bytes('MEMORY', 'USAGE', key, 'SAMPLES', samples);
  return async keys => {
    const outcomes = await Promise.allSettled(keys.map(ask));
    const loss = outcomes.find(({status, reason}) => status === 'rejected' && !(reason instanceof RedisError));
    if (loss) throw loss.reason;
    const counts = {weighed: 0, gone: 0, failed: 0};
    outcomes.forEach(({value, reason}, i) => {
      counts[reason ? 'failed' : value === null ? 'gone' : 'weighed']++;
      if (reason) counts.error ||= reason;
      else if (value !== null) biggest.add(nameOf(keys[i]), Number(value));
    });
    return counts;
  };
}
