/** The connections that the configuration of the gateway names (`redis.connections`), and the list of them. */

import {element, visible} from './page.mjs';
import {addressOf} from './redis-place.mjs';
import {defaultGateway} from './target-sections.mjs';
import {addressText} from './targets.mjs';

const MOST = 1000;
const NAME_CHARACTERS = 80;
const ADDRESS_CHARACTERS = 100;
const MILLISECONDS = 20000;
const COLOURS = ['red', 'orange', 'yellow', 'green', 'blue', 'purple', 'grey'];

/** What the gateway has answered, in its proper form: what makes no sense is left out. */
export function connectionsIn(answer) {
  const listed = Array.isArray(answer?.connections) ? answer.connections.slice(0, MOST) : [];
  return {connections: listed.map(connectionIn).filter(Boolean), wantsIdentity: answer?.wantsIdentity === true};
}

function connectionIn(found) {
  const {name, host, port, db = 0, tls = false, readOnly = false, colour, master} = Object(found);
  const isWhole = [name, host, master ?? '-'].every(text => typeof text === 'string' && text !== '')
    && Number.isInteger(port) && port >= 1 && port <= 65535 && Number.isInteger(db) && db >= 0 && db < 2 ** 31;
  // A flag of another kind is no reason to do without TLS, or to write.
  return isWhole && {name, host, port, db, tls: tls !== false, readOnly: readOnly !== false,
    colour: COLOURS.includes(colour) ? colour : null, ...master && {master}};
}

/** Ask the gateway that has served this page. `token`: who asks, if that is not shown otherwise. */
async function fetchConnections(token) {
  if (!location.protocol.startsWith('http')) return connectionsIn(null);
  const headers = token ? {Authorization: `Bearer ${token}`} : {};
  try {
    const answer = await fetch('redis-connections.json', {
      headers, credentials: token ? 'omit' : 'same-origin', signal: AbortSignal.timeout(MILLISECONDS)});
    return connectionsIn(answer.ok ? await answer.json() : null);
  } catch {
    return connectionsIn(null);  // another server may have served this page; all else works without
  }
}

/** What the gateway offers. */
export class Connections {
  #known = connectionsIn(null);

  get all() {
    return this.#known.connections;
  }

  get wantsIdentity() {
    return this.#known.wantsIdentity;
  }

  async load(token) {
    this.#known = await fetchConnections(token);
  }

  find(name) {
    return this.all.find(connection => connection.name === name) || null;
  }

  /** Which of them a Redis client of this `url` and `options` is for; null for none. `name`: if it may be that one. */
  of({url, options: {host, port, tls, ssh, db, master}}, name) {
    const fitting = ssh || !isOwnGateway(url) ? [] : this.all.filter(each => (
      each.host === host && each.port === port && each.tls === Boolean(tls) && each.master === master));
    return fitting.find(each => each.name === name) || fitting.find(each => each.db === db) || fitting[0] || null;
  }
}

function isOwnGateway(url) {
  const [{protocol, host, pathname}, own] = [new URL(url), new URL(defaultGateway())];
  return protocol === own.protocol && host === own.host && pathname === own.pathname;
}

/** What the fields of a target hold for it. */
export function targetOf({host, port, tls, readOnly, master}, db) {
  const given = {tls: tls ? 'verified' : '', readOnly: readOnly ? 'yes' : '', ...master && {master}};
  return {host, port: String(port), db: String(db), ...given};
}

/** Shows Connections, as links. `onChosen(connection)`; `onAsked()`: again, with what is known of who asks. */
export class ConnectionList {
  #node;
  #connections;
  #onChosen;
  #list = element('ul', {id: 'connections'});
  #more;

  constructor(node, connections, {onChosen, onAsked}) {
    this.#node = node;
    this.#connections = connections;
    this.#onChosen = onChosen;
    this.#more = element('p', {className: 'row', id: 'connections-more'},
      'The gateway names its connections only to those that it knows. Fill in the access token below (Gateway), then',
      element('button', {type: 'button', id: 'connections-show', className: 'small', on: {click: onAsked}},
        'Show them'));
    node.append(this.#list, this.#more);
    this.show();
  }

  show() {
    const {all, wantsIdentity} = this.#connections;
    this.#list.replaceChildren(...all.map(connection => element('li', {}, this.#link(connection))));
    this.#more.hidden = !wantsIdentity;
    this.#node.hidden = !all.length && !wantsIdentity;
  }

  #link(connection) {
    const {name, host, port, db, tls, readOnly, master} = connection;
    const where = `${master ? `${master} by ` : ''}${addressText(host, port)}${db ? ` db ${db}` : ''}`;
    const target = visible(where, ADDRESS_CHARACTERS).text;
    return element('a', {
      href: addressOf({connection: name, db: null, key: null}), on: {click: event => this.#onClick(event, connection)},
    }, badge(connection, visible(name, NAME_CHARACTERS).text), ` ${target}${tls ? ', TLS' : ''}`,
    readOnly && ' (read-only)');
  }

  // With other keys or buttons it is another tab or window that the browser shall open.
  #onClick(event, connection) {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.#onChosen(connection);
  }
}

function badge({colour}, text) {
  return element('strong', {className: `badge ${colour || 'grey'}`}, text);
}

/** Shows in `bar` and on the whole page which connection is open (or null), and whether it only reads. */
export function showConnection(bar, connection, isReadOnly = false) {
  const {name, colour} = connection || {};
  const marks = connection ? [badge({colour}, visible(name, NAME_CHARACTERS).text)] : [];
  if (isReadOnly) marks.push(element('span', {className: 'mark'}, 'read-only'));
  bar.replaceChildren(...marks);
  bar.hidden = !marks.length;
  if (colour) document.body.dataset.colour = colour;
  else delete document.body.dataset.colour;
}
