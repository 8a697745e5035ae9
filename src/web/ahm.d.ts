/** The browser client of `ahm`; see `ahm.js` for what each part does. */

/** One line of a document. */
export interface Frame {
  /** The name of the first attribute: `c`, `i`, `o`, `x`, `g`, `a`, `h`, `m`, `z`, ... */
  kind: string;
  /** Percent-decoded values; flags are empty strings. */
  attributes: Record<string, string>;
  /** Still escaped. */
  payload: string;
}

/** A place in a topic: an epoch and an offset in it. */
export interface Place {
  ep: string;
  n: number;
}

export interface Message extends Place {
  /** Text, or bytes where the payload is no text. */
  data: string | Uint8Array;
  /** Messages left out before this one because the channel asked for the newest only. */
  folded: number;
  /** The publisher calls it a snapshot: it stands for all before it. */
  snapshot: boolean;
  topic: string;
  channel: Channel;
}

export interface ChannelOptions {
  /** `queue` (every message; the default) or `latest` (whoever is behind jumps to the newest). */
  mode?: 'queue' | 'latest';
  /** At most so many messages a second, the newest each time. */
  rate?: number;
  /** End the channel with `overrun` rather than report a gap. */
  strict?: boolean;
  /** What the resource is told about the request; names of letters, digits, `-` and `_`. */
  parameters?: Record<string, string>;
  /** Start after this place instead of at the newest message. */
  since?: Place;
  onmessage?(message: Message): void;
  /** Open, again at the beginning of each document; messages up to `head` are history. */
  onopen?(opened: Place & { head: number; first: boolean; channel: Channel }): void;
  /** Messages are lost; `missing` is how many, `undefined` where nobody knows. */
  ongap?(gap: { after: Place; missing: number | undefined; channel: Channel }): void;
  /** The channel has ended and will not come back. */
  onclose?(closed: { reason: string; channel: Channel }): void;
}

export type State = 'idle' | 'connecting' | 'open' | 'silent' | 'waiting' | 'closed';

export interface ClientOptions {
  /** Where the server's commands are; default `/ahm/`. */
  url?: string | URL;
  /** The heartbeat interval to ask for, in milliseconds. */
  heartbeat?: number;
  /** How long messages may wait at the server for more, in milliseconds; default: as it likes. */
  flush?: number;
  /**
   * Seal the session with AES-256-GCM: what is said can be read and changed by nobody on the way,
   * not even by whoever ends its TLS. Only for pages that came over TLS or from the own machine;
   * where it cannot be had, the client closes with `insecure`.
   */
  seal?: boolean;
  /** Where logins go; those of sealed sessions over TLS; default: `url`. */
  login?: string | URL;
  /**
   * What proves who the client is, shown with logins and renewals alone; or what gives it, which is
   * asked each time. Without it cookies and certificates are the browser's own affair.
   */
  credentials?: Credentials | (() => Credentials | undefined | Promise<Credentials | undefined>);
  /** The script or program of the server's configuration that is to say who the client is. */
  auth?: string;
  /** Lets credentials go over plain HTTP, where everybody on the way can read them. */
  inClear?: boolean;
  /** A login or a renewal has shown who the client is to the server. */
  onuser?(known: User): void;
  /**
   * The session ends in `within` ms unless it is renewed, which the client does by itself where it
   * logs in (`renews`); `error`: that came to nothing, and is tried again while there is time.
   */
  onexpiry?(expiry: { within: number; renews: boolean; error?: AhmError }): void;
  /** Intervals of silence before the state is `silent`; default 2. */
  warn?: number;
  /** Intervals of silence before the document is given up; default 4. */
  drop?: number;
  /** Waiting before a new attempt: `floor` + a random part of `base` x 2^attempt, at most `cap`. */
  backoff?: { floor?: number; base?: number; cap?: number };
  onstate?(
    state: State,
    detail: { resumed?: boolean; wait?: number; silent?: number; error?: AhmError },
  ): void;
  /** For tests: the outside world. */
  env?: Partial<{
    fetch(target: URL, init: RequestInit): Promise<Response>;
    now(): number;
    setTimeout(run: () => void, ms: number): unknown;
    clearTimeout(timer: unknown): void;
    random(): number;
  }>;
}

/** A user and a password (HTTP Basic), or a token (Bearer). */
export type Credentials = { user: string; password: string } | { token: string };

/** Who the client is to the server. */
export interface User {
  /** `undefined`: the server asks nobody. */
  user: string | undefined;
  /** The second since 1970 at which the session ends unless it is renewed. */
  expires: number | undefined;
  /** What the server's script has for the application. */
  key: string | undefined;
}

export interface Stats {
  /** Bytes of all documents. */
  bytes: number;
  /** Messages delivered. */
  messages: number;
  /** Messages that came again (over two documents, or after a cut) and were not delivered again. */
  repeats: number;
  /** Messages left out because a channel asked for the newest only. */
  folded: number;
  /** Times that messages were lost, and how many of them are known. */
  gaps: number;
  missing: number;
  documents: number;
  sessions: number;
  resumes: number;
  refreshes: number;
}

export declare class AhmError extends Error {
  constructor(code: string, detail?: string, status?: number);
  /** A word of the protocol, or `network`, `closed`, `insecure`, `unknown`. */
  readonly code: string;
  /** The HTTP status; 0 where there is none. */
  readonly status: number;
}

export declare class Channel {
  private constructor();
  readonly topic: string;
  readonly resource: string;
  readonly subject: string;
  readonly n: number;
  readonly ep: string;
  readonly cid: number;
  readonly state: 'opening' | 'open' | 'closed';
  onmessage?: ChannelOptions['onmessage'];
  onopen?: ChannelOptions['onopen'];
  ongap?: ChannelOptions['ongap'];
  onclose?: ChannelOptions['onclose'];
  send(data: string | Uint8Array, options?: { id?: string }): Promise<'taken'>;
  close(): void;
}

export declare class Client {
  constructor(options?: ClientOptions);
  readonly stats: Readonly<Stats>;
  readonly state: State;
  /** When the last byte and the last heartbeat came, by `performance.now`; 0: never. */
  readonly heardAt: number;
  readonly beatAt: number;
  readonly serverMicros: number;
  readonly interval: number;
  /** How long a message may wait at the server for more, in milliseconds, as the server says. */
  readonly flush: number;
  readonly scs: string;
  readonly mid: string;
  readonly user: string | undefined;
  readonly expires: number | undefined;
  onstate?: ClientOptions['onstate'];
  onuser?: ClientOptions['onuser'];
  onexpiry?: ClientOptions['onexpiry'];
  renew(credentials?: ClientOptions['credentials']): Promise<User>;
  open(topic: string, options?: ChannelOptions): Channel;
  cut(): void;
  close(): void;
}

export declare class Seal {
  private constructor();
  static readonly ALGORITHM: string;
  static of(secret: string, mid: string): Promise<Seal>;
  prove(
    target: string,
    payload?: string | Uint8Array,
  ): Promise<{ target: string; q: number; init: { method: string; body?: Uint8Array } }>;
  isAnswer(q: number, line: number, json: string): Promise<boolean>;
  opener(q: number): (line: string) => Promise<string | null>;
}

export declare class Decoder {
  constructor(each: (frame: Frame) => void);
  push(bytes: Uint8Array): void;
}

export declare function parseLine(line: string): Frame | null;
export declare function unescape(text: string): string;
