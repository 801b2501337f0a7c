/* JSON as the Redis page shows it: checked, opened bit by bit, laid out; in slices. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');

let json, slices, outline;
before(async () => {
  [json, slices, outline] = await Promise.all(
    ['json', 'slices', 'outline'].map(name => import(`../../ws2s-js/redis-${name}.mjs`)));
});

/* All steps at once. Gives what the generator returns, and the milliseconds of processor time that each has taken. */
function run(steps) {
  const times = [];
  for (;;) {
    const begun = process.cpuUsage();
    const {done, value} = steps.next();
    const {user, system} = process.cpuUsage(begun);
    times.push((user + system) / 1000);
    if (done) return {value, times};
  }
}

/* Of several runs: what compiles, or collects what is not needed any more, is not the same step each time. */
function longestStep(make) {
  const runs = Array.from({length: 3}, () => run(make()).times);
  return Math.max(...runs[0].map((time, i) => Math.min(...runs.map(times => times[i]))));
}

const read = text => run(json.readJson(text)).value;
const layout = (text, indent) => run(json.layout(text, indent)).value;

function wrong(text) {
  try {
    read(text);
  } catch (error) {
    assert.ok(error instanceof json.JsonError, error);
    return error;
  }
  throw new assert.AssertionError({message: `${text} is taken for JSON`});
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    assert.ok(error instanceof SyntaxError);
    return false;
  }
}

/* The whole tree as objects, by children() of `size`. */
function tree(document, node = document.root, size = 2) {
  const {kind, count} = node;
  if (kind !== 'object' && kind !== 'list') return document.textOf(node);
  const found = [];
  let cursor = null;
  do {
    const page = document.children(node, cursor, size);
    assert.ok(page.nodes.length <= size);
    found.push(...page.nodes);
    cursor = page.cursor;
  } while (cursor);
  assert.strictEqual(found.length, count);
  return found.map(child => [child.name, tree(document, child, size)]);
}

const GOOD = [
  '0', '-0', '-0.5e+10', '1E5', '12345678901234567890123', '0.1000000000000000055', '""', '"\\u00e9\\n\\\\\\""',
  'true', 'false', 'null', '{}', '[]', ' [ ] ', '{ }', '[1,2]', '{"a":1,"a":2}', '{"a":{"b":[{},[],[[1]]]},"c":"x"}',
  ' \t\r\n[ 1 , "a" ]\n', '{"\\"}":"]"}', '"\\ud800"', '["\u2028"]', '{"":""}', '[[[[]]]]',
  '"\\\\"', '["\\\\","\\\\\\""]',
];

for (const text of GOOD) {
  test(`${text} is JSON, and its layouts mean the same`, () => {
    assert.ok(isJson(text));
    const document = read(text);
    assert.strictEqual(document.textOf(document.root), text.trim());
    for (const indent of [0, 2]) assert.deepStrictEqual(JSON.parse(layout(text, indent)), JSON.parse(text));
    assert.deepStrictEqual(tree(read(layout(text, 0))), tree(read(layout(text, 2))));
  });
}

test('what is laid out looks as JSON.stringify makes it', () => {
  const value = {a: [1, {b: [], c: {}}, 'x'], d: null};
  const text = JSON.stringify(value, null, 7);
  assert.strictEqual(layout(text, 2), JSON.stringify(value, null, 2));
  assert.strictEqual(layout(text, 0), JSON.stringify(value));
});

