// A certification authority of the test's own: what OpenSSL makes of it lies in a directory.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export const run = promisify(execFile);

const KEYS = { ec: ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'], rsa: ['rsa:2048'] };

/** An authority; `certify` makes a key and a certificate, and says where they are. */
export async function authority(t, name = 'Tests') {
  const folder = await mkdtemp(join(tmpdir(), 'ahm-authority-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const at = (file) => join(folder, file);
  await run('openssl', ['req', '-x509', '-newkey', ...KEYS.ec, '-nodes', '-keyout', at('ca.key'),
    '-out', at('ca.pem'), '-days', '30', '-subj', `/CN=${name}`,
    '-addext', 'basicConstraints=critical,CA:true',
    '-addext', 'keyUsage=critical,keyCertSign,cRLSign']);
  const certify = async (who, names, { use = 'serverAuth', kind = 'ec' } = {}) => {
    const [key, request, certificate] = ['key', 'csr', 'pem'].map((end) => at(`${who}.${end}`));
    await run('openssl', ['req', '-newkey', ...KEYS[kind], '-nodes', '-keyout', key,
      '-out', request, '-subj', `/CN=${who}`]);
    await writeFile(at(`${who}.ext`), `subjectAltName=${names}
basicConstraints=CA:false
keyUsage=critical,digitalSignature
extendedKeyUsage=${use}
`);
    await run('openssl', ['x509', '-req', '-in', request, '-CA', at('ca.pem'), '-CAkey',
      at('ca.key'), '-CAcreateserial', '-days', '30', '-extfile', at(`${who}.ext`),
      '-out', certificate]);
    return { key, certificate };
  };
  return { file: at('ca.pem'), folder, certify };
}
