/** Rate limits on Redis; the cases are in rate-limit-cases.ts. */
import { startRedis } from '../support/redis-server.js';
import { rateLimitSuite } from './rate-limit-cases.js';

rateLimitSuite('redis', async () => {
  const server = await startRedis();
  return { brokerUrl: server.url, resultUrl: server.url, close: () => server.stop() };
});
