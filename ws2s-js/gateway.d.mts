/** Which gateway `ws2s/sockets`, `ws2s/net` and `ws2s/tls` go through. */
import WS2S from './ws2s.mjs';

/** What holds for each connection. */
export interface GatewaySettings extends WS2S.SessionOptions {
  /** The URL of the gateway: `wss://...`, or relative to the page. */
  gateway?: string | URL;
  ssh?: WS2S.SshOptions;
  /** For the connections with TLS: which authorities to trust, or a client certificate. */
  tls?: WS2S.TlsOptions | null;
  window?: number;
  binary?: boolean;
}

/**
 * Set the gateway of this page, or of this worker, for all copies of this package. It replaces what was set before;
 * without arguments nothing is set. Without it the gateway is that of `?gateway=` behind the URL of the module that is
 * imported, unless that stands in the page itself, or else that of `<meta name="ws2s-gateway" content="wss://...">`.
 */
export function configure(options?: GatewaySettings): void;

/**
 * The settings of a connection: `options` before those of configure(), whose secrets only its own gateway gets. Throws
 * a TypeError when no gateway is known.
 */
export function configured<T extends GatewaySettings>(
  importUrl?: string, options?: T,
): Omit<GatewaySettings, 'gateway'> & Omit<T, 'gateway'> & {gateway: string};
