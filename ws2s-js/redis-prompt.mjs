/** The command line: what becomes of a line, from Enter to the reply. */

import {element, saveFile, visible} from './page.mjs';
import {textOf} from './redis-bytes.mjs';
import {CommandHint, commandNames} from './redis-command-docs.mjs';
import {openDialog} from './redis-dialog.mjs';
import {ReadOnlyError} from './redis-errors.mjs';
import {failure} from './redis-fields.mjs';
import {LineInput} from './redis-line-input.mjs';
import {isRead, isTextReply, linesOf, printReply, printText, shownLine, splitLine} from './redis-lines.mjs';
import {Log, refusal, reply} from './redis-log.mjs';
import {count} from './redis-names.mjs';
import {Subscriptions} from './redis-subscription.mjs';

const ROOM = 100000;  // characters of one reply
const WAIT_MILLISECONDS = 400;

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

/** The connection that commands are sent on, made for the first of them. `onLost(isInMulti)`: it is
 * lost, and made again by itself; `onClose()`: that failed. */
class CommandConnection {
  #page;
  #client = null;
  #onLost;
  #onClose;

  isInMulti = false;

  constructor(page, onLost, onClose) {
    this.#page = page;
    this.#onLost = onLost;
    this.#onClose = onClose;
  }

  get() {
    if (this.#client) return this.#client;
    const client = this.#page.session.commandLine();
    client.onLost = () => {
      const {isInMulti} = this;
      this.isInMulti = false;
      this.#onLost(isInMulti);
    };
    client.onClose = () => { if (client === this.#client) this.#onClose(); };
    this.#client = client;
    return client;
  }

  /** The node of a cluster that has answered last; null. */
  get from() {
    return this.#client?.from ?? null;
  }

  /** What a command has changed of the connection. */
  follow(name, answer) {
    if (name === 'MULTI' && answer === 'OK') this.isInMulti = true;
    if (name === 'EXEC' || name === 'DISCARD') this.isInMulti = false;
  }

  drop() {
    this.isInMulti = false;
    if (!this.#client) return;
    this.#client.onLost = this.#client.onClose = () => {};
    this.#client.close();
    this.#client = null;
  }
}

/** The button for whoever does not want to wait any longer; it comes after a while only. */
class Waiting {
  #timer = null;
  #leave;

  isOn = false;

  /** `leave()`: the focus must go elsewhere, since the button goes. */
  constructor(onStop, leave) {
    this.#leave = leave;
    this.button = element('button', {type: 'button', id: 'command-stop', hidden: true, on: {click: onStop}},
      'Stop waiting');
  }

  begin() {
    clearTimeout(this.#timer);
    this.isOn = true;
    this.#timer = setTimeout(() => { this.button.hidden = false; }, WAIT_MILLISECONDS);
  }

  end() {
    clearTimeout(this.#timer);
    this.isOn = false;
    if (document.activeElement === this.button) this.#leave();
    this.button.hidden = true;
  }
}

/** The panel. `page`: {session, commandStatus, target, select(db), onCommand(isRead)}. */
export class Prompt {
  #page;
  #log = new Log();
  #line = new LineInput(line => this.#hint.show(line), lines => this.#onLines(lines));
  #hint;
  #connection;
  #subscriptions;
  #waiting = new Waiting(() => this.#onStop(), () => this.focus());
  #turn = 0;
  #where = element('label', {id: 'prompt', htmlFor: 'command', className: 'mono'});

  constructor(node, page) {
    this.#page = page;
    this.#hint = new CommandHint(page, () => this.#line.input.value);
    this.#connection = new CommandConnection(page, isInMulti => this.#onLost(isInMulti), () => this.drop());
    this.#subscriptions = new Subscriptions(this.#log, page);
    node.append(this.#log.node, this.#form(), this.#hint.node);
    this.#hint.show('');
    if (page.session) this.begin();
  }

  #form() {
    return element('form', {id: 'command-form', autocomplete: 'off', on: {submit: event => {
      event.preventDefault();
      this.#onSubmit();
    }}}, this.#where, element('div', {className: 'stretch combobox'}, this.#line.input, this.#line.list),
    element('button', {id: 'command-send', className: 'primary'}, 'Send'), this.#waiting.button,
    element('button', {type: 'button', id: 'log-clear', on: {click: () => this.#log.clear()}}, 'Clear'));
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
    this.#subscriptions.end();
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
    this.#waiting.end();
    this.#connection.drop();
  }

  #tellWhere() {
    const {session, target} = this.#page;
    const db = session && session.db ? `[${session.db}]` : '';
    const where = visible(session?.node || target, 40).text;
    this.#where.textContent = `${where}${db}${this.#connection.isInMulti ? '(TX)' : ''}>`;
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
    if (this.#waiting.isOn) return 'The last command still waits for its answer. Stop waiting first.';
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
    if (['SUBSCRIBE', 'PSUBSCRIBE'].includes(name)) return echo => this.#subscriptions.begin(name, rest, echo);
    if (['UNSUBSCRIBE', 'PUNSUBSCRIBE'].includes(name)) return echo => this.#subscriptions.leave(name, rest, echo);
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
    if (this.#connection.isInMulti) {
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
    this.#waiting.begin();
    try {
      const [name, ...others] = words;
      const answer = await this.#connection.get().bytes(textOf(name) ?? name, ...others);
      this.#connection.follow(names[0], answer);
      this.#put(entry, [...answerNodes(names, answer), ...fromNodes(this.#connection.from)]);
      isDone = true;
    } catch (error) {
      isSent = !(error instanceof ReadOnlyError);
      if (turn === this.#turn) this.#connection.follow(names[0], error);
      this.#put(entry, [refusal(turn === this.#turn ? errorText(error) : 'Nobody waits for the reply any more.')]);
    }
    if (turn === this.#turn) this.#waiting.end();
    this.#tellWhere();
    if (isSent) this.#page.onCommand(isRead(names));
    return isDone;
  }

  #put(entry, nodes) {
    this.#log.change(() => entry.append(...nodes));
  }

  #onLost(isInMulti) {
    if (isInMulti) this.#log.add(null, refusal('The connection was lost, and the transaction with it.'));
    this.#tellWhere();
  }

  #onStop() {
    this.drop();
    this.#tellWhere();
    this.focus();
  }
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

function fromNodes(from) {
  return from ? [element('p', {className: 'note entry-from'}, `from node ${visible(from, 100).text}`)] : [];
}

function saveButton(answer, print) {
  const save = () => saveFile('reply', [answer instanceof Uint8Array ? answer : print(answer, Infinity)]);
  return element('button', {
    type: 'button', className: 'small', dataset: {action: 'save-reply'}, on: {click: save},
  }, 'Save all of it to a file');
}
