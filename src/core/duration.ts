/** Durations are strings with a unit in public and numbers ending in `Ms` inside; this is the only place that converts. */
import { ConfigError } from './errors.js';

/** A duration with its unit, for example `'250ms'`, `'30s'`, `'5m'`, `'2h'`, `'1d'`. Fractions are allowed. */
export type Duration = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`;

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
/** Later instants leave the calendar of Python, and soon that of JavaScript. */
const LONGEST_MS = 1_000 * 365 * UNIT_MS.d;
const PATTERN = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/**
 * Milliseconds of a duration.
 * @param name the option's name, for the message
 * @throws ConfigError `E_CONFIG_RANGE` when it is not a duration, or one of more than 1,000 years
 */
export function durationMs(value: Duration | string, name: string): number {
  const match = typeof value === 'string' ? PATTERN.exec(value) : null;
  if (!match) {
    throw new ConfigError(
      'E_CONFIG_RANGE',
      `${name} is ${JSON.stringify(value)}, not a duration: write a number with its unit, for example '250ms', '30s', '5m', '2h' or '1d'`,
    );
  }
  const ms = Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS];
  if (ms <= LONGEST_MS) return ms;
  throw new ConfigError(
    'E_CONFIG_RANGE',
    `${name} is ${JSON.stringify(value)}, more than the 1,000 years that a duration may have`,
  );
}

/** A duration for people: `1.5s`, `2m`. */
export function formatMs(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  for (const unit of ['d', 'h', 'm'] as const) {
    if (ms >= UNIT_MS[unit] && ms % UNIT_MS[unit] === 0) return `${ms / UNIT_MS[unit]}${unit}`;
  }
  return `${Number((ms / 1_000).toFixed(2))}s`;
}
