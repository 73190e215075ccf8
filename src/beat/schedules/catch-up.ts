/**
 * Which slots run after a stretch without a scheduler: what an entry's `catchUp` means. Owns the choice alone; who remembers the
 * cursor and who sends is the scheduler's business. Pure.
 */
import { lastSlot, MOST_SLOTS, nextSlot, slotsBetween } from './slots.js';
import type { CatchUp, Schedule } from './types.js';

/** Where an entry stands. Epoch milliseconds. */
export interface CatchUpAt {
  /** Every slot up to here is decided: it ran or was left out. For an interval from the last run: that run. */
  readonly cursorMs: number;
  readonly nowMs: number;
  /**
   * A slot no older than this is on time and runs whatever `catchUp` says; milliseconds. It must cover what a take-over by another
   * scheduler may last, or `'none'` would lose slots by it.
   */
  readonly punctualMs: number;
}

/** What is to run now. */
export interface DueSlots {
  /** Epoch milliseconds, ascending, at most 1,000. With this every slot up to `nowMs` is decided. */
  readonly due: readonly number[];
  /** There were other slots since the cursor, and they are left out. */
  readonly leftOut: boolean;
}

/** The newest slots of a stretch, ascending. */
function newest(schedule: Schedule, fromMs: number, toMs: number, max: number): readonly number[] {
  const { slots, more } = slotsBetween(schedule, fromMs, toMs, MOST_SLOTS);
  if (!more) return slots.slice(-max);
  // Too many to list them all: from the end back.
  const back: number[] = [];
  for (let until = toMs; back.length < max; ) {
    const slot = lastSlot(schedule, fromMs, until);
    if (slot === undefined) break;
    back.push(slot);
    until = slot - 1;
  }
  return back.reverse();
}

/**
 * The slots between the cursor and now that run. What is on time always does. Of what was missed: `none` nothing, `last` the newest
 * unless something newer is on time, `all` each within the bounds of the entry.
 * @throws ConfigError `E_SCHEDULE_NEVER` as `nextSlot`
 */
export function dueSlots(schedule: Schedule, catchUp: CatchUp, { cursorMs, nowMs, punctualMs }: CatchUpAt): DueSlots {
  const first = nextSlot(schedule, cursorMs);
  if (first === undefined || first > nowMs) return { due: [], leftOut: false };
  const onTimeFrom = nowMs - punctualMs - 1;
  const oldest = catchUp.slots === 'none' ? onTimeFrom : catchUp.withinMs === null ? cursorMs : nowMs - catchUp.withinMs - 1;
  let due: readonly number[];
  if (schedule.kind === 'interval' && schedule.anchorMs === null) {
    // What comes after it counts from its run, so there is never more than one.
    due = first > Math.min(oldest, onTimeFrom) ? [first] : [];
  } else {
    due = newest(schedule, Math.max(cursorMs, onTimeFrom), nowMs, MOST_SLOTS);
    const missedUntil = Math.min(onTimeFrom, nowMs);
    const missedFrom = Math.max(cursorMs, oldest);
    if (catchUp.slots === 'all' && missedFrom < missedUntil) {
      const room = Math.min(catchUp.max, MOST_SLOTS - due.length);
      if (room > 0) due = [...newest(schedule, missedFrom, missedUntil, room), ...due];
    } else if (catchUp.slots === 'last' && due.length === 0) {
      const last = lastSlot(schedule, missedFrom, missedUntil);
      due = last === undefined ? [] : [last];
    }
  }
  return { due, leftOut: leavesOut(schedule, due, first, nowMs) };
}

/** The chosen slots are the newest ones, so it is enough to look in front of them. */
function leavesOut(schedule: Schedule, due: readonly number[], first: number, nowMs: number): boolean {
  const [oldest] = due;
  if (oldest === undefined) return first <= nowMs;
  return first < oldest && schedule.kind !== 'once';
}
