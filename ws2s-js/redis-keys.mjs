/** The list of keys: found by SCAN, step by step, with as many rows in the DOM as can be seen. */

import {byteCount, element} from './page.mjs';
import {bytesOfName, labelOfName, nameOf, utf8} from './redis-bytes.mjs';
import {endOf} from './redis-errors.mjs';
import {failure} from './redis-fields.mjs';
import {matchOf} from './redis-lines.mjs';
import {count, keyCount, Names, rowsInView} from './redis-names.mjs';
import {exactType, Scanner} from './redis-scan.mjs';
import {typeName} from './redis-session.mjs';
import {TYPES} from './redis-values.mjs';

const EAGER = 2000;         // so many names are drawn as they come
const ROUND = 100000;       // keys to find before somebody has to ask for more
const LARGEST = 500000;     // rows: browsers do not scroll much farther
const LARGEST_BYTES = 134217728;  // of their names
const FRESH = 20000;        // a list of so many is read anew when it may be old; a longer one is marked
const ROW_HEIGHT = 28;      // in pixels, as in redis.css
const SHOWN = 160;          // characters of a name in a row
const TYPED_BYTES = 10000;  // the types of keys with longer names are not asked for
const DRAW_MILLISECONDS = 200;
const TYPES_MILLISECONDS = 120;

/** The panel with the list. `page`: {session, status, open(name, isByKeyboard), make()}. */
export class KeyList {
  #page;
  #names = new Names();
  #types = new Map();     // of keys that were in view
  #scanner = null;
  #turn = 0;
  #isScanning = false;
  #goal = ROUND;
  #size = null;           // of the database
  #error = null;          // what has stopped the search
  #wanted = {match: '*', type: '', exact: utf8('')};
  #isQuiet = false;       // tells failures only
  #age = '';              // why the list may be older than the database
  #active = null;         // the name that the arrow keys are at
  #opened = null;
  #drawTimer = null;
  #typesTimer = null;
  #ui;

