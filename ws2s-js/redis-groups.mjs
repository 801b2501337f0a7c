/** What Redis tells about the groups of a stream, their consumers, and entries that nobody has acknowledged yet. */

import {textOf} from './redis-bytes.mjs';

const text = reply => (reply instanceof Uint8Array ? textOf(reply) ?? '' : String(reply));
const number = reply => (typeof reply === 'bigint' || Number.isSafeInteger(reply) ? Number(reply) : null);

/** Names and values, which RESP2 tells as a list and RESP3 as a map. What newer servers tell besides is there, too. */
function recordOf(reply) {
  const pairs = reply instanceof Map ? [...reply]
    : Array.from({length: reply.length >> 1}, (_, i) => [reply[2 * i], reply[2 * i + 1]]);
  return new Map(pairs.map(([name, value]) => [text(name), value]));
}

function nameIn(record) {
  const name = record.get('name');
  return name instanceof Uint8Array ? name : new TextEncoder().encode(text(name ?? ''));
}

/** Of XINFO GROUPS: `{name, consumers, pending, lastId, lag}`. `lag` is null where the server does not know it. */
export function groupsOf(reply) {
  return reply.map(recordOf).map(record => ({
    name: nameIn(record), consumers: number(record.get('consumers')), pending: number(record.get('pending')),
    lastId: text(record.get('last-delivered-id') ?? ''), lag: number(record.get('lag')),
  }));
}

/**
 * Of XINFO CONSUMERS: `{name, pending, idle, inactive}`, the last two in milliseconds: since it asked for something,
 * and since it got something (null before 7.2; -1: never).
 */
export function consumersOf(reply) {
  return reply.map(recordOf).map(record => ({
    name: nameIn(record), pending: number(record.get('pending')), idle: number(record.get('idle')),
    inactive: number(record.get('inactive')),
  }));
}

/** Of XPENDING with a range: `{id, consumer, idle, deliveries}`, idle in milliseconds since it was delivered last. */
export function pendingOf(reply) {
  return reply.map(([id, consumer, idle, deliveries]) => (
    {id: text(id), consumer, idle: number(idle), deliveries: number(deliveries)}));
}

/** The command for a page of what is pending behind an id (null: from the first), of one consumer or (null) of all. */
export function pendingCommand(key, group, consumer, from, size) {
  return ['XPENDING', key, group, from ?? '-', '+', size, ...consumer ? [consumer] : []];
}
