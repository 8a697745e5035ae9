// The page of `ahm demo` in a real browser. Run by `tests/real/run`.

import assert from 'node:assert/strict';
import test from 'node:test';

import { ahm, browser, counters, cutter, demo, reaches } from './support.mjs';

const CRYPTO = '[data-topic="crypto/usdm.BTCUSDT"] [data-field="bid"]';
const EURUSD = '[data-topic="fx/EURUSD"] [data-field="bid"]';

const live = (page) => page.waitForSelector('body[data-state="open"]');

/** Waits until the text of `selector` is a price, and then until it is another. */
async function moves(page, selector) {
  const priced = (which) => /\d/.test(document.querySelector(which).textContent);
  await page.waitForFunction(priced, selector);
  const before = await page.textContent(selector);
  const moved = ([which, text]) => document.querySelector(which).textContent !== text;
  await page.waitForFunction(moved, [selector, before]);
}

function withoutLoss({ lost, repeated, gaps }) {
  assert.deepEqual({ lost, repeated, gaps }, { lost: 0, repeated: 0, gaps: 0 });
}

test('prices move', async (t) => {
  const { listen } = await demo(t);
  const { open, faultless } = await browser(t);
  const page = await open(listen);
  await live(page);
  await moves(page, CRYPTO);
  await moves(page, EURUSD);
  await reaches(page, 'messages', 1_000);
  withoutLoss(await counters(page));
  faultless();
});

test('a connection that is cut from outside is resumed without gap or repeat', async (t) => {
  const { listen } = await demo(t);
  const proxy = await cutter(t, listen);
  const { open, faultless } = await browser(t);
  const page = await open(proxy.address);
  await reaches(page, 'messages', 300);
  for (let round = 1; round <= 3; round++) {
    const { messages } = await counters(page);
    assert.ok(proxy.cut() > 0, 'there was something to cut');
    await reaches(page, 'resumes', round);
    await reaches(page, 'messages', messages + 500);
  }
  await live(page);
  withoutLoss(await counters(page));
  await moves(page, CRYPTO);
  faultless();
});

test('documents are replaced by successors without gap or repeat', async (t) => {
  const { listen } = await demo(t, { AHM_PROTOCOL_REFRESH: '1s' });
  const { open, faultless } = await browser(t);
  const page = await open(listen);
  await reaches(page, 'refreshes', 5);
  await reaches(page, 'messages', 2_000);
  withoutLoss(await counters(page));
  assert.equal((await counters(page)).state, 'open');
  faultless();
});

test('when the server is started anew the page goes on in a new session', async (t) => {
  const first = await demo(t);
  const proxy = await cutter(t, first.listen);
  const { open } = await browser(t);
  const page = await open(proxy.address);
  await reaches(page, 'messages', 300);
  await first.end();
  const second = await demo(t);
  proxy.forward(second.listen);
  await reaches(page, 'sessions', 2);
  const { messages } = await counters(page);
  await reaches(page, 'messages', messages + 500);
  await live(page);
  await moves(page, CRYPTO);
  const { repeated, gaps } = await counters(page);
  assert.equal(repeated, 0);
  assert.ok(gaps > 0, 'that the numbering began anew is told');
});

test('the button cuts, and the page tells what it cost', async (t) => {
  const { listen } = await demo(t);
  const { open, faultless } = await browser(t);
  const page = await open(listen);
  await reaches(page, 'messages', 300);
  await page.click('#cut');
  await page.locator('#story', { hasText: 'Resumed after' }).waitFor();
  assert.match(await page.textContent('#story'), /, 0 lost, 0 repeated\.$/);
  withoutLoss(await counters(page));
  faultless();
});

