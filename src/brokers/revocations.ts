/**
 * Revocations: the part of the broker seam about tasks that must not run any more. What waits and can be found cheaply is
 * removed; for what is in a queue, in nobody's reach, a record is kept that workers ask when they get it.
 *
 * Bounded: a record ends by itself, there are at most `MOST_REVOCATIONS`, and a worker asks for the ids that it holds instead of
 * carrying the others around (docs/decisions/revocations.md). Next stop: `app/control/revoke.ts`, which puts the steps together.
 */
import type { TimedSet } from '../core/timed-set.js';
import type { WireMessage } from '../wire/message.js';

/** A record is kept at least so long, as by Celery's workers. */
export const LEAST_KEPT_MS = 3 * 3_600_000;
/** And so long after the time before which the task must not run. */
export const KEPT_AFTER_ETA_MS = 3_600_000;
/** Ids in one step of a driver. */
export const REVOKE_STEP = 1_000;

export interface Revocations {
  /**
   * The ids of tasks that must not run. Beyond `MOST_REVOCATIONS` a revoke is told to the workers that listen, and to nobody who
   * starts later; `null` where the broker cannot keep any (`capabilities.revocations` says why).
   */
  readonly records: TimedSet | null;
  /**
   * Removes waiting messages of these tasks, where they are found without walking a queue: the driver says where that is.
   * Resolves with what was removed, by task id.
   */
  withdraw(ids: readonly string[]): Promise<ReadonlyMap<string, WireMessage>>;
}
