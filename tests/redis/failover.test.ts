/** Another server becomes the primary: planned and not, told by sentinels and found out. */
import { type AddressInfo, connect, createServer } from 'node:net';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openRedisBroker } from '../../src/brokers/redis/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { openRedisResults } from '../../src/results/redis/index.js';
import type { ResultStore } from '../../src/results/result-store.js';
import { Collector, outgoing, sendIds, until } from '../../src/testing/conformance/broker-kit.js';
import { type SentinelSet, startSentinels } from '../support/redis-sentinels.js';
import { redisMissing, startRedis } from '../support/redis-server.js';
import { sendSteadily } from './steady-sender.js';

const missing = redisMissing();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

/** Five seconds are promised; the rest is for a busy machine. */
const BACK_WITHIN_MS = 8_000;

const opened: { close(): Promise<void> }[] = [];
const brokerAt = async (url: string): Promise<Broker> => {
  const broker = await openRedisBroker({ url, logger: silentLogger, role: 'engine' });
  opened.push(broker);
  return broker;
};
const resultsAt = async (url: string): Promise<ResultStore> => {
  const store = await openRedisResults({ url, logger: silentLogger, role: 'engine' });
  opened.push(store);
  return store;
};

const resultOf = (id: string): Parameters<ResultStore['set']>[0][number] => ({
  id,
  state: 'SUCCESS',
  meta: JSON.stringify({ status: 'SUCCESS', result: null, task_id: id }),
  epoch: 0,
  ttlMs: 60_000,
  replyTo: null,
  correlationId: null,
});

