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
  host.getSourceFile = (name, how, ...rest) => {
    if (path.normalize(name).startsWith(project)) return getSourceFile(name, how, ...rest);
    const key = path.basename(name).startsWith('lib.') ? name : `${name} ${options.module} ${how.impliedNodeFormat}`;
    if (!libraries.has(key)) libraries.set(key, getSourceFile(name, how, ...rest));
    return libraries.get(key);
  };
  return ts.createProgram([...files.keys()], options, host);
}

/* What TypeScript says about it, and about the files of the library; those of others take longer. */
function complaints(texts, settings) {
  const ts = require(path.join(MODULES, 'typescript'));
  const program = compiled(texts, settings);
  const files = program.getSourceFiles().filter(({fileName}) => path.normalize(fileName).startsWith(project));
  return [...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics(),
    ...files.flatMap(file => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)])]
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

// What uses all of a module, and uses it wrongly where an error is expected: for each, a file named as the module.
const PROGRAMS = new Map(fs.readdirSync(path.join(__dirname, 'types'))
  .map(name => [path.parse(name).name, fs.readFileSync(path.join(__dirname, 'types', name), 'utf8')]));

function named(texts, word, ending) {
  return Object.fromEntries([...texts].map(([name, text]) => [`${word}-${name}.${ending}`, text]));
}

test('every module that can be imported has its program', () => {
  const {exports} = require(path.join(FOLDER, 'package.json'));
  const modules = Object.keys(exports).filter(name => name !== './package.json');
  const names = modules.map(name => name === '.' ? 'ws2s' : name.slice(2));
  assert.deepStrictEqual([...PROGRAMS.keys()].sort(), names.sort());
});

for (const [name, ending, settings] of WAYS) {
  test(`P8: modules that lie beside a program have their types with ${name}`, {skip}, () => {
    const texts = [...PROGRAMS].map(([word, text]) => [word, text.replace(/'ws2s(?:\/(\w+))?'/g,
      (whole, module) => `'./${module || 'ws2s'}.mjs'`)]);
    assert.deepStrictEqual(complaints(named(texts, 'program', ending), settings), []);
  });
}

const LIBRARIES = {
  'Node, without those of pages': {lib: ['es2023'], types: ['node']},
  'the newest pages': {lib: ['esnext', 'dom', 'dom.iterable', 'dom.asynciterable']},
};

for (const [name, settings] of Object.entries(LIBRARIES)) {
  test(`P8: the types are whole with the libraries of ${name}`, {skip}, () => {
    const texts = [...PROGRAMS].filter(([word]) => word !== 'ws2s');  // which uses streams that Node's types lack
    assert.deepStrictEqual(complaints(named(texts, 'program', 'mts'), {module: 'nodenext', ...settings}), []);
  });
}

test('P8: so are those of the library itself', {skip}, () => {
  const text = `import WS2S from 'ws2s';\nimport {WebSocket} from 'ws';
    const connection = await WS2S.connect('ws://h/', {host: 'h', port: 1, WebSocket});
    await connection.writable.getWriter().write(Buffer.from('x'));
    for await (const bytes of connection.readable) console.log(bytes.length);`;
  const settings = {module: 'nodenext', lib: ['es2023'], types: ['node']};
  assert.deepStrictEqual(complaints({'program.mts': text}, settings), []);
});

const WRONG = [
  ['const n: number = WS2S;', 2322],
  ['const n: number = await redis.close();', 2322],
  ["new WS2S.Redis('ws://h/', {port: 1});", 2345],
  ["new WS2S.Redis('ws://h/', {host: 'h', protocol: 4});", 2322],
  ["new WS2S.Redis('ws://h/', {host: 'h', pasword: 'p'});", 2561],
  ["redis.command('SET', 'k', {});", 2345],
  ["redis.command('SET', 'k', null);", 2345],
  ['redis.subscribe(1, () => {});', 2345],
  ["WS2S.connect('ws://h/', {host: 'h'});", 2345],
  ["WS2S.connect('ws://h/', {host: 'h', port: 1, hearbeat: 5});", 2561],
  ["connection.writable.getWriter().write('text');", 2345],
  ['connection.readable = null;', 2540],
  ['const e: WS2S.Connection = new WS2S.Connection();', 2551],
];

test('what is wrong is complained about, and nothing else', {skip}, () => {
  const begin = `import WS2S from 'ws2s';\nconst redis = new WS2S.Redis('ws://h/', {host: 'h'});
    const connection = await WS2S.connect('ws://h/', {host: 'h', port: 1});\nexport {redis, connection};\n`;
  const texts = WRONG.map(([text], number) => [number, begin + text]);
  const found = complaints(named(texts, 'wrong', 'mts'), {module: 'nodenext'});
  assert.deepStrictEqual(found.map(complaint => complaint.split(':')[0]).sort(),
    WRONG.map(([, code], number) => `wrong-${number}.mts TS${code}`).sort());
});

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
  test(`P8, P9: the package has its types, and the examples of the README no errors, with ${name}`, {skip}, () => {
    const examples = EXAMPLES.filter(text => !isOfCommonJs(text)).map(wholeExample).entries();
    const texts = {...named(PROGRAMS, 'program', ending), ...named(examples, 'example', ending)};
    // By the oldest way the package is found as a CommonJS module.
    assert.deepStrictEqual(complaints(texts, {...settings, esModuleInterop: true}), []);
  });
}

for (const [name, , settings] of WAYS.filter(([word]) => ['nodenext', 'bundler', 'node10'].includes(word))) {
  test(`P9: nor have those that require() with ${name}`, {skip}, () => {
    const texts = named(EXAMPLES.filter(isOfCommonJs).entries(), 'example', 'cjs');
    const javascript = {allowJs: true, checkJs: true, types: ['node']};
    assert.deepStrictEqual(complaints(texts, {...settings, ...javascript}), []);
  });
}

test('P9: an older style: require() in CommonJS', {skip}, () => {
  const text = "import WS2S = require('ws2s');\nexport const r: WS2S.Redis = new WS2S.Redis('x', {host: 'h'});";
  assert.deepStrictEqual(complaints({'program.cts': text}, {module: 'nodenext'}), []);
});

test('P9: a script has the global', {skip}, () => {
  const text = "const redis: WS2S.Redis = new WS2S.Redis('x', {host: 'h'});";
  assert.deepStrictEqual(complaints({'program.ts': text}, {...WAYS[2][2], types: ['ws2s']}), []);
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

/* The values that the types of a module export. */
function exportsOfTypes(module) {
  const ts = require(path.join(MODULES, 'typescript'));
  const program = compiled({'names.mts': `export * as all from '${module}';`}, {module: 'nodenext', types: ['node']});
  const checker = program.getTypeChecker();
  const [all] = checker.getExportsOfModule(
    checker.getSymbolAtLocation(program.getSourceFile(path.join(project, 'names.mts'))));
  const resolved = symbol => symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  return checker.getExportsOfModule(resolved(all))
    .filter(symbol => resolved(symbol).flags & ts.SymbolFlags.Value).map(({name}) => name).sort();
}

for (const name of PROGRAMS.keys()) {
  test(`the types of ${name}.mjs have all that it exports, and nothing else`, {skip}, async () => {
    const module = await import(path.join(FOLDER, `${name}.mjs`));
    assert.deepStrictEqual(exportsOfTypes(name === 'ws2s' ? name : `ws2s/${name}`), Object.keys(module).sort());
  });
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
