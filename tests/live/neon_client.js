/* node neon_client.js SETTINGS: Neon's driver as a page has it. Writes one JSON object. NODE_PATH has its package. */
'use strict';

const crypto = require('crypto');
const net = require('net');
const neon = require('@neondatabase/serverless');

const settings = JSON.parse(process.argv[2]);
const {neonConfig, Client, Pool} = neon;

/* npm's ws; with `address` its connections go there, whatever the name and port of the URL: what DNS and a proxy with TLS
 * do for a page. */
function webSocketOf({webSocket, address}) {
  if (webSocket === 'node') return globalThis.WebSocket;
  const WebSocket = require('ws');
  if (!address) return WebSocket;
  return class extends WebSocket {
    constructor(url) {
      super(url, {createConnection: () => net.connect(address[1], address[0])});
    }
  };
}

/* As its documentation has them; without one it is `host => host + '/v2'`. */
const proxies = {
  function: (host, port) => `${settings.gateway}/v1?address=${host}:${port}`,
  string: `${settings.gateway}/v1`,
  fixed: () => settings.gateway,
};

function configure() {
  neonConfig.webSocketConstructor = webSocketOf(settings);
  neonConfig.useSecureWebSocket = false;
  if (settings.form) neonConfig.wsProxy = proxies[settings.form];
  if (settings.pipelineConnect !== undefined) neonConfig.pipelineConnect = settings.pipelineConnect;
}

const login = {host: settings.host, port: settings.port, user: settings.user, password: settings.password,
  database: 'postgres'};

const sha1 = data => crypto.createHash('sha1').update(data).digest('hex');

async function withClient(use) {
  const client = new Client(login);
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

const scenarios = {
  async client() {
    return withClient(async client => {
      const rows = await client.query('SELECT $1::text AS word, $2::int + 1 AS number', ['Grüße \u2603', 41]);
      const failure = await client.query('SELECT 1 / 0').catch(error => error.code);
      const after = await client.query('SELECT 2 AS two');
      return [rows.rows[0], failure, after.rows[0]];
    });
  },

  /* More queries than connections, and a listener that is told. */
  async pool() {
    const pool = new Pool({...login, max: 4});
    const numbers = Array.from({length: 40}, (_, i) => i);
    const rows = await Promise.all(numbers.map(i => pool.query('SELECT $1::int AS number, pg_backend_pid() AS pid', [i])));
    const listener = await pool.connect();
    const told = new Promise(resolve => listener.on('notification', resolve));
    await listener.query('LISTEN news');
    await pool.query("NOTIFY news, 'fresh'");
    const {payload} = await told;
    listener.release();
    await pool.end();
    return {numbers: rows.map(({rows: [row]}) => row.number), pids: new Set(rows.map(({rows: [row]}) => row.pid)).size, payload};
  },

  async transactions() {
    const count = async client => (await client.query('SELECT count(*)::int AS count FROM items')).rows[0].count;
    return withClient(client => withClient(async other => {
      await client.query('CREATE TABLE items (name text)');
      const counts = [];
      for (const verdict of ['COMMIT', 'ROLLBACK']) {
        await client.query('BEGIN');
        await client.query('INSERT INTO items VALUES ($1)', [verdict]);
        counts.push([await count(client), await count(other)]);
        await client.query(verdict);
        counts.push([await count(client), await count(other)]);
      }
      await client.query('DROP TABLE items');
      return counts;
    }));
  },

  /* Rows of `bytes` there and back, as bytes and as text. */
  async large() {
    const data = crypto.randomBytes(settings.bytes), text = data.toString('latin1').replace(/\0/g, '\u2603');
    return withClient(async client => {
      await client.query('CREATE TEMPORARY TABLE large (data bytea, words text)');
      await client.query('INSERT INTO large VALUES ($1, $2)', [data, text]);
      const {rows: [row]} = await client.query('SELECT data, words, octet_length(data) AS size FROM large');
      return [sha1(row.data) === sha1(data), row.words === text, row.size];
    });
  },

  /* What was written is on its way when end() is called; nobody waits for an answer. */
  async end() {
    const client = new Client(login);
    await client.connect();
    const query = client.query(settings.sql).catch(() => 'lost');
    await new Promise(resolve => setTimeout(resolve, 0));
    await new Promise(resolve => setTimeout(resolve, 0));
    await client.end();
    return query;
  },

  /* To a target that says nothing. */
  async silence() {
    const client = new Client(login);
    client.on('error', () => {});
    client.connect().catch(() => {});
    client.query('SELECT 1').catch(() => {});
    await new Promise(resolve => process.stdin.once('data', resolve));
    await client.end();
    return 'ended';
  },
};

configure();
scenarios[settings.scenario]().then(
  result => {
    console.log(JSON.stringify(result));
    process.exit(0);
  },
  error => {
    console.error(error);
    process.exit(1);
  });
