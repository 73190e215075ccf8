/** Rows of django-celery-beat: what is taken over, how, what is over, and what is refused and why. */
import { describe, expect, test } from 'vitest';
import { codeOf } from '../../core/errors.js';
import { type DjangoImportOptions, type DjangoKind, importDjangoBeat } from './django-import.js';

const NOW = Date.parse('2026-11-22T12:00:00Z');
const SCHEDULES: Readonly<Record<DjangoKind, ReadonlyMap<unknown, Readonly<Record<string, unknown>>>>> = {
  interval: new Map([
    [1, { id: 1, every: 10, period: 'minutes' }],
    [2, { id: 2, every: 5, period: 'microseconds' }],
    [3, { id: 3, every: 5, period: 'toString' }],
  ]),
  crontab: new Map([
    [
      1,
      {
        id: 1,
        minute: '30',
        hour: '2',
        day_of_week: 'mon-fri',
        day_of_month: '*',
        month_of_year: '*',
        timezone: 'Europe/Berlin',
      },
    ],
    [2, { id: 2, minute: '0', hour: '*', day_of_week: '*', day_of_month: '*', month_of_year: '*' }],
    [3, { id: 3, minute: '61', hour: '*', day_of_week: '*', day_of_month: '*', month_of_year: '*', timezone: 'UTC' }],
  ]),
  solar: new Map([[1, { id: 1, event: 'sunset', latitude: 52.52, longitude: 13.4 }]]),
  clocked: new Map([
    [1, { id: 1, clocked_time: '2030-01-31T08:00:00+00:00' }],
    [2, { id: 2, clocked_time: '2020-01-31T08:00:00+00:00' }],
  ]),
};
const ROW = {
  ...{ id: 7, name: 'nightly', task: 'shop.report', args: '[]', kwargs: '{}', queue: null, exchange: null, routing_key: null },
  ...{ expires: null, expire_seconds: null, enabled: true, last_run_at: null, total_run_count: 0, one_off: false },
  ...{ start_time: null, priority: null, headers: '{}', description: '', date_changed: '2026-11-01T00:00:00+00:00' },
  ...{ interval_id: null, crontab_id: null, solar_id: null, clocked_id: null },
};
const take = (row: object, more: Partial<DjangoImportOptions> = {}) =>
  importDjangoBeat({ tasks: [{ ...ROW, ...row }], schedules: SCHEDULES }, { nowMs: NOW, ...more });
/** The only entry, and nothing beside it. */
function entryOf(row: object, more: Partial<DjangoImportOptions> = {}) {
  const { entries, over, refused } = take(row, more);
  expect([over, refused]).toEqual([[], []]);
  const [entry] = entries;
  if (entry === undefined) throw new Error('nothing was taken over');
  return entry;
}
const HEADERS = { periodic_task_name: 'nightly' };

