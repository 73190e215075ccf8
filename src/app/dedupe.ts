/** Dedupe of sends: the option of a call, checked when it is given, and the key as it travels. Next stop: `brokers/send-once.ts`. */
import { createHash } from 'node:crypto';
import type { DedupeKey } from '../brokers/broker.js';
import { type Duration, durationMs } from '../core/duration.js';
import { ConfigError } from '../core/errors.js';
import { checkKeys, checkObject } from './config-schema.js';

/** What makes two sends of a task the same. */
export interface DedupeOptions {
  /** Sends of one task with equal keys are the same; 1 to 1,024 characters. */
  readonly key: string;
  /** How long, from the first of them on; `'1s'` to `'30d'`. That its task has ended does not end it. */
  readonly for: Duration;
  /**
   * What becomes of the others: `'return-existing'` gives the handle of the first, `'reject'` throws a DuplicateSendError.
   * @defaultValue `'return-existing'`
   */
  readonly onConflict?: 'return-existing' | 'reject';
}

/** Checked. */
export interface ResolvedDedupe {
  readonly key: string;
  readonly ttlMs: number;
  readonly onConflict: 'return-existing' | 'reject';
}

const KEYS: ReadonlySet<string> = new Set<keyof DedupeOptions>(['key', 'for', 'onConflict']);
const LONGEST_KEY = 1_024;
const SHORTEST_MS = 1_000;
/** Bounds what a broker keeps: each key is kept for its time. */
const LONGEST_MS = 30 * 86_400_000;

/** @throws ConfigError `E_CONFIG_*` */
export function resolveDedupe(given: DedupeOptions, what: string): ResolvedDedupe {
  checkObject(given, what);
  checkKeys(given, KEYS, what);
  const { key, onConflict = 'return-existing' } = given;
  if (typeof key !== 'string' || key === '' || key.length > LONGEST_KEY)
    throw new ConfigError('E_CONFIG_RANGE', `${what}.key must be text of 1 to ${LONGEST_KEY} characters`);
  if (given.for === undefined)
    throw new ConfigError('E_CONFIG_TYPE', `${what} needs \`for\`, the time that it holds, for example { key, for: '10m' }`);
  const ttlMs = durationMs(given.for, `${what}.for`);
  if (ttlMs < SHORTEST_MS || ttlMs > LONGEST_MS)
    throw new ConfigError('E_CONFIG_RANGE', `${what}.for is ${given.for}: it must be from 1s to 30d`);
  if (onConflict !== 'return-existing' && onConflict !== 'reject') {
    throw new ConfigError(
      'E_CONFIG_RANGE',
      `${what}.onConflict is ${JSON.stringify(onConflict)}: use 'return-existing' or 'reject'`,
    );
  }
  return { key, ttlMs, onConflict };
}

/** The key as brokers keep it: short whatever people write, and another one for each task, whose results are of another type. */
export function dedupeKeyOf(task: string, { key, ttlMs }: ResolvedDedupe): DedupeKey {
  return { key: createHash('sha256').update(`${task}\n${key}`).digest('hex').slice(0, 40), ttlMs };
}
