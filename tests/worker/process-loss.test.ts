/** A task that takes its whole worker process with it, again and again: it is parked, and the innocent around it are not. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { openHarness, POOLS, until } from './harness.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

const NEIGHBOURS = 49;

test.each([
  { pool: 'inline', how: 'kill', deaths: 3 },
  { pool: 'async', how: 'kill', deaths: 3 },
  { pool: 'threads', how: 'kill', deaths: 3 },
  { pool: 'processes', how: 'kill', deaths: 0 },
  { pool: 'processes', how: 'memory', deaths: 0 },
] as const)(
  'pool $pool: of 50 tasks at once the one that ends its process ($how) is parked after three losses, and 49 succeed; the worker dies $deaths times',
  async ({ pool, how, deaths: expected }) => {
    const harness = await openHarness(pool);
    let child: ChildProcess | null = null;
    let stopping = false;
    let deaths = 0;
    const args = ['dist/cli/main.js', 'worker', '--app', 'tests/worker/fixture-app.ts', '--lease', '1s', '--log-level', 'silent'];
    // a small heap, so that it is soon full
    const env = { ...process.env, ...(how === 'memory' ? { NODE_OPTIONS: '--max-old-space-size=64' } : {}) };
    /** A supervisor: starts the worker again whenever it dies. */
    const start = (): void => {
      child = spawn(process.execPath, [...args, '--pool', pool, '--concurrency', '50'], { cwd: root, stdio: 'ignore', env });
      child.once('exit', () => {
        if (stopping) return;
        deaths += 1;
        start();
      });
    };
    try {
      const guilty = await harness.tasks.die.send(how);
      const rows = Array.from({ length: NEIGHBOURS }, (_, index) => ({ args: [index, 1] as [number, number] }));
      const neighbours = await harness.tasks.add.sendMany(rows);
      start();
      await expect(guilty.result({ timeout: '60s' })).rejects.toMatchObject({ type: 'WorkerLostError' });
      const results = await Promise.all(neighbours.map((handle) => handle.result({ timeout: '60s' })));
      expect(results).toEqual(Array.from({ length: NEIGHBOURS }, (_, index) => index + 1));
      expect(harness.ledger().filter((line) => line === `die ${how}`)).toHaveLength(3);
      expect(deaths).toBe(expected);
    } finally {
      stopping = true;
      const worker = child as ChildProcess | null;
      if (worker && worker.exitCode === null && worker.signalCode === null) {
        const gone = new Promise((resolve) => worker.once('exit', resolve));
        worker.kill('SIGTERM');
        await gone;
      }
      await harness.close();
    }
  },
  120_000,
);

test.each(POOLS)('an idle worker of pool %s stays until it is asked to stop, and then exits 0', async (pool) => {
  const harness = await openHarness('inline');
  try {
    const args = ['dist/cli/main.js', 'worker', '--app', 'tests/worker/fixture-app.ts', '--pool', pool, '--log-format', 'json'];
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
    const code = new Promise<number | null>((resolve) => child.once('exit', resolve));
    let log = '';
    child.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString();
    });
    await until(() => log.includes('worker ready') || child.exitCode !== null, 'the worker is ready');
    // It has nothing to do. Had it nothing to live for either, Node would end it (code 13) before this task comes.
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await (await harness.tasks.add.send(2, 3)).result({ timeout: '10s' })).toBe(5);
    child.kill('SIGTERM');
    expect(await code).toBe(0);
  } finally {
    await harness.close();
  }
});
