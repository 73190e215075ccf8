/**
 * What the RabbitMQ driver declares, adopts, and does with messages that no queue, size limit or reader likes.
 * Long because all its tests share one private node.
 */
import { expect, test } from 'vitest';
import { DEAD_HEADERS, DEAD_QUEUE } from '../../src/brokers/rabbitmq/index.js';
import { UNREADABLE_HEADERS } from '../../src/clients/amqp-frame-guard.js';
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
import { deepPublish } from './deep-headers.js';
import { onPrivateNode } from './private-node.js';

/** Rows of `rabbitmqctl list_…` as JSON objects. */
const rows = (text: string): Record<string, unknown>[] => JSON.parse(text) as Record<string, unknown>[];

onPrivateNode(
  'RabbitMQ queues',
  (node) => {
    const list = (what: string, ...columns: string[]): Record<string, unknown>[] =>
      rows(node.server.ctl(what, ...columns, '--formatter', 'json'));

    test('a queue is declared exactly as Celery declares it: durable, plain, with its direct exchange and binding', async () => {
      const { broker } = await node.open();
      const queue = uniqueQueue('plain');
      await broker.declare(queue);
      const [declared] = list('list_queues', 'name', 'durable', 'auto_delete', 'exclusive', 'arguments').filter(
        ({ name }) => name === queue,
      );
      expect(declared).toEqual({ name: queue, durable: true, auto_delete: false, exclusive: false, arguments: [] });
      const [exchange] = list('list_exchanges', 'name', 'type', 'durable', 'auto_delete', 'arguments').filter(
        ({ name }) => name === queue,
      );
      expect(exchange).toEqual({ name: queue, type: 'direct', durable: true, auto_delete: false, arguments: [] });
      const bindings = list('list_bindings', 'source_name', 'destination_name', 'routing_key').filter(
        ({ destination_name }) => destination_name === queue,
      );
      expect(bindings).toContainEqual({ source_name: queue, destination_name: queue, routing_key: queue });
    });

    test('queue_type=quorum declares quorum queues, and they carry messages, hand-backs and delays', async () => {
      const { broker } = await node.open('?queue_type=quorum');
      const queue = uniqueQueue('quorum');
      await sendIds(broker, queue, ['a', 'b']);
      expect(list('list_queues', 'name', 'type')).toContainEqual({ name: queue, type: 'quorum' });
      const collector = await Collector.open(broker, { [queue]: 2 });
      await collector.got(2);
      const untilMs = Date.now() + 300;
      await collector.settle(
        { kind: 'requeue', arrival: collector.delivery(0), where: 'front' },
        { kind: 'defer', arrival: collector.delivery(1), untilMs },
      );
      collector.consumer.grant(queue, 2);
      await collector.got(4);
      expect(Date.now()).toBeGreaterThanOrEqual(untilMs);
      await collector.ack(...collector.arrivals.slice(2));
      await expectDepth(broker, queue, { ready: 0 });
    });

    test('a queue or exchange that exists with other arguments is used as it is', async () => {
      const queue = uniqueQueue('other');
      const exchange = uniqueQueue('taken');
      await node.raw(async (channel) => {
        await channel.assertQueue(queue, { durable: true, arguments: { 'x-max-priority': 5 } });
        await channel.assertExchange(exchange, 'topic', { durable: false });
      });
      const { broker } = await node.open();
      await broker.declare(queue);
      await broker.declare(queue);
      await send(
        broker,
        [0, 5, 3].map((priority) => outgoing(queue, `p${priority}`, { priority })),
      );
      // the queue's own arguments count: it honours priorities
      expect(await drain(broker, queue, 3)).toEqual(['p5', 'p3', 'p0']);
      await sendIds(broker, exchange, ['x']);
      expect(await drain(broker, exchange, 1)).toEqual(['x']);
    });

    test('a queue that was deleted after it was declared is made again by the next send', async () => {
      const { broker } = await node.open();
      const queue = uniqueQueue('deleted');
      await sendIds(broker, queue, ['before']);
      await node.raw((channel) => channel.deleteQueue(queue));
      await sendIds(broker, queue, ['after']);
      expect(await drain(broker, queue, 1)).toEqual(['after']);
    });

    test('a queue deleted under its consumer is consumed again, and the others on the channel lose nothing', async () => {
      const { broker } = await node.open();
      const [gone, kept] = [uniqueQueue('gone'), uniqueQueue('kept')];
      await sendIds(broker, kept, ['held']);
      const collector = await Collector.open(broker, { [gone]: 2, [kept]: 2 });
      await collector.got(1);
      await node.raw((channel) => channel.deleteQueue(gone));
      await sendIds(broker, gone, ['again']);
      await collector.got(2);
      expect(collector.lost).toEqual([]);
      await collector.ack(...collector.arrivals);
      await expectDepth(broker, kept, { ready: 0 });
      expect(collector.states).toEqual(['connected']);
    });

    test('a message for an exchange that is not there fails alone, as not sent', async () => {
      const { broker } = await node.open();
      const queue = uniqueQueue('beside');
      const results = await broker.publish(
        [
          outgoing(queue, 'a'),
          { to: { queue, exchange: 'no-such-exchange', routingKey: 'k' }, message: message('lost') },
          outgoing(queue, 'b'),
        ],
        { timeoutMs: 10_000 },
      );
      expect(results.map((result) => result && [result.code, result.outcome])).toEqual([
        null,
        ['E_QUEUE_MISSING', 'not-sent'],
        null,
      ]);
      expect(
        [
          ...new Set(
            await (async () => {
              const collector = await Collector.open(broker, { [queue]: 5 }, { acking: true });
              await collector.atLeast(2);
              return collector.ids;
            })(),
          ),
        ].sort(),
      ).toEqual(['a', 'b']);
    });

    test('a message larger than the broker takes fails alone, as not sent, and is not tried again', async () => {
      const { broker } = await node.open();
      const queue = uniqueQueue('large');
      const large = message('large', { body: { encoding: 'utf8', data: 'x'.repeat(300_000) } });
      const results = await broker.publish([outgoing(queue, 'a'), { to: { queue }, message: large }, outgoing(queue, 'b')], {
        timeoutMs: 10_000,
      });
      expect(results.map((result) => result && [result.code, result.outcome])).toEqual([
        null,
        ['E_MESSAGE_TOO_LARGE', 'not-sent'],
        null,
      ]);
    });

    test('headers beyond what AMQP can carry, and an id longer than a property, fail as not sent', async () => {
      const { broker } = await node.open();
      const queue = uniqueQueue('headers');
      const wide = message('wide', { headers: { ...message('wide').headers, note: 'x'.repeat(70_000) } });
      const results = await broker.publish(
        [{ to: { queue }, message: wide }, outgoing(queue, 'i'.repeat(300)), outgoing(queue, 'ok')],
        { timeoutMs: 10_000 },
      );
      expect(results.map((result) => result && [result.code, result.outcome])).toEqual([
        ['E_MESSAGE_TOO_LARGE', 'not-sent'],
        ['E_PUBLISH_FAILED', 'not-sent'],
        null,
      ]);
    });

    test('a queue that is full and rejects makes the send fail as not sent', async () => {
      const queue = uniqueQueue('full');
      await node.raw((channel) =>
        channel.assertQueue(queue, { durable: true, arguments: { 'x-max-length': 2, 'x-overflow': 'reject-publish' } }),
      );
      const { broker } = await node.open();
      const results = await broker.publish(
        ['a', 'b', 'c'].map((id) => outgoing(queue, id)),
        { timeoutMs: 10_000 },
      );
      expect(results.map((result) => result && [result.code, result.outcome])).toEqual([
        null,
        null,
        ['E_PUBLISH_FAILED', 'not-sent'],
      ]);
    });

    test('a message that has expired still reaches a worker, which can say so', async () => {
      const { broker } = await node.open();
      const queue = uniqueQueue('expired');
      await send(broker, [
        { to: { queue }, message: message('x', { properties: { correlation_id: 'x', delivery_mode: 2, expiration: '0' } }) },
      ]);
      await expectDepth(broker, queue, { ready: 1 });
      expect(await drain(broker, queue, 1)).toEqual(['x']);
    });

    test('a delayed message that expires sooner does not come early, and brings no mark of its way', async () => {
      const { broker } = await node.open();
      const queue = uniqueQueue('marks');
      const sent = message('x', { properties: { correlation_id: 'x', delivery_mode: 2, expiration: '100' } });
      const dueMs = Date.now() + 2_300;
      await send(broker, [{ to: { queue }, message: sent, notBeforeMs: dueMs }]);
      const collector = await Collector.open(broker, { [queue]: 1 });
      await collector.got(1);
      expect(Date.now()).toBeGreaterThanOrEqual(dueMs);
      expect(Date.now()).toBeLessThan(dueMs + 2_000);
      expect(Object.keys(collector.delivery(0).message.headers).sort()).toEqual(Object.keys(sent.headers).sort());
      expect(collector.delivery(0)).toMatchObject({ redelivered: false, queue });
      await collector.ack(collector.delivery(0));
    });

    test('queues of which one name ends in the other do not get each other’s delayed messages', async () => {
      const { broker } = await node.open();
      const short = uniqueQueue('b');
      const long = `a.${short}`;
      await send(broker, [outgoing(short, 'warm', { notBeforeMs: Date.now() + 100 })]);
      await send(broker, [outgoing(long, 'x', { notBeforeMs: Date.now() + 200 })]);
      expect(await drain(broker, long, 1)).toEqual(['x']);
      expect(await drain(broker, short, 1)).toEqual(['warm']);
    });

    test('a parked message keeps its body, headers and properties, and tells why and from where', async () => {
      const { broker } = await node.open();
      const queue = uniqueQueue('park');
      const sent = message('parked', {
        headers: { ...message('parked').headers, mine: { deep: [1, null] } },
        properties: { correlation_id: 'c', reply_to: 'r', expiration: '5000', delivery_mode: 1 },
      });
      await send(broker, [{ to: { queue }, message: sent }]);
      const collector = await Collector.open(broker, { [queue]: 1 });
      await collector.got(1);
      await collector.settle({
        kind: 'park',
        arrival: collector.delivery(0),
        reason: { code: 'E_NOT_REGISTERED', reason: 'nobody knows it' },
      });
      await node.raw(async (channel) => {
        const parked = await channel.get(DEAD_QUEUE, { noAck: true });
        if (!parked) throw new Error('nothing was parked');
        const { headers, correlationId, replyTo, contentType, deliveryMode, expiration } = parked.properties;
        expect(headers).toMatchObject({
          ...sent.headers,
          [DEAD_HEADERS.code]: 'E_NOT_REGISTERED',
          [DEAD_HEADERS.reason]: 'nobody knows it',
          [DEAD_HEADERS.queue]: queue,
        });
        expect(Date.parse(String(headers?.[DEAD_HEADERS.at]))).toBeLessThanOrEqual(Date.now());
        // it waits for a human: no time to live, and it survives a restart
        expect([correlationId, replyTo, contentType, deliveryMode, expiration]).toEqual([
          'c',
          'r',
          'application/json',
          2,
          undefined,
        ]);
        expect(parked.content.toString()).toBe(sent.body.data);
      });
    });

    test('what no Celery client wrote is garbage: no content type, or a header called __proto__', async () => {
      const { broker } = await node.open();
      const queue = uniqueQueue('garbage');
      await broker.declare(queue);
      await node.raw(async (channel) => {
        channel.sendToQueue(queue, Buffer.from('bare'));
        channel.sendToQueue(queue, Buffer.from('proto'), {
          contentType: 'application/json',
          headers: JSON.parse('{"task":"t","__proto__":{"id":"x"}}') as object,
        });
        await channel.checkQueue(queue);
      });
      const collector = await Collector.open(broker, { [queue]: 5 });
      await collector.got(2);
      expect(
        [0, 1].map((index) => [Buffer.from(collector.garbage(index).raw).toString(), collector.garbage(index).fault.code]),
      ).toEqual([
        ['bare', 'E_DECODE'],
        ['proto', 'E_DECODE'],
      ]);
      await collector.ack(...collector.arrivals);
    });

    test('headers nested deeper than the client can read are garbage too, and do not break the connection', async () => {
      const { broker } = await node.open();
      const queue = uniqueQueue('deep');
      await broker.declare(queue);
      await node.raw(async (channel) => {
        const { ch, connection } = channel as unknown as {
          readonly ch: number;
          readonly connection: { sendBytes(bytes: Buffer): void };
        };
        connection.sendBytes(deepPublish(queue, 12_000, 'deep', ch));
        await channel.checkQueue(queue);
      });
      await sendIds(broker, queue, ['after']);
      const collector = await Collector.open(broker, { [queue]: 5 });
      await collector.got(2);
      expect([Buffer.from(collector.garbage(0).raw).toString(), collector.garbage(0).fault.code]).toEqual(['deep', 'E_DECODE']);
      await collector.settle({ kind: 'park', arrival: collector.garbage(0), reason: { code: 'E_DECODE', reason: 'deep' } });
      await collector.ack(collector.delivery(1));
      expect(collector.states).toEqual(['connected']);
      const dead = await node.raw((channel) => channel.get(DEAD_QUEUE, { noAck: true }));
      expect(dead && [dead.content.toString(), Buffer.isBuffer(dead.properties.headers?.[UNREADABLE_HEADERS])]).toEqual([
        'deep',
        true,
      ]);
    });

    test('prefetched messages that find no credit go back, so that another worker can run them', async () => {
      const { broker } = await node.open();
      const [busy, waiting] = [uniqueQueue('busy'), uniqueQueue('waiting')];
      await sendIds(broker, busy, ['b1', 'b2']);
      const one = await Collector.open(broker, { [busy]: 2, [waiting]: 2 }, { credit: 2 });
      await one.got(2);
      // all slots are taken by long tasks of the one queue; the other's messages must not be stuck behind them
      await sendIds(broker, waiting, ['w1', 'w2']);
      const other = await Collector.open((await node.open()).broker, { [waiting]: 2 }, { acking: true });
      await other.got(2);
      expect([...other.ids].sort()).toEqual(['w1', 'w2']);
      await one.ack(...one.arrivals);
      one.consumer.grant(busy, 2);
      await sendIds(broker, waiting, ['w3']);
      await until(() => one.ids.includes('w3') || other.ids.includes('w3'), 'the next message');
    });

    test('peek shows the next messages and puts them back in order, marked as redelivered', async () => {
      const { broker } = await node.open();
      const queue = uniqueQueue('peek');
      await sendIds(broker, queue, ['a', 'b', 'c']);
      const shown = await broker.peek(queue, 2);
      expect(shown.map((one) => 'message' in one && one.message.headers['id'])).toEqual(['a', 'b']);
      expect(await broker.peek(queue, 0)).toEqual([]);
      expect(await broker.peek(uniqueQueue('none'), 5)).toEqual([]);
      const collector = await Collector.open(broker, { [queue]: 3 });
      await collector.got(3);
      expect(collector.ids).toEqual(['a', 'b', 'c']);
      expect([0, 2].map((index) => collector.delivery(index).redelivered)).toEqual([true, false]);
      await collector.ack(...collector.arrivals);
    });
  },
  { config: ['max_message_size = 200000'] },
);
