/** Remote control over Redis; the cases are in worker-cases.ts. */
import { startRedis } from '../support/redis-server.js';
import { controlSuite } from './worker-cases.js';

controlSuite('redis', async () => {
  const server = await startRedis();
  return { brokerUrl: server.url, resultUrl: server.url, close: () => server.stop() };
});
