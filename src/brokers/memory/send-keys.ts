/**
 * Which dedupe keys are taken in a memory broker, by whom and until when.
 *
 * Bounded: each ends, what has ended is dropped when the number has doubled since the last time, and beyond `MOST_KEYS` nothing
 * more is taken in.
 */
import type { DedupeKey } from '../broker.js';

export const MOST_KEYS = 100_000;
/** Below this many it is not worth looking for ended ones. */
const FEW = 1_000;

interface Taken {
  readonly id: string;
  readonly untilMs: number;
}

export class MemorySendKeys {
  readonly #taken = new Map<string, Taken>();
  #sweepAt = FEW;

  get size(): number {
    return this.#taken.size;
  }

  /** The id that has this key now; `null` = nobody. */
  holder(key: string, nowMs: number): string | null {
    const taken = this.#taken.get(key);
    return taken !== undefined && taken.untilMs > nowMs ? taken.id : null;
  }

  /** Whether there is room for one more. */
  hasRoom(nowMs: number): boolean {
    if (this.#taken.size >= this.#sweepAt) this.#sweep(nowMs);
    return this.#taken.size < MOST_KEYS;
  }

  take({ key, ttlMs }: DedupeKey, id: string, nowMs: number): void {
    this.#taken.set(key, { id, untilMs: nowMs + ttlMs });
  }

  #sweep(nowMs: number): void {
    for (const [key, { untilMs }] of this.#taken) if (untilMs <= nowMs) this.#taken.delete(key);
    this.#sweepAt = Math.min(MOST_KEYS, Math.max(FEW, 2 * this.#taken.size));
  }
}
