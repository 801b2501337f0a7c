/**
 * console-ansi.mjs: the escape sequences of terminals (ECMA-48). Those for colours are obeyed, all others are removed.
 *
 * Whatever begins a sequence and does not go on as one is text again after some bytes, so that nothing is swallowed.
 */

import {joined} from './page.mjs';

const ESC = 0x1b, BEL = 7, LF = 10, CR = 13, CAN = 0x18, SUB = 0x1a;
const BRACKET = 0x5b, SGR = 0x6d;  // [ and m
const SEQUENCE_BYTES = 256;
const STRING_BYTES = 4096;          // of a title, a link, ...
const RUNS = 500;                   // in one text; what is behind has the style of the last
const STRING_BEGINS = new Set([...']PX^_'].map(character => character.charCodeAt(0)));

/** How text looks. A colour is null, from 0 to 255 one of the palette, or RGB and the value of its three bytes. */
export const PLAIN = Object.freeze({
  fore: null, back: null, isBold: false, isFaint: false, isItalic: false, isUnderlined: false, isStruck: false,
  isInverse: false,
});
export const RGB = 0x1000000;

const ATTRIBUTES = new Map([
  [1, {isBold: true}], [2, {isFaint: true}], [3, {isItalic: true}], [4, {isUnderlined: true}], [7, {isInverse: true}],
  [9, {isStruck: true}], [21, {isUnderlined: true}], [22, {isBold: false, isFaint: false}], [23, {isItalic: false}],
  [24, {isUnderlined: false}], [27, {isInverse: false}], [29, {isStruck: false}], [39, {fore: null}],
  [49, {back: null}],
]);

// What SGR says with one number, or nothing for what is not known.
function attributesOf(number) {
  if (number === 0) return PLAIN;
  if (number >= 30 && number <= 37) return {fore: number - 30};
  if (number >= 40 && number <= 47) return {back: number - 40};
  if (number >= 90 && number <= 97) return {fore: number - 82};
  if (number >= 100 && number <= 107) return {back: number - 92};
  return ATTRIBUTES.get(number);
}

const isByte = value => value <= 255;  // parameters have no sign; one that is missing is 0

function colourOf([kind, ...values]) {
  if (kind === 5 && values.length && isByte(values[0])) return values[0];
  const isRgb = kind === 2 && values.length >= 3 && values.slice(0, 3).every(isByte);
  return isRgb ? RGB + (values[0] << 16 | values[1] << 8 | values[2]) : undefined;
}

// `38:2::1:2:3`, where a space of colours may stand before the three.
function colourOfColons([, kind, ...values]) {
  return colourOf([kind, ...(kind === 2 && values.length > 3 ? values.slice(1) : values)]);
}

/** The style behind `style` and the parameters of SGR, such as `1;38;5;208`. */
export function styleAfter(style, parameters) {
  const groups = parameters.split(';').map(group => group.split(':').map(Number));
  const changed = {...style};
  for (let at = 0; at < groups.length; at++) {
    const [number] = groups[at];
    const isColour = number === 38 || number === 48;
    if (isColour) at += takeColour(changed, groups, at);
    else Object.assign(changed, number === 4 && groups[at][1] === 0 ? {isUnderlined: false} : attributesOf(number));
  }
  return Object.freeze(changed);
}

// How many groups the colour at `at` takes besides that one.
function takeColour(style, groups, at) {
  const group = groups[at], hasColons = group.length > 1;
  const kind = groups[at + 1]?.[0];
  const more = hasColons ? 0 : kind === 5 ? 2 : kind === 2 ? 4 : 1;
  const values = groups.slice(at + 1, at + 1 + more).map(([value]) => value);
  const colour = hasColons ? colourOfColons(group) : colourOf(values);
  if (colour !== undefined) style[group[0] === 38 ? 'fore' : 'back'] = colour;
  return more;
}

const REMEMBERED = 4096;
let nextStyles = new WeakMap();  // by style, by parameters: in a flood the same ones come again and again
let remembered = 0;

