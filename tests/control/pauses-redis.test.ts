/** Pauses on Redis; the cases are in pause-cases.ts. */
import { startRedis } from '../support/redis-server.js';
import { pauseSuite } from './pause-cases.js';

pauseSuite('Redis', async () => {
  const redis = await startRedis();
  return { brokerUrl: redis.url, resultUrl: redis.url, close: () => redis.stop() };
});
