/**
 * What the broker closes a channel for ends that channel and never the worker: what was held is reported as lost and comes again,
 * consuming goes on within five seconds, and other channels do not notice.
 */
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openRabbitmqBroker } from '../../src/brokers/rabbitmq/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { Collector, outgoing, sendIds, uniqueQueue, until } from '../../src/testing/conformance/broker-kit.js';
import { onPrivateNode } from './private-node.js';

const BACK_WITHIN_MS = 5_000;
/** `consumer_timeout` of some tests. Claims begin after half of it, and the first one needs up to two thirds more of that half. */
const TIMEOUT_MS = 5_000;

interface Wiretap {
  readonly port: number;
  /** Writes bytes of its own to the broker on the connection of this client port. */
  inject(clientPort: number, bytes: Buffer): void;
  close(): Promise<void>;
}

/** A proxy that can change what the broker says, and say something in the client's name. */
async function wiretap(targetPort: number, change: (fromBroker: Buffer) => Buffer = (bytes) => bytes): Promise<Wiretap> {
  const sockets = new Map<number, Socket>();
  const server = createServer((client) => {
    const upstream = connectTcp(targetPort, '127.0.0.1', () => sockets.set(upstream.localPort ?? 0, upstream));
    client.on('data', (bytes) => upstream.write(bytes)).on('close', () => upstream.destroy());
    upstream.on('data', (bytes) => client.write(change(bytes))).on('close', () => client.destroy());
    for (const socket of [client, upstream]) socket.setNoDelay(true).on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { readonly port: number }).port,
    inject: (clientPort, bytes) => void sockets.get(clientPort)?.write(bytes),
    close: async () => {
      for (const socket of sockets.values()) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The broker's greeting with a version that has a consumer argument for the timeout; as long as the true one. */
function newer(bytes: Buffer): Buffer {
  const version = /(versionS.{4})(3\.[\d.]+)/s;
  const changed = bytes
    .toString('latin1')
    .replace(version, (_, name: string, own: string) => `${name}4.3.${'9'.repeat(own.length - 4)}`);
  return Buffer.from(changed, 'latin1');
}

/** `basic.ack` of one delivery. */
function ackFrame(channel: number, deliveryTag: number): Buffer {
  const frame = Buffer.alloc(21);
  frame[0] = 1;
  frame.writeUInt16BE(channel, 1);
  frame.writeUInt32BE(13, 3);
  frame.writeUInt16BE(60, 7);
  frame.writeUInt16BE(80, 9);
  frame.writeBigUInt64BE(BigInt(deliveryTag), 11);
  frame[20] = 0xce;
  return frame;
}

onPrivateNode(
  'RabbitMQ channel errors',
  (node) => {
    const rows = async (...args: string[]): Promise<Record<string, unknown>[]> =>
      JSON.parse(await node.server.ask(...args, '--formatter', 'json')) as Record<string, unknown>[];

    test('a delivery acknowledged twice (406): the others held are lost and come again, and consuming goes on', async () => {
      const tap = await wiretap(node.server.port);
      const url = `amqp://guest:guest@127.0.0.1:${tap.port}`;
      const broker = await openRabbitmqBroker({ url, logger: silentLogger, role: 'engine' });
      try {
        const queue = uniqueQueue('twice');
        await sendIds(broker, queue, ['a', 'b', 'c']);
        const collector = await Collector.open(broker, { [queue]: 3 });
        await collector.got(3);
        await collector.ack(collector.delivery(0));
        const [channel] = (await rows('list_channels', 'number', 'connection', 'consumer_count')).filter(
          (row) => Number(row['consumer_count']) > 0,
        );
        const [connection] = (await rows('list_connections', 'pid', 'peer_port')).filter(
          ({ pid }) => pid === channel?.['connection'],
        );
        tap.inject(Number(connection?.['peer_port']), ackFrame(Number(channel?.['number']), 1));
        await until(() => collector.lost.length > 0, 'the others to be lost');
        expect([...collector.lost].sort()).toEqual([collector.delivery(1).tag, collector.delivery(2).tag].sort());
        expect(await collector.settle({ kind: 'ack', arrival: collector.delivery(1) })).toEqual(['lost']);
        collector.consumer.grant(queue, 3);
        await collector.got(5, BACK_WITHIN_MS);
        expect([3, 4].map((index) => collector.delivery(index).redelivered)).toEqual([true, true]);
        await collector.ack(collector.delivery(3), collector.delivery(4));
        expect(collector.states).toEqual(['connected', 'disconnected', 'connected']);
      } finally {
        await broker.close();
        await tap.close();
      }
    });

    describe('with a consumer_timeout of seconds', () => {
      // for the channels that are opened meanwhile; the other tests hold deliveries for as long as a busy machine needs
      const allow = (timeoutMs: number): Promise<string> =>
        node.server.ask('eval', `application:set_env(rabbit, consumer_timeout, ${timeoutMs}).`);
      beforeAll(async () => void (await allow(TIMEOUT_MS)));
      afterAll(async () => void (await allow(1_800_000)));

      test.concurrent('a consumer_timeout that nobody told us of strikes once: after it deliveries are claimed in time', async () => {
        // expects 30 minutes, and the node means seconds
        await using broker = await openRabbitmqBroker({ url: node.server.url, logger: silentLogger, role: 'engine' });
        const queue = uniqueQueue('untold');
        await sendIds(broker, queue, ['long']);
        const collector = await Collector.open(broker, { [queue]: 2 });
        await collector.got(1);
        await until(() => collector.lost.length > 0, 'the timeout to strike', TIMEOUT_MS + 10_000);
        collector.consumer.grant(queue, 1);
        await collector.got(2, BACK_WITHIN_MS);
        // from now on it is held for three times as long as the broker allows, while others flow
        const endMs = performance.now() + 3 * TIMEOUT_MS;
        for (let sent = 1; performance.now() < endMs; sent += 1) {
          await sendIds(broker, queue, [`short ${sent}`]);
          await collector.got(2 + sent);
          await collector.ack(collector.delivery(1 + sent));
          collector.consumer.grant(queue, 1);
        }
        expect(collector.lost).toEqual([collector.delivery(0).tag]);
        await collector.ack(collector.delivery(1));
      }, 90_000);

      test.concurrent('a broker that claims to be newer than it is, and does not keep to our consumer argument, strikes once too', async () => {
        const tap = await wiretap(node.server.port, newer);
        const url = `amqp://guest:guest@127.0.0.1:${tap.port}`;
        const broker = await openRabbitmqBroker({ url, logger: silentLogger, role: 'engine' });
        try {
          const queue = uniqueQueue('newer');
          const collector = await Collector.open(broker, { [queue]: 1 });
          const consumer = (await rows('list_consumers', 'queue_name', 'arguments')).find(
            ({ queue_name }) => queue_name === queue,
          );
          expect(consumer?.['arguments']).toEqual([['x-consumer-timeout', 'signedint', 604_800_000]]);
          await sendIds(broker, queue, ['long']);
          await collector.got(1);
          await until(() => collector.lost.length > 0, 'the timeout to strike', TIMEOUT_MS + 10_000);
          collector.consumer.grant(queue, 1);
          await collector.got(2, BACK_WITHIN_MS);
          await new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS + 1_000));
          expect(collector.lost).toHaveLength(1);
          await collector.ack(collector.delivery(1));
        } finally {
          await broker.close();
          await tap.close();
        }
      }, 90_000);
    });

    test('a declaration that does not fit what is there costs the consumer nothing', async () => {
      const { broker } = await node.open();
      const [queue, other] = [uniqueQueue('mine'), uniqueQueue('theirs')];
      await node.raw((channel) => channel.assertQueue(other, { durable: true, arguments: { 'x-max-length': 7 } }));
      await sendIds(broker, queue, ['a']);
      const collector = await Collector.open(broker, { [queue]: 2 });
      await collector.got(1);
      for (let round = 0; round < 3; round += 1) await broker.declare(other);
      await broker.depth([uniqueQueue('none')]); // a 404 of the same channel
      await sendIds(broker, queue, ['b']);
      await collector.got(2, BACK_WITHIN_MS);
      await collector.ack(...collector.arrivals);
      expect([collector.lost, collector.states]).toEqual([[], ['connected']]);
    });

    test('a queue deleted under a consumer is made again, and another queue of the consumer does not notice', async () => {
      const { broker } = await node.open();
      const [gone, stays] = [uniqueQueue('gone'), uniqueQueue('stays')];
      await sendIds(broker, stays, ['held']);
      const collector = await Collector.open(broker, { [gone]: 2, [stays]: 2 });
      await collector.got(1);
      await node.raw((channel) => channel.deleteQueue(gone));
      await until(
        async () =>
          (await broker.publish([outgoing(gone, 'new')], { timeoutMs: 1_000 }))[0] === null && collector.ids.includes('new'),
        'messages of the new queue',
        BACK_WITHIN_MS,
      );
      expect(collector.consumer.holds(collector.delivery(0).tag)).toBe(true);
      await collector.ack(collector.delivery(0));
      expect([collector.lost, collector.states]).toEqual([[], ['connected']]);
    });
  },
  { advanced: ['{channel_tick_interval, 200}'] },
);
