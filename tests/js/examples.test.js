/* P9: the package where it is installed, and the examples of the README, by each way of finding modules. */
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const {test} = require('node:test');
const {PROGRAMS, ROOT, WAYS, complaints, named, skip} = require('./typescript.js');

// The programs of the chapter on drivers are JavaScript without types; test_drivers.py runs them as they stand there.
const README = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8')
  .replace(/^## Drivers in a page\n.*?(?=^## )/ms, '');
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
