/**
 * Quorum queues count returns, and drop or dead-letter a message that has more of them than the queue's limit. What we hand back
 * must not use that up: it was nobody's fault.
 */
import { expect, test } from 'vitest';
import {
  Collector,
  drain,
  expectDepth,
  message,
  outgoing,
  send,
  sendIds,
  uniqueQueue,
  until,
} from '../../src/testing/conformance/broker-kit.js';
import { onPrivateNode } from './private-node.js';

onPrivateNode('RabbitMQ quorum queues', (node) => {
  const rows = (...args: string[]): Record<string, unknown>[] =>
    JSON.parse(node.server.ctl(...args, '--formatter', 'json')) as Record<string, unknown>[];

  /** A quorum queue of somebody else: after `limit` returns a message goes to `<name>.dropped`. */
  async function limited(limit: number): Promise<{ readonly queue: string; readonly dropped: string }> {
    const queue = uniqueQueue('limited');
    const dropped = `${queue}.dropped`;
    await node.raw(async (channel) => {
      await channel.assertQueue(dropped, { durable: true });
      await channel.assertQueue(queue, {
        durable: true,
        arguments: {
          'x-queue-type': 'quorum',
          'x-delivery-limit': limit,
          'x-dead-letter-exchange': '',
          'x-dead-letter-routing-key': dropped,
        },
      });
    });
    return { queue, dropped };
  }

  const droppedCount = (dropped: string): Promise<number> =>
    node.raw(async (channel) => (await channel.checkQueue(dropped)).messageCount);

  test('what a quorum queue has confirmed survives kill -9 of the broker, also when the queue was made a moment before', async () => {
    const { broker } = await node.open('?queue_type=quorum');
    const queue = uniqueQueue('young');
    await sendIds(broker, queue, ['now']);
    await node.server.restart();
    expect(await drain((await node.open()).broker, queue, 1, 30_000)).toEqual(['now']);
  }, 90_000);

  test('so does the first delayed message of a broker, for which the delay ladder was made', async () => {
    const { broker } = await node.open();
    const queue = uniqueQueue('first-delay');
    await send(broker, [outgoing(queue, 'later', { notBeforeMs: Date.now() + 1_500 })]);
    await node.server.restart();
    expect(await drain((await node.open()).broker, queue, 1, 30_000)).toEqual(['later']);
  }, 90_000);

  test('queues of ours have no delivery limit, and are declared as Celery declares them', async () => {
    const { broker } = await node.open('?queue_type=quorum');
    const queue = uniqueQueue('ours');
    await broker.declare(queue);
    const declared = rows('list_queues', 'name', 'arguments').find(({ name }) => name === queue);
    expect(declared?.['arguments']).toEqual([['x-queue-type', 'longstr', 'quorum']]);
  }, 90_000);

  test.each([1, 2])('a message handed back ten times stays in a queue with a delivery limit of %i', async (limit) => {
    const { queue, dropped } = await limited(limit);
    const { broker } = await node.open();
    const sent = message('x', { properties: { correlation_id: 'c', reply_to: 'r', priority: 3, delivery_mode: 2 } });
    await send(broker, [{ to: { queue }, message: sent }]);
    const collector = await Collector.open(broker, { [queue]: 1 });
    for (let round = 0; round < 10; round += 1) {
      await collector.got(round + 1);
      expect(collector.delivery(round).message).toEqual(sent);
      expect(collector.delivery(round).redelivered).toBe(round > 0);
      expect(await collector.settle({ kind: 'requeue', arrival: collector.delivery(round), where: 'front' })).toEqual(['held']);
      collector.consumer.grant(queue, 1);
    }
    await collector.got(11);
    await collector.ack(collector.delivery(10));
    expect(await droppedCount(dropped)).toBe(0);
    await expectDepth(broker, queue, { ready: 0 });
  });

  test('workers that close with deliveries in their hands use up nothing of the limit', async () => {
    const { queue, dropped } = await limited(1);
    const { broker } = await node.open();
    const names = ['a', 'b', 'c'];
    await sendIds(broker, queue, names);
    for (let round = 0; round < 4; round += 1) {
      const collector = await Collector.open(broker, { [queue]: 3 });
      await collector.got(3);
      expect(await collector.consumer.close({ timeoutMs: 5_000 })).toBe(3);
    }
    expect((await drain(broker, queue, 3)).sort()).toEqual(names);
    expect(await droppedCount(dropped)).toBe(0);
  });

  test('prefetched messages that find no credit use up nothing of the limit', async () => {
    const { queue, dropped } = await limited(1);
    const busy = uniqueQueue('busy');
    const { broker } = await node.open();
    await sendIds(broker, busy, ['b1', 'b2']);
    const collector = await Collector.open(broker, { [busy]: 2, [queue]: 2 }, { credit: 2 });
    await collector.got(2);
    await sendIds(broker, queue, ['w']);
    // Each grant and acknowledgement makes the worker look at the queue again; all slots are taken, so what it prefetched goes back.
    for (let round = 0; round < 4; round += 1) {
      await expectDepth(broker, queue, { ready: 1 });
      collector.consumer.grant(busy, 1);
      await sendIds(broker, busy, [`again ${round}`]);
      await until(() => collector.ids.includes(`again ${round}`) || collector.ids.includes('w'), 'the slot to be taken');
      if (collector.ids.includes('w')) break;
    }
    await collector.consumer.close({ timeoutMs: 5_000 });
    expect(await droppedCount(dropped)).toBe(0);
    expect(await drain(broker, queue, 1)).toEqual(['w']);
  });

  test('losses are counted in a header, on a copy that the broker has confirmed', async () => {
    const { queue, dropped } = await limited(1);
    const { broker } = await node.open();
    await send(broker, [outgoing(queue, 'x', { priority: 5 })]);
    const collector = await Collector.open(broker, { [queue]: 1 });
    for (let losses = 1; losses <= 3; losses += 1) {
      await collector.got(losses);
      const arrival = collector.delivery(losses - 1);
      const counted = { ...arrival.message, headers: { ...arrival.message.headers, lovage_losses: losses } };
      expect(await collector.settle({ kind: 'defer', arrival, untilMs: Date.now() + 200, message: counted })).toEqual(['held']);
      collector.consumer.grant(queue, 1);
    }
    await collector.got(4);
    const { message: got } = collector.delivery(3);
    expect([got.headers['lovage_losses'], got.properties.priority]).toEqual([3, 5]);
    await collector.ack(collector.delivery(3));
    expect(await droppedCount(dropped)).toBe(0);
  });

  test('what connections break counts for the queue, as its owner wanted: beyond the limit the message is dead-lettered', async () => {
    const { queue, dropped } = await limited(1);
    const { broker, proxy } = await node.open();
    await sendIds(broker, queue, ['x']);
    const collector = await Collector.open(broker, { [queue]: 1 });
    await collector.got(1);
    proxy.cut();
    await until(() => collector.lost.length === 1, 'the loss');
    collector.consumer.grant(queue, 1);
    await collector.got(2);
    proxy.cut();
    await until(async () => (await droppedCount(dropped)) === 1, 'the message among those of the queue’s owner');
  });
});
