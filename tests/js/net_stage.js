/* Where the scenarios of net_scenarios.js are played: the other end, and what is written down. */
'use strict';

const nodeNet = require('node:net');
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

/* The other end: what it does, and what it has seen of all connections together. */
async function beginServer(serve = () => {}, makeServer = nodeNet.createServer) {
  const sockets = new Set(), seen = [];
  const server = makeServer({allowHalfOpen: true}, socket => {
    const life = {text: '', ended: false};
    seen.push(life);
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', data => { life.text += data.toString('latin1'); });
    socket.on('end', () => { life.ended = true; if (serve.length) socket.end(); });
    socket.on('close', () => sockets.delete(socket));
    serve(socket);
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  const end = () => new Promise(resolve => {
    for (const socket of sockets) socket.destroy();
    server.close(resolve);
  });
  return {port: server.address().port, seen, end};
}

async function closedPort() {
  const {port, end} = await beginServer();
  await end();
  return port;
}

/* Plays a scenario with these modules: what it has noted, and what the other end has seen. */
async function play(scenario, modules) {
  const notes = new Notes(), server = await beginServer(scenario.serve);
  try {
    await scenario.play({
      ...modules, port: server.port, closedPort: await closedPort(), note: notes.note, watch: notes.watch,
      sleep, until, uncaught,
    });
  } finally {
    await server.end();
  }
  return notes.lines;
}

module.exports = {play, closedPort, beginServer, Notes, sleep, uncaught};
