/*
 * A project that has the package, for what TypeScript says about programs in it. Wants the folder of Node's packages in
 * WS2S_TEST_NODE_MODULES, as tests/environments.py sets it.
 */
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const {after, before} = require('node:test');

const MODULES = process.env.WS2S_TEST_NODE_MODULES;
const skip = MODULES ? false : "needs Node's package typescript (python3 tests/environments.py node)";
const ROOT = path.join(__dirname, '..', '..');
const FOLDER = path.join(ROOT, 'ws2s-js');
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

module.exports = {
  FOLDER, MODULES, PROGRAMS, ROOT, WAYS, compiled, complaints, named, skip, inProject: name => path.join(project, name),
};