const WRONG = [
  ['', 1, 1, 'the text ends where a value must be'],
  ['{"a": 1,}', 1, 9, '“}” stands where a name in double quotes must be'],
  ['[1,]', 1, 4, '“]” stands where a value must be'],
  ['[1 2]', 1, 4, '“2” stands where a comma or ] must be'],
  ['{"a" 1}', 1, 6, '“1” stands where a colon must be'],
  ['{"a":1 "b":2}', 1, 8, 'where a comma or } must be'],
  ["{'a':1}", 1, 2, 'where a name in double quotes must be'],
  ['{\n  "a": tru\n}', 2, 8, '“t” stands where a value must be'],
  ['[\n1,\n"\u00e9\ud83d\ude00", x]', 3, 7, '“x” stands'],
  ['01', 1, 1, 'a number begins with no 0'],
  ['-', 1, 2, 'the text ends where a digit must be'],
  ['1.', 1, 3, 'where a digit must be'],
  ['1e+', 1, 4, 'where a digit must be'],
  ['"a', 1, 3, 'the text ends within a string'],
  ['"a\nb"', 1, 3, 'stands within a string'],
  ['"\\q"', 1, 2, 'begins no escape'],
  ['"\\u12g4"', 1, 2, 'begins no escape'],
  ['1 1', 1, 3, '“1” stands where the end must be'],
  ['[1}', 1, 3, 'where a comma or ] must be'],
  ['{"a":1]', 1, 7, 'where a comma or } must be'],
  ['\ufeff1', 1, 1, '“\\u{feff}” stands where a value must be'],
  ['NaN', 1, 1, '“N” stands'],
  ['[\u202e]', 1, 2, '“\\u{202e}” stands'],
];

for (const [text, line, column, words] of WRONG) {
  test(`${JSON.stringify(text)} is wrong at line ${line}, column ${column}`, () => {
    assert.ok(!isJson(text));
    const error = wrong(text);
    assert.deepStrictEqual([error.line, error.column], [line, column]);
    assert.ok(error.message.startsWith(`Line ${line}, column ${column}: `), error.message);
    assert.ok(error.message.includes(words), error.message);
  });
}

test('every beginning of a text, and every text with one character changed, is judged as JSON.parse judges it', () => {
  const text = ' {"a\\u00e9": [1.5e-3, -0, true, null], "b": {"c": "x\\\\\\"y", "d": []}} ';
  const changed = [];
  for (let at = 0; at <= text.length; at++) {
    changed.push(text.slice(0, at));
    for (const other of ['', '"', '\\', ',', ':', '[', '}', '0', '.', 'e', '-', 'u', ' ', '\n', '\0', '\u00a0']) {
      changed.push(text.slice(0, at) + other + text.slice(at + 1), text.slice(0, at) + other + text.slice(at));
    }
  }
  for (const each of changed) {
    if (isJson(each)) assert.deepStrictEqual(JSON.parse(layout(read(each) && each, 2)), JSON.parse(each));
    else wrong(each);
  }
});

test('a member is found by opening what it is in, page by page, and names that come twice are both there', () => {
  const document = read('{"a": [1, [2, 3], {"b": "x"}], "a": {}, "c": 12345678901234567890}');
  assert.deepStrictEqual(tree(document), [
    ['"a"', [[0, '1'], [1, [[0, '2'], [1, '3']]], [2, [['"b"', '"x"']]]]],
    ['"a"', []], ['"c"', '12345678901234567890']]);
});

const LABELS = [
  ['-12345678901234567.0', '-12345678901234567.0'],
  ['"a\\u00e9\\u202e\\u0000"', '"a\u00e9\\u{202e}\\x00"'],
  ['"0123456789abcdefghijk"', '"0123456789abcdefghij…"'],
  [`"${'x'.repeat(1000)}"`, `"${'x'.repeat(20)}…"`],
  ['1'.repeat(100), `${'1'.repeat(20)}…`],
  ['"\\ud800"', '"\\u{d800}"'],
];

for (const [text, label] of LABELS) {
  test(`${text.slice(0, 30)} is labelled ${label}`, () => {
    const document = read(text);
    assert.strictEqual(document.label(document.root, 20), label);
  });
}

test('a label that is cut within an escape has no half of it', () => {
  for (let before = 0; before < 12; before++) {
    for (const escape of ['\\u00e9', '\\\\', '\\"', '\\n']) {
      const document = read(`"${'y'.repeat(before)}${escape.repeat(400)}"`);
      const label = document.label(document.root, 20);
      assert.ok(label.startsWith('"') && label.endsWith('…"') && label.length < 30, label);
    }
  }
});

