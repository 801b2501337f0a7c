/**
 * MessagePack, opened bit by bit as JSON is (redis-json.mjs). What stands where: MsgpackError, formats, checking, a
 * document, and how its values are shown.
 */

import {byteCount} from './page.mjs';
import {shortened} from './redis-bytes.mjs';
import {Containers, TooMuchError} from './redis-outline.mjs';

const STRIDE = 2048;  // values between two yields
const LARGEST = 4000000;  // values
const DEEPEST = 1000;
const TIMESTAMP = -1;  // as a type of an extension
const LARGEST_SECONDS = 8640000000000n;  // a Date goes no farther

/** Where bytes stop being MessagePack: `at` (from 0). */
export class MsgpackError extends Error {
  constructor(at, words) {
    super(`Byte ${at} (hexadecimal ${at.toString(16)}): ${words}`);
    this.name = 'MsgpackError';
    this.at = at;
  }
}

// -- formats ----------------------------------------------------------------------------------------------------------

// From c0: the kind; `length`, the size of a number that tells how long it is; or `size`, of what follows at once.
const FORMATS = [
  {kind: 'null'}, null, {kind: 'boolean'}, {kind: 'boolean'},
  {kind: 'bytes', length: 1}, {kind: 'bytes', length: 2}, {kind: 'bytes', length: 4},
  {kind: 'extension', length: 1}, {kind: 'extension', length: 2}, {kind: 'extension', length: 4},
  {kind: 'float', size: 4}, {kind: 'float', size: 8},
  {kind: 'number', size: 1}, {kind: 'number', size: 2}, {kind: 'number', size: 4}, {kind: 'number', size: 8},
  {kind: 'number', size: 1}, {kind: 'number', size: 2}, {kind: 'number', size: 4}, {kind: 'number', size: 8},
  {kind: 'extension', size: 1}, {kind: 'extension', size: 2}, {kind: 'extension', size: 4},
  {kind: 'extension', size: 8}, {kind: 'extension', size: 16},
  {kind: 'string', length: 1}, {kind: 'string', length: 2}, {kind: 'string', length: 4},
  {kind: 'list', length: 2}, {kind: 'list', length: 4}, {kind: 'map', length: 2}, {kind: 'map', length: 4},
];

// Those whose size is in their first byte.
function shortFormat(byte) {
  if (byte < 0x80 || byte >= 0xe0) return {kind: 'number', size: 0};
  if (byte < 0x90) return {kind: 'map', count: byte & 15};
  return byte < 0xa0 ? {kind: 'list', count: byte & 15} : {kind: 'string', size: byte & 31};
}

/**
 * What begins at `at`: `{kind, at, body, end, count}`. `body` is where the content begins, `end` is behind it; of a
 * list or map `end` is where its first member begins, and `count` the number of members.
 */
function headAt(view, at) {
  if (at >= view.byteLength) throw new MsgpackError(at, 'the data end where a value must begin.');
  const byte = view.getUint8(at);
  const format = byte >= 0xc0 && byte < 0xe0 ? FORMATS[byte - 0xc0] : shortFormat(byte);
  if (!format) throw new MsgpackError(at, 'c1 begins no value of MessagePack.');
  const {kind, length = 0, size = 0} = format;
  const given = length ? lengthAt(view, at, length) : format.count ?? size;
  const body = at + 1 + length + (kind === 'extension' ? 1 : 0);
  const isContainer = kind === 'list' || kind === 'map';
  const end = isContainer ? body : body + given;
  if (end > view.byteLength) throw new MsgpackError(at, `the data end within this ${kind}.`);
  return {kind, at, body, end, count: isContainer ? given : 0};
}

function lengthAt(view, at, length) {
  if (at + 1 + length > view.byteLength) throw new MsgpackError(at, 'the data end within a length.');
  return length === 1 ? view.getUint8(at + 1) : length === 2 ? view.getUint16(at + 1) : view.getUint32(at + 1);
}

const viewOf = bytes => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

// -- checking ---------------------------------------------------------------------------------------------------------

/** The MsgpackDocument of bytes. For inSlices(). Throws a MsgpackError, or a TooMuchError. */
export function* readMsgpack(bytes) {
  const view = viewOf(bytes), containers = new Containers();
  const open = [];  // those it is in: {number, count, left}; left: the values that are still to come
  let at = 0, values = 0;
  do {
    const head = headAt(view, at);
    at = head.end;
    if (++values > LARGEST) throw new TooMuchError('There are more than 4,000,000 values in it.');
    if (open.length) open[open.length - 1].left--;
    if (head.kind === 'list' || head.kind === 'map') begin(containers, open, head);
    closeEnded(containers, open, at);
    if (values % STRIDE === 0) yield;
  } while (open.length);
  const behind = bytes.length - at;
  if (behind) throw new MsgpackError(at, `here the value ends, and ${byteCount(behind)} more stand.`);
  return new MsgpackDocument(bytes, containers);
}

