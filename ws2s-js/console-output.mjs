/** console-output.mjs: the transcript on the page. */
import {byId, byteCount, element, visible} from './page.mjs';
import {lookOf} from './console-colours.mjs';
import {bodyRuns, bodyText, NARROW, timeText, WIDE} from './console-transcript.mjs';
import {nextFrame} from './console-line.mjs';

function ignore() {}

function pause(milliseconds) {
  return new Promise(resolve => { setTimeout(resolve, milliseconds); });
}

const DIRECTIONS = {sent: '▲ sent', secret: '▲ sent', received: '▼ received', notice: '● notice'};
const NEAR_END = 24;            // pixels
const FILL_MILLISECONDS = 10;   // for the texts of entries, in one frame
const LINE_REM = 1.26;          // height of a line
const WRAPPED_CHARACTERS = {wide: 80, narrow: 38};  // roughly, in a line that is wrapped
const ANNOUNCED_CHARACTERS = 200;
const ANNOUNCE_MILLISECONDS = 1000;

/**
 * Shows a transcript: once in a frame, and at its end unless the user has scrolled up. The newest entries get their
 * text first; in a flood older ones are gone before it is their turn.
 */
export class Output {
  #transcript;
  #region = byId('output');
  #list = byId('entries');
  #newest = byId('newest');
  #nodes = new Map();          // by entry
  #isWanted = false;
  #isDrawing = false;
  #follows = true;
  #top = 0;
  #narrow = matchMedia('(max-width: 40rem)');
  #announcedAt = 0;

  view = 'colour';
  /** Called each time it is drawn. */
  onDrawn = ignore;
  /** Called when there is room for more or less text. */
  onResized = ignore;

