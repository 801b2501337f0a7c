/* Where the scenarios of net_scenarios.js are played: the other end, and what is written down. */
'use strict';

const nodeNet = require('node:net');
const nodeTls = require('node:tls');
const {until} = require('./fake_gateway.js');

function plain(value) {
  if (value instanceof Error) return `${value.name} ${value.code}`;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1');
  return value;
}

// Not `finish` and `drain`: when they come beside data of the other end is chance.
const EVENTS = ['connect', 'ready', 'data', 'end', 'timeout', 'secureConnect', 'error', 'close'];

/* What was noted, in order. What came in several pieces is one. */
class Notes {
  lines = [];

  note = (...values) => {
    const [event, data] = values.map(plain), last = this.lines[this.lines.length - 1];
    if (event === 'data' && last && last[0] === 'data') last[1] += data;
    else this.lines.push(values.map(plain));
  };

  watch = (socket, events = EVENTS) => {
    for (const event of events) socket.on(event, (...values) => this.note(event, ...values));
    return new Promise(resolve => socket.once('close', resolve));
  };
}

const sleep = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));

/* The next error that nobody catches. */
function uncaught() {
  return new Promise(resolve => process.setUncaughtExceptionCaptureCallback(error => {
    process.setUncaughtExceptionCaptureCallback(null);
    resolve(error);
  }));
}

/* What a connection of the other end does, with TLS or without. */
function live(socket, serve, life) {
  socket.on('error', () => {});  // belongs to what is tested
  socket.on('data', data => { life.text += data.toString('latin1'); });
  socket.on('end', () => { life.ended = true; if (serve.length) socket.end(); });
}

/* The other end: what it does, and what it has seen of each connection. */
async function beginServer(serve = () => {}, makeServer = nodeNet.createServer) {
  const sockets = new Set(), seen = [];
  const server = makeServer({allowHalfOpen: true}, socket => {
    const life = {text: '', ended: false};
    seen.push(life);
    live(socket, serve, life);
    serve(socket);
  });
  server.on('connection', socket => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  const end = () => new Promise(resolve => {
    for (const socket of sockets) socket.destroy();
    server.close(resolve);
  });
  return {port: server.address().port, seen, end};
}

const SECURE = {requestCert: true, rejectUnauthorized: false, ALPNProtocols: ['first', 'second']};

/* As beginServer(), with TLS from the beginning. */
function beginSecureServer(serve, certificate) {
  return beginServer(serve, (options, onConnection) => {
    const server = nodeTls.createServer({...SECURE, ...certificate, ...options}, onConnection);
    return server.on('tlsClientError', () => {});
  });
}

/* The TLS of the other end, on a connection that has spoken without. */
function upgraded(socket, certificate) {
  const secured = new nodeTls.TLSSocket(socket, {isServer: true, ...certificate});
  live(secured, socket => socket, {text: ''});
  return secured;
}

async function closedPort() {
  const {port, end} = await beginServer();
  await end();
  return port;
}

function beginOtherEnd({serve, secure}, certificate) {
  if (secure) return beginSecureServer(secure, certificate);
  const upgrade = socket => upgraded(socket, certificate);
  return beginServer(serve && serve.length > 1 ? socket => serve(socket, upgrade) : serve);
}

/* Plays a scenario with these modules: what it has noted. `certificate` is that of the other end: {cert, key}. */
async function play(scenario, modules, certificate) {
  const notes = new Notes(), server = await beginOtherEnd(scenario, certificate);
  try {
    await scenario.play({
      ...modules, port: server.port, closedPort: await closedPort(), note: notes.note, watch: notes.watch,
      failed: socket => notes.watch(socket, ['secureConnect', 'error', 'close']), sleep, until, uncaught,
    });
  } finally {
    await server.end();
  }
  return notes.lines;
}

module.exports = {play, beginServer, beginSecureServer};
