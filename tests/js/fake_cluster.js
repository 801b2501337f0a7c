/* A Redis Cluster for unit tests: several FakeRedis, each the target of a FakeGateway at an address of its own. */
'use strict';

const {FakeGateway} = require('./fake_gateway.js');
const {FakeRedis, bulk} = require('./fake_redis.js');

const SLOTS = 16384;

const addressOf = ({host, port}) => `${host}:${port}`;

function nodeReply(host, port) {
  return `*3\r\n${host === null ? '$-1\r\n' : bulk(host)}:${port}\r\n${bulk('id')}`;
}

/* The reply to CLUSTER SLOTS for `[first, last, host, port]`, and host and port of a replica. A host may be null. */
function slotsReply(ranges) {
  const parts = ranges.map(([first, last, host, port, ...replica]) => `*${replica.length ? 4 : 3}\r\n`
    + `:${first}\r\n:${last}\r\n${nodeReply(host, port)}${replica.length ? nodeReply(...replica) : ''}`);
  return `*${ranges.length}\r\n${parts.join('')}`;
}

/*
 * `addresses`: `host:port` of the masters, which share the slots. `ranges` is what each of them tells, and may be
 * changed, as may `answers` of each of `redises` (by address).
 */
class FakeCluster {
  constructor(addresses = ['a:1', 'b:2', 'c:3'], tells = address => address.split(':')) {
    const answers = () => ({CLUSTER: () => slotsReply(this.ranges)});
    this.redises = new Map(addresses.map(address => [address, new FakeRedis(answers())]));
    this.share(addresses, tells);
    this.connects = [];     // the requests, also those that are refused
    this.down = new Set();  // addresses
    this.gateway = new FakeGateway({
      makeTarget: (session, request) => this.connect(session, request), failure: request => this.refusal(request),
    });
  }

  share(addresses, tells = address => address.split(':')) {
    const size = SLOTS / addresses.length;
    this.ranges = addresses.map((address, i) =>
      [Math.ceil(i * size), Math.ceil((i + 1) * size) - 1, ...tells(address)]);
  }

  connect(session, request) {
    return this.redises.get(addressOf(request)).connect(session);
  }

  refusal(request) {
    this.connects.push(request);
    const isThere = this.redises.has(addressOf(request)) && !this.down.has(addressOf(request));
    return isThere ? null : [2, 'refused', 'nothing listens there'];
  }

  /* The connections of a node end, and there are no new ones. */
  fail(address) {
    this.down.add(address);
    for (const connection of this.redises.get(address).connections) connection.close();
  }

  commands(address) {
    return this.redises.get(address).commands.filter(command => command !== 'CLUSTER SLOTS');
  }
}

module.exports = {FakeCluster, slotsReply};
