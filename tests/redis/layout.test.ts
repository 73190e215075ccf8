/** What lies in Redis: kombu's layout to the byte, and nothing of ours that stays behind. */
import { afterAll, expect, test } from 'vitest';
import { type Delivery, INBOX_LIMITS } from '../../src/brokers/broker.js';
import { crashRedisBroker } from '../../src/brokers/redis/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { Collector, message, outgoing, send, sendIds, until } from '../../src/testing/conformance/broker-kit.js';
import { controlExchange, decodeControlRequest, encodeControlReply, type ReplyAddress } from '../../src/wire/control-message.js';
import { Project } from '../cli/run-cli.js';
import { redisScenes, redisSuite } from './redis-kit.js';

redisSuite('the Redis layout', (kit) => {
  test('sends to the lists of kombu’s priority steps and binds each queue once', async () => {
    const broker = await kit.broker();
    for (const priority of [undefined, 9, 7, 6, 4, 3, 1, 0]) {
      await send(broker, [{ ...outgoing('media', `p${priority}`), ...(priority === undefined ? {} : { priority }) }]);
    }
    const listed = async (list: string): Promise<[string, number][]> =>
      (await kit.admin.lrange(list, 0, -1)).reverse().map((raw) => {
        const { headers, properties } = JSON.parse(raw) as { headers: { id: string }; properties: { priority: number } };
        return [headers.id, properties.priority];
      });
    expect(await listed('media')).toEqual([
      ['pundefined', 0],
      ['p9', 0],
      ['p7', 2],
    ]);
    expect(await listed('media\x06\x163')).toEqual([
      ['p6', 3],
      ['p4', 5],
    ]);
    expect(await listed('media\x06\x166')).toEqual([
      ['p3', 6],
      ['p1', 8],
    ]);
    expect(await listed('media\x06\x169')).toEqual([['p0', 9]]);
    expect(await kit.admin.smembers('_kombu.binding.media')).toEqual(['media\x06\x16\x06\x16media']);
  });

  test('writes an envelope with a delivery tag of its own for each send', async () => {
    const broker = await kit.broker();
    await sendIds(broker, 'celery', ['a', 'a']);
    const envelopes = (await kit.admin.lrange('celery', 0, -1)).map(
      (raw) => JSON.parse(raw) as { properties: Record<string, unknown> },
    );
    for (const { properties } of envelopes) {
      expect(properties).toMatchObject({
        delivery_info: { exchange: '', routing_key: 'celery' },
        body_encoding: 'base64',
        delivery_mode: 2,
      });
    }
    expect(new Set(envelopes.map(({ properties }) => properties['delivery_tag'])).size).toBe(2);
  });

  test('files what it holds unchanged, under tags of ours, with the end of the lease as score', async () => {
    const raw =
      '{"body": "W10=", "content-type": "application/json", "content-encoding": "utf-8", "headers": {"id": "x", "task": "t", "e": [], "big": 12345678901234567890}, "properties": {"delivery_tag": "d-1", "delivery_info": {"exchange": "", "routing_key": "q\\u00e9"}, "body_encoding": "base64"}}';
    await kit.admin.lpush('qé\x06\x163', raw);
    const collector = await Collector.open(await kit.broker(), { qé: 5 }, { leaseMs: 20_000, name: 'w1@host' });
    await collector.got(1);
    const tag = collector.delivery(0).tag;
    expect(tag).toMatch(/^lovage:w1@host:/);
    expect(await kit.admin.hgetall('unacked')).toEqual({ [tag]: `[${raw},"","qé"]` });
    const score = Number(await kit.admin.zscore('unacked_index', tag));
    const [seconds, micros] = await kit.admin.time();
    const leftMs = (score - Number(seconds) - Number(micros) / 1e6) * 1_000;
    expect(leftMs).toBeGreaterThan(10_000);
    expect(leftMs).toBeLessThanOrEqual(20_000);
  });

  test('leaves nothing behind but bindings and the canary once every message has ended', async () => {
    const broker = await kit.broker();
    const collector = await Collector.open(broker, { one: 10, two: 10 });
    await send(broker, [outgoing('one', 'a'), outgoing('two', 'b'), outgoing('one', 'c')]);
    await collector.got(3);
    const [a, b, c] = [0, 1, 2].map((index) => collector.delivery(index));
    if (!a || !b || !c) throw new Error('unreachable');
    await collector.settle(
      { kind: 'ack', arrival: a },
      { kind: 'requeue', arrival: b, where: 'back' },
      { kind: 'defer', arrival: c, untilMs: Date.now() + 20 },
    );
    collector.consumer.grant('one', 3);
    collector.consumer.grant('two', 3);
    await collector.got(5);
    await collector.ack(collector.delivery(3), collector.delivery(4));
    await collector.consumer.close({ timeoutMs: 5_000 });
    const keys = await kit.admin.keys('*');
    expect(keys.filter((key) => !key.startsWith('lovage:sent:')).sort()).toEqual([
      '_kombu.binding.one',
      '_kombu.binding.two',
      'lovage:canary',
    ]);
    for (const key of keys.filter((key) => key.startsWith('lovage:sent:'))) expect(await kit.admin.ttl(key)).toBeGreaterThan(0);
  });

  test('gives every count of losses an expiry', async () => {
    const dying = await kit.broker();
    await sendIds(dying, 'losing', ['a', 'b']);
    const collector = await Collector.open(dying, { losing: 2 }, { leaseMs: 300 });
    await collector.got(2);
    await crashRedisBroker(dying);
    const heir = await Collector.open(await kit.broker(), { losing: 2 }, { leaseMs: 300 });
    await heir.got(2);
    const counts = await kit.admin.keys('lovage:losses:*');
    expect(counts).toHaveLength(2);
    for (const key of counts) expect(await kit.admin.ttl(key)).toBeGreaterThan(0);
  });

  test('ends a count of losses with its message, unless the message goes on', async () => {
    const counts = async (): Promise<string[]> => kit.admin.keys('lovage:losses:*');
    const first = await Collector.open(await kit.broker(), { ending: 5 });
    const sent = ['ack', 'park', 'retry', 'defer', 'requeue'];
    await sendIds(await kit.broker(), 'ending', sent);
    await first.got(5);
    await first.consumer.close({ timeoutMs: 5_000 });
    const collector = await Collector.open(await kit.broker(), { ending: 5 });
    await collector.got(5);
    const deliveries = sent.map((id) => collector.delivery(collector.ids.indexOf(id)));
    for (const delivery of deliveries) expect(await collector.consumer.secure(delivery)).toBe(true);
    const secured = await counts();
    expect(secured).toHaveLength(5);
    for (const key of secured) expect(await kit.admin.ttl(key)).toBeGreaterThan(0);
    // somebody died with each of them before
    for (const key of secured) await kit.admin.sadd(key, 'lovage:dead@host:1:1');
    const [ack, park, retry, defer, requeue] = deliveries as [Delivery, Delivery, Delivery, Delivery, Delivery];
    const untilMs = Date.now() + 60_000;
    await collector.settle(
      { kind: 'ack', arrival: ack },
      { kind: 'park', arrival: park, reason: { code: 'E_DECODE', reason: 'a test' } },
      { kind: 'defer', arrival: retry, untilMs, message: retry.message },
      { kind: 'defer', arrival: defer, untilMs },
      { kind: 'requeue', arrival: requeue, where: 'back' },
    );
    await until(async () => (await counts()).length === 2, 'the counts of what is gone');
    for (const key of await counts()) expect(await kit.admin.smembers(key)).toEqual(['lovage:dead@host:1:1']);
  });

  test('keeps every key and channel under the prefix', async () => {
    const url = `${kit.server.url}?prefix=app1:`;
    const [broker, results] = [await kit.broker(url), await kit.results(url)];
    const heard: string[] = [];
    await broker.listen('celeryev', '#', ({ routingKey }) => heard.push(routingKey));
    const collector = await Collector.open(broker, { q: 3 });
    await send(broker, [outgoing('q', 'a'), { ...outgoing('q', 'b'), priority: 0 }, outgoing('q', 'c')]);
    await collector.got(3);
    await collector.settle(
      { kind: 'park', arrival: collector.delivery(0), reason: { code: 'E_DECODE', reason: 'to see' } },
      { kind: 'defer', arrival: collector.delivery(1), untilMs: Date.now() + 60_000 },
    );
    await broker.broadcast({ exchange: 'celeryev', routingKey: 'worker.online', message: message('e') });
    await results.claim('id', { ttlMs: 1_000 });
    await results.set([
      { id: 'id', state: 'SUCCESS', meta: '{"status": "SUCCESS"}', epoch: 1, ttlMs: 5_000, replyTo: null, correlationId: null },
    ]);
    await until(() => heard.length > 0, 'the broadcast');
    const keys = await kit.admin.keys('*');
    expect(keys.filter((key) => !key.startsWith('app1:'))).toEqual([]);
    expect(keys).toContain('app1:celery-task-meta-id');
    expect(await kit.admin.hvals('app1:unacked')).toEqual([expect.stringMatching(/,"","q"\]$/)]);
    await broker.purge('q');
    expect(await kit.admin.exists('app1:lovage:delayed', 'app1:lovage:delayed:q')).toBe(0);
  });

  test('keeps parked messages until somebody decides, however many there are', async () => {
    const broker = await kit.broker();
    const collector = await Collector.open(broker, { bad: 500 });
    for (let index = 0; index < 500; index += 1) await kit.admin.lpush('bad', `garbage ${index}`);
    await collector.got(500);
    await collector.settle(
      ...collector.arrivals.map(
        (arrival) => ({ kind: 'park', arrival, reason: { code: 'E_DECODE', reason: 'no message' } }) as const,
      ),
    );
    expect(await kit.admin.hlen('lovage:dead')).toBe(500);
    expect(await kit.admin.zcard('lovage:dead:index')).toBe(500);
    expect(await kit.admin.ttl('lovage:dead')).toBe(-1);
    expect(await kit.admin.exists('unacked', 'unacked_index')).toBe(0);
  });

  test('takes big messages in small batches, and all of them', async () => {
    const broker = await kit.broker();
    const body = { encoding: 'base64', data: 'QUJD'.repeat(250_000) } as const;
    for (let index = 0; index < 60; index += 1)
      await send(broker, [{ to: { queue: 'big' }, message: message(`big${index}`, { body }) }]);
    const sizes: number[] = [];
    const consumer = await broker.consume({
      queues: [{ name: 'big', credit: 200 }],
      credit: 200,
      leaseMs: 15_000,
      consumerName: 'big@host',
      logger: silentLogger,
      onArrivals: (arrivals) => sizes.push(arrivals.length),
      onLost: () => {},
      onState: () => {},
    });
    await until(() => sizes.reduce((sum, size) => sum + size, 0) === 60, 'all of them');
    // eight megabytes end a batch, but a step of fifty may be under way then
    expect(sizes.length).toBeGreaterThan(1);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(50);
    await consumer.close({ timeoutMs: 10_000 });
  });

  test('refuses queue names that are keys of the database itself', async () => {
    const broker = await kit.broker();
    for (const name of ['', 'unacked', 'unacked_index', '_kombu.binding.x', 'lovage:delayed', 'a\x06\x163']) {
      await expect(broker.declare(name)).rejects.toMatchObject({ code: 'E_CONFIG_RANGE' });
      const [refused] = await broker.publish([outgoing(name, 'x')], { timeoutMs: 1_000 });
      expect(refused).toMatchObject({ code: 'E_PUBLISH_FAILED', outcome: 'not-sent' });
    }
  });
});

