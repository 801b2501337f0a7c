/** redis-operator-settings.mjs: the configuration of the server, and its users. */

import {element} from './page.mjs';
import {labelOfName} from './redis-bytes.mjs';
import {openDialog} from './redis-dialog.mjs';
import {labelled} from './redis-fields.mjs';
import {count, countOf} from './redis-names.mjs';
import {button, Part, table, WORD_CHARACTERS} from './redis-operator-part.mjs';
import {settingsOf, usersOf} from './redis-settings.mjs';

const RULES_CHARACTERS = 300;
const LONGEST_EDITED = 2000;   // characters of a value

export class SettingsPart extends Part {
  #rows = [];
  #filter;

  constructor(page) {
    const filter = element('input', {id: 'operator-settings-filter', autocomplete: 'off', spellcheck: false,
      on: {input: () => this.#show()}});
    super(page, 'settings', 'Configuration', [button('settings-read', 'Read', () => this.#read()),
      element('label', {htmlFor: filter.id}, 'with the name'), filter]);
    this.#filter = filter;
  }

  clear() {
    super.clear();
    this.#rows = [];
  }

  #read() {
    return this.attempt(async (session, isSame) => {
      const rows = settingsOf(await session.ask('CONFIG', 'GET', '*'));
      if (!isSame()) return;
      this.#rows = rows;
      this.#show();
      this.say(`${countOf(rows.length, 'setting')}.`, 'good');
    });
  }

  #show() {
    const wanted = this.#filter.value.trim().toLowerCase();
    const rows = this.#rows.filter(({name}) => name.includes(wanted));
    const cells = rows.map(row => this.#cellsOf(row));
    this.content.replaceChildren(table('Configuration', ['Name', 'Value', 'Change'], cells));
  }

  #cellsOf(row) {
    const {name, value, isHidden} = row;
    const shown = isHidden ? '(set, and hidden)' : value === '' ? '–' : labelOfName(value, RULES_CHARACTERS);
    return [labelOfName(name, WORD_CHARACTERS), shown, isEditable(row) ? button(`set-${name}`, 'Change…',
      () => this.#change(row), 'small') : ''];
  }

  #change({name, value}) {
    const {session} = this;
    const refusal = session?.refusal('CONFIG', 'SET', name);
    if (refusal) this.say(refusal, 'bad');
    if (refusal || !session) return undefined;
    const input = element('input', {id: 'setting-value', value, autocomplete: 'off', spellcheck: false});
    return openDialog({
      id: 'dialog-setting', title: `Change ${name}`, submit: 'Change',
      content: [labelled('Value', input), element('p', {className: 'note'},
        'The change takes effect at once, and lasts until the server is started again: its file is not changed.')],
      onSubmit: async () => {
        await session.ask('CONFIG', 'SET', name, input.value);
        await this.#read();
      },
    });
  }
}

// What would not come back from a field as it was is left alone, and so is what is secret.
function isEditable({name, value, isHidden}) {
  return !isHidden && /^[!-~]+$/.test(name) && value.length <= LONGEST_EDITED && /^[ -~]*$/.test(value);
}

export class UsersPart extends Part {
  constructor(page) {
    super(page, 'users', 'Users', [button('users-read', 'Read', () => this.#read())]);
  }

  #read() {
    return this.attempt(async (session, isSame) => {
      const users = usersOf(await session.ask('ACL', 'LIST'));
      if (!isSame()) return;
      this.content.replaceChildren(table('Users', ['Name', 'May log in', 'Rules'], users.map(user => [
        labelOfName(user.name, WORD_CHARACTERS), loginOf(user), labelOfName(user.rules, RULES_CHARACTERS)])));
      this.say(`${countOf(users.length, 'user')}.`, 'good');
    });
  }
}

function loginOf({isOn, passwords}) {
  if (!isOn) return 'no';
  if (passwords === null) return 'without a password';
  return passwords === 1 ? 'by a password' : `by ${count(passwords)} passwords`;
}
