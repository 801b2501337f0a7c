/** What the Redis page tells: how things stand in each of its views, and how the connection does. */

import {Status} from './page.mjs';

const PATIENCE_SECONDS = 3;   // before somebody who waits is told for what
const LONGEST_SECONDS = 60;   // then the connection is given up

/** One line for all views; what one view tells is not seen in the others. */
export class ViewStatus {
  #status;
  #view = '';
  #hidden = new Map();  // what was told meanwhile, by view

  /** The last failure that a view has told, until that is told which comes after it. */
  failure = '';

  constructor(node) {
    this.#status = new Status(node);
  }

  /** About all of the page. */
  say(text, kind) {
    this.#status.say(text, kind);
  }

  /** The line of one view. */
  of(view) {
    return {say: (text, kind) => {
      this.failure = kind === 'bad' ? text : kind === 'good' ? '' : this.failure;
      if (view === this.#view || this.#view === '') this.say(text, kind);
      else this.#hidden.set(view, [text, kind]);
    }};
  }

  /** Another view is seen now. */
  choose(view) {
    if (view === this.#view) return;
    this.#view = view;
    this.say(...this.#hidden.get(view) || ['', '']);
    this.#hidden.delete(view);
  }
}

/** Tells that there is no connection, or no answer, for how long, and lets somebody end that. `page`: {session}. */
export class LinkView {
  #page;
  #node;
  #text;
  #seconds;

  constructor(node, page) {
    this.#page = page;
    this.#node = node;
    [this.#text, this.#seconds] = node.children;
    node.lastElementChild.addEventListener('click', () => this.#page.session?.renew());
    setInterval(() => this.show(), 1000);
  }

  show() {
    const {session} = this.#page;
    const wait = session && !session.isOver ? waitOf(session) : null;
    if (wait && wait.seconds >= LONGEST_SECONDS && session.isReady) session.renew();
    this.#node.hidden = !wait;
    const text = wait ? wait.text : '';
    if (this.#text.textContent !== text) this.#text.textContent = text;  // the text is read out, the seconds are not
    this.#seconds.textContent = wait ? `for ${secondsText(Math.floor(wait.seconds))}` : '';
  }
}

function secondsText(number) {
  return number === 1 ? '1 second' : `${number} seconds`;
}

/** Names the commands that a session does without, in every view and for as long as that lasts. `page`: {session}. */
export class AvoidedView {
  #page;
  #node;

  constructor(node, page) {
    this.#page = page;
    this.#node = node;
  }

  show() {
    const {session} = this.#page;
    const names = session && !session.isOver ? session.avoided : [];
    this.#node.hidden = !names.length;
    this.#node.textContent = names.length ? `The server ends the connection at ${names.join(', ')}: what needs that is `
      + 'left out, until you disconnect and connect anew.' : '';
  }
}

function waitOf(session) {
  const {secondsLost, wait} = session;
  if (secondsLost !== null) return {text: 'There is no connection; it is tried again', seconds: secondsLost};
  if (!wait || wait.seconds < PATIENCE_SECONDS) return null;
  return {text: `Redis has not answered ${wait.name}`, seconds: wait.seconds};
}
