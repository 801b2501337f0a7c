/** TCP sockets of two standards, through a ws2s gateway: connect() as of `cloudflare:sockets`, and TCPSocket. */
import WS2S from './ws2s.mjs';
import {GatewaySettings, configure} from './gateway.mjs';

export {GatewaySettings, configure};

declare global {
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol;
  }
}

/** `cause` is a WS2SError with a `code` and a `reason` where the gateway, or the way to it, has failed. */
export class SocketError extends TypeError {
  constructor(message: string, options?: {cause?: unknown});
  cause?: unknown;
}

export interface SocketAddress {
  hostname: string;
  port: number;
}

/** What goes through the gateway. */
export interface GatewayOptions extends Omit<GatewaySettings, 'tls'> {
  /** For the whole life of the socket: its reason is what everything fails with. */
  signal?: AbortSignal;
}

export interface SocketOptions extends GatewayOptions {
  /** `off` by default. */
  secureTransport?: 'off' | 'on' | 'starttls';
  /** The target may end its half, and can still be written to. */
  allowHalfOpen?: boolean;
  /** Of `writable`, in bytes: 65,536. */
  highWaterMark?: number;
  /** The name that the certificate must be for; by default the host. */
  sni?: string | null;
  /** Protocols to offer, the preferred one first. */
  alpn?: string[];
  /** More about TLS, in the place of that of configure(). */
  tls?: WS2S.TlsOptions | null;
}

/** Of those of Node's tls, `secureContext`, `pfx`, `crl`, `minVersion` and `checkServerIdentity` throw. */
export interface StartTlsOptions {
  /** The name that the certificate must be for; by default the host. */
  expectedServerHostname?: string;
  servername?: string;
  ca?: string;
  cert?: string;
  key?: string;
  alpn?: string[];
  verify?: boolean;
  /** What `verify` is, as drivers that know Node's tls say it. */
  rejectUnauthorized?: boolean;
}

export interface SocketInfo {
  /** `host:port` as it was asked for: the gateway does not tell the address that it has found. */
  remoteAddress: string;
  localAddress: null;
  /** The protocol that the target has chosen. */
  alpn: string | null;
}

/** A socket of connect(). */
export interface Socket {
  /** A stream of bytes, with BYOB readers, too. */
  readonly readable: ReadableStream<WS2S.Bytes>;
  /** Takes bytes, and no text. Closing it ends our half; aborting it drops the connection. */
  readonly writable: WritableStream<WS2S.AnyBytes>;
  readonly opened: Promise<SocketInfo>;
  /** Resolves when the connection has ended in order, or belongs to the socket of startTls(). */
  readonly closed: Promise<void>;
  /** Has startTls() been called? */
  readonly upgraded: boolean;
  readonly secureTransport: 'off' | 'on' | 'starttls';
  /** What was written reaches the target; what was not read is lost. Gives `closed`. */
  close(reason?: unknown): Promise<void>;
  /** TLS from here on, on a socket of its own. Throws a SocketError where that is not possible any more. */
  startTls(options?: StartTlsOptions): Socket;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Connect to `host:port`, or `[address of IPv6]:port`. Throws a SocketError for what makes no sense; all else rejects
 * `opened` and `closed`.
 */
export function connect(address: string | SocketAddress, options?: SocketOptions): Socket;

export interface TCPSocketOptions extends GatewayOptions {
  /** Bytes that a writer may give before it is told to wait. */
  sendBufferSize?: number;
  /** Bytes that may be under way: from 16,384 to 4,194,304. */
  receiveBufferSize?: number;
  /** Means nothing through a gateway, as do the next two. */
  noDelay?: boolean;
  keepAliveDelay?: number;
  dnsQueryType?: 'ipv4' | 'ipv6';
  /** TLS from the beginning, which Direct Sockets has not. */
  tls?: boolean | WS2S.TlsOptions | null;
}

export interface TCPSocketOpenInfo {
  readable: ReadableStream<WS2S.Bytes>;
  writable: WritableStream<WS2S.AnyBytes>;
  /** As it was asked for. */
  remoteAddress: string;
  remotePort: number;
  /** Never there: nobody tells. */
  localAddress?: string;
  localPort?: number;
}

/** A socket of Direct Sockets. Its halves end each by itself. */
export class TCPSocket {
  constructor(remoteAddress: string, remotePort: number, options?: TCPSocketOptions);
  /** Rejects with a DOMException `NetworkError`, or `NotAllowedError` where the gateway's rules forbid the target. */
  readonly opened: Promise<TCPSocketOpenInfo>;
  readonly closed: Promise<void>;
  /** Rejects with an `InvalidStateError` while the socket is not open, or a stream is locked. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
