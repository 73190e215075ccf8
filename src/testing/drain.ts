/** Waits until a memory app has nothing more to do, and moves its clock from one due task to the next. */
import { setTimeout as pause } from 'node:timers/promises';
import { formatMs } from '../core/duration.js';
import { LovageError } from '../core/errors.js';
import type { FakeClock } from './fake-clock.js';

/** What `drain` asks again and again. */
export interface Workplace {
  /** Names of what is not done yet: queues with tasks that are due, and running tasks. Empty = idle. */
  busy(): Promise<readonly string[]>;
  /** Real time that a drain may take. */
  readonly timeoutMs: number;
}

/** Turns of the loop before pauses begin: most tasks end within a few. */
const QUICK_TURNS = 50;

/**
 * Resolves when nothing is due and nothing runs.
 * @throws LovageError `E_RESULT_TIMEOUT` that names what does not end
 */
export async function drainUntilIdle({ busy, timeoutMs }: Workplace): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (let turn = 0; ; turn++) {
    const left = await busy();
    if (left.length === 0) return;
    if (performance.now() > deadline) {
      throw new LovageError('E_RESULT_TIMEOUT', `drain() waited ${formatMs(timeoutMs)} and these do not end: ${left.join(', ')}`);
    }
    // Real time on purpose: user code may wait for real input and output. This is a poll with a deadline, not a wait for luck.
    if (turn < QUICK_TURNS) await new Promise((resolve) => setImmediate(resolve));
    else await pause(1);
  }
}

/** Moves the clock on by `ms`, stopping wherever something falls due, and drains at each stop. */
export async function advanceAndDrain(clock: FakeClock, ms: number, place: Workplace): Promise<void> {
  const endMs = clock.nowMs() + ms;
  await drainUntilIdle(place);
  for (let dueMs = clock.nextDueMs(); dueMs !== null && dueMs <= endMs; dueMs = clock.nextDueMs()) {
    clock.advance(Math.max(0, dueMs - clock.nowMs()));
    await drainUntilIdle(place);
  }
  clock.advance(Math.max(0, endMs - clock.nowMs()));
  await drainUntilIdle(place);
}
