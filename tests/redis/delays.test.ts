/** Messages with a time on Redis: where they wait, who brings them back, and what that costs. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { Collector, message, outgoing, send, sendIds, until, untilWall } from '../../src/testing/conformance/broker-kit.js';
import { redisSuite } from './redis-kit.js';

const DAY_MS = 86_400_000;

redisSuite('a delayed message on Redis', (kit) => {
  /** A worker for another queue: it looks after the delay sets of all. */
  const promoter = async (): Promise<Broker> => {
    const broker = await kit.broker();
    const collector = await Collector.open(broker, { other: 1 });
    await until(() => collector.states.includes('connected'), 'the connection');
    await until(async () => (await kit.admin.exists('lovage:promoter')) === 1, 'the promoter key');
    return broker;
  };

  test('waits in the delay set while a worker of any queue lives, and is found there by the id of its task', async () => {
    await promoter();
    const sender = await kit.broker();
    const dueMs = Date.now() + DAY_MS;
    await send(sender, [outgoing('later', 'a', { notBeforeMs: dueMs, priority: 9 }), outgoing('later', 'now')]);
    expect(await kit.admin.zrange('lovage:delayed:later', '0', '-1', 'WITHSCORES')).toEqual([expect.any(String), String(dueMs)]);
    expect(await kit.admin.zrange('lovage:delayed', '0', '-1', 'WITHSCORES')).toEqual(['later', String(dueMs)]);
    expect(await kit.admin.llen('later')).toBe(1);
    expect(await kit.admin.hkeys('lovage:delayed-tasks')).toEqual(['a']);
    expect(await sender.peek('later', 5)).toMatchObject([{ notBeforeMs: null }, { notBeforeMs: dueMs }]);
    expect(await sender.purge('later')).toBe(2);
    expect(await kit.admin.exists('lovage:delayed', 'lovage:delayed:later', 'lovage:delayed-tasks', 'later')).toBe(0);
  });

  test('goes to its queue when no worker lives, and when its worker may be of another make', async () => {
    const sender = await kit.broker();
    await send(sender, [outgoing('alone', 'a', { notBeforeMs: Date.now() + DAY_MS })]);
    expect(await kit.admin.llen('alone')).toBe(1);
    await promoter();
    await send(sender, [outgoing('alone', 'b', { notBeforeMs: Date.now() + DAY_MS, anyWorker: true })]);
    expect(await kit.admin.llen('alone')).toBe(2);
    expect(await kit.admin.exists('lovage:delayed', 'lovage:delayed-tasks')).toBe(0);
  });

  test('with a dedupe key waits there too, once; without a worker it goes to its queue', async () => {
    const sender = await kit.broker();
    const notBeforeMs = Date.now() + DAY_MS;
    const keyed = (id: string, key = 'one', more = {}) =>
      outgoing('once', id, { notBeforeMs, dedupe: { key, ttlMs: 60_000 }, ...more });
    await send(sender, [keyed('unseen', 'before')]);
    expect(await kit.admin.llen('once')).toBe(1);
    await promoter();
    const results = await sender.publish([keyed('a'), keyed('b'), keyed('py', 'other', { anyWorker: true })], {
      timeoutMs: 5_000,
    });
    expect(results).toMatchObject([null, { code: 'E_DUPLICATE_SEND', existingId: 'a' }, null]);
    expect(await kit.admin.zrange('lovage:delayed', '0', '-1', 'WITHSCORES')).toEqual(['once', String(notBeforeMs)]);
    expect(await kit.admin.zcard('lovage:delayed:once')).toBe(1);
    expect(await kit.admin.llen('once')).toBe(2);
    expect([...(await sender.revocations.withdraw(['a', 'b'])).keys()]).toEqual(['a']);
  });

  test('with a dedupe key is refused where its delay set is a key of another kind, and leaves no key of its own', async () => {
    await promoter();
    const sender = await kit.broker();
    await kit.admin.set('lovage:delayed:wrong', 'no set');
    const message = outgoing('wrong', 'a', { notBeforeMs: Date.now() + DAY_MS, dedupe: { key: 'wrong', ttlMs: 60_000 } });
    expect(await sender.publish([message], { timeoutMs: 5_000 })).toMatchObject([
      { code: 'E_PUBLISH_FAILED', outcome: 'not-sent' },
    ]);
    expect(await kit.admin.exists('lovage:dedupe:wrong', 'wrong')).toBe(0);
  });

  test('with a dedupe key comes at its time', async () => {
    const broker = await promoter();
    const collector = await Collector.open(broker, { soon: 1 });
    const dueMs = Date.now() + 1_200;
    await send(await kit.broker(), [outgoing('soon', 'a', { notBeforeMs: dueMs, dedupe: { key: 'soon', ttlMs: 60_000 } })]);
    await collector.got(1);
    expect(Date.now()).toBeGreaterThanOrEqual(dueMs);
    expect(await kit.admin.exists('lovage:delayed', 'lovage:delayed:soon', 'lovage:delayed-tasks')).toBe(0);
  });

  test('is promised only for as long as workers renew the promise, and no longer when the last one stops', async () => {
    const broker = await kit.broker();
    const leaseMs = 1_000;
    const collector = await Collector.open(broker, { renewed: 1 }, { leaseMs });
    await until(async () => (await kit.admin.exists('lovage:promoter')) === 1, 'the promoter key');
    const endMs = Date.now() + 4 * leaseMs;
    while (Date.now() < endMs) {
      const leftMs = await kit.admin.pttl('lovage:promoter');
      expect(leftMs).toBeGreaterThan(0);
      expect(leftMs).toBeLessThanOrEqual(2 * leaseMs);
      await untilWall(Date.now() + 50);
    }
    await collector.consumer.close({ timeoutMs: 1_000 });
    expect(await kit.admin.exists('lovage:promoter')).toBe(0);
  });

  test('does not shorten the promise of a worker with a longer lease', async () => {
    await promoter();
    const before = await kit.admin.pttl('lovage:promoter');
    expect(before).toBeGreaterThan(25_000);
    const hasty = await Collector.open(await kit.broker(), { hasty: 1 }, { leaseMs: 300 });
    await until(() => hasty.states.includes('connected'), 'the connection');
    await untilWall(Date.now() + 1_000);
    expect(await kit.admin.pttl('lovage:promoter')).toBeGreaterThan(20_000);
  });

  test('comes at its time although the worker that brings it was idle and looks once in fifteen seconds', async () => {
    const collector = await Collector.open(await kit.broker(), { soon: 10 }, { acking: true });
    await until(() => collector.states.includes('connected'), 'the connection');
    await until(async () => (await kit.admin.exists('lovage:canary')) === 1, 'the end of its start');
    const sender = await kit.broker();
    const startMs = Date.now();
    await send(sender, [outgoing('soon', 'far', { notBeforeMs: startMs + DAY_MS })]);
    await send(sender, [outgoing('soon', 'second', { notBeforeMs: startMs + 1_500 })]);
    await send(sender, [outgoing('soon', 'first', { notBeforeMs: startMs + 700 })]);
    await collector.got(1, 5_000);
    expect(Date.now()).toBeGreaterThanOrEqual(startMs + 700);
    await collector.got(2, 5_000);
    expect(Date.now()).toBeGreaterThanOrEqual(startMs + 1_500);
    // far sooner than the next look of a worker that nobody had told
    expect(Date.now()).toBeLessThan(startMs + 8_000);
    expect(collector.ids).toEqual(['first', 'second']);
  });

  test('costs an idle worker a look when the next time changes, and nothing for those behind it', async () => {
    const collector = await Collector.open(await kit.broker(), { cheap: 10 });
    await until(() => collector.states.includes('connected'), 'the connection');
    await until(async () => (await kit.admin.exists('lovage:canary')) === 1, 'the end of its start');
    const sender = await kit.broker();
    const dueMs = Date.now() + DAY_MS;
    await send(sender, [outgoing('cheap', 'head', { notBeforeMs: dueMs })]);
    const commands = await kit.commandsDuring(async () => {
      for (let index = 0; index < 100; index += 1)
        await send(sender, [outgoing('cheap', `n${index}`, { notBeforeMs: dueMs + 1 + index })]);
    });
    expect(await kit.admin.zcard('lovage:delayed:cheap')).toBe(101);
    // the sender's own: a transaction of two for each send, and its binding
    const ofWorkers = commands
      .map(([name]) => name)
      .filter((name) => !['multi', 'eval', 'set', 'exec', 'sadd'].includes(name ?? ''));
    expect(ofWorkers.length).toBeLessThanOrEqual(6);
  });

  test('keeps priority, envelope and order', async () => {
    const watching = await promoter();
    const sender = await kit.broker();
    const dueMs = Date.now() + 600;
    const headers = { ...message('x').headers, custom: { nested: [1, '€', null] } };
    await send(sender, [
      { to: { queue: 'kept' }, message: message('low', { headers: { ...headers, id: 'low' } }), notBeforeMs: dueMs, priority: 0 },
      {
        to: { queue: 'kept' },
        message: message('high', { headers: { ...headers, id: 'high' } }),
        notBeforeMs: dueMs,
        priority: 9,
      },
    ]);
    await until(async () => (await watching.depth(['kept']))[0]?.ready === 2, 'both to be due');
    expect(Date.now()).toBeGreaterThanOrEqual(dueMs);
    const collector = await Collector.open(watching, { kept: 5 });
    await collector.got(2);
    expect(collector.ids).toEqual(['high', 'low']);
    expect(collector.delivery(0).message.headers).toEqual({ ...headers, id: 'high' });
  });

  test('is stored once although connections break while it is sent', async () => {
    await promoter();
    const sender = await kit.broker();
    const ids = Array.from({ length: 600 }, (_, index) => `n${index}`);
    const notBeforeMs = Date.now() + DAY_MS;
    for (let at = 0; at < ids.length; at += 20) {
      const sending = send(
        sender,
        ids.slice(at, at + 20).map((id) => outgoing('broken', id, { notBeforeMs })),
      );
      // a different part of it has been carried out each time
      await untilWall(Date.now() + Math.random() * 4);
      if (at % 60 === 0) await kit.admin.call('client', 'kill', 'type', 'normal', 'skipme', 'yes');
      await sending;
    }
    expect(await kit.admin.zcard('lovage:delayed:broken')).toBe(ids.length);
    expect((await kit.admin.hkeys('lovage:delayed-tasks')).sort()).toEqual([...ids].sort());
    expect(await kit.admin.exists('broken')).toBe(0);
  }, 60_000);

  test('is refused as not sent when the memory of the server is full', async () => {
    const broker = await promoter();
    await kit.admin.config('SET', 'maxmemory', '1');
    try {
      const [refused] = await broker.publish([outgoing('full', 'x', { notBeforeMs: Date.now() + DAY_MS })], { timeoutMs: 5_000 });
      expect(refused).toMatchObject({ code: 'E_BROKER_FULL', outcome: 'not-sent' });
    } finally {
      await kit.admin.config('SET', 'maxmemory', '0');
    }
    expect(await kit.admin.exists('full', 'lovage:delayed', 'lovage:delayed-tasks')).toBe(0);
  });

  test('is one of several of the same id', async () => {
    await promoter();
    const sender = await kit.broker();
    const notBeforeMs = Date.now() + 700;
    await send(sender, [outgoing('twice', 'same', { notBeforeMs }), outgoing('twice', 'same', { notBeforeMs })]);
    const collector = await Collector.open(sender, { twice: 5 });
    await collector.got(2);
    await collector.settle(
      { kind: 'defer', arrival: collector.delivery(0), untilMs: Date.now() + 300 },
      { kind: 'defer', arrival: collector.delivery(1), untilMs: Date.now() + 300 },
    );
    collector.consumer.grant('twice', 2);
    await collector.got(4);
    expect(collector.ids).toEqual(['same', 'same', 'same', 'same']);
    await until(
      async () => (await kit.admin.exists('lovage:delayed-tasks', 'lovage:delayed', 'lovage:delayed:twice')) === 0,
      'the end',
    );
  });

  describe('whose queue is a key of another kind', () => {
    test('is parked when it is due, and holds up nobody', async () => {
      const broker = await promoter();
      const notBeforeMs = Date.now() + 500;
      await send(broker, [outgoing('taken', 'x', { notBeforeMs }), outgoing('free', 'y', { notBeforeMs })]);
      await kit.admin.set('taken', 'a string of somebody else');
      await until(async () => (await broker.deadLetters.count()) === 1, 'the dead letter');
      const [letter] = (await broker.deadLetters.list()).letters;
      expect(letter).toMatchObject({ queue: 'taken', code: 'E_KEY_TYPE', taskId: 'x', task: 'suite.task' });
      await until(async () => (await kit.admin.llen('free')) === 1, 'the other');
      expect(await kit.admin.exists('lovage:delayed', 'lovage:delayed:taken', 'lovage:delayed-tasks')).toBe(0);
      await kit.admin.del('taken');
      expect(await broker.deadLetters.replay({ ids: [letter?.id as string] }, { timeoutMs: 5_000 })).toMatchObject({ done: 1 });
      const collector = await Collector.open(broker, { taken: 1 });
      await collector.got(1);
      expect(collector.ids).toEqual(['x']);
    });

    test('is refused by the send when that cannot store it', async () => {
      const broker = await promoter();
      await kit.admin.set('lovage:delayed:odd', 'a string of somebody else');
      const [refused] = await broker.publish([outgoing('odd', 'x', { notBeforeMs: Date.now() + DAY_MS })], { timeoutMs: 5_000 });
      expect(refused).toMatchObject({ code: 'E_PUBLISH_FAILED', outcome: 'not-sent' });
      expect(await kit.admin.exists('lovage:delayed', 'lovage:delayed-tasks')).toBe(0);
    });

    test('does not keep those of other queues from being promoted', async () => {
      const broker = await promoter();
      await kit.admin.zadd('lovage:delayed', 1, 'odd');
      await kit.admin.set('lovage:delayed:odd', 'a string of somebody else');
      await send(broker, [outgoing('fine', 'x', { notBeforeMs: Date.now() + 300 })]);
      await until(async () => (await kit.admin.llen('fine')) === 1, 'the message');
      await until(async () => (await kit.admin.exists('lovage:delayed')) === 0, 'the end');
    });
  });

  describe('of a worker whose clock is not that of the server', () => {
    afterEach(() => {
      vi.restoreAllMocks();
    });

    test.each([
      ['behind', -4_000],
      ['ahead', 4_000],
    ])('%s by seconds comes back at the time that the worker meant', async (_how, aheadMs) => {
      const sender = await kit.broker();
      await sendIds(sender, 'skewed', ['x']);
      const { now } = Date;
      vi.spyOn(Date, 'now').mockImplementation(() => now() + aheadMs);
      const collector = await Collector.open(await kit.broker(), { skewed: 1 });
      await collector.got(1);
      await until(async () => (await kit.admin.exists('lovage:canary')) === 1, 'its first look');
      const startMs = performance.now();
      await collector.settle({ kind: 'defer', arrival: collector.delivery(0), untilMs: Date.now() + 1_500 });
      collector.consumer.grant('skewed', 1);
      await collector.got(2);
      expect(performance.now() - startMs).toBeGreaterThanOrEqual(1_490);
      // far less than the four seconds by which it would be wrong
      expect(performance.now() - startMs).toBeLessThan(4_500);
    });
  });

  test('is withdrawn by the id of its task alone', async () => {
    const broker = await promoter();
    const notBeforeMs = Date.now() + DAY_MS;
    await send(broker, [
      outgoing('many', 'a', { notBeforeMs }),
      outgoing('many', 'b', { notBeforeMs, priority: 3 }),
      outgoing('few', 'c', { notBeforeMs }),
    ]);
    const withdrawn = await broker.revocations.withdraw(['b', 'nobody', 'c', 'b']);
    expect([...withdrawn.keys()]).toEqual(['b', 'c']);
    expect(await kit.admin.hkeys('lovage:delayed-tasks')).toEqual(['a']);
    expect(await kit.admin.zrange('lovage:delayed', '0', '-1')).toEqual(['many']);
    expect(await kit.admin.zcard('lovage:delayed:many')).toBe(1);
  });
});
