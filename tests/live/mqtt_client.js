/* node mqtt_client.js SCENARIO SETTINGS: npm's mqtt at the broker behind `url`. Writes JSON. */
'use strict';

const crypto = require('crypto');
const events = require('events');
const mqtt = require('mqtt');

const connect = ({url, ...options}) => mqtt.connectAsync(url, {reconnectPeriod: 0, ...options}, false);
const digest = payload => crypto.createHash('sha256').update(payload).digest('hex');
const told = (topic, payload, {qos, retain}) => [topic, qos, retain, payload.length, digest(payload)];

/* The next `count` messages that come. */
const messages = (client, count) => new Promise(resolve => {
  const found = [];
  client.on('message', function hear(topic, payload, packet) {
    found.push(told(topic, payload, packet));
    if (found.length < count) return;
    client.off('message', hear);
    resolve(found);
  });
});

const scenarios = {
  /* One client publishes `sizes` bytes with each quality of service and hears them itself. */
  async exchange({sizes, ...options}) {
    const client = await connect(options);
    await client.subscribeAsync('noise/#', {qos: 2});
    const sent = [];
    for (const qos of [0, 1, 2]) {
      for (const size of sizes) sent.push([`noise/${qos}/${size}`, crypto.randomBytes(size), {qos, retain: false}]);
    }
    const heard = messages(client, sent.length);
    for (const message of sent) await client.publishAsync(...message);
    const result = {sent: sent.map(message => told(...message)), heard: await heard};
    await client.endAsync();
    return result;
  },

  /* What was published before a client has subscribed. */
  async retain({clientId, ...options}) {
    const publisher = await connect({...options, clientId: clientId + '-publisher'});
    await publisher.publishAsync('kept', 'for later', {qos: 1, retain: true});
    await publisher.endAsync();
    const client = await connect({...options, clientId});
    const heard = messages(client, 1);
    await client.subscribeAsync('kept', {qos: 1});
    const result = await heard;
    await client.publishAsync('kept', '', {qos: 1, retain: true});
    await client.endAsync();
    return {sent: [told('kept', Buffer.from('for later'), {qos: 1, retain: true})], heard: result};
  },

  /* A client that has nothing to say but its pings, `count` of them. */
  async idle({count, ...options}) {
    const client = await connect(options);
    let pongs = 0;
    const ends = events.once(client, 'close').then(() => { throw new Error('the connection has ended'); });
    await Promise.race([ends, new Promise(resolve => {
      client.on('packetreceive', ({cmd}) => { if (cmd === 'pingresp' && ++pongs === count) resolve(); });
    })]);
    ends.catch(() => {}); // as it should, from now on
    await client.endAsync();
    return pongs;
  },
};

const [name, settings] = process.argv.slice(2);
scenarios[name](JSON.parse(settings)).then(
  result => { console.log(JSON.stringify(result)); },
  error => { console.error(error); process.exitCode = 1; });
