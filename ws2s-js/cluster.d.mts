/** Redis Cluster: one client for all nodes, each of which is connected through the same gateway. */
import WS2S from './ws2s.mjs';

/** An address, or `host:port`. */
export type NodeAddress = {host: string, port?: number | string} | string;

export interface ClusterOptions extends Omit<WS2S.RedisOptions, 'host' | 'port' | 'db'> {
  /** One node to begin with. */
  host?: string;
  /** 6379 by default. */
  port?: number | string;
  /** Several of them, of which one must be there, in the place of `host`. */
  nodes?: NodeAddress[];
  /**
   * Where the nodes are that the cluster tells of, if the gateway reaches them by other names: by `host:port`, or as a
   * function, which may give undefined for those that it does not know.
   */
  nodeAddress?: Record<string, NodeAddress> | ((host: string, port: number) => NodeAddress | null | undefined);
  /**
   * Milliseconds, 30,000 by default, in which a command is asked again that no node has carried out: while a node fails
   * over, and at TRYAGAIN and CLUSTERDOWN.
   */
  patience?: number;
  /** How many nodes may be connected at one time, 64 by default. The one of subscriptions is not counted. */
  maxConnections?: number;
  /** Makes the client of a node, perhaps one of a class of its own. */
  createClient?: (url: string, options: WS2S.RedisOptions) => WS2S.Redis;
}

/**
 * A client of all nodes of a Redis Cluster, with the methods of WS2S.Redis. What concerns one connection or one node
 * (WATCH, SCAN, FLUSHALL...) is refused: nodeOf() and nodes() give the clients for that.
 *
 * MOVED and ASK are followed. A command that was sent and has no reply rejects with `not-answered`, and is never
 * repeated by itself.
 */
export class RedisCluster {
  constructor(url: string, options: ClusterOptions);

  /** Ask the node that has the key. Error replies reject with a RedisError. */
  command<T = any>(name: string, ...words: WS2S.RedisArgument[]): Promise<T>;
  /** As command(); bulk strings are Uint8Arrays. */
  bytes<T = any>(name: string, ...words: WS2S.RedisArgument[]): Promise<T>;
  /** As command(); bulk strings are strings. */
  text<T = any>(name: string, ...words: WS2S.RedisArgument[]): Promise<T>;
  /** As multi() of WS2S.Redis; all keys must be of one slot. */
  multi<T = any[] | null>(commands: Iterable<[name: string, ...words: WS2S.RedisArgument[]]>): Promise<T>;

  /** The client of the node that has this key. It is closed with the cluster, or when its node has left that. */
  nodeOf(key: WS2S.RedisArgument): Promise<WS2S.Redis>;
  /** The clients of all nodes that have slots; `limit` is why it rejects if these are more than maxConnections. */
  nodes(): Promise<WS2S.Redis[]>;

  subscribe(channel: string, callback: (message: any, channel: string) => void): Promise<void>;
  psubscribe(pattern: string, callback: (message: any, channel: string, pattern: string) => void): Promise<void>;
  /** For one callback, or for all of the channel. */
  unsubscribe(channel: string, callback?: Function): Promise<void>;
  punsubscribe(pattern: string, callback?: Function): Promise<void>;

  /** Close all connections, for good. */
  close(): Promise<void>;

  /** It is known which node has which slot. */
  onReady: () => void;
  /** A connection or an attempt has failed; of subscriptions without the `host:port` of the node. */
  onLost: (error: Error, node?: string) => void;
  /** No more attempts are made; with the error, if not by close(). The last call. */
  onClose: (error?: Error) => void;
  /** A push of RESP3 that is no message, and the `host:port` of its node. */
  onPush: (items: WS2S.RedisReply[], node: string) => void;
  /** A node is connected: its `host:port`. */
  onConnected: (node: string) => void;
  /** The slots have been learnt: the `host:port` of all nodes that have some. */
  onNodes: (nodes: string[]) => void;
}

/** The slot of a key, 0 to 16,383. */
export function slotOf(key: WS2S.RedisArgument): number;

/** The first key of a command; undefined if it has none. */
export function keyOf(words: WS2S.RedisArgument[]): WS2S.RedisArgument | undefined;

/** What a command concerns that is refused here; null for all others. */
export function concernOf(words: WS2S.RedisArgument[]): 'one connection' | 'one node' | null;

/** Of `host:port`, of which the host may be an IPv6 address, or of `host`. */
export function splitAddress(address: string): {host: string, port: number};
