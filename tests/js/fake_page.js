/* A fuller document than that of fake_document.js, with places and styles, for parts of pages that draw themselves. */
'use strict';

const {FakeElement} = require('./fake_document.js');

class FakeNode extends FakeElement {
  constructor(name) {
    super(name);
    this.style = {};
    this.scrolled = 0;
    this.clientHeight = 280;
    this.tabIndex = -1;
    this.isConnected = true;
    this.open = false;
    const node = this;
    this.classList = {
      add: (...names) => { node.className = [...new Set([...node.className.split(' '), ...names])].join(' ').trim(); },
      contains: each => node.className.split(' ').includes(each),
    };
  }

  get offsetTop() {
    return Number.parseFloat(this.style.top || '0');
  }

  /* As in a browser, what is within is at least as long. */
  get scrollTop() {
    const height = this.children.reduce((sum, {style}) => sum + Number.parseFloat(style.height || '0'), 0);
    return Math.max(0, Math.min(this.scrolled, height - this.clientHeight));
  }

  set scrollTop(pixels) {
    this.scrolled = pixels;
  }

  get firstChild() {
    return this.children[0] || null;
  }

  get lastChild() {
    return this.children.at(-1) || null;
  }

  get options() {
    return this.children;
  }

  /* A select begins with the first of its options. */
  get value() {
    return this.localName === 'select' && !this.chosen ? this.children[0]?.value ?? '' : this.chosen;
  }

  set value(text) {
    this.chosen = text;
  }

  get selectedOptions() {
    return this.children.filter(option => option.value === this.value);
  }

  matchesOne(selector) {
    if (selector.startsWith('.')) return this.classList.contains(selector.slice(1));
    return selector.startsWith('#') ? this.id === selector.slice(1) : this.localName === selector;
  }

  closest(selector) {
    if (this.matchesOne(selector)) return this;
    return this.parentElement && this.parentElement.closest(selector);
  }

  querySelector(selector) {
    return this.querySelectorAll(selector)[0] || null;
  }

  querySelectorAll(selector) {
    const parts = selector.split(',').map(part => part.trim().split(':')[0]);
    return this.all.filter(node => node !== this && parts.some(part => node.matchesOne(part)));
  }

  focus() {
    document.activeElement = this;
  }

  showModal() {
    this.open = true;
  }

  close() {
    this.open = false;
    this.listeners.close?.({target: this});
  }

  click() {
    return this.happens('click');
  }

  /* Somebody does this to it; it is heard by those around it, too. */
  happens(name, more = {}) {
    let isPrevented = false;
    const event = {target: this, preventDefault() { isPrevented = true; }, ...more};
    for (let node = this; node; node = node.parentElement) node.listeners[name]?.(event);
    return isPrevented;
  }
}

/* Lets the modules of a page be used in this process; gives the body. */
function beginPage() {
  const body = new FakeNode('body');
  globalThis.document = {
    body, activeElement: body, hidden: false, createElement: name => new FakeNode(name),
    getElementById: id => body.all.find(node => node.id === id) || null,
    querySelector: selector => body.querySelector(selector.replace('[open]', '')),
  };
  globalThis.ResizeObserver = class { observe() {} };
  globalThis.requestAnimationFrame = action => setTimeout(action, 0);
  return body;
}

module.exports = {beginPage, FakeNode};
