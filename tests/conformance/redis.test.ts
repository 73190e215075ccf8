/**
 * The Redis drivers against both conformance suites, on a private server that keeps its data, as a user with the rights that
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
import { type ResultStoreFixture, resultStoreConformance } from '../../src/testing/result-store-conformance.js';
import { guideUser } from '../support/redis-acl.js';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.js';

let server: RedisServer;
let admin: Redis;
let database = 0;

const missing = redisMissing();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

/** The suites subscribe to patterns that nobody else does, and Redis allows patterns only word for word. */
const EVERY_PATTERN = ['allchannels'];

/** Each fixture has a prefix of its own, so that suites may run side by side on one server. */
const nextUrl = (): { readonly url: string; readonly prefix: string } => {
  database += 1;
  const prefix = `suite${database}:`;
  return { url: `redis://lovage:secret@127.0.0.1:${server.port}/0?prefix=${prefix}`, prefix };
};

/** As if another worker had taken everything over and then died: the old tags are gone, and the new leases are about to end. */
async function loseDeliveries(prefix: string): Promise<void> {
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

async function killConnections(): Promise<void> {
  const own = await admin.client('ID');
  const clients = (await admin.client('LIST')) as string;
  for (const [, id] of clients.matchAll(/^id=(\d+) .*name=lovage:/gm))
    if (Number(id) !== own) await admin.client('KILL', 'ID', Number(id));
}

async function openBrokerFixture(): Promise<BrokerFixture> {
  const { url, prefix } = nextUrl();
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
    loseDeliveries: () => loseDeliveries(prefix),
    breakConnections: killConnections,
    outage: async () => {
      server.pause();
      return async () => server.resume();
    },
    restart: async () => {
      await server.kill9();
      await server.restart();
    },
    async close() {
      for (const broker of brokers) await broker.close();
    },
  };
}

async function openResultsFixture(): Promise<ResultStoreFixture> {
  const { url } = nextUrl();
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
    breakConnections: killConnections,
    async close() {
      for (const store of stores) await store.close();
    },
  };
}

describe.skipIf(missing !== null)(missing === null ? 'redis' : `redis (not run: ${missing})`, () => {
  beforeAll(async () => {
    server = await startRedis({ durable: true, args: [...guideUser('lovage', 'secret', 'suite'), ...EVERY_PATTERN] });
    admin = new Redis(server.url, { protocol: 2, retryStrategy: () => 20, maxRetriesPerRequest: null });
    admin.on('error', () => {});
  });
  afterAll(async () => {
    admin.disconnect();
    await server.stop();
  });

  brokerConformance('redis', openBrokerFixture, { gaps: [] });
  resultStoreConformance('redis', openResultsFixture);
});
