/**
 * console.js: the page that talks to a TCP server: connecting, and sending what was typed.
 *
 * What else there is stands in modules of its own: what is shown, saved and recorded; what is typed; files that are
 * sent; recordings that are replayed. What needs no page is apart from these: the transcript, the connection, telnet,
 * colours, recordings.
 */
import WS2S from './ws2s.mjs';
import {byId, byteCount, Choices, ConnectButton, failureText, guardLeaving, Status, visible} from './page.mjs';
import {admitted} from './admission.mjs';
import {addressText} from './targets.mjs';
import {fields} from './console-start.mjs';
import {FileSending} from './console-sending.mjs';
import {Input} from './console-typing.mjs';
import {Line} from './console-line.mjs';
import {LineEndings} from './console-endings.mjs';
import {Log} from './console-log.mjs';
import {Replaying} from './console-replaying.mjs';
import {showText} from './console-output.mjs';
import {Telnet} from './console-telnet.mjs';

const BUTTONS = {
  connect: ['idle', 'replaying'], cancel: ['connecting'], disconnect: ['connected', 'leaving'], pause: ['connected'],
  'send-file': ['connected'], replay: ['idle'], 'replay-speed': ['idle'], 'replay-stop': ['replaying'],
};
const CHOICES = ['view', 'mode', 'line-ending'];
const TELNET_PORT = 23;
const VERSION_CHARACTERS = 20;
const SECOND_THOUGHT = 500;  // milliseconds: what drops data is not meant by a double click, or a key held down

class Page {
  #input = new Input();
  #fields = fields;
  #button = new ConnectButton(byId('connect'));
  #choices = new Choices('ws2s.console.choices');
  #endings = new LineEndings();
  #sending = new FileSending(this);
  #state = 'idle';
  #attempt = null;     // an AbortController
  #target = null;      // the last one, as it was read from the fields
  #telnet = null;      // of the last connection
  #where = '';
  #isTelnet = false;   // has that been told?
  #leftAt = 0;
  #guard;              // looks whether something would be lost

