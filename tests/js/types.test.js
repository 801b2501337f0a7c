/*
 * P8, P9: the types of the package, and the examples of the README, as TypeScript sees them by each way of finding
 * modules. Wants the folder of Node's packages in WS2S_TEST_NODE_MODULES, as tests/environments.py sets it.
 */
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const {after, before, test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {FakeGateway, settled} = require('./fake_gateway.js');

const MODULES = process.env.WS2S_TEST_NODE_MODULES;
const skip = MODULES ? false : "needs Node's package typescript (python3 tests/environments.py node)";
const ROOT = path.join(__dirname, '..', '..');
const FOLDER = path.join(ROOT, 'ws2s-js');
const README = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');
const PACKED = [...require(path.join(FOLDER, 'package.json')).files, 'package.json'];
const OTHERS = ['@types', '@neondatabase', 'ws', 'undici-types', 'v86'];  // packages that examples use

// A project beside whose programs the library lies, and that has installed it, too.
let project = null;

before(() => {
  project = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'ws2s-')));
  const modules = path.join(project, 'node_modules');
  for (const folder of [project, path.join(modules, 'ws2s')]) {
    fs.mkdirSync(folder, {recursive: true});
    for (const name of PACKED) fs.copyFileSync(path.join(FOLDER, name), path.join(folder, name));
  }
  fs.rmSync(path.join(project, 'package.json'));
  for (const name of MODULES ? OTHERS : []) fs.symlinkSync(path.join(MODULES, name), path.join(modules, name));
});

after(() => fs.rmSync(project, {recursive: true}));

const libraries = new Map();  // those of TypeScript itself and of others are large, and the same each time

/* A program of TypeScript, of texts that lie in the project. */
function compiled(texts, settings) {
  const ts = require(path.join(MODULES, 'typescript'));
  const {options, errors} = ts.convertCompilerOptionsFromJson({
    strict: true, noEmit: true, target: 'es2022', lib: ['es2023', 'dom', 'dom.iterable', 'dom.asynciterable'],
    types: [], skipDefaultLibCheck: true, ...settings,
  }, project);
  assert.deepStrictEqual(errors, []);
  const files = new Map(Object.entries(texts).map(([name, text]) => [path.join(project, name), text]));
  const host = ts.createCompilerHost(options);
  const {fileExists, readFile, getSourceFile} = host;
  host.getCurrentDirectory = () => project;
  host.fileExists = name => files.has(path.normalize(name)) || fileExists(name);
  host.readFile = name => files.get(path.normalize(name)) ?? readFile(name);
  host.getSourceFile = (name, ...rest) => {
    if (!path.basename(name).startsWith('lib.')) return getSourceFile(name, ...rest);
    if (!libraries.has(name)) libraries.set(name, getSourceFile(name, ...rest));
    return libraries.get(name);
  };
  return ts.createProgram([...files.keys()], options, host);
}

