/** Broker suite: queues and credit of a consumer that runs, changed as remote control changes them. */
import { describe, expect } from 'vitest';
import type { BrokerSuite } from './broker-fixture.js';
import { Collector, idOf, ids, sendIds, uniqueQueue, until } from './broker-kit.js';

export function changingSuite({ it, can, patienceMs }: BrokerSuite): void {
  const wish = (credit: number, queues: Readonly<Record<string, number>>) => ({
    credit,
    queues: Object.entries(queues).map(([name, share]) => ({ name, credit: share })),
  });
  const got = (collector: Collector): string[] => collector.arrivals.map(idOf);
  const gets = (collector: Collector, count: number): Promise<void> =>
    until(
      () => collector.arrivals.length >= count,
      () => `${count} deliveries, got ${got(collector).join(', ')}`,
      patienceMs,
    );

  describe('change', () => {
    it('begins to consume a further queue', async ({ broker }) => {
      const [first, second] = [uniqueQueue('first'), uniqueQueue('second')];
      const collector = await Collector.open(broker, { [first]: 4 }, { credit: 4, acking: true });
      await broker.declare(second);
      await sendIds(broker, second, ids(second, 1, 3));
      await collector.consumer.change(wish(4, { [first]: 4, [second]: 4 }));
      await gets(collector, 3);
      await sendIds(broker, first, ids(first, 1, 2));
      await gets(collector, 5);
      expect(got(collector).sort()).toEqual([...ids(first, 1, 2), ...ids(second, 1, 3)].sort());
      await collector.consumer.close({ timeoutMs: 5_000 });
    });

    it('leaves a queue: nothing more comes from it, and others get what is in it', async (fixture) => {
      const { broker } = fixture;
      const [kept, left] = [uniqueQueue('kept'), uniqueQueue('left')];
      const collector = await Collector.open(broker, { [kept]: 4, [left]: 4 }, { credit: 4, acking: true });
      await sendIds(broker, left, ids(left, 1, 1));
      await gets(collector, 1);
      await collector.consumer.change(wish(4, { [kept]: 4 }));
      await sendIds(broker, left, ids(left, 2, 4));
      const other = await Collector.open(await fixture.another(), { [left]: 10 }, { acking: true });
      await gets(other, 3);
      await sendIds(broker, kept, ids(kept, 1, 1));
      await gets(collector, 2);
      expect(got(collector)).toEqual([`${left}.1`, `${kept}.1`]);
      expect(got(other)).toEqual(ids(left, 2, 4));
      await collector.consumer.close({ timeoutMs: 5_000 });
      await other.consumer.close({ timeoutMs: 5_000 });
    });

    it('leaves what is out in our hands: it is settled as before', async (fixture) => {
      const { broker } = fixture;
      const queue = uniqueQueue('left');
      const collector = await Collector.open(broker, { [queue]: 2 }, { credit: 2 });
      await sendIds(broker, queue, ids(queue, 1, 2));
      await gets(collector, 2);
      await collector.consumer.change(wish(2, {}));
      const results = await collector.consumer.settle(collector.arrivals.map((arrival) => ({ kind: 'ack', arrival })));
      expect(results).toEqual(['held', 'held']);
      await collector.consumer.close({ timeoutMs: 5_000 });
      const after = await Collector.open(await fixture.another(), { [queue]: 10 });
      await sendIds(broker, queue, ids(queue, 9, 9));
      await gets(after, 1);
      expect(got(after)).toEqual([`${queue}.9`]);
      await after.consumer.close({ timeoutMs: 5_000 });
    });

    can('grant-before-settle', 'counts what is out of a queue that was left, when it comes back', async ({ broker }) => {
      const queue = uniqueQueue('back');
      const collector = await Collector.open(broker, { [queue]: 3 }, { credit: 3 });
      await sendIds(broker, queue, ids(queue, 1, 9));
      await gets(collector, 3);
      await collector.consumer.change(wish(3, {}));
      collector.consumer.grant(queue, 1);
      await collector.consumer.change(wish(3, { [queue]: 3 }));
      await gets(collector, 4);
      collector.consumer.grant(queue, 2);
      await gets(collector, 6);
      expect(got(collector)).toEqual(ids(queue, 1, 6));
      await collector.consumer.close({ timeoutMs: 5_000 });
    });

    can('grant-before-settle', 'raises the credit at once, and lowers it as deliveries end', async ({ broker }) => {
      const queue = uniqueQueue('credit');
      const collector = await Collector.open(broker, { [queue]: 2 }, { credit: 2 });
      await sendIds(broker, queue, ids(queue, 1, 20));
      await gets(collector, 2);
      await collector.consumer.change(wish(5, { [queue]: 5 }));
      await gets(collector, 5);
      await collector.consumer.change(wish(1, { [queue]: 1 }));
      // four of the five are over, and one may be out: none comes
      collector.consumer.grant(queue, 4);
      await broker.depth([queue]);
      expect(collector.arrivals).toHaveLength(5);
      collector.consumer.grant(queue, 1);
      await gets(collector, 6);
      expect(got(collector)).toEqual(ids(queue, 1, 6));
      await collector.consumer.close({ timeoutMs: 5_000 });
    });

    can('connections', 'holds for the next connection too', async (fixture) => {
      const { broker } = fixture;
      const [first, second] = [uniqueQueue('first'), uniqueQueue('second')];
      const collector = await Collector.open(broker, { [first]: 4 }, { credit: 4, acking: true });
      await broker.declare(second);
      await collector.consumer.change(wish(4, { [second]: 4 }));
      await fixture.breakConnections?.();
      const other = await fixture.another();
      await sendIds(other, second, ids(second, 1, 1));
      await gets(collector, 1);
      await sendIds(other, first, ids(first, 1, 1));
      await sendIds(other, second, ids(second, 2, 2));
      await gets(collector, 2);
      expect(new Set(got(collector))).toEqual(new Set(ids(second, 1, 2)));
      await collector.consumer.close({ timeoutMs: 5_000 });
    });
  });
}
