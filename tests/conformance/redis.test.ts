/** The Redis drivers on one server. */
import { guideUser } from '../support/redis-acl.js';
import { startRedis } from '../support/redis-server.js';
import { EVERY_PATTERN, redisConformance } from './redis-suites.js';

redisConformance('redis', 'suite', async () => {
  const server = await startRedis({ durable: true, args: [...guideUser('lovage', 'secret', 'suite'), ...EVERY_PATTERN] });
  return {
    server,
    url: (prefix) => `redis://lovage:secret@127.0.0.1:${server.port}/0?prefix=${prefix}`,
    stop: () => server.stop(),
  };
});
