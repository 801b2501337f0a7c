/** Dialogs. What somebody has typed into one is not lost without a question, whatever else happens. */

import {element, FieldError, Status} from './page.mjs';
import {ChangedError} from './redis-errors.mjs';
import {failure} from './redis-fields.mjs';

const TYPED = 'textarea:not([readonly]), input:not([type=file], [data-look])';  // not what says where to look

const opened = new Set();

/** Ask whether what was typed may be lost. */
export async function mayDiscard(text) {
  return await openDialog({
    id: 'dialog-discard', title: 'Discard the changes?', submit: 'Discard', isDangerous: true,
    content: [element('p', {}, text)], onSubmit: () => true,
  }) === true;
}

class Dialog {
  #settings;
  #status;
  #cancel;
  #ok;
  #again;
  #form;
  #node;
  #begun = '';        // what stood in its fields
  #isTyped = false;
  #isWaiting = false;
  #mayClose = false;
  #result;
  #onClosed;

  /** Resolves to what `onSubmit` has given, when it is closed. */
  closed = new Promise(resolve => { this.#onClosed = resolve; });

  constructor(settings) {
    const {id, title, content = [], submit, isDangerous} = this.#settings = settings;
    const button = (name, label, run, className = '') => element('button', {
      type: 'button', id: `${id}-${name}`, className, on: {click: run}}, label);
    this.#status = new Status(element('p', {id: `${id}-status`}));
    this.#cancel = button('cancel', submit ? 'Cancel' : 'Close', () => this.leave());
    this.#ok = submit && element('button', {id: `${id}-submit`, className: isDangerous ? 'danger' : 'primary'}, submit);
    this.#again = button('recreate', 'Create it again', () => this.#run(settings.recreate), 'primary');
    this.#again.hidden = true;
    this.#form = element('form', {
      className: 'dialog-form', on: {submit: event => this.#onSubmit(event), input: event => this.#onInput(event)},
    }, element('h2', {id: `${id}-title`}, title), ...content, this.#status.node,
    element('div', {className: 'actions'}, this.#ok, this.#again, this.#cancel));
    this.#node = element('dialog', {id, ariaLabelledby: `${id}-title`, on: {
      close: () => this.#onClose(), cancel: event => this.#onCancel(event), keydown: event => this.#onKey(event),
    }}, this.#form);
  }

  show() {
    const {isDangerous, submit, first} = this.#settings;
    document.body.append(this.#node);
    this.#node.showModal();
    opened.add(this);
    this.#begun = this.#contents();
    const field = isDangerous || !submit ? this.#cancel : this.#form.querySelector(first || TYPED);
    (field || this.#cancel).focus();
    return this.closed;
  }

  /** Is something typed that would be lost? */
  get isChanged() {
    return this.#isTyped && this.#contents() !== this.#begun;
  }

  /** Close it, unless what is typed shall not be lost. */
  async leave() {
    const question = document.querySelector('#dialog-discard[open]');
    if (question && question !== this.#node) return;
    if (!this.isChanged || await mayDiscard('What you have typed here is not saved.')) this.close();
  }

  close() {
    this.#mayClose = true;
    this.#node.close();
  }

  /** Stay, but let the rest of the page be used; and the other way round. */
  free(place) {
    this.#node.close();
    place.after(this.#node);
    this.#node.show();
  }

  bind() {
    this.#node.close();
    this.#node.showModal();
  }

  #contents() {
    return JSON.stringify([...this.#form.querySelectorAll(TYPED)].map(field => field.value));
  }

  #onKey(event) {
    if (event.key === 'Escape' && !event.isComposing) this.#onEscape(event);
  }

  // Another form of the same bytes is not typed.
  #onInput(event) {
    if (event.target.matches(TYPED)) this.#isTyped = true;
  }

  // A field for files tells in the same way that none was chosen.
  #onCancel(event) {
    if (event.target === this.#node) this.#onEscape(event);
  }

  #onEscape(event) {
    event.preventDefault();
    this.leave();
  }

  #onSubmit(event) {
    event.preventDefault();
    if (this.#ok) this.#run(this.#settings.onSubmit);
  }

  async #run(task) {
    if (this.#isWaiting) return;
    this.#setWaiting(true);
    try {
      this.#result = await task();
      this.close();
    } catch (error) {
      this.#onFailure(error);
    }
    this.#setWaiting(false);
  }

  #setWaiting(isWaiting) {
    this.#isWaiting = isWaiting;
    for (const button of [this.#ok, this.#again]) if (button) button.disabled = isWaiting;
    if (isWaiting) this.#status.say('Waiting for the answer…', 'busy');
  }

  #onFailure(error) {
    const isMissing = error instanceof ChangedError && error.isMissing && Boolean(this.#settings.recreate);
    this.#again.hidden = !isMissing;
    this.#status.say(failure(error) + (isMissing ? ' What you have typed is still here.' : ''), 'bad');
    if (error instanceof FieldError) error.field.focus();
  }

  // Browsers close a dialog that does not let itself be closed when Escape is pressed again.
  #onClose() {
    if (this.#node.open) return;
    if (!this.#mayClose && this.isChanged) {
      this.#node.showModal();
      this.leave();
      return;
    }
    opened.delete(this);
    this.#node.remove();
    const {returnTo} = this.#settings;
    const target = document.activeElement === document.body && returnTo && returnTo();
    if (target) target.focus();
    this.#onClosed(this.#result);
  }
}

/**
 * Ask something in a dialog. Resolves to what `onSubmit` has given, undefined when it was left.
 *
 * While `onSubmit` fails the dialog stays, with the failure told in it. `submit`: the label of the button; without it
 * there is only one to close. `recreate`: what to do instead, when what was edited does not exist any more.
 * `isDangerous`: the way out has the focus; else what `first` selects. `returnTo`: gives the element that gets the
 * focus when the one that had it is gone.
 */
export function openDialog(settings) {
  return new Dialog(settings).show();
}

/** Is something typed in a dialog that is open? */
export function hasTypedDialog() {
  return [...opened].some(dialog => dialog.isChanged);
}

/** Close what is open: its session has ended. */
export function closeDialogs() {
  for (const dialog of opened) dialog.close();
}

/** Close those in which nothing is typed; the others stand behind `place` in the page, which can be used meanwhile. */
export function freeDialogs(place) {
  for (const dialog of opened) {
    if (dialog.isChanged) dialog.free(place);
    else dialog.close();
  }
}

/** There is a session again. */
export function bindDialogs() {
  for (const dialog of opened) dialog.bind();
}
