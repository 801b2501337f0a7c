import pg from 'pg';
import {failure, MEGABYTE, next, numbers, text, until} from './facts.mjs';

const count = async (pool, user) => (await pool.query(
  'SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name = $1', [user])).rows[0].count;

async function connected(settings) {
  const client = new pg.Client(settings);
  await client.connect();
  return client;
}

export async function facts({host, port, deadPort, silentPort, user, password, ca}) {
  const login = {host, port, user, password, database: 'postgres', ssl: {ca}};
  const client = await connected({...login, application_name: 'first'});
  const [tls] = (await client.query('SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()')).rows;
  const words = (await client.query('SELECT $1::text AS word, $2::int + 1 AS number', ['Grüße \u2603', 41])).rows;
  const error = await failure(client.query('SELECT 1 / 0'));
  const large = text(MEGABYTE);
  const rows = (await client.query('SELECT $1 || n AS large FROM generate_series(1, 3) n', [large])).rows;

  const pool = new pg.Pool({...login, max: 4});
  const pids = await Promise.all(numbers(40).map(i => pool.query('SELECT $1::int AS i, pg_backend_pid() AS pid', [i])));
  await client.query('LISTEN news');
  const told = next(client, 'notification');
  await pool.query("NOTIFY news, 'fresh'");
  const {payload} = await told;

  const errors = [];
  client.on('error', error => errors.push(error.code ?? error.message));
  const lost = next(client, 'end');
  await pool.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'first'");
  await lost;
  const again = await connected({...login, application_name: 'second'});
  const one = (await again.query('SELECT 1 AS one')).rows[0].one;
  await again.end();
  await until(async () => await count(pool, 'second') === 0);
  await pool.end();

  return {
    tls: tls.version, words, error, errors, one, payload, pids: new Set(pids.map(({rows: [row]}) => row.pid)).size,
    large: rows.map((row, i) => row.large === large + (i + 1)),
    clear: (await withClient({...login, ssl: false})),
    wrongPassword: await failure(connected({...login, password: 'wrong'})),
    refused: await failure(connected({...login, port: deadPort})),
    silent: await failure(connected({...login, port: silentPort, connectionTimeoutMillis: 300})),
    untrusted: await failure(connected({...login, ssl: {}})),
    unverified: await withClient({...login, ssl: {rejectUnauthorized: false}}),
    wrongName: await failure(connected({...login, ssl: {ca, servername: 'other.test'}})),
  };
}

async function withClient(settings) {
  const client = await connected(settings);
  const {rows} = await client.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
  await client.end();
  return rows;
}
