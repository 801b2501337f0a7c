/**
 * The tables of a stream besides that of its entries: groups, consumers, what is pending. Each is made with an editor
 * ({ask, place, pageRows, dialog, removal, open(table)}) and has what RowsView wants.
 */

import {element} from './page.mjs';
import {labelOf, sameBytes} from './redis-bytes.mjs';
import {ChangedError} from './redis-errors.mjs';
import {consumersOf, groupsOf, pendingCommand, pendingOf} from './redis-groups.mjs';
import {count, duration, idAfter, timeOfId} from './redis-names.mjs';
import {ChainSource, RangeSource} from './redis-rows.mjs';

const brief = bytes => labelOf(bytes, 60);
const numberText = number => (number === null ? 'unknown' : count(number));

function ago(milliseconds) {
  if (milliseconds === null) return 'unknown';
  return milliseconds < 0 ? 'never' : `${duration(milliseconds / 1000)} ago`;
}

/** An id, and the moment that it tells. */
export function idCell(id) {
  const time = timeOfId(id);
  return element('div', {}, id, time && element('div', {className: 'muted stamp'}, time));
}

// What Redis tells as a whole is read for each page: it changes all the time.
function wholeSource(size, read) {
  return new RangeSource(size, async () => (await read()).length,
    async (first, last) => (await read()).slice(first, last + 1));
}

/** All groups. */
export class GroupsTable {
  title = 'Groups';
  columns = ['Group', 'Consumers', 'Pending', 'Not read yet', 'Last delivered'];
  caption = 'Consumer groups of the stream';
  #editor;

  constructor(editor) {
    this.#editor = editor;
  }

  /** The same of another editor. */
  of(editor) {
    return new GroupsTable(editor);
  }

  makeSource() {
    const {place, pageRows} = this.#editor;
    return wholeSource(pageRows, async () => groupsOf(await this.#editor.ask('XINFO', 'GROUPS', place.key)));
  }

  cells({name, consumers, pending, lag, lastId}) {
    return [brief(name), numberText(consumers), numberText(pending), numberText(lag), idCell(lastId)];
  }

  actions({name, pending}) {
    const editor = this.#editor, group = `the group ${brief(name)}`, about = `of ${group}`;
    return [
      {name: 'consumers', label: 'Consumers', about, run: () => editor.open(new ConsumersTable(editor, name))},
      {name: 'pending', label: 'Pending', about, run: () => editor.open(new PendingTable(editor, name))},
      {name: 'remove', label: 'Remove', about: group, run: back => this.#remove(name, pending, back)},
    ];
  }

  #remove(name, pending, returnTo) {
    const {key} = this.#editor.place;
    return this.#editor.removal(`${brief(name)}, with ${numberText(pending)} pending entries`, {
      title: 'Remove this group?', returnTo, onSubmit: async () => {
        const [removed] = await this.#editor.change({writes: [['XGROUP', 'DESTROY', key, name]]});
        return removed ? 'The group was removed.' : 'The group was gone already.';
      },
    });
  }
}

/** The consumers of one group. */
export class ConsumersTable {
  columns = ['Consumer', 'Pending', 'Asked last', 'Got something last'];
  caption = 'Consumers of the group';
  #editor;
  #group;

  constructor(editor, group) {
    this.#editor = editor;
    this.#group = group;
    this.title = `Consumers of ${brief(group)}`;
  }

  of(editor) {
    return new ConsumersTable(editor, this.#group);
  }

  makeSource() {
    const {place, pageRows} = this.#editor;
    const words = ['XINFO', 'CONSUMERS', place.key, this.#group];
    return wholeSource(pageRows, async () => consumersOf(await this.#editor.ask(...words)));
  }

  cells({name, pending, idle, inactive}) {
    return [brief(name), numberText(pending), ago(idle), ago(inactive)];
  }

  actions({name, pending}) {
    const about = `the consumer ${brief(name)}`;
    return [
      {name: 'pending', label: 'Pending', about: `of ${about}`, run: () => (
        this.#editor.open(new PendingTable(this.#editor, this.#group, name)))},
      {name: 'remove', label: 'Remove', about, run: back => this.#remove(name, pending, back)},
    ];
  }

  // What is pending for a consumer is lost with it: nobody would get it again. So it must be what was seen.
  #remove(name, pending, returnTo) {
    const {key} = this.#editor.place, group = this.#group;
    const isSame = reply => consumersOf(reply).some(each => sameBytes(each.name, name) && each.pending === pending);
    return this.#editor.removal(`${brief(name)}, whose ${numberText(pending)} pending entries nobody will get again`, {
      title: 'Remove this consumer?', returnTo, onSubmit: async () => {
        const guard = {reads: [['XINFO', 'CONSUMERS', key, group]], isSame};
        await this.#editor.change({...guard, writes: [['XGROUP', 'DELCONSUMER', key, group, name]]});
        return 'The consumer was removed.';
      },
    });
  }
}

/** What was delivered and not acknowledged, of a group or of one of its consumers. */
export class PendingTable {
  columns = ['Id', 'Consumer', 'Delivered last', 'Deliveries'];
  #editor;
  #group;
  #consumer;

  constructor(editor, group, consumer = null) {
    this.#editor = editor;
    this.#group = group;
    this.#consumer = consumer;
    this.title = `Pending of ${brief(group)}${consumer ? `, ${brief(consumer)}` : ''}`;
    this.caption = this.title;
  }

  of(editor) {
    return new PendingTable(editor, this.#group, this.#consumer);
  }

  makeSource() {
    const {pageRows} = this.#editor;
    return new ChainSource(pageRows, () => this.#length(), (after, size) => this.#read(after, size));
  }

  async #read(after, size) {
    const from = after && idAfter(after.id);
    if (after && from === null) return [];
    const {key} = this.#editor.place;
    return pendingOf(await this.#editor.ask(...pendingCommand(key, this.#group, this.#consumer, from, size)));
  }

  async #length() {
    const {key} = this.#editor.place;
    const consumers = consumersOf(await this.#editor.ask('XINFO', 'CONSUMERS', key, this.#group));
    const mine = consumers.filter(({name}) => !this.#consumer || sameBytes(name, this.#consumer));
    return mine.reduce((sum, {pending}) => sum + pending, 0);
  }

  cells({id, consumer, idle, deliveries}) {
    return [idCell(id), brief(consumer), ago(idle), numberText(deliveries)];
  }

  actions({id}) {
    const about = `entry ${id}`;
    return [
      {name: 'show', label: 'Show', about, run: () => this.#editor.place.run(() => this.#show(id))},
      {name: 'acknowledge', label: 'Acknowledge', about, run: back => this.#acknowledge(id, back)},
    ];
  }

  async #show(id) {
    const [entry] = await this.#editor.ask('XRANGE', this.#editor.place.key, id, id);
    if (!entry) throw new ChangedError('This entry was removed from the stream; it still is pending.');
    await this.#editor.showEntry(entry);
  }

  #acknowledge(id, returnTo) {
    const {key} = this.#editor.place;
    return this.#editor.removal(`${id}: the group is told that it was dealt with. Nobody will get it again.`, {
      title: 'Acknowledge this entry?', submit: 'Acknowledge', returnTo, onSubmit: async () => {
        const [done] = await this.#editor.change({writes: [['XACK', key, this.#group, id]]});
        return done ? 'The entry was acknowledged.' : 'The entry was not pending any more.';
      },
    });
  }
}
