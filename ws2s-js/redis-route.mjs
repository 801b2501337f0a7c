/** The way of a session to its data: one server. Other ways: redis-cluster.mjs, redis-sentinel.mjs. */

import {GuardedRedis, ReadOnlyGuard} from './redis-guard.mjs';

/** See watchCommands(). */
export async function watch(...what) {
  const {watchCommands} = await import('./redis-watching.mjs');
  return watchCommands(...what);
}

/**
 * A *route* makes clients, all of which have its guard: what has `bytes()`, `subscribe()` and the like, `close()`,
 * `onReady`, `onLost` and `onClose` of a WS2S.Redis, and calls `onNews(text, kind)`, if it has any. This is what routes
 * to one server at a time have in common.
 */
export class ServerRoute {
  /** `host:port` of the nodes among which one may choose, and of the one that is chosen. */
  nodes = [];
  node = null;

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
}

/** Straight to the server. */
export class DirectRoute extends ServerRoute {
  #url;
  #options;
  #guard;

  /** Where the data are, if that is not what was asked for; ''. */
  where = '';

  constructor(url, options, guard) {
    super();
    this.#url = url;
    this.#options = options;
    this.#guard = guard;
  }

  client(options = {}) {
    return new GuardedRedis(this.#url, {...this.#options, ...options}, this.#guard);
  }

  /** MONITOR, of the chosen node. */
  watch(events) {
    return watch(this.#url, this.#options, events);
  }
}

/** What goes by a route, which may become another one: `route` and `routeBy()` are for subclasses. */
export class Routed {
  #url;
  #options;
  #guard;

  db = 0;
  route;

  /** `options` as of a Link. */
  constructor(url, {readOnly = false, ...options}, Route) {
    this.#url = url;
    this.#options = options;
    this.#guard = readOnly ? new ReadOnlyGuard() : null;
    this.db = Number(options.db || 0);
    this.route = this.routeBy(Route || DirectRoute);
  }

  routeBy(Route) {
    return new Route(this.#url, this.#options, this.#guard);
  }

  /** Is only sent what writes nothing? */
  get isReadOnly() {
    return this.#guard !== null;
  }

  /** Why this command would not be sent, or null. */
  refusal(...words) {
    return this.#guard ? this.#guard.refusal(words) : null;
  }

  /** What the server tells of its commands (the reply to COMMAND) says what else may be sent. */
  learnCommands(reply) {
    this.#guard?.learn(reply);
  }

  /** `host:port` of the nodes of a cluster. */
  get nodes() {
    return this.route.nodes;
  }

  /** The node that is asked what concerns one node; null where there is but one. */
  get node() {
    return this.route.node;
  }

  set node(address) {
    this.route.node = address;
  }

  /** Where the data are, if that is not what was asked for; ''. */
  get where() {
    return this.route.where;
  }

  /** A connection of its own to the same database, for what would hold up everything else or change its state. */
  another(options = {}) {
    return this.route.client({db: this.db, ...options});
  }

  /** As another(), for commands that somebody types. */
  commandLine() {
    return this.route.commandLine({db: this.db});
  }

  /** See watchCommands(). */
  watch(events) {
    return this.route.watch(events);
  }
}
