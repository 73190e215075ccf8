/** A task that takes its whole worker process with it, again and again: it is parked, and the innocent around it are not. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { openHarness, until } from './harness.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

test('a task that kills its process is parked after three losses; those that died with it run to their end', async () => {
  const harness = await openHarness('threads');
  const { processKiller, ran } = harness.tasks;
  let child: ChildProcess | null = null;
  let stopping = false;
  let deaths = 0;
  /** A supervisor: starts the worker again whenever it dies. */
  const start = (): void => {
    const args = ['dist/cli/main.js', 'worker', '--app', 'tests/worker/fixture-app.ts', '--lease', '1s', '--log-level', 'silent'];
    child = spawn(process.execPath, args, { cwd: root, stdio: 'ignore' });
    child.once('exit', () => {
      if (stopping) return;
      deaths += 1;
      start();
    });
  };
  try {
    const killer = await processKiller.send();
    const innocent = await ran.sendMany(Array.from({ length: 30 }, (_, index) => ({ args: [`n${index}`] as [string] })));
    start();
    await until(async () => (await killer.state()) === 'FAILURE', 'the killer is parked', 60_000);
    await expect(killer.result({ timeout: '1s' })).rejects.toMatchObject({ type: 'WorkerLostError' });
    expect(deaths).toBe(3);
    for (const handle of innocent) expect(await handle.result({ timeout: '20s' })).toMatch(/^n\d+$/);
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
}, 90_000);

test.each(['threads', 'async', 'inline'])(
  'an idle worker of pool %s stays until it is asked to stop, and then exits 0',
  async (pool) => {
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
  },
);
