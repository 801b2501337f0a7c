/** redis-settings.mjs: the replies of CONFIG GET and ACL LIST, as rows, without what is secret. */

import {nameOf} from './redis-bytes.mjs';

const SECRET = /pass|auth|secret|token|credential|^namespace\./i;
const NOT_SECRET = new Set(['tls-auth-clients']);
// What a rule of a user begins with that is a password, or the hash of one.
const PASSWORD = /^[#<>!]/;

const wordOf = value => (value instanceof Uint8Array ? nameOf(value) : String(value ?? ''));

function pairsOf(reply) {
  if (reply instanceof Map) return [...reply];  // RESP3
  if (!Array.isArray(reply)) return [];
  return Array.from({length: Math.floor(reply.length / 2)}, (_, i) => [reply[2 * i], reply[2 * i + 1]]);
}

/** Rows `{name, value, isHidden}` of CONFIG GET, by name. Both are names (a character is a byte). */
export function settingsOf(reply) {
  const rows = pairsOf(reply).map(([name, value]) => rowOf(wordOf(name), wordOf(value)));
  return rows.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

// Whether one is set is worth knowing.
function rowOf(name, value) {
  const isHidden = value !== '' && SECRET.test(name) && !NOT_SECRET.has(name);
  return {name, value: isHidden ? '' : value, isHidden};
}

/**
 * Rows `{name, isOn, passwords, rules}` of ACL LIST: `passwords`, how many there are, null for a user who needs none;
 * `rules`, all else that stands there, as one name. Lines that are no users are left out.
 */
export function usersOf(reply) {
  if (!Array.isArray(reply)) return [];
  return reply.map(line => wordOf(line).split(' ')).filter(([kind, name]) => kind === 'user' && name).map(userOf);
}

function userOf([, name, ...rules]) {
  const open = rules.filter(rule => !PASSWORD.test(rule) && !['on', 'off', 'nopass'].includes(rule));
  return {
    name, isOn: rules.includes('on'), rules: open.join(' '),
    passwords: rules.includes('nopass') ? null : rules.filter(rule => rule.startsWith('#')).length,
  };
}
