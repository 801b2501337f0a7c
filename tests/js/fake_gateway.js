/* A gateway for unit tests, in this process: it keeps the wire contract, or answers as ws2s 2.1.5 does. */
'use strict';

const READ = 65536;
const TLS_FIELDS = ['servername', 'verify', 'ca', 'cert', 'key', 'alpn'];

/* About the bytes of a request on the wire. */
function sizeOf(request) {
  return request instanceof Uint8Array ? request.length : JSON.stringify(request).length;
}

function toBytes(data) {
  return typeof data === 'string' ? new Uint8Array(Buffer.from(data)) : new Uint8Array(data);
}

/* What a program sees of a WebSocket. Messages arrive later, never within a call. */
class FakeWebSocket {
  constructor(gateway, url, protocols) {
    this.gateway = gateway;
    this.url = url;
    this.protocols = protocols;
    this.readyState = 0;
    this.session = null;
    setImmediate(() => this.#open());
  }

  #open() {
    if (this.readyState !== 0) return;
    if (this.gateway.refuses) {
      this.drop(1006);
      return;
    }
    this.readyState = 1;
    this.session = new Session(this.gateway, this);
    this.onopen({type: 'open'});
  }

  send(message) {
    if (this.readyState === 0) throw new Error('InvalidStateError');
    if (this.readyState === 1) this.session.receive(typeof message === 'string' ? message : toBytes(message));
  }

  close() {
    if (this.readyState === 3) return;
    if (this.session) this.session.end();
    setImmediate(() => this.drop(1000));
  }

  /* The WebSocket ends, whoever wants it. */
  drop(code, reason = '') {
    if (this.readyState === 3) return;
    if (this.session) this.session.end();
    this.readyState = 3;
    if (code === 1006) this.onerror({type: 'error'});
    this.onclose({type: 'close', code, reason, wasClean: code !== 1006});
  }

  deliver(message) {
    if (this.readyState !== 1) return;
    this.onmessage({type: 'message', data: typeof message === 'string' ? message : message.slice().buffer});
  }
}

/* The gateway's side of one WebSocket. */
class Session {
  constructor(gateway, socket) {
    this.gateway = gateway;
    this.socket = socket;
    this.requests = [];      // all that came: objects, and bytes of binary messages
    this.queue = [];         // not carried out yet
    this.target = null;
    this.window = Infinity;
    this.outstanding = 0;
    this.outgoing = [];      // of the target, which the window does not let through yet
    this.ending = null;
    this.clear = '';         // what the target got in the clear, and by TLS
    this.secret = '';
    this.isWorking = false;
    this.isOver = false;
    gateway.sessions.push(this);
  }

  receive(message) {
    const request = typeof message === 'string' ? JSON.parse(message) : message;
    this.requests.push(request);
    this.queue.push(request);
    setImmediate(() => this.work());
  }

  /* Like the gateway: what has come together is carried out together, whatever the target does meanwhile. */
  work() {
    if (this.isWorking) return;
    this.isWorking = true;
    while (this.queue.length && !this.isOver && !this.mustWait()) {
      let size = 0;
      while (this.queue.length && !this.isOver && size < READ) {
        const request = this.queue.shift();
        size += sizeOf(request);
        this.obey(request);
      }
    }
    this.isWorking = false;
  }

  /* Like the gateway: a target that does not read stops the requests, unless the window is used up. */
  mustWait() {
    const {target, gateway} = this;
    if (this.gateway.isPaused) return true;
    if (!target || !target.isFull || !target.isFull()) return false;
    return this.outstanding < this.window || target.pending >= gateway.messageBytes;
  }

  obey(request) {
    if (request instanceof Uint8Array) this.onBinary(request);
    else if (this.gateway.isOld && !['connect', 'send', 'sendb', 'close'].includes(request.command)) {
      this.done(request.command);
    } else if (this.gateway.unknown.includes(request.command)) this.fail(1, 'bad-request', 'unknown command');
    else if (typeof this[`on_${request.command}`] === 'function') this[`on_${request.command}`](request);
    else this.fail(1, 'bad-request', 'unknown command');
  }

