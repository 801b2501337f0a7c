/** A session with one Redis server: its connection, its database, what it can do, and changes that are safe. */

import {visible} from './page.mjs';
import {Redis, RedisError} from './ws2s.mjs';
import {textOf} from './redis-bytes.mjs';
import {parseInfo, keyspaceOf} from './redis-info.mjs';

const ERROR_CHARACTERS = 1000;
const TYPE_CHARACTERS = 60;
const NO_TRANSACTION = 'This change takes several commands, and this user may not make them as one (WATCH). '
  + 'Nothing was written.';

/** What somebody else has changed meanwhile: nothing was written. `isGone`: what was edited does not exist any more. */
export class ChangedError extends Error {
  constructor(message, isGone = false) {
    super(message);
    this.name = 'ChangedError';
    this.isGone = isGone;
  }
}

const SENTENCES = {
  NOAUTH: 'Redis wants a password.',
  WRONGPASS: 'Redis does not accept this username or password.',
  NOPERM: 'This user may not do that here.',
  NOPROTO: 'Redis does not speak that version of its protocol.',
  WRONGTYPE: 'The key holds another type of value than this command is for.',
  LOADING: 'Redis is loading its data. Try again in a moment.',
  BUSY: 'Redis is busy with a script. Try again in a moment.',
  READONLY: 'This server is a read-only replica. Connect to its primary to change something.',
  MISCONF: 'Redis takes no changes, because it cannot save them to disk.',
  OOM: 'Redis takes no changes, because its memory limit is reached.',
  MASTERDOWN: 'This server is a replica that has lost its primary.',
  MOVED: 'The key is on another node of the cluster. This page speaks to one node only: connect to that one.',
  ASK: 'The key is moving to another node of the cluster. This page speaks to one node only.',
  CROSSSLOT: 'These keys are on different nodes of the cluster.',
  CLUSTERDOWN: 'The cluster is down.',
  BUSYKEY: 'There is already a key with this name.',
  EXECABORT: 'Redis has refused the transaction.',
  DENIED: 'Redis is in protected mode: it takes connections without a password from its own machine only.',
};

/** A sentence for people about an error of Redis, in which the server's own words follow; null about other errors. */
export function sentenceOf(error) {
  if (error instanceof ChangedError) return error.message;
  if (!(error instanceof RedisError)) return null;
  const isNoPassword = error.code === 'ERR' && /without any password|no password is set/i.test(error.message);
  const known = Object.hasOwn(SENTENCES, error.code) ? SENTENCES[error.code] : 'Redis has answered with an error.';
  const sentence = isNoPassword ? 'This server has no password: connect without one.' : known;
  const {text: words, isCut} = visible(error.message, ERROR_CHARACTERS);
  return `${sentence} (${words}${isCut ? '…' : ''})`;
}

/** Does this server not know what it was asked for? Then there is an older way. */
export function isUnknown(error) {
  return error instanceof RedisError && /syntax error|unknown (sub)?command|wrong number of arg/i.test(error.message);
}

const ignore = () => {};
const text = reply => (reply instanceof Uint8Array ? textOf(reply) || '' : String(reply));

/** Connects once: resolves to a WS2S.Redis that is ready, rejects with why the first attempt has failed. */
function connected(url, options, signal) {
  return new Promise((resolve, reject) => {
    const client = new Redis(url, options);
    const fail = error => {
      client.onReady = client.onLost = client.onClose = ignore;
      client.close().catch(ignore);  // why it has failed is told by `error`
      reject(error);
    };
    client.onReady = () => resolve(client);
    client.onLost = fail;
    client.onClose = error => fail(error || new DOMException('Cancelled.', 'AbortError'));
    if (signal) signal.addEventListener('abort', () => fail(signal.reason), {once: true});
  });
}

/**
 * One connection to one database, made again by itself when it is lost.
 *
 * `events`: `lost(error)`, `ready()` when it is there again, `over(error)` when no more attempts are made.
 */
export class Session {
  #url;
  #options;
  #client;
  #events;
  #turn = Promise.resolve();  // changes are made one after the other: they use WATCH
  #whenReady = Promise.resolve();
  #wake = ignore;
  #giveUp = ignore;
  #losses = 0;

  /** What is known of the server; version is [0, 0] when it does not tell. */
  db = 0;
  databases = 16;
  version = [0, 0];
  isReady = true;
  isOver = false;
  isSelecting = false;
  knowsScanType = true;
  knowsKeepTtl = true;
  knowsUnlink = true;
  knowsFieldTtl = true;

  static async open(url, options, events, signal) {
    const session = new Session(url, options, events);
    session.db = Number(options.db || 0);
    await session.#adopt(await connected(url, options, signal), signal);
    return session;
  }

