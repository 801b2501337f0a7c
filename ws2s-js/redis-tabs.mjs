/** The views of the Redis page, of which one is seen. */

export class Tabs {
  #node;
  #onChosen;

  /** `onChosen(id)`: of the tab whose panel is seen now. */
  constructor(node, onChosen) {
    this.#node = node;
    this.#onChosen = onChosen;
    node.addEventListener('click', event => this.choose(event.target.closest('[role=tab]')));
    node.addEventListener('keydown', event => this.#onKey(event));
  }

  choose(chosen) {
    if (!chosen) return;
    for (const tab of this.#node.children) {
      const isChosen = tab === chosen;
      tab.setAttribute('aria-selected', String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      document.getElementById(tab.getAttribute('aria-controls')).hidden = !isChosen;
    }
    this.#onChosen(chosen.id);
  }

  /** The id of the tab whose panel is seen. */
  get chosen() {
    return this.#node.querySelector('[aria-selected=true]').id;
  }

  #onKey(event) {
    const tabs = [...this.#node.children];
    const at = tabs.indexOf(event.target);
    const to = {ArrowRight: at + 1, ArrowLeft: at - 1 + tabs.length, Home: 0, End: tabs.length - 1}[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const tab = tabs[to % tabs.length];
    this.choose(tab);
    tab.focus();
  }
}
