// @ts-check
/**
 * The browser client of `ahm`: many channels over one never-ending HTML document, read by
 * streaming `fetch`. An ES module without dependencies or build step; it also runs in Node.
 *
 * ```js
 * import { Client } from '/ahm/client.js';
 * const client = new Client();
 * client.open('fx/EURUSD', { onmessage: ({ data, n }) => console.log(n, data) });
 * const board = client.open('board/lobby', { onmessage: ({ data }) => console.log(data) });
 * await board.send('hello');
 * ```
 *
 * A cut connection is resumed where it was, a document is replaced by a successor before the old
 * one is closed, and what two documents both carry is delivered once. What cannot be had any more
 * is reported to `ongap`; nothing is ever left out in silence.
 */

const LINE_MAX = 1 << 20;
const OPENS_IN_TARGET = 4000;
const LAST_IN_TARGET = 2000;
const PRIVATE_FIRST = 2 ** 30;
const COMMAND_TIMEOUT = 15_000;
const SENDS_AT_ONCE = 16;

const ENTITIES = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&#10;': '\n', '&#13;': '\r' };

/** Undoes the escaping of a payload. @param {string} text */
export const unescape = (text) =>
  text.includes('&') ? text.replace(/&(?:amp|lt|gt|#10|#13);/g, (e) => ENTITIES[e]) : text;

/** A query string. A plus sign means itself in AHM, so `URLSearchParams` will not do. */
function queryOf(parameters) {
  const pairs = Object.entries(parameters);
  return pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
}

/**
 * Reads one line of a document; `null` for the preamble, padding and empty lines.
 * @param {string} line without its LF
 * @returns {import('./ahm.js').Frame | null}
 */
export function parseLine(line) {
  if (line === '' || line.startsWith('<!')) return null;
  const end = line.indexOf('>');
  if (!line.startsWith('<p ') || end < 0) throw new Error('a line that is no frame');
  const attributes = Object.create(null);
  let kind = '';
  for (const word of line.slice(3, end).split(' ')) {
    const at = word.indexOf('=');
    const name = at < 0 ? word : word.slice(0, at);
    const value = at < 0 ? '' : word.slice(at + 1);
    attributes[name] = value.includes('%') ? decodeURIComponent(value) : value;
    kind ||= name;
  }
  return { kind, attributes, payload: line.slice(end + 1) };
}

/** Turns bytes, split anywhere, into frames. */
export class Decoder {
  #text = new TextDecoder('utf-8', { fatal: true });
  #rest = '';
  #each;

  /** @param {(frame: import('./ahm.js').Frame) => void} each */
  constructor(each) {
    this.#each = each;
  }

  /** @param {Uint8Array} bytes */
  push(bytes) {
    const text = this.#rest + this.#text.decode(bytes, { stream: true });
    let from = 0;
    for (let end; (end = text.indexOf('\n', from)) >= 0; from = end + 1) {
      const frame = parseLine(text.slice(from, end));
      if (frame) this.#each(frame);
    }
    this.#rest = text.slice(from);
    if (this.#rest.length > LINE_MAX) throw new Error('a line that is too long');
  }
}

const encode = (text) => new TextEncoder().encode(text);
const base64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
const base64url = (bytes) => base64(bytes)
  .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

function unbase64(text) {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}

/** `parts`, each text or bytes, as one. */
function joined(...parts) {
  const all = parts.map((part) => (typeof part === 'string' ? encode(part) : new Uint8Array(part)));
  const bytes = new Uint8Array(all.reduce((length, part) => length + part.length, 0));
  all.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return bytes;
}

/**
 * What seals a session: its keys, and the number of its last command. Browsers give their
 * cryptography to pages that came over TLS, or from the own machine, and to no other.
 */
export class Seal {
  static ALGORITHM = 'aes-256-gcm';
  #root;
  #mid;
  #keys = new Map();
  #q = 0;

  /** @param {string} secret as `login` hands it out @param {string} mid */
  static async of(secret, mid) {
    const seal = new Seal();
    seal.#mid = mid;
    const root = unbase64(secret);
    seal.#root = await crypto.subtle.importKey('raw', root, 'HKDF', false, ['deriveKey']);
    return seal;
  }

  #derive(purpose, algorithm, uses, rest = new Uint8Array()) {
    const info = joined(`ahm seal 1 ${Seal.ALGORITHM} ${purpose} ${this.#mid}`, rest);
    const from = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info };
    return crypto.subtle.deriveKey(from, this.#root, algorithm, false, uses);
  }

  /** A key that is made once. */
  #key(purpose) {
    const make = purpose === 'payload'
      ? () => this.#derive(purpose, { name: 'AES-GCM', length: 256 }, ['encrypt'])
      : () => this.#derive(purpose, { name: 'HMAC', hash: 'SHA-256', length: 256 }, ['sign']);
    if (!this.#keys.has(purpose)) this.#keys.set(purpose, make());
    return this.#keys.get(purpose);
  }

  #cipher(counter, d) {
    const iv = new DataView(new ArrayBuffer(12));
    iv.setBigUint64(4, BigInt(counter));
    const additionalData = new DataView(new ArrayBuffer(12));
    additionalData.setBigUint64(0, BigInt(this.#mid));
    additionalData.setUint32(8, d);
    return { name: 'AES-GCM', iv, additionalData };
  }

  async #code(purpose, ...parts) {
    return base64url(await crypto.subtle.sign('HMAC', await this.#key(purpose), joined(...parts)));
  }

  /**
   * Seals the payload of a command, and lets it prove itself.
   * @param {string} target @param {string | Uint8Array} [payload]
   */
  async prove(target, payload) {
    const q = ++this.#q;
    let body;
    if (payload !== undefined) {
      const cipher = this.#cipher(q, 0);
      const key = await this.#key('payload');
      body = new Uint8Array(await crypto.subtle.encrypt(cipher, key, joined(payload)));
    }
    const covered = `${target}&q=${q}`;
    const method = body ? 'POST' : 'GET';
    const hash = await crypto.subtle.digest('SHA-256', body ?? new Uint8Array());
    const code = await this.#code('command', `${method}\n${covered}\n`, hash);
    return { target: `${covered}&mac=${code}`, q, init: { method, ...(body && { body }) } };
  }

  /** Whether the server has signed it as the answer to command `q`, or to that line of it. */
  async isAnswer(q, line, json) {
    const found = /^(.*),"mac":"([\w-]{43})"\}$/s.exec(json);
    return found !== null && found[2] === await this.#code('answer', `${q}\n${line}\n${found[1]}}`);
  }

  /**
   * Opens the lines of the document that command `q` has asked for, one by one. The first, which
   * is not sealed, comes with the next one: before, nobody knows whose it is.
   * @returns {(line: string) => Promise<string | null>} `null` while there is nothing to take
   */
  opener(q) {
    let key = null;
    let d = 0;
    let next = 1;
    let identity = '';
    return async (line) => {
      if (line === '' || line.startsWith('<!')) return null;
      if (key === null) {
        const { kind, attributes } = parseLine(line) ?? {};
        if (kind !== 'i' || attributes.mid !== this.#mid) throw new AhmError('network', 'no seal');
        d = Number(attributes.d);
        const rest = joined(` ${d} ${q} `, await crypto.subtle.digest('SHA-256', encode(line)));
        key = await this.#derive('document', { name: 'AES-GCM', length: 256 }, ['decrypt'], rest);
        identity = `${line}\n`;
        return null;
      }
      const start = `<p q=${next}>`;
      if (!line.startsWith(start)) throw new AhmError('network', 'a line that is not the next');
      try {
        const sealed = unbase64(line.slice(start.length));
        const text = await crypto.subtle.decrypt(this.#cipher(next, d), key, sealed);
        next += 1;
        const known = identity;
        identity = '';
        return known + new TextDecoder('utf-8', { fatal: true }).decode(text);
      } catch {
        throw new AhmError('network', 'a line that the server has not sealed');
      }
    };
  }
}

/** The payload of a message: text, or bytes where the frame says base64. */
function payloadOf({ attributes, payload }) {
  if (!('b' in attributes)) return unescape(payload);
  return Uint8Array.from(atob(payload), (char) => char.charCodeAt(0));
}

/** One logical stream; made by `Client.open`. */
export class Channel {
  /** The number of the last message delivered, in epoch `ep`. */
  n = 0;
  ep = '';
  /** The server's number for the channel; 0 until it is open. */
  cid = 0;
  /** @internal which of the session's channels of that number it is */ life = 0;
  /** `opening`, `open` or `closed`. */
  state = 'opening';
  /** @internal */ pastEpochs = new Set();
  /** @internal */ chosen = 0;
  /** @internal a document or a batch has asked for it */ asked = false;
  /** @internal numbered and not yet settled: n -> entry */ sent = new Map();
  /** @internal */ unsent = [];
  /** @internal 0 until the server's next expected number is known */ sendNext = 0;
  #client;

  /** @param {string} topic @param {object} options @param {object} client */
  constructor(topic, options, client) {
    const slash = topic.indexOf('/');
    this.topic = topic;
    this.resource = slash < 0 ? topic : topic.slice(0, slash);
    this.subject = slash < 0 ? '' : topic.slice(slash + 1);
    this.options = options;
    this.#client = client;
    for (const name of ['onmessage', 'onopen', 'ongap', 'onclose']) this[name] = options[name];
    if (options.since) [this.ep, this.n] = [options.since.ep, options.since.n];
  }

  /** Every message must come: a jump in the numbers is a loss, not a choice. */
  get wantsAll() {
    return (this.options.mode ?? 'queue') === 'queue' && !this.options.rate;
  }

  /**
   * Sends a message to the resource, once and in order, whatever the network does.
   * @param {string | Uint8Array} data
   * @param {{ id?: string }} [options]
   * @returns {Promise<'taken'>} rejected with an `AhmError` if it was not, or may not have been
   */
  send(data, options = {}) {
    return this.#client.send(this, data, options);
  }

  /** Ends the channel. */
  close() {
    this.#client.close(this);
  }

  /** @internal */
  settle(n, outcome) {
    const entry = this.sent.get(n);
    if (!entry) return;
    this.sent.delete(n);
    if (outcome === 'taken' || outcome === 'dup') entry.resolve('taken');
    else entry.reject(new AhmError(outcome, `message ${n} to ${this.topic}`));
  }
}

/** What a command was refused with: `code` is a word of the protocol, or `network`. */
export class AhmError extends Error {
  /** @param {string} code @param {string} [detail] @param {number} [status] */
  constructor(code, detail = '', status = 0) {
    super(detail ? `${code}: ${detail}` : code);
    this.name = 'AhmError';
    this.code = code;
    this.status = status;
  }
}

/** A session with a communication server and the documents that carry it. */
export class Client {
  /** What happened so far. */
  stats = {
    bytes: 0, messages: 0, repeats: 0, folded: 0, gaps: 0, missing: 0,
    documents: 0, sessions: 0, resumes: 0, refreshes: 0,
  };
  /** `idle`, `connecting`, `open`, `silent`, `waiting` or `closed`. */
  state = 'idle';
  /** When the last byte came, by `performance.now`; 0: never. */
  heardAt = 0;
  /** When the last heartbeat came, likewise. */
  beatAt = 0;
  /** The server's clock at its last heartbeat, in microseconds; 0: none yet. */
  serverMicros = 0;
  /** The heartbeat interval in milliseconds. */
  interval = 15_000;
  /** How long a message may wait at the server for more, in milliseconds, as the server says. */
  flush = 0;
  /** The session's public part. */
  scs = '';
  mid = '0';
  /** Who the client is to the server, where it has logged in. */
  user = undefined;
  /** The second since 1970 at which the session ends unless it is renewed. */
  expires = undefined;

  #key = '';
  /** What seals the session; `null` where it is not sealed. */ #seal = null;
  #base;
  #options;
  #env;
  /** @type {Set<Channel>} */ #channels = new Set();
  /** @type {Map<number, Channel>} */ #byCid = new Map();
  /** cid -> the last of its channels that has ended or was left. */ #over = new Map();
  /** Live documents, the oldest first. */ #documents = new Set();
  #attempt = 0;
  /** The server asks to be left: the next document is the first of another session. */
  #leaving = false;
  /** Until then what is on the wire may be decided in the session that is left. */ #leaveBy = 0;
  /** Counts documents. */ #serial = 0;
  /** The newest number that this client chose for a channel. */ #chosen = 0;
  #wake = null;
  #refresh = null;
  #retry = null;
  /** The session has ended because what proved its user has. */ #expired = false;
  /** When it does, as the server has warned; 0: not soon. */ #endsAt = 0;
  #renewal = null;

  /** @param {import('./ahm.js').ClientOptions} [options] */
  constructor(options = {}) {
    this.#options = { warn: 2, drop: 4, ...options };
    this.#env = {
      fetch: (...args) => fetch(...args),
      now: () => performance.now(),
      setTimeout: (run, ms) => setTimeout(run, ms),
      clearTimeout: (timer) => clearTimeout(timer),
      random: Math.random,
      ...options.env,
    };
    this.#base = new URL(options.url ?? '/ahm/', globalThis.location?.href);
    if (options.heartbeat) this.interval = options.heartbeat;
    this.onstate = options.onstate;
    this.onuser = options.onuser;
    this.onexpiry = options.onexpiry;
    globalThis.addEventListener?.('online', () => this.#hurry());
  }

  /**
   * Opens a channel on `RESOURCE/SUBJECT`. Channels that are opened in one go share one request.
   * @param {string} topic
   * @param {import('./ahm.js').ChannelOptions} [options]
   */
  open(topic, options = {}) {
    if (this.state === 'closed') throw new AhmError('closed');
    const channel = new Channel(topic, options, {
      send: (...args) => this.#send(...args),
      close: (which) => this.#close(which),
    });
    // The server gives a topic's own number once; a second channel on it needs one of ours.
    if ([...this.#channels].some((other) => other.topic === topic)) channel.chosen = ++this.#chosen;
    this.#channels.add(channel);
    queueMicrotask(() => this.#start());
    return channel;
  }

  /**
   * Proves anew who the client is, so that its session goes on; with other credentials, if given,
   * which then count for later logins too.
   * @param {import('./ahm.js').ClientOptions['credentials']} [credentials]
   * @returns {Promise<import('./ahm.js').User>} rejected with an `AhmError`
   */
  async renew(credentials) {
    if (credentials !== undefined) this.#options.credentials = credentials;
    if (this.mid === '0') throw new AhmError('no-session');
    const { scs, mid } = this;
    const query = `renew?${queryOf({ scs, mid, ...this.#script() })}`;
    const headers = await this.#authorization();
    const answer = this.#seal
      ? await this.#sealedCommand(this.#seal, query, { headers, base: this.#loginBase() })
      : await this.#plainCommand(query, { headers, base: this.#loginBase() });
    return this.#tellUser(JSON.parse(answer));
  }

  /** Breaks all connections without a word, as a failing network would; for demonstrations. */
  cut() {
    for (const doc of this.#documents) doc.abort.abort();
  }

  /** Ends the session. */
  close() {
    if (this.state === 'closed') return;
    if (this.#isKnown()) this.#command('logout', {}, { keepalive: true }).catch(() => {});
    this.#shut(new AhmError('closed'));
  }

  /** Whether there is a session that commands can prove. */
  #isKnown() {
    return this.#key !== '' || this.#seal !== null;
  }

  // --- state and time

  #setState(state, detail = {}) {
    this.state = state;
    this.#call(this.onstate, state, detail);
  }

  /** A consumer's fault must not stop the stream. */
  #call(callback, ...args) {
    try {
      callback?.(...args);
    } catch (error) {
      console.error(error);
    }
  }

  #after(ms, run) {
    return this.#env.setTimeout(run, ms);
  }

  /** Full jitter above a floor: nobody returns at once, and no two together. */
  #backoff(attempt) {
    const { floor = 100, base = 250, cap = 15_000 } = this.#options.backoff ?? {};
    return floor + this.#env.random() * Math.min(cap, base * 2 ** attempt);
  }

  #start() {
    if (this.state === 'idle') this.#connect('mux.html');
    else if (this.#isOpen()) this.#openLate();
  }

  #isOpen() {
    return [...this.#documents].some((doc) => doc.begun);
  }

  /** The network is back: no reason to wait any longer. */
  #hurry() {
    if (this.#wake === null) return;
    this.#env.clearTimeout(this.#wake);
    this.#wake = null;
    this.#connect('mux.html');
  }

  #comeBack(wait) {
    if (this.#wake !== null || this.state === 'closed') return;
    this.#setState('waiting', { wait });
    this.#wake = this.#after(wait, () => {
      this.#wake = null;
      this.#connect('mux.html');
    });
  }

  #shut(error) {
    for (const doc of [...this.#documents]) this.#drop(doc);
    const timers = [this.#wake, this.#refresh, this.#retry, this.#renewal];
    for (const timer of timers) this.#env.clearTimeout(timer);
    this.#wake = this.#refresh = this.#retry = this.#renewal = null;
    for (const channel of [...this.#channels]) this.#ended(channel, error.code);
    this.#key = '';
    this.#seal = null;
    this.#setState('closed', { error });
  }

  // --- documents

  /**
   * Opens a document: the first one, one after a cut, or the successor of a living one;
   * `elsewhere`: in a new session.
   */
  #connect(name, elsewhere = false) {
    if (this.state === 'closed') return;
    const now = this.#env.now();
    const doc = {
      abort: new AbortController(), began: now, heard: now, begun: false, warned: false,
      serial: ++this.#serial, elsewhere, successor: elsewhere || name === 'refresh.html',
      resumes: this.mid !== '0',
      /** cid -> channel in the session of this document */ byCid: this.#byCid,
      /** cid -> epoch at this document's place */ epochs: new Map(),
      /** cid -> which of its channels this document carries */ lives: new Map(),
      /** cid -> frames behind a gap that another document may fill */ held: new Map(),
      /** channels that its request has asked for */ asked: new Set(),
      /** what seals it, and the key of the session that was made for it */ seal: null, key: '',
      /** the last reason given */ reason: '', wait: undefined, timers: new Set(), watch: null,
    };
    this.#documents.add(doc);
    if (!doc.successor) this.#setState('connecting');
    this.#watch(doc);
    this.#read(doc, name).catch((error) => this.#broke(doc, error));
  }

  // --- who the client is

  /** Whether a session begins with a login. */
  #logsIn() {
    const { seal, credentials, auth } = this.#options;
    return seal || credentials !== undefined || auth !== undefined;
  }

  #loginBase() {
    return new URL(this.#options.login ?? this.#base, globalThis.location?.href);
  }

  #script() {
    const { auth } = this.#options;
    return auth === undefined ? {} : { auth };
  }

  /** The field that proves who the client is: only for logins, and only where nobody sees it. */
  async #authorization() {
    const { credentials, inClear } = this.#options;
    if (credentials === undefined) return {};
    const { protocol, hostname } = this.#loginBase();
    const isHere = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
    if (protocol !== 'https:' && !isHere && !inClear) {
      throw new AhmError('insecure', 'everybody on the way would see the password or token');
    }
    let shown;
    try {
      shown = typeof credentials === 'function' ? await credentials() : credentials;
    } catch (error) {
      // Whoever has them to give may have them later.
      throw new AhmError('network', String(error), 503);
    }
    if (!shown) return {};
    const { token, user, password } = shown;
    if (token !== undefined) return { Authorization: `Bearer ${token}` };
    return { Authorization: `Basic ${base64(encode(`${user}:${password}`))}` };
  }

  /** Tells who the client is to the server. */
  #tellUser({ user, expires, key }) {
    const known = { user, expires, key };
    const isNew = expires === undefined || expires !== this.expires;
    this.user = user;
    this.expires = expires;
    if (isNew) this.#endsAt = 0;
    this.#call(this.onuser, known);
    return known;
  }

  /** The session ends in `within` ms, unless it is renewed. */
  #expires(within) {
    if (this.#endsAt !== 0) return; // another document has said so
    this.#endsAt = this.#env.now() + within;
    const renews = this.#logsIn();
    this.#call(this.onexpiry, { within, renews });
    // Not all at once, whose tokens were issued at once.
    if (renews) this.#renewIn((within / 8) * this.#env.random());
  }

  #renewIn(ms) {
    this.#env.clearTimeout(this.#renewal);
    const { mid } = this;
    this.#renewal = this.#after(ms, async () => {
      this.#renewal = null;
      let error;
      try {
        await this.renew();
      } catch (refused) {
        error = refused;
      }
      if (mid !== this.mid || this.#endsAt === 0 || this.state === 'closed') return;
      // Whoever has the new proof may only just be writing it.
      const left = this.#endsAt - this.#env.now();
      const wait = Math.max(left / 4, 1_000);
      if (error) this.#call(this.onexpiry, { within: Math.max(left, 0), renews: true, error });
      if (wait < left) this.#renewIn(wait);
    });
  }

  /** Logs in: the session that the server has made, and what seals it or its key. */
  async #login(doc) {
    const sealed = this.#options.seal;
    if (sealed && !globalThis.crypto?.subtle) {
      throw new AhmError('insecure', 'a browser seals only what came over TLS');
    }
    const query = queryOf({ ...(sealed && { seal: Seal.ALGORITHM }), ...this.#script() });
    const headers = await this.#authorization();
    const { signal } = doc.abort;
    const target = new URL(`login?${query}`, this.#loginBase());
    const response = await this.#env.fetch(target, { cache: 'no-store', signal, headers });
    if (!response.ok) throw await refusal(response);
    const answer = await response.json();
    const { scs, mid, k, seal, secret } = answer;
    if (sealed && (seal !== Seal.ALGORITHM || !secret)) {
      throw new AhmError('insecure', 'the server has made no sealed session');
    }
    if (sealed) doc.seal = await Seal.of(secret, mid);
    else doc.key = k;
    this.#tellUser(answer);
    return { scs, mid };
  }

  /**
   * Asks for the document of a session that begins with a login, or of a sealed one. Its channels
   * are opened by a batch afterwards, so that nobody on the way reads what is read.
   */
  async #provedRequest(doc, name) {
    let session = { scs: this.scs, mid: this.mid };
    const isNew = this.mid === '0' || doc.elsewhere;
    [doc.seal, doc.key] = [this.#seal, this.#key];
    if (isNew) session = await this.#login(doc);
    const query = queryOf({ ...session, ...this.#wishes() });
    const has = isNew ? undefined : this.#last();
    const long = has !== undefined && has.length > LAST_IN_TARGET;
    const last = has === undefined || long ? '' : `&last=${has}`;
    const asked = `${name}?${query}${last}`;
    if (!doc.seal) {
      const init = { cache: 'no-store', headers: { 'AHM-Key': doc.key } };
      if (long) Object.assign(init, { method: 'POST', body: has });
      return { target: new URL(asked, this.#base), init };
    }
    const proved = await doc.seal.prove(asked, long ? has : undefined);
    const target = new URL(proved.target, this.#base);
    return { target, q: proved.q, init: { cache: 'no-store', ...proved.init } };
  }

  async #read(doc, name) {
    const { signal } = doc.abort;
    let asked;
    try {
      asked = this.#logsIn() ? await this.#provedRequest(doc, name) : this.#request(doc, name);
    } catch (error) {
      if (error.code === 'insecure') return this.#shut(error);
      if (error instanceof AhmError) return this.#refused(doc, error);
      throw error;
    }
    const response = await this.#env.fetch(asked.target, { ...asked.init, signal });
    if (!response.ok) return this.#refused(doc, await refusal(response, doc.seal, asked.q));
    const decoder = new Decoder((frame) => {
      if (this.#documents.has(doc)) this.#frame(doc, frame);
    });
    const opener = doc.seal?.opener(asked.q);
    const text = new TextDecoder();
    let rest = '';
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new AhmError('network', 'the document ended');
      if (!this.#documents.has(doc)) return void reader.cancel().catch(() => {});
      this.stats.bytes += value.length;
      if (!opener) {
        this.#hear(doc);
        decoder.push(value);
        continue;
      }
      rest += text.decode(value, { stream: true });
      for (let end; (end = rest.indexOf('\n')) >= 0; rest = rest.slice(end + 1)) {
        const line = await opener(rest.slice(0, end));
        if (!this.#documents.has(doc)) return void reader.cancel().catch(() => {});
        if (line === null) continue;
        // Anybody on the way can send bytes; that the server lives, its lines alone tell.
        this.#hear(doc);
        decoder.push(encode(`${line}\n`));
      }
      if (rest.length > 2 * LINE_MAX) throw new Error('a line that is too long');
    }
  }

  /** Something has come of the document. */
  #hear(doc) {
    doc.heard = this.heardAt = this.#env.now();
    if (!doc.warned) return;
    doc.warned = false;
    this.#setState('open', { resumed: false });
  }

  /** What the options ask of a document. */
  #wishes() {
    const { heartbeat, flush } = this.#options;
    return { ...(heartbeat && { h: heartbeat }), ...(flush !== undefined && { flush }) };
  }

  /** What the client has, by channel. */
  #last() {
    const known = [...this.#channels].filter((channel) => channel.cid && channel.ep);
    return known.map(({ cid, ep, n }) => `${cid}:${ep}:${n}`).join(',');
  }

  #request(doc, name) {
    const query = Object.entries(this.#wishes()).map(([wish, value]) => `${wish}=${value}`);
    const init = { headers: {}, cache: 'no-store' };
    if (this.mid !== '0' && !doc.elsewhere) {
      query.unshift(`scs=${this.scs}`, `mid=${this.mid}`);
      init.headers['AHM-Key'] = this.#key;
      const last = this.#last();
      if (last.length > LAST_IN_TARGET) Object.assign(init, { method: 'POST', body: last });
      else query.push(`last=${last}`);
    } else {
      query.push('mid=0', 'scs=0');
      let room = OPENS_IN_TARGET;
      for (const channel of this.#channels) {
        if (channel.cid >= PRIVATE_FIRST) continue; // a conversation ends with its session
        const open = `open=${openRequest(channel)}`;
        if ((room -= open.length + 1) < 0) break;
        query.push(open);
        doc.asked.add(channel);
        if (doc.elsewhere) continue;
        channel.asked = true;
        channel.sendNext = 1;
      }
    }
    return { target: new URL(`${name}?${query.join('&')}`, this.#base), init };
  }

  /** Looks whether bytes came; a page that slept looks once more before it judges. */
  #watch(doc) {
    this.#env.clearTimeout(doc.watch);
    doc.timers.delete(doc.watch);
    const { warn, drop } = this.#options;
    const patience = doc.begun ? drop * this.interval : Math.max(5_000, this.interval);
    const step = Math.min(patience, this.interval) / 2;
    const asked = this.#env.now();
    doc.watch = this.#timer(doc, step, () => {
      const now = this.#env.now();
      const silent = now - doc.heard;
      const slept = now - asked > step + this.interval;
      if (silent >= patience && !slept) {
        return this.#broke(doc, new AhmError('network', 'silence'));
      }
      if (doc.begun && silent >= warn * this.interval && !doc.warned) {
        doc.warned = true;
        this.#setState('silent', { silent });
      }
      this.#watch(doc);
    });
  }

  /** A timer that ends with its document. */
  #timer(doc, ms, run) {
    const timer = this.#after(ms, () => {
      doc.timers.delete(timer);
      run();
    });
    doc.timers.add(timer);
    return timer;
  }

  #drop(doc) {
    this.#documents.delete(doc);
    for (const timer of doc.timers) this.#env.clearTimeout(timer);
    doc.abort.abort();
    // What it might have filled will not come from it any more.
    const [last, ...others] = this.#documents;
    if (last && others.length === 0) {
      for (const cid of [...last.held.keys()]) this.#release(last, cid);
    }
  }

  #broke(doc, error) {
    if (!this.#documents.has(doc)) return;
    this.#drop(doc);
    if (this.#env.now() - doc.began > 5_000) this.#attempt = 0;
    if (this.#documents.size > 0) {
      if (doc.successor && !doc.begun) this.#succeedIn(this.#backoff(this.#attempt++));
      else if (this.#leaving) this.#succeedIn(0);
    } else if (doc.reason === 'logout' && this.#expired) {
      this.#sessionLost();
    } else if (doc.reason === 'logout') {
      this.#shut(new AhmError('logout'));
    } else {
      const asked = doc.wait === undefined ? 0 : this.#env.random() * doc.wait;
      this.#comeBack(asked + this.#backoff(this.#attempt++));
    }
  }

  #refused(doc, error) {
    if (!this.#documents.has(doc)) return;
    if (error.code === 'no-session' || error.code === 'wrong-server') {
      this.#sessionLost();
    } else if (error.status >= 500 || error.status === 429 || error.status === 408) {
      this.#broke(doc, error);
    } else {
      this.#shut(error);
    }
  }

  /** The session is gone: shared channels go on in a new one from where they are. */
  #sessionLost() {
    for (const doc of [...this.#documents]) this.#drop(doc);
    this.mid = '0';
    this.scs = this.#key = '';
    this.#seal = null;
    this.#leaveSession();
    this.#comeBack(this.#backoff(this.#attempt++));
  }

  /** Numbers of channels and sends, and private conversations, end with the session. */
  #leaveSession() {
    this.#leaving = false;
    this.#expired = false;
    this.#byCid = new Map();
    this.#over = new Map();
    for (const channel of [...this.#channels]) {
      for (const n of [...channel.sent.keys()]) channel.settle(n, 'unknown');
      if (channel.cid >= PRIVATE_FIRST) this.#ended(channel, 'gone');
      Object.assign(channel, { cid: 0, life: 0, asked: false, sendNext: 0 });
    }
  }

  /** Opens the successor of the newest document after `ms`. */
  #succeedIn(ms) {
    this.#env.clearTimeout(this.#refresh);
    this.#refresh = this.#after(ms, () => {
      this.#refresh = null;
      const pending = [...this.#documents].some((doc) => !doc.begun);
      if (this.#documents.size === 0 || pending) return;
      if (!this.#leaving) return this.#connect('refresh.html');
      const left = this.#leaveBy - this.#env.now();
      const isOut = [...this.#channels].some((channel) => channel.sent.size > 0);
      if (isOut && left > 0) this.#succeedIn(Math.min(left, 100));
      else this.#connect('mux.html', true);
    });
  }

  /**
   * Closes the predecessors of a document that has taken over; one of another session only when
   * this one carries every channel, or has had the time.
   */
  #retire(doc) {
    if (!this.#documents.has(doc) || doc.held.size > 0) return;
    const carried = new Set(doc.byCid.values());
    const all = [...this.#channels].every((channel) => carried.has(channel));
    const late = this.#env.now() - doc.began >= this.interval;
    for (const other of [...this.#documents]) {
      const before = other.serial < doc.serial && other.begun;
      if (before && (other.byCid === doc.byCid || all || late)) this.#drop(other);
    }
  }

  // --- frames

  #frame(doc, frame) {
    const { kind, attributes } = frame;
    const cid = Number(attributes.c);
    const isCurrent = doc.byCid === this.#byCid;
    if (kind === 'c' || kind === 'g' || kind === 'o' || kind === 'x') {
      if (doc.held.has(cid)) doc.held.get(cid).push(frame);
      else this.#channelFrame(doc, cid, frame);
      if (kind === 'c') this.#retire(doc);
    } else if (kind === 'i') {
      this.#begun(doc, attributes);
    } else if (kind === 'h') {
      this.interval = Number(attributes.h) || this.interval;
      this.serverMicros = Number(attributes.t);
      this.beatAt = this.#env.now();
      this.#retire(doc);
    } else if (kind === 'a') {
      if (isCurrent) doc.byCid.get(cid)?.settle(Number(attributes.n), attributes.e);
    } else if (kind === 'm' && attributes.e === 'expiry') {
      // A successor would not help.
      if (isCurrent) this.#expires(Number(attributes.w ?? 0));
    } else if (kind === 'm' && isCurrent) {
      // Three quarters of the time leave enough for the successor to begin.
      const within = 0.75 * Number(attributes.w ?? 0);
      if (attributes.e === 'drain' && !this.#leaving) {
        this.#leaving = true;
        this.#leaveBy = this.#env.now() + within;
      }
      this.#succeedIn(this.#env.random() * within);
    } else if (kind === 'z') {
      doc.reason = attributes.e;
      if (attributes.w !== undefined) doc.wait = Number(attributes.w);
    }
  }

  #begun(doc, { scs, mid, k, h, r, f, hc }) {
    const isNew = doc.elsewhere || this.mid !== mid;
    if (doc.elsewhere) {
      // The old documents go on until this one carries everything; sends go to the new session.
      this.#leaveSession();
      for (const channel of doc.asked) Object.assign(channel, { asked: true, sendNext: 1 });
    }
    doc.byCid = this.#byCid;
    Object.assign(this, { scs, mid });
    if (k) this.#key = k;
    if (isNew) [this.#seal, this.#key] = [doc.seal, doc.key || this.#key];
    if (isNew) this.#endsAt = 0;
    this.interval = Number(h) || this.interval;
    this.flush = Number(f ?? 0);
    doc.begun = true;
    this.#watch(doc);
    if (hc !== undefined) this.#beat(doc);
    this.stats.documents += 1;
    if (isNew) this.stats.sessions += 1;
    else if (doc.successor) this.stats.refreshes += 1;
    else this.stats.resumes += 1;
    // Not all clients of a server at once.
    if (Number(r) > 0) this.#succeedIn(Number(r) * (0.9 + 0.1 * this.#env.random()));
    this.#timer(doc, 1_000, () => this.#retire(doc));
    if (!doc.successor) this.#setState('open', { resumed: doc.resumes && !isNew });
    this.#openLate();
    for (const channel of this.#channels) this.#flush(channel);
  }

  /** The server demands to hear of its client in every interval. */
  #beat(doc) {
    this.#timer(doc, this.interval * 0.75, () => {
      if (doc.byCid === this.#byCid) this.#command('ping', {}).catch(() => {});
      this.#beat(doc);
    });
  }

  #channelFrame(doc, cid, frame) {
    const { kind, attributes } = frame;
    const isCurrent = doc.byCid === this.#byCid;
    if (kind === 'o' || (kind === 'x' && attributes.u === undefined)) {
      const life = Number(attributes.l ?? doc.lives.get(cid) ?? 0);
      if (kind === 'o') doc.lives.set(cid, life);
      const isPast = isCurrent && this.#isOver(cid, life);
      if (isPast || kind === 'x') doc.epochs.delete(cid);
      // A document that is behind speaks of a channel whose successor has the same number.
      if (isPast) return;
      if (isCurrent) this.#setOver(cid, kind === 'x' ? life : life - 1);
    }
    const channel = doc.byCid.get(cid) ?? (isCurrent && this.#unnumbered(cid, attributes.u));
    if (!channel || (kind === 'x' && !isCurrent)) return;
    if ((kind === 'c' || kind === 'g') && !doc.epochs.has(cid)) return;
    if (kind === 'c') this.#message(doc, channel, frame);
    else if (kind === 'o') this.#opened(doc, channel, cid, attributes);
    else if (kind === 'g') this.#gap(doc, channel, frame);
    else if (!channel.cid && attributes.e === 'gone') this.#askAgain([channel]);
    else if (attributes.e === 'expired') this.#expired = true; // it goes on in the next session
    else this.#ended(channel, attributes.e);
  }

  #isOver(cid, life) {
    return life <= (this.#over.get(cid) ?? -1);
  }

  #setOver(cid, life) {
    if (life >= 0 && !this.#isOver(cid, life)) this.#over.set(cid, life);
  }

  /** The channel without a number that the first frame about it is meant for. */
  #unnumbered(cid, topic) {
    const free = [...this.#channels].filter((channel) => !channel.cid);
    const isMeant = ({ chosen, resource, subject }) =>
      chosen ? chosen === cid : `${resource}/${subject}` === topic;
    return free.find(isMeant);
  }

  #opened(doc, channel, cid, { ep, n, head }) {
    const place = { ep, n: Number(n), head: Number(head) };
    // Of an epoch in which nothing was said, before its publisher was there, nothing is missing.
    const isBlank = doc.epochs.get(cid) === channel.ep && channel.n === 0 && place.n === 0;
    doc.byCid.set(cid, channel);
    doc.epochs.set(cid, ep);
    if (doc.byCid === this.#byCid) Object.assign(channel, { cid, life: doc.lives.get(cid) });
    const isFirst = channel.state === 'opening';
    channel.state = 'open';
    if (channel.ep === '') {
      Object.assign(channel, { ep, n: place.n });
    } else if (channel.ep !== ep && !channel.pastEpochs.has(ep)) {
      // The numbering began anew: how much lies between the two lives nobody knows.
      channel.pastEpochs.add(channel.ep);
      if (!isBlank) this.#missed(channel, undefined);
      Object.assign(channel, { ep, n: place.n });
    }
    this.#call(channel.onopen, { ...place, first: isFirst, channel });
    this.#flush(channel);
  }

  #message(doc, channel, frame) {
    const n = Number(frame.attributes.n);
    if (doc.epochs.get(Number(frame.attributes.c)) !== channel.ep || n <= channel.n) {
      this.stats.repeats += 1;
      return;
    }
    const folded = n - channel.n - 1;
    if (folded > 0 && channel.wantsAll) this.#missed(channel, folded);
    else this.stats.folded += folded;
    channel.n = n;
    this.stats.messages += 1;
    this.#call(channel.onmessage, {
      data: payloadOf(frame), n, ep: channel.ep, folded,
      snapshot: 's' in frame.attributes, topic: channel.topic, channel,
    });
    if (this.#documents.size > 1) this.#fill(channel);
  }

  #gap(doc, channel, frame, isFinal = false) {
    const { c, ep, n, m } = frame.attributes;
    const cid = Number(c);
    const after = Number(n);
    const isKnown = ep === channel.ep ? after <= channel.n : channel.pastEpochs.has(ep);
    const mayFill = [...this.#documents].some((other) => other !== doc && other.begun);
    if (!isKnown && !isFinal && mayFill && ep === channel.ep) {
      // The other document may be about to bring what is missing here.
      doc.held.set(cid, [frame]);
      this.#timer(doc, this.interval, () => this.#release(doc, cid));
      return;
    }
    doc.epochs.set(cid, ep);
    if (isKnown) return;
    if (ep === channel.ep) this.#missed(channel, after - channel.n);
    else {
      channel.pastEpochs.add(channel.ep);
      this.#missed(channel, m === undefined ? undefined : Number(m));
    }
    Object.assign(channel, { ep, n: after });
  }

  #missed(channel, missing) {
    this.stats.gaps += 1;
    this.stats.missing += missing ?? 0;
    this.#call(channel.ongap, { after: { ep: channel.ep, n: channel.n }, missing, channel });
  }

  /** Lets go what waited behind a gap that has been filled meanwhile. */
  #fill(channel) {
    for (const doc of this.#documents) {
      for (const [cid, [gap]] of [...doc.held]) {
        const isFilled = doc.byCid.get(cid) === channel && Number(gap.attributes.n) <= channel.n;
        if (isFilled) this.#release(doc, cid);
      }
    }
  }

  #release(doc, cid) {
    const frames = doc.held.get(cid);
    if (!frames) return;
    const channel = doc.byCid.get(cid);
    doc.held.delete(cid);
    if (!channel) return;
    for (const frame of frames) {
      if (frame.kind === 'g') this.#gap(doc, channel, frame, true);
      else this.#channelFrame(doc, cid, frame);
    }
  }

  #ended(channel, reason) {
    if (!this.#channels.delete(channel)) return;
    if (this.#byCid.get(channel.cid) === channel) {
      this.#byCid.delete(channel.cid);
      for (const doc of this.#documents) {
        if (doc.byCid !== this.#byCid) continue;
        doc.epochs.delete(channel.cid);
        doc.held.delete(channel.cid);
      }
    }
    channel.state = 'closed';
    for (const n of [...channel.sent.keys()]) channel.settle(n, 'unknown');
    for (const { reject } of channel.unsent.splice(0)) reject(new AhmError('no-channel', reason));
    this.#call(channel.onclose, { reason, channel });
  }

  // --- commands

  /** One command; the answer, or an `AhmError`. */
  async #command(name, parameters, init = {}) {
    const query = queryOf({ scs: this.scs, mid: this.mid, ...parameters });
    const command = `${name}?${query}`;
    if (this.#seal) return this.#sealedCommand(this.#seal, command, init);
    return this.#plainCommand(command, init);
  }

  async #plainCommand(command, { base = this.#base, ...init } = {}) {
    const headers = { 'AHM-Key': this.#key, ...init.headers };
    const signal = AbortSignal.timeout(COMMAND_TIMEOUT);
    let response;
    try {
      const target = new URL(command, base);
      response = await this.#env.fetch(target, { cache: 'no-store', signal, ...init, headers });
      if (response.ok) return await response.text();
    } catch (error) {
      throw new AhmError('network', String(error));
    }
    throw await refusal(response);
  }

  /** The same in a sealed session; what its server has not signed is no answer. */
  async #sealedCommand(seal, command, { body: payload, keepalive, headers, base = this.#base }) {
    const signal = AbortSignal.timeout(COMMAND_TIMEOUT);
    const { target, q, init } = await seal.prove(command, payload);
    let response;
    let answer;
    try {
      const all = { cache: 'no-store', signal, keepalive, headers, ...init };
      response = await this.#env.fetch(new URL(target, base), all);
      if (response.ok) answer = await response.text();
    } catch (error) {
      throw new AhmError('network', String(error));
    }
    if (answer === undefined) throw await refusal(response, seal, q);
    const isBatch = command.startsWith('batch?');
    const lines = isBatch ? answer.trim().split('\n') : [answer];
    for (const [at, line] of lines.entries()) {
      if (await seal.isAnswer(q, isBatch ? at + 1 : 0, line)) continue;
      throw new AhmError('network', 'an answer that the server has not signed');
    }
    return answer;
  }

  /** Opens, in one request, what no document has been asked for. */
  async #openLate() {
    const waiting = [...this.#channels].filter((channel) => !channel.cid && !channel.asked);
    if (waiting.length === 0) return;
    for (const channel of waiting) channel.asked = true;
    const { mid } = this;
    const lines = waiting.map((channel) => `open?${openCommand(channel)}`);
    try {
      const init = { method: 'POST', body: lines.join('\n') + '\n' };
      const answers = (await this.#command('batch', {}, init)).trim().split('\n');
      waiting.forEach((channel, index) => this.#lateAnswer(channel, answers[index], mid));
    } catch (error) {
      if (error.code === 'no-session' && mid === this.mid) return this.#sessionLost();
      this.#askAgain(waiting);
    }
  }

  /** What could not be opened now is asked for once more a little later. */
  #askAgain(channels) {
    for (const channel of channels) channel.asked = false;
    this.#retry ??= this.#after(this.#backoff(3), () => {
      this.#retry = null;
      if (this.#isOpen()) this.#openLate();
    });
  }

  #lateAnswer(channel, line, mid) {
    if (mid !== this.mid || channel.state === 'closed') return;
    const answer = JSON.parse(line ?? '{}');
    if (answer.error === 'no-instance' || answer.error === 'busy') return this.#askAgain([channel]);
    if (!answer.ok) return this.#ended(channel, answer.error ?? 'denied');
    const [cid, life] = [Number(answer.cid), Number(answer.l ?? 0)];
    if (!channel.cid) {
      if (this.#isOver(cid, life)) {
        // It was found before the word had come that it was left.
        this.#command('close', { cid, l: life }).catch(() => {});
        return this.#askAgain([channel]);
      }
      Object.assign(channel, { cid, life });
    }
    this.#byCid.set(channel.cid, channel);
    channel.sendNext ||= Number(answer.sn ?? 1);
    this.#flush(channel);
  }

  #close(channel) {
    const { cid, life } = channel;
    if (cid) {
      this.#setOver(cid, life);
      this.#command('close', { cid, l: life }).catch(() => {});
    }
    this.#ended(channel, 'closed');
  }

  #send(channel, data, { id }) {
    if (channel.state === 'closed') return Promise.reject(new AhmError('no-channel', 'closed'));
    return new Promise((resolve, reject) => {
      channel.unsent.push({ data, id, resolve, reject });
      this.#flush(channel);
    });
  }

  /** Numbers and sends what waits, a bounded number at once. */
  #flush(channel) {
    while (channel.unsent.length > 0 && channel.cid && channel.sendNext && this.#isKnown()
      && !this.#leaving && channel.sent.size < SENDS_AT_ONCE) {
      const entry = channel.unsent.shift();
      const n = channel.sendNext++;
      channel.sent.set(n, entry);
      this.#deliver(channel, n, entry);
    }
  }

  /** Sends one message again and again until its fate is known: its number makes that harmless. */
  async #deliver(channel, n, entry) {
    const { mid } = this;
    const parameters = { cid: channel.cid, n, ...(entry.id && { id: entry.id }) };
    const init = { method: 'POST', body: entry.data };
    for (let attempt = 0; channel.sent.get(n) === entry && mid === this.mid; attempt++) {
      try {
        const answer = JSON.parse(await this.#command('send', parameters, init));
        if (answer.outcome !== 'held') channel.settle(n, answer.outcome ?? 'taken');
      } catch (error) {
        const passing = ['network', 'out-of-window', 'busy', 'draining', 'too-many'];
        if (error.code === 'no-session' && mid === this.mid) return this.#sessionLost();
        if (!passing.includes(error.code)) channel.settle(n, error.code ?? 'unknown');
      }
      if (channel.sent.get(n) !== entry) break;
      await new Promise((resolve) => this.#after(this.#backoff(Math.min(attempt, 4)), resolve));
    }
    this.#flush(channel);
  }
}

