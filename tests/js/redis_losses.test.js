/* P11, P6, P4, C1: what a Redis client says and does not do when its connection is lost, silent or no Redis. */
'use strict';

const assert = require('node:assert');
const {test} = require('node:test');
const WS2S = require('../../ws2s-js/ws2s.js');
const {FakeGateway, until, settled} = require('./fake_gateway.js');
const {FakeRedis, bulk, list} = require('./fake_redis.js');
const {takeTime} = require('./fake_time.js');

const {WS2SError, RedisError} = WS2S;
const URL = 'ws://gateway.test/';
const QUICK = {first: 5, longest: 20};

function start(answers, options) {
  const server = answers instanceof FakeRedis ? answers : new FakeRedis(answers);
  const gateway = new FakeGateway({makeTarget: server.makeTarget});
  const redis = new WS2S.Redis(URL, {host: 'redis.test', WebSocket: gateway.WebSocket, retry: QUICK, ...options});
  const told = [];
  redis.onReady = () => told.push('ready');
  redis.onLost = error => told.push(error);
  redis.onClose = error => told.push(error || 'closed');
  return {server, gateway, redis, told};
}

const isLost = error => error instanceof WS2SError && error.reason === 'transaction-lost' && error.code === 1
  && /was not sent/.test(error.message);

/* The server ends the connection, and the client has another one. */
async function lose({server, told}) {
  const before = told.filter(each => each === 'ready').length;
  server.last.close();
  await until(() => told.filter(each => each === 'ready').length > before);
}

// -- transactions -----------------------------------------------------------------------------------------------------

const TRANSACTIONS = {
  'SET and EXEC after MULTI': [['MULTI'], [['SET', 'tx', '1'], ['EXEC']]],
  'GET after MULTI and SET': [['MULTI', 'SET a 1'], [['GET', 'a'], ['INCR', 'n'], ['EXEC']]],
  'PING, in lower case, after multi': [['multi'], [['ping'], ['exec']]],
  'all of a transaction after WATCH': [['WATCH k', 'GET k'], [['MULTI'], ['SET', 'k', '1'], ['EXEC']]],
  'a write after WATCH': [['WATCH k'], [['SET', 'k', '1'], ['EXEC']]],
  'WATCH and MULTI after WATCH, in one go': [['WATCH a'], [['WATCH', 'b'], ['MULTI'], ['SET', 'k', '1'], ['EXEC']]],
  'SET after WATCH and MULTI': [['WATCH a', 'MULTI'], [['SET', 'k', '1'], ['EXEC']]],
};

for (const [name, [before, after]] of Object.entries(TRANSACTIONS)) {
  test(`P11: ${name} is refused when the connection has changed, and what comes after EXEC is not`, async () => {
    const all = start();
    for (const line of before) await all.redis.command(...line.split(' '));
    await lose(all);
    all.server.commands = [];
    const outcomes = await Promise.allSettled(after.map(words => all.redis.command(...words)));
    for (const {reason} of outcomes) assert.ok(isLost(reason), String(reason));
    assert.deepStrictEqual(all.server.commands, []);
    assert.strictEqual(await all.redis.command('PING'), 'PONG');
    assert.deepStrictEqual(all.server.commands, ['PING']);
    await all.redis.close();
  });
}

const BEGINNINGS = [
  [['MULTI'], ['DISCARD'], []], [['MULTI'], ['UNWATCH'], ['UNWATCH']], [['MULTI'], ['MULTI'], ['MULTI']],
  [['MULTI'], ['WATCH', 'k'], ['WATCH k']], [['WATCH', 'k'], ['UNWATCH'], ['UNWATCH']],
  [['WATCH', 'k'], ['DISCARD'], []],
];

for (const [begun, words, sent] of BEGINNINGS) {
  test(`P11: after a lost ${begun[0]} ${words[0]} begins anew`, async () => {
    const all = start();
    await all.redis.command(...begun);
    await lose(all);
    all.server.commands = [];
    assert.strictEqual(await all.redis.command(...words), 'OK');
    assert.strictEqual(await all.redis.command('SET', 'a', '1'), 'OK');
    assert.deepStrictEqual(all.server.commands, [...sent, 'SET a 1']);
    await all.redis.close();
  });
}

