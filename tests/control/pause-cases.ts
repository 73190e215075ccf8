/** What a pause promises on any broker, with workers that run and workers that start later: one suite, run by a file for each. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { App } from '../../src/app/app.js';
import type { Worker } from '../../src/app/worker-types.js';
import { silentLogger } from '../../src/core/logger.js';
import { createApp, taskContext } from '../../src/index.js';
import { until } from '../../src/testing/conformance/broker-kit.js';

/** A broker of the suite's own. */
export interface PauseBroker {
  readonly brokerUrl: string;
  readonly resultUrl: string;
  close(): Promise<void>;
}

interface Run {
  readonly task: string;
  readonly value: number;
  readonly attempt: number;
  readonly redelivered: boolean;
}

/** For answers: RabbitMQ's first question of a client waits it out. */
const PATIENCE = '5s';
/** A task that was paused comes back within a quarter of a minute. */
const BACK_MS = 40_000;

export function pauseSuite(name: string, open: () => Promise<PauseBroker>): void {
  describe(`a pause on ${name}`, { timeout: 90_000 }, () => {
    let broker: PauseBroker;
    let app: App;
    let fast: string;
    let slow: string;
    let runs: Run[];
    let count = 0;
    const workers: Worker[] = [];
    const ran = (task: string): number[] => runs.filter((run) => run.task === task).map(({ value }) => value);
    const start = async (node = 'one'): Promise<Worker> => {
      const queues = [fast, slow];
      const worker = await app.worker({
        name: `${node}@suite`,
        pool: 'inline',
        concurrency: 4,
        grace: '2s',
        queues,
        logger: silentLogger,
      });
      workers.push(worker);
      return worker;
    };
    const send = (task: 'quick' | 'long', queue: string, value: number) =>
      app.remote<[number], number>(task).with({ queue }).send(value);

    beforeAll(async () => {
      broker = await open();
    }, 60_000);
    afterAll(() => broker?.close());
    beforeEach(() => {
      count += 1;
      [fast, slow, runs] = [`fast${count}`, `slow${count}`, []];
      app = createApp({
        name: 'pauses',
        broker: broker.brokerUrl,
        results: broker.resultUrl,
        logger: silentLogger,
        defaultQueue: fast,
      });
      const note = (task: string, value: number): number => {
        const { attempt, redelivered } = taskContext();
        runs.push({ task, value, attempt, redelivered });
        return value;
      };
      app.fn('quick', (value: number) => note('quick', value));
      app.fn('long', (value: number) => note('long', value));
    });
    afterEach(async () => {
      await app.control.resumeQueues([fast, slow], { timeout: '2s' });
      await app.control.resumeTasks(['quick', 'long'], { timeout: '2s' });
      await Promise.all(workers.splice(0).map((worker) => worker.close()));
      await app.close();
    });

    test('stops a running worker from consuming a queue at once, the others go on, and resuming lets it go on', async () => {
      await start();
      await (await send('quick', slow, 1)).result({ timeout: '30s' });
      const { changed, workers: told } = await app.control.pauseQueues(slow, { timeout: PATIENCE });
      expect([changed, [...told.answers]]).toEqual([[slow], [['one@suite', { queues: [slow], tasks: [] }]]]);
      const waiting = [await send('quick', slow, 2), await send('quick', slow, 3)];
      for (const value of [4, 5, 6]) await (await send('quick', fast, value)).result({ timeout: '30s' });
      expect(ran('quick')).toEqual([1, 4, 5, 6]);
      expect([...(await app.control.activeQueues({ timeout: PATIENCE })).answers.values()][0]).toMatchObject([{ name: fast }]);

      expect((await app.control.resumeQueues(slow, { timeout: PATIENCE })).changed).toEqual([slow]);
      for (const handle of waiting) await handle.result({ timeout: '30s' });
      expect(runs.every(({ attempt, redelivered }) => attempt === 1 && !redelivered)).toBe(true);
    });

    test('holds for workers that start later, also when every queue of theirs is paused', async () => {
      await app.control.pauseQueues([fast, slow], { timeout: '300ms' });
      for (const [queue, value] of [
        [fast, 1],
        [slow, 2],
      ] as const)
        await send('quick', queue, value);
      const worker = await start();
      const { workers: told } = await app.control.pauseQueues([fast], { timeout: PATIENCE });
      expect([...told.answers.values()]).toEqual([{ queues: [fast, slow], tasks: [] }]);
      expect(await worker.stats()).toMatchObject({ received: 0 });
      await app.control.resumeQueues([slow], { timeout: PATIENCE });
      await until(() => runs.length > 0, 'the task of the resumed queue', 30_000);
      expect(ran('quick')).toEqual([2]);
      await app.control.resumeQueues([fast], { timeout: PATIENCE });
      await until(() => runs.length > 1, 'the other one', 30_000);
      expect(ran('quick')).toEqual([2, 1]);
    });

    test('keeps a task waiting while others of its queue run, and counts nothing against it', async () => {
      await start();
      expect((await app.control.pauseTasks('long', { timeout: PATIENCE })).changed).toEqual(['long']);
      for (const value of [1, 2, 3]) await send('long', fast, value);
      for (const value of [4, 5, 6]) await (await send('quick', fast, value)).result({ timeout: '30s' });
      expect(ran('long')).toEqual([]);
      expect((await app.control.resumeTasks('long', { timeout: PATIENCE })).changed).toEqual(['long']);
      await until(() => ran('long').length >= 3, 'the tasks to come back', BACK_MS);
      expect(ran('long').sort()).toEqual([1, 2, 3]);
      expect(runs.every(({ attempt, redelivered }) => attempt === 1 && !redelivered)).toBe(true);
    });

    test('of a task holds after its workers were replaced, and is told by paused()', async () => {
      const first = await start('first');
      await app.control.pauseTasks('long', { timeout: PATIENCE });
      await app.control.pauseQueues(slow, { timeout: PATIENCE });
      await first.close();
      await send('long', fast, 1);
      const second = await start('second');
      await until(async () => (await second.stats()).received >= 1, 'the second worker to have seen it', 30_000);
      expect(ran('long')).toEqual([]);
      expect((await app.control.paused()).map(({ kind, name: what }) => [kind, what])).toEqual([
        ['queue', slow],
        ['task', 'long'],
      ]);
      await app.control.resumeTasks('long', { timeout: PATIENCE });
      await until(() => ran('long').length > 0, 'the task to come back', BACK_MS);
    });

    test('made twice changes nothing the second time, and reaches every worker', async () => {
      await start('one');
      await start('two');
      await app.control.ping({ timeout: '2s' });
      expect((await app.control.pauseQueues([slow, fast], { timeout: PATIENCE })).changed).toEqual([slow, fast]);
      const again = await app.control.pauseQueues([slow], { timeout: PATIENCE });
      expect(again.changed).toEqual([]);
      expect([...again.workers.answers.keys()].sort()).toEqual(['one@suite', 'two@suite']);
      expect([...again.workers.answers.values()].map(({ queues }) => queues)).toEqual([
        [fast, slow],
        [fast, slow],
      ]);
      await app.control.resumeQueues([slow, fast], { timeout: PATIENCE });
    });
  });
}
