/** The way of a session to a Redis Cluster: each command goes to the node that has its key. */

import {concernOf, keyOf, RedisCluster, splitAddress} from './cluster.mjs';
import {textOf, utf8} from './redis-bytes.mjs';
import {NodeError} from './redis-errors.mjs';
import {GuardedRedis} from './redis-guard.mjs';
import {watch} from './redis-route.mjs';
import {visible} from './page.mjs';
import {RedisError, WS2SError} from './ws2s.mjs';

const ADDRESS_CHARACTERS = 100;
const TOLD_NODES = 20;

const ignore = () => {};
// A server may call its nodes anything.
const shown = address => visible(address, ADDRESS_CHARACTERS).text;
const nameOf = word => (textOf(utf8Of(word)) || '').toUpperCase();
const utf8Of = word => (word instanceof Uint8Array ? word : utf8(String(word)));

// -- SCAN of all nodes ------------------------------------------------------------------------------------------------

/** A cursor that tells which nodes are still to be looked through, `[address, cursor]`, and which have been. */
function begunAt(text, addresses) {
  const {left, done} = text === '0' ? {left: [], done: []} : JSON.parse(text);
  const known = [...done, ...left.map(([address]) => address)];
  // A node that has taken over counts anew: cursors are those of one process.
  const fresh = addresses.filter(address => !known.includes(address)).map(address => [address, '0']);
  return {left: [...left.filter(([address]) => addresses.includes(address)), ...fresh], done};
}

function cursorOf(left, done) {
  return utf8(left.length ? JSON.stringify({left, done}) : '0');
}

/**
 * One step of a SCAN through all nodes: `[cursor, keys]`, as Redis has it. `ask(address, ...words)`. Nodes that fail
 * come last: what the others have is found all the same.
 */
async function scanStep(addresses, ask, [, cursor, ...rest]) {
  const {left, done} = begunAt(String(cursor), addresses);
  let failure = null;
  for (let tries = left.length; tries > 0; tries--) {
    const [address, at] = left.shift();
    try {
      const [next, keys] = await ask(address, 'SCAN', at, ...rest);
      if (textOf(next) === '0') done.push(address);
      else left.unshift([address, textOf(next)]);
      return [cursorOf(left, done), keys];
    } catch (error) {
      if (error instanceof RedisError) throw error;
      failure = failure || error;
      left.push([address, at]);
    }
  }
  if (failure) throw failure;
  return [cursorOf([], done), []];
}

// -- clients ----------------------------------------------------------------------------------------------------------

/** The connection to the node of a key: WATCH counts on no other. */
class KeyConnection {
  #client;
  #key;
  #redis = null;

  constructor(client, key) {
    this.#client = client;
    this.#key = key;
  }

  // Behind the first reply nothing waits for anything: what is asked in one go is sent in one.
  bytes(...words) {
    return this.#redis ? this.#client.askNode(this.#redis, words) : this.#begin(words);
  }

  async #begin(words) {
    try {
      return await this.#tried(words);
    } catch (error) {
      if (error.code !== 'MOVED') throw error;
      await this.#client.bytes('TYPE', this.#key);  // the cluster follows the MOVED, and knows the node then
      return this.#tried(words);
    }
  }

  async #tried(words) {
    const redis = await this.#client.nodeClient(this.#key);
    const reply = await this.#client.askNode(redis, words);
    if (nameOf(words[0]) === 'WATCH') this.#redis = redis;
    return reply;
  }
}

