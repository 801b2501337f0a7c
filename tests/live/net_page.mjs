/* A page that uses Node's net, as a bundler makes it: with the gateway in the place of TCP. */
/* global ChainedHash, PIECE_BYTES, gate, later */
import net from 'net';

const HOST = '127.0.0.1';
const WRITE_BYTES = 65536;

const told = (socket, event) => new Promise((resolve, reject) => {
  socket.once(event, resolve);
  socket.once('error', reject);
});

globalThis.scenarios = {
  /* Reads a flood. Stops after the first piece until `goOn`, then rests after each one. */
  async readSlowly({port, rest}) {
    const hash = new ChainedHash(), mayGoOn = gate();
    let received = 0, rested = 0;
    globalThis.progress = 0;
    for await (const bytes of net.connect(port, HOST)) {
      await hash.add(bytes);
      globalThis.progress = received += bytes.length;
      if (received < (rested + 1) * PIECE_BYTES) continue;
      await (rested++ ? later(rest) : mayGoOn);
    }
    return {received, hash: hash.hex};
  },

  /* Writes noise as fast as the socket takes it. */
  async writeFast({port, size}) {
    const socket = net.connect(port, HOST), hash = new ChainedHash();
    await told(socket, 'connect');
    globalThis.progress = 0;
    while (globalThis.progress < size) {
      const piece = crypto.getRandomValues(new Uint8Array(WRITE_BYTES));
      await hash.add(piece);
      const hasRoom = socket.write(piece);
      globalThis.progress += piece.length;
      if (!hasRoom) await told(socket, 'drain');
    }
    const closed = told(socket.resume(), 'close');
    socket.end();
    await closed;
    return {sent: socket.bytesWritten, hash: hash.hex};
  },
};
