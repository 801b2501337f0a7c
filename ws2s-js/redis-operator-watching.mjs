/** redis-operator-watching.mjs: what comes by itself until Stop: the commands of all clients, messages of channels. */

import {element} from './page.mjs';
import {labelOf} from './redis-bytes.mjs';
import {channelsOf, listen} from './redis-channels.mjs';
import {monitored, Newest} from './redis-monitor.mjs';
import {count} from './redis-names.mjs';
import {button, commandText, Part, shown, table, WORD_CHARACTERS} from './redis-operator-part.mjs';

const DRAW_MILLISECONDS = 250;
const SHOWN_LINES = 200;

const clock = milliseconds => new Date(milliseconds).toISOString().slice(11, 23);

/** A part with the newest lines of very many, from Start to Stop. `words`: {start, over, line, note}, for people. */
class WatchingPart extends Part {
  #words;
  #newest = new Newest();
  #attempt = null;     // an AbortController, while it runs
  #buttons;
  #count = element('p', {className: 'muted'});
  #log;

  constructor(page, id, title, words, ...controls) {
    const start = button(`${id}-start`, words.start, () => this.#start());
    const stop = button(`${id}-stop`, 'Stop', () => this.stop());
    stop.hidden = true;
    super(page, id, title, [...controls, start, stop]);
    this.#words = words;
    this.#buttons = [start, stop];
    this.#log = element('pre', {className: 'log', role: 'region', ariaLabel: `${title} (the newest)`, tabIndex: 0});
    this.place = element('div', {}, element('p', {className: 'note'}, words.note));
    this.node.insertBefore(this.place, this.content);
  }

  stop() {
    this.#attempt?.abort();
  }

  clear() {
    super.clear();
    this.stop();
    this.#newest.clear();
  }

  #start() {
    if (this.#attempt) return undefined;
    return this.attempt(async session => {
      const {signal} = this.#attempt = new AbortController();
      const drawing = setInterval(() => this.#draw(), DRAW_MILLISECONDS);
      this.#show(true);
      try {
        await this.watch(session, signal, item => this.#newest.add(item));
      } catch (error) {
        if (!signal.aborted) throw error;
        this.say(this.#words.over);
      } finally {
        clearInterval(drawing);
        this.#attempt = null;
        this.#show(false);
      }
    });
  }

  // Who looks elsewhere meanwhile is left there.
  #show(isRunning) {
    const [start, stop] = this.#buttons;
    const isHere = this.#buttons.includes(document.activeElement);
    start.hidden = isRunning;
    stop.hidden = !isRunning;
    if (isRunning) this.#newest.clear();
    if (isRunning) this.content.replaceChildren(this.#count, this.#log);
    if (isHere) (isRunning ? stop : start).focus();
    this.#draw();
  }

  #draw() {
    const log = this.#log, isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 5;
    const {total} = this.#newest;
    this.#count.textContent = `${count(total)} ${this.#words.line}${total === 1 ? '' : 's'}`
      + (total > SHOWN_LINES ? `; the newest ${SHOWN_LINES} are shown.` : '.');
    log.textContent = this.#newest.last(SHOWN_LINES).map(item => this.lineOf(item)).join('\n');
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }
}

// -- all commands -----------------------------------------------------------------------------------------------------

const MINUTES = 5;
const MONITOR = {
  start: 'Watch all commands', over: 'The commands are not watched any more.', line: 'command',
  note: 'MONITOR shows what all clients send, with the values in it, and makes the server slower. What may be a '
    + `password is left out. Watching ends by itself after ${MINUTES} minutes, and when another view is chosen.`,
};

export class MonitorPart extends WatchingPart {
  constructor(page) {
    super(page, 'monitor', 'All commands', MONITOR);
  }

  async watch(session, signal, add) {
    const end = setTimeout(() => this.stop(), MINUTES * 60000);
    const onLine = line => {
      const command = monitored(line);
      if (command) add(command);
    };
    try {
      await session.watch({signal, onLine});
    } finally {
      clearTimeout(end);
    }
  }

  lineOf(command) {
    return `${clock(command.time)} ${command.db} ${shown(command.client)} ${commandText(command)}`;
  }
}

// -- channels ---------------------------------------------------------------------------------------------------------

const MESSAGE_CHARACTERS = 400;
const LOSS = 'The connection was lost: messages may be missing.';
const CHANNELS = {
  start: 'Listen', over: 'The channels are not listened to any more.', line: 'message',
  note: 'Messages that are published while you listen; the server keeps none. Listening ends when another view is '
    + 'chosen.',
};

export class ChannelsPart extends WatchingPart {
  #pattern;
  #list = element('div', {id: 'operator-channels-list'});

  constructor(page) {
    const pattern = element('input', {id: 'operator-channels-pattern', value: '*', autocomplete: 'off',
      spellcheck: false});
    super(page, 'channels', 'Channels', CHANNELS, button('channels-read', 'Read', () => this.#read()),
      element('label', {htmlFor: pattern.id}, 'with names like'), pattern);
    this.#pattern = pattern;
    this.place.append(this.#list);
  }

  clear() {
    super.clear();
    this.#list.replaceChildren();
  }

  #read() {
    return this.attempt(async (session, isSame) => {
      const {total, rows} = await channelsOf(session, this.#pattern.value);
      if (!isSame()) return;
      this.#list.replaceChildren(table('Channels that somebody listens to', ['Channel', 'Subscribers'],
        rows.map(({name, subscribers}) => [labelOf(name, WORD_CHARACTERS), count(subscribers)])));
      this.say(total ? `Channels that somebody listens to: ${count(total)}.` : 'Nobody listens to a channel.', 'good');
    });
  }

  watch(session, signal, add) {
    return listen(session, this.#pattern.value, {signal, onLoss: () => add({time: Date.now(), text: LOSS}),
      onMessage: (message, channel) => add({
        time: Date.now(), text: `${shown(channel)} ${labelOf(message, MESSAGE_CHARACTERS)}`})});
  }

  lineOf({time, text}) {
    return `${clock(time)} ${text}`;
  }
}
