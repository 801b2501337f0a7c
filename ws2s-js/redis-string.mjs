/** The value of a string. */

import {element, joined, saveFile} from './page.mjs';
import {sameBytes} from './redis-bytes.mjs';
import {ChangedError} from './redis-errors.mjs';
import {BytesField, EDITABLE_BYTES, fileNameOf, openDialog, PIECE_BYTES} from './redis-fields.mjs';
import {count} from './redis-names.mjs';

const FILE_PIECE = 1048576;  // of a value that is saved to a file
const LARGEST_FILE = 512 * 1048576;

/** A string. Up to EDITABLE_BYTES all of it can be edited; of a longer one, pieces can be looked at. */
export class StringEditor {
  #place;
  #field = new BytesField({id: 'string-value', label: 'Value', rows: 12});
  #note = element('p', {id: 'string-note', className: 'note'});
  #value = null;    // as it was loaded, when all of it was
  #length = 0;
  #start = 0;
  #isSaving = false;
  #buttons;

  constructor(place) {
    this.#place = place;
    this.#buttons = {
      save: this.#button('save', 'Save', () => this.#save(), 'primary'),
      all: this.#button('all', 'Load all', () => this.#loadAll()),
      previous: this.#button('previous', 'Previous piece', () => this.#loadPiece(this.#start - PIECE_BYTES)),
      next: this.#button('next', 'Next piece', () => this.#loadPiece(this.#start + PIECE_BYTES)),
      file: this.#button('file', 'Save to a file', () => this.#saveToFile()),
      replace: this.#button('replace', 'Replace by a file…', () => this.#replace()),
    };
    this.node = element('div', {}, this.#field.node, this.#note,
      element('div', {className: 'row'}, Object.values(this.#buttons)));
  }

  #button(name, label, run, className = '') {
    return element('button', {
      type: 'button', id: `string-${name}`, className, on: {click: () => this.#place.run(run)},
    }, label);
  }

  get isChanged() {
    return this.#field.isChanged;
  }

  get size() {
    return `${count(this.#length)} ${this.#length === 1 ? 'byte' : 'bytes'}`;
  }

  async load() {
    await this.#loadPiece(0);
  }

  async #loadPiece(start) {
    const {session, key} = this.#place;
    const [type, length, piece] = await Promise.all([
      session.ask('TYPE', key), session.ask('STRLEN', key),
      session.ask('GETRANGE', key, start, start + PIECE_BYTES - 1)]);
    if (type === 'none') throw new ChangedError('This key does not exist any more.', true);
    this.#show(length, start, piece);
  }

  async #loadAll() {
    const {session, key} = this.#place;
    const value = await session.ask('GETRANGE', key, 0, EDITABLE_BYTES - 1);
    const length = await session.ask('STRLEN', key);
    this.#show(length, 0, value);
    this.#field.focus();
  }

  #show(length, start, bytes) {
    this.#length = length;
    this.#start = start;
    this.#value = bytes.length === length ? bytes : null;
    this.#field.set(bytes);
    this.#field.isReadOnly = this.#value === null;
    this.#note.textContent = this.#value ? '' : partNote(length, start, bytes.length);
    this.#enable();
  }

  #enable() {
    const isPart = this.#value === null;
    const isLong = this.#length > EDITABLE_BYTES;
    const {save, all, previous, next} = this.#buttons;
    const focused = document.activeElement;
    save.hidden = isPart;
    all.hidden = !isPart || isLong;
    previous.hidden = next.hidden = !isLong;
    previous.disabled = this.#start === 0;
    next.disabled = this.#start + PIECE_BYTES >= this.#length;
    if (focused === next && next.disabled) previous.focus();
    if (focused === previous && previous.disabled) next.focus();
  }

  // Only over what was loaded, and only if all of it was.
  async #save() {
    if (this.#isSaving) return;
    const value = this.#field.read();
    this.#isSaving = this.#field.isReadOnly = true;  // what is typed meanwhile would be lost
    try {
      await this.#write(value, this.#value);
    } finally {
      this.#isSaving = this.#field.isReadOnly = false;
    }
    this.#show(value.length, 0, value);
    this.#place.changed('The value was saved.');
  }

  #write(value, before) {
    const {session, key} = this.#place;
    const isSame = now => now !== null && sameBytes(now, before);
    return session.setString(key, value, {reads: [['GET', key]], isSame});
  }

  async #saveToFile() {
    const {session, key} = this.#place;
    const length = await session.ask('STRLEN', key);
    const pieces = [];
    for (let start = 0; start < length; start += FILE_PIECE) {
      pieces.push(await session.ask('GETRANGE', key, start, Math.min(length, start + FILE_PIECE) - 1));
      this.#place.say(`${count(Math.min(length, start + FILE_PIECE))} of ${count(length)} bytes read…`, 'busy');
    }
    const whole = joined(pieces);
    if (whole.length !== length || await session.ask('STRLEN', key) !== length) {
      throw new ChangedError('The value has changed while it was read. Nothing was saved: try again.');
    }
    saveFile(fileNameOf(key), [whole]);
    this.#place.say(`${count(length)} bytes were read for the file.`, 'good');
  }

  async #replace() {
    const input = element('input', {id: 'replace-file', type: 'file', required: true});
    const {session, key} = this.#place;
    await openDialog({
      id: 'dialog-replace', title: 'Replace the value by a file?', submit: 'Replace', isDangerous: true,
      content: [element('p', {}, `All ${this.size} of the value are replaced. Its time to live stays.`),
        element('div', {className: 'field'}, element('label', {htmlFor: 'replace-file'}, 'File'), input)],
      onSubmit: async () => {
        const [file] = input.files;
        if (file.size > LARGEST_FILE) throw new RangeError('A string of Redis has at most 512 MB.');
        await session.setString(key, new Uint8Array(await file.arrayBuffer()), {});
        await this.load();
        this.#place.changed('The value was replaced.');
      },
    });
  }
}

function partNote(length, start, shown) {
  const range = `Bytes ${count(start + 1)} to ${count(start + shown)} of ${count(length)}.`;
  return length > EDITABLE_BYTES
    ? `${range} This value is too long to be edited here: save it to a file, or replace it by one.`
    : `${range} Load all of it to edit it.`;
}
