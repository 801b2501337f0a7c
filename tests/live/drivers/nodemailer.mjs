import nodemailer from 'nodemailer';
import {failure, MEGABYTE, noise, numbers} from './facts.mjs';

export async function facts({host, port, deadPort, silentPort, user, password, ca}) {
  const login = {host, port, requireTLS: true, auth: {user, pass: password}, tls: {ca}, name: 'page.test'};
  const transport = nodemailer.createTransport({...login, pool: true, maxConnections: 2});
  const verified = await transport.verify();
  const letter = i => ({from: 'page@test', to: 'all@test', subject: `letter ${i} of nodemailer`, text: `Grüße \u2603 ${i}`});
  const sent = await Promise.all(numbers(5).map(i => transport.sendMail(letter(i))));
  const content = Buffer.from(noise(MEGABYTE));
  const large = await transport.sendMail({...letter(5), attachments: [{filename: 'noise', content}]});
  transport.close();

  const verify = settings => failure(nodemailer.createTransport({...login, ...settings}).verify());
  return {
    verified, sent: sent.map(({accepted, response}) => [accepted, response.slice(0, 3)]), large: large.response.slice(0, 3),
    wrongPassword: await verify({auth: {user, pass: 'wrong'}}),
    refused: await verify({port: deadPort}),
    silent: await verify({port: silentPort, greetingTimeout: 300}),
    untrusted: await verify({tls: {}}),
    unverified: await verify({tls: {rejectUnauthorized: false}}),
  };
}
