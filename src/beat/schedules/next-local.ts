/**
 * The next local time that fits a crontab. Local times are milliseconds as if the wall clock were UTC; zones are none of its
 * business (`cron.ts` adds them). Jumps field by field: the work does not depend on how far away the time is, but for rare dates
 * on the months between. Pure.
 */
import type { CronFields } from './types.js';

/** 29 February on a given day of the week comes within 40 years; every other date sooner. */
const FARTHEST_YEARS = 41;
const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** The first of ascending `values` that is at least `least`; -1 if there is none. */
function ceiling(values: readonly number[], least: number): number {
  for (const value of values) if (value >= least) return value;
  return -1;
}

/** Milliseconds into the day of the first fitting time that is not before the given one; -1 if the day has none. */
function nextTime(fields: CronFields, hour: number, minute: number, second: number): number {
  const { hours, minutes, seconds } = fields;
  if (hours.includes(hour)) {
    const inMinute = minutes.includes(minute) ? ceiling(seconds, second) : -1;
    if (inMinute >= 0) return hour * HOUR_MS + minute * MINUTE_MS + inMinute * SECOND_MS;
    const inHour = ceiling(minutes, minute + 1);
    if (inHour >= 0) return hour * HOUR_MS + inHour * MINUTE_MS + (seconds[0] as number) * SECOND_MS;
  }
  const later = ceiling(hours, hour + 1);
  return later < 0 ? -1 : later * HOUR_MS + (minutes[0] as number) * MINUTE_MS + (seconds[0] as number) * SECOND_MS;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Midnight of the first fitting day that is not before the given one; Infinity if none is near. */
function nextDay(fields: CronFields, fromYear: number, fromMonth: number, fromDay: number): number {
  const { daysOfMonth, daysOfWeek, months } = fields;
  let month = fromMonth;
  let least = fromDay;
  for (let year = fromYear; year <= fromYear + FARTHEST_YEARS; year += 1) {
    for (;;) {
      const fitting = ceiling(months, month);
      if (fitting < 0) break;
      if (fitting !== month) least = 1;
      const firstMs = Date.UTC(year, fitting - 1, 1);
      // 1 January 1970 was a Thursday.
      const firstWeekday = (((firstMs / DAY_MS + 4) % 7) + 7) % 7;
      const length = daysIn(year, fitting);
      for (const day of daysOfMonth) {
        if (day > length) break;
        if (day >= least && daysOfWeek.includes((firstWeekday + day - 1) % 7)) return firstMs + (day - 1) * DAY_MS;
      }
      month = fitting + 1;
      least = 1;
    }
    month = 1;
    least = 1;
  }
  return Number.POSITIVE_INFINITY;
}

/**
 * The first local time that fits and is not before `fromMs`, a whole second; Infinity if there is none within 41 years.
 * @param fromMs local milliseconds: a wall clock read as UTC
 */
export function nextLocal(fields: CronFields, fromMs: number): number {
  const from = new Date(fromMs);
  const year = from.getUTCFullYear();
  const month = from.getUTCMonth() + 1;
  const day = from.getUTCDate();
  if (fields.months.includes(month) && fields.daysOfMonth.includes(day) && fields.daysOfWeek.includes(from.getUTCDay())) {
    const time = nextTime(fields, from.getUTCHours(), from.getUTCMinutes(), from.getUTCSeconds());
    if (time >= 0) return Math.floor(fromMs / DAY_MS) * DAY_MS + time;
  }
  const midnight = nextDay(fields, year, month, day + 1);
  return midnight + nextTime(fields, 0, 0, 0);
}