  constructor(url, options, events) {
    this.#url = url;
    this.#options = options;
    this.#events = events;
  }

  /** Ask Redis; bulk strings of the reply are bytes. */
  ask(...words) {
    return this.#client.bytes(...words);
  }

  /** Resolves as soon as the connection is there. Rejects when it will not be any more. */
  ready() {
    return this.#whenReady;
  }

  /** A connection of its own to the same database, for what would hold up everything else or change its state. */
  another(options = {}) {
    return new Redis(this.#url, {...this.#options, db: this.db, ...options});
  }

  /** Go to another database, by a new connection: it is also the one of later reconnects. */
  async select(db) {
    this.isSelecting = true;
    try {
      this.#replace(await connected(this.#url, {...this.#options, db}));
      this.db = db;
    } finally {
      this.isSelecting = false;
    }
  }

  #replace(client) {
    const unwanted = this.isOver ? client : this.#client;
    unwanted.onReady = unwanted.onLost = unwanted.onClose = ignore;
    unwanted.close().catch(ignore);  // it is not needed any more, in whatever way it ends
    if (this.isOver) throw new DOMException('Cancelled.', 'AbortError');
    this.#listen(client);
  }

  async close() {
    this.isOver = true;
    this.#giveUp(new DOMException('Cancelled.', 'AbortError'));
    this.#client.onLost = this.#client.onReady = this.#client.onClose = ignore;
    await this.#client.close();
  }

