/** TCP connections for pages, through a ws2s gateway. */
export = WS2S;
export as namespace WS2S;

/** The gateway at a URL. */
declare class WS2S {
  constructor(url: string, options?: WS2S.GatewayOptions);

  /**
   * Connect to a target.
   *
   * Rejects with a WS2SError, or with the reason of `options.signal`.
   */
  static connect(url: string, options: WS2S.ConnectOptions): Promise<WS2S.Connection>;

  /** WS2S.connect() through this gateway. */
  connect(options: WS2S.ConnectOptions): Promise<WS2S.Connection>;

  /** A TCP connection with the callbacks of ws2s.js 2.1. */
  newSocket(): WS2S.CallbackSocket;

  /** A Redis client with the callbacks of ws2s.js 2.1. */
  newRedisClient(
    host: string, port: number | string, auth?: string, ssh_host?: string, ssh_port?: number | string,
    ssh_username?: string, ssh_password?: string, ssh_private_key?: string, ssh_private_key_password?: string,
  ): WS2S.CallbackRedis;

  /** newRedisClient() as ws2s.js 2.1 spelt it. */
  newRedisCient: WS2S['newRedisClient'];
}

declare namespace WS2S {
  /** As a stream gives them: Uint8Array<ArrayBuffer> where TypeScript knows that, else Uint8Array. */
  type Bytes = ReturnType<Uint8ArrayConstructor['of']>;

  /** What can be written. BufferSource is not among the types of Node, and wants to know where bytes lie. */
  type AnyBytes = ArrayBufferView | ArrayBuffer;

  interface SessionOptions {
    /** The class to use where there is no global one (Node before 22), such as that of Node's package `ws`. */
    WebSocket?: new (url: string, protocols?: string[]) => any;
    /**
     * For a gateway that wants one: it goes as an offered subprotocol, never in the URL. A gateway that knows no tokens
     * (2.1.5) cannot be reached with one.
     */
    token?: string | null;
    /** Milliseconds for reaching the gateway and the target together, 60,000; 0 for no limit. */
    timeout?: number;
    /**
     * Milliseconds without a word of the gateway behind a ping until it is `gateway-lost`, 15,000; 0 for no limit. There
     * is a ping every 30 seconds, or after two heartbeats if these are less. After a large message on a slow line, and
     * behind much data for a target that may not read, it may take up to 8 and 40 times as long.
     */
    heartbeat?: number;
  }

  interface GatewayOptions extends SessionOptions {
    /** See ConnectOptions; newSocket() refuses them. */
    ssh?: SshOptions;
    tls?: boolean | TlsOptions | null;
    /** Of newRedisClient(): see RedisOptions. */
    retry?: Retry;
    /** Of newRedisClient(): see RedisOptions. */
    commandTimeout?: number;
    /** Of newRedisClient(): see RedisOptions. */
    maxReplyBytes?: number;
  }

  interface ConnectOptions extends SessionOptions {
    host: string;
    port: number | string;
    /** Go through an SSH server, which looks the host up and connects to it. */
    ssh?: SshOptions;
    /**
     * Let the gateway speak TLS to the target: true, or an object, also an empty one. With a gateway that cannot it is
     * an error; nothing goes in the clear. Without, with false and with null there is no TLS.
     */
    tls?: boolean | TlsOptions | null;
    /** The target may end its half, and can still be sent to: see `finished`. Older gateways end both. */
    halfOpen?: boolean;
    /** False: data goes in base64. Gateways that know nothing else are recognised without it. */
    binary?: boolean;
    /** How many bytes may be under way in each direction: 16,384 to 4,194,304, by default 1,048,576. */
    window?: number;
    /** Ends the attempt to connect. */
    signal?: AbortSignal;
  }

  interface SshOptions {
    host: string;
    port?: number | string;
    username?: string;
    password?: string;
    /** The text of a key. */
    privateKey?: string;
    /** Of that key. */
    passphrase?: string;
  }

  /** A field that is not here, or of another type, is a TypeError. */
  interface TlsOptions {
    /** The name that the certificate must be for, which is also sent as SNI; by default the host. */
    servername?: string;
    /** False is refused unless the gateway's setting `tls.allowUnverified` is on. */
    verify?: boolean;
    /** PEM texts: trust these authorities, instead of those of the gateway's system. */
    ca?: string;
    /** A client certificate, and its key. */
    cert?: string;
    key?: string;
    /** Protocols to offer, the preferred one first. */
    alpn?: string[];
  }

