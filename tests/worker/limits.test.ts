/** What never ends is ended by its hard limit, in each pool; what runs beside it loses nothing by that. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CliWorker } from './cli-worker.js';

type Tasks = typeof import('./limits-app.js');

const INNOCENTS = 10;
let folder: string;
let tasks: Tasks;
let worker: CliWorker;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-limits-'));
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
function start(pool: string, ...more: string[]): Promise<CliWorker> {
  const one = pool === 'async' ? [] : [`--${pool}`, '1'];
  return CliWorker.start([
    '--app',
    'tests/worker/limits-app.ts',
    '--pool',
    pool,
    ...one,
    '--concurrency',
    '30',
    '--grace',
    '1s',
    ...more,
  ]);
}

const ledger = (): string[] => readFileSync(join(folder, 'ledger'), 'utf8').trim().split('\n');

/** Every innocent task succeeds, and each of its starts was its first attempt. */
async function expectInnocent(handles: readonly { result(options: { timeout: '60s' }): Promise<string> }[]): Promise<void> {
  const results = await Promise.all(handles.map((handle) => handle.result({ timeout: '60s' })));
  expect(results).toEqual(Array.from({ length: INNOCENTS }, (_, index) => `n${index}`));
  const starts = ledger().filter((line) => line.startsWith('innocent'));
  expect(starts.length).toBeGreaterThanOrEqual(INNOCENTS);
  expect(starts.filter((line) => !line.endsWith(' 1'))).toEqual([]);
}

const rows = Array.from({ length: INNOCENTS }, (_, index) => ({ args: [`n${index}`] as [string] }));
const timeLimit = { code: 'E_TASK_FAILED', type: 'TimeLimitExceeded' };

describe.each(['threads', 'processes', 'async'])('pool %s', (pool) => {
  test('a task that listens to its signal ends by its soft limit', async () => {
    worker = await start(pool);
    const handle = await tasks.polite.send();
    await expect(handle.result({ timeout: '10s' })).rejects.toMatchObject({
      type: 'SoftTimeLimitExceeded',
      message: expect.stringContaining('soft time limit'),
    });
  });

  test('a promise that never ends is failed by the hard limit, and its slot is free again', async () => {
    worker = await start(pool, '--concurrency', '1');
    await expect((await tasks.never.send()).result({ timeout: '20s' })).rejects.toMatchObject(timeLimit);
    expect(await (await tasks.quick.send(7)).result({ timeout: '10s' })).toBe(7);
  });

  test('the limit of a call counts before that of its task, and that of the worker for those that have none', async () => {
    worker = await start(pool, '--time-limit', '400ms');
    await expect((await tasks.unlimited.send()).result({ timeout: '20s' })).rejects.toMatchObject(timeLimit);
    const patient = await tasks.innocent.with({ timeLimit: '200ms' }).send('n');
    await expect(patient.result({ timeout: '20s' })).rejects.toMatchObject(timeLimit);
  });

  test('a limit is not charged with the time for which somebody else kept the loop', async () => {
    worker = await start(pool);
    const tight = await tasks.tight.sendMany(Array.from({ length: 5 }, (_, index) => ({ args: [`t${index}`] as [string] })));
    await worker.until(() => ledger().filter((line) => line.startsWith('tight')).length === 5);
    const legal = await tasks.legal.send(700);
    const more = await tasks.legal.send(700);
    const last = await tasks.legal.send(700);
    for (const handle of tight) expect(await handle.result({ timeout: '20s' })).toMatch(/^t\d$/);
    for (const handle of [legal, more, last]) expect(await handle.result({ timeout: '20s' })).toBe(700);
  });
});

const LOOPS = ['loop', 'lateLoop', 'regex', 'atomics'] as const;

describe.each([
  ['threads', LOOPS],
  // A child can be ended whatever it does.
  ['processes', ['loop', 'shell', 'hash']],
] as const)('pool %s', (pool, names) => {
  test.each(names)(
    'a task that does not yield (%s) is ended by its hard limit, and its neighbours lose no attempt',
    async (name) => {
      worker = await start(pool);
      const innocent = await tasks.innocent.sendMany(rows);
      await worker.until(() => ledger().filter((line) => line.startsWith('innocent')).length === INNOCENTS);
      const culprit = await tasks[name].send();
      await expect(culprit.result({ timeout: '60s' })).rejects.toMatchObject(timeLimit);
      await expectInnocent(innocent);
      expect(await (await tasks.quick.send(7)).result({ timeout: '20s' })).toBe(7);
      expect(worker.ended).toBe(null);
    },
    90_000,
  );
});

describe.each(['threads', 'async'])('pool %s', (pool) => {
  // In pool async nothing but the process can be ended, whatever keeps the loop.
  test.each(pool === 'threads' ? (['shell', 'hash'] as const) : (['loop', 'shell'] as const))(
    'a task that cannot be ended (%s) ends the process with 70; the next worker runs what it held',
    async (name) => {
      worker = await start(pool);
      const innocent = await tasks.innocent.sendMany(rows);
      await worker.until(() => ledger().filter((line) => line.startsWith('innocent')).length === INNOCENTS);
      const culprit = await tasks[name].send();
      expect(await worker.exit(30_000)).toBe(70);
      expect(worker.lastLine()).toMatchObject({ exitCode: 70, code: 'E_EXECUTOR_STUCK' });
      worker = await start(pool);
      await expect(culprit.result({ timeout: '60s' })).rejects.toMatchObject(timeLimit);
      await expectInnocent(innocent);
    },
    90_000,
  );
});

test('a block is reported after two seconds by the name of its task, and its end too', async () => {
  worker = await start('threads');
  const handle = await tasks.legal.send(3_500);
  expect(await handle.result({ timeout: '20s' })).toBe(3_500);
  await worker.until(() => worker.log().includes('the executor answers again'));
  expect(worker.lines().find(({ msg }) => String(msg).includes('keeps its executor from answering'))).toMatchObject({
    task: 'l.legal',
    id: handle.id,
  });
});