test('P11: who has heard of the loss may WATCH again, and MULTI alone is still refused', async () => {
  const all = start();
  await all.redis.command('WATCH', 'k');
  await lose(all);
  await assert.rejects(all.redis.command('GET', 'k'), isLost);
  assert.strictEqual(await all.redis.command('ECHO', 'x').then(String), '120');
  await assert.rejects(all.redis.command('MULTI'), isLost);
  await assert.rejects(all.redis.command('SET', 'k', '1'), isLost);
  await all.redis.command('WATCH', 'k');
  await all.redis.command('MULTI');
  await all.redis.command('EXEC');
  assert.deepStrictEqual(all.server.commands, ['WATCH k', 'ECHO x', 'WATCH k', 'MULTI', 'EXEC']);
  await all.redis.close();
});

const NO_TRANSACTIONS = {
  'EXEC has ended it': ['MULTI', 'SET a 1', 'EXEC'], 'DISCARD has ended it': ['MULTI', 'DISCARD'],
  'UNWATCH has ended it': ['WATCH k', 'UNWATCH'], 'there was none': ['SET a 1'],
};

for (const [name, lines] of Object.entries(NO_TRANSACTIONS)) {
  test(`P11: nothing is refused after a loss when ${name}`, async () => {
    const all = start();
    for (const line of lines) await all.redis.command(...line.split(' '));
    await lose(all);
    assert.strictEqual(await all.redis.command('PING'), 'PONG');
    await all.redis.close();
  });
}

test('P11: a MULTI that Redis has refused has begun nothing, and one that got no reply may have', async () => {
  const all = start({MULTI: '-NOPERM no\r\n'});
  await assert.rejects(all.redis.command('MULTI'), RedisError);
  await lose(all);
  assert.strictEqual(await all.redis.command('PING'), 'PONG');
  all.server.answers.MULTI = null;
  const asked = all.redis.command('MULTI');
  asked.catch(() => {});
  await until(() => all.server.commands.filter(line => line === 'MULTI').length === 2);
  await lose(all);
  await assert.rejects(asked, {reason: 'not-answered'});
  await assert.rejects(all.redis.command('SET', 'a', 1), isLost);
  assert.strictEqual(await all.redis.command('DISCARD'), 'OK');
  assert.strictEqual(await all.redis.command('PING'), 'PONG');
  await all.redis.close();
});

test('P11: a guard is not lost with the MULTI behind it that got no reply', async () => {
  const all = start({MULTI: null});
  await all.redis.command('WATCH', 'k');
  const asked = assert.rejects(all.redis.command('MULTI'), {reason: 'not-answered'});
  await until(() => all.server.commands.includes('MULTI'));
  await lose(all);
  await asked;
  all.server.answers.MULTI = '+OK\r\n';
  await assert.rejects(all.redis.command('MULTI'), isLost);
  await assert.rejects(all.redis.command('EXEC'), isLost);
  assert.strictEqual(await all.redis.command('PING'), 'PONG');
  await all.redis.close();
});

test('P11: the old client refuses it as well, and goes on after exec', async () => {
  const server = new FakeRedis();
  const gateway = new FakeGateway({makeTarget: server.makeTarget});
  const redis = new WS2S(URL, {WebSocket: gateway.WebSocket, retry: QUICK}).newRedisClient('h', 1);
  const told = [];
  redis.onResponse = data => told.push(data);
  redis.onError = error => told.push(error.reason || error);
  let isAgain = false;
  redis.onReconnected = () => { isAgain = true; };
  redis.request('multi');
  await until(() => told.length === 1);
  server.last.close();
  await until(() => isAgain);
  redis.request('set a 1\nexec\nping');
  await until(() => told.includes('PONG'));
  assert.deepStrictEqual(told, ['OK', 'closed', 'transaction-lost', 'transaction-lost', 'PONG']);
  assert.deepStrictEqual(server.commands, ['multi', 'ping']);
  await redis.close();
});

