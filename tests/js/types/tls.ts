import net from 'ws2s/net';
import tls, {checkServerIdentity, connect, createSecureContext, rootCertificates, TLSSocket} from 'ws2s/tls';
const socket: TLSSocket = connect({port: 443, host: 'h', servername: 'n', ca: ['CA'], ALPNProtocols: ['h2']}, () => {
  const protocol: string | false | null = socket.alpnProtocol, version: string | null = socket.getProtocol();
  console.log(protocol, version, socket.authorized, socket.authorizationError, socket.getCipher().version);
});
const above: TLSSocket = connect({socket: net.connect(25, 'mail.lan'), rejectUnauthorized: false});
const secureContext = createSecureContext({cert: 'CERT', key: [{pem: new Uint8Array(1)}], minVersion: 'TLSv1.3'});
connect(443, 'h', {secureContext, token: 't'}, () => {});
connect(443, {checkServerIdentity: (name, certificate) => checkServerIdentity(name, certificate)});
above.write('x');
above.on('secureConnect', () => console.log(above.encrypted)).once('data', data => console.log(data.length));
const other = new tls.TLSSocket(new net.Socket());
console.log(other.getPeerCertificate(true), rootCertificates.length, tls.DEFAULT_MIN_VERSION);
// @ts-expect-error
connect({port: 1, rejectUnauthorized: 'no'});
// @ts-expect-error
connect({socket: {}});
// @ts-expect-error
socket.authorized = true;
// @ts-expect-error
createSecureContext({minVersion: 'SSLv3'});
