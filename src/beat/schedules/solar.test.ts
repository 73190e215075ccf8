/** Events of the sun beside suncalc, an independent library, and where there is no such event for months. */
import { getPosition, getTimes, type SunTimeName } from 'suncalc';
import { describe, expect, test } from 'vitest';
import { codeOf } from '../../core/errors.js';
import { lastSlot, nextSlot, parseSchedule, slotsBetween } from './index.js';
import { nextSolar, SOLAR_EVENTS } from './solar.js';
import type { SolarEvent } from './types.js';

const DAY = 86_400_000;
const THEIRS: Readonly<Record<SolarEvent, SunTimeName | 'solarNoon'>> = {
  dawn_astronomical: 'nightEnd',
  dawn_nautical: 'nauticalDawn',
  dawn_civil: 'dawn',
  sunrise: 'sunrise',
  solar_noon: 'solarNoon',
  sunset: 'sunset',
  dusk_civil: 'dusk',
  dusk_nautical: 'nauticalDusk',
  dusk_astronomical: 'night',
};

/** Degrees, about: to leave out the days on which the sun just grazes them. */
const ALTITUDES: Readonly<Record<SolarEvent, number>> = {
  dawn_astronomical: -18,
  dawn_nautical: -12,
  dawn_civil: -6,
  sunrise: -0.8,
  solar_noon: 90,
  sunset: -0.8,
  dusk_civil: -6,
  dusk_nautical: -12,
  dusk_astronomical: -18,
};

describe.each(SOLAR_EVENTS)('%s', (event) => {
  test('is within five seconds of what suncalc says, from 2020 to 2035, wherever the sun does not just graze the altitude', () => {
    const wrong: string[] = [];
    let compared = 0;
    for (const lat of [-65, -45, -33, 0, 20, 40, 52.5, 60]) {
      for (const lon of [-170, 13]) {
        for (let day = Date.UTC(2020, 0, 1) + ((lat + 90) % 7) * DAY; day < Date.UTC(2036, 0, 1); day += 37 * DAY) {
          const times = getTimes(new Date(day), lat, lon);
          const theirs = times[THEIRS[event]];
          if (!theirs) continue;
          // Where the sun's highest or lowest point is nearly the altitude itself, a thousandth of a degree is minutes.
          const extremes = [0, -DAY / 2, DAY / 2].map(
            (apart) => getPosition(new Date(times.solarNoon.getTime() + apart), lat, lon).altitude,
          );
          if (event !== 'solar_noon' && extremes.some((extreme) => Math.abs(extreme - ALTITUDES[event]) < 1)) continue;
          compared += 1;
          const ours = nextSolar({ event, lat, lon }, theirs.getTime() - DAY / 4);
          if (Math.abs(ours - theirs.getTime()) > 5_000)
            wrong.push(`${lat} ${lon} ${theirs.toISOString()}: ${new Date(ours).toISOString()}`);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(compared).toBeGreaterThan(1_000);
  });
});

describe('a polar summer and winter', () => {
  const longyearbyen = { lat: 78.22, lon: 15.65 };

  test('the next sunset after the midnight sun is months away, and the days before and after follow one another', () => {
    const schedule = parseSchedule({ solar: { event: 'sunset', ...longyearbyen } });
    const { slots } = slotsBetween(schedule, Date.UTC(2026, 3, 10), Date.UTC(2026, 9, 1), 1_000);
    const gaps = slots.slice(1).map((slot, place) => slot - (slots[place] as number));
    const longest = Math.max(...gaps);
    expect(longest / DAY).toBeGreaterThan(120);
    expect(longest / DAY).toBeLessThan(135);
    expect(gaps.filter((gap) => gap > 1.1 * DAY)).toEqual([longest]);
    expect(lastSlot(schedule, Date.UTC(2026, 3, 10), Date.UTC(2026, 6, 1))).toBe(slots[gaps.indexOf(longest)]);
  });

  test('noon comes every day, sun or none', () => {
    const schedule = parseSchedule({ solar: { event: 'solar_noon', ...longyearbyen } });
    const { slots } = slotsBetween(schedule, Date.UTC(2026, 0, 1), Date.UTC(2027, 0, 1), 1_000);
    expect(slots.length).toBe(365);
  });

  test('what does not come within a year and a half is refused when it is defined', () => {
    let code: string | undefined;
    try {
      parseSchedule({ solar: { event: 'sunrise', lat: 90, lon: 60 } });
    } catch (error) {
      code = codeOf(error);
    }
    expect(code).toBe('E_SCHEDULE_NEVER');
  });
});

test('slots follow one another at every latitude, none twice', () => {
  for (const event of ['dawn_astronomical', 'sunrise', 'dusk_civil'] as const) {
    for (let lat = -88; lat <= 88; lat += 16) {
      const schedule = parseSchedule({ solar: { event, lat, lon: 101 } });
      const start = Date.UTC(2027, 0, 1);
      let slot = nextSlot(schedule, start) as number;
      let count = 0;
      while (slot < start + 366 * DAY) {
        const following = nextSlot(schedule, slot) as number;
        expect(following - slot, `${event} at ${lat}`).toBeGreaterThan(DAY / 2);
        slot = following;
        count += 1;
      }
      expect(count).toBeLessThanOrEqual(367);
    }
  }
});
