/**
 * Celery's `beat_schedule` setting, written down as JSON, as entries of ours. Takes what `crontab`, `schedule` and `solar` look like
 * when people write them as JSON or Python prints them. What cannot be taken over is told entry by entry, never guessed. Pure.
 */

import type { Duration } from '../../core/duration.js';
import { ConfigError, toError } from '../../core/errors.js';
import { resolveScheduleOptions } from './parse.js';
import type {
  CronFieldOptions,
  ResolvedScheduleOptions,
  ScheduleOptions,
  SlotOptions,
  SolarEvent,
  TimingOptions,
} from './types.js';

/** What the JSON does not say. */
export interface CeleryImportOptions {
  /** Celery's `timezone` setting: it holds for all its crontabs. @defaultValue `'UTC'` */
  readonly timezone?: string;
  /**
   * What a priority means over there: `9-first` on RabbitMQ, `0-first` on Redis. Here 9 is soonest on every broker.
   * @defaultValue `'9-first'`
   */
  readonly priorities?: '9-first' | '0-first';
}

/** An entry that was taken over. */
export interface CeleryEntry {
  readonly name: string;
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** As one would write it at `app.schedule`. */
  readonly options: ScheduleOptions;
  readonly resolved: ResolvedScheduleOptions;
  /** Parts of the entry that were left out, and what to know of the others. */
  readonly notes: readonly string[];
}

/** What became of a `beat_schedule`. */
export interface CeleryImport {
  readonly entries: readonly CeleryEntry[];
  /** Entries that were not taken over, each with its reason. */
  readonly refused: readonly { readonly name: string; readonly error: ConfigError }[];
}

export type Json = Readonly<Record<string, unknown>>;
/** A schedule as options, with what is to know of it. */
export type Timing = { readonly options: TimingOptions; readonly note?: string };

/** More is no setting that a person keeps. */
export const MOST_ENTRIES = 100_000;
export const SECONDS: Json = {
  microseconds: 1e-6,
  milliseconds: 1e-3,
  seconds: 1,
  minutes: 60,
  hours: 3_600,
  days: 86_400,
  weeks: 604_800,
};
const CRON_KEYS: Readonly<Record<string, keyof CronFieldOptions>> = {
  minute: 'minute',
  hour: 'hour',
  day_of_week: 'dayOfWeek',
  day_of_month: 'dayOfMonth',
  month_of_year: 'monthOfYear',
};
const ENTRY_KEYS = new Set(['task', 'schedule', 'args', 'kwargs', 'options', 'relative']);
/** Options of a call that the broker's way decides, or that an entry cannot have here. */
const TAKEN_OPTIONS = new Set(['queue', 'priority', 'expires', 'headers']);

export const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
export const refuse = (message: string): never => {
  throw new ConfigError('E_SCHEDULE', message);
};
export const shown = (value: unknown): string => (JSON.stringify(value) ?? typeof value).slice(0, 200);

export function duration(seconds: number, what: string): Duration {
  const ms = Math.round(seconds * 1_000);
  if (!Number.isFinite(ms) || ms <= 0) return refuse(`${what} is ${String(seconds)} seconds: it must be longer than nothing`);
  return ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`;
}

/** Celery counts a plain interval from the run before; `relative` rounds to whole units of the clock, as the epoch's multiples do. */
export function interval(seconds: number, relative: boolean, note?: string): Timing {
  const every = duration(seconds, 'schedule');
  const options: TimingOptions = relative ? { every } : { every, anchor: 'last-run' };
  return note === undefined ? { options } : { options, note };
}

function cron(fields: string | CronFieldOptions, { timezone = 'UTC' }: CeleryImportOptions): Timing {
  return { options: { cron: fields, timezone } };
}

function timingOfText(text: string, relative: boolean, options: CeleryImportOptions): Timing {
  const every = /^<freq: (\d+(?:\.\d+)?) (second|minute|hour|day)s?>$/.exec(text);
  if (every) {
    // Two decimals at most are printed.
    const seconds = Math.round(Number(every[1]) * (SECONDS[`${every[2]}s`] as number) * 100) / 100;
    return interval(seconds, relative, `${text} is rounded by Celery: check that the interval is ${seconds} seconds`);
  }
  const sun = /^<solar: (\w+) at latitude (-?[\d.]+), longitude: (-?[\d.]+)>$/.exec(text);
  if (sun) return { options: { solar: { event: sun[1] as SolarEvent, lat: Number(sun[2]), lon: Number(sun[3]) } } };
  if (text.startsWith('<crontab:') || /^\S+(\s+\S+){4}$/.test(text)) return cron(text, options);
  return refuse(`schedule is ${shown(text)}: no crontab, interval or solar event of Celery's`);
}

