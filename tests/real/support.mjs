// What the tests with real programs share: the demo, a cutting proxy, a browser, a subscriber.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const require = createRequire(new URL('../../target/real/', import.meta.url));
const { chromium } = require('playwright-core');

export const PATIENCE = 30_000;

/** The newest bytes of a process's output, and promises for what is to come. */
class Output {
  text = '';
  #waiting = new Set();

  constructor(child, stream) {
    stream.setEncoding('utf8');
    stream.on('data', (piece) => {
      this.text += piece;
      for (const look of this.#waiting) look();
    });
    child.on('exit', (code) => {
      this.ended = `the program ended with ${code}`;
      for (const look of this.#waiting) look();
    });
  }

  /** The first match of `pattern`, now or later. */
  match(pattern, what) {
    return new Promise((resolve, reject) => {
      const finish = (settle, value) => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        settle(value);
      };
      const look = () => {
        const found = this.text.match(pattern);
        if (found) finish(resolve, found);
        else if (this.ended) finish(reject, new Error(`no ${what}: ${this.ended}`));
      };
      const late = () => finish(reject, new Error(`no ${what} in: ${this.text.slice(-2000)}`));
      const timer = setTimeout(late, PATIENCE);
      this.#waiting.add(look);
      look();
    });
  }
}

/** Starts `ahm` with `args`; ended with the test. */
export function ahm(t, args, variables = {}) {
  const env = { ...process.env, AHM_REGISTRY_LISTEN: 'off', ...variables };
  const child = spawn(process.env.TEST_AHM, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  const output = new Output(child, child.stdout);
  const said = new Output(child, child.stderr);
  const end = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  };
  t.after(end);
  return { output, said, end, pid: child.pid };
}

/** A running demo: the addresses of its two listeners. */
export async function demo(t, variables = {}) {
  const args = ['demo', '--listen', '127.0.0.1:0', '--private', '127.0.0.1:0'];
  const { output, end } = ahm(t, args, variables);
  const [, listen] = await output.match(/^listening (http:\/\/\S+)/m, 'public listener');
  const [, inside] = await output.match(/^private (http:\/\/\S+)/m, 'private listener');
  return { listen, inside, end };
}

/** A proxy in front of `address` that can break what goes through it, or go elsewhere. */
export async function cutter(t, address) {
  let target = new URL(address);
  const pairs = new Set();
  const server = net.createServer((near) => {
    const far = net.connect({ host: target.hostname, port: Number(target.port) });
    const pair = { near, far };
    pairs.add(pair);
    near.pipe(far);
    far.pipe(near);
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        pairs.delete(pair);
        near.destroy();
        far.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    const broken = pairs.size;
    for (const { near, far } of [...pairs]) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
    return broken;
  };
  t.after(() => {
    cut();
    server.close();
  });
  const forward = (elsewhere) => {
    target = new URL(elsewhere);
  };
  return { address: `http://127.0.0.1:${server.address().port}`, cut, forward };
}

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

/** A browser with an empty profile; `open` gives a page whose faults fail the test. */
export async function browser(t, more = {}) {
  const profile = await mkdtemp(join(tmpdir(), 'ahm-browser-'));
  const options = { executablePath: '/usr/bin/chromium', args: FLAGS, headless: true, ...more };
  const context = await chromium.launchPersistentContext(profile, options);
  t.after(async () => {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  });
  const faults = [];
  const open = async (address) => {
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (message) => {
      // A connection that the test cut is reported as a failed resource, and is meant to be.
      const expected = message.text().startsWith('Failed to load resource: net::');
      if (message.type() === 'error' && !expected) faults.push(message.text());
    });
    await page.goto(address);
    return page;
  };
  return { open, faultless: () => assert.deepEqual(faults, []) };
}

/** The counters that the page shows in its body's data attributes, as numbers where they are. */
export function counters(page) {
  return page.evaluate(() => {
    const pairs = Object.entries(document.body.dataset);
    const typed = (value) => (/^\d+$/.test(value) ? Number(value) : value);
    return Object.fromEntries(pairs.map(([name, value]) => [name, typed(value)]));
  });
}

/** Waits until `name` in the page's counters is at least `least`. */
export async function reaches(page, name, least) {
  const check = ([which, bound]) => Number(document.body.dataset[which]) >= bound;
  await page.waitForFunction(check, [name, least], { timeout: PATIENCE });
}
