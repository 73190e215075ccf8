/** Judges what was sent or run of a schedule, by the ids that entry and slot decide: what is missing, what came twice, and what belongs to no slot. Pure. */
import { slotTaskId } from '../../src/beat/schedules/index.js';

/** A stretch of an entry that is due at whole multiples of `everyMs`. Epoch milliseconds, both ends included. */
export interface Stretch {
  readonly entry: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly everyMs: number;
}

export interface SlotVerdict {
  /** Slots of the stretch. */
  readonly slots: number;
  /** Those of which nothing came. */
  readonly missing: readonly number[];
  /** Those that came more than once. */
  readonly twice: readonly number[];
  /** Ids that are no slot of the stretch. */
  readonly strange: readonly string[];
}

/** Task ids of a stretch, by slot. */
export function slotIds({ entry, fromMs, toMs, everyMs }: Stretch): Map<number, string> {
  const ids = new Map<number, string>();
  for (let slot = Math.ceil(fromMs / everyMs) * everyMs; slot <= toMs; slot += everyMs) ids.set(slot, slotTaskId(entry, slot));
  return ids;
}

/** @param ids one for each time that something came, in any order */
export function judgeSlots(stretch: Stretch, ids: readonly string[]): SlotVerdict {
  const times = new Map<string, number>();
  for (const id of ids) times.set(id, (times.get(id) ?? 0) + 1);
  const slots = slotIds(stretch);
  const known = new Set(slots.values());
  const which = (fits: (times: number) => boolean): number[] =>
    [...slots].filter(([, id]) => fits(times.get(id) ?? 0)).map(([slot]) => slot);
  return {
    slots: slots.size,
    missing: which((count) => count === 0),
    twice: which((count) => count > 1),
    strange: [...times.keys()].filter((id) => !known.has(id)),
  };
}
