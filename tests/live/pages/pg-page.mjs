/* What a page does with pg as it comes from npm, which goes through pg-cloudflare to cloudflare:sockets. */
import pg from 'pg';

const MEGABYTE = 1048576;

async function withClient(login, use) {
  const client = new pg.Client({...login, database: 'postgres'});
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

const failure = promise => promise.then(() => null, error => error.code || error.message);

globalThis.scenarios = {
  async dialog(login) {
    return withClient(login, async client => {
      const {rows: [{ssl}]} = await client.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
      const {rows: [row]} = await client.query('SELECT $1::text AS word, $2::int + 1 AS number', ['Grüße \u2603', 41]);
      const error = await failure(client.query('SELECT 1 / 0'));
      return {ssl, row, failure: error, after: (await client.query('SELECT 2 AS two')).rows};
    });
  },

  async large(login) {
    return withClient(login, async client => {
      const word = '\u2603x'.repeat(MEGABYTE / 4);
      const {rows} = await client.query('SELECT $1 || n AS word FROM generate_series(1, 5) AS n', [word]);
      return rows.map((row, i) => row.word === word + (i + 1));
    });
  },

  async pool(login) {
    const pool = new pg.Pool({...login, database: 'postgres', max: 4});
    const numbers = Array.from({length: 40}, (_, i) => i);
    const query = 'SELECT $1::int AS number, pg_backend_pid() AS pid';
    const rows = await Promise.all(numbers.map(i => pool.query(query, [i])));
    const listener = await pool.connect();
    const told = new Promise(resolve => listener.on('notification', resolve));
    await listener.query('LISTEN news');
    await pool.query("NOTIFY news, 'fresh'");
    const {payload} = await told;
    listener.release();
    await pool.end();
    const result = rows.map(({rows: [row]}) => row);
    return {numbers: result.map(({number}) => number), pids: new Set(result.map(({pid}) => pid)).size, payload};
  },

  async failure(login) {
    return failure(withClient(login, () => {}));
  },
};
