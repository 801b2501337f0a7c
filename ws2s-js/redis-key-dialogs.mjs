/** What is asked about one key: its time to live, its name, its end; and what a new one is to be. */

import {element, FieldError} from './page.mjs';
import {bytesOfName, labelOfName, nameOf} from './redis-bytes.mjs';
import {openDialog} from './redis-dialog.mjs';
import {ChangedError} from './redis-errors.mjs';
import {BytesField, EDITABLE_BYTES, labelled} from './redis-fields.mjs';
import {typeName} from './redis-session.mjs';
import {firstContent, TYPES} from './redis-values.mjs';

const SHOWN = 200;  // characters of a name
const LARGEST_SECONDS = 9e12;

/** A field for seconds. `isOptional`: empty means no time to live. */
function secondsInput(isOptional) {
  return element('input', {
    id: 'ttl-seconds', inputMode: 'numeric', autocomplete: 'off', placeholder: isOptional ? 'for ever' : '',
  });
}

function readSeconds(input) {
  const seconds = Number(input.value);
  if (/^\s*\d+\s*$/.test(input.value) && seconds >= 1 && seconds <= LARGEST_SECONDS) return seconds;
  input.setAttribute('aria-invalid', 'true');
  throw new FieldError('A time to live is a whole number of seconds, at least 1.', input);
}

/** `left`: the seconds that are left now, or null. */
export function askTtl(session, name, left, onSet) {
  const seconds = secondsInput();
  if (left !== null) seconds.value = String(Math.max(1, Math.round(left)));
  return openDialog({
    id: 'dialog-ttl', title: 'Time to live', submit: 'Set', content: [
      element('p', {}, 'Redis deletes the key when this time has passed.'), labelled('Seconds', seconds)],
    onSubmit: async () => {
      const isSet = await session.ask('EXPIRE', bytesOfName(name), readSeconds(seconds));
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
  return openDialog({
    id: 'dialog-new', title: 'New key', submit: 'Create', content: form.nodes, onSubmit: () => form.create(session),
  });
}

/** The fields of a key that is to be made. */
class NewKey {
  #name = new BytesField({id: 'new-name', label: 'Name'});
  #type = element('select', {id: 'new-type', on: {change: () => this.#onType()}},
    TYPES.map(type => element('option', {value: type}, typeName(type))));
  #seconds = secondsInput(true);
  #contents = {};  // by type
  #content;
  #place = element('div', {id: 'new-content'});

  constructor() {
    this.nodes = [this.#name.node, labelled('Type', this.#type), this.#place,
      labelled('Time to live in seconds', this.#seconds)];
    this.#onType();
  }

  #onType() {
    const type = this.#type.value, before = this.#content;
    this.#content = this.#contents[type] = this.#contents[type] || firstContent(type);
    if (before) this.#content.main.adopt(before.main);  // it was typed once, and must not be typed again
    this.#place.replaceChildren(...this.#content.nodes);
  }

  async create(session) {
    const key = this.#name.read();
    const seconds = this.#seconds.value.trim() === '' ? null : readSeconds(this.#seconds);
    const writes = [this.#content.words(key)];
    if (seconds) writes.push(['EXPIRE', key, seconds]);
    await session.change(key, 'none', {writes});
    return nameOf(key);
  }
}
