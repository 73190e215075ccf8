/**
 * The state that every user of one `memory:NAME` shares: queues, delayed entries, dead letters, consumers, listeners.
 * The reference model of a broker: small and obviously right. Not in here: the seam's promises and options (`index.ts`)
 * and what one consumer holds (`consumer.ts`).
 */
import { type Clock, systemClock } from '../../core/clock.js';
import { PublishError } from '../../core/errors.js';
import { MemoryTimedSet, MOST_REVOCATIONS } from '../../core/timed-set.js';
import type { WireMessage } from '../../wire/message.js';
import type { Arrival, Broadcast, OutgoingMessage, ParkReason, PublishResult } from '../broker.js';
import { type DeadLetter, deadFacts, newDeadLetterId } from '../dead-letters.js';
import { duplicateOf, idOf } from '../duplicate.js';
import type { Pause } from '../pauses.js';
import type { MemoryConsumer } from './consumer.js';
import { DelayHeap, type Entry, MemoryQueue } from './queue.js';
import { MemorySendKeys } from './send-keys.js';

/** Limits of a memory broker; beyond them publishing is refused with `E_BROKER_FULL`. */
export interface MemoryLimits {
  /** Messages on the account of one queue: ready, delayed and held. Default 1,000,000. */
  readonly maxMessages?: number;
  /** Default 10,000. */
  readonly maxQueues?: number;
  /** Dead letters are never dropped; while there are this many, nothing more is taken in. Default 10,000. */
  readonly maxDead?: number;
}

export interface MemorySpaceOptions extends MemoryLimits {
  readonly clock?: Clock;
}

/** A parked message or piece of garbage. */
export interface ParkedEntry {
  readonly letter: DeadLetter;
  readonly message: WireMessage | null;
  /** Garbage as it came; a message as JSON with its body in base64 or as text. */
  readonly raw: Uint8Array;
}

export interface Listener {
  readonly exchange: string;
  readonly matches: (routingKey: string) => boolean;
  readonly onBroadcast: (broadcast: Broadcast) => void;
}

/** A set wall clock does not move timers: the delay store looks again this often while something waits in it. */
const RECHECK_MS = 30_000;

export class MemorySpace {
  readonly clock: Clock;
  readonly queues = new Map<string, MemoryQueue>();
  readonly delays = new DelayHeap();
  /** By id, oldest first. Bounded by `maxDead`. */
  readonly dead = new Map<string, ParkedEntry>();
  /** Ids of tasks that must not run. Bounded by its cap, and each ends. */
  readonly revoked: MemoryTimedSet;
  /** By kind and name. Bounded by `MOST_PAUSES`. */
  readonly pauses = new Map<string, Pause>();
  readonly sendKeys = new MemorySendKeys();
  readonly listeners = new Set<Listener>();
  readonly consumers = new Set<MemoryConsumer>();
  readonly #maxMessages: number;
  readonly #maxQueues: number;
  readonly #maxDead: number;
  #consumerCount = 0;
  #pumping = false;
  #armedAtMs = Infinity;
  #disarm: (() => void) | null = null;
  #disposed = false;

  constructor(options: MemorySpaceOptions = {}) {
    this.clock = options.clock ?? systemClock;
    this.revoked = new MemoryTimedSet({ most: MOST_REVOCATIONS, whenFull: 'refuse', nowMs: () => this.clock.nowMs() });
    this.#maxMessages = options.maxMessages ?? 1_000_000;
    this.#maxQueues = options.maxQueues ?? 10_000;
    this.#maxDead = options.maxDead ?? 10_000;
  }

  /** Makes tags of this space unique: no two consumers ever share the number. */
  nextConsumerNumber(): number {
    this.#consumerCount += 1;
    return this.#consumerCount;
  }

  /** The queue of this name, made if need be. */
  queue(name: string): MemoryQueue {
    let queue = this.queues.get(name);
    if (!queue) {
      queue = new MemoryQueue(name);
      this.queues.set(name, queue);
    }
    return queue;
  }

  /** Takes a message in, or says why not. */
  accept(outgoing: OutgoingMessage): PublishResult {
    const { to, priority, notBeforeMs, dedupe } = outgoing;
    const nowMs = this.clock.nowMs();
    const holder = dedupe === undefined ? null : this.sendKeys.holder(dedupe.key, nowMs);
    if (holder !== null) return holder === idOf(outgoing) ? null : duplicateOf(outgoing, holder);
    const existing = this.queues.get(to.queue);
    const refusal = this.#refusal(to.queue, existing);
    if (refusal !== null) {
      return new PublishError('E_BROKER_FULL', refusal, { outcome: 'not-sent', taskId: idOf(outgoing) });
    }
    if (dedupe !== undefined) {
      if (!this.sendKeys.hasRoom(nowMs))
        return new PublishError('E_BROKER_FULL', `the memory broker holds ${this.sendKeys.size} dedupe keys, its limit`, {
          outcome: 'not-sent',
          taskId: idOf(outgoing),
        });
      this.sendKeys.take(dedupe, idOf(outgoing), nowMs);
    }
    const queue = existing ?? this.queue(to.queue);
    const entry = toEntry(outgoing.message, priority);
    if (notBeforeMs !== undefined && notBeforeMs > nowMs) this.delay(queue, entry, notBeforeMs);
    else queue.pushBack(entry);
    this.schedulePump();
    return null;
  }

