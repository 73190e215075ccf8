/** Handles of workflows on Redis; the cases are in handle-cases.ts. */
import { startRedis } from '../support/redis-server.js';
import { handleSuite } from './handle-cases.js';

handleSuite('redis', async () => {
  const server = await startRedis();
  return { brokerUrl: server.url, resultUrl: server.url, close: () => server.stop() };
});
