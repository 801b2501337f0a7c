/**
 * console.js: the page that talks to a TCP server. Its parts:
 *
 *     1. Output       the transcript on the page
 *     2. Input        what is typed
 *     3. Page         connecting, sending, saving
 *
 * What needs no page stands in modules of its own: the transcript, the connection, what is typed as bytes.
 */
import WS2S from './ws2s.mjs';
import {
  byteCount, Choices, ConnectButton, element, failureText, guardLeaving, saveFile, Status, visible,
} from './page.mjs';
import {admitted} from './admission.mjs';
import {addressText} from './targets.mjs';
import {bodyText, NARROW, savedText, timeText, Transcript, WIDE} from './console-transcript.mjs';
import {typedBytes} from './console-input.mjs';
import {History} from './history.mjs';
import {Line, nextFrame} from './console-line.mjs';
import {fields} from './console-start.mjs';

function byId(id) {
  return document.getElementById(id);
}

function ignore() {}

function pause(milliseconds) {
  return new Promise(resolve => { setTimeout(resolve, milliseconds); });
}

// =====================================================================================================================
// 1. Output
// =====================================================================================================================

const DIRECTIONS = {sent: '▲ sent', received: '▼ received', notice: '● notice'};
const NEAR_END = 24;            // pixels
const FILL_MILLISECONDS = 10;   // for the texts of entries, in one frame
const LINE_REM = 1.26;          // height of a line
const WRAPPED_CHARACTERS = {wide: 80, narrow: 38};  // roughly, in a line that is wrapped
const ANNOUNCED_CHARACTERS = 200;
const ANNOUNCE_MILLISECONDS = 1000;

/**
 * Shows a transcript: once in a frame, and at its end unless the user has scrolled up. The newest entries get their
 * text first; in a flood older ones are gone before it is their turn.
 */
class Output {
  #transcript;
  #region = byId('output');
  #list = byId('entries');
  #newest = byId('newest');
  #nodes = new Map();          // by entry
  #isWanted = false;
  #isDrawing = false;
  #follows = true;
  #top = 0;
  #narrow = matchMedia('(max-width: 40rem)');
  #announcedAt = 0;

  view = 'text';
  /** Called each time it is drawn. */
  onDrawn = ignore;

