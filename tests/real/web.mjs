// A web site of nginx on a Unix socket, with a program behind it.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { PATIENCE } from './support.mjs';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** The program behind nginx: slow answers, an event stream, uploads, WebSockets that echo. */
async function program(t, path) {
  const server = http.createServer(async (request, answer) => {
    const { pathname } = new URL(request.url, 'http://a');
    if (pathname === '/app/upload') {
      let bytes = 0;
      for await (const piece of request) bytes += piece.length;
      answer.end(String(bytes));
    } else if (pathname === '/app/words') {
      // Three pieces, each of which must be read before the next is written.
      for (const word of ['one ', 'two ', 'three']) {
        answer.write(word);
        await new Promise((resolve) => setImmediate(resolve));
      }
      answer.end();
    } else if (pathname === '/app/fields') {
      answer.setHeader('Set-Cookie', ['a=1', 'b=2']);
      answer.end(JSON.stringify(request.headers));
    } else {
      answer.statusCode = 404;
      answer.end();
    }
  });
  server.on('upgrade', (request, socket) => {
    const key = request.headers['sec-websocket-key'];
    const accept = createHash('sha1').update(key + GUID).digest('base64');
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n'
      + `Connection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    socket.on('error', () => {});
    socket.on('data', (frame) => {
      // Short frames that come whole; those of a client are masked.
      const length = frame[1] & 127;
      if ((frame[0] & 15) !== 1 || length > 125) return socket.end();
      const mask = frame.subarray(2, 6);
      const text = frame.subarray(6, 6 + length).map((byte, at) => byte ^ mask[at % 4]);
      return socket.write(Buffer.concat([Buffer.from([0x81, length]), text]));
    });
  });
  server.listen(path);
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
}

/** Whether somebody listens on a Unix socket. */
function listens(path) {
  return new Promise((resolve) => {
    const socket = net.connect(path);
    socket.on('connect', () => resolve(true));
    socket.on('error', () => resolve(false));
  }).finally(() => new Promise((resolve) => setImmediate(resolve)));
}

/**
 * Runs nginx in a directory that goes with the test, with that inside `http { }`, among which it is
 * told to listen on the Unix socket `web` there. Ended with the test.
 */
export async function nginx(t, folder, inside) {
  const at = (name) => join(folder, name);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${at('tmp')}/${name};`).join('\n');
  await mkdir(at('tmp'));
  await writeFile(at('conf'), `
daemon off;
${process.getuid() === 0 ? 'user root;' : ''}
worker_processes 1;
pid ${at('pid')};
error_log stderr warn;
events { worker_connections 512; }
http {
  access_log off;
  ${temporary}
  ${inside}
}
`);
  const program = process.env.TEST_NGINX ?? '/usr/sbin/nginx';
  const child = spawn(program, ['-c', at('conf'), '-e', 'stderr'],
    { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { said += text; });
  child.on('error', (error) => { said += error; });
  const over = new Promise((resolve) => child.on('close', resolve));
  t.after(async () => {
    child.kill('SIGTERM');
    await over;
  });
  // It does not say when it listens; that it does can be tried.
  const late = Date.now() + PATIENCE;
  while (!await listens(at('web'))) {
    const lives = child.pid && child.exitCode === null && Date.now() < late;
    if (!lives) throw new Error(`nginx does not listen: ${said}`);
  }
  return at('web');
}

function configuration(folder) {
  const passed = `proxy_pass http://unix:${folder}/app:; proxy_http_version 1.1;`;
  return `
  client_max_body_size 1g;
  types { text/html html; text/css css; text/javascript js; image/svg+xml svg; }
  server {
    listen unix:${folder}/web;
    root ${folder}/site;
    location /app/ { ${passed} proxy_request_buffering off; }
    location = /app/socket {
      ${passed}
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection Upgrade;
    }
    location /open/ {
      rewrite ^/open/(.*) /app/$1 break;
      chunked_transfer_encoding off;
      ${passed}
    }
  }
`;
}

/** A running site: the address for `relay.to`; `put` adds a file, `grow` a large empty one. */
export async function site(t) {
  const folder = await mkdtemp(join(tmpdir(), 'ahm-site-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, 'site'));
  await program(t, join(folder, 'app'));
  const web = await nginx(t, folder, configuration(folder));
  const put = (name, text) => writeFile(join(folder, 'site', name), text);
  const grow = async (name, bytes) => {
    const file = await open(join(folder, 'site', name), 'w');
    await file.truncate(bytes);
    await file.close();
  };
  return { address: `unix:${web}`, put, grow };
}
