/* Whatever a gateway says, and whenever: no exception without an owner, and nothing is left of what was closed. */
'use strict';

const assert = require('node:assert');
const path = require('node:path');
const {test} = require('node:test');
const {pathToFileURL} = require('node:url');
const WS2S = require('../../ws2s-js/ws2s.js');
const {settled, until} = require('./fake_gateway.js');

const ROUNDS = 150;
const URL = 'ws://gateway.test/';
const load = name => import(pathToFileURL(path.join(__dirname, '..', '..', 'ws2s-js', name)).href);

/* Whole numbers below n, the same for the same seed. */
function chances(seed) {
  return n => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return Math.floor(seed / 65536) % n;
  };
}

const TLS = {version: 'TLSv1.3', alpn: null};
const WORDS = [
  ...['connect', 'starttls', 'finish', 'close', 'ping', 'ack'].map(word => ({success: true, message: `${word} done`})),
  ...['connect', 'starttls'].map(word => ({success: true, message: `${word} done`, tls: TLS})),
  ...['closed', 'reset', 'finished', 'idle', '__proto__'].map(reason => ({success: false, code: 5, reason})),
  {success: false, code: 1, reason: 'tls', message: 'the certificate is for other names'},
  {success: false, code: 'x', reason: 7, message: {}}, {code: -1, data: 'AAAA'}, {code: -1}, {success: true, tls: 5},
  {success: true, tls: {version: {}, alpn: []}}, {}, null, 5, 'text', [], [[]], true,
].map(word => JSON.stringify(word));
const PIECES = [
  ...WORDS, ...WORDS, '{', '', '\0', new Uint8Array(0), new Uint8Array([1]), new Uint8Array(70000),
  ...[
    '+OK\r\n', '*-1\r\n', '>0\r\n', '|1\r\n+a\r\n+b\r\n', '>3\r\n+message\r\n:1\r\n_\r\n', '%1\r\n*0\r\n', '*1\r\n',
    '>3\r\n$9\r\nsubscribe\r\n*0\r\n#t\r\n', '-MOVED\r\n', '-MOVED 1 h:1\r\n', '-ASK 1 :2\r\n',
    '*1\r\n*3\r\n:0\r\n:9\r\n*0\r\n',
  ].map(text => new TextEncoder().encode(text)),
];

/* The WebSocket of a gateway that says what it likes, and at times nothing, or the end. */
function hostile(chance, sockets) {
  return class {
    readyState = 0;
    hasAskedForEnd = false;

    constructor() {
      sockets.push(this);
      setImmediate(() => {
        if (this.readyState) return;
        this.readyState = 1;
        if (chance(9)) this.onopen({});
        else this.drop();
        this.#talk();
      });
    }

    #talk() {
      if (this.readyState !== 1) return;
      const what = chance(PIECES.length + 1), piece = PIECES[what];
      if (piece === undefined) this.drop();
      else this.onmessage({data: typeof piece === 'string' ? piece : piece.slice().buffer});
      if (chance(4)) setImmediate(() => this.#talk());
      else this.#talk();
    }

    send(data) {
      assert.ok(this.readyState > 0, 'sent before it was open');
      this.hasAskedForEnd ||= typeof data === 'string' && /"close"/.test(data);
      // Otherwise hardly anything would ever be connected.
      if (typeof data === 'string' && /"(connect|starttls)"/.test(data) && chance(4)) {
        setImmediate(() => this.readyState === 1 && this.onmessage({data: WORDS[6 + chance(2)]}));
      }
    }

    drop() {
      this.readyState = 3;
      this.onclose({code: 1006});
    }

    close() {
      this.readyState = 3;
    }
  };
}

function useSocket(chance, socket) {
  socket.on('error', () => {});
  socket.on('data', () => {});
  for (let i = chance(4); i; i--) socket.write('x');
  if (!chance(3)) socket.end('y');
  return () => socket.destroy();
}

function useStandard(chance, socket) {
  const writer = socket.writable.getWriter();
  for (let i = chance(4); i; i--) writer.write(new Uint8Array(9)).catch(() => {});
  socket.readable.getReader().read().catch(() => {});
  if (socket.secureTransport === 'starttls') {
    try {
      socket = socket.startTls();
    } catch (error) {
      assert.strictEqual(error.name, 'SocketError');
    }
  }
  return () => socket.close().catch(() => {});
}

function useRedis(chance, redis) {
  const asked = [redis.command('GET', 'k'), redis.multi([['INCR', 'k']]), redis.subscribe('c', () => {})];
  for (const each of asked) each.catch(() => {});
  return () => redis.close();
}

async function users(chance, options) {
  const [net, tls, sockets, {RedisCluster}] = await Promise.all(['net', 'tls', 'sockets', 'cluster'].map(
    name => load(`${name}.mjs`)));
  const to = {port: 7, host: 'h', ...options}, retry = {first: 1, longest: 2};
  const kinds = ['off', 'on', 'starttls'];
  return [
    () => useSocket(chance, net.connect(to)), () => useSocket(chance, tls.connect(to)),
    () => useSocket(chance, tls.connect({host: 'h', socket: net.connect(to).on('error', () => {})})),
    () => useStandard(chance, sockets.connect('h:7', {...options, secureTransport: kinds[chance(3)]})),
    () => useRedis(chance, new WS2S.Redis(URL, {...to, retry})),
    () => useRedis(chance, new RedisCluster(URL, {...to, retry, patience: 5})),
  ];
}

for (const [kind, name] of ['net', 'tls', 'STARTTLS', 'sockets', 'Redis', 'cluster'].entries()) {
  test(`no word of a gateway is an exception of nobody, and what is closed asks for its end: ${name}`, async () => {
    const chance = chances(kind + 1), opened = [];
    const options = {gateway: URL, WebSocket: hostile(chance, opened), timeout: 0, heartbeat: 0};
    for (let round = 0; round < ROUNDS; round++) {
      const end = (await users(chance, options))[kind]();
      for (let i = chance(12); i; i--) await new Promise(setImmediate);
      end();
    }
    await until(() => opened.every(({readyState, hasAskedForEnd}) => readyState !== 1 || hasAskedForEnd));
    assert.ok(opened.length >= ROUNDS / 2);
    for (const socket of opened) if (socket.readyState === 1) socket.drop();
    await settled();
  });
}