  constructor(transcript) {
    this.#transcript = transcript;
    this.#region.addEventListener('scroll', () => this.#onScroll());
    this.#newest.addEventListener('click', () => this.#goToEnd());
    this.#narrow.addEventListener('change', () => this.showAgain());
    // Entries that nobody sees have no exact height yet.
    const observer = new ResizeObserver(() => this.#keepAtEnd());
    for (const node of [this.#region, this.#list]) observer.observe(node);
    new ResizeObserver(() => this.onResized(this.size)).observe(this.#region);
    this.#setFollows(true);
  }

  /** Something has changed: draw it soon. */
  async update() {
    this.#isWanted = true;
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    try {
      while (this.#isWanted) await this.#drawNext();
    } finally {
      this.#isDrawing = false;
    }
  }

  /** How much text there is room for, in characters: `{columns, rows}`. */
  get size() {
    const [, body] = byId('ruler').children;
    const {width, height} = body.firstElementChild.getBoundingClientRect();
    const count = (room, size) => Math.max(1, Math.floor(room / size) || 1);
    return {columns: count(body.clientWidth, width), rows: count(this.#region.clientHeight, height)};
  }

  /** All of it, since it is to look different. */
  showAgain() {
    for (const entry of this.#transcript.entries) entry.isChanged = true;
    this.update();
  }

  async #drawNext() {
    await nextFrame();
    this.#isWanted = false;
    await pause(this.#draw());  // half of the time is for all else
  }

  // How long it took.
  #draw() {
    const begin = performance.now();
    const fresh = this.#transcript.entries.filter(entry => !this.#nodes.has(entry));
    this.#transcript.seal();
    this.#removeDropped();
    this.#list.append(...fresh.map(entry => this.#newNode(entry)));
    this.#fillUntil(begin + FILL_MILLISECONDS);
    this.#region.classList.toggle('hex', this.view === 'hex');
    byId('empty').hidden = this.#nodes.size > 0;
    showText(byId('dropped'), this.#transcript.loss);
    this.#announce(fresh);
    this.onDrawn();
    this.#keepAtEnd();
    return performance.now() - begin;
  }

  #removeDropped() {
    const kept = new Set(this.#transcript.entries);
    for (const [entry, node] of this.#nodes) {
      if (kept.has(entry)) continue;
      node.remove();
      this.#nodes.delete(entry);
    }
  }

  #newNode(entry) {
    const node = element('li', {className: `entry ${entry.kind} ${entry.tone}`.trim()},
      element('div', {className: 'head'},
        element('time', {dateTime: entry.time.toISOString()}, timeText(entry.time)),
        element('span', {className: 'direction'}, DIRECTIONS[entry.kind]),
        element('span', {className: 'count'})),
      element('pre', {className: 'body'}));
    this.#nodes.set(entry, node);
    return node;
  }

  #fillUntil(deadline) {
    for (const entry of this.#transcript.entries.filter(each => each.isChanged).reverse()) {
      if (performance.now() > deadline) {
        this.#isWanted = true;
        return;
      }
      this.#fill(entry);
    }
  }

  #fill(entry) {
    const node = this.#nodes.get(entry), [head, body] = node.children;
    const isNarrow = this.#narrow.matches;
    if (!entry.text) head.lastChild.textContent = byteCount(entry.size);
    body.replaceChildren(...this.#contentOf(entry, isNarrow));
    const text = body.textContent;
    // Until it is laid out. Were the guess too low, the browser would take many for nearly visible.
    node.style.containIntrinsicBlockSize = `auto ${LINE_REM * linesOf(text, isNarrow)}rem`;
    entry.isChanged = false;
  }

  #contentOf(entry, isNarrow) {
    if (this.view === 'hex') return [bodyText(entry, 'hex', isNarrow ? NARROW : WIDE)];
    return bodyRuns(entry, this.view).map(runNode);
  }

  // A screen reader is told the newest of what came, not a flood.
  #announce(entries) {
    const entry = entries.findLast(each => each.kind === 'received');
    if (!entry || performance.now() - this.#announcedAt < ANNOUNCE_MILLISECONDS) return;
    this.#announcedAt = performance.now();
    const shown = bodyText(entry, this.view === 'hex' ? 'text' : this.view);
    const {text, isCut} = visible(shown, ANNOUNCED_CHARACTERS, {lines: true});
    byId('announcer').textContent = `Received ${byteCount(entry.size)}: ${text}${isCut ? '…' : ''}`;
  }

  // -- scrolling ------------------------------------------------------------------------------------------------------

  #onScroll() {
    const {scrollTop, scrollHeight, clientHeight} = this.#region;
    if (scrollHeight - clientHeight - scrollTop < NEAR_END) this.#setFollows(true);
    // The place also becomes less when older entries go; then the end is not left.
    else if (scrollTop < this.#top) this.#setFollows(false);
    this.#top = scrollTop;
  }

  #setFollows(follows) {
    this.#follows = follows;
    if (follows && document.activeElement === this.#newest) this.#region.focus();  // what is hidden has no focus
    this.#newest.hidden = follows;
    this.#region.classList.toggle('follows', follows);
  }

  #goToEnd() {
    this.#setFollows(true);
    this.#keepAtEnd();
    this.#region.focus();  // not every browser gives a button the focus at a click
  }

  #keepAtEnd() {
    if (!this.#follows) return;
    this.#region.scrollTop = this.#region.scrollHeight;
    this.#top = this.#region.scrollTop;
  }
}

function runNode({text, style}) {
  const {className, variables} = style ? lookOf(style) : {className: ''};
  if (!className) return text;
  const node = element('span', {className: `ansi ${className}`}, text);
  for (const [name, value] of variables) node.style.setProperty(name, value);
  return node;
}

function linesOf(text, isNarrow) {
  const wrapped = Math.ceil(text.length / WRAPPED_CHARACTERS[isNarrow ? 'narrow' : 'wide']);
  return Math.max(text.split('\n').length, wrapped);
}

/** A text that stands there only when there is one. */
export function showText(node, text) {
  if (node.textContent !== text) node.textContent = text;
  node.hidden = !text;
}