  /** What the gateway speaks to the target. */
  interface Tls {
    /** Such as `TLSv1.3`. */
    version: string;
    /** The protocol that the target has chosen. */
    alpn: string | null;
  }

  interface Opened {
    readable: ReadableStream<Bytes>;
    writable: WritableStream<AnyBytes>;
    remoteAddress: string;
    remotePort: number;
  }

  /** One TCP connection. When one side closes, both directions are over; finish() and `halfOpen` end only one. */
  interface Connection {
    /** Ends when the target closes, after its last byte; fails when the connection is lost. */
    readonly readable: ReadableStream<Bytes>;
    /** Closing it closes the connection after what was written; aborting it is abort(). */
    readonly writable: WritableStream<AnyBytes>;
    readonly opened: Promise<Opened>;
    /** Null while there is no TLS. */
    readonly tls: Tls | null;
    /** Resolves when the target has ended its half, or all is over in order; rejects when the connection was lost. */
    readonly finished: Promise<void>;
    /** Resolves when the connection has ended in order, rejects with a WS2SError when it was lost or aborted. */
    readonly closed: Promise<void>;
    /**
     * Speak TLS from here on. What was written before goes in the clear, and what is written from now on waits for it.
     * When it fails the connection is over; only where there is TLS already it goes on.
     */
    startTls(options?: true | TlsOptions): Promise<Tls>;
    /** End our half: nothing can be written any more, but what the target sends still comes. */
    finish(): Promise<void>;
    /** What was written reaches the target; what has arrived can still be read. Gives `closed`. */
    close(): Promise<void>;
    /**
     * Drop the connection at once, also while close() waits. What was not sent or not read yet is lost. `closed` and
     * both streams fail with `reason`, without one with a WS2SError whose reason is `aborted`.
     */
    abort(reason?: unknown): void;
  }

  type Reason =
    | 'bad-request' | 'dns' | 'timeout' | 'unreachable' | 'limit' | 'tls' | 'internal' | 'refused' | 'not-connected'
    | 'forbidden' | 'closed' | 'reset' | 'idle' | 'ssh-auth' | 'ssh-hostkey' | 'ssh-unreachable' | 'ssh-timeout'
    | 'ssh-disabled' | 'ssh-missing' | 'ssh-failed'
    | 'gateway-unreachable' | 'gateway-lost' | 'protocol' | 'not-answered' | 'transaction-lost' | 'aborted';

  /** A failure of the gateway, or of the way to it. */
  class WS2SError extends Error {
    constructor(code: number, reason: string, message: string, options?: {cause?: unknown});
    /** The code of the gateway's reply; 1 for what ws2s.js itself finds out. */
    code: number;
    /** A word for programs. Newer gateways may know more. */
    reason: Reason | (string & {});
    cause?: unknown;
    /** Of `not-answered` and `transaction-lost`: the name of the command. */
    command?: string;
    /** The name of the command at which the server has ended the connection. */
    endedAt?: string;
    /** Of `protocol`: what the port seems to speak instead of RESP, such as `HTTP` or `TLS`. */
    speaks?: string;
  }

  /** An error that Redis has answered. */
  class RedisError extends Error {
    constructor(message: string);
    /** Its first word: ERR, WRONGTYPE, NOAUTH... */
    code: string;
    /** Of multi(): its commands may have been carried out, though MULTI was refused. */
    isUnsure?: true;
  }

  interface Retry {
    /** Milliseconds of the first pause, 250; each following one is twice as long, or four times... */
    first?: number;
    /** ...up to this one, 30,000. It is the first again once a connection has lasted so long. */
    longest?: number;
    /** How many attempts may fail in a row: any number for WS2S.Redis, 9 for newRedisClient(). */
    attempts?: number;
  }

  interface RedisOptions extends Omit<ConnectOptions, 'port' | 'signal' | 'halfOpen'> {
    /** 6379 by default. */
    port?: number | string;
    username?: string;
    password?: string;
    db?: number;
    /** 3 speaks RESP3; 2 is the default. */
    protocol?: 2 | 3;
    /** Bulk strings of replies and messages are strings, not Uint8Arrays. */
    text?: boolean;
    retry?: Retry;
    /**
     * Milliseconds without a word of Redis while a reply is due until the connection is given up, 60,000; 0 for no
     * limit. Commands that wait or work as long as they like (BLPOP, XREAD with BLOCK, WAIT, EVAL...) have none, nor
     * has EXEC with one of them.
     */
    commandTimeout?: number;
    /**
     * The largest reply, 268,435,456 bytes by default; 0 for no limit. Each item counts as 64 bytes beside its own. At a
     * larger one, before memory is taken for it, the connection ends, and its command rejects with `not-answered`,
     * whose `cause` has the reason `limit`.
     */
    maxReplyBytes?: number;
  }

