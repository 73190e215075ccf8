/**
 * Leases beside Python workers whose visibility timeout is five seconds, both directions: nobody restores what we still
 * run, and a late acknowledgement of either side removes no protection of the other.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import type { OutgoingMessage } from '../../src/brokers/broker.js';
import { crashRedisBroker, openRedisBroker } from '../../src/brokers/redis/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { Collector, message, send, until, untilWall } from '../../src/testing/conformance/broker-kit.js';
import { hasCelery, PYTHONS, startPythonWorker } from '../support/celery.js';
import { startFaultProxy } from '../support/fault-proxy.js';
import { type RedisServer, startRedis } from '../support/redis-server.js';

const QUEUE = 'leased';
const VISIBILITY_MS = 5_000;
/** Kombu looks for what it may restore when a worker starts and then about every 100 s; this is such a look. */
const RESTORE = `
import sys
from kombu import Connection
with Connection(sys.argv[1], transport_options={'visibility_timeout': 5}) as connection:
    connection.default_channel.qos.restore_visible(num=100)
`;
const execute = promisify(execFile);

type Version = '5.2' | '5.6';

interface Scene {
  readonly server: RedisServer;
  readonly admin: Redis;
  /** A Celery worker on the queue, with two slots. */
  python(): Promise<void>;
  /** What any Python worker on this server does now and then. */
  restore(): Promise<void>;
  /** What the runs in Python wrote. */
  ledger(): string[];
  broker(url?: string): ReturnType<typeof openRedisBroker>;
}

async function withScene(version: Version, body: (scene: Scene) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-leases-'));
  const ledger = join(folder, 'ledger');
  const server = await startRedis();
  const admin = new Redis(server.url, { protocol: 2 });
  const closing: (() => Promise<unknown>)[] = [];
  try {
    await body({
      server,
      admin,
      async python() {
        const worker = await startPythonWorker(
          version,
          server.url,
          server.url,
          { folder: fileURLToPath(new URL('.', import.meta.url)), module: 'lease_worker', queue: QUEUE },
          { LEASE_LEDGER: ledger },
        );
        closing.push(() => worker.stop());
      },
      async restore() {
        await execute(PYTHONS[version], ['-c', RESTORE, server.url]);
      },
      ledger() {
        try {
          return readFileSync(ledger, 'utf8').split('\n').filter(Boolean);
        } catch {
          return [];
        }
      },
      async broker(url = server.url) {
        const broker = await openRedisBroker({ url, logger: silentLogger, role: 'engine' });
        closing.push(() => broker.close());
        return broker;
      },
    });
  } finally {
    for (const close of closing.reverse()) await close();
    admin.disconnect();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A task that a Python worker can run as well. */
const slow = (key: string, seconds: number): OutgoingMessage => ({
  to: { queue: QUEUE },
  message: message(key, {
    headers: { lang: 'js', task: 'lease.slow', id: key, retries: 0, root_id: key, parent_id: null },
    body: {
      encoding: 'utf8',
      data: JSON.stringify([[key, seconds], {}, { callbacks: null, errbacks: null, chain: null, chord: null }]),
    },
  }),
});

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env['CI']);

describe.concurrent.each<Version>(VERSIONS)('beside Celery %s with a visibility timeout of five seconds', (version) => {
  test('what we run for long stays ours, however short our lease', async () => {
    await withScene(version, async (scene) => {
      const broker = await scene.broker();
      const collector = await Collector.open(broker, { [QUEUE]: 3 }, { leaseMs: 2_000 });
      await send(broker, [slow('a', 0), slow('b', 0), slow('c', 0)]);
      await collector.got(3);
      await scene.python();
      // two visibility timeouts and many leases
      for (let look = 0; look < 6; look += 1) {
        await untilWall(Date.now() + 2_000);
        await scene.restore();
      }
      expect(scene.ledger()).toEqual([]);
      expect(collector.lost).toEqual([]);
      await collector.ack(...collector.arrivals);
      expect(await scene.admin.exists('unacked', 'unacked_index', QUEUE)).toBe(0);
    });
  }, 120_000);

  test('a late acknowledgement of Python leaves our hold in place: if we die, the message is there for the next', async () => {
    await withScene(version, async (scene) => {
      const sender = await scene.broker();
      await scene.python();
      await send(sender, [slow('a', 15), slow('b', 15)]);
      await until(() => scene.ledger().length === 2, 'both runs in Python', 30_000);
      // both slots are taken, so what Python restores of its own comes to us
      const dying = await scene.broker();
      const collector = await Collector.open(dying, { [QUEUE]: 2 }, { leaseMs: 2_000, name: 'dying@host' });
      await untilWall(Date.now() + VISIBILITY_MS + 1_000);
      await scene.restore();
      await collector.got(2);
      await until(() => scene.ledger().filter((line) => line.startsWith('end')).length === 2, 'the end of both runs', 60_000);
      // Python's acknowledgements are through once its own entries are gone
      const tags = collector.arrivals.map(({ tag }) => tag).sort();
      await until(async () => (await scene.admin.hlen('unacked')) === 2, 'the late acknowledgements');
      expect((await scene.admin.hkeys('unacked')).sort()).toEqual(tags);
      expect((await scene.admin.zrange('unacked_index', '0', '-1')).sort()).toEqual(tags);
      expect(tags.every((tag) => collector.consumer.holds(tag))).toBe(true);

      const heir = await Collector.open(await scene.broker(), { [QUEUE]: 2 }, { leaseMs: 2_000, name: 'heir@host' });
      await crashRedisBroker(dying);
      await heir.got(2, 2_000 + 5_000);
      await heir.ack(...heir.arrivals);
      expect(await scene.admin.exists('unacked', 'unacked_index')).toBe(0);
    });
  }, 180_000);

  test('a late acknowledgement of ours leaves the hold of Python in place', async () => {
    await withScene(version, async (scene) => {
      const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: scene.server.port } });
      try {
        const sender = await scene.broker();
        const collector = await Collector.open(
          await scene.broker(proxy.url(scene.server.url)),
          { [QUEUE]: 2 },
          { leaseMs: 2_000 },
        );
        await send(sender, [slow('a', 20), slow('b', 20)]);
        await collector.got(2);
        proxy.stall();
        const late = collector.settle(...collector.arrivals.map((arrival) => ({ kind: 'ack', arrival }) as const));
        late.catch(() => {});
        await untilWall(Date.now() + 2_000 + VISIBILITY_MS + 1_000);
        // it restores at its start
        await scene.python();
        await until(() => scene.ledger().length === 2, 'both runs in Python', 30_000);
        const held = (await scene.admin.hkeys('unacked')).sort();
        expect(held).toHaveLength(2);
        await proxy.pass();
        expect(await late).toEqual(['lost', 'lost']);
        // Python has not ended yet, and everything that protects its runs is still there
        expect(scene.ledger().filter((line) => line.startsWith('end'))).toEqual([]);
        expect((await scene.admin.hkeys('unacked')).sort()).toEqual(held);
        expect(await scene.admin.zmscore('unacked_index', ...held)).not.toContain(null);
      } finally {
        await proxy.close();
      }
    });
  }, 180_000);
});
