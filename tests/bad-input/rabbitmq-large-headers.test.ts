/**
 * Headers larger than our own client can write: Python's client writes as much as fits a frame (128 KiB), ours 64 KiB. What
 * must be parked or put back with such headers must not stay unacknowledged for ever.
 */
import { connect } from 'amqplib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { WRAPPED_CONTENT_TYPE } from '../../src/brokers/rabbitmq/dead-codec.js';
import { DEAD_HEADERS, DEAD_QUEUE, openRabbitmqBroker } from '../../src/brokers/rabbitmq/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { Collector, until } from '../../src/testing/conformance/broker-kit.js';
import { missingRabbitmq, type RabbitmqServer, startRabbitmq } from '../support/rabbitmq-server.js';
import { publishWithHeaders } from './large-headers.js';

const missing = missingRabbitmq();
if (missing && process.env['CI'] === 'true') throw new Error(missing);

describe.skipIf(missing !== null)(missing === null ? 'headers of 100 KiB' : `not run: ${missing}`, () => {
  let server: RabbitmqServer;
  let broker: Broker;
  beforeAll(async () => {
    server = await startRabbitmq();
    broker = await openRabbitmqBroker({ url: server.url, logger: silentLogger, role: 'engine' });
  });
  afterAll(async () => {
    await broker?.close();
    await server?.stop();
  });

  const unacked = (queue: string): number =>
    (
      JSON.parse(server.ctl('list_queues', 'name', 'messages_unacknowledged', '--formatter', 'json')) as {
        name: string;
        messages_unacknowledged: number;
      }[]
    ).find(({ name }) => name === queue)?.messages_unacknowledged ?? -1;

  test.each([
    ['park', 'E_DECODE'],
    ['defer', 'E_MESSAGE_TOO_LARGE'],
  ] as const)(
    'a message to %s ends among the dead letters, whole, with %s',
    async (kind, code) => {
      const queue = `large-${kind}`;
      await broker.declare(queue);
      const connection = await connect(`${server.url}?frameMax=131072`);
      const channel = await connection.createChannel();
      publishWithHeaders(channel, queue, { task: 'x', id: 'one', big: 'x'.repeat(100_000) }, 'the body');
      await channel.checkQueue(queue);
      const collector = await Collector.open(broker, { [queue]: 5 });
      await collector.got(1);
      const arrival = collector.delivery(0);
      expect((arrival.message.headers['big'] as string).length).toBe(100_000);
      const settled = collector.settle(
        kind === 'park'
          ? { kind, arrival, reason: { code: 'E_DECODE', reason: 'the suite says so' } }
          : { kind, arrival, untilMs: Date.now() + 200 },
      );
      await settled;
      await until(
        async () => unacked(queue) === 0,
        () => 'nothing is unacknowledged',
      );
      const dead = await channel.get(DEAD_QUEUE, { noAck: true });
      if (!dead) throw new Error('nothing was parked');
      expect(dead.properties).toMatchObject({
        contentType: WRAPPED_CONTENT_TYPE,
        headers: { [DEAD_HEADERS.queue]: queue, [DEAD_HEADERS.code]: code },
      });
      const { headers, body } = JSON.parse(dead.content.toString()) as { headers: Record<string, string>; body: string };
      expect(headers).toEqual({ task: 'x', id: 'one', big: 'x'.repeat(100_000) });
      expect(Buffer.from(body, 'base64').toString()).toBe('the body');
      await connection.close();
    },
    40_000,
  );
});
