/* P8: the types of the package, as TypeScript sees them by each way of finding modules. */
'use strict';

const assert = require('node:assert');
const path = require('node:path');
const {test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {FakeGateway, settled} = require('./fake_gateway.js');
const {FOLDER, MODULES, PROGRAMS, WAYS, compiled, complaints, inProject, named, skip} = require('./typescript.js');

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
  const module = checker.getSymbolAtLocation(program.getSourceFile(inProject('names.mts')));
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
    checker.getSymbolAtLocation(program.getSourceFile(inProject('names.mts'))));
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
