/**
 * What people write at `app.schedule` (`app/schedules/schedule-types.ts`), and what becomes of it once it is checked. Owns the types alone;
 * `parse.ts` turns the one into the other. A parsed `Schedule` is plain data: it can be stored, sent and compared.
 */
import type { HeaderValue } from '../../app/middleware.js';
import type { RepeatedTimes, SkippedTimes, SolarEvent } from '../../app/schedules/schedule-types.js';

export type {
  CatchUpOptions,
  CronField,
  CronFieldOptions,
  CronTimingOptions,
  DstPolicy,
  IntervalTimingOptions,
  OnceTimingOptions,
  RepeatedTimes,
  ScheduleOptions,
  SkippedTimes,
  SlotOptions,
  SolarEvent,
  SolarOptions,
  SolarTimingOptions,
  TimingOptions,
  TimingWindowOptions,
} from '../../app/schedules/schedule-types.js';

/** The values of each field of a crontab, ascending. */
export interface CronFields {
  readonly seconds: readonly number[];
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly daysOfMonth: readonly number[];
  readonly months: readonly number[];
  /** 0 = Sunday. */
  readonly daysOfWeek: readonly number[];
}

/** What every checked schedule has. */
export interface ScheduleWindow {
  /** Epoch milliseconds, `null`: no bound. Slots at the bounds themselves count. */
  readonly startMs: number | null;
  readonly endMs: number | null;
  readonly jitterMs: number;
}

/** A checked cron. */
export interface CronSchedule extends ScheduleWindow {
  readonly kind: 'cron';
  readonly fields: CronFields;
  readonly timezone: string;
  readonly skipped: SkippedTimes;
  readonly repeated: RepeatedTimes;
}

/** A checked interval. */
export interface IntervalSchedule extends ScheduleWindow {
  readonly kind: 'interval';
  readonly everyMs: number;
  /** Epoch milliseconds; `null`: counted from the last run. */
  readonly anchorMs: number | null;
}

/** A checked event of the sun. */
export interface SolarSchedule extends ScheduleWindow {
  readonly kind: 'solar';
  readonly event: SolarEvent;
  readonly lat: number;
  readonly lon: number;
}

/** A checked one-off. */
export interface OnceSchedule extends ScheduleWindow {
  readonly kind: 'once';
  readonly atMs: number;
}

/** A checked schedule: plain data, durations and instants in milliseconds. */
export type Schedule = CronSchedule | IntervalSchedule | SolarSchedule | OnceSchedule;

/** Checked catch-up: with `slots: 'none'` the rest has no meaning. */
export interface CatchUp {
  readonly slots: 'none' | 'last' | 'all';
  readonly max: number;
  /** `null`: however old. */
  readonly withinMs: number | null;
}

/** All options of an entry, checked. */
export interface ResolvedScheduleOptions {
  readonly schedule: Schedule;
  readonly expiresMs: number | null;
  readonly priority: number | undefined;
  readonly queue: string | null;
  readonly headers: Readonly<Record<string, HeaderValue>> | null;
  readonly catchUp: CatchUp;
  readonly overlap: 'allow' | 'skip' | 'queue';
}
