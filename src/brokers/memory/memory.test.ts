import { afterEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/logger.js';
import { Collector, drain, idOf, ids, message, outgoing, send, sendIds, until } from '../../testing/conformance/broker-kit.js';
import { createFakeClock } from '../../testing/fake-clock.js';
import type { Broker, Delivery, OutgoingMessage } from '../broker.js';
import { crashMemoryBroker, holdMemorySpace, type MemorySpaceOptions, openMemoryBroker, openMemorySpaces } from './index.js';

const open: { close?(): Promise<void>; release?(): void }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) {
    await one.close?.();
    one.release?.();
  }
  expect(openMemorySpaces()).toBe(0);
});

async function broker(url = 'memory:unit'): Promise<Broker> {
  const opened = await openMemoryBroker({ url, logger: silentLogger, role: 'client' });
  open.push(opened);
  return opened;
}

function space(options?: MemorySpaceOptions): ReturnType<typeof holdMemorySpace> {
  const held = holdMemorySpace('memory:unit', options);
  open.push(held);
  return held;
}

describe('names', () => {
  test('memory: and memory:// are one instance, and other names are others', async () => {
    await sendIds(await broker('memory:'), 'q', ['x']);
    expect(await (await broker('memory://')).queues()).toEqual(['q']);
    expect(await (await broker('memory:other')).queues()).toEqual([]);
  });

  test('everything is forgotten when the last user closes, and not before', async () => {
    const one = await broker();
    const two = await broker();
    await sendIds(one, 'q', ['x']);
    await one.close();
    expect((await two.depth(['q']))[0]?.ready).toBe(1);
    await two.close();
    expect(openMemorySpaces()).toBe(0);
    expect((await (await broker()).depth(['q']))[0]?.ready).toBe(0);
  });

  test('a malformed name is refused with E_CONFIG_URL', async () => {
    for (const url of ['memory:a/b', 'memory:a b', 'memory:?x=1', 'memoryx:']) {
      await expect(broker(url)).rejects.toMatchObject({ code: 'E_CONFIG_URL' });
    }
  });

  test('a clock cannot be given to an instance that is open already', async () => {
    await broker();
    expect(() => space({ clock: createFakeClock(0) })).toThrow(expect.objectContaining({ code: 'E_CONFIG_CONFLICT' }));
  });
});

describe('bounds', () => {
  const full = expect.objectContaining({ code: 'E_BROKER_FULL', outcome: 'not-sent' });

  test('a queue takes no more than its limit, counting what is ready, delayed and held, and takes more once some is done', async () => {
    space({ maxMessages: 3 });
    const one = await broker();
    const collector = await Collector.open(one, { q: 1 });
    await sendIds(one, 'q', ['held', 'ready']);
    await collector.got(1);
    await send(one, [outgoing('q', 'delayed', { notBeforeMs: Date.now() + 3_600_000 })]);
    const results = await one.publish([outgoing('q', 'refused'), outgoing('other', 'fine')], { timeoutMs: 1_000 });
    expect(results).toEqual([full, null]);
    expect(results[0]).toMatchObject({ taskId: 'refused', message: expect.stringContaining("'q'") });
    await collector.ack(collector.delivery(0));
    await sendIds(one, 'q', ['now']);
    expect((await one.depth(['q']))[0]).toEqual({ queue: 'q', ready: 2, delayed: 1, unacked: 0 });
  });

  test('there are no more queues than the limit', async () => {
    space({ maxQueues: 2 });
    const one = await broker();
    expect(
      await one.publish(
        ['a', 'b', 'c', 'a'].map((queue) => outgoing(queue, 'x')),
        { timeoutMs: 1_000 },
      ),
    ).toEqual([null, null, full, null]);
  });

  test('dead letters are never dropped: at their limit nothing more is taken in until they are removed', async () => {
    const held = space({ maxDead: 2 });
    const one = await broker();
    await sendIds(one, 'q', ids('q', 1, 3));
    const collector = await Collector.open(one, { q: 3 });
    await collector.got(3);
    await collector.settle(
      ...collector.arrivals.map((arrival) => ({ kind: 'park', arrival, reason: { code: 'E_DECODE', reason: 'r' } }) as const),
    );
    expect(held.dead().map(({ letter }) => letter.queue)).toEqual(['q', 'q', 'q']);
    expect(await one.publish([outgoing('q', 'refused')], { timeoutMs: 1_000 })).toEqual([full]);
    expect(held.clearDead()).toBe(3);
    await sendIds(one, 'q', ['taken']);
  });
});

