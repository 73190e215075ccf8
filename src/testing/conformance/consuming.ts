/** Broker suite: messages coming out. Credit, fairness, sharing, pause and close. */
import { describe, expect } from 'vitest';
import type { Broker, Consumer } from '../../brokers/broker.js';
import { systemClock } from '../../core/clock.js';
import type { BrokerSuite } from './broker-fixture.js';
import { Collector, drain, expectDepth, idOf, ids, outgoing, quiet, send, sendIds, uniqueQueue, until } from './broker-kit.js';

export function consumingSuite({ it, can, patienceMs }: BrokerSuite): void {
  describe('consuming', () => {
    it('is woken by a message from another connection while it waits', async (fixture) => {
      const { broker } = fixture;
      const queue = uniqueQueue('wake');
      const collector = await Collector.open(broker, { [queue]: 1 }, { acking: true });
      const sender = await fixture.another();
      for (let round = 1; round <= 3; round += 1) {
        await sendIds(sender, queue, [`${round}`]);
        await collector.got(round, 5_000);
      }
      expect(collector.ids).toEqual(['1', '2', '3']);
      const aliveAtMs = collector.consumer.lastAliveMs();
      const aliveForMs = systemClock.monotonicMs() - aliveAtMs;
      expect(aliveForMs).toBeGreaterThanOrEqual(0);
      expect(aliveForMs).toBeLessThan(30_000);
    });

    it('consumes several queues, and each delivery names its own', async ({ broker }) => {
      const [a, b, c] = [uniqueQueue('a'), uniqueQueue('b'), uniqueQueue('c')];
      await send(broker, [outgoing(a, 'a1'), outgoing(b, 'b1'), outgoing(a, 'a2')]);
      const collector = await Collector.open(broker, { [a]: 5, [b]: 5, [c]: 5 });
      await collector.got(3, patienceMs);
      await sendIds(broker, c, ['c1']);
      await collector.got(4, patienceMs);
      const seen = collector.arrivals.map((arrival) => `${arrival.queue} ${idOf(arrival)}`).sort();
      expect(seen).toEqual([`${a} a1`, `${a} a2`, `${b} b1`, `${c} c1`].sort());
      await collector.ack(...collector.arrivals);
    });

    it('delivers no more than the credit of a queue until it is granted more', async ({ broker }) => {
      const queue = uniqueQueue('credit');
      await sendIds(broker, queue, ids(queue, 1, 10));
      const collector = await Collector.open(broker, { [queue]: 3 });
      await collector.got(3, patienceMs);
      await quiet(broker, queue);
      await collector.got(3);
      await collector.ack(...collector.arrivals);
      await quiet(broker, queue);
      await collector.got(3);
      collector.consumer.grant(queue, 2);
      await collector.got(5, patienceMs);
      await quiet(broker, queue);
      await collector.got(5);
      expect(collector.ids).toEqual(ids(queue, 1, 5));
    });

    it('delivers no more than the total credit over all queues', async ({ broker }) => {
      const [a, b] = [uniqueQueue('a'), uniqueQueue('b')];
      await sendIds(broker, a, ids(a, 1, 10));
      await sendIds(broker, b, ids(b, 1, 10));
      const collector = await Collector.open(broker, { [a]: 5, [b]: 5 }, { credit: 6 });
      await collector.got(6, patienceMs);
      await quiet(broker, a);
      await collector.got(6);
      const first = collector.delivery(0);
      await collector.ack(first);
      collector.consumer.grant(first.queue, 1);
      await collector.got(7, patienceMs);
      await quiet(broker, a);
      await collector.got(7);
      expect(collector.arrivals.filter(({ queue }) => queue === a).length).toBeLessThanOrEqual(6);
    });

    it('delivers nothing from a queue without credit until it is granted some', async ({ broker }) => {
      const [closed, open] = [uniqueQueue('closed'), uniqueQueue('open')];
      await sendIds(broker, closed, ids(closed, 1, 3));
      await sendIds(broker, open, ids(open, 1, 3));
      const collector = await Collector.open(broker, { [closed]: 0, [open]: 3 });
      await collector.got(3, patienceMs);
      await quiet(broker, closed);
      expect(collector.arrivals.map(({ queue }) => queue)).toEqual([open, open, open]);
      collector.consumer.grant(closed, 2);
      await collector.got(5, patienceMs);
      expect(collector.ids.slice(3)).toEqual(ids(closed, 1, 2));
      await collector.ack(...collector.arrivals);
    });

    can(
      'grant-before-settle',
      'uses granted credit while earlier deliveries are still unsettled',
      async ({ broker }) => {
        const queue = uniqueQueue('grant');
        await sendIds(broker, queue, ids(queue, 1, 6));
        const collector = await Collector.open(broker, { [queue]: 2 });
        await collector.got(2, patienceMs);
        collector.consumer.grant(queue, 2);
        await collector.got(4, patienceMs);
        await collector.ack(...collector.arrivals);
        expect(collector.ids).toEqual(ids(queue, 1, 4));
      },
      async ({ broker }) => {
        const queue = uniqueQueue('grant');
        await sendIds(broker, queue, ids(queue, 1, 6));
        const collector = await Collector.open(broker, { [queue]: 2 });
        await collector.got(2, patienceMs);
        collector.consumer.grant(queue, 2);
        await collector.ack(...collector.arrivals);
        await collector.got(4, patienceMs);
        expect(collector.ids).toEqual(ids(queue, 1, 4));
      },
    );

    it('serves a short queue beside a long one', async ({ broker }) => {
      const [long, short] = [uniqueQueue('long'), uniqueQueue('short')];
      await sendIds(broker, long, ids(long, 1, 300));
      await sendIds(broker, short, ids(short, 1, 10));
      const collector = await Collector.open(broker, { [long]: 4, [short]: 4 }, { credit: 4, acking: true });
      await collector.got(310, patienceMs);
      expect(collector.ids.filter((id) => id.startsWith(short))).toEqual(ids(short, 1, 10));
      expect(collector.ids.filter((id) => id.startsWith(long))).toEqual(ids(long, 1, 300));
      expect(collector.ids.lastIndexOf(`${short}.10`)).toBeLessThan(120);
    });

    for (const [who, sameBroker] of [
      ['two connections', false],
      ['two consumers of one connection', true],
    ] as const) {
      it(`shares a queue between ${who} without giving anything twice`, async (fixture) => {
        const { broker } = fixture;
        const queue = uniqueQueue('share');
        const one = await Collector.open(broker, { [queue]: 10 }, { name: 'one@host' });
        const two = await Collector.open(sameBroker ? broker : await fixture.another(), { [queue]: 10 }, { name: 'two@host' });
        const wanted = ids(queue, 1, 1_000);
        await sendIds(broker, queue, wanted);
        // neither goes on before the other has its share, so that both take part
        await Promise.all([one.atLeast(1, patienceMs), two.atLeast(1, patienceMs)]);
        const work = async (collector: Collector): Promise<void> => {
          for (let done = 0; one.arrivals.length + two.arrivals.length < wanted.length || done < collector.arrivals.length; ) {
            const next = collector.arrivals.slice(done);
            done += next.length;
            if (next.length > 0) {
              await collector.ack(...next);
              collector.consumer.grant(queue, next.length);
            }
            const seen = done;
            await until(
              () => collector.arrivals.length > seen || one.arrivals.length + two.arrivals.length >= wanted.length,
              () => `all of 1,000 messages, ${one.arrivals.length} + ${two.arrivals.length} came`,
              patienceMs,
            );
          }
        };
        await Promise.all([work(one), work(two)]);
        expect([...one.ids, ...two.ids].sort()).toEqual([...wanted].sort());
        const tags = [...one.arrivals, ...two.arrivals].map(({ tag }) => tag);
        expect(new Set(tags).size).toBe(wanted.length);
        await expectDepth(broker, queue, { ready: 0, unacked: 0 });
      });
    }

    it('knows which deliveries it holds', async ({ broker }) => {
      const queue = uniqueQueue('holds');
      await sendIds(broker, queue, ['x', 'y']);
      const { collector, consumer } = await holding(broker, queue, 2);
      const [x, y] = [collector.delivery(0), collector.delivery(1)];
      expect([consumer.holds(x.tag), consumer.holds(y.tag), consumer.holds('never given')]).toEqual([true, true, false]);
      await collector.ack(x);
      expect([consumer.holds(x.tag), consumer.holds(y.tag)]).toEqual([false, true]);
    });
  });

  describe('pause and close', () => {
    it('takes nothing more after pause(), and what is out can still be settled', async ({ broker }) => {
      const queue = uniqueQueue('pause');
      await sendIds(broker, queue, ids(queue, 1, 2));
      const { collector, consumer } = await holding(broker, queue, 2, 5);
      await consumer.pause();
      await consumer.pause();
      await sendIds(broker, queue, ids(queue, 3, 5));
      consumer.grant(queue, 5);
      await quiet(broker, queue);
      await collector.got(2);
      expect(consumer.holds(collector.delivery(0).tag)).toBe(true);
      await collector.ack(...collector.arrivals);
      await quiet(broker, queue);
      await collector.got(2);
      expect(await consumer.close({ timeoutMs: 5_000 })).toBe(0);
      expect(await drain(broker, queue, 3)).toEqual(ids(queue, 3, 5));
    });

    it('hands back what is unsettled at close(), in its old order and before what came later', async ({ broker }) => {
      const queue = uniqueQueue('hand-back');
      await sendIds(broker, queue, ids(queue, 1, 10));
      const { collector, consumer } = await holding(broker, queue, 5);
      await collector.ack(collector.delivery(1));
      expect(await consumer.close({ timeoutMs: 5_000 })).toBe(4);
      await expectDepth(broker, queue, { ready: 9, unacked: 0 });
      const next = await Collector.open(broker, { [queue]: 20 });
      await next.got(9, patienceMs);
      const [first, , ...others] = ids(queue, 1, 10);
      expect(next.ids).toEqual([first, ...others]);
      expect(next.arrivals.map((arrival) => (arrival.kind === 'delivery' ? arrival.losses : null))).toEqual(
        next.ids.map(() => 0),
      );
      await next.ack(...next.arrivals);
    });

    it('answers `lost` to a settlement after close(), and changes nothing', async ({ broker }) => {
      const queue = uniqueQueue('late');
      await sendIds(broker, queue, ['x']);
      const { collector, consumer } = await holding(broker, queue, 1);
      expect(await consumer.close({ timeoutMs: 5_000 })).toBe(1);
      expect(await consumer.close({ timeoutMs: 5_000 })).toBe(0);
      expect(consumer.holds(collector.delivery(0).tag)).toBe(false);
      expect(await collector.settle({ kind: 'ack', arrival: collector.delivery(0) })).toEqual(['lost']);
      expect(await drain(broker, queue, 1)).toEqual(['x']);
    });

    it('delivers nothing after close(), and leaves the broker and its other consumers working', async ({ broker }) => {
      const queue = uniqueQueue('closed');
      const closed = await Collector.open(broker, { [queue]: 10 });
      const other = await Collector.open(broker, { [queue]: 10 }, { acking: true });
      await closed.consumer.close({ timeoutMs: 5_000 });
      await sendIds(broker, queue, ids(queue, 1, 20));
      await other.got(20, patienceMs);
      await closed.got(0);
    });

    it('hands back what its consumers hold when the broker itself is closed', async (fixture) => {
      const { broker } = fixture;
      const queue = uniqueQueue('broker-close');
      const leaving = await fixture.another();
      await sendIds(broker, queue, ids(queue, 1, 4));
      await holding(leaving, queue, 3);
      await leaving.close();
      await expectDepth(broker, queue, { ready: 4, unacked: 0 });
      expect(await drain(broker, queue, 4)).toEqual(ids(queue, 1, 4));
    });
  });

  async function holding(
    broker: Broker,
    queue: string,
    count: number,
    credit = count,
  ): Promise<{ readonly collector: Collector; readonly consumer: Consumer }> {
    const collector = await Collector.open(broker, { [queue]: credit });
    await collector.got(count, patienceMs);
    return { collector, consumer: collector.consumer };
  }
}
