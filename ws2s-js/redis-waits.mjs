/** What was asked and is not answered yet, and commands at which a server, or a proxy, ends the connection. */

import {EndedError, isAtEnd, noteEnd} from './redis-errors.mjs';
import {RedisError} from './ws2s.mjs';

// The page does without them: one end is enough to ask no more for them, unless they were answered before.
const OPTIONAL = new Set(['PING', 'ECHO', 'INFO', 'CONFIG', 'COMMAND', 'OBJECT', 'MEMORY', 'DBSIZE', 'HPEXPIRETIME']);
// Of other commands, without an answer in between: a server may have been restarted just then, or something on the way
// may have forgotten a connection that was idle.
const MOST_ENDS = 2;

/** At which commands the other side has ended the connection, and how often. */
export class Endings {
  #counts = new Map();
  #answered = new Set();
  #last = null;  // the end that was counted last: what was asked behind that command fails with it, too
  #onChange;

  /** `onChange()`: other commands may be avoided now. */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** The commands for which check() throws. */
  get avoided() {
    return [...this.#counts.keys()].filter(name => this.#isAvoided(name));
  }

  #isAvoided(name) {
    return (this.#counts.get(name) || 0) >= (OPTIONAL.has(name) && !this.#answered.has(name) ? 1 : MOST_ENDS);
  }

  /** Throws an EndedError for a command that would end the connection again. */
  check(name) {
    if (!this.#isAvoided(name)) return;
    throw new EndedError(name, `The server ends the connection at ${name}, so it is not asked again. If that has `
      + 'changed, disconnect and connect anew.');
  }

  onReply(name) {
    this.#answered.add(name);
    if (this.#counts.delete(name)) this.#onChange();
  }

  onFailure(name, error) {
    if (error instanceof RedisError) this.onReply(name);
    if (!isAtEnd(error)) return;
    const isBehind = error.cause === this.#last;
    noteEnd(error, isBehind ? null : name);
    if (isBehind) return;
    this.#last = error.cause;
    this.#counts.set(name, (this.#counts.get(name) || 0) + 1);
    this.#onChange();
  }
}

/** What was asked, in its order. */
export class Waits {
  #open = new Set();

  begin(name) {
    const wait = {name, since: performance.now()};
    this.#open.add(wait);
    return wait;
  }

  end(wait) {
    this.#open.delete(wait);
  }

  /** What waits is asked only now. */
  restart() {
    for (const wait of this.#open) wait.since = performance.now();
  }

  get longest() {
    const [wait] = this.#open;
    return wait ? {name: wait.name, seconds: (performance.now() - wait.since) / 1000} : null;
  }
}
