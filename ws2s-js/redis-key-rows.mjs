/** The rows of the list of keys, flat or as a tree: those that can be seen stand in the DOM. */

import {byteCount, element} from './page.mjs';
import {bytesOfName, labelOfName, nameOf, utf8} from './redis-bytes.mjs';
import {count, Names, rowsInView} from './redis-names.mjs';
import {typeName} from './redis-session.mjs';
import {KeyTree, moveIn, TypedAhead} from './redis-tree.mjs';

const ROW_HEIGHT = 28;      // in pixels, as in redis.css
const INDENT = 14;          // of a level
const DEEPEST_INDENT = 12;  // levels
const SHOWN = 160;          // characters of a name in a row
const TYPED_BYTES = 10000;  // the types of keys with longer names are not asked for
const TYPES_MILLISECONDS = 120;
const CLICK_MILLISECONDS = 100;

/** Keys without folders, sorted or as they were found; rows are those of a KeyTree. */
class FlatRows {
  #names = new Names();
  #isSorted;

  constructor(isSorted) {
    this.#isSorted = isSorted;
  }

  update(names) {
    this.#names = names;
  }

  get length() {
    return this.#names.length;
  }

  range(first, end) {
    const siblings = this.length;
    return this.#names.range(first, end, this.#isSorted).map((name, i) => (
      {name, isFolder: false, label: name, level: 1, parent: '', size: 1, position: first + i + 1, siblings}));
  }

  indexOf({name}) {
    return this.#names.indexOf(name, this.#isSorted);
  }
}

/** The tree takes the sorted names. */
class TreeRows extends KeyTree {
  update(names) {
    super.update(names instanceof Names ? names.sorted : names);
  }

  /** Of the keys in a folder: `true` where all are in this Set, `false` where none is, otherwise `mixed`. */
  markedWithin(prefix, marked) {
    let [hasMarked, hasOthers] = [false, false];
    for (const name of this.namesWithin(prefix)) {
      if (marked.has(name)) hasMarked = true;
      else hasOthers = true;
      if (hasMarked && hasOthers) return 'mixed';
    }
    return String(hasMarked);
  }
}

const keyRow = name => ({name, isFolder: false});
const isSame = (a, b) => a !== null && b !== null && a.name === b.name && a.isFolder === b.isFolder;

/** The types of the keys that are, or were, in view. */
class Types {
  #page;
  #known = new Map();
  #timer = null;

  constructor(page) {
    this.#page = page;
  }

  get(name) {
    return this.#known.get(name);
  }

  set(name, type) {
    this.#known.set(name, type);
  }

  delete(name) {
    this.#known.delete(name);
  }

  clear() {
    this.#known = new Map();
  }

  /** Ask for those of these names soon, unless others are in view by then; `onKnown()` when they are known. */
  askSoon(names, onKnown) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(names, onKnown), TYPES_MILLISECONDS);
  }

  async #ask(inView, onKnown) {
    const {session} = this.#page, known = this.#known;
    const names = inView.filter(name => !known.has(name) && name.length <= TYPED_BYTES);
    if (!names.length || !session || !session.isReady) return;
    const types = await Promise.allSettled(names.map(name => session.ask('TYPE', bytesOfName(name))));
    if (known !== this.#known) return;
    // A type that may not be asked for stays empty, and is not asked for again; one that was lost on its way is.
    types.forEach(({value = '', reason}, i) => {
      if (!reason || reason.name === 'RedisError') known.set(names[i], value);
    });
    onKnown();
  }
}

/** Whether a pointer is down on a row: a click is lost when that row goes, or moves, before the pointer is up. */
class Hold {
  #onEnd;
  #timer = null;

  isOn = false;

