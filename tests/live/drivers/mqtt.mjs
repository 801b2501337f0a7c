import mqtt from 'mqtt';
import {failure, MEGABYTE, next, noise, numbers} from './facts.mjs';

const connected = (url, settings) => mqtt.connectAsync(url, {reconnectPeriod: 0, ...settings});

async function version(url, settings) {
  const client = await connected(url, settings);
  await client.endAsync();
  return 'connected';
}

export async function facts({host, port, tlsPort, deadPort, user, password, ca}) {
  const login = {username: user, password}, secured = `mqtts://${host}:${tlsPort}`, clear = `mqtt://${host}:${port}`;
  const client = await connected(secured, {...login, ca, clientId: 'steady', reconnectPeriod: 10, protocolVersion: 5});
  const other = await connected(clear, login);
  const heard = [];
  const all = new Promise(resolve => client.on('message', (topic, payload) => {
    if (heard.push(payload) === 21) resolve();
  }));
  await client.subscribeAsync('drivers/#', {qos: 1});
  const large = Buffer.from(noise(MEGABYTE));
  for (const i of numbers(20)) await other.publishAsync(`drivers/${i}`, `${i}`, {qos: i % 3});
  await other.publishAsync('drivers/large', large, {qos: 1});
  await all;

  const again = next(client, 'connect');
  // The broker ends the connection of the one whose name another takes; that one is gone before it comes back.
  const usurper = await connected(clear, {...login, clientId: 'steady'});
  await usurper.endAsync(true);
  await again;
  await client.subscribeAsync('drivers/after');
  const after = next(client, 'message');
  await other.publishAsync('drivers/after', 'still there');
  await after;
  await Promise.all([client.endAsync(), other.endAsync()]);

  return {
    words: heard.slice(0, 20).map(String).sort(), large: large.equals(heard[20]),
    wrongPassword: await failure(connected(clear, {...login, password: 'wrong'})),
    refused: await failure(connected(`mqtt://${host}:${deadPort}`, login)),
    untrusted: await failure(connected(secured, login)),
    unverified: await version(secured, {...login, rejectUnauthorized: false}),
  };
}
