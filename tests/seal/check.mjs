// Recomputes the test vectors of the session seal with Node's own cryptography, from what the
// protocol says and nothing else: node check.mjs FILE, where FILE has them in its json block.

import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { strict as assert } from 'node:assert';

const CIPHERS = { 'aes-256-gcm': 'aes-256-gcm', 'chacha20-poly1305': 'chacha20-poly1305' };

const manual = readFileSync(process.argv[2], 'utf8');
const block = /```json\n([\s\S]*?)```/.exec(manual);
assert(block, 'no json block');
const vectors = JSON.parse(block[1]);
assert.deepEqual(vectors.map((one) => one.algorithm).sort(), Object.keys(CIPHERS).sort());

const sha256 = (bytes) => createHash('sha256').update(bytes).digest();

function counted(value, length) {
  const bytes = Buffer.alloc(length);
  bytes.writeBigUInt64BE(BigInt(value), length - 8);
  return bytes;
}

function associated(mid, d) {
  const bytes = Buffer.alloc(12);
  bytes.writeBigUInt64BE(BigInt(mid), 0);
  bytes.writeUInt32BE(d, 8);
  return bytes;
}

function seal(algorithm, key, counter, data, text) {
  const nonce = counted(counter, 12);
  const cipher = createCipheriv(CIPHERS[algorithm], key, nonce, { authTagLength: 16 });
  cipher.setAAD(data, { plaintextLength: text.length });
  return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

function open(algorithm, key, counter, data, sealed) {
  const end = sealed.length - 16;
  const nonce = counted(counter, 12);
  const cipher = createDecipheriv(CIPHERS[algorithm], key, nonce, { authTagLength: 16 });
  cipher.setAAD(data, { plaintextLength: end });
  cipher.setAuthTag(sealed.subarray(end));
  return Buffer.concat([cipher.update(sealed.subarray(0, end)), cipher.final()]);
}

let checked = 0;
for (const { algorithm, secret, mid, document, payload, commands, answers } of vectors) {
  const derive = (purpose, ...rest) => {
    const info = Buffer.concat([Buffer.from(`ahm seal 1 ${algorithm} ${purpose} ${mid}`), ...rest]);
    return Buffer.from(hkdfSync('sha256', Buffer.from(secret, 'base64url'), '', info, 32));
  };

  const { d, q, identity, lines } = document;
  const key = derive('document', Buffer.from(` ${d} ${q} `), sha256(identity));
  assert.equal(key.toString('hex'), document.key);
  lines.forEach(({ text, sealed }, at) => {
    const bytes = seal(algorithm, key, at + 1, associated(mid, d), Buffer.from(text));
    assert.equal(`<p q=${at + 1}>${bytes.toString('base64')}`, sealed);
    const opened = open(algorithm, key, at + 1, associated(mid, d), bytes);
    assert.equal(opened.toString(), text);
    assert.throws(() => open(algorithm, key, at + 2, associated(mid, d), bytes));
    checked += 1;
  });

  const payloadKey = derive('payload');
  assert.equal(payloadKey.toString('hex'), payload.key);
  const text = Buffer.from(payload.text);
  const body = seal(algorithm, payloadKey, payload.q, associated(mid, 0), text);
  assert.equal(body.toString('hex'), payload.sealed);
  checked += 1;

  for (const { key, method, target, body, proved } of commands) {
    assert.equal(derive('command').toString('hex'), key);
    const mac = createHmac('sha256', derive('command'));
    mac.update(`${method}\n${target}\n`).update(sha256(Buffer.from(body, 'hex')));
    assert.equal(`${target}&mac=${mac.digest('base64url')}`, proved);
    checked += 1;
  }

  for (const { key, q, line, json, signed } of answers) {
    assert.equal(derive('answer').toString('hex'), key);
    const mac = createHmac('sha256', derive('answer')).update(`${q}\n${line}\n${json}`);
    assert.equal(`${json.slice(0, -1)},"mac":"${mac.digest('base64url')}"}`, signed);
    JSON.parse(signed);
    checked += 1;
  }
}
console.log(`${checked} vectors agree`);
