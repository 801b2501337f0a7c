/** The command line: lines, their replies, history, completion, subscriptions. */

import {element, saveFile, visible} from './page.mjs';
import {labelOf, textOf, utf8} from './redis-bytes.mjs';
import {openDialog} from './redis-dialog.mjs';
import {ReadOnlyError} from './redis-errors.mjs';
import {failure} from './redis-fields.mjs';
import {
  COMMANDS, completionsOf, CommandHistory, isRead, isTextReply, linesOf, printReply, printText, shownLine, splitLine,
} from './redis-lines.mjs';
import {count} from './redis-names.mjs';

const ENTRIES = 300;
const CHARACTERS = 2000000;  // in all entries together
const ROOM = 100000;         // characters of one reply
const MESSAGES = 500;        // of one subscription
const WAIT_MILLISECONDS = 400;
const HINT_MILLISECONDS = 250;

const REFUSED = {
  MONITOR: 'MONITOR is not offered here: it would show passwords, too. The view Operator leaves those out.',
  SSUBSCRIBE: 'SSUBSCRIBE is not offered here: this page speaks to one node, and knows no sharded channels.',
  SUNSUBSCRIBE: 'SUNSUBSCRIBE is not offered here: this page knows no sharded channels.',
  SYNC: 'SYNC is for replicas: it turns the connection into a stream of changes.',
  PSYNC: 'PSYNC is for replicas: it turns the connection into a stream of changes.',
  'CLIENT REPLY': 'CLIENT REPLY is not offered here: without replies nothing could be shown.',
};

function refusalOf(names) {
  return REFUSED[names[0]] || REFUSED[names.slice(0, 2).join(' ')];
}

function timeOfDay() {
  return new Date().toLocaleTimeString();
}

/** The lines and replies so far. */
class Log {
  constructor() {
    this.node = element('div', {
      id: 'log', role: 'log', tabIndex: 0, ariaLabel: 'Commands and replies', className: 'log mono'});
  }

  clear() {
    for (const entry of [...this.node.children]) this.#drop(entry);
  }

  // `onDrop`: what stands there is not seen any more.
  add(onDrop, ...children) {
    const entry = element('div', {className: 'entry'}, ...children);
    entry.onDrop = onDrop;
    this.change(() => this.node.append(entry));
    while (this.node.children.length > 1 && this.#isTooMuch()) this.#drop(this.node.firstChild);
    return entry;
  }

  #isTooMuch() {
    return this.node.children.length > ENTRIES || this.node.textContent.length > CHARACTERS;
  }

  #drop(entry) {
    if (entry.onDrop) entry.onDrop();
    entry.remove();
  }

  /** Whoever looks at the end goes on looking at the end. */
  change(task) {
    const {node} = this;
    const isAtEnd = node.scrollTop + node.clientHeight >= node.scrollHeight - 40;
    task();
    if (isAtEnd) node.scrollTop = node.scrollHeight;
  }
}

/** An input in which names of commands are completed and lines come back. */
class LineInput {
  #history = new CommandHistory();
  #names = COMMANDS;
  #active = -1;
  #matches = [];

