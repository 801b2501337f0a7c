/** The Redis page: connects, and holds together what redis-*.mjs show. */

import {addressText, element, FieldError, Status, targetFields, visible} from './page.mjs';
import {closeDialogs, failure} from './redis-fields.mjs';
import {InfoView} from './redis-figures.mjs';
import {KeyView} from './redis-key.mjs';
import {KeyList} from './redis-keys.mjs';
import {keyCount} from './redis-names.mjs';
import {Prompt} from './redis-prompt.mjs';
import {Session} from './redis-session.mjs';

const MOST_DATABASES = 1024;  // in a list

const byId = id => document.getElementById(id);
const isNarrow = matchMedia('(max-width: 60rem)');

const EXTRA = [
  {name: 'username', label: 'Username (empty: default)', type: 'text', autocomplete: 'off'},
  {name: 'password', label: 'Password', type: 'password', autocomplete: 'off'},
  {name: 'db', label: 'Database', type: 'text', value: '0', remember: true, isShort: true, inputMode: 'numeric'},
];

function readDb(fields, text) {
  if (/^\d*$/.test(text) && Number(text) < 2 ** 31) return Number(text);
  throw fields.wrong('db', 'A database is a number: 0, 1, 2…');
}

/** What all parts of the page share, and what they tell each other. */
class RedisPage {
  session = null;
  target = '';
  status = new Status(byId('status'));

  #fields = targetFields(byId('connect-form'), {store: 'ws2s.redis', host: '127.0.0.1', port: '6379', extra: EXTRA});
  #attempt = null;
  #hasRunCommands = false;
  #keys = new KeyList(byId('key-browser'), this);
  #key = new KeyView(byId('key-detail'), this);
  #prompt = new Prompt(byId('panel-commands'), this);
  #info = new InfoView(byId('panel-info'), this);

  constructor() {
    byId('connect-form').addEventListener('submit', event => { event.preventDefault(); this.#connect(); });
    byId('connect-cancel').addEventListener('click', () => this.#attempt.abort());
    byId('disconnect').addEventListener('click', () => this.#onDisconnect());
    byId('db').addEventListener('change', () => this.#onDb());
    byId('tabs').addEventListener('click', event => this.#onTab(event.target.closest('[role=tab]')));
    byId('tabs').addEventListener('keydown', event => this.#onTabKey(event));
    addEventListener('beforeunload', event => { if (this.#key.isChanged) event.preventDefault(); });
  }

  // -- connecting -----------------------------------------------------------------------------------------------------

  #readTarget() {
    const {url, host, port, ssh, extra} = this.#fields.read();
    const {username, password} = extra;
    return {url, options: {
      host, port, ssh, db: readDb(this.#fields, extra.db),
      username: username || undefined, password: password || (username ? '' : undefined)}};
  }

  async #connect() {
    if (this.#attempt) return;
    let target;
    try {
      target = this.#readTarget();
    } catch (error) {
      this.status.say(failure(error), 'bad');
      if (error instanceof FieldError) error.field.focus();
      return;
    }
    await this.#open(target);
  }

  async #open({url, options}) {
    this.target = visible(addressText(options.host, options.port), 100).text;
    this.status.say(`Connecting to ${this.target}…`, 'busy');
    this.#setConnecting(new AbortController());
    try {
      this.session = await Session.open(url, options, this.#events(), this.#attempt.signal);
      this.#fields.remember();
      this.#begin();
    } catch (error) {
      this.status.say(failure(error), 'bad');
    }
    this.#setConnecting(null);
    if (!this.session) byId('connect').focus();
  }

  #setConnecting(attempt) {
    this.#attempt = attempt;
    this.#fields.disabled = attempt !== null;
    byId('connect').disabled = attempt !== null;
    byId('connect-cancel').hidden = attempt === null;
    if (attempt) byId('connect-cancel').focus();
  }

  #events() {
    return {
      lost: error => this.status.say(`The connection is lost, and tried again. ${failure(error)}`, 'bad'),
      ready: () => this.#onReconnected(),
      over: error => this.#end(error ? `Disconnected. ${failure(error)}` : 'Disconnected.', 'bad'),
    };
  }

  #begin() {
    const [major, minor] = this.session.version;
    byId('session-target').textContent = this.target;
    byId('session-version').textContent = major ? `Redis ${major}.${minor}` : '';
    this.#show(true);
    this.#onTab(byId('tab-keys'));
    this.status.say(`Connected to ${this.target}.`, 'good');
    this.#beginDatabase();
    byId('pattern').focus();
  }

  #show(isConnected) {
    byId('title').className = isConnected ? 'visually-hidden' : '';
    byId('connect-card').hidden = isConnected;
    byId('session-bar').hidden = byId('session').hidden = !isConnected;
  }

  #beginDatabase() {
    this.#key.clear();
    this.#listDatabases();
    this.#keys.search();
    this.#prompt.begin();
  }

  async #listDatabases() {
    const {session} = this;
    this.#showDatabases(new Map());
    const [keyspace] = await Promise.allSettled([session.keyspace()]);  // their sizes are there to help only
    if (session !== this.session || keyspace.status === 'rejected') return;
    this.#showDatabases(new Map(keyspace.value.map(({db, keys}) => [db, keys])));
  }

  #showDatabases(sizes) {
    const {databases, db} = this.session;
    const numbers = Array.from({length: Math.min(Math.max(databases, db + 1), MOST_DATABASES)}, (_, i) => i);
    if (!numbers.includes(db)) numbers.push(db);
    byId('db').replaceChildren(...numbers.map(number => element('option', {value: String(number)},
      sizes.has(number) ? `${number} (${keyCount(sizes.get(number))})` : String(number))));
    byId('db').value = String(db);
  }

  async #onReconnected() {
    this.status.say('Connected again.', 'good');
    if (this.#key.isChanged) return;
    await this.#key.reload(
      'Connected again; the key was read anew.', 'Connected again. This key does not exist any more.');
  }

  async #onDisconnect() {
    if (!await this.#key.mayLeave()) return;
    const {session} = this;
    this.#end('Disconnected.');
    if (session) await session.close();
  }

  #end(text, kind) {
    this.session = null;
    byId('panel-keys').inert = false;
    closeDialogs();
    this.#keys.clear();
    this.#key.clear();
    this.#prompt.end();
    this.#info.clear();
    this.#show(false);
    this.status.say(text, kind);
    this.#fields.field('host').focus();
  }

  // -- databases ------------------------------------------------------------------------------------------------------

  async #onDb() {
    const {session} = this;
    const error = await this.select(Number(byId('db').value));
    if (session !== this.session) return;
    if (error) this.status.say(failure(error), 'bad');
    byId('db').value = String(session.db);
  }

