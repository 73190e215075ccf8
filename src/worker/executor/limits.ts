/**
 * Time limits of one run, from the message (Celery's `timelimit` header) or the task. Soft: the signal aborts. Hard: a
 * run that yields is failed and abandoned; what it still does is fenced off, because its outcome is already in. An
 * executor that does not yield cannot be helped from within: that is the pool's part.
 */
import type { TaskDefinition } from '../../app/definition.js';
import { systemClock } from '../../core/clock.js';
import { formatMs } from '../../core/duration.js';
import { pythonError } from '../../wire/exception-info.js';
import type { RunContext } from './context.js';
import type { OutcomeBody } from './execute.js';

/** Starts the timers; the returned function stops them, `null` when there is no limit. */
export function startLimits(
  context: RunContext,
  definition: TaskDefinition,
  settle: (outcome: OutcomeBody) => void,
): (() => void) | null {
  const softMs = context.softTimeLimitMs ?? definition.options.softTimeLimitMs;
  const hardMs = context.timeLimitMs ?? definition.options.timeLimitMs;
  if (softMs === null && hardMs === null) return null;
  const timers: (() => void)[] = [];
  // The clock's timers and not setTimeout: that one fires at once for what is longer than 24 days.
  if (softMs !== null) timers.push(systemClock.after(softMs, () => context.abort('soft-time-limit')));
  if (hardMs !== null) {
    timers.push(
      systemClock.after(hardMs, () => {
        context.abort('soft-time-limit');
        context.log.error({ limit: formatMs(hardMs) }, 'hard time limit passed: the task is failed and abandoned');
        const exceptionJson = pythonError('TimeLimitExceeded', [hardMs / 1_000], 'billiard.exceptions');
        settle({ kind: 'failure', exceptionJson, traceback: '', expected: false });
      }),
    );
  }
  return () => {
    for (const cancel of timers) cancel();
  };
}
