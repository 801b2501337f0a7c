/*
 * Programs that use tls, played with Node's own and with that of ws2s: see net_scenarios.js. The other end is either
 * `secure`, which speaks TLS from the beginning, or plain, and then `upgrade(socket)` gives its TLS.
 */
'use strict';

const HOST = '127.0.0.1';

const told = (socket, event) => new Promise(resolve => socket.once(event, resolve));
const echo = socket => socket.pipe(socket);
// Node forgets the end of TLS, which is more than the end of the connection, when it comes along with the first words.
const saying = text => socket => { socket.write(text); setImmediate(() => socket.end()); };
const code = error => error ? error.code || error.name : null;

function security({authorized, authorizationError, encrypted, alpnProtocol, servername, secureConnecting}) {
  return {authorized, authorizationError, encrypted, alpnProtocol, servername, secureConnecting};
}

/* The other end of STARTTLS: it answers S to whatever comes, and speaks TLS then. */
function upgrading(serve) {
  return (socket, upgrade) => socket.once('data', () => {
    socket.write('S');
    serve(upgrade(socket));
  });
}

/* The plain socket, when the other end has said that it will speak TLS. */
async function askedFor(net, port) {
  const socket = net.connect(port, HOST);
  socket.write('?');
  await told(socket, 'data');
  return socket;
}

