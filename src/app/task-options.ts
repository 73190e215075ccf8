/** The options of a task (`app.task`, `app.fn`), checked once at its definition. */
import { type Duration, durationMs } from '../core/duration.js';
import { ConfigError } from '../core/errors.js';
import { parseRate, type RateLimit } from '../core/rate-limit.js';
import type { AppConfig } from './config.js';
import { checkKeys, checkObject } from './config-schema.js';
import type { ResolvedTaskOptions } from './definition.js';
import { type ErrorMatcher, errorMatcher, type RetryOptions, resolveRetry } from './retry-policy.js';
import { checkPriority, checkQueueName } from './router.js';
import type { TaskContext } from './task-context.js';

/** What a sender must know of a task; all that `app.remote` takes. */
export interface RemoteTaskOptions {
  /** Queue of this task. A queue at the call comes first, then this, then routes, then the app's default queue. */
  readonly queue?: string;
  /** 0 to 9, higher = sooner on every broker. @defaultValue the broker's default */
  readonly priority?: number;
  /** No result is stored or can be waited for. @defaultValue false @remarks Source: Celery `ignore_result`. */
  readonly ignoreResult?: boolean;
  /**
   * Where calls with a `countdown` or an `eta` wait. `'broker'`: in the broker's delay store, out of which a Lovage worker has to bring
   * them on Redis. `'queue'`: wherever workers of any make find them, which on Redis is the queue, with the `eta` in the message; a
   * Lovage worker that gets one puts it into the delay store.
   * @defaultValue `'broker'`, and for `app.remote` `'queue'`
   * @throws ConfigError `E_CONFIG_RANGE` for another value
   * @remarks Source: Celery's `eta`, and its native delayed delivery.
   */
  readonly delays?: 'broker' | 'queue';
}

/** What every own task can have; `R` is its result. */
export interface TaskOptions<R = unknown> extends RemoteTaskOptions {
  /**
   * `true`: 3 retries, exponential from 1 s, at most 10 min, full jitter. `false`: the first failure is final.
   * @defaultValue the app's `retry`, else `false`
   */
  readonly retry?: boolean | RetryOptions;
  /** After this `ctx.signal` aborts. @remarks Source: Celery `soft_time_limit`. */
  readonly softTimeLimit?: Duration;
  /** After this the run is ended, also one that never yields. @remarks Source: Celery `time_limit`. */
  readonly timeLimit?: Duration;
  /**
   * How often a worker may start this task, retries included: `'10/s'`, `'100/m'`, `'5/h'`. What has to wait goes back through the
   * broker's delay store, keeps no slot, and is no attempt. Each worker counts for itself.
   * @defaultValue no limit
   * @throws ConfigError `E_CONFIG_RANGE` when it is no rate
   * @remarks Source: Celery `rate_limit`.
   */
  readonly rateLimit?: RateLimit;
  /** `'late'` (after the run; at least once) or `'early'` (before it; at most once). @defaultValue `'late'` @remarks Source: Celery `acks_late`, which is off by default. */
  readonly ack?: 'late' | 'early';
  /** How long the result is kept; `false` for ever. @defaultValue the app's `resultTtl` */
  readonly resultTtl?: Duration | false;
  /** Store the state STARTED. @defaultValue false @remarks Source: Celery `track_started`. */
  readonly trackStarted?: boolean;
  /** Errors that are expected: logged in one line, without a stack. @remarks Source: Celery `throws`. */
  readonly throws?: ErrorMatcher | readonly ErrorMatcher[];
  /** After a success, before its result is stored. What hooks throw is logged and changes nothing. */
  readonly onSuccess?: (result: R, context: TaskContext) => unknown;
  /** After the last try of a task whose retries are used up, before `onFailure`: the place to tell a person. Not for errors that are not retried. */
  readonly onExhausted?: (error: unknown, context: TaskContext) => unknown;
  /** After the last failure. */
  readonly onFailure?: (error: unknown, context: TaskContext) => unknown;
  /** After a failure that is followed by another try. */
  readonly onRetry?: (error: unknown, context: TaskContext) => unknown;
}

const REMOTE_KEYS = ['queue', 'priority', 'ignoreResult', 'delays'] as const;
const OWN_KEYS = [
  ...REMOTE_KEYS,
  ...([
    'retry',
    'softTimeLimit',
    'timeLimit',
    'rateLimit',
    'ack',
    'resultTtl',
    'trackStarted',
    'throws',
    'onSuccess',
    'onFailure',
    'onRetry',
    'onExhausted',
  ] as const),
];

