import {RedisCluster, slotOf, keyOf, type ClusterOptions} from 'ws2s/cluster';
import {Redis} from 'ws2s';
const nodeAddress = (host: string, port: number) => port > 7000 ? host + ':1' : undefined;
const options: ClusterOptions = {nodes: ['h:1', {host: 'h'}], nodeAddress, patience: 1, maxConnections: 2, text: true};
const cluster: RedisCluster = new RedisCluster('ws://h/', options);
new RedisCluster('ws://h/', {host: 'h', nodeAddress: {'a:1': 'b:2', 'c:3': {host: 'd', port: 4}}, password: 'p'});
const replies: any[] | null = await cluster.multi([['SET', 'k', 1]]);
const nodes: Redis[] = [await cluster.nodeOf('k'), ...await cluster.nodes()];
const slot: number = slotOf(new Uint8Array(1)), key = keyOf(['GET', 'k']);
cluster.onLost = (error: Error, node?: string) => { console.log(error, node); };
await cluster.subscribe('c', (message: string) => { console.log(message, replies, nodes, slot, key); });
// @ts-expect-error
new RedisCluster('ws://h/', {host: 'h', db: 1});
