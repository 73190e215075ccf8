/**
 * Credit given back to the broker: a slot that is free is a delivery that may come, and no delivery comes that has no slot.
 * While settlements are far behind it waits, so that a slow store bounds what is in memory.
 */
import type { Consumer } from '../../brokers/broker.js';

export interface CreditOptions {
  /** `null` while nothing may be taken. */
  readonly consumer: () => Consumer | null;
  /** Outcomes that are not settled yet. */
  readonly unsettled: () => number;
  readonly maxUnsettled: number;
}

export class Credit {
  readonly #options: CreditOptions;
  /** By queue; bounded by the queues that are consumed. */
  readonly #owed = new Map<string, number>();

  constructor(options: CreditOptions) {
    this.#options = options;
  }

  /** One more delivery may come from this queue, as soon as `pay` finds that settlements keep up. */
  owe(queue: string): void {
    this.#owed.set(queue, (this.#owed.get(queue) ?? 0) + 1);
  }

  /** The same and at once, if settlements keep up: a pile of messages that are put off is in our hands until the broker has them. */
  giveBack(queue: string): void {
    this.owe(queue);
    this.pay();
  }

  pay(): void {
    const { unsettled, maxUnsettled } = this.#options;
    if (this.#owed.size === 0 || unsettled() > maxUnsettled) return;
    for (const [queue, count] of this.#owed) this.grant(queue, count);
    this.#owed.clear();
  }

  grant(queue: string, count: number): void {
    this.#options.consumer()?.grant(queue, count);
  }
}
