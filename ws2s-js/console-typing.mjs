/** console-typing.mjs: where something is typed to be sent. */
import {byId} from './page.mjs';
import {typedBytes} from './console-input.mjs';
import {History} from './history.mjs';

function ignore() {}

const ROWS = 8;

const EXAMPLES = {text: 'for example PING', hex: 'for example 50 49 4e 47 0d 0a'};

/**
 * The text area, which grows with its lines and knows what was typed before; and in its place, while something is typed
 * that nobody may see, a field of which nothing is kept.
 */
export class Input {
  #area = byId('input');
  #secret = byId('secret');
  #mode = byId('mode');
  #ending = byId('line-ending');
  #histories = {text: new History(), hex: new History()};
  #openMode = null;     // in which something was typed before the target asked for a secret

  /** Called for Enter. */
  onEnter = ignore;

  constructor() {
    this.#area.addEventListener('keydown', event => this.#onKey(event));
    this.#area.addEventListener('input', () => this.#grow());
    this.#mode.addEventListener('change', () => this.showMode());
    this.showMode();
  }

  /** What was typed, as bytes. Throws a RangeError for what is not hexadecimal. */
  read() {
    return typedBytes(this.#field.value, this.#mode.value, this.#ending.value);
  }

  /** The line was sent: the next one can be typed. */
  next() {
    if (this.isSecret) {
      this.#secret.value = '';
      return;
    }
    this.#history.add(this.#area.value);
    this.#show('');
    this.setValid(true);
  }

  get ending() {
    return this.#ending.value;
  }

  /** One that nobody knows becomes LF. */
  set ending(ending) {
    const isKnown = [...this.#ending.options].some(({value}) => value === ending);
    this.#ending.value = isKnown ? ending : 'lf';
  }

  setValid(isValid) {
    if (isValid) this.#area.removeAttribute('aria-invalid');
    else this.#area.setAttribute('aria-invalid', 'true');
  }

  focus() {
    this.#field.focus();
  }

  get isSecret() {
    return this.#mode.value === 'secret';
  }

  /** Does the target ask for a secret? */
  set isSecretAsked(isAsked) {
    const isSame = isAsked === (this.#openMode !== null);
    if (isSame) return;
    const mode = isAsked ? 'secret' : this.#openMode;
    this.#openMode = isAsked ? this.#mode.value : null;
    this.#mode.value = mode;
    this.showMode();
  }

  get isTyped() {
    return this.#area.value.trim() !== '';
  }

  /** Another mode was chosen. */
  showMode() {
    const hadFocus = [this.#area, this.#secret].includes(document.activeElement);
    this.#ending.disabled = this.#mode.value === 'hex';
    this.#area.placeholder = EXAMPLES[this.#mode.value] || '';
    this.#area.hidden = this.isSecret;
    this.#secret.hidden = !this.isSecret;
    this.#secret.value = '';
    byId('input-label').htmlFor = this.#field.id;
    this.setValid(true);
    if (hadFocus) this.#field.focus();
  }

  get #field() {
    return this.isSecret ? this.#secret : this.#area;
  }

  get #history() {
    return this.#histories[this.#mode.value];
  }

  #onKey(event) {
    const hasModifier = event.shiftKey || event.ctrlKey || event.altKey || event.metaKey;
    if (hasModifier || event.isComposing) return;
    if (event.key === 'Enter') this.#onEnterKey(event);
    if (event.key === 'ArrowUp' && this.#isInFirstLine()) this.#recall(event, this.#history.older(this.#area.value));
    if (event.key === 'ArrowDown' && this.#isInLastLine()) this.#recall(event, this.#history.newer(this.#area.value));
  }

  #onEnterKey(event) {
    event.preventDefault();
    this.onEnter();
  }

  #isInFirstLine() {
    return !this.#area.value.slice(0, this.#area.selectionStart).includes('\n');
  }

  #isInLastLine() {
    return !this.#area.value.slice(this.#area.selectionEnd).includes('\n');
  }

  #recall(event, line) {
    if (line === null) return;
    event.preventDefault();
    this.#show(line);
  }

  #show(text) {
    this.#area.value = text;
    this.#grow();
  }

  #grow() {
    this.#area.rows = Math.min(ROWS, this.#area.value.split('\n', ROWS).length);
    this.setValid(true);
  }
}
