/** One key: what is known of it, its time to live; and its value, by redis-values.mjs. */

import {FieldError} from './page.mjs';
import {bytesOfName, labelOf, labelOfName} from './redis-bytes.mjs';
import {mayDiscard} from './redis-dialog.mjs';
import {ChangedError} from './redis-errors.mjs';
import {EDITABLE_BYTES, failure} from './redis-fields.mjs';
import {KeyActions} from './redis-key-actions.mjs';
import {KeyPanel} from './redis-key-panel.mjs';
import {typeName} from './redis-session.mjs';
import {editorOf} from './redis-values.mjs';

const GONE = 'This key does not exist any more: it was deleted, or its time has run out.';

function isWrongType(error) {
  return error.name === 'RedisError' && error.code === 'WRONGTYPE';
}

/**
 * `{type, encoding, memory, deadline, node}` of a key; encoding and memory are null where they are not known, deadline
 * (in milliseconds of this computer) where there is none, node where there is only one.
 */
async function readFacts(session, key) {
  // A name of megabytes is not sent for what is only nice to know.
  const more = key.length > EDITABLE_BYTES ? [] : [['OBJECT', 'ENCODING'], ['MEMORY', 'USAGE']];
  const words = [['TYPE'], ['PTTL'], ...more];
  const answers = await Promise.allSettled(words.map(each => session.ask(...each, key)));
  const [type, ttl, encoding = {}, memory = {}] = answers;
  if (type.status === 'rejected') throw type.reason;
  // The others may be forbidden, or too new for the server.
  return {
    type: type.value,
    encoding: encoding.value instanceof Uint8Array ? labelOf(encoding.value, 60) : null,
    memory: Number.isInteger(memory.value) ? memory.value : null,
    // A BigInt where it is for ages.
    deadline: ttl.status === 'fulfilled' && ttl.value >= 0 ? Date.now() + Number(ttl.value) : null,
    node: await session.nodeOf(key),
  };
}

/**
 * The part of the page that shows a key. `page`: {session, status (a Status), onGone(name), onMade(name),
 * onCopied(name), onRenamed(from, to)}.
 */
export class KeyView {
  #page;
  #panel;
  #actions;
  #name = null;
  #turn = 0;        // of reading: what was read for another key, or earlier, must not be shown
  #visit = {};      // another one for each time that a key is opened
  #editor = null;
  #facts = {};
  #deadline = null; // when its time runs out, in milliseconds of this computer
  #isLooking = false;  // whether its time has run out
  #isKept = false;  // the key is gone, or another one, and what was typed for it is kept

  constructor(node, page) {
    this.#page = page;
    this.#panel = new KeyPanel(node, task => this.#run(task));
    this.#actions = new KeyActions(this.#subject());
    this.clear();
    setInterval(() => this.#tick(), 1000);
  }

  // What the buttons work on.
  #subject() {
    const view = this, page = this.#page;
    return {
      page,
      get session() { return page.session; },
      get name() { return view.#name; },
      get deadline() { return view.#deadline; },
      get visit() { return view.#visit; },
      get about() { return `A ${typeName(view.#facts.type)} of ${view.#editor.size}.`; },
      mayLeave: () => this.mayLeave(),
      open: name => this.open(name),
      load: text => this.#load(text),
      changed: text => this.#onChanged(text),
      gone: text => this.#onGone(this.#name, text),
      renamed: name => {
        this.#name = name;
        return this.#load('The key was renamed.');
      },
    };
  }

  /** The name of the key that is open, or null. */
  get name() {
    return this.#name;
  }

  get isChanged() {
    return this.#editor !== null && this.#editor.isChanged;
  }

  clear() {
    this.#turn++;
    this.#visit = {};
    this.#name = this.#editor = this.#deadline = null;
    this.#isKept = false;
    this.#panel.showNone();
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
    if (this.#name === null || this.#isKept) return;
    const facts = await this.#readFacts(turn);
    if (!facts) return;
    if (facts.type === 'none') this.#keep(GONE, true);
    else this.#showFacts();
  }

  // -- reading --------------------------------------------------------------------------------------------------------

  async #load(text, textIfGone) {
    const turn = ++this.#turn, name = this.#name, key = bytesOfName(name);
    this.#page.status.say('Reading the key…', 'busy');
    const facts = await this.#readFacts(turn);
    if (!facts) return;
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
    this.#isKept = false;
    this.#panel.show(name, facts.type, this.#actions.buttons, editor.node);
    this.#showFacts();
    this.#page.status.say(text || `${labelOfName(name, 60)}: ${typeName(facts.type)}, ${editor.size}.`, 'good');
  }

  // null when something else is read meanwhile.
  async #readFacts(turn) {
    const facts = await readFacts(this.#page.session, bytesOfName(this.#name));
    if (turn !== this.#turn) return null;
    this.#deadline = facts.deadline;
    return facts;
  }

  #place(key, facts, turn) {
    const page = this.#page, first = page.session, name = this.#name;
    return {
      key, memory: facts.memory,
      get session() { return page.session || first; },  // a session that was lost has another one in its place
      say: (text, kind) => { if (turn === this.#turn) page.status.say(text, kind); },
      run: task => this.#run(task),
      // The key may have been read anew meanwhile, without the change.
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

  #showFailure(error) {
    const again = {id: 'key-reload', label: 'Try again', run: () => this.#load()};
    this.#panel.showFailure(this.#name, `This key was not read. ${failure(error)}`, again);
  }

  /** The key is gone, or another one; what is typed for it stays until somebody decides. */
  #keep(text, isMissing) {
    const name = this.#name, words = `${text} What you have typed is still here.`;
    this.#turn++;
    this.#isKept = true;
    this.#deadline = null;
    if (isMissing) this.#page.onGone(name);
    const recreate = {
      id: 'key-recreate', label: 'Create it again', run: () => this.#recreate(name), className: 'primary'};
    const discard = {id: 'key-discard', label: isMissing ? 'Discard it…' : 'See what is there now…',
      run: () => this.#actions.reload()};
    this.#panel.showKept(words, isMissing ? [recreate, discard] : [discard]);
    this.#page.status.say(words, 'bad');
  }

  async #recreate(name) {
    await this.#editor.recreate();
    this.#page.onMade(name);
    await this.#load('The key was created again.');
  }

  async #onChanged(text) {
    const name = this.#name, facts = await this.#readFacts(this.#turn);
    if (!facts) return;
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
    this.#panel.focusTitle();
  }

  // -- showing --------------------------------------------------------------------------------------------------------

  #showFacts() {
    this.#panel.showFacts({...this.#facts, size: this.#editor.size});
    this.#tick();
  }

  #tick() {
    this.#panel.showTime(this.#deadline);
    const isOver = this.#editor && this.#deadline !== null && this.#deadline - Date.now() < -1000;
    if (isOver && !document.hidden && this.#page.session?.isReady) this.#onTimeOver();
  }

  async #onTimeOver() {
    if (this.#isLooking) return;
    this.#isLooking = true;
    await (this.isChanged ? this.check() : this.reload());
    this.#isLooking = false;
  }

  /** Ask for a new key, and make it. */
  make() {
    return this.#actions.make();
  }
}
