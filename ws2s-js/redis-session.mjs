/** A session with one Redis server: what it can do, and changes that are safe. */

import {visible} from './page.mjs';
import {RedisError} from './ws2s.mjs';
import {textOf} from './redis-bytes.mjs';
import {ChangedError, EndedError, endOf, isForbidden, isUnknown, ReadOnlyError} from './redis-errors.mjs';
import {parseInfo, keyspaceOf} from './redis-info.mjs';
import {Link} from './redis-link.mjs';

const TYPE_CHARACTERS = 60;
const NO_TRANSACTION = 'This change takes several commands, and this user may not make them as one (WATCH). '
  + 'Nothing was written.';
const NO_CHANGE = 'This connection is read-only. Nothing was sent.';
const ENDED_AT_WATCH = 'This change takes several commands, and the connection has ended at WATCH each time, so they '
  + 'cannot be made as one. Nothing was written.';

const ignore = () => {};
const text = reply => (reply instanceof Uint8Array ? textOf(reply) || '' : String(reply));

/** A Link, and what is known of the server behind it; version is [0, 0] when it does not tell. */
export class Session extends Link {
  #turn = Promise.resolve();  // changes are made one after the other: they use WATCH
  #unguarded = null;          // why WATCH was not to be had for the present change

  databases = 16;
  isCluster = false;
  isSentinel = false;
  version = [0, 0];
  knowsScanType = true;
  knowsKeepTtl = true;
  knowsUnlink = true;
  knowsFieldTtl = true;

  /** A user may be allowed to ask for neither; then the page does without. */
  async learn(signal) {
    const info = await this.#probe('INFO', 'server');
    if (info !== null) this.#learnVersion(text(info));
    const databases = await this.#probe('CONFIG', 'GET', 'databases');
    if (databases?.length === 2) this.databases = Number(text(databases[1])) || this.databases;
    else this.isCluster = /cluster_state:/.test(text(await this.#probe('CLUSTER', 'INFO')));
    if (this.isCluster) await this.#goToAll(signal);
    if (this.isReadOnly) this.learnCommands(await this.#probe('COMMAND'));
  }

  // Who may not ask for the slots has one node only.
  async #goToAll(signal) {
    this.databases = 1;
    const slots = await this.#probe('CLUSTER', 'SLOTS');
    if (!Array.isArray(slots) || !slots.length) return;
    const {ClusterRoute} = await import('./redis-cluster.mjs');
    await this.reroute(ClusterRoute, signal);
  }

  // null where a user may not ask for it, or a proxy does not know it: one by one, so that it is known which one.
  async #probe(...words) {
    try {
      return await this.ask(...words);
    } catch (error) {
      if (error instanceof RedisError) return null;
      if (!endOf(error)) throw error;
      await this.ready();  // of a server that is gone it rejects
      return null;
    }
  }

  #learnVersion(info) {
    const found = /redis_version:(\d+)\.(\d+)/.exec(info);
    if (found) this.version = [Number(found[1]), Number(found[2])];
    this.isCluster = /redis_mode:cluster/.test(info);
    this.isSentinel = /redis_mode:sentinel/.test(info);
  }

  /** Does the server have this command of a module? Old ones, and whoever does not tell its version, are not asked. */
  async knowsCommand(name) {
    if (this.version[0] < 4) return false;
    try {
      const [about] = await this.ask('COMMAND', 'INFO', name);
      return Array.isArray(about);
    } catch (error) {
      return false;  // not known: the question may be forbidden, or the connection lost, which others will tell
    }
  }

  /** Databases that hold keys: `{db, keys}`; none where INFO is not allowed. */
  async keyspace() {
    try {
      if (this.nodes.length) return [{db: 0, keys: await this.ask('DBSIZE')}];
      return keyspaceOf(parseInfo(text(await this.ask('INFO', 'keyspace'))));
    } catch (error) {
      if (error instanceof RedisError || endOf(error)) return [];
      throw error;
    }
  }

  // -- Changes --------------------------------------------------------------------------------------------------------

  /**
   * Change `key` only if it still is what was seen: of this `type`, and with `isSame(...replies)` true for the replies
   * to `reads`. All `writes` are made, or none. Gives their replies. Throws a ChangedError when it is not the same.
   */
  change(key, type, {reads = [], isSame = () => true, writes}) {
    if (this.isReadOnly) return Promise.reject(new ReadOnlyError(NO_CHANGE));
    const ask = this.onOneConnection(key);
    const change = this.#turn.then(() => this.#change(ask, key, type, {reads, isSame, writes}));
    this.#turn = change.catch(ignore);  // the next change does not depend on how this one ends
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

  // Users that may not use transactions get the same checks, only with a gap between them and the change.
  async #watch(ask, key) {
    try {
      await ask('WATCH', key);
      return true;
    } catch (error) {
      this.#unguarded = error instanceof EndedError ? ENDED_AT_WATCH : NO_TRANSACTION;
      if (isForbidden(error) || isUnknown(error) || error instanceof EndedError) return false;
      throw error;
    }
  }

  async #write(ask, writes, isWatched) {
    if (!isWatched && writes.length > 1) throw new ChangedError(this.#unguarded);  // half of them could be made
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
      const isOther = isUnknown(error) || isForbidden(error) || error instanceof EndedError;
      if (!this.knowsUnlink || !isOther) throw error;
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
      if (!(error instanceof RedisError || error instanceof EndedError)) throw error;
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
  throw new ChangedError(`${news} Nothing was written.`, true, found === 'none');
}

// A read may come to the new type before TYPE tells of it.
function wrongType(error) {
  return error instanceof RedisError && error.code === 'WRONGTYPE'
    ? new ChangedError('This key holds another type of value now. Nothing was written.', true)
    : error;
}

const TYPE_NAMES = {'zset': 'sorted set', 'none': 'nothing', 'ReJSON-RL': 'JSON'};

/** The name for people of what TYPE answers, which a server may make up. */
export function typeName(type) {
  return Object.hasOwn(TYPE_NAMES, type) ? TYPE_NAMES[type] : visible(String(type), TYPE_CHARACTERS).text;
}
