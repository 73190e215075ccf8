/**
 * Rows of django-celery-beat's tables as entries of ours. What a row says and an entry cannot is told with the row, never dropped in
 * silence; who reads the tables is `beat/django-tables.ts`. Pure: the instant of the import is passed in.
 * @remarks Source: django-celery-beat's `models.py` and `schedulers.py`, versions 1.0 to 2.9: columns that a version has not are absent.
 */
import { ConfigError, toError } from '../../core/errors.js';
import { decodeJson } from '../../wire/serializers/json.js';
import { type CeleryImportOptions, duration, interval, isObject, type Json, refuse, SECONDS, shown } from './celery-import.js';
import { LATEST_MS } from './cron.js';
import { resolveScheduleOptions } from './parse.js';
import { nextSlot } from './slots.js';
import type { CronFieldOptions, ScheduleOptions, SlotOptions, SolarEvent, TimingOptions } from './types.js';
import { checkZone, segmentAt } from './zone.js';

/** The tables, a row as an object by the names of its columns. A table that a version has not is empty. */
export interface DjangoTables {
  /** `django_celery_beat_periodictask` */
  readonly tasks: readonly Json[];
  /** The four kinds of schedules, each by the ids of its rows. */
  readonly schedules: Readonly<Record<DjangoKind, ReadonlyMap<unknown, Json>>>;
}

export const DJANGO_KINDS = ['interval', 'crontab', 'solar', 'clocked'] as const;
export type DjangoKind = (typeof DJANGO_KINDS)[number];

/** A row that was taken over. */
export interface DjangoEntry {
  readonly row: number;
  readonly id: string;
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: ScheduleOptions;
  /** Where it goes, if the row names an exchange: past queues and routes. */
  readonly to: { readonly exchange: string; readonly routingKey: string } | null;
  readonly paused: boolean;
  /** Its slots count from its last run over there, epoch milliseconds. */
  readonly sinceMs: number;
  /** Its runs over there. */
  readonly earlier: { readonly runs: number; readonly lastMs: number | null };
  readonly notes: readonly string[];
}

export interface DjangoImport {
  readonly entries: readonly DjangoEntry[];
  /** Rows that would never run again over there either, each with the reason. */
  readonly over: readonly { readonly row: number; readonly id: string; readonly reason: string }[];
  readonly refused: readonly { readonly row: number; readonly id: string; readonly error: ConfigError }[];
}

export interface DjangoImportOptions extends CeleryImportOptions {
  /** Epoch milliseconds. */
  readonly nowMs: number;
}

/** Thrown for a row that is over. */
class Over extends Error {}

/** Columns that need no note: they were taken over, or say nothing of what runs. */
const KNOWN = new Set(
  `id name task args kwargs queue exchange routing_key expires expire_seconds enabled last_run_at total_run_count date_changed
  interval_id crontab_id solar_id clocked_id one_off start_time priority headers description`.split(/\s+/),
);
/** As Celery's `crontab` names its fields. */
const CRON_COLUMNS: readonly (readonly [keyof CronFieldOptions, string])[] = [
  ['minute', 'minute'],
  ['hour', 'hour'],
  ['dayOfWeek', 'day_of_week'],
  ['dayOfMonth', 'day_of_month'],
  ['monthOfYear', 'month_of_year'],
];
/** django-celery-beat makes this entry by itself where Celery's results expire. */
const CLEAN_UP = 'celery.backend_cleanup';

const iso = (ms: number): string => new Date(ms).toISOString();
const isThere = (value: unknown): boolean => value !== undefined && value !== null && value !== '';

/** A moment of the database. Django writes it without an offset where `USE_TZ` is off. */
function momentOf(row: Json, column: string, { timezone = 'UTC' }: DjangoImportOptions, notes: string[]): number | null {
  const value = row[column];
  if (!isThere(value)) return null;
  const text = String(value);
  if (/(?:Z|[+-]\d\d(?::?\d\d)?)$/.test(text.slice(10))) {
    const ms = Date.parse(text.replace(/([+-]\d\d)$/, '$1:00'));
    return Number.isNaN(ms) ? refuse(`${column} is ${shown(value)}: no instant of the years that schedules know`) : ms;
  }
  const localMs = Date.parse(`${text}Z`);
  if (Number.isNaN(localMs)) return refuse(`${column} is ${shown(value)}: no instant of the years that schedules know`);
  const zone = checkZone(timezone, 'timezone');
  notes.push(`${column} has no time zone there: it was read as the time of ${zone}`);
  const near = localMs - segmentAt(zone, localMs).offsetMs;
  return localMs - segmentAt(zone, near).offsetMs;
}