  type RedisArgument = string | number | bigint | AnyBytes;

  type RedisReply =
    | string | number | bigint | boolean | null | Uint8Array | RedisError | RedisReply[]
    | Map<RedisReply, RedisReply> | Set<RedisReply>;

  /**
   * A Redis client that connects again by itself, and never repeats a command by itself. What SELECT, AUTH and HELLO
   * have set holds for the next connection, too, also when EXEC has carried them out; after RESET nothing does. A
   * transaction ends with its connection: what follows MULTI or WATCH then rejects with `transaction-lost` until EXEC,
   * DISCARD, UNWATCH, or a transaction that begins anew.
   */
  class Redis {
    constructor(url: string, options: RedisOptions);

    /** Ask Redis. Error replies reject with a RedisError. Within arrays they are values. */
    command<T = any>(name: string, ...words: RedisArgument[]): Promise<T>;
    /** As command(); bulk strings are Uint8Arrays. */
    bytes<T = any>(name: string, ...words: RedisArgument[]): Promise<T>;
    /** As command(); bulk strings are strings. */
    text<T = any>(name: string, ...words: RedisArgument[]): Promise<T>;
    /**
     * MULTI, these commands and EXEC in one write on one connection. Gives the replies, with RedisErrors among them, or
     * null if a key has changed that was watched. Rejects if a command could not be queued; after `not-answered` all of
     * them have been carried out, or none.
     */
    multi<T = any[] | null>(commands: Iterable<[name: string, ...words: RedisArgument[]]>): Promise<T>;

    subscribe(channel: string, callback: (message: any, channel: string) => void): Promise<void>;
    psubscribe(pattern: string, callback: (message: any, channel: string, pattern: string) => void): Promise<void>;
    /** For one callback, or for all of the channel. */
    unsubscribe(channel: string, callback?: Function): Promise<void>;
    punsubscribe(pattern: string, callback?: Function): Promise<void>;

    /** Close the connection, for good. */
    close(): Promise<void>;

    /** Connected and logged in; again after each loss. */
    onReady: () => void;
    /** A connection or an attempt has failed and another one follows, or a subscription could not be renewed. */
    onLost: (error: Error) => void;
    /** No more attempts are made; with the error, if not by close(). The last call. */
    onClose: (error?: Error) => void;
    /** A push of RESP3 that is no message. */
    onPush: (items: RedisReply[]) => void;
  }

  /** A failure as the gateway tells it. */
  interface Failure {
    success: false;
    code: number;
    message: string;
    reason?: string;
  }

  /** Of WS2S.newSocket(). Nothing is called after onClose. */
  interface CallbackSocket {
    connect(
      host: string, port: number | string, ssh_host?: string, ssh_port?: number | string, ssh_username?: string,
      ssh_password?: string, ssh_private_key?: string, ssh_private_key_password?: string,
    ): void;
    /** As UTF-8. */
    send(text: string): void;
    sendb(bytes: AnyBytes): void;
    close(): void;
    /** The gateway is reached. */
    onReady: () => void;
    /** The target is connected. */
    onOpen: () => void;
    onRecv: (bytes: Uint8Array) => void;
    onClose: () => void;
    onError: (error: Failure) => void;
  }

  interface Pairing {
    /** Of the request; undefined for what nobody has asked for. */
    words?: Uint8Array[];
    reply?: RedisReply;
  }

  /** Of WS2S.newRedisClient(). */
  interface CallbackRedis {
    /** One command, or one in each line. */
    request(text: string): void;
    close(): Promise<void>;
    reconnectCount: number;
    /** The gateway is reached. */
    onSocketReady: () => void;
    /** Redis is connected, and has accepted `auth`. */
    onReady: () => void;
    onReconnected: () => void;
    /** An array is a numbered list in one text, nil is null. */
    onResponse: (data: string | number | null, about: Pairing) => void;
    /** An error reply is a text; a failure of the gateway is not. */
    onError: (error: string | Failure, about?: Pairing) => void;
  }
}