  async #adopt(client, signal) {
    this.#listen(client);
    try {
      await this.ask('PING');
      await this.#learn();
      if (signal) signal.throwIfAborted();
      if (this.isOver) await this.ready();  // rejects with why
    } catch (error) {
      await this.close();
      throw signal && signal.aborted ? signal.reason : error;
    }
  }

  #listen(client) {
    this.#client = client;
    this.isReady = true;
    this.#wake();
    client.onReady = () => this.#onReady();
    client.onLost = error => this.#onLost(error);
    client.onClose = error => this.#onOver(error);
  }

  #onReady() {
    this.isReady = true;
    this.#wake();
    this.#events.ready();
  }

  #onLost(error) {
    if (this.isReady) this.#expect();
    this.isReady = false;
    this.#losses++;
    this.#events.lost(error);
  }

  #onOver(error) {
    if (this.isReady) this.#expect();
    this.isReady = false;
    this.isOver = true;
    this.#giveUp(error);
    this.#events.over(error);
  }

  #expect() {
    this.#whenReady = new Promise((resolve, reject) => {
      this.#wake = resolve;
      this.#giveUp = reject;
    });
    this.#whenReady.catch(ignore);  // whoever waits gets it; nobody has to
  }

  // A user may be allowed neither; then the page does without.
  async #learn() {
    const [info, databases] = await Promise.allSettled([
      this.ask('INFO', 'server'), this.ask('CONFIG', 'GET', 'databases')]);
    if (info.status === 'fulfilled') this.#learnVersion(text(info.value));
    if (databases.status === 'fulfilled' && databases.value?.length === 2) {
      this.databases = Number(text(databases.value[1])) || this.databases;
    }
  }

  #learnVersion(info) {
    const found = /redis_version:(\d+)\.(\d+)/.exec(info);
    if (found) this.version = [Number(found[1]), Number(found[2])];
  }

  /** Databases that hold keys: `{db, keys}`; none where INFO is not allowed. */
  async keyspace() {
    try {
      return keyspaceOf(parseInfo(text(await this.ask('INFO', 'keyspace'))));
    } catch (error) {
      if (error instanceof RedisError) return [];
      throw error;
    }
  }

  // -- Changes --------------------------------------------------------------------------------------------------------

  /**
   * Change `key` only if it still is what was seen: of this `type`, and with `isSame(...replies)` true for the replies
   * to `reads`. All `writes` are made, or none. Gives their replies. Throws a ChangedError when it is not the same.
   */
  change(key, type, {reads = [], isSame = () => true, writes}) {
    const ask = this.#onOneConnection();
    const change = this.#turn.then(() => this.#change(ask, key, type, {reads, isSame, writes}));
    this.#turn = change.catch(ignore);  // the next one does not depend on how this one ends
    return change;
  }

  async #change(ask, key, type, {reads, isSame, writes}) {
    const isWatched = await this.#watch(ask, key);
    try {
      const [found, ...replies] = await Promise.all([ask('TYPE', key), ...reads.map(words => ask(...words))]);
      refuseOther(found, type);
      if (!isSame(...replies)) throw new ChangedError('Somebody has changed this meanwhile. Nothing was written.');
      return await this.#write(ask, typeof writes === 'function' ? writes(...replies) : writes, isWatched);
    } catch (error) {
      if (isWatched) ask('UNWATCH').catch(ignore);  // `error` is what counts
      throw wrongType(error);
    }
  }

  // WATCH counts on its own connection only, and the next one may be to another database.
  #onOneConnection() {
    const client = this.#client, losses = this.#losses;
    return async (...words) => {
      if (client === this.#client && losses === this.#losses) return client.bytes(...words);
      throw new ChangedError('The connection has changed meanwhile. Nothing was written.');
    };
  }

  // Users that may not use transactions get the same checks, only with a gap between them and the change.
  async #watch(ask, key) {
    try {
      await ask('WATCH', key);
      return true;
    } catch (error) {
      if (error instanceof RedisError && (error.code === 'NOPERM' || isUnknown(error))) return false;
      throw error;
    }
  }

  async #write(ask, writes, isWatched) {
    if (!isWatched && writes.length > 1) throw new ChangedError(NO_TRANSACTION);  // half of them could be made
    const calls = isWatched ? [['MULTI'], ...writes, ['EXEC']] : writes;
    // All in one go: nothing else of this connection comes between them.
    const outcomes = await Promise.allSettled(calls.map(words => ask(...words)));
    const failed = outcomes.find(({status}) => status === 'rejected');
    if (failed) throw failed.reason;
    const replies = isWatched ? outcomes[outcomes.length - 1].value : outcomes.map(({value}) => value);
    if (replies === null) throw new ChangedError('Somebody has changed this meanwhile. Nothing was written.');
    for (const reply of replies) if (reply instanceof RedisError) throw reply;
    return replies;
  }

  /** Delete a key, without making the server wait for it where it can do that. Was it there? */
  async remove(key) {
    try {
      return await this.ask(this.knowsUnlink ? 'UNLINK' : 'DEL', key) > 0;
    } catch (error) {
      if (!this.knowsUnlink || !isUnknown(error)) throw error;
      this.knowsUnlink = false;
      return this.remove(key);
    }
  }

  /** Set a string that exists, and keep its time to live. `isSame` and `reads` are as for change(). */
  async setString(key, value, guard) {
    if (this.knowsKeepTtl) {
      try {
        return await this.change(key, 'string', {...guard, writes: [['SET', key, value, 'KEEPTTL']]});
      } catch (error) {
        if (!isUnknown(error)) throw error;
        this.knowsKeepTtl = false;
      }
    }
    return this.#setStringOld(key, value, guard);
  }

  /** Set a field of a hash, and keep its time to live, which HSET takes away. The guard is as for change(). */
  async setField(key, field, value, guard) {
    const deadline = this.knowsFieldTtl ? await this.#fieldDeadline(key, field) : -1;
    const expire = ['HPEXPIREAT', key, deadline, 'FIELDS', 1, field];
    return this.change(key, 'hash', {...guard, writes: [['HSET', key, field, value], ...deadline > 0 ? [expire] : []]});
  }

  // Not positive: there is none.
  async #fieldDeadline(key, field) {
    try {
      const [deadline] = await this.ask('HPEXPIRETIME', key, 'FIELDS', 1, field) || [];
      return deadline ?? -1;
    } catch (error) {
      if (!(error instanceof RedisError)) throw error;
      if (isUnknown(error)) this.knowsFieldTtl = false;  // before 7.4
      return -1;
    }
  }

  #setStringOld(key, value, {reads = [], isSame = () => true}) {
    const set = ['SET', key, value];
    return this.change(key, 'string', {
      reads: [['PTTL', key], ...reads],
      isSame: (ttl, ...replies) => isSame(...replies),
      // 0 is less than a millisecond, not for ever.
      writes: ttl => (ttl >= 0 ? [set, ['PEXPIRE', key, ttl || 1]] : [set]),
    });
  }
}

function refuseOther(found, type) {
  if (found === type) return;
  if (type === 'none') throw new ChangedError('There is already a key of this name.');
  const news = found === 'none'
    ? 'This key does not exist any more: it was deleted, or its time has run out.'
    : `This key is a ${typeName(found)} now, no longer a ${typeName(type)}.`;
  throw new ChangedError(`${news} Nothing was written.`, true);
}

// A read may come to the new type before TYPE tells of it.
function wrongType(error) {
  return error instanceof RedisError && error.code === 'WRONGTYPE'
    ? new ChangedError('This key holds another type of value now. Nothing was written.', true)
    : error;
}

const TYPE_NAMES = {zset: 'sorted set', none: 'nothing'};

/** The name for people of what TYPE answers, which a server may make up. */
export function typeName(type) {
  return Object.hasOwn(TYPE_NAMES, type) ? TYPE_NAMES[type] : visible(String(type), TYPE_CHARACTERS).text;
}
