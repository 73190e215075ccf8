/** Single messages on Redis: what a move leaves for Python to read, and the keys of delayed ones. Everything else is in the conformance suite. */
import { describe, expect, test } from 'vitest';
import { Collector, drain, message, outgoing, send, sendIds, uniqueQueue } from '../../src/testing/conformance/broker-kit.js';
import { redisSuite } from './redis-kit.js';

const WORK = { timeoutMs: 10_000 } as const;

redisSuite('redis waiting messages', (kit) => {
  describe('a moved message', () => {
    test('names its new queue where kombu looks when it puts a message back, and keeps its tag, headers and body', async () => {
      const broker = await kit.broker();
      const sent = message('m1', { headers: { ...message('m1').headers, mine: [], deep: { a: {} } } });
      await send(broker, [{ to: { queue: 'from' }, message: sent, priority: 9 }]);
      const [from] = (await kit.admin.keys('from*')).filter((key) => key.startsWith('from'));
      const before = JSON.parse((await kit.admin.lrange(from ?? '', 0, -1))[0] ?? '') as Record<string, Record<string, unknown>>;
      await broker.waiting.move('from', 'to', {}, WORK);
      const list = (await kit.admin.keys('to*'))[0] ?? '';
      // the same step of priority as before
      expect(list.slice('to'.length)).toBe(from?.slice('from'.length));
      const after = JSON.parse((await kit.admin.lrange(list, 0, -1))[0] ?? '') as typeof before;
      expect(after['properties']).toMatchObject({
        delivery_info: { exchange: '', routing_key: 'to' },
        priority: before['properties']?.['priority'],
      });
      expect(after['properties']?.['delivery_tag']).toBe(before['properties']?.['delivery_tag']);
      expect([after['headers'], after['body'], after['content-type']]).toEqual([
        before['headers'],
        before['body'],
        before['content-type'],
      ]);
      // without the binding Python would not find the queue by its exchange
      expect(await kit.admin.smembers('_kombu.binding.to')).toEqual(['to\x06\x16\x06\x16to']);
    });

    test('that waits for a time leaves one set for the other, and both are known to whoever brings messages back', async () => {
      const broker = await kit.broker();
      const [from, to] = [uniqueQueue('from'), uniqueQueue('to')];
      await sendIds(broker, from, ['a', 'b']);
      const collector = await Collector.open(broker, { [from]: 2 });
      await collector.got(2);
      const untilMs = Date.now() + 3_600_000;
      await collector.settle(
        { kind: 'defer', arrival: collector.delivery(0), untilMs },
        { kind: 'defer', arrival: collector.delivery(1), untilMs: untilMs + 1_000 },
      );
      await broker.waiting.move(from, to, { ids: ['a'] }, WORK);
      expect(await kit.admin.zrange('lovage:delayed', 0, '-1', 'WITHSCORES')).toEqual(
        expect.arrayContaining([to, String(untilMs)]) as unknown,
      );
      await broker.waiting.move(from, to, {}, WORK);
      expect(await kit.admin.zrange('lovage:delayed', 0, '-1')).toEqual([to]);
      expect(await kit.admin.exists(`lovage:delayed:${from}`)).toBe(0);
      await broker.waiting.remove(to, {}, WORK);
      expect(await kit.admin.keys('lovage:delayed*')).toEqual([]);
    });
  });

  test('what workers take from the front on the way makes nobody pass over what is behind', async () => {
    const broker = await kit.broker();
    const ids = Array.from({ length: 1_200 }, (_, index) => `n${index}`);
    await send(
      broker,
      ids.map((id) => outgoing('q', id)),
    );
    const seen: number[] = [];
    let steps = 0;
    const found = await broker.waiting.find(
      'q',
      {},
      {
        ...WORK,
        limit: 10_000,
        onProgress: ({ looked }) => {
          seen.push(looked);
          steps += 1;
          // about when the next page is read, some of those that were looked at are taken
          if (steps === 2) void kit.admin.rpop('q', 100);
        },
      },
    );
    const numbers = found.map(({ id }) => Number(id?.slice(1)));
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(numbers).toHaveLength(1_200);
    expect(await drain(broker, 'q', 1_100)).toHaveLength(1_100);
  });

  test('sifting a long list out of many leaves the others in their order, also beside workers and senders', async () => {
    const broker = await kit.broker();
    const row = (task: string, number: number) => {
      const plain = message(`${task}.${number}`);
      return { to: { queue: 'q' }, message: { ...plain, headers: { ...plain.headers, task } } };
    };
    const numbers = Array.from({ length: 3_000 }, (_, index) => index);
    await send(
      broker,
      numbers.map((number) => row(number % 7 === 0 ? 'rare' : 'often', number)),
    );
    const report = await broker.waiting.move('q', 'r', { task: 'rare' }, WORK);
    expect(report).toEqual({ looked: 3_000, done: 429, missing: [] });
    const left = numbers.filter((number) => number % 7 !== 0).map((number) => `often.${number}`);
    expect((await broker.waiting.find('q', {}, { ...WORK, limit: 10_000 })).map(({ id }) => id)).toEqual(left);

    let sent = 0;
    const collector = await Collector.open(broker, { q: 10 }, { acking: true });
    await broker.waiting.remove('q', { task: 'none' }, { ...WORK, onProgress: () => void send(broker, [row('new', sent++)]) });
    await collector.atLeast(left.length + sent);
    expect([...collector.ids].sort()).toEqual([...left, ...Array.from({ length: sent }, (_, index) => `new.${index}`)].sort());
    await collector.consumer.close({ timeoutMs: 5_000 });
  });

  test('a target that is no list refuses, and the message stays where it was', async () => {
    const broker = await kit.broker();
    await sendIds(broker, 'q', ['a']);
    await kit.admin.set('taken', 'text');
    await expect(broker.waiting.move('q', 'taken', {}, WORK)).rejects.toMatchObject({ code: 'E_KEY_TYPE' });
    expect(await kit.admin.llen('q')).toBe(1);
  });
});
