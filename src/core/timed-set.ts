/**
 * A set of names in which each holds for a time and then is gone by itself: capped, so that it cannot grow with traffic, and
 * with a version, so that whoever knows it need not look again. Revocations are kept in such sets: in a broker or result
 * store (`clients/redis-timed-set.ts`, `clients/sqlite/timed-set.ts`) and in the memory of a worker (`MemoryTimedSet`).
 */

/** A timed set that others share. All times are by its keeper's clock. */
export interface TimedSet {
  /** Adds names, each for at least so long; `false` in the answer, which is in order: there was no room. */
  add(names: readonly string[], ttlMs: number): Promise<readonly boolean[]>;
  /** Another number after each addition; 0 = nothing is in it. */
  version(): Promise<number>;
  /** Which of these are in it. */
  find(names: readonly string[]): Promise<ReadonlySet<string>>;
  /** Those that hold longest first, which for equal times to live are the newest. */
  list(limit: number): Promise<readonly string[]>;
}

/** Revocations at a time, in a broker, a result store, or the memory of a worker: as many as a Celery worker keeps. */
export const MOST_REVOCATIONS = 50_000;
/** Longer names are nobody's task id, and the cap counts names, not bytes. */
export const LONGEST_NAME = 1_024;
/** At most one walk over all names in this time; until then what has ended takes room and is not found. */
const SWEEP_EVERY_MS = 1_000;

export interface MemoryTimedSetOptions {
  /** Names at a time, at most. */
  readonly most: number;
  /** `refuse`: a new name is not taken. `drop-oldest`: the one that was added first makes room. */
  readonly whenFull: 'refuse' | 'drop-oldest';
  /** Milliseconds of a clock that never goes back. */
  readonly nowMs: () => number;
}

/** A timed set in this process. */
export class MemoryTimedSet {
  /** When each ends, in the order of the last addition. Bounded by `most`; what has ended goes with the next addition. */
  readonly #untilMs = new Map<string, number>();
  readonly #options: MemoryTimedSetOptions;
  #version = 0;
  #sweepAtMs = Number.POSITIVE_INFINITY;

  constructor(options: MemoryTimedSetOptions) {
    this.#options = options;
  }

  /** Names that are kept, ended ones included until somebody adds or looks. */
  get size(): number {
    return this.#untilMs.size;
  }

  get version(): number {
    this.#sweep();
    return this.#untilMs.size === 0 ? 0 : this.#version;
  }

  /** False when there is no room. */
  add(name: string, ttlMs: number): boolean {
    if (name === '' || name.length > LONGEST_NAME) return false;
    this.#sweep();
    const { most, whenFull, nowMs } = this.#options;
    const knownMs = this.#untilMs.get(name);
    if (knownMs === undefined && this.#untilMs.size >= most) {
      if (whenFull === 'refuse') return false;
      this.#untilMs.delete(this.#untilMs.keys().next().value as string);
    }
    const untilMs = Math.max(knownMs ?? 0, nowMs() + ttlMs);
    // anew, so that it counts as the newest
    this.#untilMs.delete(name);
    this.#untilMs.set(name, untilMs);
    this.#sweepAtMs = Math.min(this.#sweepAtMs, untilMs);
    this.#version += 1;
    return true;
  }

  has(name: string): boolean {
    const untilMs = this.#untilMs.get(name);
    return untilMs !== undefined && untilMs > this.#options.nowMs();
  }

  /** Newest first; stops at the first for which `take` says false. */
  forEachNewest(take: (name: string) => boolean): void {
    this.#sweep();
    const names = [...this.#untilMs.keys()];
    for (let at = names.length - 1; at >= 0; at -= 1) if (!take(names[at] as string)) return;
  }

  /** Walks only when something has ended; then nothing is left that has, so the next walk is a name's time away. */
  #sweep(): void {
    const nowMs = this.#options.nowMs();
    if (nowMs < this.#sweepAtMs) return;
    this.#sweepAtMs = Number.POSITIVE_INFINITY;
    for (const [name, untilMs] of this.#untilMs) {
      if (untilMs <= nowMs) this.#untilMs.delete(name);
      else this.#sweepAtMs = Math.min(this.#sweepAtMs, untilMs);
    }
    // a clock of many different ends must not make every addition a walk
    this.#sweepAtMs = Math.max(this.#sweepAtMs, nowMs + SWEEP_EVERY_MS);
  }
}

/** The same as a set that others share, for drivers that live in one process. */
export function sharedTimedSet(set: MemoryTimedSet, assertOpen: () => void): TimedSet {
  return {
    add: async (names, ttlMs) => {
      assertOpen();
      return names.map((name) => set.add(name, ttlMs));
    },
    version: async () => {
      assertOpen();
      return set.version;
    },
    find: async (names) => {
      assertOpen();
      return new Set(names.filter((name) => set.has(name)));
    },
    list: async (limit) => {
      assertOpen();
      const names: string[] = [];
      if (limit > 0) set.forEachNewest((name) => names.push(name) < limit);
      return names;
    },
  };
}
