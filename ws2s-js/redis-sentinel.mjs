/** The way of a session to the master that Sentinels tell of, and to the next one when that has failed. */

import {textOf} from './redis-bytes.mjs';
import {isOfLogin, isForbidden, isUnknown, MasterError, NodeError} from './redis-errors.mjs';
import {GuardedRedis} from './redis-guard.mjs';
import {ServerRoute, watch} from './redis-route.mjs';
import {visible} from './page.mjs';
import {addressText} from './targets.mjs';
import {RedisError, WS2SError} from './ws2s.mjs';

const PAUSE = {first: 250, longest: 2000};  // milliseconds
const MOST_SENTINELS = 20;
const NAME_CHARACTERS = 60;

const ignore = () => {};
const shown = text => visible(text, NAME_CHARACTERS).text;

function deferred() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, {resolve, reject}));
  parts.promise.catch(ignore);  // whoever waits gets it; nobody has to
  return parts;
}

/** Resolves when a new client is ready; rejects with why its first attempt has failed. */
function ready(redis) {
  return new Promise((resolve, reject) => {
    redis.onReady = resolve;
    redis.onLost = reject;
    redis.onClose = error => reject(error || new DOMException('Cancelled.', 'AbortError'));
  });
}

function drop(redis) {
  redis.onReady = redis.onLost = redis.onClose = ignore;
  redis.close().catch(ignore);
}

// Of the gateway itself the page tells otherwise.
function named(what, error) {
  return error instanceof WS2SError && !/^gateway-/.test(error.reason) ? new NodeError(what, error) : error;
}

/** Asks Sentinels where a master is: those of which the first has told are asked when it is gone. */
class MasterFinder {
  #make;
  #name;
  #sentinels;

  /** `make(options)`: a client. `first`: `{host, port}` of a Sentinel. */
  constructor(make, name, first) {
    this.#make = make;
    this.#name = name;
    this.#sentinels = [first];
  }

  /** `{host, port}` of the master, as one of the Sentinels tells it. */
  async find() {
    let failure = null;
    for (const sentinel of [...this.#sentinels]) {
      try {
        return await this.#askAt(sentinel);
      } catch (error) {
        failure = failure || named(`Sentinel ${addressText(sentinel.host, sentinel.port)}`, error);
      }
    }
    throw failure;
  }

  // Most Sentinels know no login; to one that wants one that of the master is shown.
  async #askAt(sentinel) {
    try {
      return await this.#ask(sentinel, {username: undefined, password: undefined});
    } catch (error) {
      if (!(error instanceof RedisError) || !isOfLogin(error)) throw error;
      return this.#ask(sentinel, {});
    }
  }

  async #ask(sentinel, login) {
    const redis = this.#make({...sentinel, ...login, db: undefined, retry: {attempts: 1}});
    try {
      await ready(redis);
      const reply = await redis.bytes('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.#name);
      if (reply === null) throw new MasterError(`The Sentinel knows no master of the name ${shown(this.#name)}.`);
      const others = await redis.bytes('SENTINEL', 'SENTINELS', this.#name).catch(() => []);
      this.#remember(sentinel, others);
      return addressIn(reply);
    } catch (error) {
      throw isUnknown(error) ? new MasterError('This server is no Sentinel: leave the name of a master empty.') : error;
    } finally {
      drop(redis);
    }
  }

  // The one that has answered is asked first.
  #remember(sentinel, others) {
    const told = Array.isArray(others) ? others.filter(Array.isArray).map(addressInFields).filter(Boolean) : [];
    const all = [sentinel, ...this.#sentinels, ...told];
    const known = new Map(all.map(each => [`${each.host}:${each.port}`, each]));
    this.#sentinels = [...known.values()].slice(0, MOST_SENTINELS);
  }
}

// null where a Sentinel tells of no address.
function addressOf(host, port) {
  if (![host, port].every(each => each instanceof Uint8Array)) return null;
  const address = {host: textOf(host), port: Number(textOf(port))};
  return address.host && Number.isInteger(address.port) && address.port >= 1 && address.port <= 65535 ? address : null;
}

function addressIn(reply) {
  const address = Array.isArray(reply) ? addressOf(...reply) : null;
  if (address) return address;
  throw new WS2SError(1, 'protocol', 'no address is what the Sentinel has answered');
}

// `name, a, ip, b, port, c` and so on.
function addressInFields(fields) {
  const value = name => fields[fields.findIndex((field, i) => (
    i % 2 === 0 && field instanceof Uint8Array && textOf(field) === name)) + 1];
  return addressOf(value('ip'), value('port'));
}

/**
 * A client of the master, as DirectRoute makes them. When its connection is lost, or it is a master no more, the
 * Sentinels are asked again, until they tell of one that is.
 */
class MasterClient {
  onReady = ignore;
  onLost = ignore;
  onClose = ignore;
  onNews = ignore;

  #route;
  #make;
  #redis = null;
  #master;              // where it was last
  #next = deferred();
  #isOver = false;
  #wake = ignore;
  #begun = 0;           // when it was there last
  #short = 0;           // how often one after the other that was not for long
  #subscriptions = [];  // {kind, name, callback}

  /** `make(address)`: a client of the server there. */
  constructor(route, make) {
    this.#route = route;
    this.#make = make;
    this.#master = route.master;
    this.#seek();
  }