test('multi() sends all in one write and gives the replies of EXEC', async () => {
  const {redis, server, gateway} = start({EXEC: '*2\r\n+OK\r\n-WRONGTYPE no\r\n', SET: '+QUEUED\r\n'});
  await redis.command('PING');
  const before = gateway.last.requests.length;
  const [ok, error] = await redis.multi([['SET', 'a', 1], ['SET', 'b', new Uint8Array([50])]]);
  assert.strictEqual(ok, 'OK');
  assert.ok(error instanceof RedisError);
  assert.strictEqual(gateway.last.requests.length, before + 1);
  assert.deepStrictEqual(server.commands, ['PING', 'MULTI', 'SET a 1', 'SET b 2', 'EXEC']);
  await redis.close();
});

test('multi() before the connection is there waits for it, and is sent together', async () => {
  const {redis, server} = start({EXEC: list(['x'])}, {text: true});
  const [replies] = await Promise.all([redis.multi([['GET', 'k']]), redis.command('PING')]);
  assert.deepStrictEqual(replies, ['x']);
  assert.deepStrictEqual(server.commands, ['MULTI', 'GET k', 'EXEC', 'PING']);
  await redis.close();
});

test('multi() gives null when what was watched has changed', async () => {
  const {redis} = start({EXEC: '*-1\r\n'});
  await redis.command('WATCH', 'k');
  assert.strictEqual(await redis.multi([['SET', 'k', 1]]), null);
  await redis.close();
});

test('multi() rejects with what could not be queued, or with the refusal of MULTI', async () => {
  const {redis, server} = start({BAD: '-ERR unknown command\r\n', EXEC: '-EXECABORT discarded\r\n'});
  await assert.rejects(redis.multi([['SET', 'a', 1], ['BAD']]), {name: 'RedisError', message: 'ERR unknown command'});
  server.answers.MULTI = '-NOPERM no\r\n';
  await assert.rejects(redis.multi([['SET', 'a', 1]]), /NOPERM no .*one by one/);
  await redis.close();
});

test('multi() that is lost is not repeated, and says that it may have been carried out', async () => {
  const all = start({EXEC: null});
  await all.redis.command('PING');
  const asked = assert.rejects(all.redis.multi([['INCR', 'n']]), error => error.reason === 'not-answered'
    && /EXEC, which may have been carried out/.test(error.message));
  await until(() => all.server.commands.includes('EXEC'));
  await lose(all);
  await asked;
  await all.redis.command('PING');
  assert.deepStrictEqual(all.server.commands, ['PING', 'MULTI', 'INCR n', 'EXEC', 'PING']);
  await all.redis.close();
});

test('multi() after a lost WATCH is refused once, after a lost MULTI it is not', async () => {
  const all = start({EXEC: '*0\r\n'});
  await all.redis.command('WATCH', 'k');
  await lose(all);
  await assert.rejects(all.redis.multi([['SET', 'k', 1]]), isLost);
  assert.deepStrictEqual(await all.redis.multi([['SET', 'k', 1]]), []);
  await all.redis.command('MULTI');
  await assert.rejects(all.redis.multi([['SET', 'k', 1]]), /a MULTI is open/);
  await lose(all);
  assert.deepStrictEqual(await all.redis.multi([['SET', 'k', 1]]), []);
  await all.redis.close();
});

const WRONG = [[['EXEC']], [['multi']], [['WATCH', 'k']], [['SUBSCRIBE', 'c']], [[]], ['PING'], [['SET', 'k', null]]];

for (const wrong of WRONG) {
  test(`multi(${JSON.stringify(wrong)}) is refused, and nothing is sent`, async () => {
    const {redis, server} = start();
    await assert.rejects(redis.multi(wrong), TypeError);
    assert.strictEqual(await redis.command('PING'), 'PONG');
    assert.deepStrictEqual(server.commands, ['PING']);
    await redis.close();
  });
}

test('SELECT, AUTH and HELLO that were accepted hold for the next connection, others do not', async () => {
  const all = start();
  await all.redis.command('AUTH', 'u', 'p');
  await all.redis.command('SELECT', 5);
  await all.redis.command('HELLO', 3);
  all.server.answers.SELECT = words => words[1] === '5' ? '+OK\r\n' : '-ERR out of range\r\n';
  await assert.rejects(all.redis.command('SELECT', 99), RedisError);
  all.server.commands = [];
  await lose(all);
  assert.deepStrictEqual(all.server.commands, ['AUTH u p', 'HELLO 3', 'SELECT 5']);
  await all.redis.close();
});

