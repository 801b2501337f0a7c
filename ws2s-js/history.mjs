/** history.mjs: what was typed into a line of either page. */

const KEPT = 200;
const KEPT_CHARACTERS = 10000;  // longer ones were pasted

/** What was typed before, only in memory: it may hold passwords. */
export class History {
  #lines = [];
  #at = 0;         // #lines.length: at what is being typed
  #edits = new Map();  // what stands in place of the lines, by their place, until one is added

  add(line) {
    const isNew = line && line.length <= KEPT_CHARACTERS && line !== this.#lines.at(-1);
    if (isNew) this.#lines.push(line);
    if (this.#lines.length > KEPT) this.#lines.shift();
    this.#at = this.#lines.length;
    this.#edits.clear();
  }

  /** The line before; null if there is none. `current` is what stands in the input. */
  older(current) {
    return this.#at === 0 ? null : this.#go(current, -1);
  }

  /** The line behind, in the end what was being typed; null behind that. */
  newer(current) {
    return this.#at === this.#lines.length ? null : this.#go(current, 1);
  }

  #go(current, step) {
    if (current !== undefined) this.#edits.set(this.#at, current);
    this.#at += step;
    return this.#edits.get(this.#at) ?? this.#lines[this.#at] ?? '';
  }
}
