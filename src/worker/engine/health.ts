/**
 * The health server: `/livez`, `/readyz`, `/metrics` and `/report` over HTTP, on the engine's loop, which runs no user code. What it
 * answers is at hand in memory (`vitals.ts`): a check costs no message to the broker and well below a millisecond.
 *
 * Bounded: 64 connections at once, one request each, 8 KiB of headers, five seconds from connecting to the end of the headers.
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ConfigError, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { HealthAddress } from '../options.js';

const MAX_CONNECTIONS = 64;
const MAX_HEADERS_BYTES = 8_192;
const REQUEST_MS = 5_000;
const CHECK_EVERY_MS = 2_000;

export interface HealthAnswer {
  readonly status: 200 | 503;
  readonly type: 'application/json' | 'text/plain; version=0.0.4; charset=utf-8';
  readonly body: string;
}

/** What is served at which path. Must be quick: it runs beside the leases. */
export type HealthPages = Readonly<Record<string, () => HealthAnswer>>;

export interface HealthServer {
  readonly address: HealthAddress;
  close(): Promise<void>;
}

/** @throws ConfigError `E_HEALTH` when the address cannot be listened on */
export async function startHealthServer(wanted: HealthAddress, pages: HealthPages, logger: Logger): Promise<HealthServer> {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADERS_BYTES,
      headersTimeout: REQUEST_MS,
      requestTimeout: REQUEST_MS,
      connectionsCheckingInterval: CHECK_EVERY_MS,
    },
    (request, response) => {
      const page = pages[pathOf(request.url ?? '')];
      if (!page) return refuse(response, 404, `there is ${Object.keys(pages).join(', ')}`);
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        response.setHeader('allow', 'GET, HEAD');
        return refuse(response, 405, 'only GET and HEAD');
      }
      const { status, type, body } = page();
      send(response, status, type, body);
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  // A client that breaks off or talks nonsense is none of our business; without a listener Node would answer and close just so.
  server.on('clientError', (_error, socket) => socket.destroy());
  const address = await listen(server, wanted);
  server.on('error', (error) => logger.warn({ error: error.message }, 'the health server had an error'));
  // It must not keep a process alive that has nothing else to do.
  server.unref();
  logger.info(address, 'health server listens');
  return {
    address,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, wanted: HealthAddress): Promise<HealthAddress> {
  return new Promise((resolve, reject) => {
    const onError = (thrown: unknown): void => {
      const cause = toError(thrown);
      const taken = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
      const advice = taken ? 'another process has it; give this worker a port of its own' : cause.message;
      reject(
        new ConfigError('E_HEALTH', `the health server cannot listen on ${wanted.host}:${wanted.port}: ${advice}`, { cause }),
      );
    };
    server.once('error', onError);
    server.listen(wanted.port, wanted.host, () => {
      server.off('error', onError);
      resolve({ host: wanted.host, port: (server.address() as AddressInfo).port });
    });
  });
}

function pathOf(url: string): string {
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
}

function refuse(response: ServerResponse, status: 404 | 405, message: string): void {
  send(response, status, 'application/json', `${JSON.stringify({ error: message })}\n`);
}

/** One answer a connection: probes come seldom, and what stays open would count against the few that may be. */
function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    connection: 'close',
  });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}
