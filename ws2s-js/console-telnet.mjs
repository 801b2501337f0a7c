/**
 * console-telnet.mjs: telnet, as far as a console of lines speaks it.
 *
 * Commands and their escapes: RFC 854 and 855. Options: RFC 1143, of which a side that asks for nothing itself needs
 * only the states YES and NO. Size of the window: RFC 1073. Type of the terminal: RFC 1091.
 */

const IAC = 255, DONT = 254, DO = 253, WONT = 252, WILL = 251, SB = 250, SE = 240;
const NUL = 0, LF = 10, CR = 13;
const ECHO = 1, SUPPRESS_GO_AHEAD = 3, TERMINAL_TYPE = 24, WINDOW_SIZE = 31;
const IS = 0, SEND = 1;
const TERMINAL = 'ANSI';
const LARGEST_SIZE = 65535;
const KEPT_BYTES = 64;      // of a subnegotiation; longer ones are none that is answered
const LONGEST_BYTES = 4096; // of one that never ends: what is behind is text again, or nothing would ever be shown
const ANSWERS = 200;        // to one option: who asks more often does not listen, and it would go on for ever
const PROMPT_CHARACTERS = 80;
const SECRET_PROMPT = /\b(pass\w*|pin|kennwort|mot de passe)\b.*:\s*$/i;
const NOTHING = new Uint8Array(0);

const isVerb = byte => byte >= WILL && byte <= DONT;

/** The options of one side. `accepted`: those that it may switch on; `yes` and `no`: how the other side answers. */
class Side {
  #accepted;
  #yes;
  #no;
  #on = new Set();
  #answers = new Map();  // how many, by option

  constructor(accepted, yes, no) {
    this.#accepted = new Set(accepted);
    this.#yes = yes;
    this.#no = no;
  }

  has(option) {
    return this.#on.has(option);
  }

  /** The answer to a wish, as bytes: none to what is so already, or two sides would answer each other for ever. */
  turn(option, isOn) {
    if (this.#on.has(option) === isOn) return [];
    const isRefused = isOn && !this.#accepted.has(option);
    if (isOn && !isRefused) this.#on.add(option);
    else this.#on.delete(option);
    return this.mayAnswer(option) ? [IAC, this.has(option) ? this.#yes : this.#no, option] : [];
  }

  /** Is this not too often? It is counted. */
  mayAnswer(option) {
    const count = (this.#answers.get(option) || 0) + 1;
    this.#answers.set(option, count);
    return count <= ANSWERS;
  }
}

/** What a connection receives and sends, where the target speaks telnet. */
export class Telnet {
  #mode;
  #step = this.#onData;     // what is done with the next byte
  #theirs = new Side([ECHO, SUPPRESS_GO_AHEAD], DO, DONT);
  #ours = new Side([SUPPRESS_GO_AHEAD, TERMINAL_TYPE, WINDOW_SIZE], WILL, WONT);
  #verb = 0;
  #isAfterCr = false;
  #subnegotiation = [];
  #subnegotiated = 0;       // how long it is
  #prompt = '';             // the last line, as far as it has come
  #data = NOTHING;          // of the piece that is being read
  #length = 0;              // how much of it
  #reply = [];
  #columns;
  #rows;

  /**
   * `mode`: 'on', 'off', or 'auto': on as soon as the first that the target sends is a negotiation. Only the first, as
   * the same bytes in the midst of something else are nothing but data.
   */
  constructor(mode = 'auto', {columns = 80, rows = 24} = {}) {
    this.#mode = mode;
    this.#columns = columns;
    this.#rows = rows;
    if (mode === 'auto') this.#step = this.#onFirst;
  }

  get isOn() {
    return this.#mode === 'on';
  }

  /**
   * Does the target ask for something that nobody may see? To say that it echoes, while it still wants lines, is how
   * servers switch off the echo of a terminal that shows lines itself. One that wants characters always echoes; then
   * only its prompt tells.
   */
  get isSecret() {
    return this.#theirs.has(ECHO) && (!this.#theirs.has(SUPPRESS_GO_AHEAD) || SECRET_PROMPT.test(this.#prompt));
  }

  /** What has come: `{data, reply}`, bytes for the user and bytes for the target. */
  receive(bytes) {
    if (this.#mode === 'off') return {data: bytes, reply: NOTHING};
    this.#data = new Uint8Array(bytes.length + 1);  // one may have been held back
    this.#length = 0;
    this.#reply = [];
    for (const byte of bytes) this.#step(byte);
    const data = this.#data.subarray(0, this.#length);
    this.#prompt = promptAfter(this.#prompt, data);
    return {data, reply: Uint8Array.from(this.#reply)};
  }

  /** What was held back, when nothing more comes. */
  end() {
    const isHeld = this.#mode === 'auto' && this.#step === this.#onSecond;
    return isHeld ? Uint8Array.of(IAC) : NOTHING;
  }

  /** What is to be sent, with its escapes. A CR at its end is a whole one: a CR LF must not be cut there. */
  escaped(bytes) {
    this.#prompt = '';  // the prompt is answered
    const isPlain = !this.isOn || !(bytes.includes(IAC) || bytes.includes(CR));
    if (isPlain) return bytes;
    const escaped = new Uint8Array(2 * bytes.length);
    let length = 0;
    for (let at = 0; at < bytes.length; at++) {
      escaped[length++] = bytes[at];
      if (bytes[at] === IAC) escaped[length++] = IAC;
      else if (bytes[at] === CR && bytes[at + 1] !== LF) escaped[length++] = NUL;
    }
    return escaped.subarray(0, length);
  }

  /** The window has this size now: what to tell the target about that. */
  resize(columns, rows) {
    const isSame = columns === this.#columns && rows === this.#rows;
    this.#columns = columns;
    this.#rows = rows;
    const isWanted = !isSame && this.#ours.has(WINDOW_SIZE);
    return isWanted ? Uint8Array.from(this.#windowSize()) : NOTHING;
  }

  // -- bytes ----------------------------------------------------------------------------------------------------------

  #keep(byte) {
    this.#data[this.#length++] = byte;
  }

  #onFirst(byte) {
    if (byte === IAC) this.#step = this.#onSecond;
    else this.#decide('off', byte);
  }

  #onSecond(byte) {
    if (!isVerb(byte)) this.#keep(IAC);
    this.#decide(isVerb(byte) ? 'on' : 'off', byte);
  }

  #decide(mode, byte) {
    this.#mode = mode;
    this.#step = mode === 'on' ? this.#onCommand : this.#keep;
    this.#step(byte);
  }

  #onData(byte) {
    const isPadding = this.#isAfterCr && byte === NUL;
    this.#isAfterCr = byte === CR;
    if (byte === IAC) this.#step = this.#onCommand;
    else if (!isPadding) this.#keep(byte);
  }

  #onCommand(byte) {
    this.#step = this.#onData;
    if (byte === IAC) this.#keep(IAC);
    else if (isVerb(byte)) this.#expectOption(byte);
    else if (byte === SB) this.#beginSubnegotiation();
  }

  #expectOption(verb) {
    this.#verb = verb;
    this.#step = this.#onOption;
  }

