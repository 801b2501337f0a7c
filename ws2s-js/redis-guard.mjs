/**
 * Read-only connections: what may not be sent is refused here, in the page, before anything is sent.
 *
 * A command passes only if it is known to write nothing: by the list below, or, for others (of modules, or newer), if
 * the server itself flags it `readonly` in its answer to COMMAND and neither its name nor a list below tells otherwise.
 * What the server flags `write` never passes, whatever is written here. All else is refused: what nobody knows, scripts
 * and functions that may write, what changes the server, its clients or its configuration, and PUBLISH.
 */

import {ReadOnlyError} from './redis-errors.mjs';
import {Redis} from './ws2s.mjs';

const words = text => new Set(text.trim().split(/\s+/));

const LOOKS = words(`
  ASKING AUTH BITCOUNT BITFIELD_RO BITPOS COMMAND DBSIZE DISCARD DUMP ECHO EVALSHA_RO EVAL_RO EXEC EXISTS EXPIRETIME
  FCALL_RO GEODIST GEOHASH GEOPOS GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GET GETBIT GETRANGE HELLO HEXISTS
  HEXPIRETIME HGET HGETALL HKEYS HLEN HMGET HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSTRLEN HTTL HVALS INFO KEYS LASTSAVE
  LCS LINDEX LLEN LOLWUT LPOS LRANGE MGET MONITOR MULTI PEXPIRETIME PING PSUBSCRIBE PTTL PUBSUB PUNSUBSCRIBE QUIT
  RANDOMKEY READONLY READWRITE RESET ROLE SCAN SCARD SDIFF SELECT SINTER SINTERCARD SISMEMBER SMEMBERS SMISMEMBER
  SORT_RO SRANDMEMBER SSCAN SSUBSCRIBE STRLEN SUBSCRIBE SUBSTR SUNION SUNSUBSCRIBE TIME TOUCH TTL TYPE UNSUBSCRIBE
  UNWATCH WAIT WAITAOF WATCH XINFO XLEN XPENDING XRANGE XREAD XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER ZINTERCARD ZLEXCOUNT
  ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN
  ZSCORE ZUNION`);

// Of commands that only hold others: which of those write nothing.
const LOOKS_WITHIN = {
  ACL: words('CAT DRYRUN GENPASS GETUSER HELP LIST LOG USERS WHOAMI'),
  CLIENT: words('CACHING GETNAME GETREDIR HELP ID INFO LIST SETINFO SETNAME TRACKING TRACKINGINFO'),
  CLUSTER: words(`COUNT-FAILURE-REPORTS COUNTKEYSINSLOT GETKEYSINSLOT HELP INFO KEYSLOT LINKS MYID MYSHARDID NODES
    REPLICAS SHARDS SLAVES SLOT-STATS SLOTS`),
  CONFIG: words('GET HELP'),
  FUNCTION: words('DUMP HELP LIST STATS'),
  LATENCY: words('DOCTOR GRAPH HELP HISTOGRAM HISTORY LATEST'),
  MEMORY: words('DOCTOR HELP MALLOC-STATS STATS USAGE'),
  MODULE: words('HELP LIST'),
  OBJECT: words('ENCODING FREQ HELP IDLETIME REFCOUNT'),
  SCRIPT: words('EXISTS HELP'),
  SENTINEL: words(`CKQUORUM GET-MASTER-ADDR-BY-NAME HELP INFO-CACHE MASTER MASTERS MYID REPLICAS SENTINELS
    SLAVES`),
  SLOWLOG: words('GET HELP LEN'),
  XGROUP: words('HELP'),
};

// What looks by its name, but does not with this word behind it.
const BUT = {ACL: ['LOG', 'RESET']};

// Redis flags some of these `readonly`, or nothing, although they may write: PFCOUNT stores what it has counted. Of the
// others no server is believed that they only look.
const WRITES = words(`
  APPEND BGREWRITEAOF BGSAVE BITFIELD BITOP BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN COPY DEBUG
  DECR DECRBY DEL DELEX EVAL EVALSHA EXPIRE EXPIREAT FAILOVER FCALL FLUSHALL FLUSHDB GEOADD GEORADIUS
  GEORADIUSBYMEMBER GEOSEARCHSTORE GETDEL GETEX GETSET HDEL HEXPIRE HEXPIREAT HGETDEL HGETEX HINCRBY HINCRBYFLOAT
  HMSET HPERSIST HPEXPIRE HPEXPIREAT HSET HSETEX HSETNX INCR INCRBY INCRBYFLOAT LINSERT LMOVE LMPOP LPOP LPUSH LPUSHX
  LREM LSET LTRIM MIGRATE MOVE MSET MSETEX MSETNX PERSIST PEXPIRE PEXPIREAT PFADD PFCOUNT PFDEBUG PFMERGE PFSELFTEST
  PSETEX PSYNC PUBLISH RENAME RENAMENX REPLCONF REPLICAOF RESTORE RESTORE-ASKING RPOP RPOPLPUSH RPUSH RPUSHX SADD
  SAVE SDIFFSTORE SET SETBIT SETEX SETNX SETRANGE SHUTDOWN SINTERSTORE SLAVEOF SMOVE SORT SPOP SPUBLISH SREM
  SUNIONSTORE SWAPDB SYNC TFCALL TFCALLASYNC TFUNCTION UNLINK XACK XACKDEL XADD XAUTOCLAIM XCLAIM XDEL XDELEX
  XREADGROUP XSETID XTRIM ZADD ZDIFFSTORE ZINCRBY ZINTERSTORE ZMPOP ZPOPMAX ZPOPMIN ZRANGESTORE ZREM ZREMRANGEBYLEX
  ZREMRANGEBYRANK ZREMRANGEBYSCORE ZUNIONSTORE`);