test('two pages trade, and a cut between accept and done leaves no doubt', async (t) => {
  const { listen } = await demo(t);
  const proxy = await cutter(t, listen);
  const { open, faultless } = await browser(t);
  const [maker, taker] = [await open(listen), await open(proxy.address)];
  await Promise.all([live(maker), live(taker)]);
  for (const page of [maker, taker]) await page.click('#tab-deal');
  await maker.check('#deal-making');
  for (let trade = 1; trade <= 4; trade += 1) {
    await taker.click(trade % 2 ? '#deal-buy' : '#deal-sell');
    await maker.fill('#deal-requests input', `1.08${trade}`);
    await maker.click('#deal-requests button');
    await taker.locator('#deal-orders .offer').waitFor();
    // Every connection of the taker goes, while the line may be on its way there or back.
    const [, count] = await Promise.all([taker.click('#deal-orders .offer'), proxy.cut()]);
    assert.ok(count > 0, 'there was something to cut');
    for (const page of [maker, taker]) await page.waitForSelector(`[data-trade="${trade}"]`);
  }
  const trades = (page) => page.$$eval('#deal-trades tr', (rows) => rows.map((row) => (
    Array.from(row.children, (cell) => cell.textContent))));
  const [made, taken] = [await trades(maker), await trades(taker)];
  assert.equal(taken.length, 4);
  for (const [at, [number, you, amount, pair, price, as]] of taken.entries()) {
    const opposite = { bought: 'sold', sold: 'bought' };
    assert.deepEqual(made[at], [number, opposite[you], amount, pair, price, 'maker']);
    assert.equal(as, 'taker');
  }
  withoutLoss(await counters(taker));
  faultless();
});

test('what one page writes is on the board of another and in ahm subscribe', async (t) => {
  const { listen } = await demo(t);
  const { open, faultless } = await browser(t);
  const [one, two] = [await open(listen), await open(listen)];
  await Promise.all([live(one), live(two)]);
  const subscriber = ahm(t, ['subscribe', listen, 'board/lobby']);
  const write = async (page, text) => {
    await page.fill('#text', text);
    await page.click('#write button');
  };
  // Whether the subscriber listens already, only a message can tell.
  let knocks = 0;
  let written = Promise.resolve();
  const knock = setInterval(() => {
    written = written.then(() => write(one, `knock ${++knocks}`)).catch(() => {});
  }, 250);
  try {
    await subscriber.output.match(/knock \d+/, 'first message');
  } finally {
    clearInterval(knock);
    // Two hands on one keyboard would type into each other's fields.
    await written;
  }
  const text = 'grüße <b>& mehr</b> 漢字';
  await one.fill('#name', 'one');
  await write(one, text);
  for (const page of [one, two]) {
    const line = page.locator('#lines li', { hasText: text });
    await line.waitFor();
    assert.equal(await line.locator('b').first().textContent(), 'one');
    assert.equal(await line.locator('p').textContent(), text);
  }
  await subscriber.output.match(/one: grüße <b>& mehr<\/b> 漢字/, 'line of page one');
  await two.fill('#name', 'two');
  await write(two, 'back to you');
  await one.locator('#lines li', { hasText: 'back to you' }).waitFor();
  const late = await open(listen);
  await late.locator('#lines li', { hasText: text }).waitFor();
  withoutLoss(await counters(one));
  faultless();
});

test('the page fits a phone', async (t) => {
  const { listen } = await demo(t);
  const { open, faultless } = await browser(t);
  const page = await open(listen);
  await page.setViewportSize({ width: 360, height: 740 });
  await moves(page, CRYPTO);
  const fits = async (what) => {
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${what}: ${wide} pixels too wide`);
  };
  await fits('the board');
  const maker = await open(listen);
  for (const each of [page, maker]) await each.click('#tab-deal');
  await maker.check('#deal-making');
  await page.click('#deal-buy');
  await maker.fill('#deal-requests input', '1.23456');
  await maker.click('#deal-requests button');
  await page.click('#deal-orders .offer');
  await page.waitForSelector('[data-trade="1"]');
  await fits('the ticket');
  await page.emulateMedia({ reducedMotion: 'reduce' });
  const strip = page.locator('#strip');
  const motion = await strip.evaluate((element) => getComputedStyle(element).animationName);
  assert.equal(motion, 'none');
  faultless();
});
