/** Fields for bytes. */

import {element, byteCount, failureText, FieldError, parseHex, saveFile} from './page.mjs';
import {bestForm, canBeText, fromEscaped, labelOf, toEscaped, toHex, utf8, textOf} from './redis-bytes.mjs';
import {sentenceOf} from './redis-errors.mjs';
import {JsonAid} from './redis-json-aid.mjs';
import {count} from './redis-names.mjs';

/** More than this is not edited in a field: with many lines browsers would become slow. */
export const EDITABLE_BYTES = 262144;
/** So much of what is longer is looked at, at once. */
export const PIECE_BYTES = 32768;

const FORMS = {text: 'Text', escaped: 'Escaped', hex: 'Hex'};
const HINTS = {
  text: 'UTF-8 text, each character as it is; a line end is one LF.',
  escaped: 'Text in which \\n, \\r, \\t, \\xHH and \\u{…} stand for what is not plain; \\\\ is a backslash.',
  hex: 'Two hexadecimal digits for each byte.',
};

/** What has gone wrong, for people. */
export function failure(error) {
  return sentenceOf(error) || failureText(error);
}

const READERS = {text: utf8, escaped: fromEscaped, hex: parseHex};
const WRITERS = {text: bytes => textOf(bytes), escaped: toEscaped, hex: toHex};

/** A field for bytes, which are written as text, as text with escapes or in hexadecimal; it says in which form. */
export class BytesField {
  #text;
  #form;
  #hint;
  #aid = null;    // with JSON, where a document can be typed
  #isLine;
  #given;         // the bytes that were put in, and what stands there for them
  #written;
  #shownForm;

