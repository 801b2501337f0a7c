/** The Redis page: connects, and holds together what redis-*.mjs show. */

import {admitted} from './admission.mjs';
import {ConnectButton, element, FieldError, guardLeaving, visible} from './page.mjs';
import {ConnectionList, Connections, showConnection, targetOf} from './redis-connections.mjs';
import {bindDialogs, closeDialogs, freeDialogs, hasTypedDialog} from './redis-dialog.mjs';
import {failure} from './redis-fields.mjs';
import {InfoView} from './redis-figures.mjs';
import {KeyView} from './redis-key.mjs';
import {KeyList} from './redis-keys.mjs';
import {ManyKeys} from './redis-many.mjs';
import {keyCount} from './redis-names.mjs';
import {NodesView} from './redis-nodes.mjs';
import {OperatorView} from './redis-operator.mjs';
import {Places} from './redis-places.mjs';
import {Prompt} from './redis-prompt.mjs';
import {Session} from './redis-session.mjs';
import {AvoidedView, LinkView, ViewStatus} from './redis-status.mjs';
import {Tabs} from './redis-tabs.mjs';
import {fields} from './redis-start.mjs';
import {addressText} from './targets.mjs';

const ADDRESS_CHARACTERS = 100;
const MOST_DATABASES = 1024;  // in a list

const OLD_SESSION = ' This list is older than the connection, which was lost: refresh it.';

const byId = id => document.getElementById(id);
const isNarrow = matchMedia('(max-width: 60rem)');

function readTarget(fields) {
  const {url, extra, ...way} = fields.read();
  const {username, password, master} = extra;
  return {url, options: {
    ...way, db: readDb(fields, extra.db), master: master || undefined,
    username: username || undefined, password: password || (username ? '' : undefined)}};
}

function readDb(fields, text) {
  if (/^\d*$/.test(text) && Number(text) < 2 ** 31) return Number(text);
  throw fields.wrong('db', 'A database is a number: 0, 1, 2…');
}

// Whatever leads to another server, database or user.
function wayOf({url, options: {host, port, ssh, tls, db, username, master}}) {
  const secure = tls && [tls.servername];
  return JSON.stringify([url, host, port, ssh?.host, ssh?.port, ssh?.username, secure, db, username, master]);
}

function labelOf({host, port, tls, master}) {
  const how = !tls ? '' : tls.verify === false ? ' (TLS, not verified)' : ' (TLS)';
  const by = master ? `${master} by Sentinel ` : '';
  return visible(by + addressText(host, port), ADDRESS_CHARACTERS).text + how;
}

/** What all parts of the page share, and what they tell each other. */
class RedisPage {
  session = null;
  target = '';
  connection = null;  // of the gateway's configuration, if the session is by one
  statuses = new ViewStatus(byId('status'));
  status = this.statuses.of('tab-keys');
  commandStatus = this.statuses.of('tab-commands');
  infoStatus = this.statuses.of('tab-info');
  operatorStatus = this.statuses.of('tab-operator');

