/** The fields of a target by their names, and what is wrong with one of them. */

import {element, FieldError} from './page.mjs';

const PROPERTIES = {input: {type: 'text'}, textarea: {rows: 4}, select: {}};

/**
 * Each is built once, from a definition: `name`, `label`; optionally `id` (its end), `tag`, `value`, `options` of a
 * select ([value, label]), `isShort`, `isWide`, `isSecret` (it is never remembered), `kept(text)` (what is remembered
 * of it), and properties of the element.
 */
export class Controls {
  #controls = {};
  #definitions = {};
  #onInput;
  #complaint = element('p', {id: 'target-complaint', className: 'complaint'});  // stands under the field that is wrong

  /** `onInput()` is called whenever something was typed or chosen. */
  constructor(onInput) {
    this.#onInput = onInput;
  }

  /** The new field with its label. */
  build(definition) {
    const {name, label, isShort, isWide, tag = 'input'} = definition;
    const control = this.#control(definition);
    this.#controls[name] = control;
    this.#definitions[name] = definition;
    const size = isShort ? ' short' : isWide || tag === 'textarea' ? ' wide' : '';
    return element('div', {className: `field${size}`}, element('label', {htmlFor: control.id}, label), control);
  }

  #control({name, id = name, label, tag = 'input', value = '', autocomplete = 'off', options = [], isShort, isWide,
            isSecret, kept, ...others}) {
    const control = element(tag, {
      id: `target-${id}`, name, autocomplete, spellcheck: false, autocapitalize: 'off', ...PROPERTIES[tag], ...others,
      on: {input: () => { this.#acquit(control); this.#onInput(); }},
    }, options.map(([option, words]) => element('option', {value: option}, words)));
    control.value = value;
    return control;
  }

  get names() {
    return Object.keys(this.#controls);
  }

  field(name) {
    return this.#controls[name];
  }

  /** What stands there. Passwords may begin or end with a space. */
  text(name) {
    const {type, value} = this.#controls[name];
    return type === 'password' || type === 'textarea' ? value : value.trim();
  }

  /** What may be remembered of a text that stands there; '' for nothing. */
  kept(name, text = this.text(name)) {
    const {isSecret, kept = same => same} = this.#definitions[name];
    return isSecret || this.#controls[name].type === 'password' ? '' : kept(text);
  }

  // -- what is wrong --------------------------------------------------------------------------------------------------

  /** A FieldError, which is also told at the field of this name. */
  wrong(name, message) {
    const field = this.#controls[name];
    field.setAttribute('aria-invalid', 'true');
    field.setAttribute('aria-describedby', this.#complaint.id);
    this.#complaint.textContent = message;
    field.after(this.#complaint);  // the status may be far below
    const section = field.closest('details');
    if (section) section.open = true;  // what is closed cannot be focused
    return new FieldError(message, field);
  }

  /** What was wrong may be right now. */
  withdraw() {
    for (const name of this.names) this.#acquit(this.#controls[name]);
  }

  #acquit(field) {
    field.removeAttribute('aria-invalid');
    field.removeAttribute('aria-describedby');
    if (this.#complaint.previousElementSibling === field) this.#complaint.remove();
  }

  // -- reading --------------------------------------------------------------------------------------------------------

  readHost(name, question) {
    const host = this.text(name);
    if (!host) throw this.wrong(name, question);
    if (/[\s\p{Cc}/]/u.test(host)) {
      throw this.wrong(name, 'A host is a name or an address, without spaces or slashes.');
    }
    return host;
  }

  readPort(name) {
    const text = this.text(name);
    const port = Number(text);
    if (/^[0-9]+$/.test(text) && port >= 1 && port <= 65535) return port;
    throw this.wrong(name, 'A port is a number from 1 to 65535.');
  }
}
