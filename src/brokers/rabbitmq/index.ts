/**
 * The RabbitMQ driver (`amqp:`, `amqps:`): assembles its parts and owns the two connections. One publishes, one consumes and
 * acknowledges: under a memory or disk alarm the broker stops reading from publishers, and acks must not wait behind them.
 *
 * In here: `topology.ts` what is declared, `delay.ts` the delay ladder, `codec.ts` messages, `consumer.ts` with `credit-gate.ts`,
 * `ack-batch.ts` and `settle.ts` deliveries, `listener.ts` broadcasts, `inspect.ts` questions. Publishing with confirms is
 * `clients/amqp-publisher.ts`. Next stop: `worker/engine/consumer.ts`.
 */
import { AmqpLink } from '../../clients/amqp.js';
import { ConfirmPublisher, type AmqpOutgoing, type PublishFailure } from '../../clients/amqp-publisher.js';
import { SetupChannel } from '../../clients/amqp-setup.js';
import { type AmqpTarget, parseAmqpUrl } from '../../clients/amqp-url.js';
import { BrokerError, codeOf, PublishError, toError } from '../../core/errors.js';
import type {
  Broadcast,
  Broker,
  BrokerCapabilities,
  BrokerOptions,
  ConsumeOptions,
  Consumer,
  OutgoingMessage,
  Peeked,
  PublishOptions,
  PublishResult,
  QueueDepth,
  Subscription,
} from '../broker.js';
import { encodeForQueue } from './codec.js';
import { RabbitmqConsumer } from './consumer.js';
import { delayRoute } from './delay.js';
import { depth, peek, purge } from './inspect.js';
import { listen } from './listener.js';
import { Settler } from './settle.js';
import { Topology } from './topology.js';

export { DEAD_HEADERS } from './codec.js';
export { DEAD_QUEUE } from './topology.js';

const DECLARE_MS = 10_000;
const BROADCAST_MS = 5_000;

function capabilitiesOf({ options }: AmqpTarget): BrokerCapabilities {
  return {
    shared: true,
    durable: true,
    delayedPublish: true,
    priorities:
      options.maxPriority !== null
        ? true
        : 'queues are declared plainly, as Celery does, and RabbitMQ honours priorities only where a queue has x-max-priority: add ?max_priority=9 to the URL, for every client of these queues',
    peek: 'RabbitMQ has no way to look at a message without taking it: it is put back where it was, but marked as redelivered',
    countsLosses: 'RabbitMQ only tells that a message was delivered before, not how often or why',
    celery: true,
  };
}

/** A queue that messages are for, and how they get there. */
interface Needed {
  readonly queue: string;
  readonly delayed: boolean;
  readonly stageMs: number | null;
}

/** Opens the driver; connects on first use. @throws ConfigError `E_CONFIG_URL` */
export async function openRabbitmqBroker(options: BrokerOptions): Promise<Broker> {
  return new RabbitmqBroker(parseAmqpUrl(options.url), options);
}

class RabbitmqBroker implements Broker {
  readonly name = 'rabbitmq';
  readonly capabilities: BrokerCapabilities;
  readonly #options: BrokerOptions;
  readonly #publishLink: AmqpLink;
  readonly #consumeLink: AmqpLink;
  readonly #publisher: ConfirmPublisher;
  readonly #publishSetup: SetupChannel;
  readonly #consumeSetup: SetupChannel;
  readonly #topology: Topology;
  readonly #settler: Settler;
  readonly #consumers = new Set<RabbitmqConsumer>();
  readonly #subscriptions = new Set<Subscription>();
  #consuming = false;
  #closed = false;

