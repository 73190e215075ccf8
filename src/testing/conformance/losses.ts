/** Broker suite: whose death counts against a message, and what securing it changes. What else a death brings is in `recovery.ts`. */
import { describe, expect } from 'vitest';
import type { BrokerSuite } from './broker-fixture.js';
import { Collector, holderWith, ids, sendIds, uniqueQueue, until } from './broker-kit.js';

export function lossesSuite({ it, can, leaseMs, patienceMs }: BrokerSuite): void {
  const holder = holderWith({ leaseMs, patienceMs });

  // side by side, because each waits for leases most of its time; nothing here may touch the fixtures of others
  describe.concurrent('the death of a consumer', () => {
    can(
      'countsLosses',
      'is counted for each message that it held; a hand-back is not, secured or not',
      async (fixture) => {
        const queue = uniqueQueue('losses');
        await sendIds(fixture.broker, queue, ['x']);
        const seen: number[] = [];
        for (const end of ['hand-back', 'requeue', 'defer', 'crash', 'hand-back', 'requeue', 'defer', 'crash', 'ack'] as const) {
          const broker = await fixture.another();
          const collector = await Collector.open(broker, { [queue]: 1 }, { leaseMs, name: 'dying@host' });
          await collector.got(1, leaseMs + patienceMs);
          const delivery = collector.delivery(0);
          seen.push(delivery.losses);
          expect(await collector.consumer.secure(delivery)).toBe(true);
          if (end === 'crash') await fixture.crash(broker);
          if (end === 'requeue') await collector.settle({ kind: 'requeue', arrival: delivery, where: 'back' });
          if (end === 'defer') await collector.settle({ kind: 'defer', arrival: delivery, untilMs: Date.now() + 50 });
          if (end === 'ack') await collector.ack(delivery);
          if (end !== 'crash') await broker.close();
        }
        expect(seen).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 2]);
      },
      async (fixture) => {
        expect(fixture.broker.capabilities.countsLosses).not.toBe(true);
        const queue = uniqueQueue('losses');
        await sendIds(fixture.broker, queue, ['x']);
        const { broker } = await holder(fixture, queue, 1, 'dying@host');
        await fixture.crash(broker);
        const heir = await Collector.open(fixture.broker, { [queue]: 1 }, { leaseMs });
        await heir.got(1, leaseMs + patienceMs);
        expect(heir.delivery(0)).toMatchObject({ losses: 0, redelivered: true });
        await heir.ack(heir.delivery(0));
      },
    );

    can('countsLosses', 'a second time counts only for what it had secured', async (fixture) => {
      const queue = uniqueQueue('secured');
      await sendIds(fixture.broker, queue, ids(queue, 1, 4));
      const [started, twice, handedBack, waiting] = ids(queue, 1, 4) as [string, string, string, string];
      const seen: Record<string, number>[] = [];
      /** The ids that each worker secures before it dies. */
      for (const secured of [[], [], [started, twice, handedBack], [started, twice], []]) {
        const { broker, collector } = await holder(fixture, queue, 4, 'dying@host');
        const deliveries = collector.arrivals.map((_, index) => collector.delivery(index));
        const idOf = ({ message: { headers } }: (typeof deliveries)[number]): string => String(headers['id']);
        seen.push(Object.fromEntries(deliveries.map((delivery) => [idOf(delivery), delivery.losses])));
        for (const delivery of deliveries) {
          const id = idOf(delivery);
          // asked again it stays one
          if (secured.includes(id)) expect(await collector.consumer.secure(delivery)).toBe(true);
          if (id === twice && secured.includes(id)) expect(await collector.consumer.secure(delivery)).toBe(true);
        }
        const back = deliveries.find((delivery) => idOf(delivery) === handedBack && secured.includes(handedBack));
        if (back) {
          await collector.settle({ kind: 'requeue', arrival: back, where: 'front' });
          collector.consumer.grant(queue, 1);
          // held once more, and not secured
          await collector.got(5, patienceMs);
        }
        await fixture.crash(broker);
      }
      const counts = (a: number, b: number, c: number, d: number): Record<string, number> => ({
        [started]: a,
        [twice]: b,
        [handedBack]: c,
        [waiting]: d,
      });
      expect(seen).toEqual([counts(0, 0, 0, 0), counts(1, 1, 1, 1), counts(1, 1, 1, 1), counts(2, 2, 1, 1), counts(3, 3, 1, 1)]);
    });
  });

  describe('a consumer that lives', () => {
    it('cannot secure what it has lost, settled, or is about to hand back', async (fixture) => {
      const queue = uniqueQueue('secure');
      await sendIds(fixture.broker, queue, ids(queue, 1, 3));
      const { collector } = await holder(fixture, queue, 3, 'paused@host');
      await collector.settle({ kind: 'requeue', arrival: collector.delivery(0), where: 'back' });
      expect(await collector.consumer.secure(collector.delivery(0))).toBe(false);
      expect(await collector.consumer.secure(collector.delivery(1))).toBe(true);
      await fixture.loseDeliveries();
      await until(() => collector.lost.length >= 2, 'onLost', leaseMs + patienceMs);
      expect(await collector.consumer.secure(collector.delivery(1))).toBe(false);
      expect(await collector.consumer.secure(collector.delivery(2))).toBe(false);
      const leaving = await Collector.open(await fixture.another(), { [queue]: 3 }, { leaseMs, name: 'leaving@host' });
      await leaving.got(3, leaseMs + patienceMs);
      await leaving.consumer.pause();
      expect(await leaving.consumer.secure(leaving.delivery(0))).toBe(false);
      await leaving.consumer.close({ timeoutMs: 5_000 });
      expect(await leaving.consumer.secure(leaving.delivery(0))).toBe(false);
    });
  });
}
