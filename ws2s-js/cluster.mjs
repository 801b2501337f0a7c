/**
 * Redis Cluster: one client for all nodes, each of which is connected through the same gateway.
 *
 *     import {RedisCluster} from './cluster.mjs'
 *
 *     const cluster = new RedisCluster('ws://127.0.0.1:3613/', {host: 'db1.lan', port: 7000});
 *     await cluster.command('SET', 'key', 'value');
 *
 * It knows which node has which of the 16,384 slots, and follows the redirections of nodes that know better. What is
 * asked again was carried out by nobody: it was redirected, or not sent. All else is told, and never repeated.
 */

import {Redis, RedisError, WS2SError} from './ws2s.mjs';

const SLOTS = 16384;
const PORT = 6379, LARGEST_PORT = 65535;
const PATIENCE = 30000;         // milliseconds
const CONNECTIONS = 64;
const REDIRECTIONS = 16;        // of one command, one after the other
const ASKED = 3;                // nodes at the same time, for their slots
const SILENCE = 5000;           // milliseconds without an answer: perhaps another node has the slots by now
const RETRY = {first: 250, longest: 2000};
const PAUSE = {first: 50, longest: 1000};
const REDIRECTS = ['MOVED', 'ASK'];
const PASSING = ['TRYAGAIN', 'CLUSTERDOWN', 'LOADING'];  // of one command, which was not carried out
const STARTING = ['BUSY', 'MASTERDOWN', ...PASSING];     // of a node that may answer later
const UNSURE = ['not-answered', 'transaction-lost'];

function ignore() {}

/** Call what the page has given us. Its mistake is the page's to see, and must not end our work. */
function tell(callback, ...values) {
  try {
    callback(...values);
  } catch (error) {
    queueMicrotask(() => { throw error; });
  }
}

function closedError() {
  return new WS2SError(1, 'closed', 'the client has been closed');
}

