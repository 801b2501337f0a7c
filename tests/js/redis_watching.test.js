/* MONITOR over a connection of its own, through a gateway and a Redis that are not real; and charts. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const {FakeGateway, until} = require('./fake_gateway.js');
const {FakeRedis} = require('./fake_redis.js');

let LineReader, watchCommands, chartsOf, Samples, sampleOf, parseInfo;
before(async () => {
  ({LineReader, watchCommands} = await import('../../ws2s-js/redis-watching.mjs'));
  ({chartsOf} = await import('../../ws2s-js/redis-charts.mjs'));
  ({Samples, sampleOf} = await import('../../ws2s-js/redis-samples.mjs'));
  ({parseInfo} = await import('../../ws2s-js/redis-info.mjs'));
});

const bytes = text => new Uint8Array(Buffer.from(text, 'latin1'));

function linesOf(pieces) {
  const reader = new LineReader();
  return pieces.flatMap(piece => reader.read(piece));
}

test('lines are the same whole, cut at every byte, and byte by byte', () => {
  const all = bytes('+OK\r\n\r\n+\xff a\n+b\rc\r\n+unfinished');
  const wanted = ['+OK', '', '+\xff a', '+b\rc'];
  assert.deepStrictEqual(linesOf([all]), wanted);
  for (let at = 0; at <= all.length; at++) {
    assert.deepStrictEqual(linesOf([all.subarray(0, at), all.subarray(at)]), wanted);
  }
  assert.deepStrictEqual(linesOf([...all].map(byte => Uint8Array.of(byte))), wanted);
});

test('of a long line 16 KiB are kept, and the next one is whole', () => {
  const reader = new LineReader(), piece = new Uint8Array(65536).fill(0x61);
  for (let i = 0; i < 160; i++) assert.deepStrictEqual(reader.read(piece), []);
  assert.deepStrictEqual(reader.read(bytes('\r\n+b\r\n')).map(line => line.length), [16384, 2]);
});

async function watching(options, answers) {
  const redis = new FakeRedis(answers), gateway = new FakeGateway({makeTarget: redis.makeTarget});
  const attempt = new AbortController(), lines = [];
  const watched = watchCommands('ws://gateway.test/', {host: 'a', port: 1, WebSocket: gateway.WebSocket, ...options},
    {signal: attempt.signal, onLine: line => lines.push(line)});
  watched.catch(() => {});
  return {redis, gateway, attempt, lines, watched};
}

for (const [options, login] of [
  [{}, []], [{db: 3}, []], [{password: 'h\u00e9'}, ['AUTH h\u00e9']], [{username: 'u', password: ''}, ['AUTH u ']],
]) {
  test(`commands are watched with ${JSON.stringify(options)}`, async () => {
    const {redis, attempt, lines, watched, gateway} = await watching(options);
    await until(() => redis.commands.length === login.length + 1);
    assert.deepStrictEqual(redis.commands, [...login, 'MONITOR']);
    redis.last.say('+1.000000 [0 a:1] "GET" "k"\r\n+1.0');
    redis.last.say('00001 [0 a:1] "PING"\r\n');
    await until(() => lines.length === 2);
    assert.deepStrictEqual(lines, ['1.000000 [0 a:1] "GET" "k"', '1.000001 [0 a:1] "PING"']);
    attempt.abort();
    await assert.rejects(watched, {name: 'AbortError'});
    await until(() => gateway.last.isOver);
  });
}

for (const command of ['AUTH', 'MONITOR']) {
  test(`a server that refuses ${command} ends it, and its connection is gone`, async () => {
    const {watched, lines, gateway} = await watching({password: 'x'}, {[command]: '-NOPERM not you\r\n'});
    await assert.rejects(watched, {name: 'RedisError', message: 'NOPERM not you'});
    assert.deepStrictEqual(lines, []);
    await until(() => gateway.last.isOver);
  });
}

test('a server that ends the connection is told', async () => {
  const {redis, watched} = await watching();
  await until(() => redis.commands.length);
  redis.last.close();
  await assert.rejects(watched, {name: 'WS2SError', reason: 'closed'});
});

test('what is stopped before it is connected leaves nothing', async () => {
  const {attempt, watched, gateway} = await watching();
  attempt.abort();
  await assert.rejects(watched, {name: 'AbortError'});
  await until(() => gateway.sockets.every(socket => socket.readyState === 3));
});

// -- charts -----------------------------------------------------------------------------------------------------------

function sample(at, more) {
  const lines = Object.entries(more).map(([name, value]) => `${name}:${value}\r\n`);
  return sampleOf(parseInfo(`# All\r\nrun_id:a\r\n${lines.join('')}`), at);
}

test('charts tell what is so now, and what their top stands for', () => {
  const samples = new Samples();
  samples.add(sample(0, {used_memory: 1500000, total_net_input_bytes: 0, total_net_output_bytes: 0}));
  samples.add(sample(1000, {used_memory: 2500000, total_net_input_bytes: 4000, total_net_output_bytes: 700}));
  const charts = Object.fromEntries(chartsOf(samples, {width: 100, height: 10}).map(chart => [chart.id, chart]));
  assert.deepStrictEqual([charts.memory.now, charts.memory.end, charts.memory.paths],
    ['2.5 MB used', '5.0 MB', ['M0 7h0L100 5']]);
  assert.strictEqual(charts.network.now, '4.0 KB a second in, 700 bytes a second out');
  assert.strictEqual(charts.network.end, '5.0 KB a second');
  assert.deepStrictEqual([charts.hits.now, charts.hits.end, charts.hits.paths], ['', '100.0 %', ['']]);
});

test('there are charts without samples, too', () => {
  for (const {now, paths} of chartsOf(new Samples(), {width: 1, height: 1})) {
    assert.strictEqual(now + paths.join(''), '');
  }
});
