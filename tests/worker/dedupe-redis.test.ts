/** Dedupe on Redis; the cases are in dedupe-cases.ts. */
import { startRedis } from '../support/redis-server.js';
import { dedupeSuite } from './dedupe-cases.js';

dedupeSuite('redis', 4, async () => {
  const server = await startRedis();
  return { brokerUrl: server.url, resultUrl: server.url, close: () => server.stop() };
});
