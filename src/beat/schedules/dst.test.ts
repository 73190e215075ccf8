/** Days on which clocks are changed, written out: what runs, when, and under which policy. `zones.test.ts` has all zones. */
import { describe, expect, test } from 'vitest';
import { parseSchedule, previewSlots } from './index.js';
import type { DstPolicy } from './types.js';
import { segmentAt, zoneCacheSizes } from './zone.js';

/** The next slots as the clock shows them, without the date of `day` and without seconds. */
function slots(cron: string, timezone: string, after: string, count: number, dst: DstPolicy = {}): string[] {
  const schedule = parseSchedule({ cron, timezone, dst });
  return previewSlots(schedule, Date.parse(after), count).map(({ local }) =>
    local.slice(5).replace(':00+', '+').replace(':00-', '-'),
  );
}

describe('a nightly job', () => {
  test.each<[string, string, string, string, string[]]>([
    ['Europe/Berlin', '30 2 * * *', '2026-03-28T12:00Z', 'spring', ['03-29T03:00+02:00', '03-30T02:30+02:00']],
    ['Europe/Berlin', '30 2 * * *', '2026-10-24T12:00Z', 'autumn', ['10-25T02:30+02:00', '10-26T02:30+01:00']],
    ['Europe/Berlin', '0,30 2 * * *', '2026-03-28T12:00Z', 'two times in one gap', ['03-29T03:00+02:00', '03-30T02:00+02:00']],
    ['Europe/Berlin', '0 2,3 * * *', '2026-03-28T12:00Z', 'gap and its end', ['03-29T03:00+02:00', '03-30T02:00+02:00']],
    ['America/New_York', '30 2 * * *', '2026-03-07T12:00Z', 'spring', ['03-08T03:00-04:00', '03-09T02:30-04:00']],
    ['America/New_York', '30 1 * * *', '2026-10-31T12:00Z', 'autumn', ['11-01T01:30-04:00', '11-02T01:30-05:00']],
    ['Australia/Lord_Howe', '15 2 * * *', '2026-10-03T00:00Z', 'half an hour', ['10-04T02:30+11:00', '10-05T02:15+11:00']],
    ['Australia/Lord_Howe', '45 1 * * *', '2026-04-04T00:00Z', 'half an hour back', ['04-05T01:45+11:00', '04-06T01:45+10:30']],
    ['Asia/Beirut', '0 0 * * *', '2026-03-28T12:00Z', 'no midnight', ['03-29T01:00+03:00', '03-30T00:00+03:00']],
    ['Africa/Cairo', '30 0 * * *', '2026-04-23T12:00Z', 'no midnight', ['04-24T01:00+03:00', '04-25T00:30+03:00']],
    ['America/Havana', '0 0 * * *', '2026-03-07T12:00Z', 'no midnight', ['03-08T01:00-04:00', '03-09T00:00-04:00']],
    ['America/Havana', '30 0 * * *', '2026-10-31T12:00Z', 'midnight twice', ['11-01T00:30-04:00', '11-02T00:30-05:00']],
    ['America/Asuncion', '0 0 * * *', '2023-09-30T12:00Z', 'no midnight', ['10-01T01:00-03:00', '10-02T00:00-03:00']],
    ['Pacific/Apia', '0 12 * * *', '2011-12-29T23:00Z', 'a day left out', ['12-31T00:00+14:00', '12-31T12:00+14:00']],
    ['Pacific/Kwajalein', '0 12 * * *', '1993-08-21T01:00Z', 'a day left out', ['08-22T00:00+12:00', '08-22T12:00+12:00']],
    ['Antarctica/Troll', '30 1 * * *', '2026-03-28T12:00Z', 'two hours', ['03-29T03:00+02:00', '03-30T01:30+02:00']],
    ['Africa/Casablanca', '30 2 * * *', '2026-02-14T12:00Z', 'Ramadan', ['02-15T02:30+01:00', '02-16T02:30+00:00']],
  ])('in %s at %s runs once after %s: %s', (zone, cron, after, _what, expected) => {
    expect(slots(cron, zone, after, 2)).toEqual(expected);
  });
});

