/** redis-watching.mjs: MONITOR, over a connection of its own. */

import WS2S, {RedisError, WS2SError} from './ws2s.mjs';
import {nameOf} from './redis-bytes.mjs';

const LINE_BYTES = 16384;      // that are kept of a line
const BUSY_MILLISECONDS = 20;  // then others have their turn
const LF = 10;

const ENCODER = new TextEncoder();

function encoded(words) {
  const parts = words.map(word => `$${ENCODER.encode(word).length}\r\n${word}\r\n`);
  return ENCODER.encode(`*${words.length}\r\n${parts.join('')}`);
}

/** Lines of bytes that come in pieces, without their CR LF, as names (a character is a byte). Long ones are cut. */
export class LineReader {
  #begun = [];
  #size = 0;

  /** The lines that end in this piece. */
  read(piece) {
    const lines = [];
    let begin = 0;
    for (let end = piece.indexOf(LF); end >= 0; end = piece.indexOf(LF, begin)) {
      this.#keep(piece.subarray(begin, end));
      lines.push(this.#take());
      begin = end + 1;
    }
    this.#keep(piece.slice(begin));
    return lines;
  }

  #keep(bytes) {
    const kept = bytes.subarray(0, LINE_BYTES - this.#size);
    if (kept.length) this.#begun.push(nameOf(kept));
    this.#size += kept.length;
  }

  #take() {
    const line = this.#begun.join('');
    this.#begun = [];
    this.#size = 0;
    return line.endsWith('\r') ? line.slice(0, -1) : line;
  }
}

function commandsOf({username, password}) {
  const isLogin = password !== undefined;
  const login = isLogin ? [['AUTH', ...(username ? [username] : []), password]] : [];
  return [...login, ['MONITOR']];
}

function otherTurn() {
  return new Promise(resolve => { setTimeout(resolve); });
}

/**
 * Watch all commands that a server carries out: `onLine(line)` for each line of MONITOR, until `signal` ends it, by
 * rejecting with its reason. `options` are those of a WS2S.Redis. Rejects also with the server's error, or the loss of
 * the connection, which is not made again.
 */
export async function watchCommands(url, {username, password, db, ...options}, {onLine, signal}) {
  const connection = await WS2S.connect(url, {...options, signal});
  const end = () => connection.abort(signal.reason);
  signal.addEventListener('abort', end);
  connection.closed.catch(() => {});  // reading tells
  try {
    signal.throwIfAborted();
    await readAll(connection, commandsOf({username, password}), onLine);
  } finally {
    signal.removeEventListener('abort', end);
    connection.abort();
  }
}

async function readAll(connection, commands, onLine) {
  const writer = connection.writable.getWriter(), reader = connection.readable.getReader();
  for (const words of commands) await writer.write(encoded(words));
  const onReply = repliesTo(commands.length, onLine), lines = new LineReader();
  let begun = performance.now();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    lines.read(next.value).forEach(onReply);
    if (performance.now() - begun < BUSY_MILLISECONDS) continue;
    await otherTurn();
    begun = performance.now();
  }
  throw new WS2SError(5, 'closed', 'the server has closed the connection');
}

// The first ones only tell that all is well.
function repliesTo(count, onLine) {
  return line => {
    if (line.startsWith('-')) throw new RedisError(line.slice(1));
    if (count > 0) count--;
    else onLine(line.slice(1));
  };
}
