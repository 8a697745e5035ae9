// The browser client against a scripted server: no network, no real time.
// Run with `node --test tests/real/client.test.mjs`.

import assert from 'node:assert/strict';
import test from 'node:test';

import { AhmError, Client, Decoder, parseLine, unescape } from '../../src/web/ahm.js';

const encoder = new TextEncoder();
const PREAMBLE = '<!doctype html><meta charset=utf-8><title>mux</title><body>\n';
const KEY = 'AAAAAAAAAAAAAAAAAAAAAA';

/** Lets everything that is ready run. */
async function settle() {
  for (let turn = 0; turn < 6; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** One request of the client, answered by the test. */
class Exchange {
  constructor(url, init) {
    this.url = url;
    this.init = init;
    this.name = url.pathname.split('/').pop();
    this.promise = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    init.signal?.addEventListener('abort', () => {
      this.aborted = true;
      this.fail();
    });
  }

  /** `since=e:1` stands in the target as it is: values are compared undecoded. */
  get query() {
    return this.url.search.slice(1).split('&');
  }

  value(name) {
    const pair = this.query.find((part) => part.startsWith(`${name}=`));
    return pair && decodeURIComponent(pair.slice(name.length + 1));
  }

  begin() {
    const body = new ReadableStream({ start: (controller) => (this.body = controller) });
    this.resolve(new Response(body, { status: 200 }));
    return this.write(PREAMBLE);
  }

  async write(text) {
    this.body.enqueue(typeof text === 'string' ? encoder.encode(text) : text);
    await settle();
  }

  async end() {
    this.body.close();
    await settle();
  }

  async json(answer, status = 200) {
    this.resolve(new Response(JSON.stringify(answer), { status }));
    await settle();
  }

  async text(text) {
    this.resolve(new Response(text));
    await settle();
  }

  async refuse(error, status) {
    await this.json({ ok: false, error, detail: '' }, status);
  }

  /** The connection breaks. */
  fail() {
    this.reject(new TypeError('network'));
    try {
      this.body?.error(new TypeError('network'));
    } catch {
      // It had ended already.
    }
    return settle();
  }
}

/** A clock that the test moves, and the requests that the client made. */
class World {
  exchanges = [];
  time = 0;
  timers = new Map();
  chance = 0.5;
  states = [];

  constructor(options = {}) {
    let next = 1;
    const env = {
      now: () => this.time,
      random: () => this.chance,
      setTimeout: (run, ms) => {
        this.timers.set(next, { at: this.time + ms, run });
        return next++;
      },
      clearTimeout: (timer) => this.timers.delete(timer),
      fetch: (url, init) => {
        const exchange = new Exchange(url, init);
        this.exchanges.push(exchange);
        return exchange.promise;
      },
    };
    const onstate = (state, detail) => this.states.push({ state, ...detail });
    this.client = new Client({ url: 'http://ahm.test/ahm/', env, onstate, ...options });
  }

  open(topic, options = {}) {
    const seen = { messages: [], gaps: [], opened: [], closed: [] };
    seen.channel = this.client.open(topic, {
      onmessage: (message) => seen.messages.push(message),
      ongap: (gap) => seen.gaps.push(gap.missing),
      onopen: (opened) => seen.opened.push(opened),
      onclose: ({ reason }) => seen.closed.push(reason),
      ...options,
    });
    return seen;
  }

  get last() {
    return this.exchanges.at(-1);
  }

  named(name) {
    return this.exchanges.filter((exchange) => exchange.name === name);
  }

  /** Moves the clock, running what falls due on the way. */
  async advance(ms) {
    const end = this.time + ms;
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= end);
      if (due.length === 0) break;
      const [id, { at, run }] = due.reduce((a, b) => (b[1].at < a[1].at ? b : a));
      this.timers.delete(id);
      this.time = Math.max(this.time, at);
      run();
      await settle();
    }
    this.time = end;
  }

  /** A session with its first document. */
  async begin(...frames) {
    await settle();
    const exchange = this.last;
    await exchange.begin();
    await exchange.write(identity(1, true) + frames.join(''));
    return exchange;
  }
}

