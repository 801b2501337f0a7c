/* The real gateway, and servers that it may be asked for, for tests of ws2s.js. */
'use strict';

const {spawn} = require('node:child_process');
const net = require('node:net');
const path = require('node:path');
const {until} = require('./fake_gateway.js');

/* A child whose standard error tells when it is ready. Its exit is awaited in the end. */
function begin(program, args, folder, stream) {
  const env = {...process.env, HOME: folder};
  const child = spawn(program, args, {cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe']});
  const running = {child, lines: '', ended: new Promise(resolve => child.on('exit', resolve))};
  child[stream].on('data', data => { running.lines += data; });
  return running;
}

async function beginGateway(folder, ...more) {
  const file = path.join(__dirname, '..', '..', 'ws2s.py');
  const args = [file, '--listen', '127.0.0.1:0', '--allow-local', ...more];
  const gateway = begin(process.env.WS2S_TEST_PYTHON || 'python3', args, folder, 'stderr');
  const port = () => /listens on 127\.0\.0\.1:([0-9]+)/.exec(gateway.lines);
  await until(port, 'the gateway to listen');
  return {...gateway, url: `ws://127.0.0.1:${port()[1]}/`};
}

/* What each connection sees of the other end. */
function serve(onConnection) {
  const server = net.createServer({allowHalfOpen: true}, socket => {
    socket.on('error', () => {});  // resets belong to what is tested
    onConnection(socket);
  });
  return new Promise(resolve => server.listen(0, '127.0.0.1', () => resolve(server)));
}

/* A port that was free a moment ago. */
async function freePort() {
  const server = await serve(() => {});
  const {port} = server.address();
  await new Promise(resolve => server.close(resolve));
  return port;
}

module.exports = {begin, beginGateway, serve, freePort};
