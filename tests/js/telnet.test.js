/* Telnet of the console, byte by byte. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');

let Telnet;
before(async () => {
  ({Telnet} = await import('../../ws2s-js/console-telnet.mjs'));
});

const IAC = 255, DONT = 254, DO = 253, WONT = 252, WILL = 251, SB = 250, GA = 249, NOP = 241, SE = 240;
const BINARY = 0, ECHO = 1, SGA = 3, TIMING_MARK = 6, TTYPE = 24, NAWS = 31, LINEMODE = 34, NEW_ENVIRON = 39;
const IS = 0, SEND = 1;
const ANSI = [...Buffer.from('ANSI')];
const SIZE = [IAC, SB, NAWS, 0, 80, 0, 24, IAC, SE];

const flat = parts => Uint8Array.from(parts.flatMap(part => [...Buffer.from(part)]));

/* What becomes of pieces, as lists of bytes. */
function read(telnet, pieces) {
  const data = [], reply = [];
  for (const piece of pieces) {
    const read = telnet.receive(piece);
    data.push(...read.data);
    reply.push(...read.reply);
  }
  return {data: [...data, ...telnet.end()], reply};
}

function* cuts(bytes) {
  yield [bytes];
  yield [...bytes].map(byte => Uint8Array.of(byte));
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
}

// [name, what comes, what the user sees, what the target is answered]
const RECEIVED = [
  ['nothing of telnet', ['login: '], ['login: '], []],
  ['an escaped byte', ['a', [IAC, IAC], 'b'], ['a', [255], 'b'], []],
  ['two escaped bytes', [[IAC, IAC, IAC, IAC]], [[255, 255]], []],
  ['commands without an answer', ['a', [IAC, NOP, IAC, GA, IAC, 242, IAC, 246], 'b'], ['ab'], []],
  ['commands that are none', ['a', [IAC, 1, IAC, 0], 'b'], ['ab'], []],
  ['CR NUL', ['a\r\0b'], ['a\rb'], []],
  ['CR LF', ['a\r\nb'], ['a\r\nb'], []],
  ['CR CR NUL', ['a\r\r\0b'], ['a\r\rb'], []],
  ['NUL without CR', ['a\0b'], ['a\0b'], []],
  ['CR, NUL, NUL', ['\r\0\0'], ['\r\0'], []],
  ['options that are accepted', [[IAC, WILL, ECHO, IAC, WILL, SGA, IAC, DO, SGA]], [],
    [[IAC, DO, ECHO, IAC, DO, SGA, IAC, WILL, SGA]]],
  ['options that are refused', [[IAC, WILL, BINARY, IAC, DO, BINARY, IAC, DO, ECHO, IAC, DO, LINEMODE]], [],
    [[IAC, DONT, BINARY, IAC, WONT, BINARY, IAC, WONT, ECHO, IAC, WONT, LINEMODE]]],
  ['an option asked for again is not answered again', [[IAC, WILL, ECHO, IAC, WILL, ECHO]], [], [[IAC, DO, ECHO]]],
  ['an option switched off, and off again', [[IAC, WILL, ECHO, IAC, WONT, ECHO, IAC, WONT, ECHO]], [],
    [[IAC, DO, ECHO, IAC, DONT, ECHO]]],
  ['what is off is switched off', [[IAC, WONT, ECHO, IAC, DONT, NAWS, IAC, DONT, 200]], [], []],
  ['each timing mark is answered', [[IAC, DO, TIMING_MARK, IAC, DO, TIMING_MARK]], [],
    [[IAC, WONT, TIMING_MARK, IAC, WONT, TIMING_MARK]]],
  ['the option 255', [[IAC, WILL, 255, IAC, DO, 255], 'a'], ['a'], [[IAC, DONT, 255, IAC, WONT, 255]]],
  ['the size of the window', [[IAC, DO, NAWS]], [], [[IAC, WILL, NAWS], SIZE]],
  ['the size again when it was off', [[IAC, DO, NAWS, IAC, DONT, NAWS, IAC, DO, NAWS]], [],
    [[IAC, WILL, NAWS], SIZE, [IAC, WONT, NAWS, IAC, WILL, NAWS], SIZE]],
  ['the type of the terminal', [[IAC, DO, TTYPE, IAC, SB, TTYPE, SEND, IAC, SE], 'a'], ['a'],
    [[IAC, WILL, TTYPE, IAC, SB, TTYPE, IS, ...ANSI, IAC, SE]]],
  ['a type that was not agreed on', [[IAC, SB, TTYPE, SEND, IAC, SE]], [], []],
  ['a type that is told to us', [[IAC, DO, TTYPE, IAC, SB, TTYPE, IS, 65, IAC, SE]], [], [[IAC, WILL, TTYPE]]],
  ['a subnegotiation of something refused', [[IAC, SB, NEW_ENVIRON, SEND, IAC, IAC, IAC, SE], 'a'], ['a'], []],
  ['a subnegotiation of nothing', [[IAC, SB, IAC, SE], 'a'], ['a'], []],
  ['a subnegotiation that is not ended', ['a', [IAC, SB, TTYPE, SEND, IAC, WILL, ECHO], 'b'], ['ab'],
    [[IAC, DO, ECHO]]],
  ['SE without SB', [[IAC, SE], 'a'], ['a'], []],
];

