/* node node_client.js SCENARIO SETTINGS: npm's ws plays the browser's WebSocket. Writes JSON. */
'use strict';

globalThis.WebSocket = require('ws');
const scenarios = require('./pages/scenarios.js');

const [name, settings] = process.argv.slice(2);
scenarios[name](JSON.parse(settings)).then(
  result => { console.log(JSON.stringify(result)); },
  error => { console.error(error); process.exitCode = 1; });
