// The page of `ahm demo`: a live price board and a message board over one document.

import { Client, Decoder, unescape } from '/ahm/client.js';
import { deal } from '/deal.js';

const $ = (id) => document.getElementById(id);
const motion = matchMedia('(prefers-reduced-motion: reduce)');

const INSTRUMENTS = [
  ['fx', 'EURUSD', 'EUR/USD', 'FXCM'],
  ['fx', 'oanda.EURUSD', 'EUR/USD', 'Oanda'],
  ['fx', 'NZDUSD', 'NZD/USD', 'FXCM'],
  ['fx', 'oanda.NZDUSD', 'NZD/USD', 'Oanda'],
  ['fx', 'XAUUSD', 'Gold/USD', 'Oanda'],
  ['crypto', 'usdm.BTCUSDT', 'BTC/USDT', 'USD-M perp'],
  ['crypto', 'usdm.ETHUSDT', 'ETH/USDT', 'USD-M perp'],
  ['crypto', 'cm.BTCUSD_PERP', 'BTC/USD', 'Coin-M perp'],
  ['crypto', 'cm.ETHUSD_PERP', 'ETH/USD', 'Coin-M perp'],
  ['crypto', 'spot.BTCUSDT', 'BTC/USDT', 'Spot'],
  ['crypto', 'spot.ETHUSDT', 'ETH/USDT', 'Spot'],
];

const SAMPLE_MS = 500;
const SAMPLES = 120;
const FLASH_MS = 120;
const LINES_MAX = 200;

/** An element with a class and text; text is never read as markup. */
function element(tag, { className = '', text = '', children = [] } = {}) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

/** Writes only what has changed. */
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const grouped = (digits) => {
  const [whole, fraction] = digits.split('.');
  const spaced = whole.replace(/\B(?=(\d{3})+$)/g, ',');
  return fraction === undefined ? spaced : `${spaced}.${fraction}`;
};

const count = new Intl.NumberFormat('en');

/** `+0.12 %` with its direction; what rounds to nothing has none. */
function changeOf(now, before) {
  const percent = before ? (100 * (now - before)) / before : 0;
  const text = Math.abs(percent).toFixed(3);
  if (Number(text) === 0) return { text: `  ${text}%`, way: '' };
  return percent > 0 ? { text: `▲ ${text}%`, way: 'up' } : { text: `▼ ${text}%`, way: 'down' };
}

// --- offsets, counted here and not taken from the client's word

const tally = { messages: 0, lost: 0, repeated: 0, seen: new Map() };

function countOffset({ topic, ep, n }) {
  const before = tally.seen.get(topic);
  tally.messages += 1;
  if (before?.ep === ep) {
    if (n <= before.n) tally.repeated += 1;
    else tally.lost += n - before.n - 1;
  }
  if (before?.ep !== ep || n > before.n) tally.seen.set(topic, { ep, n });
}

// --- canvases

let palette = {};

