/** The health server on a real socket. */
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/logger.js';
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

test('headers beyond 8 KiB are refused, and the next check is answered', async () => {
  const server = await start();
  const refused = await ask(server, '/livez', 'GET', { 'x-large': 'x'.repeat(20_000) }).catch(() => null);
  expect(refused?.status).not.toBe(200);
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
