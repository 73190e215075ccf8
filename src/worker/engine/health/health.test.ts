/** The health server on a real socket. */
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { silentLogger } from '../../../core/logger.js';
import { type HealthPages, type HealthServer, startHealthServer } from './health.js';

const pages: HealthPages = {
  '/livez': () => ({ status: 200, type: 'application/json', body: '{"alive":true}\n' }),
  '/readyz': () => ({ status: 503, type: 'application/json', body: '{"ready":false}\n' }),
};
const open: HealthServer[] = [];

async function start(port = 0): Promise<HealthServer> {
  const server = await startHealthServer({ host: '127.0.0.1', port }, pages, silentLogger);
  open.push(server);
  return server;
}

afterEach(async () => {
  for (const server of open.splice(0)) await server.close();
});

function ask(server: HealthServer, path: string, method = 'GET', headers: Record<string, string> = {}) {
  return new Promise<{ status: number; body: string; headers: NodeJS.Dict<string | string[]> }>((resolve, reject) => {
    const asked = request({ ...server.address, path, method, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body, headers: response.headers }));
    });
    asked.on('error', reject);
    asked.end();
  });
}

test('answers with the page of the path, whatever the query, and closes the connection', async () => {
  const server = await start();
  expect(server.address.port).toBeGreaterThan(0);
  const live = await ask(server, '/livez?verbose=1');
  expect(live).toMatchObject({ status: 200, body: '{"alive":true}\n' });
  expect(live.headers['connection']).toBe('close');
  expect(await ask(server, '/readyz')).toMatchObject({ status: 503, body: '{"ready":false}\n' });
  expect(await ask(server, '/livez', 'HEAD')).toMatchObject({ status: 200, body: '' });
});

test('an unknown path is 404 and names the known ones; another method is 405', async () => {
  const server = await start();
  const unknown = await ask(server, '/constructor');
  expect(unknown.status).toBe(404);
  expect(unknown.body).toContain('/livez, /readyz');
  expect((await ask(server, '/livez', 'POST')).status).toBe(405);
});

/** What comes back for raw bytes, until the server closes. */
function say(server: HealthServer, ...parts: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(server.address.port, '127.0.0.1');
    let heard = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      heard += chunk.toString();
    });
    socket.once('close', () => resolve(heard));
    for (const part of parts) setImmediate(() => socket.write(part));
  });
}

test('a request may come in pieces, with a body, in HTTP/1.0', async () => {
  const server = await start();
  expect(await say(server, 'GET /li', 'vez HT', 'TP/1.0\r\nhost: x\r', '\n\r\n')).toMatch(
    /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n\{"alive":true\}\n$/,
  );
  expect(await say(server, 'POST /livez HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc')).toMatch(
    /^HTTP\/1\.1 405 [\s\S]*allow: GET, HEAD/,
  );
});

test('what is no HTTP is refused', async () => {
  const server = await start();
  for (const nonsense of ['\r\n\r\n', 'hello\r\n\r\n', 'GET /livez\r\n\r\n', 'GET  HTTP/1.1\r\n\r\n', '\u0000\u0001\r\n\r\n'])
    expect(await say(server, nonsense)).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  expect((await ask(server, '/livez')).status).toBe(200);
});

test('a request beyond 8 KiB is refused, and the next check is answered', async () => {
  const server = await start();
  expect((await ask(server, '/livez', 'GET', { 'x-large': 'x'.repeat(20_000) })).status).toBe(431);
  expect(await say(server, `GET /${'x'.repeat(9_000)}`)).toMatch(/^HTTP\/1\.1 431 /);
  expect((await ask(server, '/livez')).status).toBe(200);
});

test('connections that ask nothing are dropped beyond 64 and after five seconds, and do not keep checks out for long', async () => {
  const server = await start();
  const idle = Array.from({ length: 80 }, () => connect(server.address.port, '127.0.0.1'));
  const closed = idle.map((socket) => {
    socket.on('error', () => {});
    return new Promise<void>((resolve) => socket.once('close', () => resolve()));
  });
  await Promise.all(closed);
  expect((await ask(server, '/livez')).status).toBe(200);
}, 30_000);

test('closing ends connections that are open, and frees the port', async () => {
  const server = await start();
  const socket = connect(server.address.port, '127.0.0.1');
  const ended = new Promise((resolve) => socket.once('close', resolve));
  await new Promise((resolve) => socket.once('connect', resolve));
  await server.close();
  await ended;
  expect((await start(server.address.port)).address.port).toBe(server.address.port);
});

test('a port that another process has is an error with a code that names the address', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', () => resolve()));
  const { port } = other.address() as { port: number };
  try {
    await expect(startHealthServer({ host: '127.0.0.1', port }, pages, silentLogger)).rejects.toMatchObject({
      code: 'E_HEALTH',
      message: expect.stringContaining(`127.0.0.1:${port}`),
    });
  } finally {
    await new Promise((resolve) => other.close(resolve));
  }
});
