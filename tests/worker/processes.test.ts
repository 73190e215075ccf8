/** What only the pool `processes` has: children that retire and are replaced, a spare, and a life bound to their parent's. */
import { rmSync, writeFileSync } from 'node:fs';
import type { WorkerOptions } from 'lovage';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isAlive } from '../support/processes.js';
import { CliWorker } from './cli-worker.js';
import { type Harness, openHarness, until } from './harness.js';

let harness: Harness;
beforeEach(async () => {
  harness = await openHarness('processes');
});
afterEach(async () => {
  await harness.close();
});

const of = (what: string): string[] =>
  harness
    .ledger()
    .filter((line) => line.startsWith(`${what} `))
    .map((line) => line.slice(what.length + 1));
const rows = (count: number, ms: number): { args: [number] }[] => Array.from({ length: count }, () => ({ args: [ms] }));
const pidOf = (who: string): number => Number(who.split('.')[0]);

/** A worker that keeps the messages of its log. */
async function logged(options: WorkerOptions): Promise<string[]> {
  const messages: string[] = [];
  const keep = (_: object, message?: string): void => void messages.push(message ?? '');
  const logger = { debug() {}, info: keep, warn: keep, error: keep, child: () => logger };
  await harness.worker({ ...options, logger });
  return messages;
}

describe('recycling by the number of tasks', () => {
  test('after one task each: every task has a process to itself, none is lost, and all hooks have run', async () => {
    const worker = await harness.worker({ maxTasksPerChild: 1 });
    const handles = await harness.tasks.where.sendMany(rows(40, 1));
    const ran = await Promise.all(handles.map((handle) => handle.result({ timeout: '60s' })));
    expect(new Set(ran).size).toBe(40);
    expect(await worker.stats()).toMatchObject({ succeeded: 40, failed: 0, parked: 0, received: 40 });
    await worker.close();
    expect(of('stop').sort()).toEqual(of('start').sort());
    for (const who of of('start')) expect(isAlive(pidOf(who))).toBe(false);
  }, 90_000);

  test('no child runs more than its number, however many it could run at once', async () => {
    await harness.worker({ maxTasksPerChild: 7, concurrency: 10 });
    const handles = await harness.tasks.where.sendMany(rows(100, 5));
    const ran = await Promise.all(handles.map((handle) => handle.result({ timeout: '60s' })));
    for (const who of new Set(ran)) expect(ran.filter((other) => other === who).length).toBeLessThanOrEqual(7);
  }, 90_000);

  test('a long task goes on in the child that retires, while another child takes the next ones', async () => {
    await harness.worker({ processes: 1, maxTasksPerChild: 2, concurrency: 2 });
    const long = await harness.tasks.where.send(3_000);
    await until(() => of('enter').length === 1, 'the long task runs');
    const [first] = of('enter') as [string];
    expect(await (await harness.tasks.where.send(1)).result({ timeout: '10s' })).toBe(first);
    const next = await (await harness.tasks.where.send(1)).result({ timeout: '10s' });
    expect(next).not.toBe(first);
    expect(of('leave').filter((who) => who === first)).toHaveLength(1);
    expect(await long.result({ timeout: '10s' })).toBe(first);
    await until(() => of('stop').includes(first), 'its hooks have run');
    await until(() => !isAlive(pidOf(first)), 'it is gone');
  });
});

test('a child that has grown too large is replaced after the task, and the tasks go on', async () => {
  const probe = await harness.worker({ processes: 1, spare: false });
  const { rss } = await (await harness.tasks.leak.send(0)).result({ timeout: '10s' });
  await probe.close();
  const limit = Math.round(rss / 2 ** 20) + 160;
  const messages = await logged({ processes: 1, concurrency: 1, maxMemoryPerChild: `${limit}MiB` });
  const handles = await harness.tasks.leak.sendMany(rows(12, 60));
  const ran = await Promise.all(handles.map((handle) => handle.result({ timeout: '60s' })));
  // 160 MiB more than the empty child: the third reaches that, or the fourth at the latest
  for (const { times } of ran) expect(times).toBeLessThanOrEqual(4);
  expect(new Set(ran.map(({ who }) => who)).size).toBeGreaterThanOrEqual(3);
  expect(messages).toContain('an executor has grown beyond its memory limit and is replaced');
  expect(messages.filter((message) => message.startsWith('executor died'))).toEqual([]);
}, 60_000);

