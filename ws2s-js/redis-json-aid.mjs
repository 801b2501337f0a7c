/** What helps with JSON in a field: whether it is right, where it is wrong, and other layouts of it. */

import {element} from './page.mjs';
import {layout, readJson, seemsJson} from './redis-json.mjs';

const LOOK_MILLISECONDS = 250;

// The text of a field is short: all steps at once.
function run(steps) {
  for (;;) {
    const {done, value} = steps.next();
    if (done) return value;
  }
}

/** The error at which a text stops being JSON, or null. */
export function problemOf(text) {
  try {
    run(readJson(text));
    return null;
  } catch (error) {
    if (error.name !== 'JsonError' && error.name !== 'TooMuchError') throw error;
    return error;
  }
}

/** Below a field. `field`: {text, retype(text), focus(), select(at)}; text is null where it is not written as text. */
export class JsonAid {
  #field;
  #note;
  #buttons;
  #timer = null;
  #wasJson = false;
  #before = null;   // what stood in the field before it was laid out

  constructor(id, field) {
    this.#field = field;
    this.#note = element('span', {id: `${id}-json`, className: 'note stretch', role: 'status'});
    this.#buttons = {
      layout: this.#button(`${id}-layout`, 'Lay out', () => this.#retype(2)),
      compact: this.#button(`${id}-compact`, 'In one line', () => this.#retype(0)),
      error: this.#button(`${id}-error`, 'To the error', () => this.#showError()),
      undo: this.#button(`${id}-undo`, 'As it was', () => this.#undo()),
    };
    this.node = element('div', {className: 'row json-aid'}, this.#note, Object.values(this.#buttons));
    this.node.hidden = true;
  }

  /** The id of what tells whether it is JSON. */
  get noteId() {
    return this.#note.id;
  }

  #button(id, label, onClick) {
    return element('button', {type: 'button', id, className: 'small', on: {click: onClick}}, label);
  }

  /** Another value was put into the field. */
  reset() {
    const {text} = this.#field;
    this.#wasJson = text !== null && seemsJson(text, true) && !problemOf(text);
    this.#before = null;
    this.#look();
  }

  /** Something was typed. */
  onTyped() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), LOOK_MILLISECONDS);
  }

  /** Why what was JSON is none any more; null where it still is, or never was. */
  get loss() {
    const {text} = this.#field;
    return this.#wasJson && text !== null ? problemOf(text) : null;
  }

  #look() {
    const {text} = this.#field, isShown = text !== null && (this.#wasJson || seemsJson(text, false));
    this.node.hidden = !isShown;
    if (!isShown) return;
    const problem = problemOf(text);
    this.#note.textContent = problem ? `Not JSON. ${problem.message}` : 'This is JSON.';
    this.#note.className = problem ? 'note stretch bad' : 'note stretch';
    const {layout: spread, compact, error, undo} = this.#buttons;
    error.hidden = problem === null || problem.at === undefined;
    spread.hidden = compact.hidden = problem !== null;
    undo.hidden = this.#before === null;
  }

  // What stands there now is typed, and is saved only when somebody says so.
  #retype(indent) {
    const {text} = this.#field;
    try {
      this.#field.retype(run(layout(text, indent)));
    } catch (error) {
      if (error.name !== 'TooMuchError') throw error;
      this.#note.textContent = error.message;
      return;
    }
    if (this.#field.text !== text) this.#before = this.#before ?? text;
    this.#look();
  }

  #showError() {
    const problem = problemOf(this.#field.text);
    if (problem) this.#field.select(problem.at);
  }

  #undo() {
    const before = this.#before;
    this.#before = null;
    this.#field.retype(before);
    this.#look();
    this.#field.focus();
  }
}
