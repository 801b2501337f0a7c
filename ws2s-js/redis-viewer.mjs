/** Other ways to look at a value. Whatever is chosen here, the value stays what it is. */

import {byteCount, element, joined, saveFile, Status} from './page.mjs';
import {textOf, utf8} from './redis-bytes.mjs';
import {failure, labelled} from './redis-fields.mjs';
import {COLUMNS, HexRows, parseOffset, sourceOf} from './redis-hex.mjs';
import {hintsOf} from './redis-hints.mjs';
import {layout, readJson} from './redis-json.mjs';
import {kindOf} from './redis-kinds.mjs';
import {readMsgpack} from './redis-msgpack.mjs';
import {count} from './redis-names.mjs';
import {inSlices, pace} from './redis-slices.mjs';
import {unpack} from './redis-unpack.mjs';
import {TreeView} from './redis-value-tree.mjs';
import {LARGEST_ROWS, Lines, VirtualRows} from './redis-virtual-rows.mjs';

const LARGEST_WHOLE = 16777216;  // bytes that are read for what needs all of them
const PIECE = 1048576;
const DEEPEST = 4;               // what is packed within what is packed
const HINTED = 64;               // bytes
const SHORT = 256;

const LOOKS = {
  '': 'nothing else', text: 'text', tree: 'JSON, as a tree', layout: 'JSON, laid out', msgpack: 'MessagePack',
  hex: 'hex dump', gzip: 'unpacked with gzip', zlib: 'unpacked with zlib', deflate: 'unpacked with deflate',
};

// -- reading ----------------------------------------------------------------------------------------------------------

/** All bytes of a source. */
async function whole(source, signal) {
  if (source.length > LARGEST_WHOLE) {
    throw new RangeError(`A value of ${byteCount(source.length)} is too long for that: only a hex dump shows it.`);
  }
  const pieces = [], rest = pace();
  for (let at = 0; at < source.length; at += PIECE) {
    await rest();
    pieces.push(await source.read(at, Math.min(source.length, at + PIECE)));
    signal.throwIfAborted();
  }
  return joined(pieces);
}

async function wholeText(source, signal) {
  const text = textOf(await whole(source, signal));
  if (text === null) throw new RangeError('These bytes are no UTF-8, so they are no text and no JSON.');
  return text;
}

// -- looks: each makes {node, note} -----------------------------------------------------------------------------------

async function textLook({id, source, signal}) {
  return linesShown(id, 'Text', await wholeText(source, signal), signal);
}

async function linesShown(id, label, text, signal) {
  const lines = await inSlices(Lines.of(text), {signal});
  const rows = new VirtualRows({id, label, length: lines.length, row: index => lines.row(index)});
  const note = lines.isCut ? `The first ${count(lines.length)} lines.` : '';
  return {node: rows.node, note};
}

async function treeLook({id, source, signal}) {
  const document = await inSlices(readJson(await wholeText(source, signal)), {signal});
  return {node: new TreeView({id, label: 'JSON', document}).node, note: ''};
}

async function layoutLook({id, source, signal, fileName}) {
  const text = await wholeText(source, signal);
  await inSlices(readJson(text), {signal});
  const laidOut = await inSlices(layout(text), {signal});
  const {node, note} = await linesShown(id, 'JSON, laid out', laidOut, signal);
  return {node: element('div', {}, node, saveButton(id, `${fileName}.json`, [utf8(laidOut)])), note};
}

async function msgpackLook({id, source, signal}) {
  const document = await inSlices(readMsgpack(await whole(source, signal)), {signal});
  return {node: new TreeView({id, label: 'MessagePack', document}).node, note: ''};
}

function saveButton(id, fileName, parts) {
  return element('div', {className: 'row'}, element('button', {
    type: 'button', className: 'small', id: `${id}-save`, on: {click: () => saveFile(fileName, parts)},
  }, 'Save this to a file'));
}

async function unpackedLook(packing, {id, source, signal, depth, fileName}) {
  const {bytes, isCut, isBroken} = await unpack(await whole(source, signal), packing, {signal});
  if (isBroken && !bytes.length) throw new RangeError(`This is not packed with ${packing}.`);
  const viewer = new ValueViewer({id: `${id}-inner`, depth: depth + 1, fileName, isOpen: true});
  viewer.set(sourceOf(bytes), bytes);
  const size = `${count(bytes.length)} bytes are unpacked.`;
  const note = isCut ? `Cut: more is packed in it. The first ${size}`
    : isBroken ? `Broken: its end is missing or damaged, or something follows it. The first ${size}` : size;
  return {node: element('div', {}, viewer.node, saveButton(id, fileName, [bytes])), note};
}

/** A window of a value that may be longer than browsers scroll. */
class HexLook {
  #source;
  #rows;
  #id;
  #onError;
  #place = element('div', {});
  #base = 0;   // the number of the first row of the window

