/** The list of databases, and the way from one to another. */

import {element} from './page.mjs';
import {failure} from './redis-fields.mjs';
import {keyCount} from './redis-names.mjs';

const MOST_DATABASES = 1024;  // in a list

/**
 * `page`: `session`, `statuses`; `mayLeaveKey()`, `setBusy(isBusy)`, which keeps everybody from keys meanwhile, and
 * `onDatabase()`, when the session is in another one.
 */
export class Databases {
  #select;
  #page;
  #sizes = new WeakMap();  // as they were last known, by session

  constructor(select, page) {
    this.#select = select;
    this.#page = page;
    select.addEventListener('change', () => this.#onChange());
  }

  /** Show them, with their sizes as soon as these are known. */
  async list() {
    const {session} = this.#page;
    this.#show(this.#sizes.get(session) || new Map());
    const [keyspace] = await Promise.allSettled([session.keyspace()]);  // their sizes are there to help only
    if (session !== this.#page.session || keyspace.status === 'rejected') return;
    this.#sizes.set(session, new Map(keyspace.value.map(({db, keys}) => [db, keys])));
    this.#show(this.#sizes.get(session));
  }

  #show(sizes) {
    const {databases, db} = this.#page.session;
    const numbers = Array.from({length: Math.min(Math.max(databases, db + 1), MOST_DATABASES)}, (_, i) => i);
    if (!numbers.includes(db)) numbers.push(db);
    this.#select.replaceChildren(...numbers.map(number => element('option', {value: String(number)},
      sizes.has(number) ? `${number} (${keyCount(sizes.get(number))})` : String(number))));
    this.#select.value = String(db);
  }

  async #onChange() {
    const {session} = this.#page;
    const error = await this.select(Number(this.#select.value));
    if (session !== this.#page.session) return;
    if (error) this.#page.statuses.say(failure(error), error.name === 'AbortError' ? '' : 'bad');
    this.#select.value = String(session.db);
  }

  /** Go to another database. Gives the error when that fails. */
  async select(db) {
    const {session, statuses} = this.#page;
    if (db === session.db) return null;
    const cancelled = new DOMException('Cancelled.', 'AbortError');
    if (session.isOver || session.isSelecting || !await this.#page.mayLeaveKey()) return cancelled;
    statuses.say(`Going to database ${db}…`, 'busy');
    this.#page.setBusy(true);  // what is done there meanwhile would be lost, or meet another database
    const [{reason}] = await Promise.allSettled([session.select(db)]);
    if (session !== this.#page.session) return cancelled;
    this.#page.setBusy(false);
    if (reason) {
      if (/cluster mode/i.test(reason.message)) session.databases = 1;
      this.list();
      statuses.say('');
      return reason;
    }
    this.#page.onDatabase();
    statuses.say(`Database ${db}.`, 'good');
    return null;
  }
}
