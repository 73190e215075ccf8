/** Broker suite: looking for messages in a queue, removing some, moving some to another queue. */
import { describe, expect } from 'vitest';
import type { Broker } from '../../brokers/broker.js';
import type { WaitingFilter, WaitingMessage, WaitingReport } from '../../brokers/waiting.js';
import type { BrokerSuite } from './broker-fixture.js';
import { Collector, drain, expectCode, expectDepth, ids, message, send, sendIds, uniqueQueue, until } from './broker-kit.js';

const WORK = { timeoutMs: 10_000 } as const;

export function waitingMessagesSuite({ it, can, patienceMs }: BrokerSuite): void {
  /** Messages named `<queue>.1` on, every third of task `suite.third`. */
  const fill = async (broker: Broker, queue: string, count: number): Promise<string[]> => {
    const all = ids(queue, 1, count);
    await send(
      broker,
      all.map((id, index) => {
        const plain = message(id);
        const task = index % 3 === 0 ? 'suite.third' : 'suite.other';
        return { to: { queue }, message: { ...plain, headers: { ...plain.headers, task } } };
      }),
    );
    return all;
  };
  const thirds = (all: readonly string[]): string[] => all.filter((_, index) => index % 3 === 0);
  const others = (all: readonly string[]): string[] => all.filter((_, index) => index % 3 !== 0);
  const find = (broker: Broker, queue: string, filter: WaitingFilter, limit = 10_000): Promise<readonly WaitingMessage[]> =>
    broker.waiting.find(queue, filter, { ...WORK, limit });
  const idsOf = (found: readonly WaitingMessage[]): (string | null)[] => found.map(({ id }) => id);

  describe('waiting messages', () => {
    it('are found by id and by task, in the order of serving, and stay where they are', async ({ broker }) => {
      const queue = uniqueQueue('find');
      const all = await fill(broker, queue, 1_200);
      expect(idsOf(await find(broker, queue, { task: 'suite.third' }))).toEqual(thirds(all));
      const named = [all[700] as string, all[3] as string, 'nobody'];
      const found = await find(broker, queue, { ids: named });
      expect(found).toMatchObject([
        { queue, id: all[3], task: 'suite.third', notBeforeMs: null, headers: { id: all[3] } },
        { queue, id: all[700], task: 'suite.other' },
      ]);
      expect(idsOf(await find(broker, queue, { ids: named, task: 'suite.third' }))).toEqual([all[3]]);
      expect(idsOf(await find(broker, queue, {}, 2))).toEqual(all.slice(0, 2));
      expect(await find(broker, uniqueQueue('nowhere'), {})).toEqual([]);
      expect(await drain(broker, queue, all.length)).toEqual(all);
    });

    it('are removed by id or task, a dry run only counts, and the others keep their order', async ({ broker }) => {
      const queue = uniqueQueue('remove');
      const all = await fill(broker, queue, 900);
      const wanted = { task: 'suite.third' };
      expect(await broker.waiting.remove(queue, wanted, { ...WORK, dryRun: true })).toMatchObject({ done: 300, missing: [] });
      await expectDepth(broker, queue, { ready: 900 });
      const told: number[] = [];
      const onProgress = ({ done }: { readonly done: number }): void => void told.push(done);
      expect(await broker.waiting.remove(queue, wanted, { ...WORK, onProgress })).toEqual({
        looked: 900,
        done: 300,
        missing: [],
      });
      expect(told).toEqual([...told].sort((a, b) => a - b));
      expect(told.at(-1)).toBe(300);
      const [first, second] = others(all) as [string, string];
      expect(await broker.waiting.remove(queue, { ids: [second, 'nobody', first] }, WORK)).toMatchObject({
        done: 2,
        missing: ['nobody'],
      });
      expect(await drain(broker, queue, 598)).toEqual(others(all).slice(2));
    });

    it('are moved to the back of another queue in their order, with all that is in them', async ({ broker }) => {
      const [from, to] = [uniqueQueue('from'), uniqueQueue('to')];
      const all = await fill(broker, from, 900);
      await sendIds(broker, to, ['first']);
      expect(await broker.waiting.move(from, to, { task: 'suite.third' }, { ...WORK, limit: 10, dryRun: true })).toMatchObject({
        done: 10,
      });
      expect(await broker.waiting.move(from, to, { task: 'suite.third' }, { ...WORK, limit: 10 })).toMatchObject({ done: 10 });
      expect(await broker.waiting.move(from, to, { task: 'suite.third' }, WORK)).toMatchObject({ done: 290 });
      await expectDepth(broker, from, { ready: 600 });
      const collector = await Collector.open(broker, { [to]: 400 });
      await collector.got(301, patienceMs);
      expect(collector.ids).toEqual(['first', ...thirds(all)]);
      const original = message(all[3] as string);
      expect(collector.delivery(2)).toMatchObject({ queue: to, losses: 0 });
      expect(collector.delivery(2).message).toMatchObject({
        contentType: original.contentType,
        headers: { ...original.headers, task: 'suite.third' },
        properties: { correlation_id: all[3] },
      });
      await collector.ack(...collector.arrivals);
      await collector.consumer.close({ timeoutMs: 5_000 });
      expect(await drain(broker, from, 600)).toEqual(others(all));
    });

    it('are moved as a whole queue, and not into the same', async ({ broker }) => {
      const [from, to] = [uniqueQueue('whole'), uniqueQueue('target')];
      const all = await fill(broker, from, 40);
      await expectCode(broker.waiting.move(from, from, {}, WORK), 'E_CONFIG_CONFLICT');
      expect(await broker.waiting.move(from, to, {}, WORK)).toMatchObject({ looked: 40, done: 40 });
      expect(await broker.waiting.move(from, to, {}, WORK)).toMatchObject({ looked: 0, done: 0 });
      expect(await drain(broker, to, 40)).toEqual(all);
    });

    it('keep their priority in the other queue', async ({ broker }) => {
      const [from, to] = [uniqueQueue('prio'), uniqueQueue('prio-to')];
      const orders = [0, 9, 5].map((priority) => ({ to: { queue: from }, message: message(`p${priority}`), priority }));
      await send(broker, orders);
      await broker.waiting.move(from, to, {}, WORK);
      const expected = broker.capabilities.priorities === true ? ['p9', 'p5', 'p0'] : ['p0', 'p9', 'p5'];
      expect(await drain(broker, to, 3)).toEqual(expected);
    });

    can(
      'peek',
      'that wait for a time are found last, with it, and keep it when they are moved',
      async ({ broker }) => {
        const [from, to] = [uniqueQueue('later'), uniqueQueue('later-to')];
        await sendIds(broker, from, ['soon', 'late', 'gone', 'now']);
        const collector = await Collector.open(broker, { [from]: 3 });
        await collector.got(3, patienceMs);
        const untilMs = Date.now() + 3_600_000;
        await collector.settle(
          { kind: 'defer', arrival: collector.delivery(1), untilMs: untilMs + 5_000 },
          { kind: 'defer', arrival: collector.delivery(0), untilMs },
          { kind: 'defer', arrival: collector.delivery(2), untilMs: untilMs + 9_000 },
        );
        await collector.consumer.close({ timeoutMs: 5_000 });
        const found = await find(broker, from, {});
        expect(found.map(({ id, notBeforeMs }) => [id, notBeforeMs])).toEqual([
          ['now', null],
          ['soon', untilMs],
          ['late', untilMs + 5_000],
          ['gone', untilMs + 9_000],
        ]);
        expect(await broker.waiting.remove(from, { ids: ['gone'] }, WORK)).toMatchObject({ done: 1 });
        expect(await broker.waiting.move(from, to, {}, WORK)).toMatchObject({ done: 3 });
        await expectDepth(broker, from, { ready: 0, delayed: 0 });
        await expectDepth(broker, to, { ready: 1, delayed: 2 });
        expect((await find(broker, to, {})).map(({ id, notBeforeMs }) => [id, notBeforeMs])).toEqual([
          ['now', null],
          ['soon', untilMs],
          ['late', untilMs + 5_000],
        ]);
        await broker.purge(to);
      },
      async ({ broker }) => expect(broker.capabilities.peek).not.toBe(true),
    );

    it('leave alone what workers hold and what is no message', async (fixture) => {
      const { broker } = fixture;
      const [queue, to] = [uniqueQueue('held'), uniqueQueue('held-to')];
      await sendIds(broker, queue, ['held']);
      const collector = await Collector.open(broker, { [queue]: 1 });
      await collector.got(1, patienceMs);
      await fixture.putRaw(queue, Uint8Array.from([0, 0xff, 7]));
      await sendIds(broker, queue, ['free']);
      await expectDepth(broker, queue, { ready: 2 });
      expect(await broker.waiting.move(queue, to, {}, WORK)).toMatchObject({ looked: 2, done: 1 });
      expect(await broker.waiting.remove(queue, {}, WORK)).toMatchObject({ looked: 1, done: 0 });
      expect(await collector.settle({ kind: 'ack', arrival: collector.delivery(0) })).toEqual(['held']);
      await expectDepth(broker, queue, { ready: 1, unacked: 0 });
      expect(await drain(broker, to, 1)).toEqual(['free']);
    });

    it('stop between two steps when the signal aborts, and the rest is where it was', async ({ broker }) => {
      const [from, to] = [uniqueQueue('stop'), uniqueQueue('stop-to')];
      const all = await fill(broker, from, 1_500);
      const controller = new AbortController();
      const onProgress = (): void => controller.abort(new Error('enough'));
      await expect(broker.waiting.move(from, to, {}, { ...WORK, signal: controller.signal, onProgress })).rejects.toThrow(
        'enough',
      );
      const moved: string[] = [];
      await until(async () => {
        const [a, b] = await broker.depth([from, to]);
        return (a?.ready ?? 0) + (b?.ready ?? 0) === all.length;
      }, 'all messages in the two queues');
      const [, there] = await broker.depth([from, to]);
      moved.push(...(await drain(broker, to, there?.ready ?? 0)));
      expect(moved.length).toBeGreaterThan(0);
      expect(moved).toEqual(all.slice(0, moved.length));
      expect(await drain(broker, from, all.length - moved.length)).toEqual(all.slice(moved.length));
    });

    it('are lost by nobody when whoever moves them dies in the middle', async (fixture) => {
      const { broker } = fixture;
      const [from, to] = [uniqueQueue('crash'), uniqueQueue('crash-to')];
      const all = await fill(broker, from, 1_500);
      const dying = await fixture.another();
      let steps = 0;
      const report: Promise<WaitingReport | null> = dying.waiting
        .move(
          from,
          to,
          {},
          {
            ...WORK,
            timeoutMs: 500,
            onProgress: () => {
              steps += 1;
              if (steps === 2) void fixture.crash(dying);
            },
          },
        )
        .catch(() => null);
      await report;
      // what a broker still holds for the dead connection comes back when it notices
      await until(
        async () => {
          const depths = await broker.depth([from, to]);
          return depths.reduce((sum, { ready }) => sum + ready, 0) >= all.length;
        },
        'all messages in the two queues',
        30_000,
      );
      const seen: string[] = [];
      for (const { queue, ready } of await broker.depth([from, to])) seen.push(...(await drain(broker, queue, ready, 20_000)));
      expect([...new Set(seen)].sort()).toEqual([...all].sort());
      // at most one step is in both queues, and only where a move is two steps
      expect(seen.length - all.length).toBeLessThanOrEqual(500);
    }, 60_000);

    it('that are taken while somebody walks are not lost, and not moved twice', async ({ broker }) => {
      const [from, to] = [uniqueQueue('busy'), uniqueQueue('busy-to')];
      const all = await fill(broker, from, 1_500);
      const collector = await Collector.open(broker, { [from]: 20 }, { acking: true });
      await broker.waiting.move(from, to, { task: 'suite.third' }, WORK);
      const [, there] = await broker.depth([from, to]);
      await collector.atLeast(all.length - (there?.ready ?? 0), patienceMs);
      await collector.consumer.close({ timeoutMs: 5_000 });
      const moved = await drain(broker, to, there?.ready ?? 0);
      expect([...collector.ids, ...moved].sort()).toEqual([...all].sort());
    });
  });
}
