/**
 * Slots of a cron in its time zone: where the local times of `next-local.ts` meet the changes of the clock. Owns the DST policy;
 * why it is what it is: `docs/decisions/schedules.md`. Pure.
 */
import { nextLocal } from './next-local.js';
import type { CronSchedule } from './types.js';
import { segmentAt } from './zone.js';

/** Of the range in which `Intl` writes years with four digits and zones have rules. */
export const EARLIEST_MS = Date.UTC(1900, 0, 1);
export const LATEST_MS = Date.UTC(9_990, 0, 1);
/** Offsets of zones lie between -12 and +14 hours; a day is more than any of them. */
const DAY_MS = 86_400_000;
/** A cron whose local times fall into gaps alone is given up after this long. */
const FARTHEST_MS = 100 * 366 * DAY_MS;

/**
 * The first slot after an instant, in epoch milliseconds; `undefined` if there is none within a century, or before the year 9990.
 * Local times are walked stretch by stretch of one offset. At the start of a stretch lies a gap or a repetition of local times,
 * if the clock was changed there.
 * @param afterMs not before `EARLIEST_MS - 1`: `slots.ts` sees to it
 */
export function nextCron(schedule: CronSchedule, afterMs: number): number | undefined {
  const { fields, timezone, skipped, repeated } = schedule;
  // Slots are whole seconds, and so are the changes of zones.
  let at = Math.floor(afterMs / 1_000) * 1_000 + 1_000;
  const limit = Math.min(at + FARTHEST_MS, LATEST_MS);
  while (at < limit) {
    const { startMs, endMs, offsetMs, beforeMs, afterMs: nextOffsetMs } = segmentAt(timezone, at);
    if (at === startMs && skipped === 'next' && beforeMs < offsetMs) {
      // Any number of local times in the gap make one slot, at the first instant after it.
      if (nextLocal(fields, startMs + beforeMs) < startMs + offsetMs) return at;
    }
    let fromLocal = at + offsetMs;
    let toLocal = endMs + offsetMs;
    if (repeated === 'first' && beforeMs > offsetMs) fromLocal = Math.max(fromLocal, startMs + beforeMs);
    if (repeated === 'second' && nextOffsetMs < offsetMs) toLocal = endMs + nextOffsetMs;
    const local = nextLocal(fields, fromLocal);
    if (local < toLocal) return local - offsetMs;
    // Nothing fits before `local`, so stretches that end long before it need no look. Not so near the end of this one: behind it
    // the clock may show again what was passed before `at`.
    at = endMs - at > 2 * DAY_MS ? Math.max(endMs, Math.min(local, limit + DAY_MS) - DAY_MS) : endMs;
  }
  return undefined;
}
