/** Options of a schedule: defaults, and every wrong one with its code and words. */
import { describe, expect, test } from 'vitest';
import { codeOf } from '../../core/errors.js';
import { parseSchedule, resolveScheduleOptions } from './index.js';
import type { ScheduleOptions, TimingOptions } from './types.js';

const failure = (options: unknown): [string | undefined, string] => {
  try {
    resolveScheduleOptions(options as ScheduleOptions, 'schedule nightly');
  } catch (error) {
    return [codeOf(error), (error as Error).message];
  }
  return [undefined, 'taken'];
};

test('defaults are written down once', () => {
  expect(resolveScheduleOptions({ cron: '0 2 * * *' })).toEqual({
    schedule: {
      kind: 'cron',
      fields: expect.any(Object) as object,
      timezone: 'UTC',
      skipped: 'next',
      repeated: 'first',
      startMs: null,
      endMs: null,
      jitterMs: 0,
    },
    expiresMs: null,
    priority: undefined,
    queue: null,
    headers: null,
    catchUp: { slots: 'last', max: 100, withinMs: null },
    overlap: 'allow',
  });
  expect(parseSchedule({ cron: '5 0-23 * * *' })).toMatchObject({ skipped: 'skip', repeated: 'both' });
});

test('every option is taken', () => {
  expect(
    resolveScheduleOptions({
      every: '1h',
      anchor: new Date(1),
      jitter: '1m',
      start: new Date(2_000),
      end: new Date(9_000_000),
      expires: '30m',
      priority: 9,
      queue: 'slow',
      headers: { tenant: 'a' },
      catchUp: { slots: 'all', max: 7, within: '1d' },
      overlap: 'skip',
    }),
  ).toEqual({
    schedule: { kind: 'interval', everyMs: 3_600_000, anchorMs: 1, startMs: 2_000, endMs: 9_000_000, jitterMs: 60_000 },
    expiresMs: 1_800_000,
    priority: 9,
    queue: 'slow',
    headers: { tenant: 'a' },
    catchUp: { slots: 'all', max: 7, withinMs: 86_400_000 },
    overlap: 'skip',
  });
});

test('a parsed schedule is plain data: it can be stored and read again', () => {
  const all: readonly TimingOptions[] = [
    { cron: '*/5 2 * * mon', timezone: 'europe/berlin', jitter: '5s' },
    { every: '30s', anchor: 'last-run' },
    { solar: { event: 'sunset', lat: 1, lon: 2 }, end: new Date('2030-01-01') },
    { at: new Date('2030-01-01') },
  ];
  for (const options of all) {
    const schedule = parseSchedule(options);
    expect(JSON.parse(JSON.stringify(schedule))).toEqual(schedule);
  }
  expect(parseSchedule(all[0] as TimingOptions)).toMatchObject({ timezone: 'Europe/Berlin' });
});

test.each([
  ['Asia/Kolkata', 'Asia/Kolkata'],
  ['europe/berlin', 'Europe/Berlin'],
  ['Etc/UTC', 'UTC'],
  ['utc', 'UTC'],
])('the zone %s stands in the schedule as %s, whatever this Node prefers to call it', (timezone, name) => {
  expect(parseSchedule({ cron: '* * * * *', timezone })).toMatchObject({ timezone: name });
});

const DAY = new Date('2026-11-21');
const LATER = new Date('2026-11-22');

