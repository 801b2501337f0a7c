/** redis-slowlog.mjs: the reply of SLOWLOG GET, as rows. */

import {nameOf} from './redis-bytes.mjs';
import {shownCount} from './redis-secrets.mjs';

const isNumber = value => typeof value === 'number';
const wordOf = value => (value instanceof Uint8Array ? nameOf(value) : String(value ?? ''));

/**
 * Rows `{id, time, micros, words, isHidden, client, name}` of a reply, the slowest first. `time` has milliseconds;
 * `words`, `client` and `name` are names (a character is a byte). Servers before 4.0 tell neither client nor name. What
 * is no entry is left out.
 */
export function slowCommands(reply) {
  const rows = Array.isArray(reply) ? reply.filter(isEntry).map(rowOf) : [];
  return rows.sort((a, b) => b.micros - a.micros || b.id - a.id);
}

function isEntry(entry) {
  if (!Array.isArray(entry)) return false;
  const [id, time, micros, words] = entry;
  return [id, time, micros].every(isNumber) && Array.isArray(words);
}

function rowOf([id, time, micros, all, client, name]) {
  const words = all.map(wordOf);
  const shown = words.slice(0, shownCount(words));
  return {
    id, time: time * 1000, micros, words: shown, isHidden: shown.length < words.length,
    client: wordOf(client), name: wordOf(name),
  };
}

/** A time of so many microseconds, for people: `350 µs`, `12.3 ms`, `2.50 s`. */
export function microsText(micros) {
  if (micros < 1000) return `${micros} µs`;
  return micros < 999950 ? `${(micros / 1000).toFixed(1)} ms` : `${(micros / 1000000).toFixed(2)} s`;
}
