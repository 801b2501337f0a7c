/* node wisp_client.js SCENARIO SETTINGS: npm's wisp-js plays the page's client of the Wisp protocol. Writes JSON. */
'use strict';

const crypto = require('crypto');
const {client: wisp, extensions} = require('@mercuryworkshop/wisp-js/client');

const PACKET = 65536;

// What comes for a stream that it has closed itself is worth a warning to wisp-js.
console.warn = () => {};

/* Of version 2: with a password unless `user` is missing. */
function optionsOf({version = 2, user, password}) {
  const offered = [new extensions.MOTDExtension({client_config: {}}), new extensions.UDPExtension({client_config: {}}),
                   new extensions.PasswordAuthExtension({client_config: {username: user, password}})];
  return {wisp_version: version, wisp_extensions: user === undefined ? offered.slice(0, 2) : offered};
}

function opened(settings) {
  const connection = new wisp.ClientConnection(settings.url, optionsOf(settings));
  return new Promise((resolve, reject) => {
    connection.onopen = () => resolve(connection);
    connection.onclose = connection.onerror = () => reject(new Error('the connection has not opened'));
  });
}

/* The reason with which the stream has ended, once it has. */
function ended(stream) {
  return new Promise(resolve => { stream.onclose = resolve; });
}

function heard(stream, size) {
  let text = '';
  return new Promise(resolve => {
    stream.onmessage = data => {
      text += Buffer.from(data).toString();
      if (text.length >= size) resolve(text);
    };
  });
}

async function echoed(connection, port, text) {
  const stream = connection.create_stream('127.0.0.1', port);
  const reply = heard(stream, text.length);
  stream.send(Buffer.from(text));
  const said = await reply;
  stream.close(2);
  return said;
}

async function download(connection, port, host = '127.0.0.1') {
  const hash = crypto.createHash('sha256');
  const stream = connection.create_stream(host, port);
  stream.onmessage = data => hash.update(data);
  return {reason: await ended(stream), sha256: hash.digest('hex')};
}

/* A stream that sends more than its target takes. */
function stick(connection, port, count) {
  const stream = connection.create_stream('127.0.0.1', port);
  for (let i = 0; i < count; i++) stream.send(Buffer.alloc(PACKET));
  return stream;
}

async function drained(stream) {
  while (stream.send_buffer.length) await new Promise(resolve => setTimeout(resolve, 1));
}

const scenarios = {
  async greet(settings) {
    const connection = await opened(settings);
    const said = await echoed(connection, settings.port, 'hello');
    connection.close();
    return {version: connection.wisp_version, motd: connection.server_motd, said};
  },

  async refused(settings) {
    const connection = new wisp.ClientConnection(settings.url, optionsOf(settings));
    return new Promise(resolve => {
      connection.onopen = () => resolve('open');
      connection.ws.addEventListener('close', ({code}) => resolve(code));
    });
  },

  /* All ports at once, each to its end. */
  async download(settings) {
    const connection = await opened(settings);
    const stuck = settings.stuck && stick(connection, settings.stuck, 400);
    const results = await Promise.all(settings.ports.map(port => download(connection, port)));
    const unsent = stuck ? stuck.send_buffer.length : 0;
    connection.close();
    return {results, unsent};
  },

  /* Closes the stream as soon as wisp-js has passed on all of it. */
  async upload(settings) {
    const connection = await opened(settings);
    const stream = connection.create_stream('127.0.0.1', settings.port);
    const data = crypto.randomBytes(settings.size);
    for (let sent = 0; sent < settings.size; sent += PACKET) stream.send(data.subarray(sent, sent + PACKET));
    await drained(stream);
    stream.close(2);
    connection.close();
    return crypto.createHash('sha256').update(data).digest('hex');
  },

  /* Leaves a stream while its target goes on talking, then uses another. */
  async leave(settings) {
    const connection = await opened(settings);
    const left = connection.create_stream('127.0.0.1', settings.talker);
    await heard(left, 1);
    left.close(2);
    const said = await echoed(connection, settings.port, 'hello');
    connection.close();
    return said;
  },

  /* What comes back for datagrams of each size, one after the other: sizes, and whether the bytes are right. */
  async datagrams(settings) {
    const connection = await opened(settings);
    const stream = connection.create_stream('127.0.0.1', settings.port, 'udp');
    const sizes = [];
    for (const size of settings.sizes) {
      const data = crypto.randomBytes(size), reply = new Promise(resolve => { stream.onmessage = resolve; });
      stream.send(data);
      sizes.push(data.equals(await reply) ? size : null);
    }
    stream.close(2);
    connection.close();
    return sizes;
  },

  async offersUdp(settings) {
    const connection = await opened(settings);
    connection.close();
    return connection.udp_enabled;
  },

  /* Why streams have ended: all of them, or the first that has. */
  async reasons(settings) {
    const connection = await opened(settings);
    const reasons = settings.targets.map(([host, port]) => ended(connection.create_stream(host, port, settings.kind)));
    const known = await (settings.first ? Promise.race(reasons) : Promise.all(reasons));
    connection.close();
    return known;
  }
};

const [name, settings] = process.argv.slice(2);
scenarios[name](JSON.parse(settings)).then(
  result => { console.log(JSON.stringify(result)); },
  error => { console.error(error); process.exitCode = 1; });
