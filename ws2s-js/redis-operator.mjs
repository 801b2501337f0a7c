/** redis-operator.mjs: the panel of an operator: how the server fares, what clients do, and what takes its memory. */

import {element} from './page.mjs';
import {chartsOf} from './redis-charts.mjs';
import {parseInfo} from './redis-info.mjs';
import {monitored, Newest} from './redis-monitor.mjs';
import {count} from './redis-names.mjs';
import {button, commandText, Part, replyText, shown} from './redis-operator-part.mjs';
import {SettingsPart, UsersPart} from './redis-operator-settings.mjs';
import {BiggestPart, ClientsPart, SlowPart} from './redis-operator-tables.mjs';
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
    viewBox: `0 -2 ${BOX.width} ${BOX.height + 4}`, preserveAspectRatio: 'none', class: 'chart', role: 'img',
    'aria-label': `${title}: ${now || 'not known'}; the top is ${end}`,
  }, ...paths.map((path, i) => svgElement('path', {d: path, class: `line line-${i}`})));
  return element('figure', {id: `chart-${id}`, className: 'charted'},
    element('figcaption', {}, element('strong', {}, title), ` ${now || 'not known'}`), drawn,
    element('p', {className: 'note'}, `0 to ${end}`));
}

class ChartsPart extends Part {
  #samples = new Samples();
  #isShown = false;

  constructor(page) {
    super(page, 'charts', 'How it fares', [element('span', {className: 'muted'}, `read each ${SECONDS} seconds`)]);
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

// -- all commands -----------------------------------------------------------------------------------------------------

const MINUTES = 5;
const DRAW_MILLISECONDS = 250;
const SHOWN_COMMANDS = 200;
const WARNING = 'MONITOR tells what all clients send, with the values that are in it, and makes the server slower. ' +
  `What may be a password is left out. It ends by itself after ${MINUTES} minutes, and when another view is chosen.`;

class MonitorPart extends Part {
  #newest = new Newest();
  #attempt = null;     // an AbortController, while it runs
  #buttons;
  #count = element('p', {className: 'muted'});
  #log = element('pre', {className: 'log', role: 'region', ariaLabel: 'Commands of all clients', tabIndex: 0});

  constructor(page) {
    const start = button('monitor-start', 'Watch all commands', () => this.#start());
    const stop = button('monitor-stop', 'Stop', () => this.stop());
    stop.hidden = true;
    super(page, 'monitor', 'All commands', [start, stop]);
    this.#buttons = [start, stop];
    this.node.insertBefore(element('p', {className: 'note'}, WARNING), this.content);
  }

  stop() {
    this.#attempt?.abort();
  }

  clear() {
    super.clear();
    this.stop();
    this.#newest.clear();
  }

  #start() {
    if (this.#attempt) return undefined;
    return this.attempt(async session => {
      const {signal} = this.#attempt = new AbortController();
      const end = setTimeout(() => this.stop(), MINUTES * 60000);
      const drawing = setInterval(() => this.#draw(), DRAW_MILLISECONDS);
      this.#show(true);
      try {
        await session.watch({signal, onLine: line => this.#onLine(line)});
      } catch (error) {
        if (!signal.aborted) throw error;
        this.say('The commands are not watched any more.');
      } finally {
        clearTimeout(end);
        clearInterval(drawing);
        this.#attempt = null;
        this.#show(false);
      }
    });
  }

  #show(isRunning) {
    const [start, stop] = this.#buttons;
    start.hidden = isRunning;
    stop.hidden = !isRunning;
    if (isRunning) this.#newest.clear();
    if (isRunning) this.content.replaceChildren(this.#count, this.#log);
    (isRunning ? stop : start).focus();
    this.#draw();
  }

  #onLine(line) {
    const command = monitored(line);
    if (command) this.#newest.add(command);
  }

  #draw() {
    const lines = this.#newest.last(SHOWN_COMMANDS).map(each => (
      `${new Date(each.time).toISOString().slice(11, 23)} ${each.db} ${shown(each.client)} ${commandText(each)}`));
    this.#count.textContent = `${count(this.#newest.total)} commands; the newest ${SHOWN_COMMANDS} are shown.`;
    this.#log.textContent = lines.join('\n');
    this.#log.scrollTop = this.#log.scrollHeight;
  }
}

// -- the panel --------------------------------------------------------------------------------------------------------

/** `page`: {session, operatorStatus, showKey(name)}. */
export class OperatorView {
  #charts;
  #monitor;
  #parts;

  constructor(node, page) {
    this.#charts = new ChartsPart(page);
    this.#monitor = new MonitorPart(page);
    this.#parts = [this.#charts, new SlowPart(page), new ClientsPart(page), new BiggestPart(page),
      new SettingsPart(page), new UsersPart(page), this.#monitor];
    node.append(...this.#parts.map(part => part.node));
  }

  /** Is its tab the one that is seen? */
  set isShown(isShown) {
    this.#charts.isShown = isShown;
    if (!isShown) this.#monitor.stop();
  }

  clear() {
    for (const part of this.#parts) part.clear();
  }
}
