/**
 * The target of a connection: the fields in which it is written, and the memory of the last ones. Like page.mjs it
 * looks at `document` and `location` only when it is asked to.
 */

import {element, FieldError, localStorageIfAny, visible} from './elements.mjs';
import {defaultGateway, GatewaySection, SshSection, TlsSection} from './target-sections.mjs';

// -- the last targets -------------------------------------------------------------------------------------------------

const REMEMBERED = 8;

/** The last targets, newest first, in localStorage. Each is an object of strings. */
export class TargetMemory {
  #key;
  #storage;

  constructor(key, storage = localStorageIfAny()) {
    this.#key = key;
    this.#storage = storage;
  }

  get targets() {
    try {
      const found = JSON.parse(this.#storage.getItem(this.#key));
      return Array.isArray(found) ? found.filter(isTarget).slice(0, REMEMBERED) : [];
    } catch {
      return [];  // nothing is kept, or nothing may be, or another program has written there
    }
  }

  add(target) {
    this.#keep([target, ...this.#without(target)].slice(0, REMEMBERED));
  }

  forget(target) {
    this.#keep(this.#without(target));
  }

  #without(target) {
    return this.targets.filter(other => targetKey(other) !== targetKey(target));
  }

  #keep(targets) {
    try {
      this.#storage.setItem(this.#key, JSON.stringify(targets));
    } catch {
      // The browser keeps nothing for this page. All else works without.
    }
  }
}

function isTarget(found) {
  return found !== null && typeof found === 'object' && typeof found.host === 'string' &&
    Object.values(found).every(value => typeof value === 'string');
}

function targetKey(target) {
  return JSON.stringify(Object.entries(target).sort());
}

/** `host:port`, with brackets where the host has colons of its own. */
export function addressText(host, port) {
  return `${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}`;
}

const LABEL_CHARACTERS = 80;

function targetLabel({host, port, sshHost, gateway, tls, db, readOnly, master}) {
  const secure = tls && (tls === 'later' ? 'with TLS later' : 'with TLS');
  const more = [secure, master && `for ${master}`, db && `db ${db}`, sshHost && `through ${sshHost}`,
    gateway && `by ${gateway}`, readOnly && 'read-only'];
  return visible([addressText(host, port), ...more].filter(Boolean).join(' '), LABEL_CHARACTERS).text;
}

// -- the fields by their names, and what is wrong with one of them ----------------------------------------------------

const PROPERTIES = {input: {type: 'text'}, textarea: {rows: 4}, select: {}};

/**
 * Each is built once, from a definition: `name`, `label`; optionally `id` (its end), `tag`, `value`, `options` of a
 * select ([value, label]), `isShort`, `isWide`, `isSecret` (it is never remembered), `kept(text)` (what is remembered
 * of it), and properties of the element.
 */
class Controls {
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

// -- a target ---------------------------------------------------------------------------------------------------------

/**
 * Fields for a target, put into `form` before its submit button.
 *
 * `options`: `store`, the key in localStorage; `host`, `port`, what stands there at first; `extra`, more fields;
 * `startsTlsLater`, whether TLS may begin in the midst of the connection.
 */
export function targetFields(form, options) {
  return new TargetFields(form, options);
}

class TargetFields {
  #memory;
  #extra;
  #controls = new Controls(() => this.#showUses());
  #ssh = new SshSection(this.#controls);
  #tls;
  #gateway = new GatewaySection(this.#controls);
  #sections;
  #group;
  #recent;
  #listed = [];     // what stands there; another page may change the memory meanwhile
  #recentBlock;
  #forget;
  #last = null;     // what read() has found, as far as it may be kept

