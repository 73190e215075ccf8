/**
 * One consumer of the memory broker: its credit and what it holds. A hold lasts as long as its consumer lives: a
 * process that is blocked blocks its memory broker too, so nobody could take over from it. Only a crash (made by tests)
 * lets leases run out.
 */
import { BrokerError, WireError } from '../../core/errors.js';
import type { Arrival, ConsumeOptions, Consumer, ConsumeWish, Delivery, Settlement, SettleResult } from '../broker.js';
import { LeftQueues } from '../left-queues.js';
import type { Entry, MemoryQueue } from './queue.js';
import { type MemorySpace, toEntry } from './space.js';

interface QueueCredit {
  readonly queue: MemoryQueue;
  limit: number;
  credit: number;
}

interface Hold {
  readonly queue: MemoryQueue;
  readonly entry: Entry;
  /** About to be started, or started: a death counts whatever was lost before. */
  isSecured: boolean;
}

type Phase = 'running' | 'paused' | 'closed' | 'crashed';

export class MemoryConsumer implements Consumer {
  readonly #space: MemorySpace;
  readonly #options: ConsumeOptions;
  readonly #onClosed: () => void;
  #queues: readonly QueueCredit[];
  readonly #left = new LeftQueues();
  readonly #held = new Map<string, Hold>();
  readonly #tagPrefix: string;
  #limit: number;
  #credit: number;
  #phase: Phase = 'running';
  #turn = 0;
  #tagCount = 0;

  constructor(space: MemorySpace, options: ConsumeOptions, onClosed: () => void) {
    this.#space = space;
    this.#onClosed = onClosed;
    this.#options = options;
    this.#limit = options.credit;
    this.#credit = options.credit;
    this.#queues = options.queues.map(({ name, credit }) => ({ queue: space.queue(name), limit: credit, credit }));
    this.#tagPrefix = `${options.consumerName}:${space.nextConsumerNumber()}:`;
  }

  /** Delivers what credit and queues allow, one queue after the other in turn, in one call. */
  serve(): void {
    if (this.#phase !== 'running') return;
    const arrivals: Arrival[] = [];
    const count = this.#queues.length;
    for (let passed = 0; this.#credit > 0 && passed < count; ) {
      const source = this.#queues[this.#turn] as QueueCredit;
      this.#turn = (this.#turn + 1) % count;
      const entry = source.credit > 0 ? source.queue.shift() : undefined;
      if (!entry) {
        passed += 1;
        continue;
      }
      passed = 0;
      source.credit -= 1;
      this.#credit -= 1;
      arrivals.push(this.#hold(source.queue, entry));
    }
    if (arrivals.length === 0) return;
    this.#options.onRevocations?.(this.#space.revoked.version);
    this.#options.onArrivals(arrivals);
  }

  grant(queue: string, count: number): void {
    if (this.#phase !== 'running') return;
    const source = this.#queues.find((candidate) => candidate.queue.name === queue);
    if (source) source.credit += count;
    else this.#left.grant(queue, count);
    this.#credit += count;
    this.#space.schedulePump();
  }

  async change({ queues, credit: total }: ConsumeWish): Promise<void> {
    const before = new Map(this.#queues.map((source) => [source.queue.name, source]));
    this.#queues = queues.map(({ name, credit: limit }) => {
      const known = before.get(name);
      before.delete(name);
      const out = known ? known.limit - known.credit : this.#left.take(name);
      return { queue: this.#space.queue(name), limit, credit: limit - out };
    });
    for (const [name, { limit, credit }] of before) this.#left.add(name, limit - credit);
    this.#credit += total - this.#limit;
    this.#limit = total;
    this.#turn = 0;
    this.#space.schedulePump();
  }

  holds(tag: string): boolean {
    return this.#phase !== 'crashed' && this.#held.has(tag);
  }

  async secure({ tag }: Delivery): Promise<boolean> {
    const hold = this.#held.get(tag);
    if (!hold || this.#phase !== 'running') return false;
    hold.isSecured = true;
    return true;
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    if (this.#phase === 'crashed') throw new BrokerError('E_CLOSED', 'the memory broker was used after close()');
    const fronts: Hold[] = [];
    const results = settlements.map((settlement): SettleResult => {
      const { tag } = settlement.arrival;
      const hold = this.#held.get(tag);
      if (!hold) return 'lost';
      this.#held.delete(tag);
      hold.queue.held -= 1;
      if (settlement.kind === 'requeue' && settlement.where === 'front') fronts.push(hold);
      else this.#end(hold, settlement);
      return 'held';
    });
    this.#toFront(fronts);
    this.#space.schedulePump();
    return results;
  }

  async pause(): Promise<void> {
    if (this.#phase === 'running') this.#phase = 'paused';
  }

  async close(): Promise<number> {
    if (this.#phase === 'closed' || this.#phase === 'crashed') return 0;
    this.#phase = 'closed';
    this.#space.consumers.delete(this);
    this.#onClosed();
    return this.#letGo().length;
  }

  lastAliveMs(): number {
    return this.#space.clock.monotonicMs();
  }

  /** As if the process had been killed: what it held stays away until the lease is over. */
  crash(): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'crashed';
    this.#space.consumers.delete(this);
    this.#space.clock.after(this.#options.leaseMs, () => this.#lose());
  }

  /** As if the lease of everything it holds were over, while it lives. */
  loseAll(): void {
    const lost = this.#lose();
    if (lost.length > 0) this.#options.onLost(lost);
  }

  #lose(): readonly string[] {
    for (const { entry, isSecured } of this.#held.values()) if (isSecured || entry.losses === 0) entry.losses += 1;
    return this.#letGo();
  }

  #letGo(): readonly string[] {
    const tags = [...this.#held.keys()];
    const holds = [...this.#held.values()];
    this.#held.clear();
    for (const { queue } of holds) queue.held -= 1;
    this.#toFront(holds);
    this.#space.schedulePump();
    return tags;
  }

  /** The first of them is served first. */
  #toFront(holds: readonly Hold[]): void {
    for (let index = holds.length - 1; index >= 0; index -= 1) {
      const { queue, entry } = holds[index] as Hold;
      entry.redelivered = true;
      queue.pushFront(entry);
    }
  }

  #end(hold: Hold, settlement: Settlement): void {
    const { queue, entry } = hold;
    switch (settlement.kind) {
      case 'ack':
        return;
      case 'requeue':
        entry.redelivered = true;
        queue.pushBack(entry);
        return;
      case 'defer': {
        const target = settlement.to ? this.#space.queue(settlement.to.queue) : queue;
        this.#space.delay(target, settlement.message ? toEntry(settlement.message, undefined) : entry, settlement.untilMs);
        return;
      }
      case 'park':
        this.#space.park(settlement.arrival, entry, settlement.reason, this.#options.consumerName);
    }
  }

  #hold(queue: MemoryQueue, entry: Entry): Arrival {
    this.#tagCount += 1;
    const tag = this.#tagPrefix + this.#tagCount;
    queue.held += 1;
    this.#held.set(tag, { queue, entry, isSecured: false });
    const { message, raw, redelivered, losses } = entry;
    if (message) return { kind: 'delivery', tag, queue: queue.name, message, redelivered, losses };
    const fault = new WireError('E_DECODE', `bytes in queue '${queue.name}' are no message`);
    return { kind: 'garbage', tag, queue: queue.name, raw: raw ?? new Uint8Array(), fault };
  }
}