describe('a job of every hour', () => {
  test('runs on through both days as the clock does, without a hole or a doubled run', () => {
    for (const after of ['2026-03-29T00:00Z', '2026-10-24T23:30Z']) {
      const five = previewSlots(parseSchedule({ cron: '*/5 * * * *', timezone: 'Europe/Berlin' }), Date.parse(after), 48);
      const steps = new Set(five.slice(1).map(({ slotMs }, place) => slotMs - five[place]!.slotMs));
      expect([...steps]).toEqual([300_000]);
    }
  });

  test('shows the hour twice in autumn and leaves it out in spring', () => {
    expect(slots('7 * * * *', 'Europe/Berlin', '2026-10-24T23:10Z', 3)).toEqual([
      '10-25T02:07+02:00',
      '10-25T02:07+01:00',
      '10-25T03:07+01:00',
    ]);
    expect(slots('7 * * * *', 'Europe/Berlin', '2026-03-29T00:00Z', 2)).toEqual(['03-29T01:07+01:00', '03-29T03:07+02:00']);
  });
});

describe('a policy', () => {
  const after = { spring: '2026-03-28T12:00Z', autumn: '2026-10-24T12:00Z' };

  test('skips what does not exist', () => {
    expect(slots('30 2 * * *', 'Europe/Berlin', after.spring, 1, { skipped: 'skip' })).toEqual(['03-30T02:30+02:00']);
  });

  test('takes the second of two, or both', () => {
    expect(slots('30 2 * * *', 'Europe/Berlin', after.autumn, 2, { repeated: 'second' })).toEqual([
      '10-25T02:30+01:00',
      '10-26T02:30+01:00',
    ]);
    expect(slots('30 2 * * *', 'Europe/Berlin', after.autumn, 3, { repeated: 'both' })).toEqual([
      '10-25T02:30+02:00',
      '10-25T02:30+01:00',
      '10-26T02:30+01:00',
    ]);
  });

  test('holds for a job of every hour too, when it is asked for', () => {
    expect(slots('0 * * * *', 'Europe/Berlin', '2026-10-24T23:30Z', 3, { repeated: 'first' })).toEqual([
      '10-25T02:00+02:00',
      '10-25T03:00+01:00',
      '10-25T04:00+01:00',
    ]);
    expect(slots('7 * * * *', 'Europe/Berlin', '2026-03-29T00:30Z', 2, { skipped: 'next' })).toEqual([
      '03-29T03:00+02:00',
      '03-29T03:07+02:00',
    ]);
  });

  test('finds the second of two although the search begins within the first', () => {
    expect(slots('15 2 1,25 * *', 'Europe/Berlin', '2026-10-25T00:20Z', 1, { repeated: 'second' })).toEqual([
      '10-25T02:15+01:00',
    ]);
  });
});

describe('what is remembered of zones', () => {
  test('knows of a change shortly before the stretch that it was read for', () => {
    // Damascus put its clock back on 31 August 1977, an hour before one of the stretches of 400 days begins.
    const stretch = 7 * 400 * 86_400_000;
    expect(segmentAt('Asia/Damascus', stretch)).toMatchObject({
      startMs: stretch - 3_600_000,
      beforeMs: 10_800_000,
      offsetMs: 7_200_000,
    });
    expect(segmentAt('Asia/Damascus', stretch - 3_600_001)).toMatchObject({ endMs: stretch - 3_600_000, afterMs: 7_200_000 });
  });

  test('has a cap, however many zones, names and years are asked for', () => {
    const zones = Intl.supportedValuesOf('timeZone');
    for (const zone of zones) {
      for (const spelling of [zone, zone.toLowerCase(), zone.toUpperCase()]) {
        parseSchedule({ cron: '* * * * *', timezone: spelling });
        segmentAt(spelling, Date.UTC(2026, 0, 1));
      }
    }
    for (let year = 1950; year < 2050; year += 1) segmentAt('Europe/Paris', Date.UTC(year, 0, 1));
    const sizes = zoneCacheSizes();
    expect(zones.length * 3).toBeGreaterThan(1_024);
    expect(sizes).toEqual({ names: 1_024, zones: 1_024, formatters: 32, mostChunks: 64 });
  });
});