redisScenes('control clients that are killed in the middle of a question', (scene) => {
  const CLIENTS = 5;
  const project = new Project();
  afterAll(() => project.remove());

  scene(
    'leave no key a minute after kill -9, although workers went on answering them',
    async (kit) => {
      const worker = await kit.broker();
      const asked: { readonly replyTo: ReplyAddress; readonly ticket: string }[] = [];
      await worker.listen(controlExchange(), '', ({ message }) => {
        const { replyTo, ticket } = decodeControlRequest(message);
        if (replyTo && ticket) asked.push({ replyTo, ticket });
      });
      const clients = Array.from({ length: CLIENTS }, () =>
        project.start(['inspect', 'stats', '--timeout', '10m', '--broker', kit.server.url]),
      );
      await until(() => asked.length === CLIENTS, 'all clients to ask', 60_000);
      for (const { child } of clients) child.kill('SIGKILL');
      await Promise.all(clients.map(({ finished }) => finished));
      const killedMs = performance.now();
      for (const { replyTo, ticket } of asked) {
        const reply = encodeControlReply('late@suite', { much: 'x'.repeat(10_000) }, { replyTo, ticket, clock: 1 });
        await worker.sendReply(replyTo, reply.message);
      }
      const left = (await kit.admin.keys('*')).filter((key) => key.includes('pidbox'));
      expect(left.length).toBeGreaterThanOrEqual(CLIENTS);
      for (const key of left) expect(await kit.admin.pttl(key), key).toBeGreaterThan(0);
      await until(
        async () => (await kit.admin.keys('*')).every((key) => !key.includes('pidbox')),
        'their keys to expire',
        INBOX_LIMITS.ttlMs + 30_000,
      );
      // Not sooner than they should: a client that is only slow keeps its inbox.
      expect(performance.now() - killedMs).toBeLessThan(INBOX_LIMITS.ttlMs + 30_000);
      expect((await kit.admin.keys('*')).filter((key) => key.includes('inbox'))).toEqual([]);
    },
    180_000,
  );
});
