import mqtt from 'mqtt';
import net from 'net';
import tls from 'tls';
import {failure, MEGABYTE, next, noise, numbers} from './facts.mjs';

// In pages connect() knows WebSockets only, whatever its URL; a client that is given its stream uses that one. Its
// timers would be a worker's, which pages of the gateway may not begin.
async function connected(open, settings) {
  const client = new mqtt.MqttClient(open, {reconnectPeriod: 0, timerVariant: 'native', ...settings});
  try {
    await new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject));
  } catch (error) {
    client.end(true);
    throw error;
  }
  return client;
}

async function version(open, settings) {
  const client = await connected(open, settings);
  await client.endAsync();
  return 'connected';
}

export async function facts({host, port, tlsPort, deadPort, silentPort, user, password, ca}) {
  const login = {username: user, password}, clear = () => net.connect({host, port});
  const secured = settings => () => tls.connect({host, port: tlsPort, ...settings});
  const client = await connected(secured({ca}), {...login, clientId: 'steady', reconnectPeriod: 10, protocolVersion: 5});
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

  const idle = await connected(clear, {...login, keepalive: 1});
  while ((await next(idle, 'packetreceive')).cmd !== 'pingresp');
  await idle.endAsync();

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
    refused: await failure(connected(() => net.connect({host, port: deadPort}), login)),
    silent: await failure(connected(() => net.connect({host, port: silentPort}), {...login, connectTimeout: 300})),
    untrusted: await failure(connected(secured({}), login)),
    unverified: await version(secured({rejectUnauthorized: false}), login),
  };
}
