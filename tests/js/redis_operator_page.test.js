/* The panel of an operator of Redis, drawn without a browser. */
'use strict';

const assert = require('node:assert');
const {before, beforeEach, test} = require('node:test');
const {beginPage, FakeNode} = require('./fake_page.js');
const {settled, until} = require('./fake_gateway.js');
const {RedisError} = require('../../ws2s-js/ws2s.js');

const bytes = text => new Uint8Array(Buffer.from(text));
const SECRET = 'Corr3ct-h0rse';
const LINE = '1339518083.107412 [0 1.2.3.4:5] ';

let OperatorView, body, page, view, ticks, answers, asked, told, opened;

before(async () => {
  beginPage();
  ({OperatorView} = await import('../../ws2s-js/redis-operator.mjs'));
});

beforeEach(() => {
  body = beginPage();
  document.createElementNS = (_, name) => new FakeNode(name);
  [ticks, asked, told, opened] = [[], [], [], []];
  answers = {};
  globalThis.setInterval = tick => ticks.push(tick);
  globalThis.clearInterval = () => {};
  page = {
    session: sessionOf(), showKey: name => opened.push(name),
    operatorStatus: {say: (text, kind = '') => told.push([text, kind])},
  };
  const node = new FakeNode('div');
  body.append(node);
  view = new OperatorView(node, page);
});

function sessionOf() {
  return {
    isReady: true, db: 0, refusal: () => null,
    async ask(...words) {
      asked.push(words.map(word => (typeof word === 'object' ? Buffer.from(word) : word)).join(' '));
      const answer = answers[asked.at(-1)] ?? answers[words[0]];
      if (answer instanceof Error) throw answer;
      return typeof answer === 'function' ? answer(...words) : answer;
    },
    watch: async ({signal, onLine}) => {
      page.watching = {signal, onLine};
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    },
  };
}

const byId = id => document.getElementById(id);
const click = async id => {
  byId(`operator-${id}`).click();
  await settled();
};
const rowsOf = id => byId(`operator-${id}`).querySelectorAll('tr').slice(1).map(
  row => row.children.map(cell => cell.textContent));

function info(commands) {
  return bytes(`# All\r\nrun_id:a\r\nused_memory:1500000\r\ntotal_commands_processed:${commands}\r\n`);
}

test('charts are drawn when the panel is seen, and again as time goes on', async () => {
  answers.INFO = info(100);
  ticks[0]();
  await settled();
  assert.deepStrictEqual(asked, []);
  view.isShown = true;
  await settled();
  assert.match(byId('chart-memory').textContent, /1\.5 MB used.*0 to 2\.0 MB$/);
  await new Promise(resolve => setTimeout(resolve, 2));  // samples of one moment tell no rate
  answers.INFO = info(200);
  ticks[0]();
  await settled();
  const [path] = byId('chart-operations').querySelectorAll('path');
  assert.match(path.getAttribute('d'), /^M/);
  const drawn = byId('chart-operations').querySelector('svg');
  assert.match(drawn.getAttribute('aria-label'), /^Commands: [\d,]+ a second; /);
});

test('nothing is asked while the panel is not seen, the page is hidden, or the connection is lost', async () => {
  answers.INFO = info(1);
  view.isShown = true;
  await settled();
  view.isShown = false;
  ticks[0]();
  view.isShown = true;
  await settled();
  document.hidden = true;
  ticks[0]();
  document.hidden = false;
  page.session.isReady = false;
  ticks[0]();
  await settled();
  assert.deepStrictEqual(asked, ['INFO', 'INFO']);
});

test('slow commands are told without what is secret', async () => {
  answers.SLOWLOG = [
    [1, 1700000000, 12345, ['CONFIG', 'SET', 'requirepass', SECRET].map(bytes), bytes('1.2.3.4:5'), bytes('')],
    [2, 1700000000, 20, ['GET', '<b>\n'].map(bytes), bytes('1.2.3.4:6'), bytes('me')],
  ];
  await click('slow-read');
  assert.deepStrictEqual(rowsOf('slow').map(([took, , command, client]) => [took, command, client]), [
    ['12.3 ms', 'CONFIG SET (the rest is hidden)', '1.2.3.4:5'], ['20 µs', 'GET <b>\\x0a', 'me'],
  ]);
  assert.ok(!body.textContent.includes(SECRET));
});

test('what is not allowed is told', async () => {
  answers.SLOWLOG = new RedisError('NOPERM no');
  await click('slow-read');
  assert.deepStrictEqual(told.map(([, kind]) => kind), ['bad']);
});

