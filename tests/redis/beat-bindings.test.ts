/** Schedules in Redis bind the queues that they send to exactly as the broker beside them does. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBeatStore } from '../../src/beat/from-url.js';
import { openBroker } from '../../src/brokers/from-url.js';
import type { QueueTable } from '../../src/brokers/queue-table.js';
import { silentLogger } from '../../src/core/logger.js';
import { outgoing } from '../../src/testing/conformance/broker-kit.js';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.js';

const queues: QueueTable = {
  defaultType: null,
  queues: {
    media: { exchange: 'media', exchangeType: 'topic', routingKey: 'media.*', arguments: {} },
    slow: { exchange: 'work', exchangeType: 'direct', routingKey: 'long', arguments: {} },
  },
};

describe.skipIf(redisMissing() !== null)('a run of an entry', () => {
  let server: RedisServer;
  let redis: Redis;
  beforeAll(async () => {
    server = await startRedis();
    redis = new Redis(server.url);
  });
  afterAll(async () => {
    redis?.disconnect();
    await server?.stop();
  });

  const bindings = async (prefix: string): Promise<Record<string, string[]>> => {
    const exchanges = ['media', 'work', 'slow', 'plain'];
    const found = exchanges.map(async (exchange) => [exchange, await redis.smembers(`${prefix}_kombu.binding.${exchange}`)]);
    return Object.fromEntries(await Promise.all(found)) as Record<string, string[]>;
  };

  test('binds a topic’s queue by its pattern, so that kombu does not send it everything', { timeout: 30_000 }, async () => {
    const at = (prefix: string): string => `${server.url}?prefix=${prefix}`;
    const store = await openBeatStore({ url: at('beat:'), app: 'a', logger: silentLogger, brokerUrl: at('beat:'), queues });
    const broker = await openBroker({ url: at('broker:'), queues, logger: silentLogger, role: 'client' });
    try {
      const messages = ['media', 'slow', 'plain'].map((queue, index) => outgoing(queue, `t${index}`));
      expect(await broker.publish(messages, { timeoutMs: 10_000 })).toEqual([null, null, null]);
      await store.change([{ kind: 'put', id: 'entry', definition: '{}', paused: false }]);
      const { epoch } = await store.takeLead('one', 0);
      const firing = { id: 'entry', revision: 1, seq: 0, state: '{}', messages, request: null };
      expect(await store.fire(epoch, [firing])).toEqual(['done']);
      const written = await bindings('beat:');
      expect(written['media']).toEqual([['media.*', '^media\\..*?[^\\.]$', 'media'].join('\x06\x16')]);
      expect(written['slow']).toEqual([]);
      expect(written).toEqual(await bindings('broker:'));
    } finally {
      await store.close();
      await broker.close();
    }
  });
});
