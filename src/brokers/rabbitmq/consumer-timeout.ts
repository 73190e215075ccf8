/**
 * What is known of the broker's `consumer_timeout`, after which it closes the channel of a delivery that is not acknowledged and gives
 * the message to somebody else. AMQP cannot ask for it: it comes from the URL, and from the broker's own words when it struck.
 *
 * Versions, read in the broker's source: up to 4.2 nothing that a client says changes it (the consumer argument `x-consumer-timeout`
 * is silently ignored). From 4.3 quorum queues take the argument, and classic queues have no timeout and refuse whoever sends it.
 * What is done about it is in `claims.ts`.
 */
import { AMQP_PRECONDITION_FAILED, amqpCode } from '../../clients/amqp-setup.js';
import type { Logger } from '../../core/logger.js';

/** Asked for where the broker listens; longer than any task should take. */
const ARGUMENT_MS = 7 * 86_400_000;

/** Knowledge of one broker; shared by its consumers. */
export class ConsumerTimeout {
  readonly #expectedMs: number;
  readonly #logger: Logger;
  /** What the broker named when it closed a channel for it; the least counts. */
  #learnedMs = Infinity;
  /** Queues that refused the argument. Bounded by the queues that this process consumes. */
  readonly #untimed = new Set<string>();

  /** @param expectedMs `consumer_timeout` of the URL */
  constructor(expectedMs: number, logger: Logger) {
    this.#expectedMs = expectedMs;
    this.#logger = logger;
  }

  /** Arguments of a subscription to the queue. */
  argumentsFor(version: string | null, queue: string): Readonly<Record<string, number>> {
    return takesArgument(version) && !this.#untimed.has(queue) ? { 'x-consumer-timeout': ARGUMENT_MS } : {};
  }

  /** How old a delivery may become before it is claimed; `null` = it need not be. */
  claimAfterMs(version: string | null): number | null {
    const timeoutMs = takesArgument(version) ? this.#learnedMs : Math.min(this.#expectedMs, this.#learnedMs);
    return timeoutMs === Infinity ? null : timeoutMs / 2;
  }

  /**
   * Takes what can be learnt from the error that closed a channel.
   * @returns the timeout in milliseconds if the channel was closed for it, `'untimed'` if the queue has none and takes no argument for one
   */
  learn(error: unknown, queue?: string): number | 'untimed' | null {
    if (amqpCode(error) !== AMQP_PRECONDITION_FAILED) return null;
    const { message } = error as Error;
    if (queue !== undefined && message.includes("invalid arg 'x-consumer-timeout'")) {
      this.#untimed.add(queue);
      return 'untimed';
    }
    const usedMs = Number(/delivery acknowledgement .*timed out.*Timeout value used: (\d+) ms/.exec(message)?.[1] ?? NaN);
    if (!(usedMs > 0)) return null;
    this.#learnedMs = Math.min(this.#learnedMs, usedMs);
    this.#logger.warn(
      { consumerTimeoutMs: usedMs },
      'a delivery ran into the consumer_timeout of the broker and comes again; from now on deliveries are claimed before it strikes. Put ?consumer_timeout=… into the broker URL if it is not 30 minutes',
    );
    return usedMs;
  }
}

/** From 4.3 the timeout belongs to the queues, and subscriptions set their own. */
function takesArgument(version: string | null): boolean {
  const [major = 0, minor = 0] = (version ?? '').split('.').map((part) => Number.parseInt(part, 10) || 0);
  return major > 4 || (major === 4 && minor >= 3);
}
