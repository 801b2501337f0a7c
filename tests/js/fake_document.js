/* As much of a document as the fields of a target need, for unit tests. */
'use strict';

class FakeElement {
  constructor(name) {
    this.localName = name;
    this.children = [];
    this.parentElement = null;
    this.attributes = new Map();
    this.dataset = {};
    this.style = {};
    this.tabIndex = -1;
    this.hidden = false;
    this.disabled = false;
    this.id = this.className = this.value = this.text = '';
    if (name === 'input' || name === 'textarea') this.type = name === 'input' ? 'text' : 'textarea';
    if (name === 'details') this.open = false;
    if (name === 'label') this.htmlFor = '';
    this.listeners = {};
  }

  // -- the tree -------------------------------------------------------------------------------------------------------

  append(...nodes) {
    for (const node of nodes) this.insertBefore(node, null);
  }

  insertBefore(node, next) {
    if (typeof node === 'string') {
      this.text += node;
      return;
    }
    node.remove();
    this.children.splice(next ? this.children.indexOf(next) : this.children.length, 0, node);
    node.parentElement = this;
  }

  after(...nodes) {
    const siblings = this.parentElement.children;
    for (const node of nodes.reverse()) {
      this.parentElement.insertBefore(node, siblings[siblings.indexOf(this) + 1] || null);
    }
  }

  replaceWith(node) {
    this.after(node);
    this.remove();
  }

  remove() {
    if (this.parentElement) this.parentElement.children.splice(this.parentElement.children.indexOf(this), 1);
    this.parentElement = null;
  }

  replaceChildren(...nodes) {
    for (const child of [...this.children]) child.remove();
    this.text = '';
    this.append(...nodes);
  }

  contains(node) {
    return node === this || (node !== null && node.parentElement !== null && this.contains(node.parentElement));
  }

  /* By a name, or by `[role=...]`. */
  closest(name) {
    if (this.localName === name || `[role=${this.getAttribute('role')}]` === name) return this;
    return this.parentElement && this.parentElement.closest(name);
  }

  get previousElementSibling() {
    const siblings = this.parentElement ? this.parentElement.children : [];
    return siblings[siblings.indexOf(this) - 1] || null;
  }

  /* All that is within, the element itself first. */
  get all() {
    return [this, ...this.children.flatMap(child => child.all)];
  }

  /* Only for the button of a form. */
  querySelector() {
    return this.all.find(node => node.localName === 'button' && node.type === 'submit') || null;
  }

  /* Only for those that Tab leads to. */
  querySelectorAll() {
    return this.all.filter(node => node.tabIndex === 0);
  }

  get options() {
    return this.all.filter(node => node.localName === 'option');
  }

  // -- attributes, text, events ---------------------------------------------------------------------------------------

  setAttribute(name, value) {
    this.attributes.set(name, String(value));
  }

  getAttribute(name) {
    return this.attributes.has(name) ? this.attributes.get(name) : null;
  }

  removeAttribute(name) {
    this.attributes.delete(name);
  }

  get textContent() {
    return this.text + this.children.map(child => child.textContent).join('');
  }

  set textContent(text) {
    this.replaceChildren(text);
  }

  addEventListener(name, listener) {
    this.listeners[name] = listener;
  }

  /* Somebody does this to it. */
  happens(name) {
    return this.listeners[name]({target: this, preventDefault() {}});
  }

  /* The same to what is in it, with more of the event. */
  bubbles(name, event = {}) {
    for (let node = this; node; node = node.parentElement) {
      if (node.listeners[name]) node.listeners[name]({target: this, preventDefault() {}, ...event});
    }
  }

  focus() {
    document.activeElement = this;
    this.bubbles('focusin');
  }
}

const document = {createElement: name => new FakeElement(name)};

module.exports = {document, FakeElement};
