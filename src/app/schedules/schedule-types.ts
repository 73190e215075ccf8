/**
 * What people write at `app.schedule`: when an entry is due, and what becomes of its slots. Types alone; `beat/schedules/parse.ts` checks
 * them.
 */
import type { Duration } from '../../core/duration.js';
import type { HeaderValue } from '../middleware.js';

/** One field of a crontab: a number, a list of numbers, or text of Celery's grammar such as `'1,15-20'` or `'*\/5'`. */
export type CronField = number | string | readonly number[];

/** A crontab by its fields. What is left out is `'*'`, `second` alone is 0. @remarks Source: Celery's `crontab()`. */
export interface CronFieldOptions {
  /** 0 to 59. @defaultValue 0 */
  readonly second?: CronField;
  /** 0 to 59. @defaultValue `'*'` */
  readonly minute?: CronField;
  /** 0 to 23. @defaultValue `'*'` */
  readonly hour?: CronField;
  /** 1 to 31. @defaultValue `'*'` */
  readonly dayOfMonth?: CronField;
  /** 1 to 12, or names. @defaultValue `'*'` */
  readonly monthOfYear?: CronField;
  /** 0 (Sunday) to 6, or names; 7 is Sunday too. @defaultValue `'*'` */
  readonly dayOfWeek?: CronField;
}

/** What becomes of a local time that the clock leaves out. `next`: one run at the first instant after the gap. */
export type SkippedTimes = 'next' | 'skip';
/** Which of two equal local times counts. */
export type RepeatedTimes = 'first' | 'second' | 'both';

/** What a cron does on the days when the clock is changed. */
export interface DstPolicy {
  /** @defaultValue `'next'`, and `'skip'` for a cron of every hour, which runs on with the clock */
  readonly skipped?: SkippedTimes;
  /** @defaultValue `'first'`, and `'both'` for a cron of every hour, which runs on with the clock */
  readonly repeated?: RepeatedTimes;
}

/** Celery's nine events of the sun. */
export type SolarEvent =
  | 'dawn_astronomical'
  | 'dawn_nautical'
  | 'dawn_civil'
  | 'sunrise'
  | 'solar_noon'
  | 'sunset'
  | 'dusk_civil'
  | 'dusk_nautical'
  | 'dusk_astronomical';

/** Where the sun is watched from. */
export interface SolarOptions {
  readonly event: SolarEvent;
  /** Degrees, -90 (south) to 90 (north). */
  readonly lat: number;
  /** Degrees, -180 (west) to 180 (east). */
  readonly lon: number;
}

/** Which slots still run that were missed while no scheduler was there. */
export interface CatchUpOptions {
  /** `last`: the newest missed slot. `all`: each of them, the oldest first. */
  readonly slots: 'last' | 'all';
  /** At most this many, the newest ones; 1 to 1,000. @defaultValue 100 */
  readonly max?: number;
  /** None that is older than this. @defaultValue no limit */
  readonly within?: Duration;
}

/** When slots are, beside the rule itself. */
export interface TimingWindowOptions {
  /** Each slot is put off by a part of this that its entry and time decide, the same for every scheduler. At most a day. @defaultValue none */
  readonly jitter?: Duration;
  /** No slot before this instant. */
  readonly start?: Date;
  /** No slot after this instant. */
  readonly end?: Date;
}

/** By the clock on the wall. */
export interface CronTimingOptions extends TimingWindowOptions {
  /**
   * Five fields (minute, hour, day of month, month, day of week), six with the seconds in front, a word such as `@daily`, or
   * fields by name. Day of month AND day of week must both fit, as in Celery.
   */
  readonly cron: string | CronFieldOptions;
  /** IANA name. @defaultValue `'UTC'` */
  readonly timezone?: string;
  readonly dst?: DstPolicy;
  readonly every?: undefined;
  readonly solar?: undefined;
  readonly at?: undefined;
}

/** By elapsed time. */
export interface IntervalTimingOptions extends TimingWindowOptions {
  /** At least `'100ms'`. */
  readonly every: Duration;
  /**
   * An instant that slots are counted from, so that they are the same for each scheduler, or `'last-run'`: this long after the
   * run before, as Celery does. @defaultValue `start`, or else the epoch
   */
  readonly anchor?: Date | 'last-run';
  readonly cron?: undefined;
  readonly solar?: undefined;
  readonly at?: undefined;
}

/** By the sun. */
export interface SolarTimingOptions extends TimingWindowOptions {
  readonly solar: SolarOptions;
  readonly cron?: undefined;
  readonly every?: undefined;
  readonly at?: undefined;
}

/** Once. */
export interface OnceTimingOptions extends TimingWindowOptions {
  readonly at: Date;
  readonly cron?: undefined;
  readonly every?: undefined;
  readonly solar?: undefined;
}

/** When an entry is due: one of `cron`, `every`, `solar` and `at`, and what belongs to it. */
export type TimingOptions = CronTimingOptions | IntervalTimingOptions | SolarTimingOptions | OnceTimingOptions;

/** What becomes of a slot that is due. */
export interface SlotOptions {
  /** A run that has not started this long after it was sent does not run any more. */
  readonly expires?: Duration;
  /** 0 to 9, higher = sooner. */
  readonly priority?: number;
  readonly queue?: string;
  /** User headers; the task finds them in `ctx.headers`. */
  readonly headers?: Readonly<Record<string, HeaderValue>>;
  /** Slots missed while no scheduler was there. `all` is bounded as `{ slots: 'all' }` says. @defaultValue `'last'` */
  readonly catchUp?: 'none' | 'last' | 'all' | CatchUpOptions;
  /** When the run before has not ended: start beside it, leave this one out, or run it afterwards. @defaultValue `'allow'` */
  readonly overlap?: 'allow' | 'skip' | 'queue';
}

/** The options of `app.schedule`: when an entry is due, and what becomes of its slots. */
export type ScheduleOptions = TimingOptions & SlotOptions;