test('a name has a label, too', () => {
  const document = read(`{"a\\tb": [0], "${'k'.repeat(500)}": 1}`);
  const [first, second] = document.children(document.root, null, 9).nodes;
  assert.strictEqual(document.nameLabel(first, 20), '"a\\x09b"');
  assert.strictEqual(document.nameLabel(second, 20), `"${'k'.repeat(20)}…"`);
  assert.strictEqual(document.nameLabel(document.children(first, null, 1).nodes[0], 20), '0');
  assert.strictEqual(document.nameLabel(document.root, 20), '');
});

// -- much of it -------------------------------------------------------------------------------------------------------

const repeated = (text, size, begin = '[', end = ']') => (
  begin + Array.from({length: Math.floor(size / (text.length + 1))}, () => text).join(',') + end);
const RECORD = '{"id": 1234567890123456789, "name": "Zo\\u00eb", "tags": ["a", "b"], "at": 1.5e9, "ok": true}';
const MUCH = {
  'records': repeated(RECORD, 5e6),
  'numbers': repeated('1', 5e6),
  'one long string': `"${'x'.repeat(5e6)}"`,
  'one string of escapes': `"${'\\\\'.repeat(25e5)}"`,
  'blanks': `[${' '.repeat(5e6)}]`,
  'lists within lists': '['.repeat(5e5) + ']'.repeat(5e5),
};

for (const [what, text] of Object.entries(MUCH)) {
  test(`5 MB of ${what} is checked in many short steps`, () => {
    const {root} = read(text);
    assert.strictEqual(root.end - root.at, text.length);
    const longest = longestStep(() => json.readJson(text));
    assert.ok(longest < 50, `${longest} ms`);
  });
}

test('5 MB are laid out in short steps, and mean the same', () => {
  assert.strictEqual(layout(MUCH.records, 2).replace(/\s/g, ''), MUCH.records.replace(/\s/g, ''));
  const longest = longestStep(() => json.layout(MUCH.records, 2));
  assert.ok(longest < 50, `${longest} ms`);
});

test('of a million members a page is read at once, and no more', () => {
  const text = repeated('1', 2e6), document = read(text);
  const {nodes, cursor} = document.children(document.root, null, 100);
  assert.strictEqual(document.root.count, 1e6);
  assert.deepStrictEqual([nodes.length, nodes[99].name, cursor.index, cursor.at], [100, 99, 100, 201]);
});

test('lists within lists are not indented without end, and a layout that would be too long is refused', () => {
  const depth = 1000, text = '['.repeat(depth) + '1' + ']'.repeat(depth);
  assert.ok(layout(text, 2).length < depth * 200);
  assert.throws(() => layout(MUCH['lists within lists'], 2), outline.TooMuchError);
});

test('more containers than are kept are refused with a sentence', () => {
  assert.throws(() => read(repeated('[]', 6e6 + 10)), {
    name: 'TooMuchError', message: 'There are more than 2,000,000 objects and lists in it.'});
});

// -- slices -----------------------------------------------------------------------------------------------------------

test('between slices others have their turn', async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const document = await slices.inSlices(json.readJson(MUCH.numbers), {milliseconds: 1});
  clearInterval(timer);
  assert.strictEqual(document.root.count, 25e5);
  assert.ok(turns > 1, String(turns));
});

test('what is aborted ends at the next slice, with the reason', async () => {
  const stop = new AbortController(), reason = new Error('stopped');
  const reading = slices.inSlices(json.readJson(MUCH.numbers), {signal: stop.signal, milliseconds: 0});
  stop.abort(reason);
  await assert.rejects(reading, reason);
  await assert.rejects(slices.inSlices(json.readJson('1'), {signal: stop.signal}), reason);
});

test('an error of a step is thrown', async () => {
  await assert.rejects(slices.inSlices(json.readJson('[')), {name: 'JsonError'});
});
