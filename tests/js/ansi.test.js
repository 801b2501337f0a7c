/* The colours of the console: escape sequences, byte by byte, and what they look like. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const {setFlagsFromString} = require('node:v8');
const {runInNewContext} = require('node:vm');

let AnsiReader, styledRuns, styleAfter, PLAIN, RGB, colours;
before(async () => {
  ({AnsiReader, styledRuns, styleAfter, PLAIN, RGB} = await import('../../ws2s-js/console-ansi.mjs'));
  colours = await import('../../ws2s-js/console-colours.mjs');
});

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

function heap() {
  collect();
  return process.memoryUsage().heapUsed;
}

const utf8 = text => new TextEncoder().encode(text);
const textOf = bytes => Buffer.from(bytes).toString();

/* What differs from plain text. */
const told = style => Object.fromEntries(Object.entries(style).filter(([name, value]) => PLAIN[name] !== value));

/* Runs of pieces, each read with the state behind the one before. */
function runsOf(pieces) {
  const runs = [];
  let state;
  for (const piece of pieces) {
    for (const {bytes, style} of styledRuns(piece, state)) {
      const last = runs.at(-1);
      if (last && JSON.stringify(last[1]) === JSON.stringify(told(style))) last[0] += textOf(bytes);
      else runs.push([textOf(bytes), told(style)]);
    }
    const reader = new AnsiReader(state);
    reader.read(piece);
    state = reader.state;
  }
  return runs;
}

const joinedText = runs => runs.map(([text]) => text).join('');
const RED = {fore: 1};
const SEQUENCES = [
  ['text', 'hello', [['hello', {}]]],
  ['nothing', '', []],
  ['a colour', 'a\x1b[31mb\x1b[0mc', [['a', {}], ['b', RED], ['c', {}]]],
  ['SGR without a number', '\x1b[1;31ma\x1b[mb', [['a', {fore: 1, isBold: true}], ['b', {}]]],
  ['the same colour twice', '\x1b[31ma\x1b[31mb', [['ab', RED]]],
  ['bright ones', '\x1b[97;100ma', [['a', {fore: 15, back: 8}]]],
  ['one of 256', '\x1b[38;5;208;48;5;17ma', [['a', {fore: 208, back: 17}]]],
  ['one of 256 with colons', '\x1b[38:5:208ma', [['a', {fore: 208}]]],
  ['RGB', '\x1b[38;2;1;2;3ma', [['a', {fore: 0x1010203}]]],
  ['RGB with colons', '\x1b[48:2:1:2:3ma', [['a', {back: 0x1010203}]]],
  ['RGB with a space of colours', '\x1b[38:2::1:2:3ma', [['a', {fore: 0x1010203}]]],
  ['more behind a colour', '\x1b[38;5;9;1ma', [['a', {fore: 9, isBold: true}]]],
  ['a colour that is none', '\x1b[38;5;256;38;2;1;2;999ma', [['a', {}]]],
  ['a colour that is cut off', '\x1b[38;5ma\x1b[38;2;1ma\x1b[38ma', [['aaa', {}]]],
  ['a kind of colours that is none', '\x1b[38;7;1ma', [['a', {isBold: true}]]],
  ['numbers that mean nothing', '\x1b[31;73;999999999999ma', [['a', RED]]],
  ['blinking and hiding, which nobody wants', '\x1b[5;8ma', [['a', {}]]],
  ['all that can be switched off', '\x1b[1;2;3;4;7;9;31;41m\x1b[22;23;24;27;29;39;49ma', [['a', {}]]],
  ['underlining by colons', '\x1b[4:3ma\x1b[4:0mb', [['a', {isUnderlined: true}], ['b', {}]]],
  ['m that is no SGR', 'a\x1b[>4;1mb\x1b[?1mc\x1b[1 md', [['abcd', {}]]],
  ['movements and modes', 'a\x1b[2J\x1b[1;1H\x1b[?25l\x1b[3Kb', [['ab', {}]]],
  ['other escapes', 'a\x1b(B\x1b=\x1b7\x1b#8\x1bcb', [['ab', {}]]],
  ['a title', 'a\x1b]0;title \u20ac\x07b\x1b]0;title\x1b\\c', [['abc', {}]]],
  ['a link', '\x1b]8;;http://a/\x1b\\here\x1b]8;;\x1b\\', [['here', {}]]],
  ['other strings', 'a\x1bPq#0\x1b\\\x1b_x\x1b\\\x1b^x\x1b\\\x1bXx\x1b\\b', [['ab', {}]]],
  ['a string with an end of line is none', '\x1b]0;a\nb', [['\nb', {}]]],
  ['a sequence with an end of line is none', '\x1b[31\r\nb', [['\r\nb', {}]]],
  ['cancelled', 'a\x1b[31\x18b\x1b]0;\x1ac\x1b\x18d', [['abcd', {}]]],
  ['begun anew', '\x1b[\x1b[31ma\x1b\x1b[0mb\x1b]0;x\x1b[31mc', [['a', RED], ['b', {}], ['c', RED]]],
  ['within a character', '\x1b\u20aca\x1b[1\u20acb', [['\u20aca\u20acb', {}]]],
  ['characters around', '\u20ac\x1b[31m\u20ac', [['\u20ac', {}], ['\u20ac', RED]]],
  ['unfinished', 'a\x1b[31', [['a', {}]]],
  ['a sequence of 8 bits is text', '\x9b31m', [['\x9b31m', {}]]],
];

