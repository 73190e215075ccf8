/**
 * Time limits of one run. Soft: the signal aborts. Hard: a run that yields is failed and abandoned; what it still does is
 * fenced off, because its outcome is already in. Time for which somebody kept the loop is not charged: a neighbour's block must
 * cost nobody an attempt. An executor that does not yield at all cannot be helped from within: `engine/executors/watchdog.ts` sees that.
 */
import { systemClock } from '../../core/clock.js';
import { formatMs } from '../../core/duration.js';
import { pythonError } from '../../wire/exception-info.js';
import type { RunRequest } from '../port.js';
import type { RunContext } from './context.js';
import type { OutcomeBody } from './execute.js';
import { LoopClock } from './loop-clock.js';

const loop = new LoopClock();

/** Starts the timers; the returned function stops them, `null` when there is no limit. */
export function startLimits(
  { softTimeLimitMs: softMs, timeLimitMs: hardMs }: RunRequest,
  context: RunContext,
  settle: (outcome: OutcomeBody) => void,
): (() => void) | null {
  if (softMs === null && hardMs === null) return null;
  loop.enter();
  const stops: (() => void)[] = [];
  if (softMs !== null) stops.push(afterOwnTime(softMs, () => context.abort('soft-time-limit')));
  if (hardMs !== null) {
    stops.push(
      afterOwnTime(hardMs, () => {
        context.abort('time-limit');
        context.log.error({ limit: formatMs(hardMs) }, 'hard time limit passed: the task is failed and abandoned');
        const exceptionJson = pythonError('TimeLimitExceeded', [hardMs / 1_000], 'billiard.exceptions');
        settle({ kind: 'failure', exceptionJson, traceback: '', expected: false, abandoned: true });
      }),
    );
  }
  return () => {
    for (const stop of stops) stop();
    loop.leave();
  };
}

/** Calls back after so much time in which the loop turned; the returned function cancels. */
function afterOwnTime(limitMs: number, callback: () => void): () => void {
  const startMs = loop.ownMs();
  const check = (): void => {
    const leftMs = limitMs - (loop.ownMs() - startMs);
    // Timers may come a little early.
    if (leftMs <= 1) callback();
    else cancel = systemClock.after(leftMs, check);
  };
  // The clock's timers and not setTimeout: that one fires at once for what is longer than 24 days.
  let cancel = systemClock.after(limitMs, check);
  return () => cancel();
}
