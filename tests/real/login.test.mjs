// Logins and renewals of the browser client, in Node, against a real server. Run by
// `tests/real/run`.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

import { Client } from '../../src/web/ahm.js';
import { ahm } from './support.mjs';

const SECRET = 'a secret of thirty-two bytes, or more';

/** A token of `user` that is good for `seconds`. */
function issue(user, seconds) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const message = `${part({ typ: 'JWT', alg: 'HS256' })}.${part({ sub: user, exp })}`;
  return `${message}.${createHmac('sha256', SECRET).update(message).digest('base64url')}`;
}

/** A server that knows only whom a token names, and warns three seconds before its end. */
async function proving(t) {
  const folder = await mkdtemp(join(tmpdir(), 'ahm-login-'));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, 'secret');
  await writeFile(file, SECRET);
  const { output } = ahm(t, ['serve', '--listen', '127.0.0.1:0', '--private', '127.0.0.1:0',
    '--resource', 'fx:feed', '--set', `auth.tokens=${file}`, '--set', 'auth.required=true',
    '--set', 'auth.expiry_warning=3s', '--set', 'protocol.seal_without_tls=true']);
  const [, listen] = await output.match(/^listening (http:\/\/\S+)/m, 'public listener');
  const [, inside] = await output.match(/^private (http:\/\/\S+)/m, 'private listener');
  const publish = (body) => fetch(`${inside}/publish/fx/A`, { method: 'POST', body });
  return { url: `${listen}/ahm/`, publish };
}

/** Waits until `check` holds. */
async function until(check, what) {
  for (let left = 600; left > 0; left--) {
    if (await check()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`it never came to this: ${what}`);
}

for (const seal of [false, true]) {
  test(`a session is renewed by the token of the moment, sealed: ${seal}`, async (t) => {
    const { url, publish } = await proving(t);
    let token = issue('anna', 5);
    const [got, told] = [[], []];
    const client = new Client({
      url, seal, credentials: () => ({ token }),
      onuser: ({ user, expires }) => told.push(`${user} ${expires > 0}`),
      onexpiry: ({ within, error }) => {
        assert.ok(within <= 3_000);
        told.push(error ? 'again' : 'expiring');
        token = issue('anna', 600);
      },
    });
    t.after(() => client.close());
    let isOpen = false;
    client.open('fx/A', {
      onmessage: ({ data }) => got.push(data),
      onopen: () => (isOpen = true),
      onclose: ({ reason }) => told.push(reason),
    });
    await until(() => isOpen, 'open');
    await publish('one');
    await until(() => told.length === 3, 'renewed');
    assert.deepEqual(told, ['anna true', 'expiring', 'anna true']);
    await publish('two');
    await until(() => got.length === 2, 'two messages');
    assert.deepEqual(got, ['one', 'two']);
    assert.equal(client.stats.sessions, 1);
    await assert.rejects(client.renew({ token: issue('eve', 600) }), { code: 'forbidden' });
    assert.equal((await client.renew({ token: issue('anna', 900) })).user, 'anna');
  });
}

test('a session that nobody renews is followed by another one, if that may be', async (t) => {
  const { url, publish } = await proving(t);
  let token = issue('anna', 3);
  const [got, states] = [[], []];
  const client = new Client({
    url, credentials: async () => ({ token }), backoff: { floor: 200, base: 1, cap: 1 },
    onstate: (state, { error }) => {
      states.push(error ? `${state} ${error.code}` : state);
      // In time for the next login, and too late for this session.
      if (state === 'waiting') token = issue('anna', got.length === 1 ? 3 : -1);
    },
  });
  t.after(() => client.close());
  let opened = 0;
  client.open('fx/A', { onmessage: ({ data }) => got.push(data), onopen: () => (opened += 1) });
  await until(() => opened === 1, 'open');
  await publish('one');
  await until(() => opened === 2, 'open again');
  await publish('two');
  await until(() => got.length === 2, 'two messages');
  await until(() => client.state === 'closed', 'the end');
  assert.deepEqual(got, ['one', 'two']);
  assert.equal(client.stats.sessions, 2);
  assert.equal(states.at(-1), 'closed auth-required');
});

test('nothing secret goes where others hear it', async () => {
  let asked = 0;
  const env = { fetch: async () => (asked += 1, new Response('{}')) };
  let end;
  const ended = new Promise((resolve) => (end = resolve));
  const client = new Client({
    url: 'http://192.0.2.1/ahm/', credentials: { user: 'anna', password: 'hunter2' }, env,
    onstate: (state, { error }) => state === 'closed' && end(error),
  });
  client.open('fx/A');
  const error = await ended;
  assert.equal(error.code, 'insecure');
  assert.ok(!error.message.includes('hunter2'));
  assert.equal(asked, 0);
});
