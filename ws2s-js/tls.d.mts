/** What drivers use of Node's `tls`, through a ws2s gateway. It is complete without the types of Node. */
import {CreateOptions, Socket, SocketOptions} from './net.mjs';

type Pem = string | Uint8Array;

/** `pfx`, an encrypted key and an empty `ca` are refused. All else that is not here has no effect: `ciphers`, say. */
export interface SecureContextOptions {
  /** In PEM, in the place of the authorities that the gateway trusts. */
  ca?: Pem | Pem[];
  /** Lists of revoked certificates, in PEM, beside a `ca`. */
  crl?: Pem | Pem[];
  cert?: Pem | Pem[];
  key?: Pem | (Pem | {pem: Pem})[];
  /** `TLSv1.2` by default. An older version fails when it was agreed upon, before anything is sent. */
  minVersion?: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';
  [other: string]: unknown;
}

export class SecureContext {
  constructor(options?: SecureContextOptions);
  readonly context: {ca?: string; cert?: string; key?: string};
}

export function createSecureContext(options?: SecureContextOptions): SecureContext;

/** Of what getPeerCertificate() gives: it has no fields, and checkServerIdentity() knows it. */
export interface PeerCertificate {
  [field: string]: any;
}

/** Undefined where the gateway has verified that the certificate is for the name. */
export function checkServerIdentity(name: string, certificate: PeerCertificate): Error | undefined;

export interface TlsOptions extends SecureContextOptions {
  secureContext?: SecureContext;
  /** The name that the certificate must be for, which is also sent as SNI; by default the host. */
  servername?: string | false;
  /** By default as `tls.verify` of configure(). False is refused unless the gateway's `tls.allowUnverified` is on. */
  rejectUnauthorized?: boolean;
  ALPNProtocols?: (string | Uint8Array)[] | Uint8Array;
  /** Asked in addition to the gateway. */
  checkServerIdentity?: (name: string, certificate: PeerCertificate) => Error | undefined;
}

export interface ConnectOptions extends TlsOptions, Omit<CreateOptions, 'port'> {
  port?: number | string;
  /** STARTTLS: TLS from here on, on the connection of this socket, which may still be connecting. */
  socket?: Socket;
}

/** As Node's tls.TLSSocket. */
export class TLSSocket extends Socket {
  constructor(socket?: Socket, options?: TlsOptions & SocketOptions);
  readonly encrypted: true;
  /** The gateway has verified the certificate, and its name. */
  readonly authorized: boolean;
  readonly authorizationError: string | null;
  readonly alpnProtocol: string | false | null;
  readonly servername: string | false | null;
  readonly secureConnecting: boolean;
  getPeerCertificate(detailed?: boolean): PeerCertificate | null;
  getProtocol(): string | null;
  /** The gateway tells no more than the version. */
  getCipher(): {name: string; standardName: string; version: string | null};
  isSessionReused(): false;
  setServername(name: string): void;
  renegotiate(options: unknown, callback?: (error: Error) => void): false;
  setMaxSendFragment(size: number): false;
  /** Throws. */
  exportKeyingMaterial(...values: any[]): never;
  getCertificate(): {};
  getEphemeralKeyInfo(): {};
  getSharedSigalgs(): string[];
  getFinished(): undefined;
  getPeerFinished(): undefined;
  getPeerX509Certificate(): undefined;
  getX509Certificate(): undefined;
  getSession(): undefined;
  getTLSTicket(): undefined;
  setSession(session: unknown): void;
  disableRenegotiation(): void;
  enableTrace(): void;
}

/** The listener is one of `secureConnect`. */
export function connect(options: ConnectOptions, listener?: () => void): TLSSocket;
export function connect(port: number | string, options?: ConnectOptions, listener?: () => void): TLSSocket;
export function connect(
  port: number | string, host: string, options?: ConnectOptions, listener?: () => void): TLSSocket;

/** Throws: nothing can listen in a page. */
export class Server {
  constructor(...values: any[]);
}

/** Throws. */
export function createServer(...values: any[]): never;

/** Empty: those of the gateway's system count. */
export const rootCertificates: readonly string[];
export function getCiphers(): string[];
export const DEFAULT_MIN_VERSION: string;
export const DEFAULT_MAX_VERSION: string;
export const DEFAULT_CIPHERS: string;
export const DEFAULT_ECDH_CURVE: string;

declare const tls: {
  connect: typeof connect;
  TLSSocket: typeof TLSSocket;
  createSecureContext: typeof createSecureContext;
  SecureContext: typeof SecureContext;
  checkServerIdentity: typeof checkServerIdentity;
  Server: typeof Server;
  createServer: typeof createServer;
  rootCertificates: typeof rootCertificates;
  getCiphers: typeof getCiphers;
  DEFAULT_MIN_VERSION: string;
  DEFAULT_MAX_VERSION: string;
  DEFAULT_CIPHERS: string;
  DEFAULT_ECDH_CURVE: string;
};
export default tls;
