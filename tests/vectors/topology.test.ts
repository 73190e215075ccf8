/** What Python nodes declare on RabbitMQ, against the names and declarations of ours. */
import { describe, expect, test } from 'vitest';
import { DELIVERY_EXCHANGE, delayBits, ladder } from '../../src/brokers/rabbitmq/delay.js';
import { broadcastExchange } from '../../src/brokers/rabbitmq/topology.js';
import { controlExchange, replyExchange } from '../../src/wire/control-message.js';
import { EVENT_EXCHANGE } from '../../src/wire/event-message.js';
import { parseIsoMs } from '../../src/wire/iso-time.js';
import { rpcReplyQueue } from '../../src/wire/result-meta.js';
import { unitsOfKind } from './vector-files.js';

const isDelay = (name: string): boolean => name.startsWith('celery_delayed_');

describe('topologies recorded from Celery', () => {
  test.each(unitsOfKind('topology'))('$where', ({ topology }) => {
    const exchanges = new Map(topology.exchanges.map((exchange) => [exchange.name, exchange]));
    for (const name of [controlExchange(), replyExchange(), EVENT_EXCHANGE])
      expect(exchanges.get(name)).toMatchObject(broadcastExchange(name));
    // every worker hears control messages without a routing key
    expect(topology.bindings).toContainEqual(expect.objectContaining({ source: controlExchange(), routing_key: '' }));

    const delayQueues = topology.queues.filter((queue) => isDelay(queue.name));
    const work = topology.queues.filter((queue) => queue.durable && !isDelay(queue.name));
    expect(work.length).toBeGreaterThan(0);
    // a work queue is bound to its exchange by its key; through the delay exchange, if there is one, as well
    for (const queue of work) expect(topology.bindings.some((binding) => binding.destination === queue.name)).toBe(true);
    for (const queue of topology.queues.filter((candidate) => !candidate.durable)) expect(queue.auto_delete).toBe(true);

    expect(delayQueues.length === 0 || delayQueues.length === 28).toBe(true);
  });

  test('the delay ladder is the one that a Celery worker declares', () => {
    const unit = unitsOfKind('topology').find((candidate) => candidate.vector.name === 'c-amqp-topology-quorum-delayed');
    if (unit === undefined) throw new Error('the recording is missing');
    const { exchanges, queues, bindings } = unit.topology;
    const ours = ladder();
    const byName = (a: { readonly name: string }, b: { readonly name: string }): number => (a.name < b.name ? -1 : 1);

    expect(
      ours
        .flatMap((part) => (part.kind === 'exchange' ? [{ name: part.name, type: part.type, durable: true }] : []))
        .sort(byName),
    ).toEqual(
      exchanges
        .filter((exchange) => isDelay(exchange.name))
        .map(({ name, type, durable }) => ({ name, type, durable }))
        .sort(byName),
    );
    expect(
      ours.flatMap((part) => (part.kind === 'queue' ? [{ name: part.name, arguments: part.arguments }] : [])).sort(byName),
    ).toEqual(
      queues
        .filter((queue) => isDelay(queue.name))
        .map(({ name, arguments: given }) => ({ name, arguments: given }))
        .sort(byName),
    );
    const recorded = bindings.filter((binding) => isDelay(binding.source) && isDelay(binding.destination));
    const line = (source: string, to: string, kind: string, key: string): string => [source, to, kind, key].join(' ');
    expect(
      ours
        .flatMap((part) => {
          if (part.kind === 'bind-queue') return [line(part.exchange, part.queue, 'queue', part.key)];
          return part.kind === 'bind-exchange' ? [line(part.from, part.to, 'exchange', part.key)] : [];
        })
        .sort(),
    ).toEqual(recorded.map((b) => line(b.source, b.destination, b.destination_type, b.routing_key)).sort());
  });

  test('a delayed message carries its seconds as bits in front of its routing key', () => {
    const delayed = unitsOfKind('amqp').filter((unit) => unit.vector.name.startsWith('c-amqp-delayed-'));
    expect(delayed).toHaveLength(2);
    for (const { record, vector } of delayed) {
      const seconds = Number(/countdown=(\d+)/.exec(vector.given)?.[1]);
      expect(record.exchange === DELIVERY_EXCHANGE || record.exchange === 'celery_delayed_27').toBe(true);
      expect(parseIsoMs(String(record.headers.eta))).not.toBeNull();
      expect([delayBits(seconds), delayBits(seconds - 1)].map((bits) => `${bits}.celery`)).toContain(record.routing_key);
    }
  });

  test.each(unitsOfKind('reply-queue'))('$where', ({ queue }) => {
    const { durable, autoDelete, arguments: given } = rpcReplyQueue(86_400_000);
    expect(queue).toMatchObject({ durable, auto_delete: autoDelete, exclusive: false, arguments: given });
  });
});
