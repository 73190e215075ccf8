/**
 * A clock that stands still while the loop is blocked: it counts a turn that took longer than a tick as one tick. Runs only
 * while somebody needs it.
 */

const TICK_MS = 100;
/** A turn may take this long and is still the loop's usual work. */
const LONGEST_TURN_MS = 250;

export class LoopClock {
  #users = 0;
  #timer: NodeJS.Timeout | null = null;
  #tickedMs = 0;
  /** Time that was taken from everybody. */
  #blockedMs = 0;

  enter(): void {
    this.#users += 1;
    if (this.#timer !== null) return;
    this.#tickedMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  leave(): void {
    this.#users -= 1;
    if (this.#users > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Milliseconds from an arbitrary start in which the loop turned. */
  ownMs(): number {
    const nowMs = performance.now();
    return nowMs - this.#blockedMs - this.#excessMs(nowMs);
  }

  #tick(): void {
    const nowMs = performance.now();
    this.#blockedMs += this.#excessMs(nowMs);
    this.#tickedMs = nowMs;
  }

  /** What the present turn has taken beyond the usual. */
  #excessMs(nowMs: number): number {
    const turnMs = nowMs - this.#tickedMs;
    return turnMs > LONGEST_TURN_MS ? turnMs - TICK_MS : 0;
  }
}