const SCENARIOS = [
  {
    name: 'a connection with TLS',
    secure: echo,
    async play({tls, port, ca, watch, note}) {
      const socket = tls.connect({port, host: HOST, ca}, () => note('callback')), closed = watch(socket);
      note(security(socket), socket instanceof tls.TLSSocket);
      socket.write('hello');
      await told(socket, 'secureConnect');
      note(security(socket), socket.getProtocol(), socket.isSessionReused(), socket.readyState);
      socket.once('data', () => socket.end('bye'));
      await closed;
      note(socket.bytesRead > 0, socket.authorized, socket.getPeerCertificate());
    },
  },
  {
    name: 'connect(port, host, options, callback)',
    secure: saying('hi'),
    async play({tls, port, ca, watch, note}) {
      await watch(tls.connect(port, HOST, {ca}, () => note('callback')));
      await watch(tls.connect(`${port}`, {host: HOST, ca}, () => note('callback')));
    },
  },
  {
    name: 'a certificate that nobody has signed',
    secure: echo,
    async play({tls, port, note, watch}) {
      const socket = tls.connect({port, host: HOST}), closed = watch(socket, ['secureConnect', 'close']);
      // A gateway on an old Python does not know which of the two it was.
      const codes = ['DEPTH_ZERO_SELF_SIGNED_CERT', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'];
      socket.on('error', error => note(codes.includes(error.code)));
      socket.write('lost');
      await closed;
      note(security(socket).authorized, socket.destroyed);
    },
  },
  {
    name: 'a certificate for other names',
    secure: echo,
    async play({tls, port, ca, failed}) {
      await failed(tls.connect({port, host: HOST, ca, servername: 'other.test'}));
      await failed(tls.connect({port, host: 'localhost', ca, lookup}));
    },
  },
  {
    name: 'a name that is verified instead of the host',
    secure: echo,
    async play({tls, port, ca, watch, note}) {
      const socket = tls.connect({port, host: HOST, ca, servername: 'server.test'}), closed = watch(socket);
      await told(socket, 'secureConnect');
      note(socket.servername, tls.checkServerIdentity('server.test', socket.getPeerCertificate()));
      note(code(tls.checkServerIdentity('other.test', socket.getPeerCertificate())));
      socket.end();
      await closed;
    },
  },
  {
    name: 'the protocol above TLS',
    secure: echo,
    async play({tls, port, ca, note}) {
      for (const ALPNProtocols of [['nobody', 'second'], ['first'], Buffer.from('\x05first\x06second')]) {
        const socket = tls.connect({port, host: HOST, ca, ALPNProtocols});
        await told(socket, 'secureConnect');
        note(socket.alpnProtocol);
        socket.destroy();
        await told(socket, 'close');
      }
    },
  },
  {
    name: 'a certificate of our own, in texts, bytes and lists',
    secure: socket => saying(`${socket.getPeerCertificate().subject.CN}`)(socket),
    async play({tls, port, ca, client, watch}) {
      const bytes = Buffer.from;
      await watch(tls.connect({port, host: HOST, ca, ...client}));
      await watch(tls.connect({port, host: HOST, ca: [bytes(ca)], cert: bytes(client.cert), key: [{pem: client.key}]}));
      const secureContext = tls.createSecureContext({ca: bytes(ca), ...client, passphrase: 'of no use'});
      await watch(tls.connect({port, host: HOST, secureContext}));
    },
  },
  {
    name: 'what a program says to the certificate itself',
    secure: echo,
    async play({tls, port, ca, watch, note}) {
      const asked = [];
      const check = answer => name => { asked.push(name); return answer; };
      const refused = Object.assign(new Error('not that one'), {code: 'EMINE'});
      for (const checkServerIdentity of [check(undefined), check(refused), tls.checkServerIdentity]) {
        const socket = tls.connect({port, host: HOST, ca, servername: 'server.test', checkServerIdentity});
        const closed = watch(socket, ['secureConnect', 'error', 'close']);
        socket.once('secureConnect', () => socket.destroy());
        await closed;
        note(socket.authorized);
      }
      note(asked);
    },
  },
  {
    name: 'STARTTLS',
    serve: upgrading(echo),
    async play({net, tls, port, ca, watch, note}) {
      const plain = await askedFor(net, port), below = watch(plain);
      const socket = tls.connect({socket: plain, ca, host: HOST}), closed = watch(socket);
      note(socket.connecting, security(socket), socket.remotePort === plain.remotePort);
      socket.write('within');
      await told(socket, 'data');
      note(security(socket), socket.localPort === plain.localPort, plain.destroyed);
      socket.end('bye');
      await Promise.all([closed, below]);
    },
  },
  {
    name: 'STARTTLS, and all listeners of the plain socket are removed',
    serve: upgrading(socket => socket.end('hi')),
    async play({net, tls, port, ca, watch}) {
      const plain = await askedFor(net, port);
      plain.removeAllListeners();
      await watch(tls.connect({socket: plain, ca, servername: 'server.test'}));
    },
  },
  {
    name: 'STARTTLS on a socket that still connects',
    secure: saying('hi'),
    async play({net, tls, port, ca, watch, note}) {
      const plain = net.connect(port, HOST);
      const socket = tls.connect({socket: plain, ca, host: HOST});
      note(socket.connecting);
      await watch(socket, ['data', 'end', 'secureConnect', 'error', 'close']);
    },
  },
  {
    name: 'STARTTLS on a socket that is connected later',
    secure: echo,
    async play({net, tls, port, ca, watch}) {
      const plain = new net.Socket();
      const socket = tls.connect({socket: plain, ca, host: HOST});
      const closed = watch(socket, ['data', 'secureConnect', 'close']);
      plain.connect(port, HOST);
      socket.write('hi');
      await told(socket, 'data');
      socket.destroy();
      await closed;
    },
  },
  {
    name: 'STARTTLS, and the certificate is for other names',
    serve: upgrading(echo),
    async play({net, tls, port, ca, failed, note}) {
      const plain = await askedFor(net, port), below = failed(plain);
      await Promise.all([failed(tls.connect({socket: plain, ca, servername: 'other.test'})), below]);
      note(plain.destroyed);
    },
  },
  {
    name: 'after STARTTLS both are destroyed, whichever is',
    serve: upgrading(echo),
    async play({net, tls, port, ca, note}) {
      for (const which of [0, 1]) {
        const plain = await askedFor(net, port);
        const socket = tls.connect({socket: plain, ca, host: HOST});
        await told(socket, 'secureConnect');
        const closed = Promise.all([told(plain, 'close'), told(socket, 'close')]);
        [plain, socket][which].destroy();
        await closed;
        note(plain.destroyed, socket.destroyed);
      }
    },
  },
  {
    name: 'destroyed before the handshake is over',
    secure: echo,
    async play({tls, port, ca, watch, note}) {
      const socket = tls.connect({port, host: HOST, ca}), closed = watch(socket);
      socket.write('x', error => note('written', code(error)));
      socket.destroy();
      await closed;
      note(security(socket).authorized);
    },
  },
  {
    name: 'allowHalfOpen: our half ends later',
    secure: saying('bye'),
    async play({tls, port, ca, watch}) {
      const socket = tls.connect({port, host: HOST, ca, allowHalfOpen: true}), closed = watch(socket);
      await told(socket, 'end');
      socket.end('more');
      await closed;
    },
  },
  {
    name: 'nobody listens, with TLS',
    async play({tls, closedPort, watch}) {
      await watch(tls.connect({port: closedPort, host: HOST}));
    },
  },
  {
    name: 'a target that ends the connection in the handshake',
    serve: socket => socket.once('data', () => socket.destroy()),
    async play({tls, port, failed}) {
      await failed(tls.connect({port, host: HOST}));
    },
  },
  {
    name: 'much goes both ways within TLS',
    secure: echo,
    async play({tls, port, ca, note}) {
      const socket = tls.connect({port, host: HOST, ca}), pieces = [];
      const all = Buffer.from(Array.from({length: 300000}, (_, i) => i * 7 % 251));
      socket.on('data', piece => pieces.push(piece));
      socket.end(all);
      await told(socket, 'close');
      note(Buffer.concat(pieces).equals(all));
    },
  },
  {
    name: 'the timeout of a silent connection with TLS',
    serve: upgrading(socket => socket.resume()),
    async play({net, tls, port, ca, note}) {
      const plain = await askedFor(net, port);
      const socket = tls.connect({socket: plain, ca, host: HOST});
      await told(socket, 'secureConnect');
      socket.setTimeout(60);
      await told(socket, 'timeout');
      note('timeout');
      socket.destroy();
      await told(socket, 'close');
    },
  },
];

function lookup(name, options, callback) {
  setImmediate(() => callback(null, options.all ? [{address: HOST, family: 4}] : HOST, 4));
}

module.exports = {SCENARIOS};
