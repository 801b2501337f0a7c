// What one writes by hand in Node to reach a TCP target: the package `ws` in front, `net` behind.
//     node node_relay.mjs FOLDER-OF-WS PORT TARGET-PORT [CERTIFICATE KEY]
import fs from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const HIGH = 1 << 20;
const [folder, port, target, certificate, key] = process.argv.slice(2);
const {WebSocketServer} = await import(pathToFileURL(path.join(folder, 'wrapper.mjs')));

function relay(webSocket) {
  const upstream = net.connect({host: '127.0.0.1', port: Number(target), noDelay: true});
  let waiting = 0;

  upstream.on('data', (data) => {
    waiting += data.length;
    if (waiting > HIGH) upstream.pause();
    webSocket.send(data, () => {
      waiting -= data.length;
      if (waiting <= HIGH / 2) upstream.resume();
    });
  });
  webSocket.on('message', (data) => {
    if (!upstream.write(data)) {
      webSocket.pause();
      upstream.once('drain', () => webSocket.resume());
    }
  });
  upstream.on('close', () => webSocket.close());
  upstream.on('error', () => webSocket.terminate());
  webSocket.on('close', () => upstream.destroy());
  webSocket.on('error', () => upstream.destroy());
}

const options = {perMessageDeflate: false};
if (certificate) {
  options.server = https.createServer({cert: fs.readFileSync(certificate), key: fs.readFileSync(key)});
  options.server.listen(Number(port), '127.0.0.1');
} else {
  Object.assign(options, {host: '127.0.0.1', port: Number(port)});
}
new WebSocketServer(options).on('connection', relay);
