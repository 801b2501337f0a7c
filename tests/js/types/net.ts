import net, {connect, createConnection, isIP, Socket, type Address, type SocketError} from 'ws2s/net';
const socket: Socket = connect(6379, 'redis.lan', () => console.log(socket.readyState));
socket.setNoDelay(true).setKeepAlive(true, 1000).setTimeout(5000, () => socket.destroy()).ref().unref();
socket.on('data', data => console.log(data.length)).on('close', hadError => console.log(hadError === true));
socket.once('error', ({code, errno, syscall, cause}: SocketError) => console.log(code, errno, syscall, cause));
socket.on('lookup', (error, address) => console.log(error, address));
const isFull: boolean = socket.write('text', 'utf8', error => console.log(error)) && socket.write(new Uint8Array(1));
const address: Address | {} = socket.address(), host: string | undefined = socket.remoteAddress;
socket.end('last', () => console.log(socket.bytesRead + socket.bytesWritten));
const own = createConnection({
  port: '1', host: 'h', allowHalfOpen: true, timeout: 1, signal: AbortSignal.timeout(1), gateway: 'wss://g/',
  token: 't', ssh: {host: 's'}, lookup: (name, options, callback) => callback(null, name, options.family),
});
own.pipe(own);
for await (const piece of own) console.log(piece);
const same: Socket = new net.Socket({highWaterMark: 1}).connect({port: 1}), family: 0 | 4 | 6 = isIP('::1');
console.log(isFull, address, host, same, family, new net.Stream().pending);
// @ts-expect-error
connect({host: 'h'});
// @ts-expect-error
socket.write(1);
// @ts-expect-error
socket.connecting = true;
// @ts-expect-error
socket.setTimeout('1');
