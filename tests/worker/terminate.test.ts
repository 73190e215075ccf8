/** What is revoked while it runs is ended, in each pool and whatever it does; what runs beside it loses nothing by that. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CliWorker } from './cli-worker.js';
import { until } from './harness.js';

type Tasks = typeof import('./limits-app.js');

const INNOCENTS = 10;
/** Longer than any test: the hard limit must not be what ends them. */
const PATIENT = { timeLimit: '10m' } as const;
let folder: string;
let tasks: Tasks;
let worker: CliWorker;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-terminate-'));
  process.env.LOVAGE_TEST_BROKER = `file:${join(folder, 'queue.db')}`;
  process.env.LOVAGE_TEST_LEDGER = join(folder, 'ledger');
  tasks = (await import(/* @vite-ignore */ `./limits-app.ts?${folder}`)) as Tasks;
});
afterEach(async () => {
  await worker.stop();
  await tasks.app.close();
  rmSync(folder, { recursive: true, force: true });
});

/** One executor with room for all of them, so that they stand beside each other. */
function start(pool: string): Promise<CliWorker> {
  const one = pool === 'async' ? [] : [`--${pool}`, '1'];
  const app = ['--app', 'tests/worker/limits-app.ts'];
  return CliWorker.start([...app, '--pool', pool, ...one, '--concurrency', '30', '--grace', '1s']);
}

const ledger = (): string[] => readFileSync(join(folder, 'ledger'), 'utf8').trim().split('\n');
const started = (): number => ledger().filter((line) => line.startsWith('innocent')).length;
const innocents = Array.from({ length: INNOCENTS }, (_, index) => ({ args: [`n${index}`] as [string] }));

/** The worker says that it runs there. */
async function untilActive(id: string): Promise<void> {
  await until(async () => {
    const { answers } = await tasks.app.control.active({ limit: 1 }); // there is one worker
    return [...answers.values()].flat().some((request) => request.id === id && request.time_start !== null);
  }, 'it runs');
}

interface Handle {
  readonly id: string;
  revoke(options: { terminate: true; signal?: string }): Promise<string>;
  status(): Promise<{ readonly state: string; readonly error: { readonly message: string } | null }>;
}

async function terminate(handle: Handle, signal?: string): Promise<void> {
  await untilActive(handle.id);
  await handle.revoke(signal === undefined ? { terminate: true } : { terminate: true, signal });
  await until(async () => (await handle.status()).error?.message === 'terminated', 'it is terminated', 30_000);
  expect((await handle.status()).state).toBe('REVOKED');
}

describe.each(['threads', 'processes', 'async'])('pool %s', (pool) => {
  test('a promise that never ends is abandoned, and the worker goes on', { timeout: 90_000 }, async () => {
    worker = await start(pool);
    const never = await tasks.never.with(PATIENT).send();
    await terminate(never);
    expect(await (await tasks.quick.send(7)).result({ timeout: '20s' })).toBe(7);
    expect(worker.lines().some(({ msg }) => String(msg).startsWith('task revoked while it ran'))).toBe(true);
  });

  test('a task that listens to its signal ends by it', { timeout: 90_000 }, async () => {
    worker = await start(pool);
    const polite = await tasks.polite.with({ softTimeLimit: '9m', timeLimit: '10m' }).send();
    await terminate(polite);
    expect(worker.log()).not.toContain('goes on and counts for nothing');
  });
});

describe.each([
  ['threads', ['loop', 'regex', 'atomics']],
  // A child can be ended whatever it does.
  ['processes', ['loop', 'shell']],
] as const)('pool %s', (pool, names) => {
  test.each(names)(
    'a task that does not yield (%s) is ended with its executor, and its neighbours lose no attempt',
    { timeout: 90_000 },
    async (name) => {
      worker = await start(pool);
      const beside = await tasks.innocent.sendMany(innocents);
      await worker.until(() => started() === INNOCENTS);
      await terminate(await tasks[name].with(PATIENT).send(), 'SIGKILL');
      const results = await Promise.all(beside.map((handle) => handle.result({ timeout: '60s' })));
      expect(results).toEqual(innocents.map(({ args: [key] }) => key));
      expect(ledger().filter((line) => line.startsWith('innocent') && !line.endsWith(' 1'))).toEqual([]);
      expect(await (await tasks.quick.send(7)).result({ timeout: '20s' })).toBe(7);
      expect(worker.ended).toBe(null);
    },
  );
});
