/** The panel with the figures of INFO. */

import {element} from './page.mjs';
import {labelOf, textOf, utf8} from './redis-bytes.mjs';
import {failure} from './redis-fields.mjs';
import {figuresOf, parseInfo} from './redis-info.mjs';

const SECONDS = 5;
const SHOWN = 300;

/** `page`: {session, infoStatus}. */
export class InfoView {
  #page;
  #cards = element('div', {id: 'info-cards', className: 'cards'});
  #time = element('span', {id: 'info-time', className: 'muted'});
  #auto;
  #isShown = false;

  constructor(node, page) {
    this.#page = page;
    this.#auto = element('input', {id: 'info-auto', type: 'checkbox'});
    node.append(element('div', {className: 'row tools'},
      element('button', {type: 'button', id: 'info-refresh', on: {click: () => this.#onRefresh()}}, 'Refresh'),
      element('label', {className: 'check'}, this.#auto, `every ${SECONDS} seconds`), this.#time), this.#cards);
    setInterval(() => this.#onTime(), SECONDS * 1000);
  }

  /** Is its tab the one that is seen? */
  set isShown(isShown) {
    this.#isShown = isShown;
    if (isShown) this.#refresh();
  }

  clear() {
    this.#cards.replaceChildren();
    this.#time.textContent = '';
  }

  async #onRefresh() {
    if (await this.#refresh()) this.#page.infoStatus.say('The figures were read anew.', 'good');
  }

  #onTime() {
    const {session} = this.#page;
    if (this.#isShown && this.#auto.checked && !document.hidden && session && session.isReady) this.#refresh();
  }

  async #refresh() {
    const {session} = this.#page;
    if (!session) return false;
    try {
      const reply = await session.ask('INFO');
      if (session !== this.#page.session) return false;
      this.#show(reply instanceof Uint8Array ? textOf(reply) || '' : String(reply));
      return true;
    } catch (error) {
      if (session === this.#page.session) this.#page.infoStatus.say(failure(error), 'bad');
      return false;
    }
  }

  #show(text) {
    const open = new Set([...this.#cards.querySelectorAll('details[open]')].map(details => details.id));
    const focused = this.#cards.contains(document.activeElement) && document.activeElement.parentElement.id;
    const sections = parseInfo(text).filter(({values}) => values.size);
    this.#cards.replaceChildren(...sections.map(section => card(section, open)));
    if (focused) document.querySelector(`#${CSS.escape(focused)} > summary`)?.focus();
    this.#time.textContent = `as of ${new Date().toLocaleTimeString()}`;
  }
}

const shown = text => labelOf(utf8(text), SHOWN);

function card(section, open) {
  const {main, others} = figuresOf(section);
  const id = `info-${section.name.toLowerCase().replace(/[^a-z0-9]+/g, '-')}`;
  return element('section', {id, className: 'card', ariaLabelledby: `${id}-title`},
    element('h2', {id: `${id}-title`}, shown(section.name)),
    main.length ? element('dl', {className: 'figures'}, main.map(([name, value]) => (
      element('div', {}, element('dt', {}, shown(name)), element('dd', {}, shown(value)))))) : null,
    others.length ? allFigures(id, others, open.has(`${id}-all`), main.length) : null);
}

function allFigures(id, others, isOpen, isMore) {
  return element('details', {id: `${id}-all`, open: isOpen},
    element('summary', {}, `${others.length} ${isMore ? 'more ' : ''}${others.length === 1 ? 'figure' : 'figures'}`),
    element('table', {}, element('thead', {}, element('tr', {},
      element('th', {scope: 'col'}, 'Name'), element('th', {scope: 'col'}, 'Value'))),
    element('tbody', {}, others.map(([name, value]) => element('tr', {},
      element('td', {className: 'mono'}, shown(name)), element('td', {className: 'mono'}, shown(value || '–')))))));
}
