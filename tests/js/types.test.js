/*
 * P8, P9: ws2s.d.ts and ws2s.d.mts, and the examples of the README, as TypeScript sees them by each way of finding
 * modules. Wants the folder of the package typescript in WS2S_TEST_NODE_MODULES, as tests/environments.py sets it.
 */
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const {test} = require('node:test');

const MODULES = process.env.WS2S_TEST_NODE_MODULES;
const skip = MODULES ? false : "needs Node's package typescript (python3 tests/environments.py node)";
const ROOT = path.join(__dirname, '..', '..');
const FOLDER = path.join(ROOT, 'ws2s-js');
const README = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');

const libraries = new Map();  // those of TypeScript itself are large, and the same each time

/* What TypeScript says about texts that would lie beside ws2s.mjs. */
function complaints(texts, settings) {
  const ts = require(path.join(MODULES, 'typescript'));
  const {options, errors} = ts.convertCompilerOptionsFromJson({
    strict: true, noEmit: true, target: 'es2022', lib: ['es2023', 'dom', 'dom.iterable', 'dom.asynciterable'],
    types: [], skipDefaultLibCheck: true, ...settings,
  }, FOLDER);
  assert.deepStrictEqual(errors, []);
  const files = new Map(Object.entries(texts).map(([name, text]) => [path.join(FOLDER, name), text]));
  const host = ts.createCompilerHost(options);
  const {fileExists, readFile, getSourceFile} = host;
  host.fileExists = name => files.has(path.normalize(name)) || fileExists(name);
  host.readFile = name => files.get(path.normalize(name)) ?? readFile(name);
  host.getSourceFile = (name, ...rest) => {
    if (!path.basename(name).startsWith('lib.')) return getSourceFile(name, ...rest);
    if (!libraries.has(name)) libraries.set(name, getSourceFile(name, ...rest));
    return libraries.get(name);
  };
  return ts.getPreEmitDiagnostics(ts.createProgram([...files.keys()], options, host))
    .map(({code, messageText}) => `TS${code}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
}

const WAYS = [
  ['nodenext', 'mts', {module: 'nodenext'}],
  ['node16', 'mts', {module: 'node16'}],
  ['bundler', 'ts', {module: 'esnext', moduleResolution: 'bundler'}],
  ['bundler, verbatim', 'ts', {module: 'esnext', moduleResolution: 'bundler', verbatimModuleSyntax: true}],
  ['node10', 'ts', {module: 'esnext', moduleResolution: 'node10'}],
  ['node10, without interop', 'ts', {module: 'esnext', moduleResolution: 'node10', esModuleInterop: false}],
  ['preserve', 'ts', {module: 'preserve'}],
];

const IMPORT = "import WS2S, {WS2SError, RedisError, Redis} from './ws2s.mjs';\n";
const PROGRAM = `${IMPORT}
const connection: WS2S.Connection = await WS2S.connect('ws://h/', {host: 'h', port: '1', timeout: 5, heartbeat: 0});
const opened: WS2S.Opened = await connection.opened;
await opened.readable.pipeThrough(new TextDecoderStream()).pipeTo(new WritableStream<string>());
await connection.readable.pipeThrough(new DecompressionStream('gzip')).pipeTo(connection.writable);
const one: Uint8Array | undefined = (await connection.readable.getReader().read()).value;
const options: WS2S.RedisOptions = {host: 'h', commandTimeout: 1, maxReplyBytes: 1, retry: {first: 1}};
const redis: Redis = new Redis('ws://h/', options), same: WS2S.Redis = new WS2S.Redis('ws://h/', options);
const replies: any[] | null = await redis.multi([['SET', 'k', 1], ['GET', new Uint8Array(1)]]);
const error: WS2S.WS2SError = new WS2SError(1, 'transaction-lost', 'x');
const about: (string | undefined)[] = [error.command, error.endedAt, error.speaks, new RedisError('x').code];
new WS2S('ws://h/', {WebSocket}).newSocket().onRecv = (bytes: Uint8Array) => { console.log(bytes); };
const tls: WS2S.TlsOptions = {servername: 'n', verify: true, ca: 'CA', cert: 'CERT', key: 'KEY', alpn: ['h2']};
const halves = await WS2S.connect('ws://h/', {host: 'h', port: 1, tls, token: 't', halfOpen: true, WebSocket});
const begun: WS2S.Tls = await halves.startTls(tls), {version, alpn}: {version: string; alpn: string | null} = begun;
const ends: void[] = [await halves.finish(), await halves.finished];
for (const none of [undefined, null, false]) await WS2S.connect('ws://h/', {host: 'h', port: 1, tls: none});
new WS2S('ws://h/', {token: 't', tls: {}, ssh: {host: 's'}}).newRedisClient('h', 6379);
console.log(one, replies, about, same, version, alpn, ends, halves.tls?.version);
// @ts-expect-error
WS2S.connect('ws://h/', {host: 'h', port: 1, tls: {verfy: false}});
// @ts-expect-error
WS2S.connect('ws://h/', {host: 'h', port: 1, tls: 'true'});
// @ts-expect-error
halves.startTls(false);
// @ts-expect-error
WS2S.connect('ws://h/', {port: 1});
// @ts-expect-error
redis.multi([['SET', {}]]);
`;

for (const [name, ending, settings] of WAYS) {
  test(`P8: the module has its types with ${name}`, {skip}, () => {
    assert.deepStrictEqual(complaints({[`program.${ending}`]: PROGRAM}, settings), []);
  });
}

const CLUSTER = `import {RedisCluster, slotOf, keyOf, type ClusterOptions} from './cluster.mjs';
import {Redis} from './ws2s.mjs';
const nodeAddress = (host: string, port: number) => port > 7000 ? host + ':1' : undefined;
const options: ClusterOptions = {nodes: ['h:1', {host: 'h'}], nodeAddress, patience: 1, maxConnections: 2, text: true};
const cluster: RedisCluster = new RedisCluster('ws://h/', options);
new RedisCluster('ws://h/', {host: 'h', nodeAddress: {'a:1': 'b:2', 'c:3': {host: 'd', port: 4}}, password: 'p'});
const replies: any[] | null = await cluster.multi([['SET', 'k', 1]]);
const nodes: Redis[] = [await cluster.nodeOf('k'), ...await cluster.nodes()];
const slot: number = slotOf(new Uint8Array(1)), key = keyOf(['GET', 'k']);
cluster.onLost = (error: Error, node?: string) => { console.log(error, node); };
await cluster.subscribe('c', (message: string) => { console.log(message, replies, nodes, slot, key); });
// @ts-expect-error
new RedisCluster('ws://h/', {host: 'h', db: 1});
`;

for (const [name, ending, settings] of WAYS) {
  test(`cluster.mjs has its types with ${name}`, {skip}, () => {
    assert.deepStrictEqual(complaints({[`program.${ending}`]: CLUSTER}, settings), []);
  });
}

test('what is wrong is complained about', {skip}, () => {
  const [complaint] = complaints({'program.ts': `${IMPORT}const n: number = WS2S;`}, WAYS[2][2]);
  assert.match(complaint, /^TS2322/);
});

// Those of other libraries have types that are not here.
const EXAMPLES = [...README.matchAll(/^```js\n(.*?)^```$/gms)].map(([, text]) => text)
  .filter(text => /\bWS2S\b|\bRedisCluster\b|\bnew WebSocket\(|^ws\./m.test(text));

test('the README has examples of the library', () => {
  assert.ok(EXAMPLES.filter(text => text.includes('WS2S')).length >= 3);
});

// One may go on from another.
function wholeExample(text) {
  const begun = /^ws\./m.test(text) && !/const ws /.test(text) ? 'declare const ws: WebSocket;\n' : '';
  if (/^import WS2S/m.test(text)) return text;
  return `import WS2S from './ws2s.mjs';\n${begun}${text}\nexport {WS2S as default};`;
}

for (const [name, ending, settings] of WAYS) {
  test(`P9: the examples of the README have no errors of types with ${name}`, {skip}, () => {
    const texts = Object.fromEntries(EXAMPLES.map((text, i) => [`example${i}.${ending}`, wholeExample(text)]));
    assert.deepStrictEqual(complaints(texts, settings), []);
  });
}

test('P9: an older style: require() in CommonJS', {skip}, () => {
  const text = "import WS2S = require('./ws2s.js');\nexport const r: WS2S.Redis = new WS2S.Redis('x', {host: 'h'});";
  assert.deepStrictEqual(complaints({'program.cts': text}, {module: 'nodenext'}), []);
});

test('every export of ws2s.mjs stands in ws2s.d.mts', async () => {
  const types = fs.readFileSync(path.join(FOLDER, 'ws2s.d.mts'), 'utf8');
  const names = Object.keys(await import(path.join(FOLDER, 'ws2s.mjs')));
  assert.deepStrictEqual([...types.matchAll(/export (?:import )?(\w+)/g)].map(([, name]) => name).sort(), names.sort());
});
