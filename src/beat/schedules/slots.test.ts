/** Next, last and all slots of every kind of schedule, their bounds, and what is derived from a slot. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { codeOf } from '../../core/errors.js';
import { dueMs, lastSlot, nextSlot, parseSchedule, previewSlots, slotsBetween, slotTaskId } from './index.js';
import type { Schedule, TimingOptions } from './types.js';

const at = (text: string): number => Date.parse(text);
const iso = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString().replace('.000', '');
const codeOfCall = (call: () => unknown): string | undefined => {
  try {
    call();
  } catch (error) {
    return codeOf(error);
  }
  return undefined;
};

describe('an interval', () => {
  test('counts from the epoch, so that every scheduler has the same slots', () => {
    const schedule = parseSchedule({ every: '15m' });
    expect(iso(nextSlot(schedule, at('2026-11-21T12:07:01.5Z')))).toBe('2026-11-21T12:15:00Z');
    expect(iso(nextSlot(schedule, at('2026-11-21T12:15:00Z')))).toBe('2026-11-21T12:30:00Z');
  });

  test('counts from its anchor, also backwards', () => {
    const schedule = parseSchedule({ every: '1h', anchor: new Date('2026-11-21T12:10:00Z') });
    expect(iso(nextSlot(schedule, at('2026-11-21T09:09:59Z')))).toBe('2026-11-21T09:10:00Z');
    expect(iso(nextSlot(schedule, at('2026-11-21T12:10:00Z')))).toBe('2026-11-21T13:10:00Z');
  });

  test('counts from its start where it has no anchor', () => {
    const schedule = parseSchedule({ every: '1h', start: new Date('2026-11-21T12:10:00Z') });
    expect(iso(nextSlot(schedule, 0))).toBe('2026-11-21T12:10:00Z');
    expect(iso(nextSlot(schedule, at('2026-11-21T12:30:00Z')))).toBe('2026-11-21T13:10:00Z');
  });

  test('counts from the last run where that is asked for', () => {
    const schedule = parseSchedule({ every: '90s', anchor: 'last-run', start: new Date('2026-11-21T00:00:00Z') });
    expect(iso(nextSlot(schedule, at('2026-11-21T12:00:07Z')))).toBe('2026-11-21T12:01:37Z');
    expect(iso(nextSlot(schedule, 0))).toBe('2026-11-21T00:00:00Z');
  });
});

describe('six fields', () => {
  test('come to the seconds that a walk from second to second finds', () => {
    const field = (most: number) =>
      fc.oneof(fc.constant('*'), fc.uniqueArray(fc.integer({ min: 0, max: most }), { minLength: 1, maxLength: 4 }).map(String));
    fc.assert(
      fc.property(field(59), field(59), field(23), fc.integer({ min: 0, max: 2_000_000_000 }), (second, minute, hour, from) => {
        const has = (text: string, value: number): boolean => text === '*' || text.split(',').includes(String(value));
        const walked: number[] = [];
        for (let at = from + 1; at <= from + 7_200 && walked.length < 100; at += 1) {
          const shown = new Date(at * 1_000);
          if (has(second, shown.getUTCSeconds()) && has(minute, shown.getUTCMinutes()) && has(hour, shown.getUTCHours()))
            walked.push(at * 1_000);
        }
        const schedule = parseSchedule({ cron: `${second} ${minute} ${hour} * * *` });
        expect(slotsBetween(schedule, from * 1_000, (from + 7_200) * 1_000, 100).slots).toEqual(walked);
      }),
      { numRuns: 100 },
    );
  });
});

describe('a one-off', () => {
  test('is due once', () => {
    const schedule = parseSchedule({ at: new Date('2026-11-21T12:00:00Z') });
    expect(iso(nextSlot(schedule, at('2026-11-21T11:59:59.999Z')))).toBe('2026-11-21T12:00:00Z');
    expect(nextSlot(schedule, at('2026-11-21T12:00:00Z'))).toBeUndefined();
  });
});

describe('start and end', () => {
  test.each<[TimingOptions, string[]]>([
    [{ cron: '0 * * * *' }, ['2026-11-21T10:00:00Z', '2026-11-21T11:00:00Z', '2026-11-21T12:00:00Z']],
    [{ every: '1h' }, ['2026-11-21T10:00:00Z', '2026-11-21T11:00:00Z', '2026-11-21T12:00:00Z']],
    [{ at: new Date('2026-11-21T12:00:00Z') }, ['2026-11-21T12:00:00Z']],
    [{ solar: { event: 'solar_noon', lat: 0, lon: 0 } }, ['2026-11-21T11:45:51Z']],
  ])('%j has its slots between them, the bounds themselves included', (options, expected) => {
    const schedule = parseSchedule({
      ...options,
      start: new Date('2026-11-21T10:00:00Z'),
      end: new Date('2026-11-21T12:00:00Z'),
    } as TimingOptions);
    const { slots, more } = slotsBetween(schedule, 0, at('2030-01-01'), 10);
    expect([slots.map(iso), more]).toEqual([expected, false]);
  });
});

describe('slots of a stretch', () => {
  const schedule = parseSchedule({ cron: '*/10 * * * *' });

  test('leave out its beginning and have its end', () => {
    const { slots } = slotsBetween(schedule, at('2026-11-21T12:00:00Z'), at('2026-11-21T12:30:00Z'), 10);
    expect(slots.map(iso)).toEqual(['2026-11-21T12:10:00Z', '2026-11-21T12:20:00Z', '2026-11-21T12:30:00Z']);
  });

  test('say when there are more than were asked for', () => {
    const list = slotsBetween(schedule, at('2026-11-21T12:00:00Z'), at('2026-11-21T12:30:00Z'), 2);
    expect(list).toEqual({ slots: [at('2026-11-21T12:10:00Z'), at('2026-11-21T12:20:00Z')], more: true });
  });

  test.each([0, -1, 1.5, 1_001, Number.NaN])('%d of them are refused', (count) => {
    expect(codeOfCall(() => slotsBetween(schedule, 0, 1, count))).toBe('E_CONFIG_RANGE');
    expect(codeOfCall(() => previewSlots(schedule, 0, count))).toBe('E_CONFIG_RANGE');
  });
});

