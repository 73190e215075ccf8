/** Random workflows under faults on Redis; the cases are in random-faults.ts. */
import { startRedis } from '../support/redis-server.js';
import { randomFaultsSuite } from './random-faults.js';

randomFaultsSuite('redis', async () => {
  const server = await startRedis();
  return { brokerUrl: server.url, resultUrl: server.url, close: () => server.stop() };
});