  constructor(node, page) {
    this.#page = page;
    this.#ui = this.#build();
    node.append(this.#ui.filter, this.#ui.exact, this.#ui.count, this.#ui.failure, this.#ui.buttons, this.#ui.list);
    // Drawing within the callback could change the size that is being told.
    new ResizeObserver(() => requestAnimationFrame(() => this.#draw())).observe(this.#ui.list);
  }

  // -- building -------------------------------------------------------------------------------------------------------

  #build() {
    const pattern = element('input', {
      id: 'pattern', type: 'search', placeholder: 'all keys', autocomplete: 'off', spellcheck: false,
      autocapitalize: 'off'});
    pattern.setAttribute('aria-describedby', 'pattern-hint');
    const type = element('select', {id: 'type-filter', on: {change: () => this.search()}},
      element('option', {value: ''}, 'any type'), TYPES.map(value => element('option', {value}, typeName(value))));
    const order = element('select', {id: 'key-order', ariaLabel: 'Order', on: {change: () => this.#onOrder()}},
      element('option', {value: 'sorted'}, 'sorted'), element('option', {value: 'scan'}, 'as found'));
    const stop = this.#button('scan-stop', 'Stop', () => this.#onStop());
    const more = this.#button('scan-more', 'Load more', () => this.#onMore());
    const spacer = element('div', {className: 'spacer', role: 'presentation'});
    return {
      pattern, type, order, stop, more, spacer, filter: this.#buildFilter(pattern, type),
      exact: element('p', {id: 'key-exact-row', className: 'note', hidden: true}),
      count: element('p', {id: 'key-count', className: 'muted'}),
      failure: element('p', {id: 'key-failure', className: 'status bad', hidden: true}),
      buttons: element('div', {className: 'row'}, stop, more, order,
        this.#button('keys-refresh', 'Refresh', () => this.#onRefresh()),
        this.#button('key-new', 'New key…', () => this.#page.make())),
      list: element('div', {
        id: 'key-list', role: 'listbox', tabIndex: 0, ariaLabel: 'Keys', on: {
          scroll: () => this.#draw(), keydown: event => this.#onKey(event), click: event => this.#onClick(event),
        },
      }, spacer),
    };
  }

  #buildFilter(pattern, type) {
    return element('form', {
      id: 'key-filter', role: 'search', ariaLabel: 'Keys',
      on: {submit: event => { event.preventDefault(); this.search(); }},
    }, element('div', {className: 'field stretch'}, element('label', {htmlFor: 'pattern'}, 'Find'), pattern),
    element('div', {className: 'field'}, element('label', {htmlFor: 'type-filter'}, 'Type'), type),
    element('button', {id: 'find', className: 'primary'}, 'Find'),
    element('p', {id: 'pattern-hint', className: 'note'}, 'A word, or a pattern with * ? [ ].'));
  }

  #button(id, label, run) {
    return element('button', {type: 'button', id, className: 'small', on: {click: run}}, label);
  }

  // -- scanning -------------------------------------------------------------------------------------------------------

  clear() {
    this.#turn++;
    this.#isScanning = false;
    this.#names = new Names();
    this.#types = new Map();
    this.#scanner = this.#active = this.#opened = this.#size = this.#error = null;
    this.#age = '';
    this.#ui.exact.hidden = true;
    this.#ui.list.scrollTop = 0;
    this.#draw();
    this.#tellCount();
  }

  /** Look for the keys that the filter describes, from the beginning. */
  search() {
    const {pattern: {value}, type} = this.#ui;
    this.#wanted = {match: matchOf(value), type: type.value, exact: utf8(value)};
    this.#isQuiet = false;
    return this.#searchAnew();
  }

  #searchAnew() {
    const opened = this.#opened;
    this.clear();
    this.#opened = opened;
    this.#scanner = new Scanner(this.#page.session, this.#wanted);
    this.#goal = ROUND;
    this.#findExact(this.#scanner);
    return this.#scan();
  }

  // What was typed may be a whole name: among many keys a scan comes to that late.
  async #findExact(scanner) {
    const {exact, type} = this.#wanted;
    const [{value: found = null}] = await Promise.allSettled([exactType(this.#page.session, exact, type)]);
    if (found === null || scanner !== this.#scanner) return;
    const name = nameOf(exact);
    this.#types.set(name, found);
    this.#add([name]);
    this.#ui.exact.replaceChildren(this.#button('key-exact', `Open ${labelOfName(name, 60)}`, () => (
      this.#page.open(name, true))), ` A ${typeName(found)} of exactly this name.`);
    this.#ui.exact.hidden = false;
  }

  /** What was looked for last was on another server. */
  forgetFilter() {
    this.#ui.pattern.value = this.#ui.type.value = '';
  }

  /** The database may be another one than the list shows, for this reason. */
  async outdate(reason) {
    // What has ended the connection before would do it again, and again.
    if (!this.#scanner || (this.#error && endOf(this.#error))) return;
    if (this.#names.length > FRESH) {
      this.#age = reason;
      this.#tellCount();
      return;
    }
    const active = this.#active, above = this.#topName();
    this.#isQuiet = true;  // nobody has asked for it
    await this.#searchAnew();  // not for what is half typed
    if (this.#active === null && this.#names.has(active)) this.#active = active;
    this.#keepPlace(above);
    this.#draw();
  }

  async #scan() {
    const turn = ++this.#turn, session = this.#page.session;
    this.#isScanning = true;
    this.#error = null;
    this.#tellCount();
    if (!this.#isQuiet) this.#page.status.say('Looking for keys…', 'busy');
    try {
      this.#size = await session.ask('DBSIZE');
    } catch (error) {
      this.#size = null;  // it may be forbidden; the list does not need it
    }
    while (turn === this.#turn && !this.#scanner.isWhole && this.#names.length < this.#goal && !this.#isFull) {
      if (!await this.#step(turn, session)) break;
    }
    if (turn === this.#turn) this.#end();
  }

  // One step. A step whose answer was lost with the connection is made again: looking changes nothing. What a step
  // finds after Stop counts, too: the next one goes on behind it.
  async #step(turn, session) {
    const scanner = this.#scanner;
    try {
      const found = await scanner.step();
      if (scanner === this.#scanner) this.#add(found);
      return true;
    } catch (error) {
      if (turn !== this.#turn) return false;
      const isLost = error.name === 'WS2SError' && !endOf(error) && !session.isOver;
      if (isLost) return session.ready().then(() => true, () => false);
      this.#error = error;
      return false;
    }
  }

  #end() {
    this.#isScanning = false;
    this.#drawNow();
    const found = this.#names.length ? `${this.#inWords()} found.` : 'No key was found.';
    if (this.#error) this.#page.status.say(failure(this.#error), 'bad');
    else if (!this.#isQuiet) this.#page.status.say(found, 'good');
  }

  #inWords() {
    return keyCount(this.#names.length);
  }

  #onStop() {
    this.#turn++;
    this.#isScanning = false;
    this.#drawNow();
    this.#page.status.say(`Stopped: ${this.#inWords()} found so far.`);
    this.#ui.more.focus();
  }

  #onRefresh() {
    this.search();
    this.#page.onRefresh();
  }

  #onMore() {
    this.#isQuiet = false;
    this.#goal = this.#names.length + ROUND;
    this.#scan();
    this.#ui.stop.focus();
  }

  // -- what is in the list --------------------------------------------------------------------------------------------

  get #isFull() {
    return this.#names.length >= LARGEST || this.#names.size >= LARGEST_BYTES;
  }

  get #isSorted() {
    return this.#ui.order.value === 'sorted';
  }

  #add(found) {
    if (this.#names.add(found) && this.#names.length <= EAGER) this.#drawNow();
    else this.#drawSoon();
    this.#tellCount();
  }

  /** A key that was made here. */
  insert(name) {
    const above = this.#topName();
    this.#names.add([name]);
    if (this.#size !== null) this.#size++;
    this.#keepPlace(above);
    this.#drawNow();
  }

  /** A key that is gone. */
  remove(name) {
    const index = this.#names.indexOf(name, this.#isSorted);
    this.#names.remove(name);
    this.#types.delete(name);  // a key of this name that is made later may have another
    if (this.#size) this.#size--;
    if (this.#opened === name) this.#opened = null;
    if (this.#active === name) this.#active = this.#nameAt(Math.min(index, this.#names.length - 1));
    this.#drawNow();
  }

  rename(from, to) {
    this.#names.remove(from);
    this.#names.add([to]);
    if (this.#types.has(from)) this.#types.set(to, this.#types.get(from));
    this.#types.delete(from);
    this.#active = this.#opened = to;
    this.#drawNow();
    this.#scrollTo(to);
  }

  /** The key that is shown beside the list. */
  markOpened(name) {
    this.#opened = name;
    if (name !== null) this.#active = name;
    this.#draw();
  }

  #nameAt(index) {
    return index < 0 ? null : this.#names.range(index, index + 1, this.#isSorted)[0];
  }

  // -- drawing --------------------------------------------------------------------------------------------------------

  #drawSoon() {
    this.#drawTimer = this.#drawTimer || setTimeout(() => this.#drawNow(), DRAW_MILLISECONDS);
  }

  // Names that come in above those in view must not move them.
  #drawNow() {
    clearTimeout(this.#drawTimer);
    this.#drawTimer = null;
    this.#keepPlace(this.#topName());
    this.#draw();
    this.#tellCount();
  }

  #topName() {
    const row = [...this.#ui.spacer.children].find(each => each.offsetTop + ROW_HEIGHT > this.#ui.list.scrollTop);
    const {scrollTop} = this.#ui.list;
    return row && scrollTop > 0 ? {name: row.keyName, offset: row.offsetTop - scrollTop} : null;
  }

  #keepPlace(top) {
    this.#ui.spacer.style.height = `${this.#names.length * ROW_HEIGHT}px`;
    const index = top ? this.#names.indexOf(top.name, this.#isSorted) : -1;
    if (index >= 0) this.#ui.list.scrollTop = index * ROW_HEIGHT - top.offset;
  }

  #draw() {
    const {list, spacer} = this.#ui;
    const length = this.#names.length;
    spacer.style.height = `${length * ROW_HEIGHT}px`;
    const {first, end} = rowsInView({
      scrollTop: list.scrollTop, height: list.clientHeight, rowHeight: ROW_HEIGHT, length});
    const rows = this.#names.range(first, end, this.#isSorted).map((name, i) => this.#row(name, first + i));
    spacer.replaceChildren(...rows);
    this.#markActive();
    this.#askTypesSoon();
  }

  #row(name, index) {
    const type = this.#types.get(name);
    const row = element('div', {
      id: `key-row-${index}`, role: 'option', className: 'key-row', dataset: {index: String(index)},
      ariaSetsize: this.#names.length, ariaPosinset: index + 1, ariaSelected: String(name === this.#opened),
    }, element('span', {className: 'key-name mono'}, labelOfName(name, SHOWN)),
    name.length > SHOWN && element('span', {className: 'key-type'}, byteCount(name.length)),
    element('span', {className: 'key-type'}, type ? typeName(type) : ''));
    row.keyName = name;
    row.style.top = `${index * ROW_HEIGHT}px`;
    return row;
  }

  #markActive() {
    const row = [...this.#ui.spacer.children].find(each => each.keyName === this.#active);
    if (row) row.classList.add('active');
    if (row) this.#ui.list.setAttribute('aria-activedescendant', row.id);
    else this.#ui.list.removeAttribute('aria-activedescendant');
  }

  #tellCount() {
    const {stop, more} = this.#ui;
    const isWhole = this.#scanner !== null && this.#scanner.isWhole;
    stop.hidden = !this.#isScanning;
    more.hidden = this.#isScanning || isWhole || !this.#scanner || this.#isFull;
    more.textContent = this.#error ? 'Try again' : 'Load more';
    this.#ui.count.textContent = this.#countText(isWhole) + this.#age;
    this.#ui.failure.hidden = this.#error === null;
    this.#ui.failure.textContent = this.#error ? failure(this.#error) : '';
  }

  #countText(isWhole) {
    if (!this.#scanner) return '';
    const size = this.#size === null ? '' : ` of ${count(this.#size)}`;
    if (this.#error) return `${this.#inWords()} found${size}; stopped by an error.`;
    if (isWhole) return `${this.#inWords()} found${size ? `, ${count(this.#size)} in the database` : ''}.`;
    if (this.#isFull) {
      return `${this.#inWords()}${size}: this list takes no more. Use a narrower pattern.`;
    }
    const looked = Math.min(this.#scanner.looked, this.#size === null ? Infinity : this.#size);
    const progress = `${this.#inWords()} found, about ${count(looked)}${size} looked at`;
    return this.#isScanning ? `${progress}…` : `${progress}; there may be more.`;
  }

  // -- types of what is in view ---------------------------------------------------------------------------------------

  #askTypesSoon() {
    clearTimeout(this.#typesTimer);
    this.#typesTimer = setTimeout(() => this.#askTypes(), TYPES_MILLISECONDS);
  }

  async #askTypes() {
    const {session} = this.#page, known = this.#types;
    const rows = [...this.#ui.spacer.children].filter(row => (
      !known.has(row.keyName) && row.keyName.length <= TYPED_BYTES));
    if (!rows.length || !session || !session.isReady) return;
    const names = rows.map(row => row.keyName);
    const types = await Promise.allSettled(names.map(name => session.ask('TYPE', bytesOfName(name))));
    if (known !== this.#types) return;
    // A type that may not be asked for stays empty, and is not asked for again; one that was lost on its way is.
    types.forEach(({value = '', reason}, i) => {
      if (!reason || reason.name === 'RedisError') known.set(names[i], value);
    });
    for (const row of this.#ui.spacer.children) {
      row.lastChild.textContent = typeName(known.get(row.keyName) || '');
    }
  }

  // -- keyboard and mouse ---------------------------------------------------------------------------------------------

  #onOrder() {
    this.#draw();
    if (this.#active !== null) this.#scrollTo(this.#active);
  }

  #onClick(event) {
    const row = event.target.closest('[role=option]');
    if (!row) return;
    this.#active = row.keyName;
    this.#draw();
    this.#page.open(row.keyName, false);
  }

  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      if (this.#active !== null) this.#page.open(this.#active, event.key === 'Enter');
      return;
    }
    const to = this.#target(event.key);
    if (to === null || !this.#names.length) return;
    event.preventDefault();
    this.#active = this.#nameAt(Math.min(Math.max(0, to), this.#names.length - 1));
    this.#scrollTo(this.#active);
  }

  #target(key) {
    const at = this.#active === null ? -1 : this.#names.indexOf(this.#active, this.#isSorted);
    const page = Math.max(1, Math.floor(this.#ui.list.clientHeight / ROW_HEIGHT) - 1);
    const targets = {
      ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: this.#names.length - 1};
    return Object.hasOwn(targets, key) ? targets[key] : null;
  }

  #scrollTo(name) {
    const {list} = this.#ui;
    const top = this.#names.indexOf(name, this.#isSorted) * ROW_HEIGHT;
    const lowest = top + ROW_HEIGHT - list.clientHeight;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (lowest > list.scrollTop) list.scrollTop = lowest;
    this.#draw();
  }
}
