import mysql from 'mysql2/promise';
import {failure, MEGABYTE, noise, numbers, text} from './facts.mjs';

async function only(settings, question = "SHOW STATUS LIKE 'Ssl_version'") {
  const connection = await mysql.createConnection(settings);
  try {
    return (await connection.query(question))[0];
  } finally {
    await connection.end();
  }
}

export async function facts({host, port, deadPort, silentPort, user, password, ca}) {
  // A page's Content-Security-Policy forbids the functions that this driver compiles.
  const login = {host, port, user, password, ssl: {ca}, disableEval: true, database: 'test'};
  const pool = mysql.createPool({...login, connectionLimit: 4});
  const [words] = await pool.execute('SELECT ? AS word, ? + 1 AS number', ['Grüße \u2603', 41]);
  const error = await failure(pool.query('SELECT nothing'));
  const large = text(MEGABYTE), bytes = noise(MEGABYTE);
  const [rows] = await pool.query('SELECT CONCAT(?, n) AS large FROM (SELECT 1 n UNION SELECT 2) t', [large]);
  await pool.query('CREATE TEMPORARY TABLE IF NOT EXISTS unused (n int)');
  const [[blob]] = await pool.execute('SELECT ? AS bytes', [Buffer.from(bytes)]);
  const parallel = await Promise.all(numbers(40).map(() => pool.query('SELECT CONNECTION_ID() AS id, SLEEP(0.01)')));

  const connection = await pool.getConnection();
  const [[{id}]] = await connection.query('SELECT CONNECTION_ID() AS id');
  await pool.query(`KILL ${id}`);
  const ended = await failure(connection.query('SELECT 1'));
  connection.release();
  const again = await Promise.all(numbers(8).map(() => pool.query('SELECT 1 AS one')));
  await pool.end();

  return {
    words, error, ended: ended !== 'no failure', again: again.map(([[row]]) => row.one), large: rows.map((row, i) => row.large === large + (i + 1)),
    bytes: Buffer.from(blob.bytes).equals(Buffer.from(bytes)), connections: new Set(parallel.map(([[row]]) => row.id)).size,
    tls: await only(login),
    clear: await only({...login, ssl: undefined}),
    compressed: await only({...login, compress: true}, 'SELECT REPEAT(1, 10000) = ? AS equal'.replace('?', `'${'1'.repeat(10000)}'`)),
    wrongPassword: await failure(only({...login, password: 'wrong'})),
    refused: await failure(only({...login, port: deadPort})),
    silent: await failure(only({...login, port: silentPort, connectTimeout: 300})),
    untrusted: await failure(only({...login, ssl: {}})),
    unverified: await only({...login, ssl: {rejectUnauthorized: false}}),
  };
}