const identity = (d, isNew = false, rest = 'h=1000 r=100000') =>
  `<p i scs=s1 mid=77 d=${d}${isNew ? ` k=${KEY}` : ''} ${rest} v=1>\n`;
const opened = (n, { ep = 'e1', head = n, c = 1048577, u = 'fx/EURUSD', l } = {}) =>
  `<p o c=${c}${l ? ` l=${l}` : ''} u=${u} ep=${ep} n=${n} head=${head}>\n`;
const message = (n, text = `m${n}`, c = 1048577) => `<p c=${c} n=${n}>${text}\n`;
const numbers = (seen) => seen.messages.map(({ n }) => n);

// --- frames

const TRANSCRIPT = [
  PREAMBLE.trimEnd(),
  '<!-- padding -->',
  identity(1, true).trimEnd(),
  '<p o c=1048577 u=fx/E%20%25%C3%A9 ep=9f3a71 n=1041 head=1041>',
  '<p c=1048577 n=1042>1.09214 1.09217',
  '<p c=1048577 n=1043 s>&lt;a &amp; b&gt; é 漢 😀&#10;&#13;&amp;lt;',
  '<p c=1048577 n=1044 b s>AAEC/w==',
  '<p c=1048577 n=1045>',
  '',
  '<p g c=1048577 ep=9f3a71 n=1050 m=5>',
  '<p x c=1048577 e=closed>',
  '<p new kind=of frame=1>with a payload',
  '<p h=15000 t=1764000000123456>',
  '<p z e=shutdown w=3000>',
].join('\n') + '\n';

function decoded(pieces) {
  const frames = [];
  const decoder = new Decoder((frame) => frames.push(frame));
  for (const piece of pieces) decoder.push(piece);
  return frames;
}

test('frames are the same however the bytes are split', () => {
  const bytes = encoder.encode(TRANSCRIPT);
  const whole = decoded([bytes]);
  assert.equal(whole.length, 11);
  assert.deepEqual(whole.map(({ kind }) => kind).join(''), 'ioccccgxnewhz');
  assert.equal(whole[1].attributes.u, 'fx/E %é');
  assert.equal(unescape(whole[3].payload), '<a & b> é 漢 😀\n\r&lt;');
  for (let at = 0; at <= bytes.length; at++) {
    assert.deepEqual(decoded([bytes.subarray(0, at), bytes.subarray(at)]), whole);
  }
  assert.deepEqual(decoded([...bytes].map((byte) => Uint8Array.of(byte))), whole);
});

test('what is no frame is a fault', () => {
  for (const line of ['hello', '<p', '<pc=1>', '<p c=1 n=2', '<div>', ' <p c=1 n=2>']) {
    assert.throws(() => parseLine(line), line);
  }
  assert.throws(() => decoded([Uint8Array.of(0x3c, 0x70, 0x20, 0xff, 0x3e, 0x0a)]));
  assert.throws(() => decoded([encoder.encode('<p c=1 n=1>' + 'x'.repeat(2 ** 20))]));
  assert.equal(parseLine(''), null);
  assert.equal(parseLine('<!-- -->'), null);
});

test('a whole session is the same however the bytes are split', async () => {
  const messages = [8, 9, 10].map((n) => message(n)).join('');
  const script = identity(1, true) + opened(7, { head: 9 }) + messages;
  const bytes = encoder.encode(script);
  for (let at = 1; at < bytes.length; at += 7) {
    const world = new World();
    const seen = world.open('fx/EURUSD');
    await settle();
    await world.last.begin();
    await world.last.write(bytes.subarray(0, at));
    await world.last.write(bytes.subarray(at));
    assert.deepEqual(numbers(seen), [8, 9, 10]);
  }
});

// --- the stream

