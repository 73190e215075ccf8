/**
 * One field of a crontab, from text or numbers to the values that it stands for. Celery's grammar: lists, ranges that may wrap
 * around, steps over a star or a range. Stricter than Celery where Celery guesses: names only in their own field, no left-over text.
 * Next stop: `crontab.ts`.
 */
import { ConfigError } from '../../core/errors.js';
import type { CronField } from './types.js';

const MONTHS = 'january february march april may june july august september october november december'.split(' ');
const DAYS = 'sunday monday tuesday wednesday thursday friday saturday'.split(' ');
/** No honest field is longer, and all work on it is bounded by it. */
const LONGEST_FIELD = 512;

/** Fields that were read, by kind and text: a hundred thousand crontabs have few different ones, and share their values. */
const known = new Map<string, readonly number[]>();
export const MOST_KNOWN = 1_024;

/** How many are remembered. For tests of the bound. */
export const knownFields = (): number => known.size;

/** What a field may hold. */
export interface FieldKind {
  /** As people call it, for messages. */
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** Names of its values, the first of `min`. */
  readonly names?: readonly string[];
  /** 7 is Sunday as in crontab(5), though not in Celery. */
  readonly sunday?: boolean;
}

export const FIELD_KINDS = {
  second: { name: 'second', min: 0, max: 59 },
  minute: { name: 'minute', min: 0, max: 59 },
  hour: { name: 'hour', min: 0, max: 23 },
  dayOfMonth: { name: 'day of month', min: 1, max: 31 },
  monthOfYear: { name: 'month', min: 1, max: 12, names: MONTHS },
  dayOfWeek: { name: 'day of week', min: 0, max: 6, names: DAYS, sunday: true },
} as const satisfies Readonly<Record<string, FieldKind>>;

function refuse(kind: FieldKind, what: string, why: string): never {
  throw new ConfigError('E_SCHEDULE', `${what}: ${kind.name} ${why}`);
}

/** A number or name; 7 stays 7 here, so that `5-7` is a range that ends with Sunday. */
function numberOf(token: string, kind: FieldKind, what: string): number {
  const span = `${kind.min} to ${kind.max}`;
  if (/^\d{1,4}$/.test(token)) {
    const value = Number(token);
    if (value >= kind.min && value <= kind.max + (kind.sunday ? 1 : 0)) return value;
    return refuse(kind, what, `${token} is outside ${span}`);
  }
  const word = token.toLowerCase();
  const place = word.length >= 3 ? (kind.names ?? []).findIndex((name) => name.startsWith(word)) : -1;
  if (place >= 0) return kind.min + place;
  if (/^(l|w|\d+[lw]|lw|\?|\d*#\d*)$/.test(word))
    return refuse(kind, what, `${JSON.stringify(token)} is Quartz's; write days as numbers (Celery has no L, W, # or ?)`);
  return refuse(
    kind,
    what,
    `${JSON.stringify(token)} is no number of ${span}${kind.names ? ' and no name of at least three letters' : ''}`,
  );
}

/** From `first` to `last`, on from the beginning where `last` is the smaller. */
function span(first: number, last: number, kind: FieldKind): number[] {
  const values: number[] = [];
  const end = last < first ? kind.max : last;
  for (let value = first; value <= end; value += 1) values.push(value);
  if (last < first) for (let value = kind.min; value <= last; value += 1) values.push(value);
  return values;
}

function partValues(part: string, kind: FieldKind, what: string): number[] {
  const match = /^(\*|([^\s*/-]+)(?:\s*-\s*([^\s*/-]+))?)(?:\s*\/\s*(.*))?$/.exec(part);
  if (!match) return refuse(kind, what, part === '' ? 'has an empty part' : `${JSON.stringify(part)} cannot be read`);
  const [, range, first = '', last, step] = match;
  let values: number[];
  if (range === '*') values = span(kind.min, kind.max, kind);
  else if (last === undefined) values = [numberOf(first, kind, what)];
  else {
    const from = numberOf(first, kind, what);
    const to = numberOf(last, kind, what);
    values = span(kind.sunday && from === 7 ? 0 : from, to, kind);
  }
  if (step === undefined) return values;
  if (!/^\d{1,4}$/.test(step) || Number(step) === 0)
    return refuse(kind, what, `has the step ${JSON.stringify(step)}, which is no number of 1 or more`);
  if (range !== '*' && last === undefined)
    return refuse(kind, what, `${JSON.stringify(part)} has a step but no range: write ${first}-${kind.max}/${step}`);
  return values.filter((_value, place) => place % Number(step) === 0);
}

/**
 * The values of a field, ascending, each once.
 * @param what whose field, for the message
 * @throws ConfigError `E_SCHEDULE`
 */
export function parseField(field: CronField, kind: FieldKind, what: string): readonly number[] {
  if (typeof field !== 'string' || field.length > LONGEST_FIELD) return valuesOf(field, kind, what);
  const key = `${kind.name} ${field}`;
  let values = known.get(key);
  if (values === undefined) {
    values = Object.freeze(valuesOf(field, kind, what));
    if (known.size >= MOST_KNOWN) known.clear();
    known.set(key, values);
  }
  return values;
}

function valuesOf(field: CronField, kind: FieldKind, what: string): number[] {
  let values: number[];
  if (field === '*') return span(kind.min, kind.max, kind);
  if (typeof field === 'string') {
    if (field.length > LONGEST_FIELD) return refuse(kind, what, `is longer than ${LONGEST_FIELD} characters`);
    values = field.split(',').flatMap((part) => partValues(part.trim(), kind, what));
  } else {
    const given: readonly unknown[] = Array.isArray(field) ? field : [field];
    if (given.length === 0) return refuse(kind, what, 'is an empty list');
    if (given.length > LONGEST_FIELD) return refuse(kind, what, `is a list of more than ${LONGEST_FIELD}`);
    values = given.map((value) => {
      if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return numberOf(String(value), kind, what);
      return refuse(kind, what, `${JSON.stringify(value) ?? typeof value} is no number of ${kind.min} to ${kind.max}`);
    });
  }
  const folded = kind.sunday ? values.map((value) => (value === 7 ? 0 : value)) : values;
  return [...new Set(folded)].sort((a, b) => a - b);
}
