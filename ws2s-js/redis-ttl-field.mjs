/** A field for a time to live, which says what is understood. */

import {element, FieldError} from './page.mjs';
import {labelled} from './redis-fields.mjs';
import {parseTtl, ttlText} from './redis-ttl.mjs';

const HINT = 'Seconds (90), a duration (1h 30m, 2 days) or a date (2027-01-31 12:00, UTC unless it names its zone).';

/** `isOptional`: empty means none. `value`: what stands in it first. */
export class TtlField {
  #input;
  #hint = element('p', {id: 'ttl-hint', className: 'note'}, HINT);

  constructor(isOptional, value = '') {
    this.#input = element('input', {
      id: 'ttl-time', value, autocomplete: 'off', spellcheck: false, placeholder: isOptional ? 'for ever' : '',
      on: {input: () => this.#onInput()},
    });
    this.#input.setAttribute('aria-describedby', this.#hint.id);
    this.node = element('div', {className: 'field wide'}, labelled('Time to live', this.#input), this.#hint);
  }

  get isEmpty() {
    return this.#input.value.trim() === '';
  }

  /** As parseTtl() gives it. Throws a FieldError. */
  read() {
    try {
      return parseTtl(this.#input.value);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#input.setAttribute('aria-invalid', 'true');
      throw new FieldError(error.message, this.#input);
    }
  }

  #onInput() {
    this.#input.removeAttribute('aria-invalid');
    this.#hint.textContent = this.isEmpty ? HINT : this.#understood();
  }

  #understood() {
    try {
      return ttlText(parseTtl(this.#input.value));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return error.message;
    }
  }
}
