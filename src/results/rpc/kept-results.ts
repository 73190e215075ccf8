/**
 * Results that have arrived at this process, and who waits for them. Pure. One message comes for every state of a task; the last is
 * kept, and a final one is not replaced by anything but SUCCESS.
 *
 * Bounded by count, bytes and age: the broker hands each result over once, so what is dropped here is gone.
 */
import { decodeResultMeta } from '../../wire/result-meta.js';
import { FINAL_STATES } from '../result-store.js';

export interface KeptLimits {
  readonly results: number;
  /** Characters of all metas together. */
  readonly characters: number;
  readonly ageMs: number;
}

/** Celery keeps results for a day by default. */
export const KEPT_LIMITS: KeptLimits = { results: 100_000, characters: 256 * 1_048_576, ageMs: 86_400_000 };

interface Kept {
  readonly meta: string;
  readonly state: string;
  readonly untilMs: number;
}

/** Somebody who waits for the end of a task. */
export interface ResultWaiter {
  onFinal(meta: string): void;
  onUpdate(meta: string): void;
  onClosed(error: Error): void;
}

/** The state of a meta, without parsing a result of a megabyte where Celery's or our field order allows it; `null` = no meta. */
export function stateOf(meta: string): string | null {
  const found = /^\{\s*(?:"task_id":\s*"(?:[^"\\]|\\.){0,512}",\s*)?"status":\s*"([^"\\]{1,64})"/.exec(meta)?.[1];
  if (found !== undefined) return found;
  try {
    return decodeResultMeta(meta).status;
  } catch {
    return null;
  }
}

export class KeptResults {
  readonly #limits: KeptLimits;
  readonly #nowMs: () => number;
  /** In the order of arrival: the first is the oldest. */
  readonly #kept = new Map<string, Kept>();
  readonly #waiters = new Map<string, Set<ResultWaiter>>();
  #characters = 0;
  /** Results dropped because of the limits, unread or not. */
  dropped = 0;

  constructor(limits: KeptLimits = KEPT_LIMITS, nowMs: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** Waits that have not ended. */
  get waits(): number {
    let count = 0;
    for (const waiters of this.#waiters.values()) count += waiters.size;
    return count;
  }

  /** Takes a state that has arrived; false = it was no meta. */
  put(id: string, meta: string): boolean {
    const state = stateOf(meta);
    if (state === null) return false;
    const before = this.#live(id);
    if (before?.state === 'SUCCESS' || (before && FINAL_STATES.has(before.state) && state !== 'SUCCESS')) return true;
    this.#drop(id);
    this.#kept.set(id, { meta, state, untilMs: this.#nowMs() + this.#limits.ageMs });
    this.#characters += meta.length;
    this.#shrink(id);
    const final = FINAL_STATES.has(state);
    // A copy: whoever hears the end leaves the set.
    for (const waiter of [...(this.#waiters.get(id) ?? [])]) final ? waiter.onFinal(meta) : waiter.onUpdate(meta);
    return true;
  }

  get(id: string): string | null {
    return this.#live(id)?.meta ?? null;
  }

  forget(id: string): void {
    this.#drop(id);
  }

  /** Registers a waiter and tells it what is here already; the returned function takes it away. */
  wait(id: string, waiter: ResultWaiter): () => void {
    const waiters = this.#waiters.get(id) ?? new Set<ResultWaiter>();
    this.#waiters.set(id, waiters);
    waiters.add(waiter);
    const kept = this.#live(id);
    if (kept) FINAL_STATES.has(kept.state) ? waiter.onFinal(kept.meta) : waiter.onUpdate(kept.meta);
    return () => {
      waiters.delete(waiter);
      if (waiters.size === 0 && this.#waiters.get(id) === waiters) this.#waiters.delete(id);
    };
  }

  /** Ends all waits and forgets everything. */
  close(error: Error): void {
    for (const waiters of [...this.#waiters.values()]) for (const waiter of [...waiters]) waiter.onClosed(error);
    this.#kept.clear();
    this.#characters = 0;
  }

  #live(id: string): Kept | undefined {
    const kept = this.#kept.get(id);
    if (!kept || kept.untilMs > this.#nowMs()) return kept;
    this.#drop(id);
    return undefined;
  }

  #drop(id: string): void {
    const kept = this.#kept.get(id);
    if (!kept) return;
    this.#kept.delete(id);
    this.#characters -= kept.meta.length;
  }

  /** The oldest go first; never the one that has just come. */
  #shrink(newest: string): void {
    const nowMs = this.#nowMs();
    for (const [id, kept] of this.#kept) {
      const over = this.#kept.size > this.#limits.results || this.#characters > this.#limits.characters;
      if (id === newest || (!over && kept.untilMs > nowMs)) return;
      if (kept.untilMs > nowMs) this.dropped += 1;
      this.#drop(id);
    }
  }
}
