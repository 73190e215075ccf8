/** Broker suite: how deliveries end. Ack, requeue, defer, park, and what comes of garbage. */
import { describe, expect } from 'vitest';
import type { Settlement } from '../../brokers/broker.js';
import type { BrokerFixture, BrokerSuite, ParkedEntry } from './broker-fixture.js';
import { Collector, drain, expectDepth, ids, message, outgoing, send, sendIds, uniqueQueue, until, untilWall } from './broker-kit.js';

const GARBAGE = Uint8Array.from([0x7b, 0x22, 0x00, 0xff, 0xfe, 0xc3, 0x28, 0x0a, 0x5d]);
const REASON = { code: 'E_DECODE', reason: 'the suite says so: "naïve"' } as const;

/** Parked entries of one queue, waited for. */
async function parked(fixture: BrokerFixture, queue: string, count: number): Promise<readonly ParkedEntry[]> {
  let entries: readonly ParkedEntry[] = [];
  await until(
    async () => {
      entries = (await fixture.dead()).filter((entry) => entry.queue === queue);
      return entries.length >= count;
    },
    () => `${count} parked entries, there are ${entries.length}`,
  );
  expect(entries).toHaveLength(count);
  return entries;
}

export function settlingSuite({ it, can, patienceMs }: BrokerSuite): void {
  const holding = async ({ broker }: BrokerFixture, queue: string, list: readonly string[], credit = list.length): Promise<Collector> => {
    await sendIds(broker, queue, list);
    const collector = await Collector.open(broker, { [queue]: credit });
    await collector.got(Math.min(credit, list.length), patienceMs);
    return collector;
  };

  describe('ack', () => {
    it('removes exactly what is acknowledged, in any order', async (fixture) => {
      const queue = uniqueQueue('ack');
      const collector = await holding(fixture, queue, ids(queue, 1, 6));
      await collector.ack(...[4, 0, 2].map((index) => collector.delivery(index)));
      await collector.ack(collector.delivery(5));
      expect(await collector.consumer.close({ timeoutMs: 5_000 })).toBe(2);
      expect(await drain(fixture.broker, queue, 2)).toEqual([`${queue}.2`, `${queue}.4`]);
    });

    it('answers `lost` to a second settlement and to a tag that it never gave', async (fixture) => {
      const queue = uniqueQueue('twice');
      const collector = await holding(fixture, queue, ['x', 'y']);
      const [x, y] = [collector.delivery(0), collector.delivery(1)];
      await collector.ack(x);
      expect(await collector.settle({ kind: 'ack', arrival: x })).toEqual(['lost']);
      expect(await collector.settle({ kind: 'requeue', arrival: x, where: 'back' })).toEqual(['lost']);
      expect(await collector.settle({ kind: 'ack', arrival: { ...y, tag: 'never-given' } })).toEqual(['lost']);
      expect(await collector.settle()).toEqual([]);
      await collector.ack(y);
      await expectDepth(fixture.broker, queue, { ready: 0, unacked: 0, delayed: 0 });
    });

    it('settles a batch of every kind at once and answers in its order', async (fixture) => {
      const queue = uniqueQueue('mixed');
      const collector = await holding(fixture, queue, ids(queue, 1, 6));
      const [ack, twice, front, back, defer, park] = [0, 0, 1, 2, 3, 4].map((index) => collector.delivery(index));
      if (!ack || !twice || !front || !back || !defer || !park) throw new Error('unreachable');
      const untilMs = Date.now() + 1_200;
      const batch: Settlement[] = [
        { kind: 'ack', arrival: ack },
        { kind: 'ack', arrival: twice },
        { kind: 'requeue', arrival: back, where: 'back' },
        { kind: 'defer', arrival: defer, untilMs },
        { kind: 'park', arrival: park, reason: REASON },
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

  describe('requeue', () => {
    it('serves a message handed back to the front next, under a fresh tag and without a loss', async (fixture) => {
      const queue = uniqueQueue('front');
      const collector = await holding(fixture, queue, ids(queue, 1, 3), 1);
      const first = collector.delivery(0);
      expect(await collector.settle({ kind: 'requeue', arrival: first, where: 'front' })).toEqual(['held']);
      expect(collector.consumer.holds(first.tag)).toBe(false);
      collector.consumer.grant(queue, 3);
      await collector.got(4, patienceMs);
      expect(collector.ids.slice(1)).toEqual(ids(queue, 1, 3));
      expect(collector.delivery(1).losses).toBe(0);
      expect(collector.delivery(1).tag).not.toBe(first.tag);
      expect(await collector.settle({ kind: 'ack', arrival: first })).toEqual(['lost']);
      await collector.ack(...collector.arrivals.slice(1));
    });

    it('keeps the order of several messages handed back to the front in one call', async (fixture) => {
      const queue = uniqueQueue('fronts');
      const collector = await holding(fixture, queue, ids(queue, 1, 5), 3);
      const fronts = collector.arrivals.map((_, index) => ({ kind: 'requeue', arrival: collector.delivery(index), where: 'front' }) as const);
      expect(await collector.settle(...fronts)).toEqual(['held', 'held', 'held']);
      await collector.consumer.close({ timeoutMs: 5_000 });
      expect(await drain(fixture.broker, queue, 5)).toEqual(ids(queue, 1, 5));
    });

    it('serves a message put to the back last, without a loss', async (fixture) => {
      const queue = uniqueQueue('back');
      const collector = await holding(fixture, queue, ids(queue, 1, 3), 1);
      expect(await collector.settle({ kind: 'requeue', arrival: collector.delivery(0), where: 'back' })).toEqual(['held']);
      collector.consumer.grant(queue, 3);
      await collector.got(4, patienceMs);
      expect(collector.ids.slice(1)).toEqual([2, 3, 1].map((n) => `${queue}.${n}`));
      expect(collector.delivery(3).losses).toBe(0);
      await collector.ack(...collector.arrivals.slice(1));
    });

    it('keeps the bytes of a message that goes back and forth', async (fixture) => {
      const queue = uniqueQueue('unchanged');
      const sent = message('u', { headers: { ...message('u').headers, list: [], nothing: null, half: 1.5 } });
      await send(fixture.broker, [{ to: { queue }, message: sent }]);
      const collector = await Collector.open(fixture.broker, { [queue]: 1 });
      for (let round = 0; round < 3; round += 1) {
        await collector.got(round + 1, patienceMs);
        const delivery = collector.delivery(round);
        expect(delivery.message.headers).toMatchObject(sent.headers);
        expect(delivery.message.body).toEqual(collector.delivery(0).message.body);
        await collector.settle({ kind: 'requeue', arrival: delivery, where: round === 0 ? 'front' : 'back' });
        collector.consumer.grant(queue, 1);
      }
      await collector.got(4, patienceMs);
      await collector.ack(collector.delivery(3));
    });

    can('priorities', 'keeps its priority', async (fixture) => {
      const queue = uniqueQueue('requeue-priority');
      await send(fixture.broker, [outgoing(queue, 'urgent', { priority: 9 }), outgoing(queue, 'idle', { priority: 0 })]);
      const collector = await Collector.open(fixture.broker, { [queue]: 1 });
      await collector.got(1, patienceMs);
      await collector.settle({ kind: 'requeue', arrival: collector.delivery(0), where: 'back' });
      await collector.consumer.close({ timeoutMs: 5_000 });
      expect(await drain(fixture.broker, queue, 2)).toEqual(['urgent', 'idle']);
    });
  });

  describe('defer', () => {
    it('brings a message back at its time and not before, though its consumer has closed', async (fixture) => {
      const queue = uniqueQueue('defer');
      const collector = await holding(fixture, queue, ['later', 'now']);
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
      const collector = await holding(fixture, queue, ids(queue, 1, 3), 1);
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
      const collector = await holding(fixture, queue, ['a', 'b']);
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
      const collector = await holding(fixture, queue, wanted);
      const untilMs = Date.now() + 1_500;
      const batch = collector.arrivals.map((_, index) => ({ kind: 'defer', arrival: collector.delivery(index), untilMs }) as const);
      expect(new Set(await collector.settle(...batch))).toEqual(new Set(['held']));
      const others = await Promise.all(
        [fixture.broker, await fixture.another()].map((broker) => Collector.open(broker, { [queue]: 40 }, { acking: true })),
      );
      const arrived = (): string[] => others.flatMap((other) => other.ids);
      await until(() => arrived().length >= wanted.length, () => `300 messages, ${arrived().length} came`, patienceMs);
      await expectDepth(fixture.broker, queue, { ready: 0, unacked: 0, delayed: 0 });
      expect(arrived().sort()).toEqual([...wanted].sort());
      expect(Date.now()).toBeGreaterThanOrEqual(untilMs);
    });
  });

  describe('park', () => {
    it('keeps a message with its body, its queue and the reason, and removes it from the queue', async (fixture) => {
      const queue = uniqueQueue('park');
      const body = 'body-of-the-parked-message';
      await send(fixture.broker, [{ to: { queue }, message: message('p', { body: { encoding: 'utf8', data: body } }) }]);
      const collector = await Collector.open(fixture.broker, { [queue]: 1 });
      await collector.got(1, patienceMs);
      expect(await collector.settle({ kind: 'park', arrival: collector.delivery(0), reason: REASON })).toEqual(['held']);
      const [entry] = await parked(fixture, queue, 1);
      expect(entry).toMatchObject({ queue, ...REASON });
      const raw = Buffer.from(entry?.raw ?? []).toString('latin1');
      expect(raw.includes(body) || raw.includes(Buffer.from(body).toString('base64'))).toBe(true);
      await expectDepth(fixture.broker, queue, { ready: 0, unacked: 0, delayed: 0 });
    });

    it('delivers what is no message as garbage with its raw bytes, and goes on with the messages around it', async (fixture) => {
      const queue = uniqueQueue('garbage');
      await sendIds(fixture.broker, queue, ['before']);
      await fixture.putRaw(queue, GARBAGE);
      await sendIds(fixture.broker, queue, ['after']);
      const collector = await Collector.open(fixture.broker, { [queue]: 5 });
      await collector.got(3, patienceMs);
      const garbage = collector.garbage(1);
      expect([...garbage.raw]).toEqual([...GARBAGE]);
      expect(garbage.queue).toBe(queue);
      expect(garbage.fault.code).toMatch(/^E_[A-Z_]+$/);
      expect(collector.consumer.holds(garbage.tag)).toBe(true);
      await collector.ack(collector.delivery(0), collector.delivery(2));
      expect(await collector.settle({ kind: 'park', arrival: garbage, reason: REASON })).toEqual(['held']);
      const [entry] = await parked(fixture, queue, 1);
      expect([...(entry?.raw ?? [])]).toEqual([...GARBAGE]);
      expect(entry).toMatchObject(REASON);
      await expectDepth(fixture.broker, queue, { ready: 0, unacked: 0 });
    });

    it('hands garbage back like a message, and removes it by an ack', async (fixture) => {
      const queue = uniqueQueue('garbage-back');
      await fixture.broker.declare(queue);
      await fixture.putRaw(queue, GARBAGE);
      const collector = await Collector.open(fixture.broker, { [queue]: 1 });
      await collector.got(1, patienceMs);
      expect(await collector.consumer.close({ timeoutMs: 5_000 })).toBe(1);
      const next = await Collector.open(fixture.broker, { [queue]: 1 });
      await next.got(1, patienceMs);
      expect([...next.garbage(0).raw]).toEqual([...GARBAGE]);
      expect(next.garbage(0).tag).not.toBe(collector.garbage(0).tag);
      await next.ack(next.garbage(0));
      await expectDepth(fixture.broker, queue, { ready: 0, unacked: 0 });
    });
  });

  describe('times', () => {
    it('delivers each of several deferred messages in the order of their times', async (fixture) => {
      const queue = uniqueQueue('defer-order');
      const collector = await holding(fixture, queue, ids(queue, 1, 3));
      const startMs = Date.now();
      const batch = [3_100, 1_100, 2_100].map((ms, index) => ({ kind: 'defer', arrival: collector.delivery(index), untilMs: startMs + ms }) as const);
      await collector.settle(...batch);
      collector.consumer.grant(queue, 3);
      await untilWall(startMs + 1_100);
      await collector.got(6, patienceMs);
      expect(collector.ids.slice(3)).toEqual([2, 3, 1].map((n) => `${queue}.${n}`));
      expect(Date.now()).toBeGreaterThanOrEqual(startMs + 3_100);
      await collector.ack(...collector.arrivals.slice(3));
    });
  });
}