  log = new Log({isLive: () => this.#isLive});
  status = new Status(byId('status'));
  sendStatus = new Status(byId('send-status'));
  /** The last connection. */
  line = null;

  constructor() {
    this.#recallChoices();
    onEvent('connect-form', 'submit', () => this.#connect());
    onEvent('cancel', 'click', () => this.#attempt?.abort());
    onEvent('disconnect', 'click', () => this.#leave());
    onEvent('pause', 'click', () => this.#togglePause());
    onEvent('start-tls', 'click', () => this.#startTls());
    onEvent('send-form', 'submit', () => this.#send());
    new Replaying(this);
    this.#input.onEnter = () => this.#send();
    this.log.output.onDrawn = () => this.#showTotals();
    this.log.output.onResized = ({columns, rows}) => this.line?.resize(columns, rows);
    this.#setState('idle');
    this.#showTotals();
    this.#guard = guardLeaving(() => this.#input.isTyped || this.log.isRecording || this.#isLive && this.log.isUnsaved);
  }

  // How somebody likes to write to a server stays, over servers and visits.
  #recallChoices() {
    for (const id of CHOICES) {
      const known = [...byId(id).options].some(option => option.value === this.#choices.get(id));
      if (known) byId(id).value = this.#choices.get(id);
      byId(id).addEventListener('change', () => this.#choose(id));
    }
    this.log.showView();
    this.#input.showMode();
  }

  #choose(id) {
    const {value} = byId(id);
    if (value !== 'secret') this.#choices.set(id, value);  // a secret is for one line
  }

  // -- connecting -----------------------------------------------------------------------------------------------------

  async #connect() {
    if (this.#state !== 'idle') return;
    const target = readTarget(this.#fields, this.status);
    if (!target) return;
    this.#target = target;
    this.#where = whereOf(target);
    this.#attempt = new AbortController();
    this.#setState('connecting');
    byId('cancel').focus();
    this.status.say(`Connecting to ${this.#where}…`, 'busy');
    this.log.tell(`Connecting to ${this.#where}…`);
    const connection = await this.#open(target);
    if (connection) this.#onConnected(connection);
  }

  async #open(target) {
    const {url, extra, startTls, ...options} = target;
    const open = () => WS2S.connect(url, {...options, signal: this.#attempt.signal});
    try {
      return await admitted(open, target, this.#fields);
    } catch (error) {
      this.#onNotConnected(error);
      return null;
    }
  }

  #onConnected(connection) {
    this.#fields.remember();
    this.#fields.fold();
    this.log.beginStream(this.#where);
    this.#beginLine(connection);
    this.#setState('connected');
    byId('start-tls').hidden = !this.#target.startTls;
    this.sendStatus.say('');
    const how = connection.tls ? ` (${versionOf(connection.tls)})` : '';
    this.status.say(`Connected to ${this.#where}${how}.`, 'good');
    this.log.tell(`Connected to ${this.#where}${how}.`, 'good');
    this.#onChanged();
    this.#input.focus();
  }

  #beginLine(connection) {
    const {port, extra} = this.#target;
    const mode = extra.telnet || (port === TELNET_PORT ? 'on' : 'auto');
    this.#telnet = new Telnet(mode, this.log.output.size);
    this.#isTelnet = false;
    this.#input.ending = this.#endings.get(targetName(this.#target)) || this.#choices.get('line-ending');
    this.line = new Line(connection, {
      received: bytes => this.#onReceived(bytes),
      changed: () => this.#onChanged(),
      ended: error => this.#onEnded(error),
    }, this.#telnet);
  }

  #onNotConnected(error) {
    const hadFocus = document.activeElement === byId('cancel');
    this.#setState('idle');
    this.status.say(failureText(error), 'bad');
    this.log.tell(failureText(error), error.name === 'AbortError' ? '' : 'bad');
    this.#button.offerRetry(error.name !== 'AbortError');
    if (hadFocus) (error.field || byId('connect')).focus();
  }

  #leave() {
    if (this.#state === 'leaving' && performance.now() - this.#leftAt > SECOND_THOUGHT) this.line.drop();
    if (this.#state !== 'connected') return;
    this.#leftAt = performance.now();
    this.#setState('leaving');
    byId('disconnect').textContent = 'Disconnect at once';
    this.status.say('Disconnecting, after what was sent…', 'busy');
    this.line.leave();
  }

  #onReceived(bytes) {
    this.log.received(bytes);
    this.#onChanged();
  }

  #onChanged() {
    if (this.#telnet.isOn && !this.#isTelnet) this.#onTelnet();
    this.#input.isSecretAsked = this.#telnet.isSecret;
    this.#guard();
    this.log.output.update();
  }

  // Lines of telnet end with CR LF, unless somebody has chosen otherwise for this target.
  #onTelnet() {
    this.#isTelnet = true;
    this.log.tell('The target speaks telnet: its commands are answered, and not shown.');
    this.#input.ending = this.#endings.get(targetName(this.#target)) || 'crlf';
  }

  // The connection tells when it fails.
  async #startTls() {
    byId('start-tls').hidden = true;
    this.log.tell('Starting TLS…');
    const tls = await this.line.startTls(this.#target.startTls).catch(() => null);
    if (!tls) return;
    this.log.beginStream(this.#where);  // what came in the clear has no say in how the rest looks
    this.log.tell(`From here on the connection has TLS (${versionOf(tls)}).`, 'good');
    this.status.say(`Connected to ${this.#where}, now with TLS (${versionOf(tls)}).`, 'good');
    this.#input.focus();
  }

  #onEnded(error) {
    const hadFocus = [byId('disconnect'), byId('pause')].includes(document.activeElement);
    const {waiting} = this.line;
    const isFailure = error && error.reason !== 'closed';
    this.#setState('idle');
    this.#button.offerRetry(isFailure);
    if (error) this.status.say(failureText(error), isFailure ? 'bad' : '');
    else this.status.say('Disconnected.');
    this.log.tell(error ? failureText(error) : 'Disconnected.', isFailure ? 'bad' : '');
    if (waiting) this.log.tell(`The last ${byteCount(waiting)} to be sent may not have reached the target.`, 'bad');
    if (hadFocus) byId('connect').focus();
  }

  #setState(state) {
    this.#state = state;
    for (const [id, states] of Object.entries(BUTTONS)) byId(id).hidden = !states.includes(state);
    byId('connect').disabled = state === 'replaying';
    byId('start-tls').hidden = true;
    this.#fields.disabled = state !== 'idle';
    byId('disconnect').textContent = 'Disconnect';
    byId('pause').setAttribute('aria-pressed', 'false');
  }

  get #isLive() {
    return ['connected', 'leaving'].includes(this.#state);
  }

  /** A recording may be replayed now; nothing else happens meanwhile. */
  beginReplay() {
    if (this.#state !== 'idle') return false;
    this.#setState('replaying');
    return true;
  }

  endReplay() {
    this.#setState('idle');
  }

  #togglePause() {
    if (this.#state !== 'connected') return;
    const isPaused = !this.line.isPaused;
    this.line.setPaused(isPaused);
    byId('pause').setAttribute('aria-pressed', String(isPaused));
    this.log.tell(isPaused ? 'Paused: nothing more is read, and the target has to wait.' : 'Reading again.');
  }

  // -- sending --------------------------------------------------------------------------------------------------------

  #send() {
    try {
      this.#sendBytes(this.#input.read());
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#input.setValid(false);
      this.sendStatus.say(error.message, 'bad');
    }
  }

  #sendBytes(bytes) {
    const refusal = this.refusal(bytes.length);
    this.sendStatus.say(refusal, refusal && 'bad');
    this.#input.focus();
    if (refusal) return;
    if (this.#input.isSecret) this.log.secret();
    else this.log.sent(bytes);
    this.line.send(bytes);
    this.#endings.set(targetName(this.#target), this.#input.ending);
    this.#input.next();
  }

  /** Why so many bytes cannot be sent now; '' if they can. */
  refusal(size) {
    if (this.#state !== 'connected') return 'Not connected: nothing was sent.';
    if (this.#sending.isBusy) return 'A file is being sent: nothing else was sent.';
    if (!size) return 'There is nothing to send.';
    if (!this.line.hasRoom) return `The target does not read: ${byteCount(this.line.waiting)} are still waiting.`;
    return '';
  }

  #showTotals() {
    const {sent, received, waiting} = this.line || {sent: 0, received: 0, waiting: 0};
    const more = waiting ? ` (${byteCount(waiting)} waiting)` : '';
    showText(byId('totals'), `Sent ${byteCount(sent)}${more}, received ${byteCount(received)}`);
  }
}

function onEvent(id, event, listener) {
  byId(id).addEventListener(event, happened => {
    happened.preventDefault();
    listener();
  });
}

// null when something is wrong, which is told then.
function readTarget(fields, status) {
  try {
    return fields.read();
  } catch (error) {
    if (!error.field) throw error;
    status.say(failureText(error), 'bad');
    error.field.focus();
    return null;
  }
}

function versionOf({version}) {
  return visible(version, VERSION_CHARACTERS).text;
}

// How it is remembered.
function targetName({host, port, ssh}) {
  return addressText(host, port) + (ssh ? ` ${addressText(ssh.host, ssh.port)}` : '');
}

// Without the user's name at the SSH server: this goes into the transcript.
function whereOf({host, port, ssh, tls}) {
  const how = !tls ? '' : tls.verify === false ? ' with TLS, without verification' : ' with TLS';
  const way = ssh ? ` through the SSH server ${addressText(ssh.host, ssh.port)}` : '';
  return visible(addressText(host, port) + how + way, 600).text;
}

new Page();
