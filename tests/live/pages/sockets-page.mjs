/* What a page does with ws2s/sockets. Which gateway it goes through the page itself tells. */
import {configure, connect, TCPSocket} from './sockets.mjs';

const HOST = '127.0.0.1';
const encode = text => new TextEncoder().encode(text);

async function all(readable) {
  let text = '';
  for await (const bytes of readable) text += new TextDecoder().decode(bytes, {stream: true});
  return text;
}

/* Resolves to what the promise fails with. */
async function failure(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    const {name, message, cause} = error;
    const [begins] = message.split(':');
    return {name, reason: cause && cause.reason, isTypeError: error instanceof TypeError, begins};
  }
}

/* Lines to a server and its answers, the last line of each. */
class Dialog {
  #reader;
  #writer;
  #text = '';

  constructor({readable, writable}) {
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
  }

  async answer() {
    let found;
    while (!(found = /^((?:\d{3}-.*\r\n)*)(\d{3} .*)\r\n/.exec(this.#text))) {
      const {done, value} = await this.#reader.read();
      if (done) return null;
      this.#text += new TextDecoder().decode(value);
    }
    this.#text = this.#text.slice(found[0].length);
    return found[2].split(' ')[0];
  }

  async say(text) {
    await this.#writer.write(encode(text + '\r\n'));
    return this.answer();
  }

  release() {
    this.#reader.releaseLock();
    this.#writer.releaseLock();
  }
}

async function readPiecewise(readable, isByob, take) {
  const reader = readable.getReader(isByob ? {mode: 'byob'} : undefined);
  let view = isByob ? new Uint8Array(100000) : undefined;
  for (;;) {
    const {done, value} = await reader.read(view);
    if (done) return;
    await take(value);
    if (isByob) view = new Uint8Array(value.buffer);
  }
}

globalThis.scenarios = {
  async echo({port, how}) {
    const socket = how === 'connect' ? connect({hostname: HOST, port}) : await new TCPSocket(HOST, port).opened;
    const writer = socket.writable.getWriter();
    writer.write(encode('hello'));
    writer.close();
    return all(socket.readable);
  },

  /* Its own gateway is named by the URL of its import. */
  async inWorker({port}) {
    const worker = new Worker('sockets-worker.mjs', {type: 'module'});
    try {
      return await new Promise((resolve, reject) => {
        worker.onmessage = ({data}) => resolve(data);
        worker.onerror = ({message}) => reject(new Error(message));
        worker.postMessage(port);
      });
    } finally {
      worker.terminate();
    }
  },

  async failures({refused, elsewhere}) {
    const forbidden = {hostname: '169.254.169.254', port: 80};
    return {
      refused: await failure(connect(`${HOST}:${refused}`).opened),
      forbidden: await failure(connect(forbidden).closed),
      name: await failure(connect('nobody.invalid:80').opened),
      gateway: await failure(connect(forbidden, {gateway: elsewhere}).opened),
      direct: await failure(new TCPSocket(HOST, refused).opened),
    };
  },

  async reset({port}) {
    const socket = connect(`${HOST}:${port}`);
    return [await failure(socket.closed), await failure(all(socket.readable))];
  },

  /* Stops after the first megabyte until `goOn`, then rests after each one. */
  async readSlowly({port, rest, byob}) {
    const socket = connect(`${HOST}:${port}`), hash = new ChainedHash(), mayGoOn = gate();
    let received = 0, rested = 0;
    globalThis.progress = 0;
    await readPiecewise(socket.readable, byob, async bytes => {
      globalThis.progress = received += bytes.length;
      await hash.add(bytes);
      if (received >= (rested + 1) * PIECE_BYTES) await (rested++ ? later(rest) : mayGoOn);
    });
    await socket.closed;
    return {received, hash: hash.hex};
  },

  /* Writes noise as fast as it may. */
  async writeFast({port, size}) {
    const socket = connect(`${HOST}:${port}`), hash = new ChainedHash();
    const writer = socket.writable.getWriter();
    for (globalThis.progress = 0; globalThis.progress < size; globalThis.progress += PIECE_BYTES) {
      const piece = randomBytes(PIECE_BYTES);
      await Promise.all([hash.add(piece), writer.write(piece)]);
    }
    await writer.close();
    await socket.closed;
    return hash.hex;
  },

  async sendMail({port, ca}) {
    configure({tls: {ca}});  // the gateway is that of the page
    const socket = connect({hostname: HOST, port}, {secureTransport: 'starttls'});
    const clear = new Dialog(socket), answers = [await clear.answer()];
    for (const line of ['EHLO page.test', 'STARTTLS']) answers.push(await clear.say(line));
    clear.release();
    const secure = socket.startTls(), dialog = new Dialog(secure);
    await socket.closed;
    const envelope = ['EHLO page.test', 'MAIL FROM:<a@page.test>', 'RCPT TO:<b@mail.test>', 'DATA'];
    for (const line of [...envelope, 'Subject: hi\r\n\r\nx\r\n.', 'QUIT']) answers.push(await dialog.say(line));
    await secure.close();
    return {answers, upgraded: socket.upgraded, transports: [socket.secureTransport, secure.secureTransport]};
  },

  /* The first line of a server that speaks TLS from the beginning. */
  async greeting({port, ca}) {
    const socket = connect({hostname: HOST, port}, {secureTransport: 'on', tls: {ca}});
    const {value} = await socket.readable.getReader().read();
    await socket.close();
    return new TextDecoder().decode(value).slice(0, 4);
  },

  async untrusted({port}) {
    return failure(connect({hostname: HOST, port}, {secureTransport: 'on'}).opened);
  },

  async tunnel({port, ssh}) {
    const socket = connect({hostname: HOST, port}, {ssh});
    const writer = socket.writable.getWriter();
    writer.write(encode('by ssh'));
    writer.close();
    return all(socket.readable);
  },
};
