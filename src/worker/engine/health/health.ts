/**
 * The health server: `/livez`, `/readyz`, `/metrics` and `/report` over HTTP, on the engine's loop, which runs no user code. What it
 * answers is at hand in memory (`vitals.ts`): a check costs no message to the broker and well below a millisecond.
 *
 * The few lines of HTTP that a probe speaks are read here and not by `node:http`, which costs twice the CPU: one GET or HEAD a
 * connection, headers and body ignored, the connection closed after the answer.
 * Bounded: 64 connections at once, 8 KiB of request, five seconds from connecting to the end.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { ConfigError, toError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import type { HealthAddress } from '../../options.js';

const MAX_CONNECTIONS = 64;
const MAX_REQUEST_BYTES = 8_192;
const REQUEST_MS = 5_000;
const END_OF_HEADERS = '\r\n\r\n';
const REQUEST_LINE = /^([A-Z]{1,20}) ([^ ?]+)(?:\?[^ ]*)? HTTP\/1\.[01]\r\n/;
const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  431: 'Request Header Fields Too Large',
  503: 'Service Unavailable',
};

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
  const open = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    serve(socket, pages);
  });
  server.maxConnections = MAX_CONNECTIONS;
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
        for (const socket of open) socket.destroy();
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

/** Reads one request and answers it; whatever else comes is not read. */
function serve(socket: Socket, pages: HealthPages): void {
  let request = '';
  let answered = false;
  // One deadline for all of it: a client that sends a byte a second must not stay.
  const deadline = setTimeout(() => socket.destroy(), REQUEST_MS);
  deadline.unref();
  socket.once('close', () => clearTimeout(deadline));
  // A client that breaks off is none of our business.
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    if (answered) return;
    request += chunk.toString('latin1');
    const complete = request.includes(END_OF_HEADERS);
    if (!complete && request.length <= MAX_REQUEST_BYTES) return;
    answered = true;
    socket.end(
      complete && request.length <= MAX_REQUEST_BYTES ? answerTo(request, pages) : refusal(431, 'the request is too long'),
    );
  });
}

function answerTo(request: string, pages: HealthPages): string {
  const [, method, path] = REQUEST_LINE.exec(request) ?? [];
  if (method === undefined || path === undefined) return refusal(400, 'this is no HTTP/1.1 request');
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  if (!page) return refusal(404, `there is ${Object.keys(pages).join(', ')}`);
  if (method !== 'GET' && method !== 'HEAD') return refusal(405, 'only GET and HEAD');
  const { status, type, body } = page();
  return response(status, type, body, method === 'HEAD');
}

function refusal(status: 400 | 404 | 405 | 431, error: string): string {
  return response(status, 'application/json', `${JSON.stringify({ error })}\n`, false);
}

/** One answer a connection: probes come seldom, and what stays open would count against the few that may be. */
function response(status: number, type: string, body: string, headersOnly: boolean): string {
  const headers = [
    `HTTP/1.1 ${status} ${REASONS[status]}`,
    `content-type: ${type}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'cache-control: no-store',
    'connection: close',
    ...(status === 405 ? ['allow: GET, HEAD'] : []),
  ];
  return headers.join('\r\n') + END_OF_HEADERS + (headersOnly ? '' : body);
}
