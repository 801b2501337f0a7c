/** console-endings.mjs: with which line ending somebody writes to a target, in localStorage. */
import {localStorageIfAny} from './page.mjs';

const KEY = 'ws2s.console.endings';
const REMEMBERED = 50;

/** By the target's name, newest first. */
export class LineEndings {
  #storage;

  constructor(storage = localStorageIfAny()) {
    this.#storage = storage;
  }

  /** undefined for a target that is not known. */
  get(target) {
    return this.#read().find(([name]) => name === target)?.[1];
  }

  set(target, ending) {
    if (this.get(target) === ending) return;
    const others = this.#read().filter(([name]) => name !== target);
    try {
      this.#storage.setItem(KEY, JSON.stringify([[target, ending], ...others].slice(0, REMEMBERED)));
    } catch {
      // The browser keeps nothing for this page. All else works without.
    }
  }

  #read() {
    try {
      return JSON.parse(this.#storage.getItem(KEY)).filter(isPair);
    } catch {
      return [];  // nothing is kept, or nothing may be, or another program has written there
    }
  }
}

function isPair(found) {
  return Array.isArray(found) && found.length === 2 && found.every(text => typeof text === 'string');
}
