/** Broker suite: dead letters. What is parked can be found and read, however much there is. Next stop: `replaying.ts`. */
import { describe, expect } from 'vitest';
import type { DeadQuery } from '../../brokers/dead-letters.js';
import { type BrokerSuite, PARK_REASON } from './broker-fixture.js';
import { bodyBytes, Collector, expectCode, ids, message, send, sendIds, uniqueQueue, until } from './broker-kit.js';
import { listAll, onlyLetter, park, WORK } from './dead-letter-kit.js';

export function deadLettersSuite({ it, can, leaseMs, patienceMs }: BrokerSuite): void {
  describe('dead letters', () => {
    it('show where they came from, when, why, whose they were, and what was in them', async ({ broker, another }) => {
      const queue = uniqueQueue('dead');
      const startedMs = Date.now();
      const body = { encoding: 'utf8', data: '[["naïve"],{},{}]' } as const;
      const sent = message('d', { headers: { ...message('d').headers, task: 'suite.dead', retries: 2, mine: 'yes' }, body });
      await send(broker, [{ to: { queue }, message: sent }]);
      const collector = await Collector.open(broker, { [queue]: 1 }, { name: 'parker@host' });
      await collector.got(1, patienceMs);
      await collector.settle({ kind: 'park', arrival: collector.delivery(0), reason: PARK_REASON });

      const { letter, raw, message: kept } = await onlyLetter(await another(), queue);
      expect(letter).toMatchObject({ queue, ...PARK_REASON, task: 'suite.dead', taskId: 'd', size: raw.length });
      expect(letter.parkedAtMs).toBeGreaterThanOrEqual(startedMs - 1_000);
      expect(letter.parkedAtMs).toBeLessThanOrEqual(Date.now() + 1_000);
      expect(letter.history).toEqual({
        leasesLost: 0,
        executorsLost: 0,
        retries: 2,
        redelivered: false,
        unknownSinceMs: null,
        parkedBy: 'parker@host',
      });
      expect(kept?.headers).toMatchObject(sent.headers);
      expect(Object.keys(kept?.headers ?? {}).filter((name) => name.includes('dead'))).toEqual([]);
      expect(kept && bodyBytes(kept).toString()).toBe(body.data);
      await until(async () => (await broker.deadLetters.count()) >= 1, 'a count', patienceMs);
    });

    it('are listed newest first, in pages of at most a thousand, each once, and removed by the thousand', async ({ broker }) => {
      const queue = uniqueQueue('pages');
      const all = ids(queue, 1, 1_300);
      for (let from = 0; from < all.length; from += 130) await park(broker, queue, all.slice(from, from + 130));

      const small = await listAll(broker, { filter: { queue }, limit: 250 });
      expect(small.letters.map(({ taskId }) => taskId).sort()).toEqual([...all].sort());
      expect(Math.max(...small.pages)).toBe(250);
      const times = small.letters.map(({ parkedAtMs }) => parkedAtMs);
      expect(times).toEqual([...times].sort((a, b) => b - a));
      const big = await listAll(broker, { filter: { queue }, limit: 1_000_000 });
      expect(big.letters.map(({ id }) => id)).toEqual(small.letters.map(({ id }) => id));
      expect(Math.max(...big.pages)).toBeLessThanOrEqual(1_000);

      const totals = await broker.deadLetters.totals({ queue });
      expect(totals).toMatchObject({ count: 1_300, newestMs: times[0], oldestMs: times.at(-1) });
      expect(totals.bytes).toBe(small.letters.reduce((sum, { size }) => sum + size, 0));
      expect([...totals.queues, ...totals.codes]).toEqual([
        [queue, 1_300],
        [PARK_REASON.code, 1_300],
      ]);

      const progress: number[] = [];
      const report = await broker.deadLetters.purge(
        { filter: { queue } },
        { ...WORK, onProgress: (done) => progress.push(done) },
      );
      expect(report).toMatchObject({ done: 1_300, refusedCount: 0 });
      expect(progress.length).toBeGreaterThan(1);
      expect(progress).toEqual([...progress].sort((a, b) => a - b));
      expect(progress.at(-1)).toBe(1_300);
      expect((await broker.deadLetters.totals({ queue })).count).toBe(0);
      expect(await broker.deadLetters.list({ filter: { queue } })).toEqual({ letters: [], next: null });
    });

    it('are found by queue, task, code and time, and by all of them together', async ({ broker }) => {
      const [a, b] = [uniqueQueue('a'), uniqueQueue('b')];
      await park(broker, a, ['a1', 'a2']);
      await park(broker, b, ['b1'], { code: 'E_WORKER_LOST', reason: 'three died' });
      const letters = [
        ...(await listAll(broker, { filter: { queue: a } })).letters,
        ...(await listAll(broker, { filter: { queue: b } })).letters,
      ];
      expect(letters).toHaveLength(3);
      const found = async (filter: NonNullable<DeadQuery['filter']>): Promise<string[]> => {
        const all = (await listAll(broker, { filter })).letters.filter(({ queue }) => queue === a || queue === b);
        expect((await broker.deadLetters.totals(filter)).count).toBeGreaterThanOrEqual(all.length);
        return all.map(({ taskId }) => String(taskId)).sort();
      };
      expect(await found({})).toEqual(['a1', 'a2', 'b1']);
      expect(await found({ queue: a })).toEqual(['a1', 'a2']);
      expect(await found({ code: 'E_WORKER_LOST' })).toEqual(['b1']);
      expect(await found({ task: 'suite.task' })).toEqual(['a1', 'a2', 'b1']);
      expect(await found({ task: 'suite.other' })).toEqual([]);
      expect(await found({ queue: a, code: 'E_WORKER_LOST' })).toEqual([]);
      const last = letters.find(({ taskId }) => taskId === 'b1')?.parkedAtMs ?? 0;
      expect(await found({ parkedAfterMs: last, queue: b })).toEqual(['b1']);
      expect(await found({ parkedBeforeMs: last, queue: b })).toEqual([]);
      expect(await found({ parkedAfterMs: last + 60_000 })).toEqual([]);
      expect((await broker.deadLetters.purge({ filter: { queue: a, code: PARK_REASON.code } }, WORK)).done).toBe(2);
      expect(await found({})).toEqual(['b1']);
      expect((await broker.deadLetters.purge({ filter: { queue: b } }, WORK)).done).toBe(1);
    });

    it('are seen whole by two who look at the same time', async ({ broker, another }) => {
      const queue = uniqueQueue('two');
      await park(broker, queue, ids(queue, 1, 40));
      const other = await another();
      const counts = await Promise.all(
        [broker, other, broker, other].map(async (each) => (await each.deadLetters.totals({ queue })).count),
      );
      expect(counts).toEqual([40, 40, 40, 40]);
      await broker.deadLetters.purge({ filter: { queue } }, WORK);
    });

    can('countsLosses', 'tell how many workers were lost with them', async (fixture) => {
      const queue = uniqueQueue('losses');
      const first = await fixture.another();
      await sendIds(fixture.broker, queue, ['x']);
      const lost = await Collector.open(first, { [queue]: 1 }, { leaseMs });
      await lost.got(1, patienceMs);
      const heir = await Collector.open(fixture.broker, { [queue]: 1 }, { leaseMs });
      await fixture.crash(first);
      await heir.got(1, patienceMs);
      await heir.settle({ kind: 'park', arrival: heir.delivery(0), reason: PARK_REASON });
      const { letter } = await onlyLetter(fixture.broker, queue);
      expect(letter.history).toMatchObject({ leasesLost: 1, redelivered: true });
    });

    it('refuse to answer once the broker is closed', async ({ another }) => {
      const broker = await another();
      await broker.deadLetters.count();
      await broker.close();
      await expectCode(broker.deadLetters.count(), 'E_CLOSED');
      await expectCode(broker.deadLetters.list(), 'E_CLOSED');
      await expectCode(broker.deadLetters.replay({ filter: {} }, WORK), 'E_CLOSED');
    });
  });
}
