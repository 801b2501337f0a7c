/** From the form to a session: by what is typed there, or by a connection that the gateway names. */

import {admitted} from './admission.mjs';
import {ConnectButton, FieldError, visible} from './page.mjs';
import {ConnectionList, Connections, targetOf} from './redis-connections.mjs';
import {failure} from './redis-fields.mjs';
import {Session} from './redis-session.mjs';
import {addressText} from './targets.mjs';

const ADDRESS_CHARACTERS = 100;

const byId = id => document.getElementById(id);

function readTarget(fields) {
  const {url, extra, ...way} = fields.read();
  const {username, password, master} = extra;
  return {url, options: {
    ...way, db: readDb(fields, extra.db), readOnly: extra.readOnly !== '',
    master: master || undefined,
    username: username || undefined, password: password || (username ? '' : undefined)}};
}

function readDb(fields, text) {
  if (/^\d*$/.test(text) && Number(text) < 2 ** 31) return Number(text);
  throw fields.wrong('db', 'A database is a number: 0, 1, 2…');
}

// Whatever leads to another server, database or user.
function wayOf({url, options: {host, port, ssh, tls, db, username, master}}) {
  const ways = [[ssh?.host, ssh?.port, ssh?.username], tls && [tls.servername]];
  return JSON.stringify([url, host, port, ...ways, db, username, master]);
}

function labelOf({host, port, tls, master}) {
  const how = !tls ? '' : tls.verify === false ? ' (TLS, not verified)' : ' (TLS)';
  const by = master ? `${master} by Sentinel ` : '';
  return visible(by + addressText(host, port), ADDRESS_CHARACTERS).text + how;
}

/**
 * `page`: `session`, `statuses`; `mayGo(way)`, `events()` for a Session, and `begin(session, {connection, label, way},
 * isKept)`. A *way* is a text: all that was filled in but secrets. `isKept`: there was a session that has ended.
 */
export class Connecting {
  #fields;
  #page;
  #places;
  #button = new ConnectButton(byId('connect'));
  #attempt = null;
  #chosen = null;  // the name of the connection that was asked for last
  #connections = new Connections();
  #offered = new ConnectionList(byId('connection-list'), this.#connections, {
    onChosen: connection => this.#places.choose(connection),
    onAsked: () => this.offer(this.#fields.field('token').value.trim()),
  });

  /** `makePlaces(connections)` */
  constructor(fields, page, makePlaces) {
    this.#fields = fields;
    this.#page = page;
    this.#places = makePlaces(this.#connections);
    byId('connect-form').addEventListener('submit', event => { event.preventDefault(); this.#connect(); });
    byId('connect-cancel').addEventListener('click', () => this.#attempt.abort());
  }

  /** Show what the gateway offers. A link may have led here. */
  async offer(token) {
    await this.#connections.load(token);
    this.#offered.show();
    await this.#places.follow();
  }

  /** Connect to a connection that the gateway offers. */
  async begin(connection, db) {
    this.#chosen = connection.name;
    this.#fields.show(targetOf(connection, db ?? connection.db));
    await this.#connect();
  }

  offerRetry(hasFailed) {
    this.#button.offerRetry(hasFailed);
  }

  /** Move the focus to the field of this name. */
  focus(name) {
    this.#fields.field(name).focus();
  }

  async #connect() {
    if (this.#attempt) return;
    let target;
    try {
      target = readTarget(this.#fields);
    } catch (error) {
      this.#page.statuses.say(failure(error), 'bad');
      if (error instanceof FieldError) error.field.focus();
      return;
    }
    const connection = this.#connections.of(target, this.#chosen);
    target.options.readOnly ||= connection?.readOnly || false;
    const about = {connection, label: labelOf(target.options), way: wayOf(target)};
    if (await this.#page.mayGo(about.way)) await this.#open(target, about);
  }

  async #open({url, options}, about) {
    this.#page.statuses.say(`Connecting to ${about.label}…`, 'busy');
    this.#setConnecting(new AbortController());
    const isKept = this.#page.session !== null;
    let next = byId('connect');
    try {
      const open = () => Session.open(url, options, this.#page.events(), this.#attempt.signal);
      const session = await admitted(open, {url, ...options}, this.#fields);
      this.#chosen = about.connection?.name ?? null;
      this.#fields.remember();
      this.#button.offerRetry(false);
      this.#page.begin(session, about, isKept);
    } catch (error) {
      this.#page.statuses.say(failure(error), error.name === 'AbortError' ? '' : 'bad');
      this.#button.offerRetry(error.name !== 'AbortError');
      next = error.field || next;
    }
    this.#setConnecting(null);
    if (!this.#page.session) next.focus();
  }

  #setConnecting(attempt) {
    this.#attempt = attempt;
    this.#fields.disabled = attempt !== null;
    byId('connect').disabled = attempt !== null;
    byId('connection-list').inert = attempt !== null;
    byId('connect-cancel').hidden = attempt === null;
    if (attempt) byId('connect-cancel').focus();
  }
}
