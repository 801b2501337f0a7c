/**
 * The value of a key, seen and edited: one class for each type. What stands where: RowsEditor (what those with rows
 * have in common), HashEditor, ListEditor, SetEditor, SortedSetEditor, StreamEditor, UnknownEditor, and what new keys
 * begin with. Strings are in redis-string.mjs.
 *
 * An editor is made with a `place`: {session, key (bytes), memory, say(text, kind), run(task), changed(text),
 * made(text)}. `run` shows busy and tells failures; `changed` is called after what has changed the value, `made` after
 * the key was made anew.
 */

import {element, FieldError} from './page.mjs';
import {labelOf, sameBytes, textOf, utf8} from './redis-bytes.mjs';
import {ChangedError} from './redis-errors.mjs';
import {openDialog} from './redis-dialog.mjs';
import {BytesField, bytesShown, EDITABLE_BYTES, fileNameOf, labelled} from './redis-fields.mjs';
import {exactFirst, listScan, placeInStream} from './redis-find.mjs';
import {JSON_TYPE, JsonKeyEditor, jsonWrites, readDocument} from './redis-json-key.mjs';
import {viewerOf} from './redis-late-viewer.mjs';
import {matchOf} from './redis-lines.mjs';
import {count, idAfter, idBefore} from './redis-names.mjs';
import {ChainSource, pageSize, RangeSource, RowsView, ScanSource} from './redis-rows.mjs';
import {typeName} from './redis-session.mjs';
import {GroupsTable, idCell} from './redis-stream-tables.mjs';
import {StringEditor} from './redis-string.mjs';

const SHOWN = 300;  // characters of a value in a row
const SHOWN_PAIRS = 50;  // of an entry of a stream, in a dialog
const SCORE = /^\s*[-+]?(\d+(\.\d*)?(e[-+]?\d+)?|\.\d+(e[-+]?\d+)?|inf(inity)?)\s*$/i;

/** The beginning of bytes, in a row; and where there is less room. */
const shown = bytes => labelOf(bytes, SHOWN);
const brief = bytes => labelOf(bytes, 60);

// A label does not stand alone at the end of a line.
function orderNode(select) {
  return element('span', {className: 'labelled'}, element('label', {htmlFor: 'rows-order'}, 'Order'), select);
}

function chunks(items, size) {
  return Array.from({length: items.length / size}, (_, i) => items.slice(i * size, (i + 1) * size));
}

function readScore(input) {
  if (SCORE.test(input.value)) return input.value.trim();
  input.setAttribute('aria-invalid', 'true');
  throw new FieldError('A score is a number, inf or -inf.', input);
}

function scoreInput(value = '') {
  return element('input', {id: 'item-score', value, inputMode: 'decimal', autocomplete: 'off', spellcheck: false});
}

/** What the editors of types with rows have in common. */
class RowsEditor {
  isChanged = false;  // there is nothing that is typed and not saved: rows are edited in dialogs
  before = {};        // what was looked at before it was read anew
  table = null;       // what is seen in the place of its own rows: as those of redis-stream-tables.mjs

  constructor(place) {
    this.place = place;
    this.tools = element('div', {className: 'row tools'});
    this.node = element('div', {}, this.tools);
  }

  async load() {
    this.tools.replaceChildren(...this.makeTools());
    if (this.pattern) this.pattern.value = this.before.pattern || '';
    if (this.before.order) this.order.value = this.before.order;
    const length = await this.length();
    this.pageRows = pageSize(this.place.memory, length);
    await this.restart(this.before.first);
  }

  /** Look at the same as another editor of this key did: to be called before load(). */
  resume({pattern, order, view}) {
    this.before = {pattern: pattern?.value, order: order?.value, first: view?.first};
  }

  /** Another order, or another pattern: from the first page. */
  async restart(first = 0) {
    const table = this.table || this;
    this.source = table.makeSource();
    const view = new RowsView({
      source: this.source, columns: table.columns, caption: table.caption, run: task => this.turnPage(task),
      cells: (row, index) => table.cells(row, index), actions: (row, index) => table.actions(row, index),
    });
    await view.show(first);
    if (this.view) this.view.node.replaceWith(view.node);
    else this.node.append(view.node);
    this.view = view;
  }

