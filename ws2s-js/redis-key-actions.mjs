/** What the buttons of a key do. */

import {bytesOfName} from './redis-bytes.mjs';
import {askCopy, askDelete, askName, askNew, askTtl} from './redis-key-dialogs.mjs';

/**
 * Of the key that a view shows. `view`: {page (as that of a KeyView), session, name, deadline, about, visit,
 * mayLeave(), open(name), load(text), changed(text), gone(text), renamed(name)}; `about` says what it is, `visit` is
 * another one for each time that a key is opened.
 */
export class KeyActions {
  #view;

  constructor(view) {
    this.#view = view;
  }

  /** As a KeyPanel wants them. */
  get buttons() {
    return [
      {id: 'key-reload', label: 'Reload', run: () => this.reload()},
      {id: 'key-ttl', label: 'Time to live…', run: () => this.#askTtl()},
      {id: 'key-persist', label: 'Keep for ever', run: () => this.#persist()},
      {id: 'key-rename', label: 'Rename…', run: () => this.#askName()},
      {id: 'key-copy', label: 'Copy…', run: () => this.#askCopy()},
      {id: 'key-delete', label: 'Delete…', run: () => this.#askDelete(), className: 'danger'},
      {id: 'key-back', label: 'To the keys', run: () => document.getElementById('key-list').focus(),
        className: 'only-narrow'},
    ];
  }

  async reload() {
    if (await this.#view.mayLeave()) await this.#view.load();
  }

  async #persist() {
    const {session, name, changed} = this.#view;
    await session.ask('PERSIST', bytesOfName(name));
    await changed('The key has no time to live any more.');
  }

  async #askTtl() {
    const {session, name, deadline, changed} = this.#view;
    const seconds = deadline === null ? null : (deadline - Date.now()) / 1000;
    await askTtl(session, name, seconds, () => changed('The time to live was set.'));
  }

  async #askName() {
    if (!await this.#view.mayLeave()) return;  // the value is read anew then
    const {page, session, name: from, renamed} = this.#view;
    const to = await askName(session, from);
    if (to === undefined || to === from) return;
    page.onRenamed(from, to);
    await renamed(to);
  }

  async #askCopy() {
    const {page, session, name} = this.#view;
    const copy = await askCopy(session, name);
    if (!copy) return;
    if (copy.db === session.db) page.onCopied(copy.name);
    page.status.say(`The key was copied to database ${copy.db}.`, 'good');
  }

  async #askDelete() {
    const {page, session, name, about, visit, gone} = this.#view;
    await askDelete(session, name, about, isDeleted => {
      // The dialog may have been left, and another key be open.
      if (visit !== this.#view.visit) page.onGone(name);
      else gone(isDeleted ? 'The key was deleted.' : 'The key was gone already.');
    });
  }

  /** Ask for a new key, and make it. */
  async make() {
    if (!await this.#view.mayLeave()) return;
    const {page, session, open} = this.#view;
    const name = await askNew(session);
    if (name === undefined) return;
    page.onMade(name);
    await open(name);
    document.getElementById('key-title').focus();
  }
}
