/** The list of keys: what is looked for, and how far that is. Their rows are in redis-key-rows.mjs. */

import {Choices, element} from './page.mjs';
import {labelOfName, nameOf, utf8} from './redis-bytes.mjs';
import {endOf} from './redis-errors.mjs';
import {failure} from './redis-fields.mjs';
import {KeyRows} from './redis-key-rows.mjs';
import {matchOf} from './redis-lines.mjs';
import {count, keyCount, Names} from './redis-names.mjs';
import {exactType, KeySearch} from './redis-scan.mjs';
import {typeName} from './redis-session.mjs';
import {TYPES} from './redis-values.mjs';

const FRESH = 20000;        // a list of so many is read anew when it may be old; a longer one is marked
const EAGER = 2000;         // so many names are drawn as they come
const DRAW_MILLISECONDS = 200;
const SEPARATOR_CHARACTERS = 20;

const VIEWS = {sorted: 'sorted', scan: 'as found', tree: 'as a tree'};

/** How the keys are shown, which is remembered: `kind` (of VIEWS), `separator`; `onChange()` when it is another. */
class ViewChoice {
  #choices = new Choices('ws2s.redis.keys');
  #onChange;
  #kind = element('select', {id: 'key-order', ariaLabel: 'Order', on: {change: () => this.#onInput()}},
    Object.entries(VIEWS).map(([value, text]) => element('option', {value}, text)));
  #separator = element('input', {
    id: 'key-separator', maxLength: SEPARATOR_CHARACTERS, autocomplete: 'off', spellcheck: false,
    ariaLabel: 'Separator of folders (empty: no folders)', on: {input: () => this.#onInput()}});

  constructor(onChange) {
    this.#onChange = onChange;
    const kind = this.#choices.get('view');
    this.#kind.value = Object.hasOwn(VIEWS, kind) ? kind : 'sorted';
    this.#separator.value = String(this.#choices.get('separator') ?? ':').slice(0, SEPARATOR_CHARACTERS);
    this.#separator.hidden = this.kind !== 'tree';
    this.node = element('div', {className: 'row'}, this.#kind, this.#separator);
  }

  get kind() {
    return this.#kind.value;
  }

  get separator() {
    return this.#separator.value;
  }

  #onInput() {
    this.#choices.set('view', this.kind);
    this.#choices.set('separator', this.separator);
    this.#separator.hidden = this.kind !== 'tree';
    this.#onChange();
  }
}

