/** Random lives of twenty schedulers on a private Redis. */
import { startRedis } from '../support/redis-server.js';
import { randomCase } from './random-cases.js';

randomCase('redis', async () => {
  const server = await startRedis();
  return { url: server.url, close: () => server.stop() };
});
