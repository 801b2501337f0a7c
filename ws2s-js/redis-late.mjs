/** Views that are loaded when their tabs are opened: the page begins sooner without them. */

import {fetchModules} from './page.mjs';

/** `template`: names the modules; `load()`: makes the view, with what it imports; `status`: a Status of its tab. */
export class LateView {
  #template;
  #load;
  #status;
  #loading = null;
  #isShown = false;

  /** The view as it is made by `load()`; null before that. */
  view = null;

  constructor(template, load, status) {
    this.#template = template;
    this.#load = load;
    this.#status = status;
  }

  /** Is its tab the one that is seen? */
  set isShown(isShown) {
    this.#isShown = isShown;
    if (this.view) this.#tell();
    else if (isShown) this.#loading = this.#loading || this.#begin().finally(() => { this.#loading = null; });
  }

  // Some are the same whether they are seen or not.
  #tell() {
    if ('isShown' in this.view) this.view.isShown = this.#isShown;
  }

  async #begin() {
    this.#status.say('Loading this view…', 'busy');
    try {
      fetchModules(this.#template);
      this.view = await this.#load();
      this.#status.say('');
      this.#tell();
    } catch (error) {
      this.#status.say(`This view could not be loaded: ${error.message}`, 'bad');
    }
  }
}
