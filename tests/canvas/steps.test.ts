/** `ctx.step` in every pool, in the in-memory app and in `task.run()`: what has finished does not run again. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createApp, taskContext } from 'lovage';
import { memoryApp } from 'lovage/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadDriver } from '../../src/clients/sqlite/driver.js';
import { openFileResults } from '../../src/results/file/index.js';
import type { StepStore } from '../../src/results/steps.js';

type Fixture = typeof import('./steps-app.js');

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const SOON = { timeout: '20s' } as const;

describe.each(['inline', 'async', 'threads', 'processes'] as const)('in pool %s', (pool) => {
  let folder: string;
  let tasks: Fixture;
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'lovage-steps-'));
    process.env.LOVAGE_TEST_BROKER = `file:${join(folder, 'queue.db')}`;
    process.env.LOVAGE_TEST_LEDGER = join(folder, 'ledger');
    writeFileSync(join(folder, 'ledger'), '');
    tasks = (await import(/* @vite-ignore */ `${new URL('./steps-app.ts', import.meta.url).href}?${folder}`)) as Fixture;
  });
  afterEach(async () => {
    await tasks.app.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const ledger = (): string[] => readFileSync(join(folder, 'ledger'), 'utf8').trim().split('\n');

  test('a task that is retried goes on behind its finished steps, which are gone when it has succeeded', {
    timeout: 60_000,
  }, async () => {
    const module = new URL('./steps-app.ts', import.meta.url).href;
    const worker = await tasks.app.worker({
      ...{ pool, grace: '1s', logger: silent },
      ...(pool === 'threads' || pool === 'processes' ? { module } : {}),
    });
    try {
      const handle = await tasks.stumble.send(2);
      expect(await handle.result(SOON)).toEqual([3, 1]);
      expect(ledger()).toEqual(['first']);
      expect(await (await tasks.misuse.send()).result(SOON)).toEqual([
        ...['E_CONFIG_RANGE', 'E_NOT_SERIALISABLE', 'E_STEP_LIMIT', 'E_STEP_BUSY'],
        ...['E_STEP_LIMIT', 'none'],
      ]);
      expect(await (await tasks.outer.send()).result(SOON)).toEqual(['a', 'b', true]);
    } finally {
      await worker.close();
    }
    expect(await rowsOf(join(folder, 'queue.db'))).toEqual([0, 0]);
  });
});

/** How many steps, and tasks with steps, a file has. */
async function rowsOf(path: string): Promise<number[]> {
  const connection = (await loadDriver()).open(path);
  try {
    return ['steps', 'step_tasks'].map((table) =>
      Number(connection.prepare(`SELECT count(*) AS n FROM ${table}`).get([])?.['n']),
    );
  } finally {
    connection.close();
  }
}

test('a file drops steps whose time is over, when results are written', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-steps-'));
  const path = join(folder, 'queue.db');
  const store = await openFileResults({ url: `file:${path}`, logger: silent, role: 'engine' });
  const steps = store.steps as StepStore;
  for (let nth = 0; nth < 20; nth++)
    await steps.put({ taskId: `task ${nth}`, name: 'one', resultJson: '1', epoch: 0, ttlMs: nth < 19 ? 1 : 60_000 });
  expect(await rowsOf(path)).toEqual([20, 20]);
  const write = { state: 'SUCCESS', meta: '{}', epoch: 0, ttlMs: 60_000, replyTo: null, correlationId: null };
  await store.set([{ ...write, id: 'any' }]);
  expect(await rowsOf(path)).toEqual([1, 1]);
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

test('steps work in the in-memory app, across a retry', async () => {
  const app = createApp({ name: 'steps-in-memory', broker: 'memory:steps' });
  let ran = 0;
  const twice = app.fn(
    'twice',
    async (): Promise<number> => {
      const ctx = taskContext();
      const got = await ctx.step('count', () => ++ran);
      if (ctx.attempt === 1) throw ctx.retry({ in: '1h' });
      return got;
    },
    { retry: true },
  );
  await using memory = await memoryApp(app);
  const handle = await twice.send();
  expect(await memory.drain()).toMatchObject({ retried: 1 });
  expect(await memory.advance('1h')).toMatchObject({ succeeded: 1 });
  expect(await handle.result(SOON)).toBe(1);
  await app.close();
});

test('run() in place keeps steps for the call alone', async () => {
  const app = createApp({ name: 'steps-in-place', broker: 'memory:steps-in-place' });
  let ran = 0;
  const again = app.fn('again', async (): Promise<number[]> => {
    const ctx = taskContext();
    return [await ctx.step('count', () => ++ran), await ctx.step('count', () => ++ran), await ctx.step('other', () => ++ran)];
  });
  expect(await again.run()).toEqual([1, 1, 2]);
  expect(await again.run()).toEqual([3, 3, 4]);
  await app.close();
});
