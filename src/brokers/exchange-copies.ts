/**
 * Exchanges where the broker has none (memory, file, Redis): a message that goes to one is sent as a copy into each queue that is
 * bound to it by a fitting key, as kombu does it on Redis. Bound are the queues of the app's table and, where the broker tells, those
 * of others. The driver itself sees sends to queues only. Next stop: `broadcast-queues.ts`, or the driver.
 */
import { PublishError, toError } from '../core/errors.js';
import type { Destination } from '../wire/message.js';
import type { Binding, Broker, OutgoingMessage, PublishOptions, PublishResult } from './broker.js';
import { idOf } from './duplicate.js';
import { PassingBroker } from './passing-broker.js';
import type { QueueExchangeType, QueueTable } from './queue-table.js';
import { topicMatcher } from './topic-pattern.js';

/** The broker itself where exchanges are its own business. */
export function withExchangeCopies(broker: Broker, table: QueueTable): Broker {
  return broker.capabilities.queueDeclarations === true ? broker : new CopyingBroker(broker, table);
}

/** An exchange of the table: its type, and the queues that the table binds to it. */
interface KnownExchange {
  readonly type: QueueExchangeType;
  readonly bindings: readonly Binding[];
  /** A queue of workers that listen for themselves: one copy reaches all of them. */
  readonly broadcast: string | null;
}

class CopyingBroker extends PassingBroker {
  readonly #table: QueueTable;

  constructor(broker: Broker, table: QueueTable) {
    super(broker);
    this.#table = table;
  }

  override spreads(to: Destination): boolean {
    return Boolean(to.exchange) || super.spreads(to);
  }

  override publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    return messages.some(({ to }) => to.exchange) ? this.#copy(messages, options) : this.broker.publish(messages, options);
  }

  async #copy(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    // Once a batch: others may have bound or unbound queues since the last.
    const known = new Map<string, Promise<KnownExchange>>();
    const copies: OutgoingMessage[] = [];
    /** For each message where its copies are, or why there are none. */
    const parts: (PublishError | { readonly from: number; readonly to: number })[] = [];
    for (const message of messages) {
      const queues = message.to.exchange ? await this.#queuesFor(message, message.to.exchange, known) : [message.to.queue];
      if (queues instanceof PublishError) {
        parts.push(queues);
        continue;
      }
      const from = copies.length;
      for (const queue of queues) copies.push(message.to.exchange ? { ...message, to: { queue } } : message);
      parts.push({ from, to: copies.length });
    }
    const results = copies.length === 0 ? [] : await this.broker.publish(copies, options);
    return parts.map((part) => (part instanceof PublishError ? part : merged(results.slice(part.from, part.to))));
  }

  async #queuesFor(
    message: OutgoingMessage,
    exchange: string,
    known: Map<string, Promise<KnownExchange>>,
  ): Promise<readonly string[] | PublishError> {
    const refused = (code: PublishError['code'], why: string, cause?: unknown): PublishError =>
      new PublishError(code, `sending to exchange ${exchange} failed: ${why}`, {
        ...{ outcome: 'not-sent', taskId: idOf(message), cause },
      });
    let found: KnownExchange;
    try {
      const asked = known.get(exchange) ?? this.#know(exchange);
      known.set(exchange, asked);
      found = await asked;
    } catch (error) {
      return refused('E_BROKER_UNREACHABLE', toError(error).message, error);
    }
    const { type, bindings, broadcast } = found;
    // kombu's fanout on Redis is PUBLISH, which no queue keeps: a copy in a list would be one that Python's workers never get.
    if (type === 'fanout' && bindings.length > 0 && this.capabilities.celery === true)
      return refused(
        'E_NOT_SUPPORTED',
        'a fanout exchange reaches only who listens here: declare its queues with broadcast: true, or make it a topic exchange with the key #',
      );
    if (type === 'headers') return refused('E_NOT_SUPPORTED', 'exchanges by headers need amqp://: bind by a topic instead');
    const key = message.to.routingKey ?? message.to.queue;
    const fitting = bindings.filter(({ routingKey }) => fits(type, routingKey, key));
    const queues = [...new Set(fitting.map(({ queue }) => queue)), ...(broadcast === null ? [] : [broadcast])];
    if (queues.length === 0)
      return refused('E_QUEUE_MISSING', `no queue is bound to it by a key that fits ${JSON.stringify(key)}`);
    if (queues.length > 1 && message.dedupe)
      return refused('E_NOT_SUPPORTED', `a dedupe key is for one message, and these would be ${queues.length}: send to a queue`);
    return queues;
  }

  async #know(exchange: string): Promise<KnownExchange> {
    const rows = Object.entries(this.#table.queues).filter(([, row]) => row.exchange === exchange);
    const own = rows.flatMap(([queue, { routingKey, broadcast }]) => (broadcast ? [] : [{ queue, routingKey }]));
    const type = rows[0]?.[1].exchangeType ?? 'direct';
    const others = type === 'fanout' ? [] : ((await this.broker.bindings?.(exchange)) ?? []);
    const broadcast = rows.find(([, row]) => row.broadcast)?.[0] ?? null;
    return { type, bindings: [...own, ...others], broadcast };
  }
}

function fits(type: QueueExchangeType, bound: string, key: string): boolean {
  if (type === 'fanout') return true;
  return type === 'topic' ? topicMatcher(bound)(key) : bound === key;
}

/** All copies must have arrived; if only some have, nobody can say that nothing was sent. */
function merged(results: readonly PublishResult[]): PublishResult {
  const failure = results.find((result) => result !== null);
  if (!failure || results.every((result) => result !== null)) return failure ?? null;
  return new PublishError(failure.code, failure.message, { outcome: 'unknown', taskId: failure.taskId, cause: failure });
}
