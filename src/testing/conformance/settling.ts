/** Broker suite: how deliveries end. Ack, requeue, park, and what comes of garbage. Next stop: `deferring.ts`. */
import { describe, expect } from 'vitest';
import { type BrokerSuite, PARK_REASON, parked } from './broker-fixture.js';
import { Collector, drain, expectDepth, holdingIds, ids, message, outgoing, send, sendIds, uniqueQueue } from './broker-kit.js';

const GARBAGE = Uint8Array.from([0x7b, 0x22, 0x00, 0xff, 0xfe, 0xc3, 0x28, 0x0a, 0x5d]);

export function settlingSuite({ it, can, patienceMs }: BrokerSuite): void {
  describe('ack', () => {
    it('removes exactly what is acknowledged, in any order', async (fixture) => {
      const queue = uniqueQueue('ack');
      const collector = await holdingIds(fixture.broker, queue, ids(queue, 1, 6));
      await collector.ack(...[4, 0, 2].map((index) => collector.delivery(index)));
      await collector.ack(collector.delivery(5));
      expect(await collector.consumer.close({ timeoutMs: 5_000 })).toBe(2);
      expect(await drain(fixture.broker, queue, 2)).toEqual([`${queue}.2`, `${queue}.4`]);
    });

    it('answers `lost` to a second settlement and to a tag that it never gave', async (fixture) => {
      const queue = uniqueQueue('twice');
      const collector = await holdingIds(fixture.broker, queue, ['x', 'y']);
      const [x, y] = [collector.delivery(0), collector.delivery(1)];
      await collector.ack(x);
      expect(await collector.settle({ kind: 'ack', arrival: x })).toEqual(['lost']);
      expect(await collector.settle({ kind: 'requeue', arrival: x, where: 'back' })).toEqual(['lost']);
      expect(await collector.settle({ kind: 'ack', arrival: { ...y, tag: 'never-given' } })).toEqual(['lost']);
      expect(await collector.settle()).toEqual([]);
      await collector.ack(y);
      await expectDepth(fixture.broker, queue, { ready: 0, unacked: 0, delayed: 0 });
    });
  });

  describe('requeue', () => {
    it('serves a message handed back to the front next, under a fresh tag and without a loss', async (fixture) => {
      const queue = uniqueQueue('front');
      const collector = await holdingIds(fixture.broker, queue, ids(queue, 1, 3), 1);
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
      const collector = await holdingIds(fixture.broker, queue, ids(queue, 1, 5), 3);
      const fronts = collector.arrivals.map(
        (_, index) => ({ kind: 'requeue', arrival: collector.delivery(index), where: 'front' }) as const,
      );
      expect(await collector.settle(...fronts)).toEqual(['held', 'held', 'held']);
      await collector.consumer.close({ timeoutMs: 5_000 });
      expect(await drain(fixture.broker, queue, 5)).toEqual(ids(queue, 1, 5));
    });

    it('serves a message put to the back last, without a loss', async (fixture) => {
      const queue = uniqueQueue('back');
      const collector = await holdingIds(fixture.broker, queue, ids(queue, 1, 3), 1);
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

  describe('park', () => {
    it('keeps a message with its body, its queue and the reason, and removes it from the queue', async (fixture) => {
      const queue = uniqueQueue('park');
      const body = 'body-of-the-parked-message';
      await send(fixture.broker, [{ to: { queue }, message: message('p', { body: { encoding: 'utf8', data: body } }) }]);
      const collector = await Collector.open(fixture.broker, { [queue]: 1 });
      await collector.got(1, patienceMs);
      expect(await collector.settle({ kind: 'park', arrival: collector.delivery(0), reason: PARK_REASON })).toEqual(['held']);
      const [entry] = await parked(fixture, queue, 1);
      expect(entry).toMatchObject({ queue, ...PARK_REASON });
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
      expect(await collector.settle({ kind: 'park', arrival: garbage, reason: PARK_REASON })).toEqual(['held']);
      const [entry] = await parked(fixture, queue, 1);
      expect([...(entry?.raw ?? [])]).toEqual([...GARBAGE]);
      expect(entry).toMatchObject(PARK_REASON);
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
}