describe('time', () => {
  test('delayed and deferred messages follow the clock that the instance was given, to the millisecond', async () => {
    const clock = createFakeClock(1_000_000);
    space({ clock });
    const one = await broker();
    const collector = await Collector.open(one, { q: 10 });
    await send(one, [outgoing('q', 'delayed', { notBeforeMs: 1_005_000 }), outgoing('q', 'now')]);
    await collector.got(1);
    await collector.settle({ kind: 'defer', arrival: collector.delivery(0), untilMs: 1_003_000 });
    expect(clock.nextDueMs()).toBe(1_003_000);
    clock.advance(2_999);
    expect((await one.depth(['q']))[0]).toMatchObject({ ready: 0, delayed: 2 });
    clock.advance(1);
    await collector.got(2);
    clock.advance(2_000);
    await collector.got(3);
    expect(collector.ids).toEqual(['now', 'now', 'delayed']);
    expect(clock.timers).toBe(0);
  });

  test('one timer serves any number of delayed messages, and none is left when the instance is forgotten', async () => {
    const clock = createFakeClock(0);
    const held = space({ clock });
    const one = await broker();
    await send(
      one,
      ids('q', 1, 1_000).map((id, index) => outgoing('q', id, { notBeforeMs: 10_000 + index })),
    );
    expect(clock.timers).toBe(1);
    await one.close();
    held.release();
    expect(clock.timers).toBe(0);
  });

  test('a wall clock that is set forward brings delayed messages within half a minute', async () => {
    const clock = createFakeClock(0);
    space({ clock });
    const one = await broker();
    const collector = await Collector.open(one, { q: 1 });
    await send(one, [outgoing('q', 'x', { notBeforeMs: 7_200_000 })]);
    clock.jumpWall(7_200_000);
    clock.advance(30_000);
    await collector.got(1);
  });

  test('what a crashed consumer held comes back when its lease is over, not sooner, with one loss', async () => {
    const clock = createFakeClock(0);
    space({ clock });
    const [dying, heir] = [await broker(), await broker()];
    await sendIds(heir, 'q', ['x']);
    await (await Collector.open(dying, { q: 1 }, { leaseMs: 15_000 })).got(1);
    crashMemoryBroker(dying);
    clock.advance(14_999);
    expect((await heir.depth(['q']))[0]).toMatchObject({ ready: 0, unacked: 1 });
    clock.advance(1);
    const collector = await Collector.open(heir, { q: 1 });
    await collector.got(1);
    expect(collector.delivery(0)).toMatchObject({ losses: 1, redelivered: true });
  });
});

describe('on the loop', () => {
  test('a consumer that settles and is served again and again leaves the loop to timers', async () => {
    const one = await broker();
    await sendIds(one, 'q', ids('q', 1, 20_000));
    let turns = 0;
    const timer = setInterval(() => (turns += 1), 1);
    try {
      const collector = await Collector.open(one, { q: 1 }, { acking: true });
      await collector.got(20_000);
    } finally {
      clearInterval(timer);
    }
    expect(turns).toBeGreaterThan(3);
  });

  test('a batch arrives in one call, up to the credit', async () => {
    const one = await broker();
    await sendIds(one, 'q', ids('q', 1, 100));
    const batches: number[] = [];
    const consumer = await one.consume({
      queues: [{ name: 'q', credit: 40 }],
      credit: 40,
      leaseMs: 1_000,
      consumerName: 'batch@host',
      logger: silentLogger,
      onArrivals: (arrivals) => batches.push(arrivals.length),
      onLost() {},
      onState() {},
    });
    await until(() => batches.length > 0, 'the batch');
    consumer.grant('q', 60);
    await until(() => batches.length > 1, 'the rest');
    expect(batches).toEqual([40, 60]);
  });

  test('a delivery is not served from within publish(), settle() or grant()', async () => {
    const one = await broker();
    let inside = false;
    const seen: boolean[] = [];
    const consumer = await one.consume({
      queues: [{ name: 'q', credit: 2 }],
      credit: 2,
      leaseMs: 1_000,
      consumerName: 'c',
      logger: silentLogger,
      onArrivals: () => seen.push(inside),
      onLost() {},
      onState() {},
    });
    inside = true;
    void one.publish([outgoing('q', 'x'), outgoing('q', 'y')], { timeoutMs: 1_000 });
    consumer.grant('q', 1);
    inside = false;
    await until(() => seen.length > 0, 'a delivery');
    expect(seen).toEqual([false]);
  });
});

describe('messages', () => {
  test('a priority outside 0 to 9 counts as the nearest one, and a fraction as the whole below', async () => {
    const one = await broker();
    await send(
      one,
      [-3, 99, 4.9, Number.NaN, 5].map((priority, index): OutgoingMessage => outgoing('q', `${index}`, { priority })),
    );
    expect(await drain(one, 'q', 5)).toEqual(['1', '4', '2', '0', '3']);
  });

  test('a priority is kept in the message for a successor, and a message without one is not copied', async () => {
    const one = await broker();
    const plain = message('plain');
    await send(one, [{ to: { queue: 'q' }, message: plain }, outgoing('q', 'urgent', { priority: 7 })]);
    const collector = await Collector.open(one, { q: 2 });
    await collector.got(2);
    expect(collector.arrivals.map(idOf)).toEqual(['urgent', 'plain']);
    expect((collector.arrivals[0] as Delivery).message.properties.priority).toBe(7);
    expect((collector.arrivals[1] as Delivery).message).toBe(plain);
  });

  test('a parked message with a binary body is kept as JSON with the body in base64', async () => {
    const held = space();
    const one = await broker();
    const data = new Uint8Array([0, 255, 1]);
    await send(one, [
      { to: { queue: 'q' }, message: message('b', { contentEncoding: 'binary', body: { encoding: 'binary', data } }) },
    ]);
    const collector = await Collector.open(one, { q: 1 });
    await collector.got(1);
    await collector.settle({ kind: 'park', arrival: collector.delivery(0), reason: { code: 'E_DECODE', reason: 'r' } });
    expect(JSON.parse(Buffer.from(held.dead()[0]?.raw ?? []).toString())).toMatchObject({
      headers: { id: 'b' },
      body: { encoding: 'base64', data: Buffer.from(data).toString('base64') },
    });
  });
});
