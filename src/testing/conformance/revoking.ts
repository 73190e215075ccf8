/** Broker suite: revocations. What waits for a time is removed; the rest is recorded, bounded, and learnt with the next messages. */
import { describe, expect } from 'vitest';
import type { Broker } from '../../brokers/broker.js';
import { REVOKE_STEP } from '../../brokers/revocations.js';
import { silentLogger } from '../../core/logger.js';
import { LONGEST_NAME, MOST_REVOCATIONS, type TimedSet } from '../../core/timed-set.js';
import type { WireMessage } from '../../wire/message.js';
import type { BrokerSuite } from './broker-fixture.js';
import { bodyBytes, Collector, idOf, ids, outgoing, quiet, send, sendIds, uniqueQueue, until } from './broker-kit.js';

const HOUR_MS = 3_600_000;

function recordsOf({ revocations }: Broker): TimedSet {
  if (revocations.records === null) throw new Error('this broker keeps no records');
  return revocations.records;
}

export function revokingSuite({ it, can, patienceMs }: BrokerSuite): void {
  describe('revocations', () => {
    can('recordsRevocations', 'are seen by everybody who asks for exactly these ids, and by nobody else', async (fixture) => {
      const queue = uniqueQueue('recorded');
      const [a, b, c] = ids(queue, 1, 3) as [string, string, string];
      expect(await recordsOf(fixture.broker).add([a, b], HOUR_MS)).toEqual([true, true]);
      const records = recordsOf(await fixture.another());
      expect(await records.find([a, c, b])).toEqual(new Set([a, b]));
      expect(await records.find([c])).toEqual(new Set());
      expect(await records.find([])).toEqual(new Set());
      expect([...(await records.list(10))].sort()).toEqual([a, b].sort());
      expect(await records.list(1)).toHaveLength(1);
      expect(await records.list(0)).toEqual([]);
    });

    can('recordsRevocations', 'end by themselves, and then nothing is recorded', async (fixture) => {
      const records = recordsOf(fixture.broker);
      expect(await records.version()).toBe(0);
      await records.add(['short'], 300);
      await records.add(['long'], 1_500);
      await until(async () => (await records.find(['short', 'long'])).size === 1, 'the shorter to end', patienceMs);
      expect(await records.find(['long'])).toEqual(new Set(['long']));
      expect(await records.list(10)).toEqual(['long']);
      await until(async () => (await records.find(['long'])).size === 0, 'the longer to end', patienceMs);
      expect(await records.list(10)).toEqual([]);
    });

    can('recordsRevocations', 'hold for the longest time that was asked for', async (fixture) => {
      const records = recordsOf(fixture.broker);
      await records.add(['a', 'b'], HOUR_MS);
      await records.add(['a'], 100);
      await records.add(['gone'], 100);
      await until(async () => !(await records.find(['gone'])).has('gone'), 'the short one to end', patienceMs);
      expect(await records.find(['a', 'b'])).toEqual(new Set(['a', 'b']));
    });

    can('recordsRevocations', 'have another version after each addition', async (fixture) => {
      const records = recordsOf(fixture.broker);
      const versions = [await records.version()];
      for (const id of ['a', 'b', 'a']) {
        await records.add([id], HOUR_MS);
        versions.push(await records.version());
      }
      expect(new Set(versions).size).toBe(4);
      expect(await records.version()).toBe(versions.at(-1));
    });

    can('recordsRevocations', 'are refused beyond the cap, except for ids that are known', async (fixture) => {
      const records = recordsOf(fixture.broker);
      const all = Array.from({ length: MOST_REVOCATIONS + 5 }, (_, index) => `id-${index}`);
      const answers = await records.add(all, HOUR_MS);
      expect(answers.filter((isIn) => isIn)).toHaveLength(MOST_REVOCATIONS);
      expect(answers.slice(-5)).toEqual([false, false, false, false, false]);
      expect(await records.add(['id-0', 'one more'], HOUR_MS)).toEqual([true, false]);
      expect(await records.find(['id-0', 'one more', `id-${MOST_REVOCATIONS - 1}`])).toEqual(
        new Set(['id-0', `id-${MOST_REVOCATIONS - 1}`]),
      );
      // what has ended makes room
      expect((await records.list(MOST_REVOCATIONS * 2)).length).toBe(MOST_REVOCATIONS);
    });

    can('recordsRevocations', 'take no text that cannot be an id', async (fixture) => {
      const records = recordsOf(fixture.broker);
      const long = 'x'.repeat(LONGEST_NAME + 1);
      expect(await records.add([long, '', 'fine'], HOUR_MS)).toEqual([false, false, true]);
      expect(await records.find([long, '', 'fine'])).toEqual(new Set(['fine']));
    });

    can('recordsRevocations', 'are learnt by a consumer before the messages that come after them', async (fixture) => {
      const queue = uniqueQueue('learnt');
      const heard: string[] = [];
      let version = 0;
      const consumer = await fixture.broker.consume({
        queues: [{ name: queue, credit: 10 }],
        ...{ credit: 10, leaseMs: 15_000, consumerName: 'learner@host', logger: silentLogger },
        onArrivals: (arrivals) => heard.push(...arrivals.map(idOf)),
        onLost: () => {},
        onRevocations: (next) => {
          if (next !== version) heard.push(next === 0 ? 'none' : 'some');
          version = next;
        },
        onState: () => {},
      });
      await sendIds(fixture.broker, queue, ['before']);
      await until(() => heard.length === 1, 'the first message', patienceMs);
      await recordsOf(await fixture.another()).add(['a'], HOUR_MS);
      await sendIds(fixture.broker, queue, ['after']);
      await until(() => heard.includes('after'), 'the second message', patienceMs);
      await sendIds(fixture.broker, queue, ['later']);
      await until(() => heard.includes('later'), 'the third message', patienceMs);
      expect(heard).toEqual(['before', 'some', 'after', 'later']);
      await consumer.close({ timeoutMs: 5_000 });
    });

    it('remove nothing for ids that nobody knows', async ({ broker }) => {
      const queue = uniqueQueue('none');
      await send(broker, [outgoing(queue, 'stays', { notBeforeMs: Date.now() + HOUR_MS })]);
      expect(await broker.revocations.withdraw(['unknown'])).toEqual(new Map());
      expect(await broker.revocations.withdraw([])).toEqual(new Map());
    });

    can('withdraws', 'remove what waits for a time, deferred or published so, and give it back', async (fixture) => {
      const { broker } = fixture;
      const queue = uniqueQueue('waiting');
      const [sent, deferred, other] = ids(queue, 1, 3) as [string, string, string];
      const soonMs = Date.now() + 2_500;
      await sendIds(broker, queue, [deferred, other]);
      const collector = await Collector.open(broker, { [queue]: 5 });
      await collector.got(2, patienceMs);
      for (const arrival of [collector.delivery(0), collector.delivery(1)])
        await collector.settle({ kind: 'defer', arrival, untilMs: soonMs });
      if (broker.capabilities.delayedPublish === true) await send(broker, [outgoing(queue, sent, { notBeforeMs: soonMs })]);
      const wanted = broker.capabilities.delayedPublish === true ? [sent, deferred] : [deferred];

      const withdrawn = await (await fixture.another()).revocations.withdraw(wanted);
      expect([...withdrawn.keys()].sort()).toEqual([...wanted].sort());
      expect(withdrawn.get(deferred)?.headers).toMatchObject({ id: deferred, task: 'suite.task' });
      expect(bodyBytes(withdrawn.get(deferred) as WireMessage).toString()).toContain(deferred);
      expect(await broker.depth([queue])).toMatchObject([{ queue, delayed: 1 }]);
      expect(await broker.revocations.withdraw(wanted)).toEqual(new Map());

      await until(() => collector.arrivals.length === 3, 'the one that was not withdrawn', patienceMs);
      await quiet(broker, queue);
      expect(collector.arrivals.slice(2).map(idOf)).toEqual([other]);
      await collector.consumer.close({ timeoutMs: 5_000 });
    });

    can('withdraws', 'leave what came out of the delay store, and what was purged from it, alone', async (fixture) => {
      const { broker } = fixture;
      const queue = uniqueQueue('promoted');
      const [due, purged] = ids(queue, 1, 2) as [string, string];
      const collector = await Collector.open(broker, { [queue]: 5 });
      await sendIds(broker, queue, [due]);
      await collector.got(1, patienceMs);
      await collector.settle({ kind: 'defer', arrival: collector.delivery(0), untilMs: Date.now() + 100 });
      await collector.got(2, patienceMs);
      expect(await broker.revocations.withdraw([due])).toEqual(new Map());
      await sendIds(broker, queue, [purged]);
      await collector.got(3, patienceMs);
      await collector.settle({ kind: 'defer', arrival: collector.delivery(2), untilMs: Date.now() + HOUR_MS });
      expect(await broker.purge(queue)).toBe(1);
      expect(await broker.revocations.withdraw([purged])).toEqual(new Map());
      await collector.consumer.close({ timeoutMs: 5_000 });
    });

    can('withdraws', `remove more than one step (${REVOKE_STEP}) of them`, async (fixture) => {
      const { broker } = fixture;
      const queue = uniqueQueue('many');
      const all = ids(queue, 1, REVOKE_STEP + 200);
      await sendIds(broker, queue, all);
      const collector = await Collector.open(broker, { [queue]: all.length });
      await collector.got(all.length, patienceMs);
      const untilMs = Date.now() + HOUR_MS;
      await collector.settle(
        ...collector.arrivals.map((_, index) => ({ kind: 'defer', arrival: collector.delivery(index), untilMs }) as const),
      );
      const withdrawn = await broker.revocations.withdraw(all.slice(0, -3));
      expect(withdrawn.size).toBe(all.length - 3);
      expect(await broker.depth([queue])).toMatchObject([{ delayed: 3 }]);
      await collector.consumer.close({ timeoutMs: 5_000 });
    });
  });
}