test('one request opens everything that was asked for in one go', async () => {
  const world = new World();
  world.open('fx/EURUSD');
  world.open('a.b/x;y/ü+ä', { mode: 'latest', rate: 5, since: { ep: 'e0', n: 4 } });
  world.open('fx/EURUSD', { parameters: { desk: '7;&x' } });
  await settle();
  assert.equal(world.exchanges.length, 1);
  assert.deepEqual(world.last.query, [
    'mid=0', 'scs=0', 'open=fx/EURUSD',
    'open=a.b/x%3By%2F%C3%BC%2B%C3%A4;since=e0:4;mode=latest;rate=5',
    'open=fx/EURUSD;cid=1;x-desk=7%3B%26x',
  ]);
});

test('messages are delivered with number, epoch and kind of payload', async () => {
  const world = new World();
  const seen = world.open('fx/EURUSD');
  const document = await world.begin(opened(7), message(8, 'a&amp;b'));
  await document.write('<p c=1048577 n=9 b s>AAEC/w==\n');
  const [text, bytes] = seen.messages;
  assert.deepEqual([text.data, text.n, text.ep, text.snapshot], ['a&b', 8, 'e1', false]);
  assert.deepEqual([[...bytes.data], bytes.snapshot], [[0, 1, 2, 255], true]);
  assert.equal(seen.opened.length, 1);
  assert.deepEqual(world.states.map(({ state }) => state), ['connecting', 'open']);
});

test('after a cut the same session goes on where it was', async () => {
  const world = new World();
  const seen = world.open('fx/EURUSD');
  const first = await world.begin(opened(7), message(8));
  await first.write('<p c=1048577 n=9>half a li');
  await first.fail();
  assert.deepEqual(world.states.at(-1), { state: 'waiting', wait: 225 });
  await world.advance(225);
  const second = world.last;
  assert.equal(second.name, 'mux.html');
  assert.deepEqual(second.query, ['scs=s1', 'mid=77', 'last=1048577:e1:8']);
  assert.equal(second.init.headers['AHM-Key'], KEY);
  await second.begin();
  await second.write(identity(2) + opened(8, { head: 10 }) + message(8) + message(9) + message(10));
  assert.deepEqual(numbers(seen), [8, 9, 10]);
  assert.deepEqual(seen.gaps, []);
  assert.deepEqual(world.states.at(-1), { state: 'open', resumed: true });
  assert.deepEqual([world.client.stats.repeats, world.client.stats.resumes], [1, 1]);
});

test('a long list of positions goes in the body', async () => {
  const world = new World();
  const topics = Array.from({ length: 200 }, (_, index) => `fx/T${index}`);
  for (const topic of topics) world.open(topic);
  const numbered = topics.map((u, index) => opened(1, { u, c: 2000000 + index }));
  const first = await world.begin(...numbered);
  await first.end();
  await world.advance(1_000);
  assert.equal(world.last.init.method, 'POST');
  assert.equal(world.last.init.body.split(',').length, 200);
  assert.ok(!world.last.url.search.includes('last='));
});

test('where the session is gone a new one goes on from the same places', async () => {
  for (const [error, status] of [['no-session', 404], ['wrong-server', 421]]) {
    const world = new World();
    const seen = world.open('fx/EURUSD');
    const echo = world.open('echo/');
    const echoed = { c: 2 ** 30, u: 'echo/', ep: 'p' };
    const first = await world.begin(opened(7), opened(0, echoed), message(8));
    await first.fail();
    await world.advance(1_000);
    await world.last.refuse(error, status);
    assert.deepEqual(echo.closed, ['gone'], 'a private conversation ends with its session');
    await world.advance(2_000);
    assert.deepEqual(world.last.query, ['mid=0', 'scs=0', 'open=fx/EURUSD;since=e1:8']);
    assert.equal(world.last.init.headers['AHM-Key'], undefined);
    await world.last.begin();
    const c = 1048999;
    const again = identity(1, true).replace('77', '99') + opened(8, { c }) + message(9, 'x', c);
    await world.last.write(again);
    assert.deepEqual([numbers(seen), seen.gaps], [[8, 9], []]);
    assert.equal(world.client.stats.sessions, 2);
  }
});

