/** One key: what is known of it, its time to live, its name, its end; and its value, by redis-values.mjs. */

import {element, byteCount, FieldError, saveFile} from './page.mjs';
import {bytesOfName, labelOf, labelOfName} from './redis-bytes.mjs';
import {mayDiscard} from './redis-dialog.mjs';
import {ChangedError} from './redis-errors.mjs';
import {EDITABLE_BYTES, failure} from './redis-fields.mjs';
import {askCopy, askDelete, askName, askNew, askTtl} from './redis-key-dialogs.mjs';
import {duration} from './redis-names.mjs';
import {typeName} from './redis-session.mjs';
import {untilText} from './redis-ttl.mjs';
import {editorOf} from './redis-values.mjs';

const SHOWN = 200;  // characters of a name in a heading
const GONE = 'This key does not exist any more: it was deleted, or its time has run out.';

function isWrongType(error) {
  return error.name === 'RedisError' && error.code === 'WRONGTYPE';
}

/**
 * The part of the page that shows a key. `page`: {session, status (a Status), onGone(name), onMade(name),
 * onCopied(name), onRenamed(from, to)}.
 */
export class KeyView {
  #node;
  #page;
  #name = null;
  #turn = 0;        // of reading: what was read for another key, or earlier, must not be shown
  #visit = {};      // another one for each time that a key is opened
  #editor = null;
  #facts = {};
  #deadline = null; // when its time runs out, in milliseconds of this computer
  #isLooking = false;  // whether its time has run out
  #kept = '';       // what has become of the key, while what was typed for it is kept

  constructor(node, page) {
    this.#node = node;
    this.#page = page;
    this.clear();
    setInterval(() => this.#tick(), 1000);
  }

  /** The name of the key that is open, or null. */
  get name() {
    return this.#name;
  }

  get #session() {
    return this.#page.session;
  }

  get isChanged() {
    return this.#editor !== null && this.#editor.isChanged;
  }