/** Resolves after so many milliseconds, or as soon as `signal` is aborted. */
function pause(milliseconds, signal) {
  return new Promise(resolve => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}

// Not all pages may come back at the same moment.
function pauseOf(number, {first, longest}) {
  return Math.min(longest, first * 2 ** number) * (0.5 + Math.random() / 2);
}

// =====================================================================================================================
// Slots of keys
// =====================================================================================================================

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();
const OPEN = 123, CLOSE = 125;  // { and }

function crcOfByte(byte) {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc & 0xffff;
}

const CRCS = Uint16Array.from({length: 256}, (_, byte) => crcOfByte(byte));

/** CRC-16/XMODEM, as Redis takes it. */
function crc16(bytes) {
  let crc = 0;
  for (const byte of bytes) crc = ((crc << 8) & 0xffff) ^ CRCS[(crc >> 8) ^ byte];
  return crc;
}

function bytesOfKey(key) {
  if (ArrayBuffer.isView(key)) return new Uint8Array(key.buffer, key.byteOffset, key.byteLength);
  return key instanceof ArrayBuffer ? new Uint8Array(key) : ENCODER.encode(String(key));
}

// Of a key with {something} in it only that counts.
function hashed(bytes) {
  const begin = bytes.indexOf(OPEN) + 1;
  const end = begin ? bytes.indexOf(CLOSE, begin) : -1;
  return end > begin ? bytes.subarray(begin, end) : bytes;
}

/** The slot of a key: 0 to 16,383. */
export function slotOf(key) {
  return crc16(hashed(bytesOfKey(key))) % SLOTS;
}

const NAME_CHARACTERS = 32;  // no command has a longer name, nor an option

// Only its begin is made a text: a word may be a key of many megabytes.
function startOf(word) {
  if (typeof word !== 'object' || word === null) return String(word).slice(0, NAME_CHARACTERS);
  return DECODER.decode(bytesOfKey(word).subarray(0, NAME_CHARACTERS));
}

function nameOf(words) {
  return startOf(words[0]).toUpperCase();
}

const ANYWHERE = ['PING', 'ECHO', 'TIME', 'PUBLISH', 'CLUSTER', 'COMMAND', 'LOLWUT'];
const OF_A_CONNECTION = [
  'MULTI', 'EXEC', 'DISCARD', 'WATCH', 'UNWATCH', 'SELECT', 'AUTH', 'HELLO', 'RESET', 'QUIT', 'CLIENT', 'ASKING',
  'READONLY', 'READWRITE', 'WAIT', 'WAITAOF',
];
const OF_A_NODE = [
  'KEYS', 'SCAN', 'DBSIZE', 'RANDOMKEY', 'FLUSHALL', 'FLUSHDB', 'SWAPDB', 'SCRIPT', 'FUNCTION', 'CONFIG', 'INFO', 'ACL',
  'SLOWLOG', 'LATENCY', 'MODULE', 'PUBSUB', 'SAVE', 'BGSAVE', 'BGREWRITEAOF', 'LASTSAVE', 'SHUTDOWN', 'ROLE',
  'REPLICAOF', 'SLAVEOF', 'FAILOVER', 'DEBUG',
];
const KEY_BEHIND_WORD = ['OBJECT', 'XINFO', 'XGROUP', 'MEMORY', 'BITOP'];
// At which word stands how many keys follow.
const NUMBERED = {
  EVAL: 2, EVALSHA: 2, EVAL_RO: 2, EVALSHA_RO: 2, FCALL: 2, FCALL_RO: 2, BLMPOP: 2, BZMPOP: 2,
  ZUNION: 1, ZINTER: 1, ZDIFF: 1, ZINTERCARD: 1, SINTERCARD: 1, LMPOP: 1, ZMPOP: 1,
};
const OF_STREAMS = ['XREAD', 'XREADGROUP'];

function wordBehind(words, option) {
  return words[words.findIndex((word, i) => i > 0 && startOf(word).toUpperCase() === option) + 1 || words.length];
}

/** The first key of a command, which tells its node; undefined if it has none. Others must be of the same slot. */
export function keyOf(words) {
  const name = nameOf(words);
  if (ANYWHERE.includes(name)) return undefined;
  if (Object.hasOwn(NUMBERED, name)) {
    const at = NUMBERED[name];
    return Number(startOf(words[at])) > 0 ? words[at + 1] : undefined;
  }
  if (OF_STREAMS.includes(name)) return wordBehind(words, 'STREAMS');
  if (name === 'MIGRATE') return startOf(words[3]) === '' ? wordBehind(words, 'KEYS') : words[3];
  return words[KEY_BEHIND_WORD.includes(name) ? 2 : 1];
}

/** What a command concerns that is not for a cluster as such: "one connection", "one node"; null for others. */
export function concernOf(words) {
  const name = nameOf(words);
  return OF_A_CONNECTION.includes(name) ? 'one connection' : OF_A_NODE.includes(name) ? 'one node' : null;
}

function refuse(words) {
  if (!Array.isArray(words) || !words.length) throw new TypeError('a command is a list of words: ["INCR", "n"]');
  const name = nameOf(words), what = concernOf(words);
  const instead = ['MULTI', 'EXEC', 'DISCARD'].includes(name) ? 'multi(), nodeOf(key)' : 'nodeOf(key)';
  if (what) throw new TypeError(`${name} concerns ${what} of the cluster: use ${instead} or nodes()`);
}

/** The slot of all these commands, null if none of them has a key. Throws if there is more than one. */
function slotOfAll(commands) {
  const keys = commands.map(keyOf).filter(key => key !== undefined);
  const slots = keys.map(slotOf);
  const other = slots.findIndex(slot => slot !== slots[0]);
  if (other > 0) {
    throw new TypeError(`${startOf(keys[0])} and ${startOf(keys[other])} are of different slots, and may be on `
      + 'different nodes: a transaction wants keys of one slot, such as {a}1 and {a}2');
  }
  return keys.length ? slots[0] : null;
}

// =====================================================================================================================
// Nodes
// =====================================================================================================================

/** `host:port`, of which the host may be an IPv6 address, or `host`. */
export function splitAddress(address) {
  const at = address.lastIndexOf(':');
  if (at < 0) return {host: address, port: PORT};
  return {host: address.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(address.slice(at + 1))};
}

function addressOf({host, port = PORT}) {
  return `${host}:${port}`;
}

/** Where nodes are that the cluster tells of: the option nodeAddress, a function or an object, may know better. */
class AddressBook {
  #lookUp;

  constructor(nodeAddress = {}) {
    this.#lookUp = typeof nodeAddress === 'function' ? nodeAddress
      : (host, port) => Object.hasOwn(nodeAddress, `${host}:${port}`) ? nodeAddress[`${host}:${port}`] : undefined;
  }

  /** `host` may be empty, null or "?": that of the node at the address `teller`, then. */
  addressOf(host, port, teller) {
    const told = host && host !== '?' ? host : splitAddress(teller).host;
    const found = this.#lookUp(told, port);
    if (found === undefined || found === null) return `${told}:${port}`;
    return typeof found === 'string' ? addressOf(splitAddress(found)) : addressOf(found);
  }
}

/** Which node has which slot. */
class SlotTable {
  #masters = new Array(SLOTS);  // addresses
  isKnown = false;

  /** Addresses of nodes that may become masters. */
  replicas = [];

  /** `ranges`: `{first, last, master, replicas}` of all masters. */
  learn(ranges) {
    this.#masters = new Array(SLOTS);
    for (const {first, last, master} of ranges) this.#masters.fill(master, first, last + 1);
    this.replicas = ranges.flatMap(({replicas}) => replicas);
    this.isKnown = true;
  }

  move(slot, address) {
    this.#masters[slot] = address;
  }

  masterOf(slot) {
    return this.#masters[slot];
  }

  get masters() {
    return [...new Set(this.#masters)].filter(address => address !== undefined);
  }
}

function isSlot(value) {
  return Number.isInteger(value) && value >= 0 && value < SLOTS;
}

function isPort(value) {
  return Number.isInteger(value) && value >= 0 && value <= LARGEST_PORT;
}

function isNode(node) {
  return Array.isArray(node) && isPort(node[1]) && (node[0] === null || node[0] instanceof Uint8Array);
}

function isSlotRange(range) {
  return Array.isArray(range) && isSlot(range[0]) && isSlot(range[1]) && range[0] <= range[1] && range.length > 2
    && range.slice(2).every(isNode);
}

// No slot has two masters.
function isSlotList(reply) {
  return Array.isArray(reply) && reply.length <= SLOTS && reply.every(isSlotRange)
    && reply.reduce((sum, [first, last]) => sum + last - first + 1, 0) <= SLOTS;
}

/** What CLUSTER SLOTS has answered, as SlotTable takes it. */
function rangesOf(reply, book, teller) {
  if (!isSlotList(reply)) {
    throw new WS2SError(1, 'protocol', 'no list of slots is what CLUSTER SLOTS was answered with');
  }
  const addressOfNode = ([host, port]) => book.addressOf(host && DECODER.decode(host), port, teller);
  return reply.map(([first, last, ...nodes]) => {
    const [master, ...replicas] = nodes.map(addressOfNode);
    return {first, last, master, replicas};
  });
}

/** What an error tells, `MOVED 3999 127.0.0.1:6381`, of which the host may be empty: `{slot, host, port}`. */
function redirectionOf({message}) {
  const [, slot, told] = /^[A-Z]+ ([0-9]{1,5}) (\S*:[0-9]{1,5})$/.exec(message) || [];
  const {host, port} = splitAddress(told || '');
  if (isSlot(Number(slot)) && port > 0 && isPort(port)) return {slot: Number(slot), host, port};
  throw new WS2SError(1, 'protocol', 'a node redirects to no address');
}

/** A node, and the client that is connected to it. */
class Node {
  #busy = 0;
  #isUnwanted = false;
  #onSilent;
  #watch = null;
  #answers = 0;
  #seen = 0;      // of the answers

  isReady = false;
  error = null;   // why no more attempts are made to connect

  /** `onSilent()` is called now and then while an answer is due and none comes. */
  constructor(address, redis, onSilent) {
    this.address = address;
    this.redis = redis;
    this.#onSilent = onSilent;
  }

  get isIdle() {
    return this.#busy === 0;
  }

  /** Gives what `task(redis)` resolves to. The client is not closed meanwhile, unless it is not connected. */
  async use(task) {
    if (this.#busy++ === 0) this.#watch = setInterval(() => this.#listen(), SILENCE);
    try {
      return await task(this.redis);
    } finally {
      this.#answers++;
      if (--this.#busy === 0) clearInterval(this.#watch);
      this.#look();
    }
  }

  #listen() {
    if (this.#answers === this.#seen) this.#onSilent();
    this.#seen = this.#answers;
  }

  /** Close the client as soon as nobody waits for a reply. */
  drop() {
    this.#isUnwanted = true;
    this.#look();
  }

  #look() {
    if (this.#isUnwanted && (this.isIdle || !this.isReady)) this.redis.close();
  }
}

/** The nodes that are connected, or being connected; those last that were used last. */
class Nodes {
  #connect;
  #most;
  #nodes = new Map();  // by address

  /** `connect(address)` gives a Node. */
  constructor(connect, most) {
    this.#connect = connect;
    this.#most = most;
  }

  get all() {
    return [...this.#nodes.values()];
  }

  /** The node at an address, which is connected if it was not. */
  at(address) {
    const node = this.#nodes.get(address) || this.#open(address);
    this.#nodes.delete(address);
    this.#nodes.set(address, node);
    return node;
  }

  /** Those at all these addresses. */
  atEach(addresses) {
    if (addresses.length > this.#most) throw this.#limitError(`the cluster has ${addresses.length} nodes`);
    return addresses.map(address => this.at(address));
  }

  #open(address) {
    if (this.#nodes.size >= this.#most) this.#makeRoom();
    return this.#connect(address);
  }

  #limitError(why) {
    return new WS2SError(1, 'limit', `${why}, and maxConnections is ${this.#most}`);
  }

  #makeRoom() {
    const idle = this.all.find(node => node.isIdle);
    if (!idle) throw this.#limitError('all nodes that are connected are busy');
    this.forget(idle);
    idle.drop();
  }

  /** Drop all but those at these addresses. */
  keep(addresses) {
    for (const node of this.all.filter(({address}) => !addresses.includes(address))) {
      this.forget(node);
      node.drop();
    }
  }

  forget(node) {
    if (this.#nodes.get(node.address) === node) this.#nodes.delete(node.address);
  }
}

// =====================================================================================================================
// Subscriptions
// =====================================================================================================================

/** Subscriptions, on a connection of their own to any node, and to another one when that is lost. */
class Subscriber {
  #connect;
  #onLost;
  #stop;
  #redis = null;      // a promise
  #node = null;       // {redis, address}, once it is there
  #entries = [];      // {kind, name, callback}: the kind is "" or "p", as in psubscribe
  #isRenewing = false;

  /** `connect(number)` resolves to `{redis, address}` of the node with that number; `signal` ends attempts. */
  constructor(connect, onLost, signal) {
    this.#connect = connect;
    this.#onLost = onLost;
    this.#stop = signal;
  }

  async subscribe(kind, name, callback) {
    const entry = {kind, name, callback};
    this.#entries.push(entry);
    try {
      await this.#ask(await this.#client(0), entry);
    } catch (error) {
      this.#remove(other => other === entry);
      throw error;
    }
  }

  async unsubscribe(kind, name, callback) {
    this.#remove(entry => entry.kind === kind && entry.name === name && (!callback || entry.callback === callback));
    const redis = await this.#redis;
    if (redis) await redis[`${kind}unsubscribe`](name, callback);
  }

  /** Go to another node if ours is not at one of these addresses. */
  keep(addresses) {
    if (!this.#node || addresses.includes(this.#node.address)) return;
    const {redis, address} = this.#node;
    this.#onEnd(redis, new WS2SError(5, 'closed', `${address} has no slots any more`));
  }

  async close() {
    const redis = await Promise.resolve(this.#redis).catch(ignore);
    if (redis) await redis.close();
  }

  #ask(redis, {kind, name, callback}) {
    return redis[`${kind}subscribe`](name, callback);
  }

  #remove(isIt) {
    this.#entries = this.#entries.filter(entry => !isIt(entry));
  }

  #client(number) {
    this.#redis = this.#redis || this.#open(number);
    return this.#redis;
  }

  async #open(number) {
    try {
      this.#node = await this.#connect(number);
      const {redis} = this.#node;
      redis.onLost = error => this.#onEnd(redis, error);
      redis.onClose = error => { if (error) this.#onEnd(redis, error); };
      return redis;
    } catch (error) {
      this.#redis = null;
      throw error;
    }
  }

  #onEnd(redis, error) {
    redis.onLost = redis.onClose = ignore;
    redis.close();
    this.#redis = this.#node = null;
    this.#onLost(error);
    if (!this.#isRenewing) this.#renew();
  }

  async #renew() {
    this.#isRenewing = true;
    for (let number = 1; !this.#stop.aborted && !await this.#isRenewed(number); number++) {
      await pause(pauseOf(number, RETRY), this.#stop);
    }
    this.#isRenewing = false;
  }

  async #isRenewed(number) {
    const entries = this.#entries;
    if (!entries.length) return true;
    const client = this.#client(number);
    const outcomes = await Promise.allSettled(entries.map(async entry => this.#ask(await client, entry)));
    outcomes.forEach(({reason}, i) => { if (reason instanceof RedisError) this.#onRefused(entries[i], reason); });
    return outcomes.every(({reason}) => !reason || reason instanceof RedisError);
  }

  // The node could not be found, perhaps: then there was no client that has refused anything.
  #onRefused(entry, error) {
    if (STARTING.includes(error.code)) return;
    this.#remove(other => other === entry);
    this.#onLost(error);
  }
}

// =====================================================================================================================
// Topology
// =====================================================================================================================

function isFinal(error, node) {
  return node.error !== null || (error instanceof RedisError && !STARTING.includes(error.code));
}

/** Which node has which slot, as nodes tell it, and connections to them. */
class Topology {
  #seeds;
  #book;
  #slots = new SlotTable();
  #nodes;
  #events;
  #refreshing = null;
  #round = 0;

  /** `events`: `learnt(masters, isFirst)`, and `failed(error)` when there will never be any. `connect` as of Nodes. */
  constructor(options, connect, events) {
    this.#seeds = seedsOf(options);
    this.#book = new AddressBook(options.nodeAddress);
    this.#nodes = new Nodes(connect, wholeOf(options.maxConnections ?? CONNECTIONS, 'maxConnections'));
    this.#events = events;
  }

  get isKnown() {
    return this.#slots.isKnown;
  }

  get nodes() {
    return this.#nodes.all;
  }

  /** The addresses of the nodes that have slots. */
  get masters() {
    return this.#slots.masters;
  }

  /** The node with this address, or that of the slot; any for null. */
  node(slot, address = this.#addressOf(slot)) {
    if (address === undefined) throw new RedisError('CLUSTERDOWN no node is known to have the slot');
    return this.#nodes.at(address);
  }

  #addressOf(slot) {
    if (slot !== null) return this.#slots.masterOf(slot);
    const ready = this.nodes.find(({isReady, address}) => isReady && this.masters.includes(address));
    return ready ? ready.address : this.masters[0];
  }

  nodesOfMasters() {
    return this.#nodes.atEach(this.masters);
  }

  /** By a node that will not be connected any more. */
  forget(node) {
    this.#nodes.forget(node);
  }

  /** Where an error of `teller` leads: `{address, isAsking}`. */
  redirected(error, teller) {
    const {slot, host, port} = redirectionOf(error);
    const address = this.#book.addressOf(host, port, teller.address);
    if (error.code === 'MOVED') this.#onMoved(slot, address);
    return {address, isAsking: error.code === 'ASK'};
  }

  #onMoved(slot, address) {
    this.#slots.move(slot, address);
    this.refresh().catch(ignore);
  }

  /** Resolves when the slots have been learnt anew. */
  refresh() {
    this.#refreshing = this.#refreshing || this.#learn().finally(() => { this.#refreshing = null; });
    return this.#refreshing;
  }

  async #learn() {
    const nodes = this.#tellers().map(address => this.#nodes.at(address));
    try {
      this.#onSlots(await Promise.any(nodes.map(node => this.#rangesFrom(node))));
    } catch (failure) {
      const {errors = [failure]} = failure;
      if (!this.isKnown && nodes.every((node, i) => isFinal(errors[i], node))) this.#events.failed(errors[0]);
      throw errors[0];
    }
  }

  // Some that are connected, and of all others some in turn: those that are connected may be silent.
  #tellers() {
    const ready = this.nodes.filter(node => node.isReady).map(({address}) => address).slice(0, ASKED - 1);
    const all = new Set([...this.#slots.masters, ...this.#seeds, ...this.#slots.replicas]);
    const others = [...all].filter(address => !ready.includes(address));
    const begin = others.length ? ASKED * this.#round++ % others.length : 0;
    return [...ready, ...others.slice(begin), ...others.slice(0, begin)].slice(0, ASKED);
  }

  async #rangesFrom(node) {
    try {
      return rangesOf(await node.use(redis => redis.bytes('CLUSTER', 'SLOTS')), this.#book, node.address);
    } catch (error) {
      throw error.reason === 'not-answered' ? error.cause : error;  // nobody has asked for it
    }
  }

  #onSlots(ranges) {
    const isFirst = !this.isKnown;
    this.#slots.learn(ranges);
    if (this.masters.length) this.#nodes.keep(this.masters);
    this.#events.learnt(this.masters, isFirst);
  }
}

// =====================================================================================================================
// RedisCluster
// =====================================================================================================================

/** How often and how long one command is asked again. */
class Attempts {
  #until;
  #stop;
  #redirections = 0;  // one after the other
  #pauses = 0;

  constructor(patience, signal) {
    this.#until = performance.now() + patience;
    this.#stop = signal;
  }

  /** Throws `error` when it is one redirection too many. */
  redirect(error) {
    if (++this.#redirections > REDIRECTIONS) throw error;
  }

  /** Some milliseconds; throws `error` when it has been tried long enough. */
  async pause(error) {
    this.#redirections = 0;
    const milliseconds = pauseOf(this.#pauses++, PAUSE);
    if (performance.now() + milliseconds > this.#until) throw error;
    await pause(milliseconds, this.#stop);
  }
}

function nodeError(error, {address}) {
  return new WS2SError(error.code, error.reason, `${address}: ${error.message}`, {cause: error});
}

/** Was it not sent, and may it succeed later, on this node or another? */
function mayGoElsewhere(error, node) {
  if (error instanceof RedisError) return PASSING.includes(error.code) && !error.isUnsure;
  return error instanceof WS2SError && node !== null && node.error === null && !UNSURE.includes(error.reason)
    && !error.reason.startsWith('gateway-');
}

// Both go in the same go, one behind the other on one connection.
function send(redis, ask, {isAsking}) {
  if (isAsking) redis.command('ASKING').catch(ignore);  // what follows is redirected, then, or fails as well
  return ask(redis);
}

function seedsOf({host, port, nodes}) {
  const seeds = (nodes || [{host, port}]).map(seed => typeof seed === 'string' ? splitAddress(seed) : seed);
  if (!seeds.length || !seeds.every(seed => seed.host)) throw new TypeError('host is wanted, or nodes: [{host, port}]');
  return seeds.map(addressOf);
}

function optionsOfNodes({nodes, nodeAddress, patience, maxConnections, createClient, ...options}) {
  if (options.db) throw new TypeError('a cluster has no other database than 0');
  return {...options, retry: {...RETRY, ...options.retry}};
}

function patienceOf({patience = PATIENCE}) {
  if (typeof patience === 'number' && patience >= 0) return patience;
  throw new RangeError('patience must be a number of milliseconds');
}

function wholeOf(value, name) {
  if (Number.isInteger(value) && value >= 1) return value;
  throw new RangeError(`${name} must be a whole number from 1 on`);
}

/** A client of all nodes of a Redis Cluster, with the methods of WS2S.Redis. */
export class RedisCluster {
  /** Called once, when it is known which node has which slot. */
  onReady = ignore;
  /** Called with the error, and the `host:port` of the node, when a connection or an attempt has failed. */
  onLost = ignore;
  /** Called once, with the error or nothing: no more attempts are made. */
  onClose = ignore;
  /** Called with a push of RESP3 that is no message, and the `host:port` of the node. */
  onPush = ignore;
  /** Called with the `host:port` of a node whenever it is connected. */
  onConnected = ignore;
  /** Called with the `host:port` of all nodes that have slots, whenever these have been learnt. */
  onNodes = ignore;

  #url;
  #options;   // of each node
  #create;
  #patience;
  #topology;
  #subscriber;
  #clients = new Set();  // that are not closed: also those of nodes that have left, while they are busy
  #stop = new AbortController();
  #error = null;

  /**
   * @param {string} url of the gateway
   * @param {object} options `host` and `port` of one node, or `nodes` (a list of `{host, port}`) of which one must be
   *   there; `nodeAddress` (where nodes are that the cluster tells of: `{'10.0.0.1:7000': 'db1.lan:7000'}`, or a
   *   function of host and port), `patience` (30,000 milliseconds in which a command is asked again that no node has
   *   carried out), `maxConnections` (64), `createClient` (`(url, options)` gives the WS2S.Redis of a node, perhaps one
   *   of a class of its own), and all that WS2S.Redis takes, for each node
   */
  constructor(url, options) {
    this.#url = url;
    this.#options = optionsOfNodes(options);
    this.#create = options.createClient || ((...each) => new Redis(...each));
    this.#patience = patienceOf(options);
    this.#topology = new Topology(options, address => this.#connect(address), {
      learnt: (masters, isFirst) => this.#onLearnt(masters, isFirst), failed: error => this.#end(error),
    });
    this.#subscriber = new Subscriber(
      number => this.#anotherClient(number), error => tell(this.onLost, error), this.#stop.signal);
    this.#begin();
  }

  /** Ask the node that has the key of this command. Bulk strings are Uint8Arrays, or strings with the option `text`. */
  command(...words) {
    return this.#ask(words, redis => redis.command(...words));
  }

  /** As command(), and bulk strings are Uint8Arrays. */
  bytes(...words) {
    return this.#ask(words, redis => redis.bytes(...words));
  }

  /** As command(), and bulk strings are strings. */
  text(...words) {
    return this.#ask(words, redis => redis.text(...words));
  }

  /** As multi() of WS2S.Redis. All keys must be of one slot. */
  async multi(commands) {
    const list = [...commands];
    list.forEach(refuse);
    return this.#route(slotOfAll(list), redis => redis.multi(list));
  }

  /** The WS2S.Redis of the node that has this key, for what concerns one connection, such as WATCH. */
  async nodeOf(key) {
    await this.#known();
    return this.#topology.node(slotOf(key)).redis;
  }

  /** The WS2S.Redis of each node that has slots, for what concerns all keys, such as SCAN and FLUSHALL. */
  async nodes() {
    await this.#known();
    return this.#topology.nodesOfMasters().map(({redis}) => redis);
  }

  /** `callback(message, channel)` is called for each message, on whichever node it was published. */
  subscribe(channel, callback) {
    return this.#subscriber.subscribe('', channel, callback);
  }

  /** `callback(message, channel, pattern)` is called for each message. */
  psubscribe(pattern, callback) {
    return this.#subscriber.subscribe('p', pattern, callback);
  }

  /** Ends what subscribe() began: for one callback, or for all of the channel. */
  unsubscribe(channel, callback) {
    return this.#subscriber.unsubscribe('', channel, callback);
  }

  /** Ends what psubscribe() began: for one callback, or for all of the pattern. */
  punsubscribe(pattern, callback) {
    return this.#subscriber.unsubscribe('p', pattern, callback);
  }

  /** Close all connections, for good. What has no reply rejects. */
  close() {
    return this.#end(null);
  }

  async #end(error) {
    if (this.#stop.signal.aborted) return;
    this.#error = error;
    this.#stop.abort();
    await Promise.all([this.#subscriber, ...this.#clients].map(each => each.close()));
    tell(this.onClose, ...error ? [error] : []);
  }

  #refuseOver() {
    if (this.#stop.signal.aborted) throw this.#error || closedError();
  }

  // -- which node -----------------------------------------------------------------------------------------------------

  async #ask(words, ask) {
    refuse(words);
    const key = keyOf(words);
    return this.#route(key === undefined ? null : slotOf(key), ask);
  }

  async #route(slot, ask) {
    const attempts = new Attempts(this.#patience, this.#stop.signal);
    for (let way = {}; ;) {
      await this.#known();
      let node = null;
      try {
        node = this.#topology.node(slot, way.address);
        return await node.use(redis => send(redis, ask, way));
      } catch (error) {
        way = await this.#after(error, node, attempts);
      }
    }
  }

  /** Where to ask again; throws what is to be told instead. */
  async #after(error, node, attempts) {
    if (error instanceof RedisError && REDIRECTS.includes(error.code) && !error.isUnsure) {
      attempts.redirect(error);
      return this.#topology.redirected(error, node);
    }
    if (!mayGoElsewhere(error, node)) throw error;
    this.#refuseOver();
    await attempts.pause(error instanceof WS2SError ? nodeError(error, node) : error);
    await this.#topology.refresh().catch(ignore);
    return {};
  }

  // -- connections ----------------------------------------------------------------------------------------------------

  #connect(address) {
    this.#refuseOver();
    const redis = this.#create(this.#url, {...this.#options, ...splitAddress(address)});
    const node = new Node(address, redis, () => this.#refresh());
    this.#clients.add(redis);
    redis.onReady = () => {
      node.isReady = true;
      tell(this.onConnected, address);
    };
    redis.onPush = items => tell(this.onPush, items, address);
    redis.onLost = error => this.#onLost(node, error);
    redis.onClose = error => this.#onOver(node, error);
    return node;
  }

  #onLost(node, error) {
    node.isReady = false;
    tell(this.onLost, error, node.address);
    this.#refresh();
  }

  #refresh() {
    if (this.#topology.isKnown) this.#topology.refresh().catch(ignore);  // if not, somebody waits for that already
  }

  #onLearnt(masters, isFirst) {
    if (masters.length) this.#subscriber.keep(masters);
    tell(this.onNodes, masters);
    if (isFirst) tell(this.onReady);
  }

  #onOver(node, error) {
    this.#clients.delete(node.redis);
    if (!error) return;
    node.isReady = false;
    node.error = error;
    this.#topology.forget(node);
    tell(this.onLost, error, node.address);
  }

  /** `{redis, address}` of a client of its own of one of the nodes. */
  async #anotherClient(number) {
    await this.#known();
    const {masters} = this.#topology;
    if (!masters.length) throw new RedisError('CLUSTERDOWN no node is known to have slots');
    const address = masters[number % masters.length];
    return {address, redis: this.#create(this.#url, {...this.#options, ...splitAddress(address)})};
  }

  async #begin() {
    for (let number = 0; !this.#stop.signal.aborted && !this.#topology.isKnown; number++) {
      await this.#topology.refresh().catch(ignore);  // which nodes are lost is told by them
      if (!this.#topology.isKnown) await pause(pauseOf(number, RETRY), this.#stop.signal);
    }
  }

  async #known() {
    this.#refuseOver();
    if (!this.#topology.isKnown) await this.#topology.refresh();
  }
}