describe('the spare', () => {
  test('has started before it is needed, and takes the place of a child that dies', async () => {
    await harness.worker({ processes: 1 });
    await until(() => of('start').length === 2, 'the spare has started');
    const [working, spare] = of('start') as [string, string];
    const first = await (await harness.tasks.where.send(1)).result({ timeout: '10s' });
    expect(first).toBe(working);
    process.kill(pidOf(working), 'SIGKILL');
    await until(() => !isAlive(pidOf(working)), 'it is dead');
    expect(await (await harness.tasks.where.send(1)).result({ timeout: '10s' })).toBe(spare);
    await until(() => of('start').length === 3, 'there is a spare again');
  });

  test('is not there when it is not wanted', async () => {
    const worker = await harness.worker({ processes: 1, spare: false });
    await (await harness.tasks.where.send(300)).result({ timeout: '10s' });
    await worker.close();
    expect(of('start')).toHaveLength(1);
  });
});

test.each(['threads', 'processes'] as const)(
  'pool %s: while no new executor can start, the worker tries again with pauses and the others go on',
  async (pool) => {
    const refusal = `${harness.folder}/ledger.refusal`;
    const module = new URL('./fixture-app.ts', import.meta.url).href;
    const worker = await harness.worker({ pool, module, ...(pool === 'processes' ? { spare: false } : {}) });
    writeFileSync(refusal, '');
    const once = await harness.tasks.die.send('once');
    await until(() => of('refused').length >= 4, 'it was tried again', 30_000);
    expect(await (await harness.tasks.add.send(1, 2)).result({ timeout: '10s' })).toBe(3);
    expect(await once.result({ timeout: '10s' })).toBe(null);
    expect((await worker.report()).executors).toBe(1);
    rmSync(refusal);
    await until(async () => (await worker.report()).executors === 2, 'there are two again', 30_000);
    // pauses double up to five seconds: without them it would be hundreds
    expect(of('refused').length).toBeLessThan(40);
  },
  60_000,
);

describe('the life of a child', () => {
  const start = (...more: string[]): Promise<CliWorker> =>
    CliWorker.start(['--app', 'tests/worker/fixture-app.ts', '--pool', 'processes', '--grace', '1s', ...more]);

  test.each(['idle', 'spinForEver', 'longShell'] as const)(
    'ends with its parent, even if that was killed and whatever the child does (%s)',
    async (what) => {
      const worker = await start();
      await until(() => of('start').length === 3, 'two and the spare have started');
      if (what !== 'idle') {
        await harness.tasks[what].send();
        await until(() => of('pid').length === (what === 'longShell' ? 2 : 1), 'the task runs');
      }
      worker.child.kill('SIGKILL');
      const pids = [...of('start').map(pidOf), ...of('pid').map(Number)];
      await until(() => pids.every((pid) => !isAlive(pid)), 'all are gone');
    },
    40_000,
  );

  test('is not ended by a signal to it, nor by one to every process of the worker', async () => {
    const worker = await start();
    const handle = await harness.tasks.where.send(1_000);
    await until(() => of('enter').length === 1, 'the task runs');
    const [who] = of('enter') as [string];
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.kill(pidOf(who), signal);
    worker.child.kill('SIGTERM');
    expect(await worker.exit(10_000)).toBe(0);
    expect(await handle.result({ timeout: '10s' })).toBe(who);
    expect(of('enter')).toEqual([who]);
    expect(of('stop').sort()).toEqual(of('start').sort());
  });

  test('ends at a hard limit with the command that its task waits for; the worker and the neighbours stay', async () => {
    const worker = await start('--processes', '1');
    const neighbour = await harness.tasks.where.send(2_500);
    await until(() => of('enter').length === 1, 'the neighbour runs');
    const handle = await harness.tasks.limitedShell.send();
    await expect(handle.result({ timeout: '30s' })).rejects.toMatchObject({ type: 'TimeLimitExceeded' });
    await neighbour.result({ timeout: '30s' });
    expect(worker.ended).toBe(null);
    await until(() => of('pid').every((pid) => !isAlive(Number(pid))), 'child and command are gone');
    expect(await worker.stop()).toBe(0);
  }, 60_000);

  test('may end in the middle of a message: the task runs again', async () => {
    await harness.worker();
    const handle = await harness.tasks.lastBreath.send(8_000_000);
    expect((await handle.result({ timeout: '30s' })).length).toBe(8_000_000);
    expect(await (await harness.tasks.add.send(1, 2)).result({ timeout: '10s' })).toBe(3);
  });
});

test("logs of a child are those of its worker: JSON lines on standard error, with the executor's number", async () => {
  const worker = await CliWorker.start(['--app', 'tests/worker/fixture-app.ts', '--pool', 'processes']);
  const handle = await harness.tasks.speak.send('hear me');
  await handle.result({ timeout: '10s' });
  const heard = (): Record<string, unknown>[] => worker.lines().filter(({ msg }) => msg === 'hear me');
  await until(() => heard().length === 2, 'both lines are there');
  expect(heard()[0]).toMatchObject({ level: 30, id: handle.id, task: 't.speak', n: 1, executor: expect.any(Number) });
  expect(await worker.stop()).toBe(0);
});
