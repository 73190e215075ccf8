/** A clock that only moves when a test moves it. */
import type { Clock } from '../core/clock.js';

/** A clock that stands still until `advance`. */
export interface FakeClock extends Clock {
  /** Moves both clocks on by `ms`, running the timers that fall due on the way, each at its own time and in order. */
  advance(ms: number): void;
  /** Moves on to the next timer and runs what is due then; `false` if there is no timer. */
  advanceToNext(): boolean;
  /** Moves the wall clock alone, as a set clock or a time server does: no timer runs. */
  jumpWall(ms: number): void;
  /** Wall time of the next timer; `null` if there is none. */
  nextDueMs(): number | null;
  /** How many timers wait; a test that leaves some has leaked them. */
  readonly timers: number;
}

/** A timer that sets itself again without delay would never let time go on. */
const MOST_TIMERS = 100_000;

interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/**
 * Makes a fake clock.
 * @param startMs wall time at the start, milliseconds since 1970
 */
export function createFakeClock(startMs: number): FakeClock {
  let elapsedMs = 0;
  let wallOffsetMs = startMs;
  let order = 0;
  const timers = new Set<Timer>();

  const next = (): Timer | undefined => {
    let first: Timer | undefined;
    for (const timer of timers) {
      if (!first || timer.atMs < first.atMs || (timer.atMs === first.atMs && timer.order < first.order)) first = timer;
    }
    return first;
  };
  const runUntil = (endMs: number): void => {
    let ran = 0;
    // looked up anew each time: a timer may set or cancel others
    for (let timer = next(); timer && timer.atMs <= endMs; timer = next()) {
      if (ran === MOST_TIMERS)
        throw new RangeError(`${MOST_TIMERS} timers ran in one move of a fake clock: does one set itself again without delay?`);
      ran += 1;
      timers.delete(timer);
      elapsedMs = Math.max(elapsedMs, timer.atMs);
      timer.callback();
    }
    elapsedMs = Math.max(elapsedMs, endMs);
  };

  return {
    nowMs: () => wallOffsetMs + elapsedMs,
    monotonicMs: () => elapsedMs,
    after(delayMs, callback) {
      order += 1;
      const timer = { atMs: elapsedMs + Math.max(delayMs, 0), order, callback };
      timers.add(timer);
      return () => {
        timers.delete(timer);
      };
    },
    advance(ms) {
      if (!(ms >= 0))
        throw new RangeError(`a fake clock only goes forward, not by ${ms} ms: use jumpWall to set the wall clock back`);
      runUntil(elapsedMs + ms);
    },
    advanceToNext() {
      const timer = next();
      if (!timer) return false;
      runUntil(timer.atMs);
      return true;
    },
    jumpWall(ms) {
      wallOffsetMs += ms;
    },
    nextDueMs() {
      const timer = next();
      return timer ? wallOffsetMs + timer.atMs : null;
    },
    get timers() {
      return timers.size;
    },
  };
}