describe('the last slot', () => {
  const kinds: readonly TimingOptions[] = [
    { cron: '*/7 * * * *', timezone: 'Europe/Berlin' },
    { cron: '30 2 * * *', timezone: 'Europe/Berlin' },
    { cron: '* * 3 * * 1', timezone: 'Australia/Lord_Howe' },
    { every: '7m', anchor: new Date(12_345) },
    { solar: { event: 'sunset', lat: 52, lon: 13 } },
    { cron: '5 4 * * *', start: new Date('2026-03-20T00:00Z'), end: new Date('2026-04-02T00:00Z') },
  ];
  test.each(kinds)('of %j is the one that counting up ends with', (options) => {
    const schedule = parseSchedule(options);
    const from = at('2026-03-01T00:00Z');
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 50 * 86_400_000 }), fc.integer({ min: 0, max: 3 * 86_400_000 }), (skip, length) => {
        const after = from + skip;
        let last: number | undefined;
        for (let slot = nextSlot(schedule, after); slot !== undefined && slot <= after + length; slot = nextSlot(schedule, slot))
          last = slot;
        expect(lastSlot(schedule, after, after + length)).toBe(last);
      }),
      { numRuns: 15 },
    );
  });

  test('of an interval from the last run is the one that this run is followed by', () => {
    const schedule = parseSchedule({ every: '1m', anchor: 'last-run' });
    expect(lastSlot(schedule, 7_000, 600_000)).toBe(67_000);
    expect(lastSlot(schedule, 7_000, 60_000)).toBeUndefined();
  });
});