  #onOption(option) {
    this.#step = this.#onData;
    const side = this.#verb === WILL || this.#verb === WONT ? this.#theirs : this.#ours;
    const answer = side.turn(option, this.#verb === WILL || this.#verb === DO);
    this.#reply.push(...answer);
    const isSizeWanted = answer[1] === WILL && option === WINDOW_SIZE;
    if (isSizeWanted) this.#reply.push(...this.#windowSize());
  }

  #beginSubnegotiation() {
    this.#subnegotiation = [];
    this.#subnegotiated = 0;
    this.#step = this.#onSubnegotiation;
  }

  #onSubnegotiation(byte) {
    if (byte === IAC) this.#step = this.#onSubcommand;
    else this.#keepOfSubnegotiation(byte);
  }

  #keepOfSubnegotiation(byte) {
    if (this.#subnegotiation.length < KEPT_BYTES) this.#subnegotiation.push(byte);
    if (++this.#subnegotiated === LONGEST_BYTES) this.#step = this.#onData;
  }

  #onSubcommand(byte) {
    this.#step = this.#onSubnegotiation;
    if (byte === IAC) this.#keepOfSubnegotiation(IAC);
    else if (byte === SE) this.#endSubnegotiation();
    else this.#onCommand(byte);  // the end was forgotten
  }

  #endSubnegotiation() {
    this.#step = this.#onData;
    const [option, verb] = this.#subnegotiation;
    const isTypeWanted = option === TERMINAL_TYPE && verb === SEND && this.#ours.has(TERMINAL_TYPE);
    const mayAnswer = isTypeWanted && this.#ours.mayAnswer(TERMINAL_TYPE);
    if (mayAnswer) this.#reply.push(...framed(TERMINAL_TYPE, [IS, ...new TextEncoder().encode(TERMINAL)]));
  }

  #windowSize() {
    const sizes = [this.#columns, this.#rows].map(size => Math.max(1, Math.min(LARGEST_SIZE, Math.round(size))));
    return framed(WINDOW_SIZE, sizes.flatMap(size => [size >> 8, size & 0xff]));
  }
}

function framed(option, bytes) {
  return [IAC, SB, option, ...bytes.flatMap(byte => (byte === IAC ? [IAC, IAC] : [byte])), IAC, SE];
}

// What stands behind the last line end, when that is short enough for a prompt.
function promptAfter(prompt, data) {
  const text = prompt + String.fromCharCode(...data.slice(-PROMPT_CHARACTERS));
  return text.slice(text.lastIndexOf('\n') + 1).slice(-PROMPT_CHARACTERS);
}
