import {PassThrough, Readable} from 'stream';
import {Client} from 'basic-ftp';
import {failure, MEGABYTE, noise} from './facts.mjs';

async function read(client, path) {
  const pieces = [], stream = new PassThrough();
  stream.on('data', piece => pieces.push(piece));
  await client.downloadTo(stream, path);
  return Buffer.concat(pieces);
}

async function used(settings, use, timeout = 10000) {
  const client = new Client(timeout);
  try {
    await client.access(settings);
    return await use(client);
  } finally {
    client.close();
  }
}

const files = async client => {
  const data = Buffer.from(noise(2 * MEGABYTE));
  await client.cd('incoming');
  await client.uploadFrom(Readable.from([data.subarray(0, 1000), data.subarray(1000)]), 'noise');
  await client.rename('noise', 'n\u00f6ise');
  const list = (await client.list()).map(({name, size}) => [name, size]);
  const same = data.equals(await read(client, 'n\u00f6ise'));
  const missing = await failure(client.size('missing'));
  await client.remove('n\u00f6ise');
  return {list, same, missing, left: (await client.list()).length};
};

export async function facts({host, port, deadPort, silentPort, user, password, ca}) {
  const login = {host, port, user, password, secure: true, secureOptions: {ca}};
  const pwd = client => client.pwd();
  return {
    secured: await used(login, files),
    clear: await used({...login, secure: false}, files),
    wrongPassword: await failure(used({...login, password: 'wrong'}, pwd)),
    refused: await failure(used({...login, port: deadPort}, pwd)),
    silent: await failure(used({...login, port: silentPort}, pwd, 300)),
    untrusted: await failure(used({...login, secureOptions: {}}, pwd)),
    unverified: await used({...login, secureOptions: {rejectUnauthorized: false}}, pwd),
  };
}
