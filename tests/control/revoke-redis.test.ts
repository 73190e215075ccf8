/** Revoking on Redis. */
import { startRedis } from '../support/redis-server.js';
import { revokeSuite } from './revoke-cases.js';

revokeSuite('Redis', async () => {
  const server = await startRedis();
  return { brokerUrl: server.url, resultUrl: server.url, withdraws: true, records: true, close: () => server.stop() };
});
