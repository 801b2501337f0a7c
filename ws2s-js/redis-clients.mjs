/** redis-clients.mjs: the reply of CLIENT LIST, as rows. */

const NUMBERS = ['id', 'age', 'idle', 'db', 'multi', 'tot-mem', 'tot-net-in', 'tot-net-out', 'sub', 'psub'];

// By the letters of `flags`, in the order in which they are told.
const FLAGS = [
  ['M', 'primary'], ['S', 'replica'], ['O', 'watches all commands'], ['P', 'subscribed'], ['x', 'in a transaction'],
  ['b', 'waiting'], ['d', 'its transaction will fail'], ['c', 'closing'], ['A', 'closing'], ['t', 'caching'],
  ['R', 'caching, its target is gone'], ['B', 'caching by prefix'], ['r', 'reads only'], ['e', 'not evicted'],
  ['T', 'not counted as use'], ['U', 'by a socket file'],
];

function fieldsOf(line) {
  const fields = new Map();
  for (const pair of line.split(' ')) {
    const at = pair.indexOf('=');
    if (at > 0 && !fields.has(pair.slice(0, at))) fields.set(pair.slice(0, at), pair.slice(at + 1));
  }
  return fields;
}

function numberOf(text) {
  return /^-?\d{1,15}$/.test(text ?? '') ? Number(text) : null;
}

/** What the letters of `flags` say, in words; none for a client like most. */
function flagWords(letters) {
  return [...new Set(FLAGS.filter(([letter]) => letters.includes(letter)).map(([, words]) => words))];
}

function rowOf(line) {
  const fields = fieldsOf(line);
  const [id, age, idle, db, multi, memory, received, sent, channels, patterns] = NUMBERS.map(
    name => numberOf(fields.get(name)));
  const text = name => fields.get(name) || '';
  return {
    id, age, idle, db, memory, received, sent, channels, patterns, queued: multi === -1 ? null : multi,
    address: text('addr'), name: text('name'), user: text('user'), command: text('cmd').replace('|', ' '),
    library: [text('lib-name'), text('lib-ver')].filter(Boolean).join(' '), flags: flagWords(text('flags')),
  };
}

/** Rows of a reply, in its order. What a server does not tell is null, or ''. Lines without an id are left out. */
export function clientsOf(text) {
  return text.split(/\r?\n/).filter(line => line.trim()).map(rowOf).filter(({id}) => id !== null);
}

/** Sorted by one of the fields of rows: numbers by size, texts as people sort; what is not known comes last. */
export function sortedClients(rows, field, isDescending = false) {
  const sign = isDescending ? -1 : 1;
  const isKnown = ({[field]: value}) => value !== null && value !== '';
  const compare = ({[field]: a}, {[field]: b}) => (typeof a === 'number' ? a - b : String(a).localeCompare(String(b)));
  const known = rows.filter(isKnown).sort((a, b) => sign * compare(a, b) || a.id - b.id);
  return [...known, ...rows.filter(row => !isKnown(row))];
}

/**
 * The command that ends a client's connection. By its id, which nobody else gets; an address may belong to another
 * client by then. `ownId`: of the connection that asks, which is never ended: null is given for that one.
 */
export function killCommand({id}, ownId) {
  return id === ownId ? null : ['CLIENT', 'KILL', 'ID', String(id)];
}
