/** Several brokers in one URL, as Celery writes them: `amqp://a;amqp://b`. The nodes share nothing, as if each were the other's spare. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { type App, createApp } from '../../src/index.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { missingRabbitmq, type RabbitmqServer, startRabbitmq } from '../support/rabbitmq-server.js';

const missing = missingRabbitmq();
const title = 'several RabbitMQ nodes in the URL';

describe.skipIf(missing !== null)(missing ? `${title} [skipped: ${missing}]` : title, () => {
  let nodes: RabbitmqServer[] = [];
  beforeAll(async () => {
    // one after the other: two starting at once are slow on a small machine
    for (let count = 0; count < 2; count += 1) nodes.push(await startRabbitmq());
  }, 120_000);
  afterAll(async () => {
    for (const node of nodes) await node.stop();
    nodes = [];
  });

  const ran: number[] = [];
  const double = (app: App) =>
    app.fn('double', (x: number) => {
      ran.push(x);
      return x * 2;
    });
  const broker = (): string => nodes.map(({ url }) => url).join(';');

  test('a client and a worker go on with the next node when theirs is killed, and back when that one is killed', async () => {
    const app = createApp({ broker: broker(), defaultQueue: 'failover', sendTimeout: '30s', logger: silentLogger });
    const task = double(app);
    const worker = await app.worker({ pool: 'inline', logger: silentLogger });
    try {
      const first = await task.send(1);
      expect(await first.result({ timeout: '30s' })).toBe(2);
      for (const [index, x] of [
        [0, 10],
        [1, 20],
      ] as const) {
        await nodes[index]!.kill9();
        // queues, reply queue and subscriptions are made anew on a node that has never seen them
        await task.send(x);
        await until(() => ran.includes(x), 'what was sent at once to run', 60_000);
        // The answer to that may have come to the node before its reply queue; from now on there is one.
        const handle = await task.send(x + 1);
        expect(await handle.result({ timeout: '60s' })).toBe((x + 1) * 2);
        await nodes[index]!.restart();
      }
    } finally {
      await worker.close();
      await app.close();
    }
  }, 180_000);

  test('a node that refuses the password is passed over, and only if all do it is told at once', async () => {
    const wrong = nodes.map(({ url }) => url.replace('guest:guest', 'guest:wrong'));
    const one = await openBroker({ url: `${wrong[0]};${nodes[1]!.url}`, logger: silentLogger, role: 'client' });
    const none = await openBroker({ url: wrong.join(';'), logger: silentLogger, role: 'client' });
    try {
      await one.connect({ timeoutMs: 30_000 });
      await expect(none.connect({ timeoutMs: 30_000 })).rejects.toMatchObject({ code: 'E_BROKER_AUTH' });
    } finally {
      await one.close();
      await none.close();
    }
  });

  test('when no node answers the error names all of them, without passwords', async () => {
    const url = 'amqp://me:secret@127.0.0.1:1;amqp://me:secret@127.0.0.1:2';
    const broker = await openBroker({ url, logger: silentLogger, role: 'client' });
    try {
      const error = await broker.connect({ timeoutMs: 1_000 }).catch((thrown: Error) => thrown);
      expect(error).toMatchObject({
        code: 'E_BROKER_UNREACHABLE',
        message: expect.stringContaining('amqp://127.0.0.1:1;amqp://127.0.0.1:2'),
      });
      expect(String(error)).not.toContain('secret');
    } finally {
      await broker.close();
    }
  });
});
