/** A stop on Redis, whose silence is a stopped server; the cases are in shutdown-cases.ts. */
import { startRedis } from '../support/redis-server.js';
import { shutdownSuite } from './shutdown-cases.js';

shutdownSuite('redis', true, async () => {
  const server = await startRedis();
  return {
    brokerUrl: () => server.url,
    resultUrl: () => server.url,
    outage: { begin: async () => server.pause(), end: async () => server.resume() },
    close: () => server.stop(),
  };
});
