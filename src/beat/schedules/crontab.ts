/**
 * A whole crontab: five or six fields of text, a word such as `@daily`, fields by name, or what Celery prints for one. Refuses dates
 * that no year has. Next stop: `next-local.ts`, which searches with it.
 */
import { checkKeys, checkObject } from '../../app/config-schema.js';
import { ConfigError } from '../../core/errors.js';
import { FIELD_KINDS, parseField } from './crontab-field.js';
import type { CronFieldOptions, CronFields } from './types.js';

const WORDS: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};
/** `repr()` of Celery's crontab says its order: before 5.3 the day of the week stood third. */
const CELERY_REPR = /^<crontab: (.*) \((m\/h\/dM\/MY\/d|m\/h\/d\/dM\/MY)\)>$/;
/** Days of each month in a leap year. */
const MONTH_DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const KEYS: ReadonlySet<string> = new Set(Object.keys(FIELD_KINDS));
const LONGEST_TEXT = 2_048;

function fieldsOfText(text: string, what: string): CronFieldOptions {
  if (text.length > LONGEST_TEXT) throw new ConfigError('E_SCHEDULE', `${what} is longer than ${LONGEST_TEXT} characters`);
  const trimmed = text.trim();
  if (trimmed.startsWith('@')) {
    const meaning = WORDS[trimmed.toLowerCase()];
    if (meaning !== undefined) return fieldsOfText(meaning, what);
    throw new ConfigError('E_SCHEDULE', `${what} is ${JSON.stringify(text)}; known words are ${Object.keys(WORDS).join(', ')}`);
  }
  const printed = CELERY_REPR.exec(trimmed);
  // Sets and lists are printed with spaces inside: `{0, 30}`.
  const inner = printed
    ? (printed[1] ?? '').replace(/[[{(]([^\]})]*)[\]})]/g, (_all, list: string) => list.replace(/\s+/g, ''))
    : trimmed;
  const parts = inner.split(/\s+/);
  if (printed ? parts.length !== 5 : parts.length !== 5 && parts.length !== 6) {
    throw new ConfigError(
      'E_SCHEDULE',
      `${what} is ${JSON.stringify(text)}: it has ${parts[0] === '' ? 0 : parts.length} fields, not five (minute hour day-of-month month day-of-week) or six (second first)`,
    );
  }
  const [second, minute, hour, third, fourth, fifth] = parts.length === 6 ? parts : ['0', ...parts];
  const [dayOfMonth, monthOfYear, dayOfWeek] = printed?.[2] === 'm/h/d/dM/MY' ? [fourth, fifth, third] : [third, fourth, fifth];
  return { second, minute, hour, dayOfMonth, monthOfYear, dayOfWeek } as CronFieldOptions;
}

/**
 * The values that a crontab stands for.
 * @param what for messages: `schedule nightly: cron`
 * @throws ConfigError `E_SCHEDULE` when it cannot be read, `E_SCHEDULE_NEVER` for a date that does not exist, `E_CONFIG_*`
 */
export function parseCrontab(cron: string | CronFieldOptions, what: string): CronFields {
  const given = typeof cron === 'string' ? fieldsOfText(cron, what) : cron;
  checkObject(given, what);
  checkKeys(given, KEYS, what);
  const fields: CronFields = {
    seconds: parseField(given.second ?? 0, FIELD_KINDS.second, what),
    minutes: parseField(given.minute ?? '*', FIELD_KINDS.minute, what),
    hours: parseField(given.hour ?? '*', FIELD_KINDS.hour, what),
    daysOfMonth: parseField(given.dayOfMonth ?? '*', FIELD_KINDS.dayOfMonth, what),
    months: parseField(given.monthOfYear ?? '*', FIELD_KINDS.monthOfYear, what),
    daysOfWeek: parseField(given.dayOfWeek ?? '*', FIELD_KINDS.dayOfWeek, what),
  };
  // Every date of a leap year falls on every day of the week within 40 years, so the month's length alone decides.
  const first = fields.daysOfMonth[0] as number;
  if (!fields.months.some((month) => first <= (MONTH_DAYS[month - 1] as number))) {
    throw new ConfigError(
      'E_SCHEDULE_NEVER',
      `${what}: no year has day ${fields.daysOfMonth.join(', ')} in month ${fields.months.join(', ')}`,
    );
  }
  return fields;
}

/** Whether it runs in every hour of the day: such a cron goes on with the clock when that is changed. */
export function isEveryHour(fields: CronFields): boolean {
  return fields.hours.length === 24;
}