test('a new life of the numbering is told as a gap of unknown size', async () => {
  const world = new World();
  const seen = world.open('fx/EURUSD');
  const first = await world.begin(opened(7), message(8));
  await first.write(opened(0, { ep: 'e2' }) + message(1) + message(2));
  await first.write('<p g c=1048577 ep=e2 n=5 m=3>\n' + message(6));
  assert.deepEqual(numbers(seen), [8, 1, 2, 6]);
  assert.deepEqual(seen.gaps, [undefined, 3]);
});

test('a channel that was open before its publisher begins without a gap', async () => {
  const world = new World();
  const seen = world.open('fx/EURUSD');
  await world.begin(opened(0), opened(0, { ep: 'e2' }), message(1));
  assert.deepEqual([numbers(seen), seen.gaps], [[1], []]);
});

test('a jump is a gap where every message is wanted, else it is folding', async () => {
  for (const [options, gaps, folded] of [
    [{}, [3], 0], [{ mode: 'latest' }, [], 3], [{ rate: 2 }, [], 3],
  ]) {
    const world = new World();
    const seen = world.open('fx/EURUSD', options);
    await world.begin(opened(7), message(8), message(12));
    assert.deepEqual([numbers(seen), seen.gaps], [[8, 12], gaps]);
    assert.deepEqual([seen.messages[1].folded, world.client.stats.folded], [3, folded]);
  }
});

// --- refresh

test('a successor is begun before the old document is closed', async () => {
  const world = new World();
  const seen = world.open('fx/EURUSD');
  const old = await world.begin(opened(7), message(8));
  for (let second = 0; second < 95; second++) {
    await old.write('<p h=1000 t=1>\n');
    await world.advance(1_000);
  }
  const successor = world.last;
  assert.equal(successor.name, 'refresh.html');
  assert.deepEqual(successor.query, ['scs=s1', 'mid=77', 'last=1048577:e1:8']);
  await old.write(message(9));
  await successor.begin();
  await successor.write(identity(2) + opened(8, { head: 9 }));
  assert.ok(!old.aborted, 'the old one is kept until the new one has spoken');
  await old.write(message(10));
  await successor.write(message(9) + message(10) + message(11));
  assert.ok(old.aborted && !successor.aborted);
  assert.deepEqual([numbers(seen), seen.gaps], [[8, 9, 10, 11], []]);
  assert.deepEqual([world.client.stats.refreshes, world.client.stats.repeats], [1, 2]);
  assert.deepEqual(world.states.map(({ state }) => state), ['connecting', 'open']);
});

test('a server that drains is left for another before it ends', async () => {
  const world = new World();
  const seen = world.open('fx/EURUSD');
  const echo = world.open('echo/');
  const echoed = { c: 2 ** 30, u: 'echo/', ep: 'p' };
  const old = await world.begin(opened(7), opened(0, echoed), message(8));
  const first = seen.channel.send('one');
  await settle();
  const sent = world.last;
  await old.write('<p m e=drain w=4000>\n');
  const second = seen.channel.send('two');
  for (let beat = 0; beat < 4; beat++) {
    await world.advance(500);
    await old.write('<p h=1000 t=1>\n');
  }
  assert.equal(world.last, sent, 'nothing new is begun, and what is out is waited for');
  await sent.json({ ok: true, outcome: 'taken' });
  await first;
  await world.advance(100);
  const next = world.last;
  assert.equal(next.name, 'mux.html');
  assert.deepEqual(next.query, ['mid=0', 'scs=0', 'open=fx/EURUSD;since=e1:8']);
  await old.write('<p h=1000 t=1>\n' + message(9));
  assert.deepEqual(echo.closed, []);
  await next.begin();
  const c = 1048999;
  await next.write(identity(1, true).replace('77', '99').replace('s1', 's2'));
  assert.deepEqual(echo.closed, ['gone'], 'a private conversation ends with its session');
  await old.write(message(10));
  assert.ok(!old.aborted, 'both carry everything');
  await next.write(opened(8, { c, head: 9 }) + message(9, 'x', c) + message(10, 'x', c));
  assert.ok(old.aborted && !next.aborted);
  await next.write(message(11, 'x', c));
  assert.deepEqual([numbers(seen), seen.gaps], [[8, 9, 10, 11], []]);
  const again = world.named('send').at(-1);
  assert.deepEqual(again.query, ['scs=s2', 'mid=99', `cid=${c}`, 'n=1']);
  await again.json({ ok: true, outcome: 'taken' });
  await second;
  assert.deepEqual(world.states.map(({ state }) => state), ['connecting', 'open']);
  assert.equal(world.client.stats.sessions, 2);
});

