/**
 * console-line.mjs: one connection of the console, read and written.
 */
import {Telnet} from './console-telnet.mjs';
import {WS2SError} from './ws2s.mjs';

const FRAME_BYTES = 1048576;   // to be read before the page may be drawn again
const FRAME_MILLISECONDS = 20;  // to be spent with that: escapes take far longer than text
const PIECE_BYTES = 32768;      // of what came at once, between two looks at the clock
const WAITING_BYTES = 16777216;
const HIDDEN_MILLISECONDS = 250;

function ignore() {}

/** Resolves when the page is drawn next; after a while when nobody sees it, as it is not drawn then. */
export function nextFrame() {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, HIDDEN_MILLISECONDS);
    requestAnimationFrame(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** A connection: reads it piece by piece, so that a target that sends too much is slowed down, and counts. */
export class Line {
  #connection;
  #writer;
  #events;
  #telnet;
  #read = 0;           // since the last frame
  #spent = 0;          // milliseconds, since then
  #isLeaving = false;
  #isOver = false;
  #paused = null;      // resolves at the end of a pause
  #resume = null;      // ends it

  received = 0;
  sent = 0;
  waiting = 0;         // written, but not taken by the gateway yet

  /**
   * `events`: `received(bytes)`, `changed()`, and at last `ended(error)`, without an error when we have left.
   * `telnet`: what speaks it where the target does.
   */
  constructor(connection, events, telnet = new Telnet('off')) {
    this.#connection = connection;
    this.#telnet = telnet;
    this.#writer = connection.writable.getWriter();
    this.#events = events;
    this.#readAll();
  }

  /** Is there room? A target that does not read must not fill the memory. */
  get hasRoom() {
    return this.waiting < WAITING_BYTES;
  }

  get isPaused() {
    return this.#resume !== null;
  }

  /** Resolves to true when the gateway has taken it, to false when the connection has ended before. */
  send(bytes) {
    return this.#write(this.#telnet.escaped(bytes));
  }

  /** The output has this size now, in characters. */
  resize(columns, rows) {
    const command = this.#telnet.resize(columns, rows);
    if (command.length && !this.#isOver) this.#write(command);
  }

  /** Speak TLS from here on: as of a connection. When that fails the connection ends. */
  startTls(options) {
    return this.#connection.startTls(options);
  }

  async #write(bytes) {
    this.waiting += bytes.length;
    try {
      await this.#writer.write(bytes);
      this.sent += bytes.length;
      this.waiting -= bytes.length;
      this.#events.changed();
      return true;
    } catch {
      return false;  // the end of reading tells why; what still waits is told then
    }
  }

  /** Read no more, or go on. */
  setPaused(isPaused) {
    if (isPaused === this.isPaused) return;
    if (isPaused) this.#paused = new Promise(resolve => { this.#resume = resolve; });
    else this.#resume();
    if (!isPaused) this.#resume = null;
  }

  /** Close it after what was sent. */
  leave() {
    this.#isLeaving = true;
    this.setPaused(false);
    this.#connection.close().catch(ignore);  // the end of reading tells
  }

  /** Close it though the target does not take what was sent, which leave() would wait for. */
  drop() {
    this.#isLeaving = true;
    this.#connection.abort();
    this.#end(null);
  }

  async #readAll() {
    const reader = this.#connection.readable.getReader();
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) await this.#take(next.value);
      this.#end(new WS2SError(5, 'closed', 'the target has closed the connection'));
    } catch (error) {
      this.#end(error);
    }
  }

  async #take(bytes) {
    for (let at = 0; at < bytes.length && !this.#isOver; at += PIECE_BYTES) {
      await this.#takePiece(bytes.subarray(at, at + PIECE_BYTES));
    }
  }

  async #takePiece(bytes) {
    const begin = performance.now();
    const reply = this.#tell(bytes);
    this.#read += bytes.length;
    this.#spent += performance.now() - begin;
    if (reply.length) await this.#answer(reply);
    if (this.#read >= FRAME_BYTES || this.#spent >= FRAME_MILLISECONDS) await this.#waitForFrame();
    if (this.isPaused) await this.#paused;
  }

  // What was received; the answer to its commands.
  #tell(bytes) {
    this.received += bytes.length;
    const {data, reply} = this.#telnet.receive(bytes);
    if (data.length) this.#events.received(data);
    else this.#events.changed();
    return reply;
  }

  async #waitForFrame() {
    await nextFrame();
    this.#read = this.#spent = 0;
  }

  // A target that asks and never reads the answers is not read any more.
  async #answer(reply) {
    const written = this.#write(reply);
    if (!this.hasRoom) await written;
  }

  // What ends after we wanted it to end is no failure.
  #end(error) {
    if (this.#isOver) return;
    this.#isOver = true;
    const held = this.#telnet.end();
    if (held.length) this.#events.received(held);
    this.#events.ended(this.#isLeaving ? null : error);
  }
}