const LOGIN = {username: 'nos', password: 'old', db: 2};
const LASTING = [
  ['AUTH with a password alone is of the user default', LOGIN, ['AUTH pw'], ['AUTH pw', 'SELECT 2']],
  ['the login of HELLO', LOGIN, ['HELLO 3 AUTH alice pw'], ['AUTH alice pw', 'HELLO 3', 'SELECT 2']],
  ['the login of hello, in lower case, behind a name', {}, ['hello 2 setname auth auth alice pw'], ['AUTH alice pw']],
  ['a name that HELLO gives is no login', LOGIN, ['HELLO 3 SETNAME AUTH'], ['AUTH nos old', 'HELLO 3', 'SELECT 2']],
  ['RESET leaves nothing', {...LOGIN, protocol: 3}, ['RESET'], []],
  ['what comes behind RESET', LOGIN, ['SELECT 4', 'RESET', 'AUTH b pw', 'SELECT 5'], ['AUTH b pw', 'SELECT 5']],
];

for (const [what, options, lines, expected] of LASTING) {
  test(`what holds for the next connection: ${what}`, async () => {
    const all = start({RESET: '+RESET\r\n'}, options);
    for (const line of lines) await all.redis.command(...line.split(' '));
    all.server.commands = [];
    await lose(all);
    assert.deepStrictEqual(all.server.commands, expected);
    await all.redis.close();
  });
}

/* Queues as Redis does; EXEC answers with the outcomes of what was queued, or as `exec` says. */
function queueing(exec) {
  let queued = null;
  const queue = outcome => () => {
    if (!queued) return outcome;
    queued.push(outcome);
    return '+QUEUED\r\n';
  };
  const end = reply => () => {
    const outcomes = queued;
    queued = null;
    return reply || `*${outcomes.length}\r\n${outcomes.join('')}`;
  };
  return {
    MULTI: () => {
      if (queued) return '-ERR MULTI calls can not be nested\r\n';
      queued = [];
      return '+OK\r\n';
    },
    EXEC: end(exec), DISCARD: end('+OK\r\n'), RESET: end('+RESET\r\n'),
    SELECT: words => queue(words[1] > 15 ? '-ERR DB index is out of range\r\n' : '+OK\r\n')(),
    AUTH: queue('+OK\r\n'), HELLO: queue('*0\r\n'), SET: queue('+OK\r\n'), PING: queue('+PONG\r\n'),
  };
}

const QUEUED = [
  ['SELECT that EXEC has carried out', ['MULTI', 'SET a 1', 'SELECT 3', 'EXEC'], ['SELECT 3']],
  ['the same in lower case', ['multi', 'select 3', 'exec'], ['SELECT 3']],
  ['the last of several', ['MULTI', 'SELECT 3', 'AUTH a pw', 'SELECT 4', 'HELLO 3', 'EXEC'],
   ['AUTH a pw', 'HELLO 3', 'SELECT 4']],
  ['the one that Redis has taken', ['MULTI', 'SELECT 3', 'SELECT 99', 'EXEC'], ['SELECT 3']],
  ['behind a MULTI within MULTI', ['MULTI', 'SELECT 3', 'MULTI', 'SELECT 4', 'EXEC'], ['SELECT 4']],
  ['nothing before EXEC', ['SELECT 1', 'MULTI', 'SELECT 3'], ['SELECT 1']],
  ['nothing after DISCARD', ['SELECT 1', 'MULTI', 'SELECT 3', 'DISCARD', 'MULTI', 'SET a 1', 'EXEC'], ['SELECT 1']],
  ['nothing after RESET', ['MULTI', 'SELECT 3', 'RESET', 'MULTI', 'SET a 1', 'EXEC'], []],
  ['nothing of an EXEC that gives null', ['MULTI', 'SELECT 3', 'EXEC'], [], '*-1\r\n'],
  ['nothing of an EXEC that is refused', ['MULTI', 'SELECT 3', 'EXEC'], [], '-EXECABORT no\r\n'],
];

