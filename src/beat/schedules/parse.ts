/**
 * From what people write to a checked `Schedule`: every wrong option is found when the entry is defined, also a schedule that never
 * comes. Owns defaults and ranges. Next stop: `slots.ts`.
 */
import { checkHeaders } from '../../app/call-options.js';
import { checkKeys, checkObject } from '../../app/config-schema.js';
import { checkPriority, checkQueueName } from '../../app/router.js';
import { type Duration, durationMs } from '../../core/duration.js';
import { ConfigError } from '../../core/errors.js';
import { EARLIEST_MS, LATEST_MS } from './cron.js';
import { isEveryHour, parseCrontab } from './crontab.js';
import { MOST_SLOTS, nextSlot } from './slots.js';
import { nextSolar, SOLAR_EVENTS } from './solar.js';
import type {
  CatchUp,
  CatchUpOptions,
  DstPolicy,
  ResolvedScheduleOptions,
  Schedule,
  ScheduleOptions,
  SolarOptions,
  TimingOptions,
} from './types.js';
import { checkZone } from './zone.js';

type Given = Readonly<Record<string, unknown>>;

const KINDS = ['cron', 'every', 'solar', 'at'] as const;
const TIMING = ['jitter', 'start', 'end'] as const;
/** Keys that one kind alone understands. */
const OWN: Readonly<Record<string, (typeof KINDS)[number]>> = { timezone: 'cron', dst: 'cron', anchor: 'every' };
const TIMING_KEYS: ReadonlySet<string> = new Set([...KINDS, ...TIMING, ...Object.keys(OWN)]);
const DST_KEYS: ReadonlySet<string> = new Set<keyof DstPolicy>(['skipped', 'repeated']);
const SOLAR_KEYS: ReadonlySet<string> = new Set<keyof SolarOptions>(['event', 'lat', 'lon']);
const CATCH_UP_KEYS: ReadonlySet<string> = new Set<keyof CatchUpOptions>(['slots', 'max', 'within']);
const KEYS: ReadonlySet<string> = new Set([...TIMING_KEYS, ...['expires', 'priority', 'queue', 'headers', 'catchUp', 'overlap']]);
/** Shorter intervals are a loop inside one task, not a schedule. */
const SHORTEST_INTERVAL_MS = 100;
const LONGEST_JITTER_MS = 86_400_000;
const DEFAULT_CATCH_UP_SLOTS = 100;

function instantMs(value: unknown, name: string): number | null {
  if (value === undefined) return null;
  const ms = value instanceof Date ? value.getTime() : Number.NaN;
  if (Number.isNaN(ms)) throw new ConfigError('E_CONFIG_TYPE', `${name} must be a valid Date`);
  if (ms >= EARLIEST_MS && ms <= LATEST_MS) return ms;
  throw new ConfigError('E_CONFIG_RANGE', `${name} is ${(value as Date).toISOString()}: schedules know the years 1900 to 9989`);
}

/** Whole milliseconds of a duration within bounds. */
function spanMs(value: unknown, name: string, least: number, most: number, bounds: string): number {
  const ms = durationMs(value as Duration, name);
  if (Number.isInteger(ms) && ms >= least && ms <= most) return ms;
  throw new ConfigError('E_CONFIG_RANGE', `${name} is ${String(value)}: it must be ${bounds}, in whole milliseconds`);
}

function choice<T extends string>(value: unknown, choices: readonly T[], name: string): T {
  if (choices.includes(value as T)) return value as T;
  throw new ConfigError(
    'E_CONFIG_RANGE',
    `${name} is ${JSON.stringify(value) ?? typeof value}: use ${choices.map((one) => `'${one}'`).join(' or ')}`,
  );
}

function degrees(value: unknown, most: number, name: string): number {
  if (typeof value === 'number' && Math.abs(value) <= most) return value;
  throw new ConfigError(
    'E_CONFIG_RANGE',
    `${name} is ${JSON.stringify(value) ?? typeof value}: it must be a number from -${most} to ${most}`,
  );
}

function parseSolar(given: unknown, what: string): SolarOptions {
  checkObject(given, what);
  checkKeys(given, SOLAR_KEYS, what);
  const { event, lat, lon } = given as Given;
  const solar = {
    event: choice(event, SOLAR_EVENTS, `${what}.event`),
    lat: degrees(lat, 90, `${what}.lat`),
    lon: degrees(lon, 180, `${what}.lon`),
  };
  // Whether a place has the event does not depend on the year, so any will do to find out now and not at its first slot.
  nextSolar(solar, Date.UTC(2026, 0, 1));
  return solar;
}

function parseCron(
  given: Given,
  what: string,
  common: { startMs: number | null; endMs: number | null; jitterMs: number },
): Schedule {
  if (typeof given['cron'] !== 'string') checkObject(given['cron'], `${what}: cron`);
  const fields = parseCrontab(given['cron'] as string, `${what}: cron`);
  const dst = given['dst'] ?? {};
  checkObject(dst, `${what}: dst`);
  checkKeys(dst, DST_KEYS, `${what}: dst`);
  const { skipped, repeated } = dst as DstPolicy;
  const runsOn = isEveryHour(fields);
  return {
    kind: 'cron',
    fields,
    timezone: given['timezone'] === undefined ? 'UTC' : checkZone(given['timezone'], `${what}: timezone`),
    skipped: skipped === undefined ? (runsOn ? 'skip' : 'next') : choice(skipped, ['next', 'skip'], `${what}: dst.skipped`),
    repeated:
      repeated === undefined
        ? runsOn
          ? 'both'
          : 'first'
        : choice(repeated, ['first', 'second', 'both'], `${what}: dst.repeated`),
    ...common,
  };
}

