/**
 * Networks and servers that fall silent in every way that there is, with a consumer and a sender behind the fault: both
 * find out by themselves, say so, and go on once it is over. Each case has a server and a proxy of its own.
 */
import { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import { openRedisBroker } from '../../src/brokers/redis/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { Collector, outgoing, sendIds, until, untilWall } from '../../src/testing/conformance/broker-kit.js';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.js';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.js';

const missing = redisMissing();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

/** Five seconds are promised; the rest is for a machine that runs all cases at once. */
const BACK_WITHIN_MS = 5_000 + 3_000;

interface Scene {
  readonly server: RedisServer;
  readonly proxy: FaultProxy;
  readonly admin: Redis;
}

interface Fault {
  readonly name: string;
  readonly begin: (scene: Scene) => Promise<void> | void;
  readonly lastsMs: number;
  readonly end: (scene: Scene) => Promise<void> | void;
  /** Whether somebody must notice; `null`: it is about as long as noticing may take. */
  readonly isNoticed: boolean | null;
}

const FAULTS: readonly Fault[] = [
  {
    name: 'a server that is killed and started again three seconds later',
    begin: ({ server }) => server.kill9(),
    lastsMs: 3_000,
    end: ({ server }) => server.restart(),
    isNoticed: true,
  },
  {
    name: 'CLIENT KILL of every connection',
    begin: async ({ admin }) => {
      const own = await admin.client('ID');
      for (const [, id] of ((await admin.client('LIST')) as string).matchAll(/^id=(\d+) /gm))
        if (Number(id) !== own) await admin.client('KILL', 'ID', Number(id));
    },
    lastsMs: 0,
    end: () => {},
    isNoticed: true,
  },
  {
    name: 'CLIENT PAUSE for five seconds',
    begin: async ({ admin }) => void (await admin.client('PAUSE', 5_000)),
    lastsMs: 5_000,
    end: () => {},
    isNoticed: null,
  },
  {
    name: 'a server that is stopped for fifteen seconds and goes on',
    begin: ({ server }) => server.pause(),
    lastsMs: 15_000,
    end: ({ server }) => server.resume(),
    isNoticed: true,
  },
  {
    name: 'a black hole',
    begin: ({ proxy }) => proxy.blackHole(),
    lastsMs: 8_000,
    end: ({ proxy }) => proxy.pass(),
    isNoticed: true,
  },
  {
    name: 'connections that the network has forgotten, while new ones work',
    begin: ({ proxy }) => proxy.blackHole(),
    // everybody has said something by then, and nobody has given up
    lastsMs: 4_400,
    end: ({ proxy }) => proxy.pass(),
    isNoticed: true,
  },
  {
    name: 'a network that loses what the server says',
    begin: ({ proxy }) => proxy.halfOpen('from-server'),
    lastsMs: 6_000,
    end: ({ proxy }) => proxy.pass(),
    isNoticed: true,
  },
  {
    name: 'a network that loses what is said to the server',
    begin: ({ proxy }) => proxy.halfOpen('to-server'),
    lastsMs: 6_000,
    end: ({ proxy }) => proxy.pass(),
    isNoticed: true,
  },
  {
    name: 'a cable that is out for eight seconds',
    begin: ({ proxy }) => proxy.stall(),
    lastsMs: 8_000,
    end: ({ proxy }) => proxy.pass(),
    isNoticed: true,
  },
  {
    name: 'one byte a second for fifteen seconds',
    begin: ({ proxy }) => proxy.slow(1),
    lastsMs: 15_000,
    end: ({ proxy }) => proxy.pass(),
    isNoticed: true,
  },
  {
    name: 'answers that take a second each',
    begin: ({ proxy }) => proxy.delay(500),
    lastsMs: 6_000,
    end: ({ proxy }) => proxy.pass(),
    isNoticed: false,
  },
];

async function withScene(body: (scene: Scene) => Promise<void>): Promise<void> {
  const server = await startRedis({ durable: true });
  const admin = new Redis(server.url, { protocol: 2, retryStrategy: () => 20, maxRetriesPerRequest: null });
  admin.on('error', () => {});
  const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: server.port } });
  try {
    await body({ server, proxy, admin });
  } finally {
    admin.disconnect();
    await proxy.close();
    await server.stop();
  }
}