for (const [what, lines, expected, exec] of QUEUED) {
  test(`what holds for the next connection, of a transaction: ${what}`, async () => {
    const all = start(queueing(exec));
    for (const line of lines) await all.redis.command(...line.split(' ')).catch(error => assert.ok(error.code));
    all.server.commands = [];
    await lose(all);
    assert.deepStrictEqual(all.server.commands, expected);
    await all.redis.close();
  });
}

test('what holds for the next connection, of multi(): what it was asked for; a transaction that was lost has no part',
     async () => {
       const all = start(queueing());
       await all.redis.multi([['SET', 'a', 1], ['SELECT', 3]]);
       await lose(all);
       await all.redis.command('MULTI');
       await all.redis.command('SELECT', 7);
       Object.assign(all.server.answers, queueing());
       await lose(all);
       await all.redis.multi([['SET', 'a', 1]]);
       all.server.commands = [];
       await lose(all);
       assert.deepStrictEqual(all.server.commands, ['SELECT 3']);
       await all.redis.close();
     });

// -- silent servers ---------------------------------------------------------------------------------------------------

const silent = () => ({onData() {}});

for (const [name, options] of [['PING', {}], ['AUTH', {password: 'p'}], ['SELECT', {db: 3}]]) {
  test(`P4: a server that never answers ${name} is given up after commandTimeout`, async () => {
    const gateway = new FakeGateway({makeTarget: silent});
    const told = [];
    const redis = new WS2S.Redis(URL, {
      host: 'h', WebSocket: gateway.WebSocket, retry: QUICK, commandTimeout: 60, ...options,
    });
    redis.onLost = error => told.push(error.reason);
    await assert.rejects(redis.command('PING'), new RegExp(`has not answered ${name} for 0.1 seconds`));
    assert.strictEqual(told[0], 'timeout');
    assert.ok(gateway.sessions[0].isOver);
    await redis.close();
  });
}

test('P4: by default PING to a silent server ends', async t => {
  const time = takeTime(t);
  const gateway = new FakeGateway({makeTarget: silent});
  const redis = new WS2S.Redis(URL, {host: 'h', WebSocket: gateway.WebSocket});
  const asked = assert.rejects(redis.command('PING'), {reason: 'not-answered', command: 'PING'});
  await settled();
  await time.pass(61000);
  await asked;
  await redis.close();
});

const PATIENT = [
  ['BLPOP', 'l', 0], ['brpop', 'l', 0], ['BLMOVE', 'a', 'b', 'LEFT', 'LEFT', 0], ['BZPOPMIN', 'z', 0], ['WAIT', 1, 0],
  ['XREAD', 'COUNT', 1, 'BLOCK', 0, 'STREAMS', 's', '$'],
  ['XREADGROUP', 'GROUP', 'g', 'c', 'block', 0, 'STREAMS', 's', '>'],
  ['EVAL', 'while true do end', 0], ['BLMPOP', 0, 1, 'l', 'LEFT'], ['BZMPOP', 0, 1, 'z', 'MIN'], ['WAITAOF', 1, 0, 0],
];

for (const words of PATIENT) {
  test(`P4: ${words.join(' ')} may take as long as it likes, and what stands behind it`, async t => {
    const time = takeTime(t);
    const {redis, server, told} = start({[words[0].toUpperCase()]: null, PING: null});
    const asked = redis.command(...words), ping = redis.command('PING');
    await until(() => server.commands.includes('PING'));
    await time.pass(600000);
    assert.deepStrictEqual(told, ['ready']);
    server.last.say('+done\r\n');
    assert.strictEqual(await asked, 'done');
    const refused = assert.rejects(ping, /has not answered PING/);  // nothing stands before it any more
    await time.pass(81000);
    await refused;
    await redis.close();
  });
}

