/** The `retry` option, resolved: how often, how long to wait, and which errors are worth another try. Pure. */
import { type Duration, durationMs } from '../core/duration.js';
import { ConfigError } from '../core/errors.js';
import { checkKeys, checkObject } from './config-schema.js';
import type { ResolvedRetryPolicy } from './definition.js';

/** Picks errors: an error class, a code or error name (`'ECONNRESET'`, `'TimeoutError'`), or a predicate. */
export type ErrorMatcher = string | ErrorClass | ((error: unknown) => boolean);

/** An error class; abstract ones too. */
export type ErrorClass = abstract new (...args: never[]) => Error;

/** A retry policy. */
export interface RetryOptions {
  /** Retries after the first try; endless must be asked for by name. @defaultValue 3 @remarks Source: Celery `max_retries`. */
  readonly max?: number | 'unlimited';
  /** @defaultValue `'exponential'` */
  readonly backoff?: 'exponential' | 'fixed';
  /** The first wait. @defaultValue `'1s'` */
  readonly base?: Duration;
  /** The longest wait. @defaultValue `'10m'` @remarks Source: Celery `retry_backoff_max`. */
  readonly cap?: Duration;
  /** `'full'` draws each wait from 0 to its length, so that a crowd that failed together does not come back together. @defaultValue `'full'` */
  readonly jitter?: 'full' | 'none';
  /** Only these errors are retried. Without it every error but `NonRetryableError` is. */
  readonly on?: ErrorMatcher | readonly ErrorMatcher[];
  /** These errors are not retried; counts before `on`. */
  readonly notOn?: ErrorMatcher | readonly ErrorMatcher[];
}

/** Throw this to end a task at once, whatever its retry policy says. */
export class NonRetryableError extends Error {
  /** Read instead of `instanceof`, which fails between two copies of the package. */
  readonly retryable = false;
  constructor(message?: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

const KEYS: ReadonlySet<string> = new Set(['max', 'backoff', 'base', 'cap', 'jitter', 'on', 'notOn']);

/** Arguments that do not fit will not fit next time either. */
const NEVER_RETRIED: ReadonlySet<unknown> = new Set([
  'E_ARGUMENTS',
  'E_NOT_SERIALISABLE',
  'E_MESSAGE_TOO_LARGE',
  'E_OUTPUT',
  'E_WAIT_INSIDE_TASK',
]);

/** A function is a class if what it makes is an error; a predicate otherwise. */
function isErrorClass(matcher: Exclude<ErrorMatcher, string>): matcher is ErrorClass {
  return matcher === Error || (matcher as { readonly prototype?: unknown }).prototype instanceof Error;
}

function errorName(error: unknown, key: 'name' | 'code'): unknown {
  return typeof error === 'object' && error !== null ? (error as Record<string, unknown>)[key] : undefined;
}

/**
 * A single test of matchers. A predicate that throws counts as "no": the task's own error is the one that matters.
 * @throws ConfigError `E_CONFIG_TYPE` for something that is no matcher
 */
export function errorMatcher(matchers: ErrorMatcher | readonly ErrorMatcher[], option: string): (error: unknown) => boolean {
  const tests = (Array.isArray(matchers) ? (matchers as readonly ErrorMatcher[]) : [matchers as ErrorMatcher]).map((matcher) => {
    if (typeof matcher === 'string')
      return (error: unknown) => errorName(error, 'code') === matcher || errorName(error, 'name') === matcher;
    if (typeof matcher !== 'function')
      throw new ConfigError('E_CONFIG_TYPE', `${option} takes error classes, codes or predicates, not a ${typeof matcher}`);
    if (isErrorClass(matcher)) return (error: unknown) => error instanceof matcher;
    return matcher as (error: unknown) => boolean;
  });
  return (error) => {
    try {
      return tests.some((test) => test(error) === true);
    } catch {
      return false;
    }
  };
}

function resolveMax(max: unknown): number {
  if (max === 'unlimited') return Number.POSITIVE_INFINITY;
  if (typeof max === 'number' && Number.isInteger(max) && max >= 0) return max;
  throw new ConfigError('E_CONFIG_RANGE', `retry.max is ${String(max)}: it must be a whole number from 0, or 'unlimited'`);
}

function oneOf<T extends string>(value: T, choices: readonly T[], name: string): T {
  if (choices.includes(value)) return value;
  throw new ConfigError(
    'E_CONFIG_RANGE',
    `${name} is ${JSON.stringify(value)}: use ${choices.map((choice) => `'${choice}'`).join(' or ')}`,
  );
}

/** Errors that say themselves that another try is useless. */
function isFinal(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  try {
    const { retryable, code } = error as { readonly retryable?: unknown; readonly code?: unknown };
    return retryable === false || NEVER_RETRIED.has(code);
  } catch {
    // A getter or proxy that throws says nothing.
    return false;
  }
}

/**
 * `true` is the recommended policy: 3 retries, exponential from 1 s, at most 10 min, full jitter.
 * @throws ConfigError `E_CONFIG_*`
 */
export function resolveRetry(retry: boolean | RetryOptions | undefined): ResolvedRetryPolicy | null {
  if (retry === undefined || retry === false) return null;
  const options: RetryOptions = retry === true ? {} : retry;
  checkObject(options, 'retry');
  checkKeys(options, KEYS, 'retry');
  const on = options.on === undefined ? null : errorMatcher(options.on, 'retry.on');
  const notOn = options.notOn === undefined ? null : errorMatcher(options.notOn, 'retry.notOn');
  const baseMs = durationMs(options.base ?? '1s', 'retry.base');
  const capMs = durationMs(options.cap ?? '10m', 'retry.cap');
  if (options.cap !== undefined && capMs < baseMs)
    throw new ConfigError('E_CONFIG_CONFLICT', `retry.cap (${options.cap}) is shorter than retry.base (${options.base ?? '1s'})`);
  return Object.freeze({
    max: resolveMax(options.max ?? 3),
    backoff: oneOf(options.backoff ?? 'exponential', ['exponential', 'fixed'], 'retry.backoff'),
    jitter: oneOf(options.jitter ?? 'full', ['full', 'none'], 'retry.jitter'),
    baseMs,
    capMs: Math.max(capMs, baseMs),
    isRetryable(error: unknown): boolean {
      if (isFinal(error)) return false;
      if (notOn?.(error)) return false;
      return on === null || on(error);
    },
  });
}
