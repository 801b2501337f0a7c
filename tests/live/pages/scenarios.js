/* What a page does with the gateway; Node runs the same file. A scenario takes an object and promises one. */
'use strict';

const DEADLINE = 30000;
const PIECE = 24576;  // divisible by 3, so that pieces of base64 can be joined

function bytesOf(text) {
  return new TextEncoder().encode(text);
}

function textOf(bytes) {
  return new TextDecoder('utf-8', {fatal: true, ignoreBOM: true}).decode(bytes);
}

function joined(pieces) {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  pieces.reduce((offset, piece) => { whole.set(piece, offset); return offset + piece.length; }, 0);
  return whole;
}

function toBase64(bytes) {
  let text = '';
  for (let i = 0; i < bytes.length; i += PIECE) {
    text += btoa(String.fromCharCode.apply(null, bytes.subarray(i, i + PIECE)));
  }
  return text;
}

function fromBase64(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

function randomBytes(size) {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i += 65536) crypto.getRandomValues(bytes.subarray(i, i + 65536));
  return bytes;
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, byte => byte.toString(16).padStart(2, '0')).join('');
}

function resp(words) {
  const pieces = [bytesOf('*' + words.length + '\r\n')];
  for (const word of words) {
    const bytes = typeof word === 'string' ? bytesOf(word) : word;
    pieces.push(bytesOf('$' + bytes.length + '\r\n'), bytes, bytesOf('\r\n'));
  }
  return joined(pieces);
}

/* One WebSocket. Its form says how bytes go to the target: by send, by sendb or as binary messages. */
class Conversation {
  constructor(url, form) {
    this.form = form;
    this.replies = [];   // what the gateway said that is not data: the message, or all of a failure
    this.pieces = [];    // data that nobody has read yet
    this.unread = 0;
    this.received = 0;
    this.ended = null;
    this.wake = () => {};
    this.socket = new WebSocket(url);
    this.socket.binaryType = 'arraybuffer';
    this.socket.onopen = () => this.wake();
    this.socket.onmessage = event => { this.take(event.data); this.wake(); };
    this.socket.onerror = () => {};  // onclose follows
    this.socket.onclose = ({code, wasClean}) => { this.ended = {code, wasClean}; this.wake(); };
  }

  take(message) {
    if (typeof message !== 'string') return this.takeData(new Uint8Array(message));
    const reply = JSON.parse(message);
    if (reply.code === -1) return this.takeData(fromBase64(reply.data));
    this.replies.push(reply.success ? reply.message : reply);
  }

  takeData(bytes) {
    this.pieces.push(bytes);
    this.unread += bytes.length;
    this.received += bytes.length;
  }

  until(condition, what) {
    return new Promise((resolve, reject) => {
      const fail = why => reject(new Error(
        `${why} while waiting for ${what}; ${this.received} bytes received, ${this.unread} unread, ` +
        `replies ${JSON.stringify(this.replies)}`));
      const timer = setTimeout(() => { this.wake = () => {}; fail('timeout'); }, DEADLINE);
      this.wake = () => {
        const holds = condition();
        if (!holds && !this.ended) return;
        clearTimeout(timer);
        this.wake = () => {};
        if (holds) resolve(); else fail('closed with ' + this.ended.code);
      };
      this.wake();
    });
  }

  isOpen() {
    return this.socket.readyState === 1;
  }

  async opened() {
    await this.until(() => this.isOpen(), 'the WebSocket to open');
    return this;
  }

  ask(command, fields) {
    this.socket.send(JSON.stringify({command, ...fields}));
  }

  connect(port, fields) {
    this.ask('connect', {host: '127.0.0.1', port, binary: this.form === 'binary', ...fields});
  }

  write(bytes) {
    if (this.form === 'binary') this.socket.send(bytes);
    else this.ask(this.form, {data: this.form === 'send' ? textOf(bytes) : toBase64(bytes)});
  }

  async replied(count) {
    await this.until(() => this.replies.length >= count, `reply ${count}`);
  }