const LONG_WITHIN = [['EVAL', 'while true do end', 0], ['fcall', 'f', 0], ['DEBUG', 'SLEEP', 90]];
const WAYS_TO_ASK = {
  'multi()': (redis, words) => redis.multi([['PING'], words, ['PING']]),
  'EXEC': (redis, words) => Promise.all([['multi'], ['PING'], words, ['PING'], ['exec']].map(
    each => redis.command(...each))).then(replies => replies[4]),
};

for (const words of LONG_WITHIN) {
  for (const [way, ask] of Object.entries(WAYS_TO_ASK)) {
    test(`P4: ${way} with ${words[0]} may take as long as it likes, and the next one without may not`, async t => {
      const time = takeTime(t);
      const queued = '+QUEUED\r\n';
      const {redis, server, told} = start({[words[0].toUpperCase()]: queued, PING: queued, EXEC: null});
      const asked = ask(redis, words);
      await until(() => /exec/i.test(server.commands[server.commands.length - 1]));
      await settled();
      await time.pass(600000);
      assert.deepStrictEqual(told, ['ready']);
      server.last.say(list(['a', 'b', 'c']));
      assert.strictEqual((await asked).length, 3);
      const refused = assert.rejects(redis.multi([['PING']]), /has not answered EXEC/);
      await settled();
      await time.pass(81000);
      await refused;
      await redis.close();
    });
  }
}

test('P4: a subscriber to whom nothing is said, and an idle client, are not given up', async t => {
  const time = takeTime(t);
  const {redis, told} = start();
  await redis.subscribe('c', () => {});
  await time.pass(300000);
  assert.strictEqual(await redis.command('PING'), 'PONG');
  assert.deepStrictEqual(told, ['ready']);
  await redis.close();
});

test('P4: a long reply that comes in pieces is not silence', async t => {
  const time = takeTime(t);
  const {redis, server} = start({GET: null}, {text: true});
  const asked = redis.command('GET', 'k');
  await until(() => server.commands.length);
  server.last.say('$20\r\n');
  for (let i = 0; i < 20; i++) {
    await time.pass(50000);
    server.last.say('x');
  }
  server.last.say('\r\n');
  assert.strictEqual(await asked, 'x'.repeat(20));
  await redis.close();
});

// -- no Redis ---------------------------------------------------------------------------------------------------------

