/** Single messages of quorum queues, which count what is given back: looking through one must not use that up. */
import { expect, test } from 'vitest';
import { drain, expectDepth, ids, message, send, sendIds, uniqueQueue } from '../../src/testing/conformance/broker-kit.js';
import { onPrivateNode } from './private-node.js';

const WORK = { timeoutMs: 10_000 } as const;

onPrivateNode('RabbitMQ waiting messages', (node) => {
  test('a quorum queue that allows one return loses nothing to many looks, nor does it dead-letter anything', async () => {
    const { broker } = await node.open();
    const queue = uniqueQueue('looked');
    const dropped = `${queue}.dropped`;
    await node.raw(async (channel) => {
      await channel.assertQueue(dropped, { durable: true });
      await channel.assertQueue(queue, {
        durable: true,
        arguments: {
          'x-queue-type': 'quorum',
          'x-delivery-limit': 1,
          'x-dead-letter-exchange': '',
          'x-dead-letter-routing-key': dropped,
        },
      });
    });
    const all = ids(queue, 1, 60);
    await sendIds(broker, queue, all);
    for (let look = 0; look < 5; look += 1) {
      expect(await broker.waiting.remove(queue, { ids: [`gone.${look}`] }, WORK)).toMatchObject({ looked: 60, done: 0 });
      await expectDepth(broker, queue, { ready: 60 });
    }
    expect(await node.raw(async (channel) => (await channel.checkQueue(dropped)).messageCount)).toBe(0);
    expect((await drain(broker, queue, 60)).sort()).toEqual([...all].sort());
  }, 60_000);

  test('what was given back before keeps what is known of it in the other queue, and its time to live', async () => {
    const { broker } = await node.open();
    const [from, to] = [uniqueQueue('known'), uniqueQueue('known-to')];
    const plain = message('a');
    await send(broker, [
      { to: { queue: from }, message: { ...plain, properties: { ...plain.properties, expiration: '60000' } } },
    ]);
    await broker.waiting.remove(from, { ids: ['nobody'] }, WORK);
    await broker.waiting.move(from, to, {}, WORK);
    await node.raw(async (channel) => {
      const got = await channel.get(to, { noAck: true });
      if (got === false) throw new Error('nothing was moved');
      expect(got.properties.headers).toMatchObject({ id: 'a', lovage_redelivered: true });
      expect(Number(got.properties.expiration)).toBeGreaterThan(60_000);
      expect(got.properties.deliveryMode).toBe(2);
    });
  }, 60_000);
});