  constructor({id, source, onError}) {
    this.#source = source;
    this.#rows = new HexRows(source);
    this.#id = id;
    this.#onError = onError;
    this.node = element('div', {}, this.#offsetRow(), this.#place);
    this.#show(0);
  }

  // No form: it may stand within that of a dialog, which Enter would submit.
  #offsetRow() {
    const offset = element('input', {
      id: `${this.#id}-offset`, autocomplete: 'off', spellcheck: false, size: 12, dataset: {look: ''},
      on: {keydown: event => {
        if (event.key !== 'Enter' || event.isComposing) return;
        event.preventDefault();
        this.#go(offset);
      }},
    });
    const go = element('button', {
      type: 'button', id: `${this.#id}-go`, className: 'small', on: {click: () => this.#go(offset)}}, 'Go there');
    return element('div', {className: 'row offset'}, labelled('Offset', offset), go);
  }

  get note() {
    if (this.#rows.length <= LARGEST_ROWS) return '';
    return `${count(LARGEST_ROWS * COLUMNS)} bytes can be scrolled at once; others by their offset.`;
  }

  #go(input) {
    try {
      this.#show(Math.floor(parseOffset(input.value, this.#source.length) / COLUMNS));
      input.removeAttribute('aria-invalid');
    } catch (error) {
      input.setAttribute('aria-invalid', 'true');
      input.focus();
      this.#onError(error);
    }
  }

  #show(row) {
    this.#base = Math.floor(row / LARGEST_ROWS) * LARGEST_ROWS;
    const base = this.#base, rows = new VirtualRows({
      id: this.#id, label: 'Hex dump', length: Math.min(LARGEST_ROWS, this.#rows.length - base),
      row: index => this.#rows.row(base + index), load: (first, end) => this.#rows.load(base + first, base + end),
      onError: this.#onError,
    });
    this.#place.replaceChildren(rows.node);
    rows.show(row - base);
  }
}

const MAKERS = {
  text: textLook, tree: treeLook, layout: layoutLook, msgpack: msgpackLook, hex: settings => new HexLook(settings),
  gzip: settings => unpackedLook('gzip', settings), zlib: settings => unpackedLook('zlib', settings),
  deflate: settings => unpackedLook('deflate', settings),
};

// -- the viewer -------------------------------------------------------------------------------------------------------

function hintsFor(bytes) {
  return bytes.length > HINTED ? [] : hintsOf(textOf(bytes) ?? '');
}

/** A choice of looks, and below it what was chosen. `isOpen`: it begins with what the value seems to be. */
export class ValueViewer {
  #settings;
  #select;
  #guess;
  #status;
  #body = element('div', {className: 'viewer-body'});
  #source = null;
  #stop = new AbortController();

  /** Is the value a short text about which there is nothing to tell? */
  isPlain = true;

  constructor({id, fileName = 'value', depth = 0, isOpen = false, look = ''}) {
    this.#settings = {id, fileName, depth, isOpen};
    const looks = Object.entries(LOOKS).filter(([look]) => depth < DEEPEST || !/gzip|zlib|deflate/.test(look));
    this.#select = element('select', {id: `${id}-look`, on: {change: () => this.#show()}},
      looks.map(([value, name]) => element('option', {value}, name)));
    this.#select.value = look;
    this.#guess = element('span', {id: `${id}-guess`, className: 'note'});
    this.#status = new Status(element('p', {id: `${id}-status`}));
    this.node = element('div', {className: 'viewer'}, element('div', {className: 'row'},
      element('label', {htmlFor: `${id}-look`}, 'See it also as'), this.#select, this.#guess),
    this.#status.node, this.#body);
  }

  get look() {
    return this.#select.value;
  }

  /** `source`: {length, read(first, end)}; `begin`: its first bytes, or all. */
  set(source, begin) {
    this.#source = source;
    const isWhole = begin.length === source.length;
    const {look, words} = kindOf(begin, isWhole);
    const hints = isWhole ? hintsFor(begin) : [];
    this.isPlain = isWhole && begin.length <= SHORT && look === 'text' && !words && !hints.length;
    this.#guess.textContent = [words && `It seems to be ${words}.`, ...hints.map(sentence)].filter(Boolean).join(' ');
    if (this.#settings.isOpen && !this.#select.value) this.#select.value = this.#has(look) ? look : 'hex';
    this.#show();
  }

  #has(look) {
    return [...this.#select.options].some(({value}) => value === look);
  }

  async #show() {
    this.#stop.abort();
    const {signal} = this.#stop = new AbortController();
    const {id, fileName, depth} = this.#settings, look = this.#select.value;
    this.#body.replaceChildren();
    this.#status.say(look && 'Reading…', 'busy');
    if (!look) return;
    const onError = error => { if (!signal.aborted) this.#status.say(told(error), 'bad'); };
    try {
      const settings = {id: `${id}-${look}`, source: this.#source, signal, depth, fileName, onError};
      const {node, note} = await MAKERS[look](settings);
      if (signal.aborted) return;
      this.#body.replaceChildren(node);
      this.#status.say(note);
    } catch (error) {
      onError(error);
    }
  }
}

const OWN = new Set(['JsonError', 'MsgpackError', 'RangeError', 'TooMuchError']);

const told = error => (OWN.has(error.name) ? error.message : failure(error));

const sentence = hint => `${hint[0].toUpperCase()}${hint.slice(1)}.`;
