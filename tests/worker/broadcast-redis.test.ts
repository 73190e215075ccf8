/** Broadcast queues on Redis, with a prefix of one's own; the cases are in broadcast-cases.ts. */
import { startRedis } from '../support/redis-server.js';
import { broadcastSuite } from './broadcast-cases.js';

broadcastSuite('Redis', async () => {
  const redis = await startRedis();
  const url = `${redis.url}?prefix=shop:`;
  return { brokerUrl: url, resultUrl: url, close: () => redis.stop() };
});