test('the answer of a session that has ended is not shown', async () => {
  answers.SLOWLOG = () => {
    page.session = null;
    return [[1, 2, 3, [bytes('GET')]]];
  };
  await click('slow-read');
  assert.deepStrictEqual([byId('operator-slow').children, told], [[], []]);
});

const LIST = bytes('id=3 addr=a:1 name= age=1 idle=0 flags=N db=0 cmd=client|list user=default\n' +
  'id=4 addr=b:2 name=<i> age=5 idle=9 flags=P db=0 cmd=subscribe user=default tot-mem=2000\n');

async function readClients() {
  Object.assign(answers, {'CLIENT ID': 3, 'CLIENT LIST': LIST, 'CLIENT KILL ID 4': 1});
  await click('clients-read');
}

test('clients are shown, and sorted anew by what is chosen', async () => {
  await readClients();
  const first = () => rowsOf('clients').map(([address]) => address);
  assert.deepStrictEqual(rowsOf('clients')[1].slice(1, 4), ['<i>', 'default', 'subscribe']);
  assert.deepStrictEqual(first(), ['a:1', 'b:2']);
  byId('operator-clients-order').value = 'idle';
  byId('operator-clients-order').happens('change');
  assert.deepStrictEqual(first(), ['b:2', 'a:1']);
});

test('the connection of this page cannot be ended, another one after a question', async () => {
  await readClients();
  assert.strictEqual(byId('operator-kill-3'), null);
  byId('operator-kill-4').click();
  assert.ok(!asked.includes('CLIENT KILL ID 4'));
  byId('dialog-kill').querySelector('form').happens('submit');
  await settled();
  assert.ok(asked.includes('CLIENT KILL ID 4'));
  assert.deepStrictEqual(told.at(-1), ['The connection was ended.', 'good']);
});

test('a connection is not ended when that was cancelled', async () => {
  await readClients();
  byId('operator-kill-4').click();
  byId('dialog-kill-cancel').click();
  await settled();
  assert.ok(!asked.includes('CLIENT KILL ID 4'));
});

test('over a read-only connection nothing is ended or changed, and nobody is asked', async () => {
  await readClients();
  answers['CONFIG GET *'] = ['maxmemory', '0'].map(bytes);
  await click('settings-read');
  page.session.refusal = () => 'This connection is read-only.';
  for (const id of ['kill-4', 'set-maxmemory']) {
    await click(id);
    assert.deepStrictEqual(told.at(-1), ['This connection is read-only.', 'bad']);
  }
  assert.deepStrictEqual([byId('dialog-kill'), byId('dialog-setting')], [null, null]);
});

test('settings are shown without what is secret, by a part of their name, and changed', async () => {
  answers['CONFIG GET *'] = ['requirepass', SECRET, 'maxmemory', '0', 'save', ''].map(bytes);
  await click('settings-read');
  assert.deepStrictEqual(rowsOf('settings').map(([name, value]) => [name, value]),
    [['maxmemory', '0'], ['requirepass', '(set, and hidden)'], ['save', '–']]);
  assert.ok(!body.textContent.includes(SECRET));
  assert.strictEqual(byId('operator-set-requirepass'), null);
  byId('operator-settings-filter').value = 'MAX';
  byId('operator-settings-filter').happens('input');
  assert.deepStrictEqual(rowsOf('settings').map(([name]) => name), ['maxmemory']);
  byId('operator-set-maxmemory').click();
  byId('setting-value').value = '100mb';
  byId('dialog-setting').querySelector('form').happens('submit');
  await settled();
  assert.deepStrictEqual(asked.slice(1), ['CONFIG SET maxmemory 100mb', 'CONFIG GET *']);
});

test('users are shown without their passwords', async () => {
  answers['ACL LIST'] = ['user default on nopass ~* &* +@all', `user a on #${'ab'.repeat(32)} ~x -@all +get`,
    'user b off resetchannels -@all'].map(bytes);
  await click('users-read');
  assert.deepStrictEqual(rowsOf('users'), [
    ['default', 'without a password', '~* &* +@all'], ['a', 'by a password', '~x -@all +get'],
    ['b', 'no', 'resetchannels -@all'],
  ]);
});