  onBinary(bytes) {
    if (this.gateway.isOld) this.socket.drop(1006);
    else if (!this.target) this.fail(3, 'not-connected', 'nothing is connected');
    else if (this.hasFinished) this.fail(1, 'bad-request', 'our half has ended');
    else this.give(bytes);
  }

  on_connect(request) {
    const {failure: given} = this.gateway, failure = typeof given === 'function' ? given(request) : given;
    if (failure) {
      this.fail(...failure);
      return;
    }
    this.isTls = this.hasFinished = this.targetFinishes = false;
    const {tls} = request;
    if (tls !== undefined && tls !== false && tls !== null && !this.handshake(tls)) return;
    this.isBinary = !this.gateway.isOld && request.binary === true;
    this.window = this.gateway.isOld ? Infinity : request.window || Infinity;
    this.isHalfOpen = request.half_open === true;
    this.done('connect');
    this.target = this.gateway.makeTarget(this, request);
  }

  on_starttls({command, ...fields}) {
    if (!this.target) this.fail(3, 'not-connected', 'nothing is connected');
    else if (this.isTls) this.fail(1, 'bad-request', 'the connection has TLS already');
    else if (this.handshake(fields)) this.done(command);
    else this.loseTarget();
  }

  /* False: it has failed, and that was answered. A gateway that does not know TLS goes on without. */
  handshake(fields) {
    const {tls, isOld} = this.gateway;
    if (isOld || tls === null) return true;
    const wrong = fields === true ? undefined : Object.keys(Object(fields)).find(name => !TLS_FIELDS.includes(name));
    if (wrong !== undefined) this.fail(1, 'bad-request', `tls has no field ${wrong}`);
    else if (Array.isArray(tls)) this.fail(...tls);
    this.isTls = wrong === undefined && !Array.isArray(tls);
    return this.isTls;
  }

  on_finish() {
    if (!this.target) this.fail(3, 'not-connected', 'nothing is connected');
    else {
      this.hasFinished = true;
      this.done('finish');
      if (this.target.onFinish) this.target.onFinish();
    }
  }

  give(bytes) {
    this[this.isTls ? 'secret' : 'clear'] += Buffer.from(bytes).toString();
    this.target.onData(bytes);
  }

  on_send(request) {
    this.write('send', toBytes(request.data));
  }

  on_sendb(request) {
    this.write('sendb', toBytes(Buffer.from(request.data, 'base64')));
  }

  write(command, bytes) {
    if (!this.target) {
      this.fail(3, 'not-connected', 'nothing is connected');
      return;
    }
    this.give(bytes);
    this.done(command);
  }

  on_close() {
    this.loseTarget();
    this.done('close');
  }

  on_ping() {
    this.done('ping');
  }

  on_ack(request) {
    this.outstanding -= Math.min(request.bytes, this.outstanding);
    setImmediate(() => this.flow());  // the target is read after all that has come from the client
  }

  /* What the target does. */
  respond(data) {
    if (!this.target && this.ending === null) return;
    const bytes = toBytes(data);
    for (let start = 0; start < bytes.length; start += 65536) this.outgoing.push(bytes.slice(start, start + 65536));
    this.flow();
  }

  flow() {
    while (this.outgoing.length && this.outstanding < this.window) {
      const room = this.window - this.outstanding, [chunk] = this.outgoing;
      const bytes = chunk.subarray(0, Math.min(room, chunk.length));
      if (bytes.length === chunk.length) this.outgoing.shift();
      else this.outgoing[0] = chunk.subarray(bytes.length);
      this.outstanding += bytes.length;
      this.gateway.mostOutstanding = Math.max(this.gateway.mostOutstanding, this.outstanding);
      this.data(bytes);
    }
    if (this.targetFinishes && !this.outgoing.length) {
      this.targetFinishes = false;
      this.fail(5, 'finished', 'the target has ended its half');
    } else if (this.ending && !this.outgoing.length) this.over();
    else if (this.target && this.target.onFlow) this.target.onFlow();
  }

