/** The lines and replies of the command line so far. */

import {element} from './page.mjs';

const ENTRIES = 300;
const CHARACTERS = 2000000;  // in all entries together

/** The newest of them; no more than a page can bear. */
export class Log {
  constructor() {
    this.node = element('div', {
      id: 'log', role: 'log', tabIndex: 0, ariaLabel: 'Commands and replies', className: 'log mono'});
  }

  clear() {
    for (const entry of [...this.node.children]) this.#drop(entry);
  }

  // `onDrop`: what stands there is not seen any more.
  add(onDrop, ...children) {
    const entry = element('div', {className: 'entry'}, ...children);
    entry.onDrop = onDrop;
    this.change(() => this.node.append(entry));
    while (this.node.children.length > 1 && this.#isTooMuch()) this.#drop(this.node.firstChild);
    return entry;
  }

  #isTooMuch() {
    return this.node.children.length > ENTRIES || this.node.textContent.length > CHARACTERS;
  }

  #drop(entry) {
    if (entry.onDrop) entry.onDrop();
    entry.remove();
  }

  /** Whoever looks at the end goes on looking at the end. */
  change(task) {
    const {node} = this;
    const isAtEnd = node.scrollTop + node.clientHeight >= node.scrollHeight - 40;
    task();
    if (isAtEnd) node.scrollTop = node.scrollHeight;
  }
}

export function reply(text) {
  return element('pre', {className: 'entry-reply'}, text);
}

export function refusal(text) {
  return element('pre', {className: 'entry-reply bad'}, text);
}
