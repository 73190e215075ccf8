/** Dedupe on RabbitMQ, whose keys are in the result store; the cases are in dedupe-cases.ts. */
import { createApp } from 'lovage';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RabbitmqServer, startRabbitmq } from '../support/rabbitmq-server.js';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { dedupeSuite } from './dedupe-cases.js';

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
let server: RabbitmqServer;
let redis: RedisServer;

beforeAll(async () => {
  [server, redis] = await Promise.all([startRabbitmq(), startRedis()]);
});
afterAll(async () => {
  await Promise.all([server?.stop(), redis?.stop()]);
});

dedupeSuite('rabbitmq', 4, async () => ({ brokerUrl: server.url, resultUrl: redis.url, close: async () => {} }));

test('with results by rpc: a send says at once that there is no place for its key', { timeout: 60_000 }, async () => {
  const app = createApp({ broker: server.url, results: `rpc:${server.url}`, logger: silent, sendTimeout: '30s' });
  const task = app.remote<[], number>('anything');
  const send = task.with({ dedupe: { key: 'k', for: '1m' }, id: 'mine' }).send();
  await expect(send).rejects.toMatchObject({ code: 'E_CONFIG_CONFLICT', outcome: 'not-sent', taskId: 'mine' });
  await expect(send).rejects.toThrow(/RabbitMQ has no place for dedupe keys.*redis/s);
  expect((await task.send()).deduplicated).toBe(false);
  await app.close();
});