  /** `isLine`: it holds a name rather than a document; Enter submits it. */
  constructor({id, label, bytes = new Uint8Array(0), rows = 1, isLine = rows === 1, isReadOnly = false}) {
    this.#isLine = isLine;
    this.#hint = element('p', {id: `${id}-hint`, className: 'note'});
    this.#text = this.#buildText(id, rows, isReadOnly);
    this.#form = element('select', {
      id: `${id}-form`, ariaLabel: `Form of: ${label}`, on: {change: () => this.#onForm()},
    }, Object.entries(FORMS).map(([value, name]) => element('option', {value}, name)));
    this.node = element('div', {className: 'field wide bytes-field'},
      element('div', {className: 'row'}, element('label', {htmlFor: id, className: 'stretch'}, label), this.#form),
      this.#text, this.#hint);
    if (rows > 2 && !isReadOnly) this.#addAid(id);
    this.set(bytes);
  }

  #addAid(id) {
    const field = this;
    this.#aid = new JsonAid(id, {
      get text() { return field.#shownForm === 'text' ? field.#text.value : null; },
      retype: text => { this.#text.value = text; },
      focus: () => this.focus(),
      select: at => { this.focus(); this.#text.setSelectionRange(at, at + 1); },
    });
    this.#text.setAttribute('aria-describedby', `${this.#hint.id} ${this.#aid.noteId}`);
    this.node.append(this.#aid.node);
  }

  /** Why what was JSON is none any more; null where nothing of that kind was lost. */
  get lossOfJson() {
    return this.#aid ? this.#aid.loss : null;
  }

  /** What is typed into. */
  get control() {
    return this.#text;
  }

  #buildText(id, rows, isReadOnly) {
    const text = element('textarea', {
      id, rows, readOnly: isReadOnly, spellcheck: false, autocomplete: 'off', autocapitalize: 'off',
      on: {input: () => this.#onInput(), keydown: event => this.#onKey(event)},
    });
    text.setAttribute('aria-describedby', this.#hint.id);
    return text;
  }

  set(bytes) {
    this.#write(bytes, bestForm(bytes, this.#isLine));
    this.#aid?.reset();
  }

  #write(bytes, form) {
    for (const option of this.#form.options) option.disabled = option.value === 'text' && !canBeText(bytes);
    this.#form.value = this.#shownForm = form;
    this.#text.value = WRITERS[form](bytes, this.#isLine);
    this.#given = bytes;
    this.#written = this.#text.value;
    this.#hint.textContent = HINTS[form];
  }

  /** Throws a FieldError. */
  read() {
    if (!this.isChanged) return this.#given;
    try {
      return READERS[this.#shownForm](this.#text.value);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#text.setAttribute('aria-invalid', 'true');
      throw new FieldError(error.message, this.#text);
    }
  }

  /** Has anything been typed since set()? */
  get isChanged() {
    return this.#text.value !== this.#written;
  }

  /** Hold what was typed into another field, in whatever form, though it may make no sense yet. */
  adopt(other) {
    if (!other.isChanged) return;
    this.#write(this.#given, 'escaped');  // each form can be chosen then
    this.#form.value = this.#shownForm = other.#shownForm;
    this.#hint.textContent = HINTS[this.#shownForm];
    this.#text.value = other.#text.value;
    this.#written = null;
    this.#aid?.onTyped();
  }

  set isReadOnly(isReadOnly) {
    this.#text.readOnly = isReadOnly;
  }

  focus() {
    this.#text.focus();
  }

  // A name with line ends was pasted: the last one is not meant, and others must be seen.
  #onInput() {
    this.#text.removeAttribute('aria-invalid');
    this.#aid?.onTyped();
    const text = this.#text.value;
    if (!this.#isLine || !text.includes('\n')) return;
    this.#text.value = text.replace(/\n$/, '');
    if (!this.#text.value.includes('\n') || this.#shownForm !== 'text') return;
    this.#write(this.read(), 'escaped');
    this.#written = null;
  }

  #onForm() {
    const form = this.#form.value;
    try {
      const wasChanged = this.isChanged;
      this.#write(this.read(), form);
      if (wasChanged) this.#written = null;  // in its new form it still is not what was put in
      this.#aid?.onTyped();
    } catch (error) {
      this.#form.value = this.#shownForm;
      this.#hint.textContent = failure(error);
      this.#text.focus();
    }
  }

  #onKey(event) {
    if (event.key !== 'Enter' || !this.#isLine || event.isComposing || !this.#text.form) return;
    event.preventDefault();
    this.#text.form.requestSubmit();
  }
}

/** The writing of what stands in a field, which takes no other text meanwhile: that would be lost. */
export class Saving {
  #place;
  #field;
  isUnderWay = false;

  constructor(place, field) {
    this.#place = place;
    this.#field = field;
  }

  async during(task) {
    this.#place.say('Waiting for the answer…', 'busy');
    this.isUnderWay = this.#field.isReadOnly = true;
    try {
      await task();
    } finally {
      this.isUnderWay = this.#field.isReadOnly = false;
    }
  }
}

/** An input with its label. */
export function labelled(label, control, className = '') {
  const name = element('label', {htmlFor: control.id}, label);
  return element('div', {className: `field ${className}`.trim()}, name, control);
}

/** Bytes to look at; of many only the beginning, and all of them in a file. */
export function bytesShown({id, label, bytes, fileName}) {
  const isCut = bytes.length > PIECE_BYTES;
  const shown = isCut ? bytes.subarray(0, PIECE_BYTES) : bytes;
  const rows = shown.length > 80 ? 8 : 2;
  const field = new BytesField({id, label, bytes: shown, rows, isLine: false, isReadOnly: true});
  const size = isCut ? `The first ${count(PIECE_BYTES)} of ${count(bytes.length)} bytes.` : byteCount(bytes.length);
  const save = element('button', {
    type: 'button', className: 'small', id: `${id}-save`, on: {click: () => saveFile(fileName, [bytes])},
  }, 'Save to a file');
  return element('div', {className: 'bytes-shown'}, field.node,
    element('div', {className: 'row'}, element('span', {className: 'note'}, size), save));
}

/** A name that files may have, from bytes. */
export function fileNameOf(bytes) {
  return labelOf(bytes.subarray(0, 60), 60).replace(/[^\p{L}\p{N}._-]+/gu, '_').replace(/^\.+/, '') || 'value';
}
