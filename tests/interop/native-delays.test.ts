/**
 * Delayed tasks between both languages on RabbitMQ: Celery 5.6 with quorum queues and topic exchanges, where it uses its native
 * delayed delivery, and Celery 5.2 with direct exchanges, where the queue's own binding to the ladder is what brings them.
 */

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { createApp, type TaskContext, taskContext } from '../../src/index.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { hasCelery, PythonClient, startPythonWorker } from '../support/celery.js';
import { type RabbitmqServer, startRabbitmq } from '../support/rabbitmq-server.js';
import { startRedis } from '../support/redis-server.js';

const interop = new URL('.', import.meta.url).pathname;

/** In milliseconds since the epoch. */
interface When {
  readonly at: number;
  readonly eta: string | null;
}

describe.skipIf(!hasCelery('5.6') && !process.env.CI)('delayed tasks on RabbitMQ', () => {
  let rabbitmq: RabbitmqServer;
  let redis: Awaited<ReturnType<typeof startRedis>>;
  const closing: (() => Promise<unknown>)[] = [];
  beforeAll(async () => {
    [rabbitmq, redis] = await Promise.all([startRabbitmq(), startRedis()]);
  }, 90_000);
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });
  afterAll(async () => {
    await Promise.all([rabbitmq?.stop(), redis?.stop()]);
  });

  function ourApp(query = ''): ReturnType<typeof createApp> {
    const app = createApp({ name: 'ours', broker: `${rabbitmq.url}${query}`, results: redis.url, logger: silentLogger });
    closing.push(() => app.close());
    return app;
  }

  const rows = (...args: string[]): Record<string, unknown>[] =>
    JSON.parse(rabbitmq.ctl(...args, '--formatter', 'json')) as Record<string, unknown>[];

  test('of a Celery 5.6 client reach our worker on a broker that no Python worker has ever been on', async () => {
    const queue = 'shared';
    const app = ourApp('?queue_type=quorum');
    const runs: { readonly id: string; readonly atMs: number; readonly headers: readonly string[]; readonly attempt: number }[] =
      [];
    const note = (context: TaskContext): void => {
      runs.push({ id: context.id, atMs: Date.now(), headers: Object.keys(context.headers), attempt: context.attempt });
    };
    app.fn('native.when', () => note(taskContext()), { params: [] });
    app.fn(
      'native.flaky',
      () => {
        note(taskContext());
        if (taskContext().attempt === 1) throw new Error('once');
      },
      { params: [], retry: { max: 2, backoff: 'fixed', base: '1s', jitter: 'none' } },
    );
    const worker = await app.worker({ pool: 'inline', queues: { [queue]: 10 }, logger: silentLogger });
    closing.push(() => worker.close());
    const client = new PythonClient('5.6', rabbitmq.url, redis.url, 'native_delays.py');
    closing.push(() => client.close());
    expect(await client.start()).toMatch(/^5\.6/);
    const sentMs = Date.now();
    const { ids = [] } = await client.ask({
      send: [
        { task: 'native.when', options: { countdown: 3 } },
        { task: 'native.flaky', options: { countdown: 1.5 } },
      ],
    });
    const [when, flaky] = ids as [string, string];
    await until(
      () => runs.length >= 3,
      () => `three runs, not ${runs.length}`,
      20_000,
    );
    const of = (id: string): typeof runs => runs.filter((run) => run.id === id);
    expect(of(when).map(({ atMs }) => atMs >= sentMs + 2_950)).toEqual([true]);
    // the retry starts from the task's own queue: no second pair of bits, no mark of the first way
    expect(of(flaky).map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect((of(flaky)[1]?.atMs ?? 0) - (of(flaky)[0]?.atMs ?? 0)).toBeGreaterThanOrEqual(1_000);
    expect(runs.flatMap(({ headers }) => headers.filter((name) => name.startsWith('x-')))).toEqual([]);
  }, 60_000);

  test('of ours wait in the ladder and not in a Celery 5.6 worker, and run once, also when that worker retries them', async () => {
    const queue = 'both';
    const python = await startPythonWorker(
      '5.6',
      rabbitmq.url,
      redis.url,
      { folder: interop, module: 'native_delays', queue },
      { INTEROP_QUEUE: queue },
    );
    closing.push(() => python.stop());
    const app = ourApp();
    const when = app.remote<[], When>('native.when', { queue });
    const flaky = app.remote<[number], number>('native.flaky', { queue });
    const startMs = Date.now();
    const [late, retried] = await Promise.all([when.with({ countdown: '6s' }).send(), flaky.with({ countdown: '2s' }).send(1)]);
    const own = (): Record<string, unknown> | undefined =>
      rows('list_queues', 'name', 'messages', 'messages_unacknowledged').find(({ name }) => name === queue);
    expect(own()).toMatchObject({ messages: 0, messages_unacknowledged: 0 });
    expect(await retried.result({ timeout: '20s' })).toBe(2);
    const { at } = await late.result({ timeout: '20s' });
    expect(at * 1_000).toBeGreaterThanOrEqual(startMs + 6_000);
    // bound twice, through the topic exchange and by the queue itself, and delivered once
    expect(python.log().match(new RegExp(`Task native\\.when\\[${late.id}\\] received`, 'g'))).toHaveLength(1);
    expect(python.log().match(new RegExp(`Task native\\.flaky\\[${retried.id}\\] received`, 'g'))).toHaveLength(2);
  }, 90_000);

  test.skipIf(!hasCelery('5.2') && !process.env.CI)(
    'of ours reach a Celery 5.2 worker through a direct exchange, and so does its retry',
    async () => {
      const python = await startPythonWorker('5.2', rabbitmq.url, redis.url);
      closing.push(() => python.stop());
      const flaky = ourApp().remote<[string, number], { tries: number }>('py.flaky', { queue: 'python' });
      const startMs = Date.now();
      const handle = await flaky.with({ countdown: '1200ms' }).send('late', 1);
      expect(await handle.result({ timeout: '20s' })).toMatchObject({ tries: 2 });
      expect(Date.now() - startMs).toBeGreaterThanOrEqual(1_400);
      expect(python.log().match(new RegExp(`Task py\\.flaky\\[${handle.id}\\] received`, 'g'))).toHaveLength(2);
    },
    60_000,
  );
});
