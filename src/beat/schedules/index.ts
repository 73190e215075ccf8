/**
 * The public subpath `lovage/schedules`: crontabs, intervals, events of the sun and one-offs as pure functions, for people who build
 * tools. No I/O, no clock, no random numbers: instants are epoch milliseconds, passed in. Why it is as it is:
 * `docs/decisions/schedules.md`.
 */
export { type CatchUpAt, type DueSlots, dueSlots } from './catch-up.js';
export { type CeleryEntry, type CeleryImport, type CeleryImportOptions, importCeleryBeat } from './celery-import.js';
export { describeSchedule } from './describe.js';
export { parseSchedule, resolveScheduleOptions } from './parse.js';
export { dueMs, slotTaskId, type TextFraction } from './slot-identity.js';
export { lastSlot, nextSlot, previewSlots, type SlotList, type SlotPreview, slotsBetween } from './slots.js';
export type {
  CatchUp,
  CatchUpOptions,
  CronField,
  CronFieldOptions,
  CronFields,
  CronSchedule,
  CronTimingOptions,
  DstPolicy,
  IntervalSchedule,
  IntervalTimingOptions,
  OnceSchedule,
  OnceTimingOptions,
  RepeatedTimes,
  ResolvedScheduleOptions,
  Schedule,
  ScheduleOptions,
  ScheduleWindow,
  SkippedTimes,
  SlotOptions,
  SolarEvent,
  SolarOptions,
  SolarSchedule,
  SolarTimingOptions,
  TimingOptions,
  TimingWindowOptions,
} from './types.js';
