/** Broker suite: looking after queues. Declare, list, depth, peek, purge. */
import { describe, expect } from 'vitest';
import type { Peeked } from '../../brokers/broker.js';
import type { BrokerSuite } from './broker-fixture.js';
import { Collector, drain, expectDepth, ids, message, outgoing, send, sendIds, uniqueQueue } from './broker-kit.js';

export function queuesSuite({ it, can, patienceMs }: BrokerSuite): void {
  const idsOf = (shown: readonly Peeked[]): string[] =>
    shown.map((one) => ('message' in one ? String(one.message.headers['id']) : 'garbage'));

  describe('queues', () => {
    it('lists a declared queue, sorted among the others, and declares it again in peace', async ({ broker }) => {
      const [b, a] = [uniqueQueue('b'), uniqueQueue('a')];
      await broker.declare(b);
      await broker.declare(a);
      await broker.declare(b);
      const listed = await broker.queues();
      expect(listed).toEqual([...listed].sort());
      expect(listed.filter((name) => name === a || name === b)).toEqual([a, b]);
    });

    it('does not lose messages when a queue is declared again', async ({ broker }) => {
      const queue = uniqueQueue('again');
      await sendIds(broker, queue, ['x']);
      await broker.declare(queue);
      expect(await drain(broker, queue, 1)).toEqual(['x']);
    });

    can(
      'queueDeclarations',
      'refuses a message for an exchange that nobody declared, and sends those beside it',
      async ({ broker }) => {
        const queue = uniqueQueue('exchange');
        const lost = { to: { queue, exchange: uniqueQueue('nowhere'), routingKey: 'k' }, message: message('lost') };
        const results = await broker.publish([outgoing(queue, 'a'), lost, outgoing(queue, 'b')], { timeoutMs: 10_000 });
        expect(results.map((result) => result && [result.code, result.outcome])).toEqual([
          null,
          ['E_QUEUE_MISSING', 'not-sent'],
          null,
        ]);
        const collector = await Collector.open(broker, { [queue]: 5 }, { acking: true });
        await collector.atLeast(2);
        // the broker breaks the channel over such a message, so those beside it may come twice
        expect([...new Set(collector.ids)].sort()).toEqual(['a', 'b']);
      },
    );

    it('tells how many messages are ready and held, a row for each queue in the order asked', async ({ broker }) => {
      const [a, b] = [uniqueQueue('a'), uniqueQueue('b')];
      await broker.declare(a);
      await sendIds(broker, b, ids(b, 1, 5));
      const collector = await Collector.open(broker, { [b]: 2 });
      await collector.got(2, patienceMs);
      await expectDepth(broker, b, { ready: 3, unacked: 2, delayed: 0 });
      expect((await broker.depth([b, a])).map(({ queue }) => queue)).toEqual([b, a]);
      expect((await broker.depth([a]))[0]).toMatchObject({ queue: a, ready: 0 });
      expect(await broker.depth([])).toEqual([]);
      await collector.ack(...collector.arrivals);
      await expectDepth(broker, b, { ready: 3, unacked: 0 });
    });
  });

  describe('peek', () => {
    can('peek', 'shows the next messages in the order of serving and touches nothing', async ({ broker }) => {
      const queue = uniqueQueue('peek');
      await sendIds(broker, queue, ids(queue, 1, 5));
      expect(idsOf(await broker.peek(queue, 3))).toEqual(ids(queue, 1, 3));
      expect(idsOf(await broker.peek(queue, 100))).toEqual(ids(queue, 1, 5));
      expect(await broker.peek(queue, 0)).toEqual([]);
      const collector = await Collector.open(broker, { [queue]: 5 });
      await collector.got(5, patienceMs);
      expect(collector.ids).toEqual(ids(queue, 1, 5));
      for (let index = 0; index < 5; index += 1)
        expect(collector.delivery(index)).toMatchObject({ redelivered: false, losses: 0 });
      await collector.ack(...collector.arrivals);
      expect(await broker.peek(queue, 10)).toEqual([]);
    });

    can('peek', 'shows garbage as its bytes', async (fixture) => {
      const queue = uniqueQueue('peek-garbage');
      await sendIds(fixture.broker, queue, ['x']);
      await fixture.putRaw(queue, Uint8Array.from([0, 0xff, 7]));
      const shown = await fixture.broker.peek(queue, 10);
      expect(idsOf(shown)).toEqual(['x', 'garbage']);
      expect(shown[1] && 'garbage' in shown[1] ? [...shown[1].garbage] : null).toEqual([0, 0xff, 7]);
    });

    can('peek', 'shows higher priorities first', async (fixture) => {
      if (fixture.broker.capabilities.priorities !== true) return expectPlainOrder(fixture.broker);
      const queue = uniqueQueue('peek-priority');
      await send(
        fixture.broker,
        [0, 9, 5].map((priority) => outgoing(queue, `p${priority}`, { priority })),
      );
      expect(idsOf(await fixture.broker.peek(queue, 10))).toEqual(['p9', 'p5', 'p0']);
    });

    can('peek', 'shows what waits for a time after the others, with its time', async (fixture) => {
      const queue = uniqueQueue('peek-delayed');
      const { broker } = fixture;
      await sendIds(broker, queue, ['later', 'latest', 'now']);
      const collector = await Collector.open(broker, { [queue]: 2 });
      await collector.got(2, patienceMs);
      const untilMs = Date.now() + 3_600_000;
      await collector.settle(
        { kind: 'defer', arrival: collector.delivery(1), untilMs: untilMs + 5_000 },
        { kind: 'defer', arrival: collector.delivery(0), untilMs },
      );
      const shown = await broker.peek(queue, 10);
      expect(idsOf(shown)).toEqual(['now', 'later', 'latest']);
      expect(shown.map((one) => ('message' in one ? one.notBeforeMs : 0))).toEqual([null, untilMs, untilMs + 5_000]);
      await broker.purge(queue);
    });
  });

  describe('purge', () => {
    it('removes what waits, tells how much on the way, and leaves what is held', async ({ broker }) => {
      const queue = uniqueQueue('purge');
      await sendIds(broker, queue, ids(queue, 1, 2_500));
      const collector = await Collector.open(broker, { [queue]: 2 });
      await collector.got(2, patienceMs);
      const progress: number[] = [];
      expect(await broker.purge(queue, (removed) => progress.push(removed))).toBe(2_498);
      expect(progress.length).toBeGreaterThan(0);
      expect(progress).toEqual([...progress].sort((a, b) => a - b));
      expect(progress.at(-1)).toBe(2_498);
      await collector.ack(...collector.arrivals);
      await expectDepth(broker, queue, { ready: 0, unacked: 0 });
      await collector.got(2);
    });

    it('removes what waits for a time, where the broker can tell how much that is', async ({ broker }) => {
      const queue = uniqueQueue('purge-delayed');
      await sendIds(broker, queue, ids(queue, 1, 4));
      const collector = await Collector.open(broker, { [queue]: 3 });
      await collector.got(3, patienceMs);
      const untilMs = Date.now() + 3_600_000;
      await collector.settle(
        ...[0, 1, 2].map((index) => ({ kind: 'defer', arrival: collector.delivery(index), untilMs }) as const),
      );
      await expectDepth(broker, queue, { ready: 1, delayed: 3, unacked: 0 });
      const [depth] = await broker.depth([queue]);
      expect(await broker.purge(queue)).toBe(depth?.delayed === null ? 1 : 4);
      await expectDepth(broker, queue, { ready: 0, delayed: 0 });
    });

    it('finds nothing in an empty queue, and the queue still works', async ({ broker }) => {
      const queue = uniqueQueue('purge-empty');
      await broker.declare(queue);
      expect(await broker.purge(queue)).toBe(0);
      await sendIds(broker, queue, ['x']);
      expect(await broker.purge(queue)).toBe(1);
      await sendIds(broker, queue, ['y']);
      expect(await drain(broker, queue, 1)).toEqual(['y']);
    });
  });

  /** Without priorities the order of sending is the order of serving, whatever was asked. */
  async function expectPlainOrder(broker: Parameters<typeof drain>[0]): Promise<void> {
    const queue = uniqueQueue('peek-plain');
    await send(
      broker,
      [0, 9, 5].map((priority) => outgoing(queue, `p${priority}`, { priority })),
    );
    expect(idsOf(await broker.peek(queue, 10))).toEqual(['p0', 'p9', 'p5']);
  }
}