function begin(containers, open, {kind, at, count}) {
  if (open.length === DEEPEST) throw new TooMuchError('There are more than 1,000 lists and maps within one another.');
  open.push({number: containers.open(at), count, left: kind === 'map' ? 2 * count : count});
}

function closeEnded(containers, open, at) {
  while (open.length && open[open.length - 1].left === 0) {
    const {number, count} = open.pop();
    containers.close(number, at, count);
  }
}

// -- a document -------------------------------------------------------------------------------------------------------

/** Bytes that are MessagePack. Its nodes are as those of a JsonDocument; the name of one is a node, or an index. */
class MsgpackDocument {
  #bytes;
  #view;
  #containers;

  constructor(bytes, containers) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.#containers = containers;
  }

  get root() {
    return this.#node(0, null);
  }

  #node(at, name) {
    const {kind, body, end, count} = headAt(this.#view, at);
    const isContainer = kind === 'list' || kind === 'map';
    return {kind, name, at, body, count, end: isContainer ? this.#containers.at(at).end : end};
  }

  /** Up to `size` members, from `cursor` (null: the first): `{nodes, cursor}`; null is the end. */
  children(node, cursor, size) {
    const nodes = [];
    let {at, index} = cursor || {at: node.body, index: 0};
    for (; nodes.length < size && index < node.count; index++) {
      const name = node.kind === 'map' ? this.#node(at, null) : index;
      nodes.push(this.#node(node.kind === 'map' ? name.end : at, name));
      at = nodes[nodes.length - 1].end;
    }
    return {nodes, cursor: index < node.count ? {at, index} : null};
  }

  nameLabel({name}, limit) {
    if (name === null || typeof name === 'number') return name === null ? '' : String(name);
    const {kind, count} = name;
    return kind === 'list' || kind === 'map' ? `${kind} of ${count}` : this.label(name, limit);
  }

  /** How a value that is no container is shown. */
  label(node, limit) {
    const {kind, at, body, end} = node;
    if (kind === 'null') return 'null';
    if (kind === 'boolean') return String(this.#view.getUint8(at) === 0xc3);
    if (kind === 'number') return String(integerAt(this.#view, at));
    if (kind === 'float') return floatText(this.#view, at);
    const content = this.#bytes.subarray(body, end);
    if (kind === 'string') return `"${shortened(content, limit)}"`;
    return kind === 'bytes' ? hexLabel(content, limit) : this.#extensionLabel(body, content, limit);
  }

  #extensionLabel(body, content, limit) {
    const type = this.#view.getInt8(body - 1);
    const time = type === TIMESTAMP ? timestampOf(content) : null;
    return time || `extension ${type}: ${hexLabel(content, limit)}`;
  }
}

// -- values -----------------------------------------------------------------------------------------------------------

const INTEGERS = [
  'getUint8', 'getUint16', 'getUint32', 'getBigUint64', 'getInt8', 'getInt16', 'getInt32', 'getBigInt64'];

function integerAt(view, at) {
  const byte = view.getUint8(at);
  return byte < 0x80 || byte >= 0xe0 ? view.getInt8(at) : view[INTEGERS[byte - 0xcc]](at + 1);
}

// The shortest digits that are this number: a single has fewer of them than a double.
function floatText(view, at) {
  const isSingle = view.getUint8(at) === 0xca;
  const number = isSingle ? view.getFloat32(at + 1) : view.getFloat64(at + 1);
  if (Object.is(number, -0)) return '-0.0';
  if (!Number.isFinite(number)) return String(number);
  const text = isSingle ? shortestSingle(number) : String(number);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

function shortestSingle(number) {
  for (let digits = 1; digits < 9; digits++) {
    const shorter = Number(number.toPrecision(digits));
    if (Math.fround(shorter) === number) return String(shorter);
  }
  return String(Number(number.toPrecision(9)));
}

function hexLabel(content, limit) {
  const shown = content.subarray(0, Math.max(1, limit >> 1));
  const hex = Array.from(shown, byte => byte.toString(16).padStart(2, '0')).join('');
  return `${hex}${shown.length < content.length ? '…' : ''} (${byteCount(content.length)})`.trim();
}

/** A moment with its nanoseconds; null where the bytes of the extension are none. */
function timestampOf(content) {
  const view = viewOf(content);
  const parts = {4: () => [BigInt(view.getUint32(0)), 0], 8: () => packedTime(view.getBigUint64(0)),
    12: () => [view.getBigInt64(4), view.getUint32(0)]}[content.length];
  if (!parts) return null;
  const [seconds, nanoseconds] = parts();
  if (nanoseconds > 999999999 || seconds > LARGEST_SECONDS || seconds < -LARGEST_SECONDS) return null;
  const second = new Date(Number(seconds) * 1000).toISOString().slice(0, -5);
  const fraction = nanoseconds ? `.${String(nanoseconds).padStart(9, '0').replace(/(000)+$/, '')}` : '';
  return `${second.replace('T', ' ')}${fraction} UTC`;
}

function packedTime(packed) {
  return [packed & 0x3ffffffffn, Number(packed >> 34n)];
}