  turnPage(task) {
    this.place.run(async () => {
      await task();
      const isGone = !await this.length() && this.type !== 'stream';
      if (isGone) throw new ChangedError('This key does not exist any more.', true, true);
    });
  }

  get size() {
    return `${count(this.total)} ${this.total === 1 ? this.unit[0] : this.unit[1]}`;
  }

  async length() {
    this.total = await this.ask(this.lengthCommand, this.place.key);
    return this.total;
  }

  ask(...words) {
    return this.place.session.ask(...words);
  }

  change(guard) {
    return this.place.session.change(this.place.key, this.type, guard);
  }

  button(id, label, run) {
    return element('button', {type: 'button', id, on: {click: run}}, label);
  }

  /** A filter by pattern, for what is scanned. */
  filter() {
    this.pattern = element('input', {
      id: 'rows-pattern', type: 'search', placeholder: 'all', autocomplete: 'off', spellcheck: false,
      ariaLabel: `Find ${this.unit[1]} (a word, or a pattern with * and ?)`,
    });
    return element('form', {
      id: 'rows-filter', role: 'search', className: 'row', ariaLabel: `Find ${this.unit[1]}`,
      on: {submit: event => { event.preventDefault(); this.place.run(() => this.restart()); }},
    }, this.pattern, element('button', {id: 'rows-find'}, 'Find'));
  }

  /** What is looked for, the row of exactly this name first: `exact(name)` gives that, or null. */
  scanned(command, size, exact) {
    const name = utf8(this.pattern.value);
    const scan = cursor => this.scan(command, cursor, size);
    return new ScanSource(this.pageRows, name.length ? exactFirst(() => exact(name), scan) : scan);
  }

  async scan(command, cursor, size) {
    const pattern = this.pattern.value;
    const words = pattern ? ['MATCH', matchOf(pattern), 'COUNT', 10 * this.pageRows] : ['COUNT', this.pageRows];
    const [next, items] = await this.ask(command, this.place.key, cursor, ...words);
    return {cursor: textOf(next), rows: chunks(items, size)};
  }

  /**
   * A dialog that changes something; then the page is shown again. `words()`: the command that makes the key with what
   * is typed, should it be gone; without it nothing is typed that could be lost.
   */
  async dialog({words, ...settings}) {
    let stale = null;
    await openDialog({...settings, recreate: words && (() => this.#recreate(words(), () => { stale = null; })),
      onSubmit: async () => {
        try {
          stale = null;
          await this.afterChange(await settings.onSubmit());
        } catch (error) {
          if (error instanceof ChangedError) stale = error;
          if (!stale || words || !stale.isGone) throw error;
        }
      }});
    if (stale && stale.isGone) this.place.run(() => { throw stale; });
    else if (stale) this.place.run(() => this.view.show());
  }

  async #recreate(words, onMade) {
    await this.place.session.change(this.place.key, 'none', {writes: [words]});
    onMade();
    this.place.made('The key was created again.');
  }

  async afterChange(text) {
    const isGone = !await this.length() && this.type !== 'stream';  // a stream without entries is still there
    if (!isGone) await this.view.show();
    this.place.changed(isGone ? `${text} It was the last one, so the key is gone.` : text);
  }

  removal(about, settings) {
    return this.dialog({
      id: 'dialog-remove', title: `Remove this ${this.unit[0]}?`, submit: 'Remove', isDangerous: true,
      content: [element('p', {className: 'mono bytes about'}, about)], ...settings,
    });
  }

  show(title, parts) {
    return openDialog({id: 'dialog-show', title, content: parts.flatMap(({label, bytes}, i) => [
      bytesShown({id: `shown-${i}`, label, bytes, fileName: fileNameOf(bytes)}), viewerOf(`view-${i}`, bytes)])});
  }
}

// -- Hash -------------------------------------------------------------------------------------------------------------

class HashEditor extends RowsEditor {
  type = 'hash';
  unit = ['field', 'fields'];
  lengthCommand = 'HLEN';
  columns = ['Field', 'Value'];
  caption = 'Fields of the hash';

