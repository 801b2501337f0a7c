/** Many lines of text, of which those to be seen are in the DOM. And lines of a long text. */

import {element} from './page.mjs';
import {shortened} from './redis-bytes.mjs';
import {rowsInView} from './redis-names.mjs';

const ROW_HEIGHT = 20;  // in pixels, as in redis.css
const STRIDE = 4096;    // lines between two yields
const LINE = 2000;      // characters

/** Browsers do not scroll much farther. */
export const LARGEST_ROWS = 262144;

/**
 * Lines that are scrolled. `row(index)`: the text, or null while it is not there; `load(first, end)`: get those, and
 * resolve to whether there is anything new; `onError(error)`.
 */
export class VirtualRows {
  #settings;
  #spacer = element('div', {className: 'spacer', role: 'presentation'});
  #turn = 0;

  constructor(settings) {
    this.#settings = settings;
    const {id, label, length} = settings;
    this.node = element('div', {
      id, role: 'group', tabIndex: 0, className: 'virtual mono', ariaLabel: label, on: {scroll: () => this.draw()},
    }, this.#spacer);
    this.#spacer.style.height = `${length * ROW_HEIGHT}px`;
    // Drawing within the callback could change the size that is being told.
    new ResizeObserver(() => requestAnimationFrame(() => this.draw())).observe(this.node);
  }

  /** Scroll to a row. */
  show(index) {
    this.node.scrollTop = index * ROW_HEIGHT;
    this.draw();
  }

  draw() {
    const {first, end} = this.#drawRows();
    this.#load(++this.#turn, first, end);
  }

  #drawRows() {
    const {length, row} = this.#settings;
    const {scrollTop, clientHeight: height} = this.node;
    const {first, end} = rowsInView({scrollTop, height, rowHeight: ROW_HEIGHT, length});
    this.#spacer.replaceChildren(...Array.from({length: end - first}, (_, i) => {
      const line = element('div', {className: 'virtual-row'}, row(first + i) ?? '…');
      line.style.top = `${(first + i) * ROW_HEIGHT}px`;
      return line;
    }));
    return {first, end};
  }

  async #load(turn, first, end) {
    const {load, onError} = this.#settings;
    if (!load) return;
    try {
      if (await load(first, end) && turn === this.#turn) this.#drawRows();
    } catch (error) {
      if (turn === this.#turn) onError(error);
    }
  }
}

/** The lines of a text: how many there are, up to a bound, and each of them. */
export class Lines {
  #text;
  #starts;

  constructor(text, starts, isCut) {
    Object.assign(this, {length: starts.length, isCut});
    this.#text = text;
    this.#starts = starts;
  }

  /** Made in steps, for inSlices(). */
  static *of(text, limit = LARGEST_ROWS) {
    const starts = [0];
    let feed = text.indexOf('\n');
    for (; feed >= 0 && starts.length < limit; feed = text.indexOf('\n', feed + 1)) {
      starts.push(feed + 1);
      if (starts.length % STRIDE === 0) yield;
    }
    return new Lines(text, starts, feed >= 0);
  }

  /** The beginning of a line, without what cannot be seen. */
  row(index) {
    const start = this.#starts[index], feed = this.#text.indexOf('\n', start);
    const end = feed < 0 ? this.#text.length : feed;
    return shortened(this.#text.slice(start, Math.min(end, start + LINE + 1)), LINE);
  }
}
