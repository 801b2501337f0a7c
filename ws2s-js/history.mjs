/** history.mjs: what was typed into a line of either page. */

const KEPT = 200;
const KEPT_CHARACTERS = 10000;  // longer ones were pasted

/** What was typed before, only in memory: it may hold passwords. */
export class History {
  #lines = [];
  #at = 0;         // #lines.length: at what is being typed
  #draft = '';

  add(line) {
    const isNew = line && line.length <= KEPT_CHARACTERS && line !== this.#lines.at(-1);
    if (isNew) this.#lines.push(line);
    if (this.#lines.length > KEPT) this.#lines.shift();
    this.#at = this.#lines.length;
    this.#draft = '';
  }

  /** The line before; null if there is none. `current` is what stands in the input. */
  older(current) {
    if (this.#at === 0) return null;
    if (this.#at === this.#lines.length) this.#draft = current;
    return this.#lines[--this.#at];
  }

  /** The line behind, in the end what was being typed; null behind that. */
  newer() {
    if (this.#at === this.#lines.length) return null;
    return ++this.#at === this.#lines.length ? this.#draft : this.#lines[this.#at];
  }
}
