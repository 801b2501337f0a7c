/** redis-operator.mjs: the panel of an operator: how the server fares, what clients do, and what takes its memory. */

import {element} from './page.mjs';
import {chartsOf} from './redis-charts.mjs';
import {parseInfo} from './redis-info.mjs';
import {Part, replyText} from './redis-operator-part.mjs';
import {SettingsPart, UsersPart} from './redis-operator-settings.mjs';
import {BiggestPart, ClientsPart, SlowPart} from './redis-operator-tables.mjs';
import {ChannelsPart, MonitorPart} from './redis-operator-watching.mjs';
import {Samples, sampleOf} from './redis-samples.mjs';

// -- charts -----------------------------------------------------------------------------------------------------------

const SECONDS = 5;
const BOX = {width: 300, height: 80};
const SVG = 'http://www.w3.org/2000/svg';

function svgElement(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) node.setAttribute(attribute, value);
  node.append(...children);
  return node;
}

function chartNode({id, title, now, end, paths}) {
  const drawn = svgElement('svg', {
    viewBox: `-2 -2 ${BOX.width + 4} ${BOX.height + 4}`, preserveAspectRatio: 'none', class: 'chart', role: 'img',
    'aria-label': `${title}: ${now || 'not known yet'}; the top is ${end}`,
  }, ...paths.map((path, i) => svgElement('path', {d: path, class: `line line-${i}`})));
  return element('figure', {id: `chart-${id}`, className: 'charted'},
    element('figcaption', {}, element('strong', {}, title), ` ${now || 'not known yet'}`), drawn,
    element('p', {className: 'note'}, `0 to ${end}`));
}

class ChartsPart extends Part {
  #samples = new Samples();
  #isShown = false;

  constructor(page) {
    super(page, 'charts', 'Charts', [element('span', {className: 'muted'}, `read every ${SECONDS} seconds`)]);
    this.content.className = 'cards';
    setInterval(() => this.#onTime(), SECONDS * 1000);
  }

  set isShown(isShown) {
    this.#isShown = isShown;
    if (isShown) this.#read();
    else this.#samples.interrupt();
  }

  clear() {
    super.clear();
    this.#samples = new Samples();
  }

  #onTime() {
    if (!this.#isShown || !this.session?.isReady) return;
    if (document.hidden) this.#samples.interrupt();
    else this.#read();
  }

  #read() {
    return this.attempt(async (session, isSame) => {
      const reply = await session.ask('INFO');
      if (!isSame()) return;
      this.#samples.add(sampleOf(parseInfo(replyText(reply)), Date.now()));
      this.content.replaceChildren(...chartsOf(this.#samples, BOX).map(chartNode));
    });
  }
}

// -- the panel --------------------------------------------------------------------------------------------------------

/** `page`: {session, operatorStatus, showKey(name)}. */
export class OperatorView {
  #charts;
  #watching;
  #parts;

  constructor(node, page) {
    this.#charts = new ChartsPart(page);
    this.#watching = [new ChannelsPart(page), new MonitorPart(page)];
    this.#parts = [this.#charts, new SlowPart(page), new ClientsPart(page), new BiggestPart(page),
      new SettingsPart(page), new UsersPart(page), ...this.#watching];
    node.append(...this.#parts.map(part => part.node));
  }

  /** Is its tab the one that is seen? */
  set isShown(isShown) {
    this.#charts.isShown = isShown;
    if (!isShown) for (const part of this.#watching) part.stop();
  }

  clear() {
    for (const part of this.#parts) part.clear();
  }
}
