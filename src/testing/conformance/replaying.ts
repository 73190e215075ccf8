/** Broker suite: dead letters that are sent back or removed. They are never lost on the way. Next stop: `queues.ts`. */
import { describe, expect } from 'vitest';
import type { DeadLetter } from '../../brokers/dead-letters.js';
import { silentLogger } from '../../core/logger.js';
import { type BrokerFixture, type BrokerSuite, PARK_REASON } from './broker-fixture.js';
import { bodyBytes, Collector, drain, expectDepth, ids, message, send, sendIds, uniqueQueue, until } from './broker-kit.js';
import { listAll, onlyLetter, park, taskIds, WORK } from './dead-letter-kit.js';

const GARBAGE = Uint8Array.from([0x7b, 0x22, 0x00, 0xff, 0xfe, 0xc3, 0x28, 0x0a, 0x5d]);
const LOSSES = 'lovage_losses';
const UNKNOWN_SINCE = 'lovage_unknown_since';

export function replayingSuite({ it, can, patienceMs }: BrokerSuite): void {
  describe('dead letters', () => {
    it('go back to their queue for a fresh start, attempts kept, and are gone then', async ({ broker }) => {
      const queue = uniqueQueue('replay');
      const headers = { ...message('r').headers, retries: 2, [LOSSES]: 3, [UNKNOWN_SINCE]: 1_700_000_000_000, mine: [1, 'two'] };
      await send(broker, [{ to: { queue }, message: message('r', { headers }) }]);
      const collector = await Collector.open(broker, { [queue]: 1 });
      await collector.got(1, patienceMs);
      await collector.settle({ kind: 'park', arrival: collector.delivery(0), reason: PARK_REASON });
      const { letter, message: kept } = await onlyLetter(broker, queue);
      expect(letter.history).toMatchObject({ executorsLost: 3, unknownSinceMs: 1_700_000_000_000, retries: 2 });

      const seen: string[] = [];
      const report = await broker.deadLetters.replay(
        { ids: [letter.id] },
        { ...WORK, beforeStep: async (letters) => void seen.push(...letters.map(({ taskId }) => String(taskId))) },
      );
      expect(report).toMatchObject({ done: 1, missing: [], refused: [], refusedCount: 0 });
      expect(seen).toEqual(['r']);
      collector.consumer.grant(queue, 1);
      await collector.got(2, patienceMs);
      const again = collector.delivery(1);
      expect(again).toMatchObject({ queue, redelivered: false, losses: 0 });
      const { [LOSSES]: losses, [UNKNOWN_SINCE]: since, ...rest } = again.message.headers;
      expect([losses, since]).toEqual([undefined, undefined]);
      expect(rest).toMatchObject({ id: 'r', retries: 2, mine: [1, 'two'], lovage_resent: true });
      expect(kept && bodyBytes(again.message).equals(bodyBytes(kept))).toBe(true);
      await collector.ack(again);
      expect(await taskIds(broker, queue)).toEqual([]);
      expect(await broker.deadLetters.get(letter.id)).toBeNull();
      await expectDepth(broker, queue, { ready: 0, unacked: 0 });
    });

    it('go to another queue if one is named, which is made for them', async ({ broker }) => {
      const [from, to] = [uniqueQueue('from'), uniqueQueue('to')];
      await park(broker, from, ids(from, 1, 3));
      const report = await broker.deadLetters.replay({ filter: { queue: from } }, { ...WORK, queue: to });
      expect(report.done).toBe(3);
      expect(await drain(broker, to, 3)).toEqual(ids(from, 1, 3));
      await expectDepth(broker, from, { ready: 0, unacked: 0 });
    });

    it('that are no message can be seen and removed, and refuse to be replayed', async (fixture) => {
      const { broker } = fixture;
      const queue = uniqueQueue('garbage');
      await sendIds(broker, queue, ['good']);
      await fixture.putRaw(queue, GARBAGE);
      const collector = await Collector.open(broker, { [queue]: 2 });
      await collector.got(2, patienceMs);
      await collector.settle(...collector.arrivals.map((arrival) => ({ kind: 'park', arrival, reason: PARK_REASON }) as const));
      await collector.consumer.close({ timeoutMs: 5_000 });

      const { letters } = await listAll(broker, { filter: { queue } });
      const bad = letters.find(({ taskId }) => taskId === null);
      if (!bad) throw new Error('the garbage is not listed');
      expect(bad).toMatchObject({ queue, task: null, ...PARK_REASON, size: GARBAGE.length });
      const content = await broker.deadLetters.get(bad.id);
      expect([...(content?.raw ?? [])]).toEqual([...GARBAGE]);
      expect(content?.message).toBeNull();

      const report = await broker.deadLetters.replay({ filter: { queue } }, WORK);
      expect(report).toMatchObject({ done: 1, refusedCount: 1, refused: [{ id: bad.id, code: 'E_DECODE' }] });
      expect(await drain(broker, queue, 1)).toEqual(['good']);
      expect((await listAll(broker, { filter: { queue } })).letters.map(({ id }) => id)).toEqual([bad.id]);
      expect(await broker.deadLetters.purge({ ids: [bad.id] }, WORK)).toMatchObject({ done: 1, missing: [] });
      expect(await taskIds(broker, queue)).toEqual([]);
    });

    it('that are not there are named, and the others still go', async ({ broker }) => {
      const queue = uniqueQueue('missing');
      await park(broker, queue, ['x', 'y']);
      const [y, x] = (await listAll(broker, { filter: { queue } })).letters as [DeadLetter, DeadLetter];
      expect(await broker.deadLetters.get('never-there')).toBeNull();
      const replayed = await broker.deadLetters.replay({ ids: ['never-there', x.id, '999999999'] }, WORK);
      expect(replayed).toMatchObject({ done: 1, refusedCount: 0 });
      expect([...replayed.missing].sort()).toEqual(['999999999', 'never-there']);
      expect(await broker.deadLetters.purge({ ids: [x.id, y.id] }, WORK)).toMatchObject({ done: 1, missing: [x.id] });
      expect(await drain(broker, queue, 1)).toEqual([x.taskId]);
    });

    it('that are parked again while a replay runs are not replayed again by it', async ({ broker }) => {
      const queue = uniqueQueue('loop');
      await park(broker, queue, ids(queue, 1, 300));
      let parkedAgain = 0;
      const consumer = await broker.consume({
        queues: [{ name: queue, credit: 50 }],
        credit: 50,
        leaseMs: 15_000,
        consumerName: 'suite@host',
        logger: silentLogger,
        onArrivals: (arrivals) => {
          const parks = arrivals.map((arrival) => ({ kind: 'park', arrival, reason: PARK_REASON }) as const);
          void consumer.settle(parks).then(() => {
            parkedAgain += parks.length;
            consumer.grant(queue, parks.length);
          });
        },
        onLost: () => {},
        onState: () => {},
      });
      expect((await broker.deadLetters.replay({ filter: { queue } }, WORK)).done).toBe(300);
      await until(
        () => parkedAgain >= 300,
        () => `300 parked again, there are ${parkedAgain}`,
        patienceMs,
      );
      expect(parkedAgain).toBe(300);
      await consumer.close({ timeoutMs: 5_000 });
      expect((await broker.deadLetters.purge({ filter: { queue } }, WORK)).done).toBe(300);
    });

    it('stay whole when a replay is stopped: by who prepares a step, or between two steps', async ({ broker }) => {
      const queue = uniqueQueue('stopped');
      const all = ids(queue, 1, 600);
      await park(broker, queue, all);
      const refuse = broker.deadLetters.replay(
        { filter: { queue } },
        { ...WORK, beforeStep: () => Promise.reject(new Error('no store')) },
      );
      await expect(refuse).rejects.toThrow('no store');
      expect((await broker.deadLetters.totals({ queue })).count).toBe(600);

      const stop = new AbortController();
      const replay = broker.deadLetters.replay(
        { filter: { queue } },
        { ...WORK, signal: stop.signal, onProgress: () => stop.abort() },
      );
      await expect(replay).rejects.toMatchObject({ name: 'AbortError' });
      const left = await taskIds(broker, queue);
      expect(left.length).toBeGreaterThan(0);
      expect(left.length).toBeLessThan(600);
      const back = await drain(broker, queue, 600 - left.length);
      expect([...left, ...back].sort()).toEqual([...all].sort());
      await broker.deadLetters.purge({ filter: { queue } }, WORK);
    });

    can('connections', 'lose none when the connection breaks in the middle of a replay', async (fixture) => {
      const { broker } = fixture;
      const queue = uniqueQueue('broken');
      const all = ids(queue, 1, 600);
      await park(broker, queue, all);
      let steps = 0;
      const replayed = broker.deadLetters.replay(
        { filter: { queue } },
        {
          ...WORK,
          beforeStep: async () => {
            steps += 1;
            if (steps === 2) await fixture.breakConnections?.();
          },
        },
      );
      // it may have gone on over the new connection, or have given up: either is fine, a missing message is not
      await replayed.catch(() => undefined);
      await until(async () => (await countBoth(fixture, queue)) >= 600, 'all of them to be somewhere', patienceMs);
      const left = await taskIds(broker, queue);
      const [depth] = await broker.depth([queue]);
      const back = await drain(broker, queue, depth?.ready ?? 0);
      expect([...new Set([...left, ...back])].sort()).toEqual([...all].sort());
      await broker.deadLetters.purge({ filter: { queue } }, WORK);
    });
  });

  async function countBoth({ broker }: BrokerFixture, queue: string): Promise<number> {
    const [depth] = await broker.depth([queue]);
    return (depth?.ready ?? 0) + (await broker.deadLetters.totals({ queue })).count;
  }
}
