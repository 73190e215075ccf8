/** Workers on Redis with their results in PostgreSQL. */
import { startRedis } from '../support/redis-server.js';
import { workerCases } from './worker-cases.js';

async function redis(): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const server = await startRedis({ durable: true });
  return { url: server.url, stop: () => server.stop() };
}

workerCases('Redis', redis, 'chords');
