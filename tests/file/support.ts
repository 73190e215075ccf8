/** What the tests of the embedded file share: folders, messages, programs of the built package in processes of their own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Arrival, Broker, ConsumeOptions, Consumer, Delivery, OutgoingMessage } from '../../src/brokers/broker.js';
import { loadDriver, type SqliteRow, type SqliteValue } from '../../src/clients/sqlite/driver.js';
import { silentLogger } from '../../src/core/logger.js';

/** A folder for one file, removed by `remove`. */
export interface TemporaryFile {
  readonly folder: string;
  readonly path: string;
  readonly url: string;
  remove(): void;
}

export function temporaryFile(): TemporaryFile {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-file-'));
  const path = join(folder, 'queue.db');
  return { folder, path, url: `file:${path}`, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

export function outgoing(queue: string, id: string, body = `[["${id}"],{},{}]`): OutgoingMessage {
  return {
    to: { queue },
    message: {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      headers: { id, task: 'test.echo', lang: 'js' },
      properties: { correlation_id: id, delivery_mode: 2 },
      body: { encoding: 'utf8', data: body },
    },
  };
}

export function idOf(arrival: Arrival): string {
  return arrival.kind === 'delivery' ? String(arrival.message.headers['id']) : `garbage ${Buffer.from(arrival.raw).toString()}`;
}

/** A consumer that keeps what it gets. */
export interface Taker {
  readonly consumer: Consumer;
  readonly arrivals: Arrival[];
  readonly lost: string[];
  readonly states: string[];
  deliveries(): readonly Delivery[];
}

export async function take(broker: Broker, queue: string, credit: number, options: Partial<ConsumeOptions> = {}): Promise<Taker> {
  const arrivals: Arrival[] = [];
  const lost: string[] = [];
  const states: string[] = [];
  const consumer = await broker.consume({
    queues: [{ name: queue, credit }],
    credit,
    leaseMs: 15_000,
    consumerName: 'taker@test',
    logger: silentLogger,
    onArrivals: (list) => arrivals.push(...list),
    onLost: (tags) => lost.push(...tags),
    onState: (state) => states.push(state),
    ...options,
  });
  return { consumer, arrivals, lost, states, deliveries: () => arrivals.filter((arrival) => arrival.kind === 'delivery') };
}

/** Waits for a condition; fails with what it waited for. */
export async function until(condition: () => boolean | Promise<boolean>, what: string, patienceMs = 10_000): Promise<void> {
  const endMs = performance.now() + patienceMs;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`waited ${patienceMs} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Asks the database itself, on a connection of its own. */
export async function query(path: string, sql: string, parameters: readonly SqliteValue[] = []): Promise<SqliteRow[]> {
  const connection = (await loadDriver()).open(path);
  try {
    connection.exec('PRAGMA busy_timeout = 5000');
    connection.exec('PRAGMA wal_autocheckpoint = 0');
    return connection.prepare(sql).all(parameters);
  } finally {
    connection.close();
  }
}

export async function integrity(path: string): Promise<string> {
  return String((await query(path, 'PRAGMA integrity_check'))[0]?.['integrity_check']);
}

/** Runs a program of `fixtures/` in a process of its own; it uses the built package. */
export function startProgram(name: string, parameters: readonly string[]): ChildProcess {
  if (!existsSync(fileURLToPath(new URL('../../dist/brokers/file/index.js', import.meta.url)))) {
    throw new Error('the package is not built: run `npm run build` first');
  }
  return spawn(process.execPath, [fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url)), ...parameters], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

/** Resolves with the exit code, or the signal's name. */
export function ended(child: ChildProcess): Promise<number | string> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode ?? child.signalCode ?? -1);
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal ?? -1)));
}

/** All that a program printed. */
export async function output(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const chunk of child.stdout ?? []) text += String(chunk);
  return text;
}

/** Numbers that a seed decides, from 0 to below 1. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
