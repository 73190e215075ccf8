/**
 * The results that every user of one `memory:NAME` shares, and who waits for them. The reference for the rules of
 * `result-store.ts`: what may be written over what, epochs, expiry.
 */
import { type Clock, systemClock } from '../../core/clock.js';
import { BrokerError } from '../../core/errors.js';
import { type Claim, FINAL_STATES, givesWay, type ResultWrite, type WriteResult } from '../result-store.js';
import { MemoryChords } from './chords.js';
import { MemorySteps } from './steps.js';

export interface MemoryResultsSpaceOptions {
  readonly clock?: Clock;
  /** Ids with a result or a claim; beyond it writing fails with `E_BROKER_FULL`. Default 1,000,000. */
  readonly maxResults?: number;
}

/** What is stored under an id: a result, an epoch, or both; each with an expiry of its own. */
interface Stored {
  state: string;
  meta: string | null;
  metaUntilMs: number;
  epoch: number;
  /** Epoch of the last write, which another final state must exceed. */
  metaEpoch: number;
  epochUntilMs: number;
}

export interface Waiter {
  /** The store connection that it belongs to; closing that one rejects it. */
  readonly owner: object;
  onFinal(meta: string): void;
  onUpdate(meta: string): void;
  onClosed(error: Error): void;
}

/** Each write looks at this many old ids and drops what has expired: no timer, and no pause however many there are. */
const SWEEP_STEP = 2;

export class MemoryResultsSpace {
  readonly clock: Clock;
  readonly chords: MemoryChords;
  readonly steps: MemorySteps;
  readonly #maxResults: number;
  readonly #stored = new Map<string, Stored>();
  readonly #waiters = new Map<string, Set<Waiter>>();
  #sweep: IterableIterator<[string, Stored]> = this.#stored.entries();

  constructor(options: MemoryResultsSpaceOptions = {}) {
    this.clock = options.clock ?? systemClock;
    this.chords = new MemoryChords(this.clock);
    this.steps = new MemorySteps(this.clock, (id) => this.#live(id, this.clock.monotonicMs())?.epoch ?? 0);
    this.#maxResults = options.maxResults ?? 1_000_000;
  }

  /** Ids that are kept, expired ones that were not swept yet included. */
  get size(): number {
    return this.#stored.size;
  }

  get waits(): number {
    let count = 0;
    for (const waiters of this.#waiters.values()) count += waiters.size;
    return count;
  }

  write(write: ResultWrite): WriteResult {
    const nowMs = this.clock.monotonicMs();
    this.#sweepSome(nowMs);
    const stored = this.#live(write.id, nowMs) ?? this.#add(write.id, nowMs);
    if (stored.state === 'SUCCESS') return 'final';
    if (write.epoch < stored.epoch) return 'fenced';
    const isOlder = FINAL_STATES.has(stored.state) && write.state !== 'SUCCESS' && write.epoch <= stored.metaEpoch;
    if (isOlder && !givesWay(stored, write)) return 'final';
    stored.state = write.state;
    stored.meta = write.meta;
    stored.metaEpoch = write.epoch;
    stored.metaUntilMs = write.ttlMs === null ? Infinity : nowMs + write.ttlMs;
    this.#tell(write);
    return 'stored';
  }

  read(id: string): string | null {
    return this.#live(id, this.clock.monotonicMs())?.meta ?? null;
  }

  claim(id: string, ttlMs: number): Claim {
    const nowMs = this.clock.monotonicMs();
    this.#sweepSome(nowMs);
    const stored = this.#live(id, nowMs) ?? this.#add(id, nowMs);
    if (stored.meta !== null && FINAL_STATES.has(stored.state)) return { final: stored.meta };
    stored.epoch += 1;
    stored.epochUntilMs = nowMs + ttlMs;
    return { epoch: stored.epoch };
  }

  /** Forgets the result; a claim stays, because the worker that it fences off may still write. */
  forget(id: string): void {
    const stored = this.#stored.get(id);
    if (!stored) return;
    dropMeta(stored);
    if (stored.epoch === 0) this.#stored.delete(id);
  }

  /** Registers a waiter; the returned function takes it away. */
  wait(id: string, waiter: Waiter): () => void {
    let waiters = this.#waiters.get(id);
    if (!waiters) {
      waiters = new Set();
      this.#waiters.set(id, waiters);
    }
    const added = waiters;
    added.add(waiter);
    return () => {
      added.delete(waiter);
      if (added.size === 0 && this.#waiters.get(id) === added) this.#waiters.delete(id);
    };
  }

  /** Tells a waiter what is there already. */
  tellPresent(id: string, waiter: Waiter): void {
    const stored = this.#live(id, this.clock.monotonicMs());
    if (!stored || stored.meta === null) return;
    if (FINAL_STATES.has(stored.state)) waiter.onFinal(stored.meta);
    else waiter.onUpdate(stored.meta);
  }

  rejectWaits(owner: object, error: Error): void {
    for (const waiters of [...this.#waiters.values()]) {
      for (const waiter of [...waiters]) if (waiter.owner === owner) waiter.onClosed(error);
    }
  }

  #tell(write: ResultWrite): void {
    const waiters = this.#waiters.get(write.id);
    if (!waiters) return;
    const final = FINAL_STATES.has(write.state);
    // a copy: whoever hears the final state leaves the set
    for (const waiter of [...waiters]) {
      if (final) waiter.onFinal(write.meta);
      else waiter.onUpdate(write.meta);
    }
  }

  #add(id: string, nowMs: number): Stored {
    if (this.#stored.size >= this.#maxResults) this.#sweepAll(nowMs);
    if (this.#stored.size >= this.#maxResults) {
      throw new BrokerError(
        'E_BROKER_FULL',
        `the memory result store is full with ${this.#stored.size} results: shorten the result TTL, or use a store with more room`,
      );
    }
    const stored: Stored = { state: '', meta: null, metaUntilMs: 0, epoch: 0, metaEpoch: 0, epochUntilMs: 0 };
    this.#stored.set(id, stored);
    return stored;
  }

  /** What is stored and has not expired. */
  #live(id: string, nowMs: number): Stored | undefined {
    const stored = this.#stored.get(id);
    if (!stored) return undefined;
    if (expire(stored, nowMs)) return stored;
    this.#stored.delete(id);
    return undefined;
  }

  #sweepSome(nowMs: number): void {
    for (let step = 0; step < SWEEP_STEP; step += 1) {
      const next = this.#sweep.next();
      if (next.done) {
        this.#sweep = this.#stored.entries();
        return;
      }
      const [id, stored] = next.value;
      if (!expire(stored, nowMs)) this.#stored.delete(id);
    }
  }

  #sweepAll(nowMs: number): void {
    for (const [id, stored] of this.#stored) if (!expire(stored, nowMs)) this.#stored.delete(id);
  }
}

/** Drops the parts whose time is over; `false` if nothing is left. */
function expire(stored: Stored, nowMs: number): boolean {
  if (stored.meta !== null && stored.metaUntilMs <= nowMs) dropMeta(stored);
  if (stored.epoch > 0 && stored.epochUntilMs <= nowMs) stored.epoch = 0;
  return stored.meta !== null || stored.epoch > 0;
}

function dropMeta(stored: Stored): void {
  stored.state = '';
  stored.meta = null;
  stored.metaEpoch = 0;
}
