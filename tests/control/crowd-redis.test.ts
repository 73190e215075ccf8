/** Fifty nodes on Redis; the cases are in crowd-cases.ts. */
import { startRedis } from '../support/redis-server.js';
import { crowdSuite } from './crowd-cases.js';

crowdSuite('Redis', async () => {
  const redis = await startRedis();
  return { url: redis.url, nodeUrl: () => redis.url, close: () => redis.stop() };
});
