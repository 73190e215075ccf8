/**
 * What an entry is to do now: which of its slots run, which are left out, and when to look again. Pure: the instant comes from the caller.
 * Which slots a stretch has is `schedules/`; who sends is `scheduler.ts`.
 */

import type { Definition } from './definition.js';
import type { EntryState } from './entry-state.js';
import { dueMs, dueSlots, nextSlot, slotsBetween } from './schedules/index.js';

/**
 * A slot no older than this runs whatever `catchUp` says: what another scheduler takes to take over (five seconds at most), and one more.
 */
export const PUNCTUAL_MS = 6_000;
/** A run of which nothing was heard for so long holds nothing back any more: its message was purged, or its result has expired. */
export const LONGEST_RUN_MS = 86_400_000;
/** Left-out slots are counted one by one up to here. */
const MOST_COUNTED = 1_000;
const QUEUED = 100;

export interface Decision {
  /** Slots to send, ascending. */
  readonly slots: readonly number[];
  /** Without the runs of these slots. */
  readonly state: EntryState;
  readonly changed: boolean;
  /** When to decide again; `null`: not by time. */
  readonly nextMs: number | null;
}

/** Whether a run that was sent may still be under way. */
export function isBusy({ runs }: EntryState, nowMs: number): boolean {
  return runs.some(({ state, sentMs }) => state === null && nowMs - sentMs < LONGEST_RUN_MS);
}

function countMissed({ resolved }: Definition, fromMs: number, beforeMs: number): number {
  if (resolved.schedule.kind === 'interval' && resolved.schedule.anchorMs === null) return 1;
  return slotsBetween(resolved.schedule, fromMs, beforeMs - 1, MOST_COUNTED).slots.length;
}

const cursorOf = ({ sinceMs }: Definition, { cursorMs }: EntryState): number => Math.max(cursorMs ?? sinceMs, sinceMs);

/**
 * When an entry is to be decided first; `null`: never. Costs less than a decision, which may say the same.
 * @throws ConfigError `E_SCHEDULE_NEVER`
 */
export function firstDueMs(id: string, definition: Definition, state: EntryState, nowMs: number): number | null {
  if (state.heldMs !== null) return nowMs;
  const { schedule } = definition.resolved;
  const slot = nextSlot(schedule, cursorOf(definition, state));
  return slot === undefined ? null : dueMs(schedule, id, slot);
}

export function decide(id: string, definition: Definition, state: EntryState, nowMs: number): Decision {
  const { schedule, catchUp, overlap } = definition.resolved;
  const cursorMs = cursorOf(definition, state);
  const whenOf = (slotMs: number | undefined): number | null => (slotMs === undefined ? null : dueMs(schedule, id, slotMs));
  const heldMs = overlap === 'queue' ? state.heldMs : null;
  // What waits for the run before it, or for its jitter, is not missed by that.
  const heldForMs = heldMs === null ? 0 : Math.max(0, nowMs - heldMs);
  const bounds = heldMs !== null && catchUp.slots !== 'all' ? { slots: 'all' as const, max: QUEUED, withinMs: null } : catchUp;
  const { due, leftOut } = dueSlots(schedule, bounds, {
    cursorMs,
    nowMs,
    punctualMs: PUNCTUAL_MS + schedule.jitterMs + heldForMs,
  });
  const ready = due.filter((slot) => (whenOf(slot) as number) <= nowMs);
  const pending = due.find((slot) => !ready.includes(slot));
  if (ready.length === 0 && !leftOut)
    return { slots: [], state, changed: false, nextMs: whenOf(pending ?? nextSlot(schedule, cursorMs)) };

  const fromLastRun = schedule.kind === 'interval' && schedule.anchorMs === null;
  const missed = state.missed + (leftOut ? countMissed(definition, cursorMs, due[0] ?? nowMs + 1) : 0);
  const decidedMs = pending === undefined || pending > nowMs ? nowMs : pending - 1;
  const after = (next: Partial<EntryState>, slots: readonly number[], blocked = false): Decision => {
    const changed: EntryState = { ...state, missed, ...next };
    const nextMs = blocked ? null : whenOf(pending ?? nextSlot(schedule, changed.cursorMs ?? cursorMs));
    return { slots, state: changed, changed: true, nextMs };
  };
  const busy = overlap !== 'allow' && isBusy(state, nowMs);
  const newest = ready.at(-1);
  switch (overlap) {
    case 'allow':
      return after({ cursorMs: decidedMs }, ready);
    case 'skip': {
      const slots = busy || newest === undefined ? [] : [newest];
      return after({ cursorMs: decidedMs, skipped: state.skipped + ready.length - slots.length }, slots);
    }
    case 'queue': {
      const [first, second] = ready;
      if (first === undefined) return after({ cursorMs: decidedMs, heldMs: null }, []);
      if (busy) {
        const holds = leftOut || heldMs === null;
        // what was left out is counted once: the cursor passes it
        return holds
          ? after({ cursorMs: first - 1, heldMs: first }, [], true)
          : { slots: [], state, changed: false, nextMs: null };
      }
      const passed = fromLastRun || second === undefined ? decidedMs : first;
      return after({ cursorMs: passed, heldMs: second ?? null }, [first], second !== undefined);
    }
  }
}
