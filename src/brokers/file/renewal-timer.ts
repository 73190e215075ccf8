/**
 * When a lease is to be renewed: once a third of it has run, and at once when the clock leapt by as much. Leases end by the clock, which
 * goes on while the machine sleeps, unlike a timer; so the timer looks at it every second. No I/O.
 */
import { systemClock } from '../../core/clock.js';

/** How soon a lease is renewed after a time in which it could not be: others take it over a second later (`lapsed-leases.ts`). */
const WITHIN_MS = 1_000;

export class RenewalTimer {
  readonly #thirdMs: number;
  readonly #renew: () => void;
  #cancel: (() => void) | null = null;

  constructor(leaseMs: number, renew: () => void) {
    this.#thirdMs = leaseMs / 3;
    this.#renew = renew;
  }

  /** Calls `renew` once, in time; nothing if that is planned already. `soon`: the last try failed. */
  plan(soon = false): void {
    if (this.#cancel) return;
    const withinMs = soon ? Math.min(WITHIN_MS, this.#thirdMs) : this.#thirdMs;
    const [startedMs, startedAtMs] = [systemClock.monotonicMs(), Date.now()];
    const wait = (leftMs: number): void => {
      this.#cancel = systemClock.after(Math.min(leftMs, WITHIN_MS), () => {
        const passedMs = systemClock.monotonicMs() - startedMs;
        const leaptMs = Math.abs(Date.now() - startedAtMs - passedMs);
        if (passedMs < withinMs && leaptMs < this.#thirdMs) return wait(withinMs - passedMs);
        this.#cancel = null;
        this.#renew();
      });
    };
    wait(withinMs);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
  }
}
