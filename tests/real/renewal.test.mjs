// Certificates and OCSP answers change under a running server, as OpenSSL sees it. Run by
// `tests/real/run`.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';

import { authority, run } from './authority.mjs';
import { ahm } from './support.mjs';

/** What `openssl s_client` says of a connection that it closes at once. */
async function client(port, ca) {
  const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'a.example',
    '-status', '-CAfile', ca.file];
  const child = spawn('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  child.stderr.resume();
  for await (const piece of child.stdout.setEncoding('utf8')) text += piece;
  return text;
}

/** Puts a file in the place of another, whole. */
async function replace(from, to) {
  await copyFile(from, `${to}.new`);
  await rename(`${to}.new`, to);
}

/** An OCSP answer of the authority: the certificate is good, or was revoked. */
async function answer(ca, { certificate }, file, revoked) {
  const at = (name) => join(ca.folder, name);
  const { stdout } = await run('openssl', ['x509', '-in', certificate, '-noout', '-serial']);
  const serial = stdout.trim().replace('serial=', '');
  const state = revoked ? 'R\t460101000000Z\t260101000000Z' : 'V\t460101000000Z\t';
  await writeFile(at('index'), `${state}\t${serial}\tunknown\t/CN=a.example\n`);
  await run('openssl', ['ocsp', '-issuer', ca.file, '-cert', certificate, '-no_nonce',
    '-reqout', at('asked')]);
  await run('openssl', ['ocsp', '-index', at('index'), '-CA', ca.file, '-rsigner', ca.file,
    '-rkey', at('ca.key'), '-reqin', at('asked'), '-respout', file, '-ndays', '7']);
}

async function serving(t, certificates) {
  // Files are looked at when the signal comes, and at no other time.
  const process = ahm(t, ['serve', '--listen', '127.0.0.1:0:tls', '--private', '127.0.0.1:0',
    '--resource', 'fx:feed', '--set', `tls.certificates=${certificates}`,
    '--set', 'tls.watch=0s']);
  const [, port] = await process.output.match(/^listening https:\/\/\S+:(\d+)/m, 'listener');
  const [, inside] = await process.output.match(/^private (http:\/\/\S+)/m, 'private listener');
  return { ...process, port, inside };
}

/** Waits until a new connection is told that. */
async function sees(port, ca, pattern) {
  for (let left = 100; left > 0; left--) {
    if (pattern.test(await client(port, ca))) return;
  }
  assert.fail(`nobody is told ${pattern}`);
}

test('an OCSP answer is sent along, and the next one after a signal', async (t) => {
  const ca = await authority(t);
  const server = await ca.certify('a.example', 'DNS:a.example');
  const [good, revoked] = ['good', 'revoked'].map((name) => join(ca.folder, `${name}.der`));
  await answer(ca, server, good, false);
  await answer(ca, server, revoked, true);
  const file = join(ca.folder, 'answer.der');
  await replace(good, file);
  const { port, pid } = await serving(t, `${server.certificate} ${server.key} ${file}`);
  const text = await client(port, ca);
  assert.match(text, /OCSP Response Status: successful/);
  assert.match(text, /Cert Status: good/);
  assert.match(text, /Verify return code: 0 \(ok\)/);
  await replace(revoked, file);
  process.kill(pid, 'SIGHUP');
  await sees(port, ca, /Cert Status: revoked/);
});

test('a certificate is renewed by a signal, and the streams go on', async (t) => {
  const ca = await authority(t);
  const first = await ca.certify('a.example', 'DNS:a.example');
  const [certificate, key] = [join(ca.folder, 'now.pem'), join(ca.folder, 'now.key')];
  await replace(first.certificate, certificate);
  await replace(first.key, key);
  const { port, pid, inside, said } = await serving(t, `${certificate} ${key}`);
  const publish = (n) => fetch(`${inside}/publish/fx/A?epoch=e&n=${n}`,
    { method: 'POST', body: `word ${n}` });
  const url = 'https://a.example/ahm/mux.html?open=fx/A;since=e:0';
  const stream = spawn('curl', ['--silent', '--no-buffer', '--max-time', '60', '--cacert', ca.file,
    '--connect-to', `a.example::127.0.0.1:${port}`, url], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => stream.kill());
  const pieces = stream.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false });
  let heard = '';
  const hears = async (words) => {
    while (!heard.includes(words)) {
      const { value, done } = await pieces.next();
      assert(!done, `the stream has ended after: ${heard}`);
      heard += value;
    }
  };
  await publish(1);
  await hears('word 1');

  const second = await ca.certify('b.example', 'DNS:a.example');
  await replace(second.key, key);
  await replace(second.certificate, certificate);
  process.kill(pid, 'SIGHUP');
  await sees(port, ca, /CN\s*=\s*b\.example/);
  await publish(2);
  await hears('word 2');

  // What cannot be used changes nothing, and the log names it.
  await writeFile(key, 'no key\n');
  process.kill(pid, 'SIGHUP');
  await said.match(/now\.key/, 'word of the file');
  assert.match(await client(port, ca), /CN\s*=\s*b\.example/);
  await publish(3);
  await hears('word 3');
});
