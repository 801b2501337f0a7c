/**
 * A tree of a document that is opened bit by bit (redis-json.mjs, redis-msgpack.mjs). What stands where: TreeRows (what
 * is open, without a page), TreeView.
 */

import {element} from './page.mjs';
import {hintsOf} from './redis-hints.mjs';
import {count} from './redis-names.mjs';

const PAGE = 100;       // members that are shown at once
const LARGEST = 20000;  // rows
const LABEL = 200;      // characters of a value in a row
const DETAIL = 2000;    // and below the tree, of the one that has the focus
const NAME = 100;
const DEEPEST_INDENT = 20;
const WORDS = {object: ['member', 'members'], map: ['member', 'members'], list: ['item', 'items']};

/**
 * The rows of a tree: `{node, level, parent, isOpen, place}`; `parent` is a row, `place` counts from 1 among the
 * members of its parent. A row `{more, level, parent}` stands for members that are not shown yet.
 */
export class TreeRows {
  #document;

  constructor(document) {
    this.#document = document;
    this.rows = [{node: document.root, level: 1, parent: null, isOpen: false, place: 1}];
  }

  isOpenable(row) {
    return Boolean(row.node) && row.node.count > 0;
  }

  get isFull() {
    return this.rows.length + PAGE > LARGEST;
  }

  /** Show the members of a row, or those that a row stands for. Gives how many rows were added behind it. */
  open(at) {
    const row = this.rows[at];
    const owner = row.more ? row.parent : row;
    if (this.isFull || (!row.more && (row.isOpen || !this.isOpenable(row)))) return 0;
    owner.isOpen = true;
    const rows = this.#read(owner, row.more || null);
    this.rows.splice(row.more ? at : at + 1, row.more ? 1 : 0, ...rows);
    return rows.length;
  }

  #read(owner, cursor) {
    const page = this.#document.children(owner.node, cursor, PAGE);
    const before = cursor ? cursor.index : 0, level = owner.level + 1;
    const rows = page.nodes.map((node, i) => ({node, level, parent: owner, isOpen: false, place: before + i + 1}));
    if (page.cursor) rows.push({more: page.cursor, level, parent: owner});
    return rows;
  }

  /** Gives how many rows were removed behind it. */
  close(at) {
    const row = this.rows[at];
    let end = at + 1;
    while (end < this.rows.length && this.rows[end].level > row.level) end++;
    row.isOpen = false;
    return this.rows.splice(at + 1, end - at - 1).length;
  }

  /** Where its parent is; -1 for the root. */
  parentOf(at) {
    const {parent} = this.rows[at];
    return parent ? this.rows.lastIndexOf(parent, at) : -1;
  }

  /** How a row is called. */
  name(row) {
    return row.node ? this.#document.nameLabel(row.node, NAME) : '';
  }

  /** What a row stands for: a value, or how many members. */
  value(row, limit = LABEL) {
    if (row.more) return `${count(row.parent.node.count - row.more.index)} more`;
    const {kind, count: members} = row.node;
    if (!Object.hasOwn(WORDS, kind)) return this.#document.label(row.node, limit);
    return `${kind} of ${count(members)} ${WORDS[kind][members === 1 ? 0 : 1]}`;
  }

  /** The way to it from the root: $["a"][0]. */
  path(row) {
    const names = [];
    for (let each = row; each.parent; each = each.parent) names.push(`[${this.name(each)}]`);
    return `$${names.reverse().join('')}`;
  }

  /** The path of a row, all of a value that is not too long, and what that may mean besides. */
  detail(row) {
    if (row.more) return '';
    const isContainer = Object.hasOwn(WORDS, row.node.kind);
    const value = this.value(row, DETAIL);
    const hints = isContainer ? [] : hintsOf(value.replace(/^"(.*)"$/s, '$1'));
    return [`${this.path(row)}: ${value}`, ...hints].join('; ');
  }
}

/** The tree on the page. Its rows stand in the DOM as in the model. */
export class TreeView {
  #rows;
  #tree;
  #detail;

