/** The demo on RabbitMQ, with the results it gives by itself (`rpc:`). */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RabbitmqServer, startRabbitmq } from '../support/rabbitmq-server.js';
import { runDemo } from './run-demo.js';

let rabbitmq: RabbitmqServer;
beforeAll(async () => {
  rabbitmq = await startRabbitmq();
});
afterAll(() => rabbitmq.stop());

test('runs every package once on RabbitMQ, survives the kill and gives the right answer', { timeout: 100_000 }, async () => {
  const { code, stdout, stderr } = await runDemo(['--broker', rabbitmq.url, '--json']);
  expect(code, stderr).toBe(0);
  const answer = JSON.parse(stdout) as { sent: number; run: number };
  expect(answer).toMatchObject({ lost: 0, right: true });
  expect(answer.run).toBe(answer.sent);
});
