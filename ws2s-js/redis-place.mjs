/**
 * Where the Redis page is, as its address tells it: `#connection/db/key`, each percent-encoded.
 *
 * A *place* is `{connection, db, key}`: the name of a connection of the gateway's configuration, the number of a
 * database or null for that of the connection, and the name of a key (see redis-bytes.mjs) or null for none.
 */

import {bytesOfName, labelOfName, nameOf, textOf, utf8} from './redis-bytes.mjs';
import {visible} from './page.mjs';

const KEY_BYTES = 1000;  // of the longest key that an address names
const LABEL_CHARACTERS = 60;
const SPECIAL = /[^A-Za-z0-9._~:@!$*,;=-]/g;
const BROKEN = /%(?![0-9A-Fa-f]{2})/;
const PAGE = 'ws2s Redis';

/** The part of the address for a place; '' where it has no connection. */
export function addressOf(place) {
  if (!place || place.connection === null) return '';
  const {connection, db, key} = place;
  const parts = [encoded(nameOf(utf8(connection)))];
  if (db !== null) parts.push(String(db));
  if (db !== null && key !== null && key.length <= KEY_BYTES) parts.push(encoded(key));
  return `#${parts.join('/')}`;
}

/** The place of such a part; null where it names none. */
export function placeOf(address) {
  const [connection, db, ...key] = address.replace(/^#/, '').split('/');
  const name = textIn(connection);
  const number = db || null;
  const rest = key.length ? decoded(key.join('/')) : null;
  const isBroken = !name || (number !== null && !isDb(number)) || (key.length > 0 && rest === null);
  return isBroken ? null : {connection: name, db: number === null ? null : Number(number), key: rest};
}

function isDb(text) {
  return /^[0-9]{1,10}$/.test(text) && Number(text) < 2 ** 31;
}

// `name` has one character for each byte.
function encoded(name) {
  return name.replace(SPECIAL, character => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`);
}

// What browsers, and people, have left as it is counts as UTF-8.
function decoded(text) {
  if (BROKEN.test(text)) return null;
  return nameOf(utf8(text)).replace(/%(..)/g, (_, digits) => String.fromCharCode(parseInt(digits, 16)));
}

function textIn(text) {
  const name = decoded(text);
  return name === null ? null : textOf(bytesOfName(name));
}

/** What the tab is called. `target`: of a connection that has no name. */
export function titleOf(place, target = '') {
  if (!place) return PAGE;
  const {connection, db, key} = place;
  const server = `${connection === null ? target : visible(connection, LABEL_CHARACTERS).text}${db ? `/${db}` : ''}`;
  return [key !== null && labelOfName(key, LABEL_CHARACTERS), server, PAGE].filter(Boolean).join(' – ');
}