  clear() {
    this.#turn++;
    this.#visit = {};
    this.#name = this.#editor = this.#deadline = null;
    this.#kept = '';
    this.#node.replaceChildren(
      element('h2', {id: 'key-title', tabIndex: -1}, 'No key is open'),
      element('p', {id: 'key-none', className: 'muted'}, 'Choose a key to see its value.'));
  }

  /** Open a key, unless something is typed for another one and shall not be lost. Was it opened? */
  async open(name) {
    if (!await this.mayLeave()) return false;
    this.clear();
    this.#name = name;
    await this.#run(() => this.#load());
    return this.#name === name;
  }

  /** May what is typed be lost? */
  async mayLeave() {
    if (!this.isChanged) return true;
    if (!await mayDiscard('What you have changed in the value is not saved.')) return false;
    if (this.#editor) this.#editor.discard();
    return true;
  }

  /** Read it anew; `text` is told then, or `textIfGone`. */
  async reload(text, textIfGone = text) {
    if (this.#name !== null) await this.#run(() => this.#load(text, textIfGone));
  }

  /** What is typed is kept; but does the key still exist? */
  check() {
    return this.#run(() => this.#check());
  }

  async #check() {
    const turn = this.#turn;
    if (this.#name === null || this.#kept) return;
    const facts = await this.#readFacts(bytesOfName(this.#name));
    if (turn !== this.#turn) return;
    if (facts.type === 'none') this.#keep(GONE, true);
    else this.#showFacts();
  }

  // -- reading --------------------------------------------------------------------------------------------------------

  async #load(text, textIfGone) {
    const turn = ++this.#turn, name = this.#name, key = bytesOfName(name);
    this.#page.status.say('Reading the key…', 'busy');
    const facts = await this.#readFacts(key);
    if (turn !== this.#turn) return;
    if (facts.type === 'none') {
      if (this.isChanged) this.#keep(GONE, true);
      else this.#onGone(name, textIfGone || GONE);
      return;
    }
    const editor = editorOf(facts.type, this.#place(key, facts, turn));
    if (this.#editor && editor.type === this.#editor.type) editor.resume?.(this.#editor);
    await editor.load();
    if (turn !== this.#turn) return;
    if (this.isChanged) {  // meanwhile
      this.#page.status.say('What you have typed is kept, and the key is not shown anew.', 'busy');
      return;
    }
    this.#facts = facts;
    this.#editor = editor;
    this.#kept = '';
    this.#build(name);
    this.#page.status.say(text || `${labelOfName(name, 60)}: ${typeName(facts.type)}, ${editor.size}.`, 'good');
  }

  async #readFacts(key) {
    const ask = (...words) => this.#session.ask(...words, key);
    // A name of megabytes is not sent for what is only nice to know.
    const more = key.length > EDITABLE_BYTES ? [] : [['OBJECT', 'ENCODING'], ['MEMORY', 'USAGE']];
    const words = [['TYPE'], ['PTTL'], ...more];
    const [type, ttl, encoding = {}, memory = {}] = await Promise.allSettled(words.map(each => ask(...each)));
    if (type.status === 'rejected') throw type.reason;
    // The others may be forbidden, or too new for the server.
    // A BigInt where it is for ages.
    this.#deadline = ttl.status === 'fulfilled' && ttl.value >= 0 ? Date.now() + Number(ttl.value) : null;
    return {
      type: type.value,
      encoding: encoding.value instanceof Uint8Array ? labelOf(encoding.value, 60) : null,
      memory: Number.isInteger(memory.value) ? memory.value : null,
      node: await this.#session.nodeOf(key),
    };
  }

  #place(key, facts, turn) {
    const page = this.#page, first = page.session, name = this.#name;
    return {
      key, memory: facts.memory,
      get session() { return page.session || first; },  // it may have been lost, and be another one now
      say: (text, kind) => { if (turn === this.#turn) page.status.say(text, kind); },
      run: task => this.#run(task),
      // It may have been read anew meanwhile, without the change.
      changed: text => {
        if (name === this.#name) this.#run(() => (turn === this.#turn ? this.#onChanged(text) : this.#load(text)));
      },
      made: text => this.#onMade(name, text),
    };
  }

  #onMade(name, text) {
    this.#page.onMade(name);
    if (this.#name !== null && this.#name !== name) return;
    this.#name = name;
    this.#run(() => this.#load(text));
  }

  // What fails for a key that is not open any more is nobody's business.
  async #run(task) {
    const visit = this.#visit;
    try {
      await task();
    } catch (error) {
      if (visit === this.#visit) this.#fail(error);
    }
  }

  #fail(error) {
    const isOther = isWrongType(error) || (error instanceof ChangedError && error.isGone);
    if (isOther && this.isChanged) this.#keep(failure(error), error.isMissing);
    else if (isWrongType(error)) this.reload('The type of this key has changed. It was read anew.');
    else if (isOther) this.reload(error.message);
    else this.#page.status.say(failure(error), 'bad');
    if (!this.#editor && this.#name !== null && !isOther) this.#showFailure(error);
    if (error instanceof FieldError) error.field.focus();
  }

  // It could not be read: an empty panel would look as if nothing had been chosen.
  #showFailure(error) {
    this.#node.replaceChildren(
      element('h2', {id: 'key-title', className: 'mono bytes', tabIndex: -1}, labelOfName(this.#name, SHOWN)),
      element('p', {id: 'key-failure-text', className: 'status bad'}, `This key was not read. ${failure(error)}`),
      element('div', {className: 'row key-actions'}, this.#button('key-reload', 'Try again', () => this.#load())));
  }

  /** Its key is gone, or another one; what is typed stays until somebody decides. */
  #keep(text, isMissing) {
    const name = this.#name;
    this.#turn++;
    this.#kept = text;
    this.#deadline = null;
    if (isMissing) this.#page.onGone(name);
    this.#node.querySelector('.key-actions').hidden = true;
    document.getElementById('key-facts').replaceChildren();  // nothing of that is known any more
    document.getElementById('key-notice').replaceChildren(
      element('p', {className: 'status bad'}, `${text} What you have typed is still here.`),
      element('div', {className: 'row'},
        isMissing && this.#button('key-recreate', 'Create it again', () => this.#recreate(name), 'primary'),
        this.#button('key-discard', isMissing ? 'Discard it…' : 'See what is there now…', () => this.#onReload())));
    this.#tick();
    this.#page.status.say(`${text} What you have typed is still here.`, 'bad');
  }

  async #recreate(name) {
    await this.#editor.recreate();
    this.#page.onMade(name);
    await this.#load('The key was created again.');
  }

  async #onChanged(text) {
    const turn = this.#turn, name = this.#name;
    const facts = await this.#readFacts(bytesOfName(name));
    if (turn !== this.#turn) return;
    if (facts.type === 'none') {
      this.#onGone(name, text);
      return;
    }
    this.#facts = facts;
    this.#showFacts();
    this.#page.status.say(text, 'good');
  }

  #onGone(name, text) {
    this.clear();
    this.#page.onGone(name);
    this.#page.status.say(text, 'busy');
    if (document.activeElement === document.body) document.getElementById('key-title').focus();
  }

  // -- showing --------------------------------------------------------------------------------------------------------

  #build(name) {
    const isCut = name.length > SHOWN;
    const hadFocus = this.#node.contains(document.activeElement);
    const focused = hadFocus && document.activeElement.id;
    const file = element('button', {type: 'button', className: 'small', id: 'key-name-file', on: {click: () => (
      saveFile('key', [bytesOfName(name)]))}}, 'Save the name to a file');
    this.#node.replaceChildren(
      element('h2', {id: 'key-title', className: 'mono bytes', tabIndex: -1, dataset: {type: this.#facts.type}},
        labelOfName(name, SHOWN)),
      element('dl', {id: 'key-facts', className: 'facts'}),
      element('div', {id: 'key-notice', className: 'notice'}),
      element('div', {className: 'row key-actions'}, this.#actions(), isCut && file),
      element('div', {id: 'key-value', role: 'group', ariaLabel: 'Value'}, this.#editor.node));
    this.#showFacts();
    if (hadFocus) (document.getElementById(focused) || document.getElementById('key-title')).focus();
  }

  #actions() {
    return [
      this.#button('key-reload', 'Reload', () => this.#onReload()),
      this.#button('key-ttl', 'Time to live…', () => this.#askTtl()),
      this.#button('key-persist', 'Keep for ever', () => this.#persist()),
      this.#button('key-rename', 'Rename…', () => this.#askName()),
      this.#button('key-copy', 'Copy…', () => this.#askCopy()),
      this.#button('key-delete', 'Delete…', () => this.#askDelete(), 'danger'),
      this.#button('key-back', 'To the keys', () => document.getElementById('key-list').focus(), 'only-narrow'),
    ];
  }

  #button(id, label, run, className = '') {
    return element('button', {type: 'button', id, className, on: {click: () => this.#run(run)}}, label);
  }

  #showFacts() {
    const {type, encoding, memory, node} = this.#facts;
    const facts = [['Type', typeName(type), 'type'], ['Size', this.#editor.size, 'size'],
      memory && ['Memory', byteCount(memory), 'memory'], encoding && ['Encoding', encoding, 'encoding'],
      node && ['Node', node, 'node'], ['Time to live', '', 'ttl']].filter(Boolean);
    document.getElementById('key-facts').replaceChildren(...facts.map(([name, value, id]) => (
      element('div', {}, element('dt', {}, name), element('dd', {id: `key-fact-${id}`}, value)))));
    this.#tick();
  }

  #tick() {
    const shown = document.getElementById('key-fact-ttl');
    if (!shown || document.hidden) return;
    const left = this.#deadline === null ? null : this.#deadline - Date.now();
    shown.textContent = left === null ? 'for ever' : `${duration(left / 1000)} left${untilText(this.#deadline)}`;
    const persist = document.getElementById('key-persist');
    if (left === null && document.activeElement === persist) document.getElementById('key-ttl').focus();
    persist.hidden = left === null;
    if (left !== null && left < -1000 && this.#session && this.#session.isReady) this.#onTimeOver();
  }

  async #onTimeOver() {
    if (this.#isLooking) return;
    this.#isLooking = true;
    await (this.isChanged ? this.check() : this.reload());
    this.#isLooking = false;
  }

  // -- doing ----------------------------------------------------------------------------------------------------------

  async #onReload() {
    if (await this.mayLeave()) await this.#load();
  }

  async #persist() {
    await this.#session.ask('PERSIST', bytesOfName(this.#name));
    await this.#onChanged('The key has no time to live any more.');
  }

  async #askTtl() {
    const seconds = this.#deadline === null ? null : (this.#deadline - Date.now()) / 1000;
    await askTtl(this.#session, this.#name, seconds, () => this.#onChanged('The time to live was set.'));
  }

  async #askName() {
    if (!await this.mayLeave()) return;  // the value is read anew then
    const from = this.#name;
    const to = await askName(this.#session, from);
    if (to === undefined || to === from) return;
    this.#page.onRenamed(from, to);
    this.#name = to;
    await this.#load('The key was renamed.');
  }

  async #askCopy() {
    const session = this.#session;
    const copy = await askCopy(session, this.#name);
    if (!copy) return;
    if (copy.db === session.db) this.#page.onCopied(copy.name);
    this.#page.status.say(`The key was copied to database ${copy.db}.`, 'good');
  }

  async #askDelete() {
    const name = this.#name, visit = this.#visit;
    await askDelete(this.#session, name, `A ${typeName(this.#facts.type)} of ${this.#editor.size}.`, isDeleted => {
      // The dialog may have been left, and another key be open.
      if (visit !== this.#visit) this.#page.onGone(name);
      else this.#onGone(name, isDeleted ? 'The key was deleted.' : 'The key was gone already.');
    });
  }

  /** Ask for a new key, and make it. */
  async make() {
    if (!await this.mayLeave()) return;
    const name = await askNew(this.#session);
    if (name === undefined) return;
    this.#page.onMade(name);
    await this.open(name);
    document.getElementById('key-title').focus();
  }
}
