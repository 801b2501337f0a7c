/** A value of RedisJSON: a document that the server keeps as such, without the blanks between. */

import {element, FieldError} from './page.mjs';
import {sameBytes, textOf, utf8} from './redis-bytes.mjs';
import {ChangedError} from './redis-errors.mjs';
import {BytesField, EDITABLE_BYTES, Saving} from './redis-fields.mjs';
import {sourceOf} from './redis-hex.mjs';
import {layout, readJson} from './redis-json.mjs';
import {problemOf} from './redis-json-aid.mjs';
import {LateViewer} from './redis-late-viewer.mjs';
import {count} from './redis-names.mjs';
import {inSlices} from './redis-slices.mjs';

/** As TYPE calls it, of RedisJSON and of what is made like it. */
export const JSON_TYPE = 'ReJSON-RL';

const ROOT = '.';  // each version knows this path
const LARGEST = 67108864;  // bytes of memory; a longer one is not asked for
const LAYOUT_FACTOR = 4;   // a text that becomes longer than so often what it was is not laid out

/** The commands that write a document and keep its time to live: `ttl` as PTTL tells it. */
export function jsonWrites(key, value, ttl) {
  const set = ['JSON.SET', key, ROOT, value];
  return ttl >= 0 ? [set, ['PEXPIRE', key, ttl || 1]] : [set];
}

/** The bytes of a field, when they are JSON. Throws a FieldError. */
export function readDocument(field) {
  const value = field.read(), text = textOf(value);
  const problem = text === null ? new RangeError('These bytes are no UTF-8, so they are no JSON.') : problemOf(text);
  if (problem) throw new FieldError(problem.message, field.control);
  return value;
}

/** Text for a field: laid out where it stays short. */
async function written(value) {
  const text = textOf(value);
  if (text === null || value.length > EDITABLE_BYTES / LAYOUT_FACTOR) return value;
  await inSlices(readJson(text));
  const laidOut = utf8(await inSlices(layout(text)));
  return laidOut.length > EDITABLE_BYTES ? value : laidOut;
}

export class JsonKeyEditor {
  type = JSON_TYPE;
  #place;
  #field = new BytesField({id: 'json-value', label: 'Document', rows: 16});
  #note = element('p', {id: 'json-note', className: 'note'});
  #viewer = new LateViewer({id: 'view', fileName: 'document'});
  #save;
  #value = null;   // as the server has told it
  #shown = null;   // as it stands in the field
  #saving;

  constructor(place) {
    this.#place = place;
    this.#saving = new Saving(place, this.#field);
    this.#save = element('button', {
      type: 'button', id: 'json-save', className: 'primary', on: {click: () => place.run(() => this.#onSave())},
    }, 'Save');
    this.node = element('div', {}, this.#field.node, this.#note, element('div', {className: 'row'}, this.#save),
      this.#viewer.node);
  }

  get isChanged() {
    return this.#field.isChanged;
  }

  get size() {
    return this.#value ? `${count(this.#value.length)} bytes as text` : 'unknown';
  }

  /** Look at the same as another editor of this key did: to be called before load(). */
  resume(other) {
    this.#viewer.resume(other.#viewer);
  }

  discard() {
    this.#field.set(this.#shown);
  }

  async load() {
    const {session, key, memory} = this.#place;
    if (memory > LARGEST) {
      this.#field.node.hidden = this.#save.hidden = this.#viewer.node.hidden = true;
      this.#note.textContent = `This document takes ${count(memory)} bytes of memory, which is too long to be shown `
        + 'here. At the command line, JSON.GET tells parts of it.';
      return;
    }
    const value = await session.ask('JSON.GET', key);
    if (value === null) throw new ChangedError('This key does not exist any more.', true, true);
    await this.#show(value);
  }

  async #show(value) {
    const isLong = value.length > EDITABLE_BYTES;
    this.#value = value;
    this.#shown = await written(value);
    this.#field.node.hidden = this.#save.hidden = isLong;
    this.#note.textContent = isLong ? 'This document is too long to be edited here.' : '';
    this.#field.set(isLong ? new Uint8Array(0) : this.#shown);
    this.#viewer.set(sourceOf(value), value);
  }

  async #onSave() {
    if (this.#saving.isUnderWay) return;
    const value = readDocument(this.#field);
    await this.#saving.during(() => this.#write(value));
    await this.load();
    this.#place.changed('The document was saved.');
  }

  #write(value) {
    const {session, key} = this.#place, before = this.#value;
    return session.change(key, JSON_TYPE, {
      reads: [['PTTL', key], ['JSON.GET', key]], isSame: (ttl, now) => now !== null && sameBytes(now, before),
      writes: ttl => jsonWrites(key, value, ttl),
    });
  }

  /** Make the key anew, with what is typed. */
  async recreate() {
    const {session, key} = this.#place, value = readDocument(this.#field);
    await this.#saving.during(() => session.change(key, 'none', {writes: jsonWrites(key, value, -1)}));
    await this.load();
  }
}
