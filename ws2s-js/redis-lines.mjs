/** What is typed at the command line, and what Redis answers, as text. */

import {History} from './history.mjs';
import {visible} from './page.mjs';
import {utf8, toEscaped, withoutCutCharacter} from './redis-bytes.mjs';
import {count} from './redis-names.mjs';

// -- Words ------------------------------------------------------------------------------------------------------------

const QUOTED = {n: '\n', r: '\r', t: '\t', b: '\b', a: '\x07'};

/** Reads the words of one line, as redis-cli does. */
class WordReader {
  #text;
  #at = 0;

  constructor(text) {
    this.#text = text;
  }

  words() {
    const words = [];
    for (this.#skipSpace(); this.#at < this.#text.length; this.#skipSpace()) words.push(this.#word());
    return words;
  }

  #skipSpace() {
    while (this.#isSpace()) this.#at++;
  }

  #isSpace() {
    return /\s/.test(this.#text.charAt(this.#at));
  }

  #word() {
    const bytes = [];
    while (this.#at < this.#text.length && !this.#isSpace()) {
      const character = this.#next();
      if (character === '"' || character === "'") this.#quoted(character, bytes);
      else bytes.push(...utf8(character));
    }
    return Uint8Array.from(bytes);
  }

  #next() {
    const character = String.fromCodePoint(this.#text.codePointAt(this.#at));
    this.#at += character.length;
    return character;
  }

