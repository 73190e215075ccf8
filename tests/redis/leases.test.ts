/** Leases under real faults: take-over in time, and late words of a former owner that change nothing. */
import { expect, test } from 'vitest';
import { crashRedisBroker } from '../../src/brokers/redis/index.js';
import { Collector, sendIds, until, untilWall } from '../../src/testing/conformance/broker-kit.js';
import { startFaultProxy } from '../support/fault-proxy.js';
import { redisSuite } from './redis-kit.js';

redisSuite(
  'a lease on Redis',
  (kit) => {
    test('of a dead worker ends in time: an idle neighbour has its messages within the lease and five seconds', async () => {
      const leaseMs = 3_000;
      for (let round = 0; round < 2; round += 1) {
        const dying = await kit.broker();
        const ids = [`${round}a`, `${round}b`, `${round}c`];
        const victim = await Collector.open(dying, { orphaned: 10 }, { leaseMs, name: 'dying@host' });
        await sendIds(dying, 'orphaned', ids);
        await victim.got(3);
        const next = await Collector.open(await kit.broker(), { orphaned: 10 }, { leaseMs, name: `heir${round}@host` });
        // it has been renewed at least once, and dies at another moment of its lease each time
        await untilWall(Date.now() + 1_200 + round * 700);
        await crashRedisBroker(dying);
        const diedMs = performance.now();
        await next.got(3, leaseMs + 5_000);
        expect(performance.now() - diedMs).toBeGreaterThan(leaseMs / 2);
        expect(next.arrivals.map((arrival) => arrival.kind === 'delivery' && arrival.losses)).toEqual([1, 1, 1]);
        await next.ack(...next.arrivals);
        await next.consumer.close({ timeoutMs: 1_000 });
      }
    }, 40_000);

    test('of a dead worker: a busy neighbour takes what it held before most of what is new', async () => {
      const leaseMs = 1_500;
      const dying = await kit.broker();
      const held = Array.from({ length: 10 }, (_, index) => `held-${index}`);
      await sendIds(dying, 'busy', held);
      const victim = await Collector.open(dying, { busy: 10 }, { leaseMs, name: 'dying@host' });
      await victim.got(10);
      const broker = await kit.broker();
      await sendIds(
        broker,
        'busy',
        Array.from({ length: 3_000 }, (_, index) => `new-${index}`),
      );
      await crashRedisBroker(dying);
      // Two places, each busy for some milliseconds at a time: its credit is gone as soon as it is granted.
      const heir = await Collector.open(broker, { busy: 2 }, { leaseMs, name: 'heir@host' });
      let ended = 0;
      const timer = setInterval(() => {
        const done = heir.arrivals.slice(ended);
        ended += done.length;
        void heir.ack(...done).then(() => done.length > 0 && heir.consumer.grant('busy', done.length));
      }, 4);
      try {
        const heldAt = (): number[] => heir.ids.flatMap((id, index) => (held.includes(id) ? [index] : []));
        await until(() => heldAt().length === 10, 'all that the dead one held', leaseMs + 10_000);
        const [first, last] = [heldAt()[0] ?? 0, heldAt().at(-1) ?? 0];
        expect(last - first).toBeLessThan(400);
      } finally {
        clearInterval(timer);
      }
    }, 40_000);

    test('of a worker behind a cut cable goes to its neighbour, and what the worker had said meanwhile changes nothing there', async () => {
      const leaseMs = 2_000;
      const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: kit.server.port } });
      try {
        const owner = await Collector.open(
          await kit.broker(proxy.url(kit.server.url)),
          { cut: 4 },
          { leaseMs, name: 'cut@host' },
        );
        await sendIds(await kit.broker(), 'cut', ['a', 'b', 'c', 'd']);
        await owner.got(4);
        const [a, b, c, d] = [0, 1, 2, 3].map((index) => owner.delivery(index));
        if (!a || !b || !c || !d) throw new Error('unreachable');
        proxy.stall();
        // on its way when the lease ends; the bytes arrive when the cable is back, on a connection that the server still knows
        const said = owner.settle(
          { kind: 'ack', arrival: a },
          { kind: 'requeue', arrival: b, where: 'front' },
          { kind: 'defer', arrival: c, untilMs: Date.now() },
          { kind: 'park', arrival: d, reason: { code: 'E_DECODE', reason: 'must not be parked' } },
        );
        const broker = await kit.broker();
        const heir = await Collector.open(broker, { cut: 4 }, { leaseMs: 60_000, name: 'heir@host' });
        await heir.got(4, leaseMs + 5_000);
        await proxy.pass();
        expect(await said).toEqual(['lost', 'lost', 'lost', 'lost']);
        await until(() => owner.states.at(-1) === 'connected', 'the owner to be back');
        const tags = heir.arrivals.map(({ tag }) => tag);
        expect((await kit.admin.hkeys('unacked')).sort()).toEqual([...tags].sort());
        expect(await kit.admin.zmscore('unacked_index', ...tags)).not.toContain(null);
        expect(await kit.admin.exists('cut', 'lovage:delayed', 'lovage:dead')).toBe(0);
        expect(tags.every((tag) => heir.consumer.holds(tag))).toBe(true);
        await heir.ack(...heir.arrivals);
        expect(await kit.admin.exists('unacked', 'unacked_index')).toBe(0);
      } finally {
        await proxy.close();
      }
    }, 40_000);

    test('of a dead worker counts its loss also when the answer to the take-over is lost with its connection', async () => {
      const leaseMs = 1_500;
      const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: kit.server.port } });
      try {
        const dying = await kit.broker();
        const victim = await Collector.open(dying, { unheard: 1 }, { leaseMs, name: 'dying@host' });
        await sendIds(dying, 'unheard', ['x']);
        await victim.got(1);
        const url = proxy.url(kit.server.url);
        const heir = await Collector.open(await kit.broker(url), { unheard: 1 }, { leaseMs, name: 'heir@host' });
        await until(() => heir.states.includes('connected'), 'the heir');
        await crashRedisBroker(dying);
        // looks before the end of the lease are to be answered: the one after it is what the heir shall not hear of
        const endsMs = Number(await kit.admin.zscore('unacked_index', victim.delivery(0).tag)) * 1_000;
        await untilWall(endsMs - 250);
        proxy.halfOpen('from-server');
        const isTaken = async (): Promise<boolean> =>
          (await kit.admin.hkeys('unacked')).some((tag) => tag.startsWith('lovage:heir@host:'));
        await until(isTaken, 'a take-over that the heir does not hear of', leaseMs + 5_000);
        await proxy.pass();
        await heir.got(1);
        expect(heir.delivery(0)).toMatchObject({ losses: 1, redelivered: true });
        await heir.ack(heir.delivery(0));
      } finally {
        await proxy.close();
      }
    }, 40_000);

    test('is kept through a restart of the server, though a neighbour with a short lease looks for orphans all the time', async () => {
      const neighboursMs = 1_500;
      const collector = await Collector.open(await kit.broker(), { long: 2 }, { leaseMs: 15_000, name: 'long@host' });
      await sendIds(await kit.broker(), 'long', ['x', 'y']);
      await collector.got(2);
      const neighbour = await Collector.open(await kit.broker(), { long: 2 }, { leaseMs: neighboursMs, name: 'idle@host' });
      await kit.server.kill9();
      await untilWall(Date.now() + 2 * neighboursMs);
      await kit.server.restart();
      await until(() => collector.states.at(-1) === 'connected', 'the next connection');
      await untilWall(Date.now() + 4 * neighboursMs);
      expect(neighbour.ids).toEqual([]);
      await collector.ack(...collector.arrivals);
      expect(collector.lost).toEqual([]);
    }, 40_000);
  },
  { durable: true },
);
