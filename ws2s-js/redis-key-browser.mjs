/** The view of keys: the list, what is done with many of them, and the one that is open; and what they tell. */

import {Databases} from './redis-databases.mjs';
import {KeyView} from './redis-key.mjs';
import {KeyList} from './redis-keys.mjs';
import {ManyKeys} from './redis-many.mjs';

const OLD_SESSION = ' This list is older than the connection, which was lost: refresh it.';
const OLD_COMMAND = ' This list is older than your last command: refresh it.';

const byId = id => document.getElementById(id);
const isNarrow = matchMedia('(max-width: 60rem)');

/** What the parts of the page know of it, as far as it is about keys. The rest is RedisPage. */
export class KeyBrowser {
  session = null;
  key = new KeyView(byId('key-detail'), this);
  keys = new KeyList(byId('key-browser'), this);
  many = new ManyKeys(byId('key-browser'), this, this.keys);
  databases = new Databases(byId('db'), this);

  #hasRunCommands = false;
  #hasWritten = false;

  // -- for a subclass -------------------------------------------------------------------------------------------------

  /** The page shows something else now, see Places. */
  note() {}

  /** Show the view of keys. */
  chooseKeys() {}

  mayLeaveKey() {
    return this.key.mayLeave();
  }

  setBusy(isBusy) {
    byId('panel-keys').inert = isBusy;
  }

  beginDatabase() {
    this.key.clear();
    this.keys.markOpened(null);
    this.databases.list();
    this.keys.search();
  }

  onDatabase() {
    this.beginDatabase();
    this.note();
  }

  // What was typed before the session has ended is still there.
  beginKeysAgain() {
    this.databases.list();
    this.keys.outdate(OLD_SESSION);
    this.key.check();
  }

  async showKeysAnew() {
    this.databases.list();
    this.keys.outdate(OLD_SESSION);
    if (this.key.isChanged) await this.key.check();
    else {
      await this.key.reload(
        'Connected again; the key was read anew.', 'Connected again. This key does not exist any more.');
    }
  }

  endKeys() {
    this.setBusy(false);
    this.many.end();
    this.keys.clear();
    this.key.clear();
  }

  /** Commands may have changed what is shown. */
  lookAnew() {
    if (this.#hasWritten) this.keys.outdate(OLD_COMMAND);
    if (this.#hasWritten) this.databases.list();
    if (this.#hasRunCommands && this.key.isChanged) this.key.check();
    else if (this.#hasRunCommands) this.key.reload();
    this.#hasRunCommands = this.#hasWritten = false;
  }

  // -- what the parts tell --------------------------------------------------------------------------------------------

  /** Go to another database. Gives the error when that fails. */
  select(db) {
    return this.databases.select(db);
  }

  async open(name, isByKeyboard) {
    const isOpen = await this.key.open(name);
    this.note();
    if (!isOpen) return;
    this.keys.markOpened(this.key.name);
    if (isByKeyboard) byId('key-title').focus();
    else if (isNarrow.matches) byId('key-detail').scrollIntoView({block: 'start'});
  }

  async closeKey() {
    if (!await this.key.mayLeave()) return;
    this.key.clear();
    this.keys.markOpened(null);
  }

  /** Open a key that another view has named. */
  showKey(name) {
    this.chooseKeys();
    return this.open(name, true);
  }

  make() {
    return this.key.make();
  }

  onMade(name) {
    this.keys.insert(name);
    this.keys.markOpened(name);
    this.databases.list();
    this.#noteSoon(true);
  }

  onCopied(name) {
    this.keys.insert(name);
    this.databases.list();
  }

  onGone(name) {
    this.keys.remove(name);
    this.databases.list();
    this.#noteSoon(false);
  }

  onRenamed(from, to) {
    this.keys.rename(from, to);
    this.#noteSoon(false);
  }

  // The view of the key tells of a change before it is the key that is shown.
  #noteSoon(isStep) {
    queueMicrotask(() => this.note(isStep));
  }

  /** Many keys may have come, gone or changed. */
  async onManyChanged() {
    if (!this.session) return;
    this.databases.list();
    await (this.key.isChanged ? this.key.check() : this.key.reload());
    if (this.session) this.keys.searchQuietly();
  }

  /** A command was run; it may have written something, unless `isRead`. */
  onCommand(isRead) {
    this.#hasRunCommands = true;
    this.#hasWritten = this.#hasWritten || !isRead;
    if (!byId('panel-keys').hidden) this.lookAnew();
  }

  /** The list is read anew: so are the sizes of the databases. */
  onRefresh() {
    this.databases.list();
  }
}
