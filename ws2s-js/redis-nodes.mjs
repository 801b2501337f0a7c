/** Shows where the data are: the nodes of a cluster, of which one is chosen, or the master that a Sentinel tells of. */

import {element, visible} from './page.mjs';

const CHARACTERS = 100;

const shown = text => visible(text, CHARACTERS).text;

/** `page`: {session}; `onChosen()`: another node is asked what concerns one node. */
export class NodesView {
  #page;
  #node;
  #onChosen;
  #select = element('select', {id: 'node', on: {change: () => this.#onInput()}});
  #label = element('label', {htmlFor: 'node'}, 'Node');
  #where = element('span', {id: 'session-where', className: 'muted bytes'});

  constructor(node, page, onChosen) {
    this.#page = page;
    this.#node = node;
    this.#onChosen = onChosen;
    node.append(this.#label, this.#select, this.#where);
  }

  show() {
    const {nodes = [], node = null, where = ''} = this.#page.session || {};
    this.#label.hidden = this.#select.hidden = !nodes.length;
    this.#select.replaceChildren(...nodes.map(address => element('option', {value: address}, shown(address))));
    if (node !== null) this.#select.value = node;
    this.#where.textContent = nodes.length ? `a cluster of ${nodes.length}` : shown(where);
    this.#node.hidden = !nodes.length && !where;
    for (const note of document.querySelectorAll('.of-node')) {
      note.hidden = node === null;
      note.textContent = node === null ? '' : `Of node ${shown(node)}: another one is chosen above. The biggest keys are `
        + 'those of all nodes.';
    }
  }

  #onInput() {
    const {session} = this.#page;
    if (!session) return;
    session.node = this.#select.value;
    this.show();
    this.#onChosen();
  }
}
