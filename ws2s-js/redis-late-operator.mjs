/** The panel of redis-operator.mjs, which is loaded when its tab is opened: the page begins sooner without it. */

import {fetchModules} from './page.mjs';

/** `page`: as that of an OperatorView. */
export class LateOperator {
  #node;
  #page;
  #view = null;
  #isShown = false;

  constructor(node, page) {
    this.#node = node;
    this.#page = page;
  }

  /** Is its tab the one that is seen? */
  set isShown(isShown) {
    this.#isShown = isShown;
    if (this.#view) this.#view.isShown = isShown;
    else if (isShown) this.#load();
  }

  clear() {
    this.#view?.clear();
  }

  async #load() {
    const {operatorStatus} = this.#page;
    operatorStatus.say('Loading this view…', 'busy');
    try {
      fetchModules('redis-operator');
      const {OperatorView} = await import('./redis-operator.mjs');
      if (this.#view) return;
      this.#view = new OperatorView(this.#node, this.#page);
      operatorStatus.say('');
      this.#view.isShown = this.#isShown;
    } catch (error) {
      operatorStatus.say(`This view could not be loaded: ${error.message}`, 'bad');
    }
  }
}