describe('a schedule of django-celery-beat', () => {
  test.each<[string, object, object]>([
    ['an interval counts from the run before', { interval_id: 1 }, { every: '600s', anchor: 'last-run' }],
    [
      'a crontab keeps its zone',
      { crontab_id: 1 },
      {
        cron: { minute: '30', hour: '2', dayOfWeek: 'mon-fri', dayOfMonth: '*', monthOfYear: '*' },
        timezone: 'Europe/Berlin',
      },
    ],
    [
      'a crontab of an old version has that of the settings',
      { crontab_id: 2 },
      { cron: { minute: '0', hour: '*', dayOfWeek: '*', dayOfMonth: '*', monthOfYear: '*' }, timezone: 'Asia/Tokyo' },
    ],
    ['an event of the sun', { solar_id: 1 }, { solar: { event: 'sunset', lat: 52.52, lon: 13.4 } }],
    ['a clocked one', { clocked_id: 1, one_off: true }, { at: new Date('2030-01-31T08:00:00Z') }],
    [
      'start_time is its start',
      { interval_id: 1, start_time: '2027-01-01T00:00:00+01:00' },
      { every: '600s', anchor: 'last-run', start: new Date('2026-12-31T23:00:00Z') },
    ],
  ])('%s', (_what, row, options) => {
    const entry = entryOf(row, { timezone: 'Asia/Tokyo' });
    expect(entry).toMatchObject({ row: 7, id: 'nightly', task: 'shop.report', paused: false });
    expect(entry.options).toEqual({ ...options, headers: HEADERS });
  });

  test('a one-off by a crontab is due once, at its next slot, and that is told', () => {
    const entry = entryOf({ crontab_id: 1, one_off: true });
    expect(entry.options).toEqual({ at: new Date('2026-11-23T01:30:00Z'), headers: HEADERS });
    expect(entry.notes).toEqual(['one_off: it runs once, at its next slot 2026-11-23T01:30:00.000Z']);
  });

  test.each<[string, object, string]>([
    ['no schedule', {}, 'it has no schedule'],
    ['two schedules', { interval_id: 1, solar_id: 1 }, 'it has interval and solar'],
    ['a schedule that is gone', { solar_id: 9 }, 'its solar 9 is not in its table'],
    ['an interval too short', { interval_id: 2 }, 'it must be longer than nothing'],
    ['a period that is none', { interval_id: 3 }, 'period is "toString"'],
    ['a crontab that is none', { crontab_id: 3 }, 'minute 61 is outside'],
    [
      'a start after the end',
      { interval_id: 1, start_time: '2028-01-01T00:00:00Z', expires: '2027-01-01T00:00:00Z' },
      'end is before',
    ],
    ['a clocked one whose time passed without a run', { clocked_id: 2 }, 'its time has passed, 2020-01-31T08:00:00.000Z'],
    ['an instant that is none', { interval_id: 1, start_time: 'infinity' }, 'start_time is "infinity"'],
    ['a zone that is none', { interval_id: 1, start_time: '2030-01-01T00:00:00' }, 'timezone is "Mars"'],
  ])('%s is refused by its row', (_what, row, words) => {
    const { entries, over, refused } = take(row, { timezone: 'Mars' });
    expect([entries, over]).toEqual([[], []]);
    expect(refused).toMatchObject([{ row: 7, id: 'nightly' }]);
    expect(refused[0]?.error.message).toContain(words);
    expect(codeOf(refused[0]?.error)).toMatch(/^E_/);
  });
});

