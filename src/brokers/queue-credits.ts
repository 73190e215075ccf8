/**
 * Credit by queue and in total, for drivers that ask their broker for so many messages at a time. Pure.
 *
 * Deliveries of a queue that was left count against it if it comes back before they have ended: nothing is known of a queue but
 * how many of its deliveries may be out and how many are.
 */
import type { ConsumeWish } from './broker.js';

interface Source {
  limit: number;
  out: number;
  /** Nothing more is taken from it; it is here for what is out. One that is consumed may have a limit of 0 and be granted more. */
  readonly isLeft: boolean;
}

export class QueueCredits {
  /** Consumed ones in the order of the wish, then those that were left and have deliveries out: these are bounded by the credit. */
  #sources = new Map<string, Source>();
  #limit: number;
  #out = 0;
  #turn = 0;

  constructor({ queues, credit }: ConsumeWish) {
    this.#limit = credit;
    for (const queue of queues) this.#sources.set(queue.name, { limit: queue.credit, out: 0, isLeft: false });
  }

  /** What may come in all. */
  get left(): number {
    return this.#limit - this.#out;
  }

  change({ queues, credit }: ConsumeWish): void {
    const before = this.#sources;
    this.#limit = credit;
    const wanted = ({ name, credit: limit }: ConsumeWish['queues'][number]): [string, Source] => [
      name,
      { limit, out: before.get(name)?.out ?? 0, isLeft: false },
    ];
    this.#sources = new Map(queues.map(wanted));
    for (const [name, { out }] of before)
      if (out > 0 && !this.#sources.has(name)) this.#sources.set(name, { limit: 0, out, isLeft: true });
  }

  grant(queue: string, count: number): void {
    this.#out -= count;
    const source = this.#sources.get(queue);
    if (!source) return;
    source.out -= count;
    if (source.isLeft && source.out <= 0) this.#sources.delete(queue);
  }

  /** So many came. */
  take(queue: string, count: number): void {
    this.#out += count;
    const source = this.#sources.get(queue);
    if (source) source.out += count;
    else this.#sources.set(queue, { limit: 0, out: count, isLeft: true });
  }

  /** The queues of which something may come, and how much; each time another one leads. */
  wanted(most: number): readonly { readonly name: string; readonly limit: number }[] {
    if (this.left <= 0) return [];
    const wanted: { name: string; limit: number }[] = [];
    for (const [name, { limit, out }] of this.#sources)
      if (limit > out) wanted.push({ name, limit: Math.min(limit - out, most) });
    this.#turn += 1;
    const first = this.#turn % wanted.length;
    return wanted.length < 2 ? wanted : [...wanted.slice(first), ...wanted.slice(0, first)];
  }
}