const bytesOf = (...parts) => Buffer.concat(parts.map(part => Buffer.from(part, 'latin1')));
const FOREIGN = [
  ['HTTP', 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'],
  ['HTTP', '<!DOCTYPE html>\n<html>'],
  ['TLS', bytesOf('\x15\x03\x01\x00\x02\x02\x28')],
  ['TLS', bytesOf('\x15\x03\x03\x00\x02\x02\x0a')],
  ['SMTP', '220 mail.example.com ESMTP Postfix\r\n'],
  ['SMTP', '220-smtp.example.com\r\n220 hello\r\n'],
  ['FTP', '220 (vsFTPd 3.0.3)\r\n'],
  ['FTP', '220-FileZilla Server 1.0\r\n220 please visit\r\n', /FTP/],
  ['SMTP or FTP', '220 ready\r\n'],
  ['SSH', 'SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n'],
  ['POP3', '+OK Dovecot ready.\r\n'],
  ['POP3', '+OK POP3 <1896.697170952@dbc.mtview.ca.us>\r\n'],
  ['IMAP', '* OK [CAPABILITY IMAP4rev1 SASL-IR] Dovecot ready.\r\n'],
  ['IMAP', '* BYE too many connections\r\n'],
  ['MySQL or MariaDB', bytesOf('\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00')],
  ['MySQL or MariaDB', bytesOf('\x59\x00\x00\x00\x0a5.5.5-10.11.6-MariaDB\x00')],
  ['MySQL or MariaDB', bytesOf("\x45\x00\x00\x00\xff\x6a\x04Host 'x' is not allowed")],
  ['memcached', 'ERROR\r\nERROR\r\n'],
  ['PostgreSQL', bytesOf('E\x00\x00\x00\x8cSFATAL\x00VFATAL\x00')],
  ['VNC', 'RFB 003.008\n'],
  ['AMQP', bytesOf('AMQP\x00\x00\x09\x01')],
  ['telnet', bytesOf('\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23')],
  ['NNTP', '200 news.example.com ready\r\n'],
  ['NATS', 'INFO {"server_id":"x"}\r\n'],
  ['IRC', ':irc.example.com NOTICE * :*** Looking up your hostname\r\n'],
  ['IRC', ':irc.example.com 020 * :Please wait\r\n'],
  ['HTTP/2', bytesOf('\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64')],
];

function foreign(data, {isGreeting = true, isSplit = false, isEnded = false} = {}) {
  return session => {
    const say = () => {
      const bytes = Buffer.from(data);
      if (isSplit) for (const byte of bytes) session.respond(Buffer.from([byte]));
      else session.respond(bytes);
      if (isEnded) session.close();
    };
    if (isGreeting) setImmediate(() => setImmediate(say));
    let isSaid = isGreeting;
    return {onData: () => { if (!isSaid) say(); isSaid = true; }};
  };
}

const WAYS = [{}, {isGreeting: false}, {isSplit: true}, {isEnded: true}];

for (const [speaks, data] of FOREIGN) {
  test(`P6: ${JSON.stringify(data.toString('latin1'))} is named as ${speaks}`, async () => {
    for (const way of WAYS) {
      for (const options of [{}, {password: 'p'}]) {
        const gateway = new FakeGateway({makeTarget: foreign(data, way)});
        const redis = new WS2S.Redis(URL, {host: 'h', WebSocket: gateway.WebSocket, ...options});
        const closed = new Promise(resolve => { redis.onClose = resolve; });
        const asked = redis.command('PING').catch(error => error);
        const error = await closed;
        const known = way.isSplit && /^(SMTP|FTP)$/.test(speaks) ? 'SMTP or FTP' : speaks;
        assert.deepStrictEqual([error.reason, error.speaks], ['protocol', known], JSON.stringify(way));
        assert.ok(error.message.includes(`seems to speak ${known}`), error.message);
        const rejection = await asked;
        assert.ok(rejection === error || rejection.cause === error);
        assert.match(rejection.message, /seems to speak/);
        assert.strictEqual(rejection.speaks, known);
        assert.strictEqual(gateway.sessions.length, 1);
      }
    }
  });
}

const LEGAL = {
  'OK': '+OK\r\n', 'an error': '-ERR no\r\n', 'a number': ':220\r\n', 'an array': '*1\r\n+OK done\r\n',
  'a string like a greeting': bulk('+OK POP3 ready'), 'another status': '+Background saving started\r\n',
};

for (const [name, reply] of Object.entries(LEGAL)) {
  test(`P6: ${name} is Redis`, async () => {
    const {redis, told} = start({X: reply, Y: '+OK with words\r\n'});
    await redis.command('X').catch(error => assert.ok(error instanceof RedisError));
    assert.strictEqual(await redis.command('Y'), 'OK with words');
    assert.deepStrictEqual(told, ['ready']);
    await redis.close();
  });
}

// -- commands at which a server ends the connection -------------------------------------------------------------------

const closing = (words, connection) => { connection.close(); return null; };
const resetting = (words, connection) => { connection.session.close('reset'); return null; };

for (const name of ['INFO', 'CONFIG', 'WATCH', 'SCAN']) {
  test(`C1: the server ends the connection at ${name}: the errors say so, and how often`, async () => {
    const {redis, told} = start({[name]: closing}, {text: true});
    const seen = [];
    for (let i = 0; i < 3; i++) {
      await redis.command('PING');
      seen.push(await redis.command(name, 'x').catch(error => error));
    }
    for (const error of seen) {
      assert.deepStrictEqual([error.reason, error.command, error.endedAt], ['not-answered', name, name]);
      assert.match(error.message, new RegExp(`may have been carried out: the server has ended .* at ${name}`));
    }
    assert.match(seen[2].message, /3 times in a row/);
    assert.deepStrictEqual(told.filter(each => each !== 'ready').map(each => [each.reason, each.endedAt]).slice(0, 3),
                           Array(3).fill(['closed', name]));
    await redis.close();
  });
}

test('C1: in the greeting as well, and with a reset', async () => {
  const {redis, told} = start({SELECT: resetting}, {db: 1});
  await until(() => told.length === 3);
  assert.deepStrictEqual(told.map(error => [error.reason, error.endedAt]), Array(3).fill(['reset', 'SELECT']));
  await redis.close();
});

test('C1: pauses grow where a server is asked again and again for what it ends the connection at', async t => {
  const pauses = [];
  const {setTimeout: later} = globalThis;
  t.mock.method(globalThis, 'setTimeout', (action, pause, ...rest) => {
    if (pause > 50) pauses.push(pause);
    return later(action, pause > 50 ? 0 : pause, ...rest);
  });
  const {redis} = start({SCAN: closing}, {retry: {}});
  for (let i = 0; i < 8; i++) {
    await redis.command('PING');
    await assert.rejects(redis.command('SCAN', 0));
  }
  await until(() => pauses.length === 8);
  assert.ok(pauses.slice(0, 5).reduce((sum, pause) => sum + pause, 0) > 7000, String(pauses));
  assert.ok(pauses[7] >= 15000 && pauses[7] <= 30000, String(pauses));
  await redis.close();
});

test('C1: a connection that has lasted makes pauses short again', async t => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const pauses = [];
  const {setTimeout: later} = globalThis;
  t.mock.method(globalThis, 'setTimeout', (action, pause, ...rest) => {
    if (pause > 50) pauses.push(pause);
    return later(action, pause > 50 ? 0 : pause, ...rest);
  });
  const all = start({}, {retry: {}});
  await all.redis.command('PING');
  for (let i = 0; i < 4; i++) await lose(all);
  now = 31000;
  await lose(all);
  assert.ok(pauses[3] >= 1000 && pauses[4] <= 250, String(pauses));
  await all.redis.close();
});

