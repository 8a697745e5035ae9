// A secure web server of its own, nginx with a certificate and a login script in Python, makes
// sessions for its users: reached past the server, and through it, encrypted from end to end. Run
// by `tests/real/run`.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';

import { authority, run } from './authority.mjs';
import { ahm } from './support.mjs';
import { nginx } from './web.mjs';

const file = fileURLToPath(new URL('login.py', import.meta.url));

/** nginx for `www.example`, with a key that nobody else has; says its socket. */
function site(t, folder, { key, certificate }) {
  return nginx(t, folder, `
  server {
    listen unix:${folder}/web ssl;
    ssl_certificate ${certificate};
    ssl_certificate_key ${key};
    location = /login { proxy_pass http://unix:${folder}/login:; }
    location / { return 200 "the web site\\n"; }
  }`);
}

/** The site's login script, on `login` in that directory; it listens. */
async function script(t, folder, inside) {
  const child = spawn('python3', [file, join(folder, 'login'), inside],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill());
  const [said] = await once(child.stdout.setEncoding('utf8'), 'data');
  assert.equal(said, 'listening\n');
}

/** How curl gets there: by a Unix socket, or by a port, whatever the host's name says. */
function way(at, url) {
  if (at.startsWith('/')) return ['--unix-socket', at];
  return ['--connect-to', `${new URL(url).host}::127.0.0.1:${at}`];
}

/** What is shown there to who asks for that name. */
function shown(at, name, ca) {
  return new Promise((resolve, reject) => {
    const place = at.startsWith('/') ? { path: at } : { host: '127.0.0.1', port: Number(at) };
    const options = { ...place, servername: name, ca };
    const socket = tls.connect(options, () => {
      resolve(socket.getPeerCertificate());
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

/** What curl is answered. */
async function curl(url, at, ca, more = []) {
  const args = ['--silent', '--max-time', '20', '--cacert', ca, ...way(at, url), ...more, url];
  return (await run('curl', args)).stdout;
}

/** The first bytes of the stream until `what` is there. */
async function stream(t, url, at, ca, key, what) {
  const args = ['--silent', '--no-buffer', '--max-time', '20', '--cacert', ca, ...way(at, url),
    ...(key ? ['--header', `AHM-Key: ${key}`] : []), url];
  const child = spawn('curl', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill());
  let text = '';
  for await (const piece of child.stdout.setEncoding('utf8')) {
    text += piece;
    if (text.includes(what)) break;
  }
  child.kill();
  return text;
}

test('a secure web server makes sessions, beside the server and through it', async (t) => {
  const [ours, theirs] = [await authority(t, 'Ours'), await authority(t, 'Theirs')];
  const push = await ours.certify('push.example', 'DNS:push.example');
  const www = await theirs.certify('www.example', 'DNS:www.example');
  const folder = theirs.folder;
  const inside = join(folder, 'private');
  const { output } = ahm(t, ['serve', '--listen', '127.0.0.1:0:tls', '--private', inside,
    '--resource', 'fx:feed', '--set', `tls.certificates=${push.certificate} ${push.key}`,
    '--set', `tls.pass=www.example=unix:${join(folder, 'web')}`,
    '--set', 'access.rules=allow fx/* group:traders']);
  const [, port] = await output.match(/^listening https:\/\/\S+:(\d+)/m, 'public listener');
  await script(t, folder, inside);
  const web = await site(t, folder, www);

  // Each name shows its own certificate: the one of the web site, whose key is not here, is its.
  for (const [name, at, ca, issuer] of [
    ['www.example', web, theirs, 'Theirs'], ['www.example', port, theirs, 'Theirs'],
    ['push.example', port, ours, 'Ours'],
  ]) {
    const seen = await shown(at, name, await readFile(ca.file));
    assert.deepEqual([seen.subject.CN, seen.issuer.CN], [name, issuer]);
  }
  const page = await curl('https://www.example/', port, theirs.file, ['--include']);
  assert.match(page, /^server: nginx/im);
  assert.match(page, /the web site/);

  // The client talks to nginx alone, whichever way; with what it is given it has its stream here.
  await run('curl', ['--silent', '--fail', '--unix-socket', inside, '--data', 'for traders',
    'http://localhost/publish/fx/A?epoch=e&n=1']);
  for (const at of [web, port]) {
    const ask = (words) => curl('https://www.example/login', at, theirs.file,
      ['--json', JSON.stringify(words)]);
    const refused = JSON.parse(await ask({ user: 'anna', password: 'guess' }));
    assert.equal(refused.ok, false);
    const made = JSON.parse(await ask({ user: 'anna', password: 'secret' }));
    assert.deepEqual([made.ok, made.user], [true, 'anna']);
    const target = `mux.html?scs=${made.scs}&mid=${made.mid}&open=fx/A;since=e:0`;
    const text = await stream(t, `https://push.example/ahm/${target}`, port, ours.file, made.k,
      'for traders');
    assert.match(text, /<p c=\d+ n=1>for traders/);
    const sealed = JSON.parse(
      await ask({ user: 'anna', password: 'secret', seal: 'aes-256-gcm' }),
    );
    assert.equal(sealed.seal, 'aes-256-gcm');
    assert.equal(Buffer.from(sealed.secret, 'base64url').length, 32);
    assert.equal(sealed.k, undefined);
  }
  // Who has no session reads nothing.
  const nobody = await stream(t, 'https://push.example/ahm/mux.html?open=fx/A', port, ours.file,
    undefined, 'e=denied');
  assert.match(nobody, /<p x u=fx\/A e=denied>/);
});
