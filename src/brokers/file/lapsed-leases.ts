/**
 * Leases of others that are over, and since when this process has seen so. None is taken over at first sight: when nobody could
 * write for a while (a process stopped with the lock in its hand, a full disk) or the clock leapt (the machine slept), all leases
 * are over at once, and their owners, which live, renew them within a second. Pure.
 */

/** Longer than owners take to renew (`renewal-timer.ts`), and short enough for a take-over within five seconds of a lease's end. */
const LOOK_AGAIN_MS = 2_000;
/** Noted at a time; the others are noted once these are taken over. */
export const MOST_LAPSED = 1_000;

/** A row of `holders` whose lease is over. */
export interface LapsedLease {
  readonly id: number;
  readonly untilMs: number;
  readonly leaseMs: number;
}

export class LapsedLeases {
  /** By holder; `untilMs` tells whether it was renewed in between. */
  readonly #seen = new Map<number, { readonly untilMs: number; readonly atMs: number }>();
  /** Noted by the last transaction. */
  #newest: number[] = [];

  /** Notes those that are new and forgets those that are gone. Only in a write: a stand-still must not count as time to renew. */
  note(lapsed: readonly LapsedLease[], nowMs: number): void {
    const left = new Set(lapsed.map(({ id }) => id));
    for (const id of this.#seen.keys()) if (!left.has(id)) this.#seen.delete(id);
    const unseen = lapsed.filter(({ id, untilMs }) => this.#seen.get(id)?.untilMs !== untilMs);
    for (const { id, untilMs } of unseen) this.#seen.set(id, { untilMs, atMs: nowMs });
    this.#newest = unseen.map(({ id }) => id);
  }

  /** In how many milliseconds this one may be taken over; 0: now; `null`: it has not been noted yet. */
  waitMs({ id, untilMs, leaseMs }: LapsedLease, nowMs: number): number | null {
    const seen = this.#seen.get(id);
    if (seen?.untilMs !== untilMs) return null;
    return Math.max(0, seen.atMs + Math.min(LOOK_AGAIN_MS, leaseMs / 2) - nowMs);
  }

  /** The transaction that noted them failed: nobody could renew either. */
  rolledBack(): void {
    for (const id of this.#newest.splice(0)) this.#seen.delete(id);
  }
}
