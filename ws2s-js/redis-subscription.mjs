/** Channels whose messages the command line shows as they come. */

import {element} from './page.mjs';
import {labelOf, textOf, utf8} from './redis-bytes.mjs';
import {failure} from './redis-fields.mjs';
import {refusal, reply} from './redis-log.mjs';
import {count} from './redis-names.mjs';

const MESSAGES = 500;  // of one subscription

function timeOfDay() {
  return new Date().toLocaleTimeString();
}

/** One SUBSCRIBE or PSUBSCRIBE, with a connection of its own. */
class Subscription {
  #client;
  #log;
  #state = element('p', {className: 'note'});
  #messages = element('div', {className: 'messages'});
  #button;
  #number = 0;
  #waiting = [];  // messages that are not drawn yet
  #isConfirmed = false;
  #isLost = false;

  constructor(log, client, isPattern, channels) {
    this.#log = log;
    this.#client = client;
    this.isPattern = isPattern;
    this.channels = new Set(channels);
    this.#button = element('button', {type: 'button', className: 'small', dataset: {action: 'unsubscribe'}, on: {
      click: () => this.end()}}, 'Unsubscribe');
    this.nodes = [element('div', {className: 'row'}, this.#button, this.#state), this.#messages];
    client.onLost = error => this.#onLost(error);
    client.onReady = () => this.#onReady();
    client.onClose = error => this.#onClose(error);
  }

  get isOver() {
    return this.#button.disabled;
  }

  async begin() {
    this.#tell('Subscribing…');
    const subscribe = this.isPattern ? 'psubscribe' : 'subscribe';
    const receive = (message, channel) => this.#onMessage(message, channel);
    try {
      await Promise.all([...this.channels].map(name => this.#client[subscribe](name, receive)));
      this.#isConfirmed = true;
      this.#tellState();
    } catch (error) {
      if (this.isOver) return;
      this.end();
      this.#tell(`Not subscribed. ${failure(error)}`, 'bad');
    }
  }

  /** End it for some channels, or for all. */
  async leave(names) {
    const leave = this.isPattern ? 'punsubscribe' : 'unsubscribe';
    const left = names.filter(name => this.channels.delete(name));
    if (!this.channels.size) this.end();
    else await Promise.all(left.map(name => this.#client[leave](name)));
    if (this.channels.size) this.#tellState();
  }

  end() {
    if (this.isOver) return;
    this.#button.disabled = true;
    this.#tell(`Unsubscribed. Messages that came: ${count(this.#number)}.`);
    this.#client.onLost = this.#client.onReady = this.#client.onClose = () => {};
    this.#client.close();
    if (document.activeElement === document.body) document.getElementById('command').focus();
  }

  #onLost(error) {
    this.#isLost = true;
    this.#tell(`The connection is lost, and tried again: ${failure(error)}`, 'bad');
  }

  #onReady() {
    if (this.#isLost) this.#add([`${timeOfDay()} `, '', 'The connection was lost until now: messages may be missing.']);
    this.#isLost = false;
    if (this.#isConfirmed) this.#tellState();
  }

  #onClose(error) {
    this.#button.disabled = true;
    this.#tell(`Not subscribed any more. ${error ? failure(error) : 'The connection is closed.'}`, error ? 'bad' : '');
  }

  #tell(text, kind = '') {
    this.#state.className = kind ? `status ${kind}` : 'note';
    this.#state.textContent = text;
  }

  #tellState() {
    if (this.isOver) return;
    const names = [...this.channels].map(name => labelOf(utf8(name), 60)).join(', ');
    const kind = (this.isPattern ? 'pattern' : 'channel') + (this.channels.size > 1 ? 's' : '');
    this.#tell(`Subscribed to the ${kind} ${names}.`);
  }

  #onMessage(message, channel) {
    this.#number++;
    this.#add([`${timeOfDay()} `, labelOf(utf8(channel), 60), ` ${labelOf(message, 2000)}`]);
  }

  #add(row) {
    this.#waiting.push(row);
    if (this.#waiting.length === 1) requestAnimationFrame(() => this.#draw());
    if (this.#waiting.length > MESSAGES) this.#waiting.shift();
  }

  // A page that measured itself for each message would be deaf to the user while many come.
  #draw() {
    const rows = this.#waiting.map(([time, channel, message]) => element('div', {},
      element('span', {className: 'muted'}, time), element('span', {className: 'channel'}, channel), message));
    this.#waiting = [];
    this.#log.change(() => {
      this.#messages.append(...rows);
      while (this.#messages.children.length > MESSAGES) this.#messages.firstChild.remove();
    });
  }
}

/** All that are shown. `page`: {session}; what stands before each in the log is `echo`, the line as it was typed. */
export class Subscriptions {
  #log;
  #page;
  #all = new Set();

  constructor(log, page) {
    this.#log = log;
    this.#page = page;
  }

  /** `name`: SUBSCRIBE or PSUBSCRIBE. Was it a command that makes sense? */
  begin(name, words, echo) {
    const channels = words.map(textOf);
    if (!channels.length) return this.#refuse(echo, `Which channels? Write ${name} and their names.`);
    if (channels.includes(null)) {
      return this.#refuse(echo, 'Channels whose names are not UTF-8 cannot be subscribed to here.');
    }
    const subscription = new Subscription(this.#log, this.#page.session.another(), name === 'PSUBSCRIBE', channels);
    this.#all.add(subscription);
    this.#log.add(() => this.#drop(subscription), echo, ...subscription.nodes);
    subscription.begin();
    return true;
  }

  #refuse(echo, text) {
    this.#log.add(null, echo, refusal(text));
    return false;
  }

  #drop(subscription) {
    subscription.end();
    this.#all.delete(subscription);
  }

  /** `name`: UNSUBSCRIBE or PUNSUBSCRIBE; without words, all of that kind. */
  leave(name, words, echo) {
    const names = words.map(word => textOf(word) || '');
    const open = [...this.#all].filter(each => !each.isOver && each.isPattern === (name === 'PUNSUBSCRIBE'));
    for (const each of open) each.leave(names.length ? names : [...each.channels]);
    this.#log.add(null, echo, reply(open.length ? 'OK' : 'There is no subscription.'));
  }

  end() {
    for (const each of this.#all) each.end();
    this.#all.clear();
  }
}
