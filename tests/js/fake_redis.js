/* A Redis for unit tests: the target of a FakeGateway. */
'use strict';

const {RespParser} = require('../../ws2s-js/ws2s.js').internals;

function bulk(text) {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}

function list(items, type = '*') {
  const parts = items.map(item => typeof item === 'number' ? `:${item}\r\n` : bulk(item));
  return `${type}${items.length}\r\n${parts.join('')}`;
}

/*
 * `answers`: by the first word in capitals, the reply on the wire, or a function of the words and the connection that
 * gives it; null is no reply. Commands that are not there get +OK.
 */
class FakeRedis {
  constructor(answers = {}) {
    this.answers = answers;
    this.commands = [];     // of all connections, words joined by spaces
    this.connections = [];
    this.makeTarget = session => this.connect(session);
  }

  get last() {
    return this.connections[this.connections.length - 1];
  }

  connect(session) {
    const connection = {
      session, count: 0, isResp3: false, say: text => session.respond(text), close: () => session.close(),
    };
    const parser = new RespParser();
    this.connections.push(connection);
    connection.onData = bytes => {
      for (const words of parser.push(bytes)) this.onCommand(connection, words);
    };
    return connection;
  }

  onCommand(connection, bytes) {
    const words = bytes.map(word => Buffer.from(word).toString());
    this.commands.push(words.join(' '));
    const name = words[0].toUpperCase();
    const answer = name in this.answers ? this.answers[name] : STANDARD[name] || '+OK\r\n';
    const reply = typeof answer === 'function' ? answer(words, connection) : answer;
    if (reply !== null) connection.say(reply);
  }

  publish(channel, message, pattern) {
    const {isResp3} = this.last;
    const items = pattern ? ['pmessage', pattern, channel, message] : ['message', channel, message];
    this.last.say(list(items, isResp3 ? '>' : '*'));
  }
}

function confirm([command, name], connection) {
  connection.count += command.toLowerCase().includes('unsub') ? -1 : 1;
  return list([command.toLowerCase(), name, connection.count], connection.isResp3 ? '>' : '*');
}

const STANDARD = {
  PING: '+PONG\r\n',
  ECHO: words => bulk(words[1]),
  HELLO: (words, connection) => {
    connection.isResp3 = words[1] === '3';
    return '%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n';
  },
  SUBSCRIBE: confirm, PSUBSCRIBE: confirm, UNSUBSCRIBE: confirm, PUNSUBSCRIBE: confirm,
};

module.exports = {FakeRedis, bulk, list};
