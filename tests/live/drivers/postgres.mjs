import postgres from 'postgres';
import {failure, MEGABYTE, numbers, text, until} from './facts.mjs';

async function only(settings) {
  const sql = postgres({...settings, max: 1});
  try {
    return await sql`SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`;
  } finally {
    await sql.end({timeout: 0});
  }
}

export async function facts({host, port, deadPort, silentPort, user, password, ca}) {
  const login = {host, port, username: user, password, database: 'postgres', ssl: {ca, servername: 'target.test'}, onnotice() {}};
  const sql = postgres({...login, max: 2});
  const words = await sql`SELECT ${'Grüße \u2603'}::text AS word, ${41}::int + 1 AS number`;
  const error = await failure(sql`SELECT 1 / 0`);
  const large = text(MEGABYTE);
  const rows = await sql`SELECT ${large} || n AS large FROM generate_series(1, 2) n`;
  const parallel = await Promise.all(numbers(40).map(i => sql`SELECT ${i}::int AS i, pg_backend_pid() AS pid`));

  let heard;
  const payload = new Promise(resolve => heard = resolve);
  const {unlisten} = await sql.listen('news', heard);
  await sql.notify('news', 'fresh');
  await payload;
  await unlisten();

  let seen = 0;
  for await (const [row] of sql`SELECT n FROM generate_series(1, 100) n`.cursor(1)) seen += row.n;
  const transaction = await failure(sql.begin(async sql => {
    await sql`CREATE TABLE undone (n int)`;
    throw new Error('undo');
  }));

  const single = postgres({...login, max: 1});
  const [{pid}] = await single`SELECT pg_backend_pid() AS pid`;
  const lost = failure(single`SELECT pg_sleep(60)`);
  await until(async () => (await sql`SELECT 1 FROM pg_stat_activity WHERE pid = ${pid} AND wait_event = 'PgSleep'`).length);
  await sql`SELECT pg_terminate_backend(${pid})`;
  const ended = await lost;
  // A query that is sent before the end has been noticed fails as well.
  const again = await until(() => single`SELECT pg_backend_pid() <> ${pid} AS another`.catch(() => null));
  await single.end();
  await sql.end();

  return {
    words, error, payload: await payload, ended: ['57P01', 'CONNECTION_CLOSED'].includes(ended), again, seen, transaction,
    large: rows.map((row, i) => row.large === large + (i + 1)),
    connections: new Set(parallel.map(([row]) => row.pid)).size,
    tls: await only(login),
    clear: await only({...login, ssl: false}),
    wrongPassword: await failure(only({...login, password: 'wrong'})),
    refused: await failure(only({...login, port: deadPort})),
    silent: await failure(only({...login, port: silentPort, connect_timeout: 1})),
    untrusted: await failure(only({...login, ssl: {servername: 'target.test'}})),
    unverified: await only({...login, ssl: 'require'}),
  };
}
