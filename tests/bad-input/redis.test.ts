/** Bad input on Redis, put into the lists by LPUSH. */
import { afterAll, beforeAll, describe } from 'vitest';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.js';
import { badInputSuite } from './run.js';
import { openRedisSide } from './side.js';

const missing = redisMissing();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

describe.skipIf(missing !== null)(missing === null ? 'on a private server' : `not run: ${missing}`, () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server?.stop());
  badInputSuite(() => openRedisSide(server), 'redis');
});