/** Keys of each constructor, for the check. */
export const REMOTE_OPTION_KEYS: ReadonlySet<string> = new Set(REMOTE_KEYS);
export const FN_OPTION_KEYS: ReadonlySet<string> = new Set([...OWN_KEYS, 'params']);
export const OBJECT_OPTION_KEYS: ReadonlySet<string> = new Set([...OWN_KEYS, 'name', 'input', 'output', 'run']);

/** @throws ConfigError `E_CONFIG_TYPE` */
export function checkBoolean(value: unknown, name: string): void {
  if (value === undefined || typeof value === 'boolean') return;
  throw new ConfigError('E_CONFIG_TYPE', `${name} is ${JSON.stringify(value) ?? typeof value}: it must be true or false`);
}

function optionalMs(value: Duration | undefined, name: string): number | null {
  if (value === undefined) return null;
  const ms = durationMs(value, name);
  if (ms <= 0) throw new ConfigError('E_CONFIG_RANGE', `${name} is ${value}: it must be longer than nothing`);
  return ms;
}

/** @throws ConfigError `E_CONFIG_*`, with the task's name */
export function checkRemoteOptions(
  name: string,
  given: RemoteTaskOptions,
  known: ReadonlySet<string> = REMOTE_OPTION_KEYS,
): void {
  const what = `task ${name}`;
  checkObject(given, what);
  checkKeys(given, known, what);
  if (given.queue !== undefined) checkQueueName(given.queue, `${what}: queue`);
  if (given.priority !== undefined) checkPriority(given.priority, `${what}: priority`);
  checkBoolean(given.ignoreResult, `${what}: ignoreResult`);
  if (given.delays !== undefined && given.delays !== 'broker' && given.delays !== 'queue')
    throw new ConfigError('E_CONFIG_RANGE', `${what}: delays is ${JSON.stringify(given.delays)}: use 'broker' or 'queue'`);
}

/**
 * @param defaults the app's, for what the task does not say
 * @throws ConfigError `E_CONFIG_*`, with the task's name
 */
export function resolveTaskOptions(
  name: string,
  given: TaskOptions<never>,
  known: ReadonlySet<string>,
  defaults: Pick<AppConfig, 'resultTtlMs' | 'retry'>,
): ResolvedTaskOptions {
  checkRemoteOptions(name, given, known);
  const what = `task ${name}`;
  checkBoolean(given.trackStarted, `${what}: trackStarted`);
  const softTimeLimitMs = optionalMs(given.softTimeLimit, `${what}: softTimeLimit`);
  const timeLimitMs = optionalMs(given.timeLimit, `${what}: timeLimit`);
  if (softTimeLimitMs !== null && timeLimitMs !== null && softTimeLimitMs >= timeLimitMs) {
    throw new ConfigError(
      'E_CONFIG_CONFLICT',
      `${what}: softTimeLimit (${given.softTimeLimit}) must be shorter than timeLimit (${given.timeLimit})`,
    );
  }
  if (given.ack !== undefined && given.ack !== 'late' && given.ack !== 'early') {
    throw new ConfigError('E_CONFIG_RANGE', `${what}: ack is ${JSON.stringify(given.ack)}: use 'late' or 'early'`);
  }
  for (const hook of ['onSuccess', 'onFailure', 'onRetry', 'onExhausted'] as const) {
    if (given[hook] !== undefined && typeof given[hook] !== 'function')
      throw new ConfigError('E_CONFIG_TYPE', `${what}: ${hook} is not a function`);
  }
  return Object.freeze({
    queue: given.queue ?? null,
    retry: given.retry === undefined ? defaults.retry : resolveRetry(given.retry),
    softTimeLimitMs,
    timeLimitMs,
    rateLimit: parseRate(given.rateLimit ?? null, `${what}: rateLimit`)?.text ?? null,
    ack: given.ack ?? 'late',
    ignoreResult: given.ignoreResult ?? false,
    resultTtlMs:
      given.resultTtl === undefined
        ? defaults.resultTtlMs
        : given.resultTtl === false
          ? null
          : optionalMs(given.resultTtl, `${what}: resultTtl`),
    trackStarted: given.trackStarted ?? false,
    isExpected: given.throws === undefined ? () => false : errorMatcher(given.throws, `${what}: throws`),
  });
}
