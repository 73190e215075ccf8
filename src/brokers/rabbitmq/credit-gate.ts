/**
 * Holds back what the broker has pushed beyond the credit. Pure.
 *
 * AMQP's prefetch counts unacknowledged messages of one subscription. The seam's credit is another thing: it is per queue *and* in
 * total, and comes back when a slot is free, which may be before or after the acknowledgement. So prefetch only bounds what waits
 * here, and this gate decides what the engine gets; queues take turns, so that a full one cannot starve the others.
 */

import { LeftQueues } from '../left-queues.js';

interface Line<T> {
  readonly name: string;
  limit: number;
  credit: number;
  /** The queue was left: nothing of it is handed over any more, and it goes once its subscription has ended. */
  isLeft: boolean;
  /** Waiting, and to be taken before `items`. Bounded by the prefetch of the subscription to orphans. */
  first: T[];
  /** Waiting from `head` on. Bounded by the prefetch of the queue's subscriptions. */
  items: T[];
  head: number;
  /** When something last came to the empty line or was taken from it. */
  movedMs: number;
}

/** Credit by queue and in total, with what waits for it. */
export class CreditGate<T> {
  #lines: Line<T>[];
  readonly #byName: Map<string, Line<T>>;
  readonly #left = new LeftQueues();
  #limit: number;
  #total: number;
  #turn = 0;

  constructor(queues: readonly { readonly name: string; readonly credit: number }[], total: number) {
    this.#lines = queues.map(({ name, credit }) => newLine(name, credit));
    this.#byName = new Map(this.#lines.map((line) => [line.name, line]));
    this.#limit = total;
    this.#total = total;
  }

  /** Other queues and credits. Returns the queues that were left: each is to be cleared and forgotten once nothing of it comes any more. */
  change(queues: readonly { readonly name: string; readonly credit: number }[], total: number): string[] {
    this.#total += total - this.#limit;
    this.#limit = total;
    const wanted = new Map(queues.map(({ name, credit }) => [name, credit]));
    for (const [name, credit] of wanted) {
      const known = this.#byName.get(name);
      if (known) {
        known.credit += credit - known.limit;
        known.limit = credit;
        known.isLeft = false;
        continue;
      }
      const line = newLine<T>(name, credit);
      line.credit -= this.#left.take(name);
      this.#byName.set(name, line);
    }
    this.#lines = [...this.#byName.values()];
    this.#turn = 0;
    const left = this.#lines.filter(({ name }) => !wanted.has(name));
    for (const line of left) line.isLeft = true;
    return left.map(({ name }) => name);
  }

  /** A queue that was left, and not wanted again since, has nothing more to come. */
  forget(name: string): void {
    const line = this.#byName.get(name);
    if (!line?.isLeft) return;
    this.#left.add(name, line.limit - line.credit);
    this.#byName.delete(name);
    this.#lines = [...this.#byName.values()];
    this.#turn = 0;
  }

  /** Items that wait for credit. */
  get waiting(): number {
    return this.#lines.reduce((sum, line) => sum + waitingIn(line), 0);
  }

  /** False: the queue is not known any more, and the item stays with the caller. @param goesFirst before all that wait and do not */
  offer(queue: string, item: T, nowMs: number, goesFirst = false): boolean {
    const line = this.#byName.get(queue);
    if (!line) return false;
    if (waitingIn(line) === 0) line.movedMs = nowMs;
    (goesFirst ? line.first : line.items).push(item);
    return true;
  }

  grant(queue: string, count: number): void {
    const line = this.#byName.get(queue);
    if (line) line.credit += count;
    else this.#left.grant(queue, count);
    this.#total += count;
  }

  /** How many more of this queue the engine would take now, if nothing of it waits here: what a too small prefetch keeps from it. */
  starving(queue: string): number {
    const line = this.#byName.get(queue);
    return !line || line.isLeft || waitingIn(line) > 0 ? 0 : Math.min(line.credit, this.#total);
  }

  /** Takes what the credit allows, one of each queue in turn. */
  take(nowMs: number): T[] {
    const taken: T[] = [];
    const count = this.#lines.length;
    for (let passed = 0; this.#total > 0 && passed < count; ) {
      const line = this.#lines[this.#turn]!;
      this.#turn = this.#turn + 1 === count ? 0 : this.#turn + 1;
      if (line.credit <= 0 || line.isLeft || waitingIn(line) === 0) {
        passed += 1;
        continue;
      }
      passed = 0;
      line.credit -= 1;
      line.movedMs = nowMs;
      this.#total -= 1;
      const first = line.first.shift();
      taken.push(first ?? line.items[line.head]!);
      if (first !== undefined) continue;
      line.head += 1;
      if (line.head === line.items.length) {
        line.items = [];
        line.head = 0;
      } else if (line.head >= 1_024) {
        line.items = line.items.slice(line.head);
        line.head = 0;
      }
    }
    return taken;
  }

  /** Queues of which something waits and nothing has moved since then. */
  stalled(sinceMs: number): string[] {
    return this.#lines.filter((line) => waitingIn(line) > 0 && line.movedMs <= sinceMs).map(({ name }) => name);
  }

  /** Takes out what waits, of one queue or of all, in the order in which it would have been taken. */
  clear(queue?: string): T[] {
    const out: T[] = [];
    for (const line of this.#lines) {
      if (queue !== undefined && line.name !== queue) continue;
      out.push(...line.first);
      for (let index = line.head; index < line.items.length; index += 1) out.push(line.items[index]!);
      line.first = [];
      line.items = [];
      line.head = 0;
    }
    return out;
  }
}

function newLine<T>(name: string, credit: number): Line<T> {
  return { name, limit: credit, credit, isLeft: false, first: [], items: [], head: 0, movedMs: 0 };
}

const waitingIn = <T>({ first, items, head }: Line<T>): number => first.length + items.length - head;