test('where there is no other server the one that drains is read to its end', async () => {
  const world = new World();
  const seen = world.open('fx/EURUSD');
  const old = await world.begin(opened(7), '<p m e=drain w=0>\n');
  await world.advance(1);
  await world.last.refuse('draining', 503);
  await old.write(message(8) + '<p z e=shutdown w=100>\n');
  await old.end();
  assert.equal(world.states.at(-1).state, 'waiting');
  await world.advance(1_000);
  await world.last.refuse('no-session', 404);
  await world.advance(2_000);
  assert.deepEqual(world.last.query, ['mid=0', 'scs=0', 'open=fx/EURUSD;since=e1:8']);
  assert.deepEqual([numbers(seen), seen.gaps], [[8], []]);
});

test('a server that demands it hears of the client in every interval', async () => {
  const world = new World();
  world.open('fx/EURUSD');
  await settle();
  const document = world.last;
  await document.begin();
  await document.write(identity(1, true).replace(' v=1', ' v=1 hc') + opened(7));
  await world.advance(749);
  assert.equal(world.named('ping').length, 0);
  await world.advance(1);
  assert.deepEqual(world.last.query, ['scs=s1', 'mid=77']);
  assert.equal(world.last.init.headers['AHM-Key'], KEY);
  await document.write('<p h=1000 t=1>\n');
  await world.advance(750);
  assert.equal(world.named('ping').length, 2);
});

test('a flush span is asked for on every document, and the server\'s word is told', async () => {
  for (const [options, asked, f, told] of [
    [{}, undefined, '', 0],
    [{}, undefined, ' f=20', 20],
    [{ flush: 0 }, '0', '', 0],
    [{ flush: 5_000 }, '5000', ' f=500', 500],
  ]) {
    const world = new World(options);
    world.open('fx/EURUSD');
    const first = await world.begin();
    assert.equal(first.value('flush'), asked);
    assert.equal(world.client.flush, 0);
    await first.fail();
    await world.advance(10_000);
    await world.last.begin();
    await world.last.write(identity(2).replace(' v=1', ` v=1${f}`));
    assert.equal(world.last.value('flush'), asked);
    assert.equal(world.client.flush, told);
    world.client.close();
  }
});

/** A session whose successor has begun with a gap that the old document may fill. */
async function heldGap() {
  const world = new World();
  const seen = world.open('fx/EURUSD');
  const old = await world.begin(opened(7), message(8), '<p m e=route w=10>\n');
  await world.advance(10);
  const successor = world.last;
  await successor.begin();
  const start = identity(2) + opened(8, { head: 12 });
  await successor.write(start + '<p g c=1048577 ep=e1 n=11 m=3>\n' + message(12));
  assert.deepEqual([numbers(seen), seen.gaps], [[8], []], 'held');
  return { world, seen, old, successor };
}

test('a gap that the other document fills is no gap', async () => {
  const { seen, old, successor } = await heldGap();
  await old.write(message(9) + message(10) + message(11));
  await successor.write(message(13));
  assert.deepEqual([numbers(seen), seen.gaps], [[8, 9, 10, 11, 12, 13], []]);
  assert.ok(old.aborted);
});

