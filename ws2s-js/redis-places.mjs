/** Keeps the address of the Redis page and what is shown the same, so that links, Back and a new tab work. */

import {visible} from './page.mjs';
import {addressOf, placeOf, titleOf} from './redis-place.mjs';

const NAME_CHARACTERS = 60;

/**
 * `page`: `place` (where it is, or null) and `target` (a text); `connectTo(connection, db)`, `select(db)`, `open(key)`
 * and `closeKey()`, which go there, if they may; `tell(text)`. `connections`: `find(name)` and `wantsIdentity`.
 */
export class Places {
  #page;
  #connections;
  #window;
  #last = Promise.resolve();
  #isGoing = false;

  constructor(page, connections, window = globalThis) {
    this.#page = page;
    this.#connections = connections;
    this.#window = window;
    window.addEventListener('hashchange', () => this.follow());
  }

  /** Go where the address says, once all that is under way has ended. */
  follow() {
    const going = this.#last.then(() => this.#follow());
    this.#last = going.catch(() => {});  // the next step does not depend on how this one ends
    return going;
  }

  async #follow() {
    const {hash} = this.#window.location;
    if (hash.length < 2 || hash === addressOf(this.#page.place)) return;
    this.#isGoing = true;
    try {
      await this.#go(placeOf(hash));
    } finally {
      this.#isGoing = false;
      // What the address asks for and is not to be had stays there only while nothing else is shown.
      if (this.#page.place && this.#window.location.hash === hash) this.#write(false);
      this.#name();
    }
  }

  /** Go to a connection, as by a link. */
  choose(connection) {
    const address = addressOf({connection: connection.name, db: null, key: null});
    if (this.#window.location.hash !== address) this.#window.history.replaceState(null, '', address);
    return this.follow();
  }

  /** The page shows something else now. `isStep`: Back shall lead to what it has shown before. */
  note(isStep = true) {
    if (this.#isGoing) return;
    this.#write(isStep);
    this.#name();
  }

  /** After a login by hand: what the address asks for, if it is of this connection. Is there such? */
  resume() {
    const asked = placeOf(this.#window.location.hash);
    const isHere = asked !== null && asked.connection === this.#page.place?.connection;
    if (isHere && !this.#isGoing) this.follow();
    return isHere;
  }

  // No step leads back to where nothing was shown.
  #write(isStep) {
    const {history, location} = this.#window;
    const address = addressOf(this.#page.place);
    if (address === location.hash) return;
    const how = isStep && address && location.hash.length > 1 ? 'pushState' : 'replaceState';
    history[how](null, '', address || location.pathname + location.search);
  }

  #name() {
    this.#window.document.title = titleOf(this.#page.place, this.#page.target);
  }

  async #go(asked) {
    if (!asked) {
      this.#page.tell('This link is broken: it must read #connection/database/key.');
      return;
    }
    const connection = this.#connections.find(asked.connection);
    if (!connection) {
      this.#page.tell(this.#unknown(asked.connection));
      return;
    }
    if (this.#page.place?.connection !== asked.connection) await this.#page.connectTo(connection, asked.db);
    if (this.#page.place?.connection === asked.connection) await this.#goWithin(asked, connection);
  }

  #unknown(name) {
    const shown = visible(name, NAME_CHARACTERS).text;
    return this.#connections.wantsIdentity
      ? `The gateway names its connections, "${shown}" perhaps among them, only to those that it knows.`
      : `The gateway names no connection "${shown}" that may be used from here.`;
  }

  async #goWithin({db, key}, connection) {
    const wanted = db ?? connection.db;
    if (wanted !== this.#page.place.db) await this.#page.select(wanted);
    const {place} = this.#page;
    if (place?.db !== wanted || place.key === key) return;
    await (key === null ? this.#page.closeKey() : this.#page.open(key));
  }
}
