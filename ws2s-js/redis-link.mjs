/** A connection to one database of Redis, which is made again when it is lost. */

import {ChangedError, EndedError, endOf, isOfLogin, isTooMany, unproved} from './redis-errors.mjs';
import {Routed} from './redis-route.mjs';
import {Endings, Waits} from './redis-waits.mjs';
import {RedisError, WS2SError} from './ws2s.mjs';

const CONNECT_MILLISECONDS = 60000;

const ignore = () => {};

/** Connects once: resolves to a client that is ready, rejects with why its first attempt has failed. */
function connected(route, options, signal) {
  return new Promise((resolve, reject) => {
    const client = route.client(options);
    const fail = error => {
      silence(client);
      reject(error);
    };
    client.onReady = () => resolve(client);
    client.onLost = fail;
    client.onClose = error => fail(error || new DOMException('Cancelled.', 'AbortError'));
    signal.addEventListener('abort', () => fail(signal.reason), {once: true});
  });
}

/** Close a client whose fate nobody wants to know any more. */
function silence(client) {
  client.onReady = client.onLost = client.onClose = client.onNews = ignore;
  client.close().catch(ignore);
}

// Any answer but one about the login shows that Redis is there: users may be allowed little, and servers be busy.
async function prove(link) {
  try {
    await link.ask('PING');
  } catch (error) {
    const isProof = error instanceof RedisError && !isOfLogin(error) && !isTooMany(error);
    if (!isProof && !(error instanceof EndedError)) throw error;
  }
}

// Some proxies end the connection at PING.
async function proveOtherwise(link, error) {
  if (endOf(error) !== 'PING') throw error;
  await link.ready();
  try {
    await link.ask('ECHO', 'ws2s');
  } catch (other) {
    if (!(other instanceof RedisError)) throw error;
  }
}

/** Gives the value of `task(signal)`, which ends when `signal` does, or after CONNECT_MILLISECONDS. */
async function inTime(task, signal) {
  const stop = new AbortController();
  const onAbort = () => stop.abort(signal.reason);
  const timer = setTimeout(() => stop.abort(new WS2SError(3, 'timeout', 'no answer in time')), CONNECT_MILLISECONDS);
  if (signal) signal.addEventListener('abort', onAbort);
  try {
    return await task(stop.signal);
  } finally {
    clearTimeout(timer);
    if (signal) signal.removeEventListener('abort', onAbort);
  }
}

/** A time without a connection; `over` is a promise of its end. */
class Absence {
  #since = performance.now();

  constructor() {
    this.over = new Promise((resolve, reject) => {
      this.end = resolve;
      this.giveUp = reject;
    });
    this.over.catch(ignore);  // whoever waits gets it; nobody has to
  }

  get seconds() {
    return (performance.now() - this.#since) / 1000;
  }
}

/**
 * One connection to one database, made again by itself when it is lost.
 *
 * `events`: `lost(error)`, `ready(news)` when it is there again, `over(error)` when no more attempts are made,
 * `avoiding()` when `avoided` is another list, `news(text, kind)` of what has changed behind it; none of them before
 * open() has resolved. The news of ready() are a text, or empty.
 *
 * `options` are those of a WS2S.Redis; with `readOnly` only what writes nothing is sent, see redis-guard.mjs; with
 * `master` they lead to a Sentinel. All clients are made by a route, see redis-route.mjs, and have the guard.
 */
export class Link extends Routed {
  #client;
  #news = '';  // while it is lost
  #events;
  #absence = null;  // the last one, which may be over
  #losses = 0;
  #waits = new Waits();
  #endings = new Endings(() => { if (this.#isKnown) this.#events.avoiding(); });
  #isKnown = false;  // open() has resolved
  #isWatching = false;

  isReady = true;
  isOver = false;
  isSelecting = false;

