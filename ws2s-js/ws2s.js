/**
 * ws2s.js: TCP connections for pages, through a ws2s gateway. One file, no dependencies.
 *
 *     <script src="ws2s.js"></script>                        the global WS2S
 *     import WS2S, {WS2SError} from './ws2s.mjs'             a module, in a page (beside this file) or in Node
 *     const WS2S = require('./ws2s.js')                      Node
 *
 *     const connection = await WS2S.connect('ws://127.0.0.1:3613/', {host: 'db.lan', port: 6379});
 *     const redis = new WS2S.Redis('ws://127.0.0.1:3613/', {host: 'db.lan'});
 *
 * What stands where:
 *
 *     1. Errors       WS2SError, RedisError
 *     2. Bytes        base64, text, a queue
 *     3. Session      one WebSocket to the gateway: requests, replies, data
 *     4. Connection   the two streams of one TCP connection, their backpressure, halves, and TLS
 *     5. RESP         what Redis speaks: commands, replies
 *     6. Redis        a client that connects again by itself
 *     7. Callbacks    the interface of ws2s.js 2.1
 *     8. WS2S         what a page sees of all this
 */
(function () {
'use strict';

// =====================================================================================================================
// 1. Errors
// =====================================================================================================================

/**
 * A failure of the gateway, or of the way to it.
 *
 * `code` and `reason` are those of the gateway's reply (see the table in its README). What this file itself finds out
 * has code 1 and one of the reasons `gateway-unreachable`, `gateway-lost`, `timeout`, `protocol`, `tls`,
 * `not-answered`, `transaction-lost`, `closed` and `aborted`. Some have more: `command`, which got no reply or was not
 * sent; `endedAt`, at which command the server has ended the connection; `speaks`, what a server seems to speak.
 */
class WS2SError extends Error {
  constructor(code, reason, message, options) {
    super(message, options);
    this.name = 'WS2SError';
    this.code = code;
    this.reason = reason;
  }
}

/**
 * An error that Redis itself has answered. `code` is its first word: `ERR`, `WRONGTYPE`, `NOAUTH`... One of multi() has
 * `isUnsure`, true, when its commands may have been carried out.
 */
class RedisError extends Error {
  constructor(message) {
    super(message);
    this.name = 'RedisError';
    this.code = message.split(' ', 1)[0];
  }
}

// ws2s 2.1.5 gives no reasons.
const REASONS = {2: 'refused', 3: 'not-connected', 4: 'forbidden', 5: 'closed', 6: 'ssh-failed'};

// A gateway may answer anything: what is no text there would break whoever shows it.
function textOr(value, otherwise) {
  return typeof value === 'string' && value !== '' ? value : otherwise;
}

function errorOf({code, reason, message}) {
  const number = typeof code === 'number' ? code : 1;
  const word = textOr(reason, REASONS[number] || 'internal');
  return new WS2SError(number, word, textOr(message, 'the gateway does not say why'));
}

function closedError() {
  return new WS2SError(1, 'closed', 'the connection has been closed');
}

function abortedError() {
  return new WS2SError(1, 'aborted', 'the connection has been dropped');
}

function tlsError(message) {
  return new WS2SError(1, 'tls', message);
}

function badRequestError(message) {
  return new WS2SError(1, 'bad-request', message);
}

// =====================================================================================================================
// 2. Bytes
// =====================================================================================================================

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder('utf-8', {ignoreBOM: true});
const STRICT_DECODER = new TextDecoder('utf-8', {ignoreBOM: true, fatal: true});
const ARGUMENTS = 8192;  // as many as one call may have in every browser

function encodeUtf8(text) {
  return ENCODER.encode(text);
}

function decodeUtf8(bytes) {
  return DECODER.decode(bytes);
}

/** The Uint8Array of an ArrayBuffer or of any view. Text is refused: which bytes it is must be the caller's choice. */
function bytesOf(data) {
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  // instanceof would fail for an ArrayBuffer of another frame.
  if (Object.prototype.toString.call(data) === '[object ArrayBuffer]') return new Uint8Array(data);
  throw new TypeError('bytes are wanted: a Uint8Array, another view or an ArrayBuffer');
}

function joined(pieces) {
  if (pieces.length === 1) return pieces[0];
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}

function toBase64(bytes) {
  let characters = '';
  for (let start = 0; start < bytes.length; start += ARGUMENTS) {
    characters += String.fromCharCode.apply(null, bytes.subarray(start, start + ARGUMENTS));
  }
  return btoa(characters);
}

function fromBase64(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

/** First in, first out. An array's own shift() takes the time of its length. */
class Queue {
  #items = [];
  #begin = 0;

  get length() {
    return this.#items.length - this.#begin;
  }

  /** The next one; undefined when there is none, and so is shift(). */
  get first() {
    return this.#items[this.#begin];
  }

  push(item) {
    this.#items.push(item);
  }

  shift() {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#begin];
    this.#items[this.#begin++] = undefined;
    if (2 * this.#begin > this.#items.length) {
      this.#items = this.#items.slice(this.#begin);
      this.#begin = 0;
    }
    return item;
  }

  /** All of them; the queue is empty then. */
  drain() {
    const items = this.#items.slice(this.#begin);
    this.#items = [];
    this.#begin = 0;
    return items;
  }
}

// =====================================================================================================================
// 3. Session
// =====================================================================================================================

const KEEPALIVE_MILLISECONDS = 30000;
const TIMES = {timeout: 60000, heartbeat: 15000, commandTimeout: 60000};  // milliseconds
const PARTS = 3;            // of the shortest of them, in which silence is counted
const BULK_MESSAGE = 32768; // after one of so many bytes one of 1 MiB may come, which is seen when it is whole
const MEBIBYTE = 1048576;
const BULK_PATIENCE = 8;    // heartbeats for that one at most, and so many times as long as the last MiB took
const STALL_PATIENCE = 40;  // heartbeats for a target that may not read: the gateway itself gives it 300 seconds
const GATEWAY_READ = 65536; // the gateway may take so much at once, and looks at the target only before
const AWAITED = ['connect', 'starttls', 'finish', 'close'];  // what the caller waits for
const DIALS = ['connect', 'starttls'];                       // what waits for the target
const PIECE_BYTES = 65536;  // of data in one message; in base64 it fits into what 2.1.5 understands from Chromium

function ignore() {}

function webSocketClass(options) {
  const found = options.WebSocket || globalThis.WebSocket;
  if (found) return found;
  throw new TypeError('there is no WebSocket here (Node has one from version 22 on): give its class in the options, '
    + "such as that of the npm package ws: {host, port, WebSocket: require('ws')}");
}

// Pages cannot set headers. It is no part of the URL, which stands in logs and in what browsers say.
function subprotocols({token}) {
  if (token === undefined || token === null) return [];
  if (typeof token !== 'string' || token === '') throw new TypeError('token must be a text, and not empty');
  const base64url = toBase64(encodeUtf8(token)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
  return [[`ws2s.bearer.${base64url}`]];
}

function timeOf(options, name) {
  const value = options[name] === undefined ? TIMES[name] : options[name];
  if (typeof value === 'number' && value >= 0) return value || Infinity;
  throw new RangeError(`${name} must be a number of milliseconds, or 0 for no limit`);
}

function secondsOf(milliseconds) {
  const seconds = Math.round(milliseconds / 100) / 10;
  return `${seconds} second${seconds === 1 ? '' : 's'}`;
}

/**
 * Counts how long nothing was heard, in parts. A timer that comes late is one part, whatever the clock says: in a
 * hidden tab, in a page that is busy or a computer that sleeps nothing can be heard.
 */
class Silence {
  #part;
  #onPart;
  #timer = null;
  #parts = 0;

  /** `onPart(milliseconds)` is called with the length of the silence, some times within the `shortest` that matters. */
  constructor(shortest, onPart) {
    this.#part = Math.ceil(shortest / PARTS);
    this.#onPart = onPart;
  }

  start() {
    if (this.#timer !== null || this.#part === Infinity) return;
    this.#parts = 0;
    this.#timer = setInterval(() => this.#onPart(++this.#parts * this.#part), this.#part);
  }

  heard() {
    this.#parts = -1;  // the part that has begun is not a whole one
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
  }
}

/** How fast it comes. */
class Pace {
  #bytes = 0;
  #since = performance.now();

  /** Milliseconds that the last MiB took, with the silence in it. */
  ofMebibyte = Infinity;

  count(bytes) {
    this.#bytes += bytes;
    if (this.#bytes < MEBIBYTE) return;
    const now = performance.now();
    this.ofMebibyte = (now - this.#since) * MEBIBYTE / this.#bytes;
    this.#since = now;
    this.#bytes = 0;
  }
}

/**
 * Calls `action` when the network or the page has come back, and the way to the gateway may have broken unheard. Gives
 * what ends that. A worker has no document, and Node none of these events.
 */
function onReturn(action) {
  const {document: page} = globalThis;
  const onShow = event => { if (event.persisted) action(); };
  const onVisible = () => { if (page.visibilityState === 'visible') action(); };
  const events = [
    [globalThis, 'online', action], [globalThis, 'pageshow', onShow],
    [page, 'visibilitychange', onVisible], [page, 'resume', action],
  ].filter(([target]) => target && typeof target.addEventListener === 'function');
  for (const [target, name, listener] of events) target.addEventListener(name, listener);
  return () => {
    for (const [target, name, listener] of events) target.removeEventListener(name, listener);
  };
}

/**
 * One WebSocket to the gateway, which answers requests in their order.
 *
 * `events`: `opened()`, `data(bytes)`, `lost(reply)` when the TCP connection has ended by itself, `ended(error)` when
 * the WebSocket has. After end() and after `ended` there are no events, and no timer or listener is left.
 *
 * A gateway that cannot be heard any more is given up. Since it answers in order, only the first request that has no
 * answer tells how long it may take: a `connect` has a time of its own, and behind much data for a target that may not
 * read an answer may come late. Whatever comes from the gateway shows that it is there.
 */
class Session {
  #url;
  #socket;
  #events;
  #timeout;
  #heartbeat;
  #silence;
  #stopListening = ignore;
  #timer;
  #hasToken;
  #unsent = [];           // what was asked before the WebSocket was open
  #answers = new Queue(); // {command, onReply, sent} of the replies that are still to come
  #isOpen = false;
  #isOver = false;
  #sent = 0;              // bytes for the target
  #taken = 0;             // so many of them the gateway has taken for certain
  #unread = 0;            // so many of them the target may not have read
  #isBulk = false;        // was the last message a large one?
  #pace = new Pace();

  /** Is it a gateway that answers `ack`, as 2.1.5 does? That one knows neither binary messages nor windows. */
  isOld = false;

  constructor(url, options, events) {
    this.#url = url;
    this.#events = events;
    this.#timeout = timeOf(options, 'timeout');
    this.#heartbeat = timeOf(options, 'heartbeat');
    this.#silence = new Silence(Math.min(this.#timeout, this.#heartbeat), silent => this.#onSilence(silent));
    const offered = subprotocols(options);
    this.#hasToken = offered.length > 0;
    this.#socket = new (webSocketClass(options))(url, ...offered);
    this.#socket.binaryType = 'arraybuffer';
    this.#silence.start();
    this.#socket.onopen = () => this.#onOpen();
    this.#socket.onmessage = event => this.#onMessage(event.data);
    this.#socket.onerror = ignore;  // it says nothing about the reason, and onclose follows
    this.#socket.onclose = event => this.#onClose(event);
  }

  /** Ask for something; `onReply` gets the reply, and without it a failure is `lost`. An `ack` has no reply. */
  ask(command, fields, onReply) {
    if (this.#isOver) return;
    if (command === 'send' || command === 'sendb') this.#count(fields.data.length);
    if (command !== 'ack') this.#answers.push({command, onReply, sent: this.#sent});
    if (AWAITED.includes(command)) this.#silence.start();
    this.#send(JSON.stringify({command, ...fields}));
  }

  /** Bytes for the target, in a binary message. */
  sendBinary(bytes) {
    if (this.#isOver) return;
    this.#count(bytes.length);
    this.#send(bytes);
  }

  #count(bytes) {
    this.#sent += bytes;
    this.#unread += bytes;
  }

  #send(message) {
    if (this.#isOpen) this.#socket.send(message);
    else this.#unsent.push(message);
  }

  /** Close the WebSocket. */
  end() {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#timer);
    this.#silence.stop();
    this.#stopListening();
    // Not null: Node's package ws throws an error that nobody listens to.
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = ignore;
    this.#socket.close();
  }

  #onOpen() {
    this.#isOpen = true;
    for (const message of this.#unsent.splice(0)) this.#socket.send(message);
    this.#timer = setInterval(() => this.#listen(), Math.min(KEEPALIVE_MILLISECONDS, 2 * this.#heartbeat));
    if (this.#timer.unref) this.#timer.unref();  // Node must not stay awake for it
    this.#stopListening = onReturn(() => this.#onReturn());
    this.#rest();
    this.#events.opened();
  }

  /** Wait for an answer, whichever is the next. */
  #listen() {
    if (!this.#answers.length) this.ask('ping');
    this.#silence.start();
  }

  #rest() {
    if (!this.#answers.length) this.#silence.stop();
  }

  #onReturn() {
    // On its way into the back/forward cache a page loses its WebSockets, and may not be told.
    if (this.#socket.readyState === CLOSED) {
      this.#onClose({});
      return;
    }
    this.#silence.heard();
    this.#listen();
  }

  #onSilence(silent) {
    const {first} = this.#answers;
    if (!this.#isOpen) {
      if (silent < this.#timeout) return;
      this.#fail(unreachableError(this.#url, `it has not answered for ${secondsOf(silent)}`));
    } else if (first && silent >= this.#patience(first)) {
      this.#fail(silenceError(first.command, silent));
    }
  }

  #patience({command, sent}) {
    if (DIALS.includes(command)) return this.#timeout;
    if (sent > this.#taken && this.#unread > GATEWAY_READ) return STALL_PATIENCE * this.#heartbeat;
    return this.#isBulk ? this.#bulkPatience() : this.#heartbeat;
  }

  #bulkPatience() {
    const milliseconds = Math.max(this.#heartbeat, BULK_PATIENCE * this.#pace.ofMebibyte);
    return Math.min(BULK_PATIENCE * this.#heartbeat, milliseconds);
  }

  #onMessage(message) {
    this.#silence.heard();
    const size = typeof message === 'string' ? message.length : message.byteLength;
    this.#isBulk = size >= BULK_MESSAGE;
    this.#pace.count(size);
    if (typeof message !== 'string') {
      this.#onData(new Uint8Array(message));
      return;
    }
    let reply, bytes;
    try {
      reply = JSON.parse(message);
      bytes = reply.code < 0 ? fromBase64(reply.data) : null;
    } catch (error) {
      this.#fail(new WS2SError(1, 'protocol', 'the gateway does not speak ws2s', {cause: error}));
      return;
    }
    if (bytes) this.#onData(bytes);
    else this.#onReply(reply);
  }

  // A target that answers has read what came before, but hardly what the gateway has not even taken.
  #onData(bytes) {
    this.#unread = this.#sent - this.#taken;
    this.#events.data(bytes);
  }

  #onReply(reply) {
    if (reply.message === 'ack done') {
      this.isOld = true;
      return;
    }
    const answer = reply.code === 5 ? undefined : this.#answers.shift();
    if (answer) this.#taken = answer.sent;
    this.#rest();
    if (answer && answer.onReply) answer.onReply(reply);
    else if (!reply.success) this.#events.lost(reply);
  }

  #onClose(event) {
    this.#fail(this.#isOpen
      ? new WS2SError(1, 'gateway-lost', 'the WebSocket has ended' + closeDetails(event))
      // A browser does not tell why.
      : unreachableError(this.#url, 'it is not there, or it does not let this page in'
        + (this.#hasToken ? ', or it does not take the token' : '')));
  }

  #fail(error) {
    if (this.#isOver) return;
    this.end();
    this.#events.ended(error);
  }
}

const CLOSED = 3;  // the readyState of a WebSocket

function silenceError(command, silent) {
  const what = command === 'connect' ? 'can be reached' : 'speaks TLS';
  return DIALS.includes(command)
    ? new WS2SError(1, 'timeout', `the gateway has not told for ${secondsOf(silent)} whether the target ${what}`)
    : new WS2SError(1, 'gateway-lost', `the gateway has not answered for ${secondsOf(silent)}; `
      + 'what was sent to the target meanwhile may have arrived, or not');
}

function unreachableError(url, how) {
  return new WS2SError(1, 'gateway-unreachable', `the gateway cannot be reached: ${how}${hintOfBrowser(url)}`);
}

const LOOPBACK = [/^127\.[\d.]+$/, /^\[::1\]$/, /^(.*\.)?localhost\.?$/];
const PRIVATE = [
  /^(10|192\.168|169\.254|172\.(1[6-9]|2\d|3[01])|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\.[\d.]+$/,
  /^\[f([cd]|e[89ab])/, /\.(local|lan|internal|home\.arpa)\.?$/, /^[^.:]+$/,
];

// How far away a host is, as its name or address tells; URL has made one form of all that mean the same.
function distanceOf(hostname) {
  const is = forms => forms.some(form => form.test(hostname));
  return is(LOOPBACK) ? 0 : is(PRIVATE) ? 1 : 2;
}

function urlOrNull(text) {
  try {
    return new URL(text);
  } catch (error) {
    return null;  // a sandboxed page has the origin "null"
  }
}

// Of a worker made from a blob, too; Node has none.
function pageUrl() {
  const {location = {}, origin} = globalThis;
  return urlOrNull(location.origin) || urlOrNull(location.href) || urlOrNull(origin);
}

// Browsers want the user's leave before a page of the internet may reach the own network, or any page the own machine.
// What they refuse looks to the page as if nobody were there.
function hintOfBrowser(url) {
  const page = pageUrl(), gateway = urlOrNull(url);
  if (!page || !gateway || !page.protocol.startsWith('http')) return '';
  if (distanceOf(gateway.hostname) >= distanceOf(page.hostname)) return '';
  return `. Or the browser keeps this page of ${page.host} from the local network, where ${gateway.host} is: `
    + 'it may ask first, and remembers a refusal (site settings, "local network access"); a frame needs '
    + 'allow="local-network-access; local-network; loopback-network"';
}

function closeDetails(event) {
  return event.code ? ` (${event.code}${event.reason ? ' ' + event.reason : ''})` : '';
}

// The fields of `connect` for a way through an SSH server.
function sshFields(ssh) {
  if (!ssh) return {};
  // Without it the gateway would connect directly.
  if (!ssh.host) throw new TypeError('ssh wants a host');
  return {
    ssh_host: ssh.host, ssh_port: ssh.port, ssh_username: ssh.username, ssh_password: ssh.password,
    ssh_private_key: ssh.privateKey, ssh_private_key_password: ssh.passphrase,
  };
}

// =====================================================================================================================
// 4. Connection
// =====================================================================================================================
//
// Received data is bounded by the window of the protocol: the gateway sends no more than that ahead of our acks.
//
// Sent data is bounded by replies: `ping` is answered in order, so its reply says that the gateway has taken all that
// was sent before. That bounds what waits in the browser, on the way and at the gateway together, which a WebSocket's
// bufferedAmount does not see; and it is an event, so that nothing has to be polled.
//
// Where both meet there is a trap. While the window is used up the gateway takes data even for a target that does not
// read, since our acks come behind it; but only up to its limits.messageBytes, 16 MiB by default. If we sent more
// ahead of an ack, and the target waited for us to read, both sides would wait for ever. So what was taken without a
// sign that the target reads (it is on credit, below) is bounded, too.

const DEFAULT_WINDOW = 1048576;
const SMALLEST_WINDOW = 16384;
const LARGEST_WINDOW = 4194304;
const CREDIT_WINDOWS = 3;   // with the largest window, all that is under way stays below 16 MiB

function connectFields({host, port, ssh, tls, halfOpen, binary}, window) {
  return {
    host, port, binary: binary !== false, window, tls: tlsFields(tls), half_open: halfOpen ? true : undefined,
    ...sshFields(ssh),
  };
}

const isFilled = value => typeof value === 'string' && value !== '';
const TEXT_FIELD = [isFilled, 'a text, and not empty'];
const TLS_FIELDS = {
  servername: TEXT_FIELD, ca: TEXT_FIELD, cert: TEXT_FIELD, key: TEXT_FIELD,
  verify: [value => typeof value === 'boolean', 'true or false'],
  alpn: [value => Array.isArray(value) && value.every(isFilled), 'a list of texts'],
};

/**
 * What the gateway gets for the option `tls`: undefined for no TLS, true, or an object. Throws a TypeError: a misspelt
 * `verify` must not be a missing one. Of inherited fields JSON would send nothing.
 */
function tlsFields(tls) {
  if (tls === undefined || tls === null || tls === false) return undefined;
  if (tls === true) return true;
  if (typeof tls !== 'object' || Array.isArray(tls)) throw new TypeError('tls must be true, false or an object');
  const fields = {};
  for (const name in tls) {
    if (!Object.hasOwn(TLS_FIELDS, name)) throw new TypeError(`tls has no field ${name}`);
    const [isRight, kind] = TLS_FIELDS[name];
    if (tls[name] !== undefined && !isRight(tls[name])) throw new TypeError(`tls.${name} must be ${kind}`);
    fields[name] = tls[name];
  }
  return fields;
}

function startTlsFields(options) {
  const fields = tlsFields(options);
  if (!fields) throw new TypeError('startTls() takes true or an object');
  return fields === true ? {} : fields;
}

// What a gateway tells of the TLS that it speaks to the target. One that does not know TLS may answer `done` as well.
function tlsOfReply({tls}, isOld) {
  if (isOld) throw tlsError('this gateway is too old for TLS to the target');
  if (!tls || !isFilled(tls.version)) throw tlsError('the gateway does not say that it speaks TLS to the target');
  return {version: tls.version, alpn: textOr(tls.alpn, null)};
}

function windowOf(options) {
  const bytes = options.window === undefined ? DEFAULT_WINDOW : options.window;
  if (Number.isInteger(bytes) && bytes >= SMALLEST_WINDOW && bytes <= LARGEST_WINDOW) return bytes;
  throw new RangeError(`window must be a whole number from ${SMALLEST_WINDOW} to ${LARGEST_WINDOW}`);
}

/** What comes from the target: a stream that gives room back to the gateway as it is read. */
class Incoming {
  #window;
  #sendAck;
  #chunks = new Queue();
  #controller;
  #wanted = null;   // resolves the pull that waits for a chunk
  #ending = null;   // {error}, as soon as there will be no more
  #isOver = false;  // nobody will read any more
  #consumed = 0;

  /** Bytes that have come, and those of them that were given back. */
  received = 0;
  acked = 0;

  constructor(window, sendAck) {
    this.#window = window;
    this.#sendAck = sendAck;
    this.stream = new ReadableStream({
      start: controller => { this.#controller = controller; },
      pull: () => this.#pull(),
      cancel: () => this.#cancel(),
    }, {highWaterMark: 0});  // a chunk leaves our queue when somebody reads it, not before
  }

  take(bytes) {
    this.received += bytes.length;
    if (this.#isOver) {
      this.#consume(bytes.length);
      return;
    }
    this.#chunks.push(bytes);
    this.#move();
  }

  /** Has something come that nobody has read yet? A reader that was released may have asked the stream for it. */
  get hasUnread() {
    return this.#chunks.length > 0 || this.#controller.desiredSize < 0;
  }

  /** No more will come; what is here can still be read, then it ends, or fails with the error of `failure`. */
  end(failure) {
    if (this.#ending) return;
    this.#ending = {failure};
    this.#move();
  }

  /** What is here will not be read. */
  discard() {
    this.#chunks.drain();
  }

  #pull() {
    return new Promise(resolve => {
      this.#wanted = resolve;
      this.#move();
    });
  }

  #cancel() {
    this.#isOver = true;
    for (const chunk of this.#chunks.drain()) this.#consume(chunk.length);
  }

  #move() {
    if (this.#wanted && this.#chunks.length) {
      const chunk = this.#chunks.shift();
      this.#controller.enqueue(chunk);
      this.#answerPull();
      this.#consume(chunk.length);
    }
    if (this.#ending && !this.#chunks.length && !this.#isOver) this.#finish();
  }

  #answerPull() {
    const resolve = this.#wanted;
    this.#wanted = null;
    resolve();
  }

  #finish() {
    this.#isOver = true;
    const {failure} = this.#ending;
    if (failure) this.#controller.error(failure.error);
    else this.#controller.close();
    if (this.#wanted) this.#answerPull();
  }

  // Half a window at a time: the other half keeps the gateway busy meanwhile.
  #consume(count) {
    this.#consumed += count;
    const bytes = this.#consumed - this.acked;
    if (2 * bytes < this.#window) return;
    this.acked = this.#consumed;
    this.#sendAck(bytes);
  }
}

/** What goes to the target: a stream whose writer waits while too much is under way. */
class Outgoing {
  #session;
  #isBinary;
  #window;
  #pieceBytes;       // an eighth of what an ack gives back, or less
  #incoming;
  #onFailure;
  #onAborting;
  #controller;
  #wake = null;      // resolves the write that waits for room
  #over = null;      // {error} of whoever still writes
  #given = 0;        // chunks that somebody has asked the stream to write
  #written = 0;      // those of them that were sent
  #holds = new Queue();  // {behind, resolve, reject}: what was given behind so many chunks waits
  #sent = 0;
  #asked = 0;        // how much was sent before the last mark: a request whose reply says that all before it was taken
  #marks = 0;        // how many of them are not answered yet
  #taken = 0;        // how much the gateway has taken for certain
  #drained = 0;      // how much of that was taken while the target read
  #ackedAt = 0;      // how much was sent before the last ack
  #settled = 0;      // bytes given back by acks that the gateway takes earlier than what is sent now, not along with it
  #mayProbe = false; // one more piece may go, although too much is on credit

  /** `events`: `failed(reply)`, `aborting(reason)`, and `close()` and `abort(reason)` as of a WritableStream. */
  constructor(session, isBinary, window, incoming, events) {
    this.#session = session;
    this.#isBinary = isBinary;
    this.#window = window;
    this.#pieceBytes = Math.min(PIECE_BYTES, Math.floor(window / 16));
    this.#incoming = incoming;
    this.#onFailure = events.failed;
    this.#onAborting = events.aborting;
    this.stream = new WritableStream({
      start: controller => this.#start(controller),
      write: chunk => this.#write(chunk),
      close: events.close,
      abort: events.abort,
    }, {highWaterMark: PIECE_BYTES, size: chunk => this.#sizeOf(chunk)});
  }

  #start(controller) {
    this.#controller = controller;
    // The stream itself would wait for the write that waits for room, and for a close that waits for the target.
    controller.signal.addEventListener('abort', () => {
      this.stop(abortedError());
      // Later: the stream is in the midst of its own abort, and Node 20 cannot stand that it fails meanwhile.
      queueMicrotask(() => this.#onAborting(controller.signal.reason));
    });
  }

  /** Nothing can be written any more, and the stream fails. */
  fail(error) {
    this.#controller.error(error);
    this.stop(error);
  }

  /** Nothing can be written any more. The stream fails with the next write: until then it can be aborted. */
  stop(error) {
    this.#over = this.#over || {error};
    for (const hold of this.#holds.drain()) hold.reject(this.#over.error);
    this.#goOn();
  }

  /** What is written from now on waits until release(). Resolves when all that was written before has been sent. */
  hold() {
    const hold = {behind: this.#given, ...promised()};
    if (this.#over) hold.reject(this.#over.error);
    else this.#holds.push(hold);
    this.#lookAtHold();
    return hold.promise;
  }

  /** End the hold that was resolved. */
  release() {
    this.#holds.shift();
    this.#lookAtHold();
    this.#goOn();
  }

  #lookAtHold() {
    if (this.#isHeld()) this.#holds.first.resolve();
  }

  #isHeld() {
    return this.#holds.length > 0 && this.#written >= this.#holds.first.behind;
  }

  // The stream asks when a chunk is given to it, which may be long before it is written.
  #sizeOf(chunk) {
    this.#given++;
    return chunk.byteLength || 0;
  }

  /** To be called after each ack. */
  onAck() {
    this.#ackedAt = this.#sent;
    this.#mayProbe = true;
    this.#goOn();
  }

  async #write(chunk) {
    try {
      await this.#sendAll(bytesOf(chunk));
    } catch (error) {
      this.stop(error);  // the stream has failed
      throw error;
    }
    this.#written++;
    this.#lookAtHold();
  }

  async #sendAll(bytes) {
    for (let start = 0; start < bytes.length; start += this.#pieceBytes) {
      await this.#room();
      this.#send(bytes.subarray(start, start + this.#pieceBytes));
    }
  }

  async #room() {
    while (!this.#over && !this.#hasRoom()) await new Promise(resolve => { this.#wake = resolve; });
    if (this.#over) throw this.#over.error;
  }

  #goOn() {
    if (this.#wake) this.#wake();
    this.#wake = null;
  }

  #hasRoom() {
    return !this.#isHeld() && this.#sent - this.#taken < this.#window && (this.#mayProbe || !this.#isOnCredit());
  }

  #isOnCredit() {
    return this.#sent - this.#drained >= CREDIT_WINDOWS * this.#window;
  }

  #send(bytes) {
    const isProbe = this.#isOnCredit();
    if (isProbe) this.#mayProbe = false;
    this.#sent += bytes.length;
    if (!this.#isBinary) this.#mark('sendb', {data: toBase64(bytes)});
    else this.#session.sendBinary(bytes);
    if (this.#isBinary && (isProbe || this.#sent - this.#asked >= this.#window / 4)) this.#mark('ping');
  }

  #mark(command, fields) {
    if (this.#sent - this.#ackedAt >= GATEWAY_READ) this.#settled = this.#incoming.acked;
    const mark = {sent: this.#sent, acked: this.#incoming.acked, settled: this.#settled};
    this.#asked = this.#sent;
    this.#marks++;
    this.#session.ask(command, fields, reply => reply.success ? this.#onTaken(mark) : this.#onFailure(reply));
  }

  #onTaken(mark) {
    this.#marks--;
    this.#taken = mark.sent;
    this.#settled = Math.max(this.#settled, mark.acked);
    if (this.#sawTargetRead(mark)) this.#drained = mark.sent;
    this.#goOn();
    this.#askAgain();
  }

  // While there is room in its window the gateway takes nothing for a target that does not read.
  #sawTargetRead(mark) {
    return this.#session.isOld || this.#incoming.received - mark.settled < this.#window;
  }

  // The last mark said nothing about the target, and no ack may come that would let one more piece go.
  #askAgain() {
    const mayTell = this.#incoming.received - this.#incoming.acked < this.#window;
    if (this.#isOnCredit() && this.#marks === 0 && mayTell) this.#mark('ping');
  }
}

/** Asks the gateway for what holds behind all that was written before; what is written later waits meanwhile. */
class Turn {
  #session;
  #outgoing;
  #over;

  /** `over`: a promise that rejects when the connection has ended. */
  constructor(session, outgoing, over) {
    this.#session = session;
    this.#outgoing = outgoing;
    this.#over = over;
  }

  /**
   * What `read` makes of the reply, at once: what came behind it may be here already. What is written waits until the
   * hold of `outgoing` is released.
   */
  async ask(command, fields, read) {
    await this.#outgoing.hold();
    return Promise.race([this.#answer(command, fields, read), this.#over]);
  }

  #answer(command, fields, read) {
    return new Promise((resolve, reject) => this.#session.ask(command, fields, reply => {
      try {
        resolve(read(reply));
      } catch (error) {
        reject(error);
      }
    }));
  }
}

/** Our half of a connection, which may end before the other one. */
class OurHalf {
  #turn;
  #outgoing;
  #ending = null;   // a promise, once it is to end

  isOver = false;

  constructor(turn, outgoing) {
    this.#turn = turn;
    this.#outgoing = outgoing;
  }

  get isEnding() {
    return this.#ending !== null;
  }

  /** Resolves when the gateway knows. */
  end() {
    this.#ending = this.#ending || this.#end();
    return this.#ending;
  }

  async #end() {
    try {
      await this.#turn.ask('finish', {}, reply => this.#onReply(reply));
    } catch (error) {
      this.#ending = null;
      this.#outgoing.release();
      throw error;
    }
  }

  #onReply(reply) {
    if (!reply.success) throw errorOf(reply);
    this.#outgoing.stop(new WS2SError(1, 'closed', 'our half of the connection has ended'));
    this.isOver = true;
  }
}

/**
 * One TCP connection, shaped like a TCPSocket of Direct Sockets. Made by {@link WS2S.connect}.
 *
 * When one side closes, the connection is over in both directions; finish() and the option `halfOpen` end only one.
 */
class Connection {
  #session;
  #options;
  #window;
  #incoming;
  #outgoing = null;
  #turn;
  #ourHalf;
  #opened = promised();
  #finished = promised();    // by the target
  #closed = promised();
  #over = promised();        // never resolves, and rejects with why all is over
  #onReached;
  #isOver = false;
  #tls = null;               // as tlsOfReply() gives it
  #clearBytes = null;        // so many had come in the clear when TLS was asked for
  #hasTargetFinished = false;
  #closing = null;           // once `close` is asked
  #isWritableClosed = false;

  constructor(url, options, onReached) {
    this.#options = options;
    this.#window = windowOf(options);
    this.#onReached = onReached || ignore;
    const target = connectFields(options, this.#window);
    this.#incoming = new Incoming(this.#window, bytes => this.#ack(bytes));
    this.#session = new Session(url, options, {
      opened: () => this.#onReached(),
      data: bytes => this.#incoming.take(bytes),
      lost: reply => this.#onLost(errorOf(reply)),
      ended: error => this.#endAll(error),
    });
    this.#begin(target);
  }

  /** Resolves to a Connection once the target is connected. */
  static async open(url, options, onReached) {
    const signal = options.signal;
    if (signal) signal.throwIfAborted();
    const connection = new Connection(url, options, onReached);
    const abort = () => connection.#endAll(signal.reason);
    if (signal) signal.addEventListener('abort', abort);
    try {
      await connection.opened;
    } finally {
      if (signal) signal.removeEventListener('abort', abort);
    }
    return connection;
  }

  /** What the target sends: a ReadableStream of Uint8Arrays. It ends when the target closes, after its last byte. */
  get readable() {
    return this.#incoming.stream;
  }

  /**
   * What the target gets: a WritableStream of bytes. Closing it closes the connection after what was written, aborting
   * it aborts the connection.
   *
   * A writer waits while much is under way, and also while much has arrived that nobody reads: read both ways.
   */
  get writable() {
    return this.#outgoing.stream;
  }

  /** Resolves to `{readable, writable, remoteAddress, remotePort}` once the target is connected. */
  get opened() {
    return this.#opened.promise;
  }

  /** Resolves when the target has ended its half, or all is over in order; rejects when the connection was lost. */
  get finished() {
    return this.#finished.promise;
  }

  /** Resolves when the connection has ended in order, rejects when it was lost. */
  get closed() {
    return this.#closed.promise;
  }

  /** `{version, alpn}` of the TLS that the gateway speaks to the target; null while it speaks none. */
  get tls() {
    return this.#tls;
  }

  /**
   * Speak TLS from here on. What was written before goes in the clear; what is written from now on waits, and goes by
   * TLS. Resolves to `tls`. When it fails the connection is over, as nothing more may go in the clear, unless it was
   * asked for twice.
   *
   * @param {true|object} [options] as the option `tls` of connect
   */
  async startTls(options = true) {
    this.#refuseOver();
    if (this.#tls || this.#clearBytes !== null) throw badRequestError('the connection has TLS already');
    this.#clearBytes = this.#incoming.received;
    try {
      const fields = startTlsFields(options);
      if (this.#ourHalf.isEnding) throw badRequestError('our half of the connection has ended');
      return await this.#turn.ask('starttls', fields, reply => this.#onTlsReply(reply));
    } catch (error) {
      if (!this.#closing) this.#endAll(error);  // at once, if nothing was asked: something may be written next
      throw error;
    }
  }

  /**
   * End our half: nothing can be written any more, but what the target sends still comes. Resolves when the gateway
   * knows; the target sees it behind what was written. A gateway that knows nothing of halves ends none.
   */
  async finish() {
    this.#refuseOver();
    if (this.#session.isOld) throw badRequestError('this gateway is too old to end one half of a connection');
    await this.#ourHalf.end();
    if (this.#hasTargetFinished) this.#shut();
  }

  /**
   * Close the connection. What was written reaches the target; a write that still waits for room fails. What has
   * arrived can still be read. Resolves, or rejects, with `closed`.
   */
  close() {
    if (this.writable.locked) {
      this.#outgoing.stop(closedError());
      this.#shut();
    } else {
      this.writable.close().catch(ignore);  // `closed` tells what has gone wrong, or it had ended already
    }
    return this.closed;
  }

  /**
   * Drop the connection at once, also while close() waits for a target that does not read. What was not sent yet is
   * lost, and so is what has arrived and was not read. `closed` and both streams fail with `reason`, without one with a
   * WS2SError. It does nothing to a connection that has ended.
   *
   * @param {*} [reason]
   */
  abort(reason) {
    if (this.#isOver) return;
    this.#incoming.discard();
    this.#end(reason === undefined ? abortedError() : reason, false);
  }

  // 2.1.5 takes a binary message for the end of the WebSocket, so we must know whom we talk to before the first byte is
  // sent. An `ack` tells: 2.1.5 answers it, as it answers any command, while by the contract it is never answered. What
  // 2.1.5 has to say about it comes before its reply to `connect`.
  #begin(target) {
    this.#session.ask('ack', {bytes: 0});
    this.#session.ask('connect', target, reply => this.#onConnectReply(target.tls !== undefined, reply));
  }

  // A gateway that ignores the wish for TLS would send everything in the clear.
  #onConnectReply(isTlsAsked, reply) {
    try {
      if (!reply.success) throw errorOf(reply);
      if (isTlsAsked) this.#tls = tlsOfReply(reply, this.#session.isOld);
      this.#onConnected();
    } catch (error) {
      this.#endAll(error);
    }
  }

  #onConnected() {
    const isBinary = this.#options.binary !== false && !this.#session.isOld;
    this.#outgoing = new Outgoing(this.#session, isBinary, this.#window, this.#incoming, {
      failed: reply => this.#onLost(errorOf(reply)),
      close: () => this.#onWritableClosed(),
      abort: reason => this.abort(reason),
      aborting: reason => this.#onAborting(reason),
    });
    this.#turn = new Turn(this.#session, this.#outgoing, this.#over.promise);
    this.#ourHalf = new OurHalf(this.#turn, this.#outgoing);
    const {host, port} = this.#options;
    this.#opened.resolve({
      readable: this.readable, writable: this.writable, remoteAddress: host, remotePort: Number(port),
    });
  }

  #refuseOver() {
    if (this.#isOver || this.#closing) throw new WS2SError(3, 'not-connected', 'nothing is connected');
  }

  // Whoever stands between could put words of their own before those that come by TLS.
  #onTlsReply(reply) {
    if (!reply.success) throw errorOf(reply);
    const {received, hasUnread} = this.#incoming;
    if (hasUnread || received > this.#clearBytes) throw tlsError('something came in the clear just before TLS');
    this.#tls = tlsOfReply(reply, this.#session.isOld);
    this.#outgoing.release();
    return this.#tls;
  }

  #onTargetFinished() {
    this.#hasTargetFinished = true;
    this.#incoming.end(null);
    this.#finished.resolve();
    if (this.#ourHalf?.isOver) this.#shut();  // a gateway may tell it before there is a connection
  }

  #ack(bytes) {
    if (this.#session.isOld) return;
    this.#session.ask('ack', {bytes});
    if (this.#outgoing) this.#outgoing.onAck();
  }

  #onWritableClosed() {
    this.#isWritableClosed = true;
    this.#shut();
    return this.#closing && this.#closing.promise;  // without: it had ended before
  }

  // Of a stream that is being closed the WritableStream tells in no other way.
  #onAborting(reason) {
    if (this.#isWritableClosed) this.abort(reason);
  }

  #shut() {
    if (this.#closing || this.#isOver) return;
    this.#closing = promised();
    this.#session.ask('close', {}, () => this.#endAll(null));
  }

  #onLost(error) {
    // 2.1.5 has no word for it.
    if (this.#session.isOld && error.code === 1) error.reason = 'reset';
    if (error.code === 5 && error.reason === 'finished') this.#onTargetFinished();
    else this.#endAll(error);
  }

  // `error`: null when we have closed it.
  #endAll(error) {
    this.#end(error || closedError(), !error || error.reason === 'closed');
  }

  #end(error, isInOrder) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#session.end();
    const failure = isInOrder ? null : {error};  // an error that a page has given may be anything, even null
    for (const promise of [this.#opened, this.#over]) promise.reject(error);
    this.#incoming.end(failure);
    if (this.#outgoing && !(this.#isWritableClosed && isInOrder)) this.#outgoing.fail(error);
    for (const ending of [this.#closing, this.#finished, this.#closed]) settle(ending, failure);
  }
}

function settle(handles, failure) {
  if (!handles) return;
  if (failure) handles.reject(failure.error);
  else handles.resolve();
}

/** A promise with its handles. It may be rejected though nobody looks at it. */
function promised() {
  const handles = {};
  handles.promise = new Promise((resolve, reject) => Object.assign(handles, {resolve, reject}));
  handles.promise.catch(ignore);
  return handles;
}

// =====================================================================================================================
// 5. RESP
// =====================================================================================================================

const CARRIAGE_RETURN = 13, LINE_FEED = 10;
const LINE_BYTES = 1048576;    // the longest line that is no bulk string
const REPLY_BYTES = 268435456; // by default
const ITEM_BYTES = 64;         // about what one item of a reply takes beside its bytes
const NESTING = 256;
const TYPE_BYTES = 7;          // as long as an alert of TLS; with so many the type of a reply is judged, line or not
const HEAD_BYTES = 256;
const EMPTY = new Uint8Array(0);

/** What Redis sends without being asked: an array of one kind of its own. */
class Push {
  constructor(items) {
    this.items = items;
  }
}

function respError(message) {
  return new WS2SError(1, 'protocol', 'this is not RESP: ' + message);
}

// For short texts that are ASCII as nearly all lines are, this is faster than a TextDecoder.
function textOfLine(bytes) {
  if (bytes.length > 64) return decodeUtf8(bytes);
  let text = '';
  for (const byte of bytes) {
    if (byte > 127) return decodeUtf8(bytes);
    text += String.fromCharCode(byte);
  }
  return text;
}

function readInteger(text) {
  if (!/^[+-]?[0-9]+$/.test(text)) throw respError('no whole number');
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : BigInt(text[0] === '+' ? text.slice(1) : text);
}

function readBigNumber(text) {
  if (!/^[+-]?[0-9]+$/.test(text)) throw respError('no whole number');
  return BigInt(text[0] === '+' ? text.slice(1) : text);
}

const DOUBLES = {inf: Infinity, '+inf': Infinity, '-inf': -Infinity, nan: NaN, '-nan': NaN};

function readDouble(text) {
  if (Object.hasOwn(DOUBLES, text)) return DOUBLES[text];
  if (!/^[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?$/.test(text)) throw respError('no number');
  return Number(text);
}

function readBoolean(text) {
  if (text !== 't' && text !== 'f') throw respError('neither true nor false');
  return text === 't';
}

function readNull(text) {
  if (text !== '') throw respError('null has no value');
  return null;
}

// Replies of one line, by its first character.
const LINES = {
  '+': text => text, '-': text => new RedisError(text), ':': readInteger, ',': readDouble, '(': readBigNumber,
  '#': readBoolean, '_': readNull,
};

// Replies of so many bytes as their first line says. A verbatim string begins with three letters for its format.
const BULKS = {
  '$': bytes => bytes, '!': bytes => new RedisError(decodeUtf8(bytes)), '=': bytes => decodeUtf8(bytes.subarray(4)),
};

// Replies that consist of others. An attribute is an aside about the reply that follows, which has none of it.
const AGGREGATES = {
  '*': items => items, '~': items => new Set(items), '>': items => new Push(items), '%': readMap, '|': () => undefined,
};

function readMap(items) {
  const map = new Map();
  for (let i = 0; i < items.length; i += 2) map.set(keyOf(items[i]), items[i + 1]);
  return map;
}

// Bytes would be found by nobody: no two Uint8Arrays are the same key.
function keyOf(value) {
  if (!(value instanceof Uint8Array)) return value;
  try {
    return STRICT_DECODER.decode(value);
  } catch (error) {
    return value;  // no text, and to make it one could make two keys the same
  }
}

/**
 * Takes RESP2 and RESP3 in pieces of any size, in linear time.
 *
 * Simple and verbatim strings become strings, bulk strings Uint8Arrays, integers numbers (a BigInt where a number would
 * not be exact), maps Maps (whose keys are strings where they are UTF-8), sets Sets, nulls null, errors RedisErrors.
 *
 * A reply of more than `maxReplyBytes`, each of its items counted as 64 bytes beside its own, is an error as soon as
 * its sizes tell, before memory is taken for it.
 */
class RespParser {
  #maxReplyBytes;
  #replyBytes = 0;   // of the reply that is not complete, as its sizes tell
  #chunk = EMPTY;
  #at = 0;           // so much of the chunk is understood
  #line = [];        // pieces of a line that is not complete
  #lineBytes = 0;
  #bulk = null;      // being filled, up to #filled
  #filled = 0;
  #readBulk = null;
  #open = [];        // the aggregates that are not complete, outermost first
  #replies = [];

  constructor(maxReplyBytes = REPLY_BYTES) {
    this.#maxReplyBytes = maxReplyBytes;
  }

  /** The replies that are complete with this piece. Throws a WS2SError at what is not RESP. */
  push(bytes) {
    this.#chunk = bytes;
    this.#at = 0;
    while (this.#at < bytes.length) {
      if (this.#bulk && this.#filled < this.#bulk.length) this.#fill();
      else this.#readLine();
    }
    this.#chunk = EMPTY;
    return this.#replies.splice(0);
  }

  #fill() {
    const piece = this.#chunk.subarray(this.#at, this.#at + this.#bulk.length - this.#filled);
    this.#bulk.set(piece, this.#filled);
    this.#filled += piece.length;
    this.#at += piece.length;
  }

  #readLine() {
    const end = this.#chunk.indexOf(LINE_FEED, this.#at);
    const piece = this.#chunk.subarray(this.#at, end < 0 ? this.#chunk.length : end + 1);
    this.#at += piece.length;
    this.#lineBytes += piece.length;
    if (this.#lineBytes > LINE_BYTES) throw respError('a line is too long');
    this.#line.push(piece);
    if (end >= 0) this.#onLine(this.#takeLine());
    else if (!this.#bulk && this.#lineBytes >= TYPE_BYTES) refuseUnknown(String.fromCharCode(this.#line[0][0]));
  }

  #takeLine() {
    const line = joined(this.#line);
    this.#line = [];
    this.#lineBytes = 0;
    if (line[line.length - 2] !== CARRIAGE_RETURN) throw respError('a line must end with CR LF');
    return line.subarray(0, line.length - 2);
  }

  #onLine(line) {
    if (this.#bulk) {
      this.#onBulkEnd(line);
      return;
    }
    const type = String.fromCharCode(line[0]), text = textOfLine(line.subarray(1));
    if (Object.hasOwn(LINES, type)) this.#onValue(LINES[type](text), line.length);
    else if (Object.hasOwn(BULKS, type)) this.#beginBulk(type, readSize(text));
    else if (Object.hasOwn(AGGREGATES, type)) this.#beginAggregate(type, readSize(text));
    else refuseUnknown(type);
  }

  #onValue(value, bytes) {
    this.#count(bytes);
    this.#deliver(value);
  }

  #count(bytes) {
    this.#replyBytes += bytes;
    if (this.#replyBytes > this.#maxReplyBytes) throw replyBytesError(this.#maxReplyBytes);
  }

  #beginBulk(type, size) {
    if (size < 0) {
      this.#deliver(null);
      return;
    }
    this.#count(size);
    this.#bulk = new Uint8Array(size);
    this.#filled = 0;
    this.#readBulk = BULKS[type];
  }

  #onBulkEnd(line) {
    if (line.length) throw respError('a string is longer than it said');
    const bulk = this.#bulk;
    this.#bulk = null;
    this.#deliver(this.#readBulk(bulk));
  }

  #beginAggregate(type, size) {
    if (type === '>' && this.#open.length) throw respError('a push within a reply');
    if (this.#open.length === NESTING) throw respError('nested too deep');
    const read = AGGREGATES[type], left = type === '%' || type === '|' ? 2 * size : size;
    this.#count(ITEM_BYTES * Math.max(0, left));
    if (size < 0) this.#deliver(null);
    else if (size === 0) this.#deliver(read([]));
    else this.#open.push({left, items: [], read});
  }

  #deliver(value) {
    while (value !== undefined && this.#open.length) {
      const aggregate = this.#open[this.#open.length - 1];
      aggregate.items.push(value);
      if (--aggregate.left) return;
      this.#open.pop();
      value = aggregate.read(aggregate.items);
    }
    if (value === undefined) return;
    this.#replyBytes = 0;
    this.#replies.push(value);
  }
}

function replyBytesError(maxReplyBytes) {
  return new WS2SError(1, 'limit', `a reply would take more than ${maxReplyBytes} bytes, the option maxReplyBytes`);
}

function refuseUnknown(type) {
  if (![LINES, BULKS, AGGREGATES].some(kinds => Object.hasOwn(kinds, type))) throw respError('a reply of unknown type');
}

function readSize(text) {
  if (!/^(-1|[0-9]{1,10})$/.test(text)) throw respError(text === '?' ? 'streamed replies are not taken' : 'no size');
  return Number(text);
}

function argumentBytes(argument) {
  if (typeof argument === 'string') return encodeUtf8(argument);
  if (typeof argument === 'number' || typeof argument === 'bigint') return encodeUtf8(String(argument));
  try {
    return bytesOf(argument);
  } catch (error) {
    throw new TypeError('an argument for Redis is a string, a number or bytes, not ' + argument);
  }
}

/** The request that consists of these words. */
function encodeCommand(words) {
  const pieces = [encodeUtf8(`*${words.length}\r\n`)];
  for (const word of words) {
    const bytes = argumentBytes(word);
    pieces.push(encodeUtf8(`$${bytes.length}\r\n`), bytes, encodeUtf8('\r\n'));
  }
  return joined(pieces);
}

/** A reply with strings in the place of bytes. */
function asText(reply) {
  if (reply instanceof Uint8Array) return decodeUtf8(reply);
  if (Array.isArray(reply)) return reply.map(asText);
  if (reply instanceof Set) return new Set([...reply].map(asText));
  if (reply instanceof Map) return new Map([...reply].map(([key, value]) => [asText(key), asText(value)]));
  return reply;
}

// By the first bytes that come from a port. Some of these are RESP as well: `+OK ` is what POP3 says, but never Redis.
const SPEAKERS = [
  ['TLS', /^[\x14-\x17]\x03[\0-\x04]/],
  ['HTTP', /^HTTP\/|^\s*<(!doct|html)/i],
  ['HTTP/2', /^\0\0[^]\x04[\0\x01]\0/],
  ['SSH', /^SSH-/],
  ['FTP', /^[1-5]\d\d[ -].*(ftp|filezilla)/i],
  ['SMTP', /^(220|421|554)[ -].*(smtp|mail|postfix|exim|exchange)/i],
  ['SMTP or FTP', /^(220|421|530|554)[ -]/],
  ['NNTP', /^(200|201|400|480|502)[ -]/],
  ['POP3', /^\+OK[ \t]+\S/],
  ['IMAP', /^\* (OK|PREAUTH|BYE)\b/i],
  ['MySQL or MariaDB', /^[^]{2}\0[\0-\x02][\x0a\xff]/],
  ['memcached', /^(CLIENT_|SERVER_)?ERROR( |\r)/],
  ['PostgreSQL', /^[EN]\0\0|^ES(FATAL|ERROR)/],
  ['VNC', /^RFB \d/],
  ['AMQP', /^AMQP/],
  ['telnet', /^\xff[\xfb-\xfe]/],
  ['XMPP or another protocol of XML', /^<(\?xml|stream)/],
  ['NATS', /^INFO \{/],
  ['RTSP or SIP', /^(RTSP|SIP)\//],
  ['rsync', /^@RSYNCD:/],
  ['IRC', /^(:\S+ )?(NOTICE |ERROR :|PING :)|^:\S+ \d{3} /],
];

function speakerIn(head) {
  const text = String.fromCharCode(...head);
  const found = SPEAKERS.find(([, form]) => form.test(text));
  return found && found[0];
}

/** The error for a port whose first bytes are these; `error`, if nothing is known of them. */
function foreignError(head, error) {
  const speaks = speakerIn(head);
  if (!speaks) return error;
  const advice = speaks === 'TLS' ? ', for which there is the option tls' : '';
  return Object.assign(respError(`the port seems to speak ${speaks}${advice}`), {speaks});
}

/** The replies of a server. Its first bytes must be those of a Redis; what has come before the first reply is kept. */
class ReplyReader {
  #parser;
  #head = EMPTY;
  #isFirst = true;

  constructor(maxReplyBytes) {
    this.#parser = new RespParser(maxReplyBytes);
  }

  push(bytes) {
    if (this.#isFirst) this.#head = joined([this.#head, bytes.subarray(0, HEAD_BYTES - this.#head.length)]);
    try {
      const replies = this.#parser.push(bytes);
      if (this.#isFirst && replies.length) this.#begin(replies[0]);
      return replies;
    } catch (error) {
      throw this.#isFirst ? foreignError(this.#head, error) : error;
    }
  }

  #begin(reply) {
    const error = typeof reply === 'string' ? foreignError(this.#head, null) : null;
    if (error) throw error;
    this.#isFirst = false;
  }

  /** The server has ended the connection. */
  end() {
    const error = this.#isFirst ? foreignError(this.#head, null) : null;
    if (error) throw error;
  }
}

/** Replies of a stream of bytes, one by one, and `heard()` is called for each piece. Ends when the stream does. */
async function* repliesFrom(readable, maxReplyBytes, heard) {
  const replies = new ReplyReader(maxReplyBytes);
  const reader = readable.getReader();
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    heard();
    yield* replies.push(value);
  }
  replies.end();
}

// =====================================================================================================================
// 6. Redis
// =====================================================================================================================

const RETRY = {first: 250, longest: 30000, attempts: Infinity};
const LASTING = 30000;  // a connection that has lasted so many milliseconds was a good one

// After these there is no use in another attempt: it would end the same way.
const HOPELESS = [
  'forbidden', 'bad-request', 'tls', 'ssh-auth', 'ssh-hostkey', 'ssh-disabled', 'ssh-missing', 'protocol',
];
// Redis says these while it starts, fails over or is busy.
const PASSING = ['LOADING', 'BUSY', 'MASTERDOWN', 'CLUSTERDOWN', 'TRYAGAIN'];

function isHopeless(error) {
  return error instanceof RedisError ? !PASSING.includes(error.code)
    : error instanceof WS2SError ? HOPELESS.includes(error.reason)
      : true;
}

/** Call what the page has given us. Its mistake is the page's to see, and must not end our connection. */
function tell(callback, ...values) {
  try {
    callback(...values);
  } catch (error) {
    queueMicrotask(() => { throw error; });
  }
}

/** Writes what comes while something else is written together, in one message. */
class BatchWriter {
  #writer;
  #unsent = [];
  #writing = null;

  constructor(writer) {
    this.#writer = writer;
  }

  write(bytes) {
    this.#unsent.push(bytes);
    this.#writing = this.#writing || this.#flush();
  }

  get isWriting() {
    return this.#writing !== null;
  }

  /** After all that was written. */
  async close() {
    await this.#writing;
    await this.#writer.close().catch(ignore);  // it has been lost just now, then, and is closed as well
  }

  async #flush() {
    try {
      while (this.#unsent.length) await this.#writer.write(joined(this.#unsent.splice(0)));
    } catch (error) {
      // The connection has ended. Whoever reads its replies is told why.
    }
    this.#writing = null;
  }
}

/**
 * A connection to Redis that is made again, after growing pauses, whenever it is lost.
 *
 * `events`: `reached()` when the gateway is, `ready()` after AUTH and SELECT, `reply(reply)`, `lost(error)` when a
 * connection or an attempt has failed and another will be made, `over(error)` when none will; and `first()` gives what
 * callOf() has made of the command that the next reply is for.
 *
 * Pauses grow until a connection has lasted: replies alone do not show a good one, for there are servers that answer
 * some commands and end the connection at others, each time.
 */
class RedisLink {
  #url;
  #options;
  #retry;
  #events;
  #connection = null;
  #batches = null;   // to write to, while it is ready
  #isOver = false;
  #stop = new AbortController();
  #endPause = ignore;
  #attempts = 0;     // since the last reply
  #pauses = 0;       // since a connection that has lasted
  #begun = Infinity; // when this connection was ready
  #greeting = null;  // as of callOf(), while Redis is greeted
  #queued = null;    // while Redis queues for EXEC: `{options, mayTakeLong}` of each command, as of callOf()
  #ending = {name: null, times: 0};  // at which command, and how often in a row, the server has ended the connection
  #commandTimeout;
  #maxReplyBytes;
  #silence;

  constructor(url, options, events) {
    this.#url = url;
    subprotocols(options);  // throws at once, and not with each attempt
    this.#options = {...options, tls: tlsFields(options.tls)};
    this.#retry = {...RETRY, ...options.retry};
    this.#events = events;
    this.#commandTimeout = timeOf(options, 'commandTimeout');
    this.#maxReplyBytes = replyBytesOf(options);
    this.#silence = new Silence(this.#commandTimeout, silent => this.#onSilence(silent));
    this.#run();
  }

  /** Only between `ready` and `lost` or `over`. */
  write(bytes) {
    this.#listenFor(this.#events.first());
    // Between the end and the event that tells it there are some microtasks. What is lost then is told by the event.
    if (this.#batches) this.#batches.write(bytes);
  }

  /** No more events. What was written reaches Redis. Resolves when all is closed. */
  async close() {
    this.#isOver = true;
    this.#endPause();
    this.#stop.abort();
    if (this.#batches) await this.#batches.close();
    else if (this.#connection) await this.#connection.close().catch(ignore);  // nobody asks how it has ended
  }

  async #run() {
    while (!this.#isOver) {
      const error = await this.#live().catch(reason => reason);
      if (this.#isOver) return;
      this.#onEnd(error);
      if (!this.#isOver) await this.#pause();
    }
  }

  #onEnd(error) {
    this.#isOver = isHopeless(error) || this.#attempts >= this.#retry.attempts;
    if (performance.now() - this.#begun >= Math.min(LASTING, this.#retry.longest)) this.#pauses = 0;
    this.#begun = Infinity;
    if (this.#isOver) this.#events.over(error);
    else this.#events.lost(error);
  }

  /** One connection, from its first byte to its last; why it has ended. */
  async #live() {
    this.#connection = await Connection.open(
      this.#url, {...this.#options, signal: this.#stop.signal}, () => this.#events.reached());
    const writer = this.#connection.writable.getWriter();
    const replies = repliesFrom(this.#connection.readable, this.#maxReplyBytes, () => this.#silence.heard());
    try {
      await this.#greet(writer, replies);
      this.#begun = performance.now();
      this.#batches = new BatchWriter(writer);
      if (!this.#isOver) this.#events.ready();
      await this.#listen(replies);
      throw new WS2SError(5, 'closed', 'Redis has closed the connection');
    } catch (error) {
      return this.#blame(error);
    } finally {
      this.#batches = this.#greeting = this.#queued = null;
      this.#silence.stop();
      this.#connection.close().catch(ignore);  // why it has ended is known already
    }
  }

  // Nothing else may be sent before it is known in whose name, and to which database.
  async #greet(writer, replies) {
    for (const words of greeting(this.#options)) {
      this.#listenFor(null);
      this.#greeting = callOf(words);
      writer.write(encodeCommand(words)).catch(ignore);  // `replies` ends then, too
      const {done, value} = await replies.next();
      if (done) throw new WS2SError(5, 'closed', `Redis has closed the connection at ${words[0]}`);
      this.#greeting = null;
      if (value instanceof RedisError) throw value;
    }
  }

  async #listen(replies) {
    for await (const reply of replies) {
      this.#attempts = 0;
      const first = this.#events.first();
      if (!this.#isOver) this.#events.reply(reply);
      if (first && first !== this.#events.first()) this.#onAnswer(first, reply);
    }
  }

  #onAnswer({name, mayTakeLong, options}, reply) {
    if (name === this.#ending.name) this.#ending = {name: null, times: 0};
    if (this.#queued && reply === 'QUEUED') this.#queued.push({options, mayTakeLong});
    else this.#keep(options, reply);
    this.#onBound(name.toUpperCase(), reply);
  }

  #keep(options, reply) {
    if (options && !(reply instanceof RedisError)) this.#options = {...this.#options, ...options};
  }

  // The replies to what was queued come with that to EXEC.
  #onBound(name, reply) {
    if (name === 'MULTI' && !(reply instanceof RedisError)) this.#queued = [];
    if (!ENDS.includes(name)) return;
    const queued = this.#queued || [];
    if (name === 'EXEC' && Array.isArray(reply)) queued.forEach(({options}, i) => this.#keep(options, reply[i]));
    this.#queued = null;
  }

  // Before a command is sent, and the first of those that have no reply yet.
  #listenFor(first) {
    if (!first) this.#silence.heard();
    this.#silence.start();
  }

  #onSilence(silent) {
    const first = this.#greeting || this.#events.first();
    if (!first) this.#silence.stop();
    else if (this.#mayTakeLong(first) || (this.#batches && this.#batches.isWriting)) this.#silence.heard();
    else if (silent >= this.#commandTimeout) this.#connection.abort(new WS2SError(
      1, 'timeout', `the server has not answered ${first.name} for ${secondsOf(silent)}`));
  }

  // EXEC carries out what was queued.
  #mayTakeLong({name, mayTakeLong}) {
    return mayTakeLong || (name.toUpperCase() === 'EXEC' && this.#queued?.some(queued => queued.mayTakeLong));
  }

  /** The same error, or the one that names the command at which the server has ended the connection. */
  #blame(error) {
    const first = this.#greeting || this.#events.first();
    if (!first || !(error instanceof WS2SError) || !ENDINGS.includes(error.reason)) return error;
    const {name} = first;
    this.#ending = {name, times: name === this.#ending.name ? this.#ending.times + 1 : 1};
    const often = this.#ending.times > 1 ? `, ${this.#ending.times} times in a row` : '';
    const message = `the server has ended the connection at ${name}${often}`;
    return Object.assign(new WS2SError(error.code, error.reason, message, {cause: error}), {endedAt: name});
  }

  async #pause() {
    const longest = Math.min(this.#retry.longest, this.#retry.first * 2 ** this.#pauses);
    this.#attempts++;
    this.#pauses += this.#ending.times > 1 ? 2 : 1;
    // Not all pages may come back at the same moment.
    const stopListening = onReturn(() => this.#hasten());
    let timer;
    await new Promise(resolve => {
      timer = setTimeout(resolve, longest * (0.5 + Math.random() / 2));
      this.#endPause = resolve;
    });
    clearTimeout(timer);
    stopListening();
    this.#endPause = ignore;
  }

  // Whoever has come back waits for no pause, and an attempt that was due later is not one more. Events come together.
  #hasten() {
    if (this.#endPause === ignore) return;
    this.#attempts--;
    this.#endPause();
    this.#endPause = ignore;
  }
}

const ENDINGS = ['closed', 'reset'];

function replyBytesOf({maxReplyBytes = REPLY_BYTES}) {
  if (typeof maxReplyBytes === 'number' && maxReplyBytes >= 0) return maxReplyBytes || Infinity;
  throw new RangeError('maxReplyBytes must be a number of bytes, or 0 for no limit');
}

/** What is said to Redis first. */
function greeting({protocol, username, password, db}) {
  const words = [];
  if (password !== undefined && password !== null) {
    words.push(username ? ['AUTH', username, password] : ['AUTH', password]);
  }
  // With HELLO a server that does not know RESP3 says so; the login stays apart, for errors that are easy to tell.
  if (protocol === 3) words.push(['HELLO', '3']);
  if (db) words.push(['SELECT', db]);
  return words;
}

// Their replies do not pair with requests one by one. For subscriptions there are methods.
const UNPAIRED = [
  'SUBSCRIBE', 'PSUBSCRIBE', 'SSUBSCRIBE', 'UNSUBSCRIBE', 'PUNSUBSCRIBE', 'SUNSUBSCRIBE', 'MONITOR', 'SYNC', 'PSYNC',
];

const NAME_CHARACTERS = 32;  // no command has a longer name

// Only its begin is made a text: a word may be a key of many megabytes.
function nameOf(word) {
  if (typeof word !== 'object' || word === null) return String(word).slice(0, NAME_CHARACTERS);
  return decodeUtf8(argumentBytes(word).subarray(0, NAME_CHARACTERS));
}

function upperName(word) {
  return nameOf(word).toUpperCase();
}

// What waits for something else, or works as long as the caller wants.
const LONG = [
  'BLPOP', 'BRPOP', 'BRPOPLPUSH', 'BLMOVE', 'BLMPOP', 'BZPOPMIN', 'BZPOPMAX', 'BZMPOP', 'WAIT', 'WAITAOF', 'MONITOR',
  'EVAL', 'EVALSHA', 'EVAL_RO', 'EVALSHA_RO', 'FCALL', 'FCALL_RO', 'DEBUG', 'MIGRATE', 'SAVE', 'SHUTDOWN', 'FAILOVER',
];
const READS = ['XREAD', 'XREADGROUP'];

function mayTakeLong(words) {
  const name = upperName(words[0]);
  return LONG.includes(name) || (READS.includes(name) && words.slice(1, 8).some(word => upperName(word) === 'BLOCK'));
}

/** What must hold for the next connection as well, once Redis has accepted this command; null for most. */
function lastingOptions(words) {
  const name = upperName(words[0]);
  if (name === 'SELECT') return {db: words[1]};
  if (name === 'AUTH') return words.length > 2 ? loginOf(words[1], words[2]) : loginOf(undefined, words[1]);
  if (name === 'RESET') return {...loginOf(), db: 0, protocol: 2};
  return name === 'HELLO' && words.length > 1 ? optionsOfHello(words) : null;
}

// Both together: with a password alone the user is `default`, whoever it was before.
function loginOf(username, password) {
  return {username, password};
}

/** HELLO version [AUTH username password] [SETNAME name] */
function optionsOfHello(words) {
  const at = upperName(words[2] ?? '') === 'SETNAME' ? 4 : 2;
  const login = upperName(words[at] ?? '') === 'AUTH' ? loginOf(words[at + 1], words[at + 2]) : null;
  return {protocol: Number(nameOf(words[1])), ...login};
}

/** What must be known of a command until its reply is there. The words themselves may be large. */
function callOf(words) {
  return {name: nameOf(words[0]), mayTakeLong: mayTakeLong(words), options: lastingOptions(words)};
}

function refuseUnpaired(words) {
  const first = upperName(words[0]);
  if (UNPAIRED.includes(first) || (first === 'CLIENT' && upperName(words[1]) === 'REPLY')) {
    throw new TypeError(`${first} does not get one reply: use subscribe() and its like, or a WS2S.connect of your own`);
  }
}

/**
 * Where the caller stands in a transaction, which belongs to one connection. After its loss what follows MULTI or WATCH
 * is refused: on the next connection it would be carried out at once, or without its guard.
 *
 * That ends with EXEC, which is refused as well, and with DISCARD, UNWATCH or RESET. MULTI begins anew after a MULTI; a
 * first MULTI after WATCH is refused with all that follows. Once the caller has heard of the loss by the failure of a
 * command, WATCH begins anew, and what needs no guard may pass.
 */
class Transaction {
  #begun = null;     // MULTI or WATCH
  #last = null;      // {before}: of the command that has begun it
  #isLost = false;
  #isHeard = false;

  /** Must be asked for each command in turn. Throws if it must not be sent; null: there is nothing to be sent. */
  begin(name) {
    const wasLost = this.#isLost;
    const command = {before: wasLost ? null : this.#begun};
    if (wasLost) {
      if (this.#begun === 'WATCH' && this.#isHeard && !TRANSACTION.includes(name)) return command;
      if (!this.#mayBeginAnew(name)) this.#refuse(name);
      this.#set(null);
    }
    if (name === 'MULTI' || (name === 'WATCH' && !this.#begun)) this.#set(name, command);
    else if (ENDS.includes(name) || (name === 'UNWATCH' && this.#begun === 'WATCH')) this.#set(null);
    return wasLost && name === 'DISCARD' ? null : command;
  }

  /** Instead of begin(), for one that is sent as a whole. */
  whole() {
    if (this.#isLost) {
      this.begin(this.#begun === 'WATCH' ? 'EXEC' : 'MULTI');
    } else if (this.#begun === 'MULTI') {
      throw new TypeError('a MULTI is open on this connection: it wants EXEC or DISCARD first');
    }
    this.#set(null);
  }

  /** Redis has refused it: then it has begun nothing. */
  undo(command) {
    if (command !== this.#last) return;
    const [isLost, isHeard] = [this.#isLost, this.#isHeard];
    this.#set(command.before);
    if (command.before) [this.#isLost, this.#isHeard] = [isLost, isHeard];
  }

  /** The connection is lost. `isHeard`: commands of the caller fail with it. */
  lose(isHeard) {
    this.#isHeard = this.#isHeard || (this.#begun !== null && isHeard);
    this.#isLost = this.#begun !== null;
  }

  #set(begun, last = null) {
    this.#begun = begun;
    this.#last = last;
    this.#isLost = this.#isHeard = false;
  }

  #mayBeginAnew(name) {
    if (name === 'MULTI') return this.#begun === 'MULTI' && !this.#last?.before;  // else the guard is lost, too
    if (name === 'WATCH') return this.#begun === 'MULTI' || this.#isHeard;
    return name === 'DISCARD' || name === 'UNWATCH' || name === 'RESET';
  }

  #refuse(name) {
    const error = transactionLostError(name, this.#begun);
    if (name === 'EXEC') this.#set(null);
    else queueMicrotask(() => { this.#isHeard = this.#isLost; });  // not by what was asked in the same go
    if (name === 'MULTI') this.#begun = 'MULTI';
    throw error;
  }
}

function transactionLostError(name, begun) {
  const end = begun === 'MULTI' ? 'DISCARD' : 'UNWATCH';
  const message = `${name} was not sent, and nothing of its transaction was carried out: the connection on which `
    + `${begun} was asked is lost. Begin anew; ${end} ends this`;
  return Object.assign(new WS2SError(1, 'transaction-lost', message), {command: name});
}

const TRANSACTION = ['MULTI', 'EXEC', 'DISCARD', 'WATCH', 'UNWATCH', 'RESET'];
const ENDS = ['EXEC', 'DISCARD', 'RESET'];
const NOT_WITHIN = ['MULTI', 'EXEC', 'DISCARD', 'WATCH', 'RESET', 'QUIT'];

function refuseWithin(words) {
  if (!Array.isArray(words) || !words.length) throw new TypeError('multi() wants lists of words: [["INCR", "n"]]');
  refuseUnpaired(words);
  const name = upperName(words[0]);
  if (NOT_WITHIN.includes(name)) throw new TypeError(`${name} has no place within multi(), which sends MULTI and EXEC`);
}

/** The replies of a transaction, from the outcomes of MULTI, the commands and EXEC. */
function repliesOf(outcomes) {
  const [begin] = outcomes, end = outcomes[outcomes.length - 1];
  if (begin.reason instanceof RedisError) {
    const {message} = begin.reason;
    const error = new RedisError(`${message} (MULTI was refused: the commands may have been carried out one by one)`);
    throw Object.assign(error, {isUnsure: true});
  }
  if (end.status === 'fulfilled') return end.value;
  // EXEC only says that something could not be queued.
  const refused = outcomes.find(({reason}) => reason instanceof RedisError);
  throw end.reason instanceof RedisError && refused ? refused.reason : end.reason;
}

const CONFIRMATIONS = ['subscribe', 'psubscribe', 'unsubscribe', 'punsubscribe'];
const MESSAGES = ['message', 'pmessage'];

/**
 * A Redis client.
 *
 *     const redis = new WS2S.Redis('ws://127.0.0.1:3613/', {host: 'db.lan', password: 'secret', db: 1});
 *     await redis.command('SET', 'key', new Uint8Array([1, 2, 3]));
 *
 * It connects at once, and again after growing pauses when the connection is lost. A command is never repeated by
 * itself: what has no reply by then rejects with the reason `not-answered`, and may or may not have been carried out.
 * What is asked while nothing is connected waits for the next attempt, and rejects with its error when that fails.
 * What follows a MULTI or WATCH whose connection is lost rejects with the reason `transaction-lost`, see Transaction.
 * Subscriptions are renewed. Wrong passwords, targets that are forbidden and the like end the client for good.
 */
class Redis {
  /** Called whenever Redis is there: connected, logged in, subscriptions asked for again. */
  onReady = ignore;
  /** Called with the error when a connection, or an attempt at one, has failed; another one follows. */
  onLost = ignore;
  /** Called once, with the error or nothing: no more attempts are made. Nothing is called after it. */
  onClose = ignore;
  /** Called with the array of a push that is no message of a subscription (RESP3), such as `invalidate`. */
  onPush = ignore;

  #link;
  #isText;
  #isReady = false;
  #isOver = false;
  #pending = new Queue();  // sent, in the order in which replies will come
  #waiting = new Queue();  // for a connection: lists of what is sent together
  #transaction = new Transaction();
  #subscriptions = {message: new Map(), pmessage: new Map()};  // sets of callbacks, by channel or pattern
  #count = 0;              // of subscriptions, as Redis tells it

  /**
   * @param {string} url of the gateway
   * @param {object} options `host`; optionally `port` (6379), `username`, `password`, `db`, `protocol` (2 or 3),
   *   `text`, `retry` (`{first, longest, attempts}`: pauses in milliseconds), `commandTimeout` (60,000 milliseconds of
   *   silence while a reply is due; 0 for no limit), `maxReplyBytes` (268,435,456; 0 for no limit), and `ssh`, `tls`,
   *   `token`, `binary`, `window`, `timeout`, `heartbeat` and `WebSocket` as for WS2S.connect
   */
  constructor(url, options) {
    this.#isText = options.text === true;
    this.#link = new RedisLink(url, {port: 6379, ...options}, {
      reached: ignore,
      ready: () => this.#onReady(),
      reply: reply => this.#onReply(reply),
      lost: error => this.#onLost(error),
      over: error => this.#onOver(error),
      first: () => this.#pending.first,
    });
  }

  /** Ask Redis. Bulk strings of the reply are Uint8Arrays, or strings with the option `text`. */
  command(...words) {
    return this.#isText ? this.text(...words) : this.bytes(...words);
  }

  /** As command(), and bulk strings are Uint8Arrays. */
  async bytes(...words) {
    refuseUnpaired(words);
    if (this.#isOver) throw closedError();
    const command = this.#transaction.begin(upperName(words[0]));
    if (!command) return 'OK';
    try {
      return await this.#ask(words);
    } catch (error) {
      if (error instanceof RedisError) this.#transaction.undo(command);
      throw error;
    }
  }

  /**
   * A transaction: MULTI, these commands (arrays of words) and EXEC in one write on one connection. Gives the replies,
   * errors of Redis among them, or null if a key has changed that WATCH was asked for. Rejects with the error of Redis
   * if a command cannot be queued: then none is carried out. If it rejects with `not-answered`, all were carried out or
   * none. It is never repeated by itself.
   */
  async multi(commands) {
    const list = [...commands];  // they can be gone through once, perhaps
    for (const words of list) refuseWithin(words);
    if (this.#isOver) throw closedError();
    this.#transaction.whole();
    const replies = repliesOf(await Promise.allSettled(this.#askTogether([['MULTI'], ...list, ['EXEC']])));
    return this.#isText ? asText(replies) : replies;
  }

  /** As command(), and bulk strings are strings. */
  async text(...words) {
    return asText(await this.bytes(...words));
  }

  /** `callback(message, channel)` is called for each message. Resolves when Redis has confirmed it. */
  subscribe(channel, callback) {
    return this.#subscribe('SUBSCRIBE', 'message', channel, callback);
  }

  /** `callback(message, channel, pattern)` is called for each message. Resolves when Redis has confirmed it. */
  psubscribe(pattern, callback) {
    return this.#subscribe('PSUBSCRIBE', 'pmessage', pattern, callback);
  }

  /** Ends what subscribe() began: for one callback, or for all of the channel. */
  unsubscribe(channel, callback) {
    return this.#unsubscribe('UNSUBSCRIBE', 'message', channel, callback);
  }

  /** Ends what psubscribe() began: for one callback, or for all of the pattern. */
  punsubscribe(pattern, callback) {
    return this.#unsubscribe('PUNSUBSCRIBE', 'pmessage', pattern, callback);
  }

  /** Close the connection, for good. What was asked reaches Redis if it was connected; what has no reply rejects. */
  async close() {
    if (this.#isOver) return;
    this.#isOver = true;
    const closed = this.#link.close();
    this.#rejectAll(closedError());
    await closed;
    tell(this.onClose);
  }

  #ask(words) {
    return this.#askTogether([words])[0];
  }

  /** The promises for the replies to commands that are sent in one write. */
  #askTogether(commands) {
    const bytes = commands.map(encodeCommand);
    const calls = commands.map((words, i) => ({...callOf(words), ...promised(), bytes: bytes[i]}));
    if (this.#isOver) calls.forEach(({reject}) => reject(closedError()));
    else if (this.#isReady) this.#send(calls);
    else this.#waiting.push(calls);
    return calls.map(({promise}) => promise);
  }

  #send(calls) {
    this.#link.write(joined(calls.map(({bytes}) => bytes)));
    for (const call of calls) {
      call.bytes = null;  // it may be large, and the reply may take its time
      this.#pending.push(call);
    }
  }

  #onReady() {
    this.#isReady = true;
    this.#count = 0;
    this.#renew('SUBSCRIBE', this.#subscriptions.message);
    this.#renew('PSUBSCRIBE', this.#subscriptions.pmessage);
    for (const calls of this.#waiting.drain()) this.#send(calls);
    tell(this.onReady);
  }

  #onLost(error) {
    this.#isReady = false;
    this.#transaction.lose(this.#pending.length + this.#waiting.length > 0);
    this.#rejectAll(error);
    tell(this.onLost, error);
  }

  #onOver(error) {
    this.#isReady = false;
    this.#isOver = true;
    this.#rejectAll(error);
    tell(this.onClose, error);
  }

  #rejectAll(error) {
    for (const {name, reject} of this.#pending.drain()) reject(notAnsweredError(name, error));
    for (const {reject} of this.#waiting.drain().flat()) reject(error);
  }

  // -- replies --------------------------------------------------------------------------------------------------------

  #onReply(reply) {
    if (reply instanceof Push) this.#onPush(reply.items);
    else if (this.#isOfSubscriptions(reply)) this.#onPush(reply);
    else this.#answer(reply);
  }

  // With RESP2 messages and confirmations are arrays like any other. Only in this state do they come.
  #isOfSubscriptions(reply) {
    if (!Array.isArray(reply) || !(reply[0] instanceof Uint8Array)) return false;
    const kind = decodeUtf8(reply[0]);
    return (this.#count > 0 && MESSAGES.includes(kind)) || this.#isConfirmation(kind);
  }

  #isConfirmation(kind) {
    const {first} = this.#pending;
    return CONFIRMATIONS.includes(kind) && first !== undefined && first.name.toLowerCase() === kind;
  }

  #answer(reply) {
    const call = this.#pending.shift();
    if (!call) throw unasked(reply);
    else if (reply instanceof RedisError) call.reject(reply);
    else call.resolve(reply);
  }

  #onPush(items) {
    const kind = asText(items[0]);
    if (this.#isConfirmation(kind)) this.#onConfirmation(items);
    else if (kind === 'message') this.#deliver(kind, asText(items[1]), items[2], items[1]);
    else if (kind === 'pmessage') this.#deliver(kind, asText(items[1]), items[3], items[2]);
    else tell(this.onPush, this.#isText ? asText(items) : items);
  }

  #onConfirmation(items) {
    this.#count = items[2];
    this.#pending.shift().resolve();
  }

  // -- subscriptions --------------------------------------------------------------------------------------------------

  async #subscribe(command, kind, name, callback) {
    const subscriptions = this.#subscriptions[kind];
    if (!subscriptions.has(name)) subscriptions.set(name, this.#begin(command, name));
    const subscription = subscriptions.get(name);
    subscription.callbacks.add(callback);
    try {
      await subscription.confirmed;
    } catch (error) {
      if (subscriptions.get(name) === subscription) subscriptions.delete(name);
      throw error;
    }
    subscription.isConfirmed = true;
  }

  #begin(command, name) {
    return {callbacks: new Set(), confirmed: this.#ask([command, name]), isConfirmed: false};
  }

  async #unsubscribe(command, kind, name, callback) {
    const subscriptions = this.#subscriptions[kind];
    const subscription = subscriptions.get(name);
    if (!subscription) return;
    if (callback) subscription.callbacks.delete(callback);
    if (callback && subscription.callbacks.size) return;
    subscriptions.delete(name);
    if (this.#isReady) await this.#ask([command, name]);  // a connection that is to come begins without it
  }

  #renew(command, subscriptions) {
    for (const [name, {isConfirmed}] of subscriptions) {
      if (isConfirmed) this.#ask([command, name]).catch(error => this.#onNotRenewed(subscriptions, name, error));
    }
  }

  #onNotRenewed(subscriptions, name, error) {
    if (!(error instanceof RedisError) || this.#isOver) return;  // the connection is lost: it will be tried again
    subscriptions.delete(name);
    tell(this.onLost, error);
  }

  #deliver(kind, name, payload, channel) {
    const subscription = this.#subscriptions[kind].get(name);
    if (!subscription) return;  // it has just been ended
    const message = this.#isText ? asText(payload) : payload;
    for (const callback of [...subscription.callbacks]) tell(callback, message, asText(channel), name);
  }
}

function notAnsweredError(name, error) {
  const message = `no reply to ${name}, which may have been carried out: ${error.message}`;
  const {endedAt, speaks} = error;
  return Object.assign(new WS2SError(1, 'not-answered', message, {cause: error}), {command: name, endedAt, speaks});
}

// Redis turns clients away like this, and then closes.
function unasked(reply) {
  return reply instanceof RedisError
    ? new WS2SError(5, 'closed', 'Redis: ' + reply.message, {cause: reply})
    : respError('a reply that nobody has asked for');
}

// =====================================================================================================================
// 7. Callbacks
// =====================================================================================================================

/** Words of one line, as bytes. Throws a SyntaxError at a quote that is not closed. */
class LineReader {
  #bytes;
  #at = 0;
  #word = null;   // the bytes of the word that is begun
  #words = [];

  constructor(line) {
    this.#bytes = encodeUtf8(line);
  }

  words() {
    while (this.#at < this.#bytes.length) this.#readNext(this.#next());
    this.#endWord();
    return this.#words;
  }

  #next() {
    return this.#bytes[this.#at++];
  }

  #readNext(byte) {
    if (byte === SPACE || byte === TAB) this.#endWord();
    else if (byte === DOUBLE_QUOTE || byte === SINGLE_QUOTE) this.#readQuoted(byte);
    else this.#add(byte);
  }

  #add(byte) {
    this.#word = this.#word || [];
    this.#word.push(byte);
  }

  #endWord() {
    if (this.#word) this.#words.push(Uint8Array.from(this.#word));
    this.#word = null;
  }

  #readQuoted(quote) {
    this.#word = this.#word || [];  // "" is a word, too
    for (let byte = this.#next(); byte !== quote; byte = this.#next()) {
      if (byte === undefined) throw new SyntaxError('a quote is not closed');
      this.#add(byte === BACKSLASH ? this.#readEscape(quote) : byte);
    }
  }

  // In double quotes as in C; in single quotes only the quote itself can be escaped.
  #readEscape(quote) {
    const letter = String.fromCharCode(this.#bytes[this.#at]);
    if (quote === SINGLE_QUOTE) return letter === "'" ? this.#next() : BACKSLASH;
    const hex = /^x([0-9a-fA-F]{2})$/.exec(String.fromCharCode(...this.#bytes.subarray(this.#at, this.#at + 3)));
    if (hex) {
      this.#at += 3;
      return parseInt(hex[1], 16);
    }
    const byte = this.#next();
    return Object.hasOwn(ESCAPES, letter) ? ESCAPES[letter] : byte;
  }
}

const SPACE = 32, TAB = 9, DOUBLE_QUOTE = 34, SINGLE_QUOTE = 39, BACKSLASH = 92;
const ESCAPES = {n: 10, r: 13, t: 9, b: 8, a: 7};

/**
 * Split a command line into words: at spaces, but not within quotes. Double quotes take `\n \r \t \b \a \xHH \" \\`,
 * single quotes take `\'`. Words are Uint8Arrays.
 */
function splitLine(line) {
  return new LineReader(line).words();
}

/** The commands of a text with one in each line; empty lines are none. */
function splitLines(text) {
  return text.split(/\r?\n/).map(splitLine).filter(words => words.length);
}

/** A reply as text for people, as the old onResponse gave it: an array is a numbered list, one line for each item. */
function textOfReply(reply, indent = '') {
  if (reply === null) return '(nil)';
  if (reply instanceof RedisError) return '(error) ' + reply.message;
  if (reply instanceof Uint8Array) return decodeUtf8(reply);
  if (reply instanceof Map) return textOfReply([...reply].flat(), indent);
  if (reply instanceof Set) return textOfReply([...reply], indent);
  if (!Array.isArray(reply)) return String(reply);
  return reply.map((item, i) => `${i + 1}) ${textOfReply(item, indent + '   ')}`).join('\n' + indent);
}

// The shape of the gateway's failures, for onError.
function failureOf(error) {
  const {code = 1, reason = 'internal', message} = error;
  return {success: false, code, message, reason};
}

/**
 * One TCP connection with callbacks. Made by `new WS2S(url).newSocket()`, which opens the WebSocket.
 *
 * What is asked before the WebSocket is open is sent when it is. Nothing is called after `onClose`.
 */
class CallbackSocket {
  /** The WebSocket is open. */
  onReady = ignore;
  /** The target is connected. */
  onOpen = ignore;
  /** Bytes have come: a Uint8Array. */
  onRecv = ignore;
  /** All is over: closed by us, by the target, or lost (then onError has told it). */
  onClose = ignore;
  /** A failure, as the gateway tells it: `{success: false, code, message, reason}`. */
  onError = error => console.error('ws2s:', error);

  #session;
  #isOver = false;

  constructor(url, options) {
    this.#session = new Session(url, options, {
      opened: () => this.onReady(),
      data: bytes => this.onRecv(bytes),
      lost: reply => this.#onFailure(reply),
      ended: error => { this.onError(failureOf(error)); this.#end(); },
    });
  }

  /** Connect to a target, by way of an SSH server when `ssh_host` is given. onOpen or onError follows. */
  connect(host, port, ssh_host, ssh_port, ssh_username, ssh_password, ssh_private_key, ssh_private_key_password) {
    const ssh = ssh_host ? {
      ssh_host, ssh_port, ssh_username, ssh_password, ssh_private_key, ssh_private_key_password,
    } : {};
    this.#session.ask('connect', {host, port, binary: true, ...ssh}, reply => this.#onConnectReply(reply));
  }

  /** Send a text, as UTF-8. */
  send(text) {
    if (text.length > PIECE_BYTES / 4) this.sendb(encodeUtf8(text));
    else this.#session.ask('send', {data: text});
  }

  /** Send bytes: a Uint8Array, another view or an ArrayBuffer. */
  sendb(bytes) {
    const all = bytesOf(bytes);
    for (let start = 0; start < all.length; start += PIECE_BYTES) {
      this.#session.ask('sendb', {data: toBase64(all.subarray(start, start + PIECE_BYTES))});
    }
  }

  /** Close the connection and the WebSocket. onClose follows. */
  close() {
    this.#session.ask('close', {}, () => this.#end());
  }

  #onConnectReply(reply) {
    if (reply.success) this.onOpen();
    else this.#onFailure(reply);
  }

  // Codes 3 and 5 have always ended all; that bytes may be missing is told now.
  #onFailure(reply) {
    const isPlainEnd = reply.code === 3 || (reply.code === 5 && reply.reason !== 'reset' && reply.reason !== 'idle');
    if (!isPlainEnd) this.onError(reply);
    if (reply.code === 3 || reply.code === 5) this.#end();
  }

  #end() {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#session.end();
    this.onClose();
  }
}

const ATTEMPTS = 9;

/**
 * A Redis client with callbacks. Made by `new WS2S(url).newRedisClient(host, port, auth)`, which connects.
 *
 * What is requested before Redis is there is sent when it is; what has no reply when the connection is lost is told to
 * onError, and not repeated.
 */
class CallbackRedis {
  /** The gateway is reached; again at each reconnect. */
  onSocketReady = ignore;
  /** Redis is connected, and has accepted `auth`. */
  onReady = ignore;
  /** The same, after a reconnect. */
  onReconnected = ignore;
  /**
   * A reply: a text, a number, or null for nil; an array is a numbered list, empty for an empty array. The second
   * argument is `{words, reply}`: the words of the request, as bytes, and the reply as WS2S.Redis gives it.
   */
  onResponse = ignore;
  /** Text of an error reply (then the second argument is as for onResponse), or a failure as of a socket. */
  onError = error => console.error('ws2s:', error);

  /** How often it has connected again. */
  reconnectCount = 0;

  #link;
  #isReady = false;
  #wasReady = false;
  #isOver = false;
  #pending = new Queue();
  #waiting = new Queue();
  #transaction = new Transaction();

  constructor(url, options) {
    this.#link = new RedisLink(url, {...options, retry: {attempts: ATTEMPTS, ...options.retry}}, {
      reached: () => tell(() => this.onSocketReady()),
      ready: () => this.#onReady(),
      reply: reply => this.#onReply(reply),
      lost: error => this.#onLost(error),
      over: error => this.#onOver(error),
      first: () => this.#pending.first,
    });
  }

  /** Ask for one command, or for several, one in each line. Words in quotes keep their spaces, see splitLine(). */
  request(text) {
    try {
      for (const words of splitLines(text)) this.#ask(words);
    } catch (error) {
      this.#tellError(error.message);
    }
  }

  /** Close the connection, for good. Nothing is called after it. */
  close() {
    this.#isOver = true;
    return this.#link.close();
  }

  #ask(words) {
    if (this.#isOver) return;
    try {
      const command = this.#transaction.begin(upperName(words[0]));
      if (!command) tell(() => this.onResponse('OK', {words, reply: 'OK'}));
      else if (this.#isReady) this.#send({words, command});
      else this.#waiting.push({words, command});
    } catch (error) {
      this.#tellError(failureOf(error), {words});
    }
  }

  #send({words, command}) {
    this.#link.write(encodeCommand(words));
    this.#pending.push({...callOf(words), words, command});
  }

  #onReady() {
    this.#isReady = true;
    for (const asked of this.#waiting.drain()) this.#send(asked);
    if (this.#wasReady) this.reconnectCount++;
    const callback = this.#wasReady ? 'onReconnected' : 'onReady';
    this.#wasReady = true;
    tell(() => this[callback]());
  }

  #onReply(reply) {
    const {words, command} = (this.#isAnswer(reply) && this.#pending.shift()) || {};
    const about = {words, reply: reply instanceof Push ? reply.items : reply};
    if (reply instanceof RedisError && command) this.#transaction.undo(command);
    if (reply instanceof RedisError) this.#tellError(reply.message, about);
    else tell(() => this.onResponse(responseOf(about.reply), about));
  }

  // Of the pushes of RESP3 only the confirmation of a subscription is one.
  #isAnswer(reply) {
    const {first} = this.#pending;
    return !(reply instanceof Push) || (first !== undefined && first.name.toLowerCase() === asText(reply.items[0]));
  }

  #onLost(error) {
    if (this.#isReady) this.#transaction.lose(this.#pending.length > 0);  // what waits will be sent
    this.#isReady = false;
    this.#tellError(failureOf(error));
    for (const {words, command} of this.#pending.drain()) {
      this.#transaction.undo(command);
      this.#tellError('connection loss: no reply, it may have been carried out', {words});
    }
  }

  #onOver(error) {
    this.#onLost(error);
    this.#isOver = true;
    this.#tellError('connection loss: no more attempts are made');
  }

  #tellError(error, about) {
    tell(() => this.onError(error, about));
  }
}

function responseOf(reply) {
  return reply === null || typeof reply === 'number' ? reply : textOfReply(reply);
}

// In 2.1 it could be a user and a password, too.
function authOptions(auth) {
  if (!auth) return {};
  const [, username, password] = /^(\S+) (\S+)$/.exec(auth) || [null, undefined, String(auth)];
  return {username, password};
}

// =====================================================================================================================
// 8. WS2S
// =====================================================================================================================

/**
 * The gateway at `url` (`ws://` or `wss://`).
 *
 * `options`: `WebSocket`, the class to use where there is no global one, and defaults of all that connect() takes.
 */
class WS2S {
  #url;
  #options;

  constructor(url, options = {}) {
    this.#url = url;
    this.#options = options;
  }

  /**
   * Connect to `options.host`:`options.port`. Resolves to a connection with `readable`, `writable`, `finished`,
   * `closed`, `tls`, `startTls()`, `finish()`, `close()` and `abort()`; rejects with a WS2SError, or with the reason of
   * `options.signal`.
   *
   * Other options: `ssh` (`{host, port, username, password, privateKey, passphrase}`), `tls` (true, or `{servername,
   * verify, ca, cert, key, alpn}`), `token` (for the gateway), `halfOpen` (true: the target may end its half alone),
   * `window` (bytes that may be under way in each direction), `binary` (false: in base64), `signal`, `WebSocket`; and
   * in milliseconds, 0 for no limit, `timeout` (60,000, for connecting) and `heartbeat` (15,000, for the answer of the
   * gateway to a ping).
   *
   * @param {string} url of the gateway
   * @param {object} options
   * @returns {Promise<Connection>}
   */
  static connect(url, options) {
    return Connection.open(url, options);
  }

  /** WS2S.connect() through this gateway. */
  connect(options) {
    return WS2S.connect(this.#url, {...this.#options, ...options});
  }

  /** A TCP connection with the callbacks of ws2s.js 2.1. */
  newSocket() {
    // It sends before it is known how the gateway goes to the target.
    const given = ['tls', 'ssh'].find(name => this.#options[name]);
    if (given) throw new TypeError(`newSocket() does not know the option ${given}: use connect()`);
    return new CallbackSocket(this.#url, this.#options);
  }

  /** A Redis client with the callbacks of ws2s.js 2.1. */
  newRedisClient(host, port, auth, ssh_host, ssh_port, ssh_username, ssh_password, ssh_private_key,
                 ssh_private_key_password) {
    const ssh = ssh_host ? {
      host: ssh_host, port: ssh_port, username: ssh_username, password: ssh_password, privateKey: ssh_private_key,
      passphrase: ssh_private_key_password,
    } : this.#options.ssh;
    return new CallbackRedis(this.#url, {...this.#options, host, port, ssh, ...authOptions(auth)});
  }

  /** newRedisClient() as ws2s.js 2.1 spelt it. */
  newRedisCient(...target) {
    return this.newRedisClient(...target);
  }
}

Object.assign(WS2S, {WS2SError, RedisError, Redis});

// A script that holds `export` is an error, and a module without it exports nothing, so no file can be both.
// For pages there is ws2s.mjs beside this one. Node finds the names in these assignments.
if (typeof module === 'object' && module.exports) {
  module.exports = WS2S;
  module.exports.WS2SError = WS2SError;
  module.exports.RedisError = RedisError;
  module.exports.Redis = Redis;
  // For the tests of this file.
  module.exports.internals = {
    Queue, RespParser, Push, encodeCommand, splitLine, splitLines, textOfReply, toBase64, fromBase64,
  };
} else {
  globalThis.WS2S = WS2S;
}
})();