for (const [name, bytes, data, reply] of RECEIVED) {
  test(`received: ${name}: whole, cut at every byte, byte by byte, and something behind it`, () => {
    for (const [tail, shown] of [[[], []], [['tail', [IAC, IAC]], ['tail', [255]]]]) {
      const wanted = {data: [...flat([...data, ...shown])], reply: [...flat(reply)]};
      for (const pieces of cuts(flat([...bytes, ...tail]))) {
        assert.deepStrictEqual(read(new Telnet('on'), pieces), wanted);
      }
    }
  });
}

// Is it telnet? [name, what comes first, what the user sees, whether it is]
const FIRST = [
  ['a negotiation', [[IAC, WILL, ECHO], 'a', [IAC, IAC]], ['a', [255]], true],
  ['text', ['a', [IAC, WILL, ECHO]], ['a', [IAC, WILL, ECHO]], false],
  ['the byte 255 alone', [[IAC]], [[IAC]], false],
  ['two bytes 255', [[IAC, IAC, WILL, ECHO]], [[IAC, IAC, WILL, ECHO]], false],
  ['a subnegotiation', [[IAC, SB, TTYPE, SEND, IAC, SE]], [[IAC, SB, TTYPE, SEND, IAC, SE]], false],
  ['a picture', [[IAC, 0xd8, IAC, 0xe0, 0, 0x10]], [[IAC, 0xd8, IAC, 0xe0, 0, 0x10]], false],
  ['nothing', [], [], false],
];

for (const [name, bytes, data, isOn] of FIRST) {
  test(`a target of which nothing is known begins with ${name}`, () => {
    for (const pieces of cuts(flat(bytes))) {
      const telnet = new Telnet();
      assert.deepStrictEqual(read(telnet, pieces).data, [...flat(data)]);
      assert.strictEqual(telnet.isOn, isOn);
    }
  });
}

test('a byte 255 that was held back is given once', () => {
  const telnet = new Telnet();
  telnet.receive(Uint8Array.of(IAC));
  assert.deepStrictEqual([...telnet.receive(Uint8Array.of(1)).data, ...telnet.end()], [IAC, 1]);
});

test('where telnet is off nothing is touched, either way', () => {
  const telnet = new Telnet('off'), bytes = flat([[IAC, WILL, ECHO], '\r\0']);
  assert.deepStrictEqual(read(telnet, [bytes]), {data: [...bytes], reply: []});
  assert.strictEqual(telnet.escaped(bytes), bytes);
});

const SENT = [
  ['text', 'GET\r\n', 'GET\r\n'], ['the byte 255', [1, 255, 2], [1, 255, 255, 2]], ['CR', 'a\r', 'a\r\0'],
  ['CR and more', 'a\rb\r\n', 'a\r\0b\r\n'], ['LF', 'a\n', 'a\n'], ['all', [255, 13, 255], [255, 255, 13, 0, 255, 255]],
];

for (const [name, bytes, wanted] of SENT) {
  test(`sent: ${name}`, () => assert.deepStrictEqual(new Telnet('on').escaped(flat([bytes])), flat([wanted])));
}

test('what was sent by telnet is received by telnet as the same, however it is cut', () => {
  const all = Uint8Array.from({length: 256}, (_, byte) => byte), twice = flat([[...all], [...all]]);
  for (const pieces of cuts(new Telnet('on').escaped(twice))) {
    assert.deepStrictEqual(read(new Telnet('on'), pieces), {data: [...twice], reply: []});
  }
});

