/** Dead letters of Redis beyond the conformance suite: their keys, and a server whose memory is full. */
import { expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { drain, holdingIds, ids } from '../../src/testing/conformance/broker-kit.js';
import { redisSuite } from './redis-kit.js';

const WORK = { timeoutMs: 10_000 } as const;

async function park(broker: Broker, queue: string, list: readonly string[]): Promise<void> {
  const collector = await holdingIds(broker, queue, list);
  const reason = { code: 'E_DECODE', reason: 'the suite says so' } as const;
  await collector.settle(...collector.arrivals.map((arrival) => ({ kind: 'park', arrival, reason }) as const));
  await collector.consumer.close({ timeoutMs: 5_000 });
}

redisSuite('dead letters', (kit) => {
  test('leave no key behind once they are gone, and have no expiry while they are there', async () => {
    const broker = await kit.broker();
    await park(broker, 'q', ids('q', 1, 20));
    const keys = ['lovage:dead', 'lovage:dead:facts', 'lovage:dead:index'];
    expect(await kit.admin.exists(...keys)).toBe(3);
    for (const key of keys) expect(await kit.admin.ttl(key)).toBe(-1);
    await broker.deadLetters.purge({ filter: { code: 'E_DECODE' } }, WORK);
    expect(await kit.admin.exists(...keys)).toBe(0);
  });

  test('a page of a list reads no payload', async () => {
    const broker = await kit.broker();
    await park(broker, 'q', ids('q', 1, 50));
    const commands = await kit.commandsDuring(async () => {
      expect((await broker.deadLetters.list()).letters).toHaveLength(50);
    });
    const asked = commands.filter(([, key]) => key?.startsWith('lovage:dead'));
    expect(asked.map(([name, key]) => [name?.toLowerCase(), key])).toEqual([
      ['zrevrangebylex', 'lovage:dead:index'],
      ['hmget', 'lovage:dead:facts'],
    ]);
  });

  test('go back under a fresh tag, so that losses counted for the old one are forgotten', async () => {
    const broker = await kit.broker();
    await park(broker, 'q', ['x']);
    const [before] = await kit.admin.hvals('lovage:dead');
    await broker.deadLetters.replay({ filter: {} }, WORK);
    const [after] = await kit.admin.lrange('q', 0, -1);
    const tagOf = (json: string | undefined): unknown =>
      (JSON.parse(json ?? '') as { properties: { delivery_tag: unknown } }).properties.delivery_tag;
    expect(tagOf(after)).toEqual(expect.any(String));
    expect(tagOf(after)).not.toBe(tagOf(before));
    expect(await kit.admin.smembers('_kombu.binding.q')).toHaveLength(1);
  });

  test('can be replayed and removed while the memory of the server is full', async () => {
    const broker = await kit.broker();
    await park(broker, 'q', ids('q', 1, 10));
    await kit.admin.config('SET', 'maxmemory-policy', 'noeviction');
    await kit.admin.config('SET', 'maxmemory', '1');
    try {
      const { letters } = await broker.deadLetters.list({ limit: 5 });
      expect(await broker.deadLetters.purge({ ids: letters.map(({ id }) => id) }, WORK)).toMatchObject({ done: 5 });
      expect(await broker.deadLetters.replay({ filter: {} }, WORK)).toMatchObject({ done: 5, refusedCount: 0 });
    } finally {
      await kit.admin.config('SET', 'maxmemory', '0');
    }
    expect(await drain(broker, 'q', 5)).toEqual(ids('q', 1, 5));
  });
});