/**
 * The error that a refused request was answered with. In a sealed session it must be signed, but
 * for the word that there is no session, which nobody could sign.
 */
async function refusal(response, seal = null, q = 0) {
  const text = await response.text().catch(() => '');
  let answer = {};
  try {
    answer = JSON.parse(text) ?? {};
  } catch {
    // Whoever answered is no server of ours.
  }
  const unsigned = seal && !(await seal.isAnswer(q, 0, text));
  if (unsigned && answer.error !== 'no-session' && answer.error !== 'wrong-server') {
    return new AhmError('network', 'a refusal that the server has not signed', 503);
  }
  return new AhmError(answer.error ?? `http-${response.status}`, answer.detail, response.status);
}

/** What a channel is opened with, apart from its name. */
function optionsOf({ chosen, ep, n, options: { mode, rate, strict, parameters = {} } }) {
  const told = Object.entries(parameters).map(([name, value]) => [`x-${name}`, value]);
  return {
    ...(chosen && { cid: chosen }), ...(ep && { since: `${ep}:${n}` }), ...(mode && { mode }),
    ...(rate && { rate }), ...(strict && { strict: 1 }), ...Object.fromEntries(told),
  };
}

/** The value of `open=`. */
function openRequest(channel) {
  const topic = `${encodeURIComponent(channel.resource)}/${encodeURIComponent(channel.subject)}`;
  const options = Object.entries(optionsOf(channel));
  const text = (name, value) => (name[1] === '-' ? encodeURIComponent(value) : value);
  return [topic, ...options.map(([name, value]) => `${name}=${text(name, value)}`)].join(';');
}

/** The parameters of the command `open`. */
function openCommand(channel) {
  const { resource, subject } = channel;
  return queryOf({ resource, subject, ...optionsOf(channel) });
}
