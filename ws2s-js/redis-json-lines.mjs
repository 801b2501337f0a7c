/**
 * Keys as JSON for people and other programs to read: one object a line.
 *
 *     {"key": "user:1", "type": "hash", "expires": "2026-11-29T00:00:00.000Z", "value": {"name": "Ada"}}
 *
 * `expires` is null for a key that stays. What is not UTF-8 is `{"base64": "…"}`. A hash is an object, or pairs where
 * the name of a field is not UTF-8; a sorted set has pairs of member and score; a stream, pairs of id and fields.
 */

import {nameOf, textOf, utf8} from './redis-bytes.mjs';
import {FileError} from './redis-dump-file.mjs';
import {idAfter} from './redis-names.mjs';
import {TOO_LARGE_VALUE} from './redis-transfer.mjs';

const PIECE = 1000;  // items of a value that are asked for at once

/** Of a value, in bytes: as text it takes several times as much, all at once. */
export const LARGEST_JSON = 20000000;

/** Bytes as JSON. */
function jsonOf(bytes) {
  const text = textOf(bytes);
  return text === null ? `{"base64":"${btoa(nameOf(bytes))}"}` : JSON.stringify(text);
}

const MOST_PIECES = 20000;  // more than a value of LARGEST_JSON has: a server may go on for ever

// Throws a FileError when there are too many.
function refuseMore(pieces) {
  if (pieces > MOST_PIECES) throw new FileError(`${TOO_LARGE_VALUE} for reading.`);
}

const MOST_WEIGHT = 10 * LARGEST_JSON;  // of all replies about a value: its size is but what the server says
const ITEM_WEIGHT = 64;

function weightOf(reply) {
  const items = Array.isArray(reply) ? reply : [];
  return items.reduce((sum, item) => sum + weightOf(item), ITEM_WEIGHT + (reply?.length || 0));
}

/** An ask() that throws a FileError as soon as all replies together have become too many. */
function weighed(ask) {
  let room = MOST_WEIGHT;
  return async (...words) => {
    const reply = await ask(...words);
    room -= weightOf(reply);
    if (room < 0) throw new FileError(`${TOO_LARGE_VALUE} for reading.`);
    return reply;
  };
}

const list = items => `[${items.join(',')}]`;
const pairs = items => list(items.map(([first, second]) => `[${jsonOf(first)},${jsonOf(second)}]`));

// Made by hand: an object of JavaScript would put numbers first, and know no field __proto__.
function fields(items) {
  if (items.some(([field]) => textOf(field) === null)) return pairs(items);
  return `{${items.map(([field, value]) => `${jsonOf(field)}:${jsonOf(value)}`).join(',')}}`;
}

function chunks(items) {
  return Array.from({length: items.length / 2}, (_, i) => [items[2 * i], items[2 * i + 1]]);
}

// A scan may tell of an item twice.
async function scanned(ask, command, key, split) {
  const found = new Map();
  let cursor = '0', pieces = 0;
  do {
    refuseMore(++pieces);
    const [next, items] = await ask(command, key, cursor, 'COUNT', PIECE);
    for (const row of split(items)) found.set(nameOf(row[0]), row);
    cursor = textOf(next);
  } while (cursor !== '0');
  return [...found.values()];
}

async function ranged(ask, command, key, size, ...more) {
  const all = [];
  for (let first = 0; ; first += PIECE) {
    refuseMore(first / PIECE);
    const items = await ask(command, key, first, first + PIECE - 1, ...more);
    for (const item of items) all.push(item);
    if (items.length < PIECE * size) return all;
  }
}

async function entries(ask, key) {
  const all = [];
  for (let from = '-'; from !== null; from = idAfter(textOf(all.at(-1)[0]))) {
    const found = await ask('XRANGE', key, from, '+', 'COUNT', PIECE);
    refuseMore(all.length / PIECE);
    for (const entry of found) all.push(entry);
    if (found.length < PIECE) break;
  }
  return all;
}

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?$/i;  // of JSON

const scoreOf = bytes => (NUMBER.test(textOf(bytes)) ? textOf(bytes) : jsonOf(bytes));

// By type: the value as JSON.
const READERS = {
  string: async (ask, key) => jsonOf(await ask('GET', key) ?? new Uint8Array(0)),
  hash: async (ask, key) => fields(await scanned(ask, 'HSCAN', key, chunks)),
  list: async (ask, key) => list((await ranged(ask, 'LRANGE', key, 1)).map(jsonOf)),
  set: async (ask, key) => list((await scanned(ask, 'SSCAN', key, rows => rows.map(row => [row]))).map(([row]) => (
    jsonOf(row)))),
  zset: async (ask, key) => list(chunks(await ranged(ask, 'ZRANGE', key, 2, 'WITHSCORES')).map(([member, score]) => (
    `[${jsonOf(member)},${scoreOf(score)}]`))),
  stream: async (ask, key) => list((await entries(ask, key)).map(([id, content]) => (
    `[${jsonOf(id)},${fields(chunks(content || []))}]`))),
  'ReJSON-RL': async (ask, key) => documentOf(await ask('JSON.GET', key)),
};

// A server may answer anything.
function documentOf(bytes) {
  try {
    JSON.parse(textOf(bytes));
    return textOf(bytes).replace(/[\r\n]/g, ' ');
  } catch (error) {
    if (error instanceof SyntaxError) return jsonOf(bytes);
    throw error;
  }
}

function expiryOf(left, now) {
  if (left < 0 || !['number', 'bigint'].includes(typeof left)) return 'null';
  const moment = new Date(now + Number(left));
  return Number.isNaN(moment.getTime()) ? String(left) : `"${moment.toISOString()}"`;
}

/** Writes keys into a file, in the batches of sizedBatches(). */
export class JsonLines {
  #client;
  #file;
  #now;

  constructor(client, file, now) {
    this.#client = client;
    this.#file = file;
    this.#now = now;
    this.step = batch => this.#step(batch);
  }

  async #step({keys, isTooLarge}) {
    if (isTooLarge) return {failed: keys.length, error: new FileError(`${TOO_LARGE_VALUE} for reading.`)};
    const outcomes = await Promise.allSettled(keys.map(key => this.#line(key)));
    const counts = {done: 0, gone: 0, failed: 0};
    for (const {reason} of outcomes) if (reason?.name === 'WS2SError') throw reason;
    for (const {value, reason} of outcomes) {
      if (value) this.#file.write([utf8(value)]);
      counts[reason ? 'failed' : value ? 'done' : 'gone']++;
      if (reason) counts.error = counts.error || reason;
    }
    return counts;
  }

  // null for a key that is gone.
  async #line(key) {
    const ask = weighed((...words) => this.#client.bytes(...words));
    const [type, left] = await Promise.all([ask('TYPE', key), ask('PTTL', key)]);
    if (type === 'none' || left === -2) return null;
    const value = Object.hasOwn(READERS, type) ? await READERS[type](ask, key) : 'null';
    const expires = expiryOf(left, this.#now());
    return `{"key":${jsonOf(key)},"type":${JSON.stringify(type)},"expires":${expires},"value":${value}}\n`;
  }
}