test.each<[unknown, string, string]>([
  [null, 'E_CONFIG_TYPE', 'not null'],
  [{}, 'E_CONFIG_CONFLICT', 'has no time'],
  [{ cron: '* * * * *', every: '5s' }, 'E_CONFIG_CONFLICT', 'cron and every'],
  [{ cron: '* * * * *', timezome: 'UTC' }, 'E_CONFIG_UNKNOWN_KEY', 'did you mean "timezone"'],
  [{ every: '5s', timezone: 'UTC' }, 'E_CONFIG_CONFLICT', 'timezone belongs to cron'],
  [{ at: DAY, dst: {} }, 'E_CONFIG_CONFLICT', 'dst belongs to cron'],
  [{ cron: '* * * * *', anchor: DAY }, 'E_CONFIG_CONFLICT', 'anchor belongs to every'],
  [{ cron: 5 }, 'E_CONFIG_TYPE', 'not a number'],
  [{ cron: ['* * * * *'] }, 'E_CONFIG_TYPE', 'not an array'],
  [{ cron: '* * *' }, 'E_SCHEDULE', 'schedule nightly: cron is "* * *"'],
  [{ cron: '0 0 31 2 *' }, 'E_SCHEDULE_NEVER', 'no year has day 31 in month 2'],
  [{ cron: '* * * * *', timezone: 'Europe/Berlim' }, 'E_SCHEDULE', 'use an IANA name'],
  [{ cron: '* * * * *', timezone: '+02:00' }, 'E_SCHEDULE', 'use an IANA name'],
  [{ cron: '* * * * *', timezone: 'x'.repeat(9_999) }, 'E_SCHEDULE', 'use an IANA name'],
  [{ cron: '* * * * *', timezone: 2 }, 'E_CONFIG_TYPE', 'not a number'],
  [{ cron: '* * * * *', dst: 'skip' }, 'E_CONFIG_TYPE', 'dst takes an object'],
  [{ cron: '* * * * *', dst: { skiped: 'skip' } }, 'E_CONFIG_UNKNOWN_KEY', 'did you mean "skipped"'],
  [{ cron: '* * * * *', dst: { skipped: 'twice' } }, 'E_CONFIG_RANGE', "use 'next' or 'skip'"],
  [{ cron: '* * * * *', dst: { repeated: 'never' } }, 'E_CONFIG_RANGE', "use 'first' or 'second' or 'both'"],
  [{ every: 30 }, 'E_CONFIG_RANGE', 'not a duration'],
  [{ every: '99ms' }, 'E_CONFIG_RANGE', "at least '100ms'"],
  [{ every: '100.5ms' }, 'E_CONFIG_RANGE', 'whole milliseconds'],
  [{ every: '1s', anchor: 'epoch' }, 'E_CONFIG_TYPE', 'anchor must be a valid Date'],
  [{ every: '1s', jitter: '2s' }, 'E_CONFIG_CONFLICT', 'jitter (2s) is longer than every (1s)'],
  [{ cron: '* * * * *', jitter: '25h' }, 'E_CONFIG_RANGE', 'at most a day'],
  [{ at: 'tomorrow' }, 'E_CONFIG_TYPE', 'at must be a valid Date'],
  [{ at: new Date(Number.NaN) }, 'E_CONFIG_TYPE', 'at must be a valid Date'],
  [{ at: new Date('1850-01-01') }, 'E_CONFIG_RANGE', 'years 1900 to 9989'],
  [{ at: DAY, start: LATER }, 'E_SCHEDULE_NEVER', 'between start and end'],
  [{ at: LATER, end: DAY }, 'E_SCHEDULE_NEVER', 'between start and end'],
  [{ cron: '0 0 1 1 *', start: DAY, end: LATER }, 'E_SCHEDULE_NEVER', 'between start and end'],
  [{ every: '1s', start: LATER, end: DAY }, 'E_CONFIG_CONFLICT', 'end is before start'],
  [{ solar: 'sunset' }, 'E_CONFIG_TYPE', 'solar takes an object'],
  [{ solar: { event: 'sunset', lat: 1 } }, 'E_CONFIG_RANGE', 'solar.lon is undefined'],
  [{ solar: { event: 'sunset', lat: 91, lon: 0 } }, 'E_CONFIG_RANGE', 'from -90 to 90'],
  [{ solar: { event: 'sunset', lat: '52', lon: 0 } }, 'E_CONFIG_RANGE', 'solar.lat is "52"'],
  [{ solar: { event: 'noon', lat: 0, lon: 0 } }, 'E_CONFIG_RANGE', "'solar_noon'"],
  [{ solar: { event: 'sunrise', lat: 90, lon: 60 } }, 'E_SCHEDULE_NEVER', 'no sunrise at latitude 90'],
  [{ every: '1h', expires: '0s' }, 'E_CONFIG_RANGE', 'longer than nothing'],
  [{ every: '1h', expires: '1m', jitter: '5m' }, 'E_CONFIG_CONFLICT', 'may expire (1m) before jitter (5m)'],
  [{ every: '1h', priority: 10 }, 'E_CONFIG_RANGE', 'priority is 10'],
  [{ every: '1h', queue: '' }, 'E_CONFIG_RANGE', 'queue is ""'],
  [{ every: '1h', headers: { task: 'x' } }, 'E_CONFIG_CONFLICT', 'header of the protocol'],
  [{ every: '1h', overlap: 'wait' }, 'E_CONFIG_RANGE', "use 'allow' or 'skip' or 'queue'"],
  [{ every: '1h', catchUp: 'some' }, 'E_CONFIG_RANGE', "use 'none' or 'last' or 'all'"],
  [{ every: '1h', catchUp: { slots: 'none' } }, 'E_CONFIG_RANGE', "use 'last' or 'all'"],
  [{ every: '1h', catchUp: { slots: 'all', max: 1_001 } }, 'E_CONFIG_RANGE', 'from 1 to 1000'],
  [{ every: '1h', catchUp: { slots: 'all', within: '1 day' } }, 'E_CONFIG_RANGE', 'not a duration'],
])('%j is refused', (options, code, words) => {
  const [given, message] = failure(options);
  expect(message).toContain(words);
  expect(given).toBe(code);
});

describe('timing alone', () => {
  test('takes no option of what a run does', () => {
    expect(() => parseSchedule({ every: '1h', queue: 'slow' } as TimingOptions)).toThrow('has no option "queue"');
  });

  test('one kind excludes the others, for the compiler too', () => {
    // @ts-expect-error two kinds at once
    const both: TimingOptions = { cron: '* * * * *', every: '1s' };
    // @ts-expect-error a number without a unit
    const bare: TimingOptions = { every: 30 };
    for (const options of [both, bare]) expect(() => parseSchedule(options)).toThrow();
  });
});
