/** Rate limits as text: how often a task may start. Celery's form, so that the same text works on both sides. */
import { ConfigError } from './errors.js';

/** How often something may start: `'10/s'`, `'100/m'` or `'5/h'`; fractions are allowed (`'0.5/m'`). */
export type RateLimit = `${number}/${'s' | 'm' | 'h'}`;

/** A limit that holds. */
export interface Rate {
  /** As it was given; people see this. */
  readonly text: string;
  /** Milliseconds between two starts. */
  readonly intervalMs: number;
}

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000 } as const;
const FORM = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*(?:\/\s*([smh])\s*)?$/;
/** A tenth of a microsecond to a year and more: outside it is a slip of the pen. */
const MOST_PER_SECOND = 1e7;
const LONGEST_INTERVAL_MS = 1e11;

/**
 * What Celery's `rate_limit` means: text with a unit, a number (or text without a unit) = a second; `null` and 0 = no limit.
 * @param name for messages: `task add: rateLimit`
 * @throws ConfigError `E_CONFIG_RANGE` for anything else
 */
export function parseRate(given: unknown, name: string): Rate | null {
  if (given === null) return null;
  const text = typeof given === 'number' ? String(given) : given;
  const match = typeof text === 'string' ? FORM.exec(text) : null;
  if (!match) {
    throw new ConfigError(
      'E_CONFIG_RANGE',
      `${name} is ${JSON.stringify(given) ?? typeof given}: use a number with a unit, such as '10/s', '100/m' or '5/h'`,
    );
  }
  const count = Number(match[1]);
  if (count === 0) return null;
  const intervalMs = UNIT_MS[(match[2] ?? 's') as keyof typeof UNIT_MS] / count;
  if (intervalMs < 1_000 / MOST_PER_SECOND || intervalMs > LONGEST_INTERVAL_MS) {
    throw new ConfigError(
      'E_CONFIG_RANGE',
      `${name} is ${text as string}: it must lie between one in three years and ten million a second`,
    );
  }
  return { text: text as string, intervalMs };
}