function timingOf(kind: DjangoKind, row: Json, options: DjangoImportOptions, notes: string[]): TimingOptions {
  if (kind === 'clocked') {
    const atMs = momentOf(row, 'clocked_time', options, notes);
    return { at: new Date(atMs ?? refuse('its clocked schedule has no time')) };
  }
  if (kind === 'solar')
    return { solar: { event: row['event'] as SolarEvent, lat: Number(row['latitude']), lon: Number(row['longitude']) } };
  if (kind === 'interval') {
    const unit = row['period'];
    if (typeof unit !== 'string' || !Object.hasOwn(SECONDS, unit)) return refuse(`its interval's period is ${shown(unit)}`);
    return interval(Number(row['every']) * (SECONDS[unit] as number), false).options;
  }
  const fields = CRON_COLUMNS.map(([field, column]) => [field, row[column] ?? '*']);
  // before version 1.2 the zone was Celery's setting for all
  const timezone = isThere(row['timezone']) ? String(row['timezone']) : (options.timezone ?? 'UTC');
  return { cron: Object.fromEntries(fields) as CronFieldOptions, timezone };
}

/** People write the last day of the calendar for "never". */
function endOf(row: Json, options: DjangoImportOptions, notes: string[]): number | null {
  const year = /^(\d{4,})-/.exec(String(row['expires'] ?? ''))?.[1];
  const isNever = row['expires'] === 'infinity' || Number(year) > new Date(LATEST_MS).getUTCFullYear();
  if (!isNever) return momentOf(row, 'expires', options, notes);
  notes.push(`expires: ${shown(row['expires'])} is later than any slot, so it has no end`);
  return null;
}

/** Text of JSON, as kombu reads it. Empty text counts as nothing there. */
function jsonOf(row: Json, column: string, empty: string): unknown {
  const text = row[column];
  if (!isThere(text)) return decodeJson(empty);
  try {
    return typeof text === 'string' ? decodeJson(text) : text;
  } catch (error) {
    return refuse(`${column} is no JSON: ${toError(error).message}`);
  }
}

/** Where its messages go. Over there an exchange goes before the queue, and the queue gives what the row does not say. */
function destinationOf(row: Json, notes: string[]): { readonly queue?: string; readonly to: DjangoEntry['to'] } {
  const [queue, exchange, routingKey] = ['queue', 'exchange', 'routing_key'].map((column) =>
    isThere(row[column]) ? String(row[column]) : null,
  );
  if (exchange != null) {
    const key = routingKey ?? queue ?? refuse(`its exchange ${shown(exchange)} has no routing_key`);
    if (queue != null) notes.push(`queue ${shown(queue)} was left out: the exchange decides where it goes`);
    return { to: { exchange, routingKey: key } };
  }
  if (routingKey != null && queue == null)
    return refuse(`routing_key ${shown(routingKey)} is for Celery's default exchange: name the queue that it leads to`);
  if (routingKey != null && routingKey !== queue)
    notes.push(`routing_key ${shown(routingKey)} was left out: the queue decides where it goes`);
  return { to: null, ...(queue != null && { queue }) };
}

function slotOptionsOf(row: Json, queue: string | undefined, { priorities = '9-first' }: DjangoImportOptions): SlotOptions {
  const headers = jsonOf(row, 'headers', '{}');
  if (!isObject(headers)) return refuse(`headers is ${shown(headers)}: an object was expected`);
  const priority = isThere(row['priority']) ? Number(row['priority']) : undefined;
  const turned = priority !== undefined && priorities === '0-first' ? 9 - priority : priority;
  const seconds = row['expire_seconds'];
  return {
    // over there every run has it; django-celery-results keeps it
    headers: { ...(headers as SlotOptions['headers']), periodic_task_name: String(row['name']) },
    ...(queue !== undefined && { queue }),
    ...(turned !== undefined && { priority: turned }),
    // zero counts as none over there
    ...(isThere(seconds) && Number(seconds) > 0 && { expires: duration(Number(seconds), 'expire_seconds') }),
  };
}

/** A schedule that is to run once: at its next slot. */
function onceOf(id: string, options: ScheduleOptions, nowMs: number, paused: boolean, notes: string[]): ScheduleOptions {
  const { cron, timezone, every, anchor, solar, at, start, end, ...slot } = options as unknown as Readonly<
    Record<string, unknown>
  >;
  const nextMs = nextSlot(resolveScheduleOptions(options, `schedule ${id}`).schedule, nowMs);
  if (nextMs === undefined) return refuse('it is to run once, and no slot comes any more');
  notes.push(`one_off: it runs once, at its next slot ${iso(nextMs)}${paused ? ', if it is resumed before' : ''}`);
  return { ...slot, at: new Date(nextMs) } as ScheduleOptions;
}

