/** The value of a string. */

import {element, saveFile, Status} from './page.mjs';
import {sameBytes} from './redis-bytes.mjs';
import {ChangedError, isForbidden} from './redis-errors.mjs';
import {openDialog} from './redis-dialog.mjs';
import {BytesField, EDITABLE_BYTES, failure, fileNameOf, PIECE_BYTES, Saving} from './redis-fields.mjs';
import {sourceOf} from './redis-hex.mjs';
import {LateViewer} from './redis-late-viewer.mjs';
import {count} from './redis-names.mjs';

const FILE_PIECE = 1048576;  // of a value that is saved to a file
const LARGEST_FILE = 512 * 1048576;

/** A string. Up to EDITABLE_BYTES all of it can be edited; of a longer one, pieces can be looked at. */
export class StringEditor {
  type = 'string';
  #place;
  #field = new BytesField({id: 'string-value', label: 'Value', rows: 12});
  #note = element('p', {id: 'string-note', className: 'note'});
  #value = null;    // as it was loaded, when all of it was
  #length = 0;
  #start = 0;
  #saving;
  #reading = null;  // what is read for a file: {isStopped}
  #progress = new Status(element('p', {id: 'string-progress'}));
  #buttons;
  #viewer;

  constructor(place) {
    this.#place = place;
    this.#saving = new Saving(place, this.#field);
    this.#viewer = new LateViewer({id: 'view', fileName: fileNameOf(place.key)});
    this.#buttons = {
      save: this.#button('save', 'Save', () => this.#save(), 'primary'),
      all: this.#button('all', 'Load all', () => this.#loadAll()),
      previous: this.#button('previous', 'Previous piece', () => this.#loadPiece(this.#start - PIECE_BYTES)),
      next: this.#button('next', 'Next piece', () => this.#loadPiece(this.#start + PIECE_BYTES)),
      file: this.#button('file', 'Save to a file', () => this.#saveToFile()),
      stop: this.#button('stop', 'Stop reading', () => this.#stopReading()),
      replace: this.#button('replace', 'Replace by a file…', () => this.#replace()),
    };
    this.node = element('div', {}, this.#field.node, this.#note,
      element('div', {className: 'row'}, Object.values(this.#buttons)), this.#progress.node, this.#viewer.node);
    this.#buttons.stop.hidden = true;
  }

  #button(name, label, run, className = '') {
    return element('button', {
      type: 'button', id: `string-${name}`, className, on: {click: () => this.#place.run(run)},
    }, label);
  }

  get isChanged() {
    return this.#field.isChanged;
  }

  /** Look at the same as another editor of this key did: to be called before load(). */
  resume(other) {
    this.#viewer.resume(other.#viewer);
  }

  /** Nobody wants what was typed any more. */
  discard() {
    this.#field.set(this.#value);
  }

  /** Make the key anew, with what is typed. */
  async recreate() {
    const value = this.#field.read();
    await this.#saving.during(() => (
      this.#place.session.change(this.#place.key, 'none', {writes: [['SET', this.#place.key, value]]})));
    this.#show(value.length, 0, value);
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
      this.#read(start, start + PIECE_BYTES - 1)]);
    if (type === 'none') throw new ChangedError('This key does not exist any more.', true, true);
    this.#show(length, start, piece);
  }

  // Some users may get a value as a whole only.
  async #read(start, last) {
    const {session, key} = this.#place;
    try {
      return await session.ask('GETRANGE', key, start, last);
    } catch (error) {
      if (!isForbidden(error) || await session.ask('STRLEN', key) > EDITABLE_BYTES) throw error;
      return (await session.ask('GET', key) || new Uint8Array(0)).subarray(start, last + 1);
    }
  }

  async #loadAll() {
    const {session, key} = this.#place;
    const value = await this.#read(0, EDITABLE_BYTES - 1);
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
    if (this.#value || start === 0) this.#viewer.set(this.#value ? sourceOf(bytes) : this.#source(length), bytes);
  }

  #source(length) {
    return {length, read: (first, end) => this.#read(first, end - 1)};
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
    if (this.#saving.isUnderWay) return;
    const value = this.#field.read(), loss = this.#field.lossOfJson;
    if (loss && !await askLoss(loss)) return;
    await this.#saving.during(() => this.#write(value, this.#value));
    this.#show(value.length, 0, value);
    this.#place.changed('The value was saved.');
  }

  #write(value, before) {
    const {session, key} = this.#place;
    const isSame = now => now !== null && sameBytes(now, before);
    return session.setString(key, value, {reads: [['GET', key]], isSame});
  }

  // Reading may take long: how far it is stands beside the button, whatever else the page tells meanwhile.
  async #saveToFile() {
    if (this.#reading) return;
    const reading = this.#reading = {isStopped: false};
    this.#buttons.stop.hidden = false;
    try {
      const pieces = await this.#readPieces(reading);
      if (pieces) saveFile(fileNameOf(this.#place.key), pieces);
      if (pieces) this.#progress.say(`${this.size} were read for the file.`, 'good');
    } catch (error) {
      this.#progress.say(`Nothing was saved. ${failure(error)}`, 'bad');
    }
    if (document.activeElement === this.#buttons.stop) this.#buttons.file.focus();
    this.#buttons.stop.hidden = true;
    this.#reading = null;
  }

  // null when it was stopped.
  async #readPieces(reading) {
    const {session, key} = this.#place;
    const length = this.#length = await session.ask('STRLEN', key);
    const pieces = [];
    for (let start = 0; start < length; start += FILE_PIECE) {
      pieces.push(await this.#read(start, Math.min(length, start + FILE_PIECE) - 1));
      if (reading.isStopped) return null;
      this.#progress.say(`${count(Math.min(length, start + FILE_PIECE))} of ${count(length)} bytes read…`, 'busy');
    }
    const isWhole = pieces.reduce((sum, piece) => sum + piece.length, 0) === length;
    if (isWhole && await session.ask('STRLEN', key) === length) return pieces;
    throw new ChangedError('The value has changed while it was read: try again.');
  }

  #stopReading() {
    if (this.#reading) this.#reading.isStopped = true;
    this.#progress.say('Stopped. Nothing was saved.');
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

function askLoss(error) {
  return openDialog({
    id: 'dialog-json', title: 'Save it although it is no JSON any more?', submit: 'Save', isDangerous: true,
    content: [element('p', {}, `The value was JSON. ${error.message}`)], onSubmit: () => true,
  });
}

function partNote(length, start, shown) {
  const range = `Bytes ${count(start + 1)} to ${count(start + shown)} of ${count(length)}.`;
  return length > EDITABLE_BYTES
    ? `${range} This value is too long to be edited here: save it to a file, or replace it by one.`
    : `${range} Load all of it to edit it.`;
}
