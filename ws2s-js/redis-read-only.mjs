/** Read-only connections: the buttons that could only change something are off, and say why. */

const WRITING = `#key-new, #keys-import, #key-ttl, #key-persist, #key-rename, #key-copy, #key-delete, #key-recreate,
  #string-save, #string-replace, #json-save, #add-field, #add-item, #add-member, #add-entry, [data-action=remove],
  [id^=operator-kill-], [id^=operator-set-]`;
const REASON = 'This connection is read-only: nothing was sent.';

/**
 * `note` is shown, and describes those buttons. They stay where the keyboard finds them, as `disabled` would not; what
 * else is sent passes the guard of redis-guard.mjs. `page`: `session`, `tell(text)`.
 */
export class ReadOnlyMarks {
  #note;
  #page;
  #observer = new MutationObserver(() => this.#mark());

  constructor(note, page) {
    this.#note = note;
    this.#page = page;
    document.addEventListener('click', event => this.#onClick(event), true);
  }

  /** There is another session, or none. */
  show() {
    this.#note.hidden = !this.#isReadOnly;
    this.#observer.disconnect();
    this.#mark();
    if (this.#isReadOnly) this.#observer.observe(document.body, {childList: true, subtree: true});
  }

  get #isReadOnly() {
    return Boolean(this.#page.session?.isReadOnly);
  }

  #mark() {
    for (const button of document.querySelectorAll(WRITING)) {
      if (this.#isReadOnly) {
        button.setAttribute('aria-disabled', 'true');
        button.setAttribute('aria-describedby', this.#note.id);
      } else {
        button.removeAttribute('aria-disabled');
        button.removeAttribute('aria-describedby');
      }
    }
  }

  // Before the button hears of it.
  #onClick(event) {
    if (!this.#isReadOnly || !event.target.closest(WRITING)) return;
    event.preventDefault();
    event.stopPropagation();
    this.#page.tell(REASON);
  }
}
