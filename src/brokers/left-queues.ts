/**
 * Queues that a consumer has left while deliveries of theirs are out: should one be consumed again before those have ended,
 * they count against its credit, as if it had never been left. Bounded by the credit: an entry goes with its last delivery.
 */
export class LeftQueues {
  /** How many are out, by queue. */
  readonly #out = new Map<string, number>();

  /** It is left; or, left already, some of it came that were on their way. */
  add(queue: string, out: number): void {
    if (out > 0) this.#out.set(queue, (this.#out.get(queue) ?? 0) + out);
  }

  /** So many have ended. */
  grant(queue: string, count: number): void {
    const out = (this.#out.get(queue) ?? 0) - count;
    if (out > 0) this.#out.set(queue, out);
    else this.#out.delete(queue);
  }

  /** It is consumed again; returns how many are out. */
  take(queue: string): number {
    const out = this.#out.get(queue) ?? 0;
    this.#out.delete(queue);
    return out;
  }
}