  /** `onLines(lines)`: several were pasted. */
  constructor(onInput, onLines) {
    this.onInput = onInput;
    this.onLines = onLines;
    this.list = element('div', {id: 'completions', role: 'listbox', ariaLabel: 'Commands', hidden: true, on: {
      mousedown: event => this.#onPick(event)}});
    this.input = element('input', {
      id: 'command', className: 'mono', autocomplete: 'off', autocapitalize: 'off', spellcheck: false, role: 'combobox',
      ariaExpanded: 'false', ariaControls: 'completions', ariaAutocomplete: 'list', enterKeyHint: 'send', on: {
        input: () => this.#onInput(), keydown: event => this.#onKey(event), blur: () => this.#show([]),
        paste: event => this.#onPaste(event, event.clipboardData),
        drop: event => this.#onPaste(event, event.dataTransfer),
        beforeinput: event => this.#onInsert(event, event.data)},
    });
    this.input.setAttribute('aria-describedby', 'command-hint');
  }

  set names(names) {
    this.#names = names;
  }

  /** The line, which is in the history from now on. */
  take() {
    const line = this.input.value;
    this.remember(line);
    this.#set('');
    return line;
  }

  remember(line) {
    this.#history.add(line);
  }

  get isTyped() {
    return this.input.value.trim() !== '';
  }

  // The browser would make one line of several, and so one command of several.
  #onPaste(event, data) {
    this.#onInsert(event, data && data.getData('text/plain'));
  }

  #onInsert(event, text) {
    if (!text || !/[\r\n\u2028\u2029]/.test(text)) return;
    event.preventDefault();
    const {value, selectionStart, selectionEnd} = this.input;
    const lines = linesOf(value.slice(0, selectionStart) + text + value.slice(selectionEnd));
    if (lines.length > 1) this.onLines(lines);
    else this.#set(lines[0] || '');
  }

  clear() {
    this.#set('');
  }

  #set(line) {
    this.input.value = line;
    this.#show([]);
    this.onInput(line);
  }

  #onInput() {
    this.#show(completionsOf(this.input.value, this.#names));
    this.onInput(this.input.value);
  }

  #show(matches) {
    this.#matches = matches;
    this.#active = -1;
    this.list.replaceChildren(...matches.map((name, i) => (
      element('div', {role: 'option', id: `completion-${i}`, ariaSelected: 'false', dataset: {name}}, name))));
    this.list.hidden = !matches.length;
    this.input.setAttribute('aria-expanded', String(matches.length > 0));
    this.input.removeAttribute('aria-activedescendant');
  }

  #onPick(event) {
    const option = event.target.closest('[role=option]');
    if (!option) return;
    event.preventDefault();  // the focus stays
    this.#set(`${option.dataset.name} `);
  }

  #onKey(event) {
    if (event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
    const isTaken = {
      ArrowUp: () => this.#up(), ArrowDown: () => this.#down(), Tab: () => !event.shiftKey && this.#complete(0),
      Enter: () => this.#active >= 0 && this.#complete(), Escape: () => this.#close(),
    };
    if (Object.hasOwn(isTaken, event.key) && isTaken[event.key]()) event.preventDefault();
  }

  #complete(otherwise = -1) {
    const name = this.#matches[this.#active >= 0 ? this.#active : otherwise];
    if (name === undefined) return false;
    this.#set(`${name} `);
    return true;
  }

  #close() {
    const wasOpen = this.#matches.length > 0;
    this.#show([]);
    return wasOpen;
  }

  #up() {
    if (this.#active >= 0) this.#mark(this.#active - 1);
    else this.#recall(this.#history.older(this.input.value));
    return true;
  }

  #down() {
    if (this.#matches.length) this.#mark(Math.min(this.#active + 1, this.#matches.length - 1));
    else this.#recall(this.#history.newer(this.input.value));
    return true;
  }

  #recall(line) {
    if (line === null) return;
    this.#set(line);
    this.input.setSelectionRange(line.length, line.length);
  }

  #mark(index) {
    this.#active = index;
    [...this.list.children].forEach((option, i) => option.setAttribute('aria-selected', String(i === index)));
    if (index >= 0) this.input.setAttribute('aria-activedescendant', `completion-${index}`);
    else this.input.removeAttribute('aria-activedescendant');
    if (index >= 0) this.list.children[index].scrollIntoView({block: 'nearest'});
  }
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

/** The panel. `page`: {session, commandStatus, target, select(db), onCommand(isRead)}. */
export class Prompt {
  #page;
  #log = new Log();
  #line = new LineInput(line => this.#onInput(line), lines => this.#onLines(lines));
  #client = null;
  #inMulti = false;
  #turn = 0;
  #isWaiting = false;
  #waitTimer = null;
  #hintTimer = null;
  #subscriptions = new Set();
  #hint = element('p', {id: 'command-hint', className: 'note'});
  #where = element('label', {id: 'prompt', htmlFor: 'command', className: 'mono'});
  #stop;