  constructor(target: AmqpTarget, options: BrokerOptions) {
    this.#options = options;
    this.capabilities = capabilitiesOf(target);
    this.#publishLink = new AmqpLink(target, `lovage ${options.role} publish`, options.logger);
    this.#consumeLink = new AmqpLink(target, `lovage ${options.role} consume`, options.logger);
    this.#publishSetup = new SetupChannel(this.#publishLink);
    this.#consumeSetup = new SetupChannel(this.#consumeLink);
    this.#publisher = new ConfirmPublisher(this.#publishLink);
    // Under an alarm a publishing connection answers nothing, so an engine declares and asks on the other one.
    this.#topology = new Topology(() => this.#setup(), target.options, options.logger);
    this.#settler = new Settler(this.#publisher, this.#topology, options.logger, Date.now);
    const forget = { onUp: () => undefined, onDown: () => this.#topology.forget() };
    this.#publishLink.listen(forget);
    this.#consumeLink.listen(forget);
  }

  async connect({ timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
    this.#assertOpen();
    await this.#publishLink.connected(timeoutMs);
  }

  async publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    this.#assertOpen();
    const deadlineMs = performance.now() + options.timeoutMs;
    const nowMs = Date.now();
    const outgoing = new Array<AmqpOutgoing>(messages.length);
    let missing: Map<string, Needed> | undefined;
    for (let index = 0; index < messages.length; index += 1) {
      const { to, message, priority, notBeforeMs } = messages[index]!;
      if (to.exchange) {
        outgoing[index] = { exchange: to.exchange, routingKey: to.routingKey ?? to.queue, ...encodeForQueue(message, priority, 'queue') };
      } else if (notBeforeMs !== undefined && notBeforeMs > nowMs) {
        const { exchange, routingKey, stageMs } = delayRoute(notBeforeMs - nowMs + 1, to.queue);
        if (!this.#topology.hasDelay(to.queue, stageMs)) (missing ??= new Map()).set(`${stageMs} ${to.queue}`, { queue: to.queue, delayed: true, stageMs });
        outgoing[index] = { exchange, routingKey, ...encodeForQueue(message, priority, 'delay') };
      } else {
        if (!this.#topology.hasQueue(to.queue)) (missing ??= new Map()).set(to.queue, { queue: to.queue, delayed: false, stageMs: null });
        outgoing[index] = { exchange: '', routingKey: to.queue, ...encodeForQueue(message, priority, 'queue') };
      }
    }
    if (missing) {
      const failure = await this.#declareAll([...missing.values()], deadlineMs, options.signal);
      if (failure) return messages.map((message) => publishError(failure, message));
    }
    let failures = await this.#publisher.publish(outgoing, { timeoutMs: deadlineMs - performance.now(), signal: options.signal });
    if (failures.every((failure) => failure === null)) return failures as readonly null[];
    if (failures.some((failure) => failure?.missing)) failures = await this.#again(messages, outgoing, failures, deadlineMs, options.signal);
    return failures.map((failure, index) => (failure === null ? null : publishError(failure, messages[index]!)));
  }

  async consume(options: ConsumeOptions): Promise<Consumer> {
    this.#assertOpen();
    this.#consuming = true;
    const consumer = new RabbitmqConsumer(this.#consumeLink, this.#topology, this.#settler, options, () => this.#consumers.delete(consumer));
    this.#consumers.add(consumer);
    await consumer.started(DECLARE_MS);
    return consumer;
  }

  async declare(queue: string): Promise<void> {
    this.#assertOpen();
    await this.#topology.queue(queue, DECLARE_MS);
  }

  async queues(): Promise<readonly string[]> {
    this.#assertOpen();
    return this.#topology.queues;
  }

  async depth(queues: readonly string[]): Promise<readonly QueueDepth[]> {
    this.#assertOpen();
    return depth(this.#setup(), queues);
  }

  async peek(queue: string, limit: number): Promise<readonly Peeked[]> {
    this.#assertOpen();
    return peek(this.#setup(), queue, limit);
  }

  async purge(queue: string, onProgress?: (removed: number) => void): Promise<number> {
    this.#assertOpen();
    const removed = await purge(this.#setup(), queue);
    onProgress?.(removed);
    return removed;
  }

  async broadcast({ exchange, routingKey, message }: Broadcast): Promise<void> {
    this.#assertOpen();
    if (exchange !== '') await this.#topology.broadcast(exchange, BROADCAST_MS);
    const { content, options } = encodeForQueue(message, undefined, 'queue');
    // Nobody listening is fine: then nobody misses it.
    const [failure] = await this.#publisher.publish([{ exchange, routingKey, content, options: { ...options, mandatory: false } }], { timeoutMs: BROADCAST_MS });
    if (!failure) return;
    if (failure.missing) this.#topology.forget();
    throw new BrokerError(failure.code, `broadcast to ${exchange} failed: ${failure.message}`, { cause: failure.cause });
  }

  async listen(exchange: string, pattern: string, onBroadcast: (broadcast: Broadcast) => void): Promise<Subscription> {
    this.#assertOpen();
    this.#consuming = true;
    const subscription = await listen(this.#consumeLink, this.#options.logger, exchange, pattern, onBroadcast);
    const tracked: Subscription = {
      close: () => {
        this.#subscriptions.delete(tracked);
        return subscription.close();
      },
    };
    this.#subscriptions.add(tracked);
    return tracked;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#consumers].map((consumer) => consumer.close({ timeoutMs: 1_000 })));
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()));
    await this.#publisher.close();
    await Promise.all([this.#publishLink.close(), this.#consumeLink.close()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #setup(): SetupChannel {
    return this.#consuming ? this.#consumeSetup : this.#publishSetup;
  }

  /** Null when all stands; otherwise why nothing could be sent. */
  async #declareAll(
    missing: readonly Needed[],
    deadlineMs: number,
    signal: AbortSignal | undefined,
  ): Promise<PublishFailure | null> {
    const work = async (): Promise<null> => {
      for (const { queue, delayed, stageMs } of missing) {
        for (;;) {
          const leftMs = Math.max(deadlineMs - performance.now(), 1);
          try {
            await (delayed ? this.#topology.delay(queue, stageMs, leftMs) : this.#topology.queue(queue, leftMs));
            break;
          } catch (error) {
            // We may have joined a declaration whose own deadline ended, or whose connection broke: ours has not.
            if (codeOf(error) !== 'E_CONNECTION_LOST' || performance.now() >= deadlineMs || signal?.aborted) throw error;
          }
        }
      }
      return null;
    };
    try {
      return await untilAborted(work(), Math.max(deadlineMs - performance.now(), 0), signal);
    } catch (error) {
      const cause = toError(error);
      if (signal?.aborted) return { code: 'E_PUBLISH_FAILED', message: 'the send was aborted by its signal before anything was sent', outcome: 'not-sent', cause: signal.reason };
      const code = codeOf(cause) ?? 'E_PUBLISH_FAILED';
      // Whatever came between us and the broker, for the sender it is the deadline that passed.
      const timedOut = code === 'E_BROKER_UNREACHABLE' || code === 'E_CONNECTION_LOST' || performance.now() >= deadlineMs;
      return { code: timedOut ? 'E_PUBLISH_TIMEOUT' : code, message: cause.message, outcome: 'not-sent', cause };
    }
  }

  /** Queues deleted since we declared them: declares once more and publishes what came back. */
  async #again(
    messages: readonly OutgoingMessage[],
    outgoing: readonly AmqpOutgoing[],
    failures: readonly (PublishFailure | null)[],
    deadlineMs: number,
    signal: AbortSignal | undefined,
  ): Promise<readonly (PublishFailure | null)[]> {
    this.#topology.forget();
    // An exchange that the caller named is the caller's: we would not know its type.
    const retry = failures.flatMap((failure, index) => (failure?.missing && !messages[index]!.to.exchange ? [index] : []));
    if (retry.length === 0) return failures;
    const queues = new Map<string, Needed>();
    for (const index of retry) {
      const { queue } = messages[index]!.to;
      const { exchange } = outgoing[index]!;
      const stageMs = /^lovage_delayed_(\d+)ms$/.exec(exchange)?.[1];
      queues.set(`${exchange} ${queue}`, { queue, delayed: exchange !== '', stageMs: stageMs === undefined ? null : Number(stageMs) });
    }
    const merged = [...failures];
    const failure = await this.#declareAll([...queues.values()], deadlineMs, signal);
    const second = failure
      ? retry.map(() => failure)
      : await this.#publisher.publish(retry.map((index) => outgoing[index]!), { timeoutMs: deadlineMs - performance.now(), signal });
    retry.forEach((index, position) => (merged[index] = second[position] ?? null));
    return merged;
  }

  #assertOpen(): void {
    if (this.#closed) throw new BrokerError('E_CLOSED', 'the RabbitMQ broker was used after close()');
  }
}

function publishError(failure: PublishFailure, { to, message }: OutgoingMessage): PublishError {
  const id = message.headers['id'];
  const where = to.exchange ? `exchange ${to.exchange}` : `queue ${to.queue}`;
  return new PublishError(failure.code, `sending to ${where} failed: ${failure.message}`, {
    outcome: failure.outcome,
    taskId: typeof id === 'string' ? id : undefined,
    cause: failure.cause,
  });
}

/** The work, or a rejection at the deadline or when the signal aborts; the work itself goes on and is remembered when it ends. */
function untilAborted<T>(work: Promise<T>, timeoutMs: number, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => end(() => reject(new BrokerError('E_PUBLISH_TIMEOUT', 'the queue could not be declared within the deadline'))), timeoutMs);
    const onAbort = (): void => end(() => reject(toError(signal?.reason)));
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      settle();
    };
    if (signal?.aborted) return onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    work.then(
      (value) => end(() => resolve(value)),
      (error: unknown) => end(() => reject(error as Error)),
    );
  });
}