  #quoted(quote, bytes) {
    for (;;) {
      if (this.#at >= this.#text.length) throw new SyntaxError('A quote is not closed.');
      const character = this.#next();
      if (character === quote) break;
      bytes.push(...(character === '\\' ? this.#escape(quote) : utf8(character)));
    }
    // redis-cli refuses it: most often it is a quote within quotes that should have been escaped.
    if (this.#at < this.#text.length && !this.#isSpace()) throw new SyntaxError('A space must follow a closing quote.');
  }

  // In double quotes as in C; in single quotes only the quote itself can be escaped.
  #escape(quote) {
    const letter = this.#text.charAt(this.#at);
    if (quote === "'" && letter !== "'") return utf8('\\');
    const hex = quote === '"' && /^x([0-9a-f]{2})/i.exec(this.#text.substr(this.#at, 3));
    if (hex) {
      this.#at += 3;
      return [parseInt(hex[1], 16)];
    }
    if (letter === '') return utf8('\\');  // the quote is not closed, which is told next
    const character = this.#next();
    return utf8(QUOTED[character] || character);
  }
}

/**
 * The words of a line, as bytes. Double quotes take `\n \r \t \b \a \xHH \" \\`, single quotes take `\'`. Throws a
 * SyntaxError where quotes are wrong.
 */
export function splitLine(line) {
  return new WordReader(line).words();
}

/** The lines of a text that hold anything. */
export function linesOf(text) {
  return text.split(/\r\n|[\r\n\u2028\u2029]/).filter(line => line.trim() !== '');
}

// What changes nothing that the page shows. All else may: scripts, modules, transactions.
const READS = new Set(`
  ACL AUTH BITCOUNT BITPOS CLIENT COMMAND DBSIZE DUMP ECHO EVALSHA_RO EVAL_RO EXISTS EXPIRETIME FCALL_RO GEODIST GEOHASH
  GEOPOS GEOSEARCH GET GETBIT GETRANGE HELLO HEXISTS HGET HGETALL HKEYS HLEN HMGET HRANDFIELD HSCAN HSTRLEN HVALS INFO
  KEYS LASTSAVE LATENCY LCS LINDEX LLEN LOLWUT LPOS LRANGE MEMORY MGET OBJECT PEXPIRETIME PFCOUNT PING PTTL PUBLISH
  PUBSUB RANDOMKEY ROLE SCAN SCARD SDIFF SINTER SINTERCARD SISMEMBER SLOWLOG SMEMBERS SMISMEMBER SORT_RO SRANDMEMBER
  SSCAN STRLEN SUBSTR SUNION TIME TTL TYPE UNWATCH WAIT WATCH XINFO XLEN XPENDING XRANGE XREAD XREVRANGE ZCARD ZCOUNT
  ZDIFF ZINTER ZINTERCARD ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX
  ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION`.trim().split(/\s+/));

/** Does this command only look? Takes its first word in capitals. */
export function isRead([name]) {
  return READS.has(name);
}

// -- Patterns ---------------------------------------------------------------------------------------------------------

/** What MATCH gets: a plain word is looked for anywhere; what has glob characters is used as it is. */
export function matchOf(pattern) {
  if (pattern === '') return '*';
  return /[*?[\]\\]/.test(pattern) ? pattern : `*${pattern}*`;
}

// -- Secrets and history ----------------------------------------------------------------------------------------------

const SECRETS = [
  /^auth /,
  /^hello .*auth /,
  /^config set .*(pass|auth|secret)/,
  /^acl setuser /,
  /^migrate .* auth2? /,
  /^sentinel .*(pass|auth)/,
];

// What is typed with a quote missing is secret, too.
function looseWords(line) {
  try {
    return splitLine(line).map(word => String.fromCharCode(...word.subarray(0, 100)));
  } catch (error) {
    return line.replace(/["']/g, '').trim().split(/\s+/);
  }
}

/** Does this line hold a password, or may it? Such lines are neither kept nor shown again. */
export function isSecret(line) {
  const words = looseWords(line).join(' ').toLowerCase() + ' ';
  return SECRETS.some(secret => secret.test(words));
}

/** A line as it may be shown: of one that may hold a password, only its first word. */
export function shownLine(line) {
  return isSecret(line) ? `${line.trim().split(/\s/, 1)[0]} (the rest is not shown)` : line;
}

/** The command lines that were typed, except those that may hold a password. */
export class CommandHistory extends History {
  add(line) {
    super.add(line.trim() === '' || isSecret(line) ? '' : line);
  }
}

// -- Replies ----------------------------------------------------------------------------------------------------------

// redis-cli prints the replies of these as they are: they are lines to read.
const RAW = [
  /^info$/, /^lolwut$/, /^cluster (nodes|info)$/, /^client (list|info)$/, /^memory (doctor|malloc-stats)$/,
  /^latency (doctor|graph|histogram)$/, /^debug (htstats|htstats-key)$/, /^proxy info$/,
];

/** Is the reply of this command a text of several lines? Takes its first two words. */
export function isTextReply(first, second = '') {
  const names = [first.toLowerCase(), `${first} ${second}`.toLowerCase()];
  return RAW.some(raw => names.some(name => raw.test(name)));
}

/** Prints replies as redis-cli does, as long as there is room. */
class Printer {
  #parts = [];
  #room;

  constructor(room) {
    this.#room = room;
  }

  text() {
    return this.#parts.join('');
  }

  #put(text) {
    this.#parts.push(text);
    this.#room -= text.length;
  }

  print(reply, prefix = '') {
    if (reply === null || reply === undefined) this.#put('(nil)');
    else if (reply instanceof Uint8Array) this.#string(reply);
    else if (reply instanceof Error) this.#put(`(error) ${this.#seen(reply.message)}`);
    else if (reply instanceof Map) this.#pairs([...reply], prefix);
    else if (reply instanceof Set) this.#items([...reply], prefix, '~', '(empty set)');
    else if (Array.isArray(reply)) this.#items(reply, prefix, ')', '(empty array)');
    else this.#put(typeof reply === 'string' ? this.#seen(reply) : scalar(reply));
  }

  #string(bytes) {
    const room = Math.max(0, this.#room);
    const shown = bytes.length > room ? withoutCutCharacter(bytes.subarray(0, room)) : bytes;
    this.#put(`"${toEscaped(shown, true).replaceAll('"', '\\"')}"`);
    if (shown !== bytes) this.#put(cutNote(bytes));
  }

  #seen(text) {
    return visible(text, Math.max(0, this.#room)).text;
  }

  #items(items, prefix, mark, empty) {
    this.#list(items, prefix, empty, (item, label, inner) => {
      this.#put(`${label}${mark} `);
      this.print(item, inner);
    });
  }

  #pairs(pairs, prefix) {
    this.#list(pairs, prefix, '(empty hash)', ([key, value], label, inner) => {
      this.#put(`${label}# `);
      this.print(typeof key === 'string' ? utf8(key) : key, inner);
      this.#put(' => ');
      this.print(value, inner);
    });
  }

  #list(items, prefix, empty, putItem) {
    if (!items.length) this.#put(empty);
    const digits = String(items.length).length;
    const inner = prefix + ' '.repeat(digits + 2);
    for (let i = 0; i < items.length; i++) {
      if (i) this.#put('\n' + prefix);
      if (this.#room <= 0) {
        this.#put(`… cut: ${count(items.length - i)} more`);
        return;
      }
      putItem(items[i], String(i + 1).padStart(digits), inner);
    }
  }
}