function nextStyle(style, parameters) {
  if (Number(parameters) === 0) return PLAIN;
  const known = nextStyles.get(style)?.get(parameters);
  return known || remember(style, parameters, styleAfter(style, parameters));
}

function remember(style, parameters, next) {
  if (remembered++ >= REMEMBERED) {
    nextStyles = new WeakMap();
    remembered = 0;
  }
  if (!nextStyles.has(style)) nextStyles.set(style, new Map());
  nextStyles.get(style).set(parameters, next);
  return next;
}

const START = Object.freeze({style: PLAIN, step: 'text', parameters: '', length: 0});

/** Reads a text that comes in pieces: knows its style, and the sequence that is unfinished. */
export class AnsiReader {
  #style;
  #step;         // within which part: text, escape, sequence or string
  #parameters;
  #length;       // of the sequence so far

  /** `state`: that of another reader, with which this one goes on. */
  constructor({style, step, parameters, length} = START) {
    this.#style = style;
    this.#step = step;
    this.#parameters = parameters;
    this.#length = length;
  }

  get state() {
    return {style: this.#style, step: this.#step, parameters: this.#parameters, length: this.#length};
  }

  /** Calls `onText(bytes, style)` for each piece of text. */
  read(bytes, onText = () => {}) {
    for (let at = 0; at < bytes.length;) {
      if (this.#step === 'text') at = this.#readText(bytes, at, onText);
      else if (this.#take(bytes[at])) at++;
    }
  }

  // Where it goes on.
  #readText(bytes, begin, onText) {
    const found = bytes.indexOf(ESC, begin);
    const end = found < 0 ? bytes.length : found;
    if (end > begin) onText(bytes.subarray(begin, end), this.#style);
    if (found < 0) return end;
    this.#begin('escape');
    return end + 1;
  }

  // Is this byte one of the sequence?
  #take(byte) {
    this.#length++;
    if (byte === ESC) return this.#begin('escape');
    if (byte === CAN || byte === SUB) return this.#end();
    if (this.#step === 'string') return this.#takeOfString(byte);
    const isOver = byte < 0x20 || byte > 0x7e || this.#length > SEQUENCE_BYTES;
    if (isOver) return !this.#end();
    return this.#step === 'escape' ? this.#takeOfEscape(byte) : this.#takeOfSequence(byte);
  }

  #takeOfEscape(byte) {
    if (byte < 0x30) return true;
    if (this.#length > 1) return this.#end();  // as in ESC ( B
    if (byte === BRACKET) return this.#begin('sequence');
    return STRING_BEGINS.has(byte) ? this.#begin('string') : this.#end();
  }

  #takeOfSequence(byte) {
    if (byte < 0x40) {
      this.#parameters += String.fromCharCode(byte);
      return true;
    }
    const isStyle = byte === SGR && /^[\d;:]*$/.test(this.#parameters);
    if (isStyle) this.#style = nextStyle(this.#style, this.#parameters);
    return this.#end();
  }

  // No title has lines.
  #takeOfString(byte) {
    const isOver = byte === LF || byte === CR || this.#length > STRING_BYTES;
    if (isOver) return !this.#end();
    return byte === BEL ? this.#end() : true;
  }

  #begin(step) {
    this.#step = step;
    this.#parameters = '';
    this.#length = 0;
    return true;
  }

  #end() {
    return this.#begin('text');
  }
}

/** A text as runs of one style each, `{bytes, style}`, without its sequences. `state`: that of a reader before it. */
export function styledRuns(bytes, state) {
  const runs = [];
  new AnsiReader(state).read(bytes, (piece, style) => {
    const last = runs.at(-1);
    const isMore = last && (last.style === style || runs.length === RUNS);
    if (isMore) last.pieces.push(piece);
    else runs.push({pieces: [piece], style});
  });
  return runs.map(({pieces, style}) => ({bytes: joined(pieces), style}));
}
