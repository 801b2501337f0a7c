import {configure, connect, SocketError, TCPSocket, type Socket, type SocketInfo} from 'ws2s/sockets';
configure({gateway: new URL('wss://h/')});
const socket: Socket = connect({hostname: 'h', port: 1}, {secureTransport: 'starttls', allowHalfOpen: true});
const info: SocketInfo = await socket.opened;
const writer = socket.writable.getWriter();
await writer.write(new TextEncoder().encode('x'));
writer.releaseLock();
const secure: Socket = socket.startTls({expectedServerHostname: 'h'});
const bytes = new Uint8Array(4), reader = secure.readable.getReader({mode: 'byob'});
const {value, done} = await reader.read(bytes), error = new SocketError('x', {cause: 1});
const direct = new TCPSocket('h', 1, {tls: true, signal: AbortSignal.timeout(1), noDelay: true});
const {readable, remotePort} = await direct.opened;
for await (const piece of readable) console.log(piece.length, remotePort.toFixed());
console.log(info.alpn?.length, value?.length, done, error.cause);
await Promise.all([secure.close(), direct.close(), direct.closed]);
// @ts-expect-error
connect('h:1', {secureTransport: 'yes'});
// @ts-expect-error
connect({hostname: 'h'});
// @ts-expect-error
await writer.write('text');
// @ts-expect-error
new TCPSocket('h', '1');
// @ts-expect-error
socket.upgraded = true;