  /** Go to another database. Gives the error when that fails. */
  async select(db) {
    const {session} = this;
    if (db === session.db) return null;
    const cancelled = new DOMException('Cancelled.', 'AbortError');
    if (session.isSelecting || !await this.#key.mayLeave()) return cancelled;
    this.status.say(`Going to database ${db}…`, 'busy');
    byId('panel-keys').inert = true;  // what is done there meanwhile would be lost, or meet another database
    const [{reason}] = await Promise.allSettled([session.select(db)]);
    if (session !== this.session) return cancelled;
    byId('panel-keys').inert = false;
    if (reason) {
      this.status.say('');
      return reason;
    }
    this.#beginDatabase();
    this.status.say(`Database ${db}.`, 'good');
    return null;
  }

  // -- what the parts tell --------------------------------------------------------------------------------------------

  async open(name, isByKeyboard) {
    if (!await this.#key.open(name)) return;
    this.#keys.markOpened(this.#key.name);
    if (isByKeyboard) byId('key-title').focus();
    else if (isNarrow.matches) byId('key-detail').scrollIntoView({block: 'start'});
  }

  make() {
    return this.#key.make();
  }

  onMade(name) {
    this.#keys.insert(name);
    this.#keys.markOpened(name);
  }

  onGone(name) {
    this.#keys.remove(name);
  }

  onRenamed(from, to) {
    this.#keys.rename(from, to);
  }

  onCommand() {
    this.#hasRunCommands = true;
  }

  // -- tabs -----------------------------------------------------------------------------------------------------------

  #onTab(chosen) {
    if (!chosen) return;
    for (const tab of byId('tabs').children) {
      const isChosen = tab === chosen;
      tab.setAttribute('aria-selected', String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      byId(tab.getAttribute('aria-controls')).hidden = !isChosen;
    }
    this.#info.isShown = chosen.id === 'tab-info';
    // Commands may have changed what is shown.
    if (chosen.id === 'tab-keys' && this.#hasRunCommands && !this.#key.isChanged) this.#key.reload();
    if (chosen.id === 'tab-keys') this.#hasRunCommands = false;
  }

  #onTabKey(event) {
    const tabs = [...byId('tabs').children];
    const at = tabs.indexOf(event.target);
    const to = {ArrowRight: at + 1, ArrowLeft: at - 1 + tabs.length, Home: 0, End: tabs.length - 1}[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const tab = tabs[to % tabs.length];
    this.#onTab(tab);
    tab.focus();
  }
}

new RedisPage();
byId('unstarted').remove();
