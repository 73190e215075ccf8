/** Chains on Redis; the cases are in chain-cases.ts. */
import { startRedis } from '../support/redis-server.js';
import { chainSuite } from './chain-cases.js';

chainSuite('redis', async () => {
  const server = await startRedis();
  return { brokerUrl: server.url, resultUrl: server.url, close: () => server.stop() };
});
