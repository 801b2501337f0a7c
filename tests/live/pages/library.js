/* What a page does with ws2s.js, however it has come by it. A scenario takes an object and promises one. */
'use strict';

const HOST = '127.0.0.1';
const PIECE_BYTES = 1048576;  // of what is hashed at once

function later(milliseconds) {
  return new Promise(resolve => setTimeout(resolve, milliseconds));
}

function textOf(bytes) {
  return new TextDecoder().decode(bytes);
}

function hexOf(bytes) {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}

function randomBytes(size) {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i += 65536) crypto.getRandomValues(bytes.subarray(i, i + 65536));
  return bytes;
}

/* Each hash is taken of the one before and the next piece: crypto.subtle takes no streams. */
class ChainedHash {
  #piece = new Uint8Array(32 + PIECE_BYTES);
  #filled = 32;

  async add(bytes) {
    while (bytes.length) {
      const part = bytes.subarray(0, this.#piece.length - this.#filled);
      this.#piece.set(part, this.#filled);
      this.#filled += part.length;
      bytes = bytes.subarray(part.length);
      if (this.#filled === this.#piece.length) await this.#link();
    }
  }

  async #link() {
    this.#piece.set(new Uint8Array(await crypto.subtle.digest('SHA-256', this.#piece)));
    this.#filled = 32;
  }

  /* Of whole pieces. */
  get hex() {
    return hexOf(this.#piece.subarray(0, 32));
  }
}

/* Whoever tests lets us go on. */
function gate() {
  return new Promise(resolve => { globalThis.goOn = () => resolve(); });
}

/* What is called, in order, and a promise of one call. */
function recorded(object, ...names) {
  const told = [], waiting = [];
  for (const name of names) {
    object[name] = (...values) => {
      told.push([name, ...values]);
      for (const one of waiting) if (one.name === name) one.resolve(values);
    };
  }
  const next = name => new Promise(resolve => waiting.push({name, resolve}));
  return {told, next, names: () => told.map(([name]) => name)};
}

function scenariosWith(WS2S, WS2SError, RedisError) {
  async function rejectionOf(promise) {
    try {
      await promise;
    } catch (error) {
      const {name, code, reason} = error;
      return {name, code, reason, isWS2SError: error instanceof WS2SError, isRedisError: error instanceof RedisError};
    }
    throw new Error('it has not failed');
  }

  return {
    /* There and back through the two streams. */
    async streams({url, port, size, ...options}) {
      const sent = randomBytes(size);
      const connection = await WS2S.connect(url, {host: HOST, port, ...options});
      const writer = connection.writable.getWriter();
      const written = writer.write(sent);
      const received = new Uint8Array(size);
      let filled = 0;
      const reader = connection.readable.getReader();
      while (filled < size) {
        const {value} = await reader.read();
        received.set(value, filled);
        filled += value.length;
      }
      await written;
      await writer.close();
      const {done} = await reader.read();
      await connection.closed;
      const {remoteAddress, remotePort} = await connection.opened;
      return {same: received.every((byte, i) => byte === sent[i]), done, remoteAddress, remotePort};
    },

    async failure({url, port, ...options}) {
      return rejectionOf(WS2S.connect(url, {host: HOST, port, ...options}));
    },

    async redis({url, port}) {
      const redis = new WS2S.Redis(url, {host: HOST, port, text: true});
      const set = await redis.command('SET', 'name', 'J\u00fcrgen');
      const get = await redis.command('GET', 'name');
      const bytes = hexOf(await redis.bytes('GET', 'name'));
      const error = await rejectionOf(redis.command('LPUSH', 'name', 'x'));
      const listener = new WS2S.Redis(url, {host: HOST, port, text: true});
      const message = new Promise(resolve => {
        listener.subscribe('news', (text, channel) => resolve([text, channel]))
          .then(() => redis.command('PUBLISH', 'news', 'fresh'));
      });
      const told = await message;
      await Promise.all([redis.close(), listener.close()]);
      return {set, get, bytes, error, message: told};
    },

    async callbackSocket({url, port}) {
      const socket = new WS2S(url).newSocket();
      const record = recorded(socket, 'onReady', 'onOpen', 'onRecv', 'onClose', 'onError');
      await record.next('onReady');
      const open = record.next('onOpen');
      socket.connect(HOST, port);
      await open;
      const first = record.next('onRecv');
      socket.send('h\u00e9');
      const [text] = await first;
      const second = record.next('onRecv');
      socket.sendb(Uint8Array.of(0, 255));
      const [bytes] = await second;
      const closed = record.next('onClose');
      socket.close();
      await closed;
      return {names: record.names(), text: textOf(text), bytes: hexOf(bytes)};
    },

    async callbackSocketFailure({url, port}) {
      const socket = new WS2S(url).newSocket();
      const record = recorded(socket, 'onReady', 'onOpen', 'onRecv', 'onClose', 'onError');
      const failed = record.next('onError');
      socket.connect(HOST, port);
      const [error] = await failed;
      const closed = record.next('onClose');
      socket.close();
      await closed;
      return {names: record.names(), error};
    },

    async callbackRedis({url, port, factory}) {
      const redis = new WS2S(url)[factory](HOST, port);
      const record = recorded(redis, 'onSocketReady', 'onReady', 'onResponse', 'onError');
      await record.next('onReady');
      const names = record.names();
      const failed = record.next('onError');
      redis.request('set name "two words"\nget name\nget nothing\nlpush name x');
      await failed;
      await redis.close();
      return {names, answers: record.told.slice(names.length).map(([name, data]) => [name, data])};
    },

    /* Until the gateway is lost; `progress` is 1 once the target has answered. */
    async loss({url, port, ...options}) {
      const connection = await WS2S.connect(url, {host: HOST, port, ...options});
      await connection.writable.getWriter().write(Uint8Array.of(1));
      const reader = connection.readable.getReader();
      await reader.read();
      globalThis.progress = 1;
      const [closed, read] = await Promise.all([rejectionOf(connection.closed), rejectionOf(reader.read())]);
      return [closed.reason, read.reason];
    },

    /* A command that is under way when the path dies, and one after it; `progress` is 1 in between. */
    async redisLoss({url, port, ...options}) {
      const redis = new WS2S.Redis(url, {host: HOST, port, text: true, ...options});
      await redis.command('SET', 'n', 1);
      const asked = rejectionOf(redis.command('BLPOP', 'nothing', 0));
      const lost = new Promise(resolve => { redis.onLost = error => resolve(error.reason); });
      globalThis.progress = 1;
      const [reason, {reason: rejection}] = await Promise.all([lost, asked]);
      const after = await redis.command('GET', 'n');
      await redis.close();
      return [reason, rejection, after];
    },

    /* A connection and a Redis client that stay; `told` is what becomes of them, and `ask` asks that client. */
    async stay({url, port, redisPort}) {
      globalThis.told = [];
      addEventListener('pageshow', ({persisted}) => told.push(['pageshow', persisted]));
      const connection = await WS2S.connect(url, {host: HOST, port});
      connection.closed.catch(({reason}) => told.push(['connection', reason]));
      const redis = new WS2S.Redis(url, {host: HOST, port: redisPort, text: true, retry: {first: 10}});
      redis.onLost = ({reason}) => told.push(['redis', reason]);
      await redis.subscribe('news', message => told.push(['news', message]));
      globalThis.ask = words => redis.command(...words);
    },

    /* The same library in a worker, where there is no document. */
    inWorker({url, port}) {
      const worker = new Worker('library-worker.js');
      return new Promise((resolve, reject) => {
        worker.onmessage = ({data}) => { worker.terminate(); resolve(data); };
        worker.onerror = ({message}) => reject(new Error(message));
        worker.postMessage({url, host: HOST, port});
      });
    },

    /* Writes `size` bytes of a pattern as fast as it may; `progress` tells how many. */
    async writeFast({url, port, size}) {
      const connection = await WS2S.connect(url, {host: HOST, port});
      const writer = connection.writable.getWriter();
      const piece = Uint8Array.from({length: 65536}, (_, i) => i % 251);
      for (globalThis.progress = 0; globalThis.progress < size; globalThis.progress += piece.length) {
        await writer.write(piece);
      }
      await writer.close();
      return globalThis.progress;
    },

    /* Reads a flood. Stops after the first piece until `goOn`, then rests after each one. */
    async readSlowly({url, port, rest}) {
      const connection = await WS2S.connect(url, {host: HOST, port});
      const hash = new ChainedHash();
      const mayGoOn = gate();
      let received = 0, rested = 0;
      globalThis.progress = 0;
      for await (const bytes of connection.readable) {
        await hash.add(bytes);
        globalThis.progress = received += bytes.length;
        if (received < (rested + 1) * PIECE_BYTES) continue;
        await (rested++ ? later(rest) : mayGoOn);
      }
      await connection.closed;
      return {received, hash: hash.hex};
    },
  };
}
