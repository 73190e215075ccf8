/** What runs after a stretch without a scheduler, by policy. */
import { describe, expect, test } from 'vitest';
import { dueSlots, resolveScheduleOptions } from './index.js';
import type { ScheduleOptions, TimingOptions } from './types.js';

const MINUTE = 60_000;
const at = (text: string): number => Date.parse(`2026-11-21T${text}Z`);
const HOURLY: TimingOptions = { cron: '0 * * * *' };

/** Due slots as times of day. */
function due(
  timing: TimingOptions,
  catchUp: ScheduleOptions['catchUp'],
  cursor: string,
  now: string,
  punctualMs = MINUTE,
): [string[], boolean] {
  const options = resolveScheduleOptions({ ...timing, ...(catchUp === undefined ? {} : { catchUp }) });
  const { due, leftOut } = dueSlots(options.schedule, options.catchUp, { cursorMs: at(cursor), nowMs: at(now), punctualMs });
  return [due.map((slot) => new Date(slot).toISOString().slice(11, 19)), leftOut];
}

describe('what is on time', () => {
  test.each(['none', 'last', 'all'] as const)('runs with %s', (catchUp) => {
    expect(due(HOURLY, catchUp, '11:30:00', '12:00:05')).toEqual([['12:00:00'], false]);
    expect(due(HOURLY, catchUp, '11:30:00', '11:59:59')).toEqual([[], false]);
    expect(due(HOURLY, catchUp, '12:00:00', '12:00:05')).toEqual([[], false]);
  });

  test.each(['none', 'last', 'all'] as const)('runs whole with %s after a take-over by another scheduler', (catchUp) => {
    expect(due({ cron: '* * * * * *' }, catchUp, '12:00:00', '12:00:04', 5_000)).toEqual([
      ['12:00:01', '12:00:02', '12:00:03', '12:00:04'],
      false,
    ]);
  });

  test('ends where punctual ends', () => {
    expect(due(HOURLY, 'none', '11:30:00', '12:01:00')).toEqual([['12:00:00'], false]);
    expect(due(HOURLY, 'none', '11:30:00', '12:01:01')).toEqual([[], true]);
  });

  test('is bounded: of very many the newest', () => {
    const [times, leftOut] = due({ every: '100ms' }, 'none', '10:00:00', '12:00:00', 3_600_000);
    expect([times.length, times[0], times.at(-1), leftOut]).toEqual([1_000, '11:58:20', '12:00:00', true]);
  });
});

describe('after a night without a scheduler', () => {
  const night = ['03:30:00', '08:20:00'] as const;

  test.each<[ScheduleOptions['catchUp'], string[], boolean]>([
    ['none', [], true],
    [undefined, ['08:00:00'], true],
    ['last', ['08:00:00'], true],
    ['all', ['04:00:00', '05:00:00', '06:00:00', '07:00:00', '08:00:00'], false],
    [{ slots: 'all', max: 2 }, ['07:00:00', '08:00:00'], true],
    [{ slots: 'all', within: '2h' }, ['07:00:00', '08:00:00'], true],
    [{ slots: 'all', within: '140m' }, ['06:00:00', '07:00:00', '08:00:00'], true],
    [{ slots: 'last', within: '10m' }, [], true],
    [{ slots: 'last', within: '30m' }, ['08:00:00'], true],
  ])('catchUp %j runs %j', (catchUp, times, leftOut) => {
    expect(due(HOURLY, catchUp, ...night)).toEqual([times, leftOut]);
  });

  test('what is on time needs no catching up', () => {
    expect(due(HOURLY, 'last', '03:30:00', '08:00:10')).toEqual([['08:00:00'], true]);
    expect(due(HOURLY, { slots: 'all', max: 1 }, '03:30:00', '08:00:10')).toEqual([['07:00:00', '08:00:00'], true]);
  });

  test('millions of missed seconds end with the newest hundred', () => {
    const options = resolveScheduleOptions({ cron: '* * * * * *', catchUp: 'all' });
    const nowMs = at('12:00:00');
    const found = dueSlots(options.schedule, options.catchUp, { cursorMs: nowMs - 60 * 86_400_000, nowMs, punctualMs: 0 });
    expect([found.due.length, found.due[0], found.due.at(-1), found.leftOut]).toEqual([101, nowMs - 100_000, nowMs, true]);
  });

  test('a one-off that was missed runs, unless nothing is caught up', () => {
    const once = { at: new Date(at('05:00:00')) };
    expect(due(once, 'last', ...night)).toEqual([['05:00:00'], false]);
    expect(due(once, 'all', ...night)).toEqual([['05:00:00'], false]);
    expect(due(once, 'none', ...night)).toEqual([[], true]);
  });

  test('an interval from the last run is owed once, not as often as it would have run', () => {
    const interval: TimingOptions = { every: '10m', anchor: 'last-run' };
    expect(due(interval, 'all', ...night)).toEqual([['03:40:00'], false]);
    expect(due(interval, 'last', ...night)).toEqual([['03:40:00'], false]);
    expect(due(interval, 'none', ...night)).toEqual([[], true]);
    expect(due(interval, 'none', '08:09:30', '08:20:00')).toEqual([['08:19:30'], false]);
  });
});
