/** The Redis drivers when the server refuses, is full, goes away, or changes its mind. */
import { expect, test } from 'vitest';
import type { Logger } from '../../src/core/logger.js';
import { silentLogger } from '../../src/core/logger.js';
import { Collector, drain, ids, outgoing, sendIds, until } from '../../src/testing/conformance/broker-kit.js';
import { startRedis } from '../support/redis-server.js';
import { type RedisKit, redisSuite } from './redis-kit.js';

async function killClients(kit: RedisKit, name: string): Promise<void> {
  const clients = (await kit.admin.client('LIST')) as string;
  for (const [, id] of clients.matchAll(new RegExp(`^id=(\\d+) .*name=${name} `, 'gm')))
    await kit.admin.client('KILL', 'ID', Number(id));
}

const result = (id: string): Parameters<Awaited<ReturnType<RedisKit['results']>>['set']>[0][number] => ({
  id,
  state: 'SUCCESS',
  meta: JSON.stringify({ status: 'SUCCESS', result: null, task_id: id }),
  epoch: 0,
  ttlMs: 60_000,
  replyTo: null,
  correlationId: null,
});

redisSuite('Redis with trouble', (kit) => {
  test('confirms each send once and stores it once, though connections die again and again', async () => {
    const broker = await kit.broker();
    const wanted = ids('dying', 1, 20_000);
    const killing = (async () => {
      for (let kills = 0; kills < 5; kills += 1) {
        const seen = await kit.admin.llen('dying');
        await killClients(kit, 'lovage:commands');
        await until(async () => (await kit.admin.llen('dying')) > seen, 'progress');
      }
    })();
    const failures: unknown[] = [];
    let next = 0;
    const sender = async (): Promise<void> => {
      for (let id = wanted[next++]; id !== undefined; id = wanted[next++]) {
        const [failure] = await broker.publish([outgoing('dying', id)], { timeoutMs: 20_000 });
        if (failure) failures.push(failure);
      }
    };
    await Promise.all(Array.from({ length: 20 }, sender));
    await killing;
    expect(failures).toEqual([]);
    const stored = (await kit.admin.lrange('dying', 0, -1)).map(
      (raw) => (JSON.parse(raw) as { headers: { id: string } }).headers.id,
    );
    expect(stored.sort()).toEqual([...wanted].sort());
  });

  test('delivers everything once, though the connections of the consumer die again and again', async () => {
    const wanted = ids('cut', 1, 20_000);
    await sendIds(await kit.broker(), 'cut', wanted);
    const collector = await Collector.open(await kit.broker(), { cut: 20 }, { acking: true, leaseMs: 60_000 });
    for (let kills = 0; kills < 5; kills += 1) {
      const seen = collector.arrivals.length;
      await killClients(kit, 'lovage:commands');
      await until(
        () => collector.arrivals.length > seen,
        () => `more than ${seen} deliveries`,
      );
    }
    await collector.got(wanted.length);
    expect(collector.ids.sort()).toEqual([...wanted].sort());
    await until(async () => (await kit.admin.hlen('unacked')) === 0, 'every acknowledgement');
    expect(collector.lost).toEqual([]);
    expect(collector.arrivals.filter((arrival) => arrival.kind === 'delivery' && arrival.losses > 0)).toEqual([]);
  });

  test('is woken again after the listening connection was replaced', async () => {
    const collector = await Collector.open(await kit.broker(), { relisten: 10 });
    const sender = await kit.broker();
    await sendIds(sender, 'relisten', ['before']);
    await collector.got(1);
    await killClients(kit, 'lovage:listening');
    await until(
      async () => ((await kit.admin.client('LIST')) as string).includes('name=lovage:listening'),
      'the new listening connection',
    );
    await sendIds(sender, 'relisten', ['after']);
    await collector.got(2, 5_000);
  });

  test('goes on when the scripts are flushed', async () => {
    const collector = await Collector.open(await kit.broker(), { flushed: 100 }, { acking: true });
    const sender = await kit.broker();
    await sendIds(sender, 'flushed', ['a']);
    await collector.got(1);
    await kit.admin.script('FLUSH');
    await sendIds(sender, 'flushed', ['b']);
    await collector.got(2);
    const results = await kit.results();
    expect(await results.set([result('x')])).toEqual(['stored']);
  });

  test('gives a message up at its deadline, and tells that it was not sent, while nobody listens on the port', async () => {
    const gone = await startRedis();
    await gone.stop();
    const broker = await kit.broker(gone.url);
    const results = await broker.publish([outgoing('q', 'a'), outgoing('q', 'b')], { timeoutMs: 300 });
    expect(results).toEqual([
      expect.objectContaining({ code: 'E_PUBLISH_TIMEOUT', outcome: 'not-sent', taskId: 'a' }),
      expect.objectContaining({ code: 'E_PUBLISH_TIMEOUT', outcome: 'not-sent', taskId: 'b' }),
    ]);
    await expect(broker.connect({ timeoutMs: 200 })).rejects.toMatchObject({
      code: 'E_BROKER_UNREACHABLE',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test('tells at once that the password is wrong', async () => {
    await kit.admin.call('ACL', 'SETUSER', 'someone', 'on', '>right', '~*', '&*', '+@all');
    const wrong = await kit.broker(`redis://someone:wrong@127.0.0.1:${kit.server.port}/0`);
    await expect(wrong.connect({ timeoutMs: 10_000 })).rejects.toMatchObject({ code: 'E_BROKER_AUTH' });
    const right = await kit.broker(`redis://someone:right@127.0.0.1:${kit.server.port}/0`);
    await right.connect({ timeoutMs: 10_000 });
    await kit.admin.call('ACL', 'DELUSER', 'someone');
  });

  test('looks once a second, and says so once, where CLIENT TRACKING is not allowed', async () => {
    await kit.admin.call('ACL', 'SETUSER', 'tame', 'on', '>pw', '~*', '&*', '+@all', '-client|tracking');
    const warnings: string[] = [];
    const logger: Logger = { ...silentLogger, warn: (_fields, text) => void warnings.push(text ?? '') };
    const collector = await Collector.open(await kit.broker(`redis://tame:pw@127.0.0.1:${kit.server.port}/0`, logger), {
      tame: 10,
    });
    const sender = await kit.broker();
    for (const id of ['a', 'b']) {
      await sendIds(sender, 'tame', [id]);
      await until(() => collector.ids.includes(id), id, 5_000);
    }
    expect(warnings.filter((text) => text.includes('CLIENT TRACKING'))).toHaveLength(1);
    await kit.admin.call('ACL', 'DELUSER', 'tame');
  });

  test('waits for a read-only server to be a primary again', async () => {
    const broker = await kit.broker();
    await sendIds(broker, 'replica', ['first']);
    // a replica of nobody: it keeps its data and refuses writes
    await kit.admin.replicaof('127.0.0.1', 1);
    const sending = broker.publish([outgoing('replica', 'second')], { timeoutMs: 20_000 });
    await until(async () => Number(/READONLY:count=(\d+)/.exec(await kit.admin.info('errorstats'))?.[1] ?? 0) > 0, 'a refusal');
    await kit.admin.call('REPLICAOF', 'NO', 'ONE');
    expect(await sending).toEqual([null]);
    expect(await drain(await kit.broker(), 'replica', 2)).toEqual(['first', 'second']);
  });

  test('names a queue whose key is no list, and serves the others', async () => {
    await kit.admin.set('broken', 'a string');
    const errors: object[] = [];
    const logger: Logger = { ...silentLogger, error: (fields) => void errors.push(fields) };
    const broker = await kit.broker();
    const arrivals: string[] = [];
    const consumer = await broker.consume({
      queues: [
        { name: 'broken', credit: 5 },
        { name: 'whole', credit: 5 },
      ],
      credit: 10,
      leaseMs: 15_000,
      consumerName: 'w@h',
      logger,
      onArrivals: (found) => arrivals.push(...found.map(({ queue }) => queue)),
      onLost: () => {},
      onState: () => {},
    });
    await sendIds(broker, 'whole', ['a', 'b']);
    await until(() => arrivals.length === 2, 'both messages of the other queue');
    expect(errors).toContainEqual(expect.objectContaining({ queue: 'broken', cause: expect.stringContaining('WRONGTYPE') }));
    expect(await broker.publish([outgoing('broken', 'x')], { timeoutMs: 2_000 })).toEqual([
      expect.objectContaining({ code: 'E_PUBLISH_FAILED', outcome: 'not-sent' }),
    ]);
    await consumer.close({ timeoutMs: 1_000 });
  });
});

redisSuite(
  'a Redis without memory left',
  (kit) => {
    test('refuses sends and big results with a reason, and lets small results, pops, renewals and settlements go on', async () => {
      const [broker, results] = [await kit.broker(), await kit.results()];
      const id = ids('full', 1, 6);
      const lingering = await Collector.open(broker, { full: 2 }, { leaseMs: 600 });
      await sendIds(broker, 'full', id);
      await lingering.got(2);
      // less than it uses already: every command that could use more is refused
      await kit.admin.config('SET', 'maxmemory', '1');
      expect(await broker.publish([outgoing('full', 'late')], { timeoutMs: 3_000 })).toEqual([
        expect.objectContaining({ code: 'E_BROKER_FULL', outcome: 'not-sent', taskId: 'late' }),
      ]);
      // what an acknowledgement makes up for goes through
      expect(await results.set([result('r')])).toEqual(['stored']);
      expect(await results.claim('c', { ttlMs: 5_000 })).toEqual({ epoch: 1 });
      const big = { ...result('big'), meta: JSON.stringify({ status: 'SUCCESS', result: 'x'.repeat(5_000), task_id: 'big' }) };
      await expect(results.set([big])).rejects.toMatchObject({ code: 'E_BROKER_FULL' });

      const held = lingering.arrivals.map(({ tag }) => tag);
      const scores = async (): Promise<number[]> => (await kit.admin.zmscore('unacked_index', ...held)).map(Number);
      const before = await scores();
      await until(async () => (await scores()).every((score, index) => score > (before[index] as number) + 0.4), 'a renewal');
      const other = await Collector.open(await kit.broker(), { full: 4 }, { leaseMs: 600 });
      await other.got(4);
      expect(
        await other.settle(
          { kind: 'ack', arrival: other.delivery(0) },
          { kind: 'requeue', arrival: other.delivery(1), where: 'front' },
          { kind: 'defer', arrival: other.delivery(2), untilMs: Date.now() + 50 },
          { kind: 'park', arrival: other.delivery(3), reason: { code: 'E_DECODE', reason: 'to see' } },
        ),
      ).toEqual(['held', 'held', 'held', 'held']);
      other.consumer.grant('full', 2);
      await other.got(6);
      expect(await lingering.settle(...lingering.arrivals.map((arrival) => ({ kind: 'ack', arrival }) as const))).toEqual([
        'held',
        'held',
      ]);
      await kit.admin.config('SET', 'maxmemory', '0');
      expect(await broker.publish([outgoing('full', 'room again')], { timeoutMs: 3_000 })).toEqual([null]);
    });
  },
  { args: ['--maxmemory-policy', 'noeviction'] },
);