test('a new size is told to a target that wants to know, once', () => {
  const telnet = new Telnet('on', {columns: 1, rows: 2});
  assert.deepStrictEqual(telnet.resize(90, 30).length, 0);
  telnet.receive(Uint8Array.of(IAC, DO, NAWS));
  assert.deepStrictEqual([...telnet.resize(90, 30)], []);
  assert.deepStrictEqual([...telnet.resize(255, 70000)], [IAC, SB, NAWS, 0, 255, 255, 255, 255, 255, 255, IAC, SE]);
  telnet.receive(Uint8Array.of(IAC, DONT, NAWS));
  assert.deepStrictEqual([...telnet.resize(10, 10)], []);
});

test('a target that echoes and wants lines asks for a secret', () => {
  const telnet = new Telnet('on');
  const seen = [[WILL, ECHO], [WONT, ECHO], [WILL, ECHO], [WILL, SGA]].map(([verb, option]) => {
    telnet.receive(Uint8Array.of(IAC, verb, option));
    return telnet.isSecret;
  });
  assert.deepStrictEqual(seen, [true, false, true, false]);
});

test('two that are polite come to an end', () => {
  for (const verb of [WILL, DO]) {
    for (let option = 0; option < 256; option++) {
      const sides = [new Telnet('on'), new Telnet('on')];
      let said = Uint8Array.of(IAC, verb, option), turns = 0;
      for (; said.length && turns < 10; turns++) said = sides[turns % 2].receive(said).reply;
      assert.ok(turns < 6, `${verb} ${option}`);
    }
  }
});

test('a target that wants characters asks for a secret by its prompt, until that is answered', () => {
  const telnet = new Telnet('on');
  const hear = (...parts) => {
    telnet.receive(flat(parts));
    return telnet.isSecret;
  };
  assert.strictEqual(hear('Password: '), false);  // as long as it does not echo, nothing would be hidden
  assert.strictEqual(hear([IAC, WILL, ECHO, IAC, WILL, SGA], '\r\nlogin: '), false);
  for (const prompt of ['Password: ', "ann's password:", 'Enter PIN: ', 'Passphrase for key 1: ']) {
    assert.deepStrictEqual([hear('\r\n', prompt.slice(0, 3)), hear(prompt.slice(3))], [false, true], prompt);
    telnet.escaped(Uint8Array.of(97, 13, 10));
    assert.strictEqual(telnet.isSecret, false, prompt);
  }
  for (const text of ['Password: wrong\r\n', 'spin: ', `Password${' '.repeat(80)}: `]) assert.ok(!hear(text), text);
});

test('a target that wants the same again and again is answered two hundred times', () => {
  const telnet = new Telnet('on');
  const insisting = {
    refused: [IAC, DO, 99], flapping: [IAC, WILL, ECHO, IAC, WONT, ECHO], type: [IAC, SB, TTYPE, SEND, IAC, SE],
    size: [IAC, DO, NAWS, IAC, DONT, NAWS],
  };
  telnet.receive(Uint8Array.of(IAC, DO, TTYPE));
  for (const [name, wish] of Object.entries(insisting)) {
    const {reply} = telnet.receive(flat(new Array(600).fill(wish)));
    assert.ok(reply.length >= 600 && reply.length <= 2000, `${name} ${reply.length}`);
    assert.deepStrictEqual([...telnet.receive(flat([wish])).reply], [], name);
  }
  telnet.receive(Uint8Array.of(IAC, WILL, ECHO));
  assert.strictEqual(telnet.isSecret, true);  // that is minded, though nobody is told
});

test('a subnegotiation without an end is text again after 4096 bytes, and none of it is kept', () => {
  const telnet = new Telnet('on');
  telnet.receive(flat([[IAC, DO, TTYPE, IAC, SB, TTYPE, SEND]]));
  const before = process.memoryUsage().heapUsed, piece = new Uint8Array(65536).fill(97);
  let shown = 0;
  for (let i = 0; i < 160; i++) shown += telnet.receive(piece).data.length;
  assert.ok(process.memoryUsage().heapUsed - before < 20e6);
  assert.strictEqual(shown, 160 * 65536 - 4094);
  assert.deepStrictEqual(read(telnet, [flat(['a'])]).data, [97]);
});
