/**
 * Many keys at once, as people see it: what is to be done with which, how many those are, a question, how far it is,
 * and a button to stop it. The work is in redis-batch.mjs and redis-transfer.mjs.
 */

import {element, FieldError, saveFile} from './page.mjs';
import {labelOfName, nameOf} from './redis-bytes.mjs';
import {Batches, batchesOf, collect, Deleting, expiring, persisting} from './redis-batch.mjs';
import {openDialog} from './redis-dialog.mjs';
import {ChangedError, ReadOnlyError} from './redis-errors.mjs';
import {failure, labelled} from './redis-fields.mjs';
import {JsonLines, LARGEST_JSON} from './redis-json-lines.mjs';
import {count, keyCount, Names} from './redis-names.mjs';
import {Scanner} from './redis-scan.mjs';
import {ttlText} from './redis-ttl.mjs';
import {TtlField} from './redis-ttl-field.mjs';
import {checkFile, Exporting, FileParts, Importing, keysOf, serverClock, sizedBatches} from './redis-transfer.mjs';

const MOST_KEYS = 500000;
const MOST_BYTES = 134217728;  // of their names
const SAMPLE = 5;

/** What can be done. `command`: the one that a read-only connection would refuse; null where nothing is changed. */
const ACTIONS = {
  delete: {label: 'Delete them', command: 'UNLINK', done: 'deleted', isDangerous: true},
  expire: {label: 'Give them a time to live', command: 'EXPIRE', done: 'with a new time to live'},
  persist: {label: 'Keep them for ever', command: 'PERSIST', done: 'kept for ever from now on'},
  export: {label: 'Export them to a file', command: null, done: 'exported'},
  json: {label: 'Export them as JSON lines, for reading', command: null, done: 'written as JSON'},
};

const STEPS = {
  delete: (client, {onGone}) => {
    const deleting = new Deleting(client, onGone);
    return keys => deleting.step(keys);
  },
  expire: (client, {ttl}) => expiring(client, ttl), persist: persisting,
};

const OUTCOMES = {
  gone: 'gone already', unchanged: 'without a time to live, or gone', kept: 'not made, as there is one of this name',
  late: 'not made, as their time has run out', failed: 'failed',
};

/** What has become of keys, for people: `3 deleted, 1 gone already`. `done`: the word for what was to be done. */
export function tallyText(tally, done) {
  const words = Object.entries({done, ...OUTCOMES}).filter(([name]) => tally[name] || name === 'done');
  return words.map(([name, text]) => `${count(tally[name] || 0)} ${text}`).join(', ');
}

/** How far it is, and the button to stop it. */
class Progress {
  #text = element('span', {id: 'many-text'});
  #bar = element('progress', {id: 'many-bar', ariaLabel: 'Progress'});
  #stop;