  constructor(form, {store, extra = [], host = '', port = '', startsTlsLater = false}) {
    this.#tls = new TlsSection(this.#controls, startsTlsLater);
    this.#sections = [this.#tls, this.#ssh, this.#gateway];
    this.#memory = new TargetMemory(store);
    this.#extra = extra.map(({remember, ...each}) => ({...each, isSecret: !remember}));
    form.autocomplete = 'off';  // a browser would fill keys in again
    this.#group = this.#build(host, port);
    form.insertBefore(this.#group, placeOf(form));
    this.#listRecent();
    const [newest] = this.#memory.targets;
    if (newest) this.#fill(newest);
  }

  /** What stands in the fields: `{url, token, host, port, ssh, tls, startTls, extra}`. Throws a FieldError. */
  read() {
    const controls = this.#controls;
    controls.withdraw();
    const target = {
      ...this.#gateway.read(), host: controls.readHost('host', 'Which host?'), port: controls.readPort('port'),
      ssh: this.#ssh.read(), ...this.#tls.read(),
      extra: Object.fromEntries(this.#extra.map(({name}) => [name, controls.text(name)])),
    };
    this.#last = this.#remembered();
    return target;
  }

  /** Keep what read() has found, without secrets, as the newest of the last targets. */
  remember() {
    if (!this.#last) return;
    this.#memory.add(this.#last);
    this.#listRecent();
  }

  /** Show another target: an object of strings, as TargetMemory has them. Secrets that were typed are forgotten. */
  show(target) {
    this.#fill(target);
  }

  /** A FieldError, which is also told at the field of this name. */
  wrong(name, message) {
    return this.#controls.wrong(name, message);
  }

  /** Close what was opened to fill it in. */
  fold() {
    for (const {node} of this.#sections) node.open = false;
  }

  get disabled() {
    return this.#group.disabled;
  }

  set disabled(isDisabled) {
    this.#group.disabled = isDisabled;
  }

  /** The field of a name: host, port, sshHost, ... or that of an extra one. */
  field(name) {
    return this.#controls.field(name);
  }

  // -- building -------------------------------------------------------------------------------------------------------

  #build(host, port) {
    const fields = [
      {name: 'host', label: 'Host', value: host, placeholder: 'name or address'},
      {name: 'port', label: 'Port', value: port, inputMode: 'numeric', isShort: true},
      ...this.#extra,
    ];
    return element('fieldset', {className: 'plain'},
      this.#buildRecent(),
      element('div', {className: 'fields'}, fields.map(each => this.#controls.build(each))),
      element('div', {className: 'sections'}, this.#sections.map(({node}) => node)));
  }

  #buildRecent() {
    this.#recent = element('select', {id: 'target-recent', on: {change: () => this.#onRecent()}});
    this.#forget = element('button', {
      type: 'button', id: 'target-forget', on: {click: () => this.#onForget()},
    }, 'Forget');
    this.#recentBlock = element('div', {className: 'recent'},
      element('label', {htmlFor: 'target-recent'}, 'Recent'), this.#recent, this.#forget);
    return this.#recentBlock;
  }

  // -- recent ones ----------------------------------------------------------------------------------------------------

  #listRecent() {
    const {targets} = this.#memory;
    this.#listed = targets;
    this.#recent.replaceChildren(element('option', {value: ''}, 'choose…'),
      ...targets.map((target, i) => element('option', {value: String(i)}, targetLabel(target))));
    this.#recentBlock.hidden = !targets.length;
    this.#forget.disabled = true;
  }

  #onRecent() {
    const target = this.#listed[this.#recent.value];
    this.#forget.disabled = !target;
    if (target) this.#fill(target);
  }

  #onForget() {
    this.#memory.forget(this.#listed[this.#recent.value]);
    this.#listRecent();
    (this.#recentBlock.hidden ? this.#controls.field('host') : this.#recent).focus();
  }

  #fill(target) {
    this.#controls.withdraw();
    const isSameGateway = this.#given(target, 'gateway') === this.#controls.text('gateway');
    for (const name of this.#controls.names) {
      if (name !== 'token' || !isSameGateway) this.#controls.field(name).value = this.#given(target, name);
    }
    for (const section of this.#sections) {
      section.forget();
      if (target[section.name]) section.node.open = true;
    }
    this.#showUses();
  }

  // A secret that was typed for another server must not be sent to this one.
  #given(target, name) {
    const given = Object.hasOwn(target, name) && this.#controls.kept(name, target[name]);
    return given || (name === 'gateway' ? defaultGateway() : '');
  }

  // Nobody should go another way than he thinks because a section is closed.
  #showUses() {
    for (const section of this.#sections) section.showUse();
  }

  // Only what differs from an empty form.
  #remembered() {
    const kept = this.#controls.names.map(name => [name, this.#controls.kept(name)]);
    return Object.fromEntries(kept.filter(([, text]) => text));
  }
}

// The child of `form` that is its submit button, or holds it.
function placeOf(form) {
  const button = form.querySelector('button:not([type]), [type=submit]');
  return [...form.children].find(child => child.contains(button)) || null;
}
