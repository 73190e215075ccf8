/** What comes back from a claim on RabbitMQ: it does not wait behind the queue, and is nobody's private property either. */
import { connect } from 'amqplib';
import { expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { orphanQueue } from '../../src/brokers/rabbitmq/way-stations.js';
import { sleep } from '../../src/core/clock.js';
import { type Logger, silentLogger } from '../../src/core/logger.js';
import { Collector, expectDepth, outgoing, sendIds, uniqueQueue, until } from '../../src/testing/conformance/broker-kit.js';
import { onPrivateNode } from './private-node.js';

const LEASE_MS = 1_000;
const PATIENCE_MS = 20_000;
const BACKLOG = 2_000;
/** At this pace the backlog takes 40 s, and what came back is due after three. */
const PACE_MS = 20;

onPrivateNode('orphans on RabbitMQ', (node) => {
  /** Somebody who has claimed `x`, which a worker before had put back; behind it wait others. */
  const claimed = async (queue: string, backlog = BACKLOG) => {
    const { broker } = await node.open();
    await sendIds(broker, queue, ['x']);
    const first = await Collector.open(broker, { [queue]: 1 }, { leaseMs: LEASE_MS });
    await first.got(1, PATIENCE_MS);
    await first.consumer.close({ timeoutMs: 5_000 });
    const { broker: holder, proxy } = await node.open();
    const held = await Collector.open(holder, { [queue]: 1 }, { leaseMs: LEASE_MS });
    await held.got(1, PATIENCE_MS);
    expect(await held.consumer.secure(held.delivery(0))).toBe(true);
    await sendIds(
      broker,
      queue,
      Array.from({ length: backlog }, (_, nth) => `b${nth}`),
    );
    return { held, die: () => proxy.refuse() };
  };

  /** Takes one after the other until it holds `x`, and how many it took before. */
  const takenBefore = async (broker: Broker, queue: string): Promise<{ readonly heir: Collector; readonly count: number }> => {
    const heir = await Collector.open(broker, { [queue]: 1 }, { leaseMs: LEASE_MS });
    for (let nth = 0; ; nth += 1) {
      await heir.atLeast(nth + 1, PATIENCE_MS);
      if (heir.ids[nth] === 'x') return { heir, count: nth };
      await heir.ack(heir.delivery(nth));
      await sleep(PACE_MS);
      heir.consumer.grant(queue, 1);
    }
  };

  test('what a dead worker had claimed comes before the backlog of its queue', async () => {
    const queue = uniqueQueue('dead');
    const { die } = await claimed(queue);
    await die();
    const { broker } = await node.open();
    const { count } = await takenBefore(broker, queue);
    expect(count).toBeLessThan(BACKLOG / 2);
  }, 90_000);

  test('what a worker hands back comes before the backlog too, whether it was claimed or had come back before', async () => {
    const queue = uniqueQueue('handed-back');
    const { held, die } = await claimed(queue);
    await held.consumer.close({ timeoutMs: 5_000 });
    for (const how of ['the claim', 'what had come back']) {
      const { broker } = await node.open();
      const { heir, count } = await takenBefore(broker, queue);
      expect(count, how).toBeLessThan(BACKLOG / 4);
      await heir.consumer.close({ timeoutMs: 5_000 });
    }
    await die();
  }, 90_000);

  test('where no worker of ours is left it goes to the queue itself, for everybody', async () => {
    const queue = uniqueQueue('theirs');
    const { die } = await claimed(queue, 0);
    await die();
    const taken = await node.raw(async (channel) => {
      const got = new Promise<string>((resolve) => {
        void channel.consume(queue, (message) => resolve(String(message?.properties.headers?.['id'])), { noAck: true });
      });
      return await Promise.race([got, sleep(40_000).then(() => 'nothing')]);
    });
    expect(taken).toBe('x');
  }, 90_000);

  test('slots are not kept for those whose last holder is looked for', async () => {
    const queue = uniqueQueue('looked-for');
    const { die } = await claimed(queue, 0);
    const { broker } = await node.open();
    let looks = 0;
    const logger: Logger = {
      ...silentLogger,
      debug: (_, text) => void (text === 'delivered again' && (looks += 1)),
      child: () => logger,
    };
    // a look of a minute, one slot
    const patient = await Collector.open(broker, { [queue]: 1 }, { leaseMs: 60_000, acking: true, logger });
    await die();
    await until(() => looks === 1, 'the orphan at the patient one', PATIENCE_MS);
    await sendIds(broker, queue, ['y', 'z']);
    await patient.got(2, PATIENCE_MS);
    expect(patient.ids).toEqual(['y', 'z']);
  }, 60_000);

  test('a queue of orphans that somebody deleted is made again, and taken from', async () => {
    const queue = uniqueQueue('deleted');
    const { broker } = await node.open();
    const heir = await Collector.open(broker, { [queue]: 1 }, { leaseMs: LEASE_MS });
    const orphans = `lovage.orphans.${queue}`;
    const consumers = (): Promise<number> =>
      node.raw((channel) => channel.checkQueue(orphans).then(({ consumerCount }) => consumerCount));
    const connection = await connect(node.server.url);
    const channel = await connection.createChannel();
    channel.on('error', () => undefined);
    await until(async () => (await consumers().catch(() => 0)) === 1, 'the subscription', PATIENCE_MS);
    await channel.deleteQueue(orphans);
    await until(async () => (await consumers().catch(() => 0)) === 1, 'the subscription, again', PATIENCE_MS);
    await connection.close();
    await sendIds(broker, queue, ['y']);
    await heir.got(1);
    await heir.ack(heir.delivery(0));
    await expectDepth(broker, queue, { ready: 0 });
  }, 60_000);

  test('a queue of orphans that a crash of the broker left empty of everything but its name, before it was ready, is made anew', async () => {
    const queue = uniqueQueue('leftover');
    const { name, arguments: arguments_ } = orphanQueue(queue);
    await node.raw(async (channel) => {
      await channel.assertQueue(name, { durable: true, arguments: arguments_ });
    });
    await node.server.restart();
    const { broker } = await node.open();
    const one = await Collector.open(broker, { [queue]: 1 }, { leaseMs: LEASE_MS });
    const taken = async (): Promise<boolean> =>
      (await node.raw((channel) => channel.checkQueue(name)).catch(() => ({ consumerCount: 0 }))).consumerCount === 1 &&
      (await node.raw((channel) => channel.checkExchange(name).then(() => true)).catch(() => false));
    await until(taken, 'the subscription to the orphans', 40_000);
    await sendIds(broker, queue, ['y']);
    await until(() => one.ids.includes('y'), 'the message', PATIENCE_MS);
    await one.ack(one.delivery(one.ids.indexOf('y')));
  }, 120_000);

  test('under a disk alarm what a dead worker had claimed is started all the same, and after it sends are taken again', async () => {
    const queue = uniqueQueue('full-disk');
    const { die } = await claimed(queue, 2);
    const [{ broker }, { broker: other }] = [await node.open(), await node.open()];
    let heir: Collector;
    node.server.ctl('set_disk_free_limit', '500000GB');
    try {
      await until(
        async () => (await broker.publish([outgoing(queue, 'refused')], { timeoutMs: 500 }))[0]?.code === 'E_BROKER_FULL',
        'sends to be refused',
        PATIENCE_MS,
      );
      await die();
      heir = await Collector.open(other, { [queue]: 20 }, { leaseMs: LEASE_MS });
      await until(() => heir.ids.includes('x'), 'the orphan', 40_000);
      const x = heir.delivery(heir.ids.indexOf('x'));
      // its copy cannot be written now: it is not claimed, and not held back for that either
      await heir.consumer.secure(x);
      await heir.ack(x);
    } finally {
      node.server.ctl('set_disk_free_limit', '1MB');
    }
    await sendIds(broker, queue, ['after']);
    await until(() => ['b0', 'b1', 'after'].every((id) => heir.ids.includes(id)), 'all others', PATIENCE_MS);
  }, 180_000);

  test('a queue that is left leaves its orphans too, and takes them again with it', async () => {
    const queue = uniqueQueue('left');
    const other = uniqueQueue('stays');
    const { broker } = await node.open();
    const heir = await Collector.open(broker, { [queue]: 1, [other]: 1 }, { leaseMs: LEASE_MS });
    const consumers = (): Promise<number> =>
      node.raw((channel) => channel.checkQueue(`lovage.orphans.${queue}`).then(({ consumerCount }) => consumerCount));
    const taken = (count: number) => async (): Promise<boolean> => (await consumers().catch(() => -1)) === count;
    await until(taken(1), 'the subscription', PATIENCE_MS);
    await heir.consumer.change({ queues: [{ name: other, credit: 1 }], credit: 1 });
    await until(taken(0), 'the end of it', PATIENCE_MS);
    await heir.consumer.change({
      queues: [
        { name: other, credit: 1 },
        { name: queue, credit: 1 },
      ],
      credit: 2,
    });
    await until(taken(1), 'the subscription, again', PATIENCE_MS);
  }, 60_000);
});