  constructor(onStop) {
    this.#stop = element('button', {type: 'button', id: 'many-stop', className: 'small', on: {click: onStop}}, 'Stop');
    this.node = element('div', {id: 'many', className: 'row', hidden: true}, this.#bar, this.#text, this.#stop);
  }

  begin(text) {
    this.node.hidden = false;
    this.#stop.disabled = false;
    this.tell(text);
    this.#stop.focus();
  }

  /** Without `whole` it is not known how much there is. */
  tell(text, part, whole) {
    this.#text.textContent = text;
    if (whole) Object.assign(this.#bar, {max: whole, value: part});
    else this.#bar.removeAttribute('value');
  }

  stopping() {
    this.#stop.disabled = true;
    this.tell('Stopping after what is under way…');
  }

  end() {
    const hadFocus = this.node.contains(document.activeElement);
    this.node.hidden = true;
    if (hadFocus) document.getElementById('keys-many').focus();
  }
}

/** One piece of work, with a connection of its own: so it stays in its database, and holds up nothing else. */
class Work {
  isStopped = false;

  constructor(session, target) {
    this.client = session.another();
    this.knowsScanType = session.knowsScanType;
    this.db = session.db;
    this.place = `database ${session.db} of ${target}`;
    this.batches = null;
  }

  stop() {
    this.isStopped = true;
    if (this.batches) this.batches.stop();
  }

  /** All names that match: a Names. */
  async find(wanted, onProgress) {
    const names = new Names();
    const scanner = new Scanner({
      ask: (...words) => this.client.bytes(...words), knowsScanType: this.knowsScanType}, wanted);
    const isEnough = () => this.isStopped || names.length >= MOST_KEYS || names.size >= MOST_BYTES;
    await collect(scanner, names, {isEnough, onProgress});
    return {names: names.sorted, isWhole: scanner.isWhole};
  }

  async run(source, step, onProgress) {
    this.batches = new Batches({onProgress});
    if (this.isStopped) this.batches.stop();
    await this.batches.run(source(this.batches.stride), step);
    return this.batches;
  }
}

/** `page`: {session, status, target, onManyChanged() (async)}; `keys`: {marked, unmark(names), wanted}, as KeyList. */
export class ManyKeys {
  #page;
  #keys;
  #work = null;
  #progress = new Progress(() => this.#onStop());

  constructor(node, page, keys) {
    this.#page = page;
    this.#keys = keys;
    const button = (id, label, run) => element('button', {
      type: 'button', id, className: 'small', on: {click: () => this.#begin(run)}}, label);
    node.append(element('div', {className: 'row'},
      button('keys-many', 'Many keys…', (...where) => this.#ask(...where)),
      button('keys-import', 'Import…', (...where) => this.#import(...where))),
    this.#progress.node);
  }

  /** The session is over. */
  end() {
    if (this.#work) this.#work.stop();
    this.#work?.client.close();
  }

  #onStop() {
    this.#work.stop();
    this.#progress.stopping();
  }

  /** Is something under way that would be ended with the page? */
  get isBusy() {
    return this.#work !== null;
  }

  /** May somebody go away from the work that is under way? Asks. */
  async mayLeave() {
    return !this.isBusy || await openDialog({
      id: 'dialog-many-leave', title: 'Stop the work on many keys?', submit: 'Stop and leave', isDangerous: true,
      content: [element('p', {}, 'What is done so far stays done. The rest is left as it is.')], onSubmit: () => true,
    }) === true;
  }

  // One at a time. What has failed as the session was ended is nobody's business.
  async #begin(task) {
    const {status, session} = this.#page;
    if (!session) return;
    if (this.isBusy) {
      status.say('The work that was begun before is not done yet: stop it first, or wait.', 'busy');
      return;
    }
    try {
      await task(session, session.db);
    } catch (error) {
      if (session === this.#page.session) status.say(failure(error), error.name === 'AbortError' ? '' : 'bad');
    }
  }

  // What was asked about one database must not be done in another: dialogs outlive connections.
  #refuseOther(session, db) {
    if (session === this.#page.session && db === session.db) return;
    throw new ChangedError('The page has gone to another database meanwhile. Nothing was done.');
  }

  async #with(text, task) {
    const work = this.#work = new Work(this.#page.session, this.#page.target);
    this.#progress.begin(text);
    try {
      return await task(work);
    } finally {
      this.#work = null;
      this.#progress.end();
      work.client.close();
    }
  }

  // -- asking ---------------------------------------------------------------------------------------------------------

  async #ask(session, db) {
    const choice = await openDialog(this.#questions());
    if (!choice) return;
    this.#refuseOther(session, db);
    this.#refuseWrites(ACTIONS[choice.action].command);
    await this.#with('Counting…', work => this.#carryOut(work, choice));
  }

  #refuseWrites(command) {
    const refused = command && this.#page.session.refusal(command);
    if (refused) throw new ReadOnlyError(refused);
  }

  #questions() {
    const {marked, wanted} = this.#keys;
    const scope = element('select', {id: 'many-scope'},
      marked.length > 0 && element('option', {value: 'marked'}, `the ${count(marked.length)} marked`),
      element('option', {value: 'wanted'}, wantedText(wanted)));
    const action = element('select', {id: 'many-action'},
      Object.entries(ACTIONS).map(([value, {label}]) => element('option', {value}, label)));
    action.value = 'export';
    const time = new TtlField(false);
    time.node.hidden = true;
    action.addEventListener('change', () => {
      time.node.hidden = action.value !== 'expire';
      document.getElementById('dialog-many-submit').textContent = submitText(action.value);
    });
    return {
      id: 'dialog-many', title: 'Many keys at once', submit: submitText(action.value), first: '#many-action',
      content: [labelled('Which', scope), labelled('What', action), time.node],
      onSubmit: () => ({
        action: action.value, names: scope.value === 'marked' ? marked : null, wanted,
        ttl: action.value === 'expire' ? time.read() : null}),
    };
  }

  // -- doing ----------------------------------------------------------------------------------------------------------

  async #carryOut(work, choice) {
    const {names, isWhole} = choice.names ? {names: choice.names, isWhole: true}
      : await work.find(choice.wanted, found => this.#progress.tell(`${keyCount(found)} found…`));
    if (work.isStopped) this.#page.status.say('Stopped while counting. Nothing was changed.');
    else if (!names.length) this.#page.status.say('No key was found.');
    else if (ACTIONS[choice.action].command === null) await this.#export(work, names, choice.action);
    else if (await this.#confirm(work, names, isWhole, choice)) await this.#change(work, names, choice);
  }

  #confirm({place}, names, isWhole, {action, ttl}) {
    const {label, isDangerous} = ACTIONS[action];
    const time = ttl ? ` (${ttlText(ttl)})` : '';
    return openDialog({
      id: 'dialog-many-sure', title: `${keyCount(names.length)}: ${label.toLowerCase()}${time}?`, submit: label,
      isDangerous, content: [sampleOf(names), element('p', {}, `In ${place}.`
        + (isWhole ? '' : ' There are more that match: do this again for those.'))],
      onSubmit: () => true,
    });
  }

  async #change(work, names, choice) {
    const {action, ttl} = choice, {session} = this.#page, gone = [];
    const step = STEPS[action](work.client, {ttl, onGone: keys => gone.push(...keys.map(nameOf))});
    try {
      await this.#changing(() => (
        this.#run(work, stride => batchesOf(names, stride), step, names.length, ACTIONS[action].done)));
    } finally {
      if (session === this.#page.session && work.db === session?.db) this.#keys.unmark(gone);
    }
  }

  // What came of it is told behind what the page tells of its key, and also where not all of it could be done.
  async #changing(task) {
    let tell;
    try {
      tell = await task();
    } finally {
      await this.#page.onManyChanged();
    }
    tell();
  }

  // Gives a function that tells what came of it.
  async #run(work, source, step, whole, done) {
    const tell = part => this.#progress.tell(`${count(part)} of ${keyCount(whole)}…`, part, whole);
    tell(0);
    const batches = await work.run(source, step, tally => {
      if (!work.isStopped) tell(Object.values(tally).reduce((sum, number) => sum + number, 0));
    });
    const text = `${work.isStopped ? 'Stopped: ' : ''}${tallyText(batches.tally, done)}.`;
    const why = batches.error ? ` ${failure(batches.error)}` : '';
    return () => this.#page.status.say(text + why, batches.error ? 'bad' : work.isStopped ? '' : 'good');
  }

  // -- files ----------------------------------------------------------------------------------------------------------

  async #export(work, names, action) {
    const made = new Date().toISOString();
    const file = new FileParts(), now = await serverClock(work.client);
    const exporting = new (action === 'json' ? JsonLines : Exporting)(work.client, file, now);
    exporting.begin?.({made, db: work.db});
    const source = () => sizedBatches(work.client, names, action === 'json' ? LARGEST_JSON : undefined);
    const tell = await this.#run(work, source, exporting.step, names.length, ACTIONS[action].done);
    exporting.end?.();
    tell();
    saveFile(`keys-${work.db}-${made.slice(0, 10)}.${action === 'json' ? 'jsonl' : 'ws2s-keys'}`, file.parts);
  }

  async #import(session, db) {
    this.#refuseWrites('RESTORE');
    const choice = await openDialog(importQuestions());
    if (!choice) return;
    this.#refuseOther(session, db);
    await this.#with('Checking the file…', work => this.#checkAndImport(work, choice));
  }

  async #checkAndImport(work, {file, isReplacing}) {
    const {number, facts} = await checkFile(file, {
      isStopped: () => work.isStopped, onRead: bytes => this.#progress.tell('Checking the file…', bytes, file.size)});
    if (!await this.#confirmImport(work, number, facts, isReplacing)) return;
    const importing = new Importing(work.client, await serverClock(work.client), isReplacing);
    await this.#changing(() => this.#run(work, () => keysOf(file), importing.step, number, 'imported'));
  }

  #confirmImport({place}, number, {made}, isReplacing) {
    const when = /^[\dT:.Z-]{1,30}$/.test(made) ? ` The file was made on ${made.slice(0, 10)}.` : '';
    const others = isReplacing ? 'Keys of the same names are replaced.' : 'Keys that are there already stay.';
    return openDialog({
      id: 'dialog-import-sure', title: `Import ${keyCount(number)}?`, submit: 'Import', isDangerous: isReplacing,
      content: [element('p', {}, `Into ${place}. ${others}${when}`)],
      onSubmit: () => true,
    });
  }
}

// Before anything is changed one is asked again.
function submitText(action) {
  return ACTIONS[action].command ? 'Count them' : 'Export';
}

function wantedText({match, type}) {
  const which = match === '*' ? 'all keys of this database' : `all keys that match ${labelOfName(match, 60)}`;
  return type ? `${which}, of the type ${type}` : which;
}

function sampleOf(names) {
  const shown = names.slice(0, SAMPLE).map(name => element('li', {className: 'mono bytes'}, labelOfName(name, 100)));
  const more = names.length - shown.length;
  return element('ul', {}, shown, more > 0 && element('li', {className: 'muted'}, `and ${count(more)} more`));
}

function importQuestions() {
  const file = element('input', {id: 'import-file', type: 'file'});
  const replaces = element('input', {id: 'import-replace', type: 'checkbox'});
  return {
    id: 'dialog-import', title: 'Import keys', submit: 'Check it', first: '#import-file',
    content: [labelled('A file that this page has exported', file),
      element('label', {className: 'check'}, replaces, ' Replace keys of the same names')],
    onSubmit: () => {
      if (!file.files.length) throw new FieldError('Choose a file first.', file);
      return {file: file.files[0], isReplacing: replaces.checked};
    },
  };
}
