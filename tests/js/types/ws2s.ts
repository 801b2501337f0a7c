import WS2S, {WS2SError, RedisError, Redis} from 'ws2s';
const connection: WS2S.Connection = await WS2S.connect('ws://h/', {host: 'h', port: '1', timeout: 5, heartbeat: 0});
const opened: WS2S.Opened = await connection.opened;
await opened.readable.pipeThrough(new TextDecoderStream()).pipeTo(new WritableStream<string>());
await connection.readable.pipeThrough(new DecompressionStream('gzip')).pipeTo(connection.writable);
const one: Uint8Array | undefined = (await connection.readable.getReader().read()).value;
if (one) await connection.writable.getWriter().write(one.subarray(1));
const options: WS2S.RedisOptions = {host: 'h', commandTimeout: 1, maxReplyBytes: 1, retry: {first: 1}};
const redis: Redis = new Redis('ws://h/', options), same: WS2S.Redis = new WS2S.Redis('ws://h/', options);
const replies: any[] | null = await redis.multi([['SET', 'k', 1], ['GET', new Uint8Array(1)]]);
const error: WS2S.WS2SError = new WS2SError(1, 'transaction-lost', 'x');
const about: (string | undefined)[] = [error.command, error.endedAt, error.speaks, new RedisError('x').code];
new WS2S('ws://h/', {WebSocket}).newSocket().onRecv = (bytes: Uint8Array) => { console.log(bytes); };
const tls: WS2S.TlsOptions = {servername: 'n', verify: true, ca: 'CA', cert: 'CERT', key: 'KEY', alpn: ['h2']};
const halves = await WS2S.connect('ws://h/', {host: 'h', port: 1, tls, token: 't', halfOpen: true, WebSocket});
const begun: WS2S.Tls = await halves.startTls(tls), {version, alpn}: {version: string; alpn: string | null} = begun;
const ends: void[] = [await halves.finish(), await halves.finished];
for (const none of [undefined, null, false]) await WS2S.connect('ws://h/', {host: 'h', port: 1, tls: none});
new WS2S('ws://h/', {token: 't', tls: {}, ssh: {host: 's'}}).newRedisClient('h', 6379);
console.log(one, replies, about, same, version, alpn, ends, halves.tls?.version);
// @ts-expect-error
WS2S.connect('ws://h/', {host: 'h', port: 1, tls: {verfy: false}});
// @ts-expect-error
WS2S.connect('ws://h/', {host: 'h', port: 1, tls: 'true'});
// @ts-expect-error
halves.startTls(false);
// @ts-expect-error
WS2S.connect('ws://h/', {port: 1});
// @ts-expect-error
redis.multi([['SET', {}]]);
