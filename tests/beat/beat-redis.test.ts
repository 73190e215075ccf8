/** Schedulers as processes on a private Redis; and what becomes of slots while it is away. */
import { startRedis } from '../support/redis-server.js';
import { beatCases, outageCase } from './beat-cases.js';

beatCases('redis', async () => {
  const server = await startRedis();
  return { url: server.url, close: () => server.stop() };
});

outageCase(
  'redis',
  async () => {
    const server = await startRedis({ durable: true });
    return { url: server.url, kill9: () => server.kill9(), restart: () => server.restart(), close: () => server.stop() };
  },
  'the store answers again',
);