  constructor({id, label, document}) {
    this.#rows = new TreeRows(document);
    this.#tree = element('div', {
      id, role: 'tree', className: 'value-tree mono', ariaLabel: label, on: {
        click: event => this.#onClick(event), keydown: event => this.#onKey(event),
        focusin: event => this.#onFocus(event),
      },
    });
    this.#detail = element('p', {id: `${id}-detail`, className: 'note mono bytes value-detail'});
    this.node = element('div', {}, this.#tree, this.#detail);
    this.#tree.append(this.#draw(this.#rows.rows[0]));
    this.#tree.children[0].tabIndex = 0;
    this.#open(0);
  }

  #draw(row) {
    const isOpenable = this.#rows.isOpenable(row), name = this.#rows.name(row);
    const node = element('div', {
      role: 'treeitem', className: row.more ? 'tree-row tree-more' : 'tree-row', tabIndex: -1, ariaLevel: row.level,
      ariaSetsize: row.parent ? row.parent.node.count : 1, ariaPosinset: row.place ?? row.more.index + 1,
    }, element('span', {className: 'tree-mark', ariaHidden: 'true'}),
    name && element('span', {className: 'tree-name'}, `${name}: `),
    element('span', {className: row.node ? `tree-${row.node.kind}` : ''}, this.#rows.value(row)));
    node.style.paddingLeft = `${Math.min(row.level - 1, DEEPEST_INDENT)}rem`;
    if (isOpenable) node.setAttribute('aria-expanded', String(row.isOpen));
    return node;
  }

  #open(at) {
    const {more} = this.#rows.rows[at];
    const added = this.#rows.open(at);
    if (!added && this.#rows.isFull) this.#detail.textContent = 'The tree takes no more rows: close some first.';
    if (!added) return;
    const first = more ? at : at + 1;
    const nodes = this.#rows.rows.slice(first, first + added).map(row => this.#draw(row));
    this.#tree.children[at].after(...nodes);
    if (more) this.#tree.children[at].remove();
    else this.#tree.children[at].setAttribute('aria-expanded', 'true');
    if (more) this.#focus(at);
  }

  #close(at) {
    const removed = this.#rows.close(at);
    for (let i = 0; i < removed; i++) this.#tree.children[at + 1].remove();
    this.#tree.children[at].setAttribute('aria-expanded', 'false');
  }

  #toggle(at) {
    const row = this.#rows.rows[at];
    if (row.isOpen) this.#close(at);
    else this.#open(at);
  }

  #focus(at) {
    this.#tree.children[Math.min(Math.max(at, 0), this.#rows.rows.length - 1)].focus();
  }

  #indexOf(target) {
    return [...this.#tree.children].indexOf(target.closest('[role=treeitem]'));
  }

  #onClick(event) {
    const at = this.#indexOf(event.target);
    if (at < 0) return;
    this.#focus(at);
    this.#toggle(at);
  }

  // Tab leads to the row that had the focus last.
  #onFocus(event) {
    const at = this.#indexOf(event.target);
    if (at < 0) return;
    for (const row of this.#tree.querySelectorAll('[tabindex="0"]')) row.tabIndex = -1;
    this.#tree.children[at].tabIndex = 0;
    this.#detail.textContent = this.#rows.detail(this.#rows.rows[at]);
  }

  #onKey(event) {
    const at = this.#indexOf(event.target);
    const run = at < 0 || event.ctrlKey || event.altKey || event.metaKey ? null : this.#keys(at)[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  }

  #keys(at) {
    const row = this.#rows.rows[at], {length} = this.#rows.rows;
    return {
      ArrowDown: () => this.#focus(at + 1), ArrowUp: () => this.#focus(at - 1),
      Home: () => this.#focus(0), End: () => this.#focus(length - 1),
      PageDown: () => this.#focus(at + 20), PageUp: () => this.#focus(at - 20),
      Enter: () => this.#toggle(at), ' ': () => this.#toggle(at),
      ArrowRight: () => (row.isOpen ? this.#focus(at + 1) : this.#open(at)),
      ArrowLeft: () => (row.isOpen ? this.#close(at) : this.#focus(this.#rows.parentOf(at))),
    };
  }
}