  async #seek() {
    if (this.#short) await this.#pause(this.#short - 1);
    for (let number = 0; !this.#isOver; number++) {
      try {
        this.#adopt(await this.#connected());
        return;
      } catch (error) {
        this.#onFailure(error);
      }
      if (!this.#isOver) await this.#pause(number);
    }
  }

  // A login that is not taken will not be taken later.
  #onFailure(error) {
    if (this.#isOver) return;
    this.#next.reject(error);
    this.#next = deferred();
    this.#isOver = error instanceof RedisError && isOfLogin(error);
    if (this.#isOver) this.onClose(error);
    else this.onLost(error);
  }

  #pause(number) {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, Math.min(PAUSE.longest, PAUSE.first * 2 ** number));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #connected() {
    const address = await this.#route.find();
    const text = addressText(address.host, address.port), redis = this.#make(address);
    try {
      await ready(redis);
      if (!await isMaster(redis)) throw new MasterError(`${shown(text)} is not a master any more, or not yet.`);
      return {redis, text};
    } catch (error) {
      drop(redis);
      throw named(`The master ${shown(text)}`, error);
    }
  }

  #adopt({redis, text}) {
    if (this.#isOver) {
      drop(redis);
      return;
    }
    redis.onReady = ignore;
    redis.onLost = error => this.#onEnd(redis, error);
    redis.onClose = error => this.#onEnd(redis, error);
    this.#redis = redis;
    this.#begun = performance.now();
    this.#next.resolve(redis);
    for (const each of this.#subscriptions) this.#subscribe(redis, each).catch(error => this.onLost(error));
    this.#tell(text);
    this.onReady();
  }

  #tell(text) {
    const was = this.#master;
    this.#master = this.#route.master = text;
    if (was !== null && was !== text) this.onNews(`The master is ${shown(text)} now; it was ${shown(was)}.`, 'good');
  }

  #onEnd(redis, error) {
    if (redis !== this.#redis || this.#isOver) return;
    drop(redis);
    this.#redis = null;
    this.#short = performance.now() - this.#begun < PAUSE.longest ? this.#short + 1 : 0;
    this.#next = deferred();
    this.onLost(error);
    this.#seek();
  }

  // -- asking ---------------------------------------------------------------------------------------------------------

  /** As of a WS2S.Redis. What is asked in one go of a master that is there goes to that in one go. */
  bytes(...words) {
    if (this.#isOver) return Promise.reject(new WS2SError(1, 'closed', 'the client has been closed'));
    return this.#redis ? this.#ask(this.#redis, words) : this.#askNext(words);
  }

  async #askNext(words) {
    return this.#ask(await this.#next.promise, words);
  }

  async #ask(redis, words) {
    try {
      return await redis.bytes(...words);
    } catch (error) {
      if (error instanceof RedisError && error.code === 'READONLY') this.#onEnd(redis, error);
      throw error;
    }
  }

  // -- subscriptions --------------------------------------------------------------------------------------------------

  subscribe(name, callback) {
    return this.#begin({kind: 'subscribe', name, callback});
  }

  psubscribe(name, callback) {
    return this.#begin({kind: 'psubscribe', name, callback});
  }

  unsubscribe(name, callback) {
    return this.#end('subscribe', name, callback);
  }

  punsubscribe(name, callback) {
    return this.#end('psubscribe', name, callback);
  }

  async #begin(subscription) {
    await this.#subscribe(this.#redis || await this.#next.promise, subscription);
    this.#subscriptions.push(subscription);
  }

  #subscribe(redis, {kind, name, callback}) {
    return redis[kind](name, callback);
  }

  async #end(kind, name, callback) {
    const isIt = each => each.kind === kind && each.name === name && (!callback || each.callback === callback);
    this.#subscriptions = this.#subscriptions.filter(each => !isIt(each));
    if (this.#redis) await this.#redis[kind.replace('sub', 'unsub')](name, callback);
  }

  async close() {
    this.#isOver = true;
    this.#wake();
    this.#next.reject(new WS2SError(1, 'closed', 'the client has been closed'));
    if (!this.#redis) return;
    this.#redis.onLost = this.#redis.onClose = ignore;
    await this.#redis.close();
  }
}

// Old servers do not know ROLE, and users may not be allowed to ask.
async function isMaster(redis) {
  try {
    const [role] = await redis.bytes('ROLE');
    return textOf(role) === 'master';
  } catch (error) {
    if (isUnknown(error) || isForbidden(error)) return true;
    throw error;
  }
}

/** To the master, wherever that is; `options` have `master`, its name, and `host` and `port` of a Sentinel. */
export class SentinelRoute extends ServerRoute {
  #url;
  #options;
  #guard;
  #finder;

  master = null;  // where it was last

  constructor(url, {master, host, port, ...options}, guard) {
    super();
    this.#url = url;
    this.#options = options;
    this.#guard = guard;
    this.#finder = new MasterFinder(each => this.#make(each), master, {host, port});
  }

  get where() {
    return this.master === null ? '' : `master ${shown(this.master)}`;
  }

  find() {
    return this.#finder.find();
  }

  #make(options) {
    return new GuardedRedis(this.#url, {...this.#options, ...options}, this.#guard);
  }

  client(options = {}) {
    return new MasterClient(this, address => this.#make({...options, ...address}));
  }

  async watch(events) {
    return watch(this.#url, {...this.#options, ...await this.find()}, events);
  }
}