  /** `onEnd()`: rows may go again. */
  constructor(node, onEnd) {
    this.#onEnd = onEnd;
    node.addEventListener('pointerdown', event => { if (event.target.closest('.key-row')) this.#begin(); });
  }

  #begin() {
    this.isOn = true;
    for (const name of ['pointerup', 'pointercancel']) addEventListener(name, () => this.#onUp(), {once: true});
  }

  // A click may follow, on touch screens a little later.
  #onUp() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.end(), CLICK_MILLISECONDS);
  }

  /** The click is there. */
  end() {
    clearTimeout(this.#timer);
    if (!this.isOn) return;
    this.isOn = false;
    this.#onEnd();
  }
}

/** What the rows are, and those of them that stand in the DOM. `marks`: {names (a Set), isOn}. */
class RowList {
  #names = new Names();
  #spacer = element('div', {className: 'spacer', role: 'presentation'});
  #folderMarks = new Map();  // by prefix, as far as they were drawn
  #hold;

  view = new FlatRows(true);
  active = null;  // the row that the arrow keys are at
  opened = null;  // the name of the key that is shown beside the list

  constructor(types, marks, on) {
    Object.assign(this, {types, marks});
    this.node = element('div', {
      id: 'key-list', role: 'listbox', tabIndex: 0, ariaLabel: 'Keys', on: {scroll: () => this.draw(), ...on},
    }, this.#spacer);
    this.#hold = new Hold(this.node, () => this.update());
    // Drawing within the callback could change the size that is being told.
    new ResizeObserver(() => requestAnimationFrame(() => this.draw())).observe(this.node);
  }

  get isTree() {
    return this.view instanceof TreeRows;
  }

  /** Show these names, from the top. */
  reset(names) {
    this.#names = names;
    this.active = this.opened = null;
    this.node.scrollTop = 0;
    this.update();
  }

  show(view) {
    this.view = view;
    this.#folderMarks.clear();
    this.node.setAttribute('role', this.isTree ? 'tree' : 'listbox');
    view.update(this.#names);
    if (this.active?.isFolder) this.active = null;
    if (this.isTree && this.active) view.reveal(this.active.name);
    this.draw();
    if (this.active) this.scrollTo(this.active);
  }

  /** Names have come or gone; those in view must not move. */
  update(above = this.above()) {
    if (this.#hold.isOn) return;
    this.#folderMarks.clear();
    this.view.update(this.#names);
    this.#keepPlace(above);
    this.draw();
  }

  /** The row at the top, to be given to update() later. */
  above() {
    const {scrollTop} = this.node;
    const row = [...this.#spacer.children].find(each => each.offsetTop + ROW_HEIGHT > scrollTop);
    return row && scrollTop > 0 ? {row: row.keyRow, offset: row.offsetTop - scrollTop} : null;
  }

  #keepPlace(above) {
    this.#spacer.style.height = `${this.view.length * ROW_HEIGHT}px`;
    const index = above ? this.view.indexOf(above.row) : -1;
    if (index >= 0) this.node.scrollTop = index * ROW_HEIGHT - above.offset;
  }

  /** Rows may go again: the click on one is there. */
  release() {
    this.#hold.end();
  }

  at(index) {
    return index < 0 ? null : this.view.range(index, index + 1)[0] || null;
  }

  /** The active row as it is now. */
  get activeRow() {
    return this.active && this.at(this.view.indexOf(this.active));
  }

  /** How many rows PageDown goes on. */
  get page() {
    return Math.max(1, Math.floor(this.node.clientHeight / ROW_HEIGHT) - 1);
  }

  scrollTo(row) {
    const top = this.view.indexOf(row) * ROW_HEIGHT;
    const lowest = top + ROW_HEIGHT - this.node.clientHeight;
    if (top < this.node.scrollTop) this.node.scrollTop = top;
    else if (lowest > this.node.scrollTop) this.node.scrollTop = lowest;
    this.draw();
  }

  // -- drawing --------------------------------------------------------------------------------------------------------

  /** Others are marked now. */
  onMark() {
    this.#folderMarks.clear();
  }

  // As aria-checked.
  #markOf({name, isFolder}) {
    const {names} = this.marks;
    if (!isFolder || !names.size) return String(names.has(name));
    if (!this.#folderMarks.has(name)) this.#folderMarks.set(name, this.view.markedWithin(name, names));
    return this.#folderMarks.get(name);
  }

  draw() {
    if (this.#hold.isOn) return;
    const {length} = this.view;
    this.#spacer.style.height = `${length * ROW_HEIGHT}px`;
    const {first, end} = rowsInView({
      scrollTop: this.node.scrollTop, height: this.node.clientHeight, rowHeight: ROW_HEIGHT, length});
    const rows = this.view.range(first, end);
    this.#spacer.replaceChildren(...rows.map((row, i) => this.#row(row, first + i)));
    this.#markActive();
    this.types.askSoon(rows.filter(row => !row.isFolder).map(({name}) => name), () => this.#showTypes());
  }

  #row(row, index) {
    const {name, isFolder, label, level} = row;
    const node = element('div', {
      id: `key-row-${index}`, className: isFolder ? 'key-row folder' : 'key-row', dataset: {index: String(index)},
      ...this.#told(row),
    }, this.#sign(row), element('span', {className: 'key-name mono'}, labelOfName(label, SHOWN)), this.#about(row));
    node.keyRow = row;
    node.style.top = `${index * ROW_HEIGHT}px`;
    if (level > 1) node.style.paddingLeft = `calc(.5rem + ${INDENT * Math.min(level - 1, DEEPEST_INDENT)}px)`;
    return node;
  }

  // What is told to those who do not see it.
  #told(row) {
    const {name, isFolder, isOpen, level, position, siblings} = row;
    const {names, isOn} = this.marks;
    const told = {
      role: this.isTree ? 'treeitem' : 'option', ariaSetsize: siblings, ariaPosinset: position,
      ariaSelected: String(!isFolder && name === this.opened),
    };
    if (this.isTree) told.ariaLevel = level;
    if (isFolder) told.ariaExpanded = String(isOpen);
    if (isOn || names.size) told.ariaChecked = this.#markOf(row);
    return told;
  }

  #sign({name, isFolder, isOpen}) {
    const isMarked = !isFolder && this.marks.names.has(name);
    if (!this.isTree && !isMarked) return null;
    const sign = isFolder ? (isOpen ? '▾' : '▸') : isMarked ? '✓' : '';
    return element('span', {className: 'key-sign', ariaHidden: 'true'}, sign);
  }

  #about(row) {
    const {name, isFolder, size} = row;
    const sign = {true: '✓ ', mixed: '– '}[isFolder && this.#markOf(row)] || '';
    if (isFolder) return element('span', {className: 'key-type'}, sign + count(size));
    const type = this.types.get(name);
    return [name.length > SHOWN && element('span', {className: 'key-type'}, byteCount(name.length)),
      element('span', {className: 'key-type'}, type ? typeName(type) : '')];
  }

  #showTypes() {
    for (const {keyRow: {name, isFolder}, lastChild} of this.#spacer.children) {
      if (!isFolder) lastChild.textContent = typeName(this.types.get(name) || '');
    }
  }

  #markActive() {
    const row = [...this.#spacer.children].find(each => isSame(each.keyRow, this.active));
    if (row) row.classList.add('active');
    if (row) this.node.setAttribute('aria-activedescendant', row.id);
    else this.node.removeAttribute('aria-activedescendant');
  }
}

/** The list, and what mouse and keyboard do in it. `page`: {session, open(name, isByKeyboard)}. */
export class KeyRows {
  #page;
  #onMark;
  #types;
  #list;
  #typed = new TypedAhead();

  /** Keys on which something is to be done together. `isOn`: a click marks a key, and does not open it. */
  marks = {names: new Set(), isOn: false};

  /** `onMark()`: other keys are marked now. */
  constructor(page, onMark) {
    this.#page = page;
    this.#onMark = onMark;
    this.#types = new Types(page);
    this.#list = new RowList(this.#types, this.marks, {
      keydown: event => this.#onKey(event), click: event => this.#onClick(event)});
    this.node = this.#list.node;
  }

  // -- what is shown --------------------------------------------------------------------------------------------------

  /** Show these names from now on; nothing is known of them. Marks stay where they are of the same database. */
  reset(names, keepsMarks) {
    this.#types.clear();
    if (!keepsMarks) this.marks.names.clear();
    this.#tellMarks();
    this.#list.reset(names);
  }

  /** `kind`: sorted, scan (as found) or tree, with this separator (a text; empty for no folders). */
  setView(kind, separator) {
    this.#list.show(kind === 'tree' ? new TreeRows(nameOf(utf8(separator))) : new FlatRows(kind === 'sorted'));
  }

  /** Names have come or gone. `above`: what was at the top before that. */
  update(above) {
    this.#list.update(above);
  }

  above() {
    return this.#list.above();
  }

  draw() {
    this.#list.draw();
  }

  get active() {
    return this.#list.active;
  }

  set active(row) {
    this.#list.active = row;
  }

  get opened() {
    return this.#list.opened;
  }

  // -- single keys ----------------------------------------------------------------------------------------------------

  noteType(name, type) {
    this.#types.set(name, type);
  }

  /** This key is shown beside the list. */
  markOpened(name) {
    this.#list.opened = name;
    if (name !== null) this.#list.active = keyRow(name);
    this.draw();
  }

  /** A key is gone; `take()` takes it from the names. */
  remove(name, take) {
    const list = this.#list;
    const index = list.view.indexOf(keyRow(name));
    take();
    this.#types.delete(name);  // a key of this name that is made later may have another
    if (this.marks.names.delete(name)) this.#tellMarks();
    if (list.opened === name) list.opened = null;
    this.update();
    if (isSame(list.active, keyRow(name))) list.active = list.at(Math.min(index, list.view.length - 1));
    this.draw();
  }

  /** A key has another name; the names are changed already. */
  rename(from, to) {
    const type = this.#types.get(from);
    if (type) this.#types.set(to, type);
    this.#types.delete(from);
    if (this.marks.names.delete(from)) this.marks.names.add(to);
    this.#list.onMark();
    Object.assign(this.#list, {active: keyRow(to), opened: to});
    this.update();
    if (this.#list.isTree) this.#list.view.reveal(to);
    this.#list.scrollTo(keyRow(to));
  }

  // -- marks ----------------------------------------------------------------------------------------------------------

  unmark(names) {
    for (const name of names) this.marks.names.delete(name);
    this.#tellMarks();
    this.draw();
  }

  clearMarks() {
    this.marks.names.clear();
    this.#tellMarks();
    this.draw();
  }

  #tellMarks() {
    this.#list.onMark();
    this.#onMark();
  }

  // All of a folder; with `from`, all rows from there on.
  #mark(row, from) {
    const {view} = this.#list;
    const [first, last] = [row, from || row].map(each => view.indexOf(each)).sort((a, b) => a - b);
    const rows = first < 0 ? [row] : view.range(first, last + 1);
    const names = rows.flatMap(({name, isFolder}) => (isFolder ? view.namesWithin(name) : [name]));
    const {names: marked} = this.marks;
    const isUndone = from === null && names.every(name => marked.has(name));
    for (const name of names) {
      if (isUndone) marked.delete(name);
      else marked.add(name);
    }
    this.#tellMarks();
    this.draw();
  }

  // -- mouse and keyboard ---------------------------------------------------------------------------------------------

  #onClick(event) {
    const node = event.target.closest('.key-row');
    this.#list.release();
    if (!node) return;
    const {keyRow: row} = node, before = this.#list.active;
    this.#list.active = row;
    if (event.target.classList.contains('key-sign') && row.isFolder) this.#toggle(row);
    else if (this.marks.isOn) this.#mark(row, event.shiftKey ? before : null);
    else this.#choose(row, false);
  }

  #choose(row, isByKeyboard) {
    if (row.isFolder) {
      this.#toggle(row);
      return;
    }
    this.draw();
    this.#page.open(row.name, isByKeyboard);
  }

  #toggle({name, isOpen}) {
    this.#go(isOpen ? {close: name} : {open: name});
  }

  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      this.#onEnter(event.key === 'Enter');
      return;
    }
    const move = this.#move(event.key);
    if (!move) return;
    event.preventDefault();
    this.#go(move);
  }

  #onEnter(isEnter) {
    const row = this.#list.activeRow;
    if (!row) return;
    if (this.marks.isOn && !isEnter) this.#mark(row, null);
    else this.#choose(row, isEnter);
  }

  #move(key) {
    const {isTree, view, active, page} = this.#list;
    if (!isTree && (key === 'ArrowLeft' || key === 'ArrowRight')) return null;
    return moveIn(view, active, key, page) || (isTree ? this.#typedTo(key) : null);
  }

  #typedTo(key) {
    const {view, activeRow} = this.#list;
    const from = activeRow || this.#list.at(0);
    if ([...key].length !== 1 || !from) return null;
    const {text, isNext} = this.#typed.add(key, performance.now());
    const row = view.startingWith(from, nameOf(utf8(text)), isNext);
    return row && {to: view.indexOf(row)};
  }

  #go(move) {
    const list = this.#list;
    if ('open' in move) list.view.open(move.open);
    else if ('close' in move) list.view.close(move.close);
    else list.active = list.at(move.to);
    if (list.active) list.scrollTo(list.active);
    else list.draw();
  }
}
