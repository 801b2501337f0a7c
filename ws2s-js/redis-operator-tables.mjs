/** redis-operator-tables.mjs: slow commands, clients, and the biggest keys. */

import {byteCount, element} from './page.mjs';
import {Batches} from './redis-batch.mjs';
import {Biggest, weighing} from './redis-biggest.mjs';
import {bytesOfName, labelOfName} from './redis-bytes.mjs';
import {clientsOf, killCommand, sortedClients} from './redis-clients.mjs';
import {openDialog} from './redis-dialog.mjs';
import {failure} from './redis-fields.mjs';
import {countOf, duration, keyCount, timeText} from './redis-names.mjs';
import {button, commandText, Part, replyText, shown, table, WORD_CHARACTERS} from './redis-operator-part.mjs';
import {Scanner} from './redis-scan.mjs';
import {microsText, slowCommands} from './redis-slowlog.mjs';

// -- slow commands ----------------------------------------------------------------------------------------------------

const SLOW = 128;

export class SlowPart extends Part {
  constructor(page) {
    super(page, 'slow', 'Slow commands', [button('slow-read', 'Read', () => this.#read())]);
  }

  #read() {
    return this.attempt(async (session, isSame) => {
      const rows = slowCommands(await session.ask('SLOWLOG', 'GET', SLOW));
      if (!isSame()) return;
      this.content.replaceChildren(table('Slow commands', ['Took', 'When', 'Command', 'Client'], rows.map(row => [
        microsText(row.micros), timeText(row.time), commandText(row), shown(row.name || row.client || '–')])));
      const text = rows.length ? `${countOf(rows.length, 'slow command')}, the slowest first.` : 'No command was slow.';
      this.say(text, 'good');
    });
  }
}

// -- clients ----------------------------------------------------------------------------------------------------------

// [field, whether the most comes first, for people]
const ORDERS = [
  ['id', false, 'age'], ['idle', true, 'idle time'], ['memory', true, 'memory'], ['address', false, 'address'],
];

const SHOWN_CLIENTS = 500;

export class ClientsPart extends Part {
  #rows = [];
  #ownId = null;
  #order;

  constructor(page) {
    const order = element('select', {id: 'operator-clients-order', on: {change: () => this.#show()}},
      ORDERS.map(([value, , words]) => element('option', {value}, words)));
    super(page, 'clients', 'Clients', [button('clients-read', 'Read', () => this.#read()),
      element('label', {htmlFor: order.id}, 'sorted by'), order]);
    this.#order = order;
  }

  #read() {
    return this.attempt(async (session, isSame) => {
      const [id, list] = await Promise.all([session.ask('CLIENT', 'ID'), session.ask('CLIENT', 'LIST')]);
      if (!isSame()) return;
      this.#ownId = id;
      this.#rows = clientsOf(replyText(list));
      this.#show();
      this.say(`${countOf(this.#rows.length, 'client')}.`, 'good');
    });
  }

  #show() {
    const heads = ['Address', 'Name', 'User', 'Last command', 'For', 'Idle', 'Memory', 'What it does', 'End'];
    const [field, isDescending] = ORDERS.find(([name]) => name === this.#order.value);
    const rows = sortedClients(this.#rows, field, isDescending).slice(0, SHOWN_CLIENTS);
    this.content.replaceChildren(table('Clients', heads, rows.map(row => this.#cellsOf(row))));
  }

  #cellsOf(row) {
    const time = seconds => (seconds === null ? '–' : duration(seconds));
    const isOwn = killCommand(row, this.#ownId) === null;
    return [
      ...[row.address, row.name, row.user, row.command].map(text => shown(text || '–')), time(row.age), time(row.idle),
      row.memory === null ? '–' : byteCount(row.memory), row.flags.join(', '),
      isOwn ? 'this page' : button(`kill-${row.id}`, 'End…', () => this.#kill(row), 'small'),
    ];
  }

  async #kill(row) {
    const {session} = this;
    const refusal = session?.refusal('CLIENT', 'KILL');
    if (refusal) this.say(refusal, 'bad');
    if (refusal || !session) return;
    const isMeant = await openDialog({
      id: 'dialog-kill', title: 'End a connection?', submit: 'End it', isDangerous: true, onSubmit: () => true,
      content: [element('p', {}, `The server ends the connection of ${shown(row.name || row.address)}. ` +
        'What that client has asked for may be lost.')],
    });
    if (isMeant !== true || session !== this.session) return;
    await this.attempt(async () => {
      const ended = await session.ask(...killCommand(row, this.#ownId));
      await this.#read();
      this.say(ended ? 'The connection was ended.' : 'This client had gone already.', 'good');
    });
  }
}

// -- the biggest keys -------------------------------------------------------------------------------------------------

const ALL = {match: '*', type: ''};

async function* batches(session, stride) {
  for (const scanner = new Scanner(session, ALL); !scanner.isWhole;) {
    const names = await scanner.step();
    while (names.length) yield names.splice(0, stride.count);
  }
}

export class BiggestPart extends Part {
  #page;
  #work = null;
  #stop;

  constructor(page) {
    const stop = button('biggest-stop', 'Stop', () => this.#work?.stop());
    stop.hidden = true;
    super(page, 'biggest', 'The biggest keys', [button('biggest-find', 'Weigh all keys', () => this.#find()), stop]);
    this.#page = page;
    this.#stop = stop;
  }

  clear() {
    super.clear();
    this.#work?.stop();
  }

  #find() {
    if (this.#work) return undefined;
    return this.attempt(async (session, isSame) => {
      const biggest = new Biggest();
      const work = this.#work = new Batches({onProgress: () => isSame() && this.#show(biggest, '…')});
      this.#stop.hidden = false;
      try {
        const step = weighing({bytes: (...words) => session.ask(...words)}, biggest);
        await work.run(batches(session, work.stride), names => step(names.map(name => bytesOfName(name))));
        if (isSame()) this.#end(work, biggest);
      } finally {
        this.#work = null;
        this.#stop.hidden = true;
      }
    });
  }

  #end({error, isStopped}, biggest) {
    this.#show(biggest, '.');
    if (error) this.say(`Not all keys could be weighed: ${failure(error)}`, 'bad');
    else this.say(isStopped ? 'Stopped.' : 'All keys were weighed.', 'good');
  }

  #show(biggest, end) {
    const opener = name => element('button', {
      type: 'button', className: 'small mono', on: {click: () => this.#page.showKey(name)},
    }, labelOfName(name, WORD_CHARACTERS));
    const rows = biggest.keys.map(({name, size}) => [byteCount(size), opener(name)]);
    this.content.replaceChildren(
      element('p', {className: 'note'}, `${keyCount(biggest.count)} weighed, ${byteCount(biggest.size)}${end}`),
      table('The biggest keys', ['Memory', 'Key'], rows));
  }
}
