/** What is seen of one key: its name, what is known of it, the buttons, and the place of its value. */

import {byteCount, element, saveFile} from './page.mjs';
import {bytesOfName, labelOfName} from './redis-bytes.mjs';
import {duration} from './redis-names.mjs';
import {typeName} from './redis-session.mjs';
import {untilText} from './redis-ttl.mjs';

const SHOWN = 200;  // characters of a name in a heading

const byId = id => document.getElementById(id);

const title = (text, settings) => element('h2', {id: 'key-title', tabIndex: -1, ...settings}, text);
const titleOf = (name, settings) => title(labelOfName(name, SHOWN), {className: 'mono bytes', ...settings});

function nameFile(name) {
  return element('button', {
    type: 'button', className: 'small', id: 'key-name-file', on: {click: () => saveFile('key', [bytesOfName(name)])},
  }, 'Save the name to a file');
}

/** `run(task)` does what a button does; a button is `{id, label, run, className}`. */
export class KeyPanel {
  #node;
  #run;

  constructor(node, run) {
    this.#node = node;
    this.#run = run;
  }

  showNone() {
    this.#node.replaceChildren(title('No key is open'),
      element('p', {id: 'key-none', className: 'muted'}, 'Choose a key to see its value.'));
  }

  /** Nobody's focus is lost when the key goes. */
  focusTitle() {
    if (document.activeElement === document.body) byId('key-title').focus();
  }

  /** The key could not be read: an empty panel would look as if nothing had been chosen. */
  showFailure(name, text, again) {
    this.#node.replaceChildren(titleOf(name),
      element('p', {id: 'key-failure-text', className: 'status bad'}, text),
      element('div', {className: 'row key-actions'}, this.#button(again)));
  }

  /** Facts and time are shown when they are told. */
  show(name, type, buttons, value) {
    const hadFocus = this.#node.contains(document.activeElement);
    const focused = hadFocus && document.activeElement.id;
    this.#node.replaceChildren(
      titleOf(name, {dataset: {type}}),
      element('dl', {id: 'key-facts', className: 'facts'}),
      element('div', {id: 'key-notice', className: 'notice'}),
      element('div', {className: 'row key-actions'}, buttons.map(each => this.#button(each)),
        name.length > SHOWN && nameFile(name)),
      element('div', {id: 'key-value', role: 'group', ariaLabel: 'Value'}, value));
    if (hadFocus) (byId(focused) || byId('key-title')).focus();
  }

  /** What is null is not known. */
  showFacts({type, size, encoding, memory, node}) {
    const facts = [['Type', typeName(type), 'type'], ['Size', size, 'size'],
      memory && ['Memory', byteCount(memory), 'memory'], encoding && ['Encoding', encoding, 'encoding'],
      node && ['Node', node, 'node'], ['Time to live', '', 'ttl']].filter(Boolean);
    byId('key-facts').replaceChildren(...facts.map(([name, value, id]) => (
      element('div', {}, element('dt', {}, name), element('dd', {id: `key-fact-${id}`}, value)))));
  }

  /** The key is gone, or another one; what is typed for it stays. */
  showKept(text, buttons) {
    this.#node.querySelector('.key-actions').hidden = true;
    byId('key-facts').replaceChildren();  // nothing of that is known any more
    byId('key-notice').replaceChildren(element('p', {className: 'status bad'}, text),
      element('div', {className: 'row'}, buttons.map(each => this.#button(each))));
  }

  /** `deadline`: when its time runs out, in milliseconds of this computer; null: never. */
  showTime(deadline) {
    const shown = byId('key-fact-ttl'), isEndless = deadline === null;
    if (!shown || document.hidden) return;
    const left = () => `${duration((deadline - Date.now()) / 1000)} left`;
    shown.textContent = isEndless ? 'for ever' : `${left()}${untilText(deadline)}`;
    const persist = byId('key-persist');
    if (isEndless && document.activeElement === persist) byId('key-ttl').focus();
    persist.hidden = isEndless;
  }

  #button({id, label, run, className = ''}) {
    return element('button', {type: 'button', id, className, on: {click: () => this.#run(run)}}, label);
  }
}