  constructor(node, page) {
    this.#page = page;
    this.#stop = element('button', {
      type: 'button', id: 'command-stop', hidden: true, on: {click: () => this.#onStop()}}, 'Stop waiting');
    node.append(this.#log.node, element('form', {id: 'command-form', autocomplete: 'off', on: {submit: event => {
      event.preventDefault();
      this.#onSubmit();
    }}}, this.#where, element('div', {className: 'stretch combobox'}, this.#line.input, this.#line.list),
    element('button', {id: 'command-send', className: 'primary'}, 'Send'), this.#stop,
    element('button', {type: 'button', id: 'log-clear', on: {click: () => this.#log.clear()}}, 'Clear')), this.#hint);
    this.#onInput('');
  }

  focus() {
    this.#line.input.focus();
  }

  /** A session has begun, or another database is selected. */
  async begin() {
    this.drop();
    this.#tellWhere();
    const {session} = this.#page;
    const names = await commandNames(session);
    if (session === this.#page.session) this.#line.names = names;
  }

  /** The session has ended. What was said stays until another one begins. */
  end() {
    this.drop();
    for (const subscription of this.#subscriptions) subscription.end();
    this.#subscriptions.clear();
  }

  /** Another server: what was said to the last one is none of its business. */
  clear() {
    this.#log.clear();
  }

  /** Is a line typed that was not sent? */
  get isTyped() {
    return this.#line.isTyped;
  }

  /** The next command gets a new connection. */
  drop() {
    this.#turn++;
    this.#inMulti = false;
    this.#setWaiting(false);
    if (!this.#client) return;
    this.#client.onLost = this.#client.onClose = () => {};
    this.#client.close();
    this.#client = null;
  }

  #tellWhere() {
    const {session, target} = this.#page;
    const db = session && session.db ? `[${session.db}]` : '';
    this.#where.textContent = `${visible(session?.node || target, 40).text}${db}${this.#inMulti ? '(TX)' : ''}>`;
  }

  #onInput(line) {
    clearTimeout(this.#hintTimer);
    this.#hint.textContent = 'Arrow keys: earlier lines. Tab: complete the name of a command.';
    const name = /^\s*(\S+)\s/.exec(line);
    if (name) this.#hintTimer = setTimeout(() => this.#showHint(name[1]), HINT_MILLISECONDS);
  }

  // Only from 7.0 on, and only to whoever may ask for it.
  async #showHint(name) {
    const {session} = this.#page;
    if (!session || !session.isReady || name.length > 100) return;
    const [docs] = await Promise.allSettled([session.ask('COMMAND', 'DOCS', name)]);
    const summary = docs.status === 'fulfilled' && summaryOf(docs.value);
    if (summary && this.#line.input.value.trim().split(/\s/)[0] === name) {
      this.#hint.textContent = `${name.toUpperCase()}: ${visible(summary, 300).text}`;
    }
  }

  // -- running --------------------------------------------------------------------------------------------------------

  #onSubmit() {
    const refused = this.#refusal();
    this.#page.commandStatus.say(refused, refused && 'busy');
    if (refused) return;
    const line = this.#line.take();
    if (line.trim() !== '') this.#run(line);
  }

  #refusal() {
    const {session} = this.#page;
    if (!session || session.isOver) return 'There is no connection any more. Nothing was sent.';
    if (this.#isWaiting) return 'The last command still waits for its answer. Stop waiting first.';
    // It would still be carried out in the database before.
    return session.isSelecting ? 'The page is still on its way to another database. Nothing was sent.' : '';
  }

  // They are seen before they are run, and those behind one that has failed may not be meant any more.
  async #onLines(lines, text = 'Each line is one command. At an error it stops.') {
    const area = element('textarea', {
      id: 'lines-text', className: 'mono', rows: Math.min(12, lines.length + 1), value: lines.join('\n'),
      spellcheck: false, autocomplete: 'off', autocapitalize: 'off'});
    const wanted = await openDialog({
      id: 'dialog-lines', title: `Run ${count(lines.length)} lines?`, submit: 'Run line by line',
      first: '#dialog-lines-submit', onSubmit: () => linesOf(area.value), content: [
        element('p', {}, text), element('label', {htmlFor: 'lines-text'}, 'Commands'), area]});
    if (!wanted) return;
    this.#line.clear();
    const rest = await this.#runAll(wanted);
    if (rest.length) await this.#onLines(rest, 'The line before these has failed. These were not run.');
    else this.focus();
  }

  // The lines that were not run.
  async #runAll(lines) {
    for (const [i, line] of lines.entries()) {
      if (this.#refusal()) return lines.slice(i);
      this.#line.remember(line);
      if (!await this.#run(line)) return lines.slice(i + 1);
    }
    return [];
  }

  // Was it carried out?
  async #run(line) {
    const shown = visible(shownLine(line), 4000).text;
    const echo = element('div', {className: 'entry-line'}, `${this.#where.textContent} ${shown}`);
    let words;
    try {
      words = splitLine(line);
    } catch (error) {
      this.#log.add(null, echo, refusal(error.message));
      return false;
    }
    const names = words.slice(0, 2).map(word => (textOf(word) || '').toUpperCase());
    const own = this.#ownCommand(names, words.slice(1));
    return own ? await own(echo) !== false : this.#ask(words, names, echo);
  }

  // What this page does itself, instead of sending it.
  #ownCommand(names, rest) {
    const [name] = names;
    const refused = refusalOf(names);
    if (refused) return echo => this.#refuse(echo, refused);
    if (name === 'CLEAR' && !rest.length) return () => this.#log.clear();
    if (['QUIT', 'EXIT', 'RESET'].includes(name)) return echo => this.#renew(echo);
    if (['SUBSCRIBE', 'PSUBSCRIBE'].includes(name)) return echo => this.#subscribe(name, rest, echo);
    if (['UNSUBSCRIBE', 'PUNSUBSCRIBE'].includes(name)) return echo => this.#unsubscribe(name, rest, echo);
    const db = name === 'SELECT' && rest.length === 1 && textOf(rest[0]);
    return db && /^\d+$/.test(db) ? echo => this.#select(Number(db), echo) : null;
  }

