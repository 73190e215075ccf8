/** Broker suite: deliveries put off to a time, alone, with a successor, and among settlements of other kinds. */
import { describe, expect } from 'vitest';
import type { Settlement } from '../../brokers/broker.js';
import { type BrokerSuite, PARK_REASON, parked } from './broker-fixture.js';
import {
  Collector,
  drain,
  expectDepth,
  holdingIds,
  ids,
  message,
  outgoing,
  send,
  sendIds,
  uniqueQueue,
  until,
  untilWall,
} from './broker-kit.js';

export function deferringSuite({ it, can, patienceMs }: BrokerSuite): void {
  // side by side, because each waits for the clock most of its time
  describe.concurrent('defer', () => {
    it('brings a message back at its time and not before, though its consumer has closed', async (fixture) => {
      const queue = uniqueQueue('defer');
      const collector = await holdingIds(fixture.broker, queue, ['later', 'now']);
      const untilMs = Date.now() + 1_200;
      expect(await collector.settle({ kind: 'defer', arrival: collector.delivery(0), untilMs })).toEqual(['held']);
      await expectDepth(fixture.broker, queue, { delayed: 1, ready: 0 });
      expect(await collector.consumer.close({ timeoutMs: 5_000 })).toBe(1);
      const next = await Collector.open(fixture.broker, { [queue]: 5 }, { acking: true });
      await next.got(2, patienceMs);
      expect(Date.now()).toBeGreaterThanOrEqual(untilMs);
      expect(next.ids).toEqual(['now', 'later']);
      expect(next.delivery(1).losses).toBe(0);
      await expectDepth(fixture.broker, queue, { ready: 0, unacked: 0, delayed: 0 });
    });

    it('is woken by its time when the connection that deferred is gone', async (fixture) => {
      const queue = uniqueQueue('defer-gone');
      const other = await fixture.another();
      await sendIds(other, queue, ['x']);
      const collector = await Collector.open(other, { [queue]: 1 });
      await collector.got(1, patienceMs);
      const watching = await Collector.open(fixture.broker, { [queue]: 1 }, { acking: true });
      const untilMs = Date.now() + 1_200;
      expect(await collector.settle({ kind: 'defer', arrival: collector.delivery(0), untilMs })).toEqual(['held']);
      await other.close();
      await watching.got(1, patienceMs);
      expect(Date.now()).toBeGreaterThanOrEqual(untilMs);
    });

    it('treats a time gone by as now: behind what waits already', async (fixture) => {
      const queue = uniqueQueue('defer-past');
      const collector = await holdingIds(fixture.broker, queue, ids(queue, 1, 3), 1);
      await collector.settle({ kind: 'defer', arrival: collector.delivery(0), untilMs: Date.now() - 5_000 });
      // served only once it is back, else the order would be left to chance
      await expectDepth(fixture.broker, queue, { ready: 3, delayed: 0 });
      collector.consumer.grant(queue, 3);
      await collector.got(4, patienceMs);
      expect(collector.ids.slice(1)).toEqual([2, 3, 1].map((n) => `${queue}.${n}`));
      await collector.ack(...collector.arrivals.slice(1));
    });

    it('stores a successor in place of the message, in another queue if asked', async (fixture) => {
      const [queue, elsewhere] = [uniqueQueue('retry'), uniqueQueue('elsewhere')];
      const collector = await holdingIds(fixture.broker, queue, ['a', 'b']);
      const successor = (id: string) => {
        const base = message(id);
        return { ...base, headers: { ...base.headers, retries: 1 } };
      };
      const untilMs = Date.now() + 1_100;
      const [a, b] = [collector.delivery(0), collector.delivery(1)];
      expect(
        await collector.settle(
          { kind: 'defer', arrival: a, untilMs, message: successor('a') },
          { kind: 'defer', arrival: b, untilMs, message: successor('b'), to: { queue: elsewhere } },
        ),
      ).toEqual(['held', 'held']);
      await collector.consumer.close({ timeoutMs: 5_000 });
      const next = await Collector.open(fixture.broker, { [queue]: 5, [elsewhere]: 5 });
      await next.got(2, patienceMs);
      expect(Date.now()).toBeGreaterThanOrEqual(untilMs);
      const seen = [0, 1].map((index) => next.delivery(index));
      expect(seen.map(({ queue: from, message: { headers } }) => [from, headers['id'], headers['retries']]).sort()).toEqual(
        [
          [queue, 'a', 1],
          [elsewhere, 'b', 1],
        ].sort(),
      );
      expect(seen.map(({ losses }) => losses)).toEqual([0, 0]);
      await next.ack(...seen);
    });

    can('priorities', 'keeps the priority of a successor made from the delivered message', async (fixture) => {
      const queue = uniqueQueue('successor-priority');
      await send(fixture.broker, [outgoing(queue, 'urgent', { priority: 9 })]);
      const collector = await Collector.open(fixture.broker, { [queue]: 1 });
      await collector.got(1, patienceMs);
      const arrival = collector.delivery(0);
      const successor = { ...arrival.message, headers: { ...arrival.message.headers, retries: 1 } };
      await collector.settle({ kind: 'defer', arrival, untilMs: Date.now() - 1, message: successor });
      await send(fixture.broker, [outgoing(queue, 'idle', { priority: 0 })]);
      await expectDepth(fixture.broker, queue, { ready: 2, delayed: 0 });
      await collector.consumer.close({ timeoutMs: 5_000 });
      expect(await drain(fixture.broker, queue, 2)).toEqual(['urgent', 'idle']);
    });

    it('brings back each of 300 messages deferred to the same moment, once', async (fixture) => {
      const queue = uniqueQueue('defer-many');
      const wanted = ids(queue, 1, 300);
      const collector = await holdingIds(fixture.broker, queue, wanted);
      const untilMs = Date.now() + 1_500;
      const batch = collector.arrivals.map(
        (_, index) => ({ kind: 'defer', arrival: collector.delivery(index), untilMs }) as const,
      );
      expect(new Set(await collector.settle(...batch))).toEqual(new Set(['held']));
      const others = await Promise.all(
        [fixture.broker, await fixture.another()].map((broker) => Collector.open(broker, { [queue]: 40 }, { acking: true })),
      );
      const arrived = (): string[] => others.flatMap((other) => other.ids);
      await until(
        () => arrived().length >= wanted.length,
        () => `300 messages, ${arrived().length} came`,
        patienceMs,
      );
      await expectDepth(fixture.broker, queue, { ready: 0, unacked: 0, delayed: 0 });
      expect(arrived().sort()).toEqual([...wanted].sort());
      expect(Date.now()).toBeGreaterThanOrEqual(untilMs);
    });

    it('delivers each of several deferred messages in the order of their times', async (fixture) => {
      const queue = uniqueQueue('defer-order');
      const collector = await holdingIds(fixture.broker, queue, ids(queue, 1, 3));
      const startMs = Date.now();
      const batch = [3_100, 1_100, 2_100].map(
        (ms, index) => ({ kind: 'defer', arrival: collector.delivery(index), untilMs: startMs + ms }) as const,
      );
      await collector.settle(...batch);
      collector.consumer.grant(queue, 3);
      await untilWall(startMs + 1_100);
      await collector.got(6, patienceMs);
      expect(collector.ids.slice(3)).toEqual([2, 3, 1].map((n) => `${queue}.${n}`));
      expect(Date.now()).toBeGreaterThanOrEqual(startMs + 3_100);
      await collector.ack(...collector.arrivals.slice(3));
    });

    it('settles a batch of every kind at once and answers in its order', async (fixture) => {
      const queue = uniqueQueue('mixed');
      const collector = await holdingIds(fixture.broker, queue, ids(queue, 1, 6));
      const [ack, twice, front, back, defer, park] = [0, 0, 1, 2, 3, 4].map((index) => collector.delivery(index));
      if (!ack || !twice || !front || !back || !defer || !park) throw new Error('unreachable');
      const untilMs = Date.now() + 1_200;
      const batch: Settlement[] = [
        { kind: 'ack', arrival: ack },
        { kind: 'ack', arrival: twice },
        { kind: 'requeue', arrival: back, where: 'back' },
        { kind: 'defer', arrival: defer, untilMs },
        { kind: 'park', arrival: park, reason: PARK_REASON },
        { kind: 'requeue', arrival: front, where: 'front' },
      ];
      expect(await collector.settle(...batch)).toEqual(['held', 'lost', 'held', 'held', 'held', 'held']);
      await parked(fixture, queue, 1);
      expect(await collector.consumer.close({ timeoutMs: 5_000 })).toBe(1);
      const rest = await Collector.open(fixture.broker, { [queue]: 10 }, { acking: true });
      await rest.got(4, patienceMs);
      expect(Date.now()).toBeGreaterThanOrEqual(untilMs);
      expect([...rest.ids].sort()).toEqual([2, 3, 4, 6].map((n) => `${queue}.${n}`));
      expect(rest.ids.at(-1)).toBe(`${queue}.4`);
    });
  });
}
