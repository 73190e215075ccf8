/** The options of one call, `task.with({ … })`: checked when they are given, turned into times when the task is sent. */
import { type Duration, durationMs } from '../core/duration.js';
import { ConfigError } from '../core/errors.js';
import { isBrokerMark, PROTOCOL_HEADERS } from '../wire/task-message.js';
import { checkKeys, checkObject } from './config-schema.js';
import { type DedupeOptions, type ResolvedDedupe, resolveDedupe } from './dedupe.js';
import type { HeaderValue } from './middleware.js';
import { checkPriority, checkQueueName } from './router.js';
import { checkBoolean } from './task-options.js';
import { resolveStamps, type Stamps } from './workflows/stamps.js';

/** Options of a call. */
export interface CallOptions {
  /** The id to use, for repeating a send whose outcome is unknown: a worker drops an id whose result is final. @defaultValue a new UUID */
  readonly id?: string;
  readonly queue?: string;
  /**
   * An exchange of the app's `queues`, as a route may name one: the call goes to every queue that it leads to by `routingKey`, a copy each.
   * @remarks Source: Celery's `apply_async(exchange=…)`.
   */
  readonly exchange?: string;
  /** @defaultValue that of `queue`, or `''` for a fanout exchange @remarks Source: Celery's `apply_async(routing_key=…)`. */
  readonly routingKey?: string;
  /** 0 to 9, higher = sooner on every broker. */
  readonly priority?: number;
  /** Run no sooner than this from now. */
  readonly countdown?: Duration;
  /** Run no sooner than this. */
  readonly eta?: Date;
  /** Do not run later than this: a duration from now, or an instant. */
  readonly expires?: Duration | Date;
  /** User headers; the task finds them in `ctx.headers`. */
  readonly headers?: Readonly<Record<string, HeaderValue>>;
  /**
   * Names with values that mark the task for `control.revokeByStampedHeaders` and for monitors. On a signature they are those of every
   * task in it, of callbacks and errbacks too, and are carried by whatever sends them. At most 100.
   * @remarks Source: Celery 5.3's `Signature.stamp()`.
   */
  readonly stamps?: Stamps;
  readonly ignoreResult?: boolean;
  /** For this call instead of the task's own. */
  readonly softTimeLimit?: Duration;
  /** For this call instead of the task's own. */
  readonly timeLimit?: Duration;
  /** Send it only if the same was not sent lately; the handle says `deduplicated`. */
  readonly dedupe?: DedupeOptions;
  /** Total time that `send()` may take. @defaultValue the app's `sendTimeout` */
  readonly timeout?: Duration;
  /** Gives up the send. */
  readonly signal?: AbortSignal;
}

/** Checked; durations in milliseconds, absent values `null`. */
export interface ResolvedCallOptions {
  readonly id: string | null;
  readonly queue: string | null;
  readonly exchange: string | null;
  readonly routingKey: string | null;
  readonly priority: number | undefined;
  readonly countdownMs: number | null;
  readonly eta: Date | null;
  readonly expiresMs: number | null;
  readonly expiresAt: Date | null;
  readonly headers: Readonly<Record<string, HeaderValue>> | null;
  readonly stamps: Stamps | null;
  readonly ignoreResult: boolean | null;
  readonly softTimeLimitMs: number | null;
  readonly timeLimitMs: number | null;
  readonly dedupe: ResolvedDedupe | null;
  readonly timeoutMs: number | null;
  readonly signal: AbortSignal | undefined;
}

const KEYS: ReadonlySet<string> = new Set<keyof CallOptions>([
  'id',
  'queue',
  'exchange',
  'routingKey',
  'priority',
  'countdown',
  'eta',
  'expires',
  'headers',
  'stamps',
  'ignoreResult',
  'softTimeLimit',
  'timeLimit',
  'dedupe',
  'timeout',
  'signal',
]);

/** Names of the protocol, of RabbitMQ's marks and of Lovage: a user header must not shadow them. */
function isReserved(name: string): boolean {
  return PROTOCOL_HEADERS.has(name) || isBrokerMark(name) || name.startsWith('lovage_') || name === '__proto__';
}

export const NO_CALL_OPTIONS: ResolvedCallOptions = Object.freeze({
  id: null,
  queue: null,
  exchange: null,
  routingKey: null,
  priority: undefined,
  countdownMs: null,
  eta: null,
  expiresMs: null,
  expiresAt: null,
  headers: null,
  stamps: null,
  ignoreResult: null,
  softTimeLimitMs: null,
  timeLimitMs: null,
  dedupe: null,
  timeoutMs: null,
  signal: undefined,
});

function instant(value: Date | undefined, name: string): Date | null {
  if (value === undefined) return null;
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value;
  throw new ConfigError(
    'E_CONFIG_TYPE',
    `${name} must be a valid Date${value instanceof Date ? ', and this one is not' : `, not a ${typeof value}`}`,
  );
}