test('a gap is told when the other document ends, or after a while', async () => {
  const ended = await heldGap();
  await ended.old.write(message(9));
  await ended.old.end();
  assert.deepEqual([numbers(ended.seen), ended.seen.gaps], [[8, 9, 12], [2]]);

  const waited = await heldGap();
  await waited.world.advance(1_000);
  assert.deepEqual([numbers(waited.seen), waited.seen.gaps], [[8, 12], [3]]);
});

test('a successor that does not come up is tried again while the old one lives', async () => {
  const world = new World();
  const seen = world.open('fx/EURUSD');
  const old = await world.begin(opened(7), '<p m e=route w=0>\n');
  await world.advance(0);
  await world.last.refuse('busy', 503);
  await old.write(message(8));
  await world.advance(500);
  assert.equal(world.named('refresh.html').length, 2);
  assert.deepEqual([numbers(seen), old.aborted], [[8], undefined]);
});

// --- heartbeats and ends

test('silence is first told and then ended', async () => {
  const world = new World();
  world.open('fx/EURUSD');
  const document = await world.begin(opened(7));
  await world.advance(1_900);
  assert.equal(world.client.state, 'open');
  await world.advance(600);
  assert.equal(world.client.state, 'silent');
  await document.write('<p h=1000 t=5>\n');
  assert.deepEqual([world.client.state, world.client.serverMicros], ['open', 5]);
  await world.advance(4_600);
  assert.ok(document.aborted);
  assert.equal(world.client.state, 'connecting');
  assert.equal(world.last.value('last'), '1048577:e1:7');
});

test('a request that is never answered is given up', async () => {
  const world = new World();
  world.open('fx/EURUSD');
  await settle();
  await world.advance(16_000);
  assert.equal(world.exchanges.length, 2);
  assert.ok(world.exchanges[0].aborted);
});

test('a page that slept looks again before it gives a document up', async () => {
  const world = new World();
  world.open('fx/EURUSD');
  const document = await world.begin(opened(7));
  world.time += 3_600_000;
  const [id, { run }] = [...world.timers].reduce((a, b) => (b[1].at < a[1].at ? b : a));
  world.timers.delete(id);
  run();
  assert.ok(!document.aborted);
  await document.write('<p h=1000 t=5>\n');
  await world.advance(1_000);
  assert.ok(!document.aborted);
});

test('the server says when to come back', async () => {
  const world = new World();
  world.open('fx/EURUSD');
  const first = await world.begin(opened(7), '<p z e=shutdown w=3000>\n');
  await first.end();
  assert.deepEqual(world.states.at(-1), { state: 'waiting', wait: 1500 + 225 });
});

test('an ended session stays ended', async () => {
  const world = new World();
  const seen = world.open('fx/EURUSD');
  const first = await world.begin(opened(7), '<p z e=logout>\n');
  await first.end();
  await world.advance(60_000);
  assert.deepEqual([world.client.state, seen.closed], ['closed', ['logout']]);
  assert.equal(world.exchanges.length, 1);
});

test('waiting grows, is never none, and begins anew after a document that lasted', async () => {
  for (const [chance, waits] of [[0, [100, 100, 100]], [1, [350, 600, 1100]]]) {
    const world = new World();
    world.chance = chance;
    world.open('fx/EURUSD');
    await settle();
    for (const wait of waits) {
      await world.last.fail();
      assert.deepEqual(world.states.at(-1), { state: 'waiting', wait });
      await world.advance(wait);
    }
    await world.last.begin();
    await world.last.write(identity(1, true) + opened(7));
    for (let second = 0; second < 6; second++) {
      await world.last.write('<p h=1000 t=1>\n');
      await world.advance(1_000);
    }
    await world.last.fail();
    assert.equal(world.states.at(-1).wait, waits[0]);
  }
});