test('all keys are weighed, and the biggest lead to their value', async () => {
  const steps = {0: [bytes('7'), ['a', 'bb'].map(bytes)], 7: [bytes('0'), [bytes('c\xff<b>')]]};
  answers.SCAN = (_, cursor) => steps[cursor];
  answers.MEMORY = (_, __, key) => key.length * 1000;
  await click('biggest-find');
  await until(() => told.length);
  assert.deepStrictEqual(told, [['All keys were weighed.', 'good']]);
  assert.deepStrictEqual(rowsOf('biggest').map(([size]) => size), ['6.0 KB', '2.0 KB', '1.0 KB']);
  byId('operator-biggest').querySelectorAll('button')[1].click();
  assert.deepStrictEqual([opened, byId('operator-biggest-stop').hidden], [['bb'], true]);
});

test('a user who may not weigh keys is told', async () => {
  answers.SCAN = [bytes('0'), [bytes('a'), bytes('b')]];
  answers.MEMORY = new RedisError('NOPERM no');
  await click('biggest-find');
  await until(() => told.length);
  assert.match(told[0][0], /^Not all keys could be weighed: /);
});

test('commands are watched without their secrets, until Stop', async () => {
  await click('monitor-start');
  const {signal, onLine} = page.watching;
  for (const words of [`"AUTH" "${SECRET}"`, '"GET" "<b>\\xe2\\x82\\xac"', '']) onLine(LINE + words);
  ticks.at(-1)();
  const text = byId('operator-monitor').textContent;
  assert.match(text, /^2 commands\./);
  assert.match(text, /0 1\.2\.3\.4:5 AUTH \(the rest is hidden\)\n.* GET <b>\u20ac$/);
  assert.ok(!body.textContent.includes(SECRET));
  await click('monitor-stop');
  assert.ok(signal.aborted);
  assert.deepStrictEqual(told, [['The commands are not watched any more.', '']]);
  assert.deepStrictEqual([byId('operator-monitor-start').hidden, byId('operator-monitor-stop').hidden], [false, true]);
});

const LEAVES = [
  ['another view is chosen', () => { view.isShown = false; }], ['the session ends', () => view.clear()],
];

for (const [name, leave] of LEAVES) {
  test(`commands are not watched any more when ${name}`, async () => {
    await click('monitor-start');
    leave();
    assert.ok(page.watching.signal.aborted);
    await settled();
  });
}

test('of a flood of commands no more than the newest are drawn', async () => {
  await click('monitor-start');
  for (let i = 0; i < 20000; i++) page.watching.onLine(`${LINE}"GET" "k${i}"`);
  ticks.at(-1)();
  const [, log] = byId('operator-monitor').children;
  assert.deepStrictEqual([log.textContent.split('\n').length, /k19999$/.test(log.textContent)], [200, true]);
  view.clear();
  await settled();
});

// -- channels ---------------------------------------------------------------------------------------------------------

function listening() {
  const client = {
    close: async () => { client.isClosed = true; },
    psubscribe: async (pattern, receive) => Object.assign(client, {pattern, receive}),
  };
  page.session.another = () => client;
  return client;
}

test('channels are shown with those who listen, most first', async () => {
  answers['PUBSUB CHANNELS *'] = ['few', '<b>'].map(bytes);
  answers['PUBSUB NUMSUB few <b>'] = [bytes('few'), 1, bytes('<b>'), 2000];
  await click('channels-read');
  const rows = byId('operator-channels-list').querySelectorAll('tr').slice(1);
  assert.deepStrictEqual(rows.map(row => row.children.map(cell => cell.textContent)), [['<b>', '2,000'], ['few', '1']]);
});

test('that nobody listens is told, and nobody is counted', async () => {
  answers['PUBSUB CHANNELS *'] = [];
  await click('channels-read');
  assert.deepStrictEqual([asked, told], [['PUBSUB CHANNELS *'], [['Nobody listens to a channel.', 'good']]]);
});

test('messages are shown as they come, and a loss, until Stop', async () => {
  const client = listening();
  byId('operator-channels-pattern').value = 'news.*';
  await click('channels-start');
  assert.strictEqual(client.pattern, 'news.*');
  client.receive(bytes('<b>\n'), 'news.1');
  client.onLost(new Error('lost'));
  ticks.at(-1)();
  assert.match(byId('operator-channels').textContent, /^2 messages\..* news\.1 <b>\\x0a\n.* The connection was lost: /);
  await click('channels-stop');
  assert.deepStrictEqual([client.isClosed, told], [true, [['The channels are not listened to any more.', '']]]);
});

test('channels that may not be listened to are told', async () => {
  const client = listening();
  client.psubscribe = async () => { throw new RedisError('NOPERM no'); };
  await click('channels-start');
  assert.deepStrictEqual([client.isClosed, told.map(([, kind]) => kind)], [true, ['bad']]);
  assert.strictEqual(byId('operator-channels-start').hidden, false);
});
