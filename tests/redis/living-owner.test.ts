/** What workers held through a silence of the server, or while they were cut off or frozen: it runs again, and only the dead count. */
import { expect } from 'vitest';
import { crashRedisBroker } from '../../src/brokers/redis/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { createApp } from '../../src/index.js';
import { Collector, sendIds, until, untilWall } from '../../src/testing/conformance/broker-kit.js';
import { startFaultProxy } from '../support/fault-proxy.js';
import { type RedisKit, redisScenes } from './redis-kit.js';

redisScenes('an owner that lives', (scene) => {
  const losses = (collector: Collector): Record<string, number> =>
    Object.fromEntries(
      collector.arrivals.map((arrival, index) => [
        collector.ids[index],
        arrival.kind === 'delivery' ? arrival.losses : Number.NaN,
      ]),
    );
  const countedLosses = async (kit: RedisKit): Promise<number> => (await kit.admin.keys('lovage:losses:*')).length;
  /** The server says nothing while `body` runs, and then goes on with all that it was told meanwhile. */
  const silence = async (kit: RedisKit, body: () => Promise<unknown>): Promise<void> => {
    kit.server.pause();
    try {
      await body();
    } finally {
      kit.server.resume();
    }
  };
  const noticed = (...collectors: readonly Collector[]): Promise<void> =>
    until(() => collectors.every(({ states }) => states.at(-1) === 'disconnected'), 'everybody to notice');

  scene(
    'through three silences of twice its lease finishes its task in the end, which is not parked and has no loss',
    async (kit) => {
      const app = createApp({ name: 'living', broker: kit.server.url, logger: silentLogger });
      let runs = 0;
      const slow = app.fn('living.slow', async (): Promise<string> => {
        runs += 1;
        await new Promise((resolve) => setTimeout(resolve, 6_000));
        return 'done';
      });
      const worker = await app.worker({ pool: 'inline', concurrency: 10, lease: '2s', logger: silentLogger });
      try {
        const handle = await slow.send();
        for (let run = 1; run <= 3; run += 1) {
          await until(() => runs === run, `run ${run}`, 15_000);
          await untilWall(Date.now() + 500);
          await silence(kit, () => untilWall(Date.now() + 4_000));
        }
        expect(await handle.result({ timeout: '40s' })).toBe('done');
        expect(runs).toBe(4);
        const broker = await kit.broker();
        expect((await broker.deadLetters.list({})).letters).toEqual([]);
        expect(await countedLosses(kit)).toBe(0);
        await until(async () => (await kit.admin.hlen('unacked')) === 0, 'the acknowledgement');
      } finally {
        await worker.close();
        await app.close();
      }
    },
    90_000,
  );

  scene(
    'of two has every message back after an outage longer than the lease: each comes once more, in its place, without a loss',
    async (kit) => {
      const leaseMs = 3_000;
      const one = await Collector.open(await kit.broker(), { outage: 3 }, { leaseMs, name: 'one@host' });
      const sender = await kit.broker();
      await sendIds(sender, 'outage', ['a', 'b', 'c']);
      await one.got(3);
      const two = await Collector.open(await kit.broker(), { outage: 3 }, { leaseMs, name: 'two@host' });
      await sendIds(sender, 'outage', ['d', 'e', 'f']);
      await two.got(3);
      await sendIds(sender, 'outage', ['waiting']);
      await silence(kit, async () => {
        await noticed(one, two);
        await untilWall(Date.now() + leaseMs);
      });
      await until(() => one.lost.length === 3 && two.lost.length === 3, 'both to be told');
      await until(async () => (await kit.admin.llen('outage')) === 7, 'every message in its queue', 15_000);
      expect(await kit.admin.exists('unacked', 'unacked_index')).toBe(0);
      const heir = await Collector.open(await kit.broker(), { outage: 10 }, { leaseMs, acking: true });
      await heir.got(7);
      expect(losses(heir)).toEqual({ a: 0, b: 0, c: 0, d: 0, e: 0, f: 0, waiting: 0 });
      expect(heir.ids.at(-1)).toBe('waiting');
      expect(heir.ids.filter((id) => 'abc'.includes(id))).toEqual(['a', 'b', 'c']);
      expect(heir.arrivals.map((arrival) => arrival.kind === 'delivery' && arrival.redelivered)).toEqual([
        ...Array.from({ length: 6 }, () => true),
        false,
      ]);
      expect(await countedLosses(kit)).toBe(0);
    },
    60_000,
  );

  scene(
    'does not lose to an idle neighbour whose look for orphans was under way while the server fell silent',
    async (kit) => {
      const leaseMs = 3_000;
      const owner = await Collector.open(await kit.broker(), { looked: 2 }, { leaseMs, name: 'owner@host' });
      await sendIds(await kit.broker(), 'looked', ['x', 'y']);
      await owner.got(2);
      const idle = await Collector.open(await kit.broker(), { looked: 2 }, { leaseMs, acking: true, name: 'idle@host' });
      await until(() => idle.states.includes('connected'), 'the neighbour');
      await untilWall(Date.now() + leaseMs);
      await silence(kit, () => untilWall(Date.now() + 2 * leaseMs));
      await idle.got(2, 15_000);
      expect(losses(idle)).toEqual({ x: 0, y: 0 });
      expect(await countedLosses(kit)).toBe(0);
      await until(() => owner.lost.length === 2, 'the owner to be told');
    },
    60_000,
  );

  scene(
    'is told from one that died during the outage, whose message comes with one loss within two leases and five seconds',
    async (kit) => {
      const leaseMs = 3_000;
      const sender = await kit.broker();
      const dying = await kit.broker();
      const victim = await Collector.open(dying, { killed: 1 }, { leaseMs, name: 'dying@host' });
      await sendIds(sender, 'killed', ['orphan']);
      await victim.got(1);
      const living = await Collector.open(await kit.broker(), { killed: 4 }, { leaseMs, name: 'living@host' });
      await sendIds(sender, 'killed', ['held']);
      await living.got(1);
      await silence(kit, async () => {
        // at once: later it could have given its message back, in a command that the server finds when it wakes
        await crashRedisBroker(dying);
        await noticed(living);
        await untilWall(Date.now() + leaseMs);
      });
      const endMs = performance.now();
      await living.got(3, 2 * leaseMs + 5_000);
      // a whole lease was left to the owner to come back
      expect(performance.now() - endMs).toBeGreaterThan(leaseMs / 2);
      expect(living.ids).toEqual(['held', 'held', 'orphan']);
      expect([1, 2].map((index) => living.delivery(index).losses)).toEqual([0, 1]);
      await living.ack(living.delivery(1), living.delivery(2));
    },
    60_000,
  );

  scene(
    'takes back the loss that was counted while it was cut off alone, and not that of somebody who has died since',
    async (kit) => {
      const leaseMs = 1_500;
      const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: kit.server.port } });
      try {
        const owner = await Collector.open(
          await kit.broker(proxy.url(kit.server.url)),
          { cut: 1 },
          { leaseMs, name: 'cut@host' },
        );
        await sendIds(await kit.broker(), 'cut', ['x']);
        await owner.got(1);
        proxy.stall();
        const dying = await kit.broker();
        const first = await Collector.open(dying, { cut: 1 }, { leaseMs, name: 'first@host' });
        await first.got(1, leaseMs + 5_000);
        expect(first.delivery(0).losses).toBe(1);
        await first.consumer.secure(first.delivery(0));
        await crashRedisBroker(dying);
        const second = await Collector.open(await kit.broker(), { cut: 1 }, { leaseMs, name: 'second@host' });
        await second.got(1, leaseMs + 5_000);
        expect(second.delivery(0).losses).toBe(2);
        const [key] = await kit.admin.keys('lovage:losses:*');
        if (!key) throw new Error('no losses are counted');
        await proxy.pass();
        await until(async () => (await kit.admin.scard(key)) === 1, 'one loss less', 15_000);
        expect(owner.lost).toEqual([owner.delivery(0).tag]);
        // the number follows the message to whoever gets it next
        await second.settle({ kind: 'requeue', arrival: second.delivery(0), where: 'front' });
        const third = await Collector.open(await kit.broker(), { cut: 1 }, { leaseMs, name: 'third@host' });
        await third.got(1);
        expect(third.delivery(0).losses).toBe(1);
        await third.ack(third.delivery(0));
      } finally {
        await proxy.close();
      }
    },
    60_000,
  );

  scene(
    'has time to renew when an idle neighbour, which cannot know of a silence, finds its lease over',
    async (kit) => {
      const leaseMs = 7_000;
      const neighbour = await Collector.open(await kit.broker(), { seen: 1 }, { leaseMs, name: 'idle@host' });
      await until(() => neighbour.states.includes('connected'), 'the neighbour');
      // the first look is over once it has left its canary
      await until(async () => (await kit.admin.exists('lovage:canary')) === 1, 'the canary');
      await sendIds(await kit.broker(), 'elsewhere', ['x']);
      const raw = await kit.admin.rpop('elsewhere');
      const tag = 'lovage:owner@host:abc:1:1';
      const endLease = (inMs: number): Promise<number | string> =>
        kit.admin.zadd('unacked_index', (Date.now() + inMs) / 1_000, tag);
      await kit.admin.hset('unacked', tag, `[${raw},"","seen"]`);
      await endLease(200);
      const looks = async (): Promise<number> =>
        Number(/cmdstat_evalsha:calls=(\d+)/.exec(await kit.admin.info('commandstats'))?.[1] ?? 0);
      const before = await looks();
      await until(async () => (await looks()) > before, 'its next look', leaseMs + 5_000);
      await endLease(60_000);
      await until(async () => (await looks()) > before + 1, 'the look after it', leaseMs + 5_000);
      expect(neighbour.arrivals).toEqual([]);
      expect(await countedLosses(kit)).toBe(0);
      await endLease(200);
      const endedMs = performance.now();
      await neighbour.got(1, leaseMs + 5_000);
      expect(performance.now() - endedMs).toBeLessThan(leaseMs + 5_000);
      expect(neighbour.delivery(0).losses).toBe(1);
    },
    60_000,
  );
});