  /** Lets an entry wait; it counts for its queue all the time. */
  delay(queue: MemoryQueue, entry: Entry, untilMs: number): void {
    queue.delayed += 1;
    this.delays.push(queue, entry, untilMs);
    this.#arm();
  }

  /** Takes out those of the chosen that wait for a time on their way to this queue; with their times. */
  extractDelayed(queue: MemoryQueue, chosen: ReadonlySet<Entry>): ReadonlyMap<Entry, number> {
    const taken = this.delays.take((delayed) => delayed.queue === queue && chosen.has(delayed.entry));
    queue.delayed -= taken.length;
    this.#arm();
    return new Map(taken.map(({ entry, atMs }) => [entry, atMs]));
  }

  /** Removes what waits for a time on its way to this queue. */
  dropDelayed(queue: MemoryQueue): number {
    queue.delayed = 0;
    const dropped = this.delays.take((delayed) => delayed.queue === queue).length;
    this.#arm();
    return dropped;
  }

  /** Takes out what waits for a time and belongs to one of these tasks; one walk over all of it. */
  withdraw(ids: ReadonlySet<string>): Map<string, WireMessage> {
    const withdrawn = new Map<string, WireMessage>();
    for (const { queue, entry } of this.delays.take(({ entry: { message } }) => ids.has(message?.headers['id'] as string))) {
      queue.delayed -= 1;
      if (entry.message) withdrawn.set(entry.message.headers['id'] as string, entry.message);
    }
    this.#arm();
    return withdrawn;
  }

  park(arrival: Arrival, entry: Entry, reason: ParkReason, by: string): void {
    const raw = rawBytes(entry);
    const parkedAtMs = this.clock.nowMs();
    const id = newDeadLetterId(parkedAtMs);
    const letter = { id, parkedAtMs, size: raw.length, ...deadFacts(arrival, reason, by) };
    this.dead.set(id, { letter, message: entry.message, raw });
  }

  /** Tells every listener that matches, after the caller's turn, as a network would; returns how many those are. */
  broadcast(broadcast: Broadcast): number {
    let count = 0;
    for (const listener of this.listeners) {
      if (listener.exchange !== broadcast.exchange || !listener.matches(broadcast.routingKey)) continue;
      count += 1;
      queueMicrotask(() => {
        if (this.listeners.has(listener)) listener.onBroadcast(broadcast);
      });
    }
    return count;
  }

  /**
   * Serves all consumers soon. One immediate for whatever happens in a turn: deliveries come in batches, and a consumer
   * that settles and is served again and again leaves the loop to timers and sockets in between.
   */
  schedulePump(): void {
    if (this.#pumping || this.consumers.size === 0) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.#promote();
      const [first, ...rest] = this.consumers;
      if (!first) return;
      first.serve();
      for (const consumer of rest) consumer.serve();
      // the next round begins with another one
      if (rest.length > 0 && this.consumers.delete(first)) this.consumers.add(first);
    });
  }

  /** Nobody uses it any more: no timer may keep what still waits in it. */
  dispose(): void {
    this.#disposed = true;
    this.#disarm?.();
    this.#disarm = null;
  }

  /** Moves what is due to the back of its queue. */
  #promote(): void {
    const nowMs = this.clock.nowMs();
    for (let due = this.delays.popDue(nowMs); due; due = this.delays.popDue(nowMs)) {
      due.queue.delayed -= 1;
      due.queue.pushBack(due.entry);
    }
    this.#arm();
  }

  #arm(): void {
    const atMs = this.delays.nextAtMs;
    if (atMs === this.#armedAtMs || this.#disposed) return;
    this.#disarm?.();
    this.#disarm = null;
    this.#armedAtMs = atMs;
    if (atMs === Infinity) return;
    this.#disarm = this.clock.after(Math.min(atMs - this.clock.nowMs(), RECHECK_MS), () => {
      this.#armedAtMs = Infinity;
      this.#promote();
      this.schedulePump();
    });
  }

  #refusal(name: string, queue: MemoryQueue | undefined): string | null {
    if (this.dead.size >= this.#maxDead) {
      return `the memory broker holds ${this.dead.size} dead letters, its limit: look at them and remove them`;
    }
    if (!queue) return this.queues.size < this.#maxQueues ? null : `the memory broker has ${this.queues.size} queues, its limit`;
    if (queue.total < this.#maxMessages) return null;
    return `queue '${name}' of the memory broker is full with ${queue.total} messages: start workers, purge it, or use a broker with more room`;
  }
}

/** The entry of a message; a priority is written into the message so that a retry made of it keeps it. */
export function toEntry(message: WireMessage, priority: number | undefined): Entry {
  const rank = priority ?? message.properties.priority ?? 0;
  let kept = message;
  if (priority !== undefined) kept = { ...message, properties: { ...message.properties, priority } };
  // a sender may reuse its buffer once it is told that the message is stored
  if (kept.body.encoding === 'binary') kept = { ...kept, body: { encoding: 'binary', data: kept.body.data.slice() } };
  return { message: kept, raw: null, priority: rank >= 9 ? 9 : rank > 0 ? Math.floor(rank) : 0, redelivered: false, losses: 0 };
}

function rawBytes(entry: Entry): Uint8Array {
  const { message, raw } = entry;
  if (raw || !message) return raw ?? new Uint8Array();
  const { body } = message;
  const shown = body.encoding === 'binary' ? { encoding: 'base64', data: Buffer.from(body.data).toString('base64') } : body;
  return Buffer.from(JSON.stringify({ ...message, body: shown }));
}
