/* ws2s/net and ws2s/tls on each stream that a page may have. Wants the packages in WS2S_TEST_NODE_MODULES. */
'use strict';

const path = require('node:path');
const {pathToFileURL} = require('node:url');

const MODULES = process.env.WS2S_TEST_NODE_MODULES;
const FOLDER = path.join(__dirname, '..', '..', 'ws2s-js');
const STREAMS = ['node', 'readable-stream', 'stream-browserify'];

const fileUrl = name => pathToFileURL(path.join(FOLDER, name)).href;

async function plainLibrary() {
  const names = ['net.mjs', 'tls.mjs', 'gateway.mjs'];
  const [net, tls, gateway] = await Promise.all(names.map(name => import(fileUrl(name))));
  return {net, tls, configure: gateway.configure};
}

/* As a bundler for pages puts them together. */
function bundle(stream, options = {}) {
  const contents = ["export * as net from './net.mjs';", "export * as tls from './tls.mjs';",
                    "export {configure} from './gateway.mjs';"].join('\n');
  const {outputFiles} = require(path.join(MODULES, 'esbuild')).buildSync({
    stdin: {contents, resolveDir: FOLDER}, bundle: true, write: false, platform: 'browser', format: 'cjs',
    logLevel: 'error', logOverride: {'empty-import-meta': 'silent'},
    alias: {stream: path.join(MODULES, stream), buffer: path.join(MODULES, 'buffer')}, ...options,
  });
  return outputFiles[0].text;
}

function bundledLibrary(stream) {
  const module = {exports: {}};
  new Function('module', 'exports', bundle(stream))(module, module.exports);
  return module.exports;
}

const libraries = new Map();

/* {net, tls, configure} */
function library(stream) {
  if (stream === 'node') return plainLibrary();
  if (!libraries.has(stream)) libraries.set(stream, bundledLibrary(stream));
  return libraries.get(stream);
}

module.exports = {MODULES, STREAMS, library, plainLibrary, bundle};