  #refuse(echo, text) {
    this.#log.add(null, echo, refusal(text));
    return false;
  }

  #renew(echo) {
    this.drop();
    this.#tellWhere();
    this.#log.add(null, echo, reply('OK: the next command gets a new connection.'));
  }

  async #select(db, echo) {
    if (this.#inMulti) {
      return this.#refuse(echo, 'SELECT is not offered within MULTI here: it is for the whole page.');
    }
    const error = await this.#page.select(db);
    this.#log.add(null, echo, error ? refusal(errorText(error)) : reply('OK'));
    this.focus();
    return !error;
  }

  async #ask(words, names, echo) {
    const turn = ++this.#turn;
    const entry = this.#log.add(null, echo);
    let isDone = false, isSent = true;
    this.#setWaiting(true);
    try {
      const [name, ...others] = words;
      const answer = await this.#connection().bytes(textOf(name) ?? name, ...others);
      this.#follow(names[0], answer);
      this.#put(entry, [...answerNodes(names, answer), ...this.#fromNodes()]);
      isDone = true;
    } catch (error) {
      isSent = !(error instanceof ReadOnlyError);
      if (turn === this.#turn) this.#follow(names[0], error);
      this.#put(entry, [refusal(turn === this.#turn ? errorText(error) : 'Nobody waits for the reply any more.')]);
    }
    if (turn === this.#turn) this.#setWaiting(false);
    this.#tellWhere();
    if (isSent) this.#page.onCommand(isRead(names));
    return isDone;
  }

  // Of a cluster.
  #fromNodes() {
    const from = this.#client?.from;
    return from ? [element('p', {className: 'note entry-from'}, `from node ${visible(from, 100).text}`)] : [];
  }

  #put(entry, nodes) {
    this.#log.change(() => entry.append(...nodes));
  }

  #follow(name, answer) {
    if (name === 'MULTI' && answer === 'OK') this.#inMulti = true;
    if (name === 'EXEC' || name === 'DISCARD') this.#inMulti = false;
  }

  #connection() {
    if (this.#client) return this.#client;
    const client = this.#page.session.commandLine();
    client.onLost = () => this.#onLost();
    client.onClose = () => { if (client === this.#client) this.drop(); };
    this.#client = client;
    return client;
  }

  #onLost() {
    if (this.#inMulti) this.#log.add(null, refusal('The connection was lost, and the transaction with it.'));
    this.#inMulti = false;
    this.#tellWhere();
  }

  #setWaiting(isWaiting) {
    clearTimeout(this.#waitTimer);
    this.#isWaiting = isWaiting;
    if (isWaiting) this.#waitTimer = setTimeout(() => { this.#stop.hidden = false; }, WAIT_MILLISECONDS);
    if (!isWaiting && document.activeElement === this.#stop) this.focus();
    if (!isWaiting && this.#stop) this.#stop.hidden = true;
  }

  #onStop() {
    this.drop();
    this.#tellWhere();
    this.focus();
  }

  // -- subscriptions --------------------------------------------------------------------------------------------------

  #subscribe(name, words, echo) {
    const channels = words.map(textOf);
    if (!channels.length) {
      return this.#refuse(echo, `Which channels? Write ${name} and their names.`);
    }
    if (channels.includes(null)) {
      return this.#refuse(echo, 'Channels whose names are not UTF-8 cannot be subscribed to here.');
    }
    return this.#beginSubscription(name, channels, echo);
  }

  #beginSubscription(name, channels, echo) {
    const subscription = new Subscription(this.#log, this.#page.session.another(), name === 'PSUBSCRIBE', channels);
    this.#subscriptions.add(subscription);
    this.#log.add(() => subscription.end(), echo, ...subscription.nodes);
    subscription.begin();
    return true;
  }

  #unsubscribe(name, words, echo) {
    const names = words.map(word => textOf(word) || '');
    const open = [...this.#subscriptions].filter(each => !each.isOver && each.isPattern === (name === 'PUNSUBSCRIBE'));
    for (const each of open) each.leave(names.length ? names : [...each.channels]);
    this.#log.add(null, echo, reply(open.length ? 'OK' : 'There is no subscription.'));
  }
}

function reply(text) {
  return element('pre', {className: 'entry-reply'}, text);
}

function refusal(text) {
  return element('pre', {className: 'entry-reply bad'}, text);
}

function errorText(error) {
  return error.name === 'RedisError' ? `(error) ${visible(error.message, 2000).text}` : failure(error);
}

function answerNodes([first, second], answer) {
  const isText = isTextReply(first, second) && (answer instanceof Uint8Array || typeof answer === 'string');
  const print = isText ? printText : printReply;
  const text = print(answer, ROOM);
  if (first === 'AUTH' && answer === 'OK') return [reply('OK (for this command line only, until its connection ends)')];
  return text.includes('… cut: ') ? [reply(text), saveButton(answer, print)] : [reply(text)];
}

function saveButton(answer, print) {
  const save = () => saveFile('reply', [answer instanceof Uint8Array ? answer : print(answer, Infinity)]);
  return element('button', {
    type: 'button', className: 'small', dataset: {action: 'save-reply'}, on: {click: save},
  }, 'Save all of it to a file');
}

// -- What the server tells of its commands ----------------------------------------------------------------------------

const NAME = /^[!-~]{1,64}$/;  // a server may tell anything

async function commandNames(session) {
  const [list] = await Promise.allSettled([session.ask('COMMAND', 'LIST')]);  // from 7.0 on
  if (list.status === 'fulfilled' && Array.isArray(list.value)) return namesOf(list.value);
  const [commands] = await Promise.allSettled([session.ask('COMMAND')]);
  const isThere = commands.status === 'fulfilled' && Array.isArray(commands.value);
  return isThere ? namesOf(commands.value.map(command => (Array.isArray(command) ? command[0] : null))) : COMMANDS;
}

function namesOf(replies) {
  const names = replies.map(name => (name instanceof Uint8Array ? textOf(name) : name));
  const plain = names.filter(name => typeof name === 'string' && NAME.test(name));
  return plain.length ? plain.map(name => name.toUpperCase()).sort() : COMMANDS;
}

function summaryOf(docs) {
  const facts = Array.isArray(docs) && docs[1];
  if (!Array.isArray(facts)) return null;
  const at = facts.findIndex((fact, i) => i % 2 === 0 && textOf(fact) === 'summary');
  return at < 0 ? null : textOf(facts[at + 1]);
}
