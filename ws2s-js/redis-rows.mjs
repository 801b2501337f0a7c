/** A table of which one page at a time is there, and where its rows come from. */

import {element} from './page.mjs';
import {count, pageAt} from './redis-names.mjs';
import {nameOf, sameBytes} from './redis-bytes.mjs';

export const PAGE_ROWS = 100;
const PAGE_BYTES = 4000000;
const ROUNDS = 50;  // of a scan that finds little, before somebody has to ask for more

/** How many rows to ask for at once, so that few bytes come even where each row has many. */
export function pageSize(memory, length) {
  if (!memory || !length) return PAGE_ROWS;
  return Math.min(PAGE_ROWS, Math.max(1, Math.floor(PAGE_BYTES / (memory / length))));
}

/** Rows with an index: `read(first, last)` gives those, `length()` how many there are. */
export class RangeSource {
  constructor(size, length, read) {
    Object.assign(this, {size, length, read});
  }

  async page(start) {
    const total = await this.length();
    const {first, end, last} = pageAt(start, this.size, total);
    const rows = total ? await this.read(first, end - 1) : [];
    return {
      rows, first, note: rows.length ? `${range(first, rows.length)} of ${count(total)}` : 'nothing',
      previous: first > 0 ? first - this.size : null, next: end < total ? end : null, last: end < total ? last : null,
    };
  }
}

function range(first, length) {
  return length === 1 ? count(first + 1) : `${count(first + 1)}–${count(first + length)}`;
}

/** Rows without one: `scan(cursor)` gives `{cursor, rows}`, and `rows` may come twice. A row begins with its name. */
export class ScanSource {
  #rows = [];
  #known = new Set();  // the names of those that were found
  #cursor = '0';
  #isWhole = false;

  constructor(size, scan) {
    Object.assign(this, {size, scan});
  }

