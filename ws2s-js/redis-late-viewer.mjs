/** The viewer of redis-viewer.mjs, which is loaded when a value is shown: the page begins sooner without it. */

import {element} from './page.mjs';
import {sourceOf} from './redis-hex.mjs';

/** A ValueViewer with these settings. `hidesPlain`: nothing is seen of it where there is nothing to tell. */
export class LateViewer {
  #settings;
  #viewer = null;
  #value;

  constructor({hidesPlain = false, ...settings}) {
    this.#settings = settings;
    this.hidesPlain = hidesPlain;
    this.node = element('div', {});
  }

  /** How the value is looked at. */
  get look() {
    return this.#viewer ? this.#viewer.look : '';
  }

  /** Look at it in the same way as another one did: to be called before set(). */
  resume({look}) {
    this.#settings.look = look;
  }

  /** As that of a ValueViewer. */
  async set(source, begin) {
    this.#value = [source, begin];
    try {
      const {ValueViewer} = await import('./redis-viewer.mjs');
      this.#viewer = this.#viewer || new ValueViewer(this.#settings);
    } catch (error) {
      this.node.replaceChildren(element('p', {className: 'note'}, `Other looks could not be loaded: ${error.message}`));
      return;
    }
    this.#viewer.set(...this.#value);
    this.node.replaceChildren(...this.hidesPlain && this.#viewer.isPlain ? [] : [this.#viewer.node]);
  }
}

/** A viewer of bytes that are there, which is seen only where there is something to tell. */
export function viewerOf(id, bytes) {
  const viewer = new LateViewer({id, hidesPlain: true});
  viewer.set(sourceOf(bytes), bytes);
  return viewer.node;
}
