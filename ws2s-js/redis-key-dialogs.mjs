/** What is asked about one key: its time to live, its name, its end; and what a new one is to be. */

import {element, FieldError} from './page.mjs';
import {bytesOfName, labelOfName, nameOf, utf8} from './redis-bytes.mjs';
import {openDialog} from './redis-dialog.mjs';
import {ChangedError} from './redis-errors.mjs';
import {BytesField, EDITABLE_BYTES, labelled} from './redis-fields.mjs';
import {JSON_TYPE} from './redis-json-key.mjs';
import {typeName} from './redis-session.mjs';
import {copyKey} from './redis-transfer.mjs';
import {expireCommand, writtenTtl} from './redis-ttl.mjs';
import {TtlField} from './redis-ttl-field.mjs';
import {firstContent, OWN_TYPES} from './redis-values.mjs';

const SHOWN = 200;  // characters of a name

/** `left`: the seconds that are left now, or null. */
export function askTtl(session, name, left, onSet) {
  const field = new TtlField(false, left === null ? '' : writtenTtl(left * 1000));
  return openDialog({
    id: 'dialog-ttl', title: 'Time to live', submit: 'Set', content: [
      element('p', {}, 'Redis deletes the key when this time has passed.'), field.node],
    onSubmit: async () => {
      const isSet = await session.ask(...expireCommand(bytesOfName(name), field.read()));
      if (!isSet) throw new ChangedError('This key does not exist any more.');
      await onSet();
    },
  });
}

/** Resolves to the new name, undefined when it stays. */
export function askName(session, from) {
  const bytes = bytesOfName(from.length > EDITABLE_BYTES ? '' : from);
  const field = new BytesField({id: 'rename-name', label: 'New name', bytes});
  return openDialog({
    id: 'dialog-rename', title: 'Rename the key', submit: 'Rename', content: [field.node],
    onSubmit: () => rename(session, from, field.read()),
  });
}

async function rename(session, from, to) {
  const key = bytesOfName(from);
  if (nameOf(to) === from) return from;
  const type = await session.ask('TYPE', key);
  if (type === 'none') throw new ChangedError('This key does not exist any more.');
  if (!await session.ask('RENAMENX', key, to)) throw new ChangedError('There is already a key of this name.');
  return nameOf(to);
}

/** Resolves to `{db, name}` of the copy, undefined when none was made. */
export function askCopy(session, from) {
  const bytes = bytesOfName(from), isLong = bytes.length > EDITABLE_BYTES;
  const name = new BytesField({
    id: 'copy-name', label: isLong ? 'Name there (empty: the same)' : 'Name there', bytes: isLong ? utf8('') : bytes});
  const db = element('input', {
    id: 'copy-db', value: String(session.db), inputMode: 'numeric', autocomplete: 'off',
    disabled: session.databases === 1});
  const replaces = element('input', {id: 'copy-replace', type: 'checkbox'});
  return openDialog({
    id: 'dialog-copy', title: 'Copy the key', submit: 'Copy', first: '#copy-db', content: [
      labelled('Database', db), name.node,
      element('label', {className: 'check'}, replaces, ' Replace a key of this name there')],
    onSubmit: async () => {
      const typed = name.read();
      const to = {db: readDatabase(db), to: isLong && !typed.length ? bytes : typed, isReplacing: replaces.checked};
      if (to.db === session.db && nameOf(to.to) === from) throw new FieldError('That is the key itself.', db);
      await copyKey(session, bytes, to);
      return {db: to.db, name: nameOf(to.to)};
    },
  });
}

function readDatabase(input) {
  const db = Number(input.value);
  if (/^\s*\d+\s*$/.test(input.value) && db < 2 ** 31) return db;
  input.setAttribute('aria-invalid', 'true');
  throw new FieldError('A database is a number: 0, 1, 2…', input);
}

/** `onDeleted(isDeleted)`: it is gone, or was already. */
export function askDelete(session, name, about, onDeleted) {
  return openDialog({
    id: 'dialog-delete', title: 'Delete this key?', submit: 'Delete', isDangerous: true,
    content: [element('p', {className: 'mono bytes about'}, labelOfName(name, SHOWN)),
      element('p', {}, `${about} It cannot be brought back.`)],
    returnTo: () => document.getElementById('key-list'),
    onSubmit: async () => onDeleted(await session.remove(bytesOfName(name))),
  });
}

/** Resolves to the name of the key that was made, undefined when none was. */
export function askNew(session) {
  const form = new NewKey();
  form.offerJson(session);
  return openDialog({
    id: 'dialog-new', title: 'New key', submit: 'Create', content: form.nodes, onSubmit: () => form.create(session),
  });
}

/** The fields of a key that is to be made. */
class NewKey {
  #name = new BytesField({id: 'new-name', label: 'Name'});
  #type = element('select', {id: 'new-type', on: {change: () => this.#onType()}},
    OWN_TYPES.map(type => element('option', {value: type}, typeName(type))));
  #ttl = new TtlField(true);
  #contents = {};  // by type
  #content;
  #place = element('div', {id: 'new-content'});

  constructor() {
    this.nodes = [this.#name.node, labelled('Type', this.#type), this.#place, this.#ttl.node];
    this.#onType();
  }

  /** Where the server has RedisJSON, or something like it. */
  async offerJson(session) {
    if (!await session.knowsCommand('JSON.SET')) return;
    this.#type.append(element('option', {value: JSON_TYPE}, typeName(JSON_TYPE)));
  }

  #onType() {
    const type = this.#type.value, before = this.#content;
    this.#content = this.#contents[type] = this.#contents[type] || firstContent(type);
    if (before) this.#content.main.adopt(before.main);  // what was typed once must not be typed again
    this.#place.replaceChildren(...this.#content.nodes);
  }

  async create(session) {
    const key = this.#name.read();
    const ttl = this.#ttl.isEmpty ? null : this.#ttl.read();
    const writes = [this.#content.words(key)];
    if (ttl) writes.push(expireCommand(key, ttl));
    await session.change(key, 'none', {writes});
    return nameOf(key);
  }
}
