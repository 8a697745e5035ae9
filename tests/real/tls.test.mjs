// TLS as others see it: sslyze with Mozilla's recommendations, and Chromium with a certificate of
// its own. Run by `tests/real/run`.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { authority, run } from './authority.mjs';
import { ahm, browser } from './support.mjs';

const sslyze = fileURLToPath(new URL('../../target/sslyze/bin/sslyze', import.meta.url));

/** A server with that certificate for `localhost`: its port, and where it is told things. */
async function serving(t, { key, certificate }, how, settings = []) {
  const args = ['serve', '--listen', `127.0.0.1:0:${how}`, '--private', '127.0.0.1:0',
    '--resource', 'fx:feed', '--set', `tls.certificates=${certificate} ${key}`,
    ...settings.flatMap((setting) => ['--set', setting])];
  const { output } = ahm(t, args);
  const [, port] = await output.match(/^listening https:\/\/\S+:(\d+)/m, 'public listener');
  const [, inside] = await output.match(/^private (http:\/\/\S+)/m, 'private listener');
  return { port, inside };
}

/** What sslyze says of the port, measured by that configuration of Mozilla's. */
async function judge(port, ca, configuration) {
  const file = join(ca.folder, `${configuration}-${port}.json`);
  const args = [`--mozilla_config=${configuration}`, `--certinfo_ca_file=${ca.file}`,
    '--sni=localhost', `--json_out=${file}`, `localhost:${port}`];
  const { stdout, code } = await run(sslyze, args).then(
    ({ stdout }) => ({ stdout, code: 0 }),
    ({ stdout, code }) => ({ stdout, code }),
  );
  const verdict = stdout.slice(stdout.indexOf('COMPLIANCE AGAINST'));
  const scan = JSON.parse(await readFile(file, 'utf8')).server_scan_results[0];
  return { code, verdict, results: scan.scan_result };
}

for (const kind of ['ec', 'rsa']) {
  test(`sslyze finds nothing to change with a key of kind ${kind}`, async (t) => {
    const ca = await authority(t);
    const server = await ca.certify('localhost', 'DNS:localhost', { kind });
    const { port } = await serving(t, server, 'tls');
    const { code, verdict, results } = await judge(port, ca, 'intermediate');
    assert.match(verdict, /OK - Compliant/, verdict);
    assert.equal(code, 0);
    // No check has failed to run, and these are in none of the recommendations.
    const failed = Object.entries(results).filter(([, { status }]) => status.startsWith('ERROR'));
    assert.deepEqual(failed, []);
    const { heartbleed, openssl_ccs_injection: ccs, session_renegotiation: again } = results;
    assert.equal(heartbleed.result.is_vulnerable_to_heartbleed, false);
    assert.equal(ccs.result.is_vulnerable_to_ccs_injection, false);
    assert.equal(again.result.is_vulnerable_to_client_renegotiation_dos, false);
    assert.equal(results.tls_compression.result.supports_compression, false);
    // It would say so if there were something: this one is for TLS 1.3 alone.
    const modern = await judge(port, ca, 'modern');
    assert.notEqual(modern.code, 0);
    assert.match(modern.verdict, /TLSv1\.2|TlsVersion|tls_versions/, modern.verdict);
  });
}

/** Does what only root may. */
function asRoot(command, args) {
  return process.getuid() === 0 ? run(command, args) : run('sudo', ['-n', command, ...args]);
}

/** A home directory in which Chromium finds the authority, and a client's certificate if any. */
async function home(ca, client) {
  const folder = join(ca.folder, client ? 'home' : 'home-of-nobody');
  const database = join(folder, '.pki', 'nssdb');
  await run('mkdir', ['-p', database]);
  await run('certutil', ['-N', '-d', `sql:${database}`, '--empty-password']);
  await run('certutil', ['-A', '-d', `sql:${database}`, '-n', 'ca', '-t', 'C,,', '-i', ca.file]);
  if (client) {
    const bag = join(ca.folder, 'client.p12');
    await run('openssl', ['pkcs12', '-export', '-inkey', client.key, '-in', client.certificate,
      '-name', 'client', '-out', bag, '-passout', 'pass:']);
    await run('pk12util', ['-i', bag, '-d', `sql:${database}`, '-W', '', '-K', '']);
  }
  return folder;
}

/** Has Chromium show its certificate here without asking whoever sits before it. */
async function select(t, ca) {
  const policies = '/etc/chromium/policies/managed';
  const target = `${policies}/ahm-test-${process.pid}.json`;
  const pattern = JSON.stringify({ pattern: 'https://localhost:*', filter: {} });
  const file = join(ca.folder, 'policy.json');
  await writeFile(file, JSON.stringify({ AutoSelectCertificateForUrls: [pattern] }));
  await asRoot('mkdir', ['-p', policies]);
  await asRoot('install', ['-m', '644', file, target]);
  t.after(() => asRoot('rm', ['-f', target]));
}

/** What the page reads of a topic, in a session that is sealed or not, or why it may not. */
function read(page, port, seal = false) {
  return page.evaluate(async ([url, seal]) => {
    const { Client } = await import(`${url}/ahm/client.js`);
    return new Promise((resolve) => {
      const client = new Client({ url: `${url}/ahm/`, seal });
      client.open('fx/A', {
        since: { ep: 'e', n: 0 },
        onmessage: ({ data }) => resolve(data),
        onclose: ({ reason }) => resolve(reason),
      });
    });
  }, [`https://localhost:${port}`, seal]);
}

test('Chromium shows a certificate, and reads what its owner may', async (t) => {
  const ca = await authority(t);
  const server = await ca.certify('localhost', 'DNS:localhost');
  const anna = await ca.certify('anna', 'email:anna@example.org', { use: 'clientAuth' });
  const settings = [`tls.client_authorities=${ca.file}`, 'auth.certificates=cn',
    'access.rules=allow fx/* user:anna', 'relay.root=/usr/share/nginx/html'];
  const seen = {};
  await select(t, ca);
  for (const how of ['required', 'optional']) {
    const { port, inside } = await serving(t, server, `tls=${how}`, settings);
    await fetch(`${inside}/publish/fx/A?epoch=e&n=1`, { method: 'POST', body: 'for anna' });
    for (const who of ['anna', 'nobody']) {
      const env = { ...process.env, HOME: await home(ca, who === 'anna' ? anna : undefined) };
      await t.test(`${who}, where a certificate is ${how}`, async (t) => {
        const { open } = await browser(t, { env });
        const read_ = async () => read(await open(`https://localhost:${port}/`), port);
        seen[`${who} ${how}`] = await read_().catch(({ message }) => message.match(/ERR_\w+/)[0]);
        if (who === 'anna') {
          const page = await open(`https://localhost:${port}/`);
          assert.equal(await read(page, port, true), 'for anna');
        }
      });
      await run('rm', ['-rf', env.HOME]);
    }
    const metrics = await (await fetch(`${inside}/metrics`)).text();
    assert.match(metrics, /^ahm_auth_proved_certificate_total [1-9]/m);
    assert.match(metrics, /^ahm_seal_documents_begun_total 1$/m, 'TLS and a seal');
  }
  assert.equal(seen['anna required'], 'for anna');
  assert.equal(seen['anna optional'], 'for anna');
  assert.equal(seen['nobody optional'], 'denied');
  // The refusal comes behind the client's last word (RFC 8446, 4.4.2.4): a connection that Chromium
  // has made ahead of its need is found closed then.
  assert.match(seen['nobody required'], /^ERR_(BAD_SSL_CLIENT_AUTH_CERT|SOCKET_NOT_CONNECTED)$/);
});