/** What is looked for: a pattern or a name, and a type. `onSearch()`: now. */
class KeyFilter {
  #onSearch;
  #pattern = element('input', {
    id: 'pattern', type: 'search', placeholder: 'all keys', autocomplete: 'off', spellcheck: false,
    autocapitalize: 'off'});
  #type = element('select', {id: 'type-filter', on: {change: () => this.#onSearch()}},
    element('option', {value: ''}, 'any type'), TYPES.map(value => element('option', {value}, typeName(value))));

  constructor(onSearch) {
    this.#onSearch = onSearch;
    this.#pattern.setAttribute('aria-describedby', 'pattern-hint');
    this.node = element('form', {
      id: 'key-filter', role: 'search', ariaLabel: 'Keys',
      on: {submit: event => { event.preventDefault(); onSearch(); }},
    }, element('div', {className: 'field stretch'}, element('label', {htmlFor: 'pattern'}, 'Find'), this.#pattern),
    element('div', {className: 'field'}, element('label', {htmlFor: 'type-filter'}, 'Type'), this.#type),
    element('button', {id: 'find', className: 'primary'}, 'Find'),
    element('p', {id: 'pattern-hint', className: 'note'}, 'A word, or a pattern with * ? [ ].'));
  }

  /** `match` and `type` for a Scanner, and `exact`, the bytes of what was typed. */
  get wanted() {
    const {value} = this.#pattern;
    return {match: matchOf(value), type: this.#type.value, exact: utf8(value)};
  }

  clear() {
    this.#pattern.value = this.#type.value = '';
  }
}

// What was typed may be a whole name: among many keys a scan comes to that late.
class ExactOffer {
  #page;
  #name = null;
  node = element('p', {id: 'key-exact-row', className: 'note', hidden: true});

  constructor(page) {
    this.#page = page;
  }

  /** The key of exactly this name, `{name, type}`, which is offered then; null for none, or when nobody waits. */
  async find({exact, type}, isWaiting) {
    const [{value: found = null}] = await Promise.allSettled([exactType(this.#page.session, exact, type)]);
    if (found === null || !isWaiting()) return null;
    const name = nameOf(exact);
    const open = element('button', {
      type: 'button', id: 'key-exact', className: 'small', on: {click: () => this.#page.open(name, true)},
    }, `Open ${labelOfName(name, 60)}`);
    this.node.replaceChildren(open, ` A ${typeName(found)} of exactly this name.`);
    this.#name = name;
    this.node.hidden = false;
    return {name, type: found};
  }

  /** Nothing is offered any more, or not this key, which is open, or not there any more. */
  withdraw(name = this.#name) {
    if (name === this.#name) this.node.hidden = true;
  }
}

/** Whether a click marks a key, and how many are marked. */
class Marking {
  #rows;
  #mark = element('button', {
    type: 'button', id: 'keys-mark', className: 'small', on: {click: () => this.#onClick()}}, 'Mark');
  #text = element('span', {id: 'keys-marked', className: 'muted'});

  constructor(rows) {
    this.#rows = rows;
    this.nodes = [this.#mark, this.#text];
    this.tell();
  }

  tell() {
    const {names, isOn} = this.#rows.marks;
    const hint = isOn ? 'Click keys, or press the space bar.' : '';
    this.#mark.setAttribute('aria-pressed', String(isOn));
    this.#text.textContent = names.size ? `${keyCount(names.size)} marked` : hint;
  }

  #onClick() {
    const {marks} = this.#rows;
    marks.isOn = !marks.isOn;
    if (!marks.isOn) this.#rows.clearMarks();
    this.tell();
    this.#rows.draw();
  }
}

function small(id, label, run) {
  return element('button', {type: 'button', id, className: 'small', on: {click: run}}, label);
}

/** How far a search is, and the buttons to stop it and to go on. */
class SearchText {
  count = element('p', {id: 'key-count', className: 'muted'});
  failure = element('p', {id: 'key-failure', className: 'status bad', hidden: true});

  constructor(onStop, onMore) {
    this.stop = small('scan-stop', 'Stop', onStop);
    this.more = small('scan-more', 'Load more', onMore);
  }

  /** `search`: a KeySearch, null where there is none; `age`: why the list may be old. */
  tell(search, age) {
    const {isScanning = false, isWhole, isFull, error = null} = search || {};
    this.stop.hidden = !isScanning;
    this.more.hidden = !search || isScanning || isWhole || isFull;
    this.more.textContent = error ? 'Try again' : 'Load more';
    this.count.textContent = (search ? progressText(search) : '') + age;
    this.failure.hidden = error === null;
    this.failure.textContent = error ? failure(error) : '';
  }
}

function progressText({found, size, looked, isWhole, isFull, isScanning, error}) {
  const keys = keyCount(found), all = size === null ? '' : ` of ${count(size)}`;
  if (error) return `${keys} found${all}; stopped by an error.`;
  if (isWhole) return `${keys} found${size === null ? '' : `, ${count(size)} in the database`}.`;
  if (isFull) return `${keys}${all}: this list takes no more. Use a narrower pattern.`;
  const progress = `${keys} found, about ${count(Math.min(looked, size ?? Infinity))}${all} looked at`;
  return isScanning ? `${progress}…` : `${progress}; there may be more.`;
}

/** The panel with the list. `page`: {session, status, open(name, isByKeyboard), make(), onRefresh()}. */
export class KeyList {
  #page;
  #names = new Names();
  #rows;
  #exact;
  #marking;
  #filter = new KeyFilter(() => this.search());
  #view = new ViewChoice(() => this.#rows.setView(this.#view.kind, this.#view.separator));
  #search = null;
  #wanted = {match: '*', type: '', exact: utf8('')};
  #isQuiet = false;       // tells failures only
  #age = '';              // why the list may be older than the database
  #drawTimer = null;
  #told;

  constructor(node, page) {
    this.#page = page;
    this.#exact = new ExactOffer(page);
    this.#rows = new KeyRows(page, () => this.#marking?.tell());
    this.#marking = new Marking(this.#rows);
    this.#told = new SearchText(() => this.#onStop(), () => this.#onMore());
    const {stop, more, count: number, failure: failed} = this.#told;
    const buttons = element('div', {className: 'row'}, stop, more,
      small('keys-refresh', 'Refresh', () => this.#onRefresh()), small('key-new', 'New key…', () => page.make()));
    this.#view.node.append(...this.#marking.nodes);
    node.append(this.#filter.node, this.#exact.node, number, failed, buttons, this.#view.node, this.#rows.node);
    this.#rows.setView(this.#view.kind, this.#view.separator);
  }

  // -- looking for keys -----------------------------------------------------------------------------------------------

  /** Nothing is looked for any more, and nothing listed. */
  clear(keepsMarks = false) {
    if (this.#search) this.#search.stop();
    this.#search = null;
    this.#names = new Names();
    this.#age = '';
    this.#exact.withdraw();
    this.#rows.reset(this.#names, keepsMarks);
    this.#tellCount();
  }

  /** Look for the keys that the filter describes, from the beginning. */
  search() {
    this.#wanted = this.#filter.wanted;
    this.#isQuiet = false;
    return this.#searchAnew();
  }

  /** Look for the same again. Only failures are told. */
  searchQuietly() {
    this.#isQuiet = true;
    return this.#searchAnew();
  }

  #searchAnew() {
    const {opened} = this.#rows;
    this.clear(true);
    this.#rows.markOpened(opened);
    this.#rows.active = null;
    const ifCurrent = run => (...told) => (search === this.#search ? run(...told) : undefined);
    const search = this.#search = new KeySearch(this.#page.session, this.#wanted, this.#names, {
      found: ifCurrent(number => this.#onFound(number)), changed: ifCurrent(() => this.#tellCount()),
      ended: ifCurrent(() => this.#onEnd())});
    this.#findExact(search);
    return this.#run();
  }

  #run() {
    if (!this.#isQuiet) this.#page.status.say('Looking for keys…', 'busy');
    return this.#search.run();
  }

  async #findExact(search) {
    const found = await this.#exact.find(this.#wanted, () => search === this.#search);
    if (!found) return;
    if (found.name === this.#rows.opened) this.#exact.withdraw();
    this.#rows.noteType(found.name, found.type);
    this.#onFound(this.#names.add([found.name]));
  }

  /** What was looked for last was on another server. */
  forgetFilter() {
    this.#filter.clear();
  }

  /** The database may be another one than the list shows, for this reason. */
  async outdate(reason) {
    // What has ended the connection before would do it again, and again.
    if (!this.#search || (this.#search.error && endOf(this.#search.error))) return;
    if (this.#names.length > FRESH) {
      this.#age = reason;
      this.#tellCount();
      return;
    }
    const {active} = this.#rows, above = this.#rows.above();
    await this.searchQuietly();  // not for what is half typed
    if (this.#rows.active === null && active && (active.isFolder || this.#names.has(active.name))) {
      this.#rows.active = active;
    }
    this.#rows.update(above);
  }

  #onFound(number) {
    if (number && this.#names.length <= EAGER) this.#drawNow();
    else this.#drawSoon();
    this.#tellCount();
  }

  #onEnd() {
    this.#drawNow();
    const {error} = this.#search, {length} = this.#names;
    const found = length ? `${keyCount(length)} found.` : 'No key was found.';
    if (error) this.#page.status.say(failure(error), 'bad');
    else if (!this.#isQuiet) this.#page.status.say(found, 'good');
  }

  #onStop() {
    this.#search.stop();
    this.#drawNow();
    this.#page.status.say(`Stopped: ${keyCount(this.#names.length)} found so far.`);
    this.#told.more.focus();
  }

  #onRefresh() {
    this.search();
    this.#page.onRefresh();
  }

  #onMore() {
    this.#isQuiet = false;
    this.#run();
    this.#told.stop.focus();
  }

  // -- what is in the list --------------------------------------------------------------------------------------------

  /** A key that was made here. */
  insert(name) {
    const above = this.#rows.above();
    this.#names.add([name]);
    this.#resize(1);
    this.#rows.update(above);
    this.#tellCount();
  }

  /** A key that is gone. */
  remove(name) {
    this.#exact.withdraw(name);
    this.#rows.remove(name, () => this.#names.remove(name));
    this.#resize(-1);
    this.#drawNow();
  }

  #resize(change) {
    if (this.#search && this.#search.size !== null) this.#search.size = Math.max(0, this.#search.size + change);
  }

  rename(from, to) {
    this.#exact.withdraw(from);
    this.#names.remove(from);
    this.#names.add([to]);
    this.#rows.rename(from, to);
    this.#drawNow();
  }

  /** The key that is shown beside the list. */
  markOpened(name) {
    this.#exact.withdraw(name);
    this.#rows.markOpened(name);
  }

  /** The names of the keys that are marked. */
  get marked() {
    return [...this.#rows.marks.names];
  }

  /** These keys are gone. */
  unmark(names) {
    this.#rows.unmark(names);
  }

  /** What was looked for: {match, type}. */
  get wanted() {
    return this.#wanted;
  }

  // -- drawing --------------------------------------------------------------------------------------------------------

  #drawSoon() {
    this.#drawTimer = this.#drawTimer || setTimeout(() => this.#drawNow(), DRAW_MILLISECONDS);
  }

  #drawNow() {
    clearTimeout(this.#drawTimer);
    this.#drawTimer = null;
    this.#rows.update();
    this.#tellCount();
  }

  #tellCount() {
    this.#told.tell(this.#search, this.#age);
  }
}