test('a busy server is asked again, a refusal is final', async () => {
  const busy = new World();
  busy.open('fx/EURUSD');
  await settle();
  await busy.last.refuse('busy', 503);
  assert.equal(busy.client.state, 'waiting');

  const refused = new World();
  const seen = refused.open('fx/EURUSD');
  await settle();
  await refused.last.refuse('forbidden', 403);
  assert.equal(refused.client.state, 'closed');
  assert.equal(refused.states.at(-1).error.code, 'forbidden');
  assert.deepEqual(seen.closed, ['forbidden']);
  assert.throws(() => refused.client.open('fx/EURUSD'), AhmError);
});

// --- channels

test('what is opened later goes in one batch, and may be refused', async () => {
  const world = new World();
  world.open('fx/EURUSD');
  const document = await world.begin(opened(7));
  const gold = world.open('fx/XAU USD');
  const none = world.open('nothing/x');
  const away = world.open('away/x');
  await settle();
  assert.equal(world.last.name, 'batch');
  assert.equal(world.last.init.headers['AHM-Key'], KEY);
  const asked = ['fx&subject=XAU%20USD', 'nothing&subject=x', 'away&subject=x'];
  assert.equal(world.last.init.body, asked.map((what) => `open?resource=${what}\n`).join(''));
  // The frames may come before the answer.
  await document.write(opened(3, { c: 1048600, u: 'fx/XAU%20USD' }) + message(4, 'gold', 1048600));
  await world.last.text('{"ok":true,"cid":1048600,"ep":"e1","n":3,"head":3,"sn":1}\n'
    + '{"ok":false,"error":"no-resource","detail":""}\n'
    + '{"ok":false,"error":"no-instance","detail":""}\n');
  assert.equal(gold.messages[0].data, 'gold');
  assert.deepEqual([none.closed, away.closed], [['no-resource'], []]);
  await world.advance(2_000);
  assert.equal(world.named('batch').length, 2);
  assert.equal(world.last.init.body, 'open?resource=away&subject=x\n');
});

test('what open= cannot have is refused by name', async () => {
  const world = new World();
  const denied = world.open('fx/secret');
  const away = world.open('away/x');
  await world.begin('<p x u=fx/secret e=denied>\n', '<p x u=away/x e=gone>\n');
  assert.deepEqual([denied.closed, away.closed], [['denied'], []]);
  await world.advance(2_000);
  assert.equal(world.last.init.body, 'open?resource=away&subject=x\n');
});

test('a channel that ends says why', async () => {
  const world = new World();
  const seen = world.open('fx/EURUSD');
  const document = await world.begin(opened(7));
  await document.write('<p x c=1048577 e=gone>\n' + message(8));
  assert.deepEqual([seen.closed, seen.messages, seen.channel.state], [['gone'], [], 'closed']);
});

test('what is said of a channel that was left is not of its successor', async () => {
  const world = new World();
  const left = world.open('fx/EURUSD');
  const document = await world.begin(opened(7), message(8));
  left.channel.close();
  assert.deepEqual(world.last.query.slice(-2), ['cid=1048577', 'l=0']);
  const again = world.open('fx/EURUSD');
  await settle();
  // The open has overtaken the close, and found what was left.
  await world.last.text('{"ok":true,"cid":1048577,"ep":"e1","n":7,"head":8,"sn":1}\n');
  await document.write(message(9) + opened(3) + message(10) + '<p x c=1048577 e=closed>\n');
  assert.deepEqual([again.channel.state, again.messages, again.closed], ['opening', [], []]);
  assert.equal(world.named('close').length, 2);
  await world.advance(2_000);
  await world.last.text('{"ok":true,"cid":1048577,"l":1,"ep":"e1","n":10,"head":10,"sn":1}\n');
  await document.write(opened(10, { l: 1 }) + message(11));
  assert.deepEqual([numbers(again), again.gaps], [[11], []]);
  again.channel.close();
  assert.deepEqual(world.last.query.slice(-2), ['cid=1048577', 'l=1']);
});