function listed(addresses) {
  const more = addresses.length - TOLD_NODES;
  return addresses.slice(0, TOLD_NODES).map(shown).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** What is told of nodes: which of them are there, and what has changed. */
class Nodes {
  #connected = new Set();
  #lost = new Set();
  #all = null;
  #events;

  isThere = false;

  /** `events`: `ready()`, `lost(error)` of all of them, `news(text, kind)` of one. */
  constructor(events) {
    this.#events = events;
  }

  onReady() {
    this.isThere = true;
    this.#events.ready();
  }

  onConnected(address) {
    this.#connected.add(address);
    if (this.#all === null) return;
    const wasLost = this.#lost.delete(address);
    if (!this.isThere) this.onReady();
    else if (wasLost) this.#events.news(`Node ${shown(address)} is connected again.`, 'good');
  }

  onLost(address, error) {
    this.#connected.delete(address);
    if (this.#all && !this.#all.includes(address)) return;
    const isNew = !this.#lost.has(address);
    this.#lost.add(address);
    if (this.#connected.size) {
      if (isNew) this.#events.news(`Node ${shown(address)} is lost. Its keys are waited for.`, 'bad');
      return;
    }
    this.isThere = false;
    this.#events.lost(error);
  }

  onNodes(addresses) {
    const before = this.#all;
    this.#all = addresses;
    const keep = set => set.forEach(address => { if (!addresses.includes(address)) set.delete(address); });
    [this.#connected, this.#lost].forEach(keep);
    if (before) this.#tellOthers(before, addresses);
  }

  #tellOthers(before, after) {
    const gone = before.filter(address => !after.includes(address));
    const come = after.filter(address => !before.includes(address));
    if (!gone.length && !come.length) return;
    const isOne = gone.length === 1 && come.length === 1;
    this.#events.news(isOne ? `Node ${shown(come[0])} has taken over from ${shown(gone[0])}.`
      : `The nodes of the cluster are now ${listed(after)}.`, 'good');
  }
}

/**
 * A client of all nodes, as DirectRoute makes them. SCAN and DBSIZE are of all nodes, unless it `isPlain`; what
 * concerns one node is asked of the one that `route` has as its `node`.
 */
class ClusterClient {
  onReady = ignore;
  onLost = ignore;
  onClose = ignore;
  onNews = ignore;

  /** `host:port` of who has answered last what was typed. */
  from = null;

  #route;
  #guard;
  #isPlain;
  #cluster;
  #nodes;
  #addresses = new WeakMap();  // of clients
  #failed = new WeakMap();     // addresses by errors
  #held = null;                // the client of a node, from WATCH or MULTI on

  constructor(route, url, options, guard, isPlain) {
    this.#route = route;
    this.#guard = guard;
    this.#isPlain = isPlain;
    this.#cluster = new RedisCluster(url, {...options, createClient: (...each) => this.#create(...each)});
    this.#nodes = new Nodes({
      ready: () => this.onReady(), lost: error => this.onLost(this.#named(error)),
      news: (text, kind) => this.onNews(text, kind)});
    this.#listen();
  }

  #create(url, options) {
    const redis = new GuardedRedis(url, options, this.#guard);
    this.#addresses.set(redis, `${options.host}:${options.port}`);
    return redis;
  }

  #listen() {
    const cluster = this.#cluster, nodes = this.#nodes;
    cluster.onReady = () => nodes.onReady();
    cluster.onConnected = address => nodes.onConnected(address);
    cluster.onNodes = addresses => {
      this.#route.nodes = [...addresses].sort();
      nodes.onNodes(addresses);
    };
    cluster.onLost = (error, address) => {
      if (!address) return;  // of subscriptions, which go elsewhere
      this.#failed.set(error, address);
      nodes.onLost(address, error);
    };
    cluster.onClose = error => this.onClose(error && this.#named(error));
  }

  // Of the gateway itself the page tells otherwise.
  #named(error) {
    const address = this.#failed.get(error) || this.#failed.get(error.cause);
    const isOfNode = error instanceof WS2SError && address && !/^gateway-/.test((error.cause || error).reason);
    return isOfNode ? new NodeError(`Node ${shown(address)}`, error) : error;
  }

  // -- asking ---------------------------------------------------------------------------------------------------------

  bytes(...words) {
    return this.#held ? this.#askHeld(words) : this.#ask(words);
  }

  async #ask(words) {
    this.#guard?.check(words);
    const name = nameOf(words[0]), concern = concernOf(words);
    if (this.#isPlain && (name === 'WATCH' || name === 'MULTI')) return this.#hold(name, words);
    if (!this.#isPlain && name === 'SCAN') return this.#scan(words);
    if (!this.#isPlain && name === 'DBSIZE') return this.#count();
    const key = concern ? undefined : keyOf(words);
    if (key === undefined && (concern || this.#isPlain)) return this.#askNodeOf(await this.#chosen(), words);
    return this.#askKey(key, words);
  }

  async #askKey(key, words) {
    try {
      return await this.#cluster.bytes(...words);
    } catch (error) {
      throw this.#named(error);
    } finally {
      if (this.#isPlain) this.from = key === undefined ? null : await this.nodeOf(key).catch(() => null);
    }
  }

  #askNodeOf(redis, words) {
    this.from = this.#addresses.get(redis);
    return this.askNode(redis, words);
  }

  /** Ask the client of one node. */
  async askNode(redis, words) {
    try {
      return await redis.bytes(...words);
    } catch (error) {
      throw this.#named(error);
    }
  }

  // All is asked on one connection then, as by redis-cli: what is of another node is refused there, by name.
  async #hold(name, words) {
    const redis = name === 'WATCH' ? await this.nodeClient(words[1]) : await this.#chosen();
    const reply = await this.#askNodeOf(redis, words);
    this.#held = redis;
    return reply;
  }

  async #askHeld(words) {
    const isEnd = ['EXEC', 'DISCARD', 'UNWATCH'].includes(nameOf(words[0]));
    try {
      const reply = await this.#askNodeOf(this.#held, words);
      if (isEnd && reply !== 'QUEUED') this.#held = null;
      return reply;
    } catch (error) {
      if (isEnd || !(error instanceof RedisError)) this.#held = null;
      throw error;
    }
  }

  async #byAddress() {
    const nodes = await this.#cluster.nodes();
    return new Map(nodes.map(redis => [this.#addresses.get(redis), redis]));
  }

  async #chosen() {
    const nodes = await this.#byAddress();
    const redis = nodes.get(this.#route.node) || [...nodes.values()][0];
    if (!redis) throw new RedisError('CLUSTERDOWN no node is known to have slots');
    return redis;
  }

  async #scan(words) {
    const nodes = await this.#byAddress();
    return scanStep([...nodes.keys()], (address, ...each) => this.askNode(nodes.get(address), each), words);
  }

  async #count() {
    const nodes = await this.#byAddress();
    const sizes = await Promise.all([...nodes.values()].map(redis => this.askNode(redis, ['DBSIZE'])));
    return sizes.reduce((sum, size) => sum + Number(size), 0);
  }

  // -- nodes ----------------------------------------------------------------------------------------------------------

  nodeClient(key) {
    return this.#cluster.nodeOf(key);
  }

  async nodeOf(key) {
    return this.#addresses.get(await this.nodeClient(key));
  }

  connection(key) {
    return new KeyConnection(this, key);
  }

  // -- as of a WS2S.Redis ---------------------------------------------------------------------------------------------

  subscribe(...what) {
    return this.#cluster.subscribe(...what);
  }

  psubscribe(...what) {
    return this.#cluster.psubscribe(...what);
  }

  unsubscribe(...what) {
    return this.#cluster.unsubscribe(...what);
  }

  punsubscribe(...what) {
    return this.#cluster.punsubscribe(...what);
  }

  close() {
    return this.#cluster.close();
  }
}

/** As DirectRoute, by any node of the cluster. */
export class ClusterRoute {
  #url;
  #options;
  #guard;
  #chosen;

  nodes = [];
  where = '';

  constructor(url, options, guard) {
    this.#url = url;
    this.#options = options;
    this.#guard = guard;
    this.#chosen = `${options.host}:${options.port}`;
  }

  get node() {
    return this.nodes.includes(this.#chosen) ? this.#chosen : this.nodes[0] ?? null;
  }

  set node(address) {
    this.#chosen = address;
  }

  client(options) {
    return this.#make(options, false);
  }

  commandLine(options) {
    return this.#make(options, true);
  }

  #make(options, isPlain) {
    return new ClusterClient(this, this.#url, {...this.#options, ...options}, this.#guard, isPlain);
  }

  connection(client, key) {
    return client.connection(key);
  }

  nodeOf(client, key) {
    return client.nodeOf(key);
  }

  watch(events) {
    return watch(this.#url, {...this.#options, ...splitAddress(this.node)}, events);
  }
}
