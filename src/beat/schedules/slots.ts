/**
 * The questions that a scheduler asks of any schedule: what comes next, what came before, what lies between. A slot is the instant
 * that a schedule names, before jitter: it identifies the run. Pure: instants are epoch milliseconds, passed in. Next stop:
 * `catch-up.ts`, `slot-identity.ts`.
 */
import { ConfigError } from '../../core/errors.js';
import { EARLIEST_MS, LATEST_MS, nextCron } from './cron.js';
import { nextSolar } from './solar.js';
import type { Schedule } from './types.js';
import { segmentAt } from './zone.js';

/** The most slots that one answer may hold. */
export const MOST_SLOTS = 1_000;

function nextOf(schedule: Schedule, afterMs: number): number | undefined {
  if (schedule.kind === 'cron') return nextCron(schedule, afterMs);
  if (schedule.kind === 'once') return schedule.atMs > afterMs ? schedule.atMs : undefined;
  if (schedule.kind === 'solar') return nextSolar(schedule, afterMs);
  const { everyMs, anchorMs } = schedule;
  if (anchorMs === null) return afterMs + everyMs;
  return anchorMs + (Math.floor((afterMs - anchorMs) / everyMs) + 1) * everyMs;
}

/**
 * The first slot after an instant, in epoch milliseconds; `undefined` when no more come. For an interval from the last run, `afterMs`
 * is the instant of that run.
 * Slots begin with the year 1900 and end with 9989.
 * @throws ConfigError `E_SCHEDULE_NEVER` for an event of the sun that does not come within a year and a half, `E_CONFIG_RANGE` for
 * what is no instant
 */
export function nextSlot(schedule: Schedule, afterMs: number): number | undefined {
  if (Number.isNaN(afterMs)) throw new ConfigError('E_CONFIG_RANGE', 'afterMs is no instant: give epoch milliseconds');
  const { startMs, endMs } = schedule;
  let slot: number | undefined;
  if (startMs !== null && afterMs < startMs) {
    slot = schedule.kind === 'interval' && schedule.anchorMs === null ? startMs : nextOf(schedule, startMs - 1);
  } else {
    slot = nextOf(schedule, Math.max(afterMs, EARLIEST_MS - 1));
  }
  return slot === undefined || slot > LATEST_MS || (endMs !== null && slot > endMs) ? undefined : slot;
}

/**
 * The last slot that is later than `afterMs` and not later than `untilMs`. Found by halving: a month of missed seconds costs some forty
 * looks and not millions. For an interval from the last run it is the one that the run at `afterMs` is followed by: no later one
 * exists before that has run.
 * @throws ConfigError `E_SCHEDULE_NEVER` as `nextSlot`
 */
export function lastSlot(schedule: Schedule, afterMs: number, untilMs: number): number | undefined {
  let found = nextSlot(schedule, afterMs);
  if (found === undefined || found > untilMs) return undefined;
  if (schedule.kind === 'interval' && schedule.anchorMs === null) return found;
  // The last slot is `found`, or lies behind it and not behind `high`.
  let high = Math.floor(Math.min(untilMs, LATEST_MS));
  while (found < high) {
    const middle = Math.ceil((found + high) / 2);
    const slot = nextSlot(schedule, middle - 1);
    if (slot !== undefined && slot <= untilMs) found = slot;
    else high = middle - 1;
  }
  return found;
}

/** Slots of a stretch, and whether there are more. */
export interface SlotList {
  /** Epoch milliseconds, ascending. */
  readonly slots: readonly number[];
  /** The stretch has more than were asked for. */
  readonly more: boolean;
}

/**
 * The slots later than `fromMs` and not later than `toMs`, the first `max` of them.
 * @param max 1 to 1,000
 * @throws ConfigError `E_CONFIG_RANGE` for another `max`, `E_SCHEDULE_NEVER` as `nextSlot`
 */
export function slotsBetween(schedule: Schedule, fromMs: number, toMs: number, max: number): SlotList {
  checkCount(max, 'max');
  const slots: number[] = [];
  for (let at = fromMs; ; ) {
    const slot = nextSlot(schedule, at);
    if (slot === undefined || slot > toMs) return { slots, more: false };
    if (slots.length === max) return { slots, more: true };
    slots.push(slot);
    at = slot;
  }
}

/** @throws ConfigError `E_CONFIG_RANGE` */
export function checkCount(count: number, name: string): void {
  if (Number.isInteger(count) && count >= 1 && count <= MOST_SLOTS) return;
  throw new ConfigError('E_CONFIG_RANGE', `${name} is ${String(count)}: it must be a whole number from 1 to ${MOST_SLOTS}`);
}

/** A slot to come, as people read it. */
export interface SlotPreview {
  /** Epoch milliseconds. */
  readonly slotMs: number;
  /** The instant in the schedule's zone with its offset, for example `2026-03-29T03:00:00+02:00`; in UTC for what has no zone. */
  readonly local: string;
}

function inZone(atMs: number, offsetMs: number): string {
  const minutes = Math.abs(offsetMs) / 60_000;
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0');
  const shown = new Date(atMs + offsetMs).toISOString().replace(/(\.000)?Z$/, '');
  return `${shown}${offsetMs < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`;
}

/**
 * The next slots, to show before they happen. For an interval from the last run: if each run starts on time.
 * @param count 1 to 1,000
 * @throws ConfigError `E_CONFIG_RANGE` for another count, `E_SCHEDULE_NEVER` as `nextSlot`
 */
export function previewSlots(schedule: Schedule, afterMs: number, count: number): SlotPreview[] {
  checkCount(count, 'count');
  return slotsBetween(schedule, afterMs, LATEST_MS, count).slots.map((slotMs) => ({
    slotMs,
    local: inZone(slotMs, schedule.kind === 'cron' ? segmentAt(schedule.timezone, slotMs).offsetMs : 0),
  }));
}
