/**
 * Deliveries that must run alone and wait for their turn. They wait here and not in the broker, where each look would cost them a way
 * through the whole queue: behind a backlog of 2,000 tasks some waited for 50 s. They have not begun, so the death of this worker is
 * no loss of theirs (`Consumer.secure`).
 *
 * Bounded: half of the slots, or one; they keep their credit, and the rest must go on for those who need no turn.
 */
import type { Delivery } from '../../../brokers/broker.js';
import type { Executors } from './executors.js';

export class Suspects {
  readonly #executors: Executors;
  readonly #judge: (delivery: Delivery) => void;
  readonly #waiting: Delivery[] = [];

  /** @param judge has to judge it anew: it may be late by now, or somebody else's */
  constructor(executors: Executors, judge: (delivery: Delivery) => void) {
    this.#executors = executors;
    this.#judge = judge;
    executors.alone.onFree = () => this.#next();
  }

  /** Whether it waits here from now on. */
  hold(delivery: Delivery): boolean {
    if (this.#waiting.length >= Math.max(1, this.#executors.slots >> 1)) return false;
    this.#waiting.push(delivery);
    return true;
  }

  /** Takes out all that wait: their turn will not come here. */
  clear(): Delivery[] {
    return this.#waiting.splice(0);
  }

  #next(): void {
    const delivery = this.#waiting.shift();
    if (delivery) this.#judge(delivery);
    // It may have turned out to need no turn, and then nobody would call the one behind it.
    if (this.#waiting.length > 0 && this.#executors.alone.isFree) this.#next();
  }
}