function scalar(reply) {
  if (typeof reply === 'boolean') return `(${reply})`;
  return typeof reply === 'bigint' || Number.isInteger(reply) ? `(integer) ${reply}` : `(double) ${reply}`;
}

/** A reply as redis-cli prints it, cut after about `room` characters, with a note. */
export function printReply(reply, room = 100000) {
  const printer = new Printer(room);
  printer.print(reply);
  return printer.text();
}

function cutNote(bytes) {
  return `… cut: ${count(bytes.length)} bytes in all`;
}

/** A reply of lines to read, as text: line ends stay, everything else that is not plain is escaped. */
export function printText(reply, room = 100000) {
  const bytes = reply instanceof Uint8Array ? reply : utf8(String(reply));
  const shown = bytes.length > room ? withoutCutCharacter(bytes.subarray(0, room)) : bytes;
  const text = visible(shown, Infinity, {lines: true}).text.replaceAll('\r\n', '\n').trimEnd();
  return shown === bytes ? text : `${text}\n${cutNote(bytes)}`;
}

// -- Names of commands ------------------------------------------------------------------------------------------------

/** For servers that do not tell their commands. */
export const COMMANDS = `
  ACL APPEND AUTH BGREWRITEAOF BGSAVE BITCOUNT BITFIELD BITFIELD_RO BITOP BITPOS BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH
  BZMPOP BZPOPMAX BZPOPMIN CLIENT CLUSTER COMMAND CONFIG COPY DBSIZE DECR DECRBY DEL DISCARD DUMP ECHO EVAL EVALSHA
  EVALSHA_RO EVAL_RO EXEC EXISTS EXPIRE EXPIREAT EXPIRETIME FAILOVER FCALL FCALL_RO FLUSHALL FLUSHDB FUNCTION GEOADD
  GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUSBYMEMBER GEOSEARCH GEOSEARCHSTORE GET GETBIT GETDEL GETEX GETRANGE GETSET
  HDEL HELLO HEXISTS HGET HGETALL HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HRANDFIELD HSCAN HSET HSETNX HSTRLEN HVALS
  INCR INCRBY INCRBYFLOAT INFO KEYS LASTSAVE LATENCY LCS LINDEX LINSERT LLEN LMOVE LMPOP LOLWUT LPOP LPOS LPUSH LPUSHX
  LRANGE LREM LSET LTRIM MEMORY MGET MIGRATE MODULE MONITOR MOVE MSET MSETNX MULTI OBJECT PERSIST PEXPIRE PEXPIREAT
  PEXPIRETIME PFADD PFCOUNT PFMERGE PING PSETEX PSUBSCRIBE PTTL PUBLISH PUBSUB PUNSUBSCRIBE QUIT RANDOMKEY READONLY
  READWRITE RENAME RENAMENX REPLICAOF RESET RESTORE ROLE RPOP RPOPLPUSH RPUSH RPUSHX SADD SAVE SCAN SCARD SCRIPT SDIFF
  SDIFFSTORE SELECT SET SETBIT SETEX SETNX SETRANGE SHUTDOWN SINTER SINTERCARD SINTERSTORE SISMEMBER SLAVEOF SLOWLOG
  SMEMBERS SMISMEMBER SMOVE SORT SORT_RO SPOP SPUBLISH SRANDMEMBER SREM SSCAN STRLEN SUBSCRIBE SUBSTR SUNION SUNIONSTORE
  SWAPDB TIME TOUCH TTL TYPE UNLINK UNSUBSCRIBE UNWATCH WAIT WATCH XACK XADD XAUTOCLAIM XCLAIM XDEL XGROUP XINFO XLEN
  XPENDING XRANGE XREAD XREADGROUP XREVRANGE XSETID XTRIM ZADD ZCARD ZCOUNT ZDIFF ZDIFFSTORE ZINCRBY ZINTER ZINTERCARD
  ZINTERSTORE ZLEXCOUNT ZMPOP ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANGESTORE ZRANK
  ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE
  ZUNION ZUNIONSTORE`.trim().split(/\s+/);

/** The names that complete what is typed, while it is the first word. */
export function completionsOf(line, names, limit = 8) {
  if (!/^\S+$/.test(line)) return [];
  const typed = line.toUpperCase();
  const matches = names.filter(name => name.startsWith(typed));
  return matches.length === 1 && matches[0] === typed ? [] : matches.slice(0, limit);
}
