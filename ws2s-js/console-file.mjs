/** console-file.mjs: a file that is sent as it is, piece by piece. */

const PIECE_BYTES = 65536;
const PIECES_AHEAD = 16;  // pieces of the file that the target has not taken yet
const CR = 13;

// Telnet must see a CR LF as a whole.
async function pieceOf(file, begin) {
  const piece = new Uint8Array(await file.slice(begin, begin + PIECE_BYTES).arrayBuffer());
  const isCut = piece.at(-1) === CR && piece.length > 1 && begin + piece.length < file.size;
  return isCut ? piece.subarray(0, -1) : piece;
}

function untilAborted(signal) {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), {once: true}));
}

/**
 * Send a file through a Line, as fast as the target takes it. `onProgress(bytes)`: how much was taken so far. Resolves
 * to true when all of it was, to false when the connection has ended before; rejects with the reason of `signal`, after
 * which pieces that wait already still go, and with that of a file that cannot be read.
 */
export async function sendFile(file, line, {signal, onProgress = () => {}}) {
  const aborted = untilAborted(signal);
  aborted.catch(() => {});  // nobody may wait for it at that moment
  const ahead = [];
  const takeFirst = async () => {
    const {sent, end} = ahead.shift();
    const isTaken = await Promise.race([sent, aborted]);
    if (isTaken) onProgress(end);
    return isTaken;
  };
  for (let at = 0; at < file.size;) {
    signal.throwIfAborted();
    const piece = await Promise.race([pieceOf(file, at), aborted]);
    at += piece.length;
    ahead.push({sent: line.send(piece), end: at});
    if (ahead.length === PIECES_AHEAD && !await takeFirst()) return false;
  }
  while (ahead.length) if (!await takeFirst()) return false;
  return true;
}
