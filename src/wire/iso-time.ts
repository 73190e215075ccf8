/**
 * Times as Celery writes and reads them (wire section 2.2). Pure: no clock, no time zone of this machine.
 * Next stop: `task-message.ts` (eta, expires), `result-meta.ts` (date_done).
 */

/** Years that Python's datetime can hold; anything outside cannot travel. */
const FIRST_MS = Date.parse('0001-01-01T00:00:00Z');
const LAST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** Whether Python's datetime can hold this instant (years 1 to 9999). */
export function isPythonInstant(ms: number): boolean {
  return ms >= FIRST_MS && ms <= LAST_MS;
}

/**
 * UTC with offset and microseconds, as Python's `isoformat()`: `2026-01-01T00:00:00.123000+00:00`, without the fraction
 * when it is zero. Never `Z`: Celery 5.2 on Python before 3.11 cannot always read it.
 */
export function isoFromMs(ms: number): string {
  const second = Math.floor(ms / 1_000);
  if (second !== lastSecond) {
    lastText = new Date(second * 1_000).toISOString().slice(0, 19);
    lastSecond = second;
  }
  const fraction = ms - second * 1_000;
  if (fraction === 0) return `${lastText}+00:00`;
  return `${lastText}.${fraction < 10 ? '00' : fraction < 100 ? '0' : ''}${Math.trunc(fraction)}000+00:00`;
}

/** The text of the last second asked for: results that end together share it, and formatting is most of the cost. */
let lastSecond = Number.NaN;
let lastText = '';

const ISO = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|z|[+-]\d\d(?::?\d\d)?)?)?$/;
const DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * Milliseconds since 1970 of an ISO 8601 text in any form Celery writes: with or without fraction, `Z`, an offset, or
 * no offset (read as UTC, Celery's default time zone). Microseconds are cut to milliseconds. `null` when it is no time.
 */
export function parseIsoMs(text: string): number | null {
  const match = ISO.exec(text);
  if (!match) return null;
  const year = Number(match[1]);
  const month = Number(match[2]);
  const day = Number(match[3]);
  const hour = Number(match[4] ?? 0);
  const minute = Number(match[5] ?? 0);
  const second = Number(match[6] ?? 0);
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > (DAYS[month - 1] as number)) return null;
  if (hour > 23 || minute > 59 || second > 59) return null;
  const fraction = match[7] === undefined ? 0 : Number(match[7].slice(0, 3).padEnd(3, '0'));
  // Date.UTC reads years below 100 as 19xx, hence the setter.
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCDate() !== day) return null;
  const local = date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000 + fraction;
  const offset = match[8];
  if (offset === undefined || offset === 'Z' || offset === 'z') return local;
  const digits = offset.slice(1).replace(':', '');
  const minutes = Number(digits.slice(0, 2)) * 60 + Number(digits.slice(2) || 0);
  if (minutes >= 24 * 60) return null;
  return offset.charCodeAt(0) === 45 ? local + minutes * 60_000 : local - minutes * 60_000;
}
