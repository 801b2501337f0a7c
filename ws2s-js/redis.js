/** The Redis page: one session with a server, and what redis-*.mjs show of it. */

import {guardLeaving} from './page.mjs';
import {Connecting} from './redis-connecting.mjs';
import {showConnection} from './redis-connections.mjs';
import {bindDialogs, closeDialogs, freeDialogs, hasTypedDialog} from './redis-dialog.mjs';
import {failure} from './redis-fields.mjs';
import {KeyBrowser} from './redis-key-browser.mjs';
import {LateView} from './redis-late.mjs';
import {NodesView} from './redis-nodes.mjs';
import {Places} from './redis-places.mjs';
import {ReadOnlyMarks} from './redis-read-only.mjs';
import {AvoidedView, LinkView, ViewStatus} from './redis-status.mjs';
import {Tabs} from './redis-tabs.mjs';
import {fields} from './redis-start.mjs';

const byId = id => document.getElementById(id);

/** What all parts of the page share, and what they tell each other. */
class RedisPage extends KeyBrowser {
  target = '';
  connection = null;  // of the gateway's configuration, if the session is by one
  statuses = new ViewStatus(byId('status'));
  status = this.statuses.of('tab-keys');
  commandStatus = this.statuses.of('tab-commands');
  infoStatus = this.statuses.of('tab-info');
  operatorStatus = this.statuses.of('tab-operator');

