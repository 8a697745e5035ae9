// A secure web server of its own, nginx with a certificate and a login script in Python, makes
// sessions for its users: reached past the server, and through it, encrypted from end to end. Run
// by `tests/real/run`.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';

import { authority, run } from './authority.mjs';
import { ahm } from './support.mjs';

const script = fileURLToPath(new URL('login.py', import.meta.url));

/** Waits until there is a file, or `check` holds. */
async function until(check, what) {
  for (let left = 600; left > 0; left--) {
    if (await check().catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`it never came to this: ${what}`);
}

/** nginx for `www.example`, with a key that nobody else has; says its port. */
async function site(t, folder, { key, certificate }, port) {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/tmp/${name};`).join('\n');
  await mkdir(join(folder, 'tmp'), { recursive: true });
  await writeFile(join(folder, 'conf'), `
${process.getuid() === 0 ? 'user root;' : ''}
worker_processes 1;
pid ${folder}/pid;
error_log ${folder}/errors warn;
events { worker_connections 64; }
http {
  access_log off;
  ${temporary}
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${certificate};
    ssl_certificate_key ${key};
    location = /login { proxy_pass http://unix:${folder}/login:; }
    location / { return 200 "the web site\\n"; }
  }
}
`);
  const nginx = process.env.TEST_NGINX ?? '/usr/sbin/nginx';
  await run(nginx, ['-c', join(folder, 'conf'), '-e', join(folder, 'errors')]);
  const pid = Number(await readFile(join(folder, 'pid'), 'utf8'));
  t.after(() => process.kill(pid, 'SIGTERM'));
}

/** A port that nobody has; nginx cannot be asked for one. */
async function freePort() {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Whom the port says it is to who asks for that name. */
function subject(port, name, ca) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, servername: name, ca };
    const socket = tls.connect(options, () => {
      resolve(socket.getPeerCertificate());
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

/** What curl is answered. */
async function curl(url, port, ca, more = []) {
  const { host } = new URL(url);
  const args = ['--silent', '--max-time', '20', '--cacert', ca,
    '--connect-to', `${host}::127.0.0.1:${port}`, ...more, url];
  return (await run('curl', args)).stdout;
}

/** The first bytes of the stream until `what` is there. */
async function stream(t, url, port, ca, key, what) {
  const { host } = new URL(url);
  const args = ['--silent', '--no-buffer', '--max-time', '20', '--cacert', ca, '--connect-to',
    `${host}::127.0.0.1:${port}`, ...(key ? ['--header', `AHM-Key: ${key}`] : []), url];
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
  const web = await freePort();
  const inside = join(folder, 'private');
  const { output } = ahm(t, ['serve', '--listen', '127.0.0.1:0:tls', '--private', inside,
    '--resource', 'fx:feed', '--set', `tls.certificates=${push.certificate} ${push.key}`,
    '--set', `tls.pass=www.example=127.0.0.1:${web}`,
    '--set', 'access.rules=allow fx/* group:traders']);
  const [, port] = await output.match(/^listening https:\/\/\S+:(\d+)/m, 'public listener');
  const login = spawn('python3', [script, join(folder, 'login'), inside], { stdio: 'inherit' });
  t.after(() => login.kill());
  await until(() => stat(join(folder, 'login')), 'the login script');
  await site(t, folder, www, web);

  // Each name shows its own certificate: the one of the web site, whose key is not here, is its.
  for (const [name, at, ca, issuer] of [
    ['www.example', web, theirs, 'Theirs'], ['www.example', port, theirs, 'Theirs'],
    ['push.example', port, ours, 'Ours'],
  ]) {
    const seen = await subject(Number(at), name, await readFile(ca.file));
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