function timingOf(given: unknown, relative: boolean, options: CeleryImportOptions): Timing {
  if (typeof given === 'number') return interval(given, relative);
  if (typeof given === 'string') return timingOfText(given.trim(), relative, options);
  if (!isObject(given)) return refuse(`schedule is ${shown(given)}: seconds, text or an object was expected`);
  const keys = Object.keys(given);
  const inner = given['crontab'] ?? given['solar'];
  if (keys.length === 1 && inner !== undefined) return timingOf(inner, relative, options);
  if (keys.length > 0 && keys.every((key) => CRON_KEYS[key] !== undefined)) {
    const fields = Object.fromEntries(keys.map((key) => [CRON_KEYS[key], given[key] ?? '*']));
    return cron(fields as CronFieldOptions, options);
  }
  if (keys.length === 3 && ['event', 'lat', 'lon'].every((key) => key in given)) {
    return {
      options: { solar: { event: given['event'] as SolarEvent, lat: given['lat'] as number, lon: given['lon'] as number } },
    };
  }
  if (keys.length > 0 && keys.every((key) => key in SECONDS && typeof given[key] === 'number')) {
    return interval(
      keys.reduce((sum, key) => sum + (given[key] as number) * (SECONDS[key] as number), 0),
      relative,
    );
  }
  // django-celery-beat's interval
  const unit = given['period'];
  if (keys.length === 2 && typeof given['every'] === 'number' && typeof unit === 'string' && unit in SECONDS)
    return interval(given['every'] * (SECONDS[unit] as number), relative);
  return refuse(`schedule is ${shown(given)}: no crontab, interval or solar event of Celery's`);
}

function runOptions(given: unknown, { priorities = '9-first' }: CeleryImportOptions, notes: string[]): SlotOptions {
  if (given === undefined || given === null) return {};
  if (!isObject(given)) return refuse(`options is ${shown(given)}: an object was expected`);
  for (const key of Object.keys(given)) if (!TAKEN_OPTIONS.has(key)) notes.push(`options.${key} was left out`);
  const { queue, priority, expires, headers } = given;
  if (queue !== undefined && queue !== null && typeof queue !== 'string')
    refuse(`options.queue is ${shown(queue)}: a name was expected`);
  if (typeof expires !== 'number' && expires !== undefined && expires !== null)
    refuse(`options.expires is ${shown(expires)}: seconds were expected (an instant would stop every later run)`);
  const turned = typeof priority === 'number' && priorities === '0-first' ? 9 - priority : priority;
  return {
    ...(queue === undefined || queue === null ? {} : { queue: queue as string }),
    ...(turned === undefined || turned === null ? {} : { priority: turned as number }),
    ...(typeof expires === 'number' ? { expires: duration(expires, 'options.expires') } : {}),
    ...(headers === undefined || headers === null ? {} : { headers: headers as NonNullable<SlotOptions['headers']> }),
  };
}

function entryOf(name: string, given: unknown, options: CeleryImportOptions): CeleryEntry {
  if (!isObject(given)) return refuse(`an entry is an object, not ${shown(given)}`);
  const { task, schedule, args = [], kwargs = {}, relative = false } = given;
  if (typeof task !== 'string' || task === '') return refuse(`task is ${shown(task)}: the name of a task was expected`);
  if (!Array.isArray(args)) return refuse(`args is ${shown(args)}: a list was expected`);
  if (!isObject(kwargs)) return refuse(`kwargs is ${shown(kwargs)}: an object was expected`);
  const notes = Object.keys(given).flatMap((key) => (ENTRY_KEYS.has(key) ? [] : [`${key} was left out`]));
  const timing = timingOf(schedule, relative === true, options);
  if (timing.note !== undefined) notes.push(timing.note);
  const all = { ...timing.options, ...runOptions(given['options'], options, notes) };
  const resolved = resolveScheduleOptions(all, `beat_schedule[${JSON.stringify(name)}]`);
  return { name, task, args, kwargs, options: all, resolved, notes };
}

/**
 * Entries out of Celery's `beat_schedule` as JSON: an object of entries, or the whole settings with one in them. A schedule may be
 * seconds, an object with the arguments of `timedelta`, `crontab` or `solar`, or what Python prints for one of these.
 * @throws ConfigError `E_SCHEDULE` when it is no object of entries at all; what is wrong with an entry stands in `refused`
 */
export function importCeleryBeat(settings: unknown, options: CeleryImportOptions = {}): CeleryImport {
  const inner = isObject(settings) ? (settings['beat_schedule'] ?? settings['CELERY_BEAT_SCHEDULE'] ?? settings) : settings;
  if (!isObject(inner)) return refuse(`beat_schedule is ${shown(inner)}: an object of entries was expected`);
  const names = Object.keys(inner);
  if (names.length > MOST_ENTRIES) return refuse(`beat_schedule has ${names.length} entries, more than ${MOST_ENTRIES}`);
  const entries: CeleryEntry[] = [];
  const refused: { name: string; error: ConfigError }[] = [];
  for (const name of names) {
    try {
      entries.push(entryOf(name, inner[name], options));
    } catch (error) {
      const known =
        error instanceof ConfigError ? error : new ConfigError('E_SCHEDULE', toError(error).message, { cause: error });
      refused.push({ name, error: known });
    }
  }
  return { entries, refused };
}
