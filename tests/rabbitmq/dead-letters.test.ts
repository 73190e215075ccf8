/** The dead letters of RabbitMQ beyond the conformance suite: what only a queue that cannot be looked at brings with it. */
import { connect } from 'amqplib';
import { expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import type { DeadLetter } from '../../src/brokers/dead-letters.js';
import { DEAD_HEADERS, DEAD_QUEUE } from '../../src/brokers/rabbitmq/index.js';
import { Collector, drain, holdingIds, ids } from '../../src/testing/conformance/broker-kit.js';
import { publishWithHeaders } from '../bad-input/large-headers.js';
import { onPrivateNode } from './private-node.js';

const WORK = { timeoutMs: 10_000 } as const;
const REASON = { code: 'E_DECODE', reason: 'the suite says so' } as const;

async function park(broker: Broker, queue: string, list: readonly string[]): Promise<void> {
  const collector = await holdingIds(broker, queue, list);
  await collector.settle(...collector.arrivals.map((arrival) => ({ kind: 'park', arrival, reason: REASON }) as const));
  await collector.consumer.close({ timeoutMs: 5_000 });
}

async function lettersOf(broker: Broker, queue: string): Promise<readonly DeadLetter[]> {
  return (await broker.deadLetters.list({ filter: { queue }, limit: 1_000 })).letters;
}

onPrivateNode('dead letters', (node) => {
  test('there are none before anything was parked, and looking makes no queue', async () => {
    const { broker } = await node.open();
    await node.raw((channel) => channel.deleteQueue(DEAD_QUEUE));
    expect(await broker.deadLetters.list()).toEqual({ letters: [], next: null });
    expect(await broker.deadLetters.count()).toBe(0);
    expect(await broker.deadLetters.purge({ filter: {} }, WORK)).toMatchObject({ done: 0 });
    expect(node.server.ctl('list_queues', 'name')).not.toContain(DEAD_QUEUE);
  });

  test('are counted right as soon as a look at them has ended, and stay in their order', async () => {
    const { broker } = await node.open();
    await park(broker, 'order', ids('order', 1, 400));
    for (let round = 0; round < 3; round += 1) {
      expect(await lettersOf(broker, 'order')).toHaveLength(400);
      expect(await broker.deadLetters.count()).toBe(400);
    }
    expect((await broker.deadLetters.replay({ filter: {} }, WORK)).done).toBe(400);
    expect(await drain(broker, 'order', 400)).toEqual(ids('order', 1, 400));
    expect(await broker.deadLetters.count()).toBe(0);
  });

  test('cannot be looked at by two at a time: the second is told so when its time is over', async () => {
    const { broker } = await node.open();
    const other = await connect(node.server.url);
    try {
      const channel = await other.createChannel();
      await channel.assertQueue('lovage.dead.reader', { exclusive: true, durable: false });
      const refused = broker.deadLetters.purge({ filter: {} }, { timeoutMs: 300 });
      await expect(refused).rejects.toMatchObject({ code: 'E_DEAD_LETTERS_BUSY' });
    } finally {
      await other.close();
    }
    expect(await broker.deadLetters.purge({ filter: {} }, WORK)).toMatchObject({ done: 0 });
  });

  test('that others put there are shown with where they come from, and can be removed one by one', async () => {
    const { broker } = await node.open();
    await park(broker, 'ours', ['x']);
    await node.raw(async (channel) => {
      const back = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': DEAD_QUEUE, 'x-message-ttl': 1 };
      await channel.assertQueue('theirs', { arguments: back });
      channel.sendToQueue('theirs', Buffer.from('[[1],{},{}]'), {
        contentType: 'application/json',
        headers: { task: 't', id: 'y' },
      });
      await channel.checkQueue('theirs'); // the connection is closed next
    });
    await expect.poll(() => broker.deadLetters.count(), { timeout: 10_000 }).toBe(2);
    const [theirs] = await lettersOf(broker, 'theirs');
    expect(theirs).toMatchObject({
      queue: 'theirs',
      task: 't',
      taskId: 'y',
      reason: expect.stringContaining('not parked by Lovage'),
    });
    expect(Math.abs((theirs?.parkedAtMs ?? 0) - Date.now())).toBeLessThan(60_000);
    expect((await lettersOf(broker, 'theirs'))[0]?.id).toBe(theirs?.id);
    expect(await broker.deadLetters.purge({ ids: [theirs?.id ?? ''] }, WORK)).toMatchObject({ done: 1, missing: [] });
    expect((await broker.deadLetters.list()).letters.map(({ taskId }) => taskId)).toEqual(['x']);
    await broker.deadLetters.purge({ filter: {} }, WORK);
  });

  test('with headers too large to write are shown as they were, and say so when they are to be replayed', async () => {
    const { broker } = await node.open();
    await broker.declare('large');
    const writer = await connect(`${node.server.url}?frameMax=131072`);
    try {
      const channel = await writer.createChannel();
      publishWithHeaders(channel, 'large', { task: 'x', id: 'one', big: 'x'.repeat(100_000) }, 'the body');
      await channel.checkQueue('large');
    } finally {
      await writer.close();
    }
    const collector = await Collector.open(broker, { large: 1 });
    await collector.got(1);
    expect(await collector.settle({ kind: 'park', arrival: collector.delivery(0), reason: REASON })).toEqual(['held']);
    await collector.consumer.close({ timeoutMs: 5_000 });

    const [letter] = await lettersOf(broker, 'large');
    expect(letter).toMatchObject({ task: 'x', taskId: 'one', ...REASON });
    const content = await broker.deadLetters.get(letter?.id ?? '');
    expect(content?.message?.headers).toMatchObject({ task: 'x', id: 'one', big: 'x'.repeat(100_000) });
    expect(Buffer.from(content?.raw ?? []).toString()).toBe('the body');
    const report = await broker.deadLetters.replay({ filter: {} }, WORK);
    expect(report).toMatchObject({ done: 0, refused: [{ id: letter?.id, code: 'E_MESSAGE_TOO_LARGE' }] });
    expect(await broker.deadLetters.purge({ filter: {} }, WORK)).toMatchObject({ done: 1 });
  });

  test('in a quorum queue that drops what was given back too often outlive any number of looks', async () => {
    const { broker } = await node.open();
    await node.raw(async (channel) => {
      await channel.deleteQueue(DEAD_QUEUE);
      await channel.assertQueue(DEAD_QUEUE, { arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 2 } });
    });
    await park(broker, 'quorum', ids('quorum', 1, 30));
    const first = (await lettersOf(broker, 'quorum')).map(({ id }) => id);
    expect(first).toHaveLength(30);
    for (let look = 0; look < 6; look += 1) expect((await lettersOf(broker, 'quorum')).map(({ id }) => id)).toEqual(first);
    expect((await broker.deadLetters.replay({ filter: {} }, WORK)).done).toBe(30);
    expect((await drain(broker, 'quorum', 30)).sort()).toEqual(ids('quorum', 1, 30).sort());
    await node.raw((channel) => channel.deleteQueue(DEAD_QUEUE));
  });

  test('carry what is known of them in headers that other tools can read', async () => {
    const { broker } = await node.open();
    await park(broker, 'headers', ['h']);
    await node.raw(async (channel) => {
      const parked = await channel.get(DEAD_QUEUE, { noAck: true });
      if (!parked) throw new Error('nothing was parked');
      expect(parked.properties.headers).toMatchObject({
        [DEAD_HEADERS.id]: expect.stringMatching(/^[0-9a-z]{9}-[0-9a-z]{4}-[0-9a-f]{12}$/),
        [DEAD_HEADERS.by]: 'suite@host',
        [DEAD_HEADERS.queue]: 'headers',
        id: 'h',
      });
    });
  });
});
