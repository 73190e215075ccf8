/** A worker and a client on a broker of their own, in a temporary folder. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Worker, WorkerOptions } from 'lovage';

type Fixture = typeof import('./fixture-app.js');

export interface Harness {
  readonly tasks: Fixture;
  readonly brokerUrl: string;
  /** Gone when the harness is closed. */
  readonly folder: string;
  worker(options?: WorkerOptions): Promise<Worker>;
  /** The ledger's lines. */
  ledger(): string[];
  close(): Promise<void>;
}

export const POOLS = ['inline', 'async', 'threads', 'processes'] as const;
export type PoolName = (typeof POOLS)[number];

/** Each harness loads its own copy of the fixture app, so that tests share nothing. */
export async function openHarness(pool: PoolName, brokerUrl?: string): Promise<Harness> {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-worker-'));
  const url = brokerUrl ?? process.env.LOVAGE_DEBUG_BROKER ?? `file:${join(folder, 'queue.db')}`;
  const ledger = join(folder, 'ledger');
  process.env.LOVAGE_TEST_BROKER = url;
  process.env.LOVAGE_TEST_LEDGER = ledger;
  const module = new URL('./fixture-app.ts', import.meta.url);
  const tasks = (await import(/* @vite-ignore */ `${module.href}?${folder}`)) as Fixture;
  const workers: Worker[] = [];
  return {
    tasks,
    brokerUrl: url,
    folder,
    async worker(options = {}) {
      const worker = await tasks.app.worker({
        pool,
        grace: '1s',
        logger: silent,
        ...(pool === 'threads' || pool === 'processes' ? { module: module.href } : {}),
        ...options,
      });
      workers.push(worker);
      return worker;
    },
    ledger() {
      try {
        return readFileSync(ledger, 'utf8')
          .split('\n')
          .filter((line) => line !== '');
      } catch {
        return [];
      }
    },
    async close() {
      await Promise.all(workers.map((worker) => worker.close()));
      await tasks.app.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

/** Waits until the condition holds; fails loudly after `timeoutMs`. */
export async function until(condition: () => boolean | Promise<boolean>, what: string, timeoutMs = 10_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
