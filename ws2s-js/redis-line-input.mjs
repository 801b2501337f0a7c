/** Where a command is typed. */

import {element} from './page.mjs';
import {COMMANDS, completionsOf, CommandHistory, linesOf} from './redis-lines.mjs';

/** An input in which names of commands are completed and lines come back. */
export class LineInput {
  #history = new CommandHistory();
  #names = COMMANDS;
  #active = -1;
  #matches = [];

  /** `onInput(line)`: that is typed now; `onLines(lines)`: several were pasted. */
  constructor(onInput, onLines) {
    this.onInput = onInput;
    this.onLines = onLines;
    this.list = element('div', {id: 'completions', role: 'listbox', ariaLabel: 'Commands', hidden: true, on: {
      mousedown: event => this.#onPick(event)}});
    this.input = element('input', {
      id: 'command', className: 'mono', autocomplete: 'off', autocapitalize: 'off', spellcheck: false, role: 'combobox',
      ariaExpanded: 'false', ariaControls: 'completions', ariaAutocomplete: 'list', enterKeyHint: 'send', on: {
        input: () => this.#onInput(), keydown: event => this.#onKey(event), blur: () => this.#show([]),
        paste: event => this.#onPaste(event, event.clipboardData),
        drop: event => this.#onPaste(event, event.dataTransfer),
        beforeinput: event => this.#onInsert(event, event.data)},
    });
    this.input.setAttribute('aria-describedby', 'command-hint');
  }

  set names(names) {
    this.#names = names;
  }

  /** The line, which is in the history from now on. */
  take() {
    const line = this.input.value;
    this.remember(line);
    this.#set('');
    return line;
  }

  remember(line) {
    this.#history.add(line);
  }

  get isTyped() {
    return this.input.value.trim() !== '';
  }

  // The browser would make one line of several, and so one command of several.
  #onPaste(event, data) {
    this.#onInsert(event, data && data.getData('text/plain'));
  }

  #onInsert(event, text) {
    if (!text || !/[\r\n\u2028\u2029]/.test(text)) return;
    event.preventDefault();
    const {value, selectionStart, selectionEnd} = this.input;
    const lines = linesOf(value.slice(0, selectionStart) + text + value.slice(selectionEnd));
    if (lines.length > 1) this.onLines(lines);
    else this.#set(lines[0] || '');
  }

  clear() {
    this.#set('');
  }

  #set(line) {
    this.input.value = line;
    this.#show([]);
    this.onInput(line);
  }

  #onInput() {
    this.#show(completionsOf(this.input.value, this.#names));
    this.onInput(this.input.value);
  }

  #show(matches) {
    this.#matches = matches;
    this.#active = -1;
    this.list.replaceChildren(...matches.map((name, i) => (
      element('div', {role: 'option', id: `completion-${i}`, ariaSelected: 'false', dataset: {name}}, name))));
    this.list.hidden = !matches.length;
    this.input.setAttribute('aria-expanded', String(matches.length > 0));
    this.input.removeAttribute('aria-activedescendant');
  }

  #onPick(event) {
    const option = event.target.closest('[role=option]');
    if (!option) return;
    event.preventDefault();  // the focus stays
    this.#set(`${option.dataset.name} `);
  }

  #onKey(event) {
    if (event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
    const isTaken = {
      ArrowUp: () => this.#up(), ArrowDown: () => this.#down(), Tab: () => !event.shiftKey && this.#complete(0),
      Enter: () => this.#active >= 0 && this.#complete(), Escape: () => this.#close(),
    };
    if (Object.hasOwn(isTaken, event.key) && isTaken[event.key]()) event.preventDefault();
  }

  #complete(otherwise = -1) {
    const name = this.#matches[this.#active >= 0 ? this.#active : otherwise];
    if (name === undefined) return false;
    this.#set(`${name} `);
    return true;
  }

  #close() {
    const wasOpen = this.#matches.length > 0;
    this.#show([]);
    return wasOpen;
  }

  #up() {
    if (this.#active >= 0) this.#mark(this.#active - 1);
    else this.#recall(this.#history.older(this.input.value));
    return true;
  }

  #down() {
    if (this.#matches.length) this.#mark(Math.min(this.#active + 1, this.#matches.length - 1));
    else this.#recall(this.#history.newer(this.input.value));
    return true;
  }

  #recall(line) {
    if (line === null) return;
    this.#set(line);
    this.input.setSelectionRange(line.length, line.length);
  }

  #mark(index) {
    this.#active = index;
    [...this.list.children].forEach((option, i) => option.setAttribute('aria-selected', String(i === index)));
    if (index >= 0) this.input.setAttribute('aria-activedescendant', `completion-${index}`);
    else this.input.removeAttribute('aria-activedescendant');
    if (index >= 0) this.list.children[index].scrollIntoView({block: 'nearest'});
  }
}
