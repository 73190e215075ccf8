/**
 * A schedule as an English sentence, for tables, logs and dashboards. Own words and no library's: the usual ones say "or" between day
 * of month and day of week, where Celery and we mean "and". Pure.
 */
import { FIELD_KINDS } from './crontab-field.js';
import type { CronFields, CronSchedule, Schedule } from './types.js';

/** So many times of day are listed one by one. */
const MOST_TIMES = 6;

const two = (value: number): string => String(value).padStart(2, '0');

function joined(parts: readonly string[], word = 'and'): string {
  return parts.length < 2 ? (parts[0] ?? '') : `${parts.slice(0, -1).join(', ')} ${word} ${parts.at(-1)}`;
}

/** Values with what follows one another drawn together: `1 to 5 and 9`. */
function listed(values: readonly number[], show: (value: number) => string): string {
  const parts: string[] = [];
  for (let from = 0; from < values.length; ) {
    let to = from;
    while (to + 1 < values.length && values[to + 1] === (values[to] as number) + 1) to += 1;
    const [first, last] = [show(values[from] as number), show(values[to] as number)];
    if (to - from >= 2) parts.push(`${first} to ${last}`);
    else parts.push(...(to > from ? [first, last] : [first]));
    from = to + 1;
  }
  return joined(parts);
}

/** The step of values that go through the whole range in equal steps from its beginning, round the clock too; 0 if they do not. */
function stepOf(values: readonly number[], size: number): number {
  const step = values.length > 1 ? (values[1] as number) : 0;
  return values[0] === 0 &&
    step > 0 &&
    size % step === 0 &&
    values.length === size / step &&
    values.every((v, i) => v === i * step)
    ? step
    : 0;
}

const plural = (count: number, unit: string): string => (count === 1 ? unit : `${count} ${unit}s`);

const nth = (count: number): string => `${count}${count === 2 ? 'nd' : count === 3 ? 'rd' : 'th'}`;
const each = (step: number, unit: string): string => `every ${step === 1 ? '' : `${nth(step)} `}${unit}`;
const named = (unit: string, values: readonly number[]): string =>
  `${unit}${values.length === 1 ? '' : 's'} ${listed(values, String)}`;

function timeOfDay({ seconds, minutes, hours }: CronFields): string {
  const onTheMinute = seconds.length === 1 && seconds[0] === 0;
  if (hours.length * minutes.length * seconds.length <= MOST_TIMES) {
    const times = hours.flatMap((hour) =>
      minutes.flatMap((minute) => seconds.map((second) => `${two(hour)}:${two(minute)}${onTheMinute ? '' : `:${two(second)}`}`)),
    );
    return `at ${joined(times)}`;
  }
  const [secondStep, minuteStep, hourStep] = [stepOf(seconds, 60), stepOf(minutes, 60), stepOf(hours, 24)];
  const hour = hourStep ? each(hourStep, 'hour') : named('hour', hours);
  const inHour = hourStep === 1 ? '' : ` in ${hour}`;
  if (onTheMinute) {
    return minuteStep ? `every ${plural(minuteStep, 'minute')}${inHour}` : `at ${named('minute', minutes)} of ${hour}`;
  }
  const second = secondStep ? `every ${plural(secondStep, 'second')}` : `at ${named('second', seconds)}`;
  if (secondStep && minuteStep === 1) return second + inHour;
  const minute = minuteStep ? `${each(minuteStep, 'minute')}${inHour}` : `${named('minute', minutes)} of ${hour}`;
  return `${second} ${secondStep ? 'in' : 'of'} ${minute}`;
}

const title = (name: string | undefined): string => (name ?? '').replace(/^./, (letter) => letter.toUpperCase());
const monthName = (month: number): string => title(FIELD_KINDS.monthOfYear.names[month - 1]);
const dayName = (day: number): string => title(FIELD_KINDS.dayOfWeek.names[day]);

function days({ daysOfMonth, daysOfWeek, months }: CronFields): string {
  const parts: string[] = [];
  const weekdays = daysOfWeek.length < 7 ? listed(daysOfWeek, dayName) : '';
  if (daysOfMonth.length < 31) {
    parts.push(`on day ${listed(daysOfMonth, String)} of the month`);
    if (weekdays) parts.push(`if that is a ${weekdays.replaceAll(' and ', ' or ')}`);
  } else if (weekdays) {
    parts.push(`on ${weekdays}`);
  }
  if (months.length < 12) parts.push(`in ${listed(months, monthName)}`);
  return parts.map((part) => ` ${part}`).join('');
}

function cronSentence({ fields, timezone }: CronSchedule): string {
  return `${timeOfDay(fields)}${days(fields)}, ${timezone}`;
}

function span(ms: number): string {
  for (const [unit, size] of [
    ['day', 86_400_000],
    ['hour', 3_600_000],
    ['minute', 60_000],
    ['second', 1_000],
  ] as const) {
    if (ms % size === 0) return plural(ms / size, unit);
  }
  return ms > 1_000 ? `${ms / 1_000} seconds` : `${ms} ms`;
}

const instant = (ms: number): string => new Date(ms).toISOString().replace('.000', '');

function rule(schedule: Schedule): string {
  switch (schedule.kind) {
    case 'cron':
      return cronSentence(schedule);
    case 'interval': {
      const { everyMs, anchorMs } = schedule;
      const from = anchorMs === null ? ' after the last run' : anchorMs === 0 ? '' : ` counted from ${instant(anchorMs)}`;
      return anchorMs === null ? `${span(everyMs).replace(/^(?=[a-z])/, '1 ')}${from}` : `every ${span(everyMs)}${from}`;
    }
    case 'solar':
      return `at ${schedule.event.replace('_', ' ')} at latitude ${schedule.lat}, longitude ${schedule.lon}`;
    case 'once':
      return `once at ${instant(schedule.atMs)}`;
  }
}

/** A sentence such as `At 02:00 on Monday to Friday, Europe/Berlin`. The wording is for people and may change. */
export function describeSchedule(schedule: Schedule): string {
  const { startMs, endMs, jitterMs } = schedule;
  const sentence = [
    rule(schedule),
    jitterMs > 0 ? `put off by up to ${span(jitterMs).replace(/^(?=[a-z])/, '1 ')}` : '',
    startMs === null ? '' : `from ${instant(startMs)}`,
    endMs === null ? '' : `until ${instant(endMs)}`,
  ];
  return title(sentence.filter(Boolean).join(', '));
}
