import {ImapFlow} from 'imapflow';
import {failure, MEGABYTE, next, noise} from './facts.mjs';

async function connected(settings) {
  const client = new ImapFlow({...settings, logger: false});
  client.on('error', () => {});
  try {
    await client.connect();
  } catch (error) {
    throw Object.assign(error, {code: error.authenticationFailed ? 'authenticationFailed' : error.code});
  }
  return client;
}

async function version(settings) {
  const client = await connected(settings);
  const secured = client.secureConnection;
  await client.logout();
  return secured;
}

export async function facts({host, port, tlsPort, deadPort, silentPort, user, password, ca}) {
  const login = {host, port, secure: false, auth: {user, pass: password}, tls: {ca}};
  const client = await connected(login);
  const noisy = `Subject: noise\r\n\r\n${Buffer.from(noise(MEGABYTE)).toString('base64').replace(/.{76}/g, '$&\r\n')}\r\n`;
  await client.append('INBOX', 'Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nfirst\r\n', ['\\Seen']);
  await client.append('INBOX', noisy);
  const {exists} = await client.mailboxOpen('INBOX');
  const subjects = [];
  for await (const {envelope, flags} of client.fetch('1:*', {envelope: true, flags: true}))
    subjects.push([envelope.subject, [...flags].filter(flag => flag !== '\\Recent')]);
  const {source} = await client.fetchOne('*', {source: true});
  const found = await client.search({subject: 'noise'});

  const told = next(client, 'exists');
  const idle = client.idle();
  const other = await connected(login);
  await other.append('INBOX', 'Subject: news\r\n\r\n\r\n');
  const {count} = await told;
  await other.logout();
  await client.noop();
  await idle;
  await client.messageDelete('1:*');
  const secured = client.secureConnection;
  const closed = next(client, 'close');
  await client.logout();
  await closed;

  return {
    exists, subjects, large: source.toString() === noisy, found, count, secured,
    implicit: await version({...login, port: tlsPort, secure: true}),
    wrongPassword: await failure(connected({...login, auth: {user, pass: 'wrong'}})),
    refused: await failure(connected({...login, port: deadPort})),
    silent: await failure(connected({...login, port: silentPort, greetingTimeout: 300})),
    untrusted: await failure(connected({...login, tls: {}})),
    unverified: await version({...login, tls: {rejectUnauthorized: false}}),
  };
}
