/** What a worker says of itself over HTTP and in its report: in every pool, while tasks run, block, and when it stops. */
import { createServer } from 'node:net';
import type { Worker } from 'lovage';
import { describe, expect, test } from 'vitest';
import { askHealth, notReady } from '../support/health-client.js';
import { openHarness, type PoolName, until } from './harness.js';

const POOLS: readonly PoolName[] = ['inline', 'async', 'threads', 'processes'];

async function portOf(worker: Worker): Promise<number> {
  const { health } = await worker.report();
  if (health === null) throw new Error('the worker has no health server');
  return health.port;
}

describe.each(POOLS)('pool %s', (pool) => {
  test('is alive and ready, counts what it ran, and is gone after the stop', async () => {
    const harness = await openHarness(pool);
    try {
      const worker = await harness.worker({ name: 'node"7"', health: { port: 0 } });
      const port = await portOf(worker);
      expect((await askHealth(port, '/livez')).status).toBe(200);
      expect(await notReady(port)).toEqual([]);
      for (let n = 0; n < 5; n++) await (await harness.tasks.add.send(n, 1)).result({ timeout: '10s' });
      await expect((await harness.tasks.fail.send('no')).result({ timeout: '10s' })).rejects.toThrow('no');

      const { text } = await askHealth(port, '/metrics');
      expect(text).toContain('lovage_worker_info{node="node\\"7\\""} 1\n');
      expect(text).toContain('lovage_ready 1\n');
      expect(text).toContain('lovage_deliveries_total{event="succeeded"} 5\n');
      expect(text).toContain('lovage_deliveries_total{event="failed"} 1\n');
      expect(text).toContain('lovage_task_runs_total{queue="lovage",task="t.add"} 5\n');
      expect(text).toMatch(/^lovage_broker_silence_seconds [\d.e-]+$/m);
      for (const line of text.trimEnd().split('\n')) expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{.*\})? -?[\d.e+-]+)$/);

      const report = await worker.report();
      expect(report).toMatchObject({ ready: true, active: 0, blockedExecutors: 0, findings: [] });
      expect(report.tasks.find(({ task }) => task === 't.add')).toMatchObject({ queue: 'lovage', runs: 5, failures: 0 });
      expect(report.tasks.find(({ task }) => task === 't.fail')).toMatchObject({ runs: 1, failures: 1 });
      const served = (await askHealth(port, '/report')).json;
      expect(served).toMatchObject({ name: 'node"7"', ready: true, health: { host: '127.0.0.1', port } });

      await worker.close();
      await expect(askHealth(port, '/livez')).rejects.toThrow(/ECONNREFUSED|ECONNRESET/);
    } finally {
      await harness.close();
    }
  });

  test('is ready while every slot is taken, and not while it stops', async () => {
    const harness = await openHarness(pool);
    try {
      const worker = await harness.worker({
        concurrency: 2,
        ...(pool === 'threads' ? { threads: 1 } : {}),
        health: {},
        grace: '30s',
      });
      const port = await portOf(worker);
      const keys = ['a', 'b', 'c'];
      for (const key of keys) await harness.tasks.untilAborted.send(key);
      await until(() => harness.ledger().filter((line) => line.startsWith('began')).length === 2, 'both slots are taken');
      expect(await notReady(port)).toEqual([]);
      expect((await worker.report()).active).toBe(2);
      const closing = worker.close();
      await until(async () => (await notReady(port)).includes('stopping'), 'it says that it stops');
      expect((await askHealth(port, '/livez')).status).toBe(200);
      await worker.close(); // hurries
      await closing;
    } finally {
      await harness.close();
    }
  });

  test('does not start on a port that somebody else has', async () => {
    const harness = await openHarness(pool);
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', () => resolve()));
    const { port } = other.address() as { port: number };
    try {
      await expect(harness.worker({ health: { port } })).rejects.toMatchObject({ code: 'E_HEALTH' });
    } finally {
      await new Promise((resolve) => other.close(resolve));
      await harness.close();
    }
  });
});

test('a blocked executor turns it red only when no other is left, and green when it answers again', async () => {
  const harness = await openHarness('threads');
  try {
    const worker = await harness.worker({ threads: 2, concurrency: 2, health: {} });
    const port = await portOf(worker);
    await harness.tasks.spin.send(8_000);
    await until(async () => (await worker.report()).blockedExecutors === 1, 'the block is seen');
    expect(await notReady(port)).toEqual([]);
    await harness.tasks.spin.send(3_500);
    await until(async () => (await notReady(port)).includes('executors-blocked'), 'nobody is left to take a task');
    const live = await askHealth(port, '/livez');
    expect(live.status).toBe(200);
    expect((await askHealth(port, '/metrics')).text).toContain('lovage_executors_blocked 2\n');
    await until(async () => (await notReady(port)).length === 0, 'an executor answers again');
    await until(async () => (await worker.report()).active === 0, 'both have ended', 20_000);
    const report = await worker.report();
    expect(report.findings.map(({ code }) => code)).toEqual(['blocked-loop']);
    expect(report.findings[0]?.text).toContain('2 times');
  } finally {
    await harness.close();
  }
}, 40_000);

test('a worker without a health server reports all the same', async () => {
  const harness = await openHarness('inline');
  try {
    const worker = await harness.worker();
    expect(await worker.report()).toMatchObject({ health: null, ready: true, slots: 10 });
  } finally {
    await harness.close();
  }
});
