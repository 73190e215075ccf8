/**
 * Long tasks on RabbitMQ: `consumer_timeout` never makes one run twice, and a claimed delivery is settled like any other.
 * Long because all its tests share one private node.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { connect } from 'amqplib';
import { expect, test } from 'vitest';
import type { Broker, Delivery, Settlement } from '../../src/brokers/broker.js';
import { DEAD_QUEUE } from '../../src/brokers/rabbitmq/index.js';
import type { Logger } from '../../src/core/logger.js';
import {
  Collector,
  drain,
  expectDepth,
  idOf,
  message,
  send,
  sendIds,
  uniqueQueue,
  until,
} from '../../src/testing/conformance/broker-kit.js';
import { publishWithHeaders } from '../bad-input/large-headers.js';
import { onPrivateNode } from './private-node.js';

/** `consumer_timeout` of the node. It is checked once a second. */
const TIMEOUT_MS = 10_000;
/** The proof at its full size takes more than a minute: LOVAGE_FULL=1. */
const HELD_MS = process.env['LOVAGE_FULL'] === '1' ? 60_000 : 25_000;

/** Counts claims by their log lines: AMQP shows nobody what is held. */
function claimCounter(): { readonly logger: Logger; readonly count: number } {
  let count = 0;
  const quiet = (): void => undefined;
  const logger: Logger = {
    debug: (_, text) => void (text?.endsWith('was claimed') && (count += 1)),
    ...{ info: quiet, warn: quiet, error: quiet },
    child: () => logger,
  };
  return {
    logger,
    get count() {
      return count;
    },
  };
}