  constructor(transcript) {
    this.#transcript = transcript;
    this.#region.addEventListener('scroll', () => this.#onScroll());
    this.#newest.addEventListener('click', () => this.#goToEnd());
    this.#narrow.addEventListener('change', () => this.showAgain());
    // Entries that nobody sees have no exact height yet.
    const observer = new ResizeObserver(() => this.#keepAtEnd());
    for (const node of [this.#region, this.#list]) observer.observe(node);
    this.#setFollows(true);
  }

  /** Something has changed: draw it soon. */
  async update() {
    this.#isWanted = true;
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    try {
      while (this.#isWanted) await this.#drawNext();
    } finally {
      this.#isDrawing = false;
    }
  }

  /** All of it, since it is to look different. */
  showAgain() {
    for (const entry of this.#transcript.entries) entry.isChanged = true;
    this.update();
  }

  async #drawNext() {
    await nextFrame();
    this.#isWanted = false;
    await pause(this.#draw());  // half of the time is for all else
  }

  // How long it took.
  #draw() {
    const begin = performance.now();
    const fresh = this.#transcript.entries.filter(entry => !this.#nodes.has(entry));
    this.#transcript.seal();
    this.#removeDropped();
    this.#list.append(...fresh.map(entry => this.#newNode(entry)));
    this.#fillUntil(begin + FILL_MILLISECONDS);
    this.#region.classList.toggle('hex', this.view === 'hex');
    byId('empty').hidden = this.#nodes.size > 0;
    showText(byId('dropped'), this.#transcript.loss);
    this.#announce(fresh);
    this.onDrawn();
    this.#keepAtEnd();
    return performance.now() - begin;
  }

  #removeDropped() {
    const kept = new Set(this.#transcript.entries);
    for (const [entry, node] of this.#nodes) {
      if (kept.has(entry)) continue;
      node.remove();
      this.#nodes.delete(entry);
    }
  }

  #newNode(entry) {
    const node = element('li', {className: `entry ${entry.kind} ${entry.tone}`.trim()},
      element('div', {className: 'head'},
        element('time', {dateTime: entry.time.toISOString()}, timeText(entry.time)),
        element('span', {className: 'direction'}, DIRECTIONS[entry.kind]),
        element('span', {className: 'count'})),
      element('pre', {className: 'body'}));
    this.#nodes.set(entry, node);
    return node;
  }

  #fillUntil(deadline) {
    for (const entry of this.#transcript.entries.filter(each => each.isChanged).reverse()) {
      if (performance.now() > deadline) {
        this.#isWanted = true;
        return;
      }
      this.#fill(entry);
    }
  }

  #fill(entry) {
    const node = this.#nodes.get(entry), [head, body] = node.children;
    const isNarrow = this.#narrow.matches;
    const text = bodyText(entry, this.view, isNarrow ? NARROW : WIDE);
    if (entry.kind !== 'notice') head.lastChild.textContent = byteCount(entry.size);
    body.textContent = text;
    // Until it is laid out. Were the guess too low, the browser would take many for nearly visible.
    node.style.containIntrinsicBlockSize = `auto ${LINE_REM * linesOf(text, isNarrow)}rem`;
    entry.isChanged = false;
  }

  // A screen reader is told the newest of what came, not a flood.
  #announce(entries) {
    const entry = entries.findLast(each => each.kind === 'received');
    if (!entry || performance.now() - this.#announcedAt < ANNOUNCE_MILLISECONDS) return;
    this.#announcedAt = performance.now();
    const {text, isCut} = visible(entry.bytes, ANNOUNCED_CHARACTERS, {lines: true});
    byId('announcer').textContent = `Received ${byteCount(entry.size)}: ${text}${isCut ? '…' : ''}`;
  }

  // -- scrolling ------------------------------------------------------------------------------------------------------

  #onScroll() {
    const {scrollTop, scrollHeight, clientHeight} = this.#region;
    if (scrollHeight - clientHeight - scrollTop < NEAR_END) this.#setFollows(true);
    // It also becomes less when older entries go; then the end is not left.
    else if (scrollTop < this.#top) this.#setFollows(false);
    this.#top = scrollTop;
  }

  #setFollows(follows) {
    this.#follows = follows;
    if (follows && document.activeElement === this.#newest) this.#region.focus();  // what is hidden has no focus
    this.#newest.hidden = follows;
    this.#region.classList.toggle('follows', follows);
  }

  #goToEnd() {
    this.#setFollows(true);
    this.#keepAtEnd();
    this.#region.focus();  // not every browser gives a button the focus at a click
  }

  #keepAtEnd() {
    if (!this.#follows) return;
    this.#region.scrollTop = this.#region.scrollHeight;
    this.#top = this.#region.scrollTop;
  }
}

function linesOf(text, isNarrow) {
  const wrapped = Math.ceil(text.length / WRAPPED_CHARACTERS[isNarrow ? 'narrow' : 'wide']);
  return Math.max(text.split('\n').length, wrapped);
}

function showText(node, text) {
  if (node.textContent !== text) node.textContent = text;
  node.hidden = !text;
}

// =====================================================================================================================
// 2. Input
// =====================================================================================================================

const ROWS = 8;

/** The text area, which grows with its lines and knows what was typed before. */
class Input {
  #area = byId('input');
  #mode = byId('mode');
  #ending = byId('line-ending');
  #histories = {text: new History(), hex: new History()};

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
    return typedBytes(this.#area.value, this.#mode.value, this.#ending.value);
  }

  /** It was sent: the next one can be typed. */
  next() {
    this.#history.add(this.#area.value);
    this.#show('');
    this.setValid(true);
  }

  setValid(isValid) {
    if (isValid) this.#area.removeAttribute('aria-invalid');
    else this.#area.setAttribute('aria-invalid', 'true');
  }

  focus() {
    this.#area.focus();
  }

  get isTyped() {
    return this.#area.value.trim() !== '';
  }

