/**
 * When the sun stands at an altitude. Low-precision theory of the sun (Meeus, Astronomical Algorithms, chapter 25: 0.01 degrees, a
 * few seconds of time at middle latitudes); a test holds it to an independent library. Pure. Next stop: `solar.ts`.
 */
const DAY_MS = 86_400_000;
const RADIANS = Math.PI / 180;
/** Milliseconds in which the earth turns by a degree against the sun. */
const DEGREE_MS = DAY_MS / 360;
/** 1 January 2000, 12:00. */
const J2000_MS = Date.UTC(2000, 0, 1, 12);
/** Each step shortens the error of a noon about a hundredfold. */
const STEPS = 3;
/** The theory itself is good for seconds. */
const EXACT_MS = 200;

const sin = (degrees: number): number => Math.sin(degrees * RADIANS);
const cos = (degrees: number): number => Math.cos(degrees * RADIANS);
/** Degrees between -180 and 180. */
const turned = (degrees: number): number => degrees - 360 * Math.round(degrees / 360);

/** Declination of the sun and equation of time, both in degrees. */
function sunAt(atMs: number): { readonly declination: number; readonly equation: number } {
  const centuries = (atMs - J2000_MS) / (36_525 * DAY_MS);
  const meanLongitude = 280.46646 + centuries * (36_000.76983 + centuries * 0.0003032);
  const anomaly = 357.52911 + centuries * (35_999.05029 - centuries * 0.0001537);
  const centre =
    (1.914602 - centuries * (0.004817 + centuries * 0.000014)) * sin(anomaly) +
    (0.019993 - centuries * 0.000101) * sin(2 * anomaly) +
    0.000289 * sin(3 * anomaly);
  const node = 125.04 - 1_934.136 * centuries;
  // Apparent: with aberration and the greatest term of nutation.
  const longitude = meanLongitude + centre - 0.00569 - 0.00478 * sin(node);
  const obliquity = 23.439291 - 0.0130042 * centuries + 0.00256 * cos(node);
  const ascension = Math.atan2(cos(obliquity) * sin(longitude), cos(longitude)) / RADIANS;
  return {
    declination: Math.asin(sin(obliquity) * sin(longitude)) / RADIANS,
    equation: turned(meanLongitude - 0.0057183 - 0.00478 * sin(node) * cos(obliquity) - ascension),
  };
}

/** When the sun passes the meridian on a day, counted in days from the epoch. Longitude: degrees, east positive. */
export function noonMs(day: number, lon: number): number {
  const mean = day * DAY_MS + DAY_MS / 2 - lon * DEGREE_MS;
  let at = mean;
  for (let step = 0; step < STEPS; step += 1) at = mean - sunAt(at).equation * DEGREE_MS;
  return at;
}

/** Degrees of the sun's centre above the horizon, without refraction. */
function altitudeAt(atMs: number, lat: number, lon: number): number {
  const { declination, equation } = sunAt(atMs);
  const sinceNoon = ((((atMs / DAY_MS) % 1) + 1) % 1) * 360 - 180 + lon + equation;
  return Math.asin(sin(lat) * sin(declination) + cos(lat) * cos(declination) * cos(sinceNoon)) / RADIANS;
}

/**
 * When the centre of the sun passes an altitude on a day; `null` on a day when it does not. Halves the time between noon and the
 * midnight before or after it: slower than the usual iteration, and right also where the sun only just grazes the altitude.
 * @param side -1: rising, before noon; 1: setting
 */
export function crossingMs(day: number, lat: number, lon: number, altitude: number, side: -1 | 1): number | null {
  let above = noonMs(day, lon);
  let below = above + (side * DAY_MS) / 2;
  if (!(altitudeAt(above, lat, lon) >= altitude && altitudeAt(below, lat, lon) < altitude)) return null;
  while (Math.abs(above - below) > EXACT_MS) {
    const middle = (above + below) / 2;
    if (altitudeAt(middle, lat, lon) >= altitude) above = middle;
    else below = middle;
  }
  return above;
}
