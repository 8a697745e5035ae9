// Sealed sessions of the browser client, in Node and in Chromium, against a real server, with
// somebody between them who reads along and changes what goes by. Run by `tests/real/run`.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import test from 'node:test';

import { AhmError, Client, Seal } from '../../src/web/ahm.js';
import { ahm, browser } from './support.mjs';

const manual = new URL('../../src/manual/sealing.md', import.meta.url);

/** A server that hands out secrets without TLS, which this machine alone can hear. */
async function sealing(t, settings = []) {
  const args = ['serve', '--listen', '127.0.0.1:0', '--private', '127.0.0.1:0', '--shards', '2',
    '--resource', 'fx:feed', '--resource', 'echo:echo',
    '--set', 'protocol.seal_without_tls=true', ...settings];
  const { output } = ahm(t, args);
  const [, listen] = await output.match(/^listening (http:\/\/\S+)/m, 'public listener');
  const [, inside] = await output.match(/^private (http:\/\/\S+)/m, 'private listener');
  const publish = async (n) => {
    const body = `secret word ${n}`;
    const answer = await fetch(`${inside}/publish/fx/A?epoch=e&n=${n}`, { method: 'POST', body });
    assert.equal(answer.status, 200);
  };
  const counted = async (name) => {
    const text = await (await fetch(`${inside}/metrics`)).text();
    return Number(text.match(new RegExp(`^${name} (\\d+)$`, 'm'))[1]);
  };
  return { listen, publish, counted };
}

