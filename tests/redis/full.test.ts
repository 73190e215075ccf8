/** A worker whose Redis has no memory left: it works the queue off, which is what makes room again, and loses nothing. */

import { expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { createApp, taskContext } from '../../src/index.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { redisSuite } from './redis-kit.js';

redisSuite(
  'a worker on a Redis without memory left',
  (kit) => {
    test('runs what waits, retries included, stores small results, keeps big ones until there is room, and refuses sends', async () => {
      const app = createApp({ name: 'full', broker: kit.server.url, logger: silentLogger });
      const runs = new Map<string, number>();
      const ran = (): void => {
        const { id } = taskContext();
        runs.set(id, (runs.get(id) ?? 0) + 1);
      };
      const small = app.fn('full.small', (n: number): number => {
        ran();
        return n;
      });
      const big = app.fn('full.big', (): string => {
        ran();
        return 'x'.repeat(100_000);
      });
      const retried = app.fn(
        'full.retried',
        (): number => {
          ran();
          const { attempt } = taskContext();
          if (attempt < 3) throw new Error(`attempt ${attempt}`);
          return attempt;
        },
        { retry: { max: 5, backoff: 'fixed', base: '50ms', jitter: 'none' } },
      );
      const failing = app.fn('full.failing', (): number => {
        ran();
        throw new RangeError('as it should');
      });
      const handles = {
        small: await Promise.all(Array.from({ length: 200 }, (_, n) => small.send(n))),
        big: await Promise.all(Array.from({ length: 5 }, () => big.send())),
        retried: await Promise.all(Array.from({ length: 20 }, () => retried.send())),
        failing: await Promise.all(Array.from({ length: 20 }, () => failing.send())),
      };
      // less than it uses already: every command that could use more is refused
      await kit.admin.config('SET', 'maxmemory', '1');
      const worker = await app.worker({ pool: 'inline', concurrency: 20, logger: silentLogger });
      try {
        const state = async (handle: { state(): Promise<string> }): Promise<string> => handle.state();
        await until(
          async () => (await Promise.all([...handles.small, ...handles.retried].map(state))).every((each) => each === 'SUCCESS'),
          'every small result',
          30_000,
        );
        await until(
          async () => (await Promise.all(handles.failing.map(state))).every((each) => each === 'FAILURE'),
          'the failures',
        );
        await until(async () => (await kit.admin.hlen('unacked')) === handles.big.length, 'only the big ones to be held');
        expect(await kit.admin.exists('lovage', 'lovage:delayed')).toBe(0);
        expect(await Promise.all(handles.big.map(state))).toEqual(handles.big.map(() => 'PENDING'));
        await expect(small.with({ id: 'late' }).send(1)).rejects.toMatchObject({
          code: 'E_BROKER_FULL',
          outcome: 'not-sent',
          taskId: 'late',
        });

        await kit.admin.config('SET', 'maxmemory', '0');
        for (const handle of handles.big) expect(await handle.result({ timeout: '20s' })).toHaveLength(100_000);
        await until(async () => (await kit.admin.hlen('unacked')) === 0, 'every acknowledgement');
        expect(await (await small.send(7)).result({ timeout: '20s' })).toBe(7);
        const once = [...handles.small, ...handles.big, ...handles.failing];
        expect(once.map(({ id }) => runs.get(id))).toEqual(once.map(() => 1));
        expect(handles.retried.map(({ id }) => runs.get(id))).toEqual(handles.retried.map(() => 3));
      } finally {
        await kit.admin.config('SET', 'maxmemory', '0');
        await worker.close();
        await app.close();
      }
    }, 60_000);
  },
  { args: ['--maxmemory-policy', 'noeviction'] },
);
