/**
 * Which queues are consumed, with what credit: those of the start, with what was added, without what was removed or paused, shared out
 * over the slots that there are now. Owns bringing the consumer in line with that, for as long as it takes.
 */
import type { Broker, Consumer, ConsumeWish } from '../../brokers/broker.js';
import { reconnectDelayMs } from '../../core/backoff.js';
import { sleep } from '../../core/clock.js';
import { ConfigError, codeOf, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { type QueueOption, queueCredits } from '../options.js';

/** A worker polls no more; names come from people, and a script of theirs may run wild. */
const MOST_QUEUES = 1_000;

export interface SubscriptionsOptions {
  readonly broker: Pick<Broker, 'declare'>;
  /** `null` before the worker consumes. */
  readonly consumer: () => Pick<Consumer, 'change'> | null;
  readonly queues: readonly QueueOption[];
  readonly slots: number;
  readonly logger: Logger;
}

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #closing = new AbortController();
  /** By name. Bounded by `MOST_QUEUES`. */
  readonly #queues: Map<string, QueueOption>;
  #paused: ReadonlySet<string> = new Set();
  #slots: number;
  /** Queues that were declared here. */
  readonly #declared = new Set<string>();
  #isDue = false;
  #applying: Promise<void> | null = null;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
    this.#queues = new Map(options.queues.map((queue) => [queue.name, queue]));
    this.#slots = options.slots;
  }

  get slots(): number {
    return this.#slots;
  }

  /** What is to be consumed now. */
  get wish(): ConsumeWish {
    const open = [...this.#queues.values()].filter(({ name }) => !this.#paused.has(name));
    return { queues: queueCredits(open, this.#slots), credit: this.#slots };
  }

  /** Consumed, paused ones left out. */
  get names(): string[] {
    return this.wish.queues.map(({ name }) => name);
  }

  /** Makes them exist, paused ones too, or who sends would depend on it. @throws BrokerError, ConfigError */
  async declare(): Promise<void> {
    for (const name of this.#queues.keys()) await this.#declare(name);
  }

  /** @throws ConfigError `E_CONFIG_RANGE` when there are too many */
  add(name: string): void {
    if (this.#queues.has(name)) return;
    if (this.#queues.size >= MOST_QUEUES)
      throw new ConfigError(
        'E_CONFIG_RANGE',
        `this worker consumes ${MOST_QUEUES} queues, the most there may be: cancel others first`,
      );
    this.#queues.set(name, { name, credit: null });
    this.#apply();
  }

  remove(name: string): void {
    if (this.#queues.delete(name)) this.#apply();
  }

  /** These are not consumed until they are not among them any more. */
  pause(paused: ReadonlySet<string>): void {
    this.#paused = new Set(paused);
    this.#apply();
  }

  resize(slots: number): void {
    if (slots === this.#slots) return;
    this.#slots = slots;
    this.#apply();
  }

  /** Resolves once the consumer is in line with what was asked last. */
  async settled(): Promise<void> {
    while (this.#applying) await this.#applying;
  }

  close(): void {
    this.#closing.abort();
  }

  #apply(): void {
    this.#isDue = true;
    this.#applying ??= this.#applyAll().finally(() => {
      this.#applying = null;
    });
  }

  async #applyAll(): Promise<void> {
    const { consumer, logger } = this.#options;
    const { signal } = this.#closing;
    for (let tries = 0; this.#isDue && !signal.aborted; ) {
      this.#isDue = false;
      try {
        const { wish } = this;
        for (const { name } of wish.queues) await this.#declareOrDrop(name);
        // Before the worker consumes, it will begin with what holds then.
        if (!this.#isDue) await consumer()?.change(wish);
        tries = 0;
      } catch (error) {
        if (codeOf(error) === 'E_CLOSED') return;
        this.#isDue = true;
        if (tries === 0)
          logger.warn({ error: toError(error).message }, 'the consumed queues could not be changed yet; trying again');
        await sleep(reconnectDelayMs(tries, Math.random()), signal).catch(() => {});
        tries += 1;
      }
    }
  }

  /** A name that this broker can have no queue of is given up. */
  async #declareOrDrop(name: string): Promise<void> {
    try {
      await this.#declare(name);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#options.logger.error({ queue: name, error: error.message }, 'a queue cannot be consumed');
      this.#queues.delete(name);
      this.#isDue = true;
    }
  }

  async #declare(name: string): Promise<void> {
    if (this.#declared.has(name)) return;
    await this.#options.broker.declare(name);
    if (this.#declared.size >= MOST_QUEUES) this.#declared.clear();
    this.#declared.add(name);
  }
}
