/**
 * What a task that ends its executor costs where executors are apart from the worker: itself, after three losses, and nobody
 * else. Where they are not, and what takes the whole process, is in `process-loss.test.ts`.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Harness, openHarness } from './harness.js';

const NEIGHBOURS = 49;

let harness: Harness;
beforeEach(async () => {
  harness = await openHarness('inline');
});
afterEach(async () => {
  await harness.close();
});

async function sendNeighbours(): Promise<readonly { result(options: { timeout: '60s' }): Promise<number> }[]> {
  const rows = Array.from({ length: NEIGHBOURS }, (_, index) => ({ args: [index, 1] as [number, number] }));
  return await harness.tasks.add.sendMany(rows);
}

describe.each([
  { pool: 'threads', how: 'exit' },
  { pool: 'threads', how: 'throw' },
  { pool: 'threads', how: 'reject' },
  { pool: 'processes', how: 'exit' },
  { pool: 'processes', how: 'throw' },
  { pool: 'processes', how: 'reject' },
  { pool: 'processes', how: 'kill' },
] as const)('pool $pool', ({ pool, how }) => {
  test(`of 50 tasks at once the one that ends its executor (${how}) is parked after three losses, and 49 succeed`, async () => {
    const module = new URL('./fixture-app.ts', import.meta.url).href;
    const reasons: string[] = [];
    const logger = { debug() {}, info() {}, warn() {}, error, child: () => logger };
    function error(fields: object, message?: string): void {
      if (message?.startsWith('executor died;')) reasons.push(String((fields as { reason?: unknown }).reason));
    }
    const worker = await harness.worker({ pool, module, concurrency: 50, logger });
    const guilty = await harness.tasks.die.send(how);
    const handles = await sendNeighbours();
    await expect(guilty.result({ timeout: '60s' })).rejects.toMatchObject({ type: 'WorkerLostError' });
    const results = await Promise.all(handles.map((handle) => handle.result({ timeout: '60s' })));
    expect(results).toEqual(Array.from({ length: NEIGHBOURS }, (_, index) => index + 1));
    expect(harness.ledger().filter((line) => line === `die ${how}`)).toHaveLength(3);
    expect(await worker.stats()).toMatchObject({ parked: 1, failed: 0 });
    expect(reasons).toHaveLength(3);
    if (how === 'throw' || how === 'reject') for (const reason of reasons) expect(reason).toContain('nobody catches this');
  }, 90_000);
});
