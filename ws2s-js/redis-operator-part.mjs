/** redis-operator-part.mjs: what the parts of the operator's panel have in common. */

import {element} from './page.mjs';
import {labelOf, labelOfName, textOf, utf8} from './redis-bytes.mjs';
import {failure} from './redis-fields.mjs';

export const WORD_CHARACTERS = 80;
const COMMAND_CHARACTERS = 400;

/** A short text of the server, to look at. */
export const shown = text => labelOf(utf8(text), WORD_CHARACTERS);

/** A reply as text; '' when it is not UTF-8. */
export const replyText = reply => (reply instanceof Uint8Array ? textOf(reply) || '' : String(reply));

/** A command that somebody has sent, in one line. */
export function commandText({words, isHidden, isCut}) {
  const text = words.map(word => (word === '' ? '""' : labelOfName(word, WORD_CHARACTERS))).join(' ');
  const end = isHidden ? ' (the rest is hidden)' : isCut || text.length > COMMAND_CHARACTERS ? ' …' : '';
  return text.slice(0, COMMAND_CHARACTERS) + end;
}

/** A table that scrolls by itself, by keys too; nothing where there are no rows. `label`: its name. */
export function table(label, heads, rows) {
  if (!rows.length) return '';
  const attributes = {className: 'scroll', role: 'region', ariaLabel: `${label} (table)`, tabIndex: 0};
  return element('div', attributes, element('table', {},
    element('thead', {}, element('tr', {}, heads.map(head => element('th', {scope: 'col'}, head)))),
    element('tbody', {}, rows.map(cells => element('tr', {}, cells.map(cell => element('td', {}, cell)))))));
}

export function button(id, label, run, className = '') {
  return element('button', {type: 'button', id: `operator-${id}`, className, on: {click: run}}, label);
}

/** A part of the panel: a card with a title, buttons, and what they bring. */
export class Part {
  #page;
  content;
  node;

  constructor(page, id, title, controls) {
    this.#page = page;
    this.content = element('div', {id: `operator-${id}`});
    this.node = element('section', {className: 'card', ariaLabelledby: `operator-${id}-title`},
      element('h2', {id: `operator-${id}-title`}, title),
      element('div', {className: 'row tools'}, controls), this.content);
  }

  get session() {
    return this.#page.session;
  }

  say(text, kind) {
    this.#page.operatorStatus.say(text, kind);
  }

  /** Do something with the session. Failures are told, unless there is another session by then. */
  async attempt(task) {
    const {session} = this;
    if (!session) return;
    try {
      await task(session, () => session === this.session);
    } catch (error) {
      if (session === this.session) this.say(failure(error), error.name === 'AbortError' ? '' : 'bad');
    }
  }

  clear() {
    this.content.replaceChildren();
  }
}