describe('the rest of a row', () => {
  test('arguments, headers, priority, expiry and queue come along', () => {
    const row = {
      ...{ interval_id: 1, args: '[1, 9007199254740993]', kwargs: '{"deep": [true]}', headers: '{"tenant": "x"}' },
      ...{ queue: 'slow', routing_key: 'slow', priority: 3, expire_seconds: 90 },
    };
    const entry = entryOf(row);
    expect(entry).toMatchObject({ args: [1, 9_007_199_254_740_993n], kwargs: { deep: [true] }, to: null, notes: [] });
    expect(entry.options).toMatchObject({ queue: 'slow', priority: 3, expires: '90s', headers: { tenant: 'x', ...HEADERS } });
    expect(entryOf(row, { priorities: '0-first' }).options.priority).toBe(6);
  });

  test('an exchange goes before the queue, which is told', () => {
    const entry = entryOf({ interval_id: 1, exchange: 'media', routing_key: 'video', queue: 'slow' });
    expect(entry.to).toEqual({ exchange: 'media', routingKey: 'video' });
    expect(entry.options.queue).toBeUndefined();
    expect(entry.notes).toEqual(['queue "slow" was left out: the exchange decides where it goes']);
    expect(entryOf({ interval_id: 1, exchange: 'media', queue: 'slow' }).to).toEqual({ exchange: 'media', routingKey: 'slow' });
  });

  test('its runs over there are kept, and its slots count from the last of them', () => {
    const entry = entryOf({ crontab_id: 2, total_run_count: 41, last_run_at: '2026-11-22T09:00:00.5+00:00' });
    const lastMs = Date.parse('2026-11-22T09:00:00.500Z');
    expect(entry).toMatchObject({ sinceMs: lastMs, earlier: { runs: 41, lastMs } });
    expect(entryOf({ crontab_id: 2 })).toMatchObject({ sinceMs: NOW, earlier: { runs: 0, lastMs: null } });
    // a clock that was wrong over there must not hold it up here
    expect(entryOf({ crontab_id: 2, last_run_at: '2040-01-01T00:00:00Z' }).sinceMs).toBe(NOW);
  });

  test('a disabled one is paused', () => {
    expect(entryOf({ interval_id: 1, enabled: false })).toMatchObject({ paused: true });
    expect(entryOf({ crontab_id: 1, enabled: false, one_off: true }).notes.join()).toContain('if it is resumed before');
  });

  test('expires is the end, and what it cannot do any more is told', () => {
    const entry = entryOf({ interval_id: 1, expires: '2027-01-01T00:00:00Z' });
    expect(entry.options.end).toEqual(new Date('2027-01-01T00:00:00Z'));
    expect(entry.notes).toEqual(['expires: no slot after 2027-01-01T00:00:00.000Z; a run that was sent before may start later']);
  });

  test.each(['9999-12-31T23:59:59+00:00', '294276-12-31T23:59:59+00:00', 'infinity'])('expires at %s is never', (expires) => {
    const { options, notes } = entryOf({ interval_id: 1, expires });
    expect(options.end).toBeUndefined();
    expect(notes).toEqual([`expires: "${expires}" is later than any slot, so it has no end`]);
  });

  test('a moment without an offset is read in the zone of the settings, on both sides of a change of the clock', () => {
    const start = (text: string) => entryOf({ interval_id: 1, start_time: text }, { timezone: 'Europe/Berlin' });
    expect(start('2027-01-15T12:00:00').options.start).toEqual(new Date('2027-01-15T11:00:00Z'));
    expect(start('2027-07-15T12:00:00').options.start).toEqual(new Date('2027-07-15T10:00:00Z'));
    expect(start('2027-03-28T03:30:00').options.start).toEqual(new Date('2027-03-28T01:30:00Z'));
    expect(start('2027-01-15T12:00:00').notes).toEqual([
      'start_time has no time zone there: it was read as the time of Europe/Berlin',
    ]);
  });

  test('what has no place here is told: descriptions, and columns that a version or a fork has more', () => {
    const { notes } = entryOf({ interval_id: 1, description: 'for the boss', task_signature: '{"x": 1}', origin_key: null });
    expect(notes).toEqual(['task_signature was left out: "{\\"x\\": 1}"', 'description was left out: "for the boss"']);
  });

  test('the columns of the first versions are enough', () => {
    const { one_off, start_time, priority, headers, expire_seconds, clocked_id, solar_id, ...old } = ROW;
    const { entries, refused } = importDjangoBeat(
      { tasks: [{ ...old, crontab_id: 2 }], schedules: { ...SCHEDULES, clocked: new Map(), solar: new Map() } },
      { nowMs: NOW },
    );
    expect(refused).toEqual([]);
    expect(entries[0]?.options).toMatchObject({ timezone: 'UTC' });
  });

  test.each<[object, string]>([
    [{ task: '' }, 'task is ""'],
    [{ args: 'nothing' }, 'args is no JSON'],
    [{ args: '{}' }, 'args is {}'],
    [{ kwargs: '[1]' }, 'kwargs is [1]'],
    [{ headers: '[]' }, 'headers is []'],
    [{ headers: '{"deep": {}}' }, 'a header holds text'],
    [{ headers: '{"id": "x"}' }, 'is a header of the protocol'],
    [{ priority: 200 }, '200'],
    [{ routing_key: 'video' }, 'name the queue that it leads to'],
    [{ exchange: 'media' }, 'has no routing_key'],
  ])('%j is refused', (more, words) => {
    expect(take({ interval_id: 1, ...more }).refused[0]?.error.message).toContain(words);
  });
});

describe('what is over', () => {
  test.each<[string, object, string]>([
    ['a clocked one that has run', { clocked_id: 2, one_off: true, enabled: false }, 'its time has passed'],
    [
      'a one-off that has run',
      { interval_id: 1, one_off: true, total_run_count: 1, last_run_at: '2026-01-01T00:00:00Z' },
      'has run at 2026',
    ],
    ['one that has expired', { interval_id: 1, expires: '2026-01-01T00:00:00Z' }, 'it has expired at 2026'],
    ["the clean-up of Celery's results", { crontab_id: 1, task: 'celery.backend_cleanup' }, 'expire by themselves'],
  ])('%s is left out by its row, and is no fault', (_what, row, words) => {
    const { entries, over, refused } = take(row);
    expect([entries, refused]).toEqual([[], []]);
    expect(over).toMatchObject([{ row: 7, id: 'nightly', reason: expect.stringContaining(words) }]);
  });
});