  makeTools() {
    return [this.filter(), this.button('add-field', 'Add field…', () => this.#add())];
  }

  makeSource() {
    return this.scanned('HSCAN', 2, async field => {
      const value = await this.ask('HGET', this.place.key, field);
      return value === null ? null : [field, value];
    });
  }

  cells([field, value]) {
    return [shown(field), shown(value)];
  }

  actions([field, value]) {
    const isLong = value.length > EDITABLE_BYTES;
    return [
      {name: 'edit', label: isLong ? 'Show' : 'Edit', about: brief(field), run: back => (
        isLong ? this.show('Field', [{label: 'Field', bytes: field}, {label: 'Value', bytes: value}])
          : this.#edit(field, value, back))},
      {name: 'remove', label: 'Remove', about: brief(field), run: back => this.#remove(field, back)},
    ];
  }

  #add() {
    const field = new BytesField({id: 'item-field', label: 'Field'});
    const value = new BytesField({id: 'item-value', label: 'Value', rows: 4});
    return this.dialog({
      id: 'dialog-item', title: 'Add a field', submit: 'Add', content: [field.node, value.node],
      words: () => ['HSET', this.place.key, field.read(), value.read()],
      onSubmit: async () => {
        const [added] = await this.change({writes: [['HSETNX', this.place.key, field.read(), value.read()]]});
        if (!added) throw new ChangedError('There is already a field of this name. Edit that one.');
        this.source.put([field.read(), value.read()]);
        return 'The field was added.';
      },
    });
  }

  #edit(field, value, returnTo) {
    const input = new BytesField({id: 'item-value', label: 'Value', bytes: value, rows: 8});
    return this.dialog({
      id: 'dialog-item', title: 'Edit a field', submit: 'Save', returnTo,
      words: () => ['HSET', this.place.key, field, input.read()],
      content: [bytesShown({id: 'item-field', label: 'Field', bytes: field, fileName: fileNameOf(field)}), input.node,
        viewerOf('view', value)],
      onSubmit: async () => {
        const {session, key} = this.place;
        await session.setField(key, field, input.read(), {
          reads: [['HGET', key, field]], isSame: now => now !== null && sameBytes(now, value),
        });
        this.source.put([field, input.read()]);
        return 'The field was saved.';
      },
    });
  }

  #remove(field, returnTo) {
    return this.removal(shown(field), {returnTo, onSubmit: async () => {
      const [removed] = await this.change({writes: [['HDEL', this.place.key, field]]});
      this.source.drop(field);
      return removed ? 'The field was removed.' : 'The field was gone already.';
    }});
  }
}

// -- List -------------------------------------------------------------------------------------------------------------

class ListEditor extends RowsEditor {
  type = 'list';
  unit = ['item', 'items'];
  lengthCommand = 'LLEN';
  columns = ['Index', 'Item'];
  caption = 'Items of the list';

  makeTools() {
    return [this.filter(), this.button('add-item', 'Add item…', () => this.#add())];
  }

  // Rows are of an index (bytes) and an item.
  makeSource() {
    const read = (first, last) => this.ask('LRANGE', this.place.key, first, last);
    const {value} = this.pattern;
    if (value) return new ScanSource(this.pageRows, listScan(read, value, 10 * this.pageRows));
    return new RangeSource(this.pageRows, () => this.length(), async (first, last) => (
      (await read(first, last)).map((item, i) => [utf8(String(first + i)), item])));
  }

  // Other items have other indexes now.
  async afterChange(text) {
    if (this.pattern.value) await this.restart(this.view.first);
    await super.afterChange(text);
  }

  cells([at, item]) {
    return [textOf(at), shown(item)];
  }

  actions([at, item]) {
    const index = Number(textOf(at));
    const about = `item ${index}`;
    return [
      {name: 'edit', label: item.length > EDITABLE_BYTES ? 'Show' : 'Edit', about, run: back => (
        item.length > EDITABLE_BYTES ? this.show(`Item ${index}`, [{label: 'Item', bytes: item}])
          : this.#edit(item, index, back))},
      {name: 'remove', label: 'Remove', about, run: back => this.#remove(item, index, back)},
    ];
  }

  #add() {
    const item = new BytesField({id: 'item-value', label: 'Item', rows: 4});
    const end = element('select', {id: 'item-end'},
      element('option', {value: 'RPUSH'}, 'at the end'), element('option', {value: 'LPUSH'}, 'at the beginning'));
    return this.dialog({
      id: 'dialog-item', title: 'Add an item', submit: 'Add', content: [item.node, labelled('Where', end)],
      words: () => ['RPUSH', this.place.key, item.read()],
      onSubmit: async () => {
        await this.change({writes: [[end.value, this.place.key, item.read()]]});
        return `The item was added ${end.selectedOptions[0].textContent}.`;
      },
    });
  }

  // Is at this index still what was seen there?
  #guard(item, index) {
    return {
      reads: [['LINDEX', this.place.key, index]], isSame: now => now !== null && sameBytes(now, item),
    };
  }

  #edit(item, index, returnTo) {
    const input = new BytesField({id: 'item-value', label: 'Item', bytes: item, rows: 8});
    return this.dialog({
      id: 'dialog-item', title: `Edit item ${index}`, submit: 'Save', content: [input.node, viewerOf('view', item)],
      returnTo,
      words: () => ['RPUSH', this.place.key, input.read()],
      onSubmit: async () => {
        await this.change({...this.#guard(item, index), writes: [['LSET', this.place.key, index, input.read()]]});
        return 'The item was saved.';
      },
    });
  }

  // Redis removes items by value only: so the one at the index gets a value that no other has.
  #remove(item, index, returnTo) {
    const mark = crypto.getRandomValues(new Uint8Array(32));
    return this.removal(`${index}: ${shown(item)}`, {returnTo, onSubmit: async () => {
      const {key} = this.place;
      await this.change({...this.#guard(item, index), writes: [['LSET', key, index, mark], ['LREM', key, 1, mark]]});
      return 'The item was removed.';
    }});
  }
}

// -- Set --------------------------------------------------------------------------------------------------------------

class SetEditor extends RowsEditor {
  type = 'set';
  unit = ['member', 'members'];
  lengthCommand = 'SCARD';
  columns = ['Member'];
  caption = 'Members of the set';

  makeTools() {
    return [this.filter(), this.button('add-member', 'Add member…', () => this.#add())];
  }

  makeSource() {
    return this.scanned('SSCAN', 1, async member => (
      await this.ask('SISMEMBER', this.place.key, member) ? [member] : null));
  }

  cells([member]) {
    return [shown(member)];
  }

  actions([member]) {
    return [
      {name: 'show', label: 'Show', about: brief(member), run: () => (
        this.show('Member', [{label: 'Member', bytes: member}]))},
      {name: 'remove', label: 'Remove', about: brief(member), run: back => this.#remove(member, back)},
    ];
  }

  #add() {
    const member = new BytesField({id: 'item-value', label: 'Member', rows: 2, isLine: true});
    return this.dialog({
      id: 'dialog-item', title: 'Add a member', submit: 'Add', content: [member.node],
      words: () => ['SADD', this.place.key, member.read()],
      onSubmit: async () => {
        const [added] = await this.change({writes: [['SADD', this.place.key, member.read()]]});
        if (!added) throw new ChangedError('This member is in the set already.');
        this.source.put([member.read()]);
        return 'The member was added.';
      },
    });
  }

  #remove(member, returnTo) {
    return this.removal(shown(member), {returnTo, onSubmit: async () => {
      const [removed] = await this.change({writes: [['SREM', this.place.key, member]]});
      this.source.drop(member);
      return removed ? 'The member was removed.' : 'The member was gone already.';
    }});
  }
}

// -- Sorted set -------------------------------------------------------------------------------------------------------

class SortedSetEditor extends RowsEditor {
  type = 'zset';
  unit = ['member', 'members'];
  lengthCommand = 'ZCARD';
  columns = ['Rank', 'Score', 'Member'];
  caption = 'Members of the sorted set, by score';

  makeTools() {
    this.order = element('select', {id: 'rows-order', on: {change: () => this.place.run(() => this.restart())}},
      element('option', {value: 'ZRANGE'}, 'lowest score first'),
      element('option', {value: 'ZREVRANGE'}, 'highest score first'));
    return [this.filter(), orderNode(this.order),
      this.button('add-member', 'Add member…', () => this.#add())];
  }

  makeSource() {
    if (this.pattern.value) {
      return this.scanned('ZSCAN', 2, async member => {
        const score = await this.ask('ZSCORE', this.place.key, member);
        return score === null ? null : [member, score];
      });
    }
    const read = async (first, last) => (
      chunks(await this.ask(this.order.value, this.place.key, first, last, 'WITHSCORES'), 2));
    return new RangeSource(this.pageRows, () => this.length(), read);
  }

  cells([member, score], index) {
    return [this.pattern.value ? '' : String(index), textOf(score), shown(member)];  // a scan knows no ranks
  }

  actions([member, score]) {
    return [
      {name: 'edit', label: 'Edit', about: brief(member), run: back => this.#edit(member, score, back)},
      {name: 'remove', label: 'Remove', about: brief(member), run: back => this.#remove(member, back)},
    ];
  }

  #add() {
    const member = new BytesField({id: 'item-value', label: 'Member', rows: 2, isLine: true});
    const score = scoreInput('0');
    return this.dialog({
      id: 'dialog-item', title: 'Add a member', submit: 'Add', content: [member.node, labelled('Score', score)],
      words: () => ['ZADD', this.place.key, readScore(score), member.read()],
      onSubmit: async () => {
        const [added] = await this.change({writes: [['ZADD', this.place.key, 'NX', readScore(score), member.read()]]});
        if (!added) throw new ChangedError('This member is in the sorted set already. Edit its score.');
        return 'The member was added.';
      },
    });
  }

  // What was found by a scan is not read again.
  async afterChange(text) {
    if (this.pattern.value) await this.restart(this.view.first);
    await super.afterChange(text);
  }

  #edit(member, before, returnTo) {
    const {key} = this.place;
    const score = scoreInput(textOf(before));
    return this.dialog({
      id: 'dialog-item', title: 'Edit a score', submit: 'Save', returnTo,
      words: () => ['ZADD', key, readScore(score), member], content: [labelled('Score', score),
        bytesShown({id: 'item-value', label: 'Member', bytes: member, fileName: fileNameOf(member)}),
        viewerOf('view', member)],
      onSubmit: async () => {
        await this.change({
          reads: [['ZSCORE', key, member]], isSame: now => now !== null && sameBytes(now, before),
          writes: [['ZADD', key, readScore(score), member]],
        });
        return 'The score was saved.';
      },
    });
  }

  #remove(member, returnTo) {
    return this.removal(shown(member), {returnTo, onSubmit: async () => {
      const [removed] = await this.change({writes: [['ZREM', this.place.key, member]]});
      return removed ? 'The member was removed.' : 'The member was gone already.';
    }});
  }
}

// -- Stream -----------------------------------------------------------------------------------------------------------

/** Pairs of a field and a value, of which there can be more. */
class PairFields {
  #pairs = [];

  constructor() {
    this.#list = element('div');
    const more = element('button', {
      type: 'button', className: 'small', id: 'item-more', on: {click: () => this.#onMore()}}, 'One more field');
    this.node = element('div', {className: 'field wide'}, this.#list, element('div', {className: 'row'}, more));
    this.#add();
  }

  #list;

  #onMore() {
    this.#add();
    this.#pairs[this.#pairs.length - 1][0].focus();
  }

  #add() {
    const number = this.#pairs.length + 1;
    const field = new BytesField({id: `item-field-${number}`, label: `Field ${number}`});
    const value = new BytesField({id: `item-value-${number}`, label: `Value ${number}`, rows: 2});
    this.#pairs.push([field, value]);
    this.#list.append(field.node, value.node);
  }

  get firstValue() {
    return this.#pairs[0][1];
  }

  /** Those of which something is filled in; Redis wants at least one. */
  read() {
    const pairs = this.#pairs.map(pair => pair.map(field => field.read()));
    const given = pairs.filter(([field, value], i) => i === 0 || field.length || value.length);
    return given.flat();
  }
}

class StreamEditor extends RowsEditor {
  type = 'stream';
  unit = ['entry', 'entries'];
  lengthCommand = 'XLEN';
  columns = ['Id', 'Fields'];
  caption = 'Entries of the stream';

  resume(other) {
    super.resume(other);
    this.table = other.table && other.table.of(this);
    this.before.from = other.from?.value;
  }

  makeTools() {
    this.order = element('select', {id: 'rows-order', on: {change: () => this.place.run(() => this.restart())}},
      element('option', {value: 'newest'}, 'newest first'), element('option', {value: 'oldest'}, 'oldest first'));
    return [orderNode(this.order),
      this.#makeJump(), this.button('add-entry', 'Add entry…', () => this.#add()),
      this.button('stream-groups', 'Groups', () => this.open(new GroupsTable(this))), this.#makeTrail()];
  }

  #makeJump() {
    this.from = element('input', {
      id: 'stream-from', value: this.before.from || '', placeholder: 'id or time', autocomplete: 'off',
      spellcheck: false, ariaLabel: 'Go to an id or a time (UTC)'});
    return element('form', {
      id: 'stream-jump', className: 'row', ariaLabel: 'Go to an entry',
      on: {submit: event => { event.preventDefault(); this.place.run(() => this.restart()); }},
    }, this.from, element('button', {id: 'stream-go'}, 'Go'));
  }

  #beginning(isNewest) {
    try {
      return placeInStream(this.from.value, isNewest);
    } catch (error) {
      throw error instanceof RangeError ? new FieldError(error.message, this.from) : error;
    }
  }

  #makeTrail() {
    this.title = element('strong', {id: 'stream-table', className: 'bytes'});
    this.trail = element('div', {id: 'stream-trail', className: 'row'}, this.title,
      this.button('stream-entries', 'To the entries', () => this.open(null)));
    this.#tellTable();
    return this.trail;
  }

  #tellTable() {
    this.title.textContent = this.table ? this.table.title : '';
    this.trail.hidden = !this.table;
  }

  /** Show a table of redis-stream-tables.mjs; null: the entries. */
  open(table) {
    this.place.run(async () => {
      const before = this.table;
      this.table = table;
      try {
        await this.restart();
      } catch (error) {
        this.table = before;
        throw error;
      }
      this.#tellTable();
      document.getElementById(table ? 'stream-entries' : 'stream-groups').focus();
    });
  }

  makeSource() {
    const isNewest = this.order.value === 'newest';
    const from = this.#beginning(isNewest);
    return new ChainSource(this.pageRows, () => this.length(), (after, size) => (
      this.#read(isNewest, from, after, size)));
  }

  #read(isNewest, from, after, size) {
    const id = after ? (isNewest ? idBefore : idAfter)(textOf(after[0])) : from;
    const {key} = this.place;
    if (after && id === null) return [];
    return isNewest ? this.ask('XREVRANGE', key, id || '+', '-', 'COUNT', size)
      : this.ask('XRANGE', key, id || '-', '+', 'COUNT', size);
  }

  cells([id, fields]) {
    const pairs = chunks(fields || [], 2).slice(0, 20).map(([field, value]) => (
      element('div', {}, element('span', {className: 'muted'}, `${labelOf(field, 80)}: `), shown(value))));
    const more = (fields || []).length / 2 - pairs.length;
    if (more > 0) pairs.push(element('div', {className: 'muted'}, `… ${count(more)} more fields`));
    return [idCell(textOf(id)), element('div', {}, pairs)];
  }

  actions([id, fields]) {
    const about = `entry ${textOf(id)}`;
    return [
      {name: 'show', label: 'Show', about, run: () => this.showEntry([id, fields])},
      {name: 'remove', label: 'Remove', about, run: back => this.#remove(id, back)},
    ];
  }

  showEntry([id, fields]) {
    const pairs = chunks(fields || [], 2);
    const part = pairs.length > SHOWN_PAIRS ? `, the first ${SHOWN_PAIRS} of ${count(pairs.length)} fields` : '';
    return this.show(`Entry ${textOf(id)}${part}`, pairs.slice(0, SHOWN_PAIRS).flatMap(([field, value], i) => [
      {label: `Field ${i + 1}`, bytes: field}, {label: `Value ${i + 1}`, bytes: value}]));
  }

  #add() {
    const id = element('input', {id: 'item-id', value: '*', autocomplete: 'off', spellcheck: false});
    const pairs = new PairFields();
    const words = () => ['XADD', this.place.key, id.value.trim() || '*', ...pairs.read()];
    return this.dialog({
      id: 'dialog-item', title: 'Add an entry', submit: 'Add',
      content: [labelled('Id (* lets Redis choose it)', id), pairs.node], words,
      onSubmit: async () => {
        const [added] = await this.change({writes: [words()]});
        return `The entry ${textOf(added)} was added.`;
      },
    });
  }

  #remove(id, returnTo) {
    return this.removal(textOf(id), {returnTo, onSubmit: async () => {
      const [removed] = await this.change({writes: [['XDEL', this.place.key, id]]});
      return removed ? 'The entry was removed.' : 'The entry was gone already.';
    }});
  }
}

// -- All others -------------------------------------------------------------------------------------------------------

class UnknownEditor {
  isChanged = false;
  size = 'unknown';

  constructor(place, type) {
    this.node = element('p', {id: 'unknown-type'},
      `This page cannot show values of the type “${typeName(type)}”, which comes from a module. ` +
      'Use the commands of that module at the command line.');
  }

  async load() {}
}

const EDITORS = {
  string: StringEditor, hash: HashEditor, list: ListEditor, set: SetEditor, zset: SortedSetEditor, stream: StreamEditor,
  [JSON_TYPE]: JsonKeyEditor,
};

/** The types that this page can show, as TYPE calls them; and those that each server has. */
export const TYPES = Object.keys(EDITORS);
export const OWN_TYPES = TYPES.filter(type => type !== JSON_TYPE);

/** The editor for a value of this type. */
export function editorOf(type, place) {
  return Object.hasOwn(EDITORS, type) ? new EDITORS[type](place) : new UnknownEditor(place, type);
}

// -- New keys ---------------------------------------------------------------------------------------------------------

/** Fields for the first content of a new key: `nodes`, `main`, and `words(key)` for the command that makes it. */
export function firstContent(type) {
  const makers = {string: ofString, hash: ofHash, list: ofList, set: ofSet, zset: ofSortedSet, stream: ofStream};
  return type === JSON_TYPE ? ofDocument() : makers[type]();
}

function ofString() {
  const value = new BytesField({id: 'item-value', label: 'Value', rows: 4});
  return {nodes: [value.node], main: value, words: key => ['SET', key, value.read()]};
}

function ofDocument() {
  const value = new BytesField({id: 'item-value', label: 'Document', rows: 8, bytes: utf8('{}')});
  return {nodes: [value.node], main: value, words: key => jsonWrites(key, readDocument(value), -1)[0]};
}

function ofHash() {
  const field = new BytesField({id: 'item-field', label: 'First field'});
  const value = new BytesField({id: 'item-value', label: 'Its value', rows: 2});
  return {nodes: [field.node, value.node], main: value, words: key => ['HSET', key, field.read(), value.read()]};
}

function ofList() {
  const item = new BytesField({id: 'item-value', label: 'First item', rows: 2});
  return {nodes: [item.node], main: item, words: key => ['RPUSH', key, item.read()]};
}

function ofSet() {
  const member = new BytesField({id: 'item-value', label: 'First member'});
  return {nodes: [member.node], main: member, words: key => ['SADD', key, member.read()]};
}

function ofSortedSet() {
  const member = new BytesField({id: 'item-value', label: 'First member'});
  const score = scoreInput('0');
  const words = key => ['ZADD', key, readScore(score), member.read()];
  return {nodes: [member.node, labelled('Score', score)], main: member, words};
}

function ofStream() {
  const pairs = new PairFields();
  return {nodes: [pairs.node], main: pairs.firstValue, words: key => ['XADD', key, '*', ...pairs.read()]};
}

