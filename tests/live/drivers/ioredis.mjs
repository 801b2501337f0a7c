import Redis from 'ioredis';
import {failure, MEGABYTE, next, noise, numbers} from './facts.mjs';

const connected = async settings => {
  const redis = new Redis({...settings, lazyConnect: true, retryStrategy: null});
  redis.on('error', () => {});
  await redis.connect();
  const pong = await redis.ping();
  redis.disconnect();
  return pong;
};

/* Why it could not connect: connect() says only that the connection is closed. */
const reason = async settings => {
  const redis = new Redis({...settings, lazyConnect: true, retryStrategy: null});
  const failed = next(redis, 'error');
  redis.connect().catch(() => {});
  const error = await failed;
  redis.disconnect();
  return error.code ?? error.message;
};

/* What becomes of a command that nobody answers. */
async function silent(settings) {
  const redis = new Redis({...settings, username: undefined, password: undefined, enableReadyCheck: false});
  const outcome = await failure(redis.ping());
  redis.disconnect();
  return outcome;
}

async function clustered(nodes) {
  const cluster = new Redis.Cluster(nodes.map(([host, port]) => ({host, port})));
  await next(cluster, 'ready');
  await Promise.all(numbers(60).map(i => cluster.set(`cluster:${i}`, i)));
  const values = await Promise.all(numbers(60).map(i => cluster.get(`cluster:${i}`)));
  const held = await Promise.all(cluster.nodes('master').map(node => node.dbsize()));
  await cluster.quit();
  return {values: values.map(Number), masters: held.length, shared: held.every(size => size > 0)};
}

export async function facts({host, port, tlsPort, deadPort, silentPort, user, password, ca, nodes}) {
  const login = {host, port, username: user, password};
  const redis = new Redis({...login, port: tlsPort, tls: {ca}});
  const value = Buffer.from(noise(2 * MEGABYTE));
  await redis.set('ioredis', value);
  const same = value.equals(await redis.getBuffer('ioredis'));
  const pipeline = redis.pipeline();
  for (const i of numbers(1000)) pipeline.rpush('ioredis:list', i);
  const replies = await pipeline.exec();
  const transaction = await redis.multi().incr('ioredis:count').incr('ioredis:count').exec();
  const error = await failure(redis.incr('ioredis'));

  const subscriber = new Redis(login);
  const subscribed = await subscriber.subscribe('ioredis:news');
  const message = next(subscriber, 'message');
  await redis.publish('ioredis:news', 'fresh');
  const channel = await message;

  const id = await subscriber.client('ID').catch(error => error.message);
  const ready = next(redis, 'ready');
  await subscriber.unsubscribe();
  await subscriber.client('KILL', 'ID', await redis.client('ID'));
  await ready;
  const again = await redis.llen('ioredis:list');
  await redis.del('ioredis', 'ioredis:list', 'ioredis:count');
  await Promise.all([redis.quit(), subscriber.quit()]);

  return {
    same, replies: replies.map(([, length]) => length).join() === numbers(1000).map(i => i + 1).join(), transaction, error,
    subscribed, channel, id: typeof id, again,
    cluster: await clustered(nodes),
    clear: await connected(login),
    unverified: await connected({...login, port: tlsPort, tls: {rejectUnauthorized: false}}),
    wrongPassword: await reason({...login, password: 'wrong'}),
    refused: await reason({...login, port: deadPort}),
    silent: await silent({...login, port: silentPort, commandTimeout: 300}),
    untrusted: await reason({...login, port: tlsPort, tls: {}}),
  };
}
