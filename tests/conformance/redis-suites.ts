/**
 * The Redis drivers against both conformance suites, on private servers that keep their data, as a user with the rights that
 * the guide asks for: a command that needs more fails here, and belongs into docs/guides/redis.md.
 */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { crashRedisBroker, openRedisBroker } from '../../src/brokers/redis/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { openRedisResults } from '../../src/results/redis/index.js';
import type { ResultStore } from '../../src/results/result-store.js';
import { type BrokerFixture, brokerConformance, parkedEntries } from '../../src/testing/broker-conformance.js';
import type { BrokerGap } from '../../src/testing/conformance/broker-fixture.js';
import { type ResultStoreFixture, resultStoreConformance } from '../../src/testing/result-store-conformance.js';
import { type RedisServer, redisMissing } from '../support/redis-server.js';

/** The suites subscribe to patterns that nobody else does, and Redis allows patterns only word for word. */
export const EVERY_PATTERN = ['allchannels'];

/** On one server and in a cluster. */
const GAPS: readonly BrokerGap[] = [{ capability: 'queueDeclarations', why: 'a list is its name and nothing more' }];

/** What the suites run on. */
export interface RedisPlace {
  /** Where the keys are. */
  readonly server: RedisServer;
  /** As the user of the guide. */
  url(prefix: string): string;
  stop(): Promise<void>;
}

/** As if another worker had taken everything over and then died: the old tags are gone, and the new leases are about to end. */
async function loseDeliveries(admin: Redis, prefix: string): Promise<void> {
  const held = await admin.hgetall(`${prefix}unacked`);
  for (const [tag, value] of Object.entries(held)) {
    const moved = `lovage:suite:${tag}`;
    await admin
      .multi()
      .hdel(`${prefix}unacked`, tag)
      .zrem(`${prefix}unacked_index`, tag)
      .hset(`${prefix}unacked`, moved, value)
      .zadd(`${prefix}unacked_index`, Date.now() / 1_000 + 0.05, moved)
      .exec();
  }
}

async function killConnections(admin: Redis): Promise<void> {
  const own = await admin.client('ID');
  const clients = (await admin.client('LIST')) as string;
  for (const [, id] of clients.matchAll(/^id=(\d+) .*name=lovage:/gm))
    if (Number(id) !== own) await admin.client('KILL', 'ID', Number(id));
}

/** @param base what prefixes begin with; each fixture has one of its own, so that suites may run side by side on one server */
export function redisConformance(
  name: string,
  base: string,
  start: () => Promise<RedisPlace>,
  gaps: readonly BrokerGap[] = [],
): void {
  const missing = redisMissing();
  if (missing && process.env['CI'] === 'true') throw new Error(missing);
  let place: RedisPlace;
  let admin: Redis;
  let fixtures = 0;
  const nextPrefix = (): string => {
    fixtures += 1;
    return `${base}${fixtures}:`;
  };

  async function openBrokerFixture(): Promise<BrokerFixture> {
    const prefix = nextPrefix();
    const url = place.url(prefix);
    const brokers: Broker[] = [];
    const another = async (): Promise<Broker> => {
      const broker = await openRedisBroker({ url, logger: silentLogger, role: 'engine' });
      brokers.push(broker);
      return broker;
    };
    const broker = await another();
    return {
      broker,
      another,
      putRaw: async (queue, bytes) => {
        await admin.lpush(`${prefix}${queue}`, Buffer.from(bytes));
      },
      dead: () => parkedEntries(broker),
      crash: crashRedisBroker,
      loseDeliveries: () => loseDeliveries(admin, prefix),
      breakConnections: () => killConnections(admin),
      outage: async () => {
        place.server.pause();
        return async () => place.server.resume();
      },
      restart: async () => {
        await place.server.kill9();
        await place.server.restart();
      },
      async close() {
        for (const broker of brokers) await broker.close();
      },
    };
  }

  async function openResultsFixture(): Promise<ResultStoreFixture> {
    const url = place.url(nextPrefix());
    const stores: ResultStore[] = [];
    const another = async (): Promise<ResultStore> => {
      const store = await openRedisResults({ url, logger: silentLogger, role: 'engine' });
      stores.push(store);
      return store;
    };
    return {
      store: await another(),
      another,
      // what the server sees of our subscriptions is the proof that none is left
      openWaits: async () => ((await admin.pubsub('CHANNELS', '*celery-task-meta-*')) as string[]).length,
      breakConnections: () => killConnections(admin),
      async close() {
        for (const store of stores) await store.close();
      },
    };
  }

  describe.skipIf(missing !== null)(missing === null ? name : `${name} (not run: ${missing})`, () => {
    beforeAll(async () => {
      place = await start();
      admin = new Redis(place.server.url, { protocol: 2, retryStrategy: () => 20, maxRetriesPerRequest: null });
      admin.on('error', () => {});
    }, 60_000);
    afterAll(async () => {
      admin?.disconnect();
      await place?.stop();
    });

    brokerConformance(name, openBrokerFixture, { gaps: [...GAPS, ...gaps] });
    resultStoreConformance(name, openResultsFixture);
  });
}
