/** Broker suite: messages going in. Confirmation, deadline, abort, what survives the trip, times and priorities. */
import { describe, expect } from 'vitest';
import type { WireMessage } from '../../wire/message.js';
import type { BrokerFixture, BrokerSuite } from './broker-fixture.js';
import {
  bodyBytes,
  Collector,
  drain,
  expectCode,
  expectDepth,
  failures,
  ids,
  message,
  outgoing,
  send,
  sendIds,
  uniqueQueue,
  until,
  untilWall,
} from './broker-kit.js';

export function publishingSuite({ it, can, patienceMs }: BrokerSuite): void {
  describe('publishing', () => {
    it('confirms each message of a batch, and makes queues that do not exist', async ({ broker }) => {
      const [a, b] = [uniqueQueue('a'), uniqueQueue('b')];
      const results = await broker.publish([outgoing(a, 'a1'), outgoing(b, 'b1'), outgoing(a, 'a2')], { timeoutMs: 10_000 });
      expect(results).toEqual([null, null, null]);
      await expectDepth(broker, a, { ready: 2 });
      await expectDepth(broker, b, { ready: 1 });
    });

    it('answers an empty batch with an empty list', async ({ broker }) => {
      expect(await broker.publish([], { timeoutMs: 1_000 })).toEqual([]);
    });

    it('keeps the order within a batch and between calls that do not wait for each other', async ({ broker }) => {
      const queue = uniqueQueue('order');
      const wanted = ids(queue, 1, 200);
      const calls: Promise<void>[] = [];
      for (let at = 0; at < wanted.length; at += 4) calls.push(sendIds(broker, queue, wanted.slice(at, at + 4)));
      await Promise.all(calls);
      expect(await drain(broker, queue, wanted.length)).toEqual(wanted);
    });

    it('delivers 10,000 messages once each and in order', async ({ broker }) => {
      const queue = uniqueQueue('ten-thousand');
      const wanted = ids(queue, 1, 10_000);
      for (let at = 0; at < wanted.length; at += 1_000) await sendIds(broker, queue, wanted.slice(at, at + 1_000));
      const collector = await Collector.open(broker, { [queue]: 500 }, { acking: true });
      await collector.got(wanted.length, 45_000);
      expect(collector.ids).toEqual(wanted);
      await expectDepth(broker, queue, { ready: 0, unacked: 0 });
    }, 60_000);

    it('sends nothing when the signal is aborted already', async ({ broker }) => {
      const queue = uniqueQueue('aborted');
      await broker.declare(queue);
      const reason = new Error('the caller gave up');
      const results = await broker.publish([outgoing(queue, 'no'), outgoing(queue, 'neither')], {
        timeoutMs: 5_000,
        signal: AbortSignal.abort(reason),
      });
      expect(failures(results)).toEqual([
        { code: 'E_PUBLISH_FAILED', outcome: 'not-sent' },
        { code: 'E_PUBLISH_FAILED', outcome: 'not-sent' },
      ]);
      expect(results[0]?.cause).toBe(reason);
      await sendIds(broker, queue, ['yes']);
      expect(await drain(broker, queue, 1)).toEqual(['yes']);
    });

    can(
      'outage',
      'gives every unconfirmed message E_PUBLISH_TIMEOUT at the total deadline, and works again afterwards',
      async (fixture) => {
        const { broker } = fixture;
        const queue = uniqueQueue('deadline');
        await sendIds(broker, queue, ['before']);
        const end = await (fixture.outage as NonNullable<BrokerFixture['outage']>)();
        const list = ['one', 'two', 'three'];
        const startMs = performance.now();
        const results = await broker
          .publish(
            list.map((id) => outgoing(queue, id)),
            { timeoutMs: 700 },
          )
          .finally(end);
        expect(performance.now() - startMs).toBeGreaterThanOrEqual(650);
        expect(performance.now() - startMs).toBeLessThan(700 + 4_000);
        for (const { code, outcome } of failures(results)) {
          expect(code).toBe('E_PUBLISH_TIMEOUT');
          expect(['not-sent', 'unknown']).toContain(outcome);
        }
        await sendIds(broker, queue, ['after']);
        const collector = await Collector.open(broker, { [queue]: 50 }, { acking: true });
        await collector.atLeast(2, patienceMs);
        await expectDepth(broker, queue, { ready: 0, unacked: 0 });
        const certain = list.filter((_, index) => results[index]?.outcome === 'not-sent');
        for (const id of certain) expect(collector.ids).not.toContain(id);
        expect(collector.ids).toEqual(expect.arrayContaining(['before', 'after']));
      },
    );

    can('outage', 'stops waiting when the signal aborts', async (fixture) => {
      const { broker } = fixture;
      const queue = uniqueQueue('abort');
      await sendIds(broker, queue, ['before']);
      const end = await (fixture.outage as NonNullable<BrokerFixture['outage']>)();
      const controller = new AbortController();
      const startMs = performance.now();
      const publishing = broker.publish([outgoing(queue, 'one')], { timeoutMs: 20_000, signal: controller.signal });
      setImmediate(() => controller.abort(new Error('the caller gave up')));
      const [failure] = failures(await publishing.finally(end));
      expect(performance.now() - startMs).toBeLessThan(5_000);
      expect(failure?.code).toBe('E_PUBLISH_FAILED');
    });

    can('restart', 'keeps confirmed messages when the broker is stopped hard and started again', async (fixture) => {
      const queue = uniqueQueue('restart');
      await sendIds(fixture.broker, queue, ids(queue, 1, 20));
      await (fixture.restart as NonNullable<BrokerFixture['restart']>)();
      const broker = await fixture.another();
      expect(await drain(broker, queue, 20, patienceMs * 2)).toEqual(ids(queue, 1, 20));
    });
  });

  describe('what a message keeps on its way', () => {
    const trip = async ({ broker }: BrokerFixture, sent: WireMessage): Promise<WireMessage> => {
      const queue = uniqueQueue('trip');
      await send(broker, [{ to: { queue }, message: sent }]);
      const collector = await Collector.open(broker, { [queue]: 1 });
      await collector.got(1);
      const delivery = collector.delivery(0);
      expect(delivery).toMatchObject({ queue, redelivered: false, losses: 0 });
      await collector.ack(delivery);
      expect(delivery.message.contentType).toBe(sent.contentType);
      expect(delivery.message.contentEncoding).toBe(sent.contentEncoding);
      expect(bodyBytes(delivery.message).equals(bodyBytes(sent))).toBe(true);
      return delivery.message;
    };

    it('keeps header values of every JSON type', async (fixture) => {
      const headers = {
        ...message('types').headers,
        nothing: null,
        yes: true,
        no: false,
        zero: 0,
        negative: -5,
        big: 2 ** 40,
        bigger: 2 ** 53 - 1,
        half: 1.5,
        text: 'naïve ☃ 𝄞 \u0000 "quoted" \\',
        empty: '',
        list: [],
        object: {},
        nested: { deep: [1, 'two', { three: [null, false, { four: 2 ** 40 }] }] },
      };
      const arrived = await trip(fixture, message('types', { headers }));
      for (const [key, value] of Object.entries(headers)) expect(arrived.headers[key], key).toEqual(value);
    });

    it('keeps correlation id, reply queue and delivery mode', async (fixture) => {
      const properties = { correlation_id: 'c-1', reply_to: 'reply.é', delivery_mode: 2 } as const;
      expect((await trip(fixture, message('properties', { properties }))).properties).toMatchObject(properties);
    });

    it('keeps text of all planes, and queue names outside ASCII', async (fixture) => {
      await trip(
        fixture,
        message('unicode', { body: { encoding: 'utf8', data: '["ß 漢字 🌿 \u2028 \u0000 \\u0000 \\ud83c"]' } }),
      );
      const queue = uniqueQueue('ünï.code:1 2');
      await sendIds(fixture.broker, queue, ['x']);
      expect(await drain(fixture.broker, queue, 1)).toEqual(['x']);
    });

    it('keeps every byte of a binary body, given as bytes or as base64', async (fixture) => {
      const bytes = new Uint8Array(70_000).map((_, index) => (index * 7 + (index >> 8)) & 0xff);
      const form = { contentType: 'application/x-bytes', contentEncoding: 'binary' } as const;
      await trip(fixture, message('bytes', { ...form, body: { encoding: 'binary', data: bytes } }));
      await trip(
        fixture,
        message('base64', { ...form, body: { encoding: 'base64', data: Buffer.from(bytes).toString('base64') } }),
      );
    });

    it('keeps what was in a buffer that its sender uses again', async ({ broker }) => {
      const queue = uniqueQueue('buffer');
      const data = new Uint8Array([1, 2, 3]);
      await send(broker, [
        { to: { queue }, message: message('b', { contentEncoding: 'binary', body: { encoding: 'binary', data } }) },
      ]);
      data.fill(9);
      const collector = await Collector.open(broker, { [queue]: 1 });
      await collector.got(1);
      expect([...bodyBytes(collector.delivery(0).message)]).toEqual([1, 2, 3]);
    });

    it('keeps an empty body and one of a megabyte', async (fixture) => {
      await trip(fixture, message('empty', { body: { encoding: 'utf8', data: '' } }));
      await trip(fixture, message('large', { body: { encoding: 'utf8', data: JSON.stringify(['é'.repeat(2 ** 19)]) } }));
    });
  });

  describe.concurrent('times and priorities', () => {
    can('delayedPublish', 'delivers no sooner than asked, and in the order of the times', async ({ broker }) => {
      const queue = uniqueQueue('delayed');
      const collector = await Collector.open(broker, { [queue]: 10 }, { acking: true });
      const startMs = Date.now(); // not before: what is due when it is sent is in front of what is sent after it
      await send(broker, [
        outgoing(queue, 'third', { notBeforeMs: startMs + 2_600 }),
        outgoing(queue, 'second', { notBeforeMs: startMs + 1_300 }),
        outgoing(queue, 'first'),
      ]);
      await collector.atLeast(2, patienceMs);
      expect(Date.now()).toBeGreaterThanOrEqual(startMs + 1_300);
      await collector.got(3, patienceMs);
      expect(Date.now()).toBeGreaterThanOrEqual(startMs + 2_600);
      expect(collector.ids).toEqual(['first', 'second', 'third']);
    });

    can('delayedPublish', 'delivers at once what is asked for a time gone by', async ({ broker }) => {
      const queue = uniqueQueue('past');
      await send(broker, [outgoing(queue, 'late', { notBeforeMs: Date.now() - 60_000 })]);
      expect(await drain(broker, queue, 1)).toEqual(['late']);
    });

    can('delayedPublish', 'keeps a delayed message when its sender closes', async (fixture) => {
      const { broker } = fixture;
      const queue = uniqueQueue('delayed-alone');
      const sender = await fixture.another();
      const dueMs = Date.now() + 1_200;
      await send(sender, [outgoing(queue, 'later', { notBeforeMs: dueMs })]);
      await sender.close();
      await untilWall(dueMs);
      expect(await drain(broker, queue, 1)).toEqual(['later']);
    });

    can('delayedPublish', 'brings what workers of any make may take, at its time at the latest', async ({ broker }) => {
      const queue = uniqueQueue('any-worker');
      const dueMs = Date.now() + 1_200;
      const collector = await Collector.open(broker, { [queue]: 5 }, { acking: true });
      await send(broker, [outgoing(queue, 'any', { notBeforeMs: dueMs, anyWorker: true })]);
      await collector.got(1, patienceMs);
      expect(collector.ids).toEqual(['any']);
    });

    can('priorities', 'keeps the priorities of messages that waited for the same time', async ({ broker }) => {
      const queue = uniqueQueue('delayed-priority');
      // somebody who brings them back
      await Collector.open(broker, { [uniqueQueue('other')]: 1 });
      const dueMs = Date.now() + 1_000;
      await send(
        broker,
        [0, 9, 5].map((priority) => outgoing(queue, `p${priority}`, { notBeforeMs: dueMs, priority })),
      );
      await untilWall(dueMs);
      // where the way from the store takes a moment
      const here = async (): Promise<number> => {
        const [depth] = await broker.depth([queue]);
        return (depth?.ready ?? 0) + (depth?.delayed ?? 0);
      };
      await until(async () => (await here()) === 3, 'all three', patienceMs);
      expect(await drain(broker, queue, 3)).toEqual(['p9', 'p5', 'p0']);
    });

    can('priorities', 'serves higher priorities sooner and keeps the order within one', async ({ broker }) => {
      const queue = uniqueQueue('priority');
      await send(
        broker,
        [0, 9, 5, 0, 9, 5, 0, 9, 5].map((priority, index) => outgoing(queue, `${priority}-${index}`, { priority })),
      );
      expect(await drain(broker, queue, 9)).toEqual(['9-1', '9-4', '9-7', '5-2', '5-5', '5-8', '0-0', '0-3', '0-6']);
    });
  });

  describe('after close()', () => {
    it('refuses everything with E_CLOSED and can be closed again', async ({ broker }) => {
      await broker.connect({ timeoutMs: 5_000 });
      await broker.close();
      await broker.close();
      await expectCode(broker.publish([outgoing('q', 'x')], { timeoutMs: 1_000 }), 'E_CLOSED');
      await expectCode(Collector.open(broker, { q: 1 }), 'E_CLOSED');
      await expectCode(broker.connect({ timeoutMs: 1_000 }), 'E_CLOSED');
      await expectCode(broker.declare('q'), 'E_CLOSED');
      await expectCode(broker.queues(), 'E_CLOSED');
      await expectCode(broker.depth(['q']), 'E_CLOSED');
      await expectCode(broker.peek('q', 1), 'E_CLOSED');
      await expectCode(broker.purge('q'), 'E_CLOSED');
      await expectCode(broker.broadcast({ exchange: 'celeryev', routingKey: 'x', message: message('x') }), 'E_CLOSED');
      await expectCode(
        broker.listen('celeryev', '#', () => {}),
        'E_CLOSED',
      );
      await broker[Symbol.asyncDispose]();
    });
  });
}