function entryOf(row: Json, schedules: DjangoTables['schedules'], options: DjangoImportOptions): DjangoEntry {
  const { nowMs } = options;
  const notes: string[] = [];
  const [id, task] = [String(row['name'] ?? ''), row['task']];
  if (typeof task !== 'string' || task === '') return refuse(`task is ${shown(task)}: the name of a task was expected`);
  if (task === CLEAN_UP) throw new Over("it cleans up Celery's result backend, and results of ours expire by themselves");
  const kinds = DJANGO_KINDS.filter((kind) => isThere(row[`${kind}_id`]));
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1) return refuse(`it has ${kinds.join(' and ') || 'no schedule'}: one was expected`);
  const schedule = schedules[kind].get(row[`${kind}_id`]);
  if (schedule === undefined) return refuse(`its ${kind} ${shown(row[`${kind}_id`])} is not in its table`);

  const paused = row['enabled'] === false;
  const runs = Number(row['total_run_count'] ?? 0);
  const lastMs = momentOf(row, 'last_run_at', options, notes);
  const isOnce = kind === 'clocked' || row['one_off'] === true;
  if (isOnce && runs > 0) throw new Over(`it was to run once and has run${lastMs === null ? '' : ` at ${iso(lastMs)}`}`);
  const startMs = momentOf(row, 'start_time', options, notes);
  const endMs = endOf(row, options, notes);
  if (endMs !== null && endMs <= nowMs) throw new Over(`it has expired at ${iso(endMs)}`);
  if (endMs !== null) notes.push(`expires: no slot after ${iso(endMs)}; a run that was sent before may start later`);

  const args = jsonOf(row, 'args', '[]');
  if (!Array.isArray(args)) return refuse(`args is ${shown(args)}: a list was expected`);
  const kwargs = jsonOf(row, 'kwargs', '{}');
  if (!isObject(kwargs)) return refuse(`kwargs is ${shown(kwargs)}: an object was expected`);
  const { queue, to } = destinationOf(row, notes);
  for (const [column, value] of Object.entries(row))
    if (!KNOWN.has(column) && isThere(value)) notes.push(`${column} was left out: ${shown(value)}`);
  if (isThere(row['description'])) notes.push(`description was left out: ${shown(row['description'])}`);

  const whole = {
    ...timingOf(kind, schedule, options, notes),
    ...(startMs !== null && { start: new Date(startMs) }),
    ...(endMs !== null && { end: new Date(endMs) }),
    ...slotOptionsOf(row, queue, options),
  } as ScheduleOptions;
  const sinceMs = Math.min(lastMs ?? nowMs, nowMs);
  const once = isOnce && kind !== 'clocked' ? onceOf(id, whole, nowMs, paused, notes) : whole;
  const resolved = resolveScheduleOptions(once, `schedule ${id}`);
  if (resolved.schedule.kind === 'once' && resolved.schedule.atMs <= nowMs) {
    const past = `its time has passed, ${iso(resolved.schedule.atMs)}`;
    // what has run is disabled over there, and its count set back to nothing
    if (paused) throw new Over(past);
    return refuse(`${past}, and it has not run: send its task now, with lovage send`);
  }
  return {
    ...{ row: Number(row['id']), id, task, args, kwargs, to, paused, sinceMs, notes },
    ...{ options: once, earlier: { runs, lastMs } },
  };
}

/** What becomes of each row of `django_celery_beat_periodictask`, in their order. */
export function importDjangoBeat({ tasks, schedules }: DjangoTables, options: DjangoImportOptions): DjangoImport {
  const entries: DjangoEntry[] = [];
  const over: DjangoImport['over'][number][] = [];
  const refused: DjangoImport['refused'][number][] = [];
  for (const task of tasks) {
    const which = { row: Number(task['id']), id: String(task['name'] ?? '') };
    try {
      entries.push(entryOf(task, schedules, options));
    } catch (thrown) {
      const error = toError(thrown);
      if (error instanceof Over) over.push({ ...which, reason: error.message });
      else if (error instanceof ConfigError) refused.push({ ...which, error });
      else refused.push({ ...which, error: new ConfigError('E_SCHEDULE', error.message, { cause: error }) });
    }
  }
  return { entries, over, refused };
}
