/** Broker suite: dead letters. What is parked can be found, read, sent back and removed, and is never lost on the way. Next stop: `queues.ts`. */
import { describe, expect } from 'vitest';
import type { Broker } from '../../brokers/broker.js';
import type { DeadLetter, DeadLetterContent, DeadQuery } from '../../brokers/dead-letters.js';
import { silentLogger } from '../../core/logger.js';
import { type BrokerFixture, type BrokerSuite, PARK_REASON } from './broker-fixture.js';
import {
  bodyBytes,
  Collector,
  drain,
  expectCode,
  expectDepth,
  holdingIds,
  ids,
  message,
  send,
  sendIds,
  uniqueQueue,
  until,
} from './broker-kit.js';

const GARBAGE = Uint8Array.from([0x7b, 0x22, 0x00, 0xff, 0xfe, 0xc3, 0x28, 0x0a, 0x5d]);
const WORK = { timeoutMs: 10_000 } as const;
const LOSSES = 'lovage_losses';
const UNKNOWN_SINCE = 'lovage_unknown_since';

/** Sends and parks messages with these ids. */
async function park(
  broker: Broker,
  queue: string,
  list: readonly string[],
  reason = PARK_REASON as { code: string; reason: string },
) {
  const collector = await holdingIds(broker, queue, list);
  const parks = collector.arrivals.map((arrival) => ({ kind: 'park', arrival, reason }) as const);
  expect(new Set(await collector.settle(...parks))).toEqual(new Set(['held']));
  await collector.consumer.close({ timeoutMs: 5_000 });
}

/** All letters that a query finds, page by page; the pages' sizes beside them. */
async function listAll({ deadLetters }: Broker, query: DeadQuery): Promise<{ letters: DeadLetter[]; pages: number[] }> {
  const letters: DeadLetter[] = [];
  const pages: number[] = [];
  for (let cursor: string | null = null; ; ) {
    const page = await deadLetters.list({ ...query, cursor });
    letters.push(...page.letters);
    pages.push(page.letters.length);
    if (page.next === null) return { letters, pages };
    cursor = page.next;
  }
}

async function taskIds(broker: Broker, queue: string): Promise<string[]> {
  const { letters } = await listAll(broker, { filter: { queue } });
  return letters.map(({ taskId }) => String(taskId));
}

async function onlyLetter(broker: Broker, queue: string): Promise<DeadLetterContent> {
  const { letters } = await listAll(broker, { filter: { queue } });
  expect(letters).toHaveLength(1);
  const content = await broker.deadLetters.get(letters[0]?.id ?? '');
  if (!content) throw new Error('a listed letter cannot be read');
  return content;
}

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

  async function countBoth({ broker }: BrokerFixture, queue: string): Promise<number> {
    const [depth] = await broker.depth([queue]);
    return (depth?.ready ?? 0) + (await broker.deadLetters.totals({ queue })).count;
  }
}
