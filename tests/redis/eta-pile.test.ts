/** Tasks with an eta that lie in the queue itself, as Celery's clients put them there: a worker moves them to the delay store. */
import { expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { createApp } from '../../src/index.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { redisSuite } from './redis-kit.js';

const PILE = 20_000;

redisSuite('a pile of eta tasks in a queue', (kit) => {
  test('neither fills a worker of ten slots nor keeps it from what lies behind, and comes back in the order of its times', async () => {
    const app = createApp({ name: 'pile', broker: kit.server.url, defaultQueue: 'pile', logger: silentLogger });
    const ran: { readonly n: number; readonly lateMs: number }[] = [];
    app.fn('pile.note', (n: number, dueMs: number) => void ran.push({ n, lateMs: Date.now() - dueMs }), { ignoreResult: true });
    const call = app.remote<[n: number, dueMs: number], void>('pile.note', { ignoreResult: true });
    const hourMs = Date.now() + 3_600_000;
    await call.with({ eta: new Date(hourMs) }).sendMany(Array.from({ length: PILE }, () => ({ args: [-1, hourMs] as const })));
    await call.send(1_000, Date.now());
    expect(await kit.admin.llen('pile')).toBe(PILE + 1);
    const worker = await app.worker({ pool: 'inline', queues: { pile: 10 }, logger: silentLogger });
    try {
      // what the worker has in its hands on the way stays small
      let most = 0;
      await until(
        async () => {
          most = Math.max(most, await kit.admin.hlen('unacked'));
          return ran.length === 1;
        },
        'the task behind the pile',
        60_000,
      );
      expect(ran[0]?.n).toBe(1_000);
      expect(most).toBeLessThanOrEqual(1_000);
      await until(async () => (await kit.admin.zcard('lovage:delayed:pile')) === PILE, 'the pile in the delay store');
      const soonMs = Date.now() + 3_000;
      for (let n = 99; n >= 0; n -= 1) await call.with({ eta: new Date(soonMs + 20 * n) }).send(n, soonMs + 20 * n);
      await until(
        () => ran.length === 101,
        () => `101 runs, not ${ran.length}`,
        30_000,
      );
      const due = ran.slice(1);
      expect(due.map(({ n }) => n)).toEqual(Array.from({ length: 100 }, (_, n) => n));
      expect(Math.min(...due.map(({ lateMs }) => lateMs))).toBeGreaterThanOrEqual(0);
      expect(await kit.admin.exists('pile', 'unacked')).toBe(0);
    } finally {
      await worker.close();
      await app.close();
    }
  }, 120_000);
});