  static async open(url, options, events, signal) {
    const Route = options.master && (await import('./redis-sentinel.mjs')).SentinelRoute;
    const link = new this(url, options, events, Route);
    await inTime(async stop => link.#adopt(await connected(link.route, {db: link.db}, stop), stop), signal);
    link.#isKnown = true;
    return link;
  }

  constructor(url, options, events, Route) {
    super(url, options, Route);
    this.#events = events;
  }

  /** Go another way to the same: `Route` is a class of routes. */
  async reroute(Route, signal) {
    const route = this.routeBy(Route);
    this.#replace(await inTime(stop => connected(route, {db: this.db}, stop), signal));
    this.route = route;
  }

  /** `host:port` of the node that has a key; null where there is but one. */
  nodeOf(key) {
    return this.route.nodeOf(this.#client, key);
  }

  /** What a subclass asks first; `signal` ends that. */
  async learn() {}

  /** Ask Redis; bulk strings of the reply are bytes. */
  ask(...words) {
    return this.#ask(this.#client, words);
  }

  async #ask(client, words) {
    const name = String(words[0]);
    if (this.isOver) throw new EndedError(name, 'There is no connection any more. Nothing was sent.');
    this.#endings.check(name);
    const wait = this.#waits.begin(name);
    try {
      const reply = await client.bytes(...words);
      this.#endings.onReply(name);
      return reply;
    } catch (error) {
      this.#endings.onFailure(name, error);
      throw error;
    } finally {
      this.#waits.end(wait);
    }
  }

  /** What has waited longest for its answer, and since when: `{name, seconds}`, or null. */
  get wait() {
    return this.isReady ? this.#waits.longest : null;
  }

  /** The commands that are asked no more, as the other side ends the connection at them. */
  get avoided() {
    return this.#endings.avoided;
  }

  /** For how many seconds there has been no connection; null while there is one. */
  get secondsLost() {
    return this.isReady ? null : this.#absence.seconds;
  }

  /** Give this connection up, and make another one. What is not answered yet fails. */
  renew(error = new WS2SError(1, 'gateway-lost', 'no answer in time')) {
    if (this.isOver) return;
    const unwanted = this.#client;
    this.#onLost(error);
    this.#attach(this.route.client({db: this.db}));
    silence(unwanted);
  }

  /** Resolves as soon as the connection is there. Rejects when it will not be any more. */
  ready() {
    return Promise.resolve(this.#absence?.over);
  }

  /** Go to another database, by a new connection: it is also the one of later reconnects. */
  async select(db) {
    this.isSelecting = true;
    try {
      this.#replace(await inTime(stop => connected(this.route, {db}, stop)));
      this.db = db;
    } finally {
      this.isSelecting = false;
    }
  }

  #replace(client) {
    silence(this.isOver ? client : this.#client);
    if (this.isOver) throw new DOMException('Cancelled.', 'AbortError');
    this.#listen(client);
  }

  async close() {
    this.isOver = true;
    this.#absence?.giveUp(new DOMException('Cancelled.', 'AbortError'));
    this.#client.onLost = this.#client.onReady = this.#client.onClose = this.#client.onNews = ignore;
    await this.#client.close();
  }

  /** An ask() about `key` for this connection only: WATCH counts on no other. */
  onOneConnection(key) {
    const client = this.#client, losses = this.#losses, connection = this.route.connection(client, key);
    return async (...words) => {
      if (client === this.#client && losses === this.#losses) return this.#askWatching(connection, words);
      throw new ChangedError('The connection has changed meanwhile. Nothing was written.');
    };
  }

  async #askWatching(client, words) {
    if (words[0] === 'WATCH') {
      this.#endings.check('WATCH');
      this.#isWatching = true;
    }
    const reply = await this.#ask(client, words);
    if (words[0] === 'EXEC' || words[0] === 'UNWATCH') this.#isWatching = false;
    return reply;
  }

  // A client refuses what follows a WATCH that was lost; here that is the business of onOneConnection(). DISCARD ends
  // that without being sent: a proxy that does not know WATCH might end the connection at UNWATCH, too.
  #endWatching(client) {
    if (this.#isWatching) client.bytes('DISCARD').catch(ignore);
    this.#isWatching = false;
  }

  async #adopt(client, signal) {
    this.#listen(client);
    try {
      await prove(this).catch(error => proveOtherwise(this, error));
      await this.learn(signal);
      signal.throwIfAborted();
      if (this.isOver) await this.ready();  // rejects with why
    } catch (error) {
      const reason = this.isOver ? await this.ready().catch(why => why) : error;
      await this.close();
      throw unproved(signal.aborted ? signal.reason : reason);
    }
  }

  #listen(client) {
    this.#attach(client);
    this.isReady = true;
    this.#absence?.end();
  }

  #attach(client) {
    this.#isWatching &&= client === this.#client;
    this.#client = client;
    client.onReady = () => this.#onReady(client);
    client.onLost = error => this.#onLost(error);
    client.onClose = error => this.#onOver(error);
    client.onNews = (text, kind) => this.#onNews(text, kind);
  }

  #onNews(text, kind) {
    if (!this.isReady) this.#news = text;
    else if (this.#isKnown) this.#events.news(text, kind);
  }

  // A login may have become a wrong one meanwhile: without a password only the first answer tells.
  async #onReady(client) {
    const losses = this.#losses;
    this.#endWatching(client);
    try {
      await prove(this);
    } catch (error) {
      if (client === this.#client && error instanceof RedisError && !isTooMany(error)) {
        silence(client);
        this.#onOver(error);
      }
      return;  // of the loss of this connection, too, there are events
    }
    if (client !== this.#client || losses !== this.#losses || this.isOver) return;
    this.isReady = true;
    this.#waits.restart();
    this.#absence?.end();
    const news = this.#news;
    this.#news = '';
    if (this.#isKnown) this.#events.ready(news);
  }

  #onLost(error) {
    if (this.isReady) this.#absence = new Absence();
    this.isReady = false;
    this.#losses++;
    if (this.#isKnown) this.#events.lost(error);
  }

  #onOver(error) {
    if (this.isReady) this.#absence = new Absence();
    this.isReady = false;
    this.isOver = true;
    this.#absence.giveUp(error);
    if (this.#isKnown) this.#events.over(error);
  }
}