  #way = '';  // to the last server
  #prompt = new LateView('redis-prompt', async () => (
    new (await import('./redis-prompt.mjs')).Prompt(byId('panel-commands'), this)), this.commandStatus);
  #info = new LateView('redis-figures', async () => (
    new (await import('./redis-figures.mjs')).InfoView(byId('panel-info'), this)), this.infoStatus);
  #operator = new LateView('redis-operator', async () => (
    new (await import('./redis-operator.mjs')).OperatorView(byId('panel-operator'), this)), this.operatorStatus);
  #link = new LinkView(byId('link'), this);
  #avoided = new AvoidedView(byId('avoided'), this);
  #nodes = new NodesView(byId('session-nodes'), this, () => this.#onNode());
  #readOnly = new ReadOnlyMarks(byId('read-only'), this);
  #tabs = new Tabs(byId('tabs'), name => this.#onTab(name));
  #places;
  #connecting = new Connecting(fields, this, connections => this.#places = new Places(this, connections));

  constructor() {
    super();
    byId('disconnect').addEventListener('click', () => this.#onDisconnect());
    guardLeaving(() => this.#isUnsaved || this.#prompt.view?.isTyped || this.many.isBusy);
    addEventListener('pageshow', event => { if (event.persisted) this.session?.renew(); });
    this.#connecting.offer();
  }

  get #isUnsaved() {
    return this.key.isChanged || hasTypedDialog();
  }

  // -- places ---------------------------------------------------------------------------------------------------------

  /** Where the page is, see redis-place.mjs; null without a session. */
  get place() {
    return this.session && {
      connection: this.connection && this.connection.name, db: this.session.db, key: this.key.name};
  }

  note(isStep) {
    this.#places.note(isStep);
  }

  /** Go to a connection that the gateway offers, if what is typed for another one may be left. */
  async connectTo(connection, db) {
    if (!this.session || await this.mayGo('')) await this.#connecting.begin(connection, db);
  }

  tell(text) {
    this.statuses.say(text, 'bad');
  }

  // -- the session ----------------------------------------------------------------------------------------------------

  /** May the session be left for another `way`? What was typed for one server must not be lost, nor saved elsewhere. */
  async mayGo(way) {
    if (!this.session || way === this.#way) return true;
    if (hasTypedDialog()) {
      this.statuses.say('What is typed in the open dialog is for another server: save it there, or cancel it.', 'bad');
      return false;
    }
    if (!await this.#mayLeave()) return false;
    this.#end('');
    return true;
  }

  events() {
    return {
      lost: error => this.#onLost(error),
      ready: news => this.#onReconnected(news),
      news: (text, kind) => this.#onNews(text, kind),
      over: error => this.#onOver(error),
      avoiding: () => this.#avoided.show(),
    };
  }

  begin(session, {connection, label, way}, isKept) {
    Object.assign(this, {session, connection, target: label});
    if (way !== this.#way) this.keys.forgetFilter();
    if (way !== this.#way) this.#prompt.view?.clear();
    this.#way = way;
    this.#show(true);
    this.#showSession();
    if (isKept) this.#beginAgain();
    else this.beginDatabase();
    if (!this.#places.resume()) this.note();
    if (isKept) return;
    this.#tabs.choose(byId('tab-keys'));
    this.statuses.say(`Connected to ${label}.`, 'good');
    byId('pattern').focus();
  }

  #showSession() {
    const [major, minor] = this.session.version;
    byId('session-target').textContent = this.target;
    showConnection(byId('session-place'), this.connection, this.session.isReadOnly);
    byId('session-version').textContent = major ? `Redis ${major}.${minor}` : '';
    this.#readOnly.show();
    this.#avoided.show();
    this.#nodes.show();
  }

  // What was typed before the session has ended is still there.
  #beginAgain() {
    bindDialogs();
    this.#prompt.view?.begin();
    this.beginKeysAgain();
    this.statuses.say(`Connected to ${this.target} again. What you have typed is still here.`, 'good');
  }

  beginDatabase() {
    super.beginDatabase();
    this.#prompt.view?.begin();
  }

  #show(isConnected) {
    byId('title').className = isConnected ? 'visually-hidden' : '';
    byId('connect-card').hidden = isConnected;
    byId('session-bar').hidden = byId('session').hidden = !isConnected;
  }

  #onLost(error) {
    this.statuses.failure = '';
    this.statuses.say(`The connection is lost, and tried again. ${failure(error)}`, 'bad');
    this.#link.show();
  }

  // What has failed with the connection must not be hidden by its return.
  async #onReconnected(news) {
    const {failure: failed} = this.statuses;
    this.statuses.say('Connected again.', 'good');
    this.#link.show();
    this.#nodes.show();
    await this.showKeysAnew();
    const told = [news, failed].filter(Boolean).join(' ');
    if (told) this.statuses.say(`Connected again. ${told}`, failed ? 'bad' : 'good');
  }

  // Something has changed behind the connection, which is still there.
  async #onNews(text, kind) {
    this.#nodes.show();
    if (kind === 'good') await this.showKeysAnew();
    this.statuses.say(text, kind);
  }

  // The panels show what the other node had told.
  #onNode() {
    this.#prompt.view?.begin();
    this.#info.view?.clear();
    this.#operator.view?.clear();
    this.#onTab(this.#tabs.chosen);
  }

  #onOver(error) {
    this.#connecting.offerRetry(true);
    const text = `Disconnected. ${failure(error)}`;
    if (!this.#isUnsaved) {
      this.#end(text, 'bad');
      return;
    }
    freeDialogs(byId('status'));
    this.#prompt.view?.drop();
    byId('connect-card').hidden = false;
    this.statuses.say(`${text} What you have typed is still here: connect again to save it.`, 'bad');
    this.#link.show();
    this.#avoided.show();
    this.#connecting.focus('password');
  }

  async #mayLeave() {
    return await this.mayLeaveKey() && this.many.mayLeave();
  }

  async #onDisconnect() {
    if (!await this.#mayLeave()) return;
    const {session} = this;
    this.#end('Disconnected.');
    this.note();
    this.#way = '';
    if (session) await session.close();
  }

  #end(text, kind) {
    this.session = this.connection = null;
    showConnection(byId('session-place'), null);
    closeDialogs();
    this.endKeys();
    this.#prompt.view?.end();
    this.#info.view?.clear();
    this.#operator.view?.clear();
    this.#show(false);
    this.#link.show();
    this.#readOnly.show();
    this.#avoided.show();
    this.statuses.say(text, kind);
    this.#connecting.focus('host');
  }

  // -- tabs -----------------------------------------------------------------------------------------------------------

  chooseKeys() {
    this.#tabs.choose(byId('tab-keys'));
  }

  #onTab(name) {
    this.statuses.choose(name);
    this.#prompt.isShown = name === 'tab-commands';
    this.#info.isShown = name === 'tab-info';
    this.#operator.isShown = name === 'tab-operator';
    if (name === 'tab-keys' && this.session) this.lookAnew();
  }
}

new RedisPage();