function readPalette() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['up', 'down', 'brand', 'soft', 'line']) {
    palette[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

/** A canvas at the resolution of the screen, cleared; `null` while it has no size. */
function fresh(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (width === 0 || height === 0) return null;
  const scale = Math.min(devicePixelRatio || 1, 3);
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

function drawLine(canvas, samples) {
  const sheet = fresh(canvas);
  if (!sheet || samples.length < 2) return;
  const { context, width, height } = sheet;
  const low = Math.min(...samples);
  const high = Math.max(...samples);
  const step = (width - 6) / (Math.max(samples.length, SAMPLES / 5) - 1);
  const left = width - 4 - step * (samples.length - 1);
  const scale = high === low ? 0 : (height - 8) / (high - low);
  const y = (value) => (scale === 0 ? height / 2 : height - 4 - (value - low) * scale);
  const color = samples.at(-1) >= samples[0] ? palette.up : palette.down;
  const line = new Path2D();
  samples.forEach((value, index) => line.lineTo(left + index * step, y(value)));
  const area = new Path2D(line);
  area.lineTo(width - 4, height);
  area.lineTo(left, height);
  context.fillStyle = color;
  context.globalAlpha = 0.12;
  context.fill(area);
  context.globalAlpha = 1;
  context.strokeStyle = color;
  context.lineWidth = 1.6;
  context.lineJoin = 'round';
  context.stroke(line);
  context.beginPath();
  context.arc(width - 4, y(samples.at(-1)), 2.4, 0, 7);
  context.fill();
}

function drawBars(canvas, values) {
  const sheet = fresh(canvas);
  if (!sheet) return;
  const { context, width, height } = sheet;
  const most = Math.max(10, ...values);
  const step = width / Math.max(values.length, 20);
  context.fillStyle = palette.brand;
  values.forEach((value, index) => {
    const tall = Math.max(1, (value / most) * (height - 6));
    const place = width - (values.length - index) * step;
    context.globalAlpha = index === values.length - 1 ? 0.95 : 0.2 + (0.35 * index) / values.length;
    context.beginPath();
    context.roundRect(place, height - tall, Math.max(1, step - 1.5), tall, [1.5, 1.5, 0, 0]);
    context.fill();
  });
}

// --- one row of the board

class Side {
  constructor() {
    this.lead = element('span');
    this.tail = element('span', { className: 'tail' });
    this.cell = element('span', { className: 'cell', children: [this.lead, this.tail] });
    this.size = element('span', { className: 'size' });
    this.td = element('td', { className: 'number quote', children: [this.cell, this.size] });
    this.text = '';
    this.flashedAt = 0;
  }

  /** Shows a price; the digits that changed take the colour of the direction. */
  show(text, now) {
    if (text === this.text) return;
    const before = this.text;
    this.text = text;
    let same = 0;
    while (same < text.length && text[same] === before[same]) same += 1;
    if (before === '' || text.length !== before.length) same = before === '' ? text.length : 0;
    put(this.lead, text.slice(0, same));
    put(this.tail, text.slice(same));
    if (before === '') return;
    const number = (digits) => Number(digits.replaceAll(',', ''));
    const way = number(text) > number(before) ? 'up' : 'down';
    this.cell.dataset.way = way;
    this.cell.dataset.flash = way;
    this.flashedAt = now;
  }

  /** Lets a flash fade; true while there is one to fade. */
  fade(now) {
    if (!this.flashedAt) return false;
    if (now - this.flashedAt < FLASH_MS) return true;
    this.flashedAt = 0;
    delete this.cell.dataset.flash;
    return false;
  }
}

class Row {
  constructor([resource, subject, name, venue]) {
    this.topic = `${resource}/${subject}`;
    this.name = name;
    this.venue = venue;
    this.quote = null;
    this.first = 0;
    this.middle = 0;
    this.offset = 0;
    this.samples = [];
    this.trade = '';
    this.bid = new Side();
    this.ask = new Side();
    this.canvas = element('canvas');
    this.canvas.setAttribute('aria-hidden', 'true');
    this.spread = element('td', { className: 'number more spread' });
    this.change = element('td', { className: 'number more change' });
    this.place = element('td', { className: 'number most offset' });
    const label = [element('b', { text: name }), element('small', { text: venue })];
    const head = element('th', { children: label });
    head.scope = 'row';
    const trend = element('td', { className: 'trend', children: [this.canvas] });
    const cells = [head, trend, this.bid.td, this.ask.td, this.spread, this.change, this.place];
    this.row = element('tr', { children: cells });
    this.row.dataset.topic = this.topic;
    this.bid.td.dataset.field = 'bid';
    this.ask.td.dataset.field = 'ask';
    $(resource).append(this.row);
  }

  take({ data, n }) {
    this.quote = data;
    this.offset = n;
    touched.add(this);
  }

  show(now) {
    const [bid, ask, bidSize = '', askSize = ''] = this.quote.split(' ');
    const places = (bid.split('.')[1] ?? '').length;
    this.middle = (Number(bid) + Number(ask)) / 2;
    this.first ||= this.middle;
    this.bid.show(grouped(bid), now);
    this.ask.show(grouped(ask), now);
    put(this.bid.size, bidSize);
    put(this.ask.size, askSize);
    const spread = Number(ask) - Number(bid);
    put(this.spread, spread.toFixed(places).replace('-', '−'));
    this.spread.classList.toggle('crossed', spread < 0);
    const { text, way } = changeOf(this.middle, this.first);
    put(this.change, text);
    this.change.className = `number more change ${way}`;
    put(this.place, count.format(this.offset));
  }

  sample() {
    if (!this.middle) return;
    this.samples.push(this.middle);
    if (this.samples.length > SAMPLES) this.samples.shift();
    drawLine(this.canvas, this.samples);
  }
}

/** Rows with a quote that is not shown yet, and sides whose flash has to fade. */
const touched = new Set();
const fading = new Set();
const rows = INSTRUMENTS.map((instrument) => new Row(instrument));

/** One frame of the screen: whatever came since the last one is shown once. */
function frame(now) {
  for (const row of touched) {
    row.show(now);
    fading.add(row.bid).add(row.ask);
  }
  touched.clear();
  for (const side of fading) if (!side.fade(now)) fading.delete(side);
  requestAnimationFrame(frame);
}

// --- the ticker strip

const tape = rows.map((row) => {
  const make = () => {
    const last = element('span', { className: 'last' });
    const moved = element('span', { className: 'moved' });
    const trade = element('span', { className: 'trade' });
    const label = [element('b', { text: row.name }), element('small', { text: row.venue })];
    const children = [...label, last, moved];
    if (row.topic.startsWith('crypto')) children.push(trade);
    return { item: element('li', { children }), last, moved, trade };
  };
  return { row, twins: [make(), make()] };
});

for (const twin of [0, 1]) {
  const list = element('ul', { children: tape.map(({ twins }) => twins[twin].item) });
  // The second run is there so that the strip has no end.
  if (twin === 1) list.setAttribute('aria-hidden', 'true');
  $('strip').append(list);
}

function showTape() {
  for (const { row, twins } of tape) {
    if (!row.quote) continue;
    const { text, way } = changeOf(row.middle, row.first);
    for (const { last, moved, trade } of twins) {
      put(last, row.bid.text);
      put(moved, text);
      moved.className = `moved ${way}`;
      put(trade, row.trade);
    }
  }
}

$('pause').addEventListener('click', () => {
  const paused = $('strip').classList.toggle('paused');
  $('pause').setAttribute('aria-pressed', String(paused));
});

// --- the stream

const client = new Client({ heartbeat: 3_000, onstate: showState });
const WORDS = {
  idle: 'Starting', connecting: 'Connecting', open: 'Live', silent: 'Silent',
  waiting: 'Reconnecting', closed: 'Closed',
};
let cut = null;
let cuts = 0;

function showState(state, detail) {
  document.body.dataset.state = state;
  put($('state'), WORDS[state]);
  if (state === 'closed' && detail.error) put($('story'), `Closed: ${detail.error.message}`);
  if (state === 'open' && cut) {
    cut.back = performance.now();
    cut.resumed = detail.resumed;
  }
}

/** Tells what a cut has cost, once the stream has caught up. */
function tellCut() {
  if (!cut?.back || performance.now() - cut.back < 400) return;
  const away = Math.round(cut.back - cut.at);
  const lost = tally.lost - cut.lost;
  const repeated = tally.repeated - cut.repeated;
  const how = cut.resumed ? 'Resumed' : 'Back in a new session';
  put($('story'), `${how} after ${away} ms: ${count.format(cut.behind)} messages caught up, `
    + `${lost} lost, ${repeated} repeated.`);
  cut = null;
}

$('cut').addEventListener('click', () => {
  cuts += 1;
  cut = { at: performance.now(), back: 0, behind: 0, lost: tally.lost, repeated: tally.repeated };
  put($('story'), 'Cut.');
  client.cut();
});

const caughtUp = ({ n, head }) => {
  if (cut) cut.behind += head - n;
};

for (const row of rows) {
  const onmessage = (message) => {
    countOffset(message);
    row.take(message);
  };
  client.open(row.topic, { onmessage, onopen: caughtUp });
}

for (const row of rows.filter(({ topic }) => topic.startsWith('crypto'))) {
  const onmessage = (message) => {
    countOffset(message);
    const [, size, side] = message.data.split(' ');
    row.trade = `${side === 'b' ? 'bought' : 'sold'} ${size}`;
  };
  client.open(`${row.topic}.trades`, { onmessage, onopen: caughtUp });
}

const recordedAt = new Intl.DateTimeFormat('en-GB', {
  timeZone: 'UTC', day: 'numeric', month: 'short', year: 'numeric',
  hour: '2-digit', minute: '2-digit', second: '2-digit',
});

for (const set of ['crypto', 'fx']) {
  const onmessage = (message) => {
    countOffset(message);
    const [pass, start, , at] = message.data.split(' ').map(Number);
    put($(`when-${set}`), `recorded ${recordedAt.format(start + at)} UTC, pass ${pass}`);
  };
  client.open(`replay/${set}`, { onmessage, onopen: caughtUp });
}

// --- the tabs; the ticket's channel is opened when somebody looks at it

let dealing = false;

function priceOf(pair, side) {
  const row = rows.find(({ topic }) => topic === `fx/${pair}`);
  return row?.quote ? row.quote.split(' ')[side === 'buy' ? 1 : 0] : '';
}

function select(name) {
  for (const tab of ['prices', 'deal']) {
    const chosen = tab === name;
    $(`tab-${tab}`).setAttribute('aria-selected', String(chosen));
    $(`tab-${tab}`).tabIndex = chosen ? 0 : -1;
    $(`panel-${tab}`).hidden = !chosen;
  }
  history.replaceState(null, '', name === 'deal' ? '#deal' : location.pathname);
  if (name !== 'deal' || dealing) return;
  dealing = true;
  deal(client, { onmessage: countOffset, onopen: caughtUp, priceOf });
}

for (const tab of ['prices', 'deal']) {
  $(`tab-${tab}`).addEventListener('click', () => select(tab));
  $(`tab-${tab}`).addEventListener('keydown', ({ key }) => {
    if (key !== 'ArrowLeft' && key !== 'ArrowRight') return;
    const other = tab === 'deal' ? 'prices' : 'deal';
    select(other);
    $(`tab-${other}`).focus();
  });
}

if (location.hash === '#deal') select('deal');

// --- what is shown once a second or so

const rates = [];
let counted = 0;

setInterval(() => {
  rates.push(tally.messages - counted);
  counted = tally.messages;
  if (rates.length > 60) rates.shift();
  put($('rate'), count.format(rates.at(-1)));
  drawBars($('rates'), rates);
  put($('session'), `${client.scs}/${client.mid}`);
  put($('document'), String(client.stats.documents));
  put($('volume'), `${count.format(Math.round(client.stats.bytes / 1000))} kB`);
  put($('resumes'), String(client.stats.resumes));
  put($('refreshes'), String(client.stats.refreshes));
  showTape();
}, 1_000);

setInterval(() => {
  for (const row of rows) row.sample();
}, SAMPLE_MS);

let beat = 0;

setInterval(() => {
  put($('messages'), count.format(tally.messages));
  for (const name of ['lost', 'repeated']) {
    put($(name), count.format(tally[name]));
    $(name).className = `value ${tally[name] === 0 ? 'good' : 'bad'}`;
  }
  Object.assign(document.body.dataset, {
    messages: tally.messages, lost: tally.lost, repeated: tally.repeated, cuts,
    resumes: client.stats.resumes, refreshes: client.stats.refreshes, gaps: client.stats.gaps,
    sessions: client.stats.sessions,
  });
  tellCut();
  if (!client.beatAt) return;
  const age = performance.now() - client.beatAt;
  put($('beat'), (age / 1000).toFixed(1));
  $('meter').classList.toggle('late', age > 4 * client.interval);
  const part = Math.min(1, age / (4 * client.interval));
  $('meter').firstElementChild.style.transform = `scaleX(${part})`;
  if (beat !== client.beatAt && !motion.matches) {
    const wave = [{ boxShadow: `0 0 0 0 ${palette.up}` }, { boxShadow: '0 0 0 9px transparent' }];
    $('dot').animate(wave, 900);
  }
  beat = client.beatAt;
}, 100);

// --- the message board

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });

/** A line of the board; `before` is the line that it stands above, `null` for the end. */
function addLine(payload, when, before = null) {
  const lines = $('lines');
  const wasAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  lines.querySelector('.empty')?.remove();
  const at = payload.indexOf(': ');
  const named = at > 0 && at <= 24;
  const who = element('b', { text: named ? payload.slice(0, at) : 'somebody' });
  const text = element('p', { text: named ? payload.slice(at + 2) : payload });
  const children = [who, element('time', { text: when }), text];
  lines.insertBefore(element('li', { children }), before);
  while (lines.childElementCount > LINES_MAX) lines.firstElementChild.remove();
  if (wasAtEnd) lines.scrollTop = lines.scrollHeight;
}

/** Shows above the others what was written before this page came, up to the offset `end`. */
async function addEarlier(end) {
  const response = await fetch('/ahm/history?resource=board&subject=lobby&limit=30');
  if (!response.ok) return;
  const newest = $('lines').querySelector('li:not(.empty)');
  const decoder = new Decoder(({ kind, attributes, payload }) => {
    const isText = kind === 'c' && !('b' in attributes);
    if (isText && Number(attributes.n) <= end) addLine(unescape(payload), 'earlier', newest);
  });
  decoder.push(new Uint8Array(await response.arrayBuffer()));
}

const board = client.open('board/lobby', {
  onmessage(message) {
    countOffset(message);
    if (typeof message.data === 'string') addLine(message.data, clock.format(new Date()));
  },
  onopen(place) {
    caughtUp(place);
    if (place.first) addEarlier(place.n).catch(console.error);
  },
});

$('write').addEventListener('submit', async (event) => {
  event.preventDefault();
  const text = $('text').value.trim();
  const name = $('name').value.trim().replaceAll(': ', ' ');
  if (!text || !name) return;
  $('text').value = '';
  try {
    await board.send(`${name}: ${text}`);
  } catch (error) {
    $('text').value ||= text;
    put($('story'), `Not sent: ${error.message}`);
  }
});

$('name').value = `guest-${100 + Math.floor(Math.random() * 900)}`;
put($('curl'), `curl -N '${location.origin}/ahm/mux.html?open=fx/EURUSD'`);
readPalette();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', readPalette);
requestAnimationFrame(frame);
