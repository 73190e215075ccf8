/**
 * Which queues the worker consumes, and with how many slots: what it was started with, what remote control added or took
 * away since, without those that are paused. The broker's consumer is told of each change, one after the other.
 *
 * Bounded: remote control may add up to `MOST_QUEUES`.
 */
import type { Broker, Consumer, ConsumeWish } from '../../brokers/broker.js';
import { codeOf, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { type QueueOption, queueCredits } from '../options.js';

/** A worker that consumes more has been told nonsense. */
export const MOST_QUEUES = 10_000;

export interface ConsumedQueuesOptions {
  readonly broker: Broker;
  readonly logger: Logger;
  readonly queues: readonly QueueOption[];
  readonly slots: number;
}

export class ConsumedQueues {
  readonly #options: ConsumedQueuesOptions;
  /** By name; `null` = no share of its own. */
  readonly #wanted = new Map<string, number | null>();
  #paused: ReadonlySet<string> = new Set();
  #slots: number;
  #consumer: Consumer | null = null;
  #changing: Promise<void> = Promise.resolve();

  constructor(options: ConsumedQueuesOptions) {
    this.#options = options;
    this.#slots = options.slots;
    for (const { name, credit } of options.queues) this.#wanted.set(name, credit);
  }

  /** Consumed now. */
  get names(): readonly string[] {
    return [...this.#wanted.keys()].filter((name) => !this.#paused.has(name));
  }

  /** Queues and credits as they are to be now. */
  get wish(): ConsumeWish {
    const queues = [...this.#wanted].map(([name, credit]) => ({ name, credit }));
    // Shares are those of all queues: a queue that is resumed finds its own unchanged.
    return { queues: queueCredits(queues, this.#slots).filter(({ name }) => !this.#paused.has(name)), credit: this.#slots };
  }

  /** Makes them exist, paused ones too: who sends must not depend on it. */
  async declare(): Promise<void> {
    for (const name of this.#wanted.keys()) await this.#options.broker.declare(name);
  }

  /** From now on changes are told to this consumer, which has begun with an earlier `wish`. */
  attach(consumer: Consumer): void {
    this.#consumer = consumer;
    void this.#change();
  }

  /** The consumer ends. */
  detach(): void {
    this.#consumer = null;
  }

  /** Begins to consume a queue. A failure is logged. */
  async add(name: string): Promise<void> {
    if (this.#wanted.has(name)) return;
    const { broker, logger } = this.#options;
    if (this.#wanted.size >= MOST_QUEUES)
      return logger.warn({ queue: name }, `${MOST_QUEUES} queues are consumed, the most there may be: not this one`);
    this.#wanted.set(name, null);
    try {
      await broker.declare(name);
    } catch (error) {
      this.#wanted.delete(name);
      return logger.warn({ queue: name, error: toError(error).message }, 'the queue cannot be declared, so it is not consumed');
    }
    await this.#change();
  }

  /** Stops consuming it; what is held goes on. */
  async remove(name: string): Promise<void> {
    if (this.#wanted.delete(name)) await this.#change();
  }

  /** Other queues than before are paused. */
  async pause(paused: ReadonlySet<string>): Promise<void> {
    this.#paused = paused;
    await this.#change();
  }

  /** The pool has grown or shrunk. */
  async resize(slots: number): Promise<void> {
    if (slots === this.#slots) return;
    this.#slots = slots;
    await this.#change();
  }

  /** Tells the consumer what is wished when its turn comes: changes that came meanwhile are one. */
  #change(): Promise<void> {
    this.#changing = this.#changing.then(async () => {
      try {
        await this.#consumer?.change(this.wish);
      } catch (error) {
        if (codeOf(error) === 'E_CLOSED') return;
        this.#options.logger.warn({ error: toError(error).message }, 'the queues that are consumed could not be changed');
      }
    });
    return this.#changing;
  }
}