function parseTiming(given: Given, what: string): Schedule {
  const kinds = KINDS.filter((kind) => given[kind] !== undefined);
  const [kind] = kinds;
  if (kinds.length !== 1)
    throw new ConfigError(
      'E_CONFIG_CONFLICT',
      `${what} has ${kinds.join(' and ') || 'no time'}: give one of ${KINDS.join(', ')}`,
    );
  for (const [key, owner] of Object.entries(OWN)) {
    if (given[key] !== undefined && owner !== kind)
      throw new ConfigError('E_CONFIG_CONFLICT', `${what}: ${key} belongs to ${owner} and means nothing to ${kind}`);
  }
  const startMs = instantMs(given['start'], `${what}: start`);
  const endMs = instantMs(given['end'], `${what}: end`);
  const jitterMs =
    given['jitter'] === undefined ? 0 : spanMs(given['jitter'], `${what}: jitter`, 0, LONGEST_JITTER_MS, 'at most a day');
  const common = { startMs, endMs, jitterMs };
  if (kind === 'cron') return parseCron(given, what, common);
  if (kind === 'solar') return { kind: 'solar', ...parseSolar(given['solar'], `${what}: solar`), ...common };
  if (kind === 'at') return { kind: 'once', atMs: instantMs(given['at'], `${what}: at`) as number, ...common };
  const everyMs = spanMs(given['every'], `${what}: every`, SHORTEST_INTERVAL_MS, Number.POSITIVE_INFINITY, "at least '100ms'");
  if (jitterMs > everyMs)
    throw new ConfigError('E_CONFIG_CONFLICT', `${what}: jitter (${given['jitter']}) is longer than every (${given['every']})`);
  const anchor = given['anchor'];
  const anchorMs = anchor === 'last-run' ? null : (instantMs(anchor, `${what}: anchor`) ?? startMs ?? 0);
  return { kind: 'interval', everyMs, anchorMs, ...common };
}

/**
 * When an entry is due, checked. Options that say what a run does (queue, priority, expires, …) are refused here: `resolveScheduleOptions`
 * takes all.
 * @param what for messages: `schedule nightly`
 * @throws ConfigError `E_SCHEDULE` when a cron, zone or event cannot be read, `E_SCHEDULE_NEVER` when no slot ever comes, `E_CONFIG_*`
 */
export function parseSchedule(options: TimingOptions, what = 'schedule'): Schedule {
  checkObject(options, what);
  checkKeys(options, TIMING_KEYS, what);
  return checkedTiming(options as unknown as Given, what);
}

function checkedTiming(given: Given, what: string): Schedule {
  const schedule = parseTiming(given, what);
  const { startMs, endMs } = schedule;
  if (startMs !== null && endMs !== null && endMs < startMs)
    throw new ConfigError('E_CONFIG_CONFLICT', `${what}: end is before start`);
  const fromMs = startMs ?? (schedule.kind === 'once' ? EARLIEST_MS : null);
  if (fromMs !== null && nextSlot(schedule, fromMs - 1) === undefined)
    throw new ConfigError('E_SCHEDULE_NEVER', `${what}: no slot lies between start and end`);
  return schedule;
}

function parseCatchUp(given: unknown, what: string): CatchUp {
  const options: unknown = given === undefined ? { slots: 'last' } : typeof given === 'string' ? { slots: given } : given;
  checkObject(options, what);
  checkKeys(options, CATCH_UP_KEYS, what);
  const { slots, max = DEFAULT_CATCH_UP_SLOTS, within } = options as CatchUpOptions;
  if (!Number.isInteger(max) || max < 1 || max > MOST_SLOTS)
    throw new ConfigError('E_CONFIG_RANGE', `${what}.max is ${String(max)}: it must be a whole number from 1 to ${MOST_SLOTS}`);
  return {
    slots:
      typeof given === 'string'
        ? choice(slots as string, ['none', 'last', 'all'], what)
        : choice(slots, ['last', 'all'], `${what}.slots`),
    max,
    withinMs: within === undefined ? null : durationMs(within, `${what}.within`),
  };
}

/**
 * All options of an entry, checked, with their defaults.
 * @param what for messages: `schedule nightly`
 * @throws ConfigError as `parseSchedule`
 */
export function resolveScheduleOptions(options: ScheduleOptions, what = 'schedule'): ResolvedScheduleOptions {
  checkObject(options, what);
  checkKeys(options, KEYS, what);
  const schedule = checkedTiming(options as unknown as Given, what);
  if (options.priority !== undefined) checkPriority(options.priority, `${what}: priority`);
  if (options.queue !== undefined) checkQueueName(options.queue, `${what}: queue`);
  if (options.headers !== undefined) checkHeaders(options.headers, `${what}: headers`);
  const expiresMs =
    options.expires === undefined
      ? null
      : spanMs(options.expires, `${what}: expires`, 1, Number.POSITIVE_INFINITY, 'longer than nothing');
  if (expiresMs !== null && expiresMs <= schedule.jitterMs) {
    throw new ConfigError(
      'E_CONFIG_CONFLICT',
      `${what}: it may expire (${options.expires}) before jitter (${options.jitter}) lets it run`,
    );
  }
  return {
    schedule,
    expiresMs,
    priority: options.priority,
    queue: options.queue ?? null,
    headers: options.headers ?? null,
    catchUp: parseCatchUp(options.catchUp, `${what}: catchUp`),
    overlap: options.overlap === undefined ? 'allow' : choice(options.overlap, ['allow', 'skip', 'queue'], `${what}: overlap`),
  };
}