  /* The next `size` bytes of the target. */
  async read(size) {
    await this.until(() => this.unread >= size, `${size} bytes`);
    const whole = joined(this.pieces);
    this.pieces = [whole.subarray(size)];
    this.unread -= size;
    return whole.subarray(0, size);
  }

  async readText(size) {
    return textOf(await this.read(size));
  }

  async exchange(batches) {
    const answers = [];
    for (const [requests, size] of batches) {
      for (const words of requests) this.write(resp(words));
      answers.push(await this.readText(size));
    }
    return answers;
  }

  async end() {
    this.socket.close();
    await this.until(() => this.ended, 'the end');
    return this.ended;
  }
}

const scenarios = {
  /* Sends batches of requests, and after each reads as many bytes as it should bring. */
  async exchange({url, form, port, batches}) {
    const talk = await new Conversation(url, form).opened();
    talk.connect(port);
    const answers = await talk.exchange(batches);
    talk.ask('close');
    await talk.until(() => talk.replies.includes('close done'), 'close done');
    await talk.end();
    return {answers, replies: talk.replies, unread: talk.unread};
  },

  /* Stores a large value and fetches it again. */
  async bulk({url, form, port, key, size}) {
    const value = form === 'send' ? bytesOf(toBase64(randomBytes(size)).slice(0, size)) : randomBytes(size);
    const request = resp(['SET', key, value]);
    const talk = await new Conversation(url, form).opened();
    talk.connect(port);
    await talk.replied(1);
    const begun = Date.now();
    talk.write(request);
    const stored = await talk.readText(5);
    const turned = Date.now();
    talk.write(resp(['GET', key]));
    const head = await talk.readText(`$${size}\r\n`.length);
    const fetched = await talk.read(size);
    const finished = Date.now();
    await talk.end();
    return {stored, head, up: (turned - begun) / 1000, down: (finished - turned) / 1000,
            sent: await sha256(value), received: await sha256(fetched)};
  },

  /* Two clients: one asks for a large value, the other talks, then the first reads. */
  async pair({url, form, port, key, size, batches}) {
    const reader = await new Conversation(url, form).opened();
    const talker = await new Conversation(url, form).opened();
    reader.connect(port);
    talker.connect(port);
    reader.write(resp(['GET', key]));
    const answers = await talker.exchange(batches);
    const fetched = await sha256(await reader.read(size));
    await reader.end();
    await talker.end();
    return {answers, fetched, unread: reader.unread + talker.unread,
            replies: [...reader.replies, ...talker.replies]};
  },

  /* Opens, and closes with `code`, or waits for the gateway to close when it is null. */
  async visit({url, code}) {
    const talk = new Conversation(url, 'binary');
    await talk.until(() => talk.isOpen() || talk.ended, 'the WebSocket to open');
    const opened = !talk.ended;
    if (opened && code) talk.socket.close(code);
    await talk.until(() => talk.ended, 'the end');
    return {opened, extensions: talk.socket.extensions, ...talk.ended};
  },

  /* Reads a flood with a window, and gives a quarter of it back each time it is used up. */
  async slowReader({url, form, port, window, size}) {
    const talk = await new Conversation(url, form).opened();
    talk.connect(port, {window});
    const held = [];
    let given = 0;
    while (given < size) {
      await talk.until(() => talk.received - given >= Math.min(window, size - given), 'a full window');
      // What the gateway sends in spite of a full window is there before the answers to these.
      for (let pings = 0; pings < 3; pings++) {
        const before = talk.replies.length;
        talk.ask('ping');
        await talk.replied(before + 1);
      }
      held.push(talk.received - given);
      const bytes = Math.min(window / 4, talk.received - given);
      talk.ask('ack', {bytes});
      given += bytes;
    }
    await talk.until(() => talk.replies.some(reply => reply.code === 5), 'code 5');
    const received = await sha256(await talk.read(talk.unread));
    return {received, closed: await talk.end(), most: Math.max(...held),
            fullWindows: held.filter(bytes => bytes >= window).length};
  },
};

if (typeof module === 'object') module.exports = scenarios;