test('a fault of a consumer stops nobody', async (t) => {
  const reported = t.mock.method(console, 'error', () => {});
  const world = new World();
  const bad = () => {
    throw new Error('mine');
  };
  world.open('fx/EURUSD', { onmessage: bad });
  const good = world.open('fx/GBPUSD');
  await world.begin(opened(7), opened(1, { c: 1048578, u: 'fx/GBPUSD' }),
    message(8), message(2, 'x', 1048578));
  assert.deepEqual([numbers(good), reported.mock.callCount()], [[2], 1]);
});

// --- sends

async function boardWorld() {
  const world = new World();
  const board = world.open('board/lobby');
  const document = await world.begin(opened(0, { u: 'board/lobby', c: 1048580 }));
  return { world, board, document };
}

test('messages are numbered, and sent again as they are until they are taken', async () => {
  const { world, board } = await boardWorld();
  const [one, two] = [board.channel.send('eins'), board.channel.send('zwei', { id: 'a b+c' })];
  await settle();
  const [first, second] = world.named('send');
  assert.deepEqual(first.query, ['scs=s1', 'mid=77', 'cid=1048580', 'n=1']);
  assert.deepEqual(second.query, ['scs=s1', 'mid=77', 'cid=1048580', 'n=2', 'id=a%20b%2Bc']);
  assert.deepEqual([first.init.method, first.init.body], ['POST', 'eins']);
  assert.equal(first.init.headers['AHM-Key'], KEY);
  await first.fail();
  await second.json({ ok: true, outcome: 'held' });
  await world.advance(300);
  const again = world.named('send').slice(2);
  assert.deepEqual(again.map((exchange) => exchange.value('n')).sort(), ['1', '2']);
  const byNumber = (n) => again.find((exchange) => exchange.value('n') === n);
  await byNumber('1').json({ ok: true, outcome: 'taken' });
  assert.equal(await one, 'taken');
  await byNumber('2').json({ ok: true, outcome: 'dup' });
  assert.equal(await two, 'taken');
});

test('the fate of a held message may come in the document', async () => {
  const { world, board, document } = await boardWorld();
  const sent = board.channel.send('x');
  await settle();
  await world.last.json({ ok: true, outcome: 'held' });
  await document.write('<p a c=1048580 n=1 e=taken>\n');
  assert.equal(await sent, 'taken');
});

test('what is refused for good is told', async () => {
  const { world, board } = await boardWorld();
  for (const [error, status] of [['skipped', 410], ['too-large', 413]]) {
    const sent = board.channel.send('x');
    const rejected = assert.rejects(sent, { code: error });
    await settle();
    await world.last.refuse(error, status);
    await rejected;
  }
});

test('what a dying session had sent is unknown, the rest goes out in the next', async () => {
  const { world, board, document } = await boardWorld();
  const sends = Array.from({ length: 20 }, (_, index) => board.channel.send(`m${index}`));
  const fates = Promise.allSettled(sends);
  await settle();
  assert.equal(world.named('send').length, 16, 'a bounded number at once');
  await document.fail();
  await world.advance(1_000);
  await world.last.refuse('no-session', 404);
  await world.advance(2_000);
  await world.last.begin();
  await world.last.write(identity(1, true).replace('77', '99')
    + opened(0, { u: 'board/lobby', c: 1048590 }));
  const later = world.named('send').slice(16);
  assert.deepEqual(later.map((exchange) => exchange.value('n')), ['1', '2', '3', '4']);
  for (const exchange of later) await exchange.json({ ok: true, outcome: 'taken' });
  const results = await fates;
  assert.equal(results.filter(({ reason }) => reason?.code === 'unknown').length, 16);
  assert.equal(results.filter(({ value }) => value === 'taken').length, 4);
});

test('closing says so to the server and settles everything', async () => {
  const { world, board } = await boardWorld();
  board.channel.close();
  await settle();
  assert.deepEqual([world.last.name, world.last.value('cid')], ['close', '1048580']);
  await assert.rejects(board.channel.send('x'), { code: 'no-channel' });
  world.client.close();
  await settle();
  assert.equal(world.last.name, 'logout');
  assert.deepEqual([world.client.state, world.timers.size], ['closed', 0]);
});
