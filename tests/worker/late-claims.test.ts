/**
 * A claim that reaches the result store late, from a worker that has lost the task by then: its connection stood still, or the worker
 * did. Nobody runs the task under that claim, so the result of the worker that has it must count.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type App, chain, createApp, taskContext, type Worker } from 'lovage';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { openResultStore } from '../../src/results/from-url.js';
import type { ResultStore } from '../../src/results/result-store.js';

const SOON = { timeout: '10s' } as const;

let folder: string;
let app: App;
let worker: Worker;
let store: ResultStore;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-late-claims-'));
  const url = `file:${join(folder, 'queue.db')}`;
  app = createApp({ broker: url, logger: silentLogger });
  store = await openResultStore({ url, logger: silentLogger, role: 'engine' });
  await store.connect({ timeoutMs: 5_000 });
});
afterEach(async () => {
  await worker.close();
  await app.close();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const claimBySomebodyElse = async (): Promise<void> => {
  expect(await store.claim(taskContext().id, { ttlMs: 60_000 })).toHaveProperty('epoch');
};
const start = async (): Promise<void> => {
  worker = await app.worker({ pool: 'inline', logger: silentLogger });
};

test('the result of the worker that has the task is stored', async () => {
  const double = app.fn('double', async (value: number) => {
    await claimBySomebodyElse();
    return value * 2;
  });
  await start();
  expect(await (await double.send(21)).result(SOON)).toBe(42);
});

test('a task that is tried again under it ends with its result', async () => {
  const tries = async (): Promise<number> => {
    await claimBySomebodyElse();
    if (taskContext().attempt === 1) throw new Error('not yet');
    return taskContext().attempt;
  };
  const flaky = app.fn('flaky', tries, { retry: { max: 2, base: '1ms' } });
  await start();
  expect(await (await flaky.send()).result(SOON)).toBe(2);
});

test('a task that is acknowledged before it runs has its result', async () => {
  const text = async (): Promise<string> => {
    await claimBySomebodyElse();
    return 'done';
  };
  const early = app.fn('early', text, { ack: 'early' });
  await start();
  expect(await (await early.send()).result(SOON)).toBe('done');
});

test('what follows the task is sent', async () => {
  const first = app.fn('first', async (value: number) => {
    await claimBySomebodyElse();
    return value;
  });
  const second = app.fn('second', async (value: number, more: number) => value + more);
  await start();
  const handle = await chain(first.si(20), second.s(1)).send();
  expect(await handle.result(SOON)).toBe(21);
});