// -- replies that are too large, and returns ----------------------------------------------------------------------------

test('a reply of more than maxReplyBytes ends the connection, rejects its command, and is not asked for again', async () => {
  const {redis, server, told} = start({GET: '$101\r\nx'}, {maxReplyBytes: 100});
  await assert.rejects(redis.command('GET', 'k'), ({reason, command, cause}) =>
    reason === 'not-answered' && command === 'GET' && cause.reason === 'limit');
  assert.strictEqual(await redis.command('PING'), 'PONG');
  assert.deepStrictEqual(server.commands, ['GET k', 'PING']);
  assert.deepStrictEqual(told.map(each => each.reason || each), ['ready', 'limit', 'ready']);
  await redis.close();
});

for (const wrong of [-1, NaN, '5', null]) {
  test(`maxReplyBytes ${wrong} is refused`, () => {
    assert.throws(() => new WS2S.Redis(URL, {host: 'h', maxReplyBytes: wrong}), RangeError);
  });
}

test('multi() takes what can be gone through only once', async () => {
  const {redis, server} = start({EXEC: '*1\r\n+OK\r\n', SET: '+QUEUED\r\n'});
  await redis.multi([['SET', 'k', '1']].values());
  assert.deepStrictEqual(server.commands, ['MULTI', 'SET k 1', 'EXEC']);
  await redis.close();
});

test('a network that is back ends the pause, and the attempt is not one of those that are counted', async t => {
  const page = new EventTarget();
  for (const name of ['addEventListener', 'removeEventListener']) globalThis[name] = page[name].bind(page);
  t.after(() => { for (const name of ['addEventListener', 'removeEventListener']) delete globalThis[name]; });
  const hour = {first: 3600000, longest: 3600000, attempts: 1};
  const {redis, gateway, told} = start({}, {retry: hour});
  await redis.command('PING');
  gateway.refuses = true;
  gateway.last.socket.drop(1006);
  await until(() => told.length === 2);
  for (let losses = 3; losses < 6; losses++) {
    await settled();
    page.dispatchEvent(new Event('online'));
    page.dispatchEvent(Object.assign(new Event('pageshow'), {persisted: true}));  // the same return
    await until(() => told.length === losses);
    assert.strictEqual(told[losses - 1].reason, 'gateway-unreachable');
  }
  await settled();
  gateway.refuses = false;
  page.dispatchEvent(new Event('online'));
  await until(() => told[5] === 'ready');
  await redis.command('PING');
  await redis.close();
});