/* What TypeScript says about it. */
function complaints(texts, settings) {
  const ts = require(path.join(MODULES, 'typescript'));
  return ts.getPreEmitDiagnostics(compiled(texts, settings))
    .map(({file, code, messageText}) => `${file ? path.basename(file.fileName) : ''} TS${code}: `
      + ts.flattenDiagnosticMessageText(messageText, ' '));
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

const programOf = place => `import WS2S, {WS2SError, RedisError, Redis} from '${place}';
const connection: WS2S.Connection = await WS2S.connect('ws://h/', {host: 'h', port: '1', timeout: 5, heartbeat: 0});
const opened: WS2S.Opened = await connection.opened;
await opened.readable.pipeThrough(new TextDecoderStream()).pipeTo(new WritableStream<string>());
await connection.readable.pipeThrough(new DecompressionStream('gzip')).pipeTo(connection.writable);
const one: Uint8Array | undefined = (await connection.readable.getReader().read()).value;
if (one) await connection.writable.getWriter().write(one.subarray(1));
const options: WS2S.RedisOptions = {host: 'h', commandTimeout: 1, retry: {first: 1}};
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
    assert.deepStrictEqual(complaints({[`program.${ending}`]: programOf('./ws2s.mjs')}, settings), []);
  });

  // By the oldest way the package is found as a CommonJS module.
  const interop = settings.moduleResolution === 'node10' ? {esModuleInterop: true} : {};
  test(`P8: the package has its types with ${name}`, {skip}, () => {
    assert.deepStrictEqual(complaints({[`program.${ending}`]: programOf('ws2s')}, {...settings, ...interop}), []);
  });
}

test('P8: the types are whole without those of pages, in Node', {skip}, () => {
  const text = `import WS2S from 'ws2s';\nimport {WebSocket} from 'ws';
    const connection = await WS2S.connect('ws://h/', {host: 'h', port: 1, WebSocket});
    await connection.writable.getWriter().write(Buffer.from('x'));
    for await (const bytes of connection.readable) console.log(bytes.length);`;
  const settings = {module: 'nodenext', lib: ['es2023'], types: ['node']};
  assert.deepStrictEqual(complaints({'program.mts': text}, settings), []);
});

const WRONG = {
  'const n: number = WS2S;': 2322,
  'const n: number = await redis.close();': 2322,
  "new WS2S.Redis('ws://h/', {port: 1});": 2345,
  "new WS2S.Redis('ws://h/', {host: 'h', protocol: 4});": 2322,
  "new WS2S.Redis('ws://h/', {host: 'h', pasword: 'p'});": 2561,
  "redis.command('SET', 'k', {});": 2345,
  "redis.command('SET', 'k', null);": 2345,
  'redis.subscribe(1, () => {});': 2345,
  "WS2S.connect('ws://h/', {host: 'h'});": 2345,
  "WS2S.connect('ws://h/', {host: 'h', port: 1, hearbeat: 5});": 2561,
  "connection.writable.getWriter().write('text');": 2345,
  'connection.readable = null;': 2540,
  'const e: WS2S.Connection = new WS2S.Connection();': 2551,
};

for (const [text, code] of Object.entries(WRONG)) {
  test(`what is wrong is complained about: ${text}`, {skip}, () => {
    const program = `import WS2S from 'ws2s';\nconst redis = new WS2S.Redis('ws://h/', {host: 'h'});
      const connection = await WS2S.connect('ws://h/', {host: 'h', port: 1});\n${text}\nexport {redis, connection};`;
    const found = complaints({'program.mts': program}, {module: 'nodenext'});
    assert.ok(found.length === 1 && found[0].startsWith(`program.mts TS${code}:`), found);
  });
}

const BLOCKS = [...README.matchAll(/^```js\n(.*?)^```$/gms)].map(([, text]) => text);
const SCRIPTS = [...README.matchAll(/<script type="module">\n(.*?)<\/script>/gs)].map(([, text]) => text);
// The packages of these are too large for their types alone.
const EXAMPLES = [...BLOCKS, ...SCRIPTS].filter(text => !/'@php-wasm|'.\/libcurl/.test(text));
const VARIABLES = {ws: 'WebSocket', V86: 'typeof import("v86").V86'};  // what an example goes on from

test('the README has examples of the library, and few of those whose types are not here', () => {
  assert.ok(EXAMPLES.filter(text => text.includes('WS2S')).length >= 5);
  assert.ok(EXAMPLES.length + 2 >= BLOCKS.length + SCRIPTS.length);
});

function wholeExample(text) {
  const has = pattern => new RegExp(pattern).test(text);
  const lacks = name => has(`\\b${name}\\b`) && !has(`\\b(const|import) [^=;]*\\b${name}\\b`);
  const declared = Object.keys(VARIABLES).filter(lacks).map(name => `declare const ${name}: ${VARIABLES[name]};\n`);
  const imported = lacks('WS2S') ? "import WS2S from 'ws2s';\n" : '';
  return `${imported}${declared.join('')}${text.replace('./node_modules/ws2s/ws2s.mjs', 'ws2s')}\nexport {};`;
}

const isOfCommonJs = text => /\brequire\(/.test(text);

for (const [name, ending, settings] of WAYS) {
  test(`P9: the examples of the README have no errors of types with ${name}`, {skip}, () => {
    const modules = EXAMPLES.filter(text => !isOfCommonJs(text));
    const texts = Object.fromEntries(modules.map((text, i) => [`example${i}.${ending}`, wholeExample(text)]));
    assert.deepStrictEqual(complaints(texts, {...settings, esModuleInterop: true}), []);
  });

  test(`P9: nor have those that require() with ${name}`, {skip}, () => {
    const texts = Object.fromEntries(EXAMPLES.filter(isOfCommonJs).map((text, i) => [`example${i}.cjs`, text]));
    const javascript = {allowJs: true, checkJs: true, types: ['node']};
    assert.deepStrictEqual(complaints(texts, {...settings, ...javascript}), []);
  });
}

test('P9: an older style: require() in CommonJS', {skip}, () => {
  const text = "import WS2S = require('ws2s');\nexport const r: WS2S.Redis = new WS2S.Redis('x', {host: 'h'});";
  assert.deepStrictEqual(complaints({'program.cts': text}, {module: 'nodenext'}), []);
});

test('every export of ws2s.mjs stands in ws2s.d.mts', async () => {
  const types = fs.readFileSync(path.join(FOLDER, 'ws2s.d.mts'), 'utf8');
  const names = Object.keys(await import(path.join(FOLDER, 'ws2s.mjs')));
  assert.deepStrictEqual([...types.matchAll(/export (?:import )?(\w+)/g)].map(([, name]) => name).sort(), names.sort());
});

// -- is anything missing in the types? --------------------------------------------------------------------------------

const OF_FUNCTIONS = ['length', 'name', 'prototype'];
const INTERNAL = ['internals'];  // for tests

/* The names that a program can use of an object. */
function namesOf(thing) {
  const prototypes = [];
  for (let one = thing; one && ![Object, Function].some(({prototype}) => prototype === one);) {
    prototypes.push(one);
    one = Object.getPrototypeOf(one);
  }
  const unused = [...INTERNAL, 'constructor', ...typeof thing === 'function' ? OF_FUNCTIONS : []];
  return [...new Set(prototypes.flatMap(Object.getOwnPropertyNames))].filter(name => !unused.includes(name)).sort();
}

/* The names that the types have, by the names of types. */
function namesOfTypes(types) {
  const text = Object.entries(types).map(([name, type]) => `export declare const ${name}: ${type};`).join('\n');
  const program = compiled({'names.mts': `import WS2S from 'ws2s';\n${text}`}, {module: 'nodenext'});
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(path.join(project, 'names.mts')));
  return Object.fromEntries(checker.getExportsOfModule(module).map(symbol => [symbol.name, checker
    .getPropertiesOfType(checker.getTypeOfSymbol(symbol)).map(({name}) => name)
    .filter(name => name !== 'prototype').sort()]));
}

test('the types have every name that the library has, and no other', {skip}, async () => {
  const gateway = new FakeGateway();
  const options = {host: 'h', port: 1, WebSocket: gateway.WebSocket};
  const old = new WS2S('ws://x/', {WebSocket: gateway.WebSocket});
  const things = {
    library: [WS2S, 'typeof WS2S'], gateway: [old, 'WS2S'],
    connection: [await WS2S.connect('ws://x/', options), 'WS2S.Connection'],
    redis: [new WS2S.Redis('ws://x/', options), 'WS2S.Redis'],
    socket: [old.newSocket(), 'WS2S.CallbackSocket'], client: [old.newRedisClient('h', 1), 'WS2S.CallbackRedis'],
  };
  const expected = Object.fromEntries(Object.entries(things).map(([name, [thing]]) => [name, namesOf(thing)]));
  const types = namesOfTypes(Object.fromEntries(Object.entries(things).map(([name, [, type]]) => [name, type])));
  assert.deepStrictEqual(types, expected);
  await Promise.all([things.connection[0].close(), things.redis[0].close(), things.client[0].close()]);
  things.socket[0].close();
  await settled();
});

test('the types have every option that connect() reads, and no other', {skip}, async () => {
  const read = new Set();
  const options = {host: 'h', port: 1, WebSocket: new FakeGateway().WebSocket};
  const connection = await WS2S.connect('ws://x/', new Proxy(options, {get(target, name) {
    read.add(name);
    return target[name];
  }}));
  await connection.close();
  assert.deepStrictEqual(namesOfTypes({options: 'WS2S.ConnectOptions'}).options, [...read].sort());
});