/** Somebody between client and server; `change` gives the bytes that go on instead. */
async function between(t, address, change) {
  const target = new URL(address);
  const heard = { up: '', down: '' };
  const sockets = new Set();
  const server = net.createServer((near) => {
    const far = net.connect({ host: target.hostname, port: Number(target.port) });
    const link = { documents: false };
    near.on('data', (bytes) => {
      const text = bytes.toString('latin1');
      heard.up += text;
      link.documents ||= /^(GET|POST) \/ahm\/(mux|refresh)\.html/m.test(text);
      far.write(bytes);
    });
    far.on('data', (bytes) => {
      heard.down += bytes.toString('latin1');
      near.write(change ? change(bytes, link) : bytes);
    });
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one);
      one.setNoDelay(true);
      one.on('error', () => {});
      one.on('close', () => (sockets.delete(one), other.destroy()));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { address: `http://127.0.0.1:${server.address().port}`, heard };
}

/** Waits until `check` holds. */
async function until(check, what) {
  for (let left = 600; left > 0; left--) {
    if (await check()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`it never came to this: ${what}`);
}

test('the browser client seals as the vectors say', async () => {
  const text = await readFile(manual, 'utf8');
  const vectors = JSON.parse(/```json\n([\s\S]*?)```/.exec(text)[1]);
  const vector = vectors.find(({ algorithm }) => algorithm === Seal.ALGORITHM);
  const seal = await Seal.of(vector.secret, vector.mid);
  const { identity, q, lines } = vector.document;
  const open = seal.opener(q);
  assert.equal(await open('<!doctype html>'), null);
  assert.equal(await open(identity), null, 'not before it is proved');
  for (const [at, { text, sealed }] of lines.entries()) {
    assert.equal(await open(sealed), at === 0 ? `${identity}\n${text}` : text);
  }
  await assert.rejects(open(lines[1].sealed), AhmError, 'a replay');
  for (const [start, ...rest] of [
    [lines[0].sealed], [identity, lines[1].sealed], [identity, lines[0].text],
    [identity, lines[0].sealed.replace(/.{8}$/, '')],
    [identity.replace('h=15000', 'h=15001'), lines[0].sealed],
    [identity, lines[0].sealed.replace('A', 'B')],
  ]) {
    const opener = seal.opener(q);
    const all = async () => {
      for (const line of [start, ...rest]) await opener(line);
    };
    await assert.rejects(all(), `${start} ${rest}`);
  }
  for (let passed = 1; passed < vector.commands[0].target.match(/q=(\d+)$/)[1]; passed++) {
    await seal.prove('ping?');
  }
  const { text: payload } = vector.payload;
  for (const { target, proved, body } of vector.commands) {
    const made = await seal.prove(target.replace(/&q=\d+$/, ''), body ? payload : undefined);
    assert.equal(made.target, proved);
    assert.equal(Buffer.from(made.init.body ?? []).toString('hex'), body);
  }
  for (const { q: number, line, signed } of vector.answers) {
    assert(await seal.isAnswer(number, line, signed));
    assert(!(await seal.isAnswer(number + 1, line, signed)));
    assert(!(await seal.isAnswer(number, line, signed.replace('true', 'null'))));
  }
});

test('whoever listens reads nothing, and whoever meddles changes nothing', async (t) => {
  const { listen, publish, counted } = await sealing(t);
  const quiet = await between(t, listen);
  let passed = 0;
  // A byte of a document's body is another one now and then.
  const meddler = await between(t, listen, (bytes, link) => {
    passed += 1;
    if (!link.documents || passed % 7 !== 0) return bytes;
    const changed = Buffer.from(bytes);
    const at = changed.lastIndexOf('>') + 5;
    if (at < changed.length) changed[at] = changed[at] === 65 ? 66 : 65;
    return changed;
  });
  const clients = [quiet, meddler].map(({ address }) => {
    const backoff = { floor: 5, base: 5, cap: 50 };
    const urls = { url: `${address}/ahm/`, login: `${listen}/ahm/` };
    const client = new Client({ ...urls, seal: true, backoff });
    t.after(() => client.close());
    const seen = { client, messages: [], gaps: 0, echoed: [] };
    client.open('fx/A', {
      since: { ep: 'e', n: 0 },
      onmessage: ({ n, data }) => seen.messages.push(`${n}: ${data}`),
      ongap: () => (seen.gaps += 1),
    });
    seen.echo = client.open('echo/x', { onmessage: ({ data }) => seen.echoed.push(data) });
    return seen;
  });
  const word = (n) => `${n}: secret word ${n}`;
  const words = (count) => Array.from({ length: count }, (_, at) => word(at + 1));
  await publish(1);
  for (const seen of clients) await until(() => seen.client.state === 'open', 'open');
  for (let n = 2; n <= 60; n++) {
    await publish(n);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  for (const { client, messages, gaps } of clients) {
    await until(() => messages.length >= 60, `all messages: ${messages.length}`);
    assert.deepEqual(messages, words(60));
    assert.equal(gaps, 0);
    assert.notEqual(client.state, 'closed');
  }
  assert.equal(await clients[0].echo.send('a secret of ours'), 'taken');
  await until(() => clients[0].echoed.includes('a secret of ours'), 'the echo');
  assert(clients[1].client.stats.resumes > 0, 'the meddler was noticed');
  assert.equal(clients[0].client.stats.resumes, 0);
  for (const { heard } of [quiet, meddler]) {
    assert(!/secret word|a secret|subject=/.test(heard.up + heard.down), 'nothing can be read');
    assert(/<p q=1>/.test(heard.down));
    // What was heard is of no use to anybody.
    const commands = [...heard.up.matchAll(/^(?:GET|POST) (\S+mac=\S+)/gm)];
    const [, target] = commands.find(([, target]) => target.includes('mux.html'));
    assert.equal((await fetch(`${listen}${target}`)).status, 403);
  }
  assert.equal(await counted('ahm_seal_refused_replayed_total'), 2);
  assert.equal(await counted('ahm_seal_refused_forged_total'), 0);
});

test('a server that does not seal is not spoken to', async (t) => {
  const { listen } = await sealing(t, ['--set', 'protocol.seal_without_tls=false']);
  const client = new Client({ url: `${listen}/ahm/`, seal: true });
  const reasons = [];
  client.open('fx/A', { onclose: ({ reason }) => reasons.push(reason) });
  await until(() => client.state === 'closed', 'closed');
  assert.deepEqual(reasons, ['forbidden']);
});

test('Chromium seals on its own machine, over TLS elsewhere', async (t) => {
  const { listen, publish } = await sealing(t, ['--set', 'relay.root=/usr/share/nginx/html']);
  await publish(1);
  const { open } = await browser(t);
  const page = await open(`${listen}/`);
  const read = await page.evaluate(async (url) => {
    const { Client } = await import(`${url}/ahm/client.js`);
    return new Promise((resolve) => {
      const client = new Client({ url: `${url}/ahm/`, seal: true });
      client.open('fx/A', {
        since: { ep: 'e', n: 0 },
        onmessage: ({ data }) => resolve({ data, secure: isSecureContext, mid: client.mid }),
        onclose: ({ reason }) => resolve({ reason }),
      });
    });
  }, listen);
  assert.equal(read.data, 'secret word 1');
  assert.equal(read.secure, true);
});
