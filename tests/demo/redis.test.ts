/** The demo on Redis. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { runDemo } from './run-demo.js';

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

test('runs every package once on Redis, survives the kill and gives the right answer', { timeout: 100_000 }, async () => {
  const { code, stdout, stderr } = await runDemo(['--broker', redis.url, '--json']);
  expect(code, stderr).toBe(0);
  const answer = JSON.parse(stdout) as { sent: number; run: number };
  expect(answer).toMatchObject({ lost: 0, right: true });
  expect(answer.run).toBe(answer.sent);
});
