/** What drivers use of Node's `net`, through a ws2s gateway. It is complete without the types of Node. */
import {GatewaySettings} from './gateway.mjs';

/** Of Node's Buffer, what is known without its types: what comes is a Buffer of the bundler's `buffer`. */
export type Bytes = Uint8Array;
export type Callback = (error?: Error | null) => void;
type Listener = (...values: any[]) => void;

/** Of the gateway that one connection goes through, in the place of those of configure(). */
export type OwnGateway = Pick<
  GatewaySettings, 'gateway' | 'token' | 'ssh' | 'heartbeat' | 'window' | 'binary' | 'WebSocket'>;

export interface SocketOptions {
  /** False: when the target ends its half, ours ends, too. */
  allowHalfOpen?: boolean;
  highWaterMark?: number;
  readableHighWaterMark?: number;
  writableHighWaterMark?: number;
  /** Destroys the socket. */
  signal?: AbortSignal;
}

export type Lookup = (
  host: string, options: {family: number; hints: number; all: false},
  callback: (error: Error | null, address: string, family?: number) => void,
) => void;

export interface ConnectOptions extends OwnGateway {
  port: number | string;
  /** `localhost` by default, which is the gateway's own machine. */
  host?: string;
  /** In the place of the gateway's. */
  lookup?: Lookup;
  family?: number;
}

/** A SocketOptions, too, and `timeout` as of setTimeout(). */
export interface CreateOptions extends ConnectOptions, SocketOptions {
  timeout?: number;
}

/** Of an `error`: `cause` is a WS2SError where the gateway has told something. */
export interface SocketError extends Error {
  code: string;
  errno?: number;
  syscall?: string;
  address?: string;
  port?: number;
  hostname?: string;
  cause?: unknown;
}

export interface Address {
  address: string;
  family: string;
  port: number;
}

/** A Duplex of the bundler's `stream`, as Node's net.Socket. */
export class Socket {
  constructor(options?: SocketOptions);

  connect(port: number | string, host?: string, listener?: () => void): this;
  connect(port: number | string, listener: () => void): this;
  connect(options: ConnectOptions, listener?: () => void): this;

  readonly connecting: boolean;
  readonly pending: boolean;
  readonly readyState: 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed';
  readonly allowHalfOpen: boolean;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly bufferSize?: number;
  readonly timeout?: number;
  /** The host that was asked for. */
  readonly remoteAddress?: string;
  readonly remoteFamily?: string;
  readonly remotePort?: number;
  /** 0.0.0.0: the gateway does not tell. */
  readonly localAddress?: string;
  readonly localFamily?: string;
  /** A number that no other connection of the page has at the time. */
  readonly localPort?: number;
  address(): Address | {};

  setTimeout(milliseconds: number, listener?: () => void): this;
  setNoDelay(noDelay?: boolean): this;
  setKeepAlive(enable?: boolean, initialDelay?: number): this;
  ref(): this;
  unref(): this;
  destroySoon(): void;
  resetAndDestroy(): this;

  readonly destroyed: boolean;
  readable: boolean;
  readonly readableEnded: boolean;
  readonly readableFlowing: boolean | null;
  readonly readableLength: number;
  writable: boolean;
  readonly writableEnded: boolean;
  readonly writableFinished: boolean;
  readonly writableLength: number;
  readonly writableNeedDrain: boolean;

  write(data: string | Uint8Array, callback?: Callback): boolean;
  write(data: string | Uint8Array, encoding?: string, callback?: Callback): boolean;
  end(callback?: () => void): this;
  end(data: string | Uint8Array, callback?: () => void): this;
  end(data: string | Uint8Array, encoding?: string, callback?: () => void): this;
  cork(): void;
  uncork(): void;
  destroy(error?: Error): this;

  read(size?: number): any;
  unshift(data: string | Uint8Array, encoding?: string): void;
  setEncoding(encoding: string): this;
  pause(): this;
  resume(): this;
  isPaused(): boolean;
  pipe<T>(destination: T, options?: {end?: boolean}): T;
  unpipe(destination?: any): this;
  [Symbol.asyncIterator](): AsyncIterableIterator<any>;

  on(event: 'connect' | 'ready' | 'end' | 'finish' | 'drain' | 'timeout', listener: () => void): this;
  on(event: 'data', listener: (data: Bytes) => void): this;
  on(event: 'close', listener: (hadError: boolean) => void): this;
  on(event: 'error', listener: (error: SocketError) => void): this;
  on(event: string | symbol, listener: Listener): this;
  once(event: 'connect' | 'ready' | 'end' | 'finish' | 'drain' | 'timeout', listener: () => void): this;
  once(event: 'data', listener: (data: Bytes) => void): this;
  once(event: 'close', listener: (hadError: boolean) => void): this;
  once(event: 'error', listener: (error: SocketError) => void): this;
  once(event: string | symbol, listener: Listener): this;
  addListener(event: string | symbol, listener: Listener): this;
  prependListener(event: string | symbol, listener: Listener): this;
  off(event: string | symbol, listener: Listener): this;
  removeListener(event: string | symbol, listener: Listener): this;
  removeAllListeners(event?: string | symbol): this;
  listenerCount(event: string | symbol): number;
  emit(event: string | symbol, ...values: any[]): boolean;
}

export {Socket as Stream};

/** A Socket that connects. Arguments that are wrong throw; all else is an `error`. */
export function connect(port: number | string, host?: string, listener?: () => void): Socket;
export function connect(port: number | string, listener: () => void): Socket;
export function connect(options: CreateOptions, listener?: () => void): Socket;
export {connect as createConnection};

/** Throws: nothing can listen in a page. */
export class Server {
  constructor(...values: any[]);
}

/** Throws. */
export function createServer(...values: any[]): never;

export function isIP(text: any): 0 | 4 | 6;
export function isIPv4(text: any): boolean;
export function isIPv6(text: any): boolean;

/** It is the gateway that tries the addresses of a name. */
export function getDefaultAutoSelectFamily(): boolean;
export function setDefaultAutoSelectFamily(value: boolean): void;
export function getDefaultAutoSelectFamilyAttemptTimeout(): number;
export function setDefaultAutoSelectFamilyAttemptTimeout(milliseconds: number): void;

declare const net: {
  Socket: typeof Socket;
  Stream: typeof Socket;
  Server: typeof Server;
  connect: typeof connect;
  createConnection: typeof connect;
  createServer: typeof createServer;
  isIP: typeof isIP;
  isIPv4: typeof isIPv4;
  isIPv6: typeof isIPv6;
  getDefaultAutoSelectFamily: typeof getDefaultAutoSelectFamily;
  setDefaultAutoSelectFamily: typeof setDefaultAutoSelectFamily;
  getDefaultAutoSelectFamilyAttemptTimeout: typeof getDefaultAutoSelectFamilyAttemptTimeout;
  setDefaultAutoSelectFamilyAttemptTimeout: typeof setDefaultAutoSelectFamilyAttemptTimeout;
};
export default net;