  data(bytes) {
    if (this.isBinary) this.later(bytes);
    else this.reply({success: true, code: -1, message: 'recv data', data: Buffer.from(bytes).toString('base64')});
  }

  /* The target closes, after all that it has sent. */
  close(reason = 'closed', code = 5) {
    this.ending = [code, reason, 'the target has ended the connection'];
    this.flow();
  }

  /* The target ends its half, after all that it has sent. */
  finish() {
    this.targetFinishes = this.isHalfOpen;
    if (this.isHalfOpen) this.flow();
    else this.close();
  }

  over() {
    const ending = this.ending;
    this.loseTarget();
    this.fail(...ending);
  }

  loseTarget() {
    if (this.target && this.target.onEnd) this.target.onEnd();
    this.target = this.ending = null;
    this.outgoing = [];
  }

  done(command) {
    const carriesTls = this.isTls && ['connect', 'starttls'].includes(command);
    this.reply({success: true, code: 0, message: `${command} done`, ...carriesTls ? {tls: this.gateway.tls} : {}});
  }

  fail(code, reason, message) {
    this.reply(this.gateway.isOld ? {success: false, code, message} : {success: false, code, message, reason});
  }

  reply(reply) {
    this.later(JSON.stringify(reply));
  }

  later(message) {
    setImmediate(() => this.socket.deliver(message));
  }

  end() {
    if (this.isOver) return;
    this.isOver = true;
    this.loseTarget();
  }

  commands() {
    return this.requests.map(request => request instanceof Uint8Array ? 'binary' : request.command);
  }
}

/*
 * `makeTarget(session, request)` gives what the target is: {onData(bytes), onFinish(), onEnd(), isFull(), pending,
 * onFlow()}, of which only the first must be there. It calls session.respond(data), session.finish() and
 * session.close(reason).
 */
class FakeGateway {
  constructor({makeTarget = () => ({onData() {}}), isOld = false, failure = null} = {}) {
    this.makeTarget = makeTarget;
    this.isOld = isOld;
    this.failure = failure;      // [code, reason, message] of each connect, or what gives that of a request
    this.refuses = false;        // WebSockets
    this.isPaused = false;       // nothing is taken from clients
    this.messageBytes = 16777216;
    this.mostOutstanding = 0;
    this.tls = {version: 'TLSv1.3', alpn: null};  // of targets; [code, reason, message] for a failure; null: not known
    this.unknown = [];           // commands that a later gateway has
    this.sockets = [];
    this.sessions = [];
    const gateway = this;
    this.WebSocket = class extends FakeWebSocket {
      constructor(url, protocols) {
        super(gateway, url, protocols);
        gateway.sockets.push(this);
      }
    };
  }

  get last() {
    return this.sessions[this.sessions.length - 1];
  }

  resume() {
    this.isPaused = false;
    for (const session of this.sessions) session.work();
  }
}

const echo = session => ({onData: bytes => session.respond(bytes)});

/* Takes `size` bytes for itself at most until drain() is called. */
function slowTarget(session, size) {
  const target = {
    pending: 0, received: 0,
    onData(bytes) { target.pending += bytes.length; target.received += bytes.length; },
    isFull: () => target.pending >= size,
    drain() { target.pending = 0; session.work(); },
  };
  return target;
}

async function until(condition, what = condition) {
  const deadline = Date.now() + 10000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise(resolve => setTimeout(resolve, 1));
  }
}

/* As long as events of this process bring about other events. */
async function settled() {
  for (let i = 0; i < 50; i++) await new Promise(resolve => setImmediate(resolve));
}

async function readAll(readable) {
  const pieces = [];
  for await (const piece of readable) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

module.exports = {FakeGateway, echo, slowTarget, until, settled, readAll};