  /** Another mode was chosen. */
  showMode() {
    const isHex = this.#mode.value === 'hex';
    this.#ending.disabled = isHex;
    this.#area.placeholder = isHex ? 'for example 50 49 4e 47 0d 0a' : 'for example PING';
    this.setValid(true);
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

// =====================================================================================================================
// 3. Page
// =====================================================================================================================

const BUTTONS = {connect: ['idle'], cancel: ['connecting'], disconnect: ['connected', 'leaving'], pause: ['connected']};
const CHOICES = ['view', 'mode', 'line-ending'];
const VERSION_CHARACTERS = 20;
const SECOND_THOUGHT = 500;  // milliseconds: what drops data is not meant by a double click, or a key held down

class Page {
  #transcript = new Transcript();
  #output = new Output(this.#transcript);
  #input = new Input();
  #status = new Status(byId('status'));
  #sendStatus = new Status(byId('send-status'));
  #fields = fields;
  #button = new ConnectButton(byId('connect'));
  #choices = new Choices('ws2s.console.choices');
  #state = 'idle';
  #attempt = null;     // an AbortController
  #line = null;        // the last connection
  #where = '';
  #leftAt = 0;

  constructor() {
    this.#recallChoices();
    onEvent('connect-form', 'submit', () => this.#connect());
    onEvent('cancel', 'click', () => this.#attempt?.abort());
    onEvent('disconnect', 'click', () => this.#leave());
    onEvent('pause', 'click', () => this.#togglePause());
    onEvent('send-form', 'submit', () => this.#send());
    onEvent('view', 'change', () => this.#changeView());
    onEvent('save', 'click', () => this.#save());
    onEvent('clear', 'click', () => this.#clear());
    this.#input.onEnter = () => this.#send();
    this.#output.onDrawn = () => this.#showTotals();
    this.#showTotals();
    guardLeaving(() => this.#input.isTyped);
  }

  // How somebody likes to write to a server stays, over servers and visits.
  #recallChoices() {
    for (const id of CHOICES) {
      const known = [...byId(id).options].some(option => option.value === this.#choices.get(id));
      if (known) byId(id).value = this.#choices.get(id);
      byId(id).addEventListener('change', () => this.#choices.set(id, byId(id).value));
    }
    this.#output.view = byId('view').value;
    this.#input.showMode();
  }

  // -- connecting -----------------------------------------------------------------------------------------------------

  async #connect() {
    if (this.#state !== 'idle') return;
    const target = this.#readTarget();
    if (!target) return;
    this.#where = whereOf(target);
    this.#attempt = new AbortController();
    this.#setState('connecting');
    byId('cancel').focus();
    this.#status.say(`Connecting to ${this.#where}…`, 'busy');
    this.#tell(`Connecting to ${this.#where}…`);
    const connection = await this.#open(target);
    if (connection) this.#onConnected(connection);
  }

  async #open(target) {
    const {url, extra, ...options} = target;
    const open = () => WS2S.connect(url, {...options, signal: this.#attempt.signal});
    try {
      return await admitted(open, target, this.#fields);
    } catch (error) {
      this.#onNotConnected(error);
      return null;
    }
  }

  #readTarget() {
    try {
      return this.#fields.read();
    } catch (error) {
      if (!error.field) throw error;
      this.#status.sayError(error);
      error.field.focus();
      return null;
    }
  }

  #onConnected(connection) {
    this.#fields.remember();
    this.#fields.fold();
    this.#transcript.beginStream();
    this.#line = new Line(connection, {
      received: bytes => this.#onReceived(bytes),
      changed: () => this.#output.update(),
      ended: error => this.#onEnded(error),
    });
    this.#setState('connected');
    this.#sendStatus.say('');
    const how = connection.tls ? ` (${visible(connection.tls.version, VERSION_CHARACTERS).text})` : '';
    this.#status.say(`Connected to ${this.#where}${how}.`, 'good');
    this.#tell(`Connected to ${this.#where}${how}.`, 'good');
    this.#input.focus();
  }

  #onNotConnected(error) {
    const hadFocus = document.activeElement === byId('cancel');
    this.#setState('idle');
    this.#status.sayError(error);
    this.#tell(failureText(error), error.name === 'AbortError' ? '' : 'bad');
    this.#button.offerRetry(error.name !== 'AbortError');
    if (hadFocus) (error.field || byId('connect')).focus();
  }

  #leave() {
    if (this.#state === 'leaving' && performance.now() - this.#leftAt > SECOND_THOUGHT) this.#line.drop();
    if (this.#state !== 'connected') return;
    this.#leftAt = performance.now();
    this.#setState('leaving');
    byId('disconnect').textContent = 'Disconnect at once';
    this.#status.say('Disconnecting, after what was sent…', 'busy');
    this.#line.leave();
  }

  #onReceived(bytes) {
    this.#transcript.received(bytes);
    this.#output.update();
  }

  #onEnded(error) {
    const hadFocus = [byId('disconnect'), byId('pause')].includes(document.activeElement);
    const {waiting} = this.#line;
    const isFailure = error && error.reason !== 'closed';
    this.#setState('idle');
    this.#button.offerRetry(isFailure);
    if (error) this.#status.say(failureText(error), isFailure ? 'bad' : '');
    else this.#status.say('Disconnected.');
    this.#tell(error ? failureText(error) : 'Disconnected.', isFailure ? 'bad' : '');
    if (waiting) this.#tell(`The last ${byteCount(waiting)} to be sent may not have reached the target.`, 'bad');
    if (hadFocus) byId('connect').focus();
  }

  #setState(state) {
    this.#state = state;
    for (const [id, states] of Object.entries(BUTTONS)) byId(id).hidden = !states.includes(state);
    this.#fields.disabled = state !== 'idle';
    byId('disconnect').textContent = 'Disconnect';
    this.#showPause(false);
  }

  #togglePause() {
    if (this.#state !== 'connected') return;
    const isPaused = !this.#line.isPaused;
    this.#line.setPaused(isPaused);
    this.#showPause(isPaused);
    this.#tell(isPaused ? 'Paused: nothing more is read, and the target has to wait.' : 'Reading again.');
  }

  #showPause(isPaused) {
    byId('pause').setAttribute('aria-pressed', String(isPaused));
  }

  // -- sending --------------------------------------------------------------------------------------------------------

  #send() {
    try {
      this.#sendBytes(this.#input.read());
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#input.setValid(false);
      this.#sendStatus.say(error.message, 'bad');
    }
  }

  #sendBytes(bytes) {
    const refusal = this.#refusal(bytes);
    this.#sendStatus.say(refusal, refusal && 'bad');
    this.#input.focus();
    if (refusal) return;
    this.#transcript.sent(bytes);
    this.#line.send(bytes);
    this.#input.next();
    this.#output.update();
  }

  #refusal(bytes) {
    if (this.#state !== 'connected') return 'Not connected: nothing was sent.';
    if (!bytes.length) return 'There is nothing to send.';
    if (!this.#line.hasRoom) return `The target does not read: ${byteCount(this.#line.waiting)} are still waiting.`;
    return '';
  }

  // -- transcript -----------------------------------------------------------------------------------------------------

  #tell(text, tone) {
    this.#transcript.notice(text, tone);
    this.#output.update();
  }

  #showTotals() {
    const {sent, received, waiting} = this.#line || {sent: 0, received: 0, waiting: 0};
    const more = waiting ? ` (${byteCount(waiting)} waiting)` : '';
    showText(byId('totals'), `Sent ${byteCount(sent)}${more}, received ${byteCount(received)}`);
  }

  #changeView() {
    this.#output.view = byId('view').value;
    this.#output.showAgain();
  }

  #clear() {
    this.#transcript.clear();
    this.#output.update();
  }

  #save() {
    const name = `ws2s-${new Date().toISOString().slice(0, 19).replace(/[:T]/g, '-')}.txt`;
    saveFile(name, [...savedText(this.#transcript, this.#output.view)], 'text/plain;charset=utf-8');
  }
}

function onEvent(id, event, listener) {
  byId(id).addEventListener(event, happened => {
    happened.preventDefault();
    listener();
  });
}

// Without the user's name at the SSH server: this goes into the transcript.
function whereOf({host, port, ssh, tls}) {
  const how = !tls ? '' : tls.verify === false ? ' with TLS, without verification' : ' with TLS';
  const way = ssh ? ` through the SSH server ${addressText(ssh.host, ssh.port)}` : '';
  return visible(addressText(host, port) + how + way, 600).text;
}

new Page();
