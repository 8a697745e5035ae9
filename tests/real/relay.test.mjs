// nginx behind the server, and Chromium before it. Run by `tests/real/run`.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import test from 'node:test';

import { ahm, browser } from './support.mjs';
import { site } from './web.mjs';

const MIB = 1024 * 1024;

/** A server before a site: its addresses, and what its memory has been at most. */
async function front(t, { address }) {
  const args = ['serve', '--listen', '127.0.0.1:0', '--private', '127.0.0.1:0', '--shards', '1',
    '--set', `relay.to=${address}`];
  const { output, pid } = ahm(t, args);
  const [, listen] = await output.match(/^listening (http:\/\/\S+)/m, 'public listener');
  const [, inside] = await output.match(/^private (http:\/\/\S+)/m, 'private listener');
  const peak = async () => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    return Number(status.match(/VmHWM:\s+(\d+) kB/)[1]) * 1024;
  };
  return { listen, inside, peak };
}

/** Asks, and gives the answer with its body as text. */
async function ask(url, options = {}) {
  const answer = await fetch(url, { redirect: 'manual', ...options });
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}

test('static files, ranges and conditions', async (t) => {
  const web = await site(t);
  await web.put('page.html', '0123456789');
  const { listen } = await front(t, web);
  const url = `${listen}/page.html`;
  const whole = await ask(url);
  assert.deepEqual([whole.status, whole.text], [200, '0123456789']);
  assert.match(whole.headers.get('server'), /^nginx/);
  const etag = whole.headers.get('etag');
  const part = await ask(url, { headers: { range: 'bytes=2-4' } });
  assert.deepEqual([part.status, part.text], [206, '234']);
  assert.equal(part.headers.get('content-range'), 'bytes 2-4/10');
  const same = await ask(url, { headers: { 'if-none-match': etag } });
  assert.deepEqual([same.status, same.text, same.headers.get('etag')], [304, '', etag]);
  const head = await ask(url, { method: 'HEAD' });
  assert.deepEqual([head.status, head.text, head.headers.get('content-length')], [200, '', '10']);
  assert.equal((await ask(`${listen}/none`)).status, 404);
  assert.equal((await ask(`${listen}/ahm/none`)).headers.get('content-type'), 'application/json');
});

test('chunked and close-delimited answers of a program', async (t) => {
  const { listen } = await front(t, await site(t));
  for (const where of ['app', 'open']) {
    for (let round = 0; round < 3; round++) {
      const { status, text } = await ask(`${listen}/${where}/words`);
      assert.deepEqual([status, text], [200, 'one two three'], where);
    }
  }
  const { text, headers } = await ask(`${listen}/app/fields`, { headers: { cookie: 'c=3' } });
  assert.deepEqual(headers.getSetCookie(), ['a=1', 'b=2']);
  const seen = JSON.parse(text);
  assert.equal(seen.cookie, 'c=3');
  assert.equal(seen['x-forwarded-for'], '127.0.0.1');
  assert.match(seen['x-request-id'], /^[0-9a-f]{16}$/);
});

test('a gigabyte down and 200 MB up in little memory', { timeout: 300_000 }, async (t) => {
  const web = await site(t);
  await web.grow('large', 1024 * MIB);
  const { listen, peak } = await front(t, web);
  const answer = await fetch(`${listen}/large`);
  let bytes = 0;
  for await (const piece of answer.body) bytes += piece.length;
  assert.equal(bytes, 1024 * MIB);
  for (const framing of [{ 'content-length': 200 * MIB }, { 'transfer-encoding': 'chunked' }]) {
    const [status, text] = await new Promise((resolve, reject) => {
      const url = `${listen}/app/upload`;
      const request = http.request(url, { method: 'POST', headers: framing }, async (back) => {
        let all = '';
        for await (const piece of back) all += piece;
        resolve([back.statusCode, all]);
      });
      request.on('error', reject);
      const piece = Buffer.alloc(MIB);
      let left = 200;
      const more = () => {
        while (left > 0) {
          left -= 1;
          if (!request.write(piece)) {
            request.once('drain', more);
            return;
          }
        }
        request.end();
      };
      more();
    });
    assert.deepEqual([status, text], [200, String(200 * MIB)]);
  }
  const most = await peak();
  assert.ok(most < 48 * MIB, `${most} bytes`);
});

const PAGE = `<!doctype html>
<meta charset=utf-8>
<title>site</title>
<link rel=icon href=data:,>
STYLES
<h1>A site with a hundred parts</h1>
IMAGES
SCRIPTS
<script src=/app.js></script>
`;

const APP = `
window.numbers = [];
const stream = async () => {
  const answer = await fetch('/ahm/mux.html?open=board/lobby');
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error('the document has ended');
    text += value;
    const lines = text.split('\\n');
    text = lines.pop();
    for (const line of lines) {
      const found = line.match(/^<p c=\\d+ n=(\\d+)/);
      if (found) window.numbers.push(Number(found[1]));
      window.opened ||= line.startsWith('<p o ');
    }
  }
};
stream();
const socket = new WebSocket('ws://' + location.host + '/app/socket');
window.echoes = [];
socket.onopen = () => socket.send('hello');
socket.onmessage = ({ data }) => {
  window.echoes.push(data);
  if (window.echoes.length < 3) socket.send(data + '!');
};
`;

test('Chromium loads a hundred parts beside a document and a WebSocket', async (t) => {
  const web = await site(t);
  const list = (count, make) => Array.from({ length: count }, (_, n) => make(n)).join('\n');
  await web.put('index.html', PAGE
    .replace('STYLES', list(20, (n) => `<link rel=stylesheet href=/s${n}.css>`))
    .replace('IMAGES', list(60, (n) => `<img src=/i${n}.svg width=8 height=8>`))
    .replace('SCRIPTS', list(19, (n) => `<script src=/c${n}.js></script>`)));
  await web.put('app.js', APP);
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>';
  await Promise.all([
    ...Array.from({ length: 20 }, (_, n) => web.put(`s${n}.css`, `.s${n} { color: red }`)),
    ...Array.from({ length: 60 }, (_, n) => web.put(`i${n}.svg`, svg)),
    ...Array.from({ length: 19 }, (_, n) => web.put(`c${n}.js`, `window.c${n} = true;`)),
  ]);
  const { listen, inside } = await front(t, web);
  const publish = (body) => fetch(`${inside}/publish/board/lobby`, { method: 'POST', body });
  const { open, faultless } = await browser(t);
  const page = await open(`${listen}/`);
  await page.waitForFunction(() => window.opened);
  // While the page is loaded again and again, the document of this one goes on.
  for (let round = 0; round < 5; round++) {
    const [other] = await Promise.all([open(`${listen}/`), publish(`round ${round}`)]);
    const loaded = await other.evaluate(() => ({
      images: [...document.images].filter((image) => image.naturalWidth === 8).length,
      styles: document.styleSheets.length,
      scripts: Array.from({ length: 19 }, (_, n) => window[`c${n}`]).filter(Boolean).length,
      parts: performance.getEntriesByType('resource')
        .filter((part) => part.responseStatus === 200).length,
    }));
    assert.deepEqual({ ...loaded, parts: loaded.parts >= 100 },
      { images: 60, styles: 20, scripts: 19, parts: true });
    await other.close();
  }
  await page.waitForFunction(() => window.numbers.length >= 5 && window.echoes.length >= 3);
  assert.deepEqual(await page.evaluate(() => window.numbers), [1, 2, 3, 4, 5]);
  assert.deepEqual(await page.evaluate(() => window.echoes), ['hello', 'hello!', 'hello!!']);
  faultless();
});