describe.skipIf(missing !== null)(
  missing === null ? 'a fail-over of Redis' : `a fail-over of Redis (not run: ${missing})`,
  () => {
    const sets: SentinelSet[] = [];
    afterEach(async () => {
      for (const thing of opened.splice(0)) await thing.close();
      for (const set of sets.splice(0)) await set.stop();
    });
    const sentinels = async (): Promise<SentinelSet> => {
      const set = await startSentinels();
      sets.push(set);
      return set;
    };

    test('that sentinels were asked for is followed by senders, consumers, results and waits, and loses nothing that was confirmed with wait_replicas=1', async () => {
      const set = await sentinels();
      const [sending, consuming, store, waiting] = [
        await brokerAt(`${set.url}&wait_replicas=1`),
        await brokerAt(set.url),
        await resultsAt(set.url),
        await resultsAt(set.url),
      ];
      const collector = await Collector.open(consuming, { q: 20 }, { acking: true, leaseMs: 60_000 });
      const load = sendSteadily(sending, 'planned');
      await collector.atLeast(10);
      await store.set([resultOf('before')]);
      const wait = waiting.wait('after', { signal: AbortSignal.timeout(60_000) });

      await set.failover();
      // the steady sender gets no confirmation before the old primary is a replica
      await sendIds(await brokerAt(set.url), 'q', ['mark']);
      await until(() => collector.ids.includes('mark'), 'consumption', BACK_WITHIN_MS);
      expect(await store.set([resultOf('after')])).toEqual(['stored']);
      expect(await wait).toContain('"after"');
      expect((await store.get(['before']))[0]).toContain('"before"');
      await load.stop();
      expect(load.failed).toEqual([]);
      await until(() => load.confirmed.every((id) => collector.ids.includes(id)), 'every confirmed send');
    }, 90_000);

    test('after the death of the primary loses nothing that was confirmed with wait_replicas=1', async () => {
      const set = await sentinels();
      const sending = await brokerAt(`${set.url}&wait_replicas=1`);
      const consuming = await brokerAt(set.url);
      const collector = await Collector.open(consuming, { q: 20 }, { acking: true, leaseMs: 5_000 });
      const loads = Array.from({ length: 5 }, (_, number) => sendSteadily(sending, `killed${number}`));
      const confirmed = (): string[] => loads.flatMap((load) => load.confirmed);
      await until(() => confirmed().length > 100, 'the first sends');
      const old = await set.primary();
      await old.kill9();
      await set.promoted(old);
      // no replica is left: messages are on the new primary, and nobody may call them confirmed
      const seen = collector.arrivals.length;
      await sendIds(await brokerAt(set.url), 'q', ['mark']);
      await until(() => collector.ids.slice(seen).includes('mark'), 'consumption', BACK_WITHIN_MS);
      const atDeath = confirmed().length;
      const [short] = await sending.publish([outgoing('q', 'short')], { timeoutMs: 2_000 });
      expect(short).toMatchObject({
        code: 'E_PUBLISH_TIMEOUT',
        outcome: 'unknown',
        message: expect.stringContaining('0 of 1 replicas'),
      });
      expect(confirmed()).toHaveLength(atDeath);
      // the dead one comes back as a replica, and the sends that waited are confirmed
      await old.restart();
      await until(() => confirmed().length > atDeath + 10, 'sends confirmed by the new replica', 30_000);
      await Promise.all(loads.map((load) => load.stop()));
      expect(loads.flatMap((load) => load.failed)).toEqual([]);
      await until(
        () => confirmed().every((id) => collector.ids.includes(id)),
        () => `every confirmed send, ${confirmed().filter((id) => !collector.ids.includes(id)).length} are missing`,
      );
    }, 120_000);

    test('behind an address that points elsewhere now: both connections gather on the new server, and wake-ups work', async () => {
      const servers = [await startRedis(), await startRedis()] as const;
      let port = servers[0].port;
      const address = createServer((client) => {
        const server = connect(port, '127.0.0.1');
        for (const [from, to] of [
          [client, server],
          [server, client],
        ] as const)
          from
            .on('error', () => {})
            .on('close', () => to.destroy())
            .pipe(to);
      });
      await new Promise<void>((resolve) => address.listen(0, '127.0.0.1', resolve));
      const [old, fresh] = servers.map((server) => new Redis(server.port, '127.0.0.1', { protocol: 2 })) as [Redis, Redis];
      try {
        const consuming = await brokerAt(`redis://127.0.0.1:${(address.address() as AddressInfo).port}/0`);
        const collector = await Collector.open(consuming, { q: 5 }, { acking: true });
        await sendIds(await brokerAt(servers[0].url), 'q', ['before']);
        await collector.got(1);
        port = servers[1].port;
        // only the commands lose their connection: the other stays with a server to which nobody pushes any more
        const own = await old.client('ID');
        for (const [, id] of ((await old.client('LIST')) as string).matchAll(/^id=(\d+) .*name=lovage:commands /gm))
          if (Number(id) !== own) await old.client('KILL', 'ID', Number(id));
        await until(
          async () => ((await fresh.client('LIST')) as string).includes('name=lovage:listening'),
          'the other one',
          BACK_WITHIN_MS,
        );
        expect((await old.client('LIST')) as string).not.toContain('name=lovage:listening');
        await until(async () => ((await fresh.client('LIST')) as string).includes('redir='), 'tracking');
        const sender = await brokerAt(servers[1].url);
        for (const id of ['one', 'two']) {
          await sendIds(sender, 'q', [id]);
          // far sooner than the next sweep, which is 15 s away
          await until(() => collector.ids.includes(id), id, 5_000);
        }
      } finally {
        for (const thing of opened.splice(0)) await thing.close();
        address.close();
        old.disconnect();
        fresh.disconnect();
        for (const server of servers) await server.stop();
      }
    }, 60_000);

    test('at one address: who was connected waits, says why, and goes on when that server is the primary again', async () => {
      const primary = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] });
      const replica = await startRedis({
        args: ['--repl-diskless-sync-delay', '0', '--replicaof', '127.0.0.1', String(primary.port)],
      });
      const [admin, other] = [primary, replica].map(({ port }) => new Redis(port, '127.0.0.1', { protocol: 2 })) as [
        Redis,
        Redis,
      ];
      try {
        await until(async () => (await other.info('replication')).includes('master_link_status:up'), 'the replica');
        const [sending, consuming] = [await brokerAt(primary.url), await brokerAt(primary.url)];
        const collector = await Collector.open(consuming, { q: 20 }, { acking: true, leaseMs: 60_000 });
        await sendIds(sending, 'q', ['before']);
        await collector.got(1);

        await admin.call('FAILOVER');
        await until(async () => (await admin.info('replication')).includes('role:slave'), 'the fail-over');
        // an idle consumer as well: it asks for a write that changes nothing
        await until(() => collector.states.at(-1) === 'disconnected', 'the news', BACK_WITHIN_MS);
        const [refused] = await sending.publish([outgoing('q', 'refused')], { timeoutMs: 1_500 });
        expect(refused).toMatchObject({
          code: 'E_PUBLISH_TIMEOUT',
          outcome: 'not-sent',
          message: expect.stringContaining('is a replica'),
        });
        await expect((await brokerAt(primary.url)).connect({ timeoutMs: 1_000 })).rejects.toMatchObject({
          code: 'E_BROKER_UNREACHABLE',
          message: expect.stringContaining('is a replica'),
        });
        const patient = sending.publish([outgoing('q', 'patient')], { timeoutMs: 30_000 });

        await until(async () => (await admin.info('replication')).includes('master_link_status:up'), 'the way back');
        await other.call('FAILOVER');
        await until(async () => (await admin.info('replication')).includes('role:master'), 'the fail-over back');
        expect(await patient).toEqual([null]);
        await until(() => collector.ids.includes('patient'), 'consumption', BACK_WITHIN_MS);
        expect(collector.ids).toEqual(['before', 'patient']);
      } finally {
        admin.disconnect();
        other.disconnect();
        await replica.stop();
        await primary.stop();
      }
    }, 90_000);
  },
);
