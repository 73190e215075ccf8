/**
 * Celery's nine events of the sun as slots. A polar day or night goes over to the next day that has the event. Pure.
 * @remarks Source: Celery's `solar`: its horizons, and its centre or upper limb of the sun.
 */
import { ConfigError } from '../../core/errors.js';
import { crossingMs, noonMs } from './sun.js';
import type { SolarEvent, SolarSchedule } from './types.js';

interface Crossing {
  /** Degrees of the sun's centre above the horizon. */
  readonly altitude: number;
  /** -1 rising, 1 setting; `null`: the highest point, which every day has. */
  readonly side: -1 | 1 | null;
}

/** 34' of refraction and 16' of the sun's radius: the upper limb is seen. */
const LIMB = -50 / 60;

const EVENTS: Readonly<Record<SolarEvent, Crossing>> = {
  dawn_astronomical: { altitude: -18, side: -1 },
  dawn_nautical: { altitude: -12, side: -1 },
  dawn_civil: { altitude: -6, side: -1 },
  sunrise: { altitude: LIMB, side: -1 },
  solar_noon: { altitude: 0, side: null },
  sunset: { altitude: LIMB, side: 1 },
  dusk_civil: { altitude: -6, side: 1 },
  dusk_nautical: { altitude: -12, side: 1 },
  dusk_astronomical: { altitude: -18, side: 1 },
};

/** The names of the events, in the order of a day. */
export const SOLAR_EVENTS = Object.keys(EVENTS) as readonly SolarEvent[];

const DAY_MS = 86_400_000;
/** A year and a half: what does not happen in it never does. */
const MOST_DAYS = 548;

/**
 * The first event after an instant, to the second, in epoch milliseconds.
 * @throws ConfigError `E_SCHEDULE_NEVER` when none comes within a year and a half, as at the poles
 */
export function nextSolar({ event, lat, lon }: Pick<SolarSchedule, 'event' | 'lat' | 'lon'>, afterMs: number): number {
  const { altitude, side } = EVENTS[event];
  // A day's events lie up to a day from its noon in Greenwich, and longitudes shift them by half of one.
  const today = Math.floor(afterMs / DAY_MS) - 2;
  for (let day = today; day <= today + MOST_DAYS; day += 1) {
    const found = side === null ? noonMs(day, lon) : crossingMs(day, lat, lon, altitude, side);
    const rounded = found === null ? Number.NEGATIVE_INFINITY : Math.round(found / 1_000) * 1_000;
    if (rounded > afterMs) return rounded;
  }
  throw new ConfigError('E_SCHEDULE_NEVER', `there is no ${event} at latitude ${lat}, longitude ${lon} within a year and a half`);
}