onPrivateNode(
  'RabbitMQ claims',
  (node) => {
    /** A broker that claims after half a second, long before the node's timeout. */
    const claimer = async (): Promise<{ readonly broker: Broker; readonly claims: ReturnType<typeof claimCounter> }> => ({
      broker: (await node.open('?consumer_timeout=1s')).broker,
      claims: claimCounter(),
    });

    /** One delivery of `id` that was claimed, held by the collector. */
    const claimed = async (queue: string, id: string): Promise<{ readonly broker: Broker; readonly one: Collector }> => {
      const { broker, claims } = await claimer();
      await sendIds(broker, queue, [id]);
      const one = await Collector.open(broker, { [queue]: 1 }, { logger: claims.logger });
      await one.got(1);
      await until(() => claims.count > 0, 'the claim');
      return { broker, one };
    };

    /** Messages in all claim queues, held ones included. */
    const inClaimQueues = async (): Promise<number> =>
      (
        JSON.parse(await node.server.ask('list_queues', 'name', 'messages', '--formatter', 'json')) as {
          name: string;
          messages: number;
        }[]
      )
        .filter(({ name }) => name.startsWith('lovage.claims.'))
        .reduce((sum, { messages }) => sum + messages, 0);

    const noClaimsLeft = (): Promise<void> => until(async () => (await inClaimQueues()) === 0, 'no claims to be left');

    test(
      `a delivery held for ${HELD_MS / 1_000} s comes once, on a broker that takes deliveries back after ${TIMEOUT_MS / 1_000} s, while others flow`,
      async () => {
        const claims = claimCounter();
        const { broker } = await node.open(`?consumer_timeout=${TIMEOUT_MS}ms`);
        const queue = uniqueQueue('long');
        await sendIds(broker, queue, ['long']);
        const collector = await Collector.open(broker, { [queue]: 5 }, { logger: claims.logger });
        await collector.got(1);
        const endMs = performance.now() + HELD_MS;
        for (let sent = 1; performance.now() < endMs; sent += 1) {
          await sendIds(broker, queue, [`short ${sent}`]);
          await collector.got(sent + 1);
          await collector.ack(collector.delivery(sent));
          collector.consumer.grant(queue, 1);
        }
        expect(collector.ids.filter((id) => id === 'long')).toHaveLength(1);
        expect([collector.lost, collector.states]).toEqual([[], ['connected']]);
        expect(claims.count).toBeGreaterThanOrEqual(Math.floor(HELD_MS / TIMEOUT_MS));
        await collector.ack(collector.delivery(0));
        await broker.close();
        const { broker: after } = await node.open();
        await expectDepth(after, queue, { ready: 0 });
        await noClaimsLeft();
      },
      HELD_MS + 60_000,
    );

    test('kill -9 of a worker that holds a claim: another has the message within lease + 5 s, marked, with priority and headers', async () => {
      const { broker } = await node.open();
      const queue = uniqueQueue('killed');
      const sent = message('x', {
        headers: { ...message('x').headers, mine: { deep: [1, null] } },
        properties: { correlation_id: 'c', reply_to: 'r', priority: 4, delivery_mode: 2 },
      });
      await send(broker, [{ to: { queue }, message: sent }]);
      const leaseMs = 3_000;
      const holder = spawn(
        process.execPath,
        [
          '--import',
          'tsx',
          fileURLToPath(new URL('claim-holder.ts', import.meta.url)),
          `${node.server.url}?consumer_timeout=2s`,
          queue,
          String(leaseMs),
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      try {
        let said = '';
        holder.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
        await until(() => said.includes('claimed'), 'the claim', 20_000);
        const collector = await Collector.open(broker, { [queue]: 1 }, { leaseMs });
        holder.kill('SIGKILL');
        await collector.got(1, leaseMs + 5_000);
        const { message: got, redelivered } = collector.delivery(0);
        expect(redelivered).toBe(true);
        expect(got.headers).toEqual(sent.headers);
        expect(got.properties).toEqual(sent.properties);
        expect(got.body).toEqual(sent.body);
        await collector.ack(collector.delivery(0));
        await noClaimsLeft();
      } finally {
        holder.kill('SIGKILL');
      }
    }, 60_000);

    test.each<[string, (arrival: Delivery) => Settlement, redelivered: boolean]>([
      ['handed back to the front', (arrival) => ({ kind: 'requeue', arrival, where: 'front' }), true],
      ['put to the back', (arrival) => ({ kind: 'requeue', arrival, where: 'back' }), false],
      ['deferred', (arrival) => ({ kind: 'defer', arrival, untilMs: Date.now() + 300 }), false],
      [
        'deferred with a successor in its place',
        (arrival) => ({
          kind: 'defer',
          arrival,
          untilMs: 0,
          message: { ...arrival.message, headers: { ...arrival.message.headers, lovage_losses: 1 } },
        }),
        false,
      ],
    ])('a claimed delivery is %s', async (_, settlement, redelivered) => {
      const queue = uniqueQueue('settled');
      const { broker, one } = await claimed(queue, 'x');
      await one.consumer.pause(); // or its place in the queue's window would be free, and it might see its own hand-back
      const wanted = settlement(one.delivery(0));
      expect(await one.settle(wanted)).toEqual(['held']);
      expect(one.consumer.holds(one.delivery(0).tag)).toBe(false);
      await one.consumer.close({ timeoutMs: 5_000 });
      const other = await Collector.open(broker, { [queue]: 1 });
      await other.got(1);
      expect([other.ids, other.delivery(0).redelivered]).toEqual([['x'], redelivered]);
      const { headers } = wanted.kind === 'defer' ? (wanted.message ?? one.delivery(0).message) : one.delivery(0).message;
      expect(other.delivery(0).message.headers).toEqual(headers);
      await other.ack(other.delivery(0));
      await expectDepth(broker, queue, { ready: 0 });
      await noClaimsLeft();
    });

    test('a claimed delivery is parked', async () => {
      const queue = uniqueQueue('parked');
      const { broker, one } = await claimed(queue, 'poison');
      const reason = { code: 'E_WORKER_LOST', reason: 'three times' };
      expect(await one.settle({ kind: 'park', arrival: one.delivery(0), reason })).toEqual(['held']);
      const dead = await node.raw((channel) => channel.get(DEAD_QUEUE, { noAck: true }));
      const headers = (dead || undefined)?.properties.headers ?? {};
      expect(headers).toMatchObject({ id: 'poison', lovage_dead_queue: queue });
      expect(Object.keys(headers).filter((name) => /claim|redelivered|^x-/.test(name))).toEqual([]);
      await expectDepth(broker, queue, { ready: 0 });
      await noClaimsLeft();
    });

    test('a worker that closes hands back what it has claimed, at once', async () => {
      const queue = uniqueQueue('closing');
      const { broker, one } = await claimed(queue, 'x');
      const startMs = performance.now();
      expect(await one.consumer.close({ timeoutMs: 5_000 })).toBe(1);
      expect(await drain(broker, queue, 1)).toEqual(['x']);
      expect(performance.now() - startMs).toBeLessThan(5_000); // not after the lease of 15 s
      await noClaimsLeft();
    });

    test('deliveries that end at the moment of their claim neither come again nor leave a copy', async () => {
      const { broker, claims } = await claimer();
      const queue = uniqueQueue('racing');
      const count = 300;
      await sendIds(
        broker,
        queue,
        Array.from({ length: count }, (_, index) => `${index}`),
      );
      const collector = await Collector.open(broker, { [queue]: count }, { logger: claims.logger });
      await collector.got(count);
      // Claims begin after half a second, or when the queues for them are made; acknowledgements are spread around that.
      const startMs = performance.now();
      for (let done = 0; done < count; ) {
        const upTo = Math.min(count, Math.ceil(((performance.now() - startMs) / 6_000) * count));
        if (upTo > done) await collector.ack(...collector.arrivals.slice(done, upTo));
        done = upTo;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      expect(claims.count).toBeGreaterThan(50);
      await collector.consumer.close({ timeoutMs: 5_000 });
      expect(collector.ids).toHaveLength(count);
      await noClaimsLeft();
      await expectDepth(broker, queue, { ready: 0 });
    });

    test('connections that break while deliveries are claimed lose nothing', async () => {
      const queue = uniqueQueue('breaking');
      const { broker, proxy } = await node.open('?consumer_timeout=1s');
      const names = Array.from({ length: 60 }, (_, index) => `${index}`);
      await sendIds(broker, queue, names);
      const acked = new Set<string>();
      const collector = await Collector.open(broker, { [queue]: 60 }, { leaseMs: 1_000 });
      await collector.atLeast(60);
      // Breaks at many moments of the first claims of a connection, which come some 750 ms after it stands.
      for (let round = 0; round < 6; round += 1) {
        const before = collector.lost.length;
        await new Promise((resolve) => setTimeout(resolve, 700 + round * 40));
        proxy.cut();
        await until(() => collector.lost.length > before, 'the deliveries to be lost');
        collector.consumer.grant(queue, collector.lost.length - before);
        const fresh = collector.arrivals.length;
        await until(() => collector.arrivals.length > fresh, 'deliveries after the break');
      }
      let looked = 0;
      await until(
        async () => {
          const next = collector.arrivals.slice(looked).filter(({ tag }) => collector.consumer.holds(tag));
          looked = collector.arrivals.length;
          const results = await collector.settle(...next.map((arrival) => ({ kind: 'ack', arrival }) as const));
          results.forEach((result, index) => result === 'held' && acked.add(idOf(next[index]!)));
          if (next.length > 0) collector.consumer.grant(queue, next.length);
          return acked.size === names.length;
        },
        () => `all to be acknowledged, ${acked.size} are`,
        20_000,
      );
      await noClaimsLeft();
    }, 60_000);

    test('claims that somebody deletes are made anew', async () => {
      const queue = uniqueQueue('deleted-claims');
      const { broker, claims } = await claimer();
      await sendIds(broker, queue, ['x']);
      const one = await Collector.open(broker, { [queue]: 1 }, { leaseMs: 2_000, logger: claims.logger });
      await one.got(1);
      await until(() => claims.count > 0, 'the claim');
      const claimQueues = async (): Promise<string[]> =>
        (await node.server.ask('list_queues', 'name'))
          .split('\n')
          .filter((name) => name.startsWith('lovage.claims.') && name.endsWith(queue));
      const [first, ...others] = await claimQueues();
      expect(others).toEqual([]);
      await node.raw((channel) => channel.deleteQueue(String(first)));
      const before = claims.count;
      await until(async () => (await claimQueues()).some((name) => name !== first), 'another claim queue');
      await until(() => claims.count > before + 1, 'a claim in it');
      // the copy in it is whole: it goes back when its holder closes
      await one.consumer.close({ timeoutMs: 5_000 });
      expect(await drain(broker, queue, 1)).toEqual(['x']);
    });

    test('a message whose headers no copy can carry is not claimed; what is held beside it is', async () => {
      const queue = uniqueQueue('large');
      const { broker, claims } = await claimer();
      await broker.declare(queue);
      const connection = await connect(`${node.server.url}?frameMax=131072`);
      const channel = await connection.createChannel();
      publishWithHeaders(channel, queue, { task: 'x', id: 'large', big: 'x'.repeat(100_000) }, 'the body');
      await channel.checkQueue(queue);
      await connection.close();
      await sendIds(broker, queue, ['small']);
      const one = await Collector.open(broker, { [queue]: 2 }, { logger: claims.logger });
      await one.got(2);
      await until(() => claims.count > 2, 'claims');
      expect([one.lost, one.states]).toEqual([[], ['connected']]);
      await one.ack(...one.arrivals);
      await expectDepth(broker, queue, { ready: 0 });
      await noClaimsLeft();
    });
  },
  { config: [`consumer_timeout = ${TIMEOUT_MS}`], advanced: ['{channel_tick_interval, 1000}'] },
);
