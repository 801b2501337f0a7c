import {createClient, createCluster} from 'redis';
import {failure, MEGABYTE, next, numbers, text} from './facts.mjs';

async function connected({socket, ...login}) {
  const client = createClient({...login, socket: {...socket, reconnectStrategy: false}});
  client.on('error', () => {});
  await client.connect();
  const pong = await client.ping();
  await client.close();
  return pong;
}

async function clustered(nodes) {
  const cluster = createCluster({rootNodes: nodes.map(([host, port]) => ({socket: {host, port}}))});
  await cluster.connect();
  await Promise.all(numbers(60).map(i => cluster.set(`cluster:${i}`, `${i}`)));
  const values = await Promise.all(numbers(60).map(i => cluster.get(`cluster:${i}`)));
  const masters = cluster.masters.length;
  await cluster.close();
  return {values: values.map(Number), masters};
}

export async function facts({host, port, tlsPort, deadPort, silentPort, user, password, ca, nodes}) {
  const login = {username: user, password}, secured = {host, port: tlsPort, tls: true, ca};
  const client = createClient({...login, RESP: 3, socket: {...secured, reconnectStrategy: 10}});
  client.on('error', () => {});
  await client.connect();
  const value = text(2 * MEGABYTE);
  await client.set('redis', value);
  const same = await client.get('redis') === value;
  const replies = await Promise.all(numbers(1000).map(i => client.rPush('redis:list', `${i}`)));
  const transaction = await client.multi().incr('redis:count').incr('redis:count').exec();
  const error = await failure(client.incr('redis'));

  const subscriber = createClient({...login, socket: {host, port}});
  await subscriber.connect();
  let heard;
  const message = new Promise(resolve => heard = resolve);
  await subscriber.subscribe('redis:news', (message, channel) => heard([message, channel]));
  await client.publish('redis:news', 'fresh');
  const news = await message;
  await subscriber.unsubscribe();

  const ready = next(client, 'ready');
  await subscriber.sendCommand(['CLIENT', 'KILL', 'ID', `${await client.sendCommand(['CLIENT', 'ID'])}`]);
  await ready;
  const again = await client.lLen('redis:list');
  const blocked = await client.duplicate().connect();
  const popped = blocked.blPop('redis:wait', 0);
  await client.rPush('redis:wait', 'come');
  const {element} = await popped;
  await client.del(['redis', 'redis:list', 'redis:count']);
  await Promise.all([client.close(), subscriber.close(), blocked.close()]);

  return {
    same, replies: replies.join() === numbers(1000).map(i => i + 1).join(), transaction, error, news, again, element,
    cluster: await clustered(nodes),
    clear: await connected({...login, socket: {host, port}}),
    unverified: await connected({...login, socket: {...secured, ca: undefined, rejectUnauthorized: false}}),
    wrongPassword: await failure(connected({...login, password: 'wrong', socket: {host, port}})),
    refused: await failure(connected({...login, socket: {host, port: deadPort}})),
    silent: await failure(connected({socket: {host, port: silentPort, socketTimeout: 300}})),
    untrusted: await failure(connected({...login, socket: {...secured, ca: undefined}})),
  };
}