// Modules flag some of their commands `readonly` that change no key, but something else: FT.DICTADD, RG.PYEXECUTE.
const CHANGING = new RegExp('[.].*(ABORT|ADD|ALTER|CLEAR|CONFIG|CREATE|CURSOR|DEBUG|DEL|DROP|EXEC|FLUSH|INSERT|LOAD'
  + '|PUT|REFRESH|REGISTER|RESET|SET|STOP|STORE|SYNUPDATE|TRIGGER|UPDATE|WRITE)');

const INSTEAD = {
  EVAL: 'EVAL_RO', EVALSHA: 'EVALSHA_RO', FCALL: 'FCALL_RO', SORT: 'SORT_RO', BITFIELD: 'BITFIELD_RO',
  GEORADIUS: 'GEORADIUS_RO', GEORADIUSBYMEMBER: 'GEORADIUSBYMEMBER_RO',
};

const NAME_BYTES = 100;

// As Redis compares names: capitals of ASCII only. A longer name, or one with other bytes, is that of no command here.
function nameIn(word) {
  if (word instanceof Uint8Array) return word.length > NAME_BYTES ? '' : capitals(String.fromCharCode(...word));
  return word === undefined ? '' : capitals(String(word).slice(0, NAME_BYTES + 1));
}

function capitals(text) {
  return text.replace(/[a-z]/g, letter => letter.toUpperCase());
}

/** What may be sent over a connection that must change nothing. */
export class ReadOnlyGuard {
  #flags = new Map();  // sets of words by name in capitals: `SET`, `XGROUP|CREATE`

  /** What the server has answered to COMMAND; anything that makes no sense is left out. */
  learn(reply) {
    if (!Array.isArray(reply)) return;
    for (const command of reply) this.#learnOne(command);
  }

  #learnOne(command) {
    if (!Array.isArray(command)) return;
    const [name, , flags, , , , , , , within] = command;
    const called = name instanceof Uint8Array || typeof name === 'string' ? nameIn(name) : '';
    if (called !== '') this.#flags.set(called, flagsOf(flags));
    if (Array.isArray(within)) for (const each of within) this.#learnOne(each);
  }

  /** Why this command is not sent; null when it may be. */
  refusal(command) {
    const [name, second, third] = command.slice(0, 3).map(nameIn);
    return this.#mayPass(name || '', second || '', third || '') ? null : sentence(name || '', second || '');
  }

  #mayPass(name, second, third) {
    if (this.#has(name, 'write') || this.#has(`${name}|${second}`, 'write') || WRITES.has(name)) return false;
    if (Object.hasOwn(BUT, name) && BUT[name][0] === second && BUT[name][1] === third) return false;
    if (LOOKS.has(name)) return true;
    if (Object.hasOwn(LOOKS_WITHIN, name)) return LOOKS_WITHIN[name].has(second);
    if (CHANGING.test(name)) return false;
    const called = this.#flags.has(`${name}|${second}`) ? `${name}|${second}` : name;
    return this.#has(called, 'readonly') && !this.#has(called, 'admin') && !this.#has(called, 'may_replicate');
  }

  #has(name, flag) {
    return this.#flags.get(name)?.has(flag) === true;
  }

  /** Throws a ReadOnlyError for a command that may not be sent. */
  check(command) {
    const refused = this.refusal(command);
    if (refused) throw new ReadOnlyError(refused);
  }
}

// A server may tell them as simple strings, as bulk strings, or in a set (RESP3).
function flagsOf(reply) {
  const flags = reply instanceof Set ? [...reply] : Array.isArray(reply) ? reply : [];
  return new Set(flags.map(flag => nameIn(flag).toLowerCase()));
}

function sentence(name, second) {
  const within = Object.hasOwn(LOOKS_WITHIN, name) && /^[A-Z-]{1,30}$/.test(second) ? ` ${second}` : '';
  const shown = /^[!-~]{1,60}$/.test(name) ? name + within : 'this command';
  const instead = Object.hasOwn(INSTEAD, name) ? ` ${INSTEAD[name]} only looks.` : '';
  return `This connection is read-only, and ${shown} may change something, or is not known not to. Nothing was sent.`
    + instead;
}

/** A Redis client all of whose commands pass its guard first; null lets everything through. */
export class GuardedRedis extends Redis {
  #guard;

  constructor(url, options, guard) {
    super(url, options);
    this.#guard = guard;
  }

  async bytes(...command) {
    this.#guard?.check(command);
    return super.bytes(...command);
  }

  async multi(commands) {
    const list = Array.from(commands, command => [...command]);  // each can be gone through once, perhaps
    for (const command of list) this.#guard?.check(command);
    return super.multi(list);
  }
}