describe.skipIf(missing !== null)(missing === null ? 'Redis behind' : `Redis behind faults (not run: ${missing})`, () => {
  for (const fault of FAULTS)
    test.concurrent(`${fault.name}: noticed, waited for, left behind within five seconds`, async () => {
      await withScene(async (scene) => {
        const url = scene.proxy.url(scene.server.url);
        const open = (at: string): ReturnType<typeof openRedisBroker> =>
          openRedisBroker({ url: at, logger: silentLogger, role: 'engine' });
        const [consuming, sending, direct] = await Promise.all([open(url), open(url), open(scene.server.url)]);
        // settled when the last sender is through
        const sends: Promise<unknown>[] = [];
        const failures: { readonly code: string; readonly outcome: string }[] = [];
        const confirmed: string[] = [];
        let isSending = true;
        try {
          const collector = await Collector.open(consuming, { q: 20 }, { acking: true, leaseMs: 60_000 });
          await sendIds(sending, 'q', ['before']);
          await collector.atLeast(1);

          const sender = async (name: string): Promise<void> => {
            for (let number = 0; isSending; number += 1) {
              const id = `${name}.${number}`;
              const [failure] = await sending.publish([outgoing('q', id)], { timeoutMs: 30_000 });
              if (failure) failures.push({ code: failure.code, outcome: failure.outcome });
              else confirmed.push(id);
              await untilWall(Date.now() + 20);
            }
          };
          sends.push(sender('one'), sender('two'));
          await until(() => confirmed.length > 5, 'the first sends');

          const statesBefore = collector.states.length;
          await fault.begin(scene);
          const endsMs = Date.now() + fault.lastsMs;
          if (fault.lastsMs >= 5_000 && fault.isNoticed) {
            await until(() => collector.states.at(-1) === 'disconnected', 'the news that the connection is gone', 16_000);
            expect(performance.now() - collector.consumer.lastAliveMs()).toBeGreaterThan(1_500);
          }
          await untilWall(endsMs);
          await fault.end(scene);

          const marks = ['mark.1', 'mark.2'];
          await sendIds(direct, 'q', marks);
          await until(() => marks.every((mark) => collector.ids.includes(mark)), 'consumption', BACK_WITHIN_MS);
          await until(() => performance.now() - collector.consumer.lastAliveMs() < 3_000, 'a sign of life', BACK_WITHIN_MS);
          const isTold = (): boolean => collector.states.slice(statesBefore).includes('disconnected');
          if (fault.isNoticed) await until(isTold, 'the news that the connection was gone', BACK_WITHIN_MS);
          if (fault.isNoticed === false) expect(isTold()).toBe(false);
          const sentBefore = confirmed.length;
          await until(() => confirmed.length > sentBefore + 2, 'further sends', BACK_WITHIN_MS);
          isSending = false;
          await Promise.all(sends);
          expect(failures).toEqual([]);
          await until(
            () => confirmed.every((id) => collector.ids.includes(id)),
            () => `every send, ${confirmed.filter((id) => !collector.ids.includes(id)).length} are missing`,
          );
          await until(async () => (await scene.admin.hlen('unacked')) === 0, 'every acknowledgement');
          // neither a send nor a delivery was repeated: leases outlive all of these faults
          expect(collector.ids.filter((id, index, all) => all.indexOf(id) !== index)).toEqual([]);
          expect(collector.lost).toEqual([]);
        } finally {
          isSending = false;
          await Promise.all([consuming, sending, direct].map((broker) => broker.close()));
          await Promise.all(sends);
        }
      });
    }, 60_000);
});