for (const [name, text, wanted] of SEQUENCES) {
  test(`${name}: whole, cut at every byte, byte by byte, and something behind it`, () => {
    const bytes = utf8(text);
    assert.deepStrictEqual(runsOf([bytes]), wanted);
    for (let at = 0; at <= bytes.length; at++) {
      assert.deepStrictEqual(ascii([bytes.subarray(0, at), bytes.subarray(at)]), ascii([bytes]));
    }
    assert.deepStrictEqual(ascii([...bytes].map(byte => Uint8Array.of(byte))), ascii([bytes]));
    if (name === 'unfinished') return;
    assert.strictEqual(joinedText(runsOf([utf8(`${text}\x1b[0mtail`)])), `${joinedText(wanted)}tail`);
  });
}

/* A cut character is no text in either of its pieces. */
const ascii = pieces => runsOf(pieces).map(([text, style]) => [text.replace(/[^\x00-\x7f]+/g, '?'), style]);

test('what begins a sequence and does not end it is text again', () => {
  for (const begin of ['\x1b[', '\x1b(', '\x1b]0;', '\x1bP']) {
    const filler = begin === '\x1b(' ? ' ' : '1';
    const text = joinedText(runsOf([utf8(begin + filler.repeat(10000) + 'end')]));
    assert.match(text, /end$/);
    assert.ok(text.length > 5000 && text.length < 10000, `${JSON.stringify(begin)} ${text.length}`);
  }
});

test('a text has 500 runs at most, and all of its text', () => {
  const runs = styledRuns(utf8('\x1b[31ma\x1b[32mb'.repeat(2000)));
  assert.strictEqual(runs.length, 500);
  assert.strictEqual(runs.map(({bytes}) => textOf(bytes)).join(''), 'ab'.repeat(2000));
});

test('any bytes are read, with a bounded state, the same however they are cut', () => {
  const alphabet = utf8('\x1b\x1b\x1b[[]P\\;:0123458mmHab\n\r\x07\x18\u20ac');
  let seed = 7;
  const random = below => (seed = (seed * 16807) % 2147483647) % below;
  for (let round = 0; round < 200; round++) {
    const bytes = Uint8Array.from({length: 300}, () => alphabet[random(alphabet.length)]);
    const at = random(300), whole = new AnsiReader(), cut = new AnsiReader();
    whole.read(bytes);
    cut.read(bytes.subarray(0, at));
    const next = new AnsiReader(cut.state);
    next.read(bytes.subarray(at));
    assert.deepStrictEqual(next.state, whole.state);
    assert.ok(whole.state.parameters.length <= 256);
  }
});

for (const [name, end] of [['one behind the other', ''], ['each behind plain text', '\x1b[m']]) {
  test(`no styles are kept however many there were, ${name}`, () => {
    const reader = new AnsiReader(), before = heap();
    for (let i = 0; i < 60000; i++) reader.read(utf8(`\x1b[38;2;${i & 255};${i >> 8 & 255};${i >> 16}m${end}`));
    assert.ok(heap() - before < 5e6);
    assert.strictEqual(reader.state.step, 'text');
  });
}

test('a state does not change when its reader goes on', () => {
  const reader = new AnsiReader();
  const {state} = reader;
  reader.read(utf8('\x1b[31ma\x1b[4'));
  assert.deepStrictEqual([state.style, state.step], [PLAIN, 'text']);
});

// -- looks ------------------------------------------------------------------------------------------------------------

const variablesOf = style => Object.fromEntries(colours.lookOf({...PLAIN, ...style}).variables);
const number = css => parseInt(css.slice(1), 16);
const BEHIND = {light: 0xeef1f4, dark: 0x1a2027};

function contrastsOf(style) {
  const variables = variablesOf(style);
  return ['light', 'dark'].map(theme => {
    const back = variables[`--ansi-${theme}-back`];
    const behind = back === 'transparent' ? BEHIND[theme] : number(back);
    return colours.contrast(number(variables[`--ansi-${theme}`]), behind);
  });
}

test('each of 256 colours can be read, in front, behind, inverse and faint', () => {
  for (let colour = 0; colour < 256; colour++) {
    const all = [{}, {isInverse: true}, {isFaint: true}].map(more => ({fore: colour, ...more}));
    for (const style of [...all, {back: colour}]) {
      assert.ok(Math.min(...contrastsOf(style)) >= 4.5, JSON.stringify(style));
    }
  }
});

test('what would hide text behind its own colour can be read', () => {
  for (let rgb = 0; rgb <= 0xffffff; rgb += 0x0f0f1f) {
    assert.ok(Math.min(...contrastsOf({fore: RGB + rgb, back: RGB + rgb})) >= 4.5, rgb.toString(16));
  }
});

test('a colour that can be read stays what it is', () => {
  const {'--ansi-light': light, '--ansi-dark': dark} = variablesOf({fore: RGB + 0x0000ff});
  assert.strictEqual(light, '#0000ff');
  assert.notStrictEqual(dark, '#0000ff');
});

test('the cube and the greys are those of terminals', () => {
  const behind = colour => variablesOf({back: colour})['--ansi-light-back'];
  assert.deepStrictEqual([16, 17, 208, 231, 232, 255].map(behind),
    ['#000000', '#00005f', '#ff8700', '#ffffff', '#080808', '#eeeeee']);
});

test('plain text has no look, and what is no colour is a class', () => {
  assert.deepStrictEqual(colours.lookOf(PLAIN), {className: '', variables: []});
  const style = styleAfter(PLAIN, '1;3;4;9');
  assert.deepStrictEqual(colours.lookOf(style), {className: 'bold italic underlined struck', variables: []});
});

test('values of variables are colours and nothing else', () => {
  for (const [, value] of colours.lookOf(styleAfter(PLAIN, '2;7;38;2;1;2;3;48;5;9')).variables) {
    assert.match(value, /^(#[0-9a-f]{6}|transparent)$/);
  }
});