function milliseconds(value: Duration | undefined, name: string): number | null {
  return value === undefined ? null : durationMs(value, name);
}

function positiveMs(value: Duration | undefined, name: string): number | null {
  const ms = milliseconds(value, name);
  if (ms === 0) throw new ConfigError('E_CONFIG_RANGE', `${name} is ${value}: it must be longer than nothing`);
  return ms;
}

/** AMQP has one byte for the length of a name. @throws ConfigError `E_CONFIG_RANGE` */
function checkText(value: unknown, min: 0 | 1, what: string): void {
  if (typeof value === 'string' && value.length >= min && Buffer.byteLength(value) <= 255) return;
  throw new ConfigError('E_CONFIG_RANGE', `${what} is ${JSON.stringify(value)}: it must be text of ${min} to 255 bytes`);
}

/** @throws ConfigError `E_CONFIG_CONFLICT` for a reserved name, `E_CONFIG_TYPE` for a value that does not travel */
export function checkHeaders(headers: Readonly<Record<string, unknown>>, what: string): void {
  checkObject(headers, what);
  for (const [name, value] of Object.entries(headers)) {
    if (isReserved(name))
      throw new ConfigError(
        'E_CONFIG_CONFLICT',
        `${what}: ${JSON.stringify(name)} is a header of the protocol; choose another name`,
      );
    const type = typeof value;
    if (value === null || type === 'string' || type === 'boolean' || (type === 'number' && Number.isFinite(value))) continue;
    throw new ConfigError(
      'E_CONFIG_TYPE',
      `${what}.${name} is ${type === 'number' ? String(value) : `a ${type}`}: a header holds text, a finite number, true, false or null`,
    );
  }
}

/**
 * @param what for messages: `task add: with()`
 * @throws ConfigError `E_CONFIG_*`
 */
export function resolveCallOptions(given: CallOptions, what: string): ResolvedCallOptions {
  checkObject(given, what);
  checkKeys(given, KEYS, what);
  if (given.id !== undefined && (typeof given.id !== 'string' || given.id === '' || given.id.length > 255)) {
    throw new ConfigError('E_CONFIG_RANGE', `${what}: id must be text of 1 to 255 characters`);
  }
  if (given.queue !== undefined) checkQueueName(given.queue, `${what}: queue`);
  if (given.exchange !== undefined) checkText(given.exchange, 1, `${what}: exchange`);
  if (given.routingKey !== undefined) checkText(given.routingKey, 0, `${what}: routingKey`);
  if (given.priority !== undefined) checkPriority(given.priority, `${what}: priority`);
  if (given.headers !== undefined) checkHeaders(given.headers, `${what}: headers`);
  checkBoolean(given.ignoreResult, `${what}: ignoreResult`);
  if (given.signal !== undefined && !(given.signal instanceof AbortSignal))
    throw new ConfigError('E_CONFIG_TYPE', `${what}: signal must be an AbortSignal`);
  if (given.countdown !== undefined && given.eta !== undefined)
    throw new ConfigError('E_CONFIG_CONFLICT', `${what}: give countdown or eta, not both`);
  const countdownMs = milliseconds(given.countdown, `${what}: countdown`);
  const expiresMs = given.expires instanceof Date ? null : milliseconds(given.expires, `${what}: expires`);
  if (countdownMs !== null && expiresMs !== null && expiresMs <= countdownMs) {
    throw new ConfigError(
      'E_CONFIG_CONFLICT',
      `${what}: it would expire (${String(given.expires)}) before it may run (${given.countdown})`,
    );
  }
  const softTimeLimitMs = positiveMs(given.softTimeLimit, `${what}: softTimeLimit`);
  const timeLimitMs = positiveMs(given.timeLimit, `${what}: timeLimit`);
  if (softTimeLimitMs !== null && timeLimitMs !== null && softTimeLimitMs >= timeLimitMs) {
    throw new ConfigError(
      'E_CONFIG_CONFLICT',
      `${what}: softTimeLimit (${given.softTimeLimit}) must be shorter than timeLimit (${given.timeLimit})`,
    );
  }
  return {
    id: given.id ?? null,
    queue: given.queue ?? null,
    exchange: given.exchange ?? null,
    routingKey: given.routingKey ?? null,
    priority: given.priority,
    countdownMs,
    eta: instant(given.eta, `${what}: eta`),
    expiresMs,
    expiresAt: given.expires instanceof Date ? instant(given.expires, `${what}: expires`) : null,
    headers: given.headers ?? null,
    stamps: given.stamps === undefined ? null : resolveStamps(given.stamps, `${what}: stamps`),
    ignoreResult: given.ignoreResult ?? null,
    softTimeLimitMs,
    timeLimitMs,
    dedupe: given.dedupe === undefined ? null : resolveDedupe(given.dedupe, `${what}: dedupe`),
    timeoutMs: positiveMs(given.timeout, `${what}: timeout`),
    signal: given.signal,
  };
}