  #fields = fields;
  #button = new ConnectButton(byId('connect'));
  #attempt = null;
  #way = '';              // to the last server: all that was filled in but secrets
  #hasRunCommands = false;
  #hasWritten = false;
  #keys = new KeyList(byId('key-browser'), this);
  #many = new ManyKeys(byId('key-browser'), this, this.#keys);
  #key = new KeyView(byId('key-detail'), this);
  #prompt = new Prompt(byId('panel-commands'), this);
  #info = new InfoView(byId('panel-info'), this);
  #operator = new OperatorView(byId('panel-operator'), this);
  #link;
  #avoided = new AvoidedView(byId('avoided'), this);
  #nodes = new NodesView(byId('session-nodes'), this, () => this.#onNode());
  #tabs = new Tabs(byId('tabs'), name => this.#onTab(name));
  #connections = new Connections();
  #offered = new ConnectionList(byId('connection-list'), this.#connections, {
    onChosen: connection => this.#places.choose(connection),
    onAsked: () => this.#offer(fields.field('token').value.trim()),
  });
  #places = new Places(this, this.#connections);
  #sizes = new WeakMap();  // of databases, as they were last known, by session

  constructor() {
    byId('connect-form').addEventListener('submit', event => { event.preventDefault(); this.#connect(); });
    byId('connect-cancel').addEventListener('click', () => this.#attempt.abort());
    byId('disconnect').addEventListener('click', () => this.#onDisconnect());
    byId('db').addEventListener('change', () => this.#onDb());
    guardLeaving(() => this.#isUnsaved || this.#prompt.isTyped || this.#many.isBusy);
    addEventListener('pageshow', event => { if (event.persisted) this.#onReturn(); });
    this.#link = new LinkView(byId('link'), this);
    this.#offer();
  }

  // -- places ---------------------------------------------------------------------------------------------------------

  /** Where the page is, see redis-place.mjs; null without a session. */
  get place() {
    return this.session && {
      connection: this.connection && this.connection.name, db: this.session.db, key: this.#key.name};
  }

  // A link may have led here.
  async #offer(token) {
    await this.#connections.load(token);
    this.#offered.show();
    await this.#places.follow();
  }

  /** Go to a connection that the gateway offers, if what is typed for another one may be left. */
  async connectTo(connection, db) {
    if (this.session && !await this.#mayGo('')) return;
    this.#fields.show(targetOf(connection, db ?? connection.db));
    await this.#connect(connection.name);
  }

  async closeKey() {
    if (!await this.#key.mayLeave()) return;
    this.#key.clear();
    this.#keys.markOpened(null);
  }

  tell(text) {
    this.statuses.say(text, 'bad');
  }

  // -- connecting -----------------------------------------------------------------------------------------------------

  async #connect(name = this.connection?.name) {
    if (this.#attempt) return;
    let target;
    try {
      target = readTarget(this.#fields);
      target.connection = this.#connections.of(target, name);
      target.options.readOnly = target.connection?.readOnly || false;
    } catch (error) {
      this.statuses.say(failure(error), 'bad');
      if (error instanceof FieldError) error.field.focus();
      return;
    }
    if (await this.#mayGo(wayOf(target))) await this.#open(target);
  }

  // What was typed for one server must not be lost for another, nor be saved there.
  async #mayGo(way) {
    if (!this.session || way === this.#way) return true;
    if (hasTypedDialog()) {
      this.statuses.say('What is typed in the open dialog is for another server: save it there, or cancel it.', 'bad');
      return false;
    }
    if (!await this.#key.mayLeave()) return false;
    this.#end('');
    return true;
  }

  async #open(target) {
    const {url, options} = target;
    this.target = labelOf(options);
    this.statuses.say(`Connecting to ${this.target}…`, 'busy');
    this.#setConnecting(new AbortController());
    const isKept = this.session !== null;
    let next = byId('connect');
    try {
      const open = () => Session.open(url, options, this.#events(), this.#attempt.signal);
      this.session = await admitted(open, {url, ...options}, this.#fields);
      this.connection = target.connection;
      this.#fields.remember();
      this.#begin(wayOf(target), isKept);
    } catch (error) {
      this.statuses.say(failure(error), error.name === 'AbortError' ? '' : 'bad');
      this.#button.offerRetry(error.name !== 'AbortError');
      next = error.field || next;
    }
    this.#setConnecting(null);
    if (!this.session) next.focus();
  }

  #setConnecting(attempt) {
    this.#attempt = attempt;
    this.#fields.disabled = attempt !== null;
    byId('connect').disabled = attempt !== null;
    byId('connection-list').inert = attempt !== null;
    byId('connect-cancel').hidden = attempt === null;
    if (attempt) byId('connect-cancel').focus();
  }

  #events() {
    return {
      lost: error => this.#onLost(error),
      ready: news => this.#onReconnected(news),
      news: (text, kind) => this.#onNews(text, kind),
      over: error => this.#onOver(error),
      avoiding: () => this.#avoided.show(),
    };
  }

  #begin(way, isKept) {
    const [major, minor] = this.session.version;
    if (way !== this.#way) this.#keys.forgetFilter();
    if (way !== this.#way) this.#prompt.clear();
    this.#way = way;
    byId('session-target').textContent = this.target;
    showConnection(byId('session-place'), this.connection);
    byId('session-version').textContent = major ? `Redis ${major}.${minor}` : '';
    this.#button.offerRetry(false);
    this.#show(true);
    this.#avoided.show();
    this.#nodes.show();
    if (isKept) this.#beginAgain();
    else this.#beginDatabase();
    if (!this.#places.resume()) this.#places.note();
    if (isKept) return;
    this.#tabs.choose(byId('tab-keys'));
    this.statuses.say(`Connected to ${this.target}.`, 'good');
    byId('pattern').focus();
  }

  // What was typed before the session has ended is still there.
  #beginAgain() {
    bindDialogs();
    this.#listDatabases();
    this.#keys.outdate(OLD_SESSION);
    this.#prompt.begin();
    this.#key.check();
    this.statuses.say(`Connected to ${this.target} again. What you have typed is still here.`, 'good');
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
    this.#showDatabases(this.#sizes.get(session) || new Map());
    const [keyspace] = await Promise.allSettled([session.keyspace()]);  // their sizes are there to help only
    if (session !== this.session || keyspace.status === 'rejected') return;
    this.#sizes.set(session, new Map(keyspace.value.map(({db, keys}) => [db, keys])));
    this.#showDatabases(this.#sizes.get(session));
  }

  #showDatabases(sizes) {
    const {databases, db} = this.session;
    const numbers = Array.from({length: Math.min(Math.max(databases, db + 1), MOST_DATABASES)}, (_, i) => i);
    if (!numbers.includes(db)) numbers.push(db);
    byId('db').replaceChildren(...numbers.map(number => element('option', {value: String(number)},
      sizes.has(number) ? `${number} (${keyCount(sizes.get(number))})` : String(number))));
    byId('db').value = String(db);
  }

  #onLost(error) {
    this.statuses.failure = '';
    this.statuses.say(`The connection is lost, and tried again. ${failure(error)}`, 'bad');
    this.#link.show();
  }

  // What has failed with the connection must not be hidden by its return.
  async #onReconnected(news) {
    const {failure: failed} = this.statuses;
    this.#nodes.show();
    await this.#showAnew();
    const told = [news, failed].filter(Boolean);
    if (told.length) this.statuses.say(`Connected again. ${told.join(' ')}`, failed ? 'bad' : 'good');
  }

  // Something has changed behind the connection, which is still there.
  async #onNews(text, kind) {
    this.#nodes.show();
    this.statuses.say(text, kind);
    if (kind !== 'good') return;
    this.#keys.outdate(' This list is older than the last change of the cluster: refresh it.');
    await (this.#key.isChanged ? this.#key.check() : this.#key.reload());
    this.statuses.say(text, kind);
  }

  // The panels show what the other node had told.
  #onNode() {
    this.#prompt.begin();
    this.#info.clear();
    this.#operator.clear();
    this.#onTab(document.querySelector('#tabs [aria-selected=true]').id);
  }

  async #showAnew() {
    this.statuses.say('Connected again.', 'good');
    this.#link.show();
    this.#listDatabases();
    this.#keys.outdate(OLD_SESSION);
    if (this.#key.isChanged) await this.#key.check();
    else {
      await this.#key.reload(
        'Connected again; the key was read anew.', 'Connected again. This key does not exist any more.');
    }
  }

  #onReturn() {
    this.session?.renew();
  }

  get #isUnsaved() {
    return this.#key.isChanged || hasTypedDialog();
  }

  #onOver(error) {
    this.#button.offerRetry(true);
    const text = `Disconnected. ${failure(error)}`;
    if (!this.#isUnsaved) {
      this.#end(text, 'bad');
      return;
    }
    freeDialogs(byId('status'));
    this.#prompt.drop();
    byId('connect-card').hidden = false;
    this.statuses.say(`${text} What you have typed is still here: connect again to save it.`, 'bad');
    this.#link.show();
    this.#avoided.show();
    this.#fields.field('password').focus();
  }

  async #onDisconnect() {
    if (!await this.#key.mayLeave()) return;
    const {session} = this;
    this.#end('Disconnected.');
    this.#places.note();
    this.#way = '';
    if (session) await session.close();
  }

  #end(text, kind) {
    this.session = this.connection = null;
    showConnection(byId('session-place'), null);
    byId('panel-keys').inert = false;
    closeDialogs();
    this.#many.end();
    this.#keys.clear();
    this.#key.clear();
    this.#prompt.end();
    this.#info.clear();
    this.#operator.clear();
    this.#show(false);
    this.#link.show();
    this.#avoided.show();
    this.statuses.say(text, kind);
    this.#fields.field('host').focus();
  }

  // -- databases ------------------------------------------------------------------------------------------------------

  async #onDb() {
    const {session} = this;
    const error = await this.select(Number(byId('db').value));
    if (session !== this.session) return;
    if (error) this.statuses.say(failure(error), error.name === 'AbortError' ? '' : 'bad');
    byId('db').value = String(session.db);
  }

  /** Go to another database. Gives the error when that fails. */
  async select(db) {
    const {session} = this;
    if (db === session.db) return null;
    const cancelled = new DOMException('Cancelled.', 'AbortError');
    if (session.isOver || session.isSelecting || !await this.#key.mayLeave()) return cancelled;
    this.statuses.say(`Going to database ${db}…`, 'busy');
    byId('panel-keys').inert = true;  // what is done there meanwhile would be lost, or meet another database
    const [{reason}] = await Promise.allSettled([session.select(db)]);
    if (session !== this.session) return cancelled;
    byId('panel-keys').inert = false;
    if (reason) {
      if (/cluster mode/i.test(reason.message)) session.databases = 1;
      this.#listDatabases();
      this.statuses.say('');
      return reason;
    }
    this.#beginDatabase();
    this.#places.note();
    this.statuses.say(`Database ${db}.`, 'good');
    return null;
  }

  // -- what the parts tell --------------------------------------------------------------------------------------------

  async open(name, isByKeyboard) {
    const isOpen = await this.#key.open(name);
    this.#places.note();
    if (!isOpen) return;
    this.#keys.markOpened(this.#key.name);
    if (isByKeyboard) byId('key-title').focus();
    else if (isNarrow.matches) byId('key-detail').scrollIntoView({block: 'start'});
  }

  /** Open a key that another view has named. */
  showKey(name) {
    this.#tabs.choose(byId('tab-keys'));
    return this.open(name, true);
  }

  make() {
    return this.#key.make();
  }

  onMade(name) {
    this.#keys.insert(name);
    this.#keys.markOpened(name);
    this.#listDatabases();
    this.#noteSoon(true);
  }

  onCopied(name) {
    this.#keys.insert(name);
    this.#listDatabases();
  }

  onGone(name) {
    this.#keys.remove(name);
    this.#listDatabases();
    this.#noteSoon(false);
  }

  onRenamed(from, to) {
    this.#keys.rename(from, to);
    this.#noteSoon(false);
  }

  // The view of the key tells of a change before it is the key that is shown.
  #noteSoon(isStep) {
    queueMicrotask(() => this.#places.note(isStep));
  }

  /** Many keys may have come, gone or changed. */
  async onManyChanged() {
    if (!this.session) return;
    this.#listDatabases();
    await (this.#key.isChanged ? this.#key.check() : this.#key.reload());
    if (this.session) this.#keys.searchQuietly();
  }

  /** A command was run; it may have written something, unless `isRead`. */
  onCommand(isRead) {
    this.#hasRunCommands = true;
    this.#hasWritten = this.#hasWritten || !isRead;
    if (!byId('panel-keys').hidden) this.#lookAnew();
  }

  /** The list is read anew: so are the sizes of the databases. */
  onRefresh() {
    this.#listDatabases();
  }

  // Commands may have changed what is shown.
  #lookAnew() {
    if (this.#hasWritten) this.#keys.outdate(' This list is older than your last command: refresh it.');
    if (this.#hasWritten) this.#listDatabases();
    if (this.#hasRunCommands && this.#key.isChanged) this.#key.check();
    else if (this.#hasRunCommands) this.#key.reload();
    this.#hasRunCommands = this.#hasWritten = false;
  }

  // -- tabs -----------------------------------------------------------------------------------------------------------

  #onTab(name) {
    this.statuses.choose(name);
    this.#info.isShown = name === 'tab-info';
    this.#operator.isShown = name === 'tab-operator';
    if (name === 'tab-keys' && this.session) this.#lookAnew();
  }
}

new RedisPage();
