/** What dedupe leaves in Redis, and that a key never stays without its message. */
import { expect, test } from 'vitest';
import { outgoing, sendIds, uniqueQueue } from '../../src/testing/conformance/broker-kit.js';
import { redisSuite } from './redis-kit.js';

redisSuite('dedupe in Redis', (kit) => {
  const keyed = (queue: string, id: string, ttlMs = 3_600_000) => outgoing(queue, id, { dedupe: { key: 'abc', ttlMs } });
  const KEY = 'lovage:dedupe:abc';

  test('a key holds the id and goes by itself; the message is what it is without one', async () => {
    const broker = await kit.broker();
    const queue = uniqueQueue('plain');
    await sendIds(broker, queue, ['a']);
    expect(await broker.publish([keyed(queue, 'b')], { timeoutMs: 5_000 })).toEqual([null]);
    expect(await kit.admin.get(KEY)).toBe('b');
    expect(await kit.admin.pttl(KEY)).toBeGreaterThan(3_590_000);
    expect(await kit.admin.pttl(KEY)).toBeLessThanOrEqual(3_600_000);
    const [second, first] = (await kit.admin.lrange(queue, 0, -1)).map((text) => JSON.parse(text) as Record<string, unknown>);
    const headersOf = (envelope: Record<string, unknown> | undefined) => envelope?.headers as Record<string, unknown>;
    expect(Object.keys(second ?? {}).sort()).toEqual(Object.keys(first ?? {}).sort());
    expect(Object.keys(headersOf(second)).sort()).toEqual(Object.keys(headersOf(first)).sort());
  });

  test('the global prefix stands before keys too', async () => {
    const broker = await kit.broker(`${kit.server.url}?prefix=app:`);
    expect(await broker.publish([keyed(uniqueQueue('prefix'), 'a')], { timeoutMs: 5_000 })).toEqual([null]);
    expect(await kit.admin.get(`app:${KEY}`)).toBe('a');
  });

  test('a message that its queue refuses leaves no key, and takes nothing from its neighbours', async () => {
    const broker = await kit.broker();
    const [wrong, right] = [uniqueQueue('wrong'), uniqueQueue('right')];
    await kit.admin.set(wrong, 'no list');
    const other = outgoing(right, 'c', { dedupe: { key: 'other', ttlMs: 60_000 } });
    const results = await broker.publish([keyed(wrong, 'a'), other], { timeoutMs: 5_000 });
    expect(results).toMatchObject([{ code: 'E_PUBLISH_FAILED', outcome: 'not-sent', taskId: 'a' }, null]);
    expect(await kit.admin.exists(KEY)).toBe(0);
    expect(await broker.publish([keyed(right, 'b')], { timeoutMs: 5_000 })).toEqual([null]);
    expect(await kit.admin.llen(right)).toBe(2);
  });

  test('with a full memory nothing is sent and nothing is kept', async () => {
    const broker = await kit.broker();
    const queue = uniqueQueue('full');
    await sendIds(broker, queue, ['before']);
    await kit.admin.config('SET', 'maxmemory', '1');
    try {
      const [refused] = await broker.publish([keyed(queue, 'a')], { timeoutMs: 5_000 });
      expect(refused).toMatchObject({ code: 'E_BROKER_FULL', outcome: 'not-sent' });
    } finally {
      await kit.admin.config('SET', 'maxmemory', '0');
    }
    expect(await kit.admin.exists(KEY)).toBe(0);
    expect(await broker.publish([keyed(queue, 'b')], { timeoutMs: 5_000 })).toEqual([null]);
  });

  test('a key of another kind is refused and left alone', async () => {
    const broker = await kit.broker();
    await kit.admin.lpush(KEY, 'somebody’s list');
    const [refused] = await broker.publish([keyed(uniqueQueue('kind'), 'a')], { timeoutMs: 5_000 });
    expect(refused).toMatchObject({ code: 'E_PUBLISH_FAILED', outcome: 'not-sent' });
    expect(await kit.admin.type(KEY)).toBe('list');
  });
});
