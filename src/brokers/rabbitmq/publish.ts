/**
 * Messages of the app into queues: their route (at once, or through the delay ladder), what must be declared first, and what becomes
 * of those that come back. Confirms are in `clients/amqp-publisher.ts`.
 */
import type { AmqpOutgoing, PublishFailure } from '../../clients/amqp-batch.js';
import type { ConfirmPublisher } from '../../clients/amqp-publisher.js';
import { BrokerError, codeOf, PublishError, toError } from '../../core/errors.js';
import type { OutgoingMessage, PublishOptions, PublishResult } from '../broker.js';
import { encodeForQueue } from './codec.js';
import { delayRoute, legMs } from './delay.js';
import type { Topology } from './topology.js';

/** What messages are for, and how they get there. */
interface Needed {
  readonly name: string;
  readonly way: 'queue' | 'delay' | 'exchange';
}

/** Publishes to queues that are made as needed, within one deadline for everything. */
export class QueuePublisher {
  readonly #publisher: ConfirmPublisher;
  readonly #topology: Topology;

  constructor(publisher: ConfirmPublisher, topology: Topology) {
    this.#publisher = publisher;
    this.#topology = topology;
  }

  /** One result a message, in order. Never rejects. */
  async publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    const deadlineMs = performance.now() + options.timeoutMs;
    const missing = this.#missing(messages);
    if (missing.length > 0) {
      const failure = await this.#declareAll(missing, deadlineMs, options.signal);
      if (failure) return messages.map((message) => publishError(failure, message));
      // Declaring may have outlasted several delays: what is due by now goes out in the order of its times.
      const order = byTime(messages);
      if (order) {
        const sorted = await this.#send(
          order.map((index) => messages[index]!),
          deadlineMs,
          options.signal,
        );
        const results = new Array<PublishResult>(messages.length).fill(null);
        order.forEach((index, position) => (results[index] = sorted[position]!));
        return results;
      }
    }
    return this.#send(messages, deadlineMs, options.signal);
  }

  /** Everything is declared, as far as is known. */
  async #send(
    messages: readonly OutgoingMessage[],
    deadlineMs: number,
    signal: AbortSignal | undefined,
  ): Promise<readonly PublishResult[]> {
    const outgoing = this.#routed(messages);
    let failures = await this.#publisher.publish(outgoing, { timeoutMs: deadlineMs - performance.now(), signal });
    if (failures.every((failure) => failure === null)) return failures as readonly null[];
    if (failures.some((failure) => failure?.missing))
      failures = await this.#again(messages, outgoing, failures, deadlineMs, signal);
    return failures.map((failure, index) => (failure === null ? null : publishError(failure, messages[index]!)));
  }

  /** What must be declared before these can be sent. */
  #missing(messages: readonly OutgoingMessage[]): readonly Needed[] {
    let missing: Map<string, Needed> | undefined;
    const nowMs = Date.now();
    for (const { to, notBeforeMs } of messages) {
      if (to.exchange) {
        if (!this.#topology.hasExchange(to.exchange))
          (missing ??= new Map()).set(`exchange ${to.exchange}`, { name: to.exchange, way: 'exchange' });
        continue;
      }
      const way = notBeforeMs !== undefined && notBeforeMs > nowMs ? 'delay' : 'queue';
      if (way === 'delay' ? this.#topology.hasDelay(to.queue) : this.#topology.hasQueue(to.queue)) continue;
      (missing ??= new Map()).set(`${way} ${to.queue}`, { name: to.queue, way });
    }
    return missing ? [...missing.values()] : [];
  }

  /** Where each goes; asked after all declarations, which may have taken seconds of a delay. */
  #routed(messages: readonly OutgoingMessage[]): readonly AmqpOutgoing[] {
    const outgoing = new Array<AmqpOutgoing>(messages.length);
    const nowMs = Date.now();
    for (let index = 0; index < messages.length; index += 1) {
      const { to, message, priority, notBeforeMs } = messages[index]!;
      if (priority !== undefined) this.#topology.noticePriority(to.queue);
      if (to.exchange) {
        // At once also with a time: the ladder leads to queues. The worker that gets it reads its eta and puts it off, as with Celery's.
        const routingKey = to.routingKey ?? to.queue;
        outgoing[index] = { exchange: to.exchange, routingKey, ...encodeForQueue(message, priority, 'queue') };
      } else if (notBeforeMs !== undefined && notBeforeMs > nowMs) {
        const waitMs = legMs(message, notBeforeMs, nowMs);
        const { exchange, routingKey } = delayRoute(waitMs, to.queue, this.#topology.delayWord(to.queue));
        outgoing[index] = { exchange, routingKey, ...encodeForQueue(message, priority, 'delay') };
      } else {
        outgoing[index] = { exchange: '', routingKey: to.queue, ...encodeForQueue(message, priority, 'queue') };
      }
    }
    return outgoing;
  }

  /** Null when all stands; otherwise why nothing could be sent. */
  async #declareAll(
    missing: readonly Needed[],
    deadlineMs: number,
    signal: AbortSignal | undefined,
  ): Promise<PublishFailure | null> {
    const work = async (): Promise<null> => {
      for (const { name, way } of missing) {
        for (;;) {
          const leftMs = Math.max(deadlineMs - performance.now(), 1);
          try {
            await this.#topology[way](name, leftMs);
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
      if (signal?.aborted)
        return {
          code: 'E_PUBLISH_FAILED',
          message: 'the send was aborted by its signal before anything was sent',
          outcome: 'not-sent',
          cause: signal.reason,
        };
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
    // An exchange that no table names is the caller's: we would not know its type.
    const ours = (exchange: string | undefined): boolean => !exchange || !this.#topology.hasExchange(exchange);
    const retry = failures.flatMap((failure, index) => (failure?.missing && ours(messages[index]!.to.exchange) ? [index] : []));
    if (retry.length === 0) return failures;
    const queues = new Map<string, Needed>();
    for (const index of retry) {
      const { to } = messages[index]!;
      const { exchange } = outgoing[index]!;
      const needed: Needed = to.exchange
        ? { name: to.exchange, way: 'exchange' }
        : { name: to.queue, way: exchange === '' ? 'queue' : 'delay' };
      queues.set(`${needed.way} ${needed.name}`, needed);
    }
    const merged = [...failures];
    const failure = await this.#declareAll([...queues.values()], deadlineMs, signal);
    const second = failure
      ? retry.map(() => failure)
      : await this.#publisher.publish(
          retry.map((index) => outgoing[index]!),
          { timeoutMs: deadlineMs - performance.now(), signal },
        );
    retry.forEach((index, position) => (merged[index] = second[position] ?? null));
    return merged;
  }
}

/** Indexes in the order in which the messages are due; `null` if that is the order that they have. */
function byTime(messages: readonly OutgoingMessage[]): readonly number[] | null {
  const dueMs = (index: number): number => messages[index]!.notBeforeMs ?? 0;
  const order = messages.map((_, index) => index).sort((a, b) => dueMs(a) - dueMs(b) || a - b);
  return order.every((index, position) => index === position) ? null : order;
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
    const timer = setTimeout(
      () => end(() => reject(new BrokerError('E_PUBLISH_TIMEOUT', 'the queue could not be declared within the deadline'))),
      timeoutMs,
    );
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