  async page(start) {
    for (let i = 0; i < ROUNDS && !this.#isWhole && this.#rows.length <= start + this.size; i++) await this.#read();
    const first = Math.min(start, Math.max(0, Math.floor((this.#rows.length - 1) / this.size) * this.size));
    const rows = this.#rows.slice(first, first + this.size);
    const end = first + rows.length;
    return {
      rows, first, note: this.#note(first, rows.length), previous: first > 0 ? Math.max(0, first - this.size) : null,
      next: end < this.#rows.length || !this.#isWhole ? end - (end % this.size) : null, last: null,
    };
  }

  #note(first, length) {
    if (!length) return this.#isWhole ? 'nothing' : 'nothing found so far';
    return `${range(first, length)} of ${this.#isWhole ? '' : 'more than '}${count(this.#rows.length)}`;
  }

  /** A row that was written: in the place of the one of this name, or before all others. */
  put(row) {
    const at = this.#indexOf(row[0]);
    if (at < 0) this.#rows.unshift(row);
    else this.#rows[at] = row;
    this.#known.add(nameOf(row[0]));
  }

  /** A row that was removed. It stays known: the scan may still tell of it. */
  drop(name) {
    const at = this.#indexOf(name);
    if (at >= 0) this.#rows.splice(at, 1);
  }

  #indexOf(name) {
    return this.#rows.findIndex(row => sameBytes(row[0], name));
  }

  async #read() {
    const {cursor, rows} = await this.scan(this.#cursor);
    this.#cursor = cursor;
    this.#isWhole = cursor === '0';
    for (const row of rows) {
      const name = nameOf(row[0]);
      if (!this.#known.has(name)) this.#rows.push(row);
      this.#known.add(name);
    }
  }
}

/** Rows that follow one another: `read(after, size)` gives those after a row, or the first ones for null. */
export class ChainSource {
  #starts = [null];  // after which row each page begins

  constructor(size, length, read) {
    Object.assign(this, {size, length, read});
  }

  async page(start) {
    const number = Math.min(Math.floor(start / this.size), this.#starts.length - 1);
    const first = number * this.size;
    const [total, rows] = await Promise.all([this.length(), this.read(this.#starts[number], this.size)]);
    const hasNext = rows.length === this.size && first + rows.length < total;
    this.#starts.length = number + 1;
    if (hasNext) this.#starts.push(rows[rows.length - 1]);
    return {
      rows, first, note: rows.length ? `${range(first, rows.length)} of ${count(total)}` : 'nothing',
      previous: number ? first - this.size : null, next: hasNext ? first + this.size : null, last: null,
    };
  }
}

/**
 * The table. `columns`: headings; `cells(row, index)`: what stands in them, nodes or texts; `actions(row, index)`:
 * `{label, about, name, run}` for the buttons of a row, `about` telling for whom cannot see which row it is.
 */
export class RowsView {
  #body;
  #note;
  #buttons;
  #settings;
  #page = {rows: [], first: 0, previous: null, next: null, last: null};
  #turn = 0;

  constructor(settings) {
    this.#settings = settings;
    this.#body = element('tbody', {id: 'rows'});
    this.#note = element('span', {id: 'rows-note', className: 'muted'});
    this.#buttons = {
      first: this.#button('first', 'First', () => 0),
      previous: this.#button('previous', 'Previous', () => this.#page.previous),
      next: this.#button('next', 'Next', () => this.#page.next),
      last: this.#button('last', 'Last', () => this.#page.last),
    };
    this.node = element('div', {className: 'rows'}, this.#table(), element('div', {
      className: 'row pages', role: 'group', ariaLabel: 'Pages',
    }, this.#buttons.first, this.#buttons.previous, this.#note, this.#buttons.next, this.#buttons.last));
  }

  #table() {
    const headings = [...this.#settings.columns, 'Actions'].map(text => element('th', {scope: 'col'}, text));
    return element('div', {className: 'scroll'}, element('table', {id: 'rows-table'},
      element('caption', {className: 'visually-hidden'}, this.#settings.caption),
      element('thead', {}, element('tr', {}, headings)), this.#body));
  }

  #button(name, label, start) {
    return element('button', {
      type: 'button', className: 'small', id: `rows-${name}`,
      on: {click: () => this.#settings.run(() => this.show(start()))},
    }, label);
  }

  /** The first row of the page that is shown. */
  get first() {
    return this.#page.first;
  }

  /** Show the page at `start`; by default, the same one again. */
  async show(start = this.#page.first) {
    const turn = ++this.#turn;
    const page = await this.#settings.source.page(start);
    if (turn !== this.#turn) return;
    this.#page = page;
    const {row: focusedRow, action} = this.#body.contains(document.activeElement) ? document.activeElement.dataset : {};
    this.#body.replaceChildren(...page.rows.map((row, i) => this.#row(row, page.first + i)));
    this.#note.textContent = page.note;
    this.#enable();
    if (action) this.buttonOf(Number(focusedRow), action).focus();
  }

  // A button that gets disabled would lose the focus to nowhere.
  #enable() {
    const {previous, next, last} = this.#page;
    const focused = document.activeElement;
    for (const [name, target] of Object.entries({first: previous, previous, next, last})) {
      this.#buttons[name].disabled = target === null;
    }
    this.#buttons.last.hidden = !(this.#settings.source instanceof RangeSource);
    if (!Object.values(this.#buttons).includes(focused) || !focused.disabled) return;
    const other = Object.values(this.#buttons).find(button => !button.disabled && !button.hidden);
    if (other) other.focus();
  }

  #row(row, index) {
    const cells = this.#settings.cells(row, index).map(cell => element('td', {className: 'mono bytes'}, cell));
    const buttons = this.#settings.actions(row, index).map(action => this.#action(action, index));
    return element('tr', {dataset: {row: String(index)}}, cells,
      element('td', {className: 'row-actions'}, element('div', {className: 'row'}, buttons)));
  }

  #action({label, about, name, run}, index) {
    return element('button', {
      type: 'button', className: name === 'remove' ? 'small danger' : 'small',
      dataset: {action: name, row: String(index)},
      on: {click: () => run(() => this.buttonOf(index, name))},
    }, label, element('span', {className: 'visually-hidden'}, ` ${about}`));
  }

  /** The button of a row, or of the one that has taken its place; the heading when there are none. */
  buttonOf(index, name) {
    const rows = this.#body.rows;
    const at = Math.min(index - this.#page.first, rows.length - 1);
    return at < 0 ? document.getElementById('key-title') : rows[at].querySelector(`[data-action=${name}]`);
  }
}
