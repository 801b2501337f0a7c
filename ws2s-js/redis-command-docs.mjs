/** What a server tells of its commands, to those who type one. */

import {element, visible} from './page.mjs';
import {textOf} from './redis-bytes.mjs';
import {COMMANDS} from './redis-lines.mjs';

const HINT_MILLISECONDS = 250;
const NAME = /^[!-~]{1,64}$/;  // a server may tell anything

/** The names of all commands, in capitals. */
export async function commandNames(session) {
  const [list] = await Promise.allSettled([session.ask('COMMAND', 'LIST')]);  // from 7.0 on
  if (list.status === 'fulfilled' && Array.isArray(list.value)) return namesOf(list.value);
  const [commands] = await Promise.allSettled([session.ask('COMMAND')]);
  const isThere = commands.status === 'fulfilled' && Array.isArray(commands.value);
  return isThere ? namesOf(commands.value.map(command => (Array.isArray(command) ? command[0] : null))) : COMMANDS;
}

function namesOf(replies) {
  const names = replies.map(name => (name instanceof Uint8Array ? textOf(name) : name));
  const plain = names.filter(name => typeof name === 'string' && NAME.test(name));
  return plain.length ? plain.map(name => name.toUpperCase()).sort() : COMMANDS;
}

function summaryOf(docs) {
  const facts = Array.isArray(docs) && docs[1];
  if (!Array.isArray(facts)) return null;
  const at = facts.findIndex((fact, i) => i % 2 === 0 && textOf(fact) === 'summary');
  return at < 0 ? null : textOf(facts[at + 1]);
}

/** A line under the one that is typed. `page`: {session}; `typed()`: what is typed now. */
export class CommandHint {
  #page;
  #typed;
  #timer = null;
  node = element('p', {id: 'command-hint', className: 'note'});

  constructor(page, typed) {
    this.#page = page;
    this.#typed = typed;
  }

  show(line) {
    clearTimeout(this.#timer);
    this.node.textContent = 'Arrow keys: earlier lines. Tab: complete the name of a command.';
    const name = /^\s*(\S+)\s/.exec(line);
    if (name) this.#timer = setTimeout(() => this.#showSummary(name[1]), HINT_MILLISECONDS);
  }

  // Only from 7.0 on, and only to whoever may ask for it.
  async #showSummary(name) {
    const {session} = this.#page;
    if (!session || !session.isReady || name.length > 100) return;
    const [docs] = await Promise.allSettled([session.ask('COMMAND', 'DOCS', name)]);
    const summary = docs.status === 'fulfilled' && summaryOf(docs.value);
    if (summary && this.#typed().trim().split(/\s/)[0] === name) {
      this.node.textContent = `${name.toUpperCase()}: ${visible(summary, 300).text}`;
    }
  }
}
