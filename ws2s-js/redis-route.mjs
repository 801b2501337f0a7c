/** The way of a session to its data: one server. Other ways: redis-cluster.mjs, redis-sentinel.mjs. */

import {GuardedRedis} from './redis-guard.mjs';

/** See watchCommands(). */
export async function watch(...what) {
  const {watchCommands} = await import('./redis-watching.mjs');
  return watchCommands(...what);
}

/**
 * A *route* makes clients, all of which have its guard: what has `bytes()`, `subscribe()` and the like, `close()`,
 * `onReady`, `onLost` and `onClose` of a WS2S.Redis, and calls `onNews(text, kind)`, if it has any.
 */
export class DirectRoute {
  #url;
  #options;
  #guard;

  /** `host:port` of the nodes among which one may choose, and of the one that is chosen. */
  nodes = [];
  node = null;
  /** Where the data are, if that is not what was asked for; ''. */
  where = '';

  constructor(url, options, guard) {
    this.#url = url;
    this.#options = options;
    this.#guard = guard;
  }

  client(options = {}) {
    return new GuardedRedis(this.#url, {...this.#options, ...options}, this.#guard);
  }

  /** One for commands that somebody types: each is carried out as it stands. */
  commandLine(options) {
    return this.client(options);
  }

  /** What asks over one connection, on which WATCH counts, about this key. */
  connection(client) {
    return client;
  }

  /** `host:port` of the node that has a key, as a client knows it; null where there is but one. */
  async nodeOf() {
    return null;
  }

  /** MONITOR, of the chosen node. */
  watch(events) {
    return watch(this.#url, this.#options, events);
  }
}