describe('a preview', () => {
  test('shows what the clock of the zone shows', () => {
    const preview = (options: TimingOptions): string[] =>
      previewSlots(parseSchedule(options), at('2026-11-21T12:00Z'), 1).map(({ local }) => local);
    expect(preview({ cron: '0 2 * * *', timezone: 'America/St_Johns' })).toEqual(['2026-11-22T02:00:00-03:30']);
    expect(preview({ cron: '0 2 * * *', timezone: 'Asia/Kathmandu' })).toEqual(['2026-11-22T02:00:00+05:45']);
    expect(preview({ every: '250ms' })).toEqual(['2026-11-21T12:00:00.250+00:00']);
  });
});

describe('slots far away', () => {
  test('end with the calendar and not in an endless search', () => {
    const yearly = parseSchedule({ cron: '0 0 29 2 1', timezone: 'Europe/Berlin' });
    expect(nextSlot(yearly, Date.UTC(9_988, 5, 1))).toBeUndefined();
    expect(nextSlot(parseSchedule({ every: '36500d' }), Date.UTC(9_985, 0, 1))).toBeUndefined();
    expect(iso(nextSlot(yearly, Number.NEGATIVE_INFINITY))).toBe('1904-02-28T23:00:00Z');
  });

  test('begin with the year 1900, whatever is asked', () => {
    for (const options of [{ cron: '@yearly' }, { every: '1d' }] as const) {
      expect(iso(nextSlot(parseSchedule(options), Number.NEGATIVE_INFINITY))).toBe('1900-01-01T00:00:00Z');
    }
    expect(codeOfCall(() => nextSlot(parseSchedule({ every: '1d' }), Number.NaN))).toBe('E_CONFIG_RANGE');
  });

  test('give up on a time that lies in gaps alone', () => {
    // From 2026 on, 02:30 of the last Sunday in March is always left out in Berlin; 25 to 31 March and Sunday is that day.
    const schedule = parseSchedule({ cron: '30 2 25-31 3 sun', timezone: 'Europe/Berlin', dst: { skipped: 'skip' } });
    expect(nextSlot(schedule, at('2026-01-01'))).toBeUndefined();
  });
});

describe('what is derived from a slot', () => {
  const schedule: Schedule = parseSchedule({ cron: '0 * * * *', jitter: '10m' });

  test('the task id is a UUID of entry and slot alone', () => {
    const slot = at('2026-11-21T12:00Z');
    expect(slotTaskId('nightly', slot)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(slotTaskId('nightly', slot)).toBe(slotTaskId('nightly', slot));
    expect(new Set([slotTaskId('nightly', slot), slotTaskId('nightly', slot + 1), slotTaskId('weekly', slot)]).size).toBe(3);
  });

  test('the jitter is the same for every scheduler, stays within its bound, and spreads', () => {
    const delays = Array.from(
      { length: 1_000 },
      (_value, hour) => dueMs(schedule, 'nightly', hour * 3_600_000) - hour * 3_600_000,
    );
    expect(delays.every((delay) => delay >= 0 && delay < 600_000)).toBe(true);
    expect(new Set(delays.map((delay) => Math.floor(delay / 60_000))).size).toBe(10);
    expect(dueMs(schedule, 'nightly', 0)).toBe(dueMs(schedule, 'nightly', 0));
    expect(dueMs(schedule, 'weekly', 0)).not.toBe(dueMs(schedule, 'nightly', 0));
  });

  test('the jitter takes the hash that is passed in', () => {
    const texts: string[] = [];
    const half = (text: string): number => {
      texts.push(text);
      return 0.5;
    };
    expect(dueMs(schedule, 'nightly', 3_600_000, half)).toBe(3_900_000);
    expect(dueMs(parseSchedule({ cron: '0 * * * *' }), 'nightly', 3_600_000, half)).toBe(3_600_000);
    expect(texts).toEqual(['nightly\n3600000']);
  });
});
