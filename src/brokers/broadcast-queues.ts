/**
 * Broadcast queues, Celery's `Broadcast`: each worker that takes one gets its own copy of whatever is sent to it while it listens.
 * A layer over any driver, made of its `broadcast` and `listen`: sends go to the fanout exchange, and what is heard waits in the
 * worker's own memory. At most once, as fanout is. Everything else goes through to the driver untouched.
 * Next stop: `broadcast-consumer.ts`.
 */
import { setMaxListeners } from 'node:events';
import { codeOf, PublishError, toError } from '../core/errors.js';
import { inTime } from '../core/in-time.js';
import type { Destination } from '../wire/message.js';
import { BroadcastConsumer } from './broadcast-consumer.js';
import type {
  Broker,
  ConsumeOptions,
  Consumer,
  OutgoingMessage,
  Peeked,
  PublishOptions,
  PublishResult,
  QueueDepth,
} from './broker.js';
import { idOf } from './duplicate.js';
import { PassingBroker } from './passing-broker.js';
import { type BroadcastRows, broadcastRows, type QueueDeclaration, type QueueTable } from './queue-table.js';

/** The broker itself if the table has no broadcast queues. */
export function withBroadcastQueues(broker: Broker, table: QueueTable): Broker {
  const rows = broadcastRows(table);
  return rows.size === 0 ? broker : new BroadcastingBroker(broker, rows);
}

class BroadcastingBroker extends PassingBroker {
  readonly #rows: BroadcastRows;

  constructor(broker: Broker, rows: BroadcastRows) {
    super(broker);
    this.#rows = rows;
  }

  override spreads(to: Destination): boolean {
    return this.#rows.has(to.queue) || super.spreads(to);
  }

  override publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    const isOwn = messages.some(({ to }) => this.#rows.has(to.queue));
    return isOwn ? this.#publishApart(messages, options) : this.broker.publish(messages, options);
  }

  async #publishApart(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    const others = messages.filter(({ to }) => !this.#rows.has(to.queue));
    // Each send listens to it, and it may be the caller's own.
    const call = new AbortController();
    setMaxListeners(0, call.signal);
    const onAbort = (): void => call.abort(options.signal?.reason);
    if (options.signal?.aborted) onAbort();
    options.signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const [results, told] = await Promise.all([
        others.length === 0 ? [] : this.broker.publish(others, options),
        Promise.all(
          messages.flatMap((message) => {
            const row = this.#rows.get(message.to.queue);
            return row ? [this.#tell(row, message, options.timeoutMs, call.signal)] : [];
          }),
        ),
      ]);
      let nextOther = 0;
      let nextTold = 0;
      return messages.map(({ to }) => (this.#rows.has(to.queue) ? told[nextTold++] : results[nextOther++]) ?? null);
    } finally {
      options.signal?.removeEventListener('abort', onAbort);
    }
  }

  /** A driver that consumes nothing else has no queues, and is there for those that are added later. */
  override async consume(options: ConsumeOptions): Promise<Consumer> {
    const queues = options.queues.filter(({ name }) => !this.#rows.has(name));
    const others = await this.broker.consume({ ...options, queues });
    const consumer = new BroadcastConsumer(others, this.broker, this.#rows, options);
    await consumer.listening;
    return consumer;
  }

  /** A broadcast queue is made by who listens, and its exchange by who sends. */
  override async declare(queue: string): Promise<void> {
    if (!this.#rows.has(queue)) await this.broker.declare(queue);
  }

  /** Nothing ever waits at the broker itself. */
  override async depth(queues: readonly string[]): Promise<readonly QueueDepth[]> {
    const others = queues.filter((queue) => !this.#rows.has(queue));
    const known = others.length === 0 ? [] : await this.broker.depth(others);
    let next = 0;
    return queues.map((queue) => {
      const empty: QueueDepth = { queue, ready: 0, delayed: 0, unacked: null };
      return this.#rows.has(queue) ? empty : (known[next++] ?? empty);
    });
  }

  override async peek(queue: string, limit: number): Promise<readonly Peeked[]> {
    return this.#rows.has(queue) ? [] : this.broker.peek(queue, limit);
  }

  override async purge(queue: string, onProgress?: (removed: number) => void): Promise<number> {
    return this.#rows.has(queue) ? 0 : this.broker.purge(queue, onProgress);
  }

  /** At once also with a time: whoever hears it reads its eta and puts it off. That nobody listens is no failure. */
  async #tell(row: QueueDeclaration, outgoing: OutgoingMessage, timeoutMs: number, signal: AbortSignal): Promise<PublishResult> {
    const { to, message, dedupe } = outgoing;
    const failure = (code: PublishError['code'], why: string, outcome: 'not-sent' | 'unknown', cause?: unknown): PublishError =>
      new PublishError(code, `broadcasting to ${to.queue} failed: ${why}`, { outcome, taskId: idOf(outgoing), cause });
    if (dedupe) return failure('E_NOT_SUPPORTED', 'a broadcast takes no dedupe key: send it to a queue of its own', 'not-sent');
    if (signal.aborted) return failure('E_PUBLISH_FAILED', 'the send was aborted by its signal', 'not-sent', signal.reason);
    try {
      const routingKey = to.routingKey ?? row.routingKey;
      await inTime(this.broker.broadcast({ exchange: row.exchange, routingKey, message }), {
        ...{ timeoutMs, signal },
        onLate: () => failure('E_PUBLISH_TIMEOUT', 'the broker did not confirm it in time', 'unknown'),
        onAbort: (reason) => failure('E_PUBLISH_FAILED', 'the send was aborted by its signal', 'unknown', reason),
      });
      return null;
    } catch (error) {
      if (error instanceof PublishError) return error;
      const code = codeOf(error) ?? 'E_PUBLISH_FAILED';
      return failure(code, toError(error).message, code === 'E_BROKER_UNREACHABLE' ? 'not-sent' : 'unknown', error);
    }
  }
}
