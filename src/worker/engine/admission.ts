/**
 * Admission: what is to be done with a delivery that came in. Pure; the headers, the time and the registered names go
 * in, a verdict comes out, and `consumer.ts` carries it out. Source: wire section 11, DESIGN section 5.
 */
import type { Delivery } from '../../brokers/broker.js';
import type { ErrorCode } from '../../core/error-codes.js';
import { codeOf, toError } from '../../core/errors.js';
import type { WireMessage } from '../../wire/message.js';
import { EPOCH_HEADER, LOSSES_HEADER, RESENT_HEADER, SUSPECT_HEADER, UNKNOWN_SINCE_HEADER } from '../../wire/own-headers.js';
import { readTaskHeaders, type TaskHeaders, upgradeProtocol1 } from '../../wire/task-message.js';
import type { TaskFacts } from '../port.js';

/**
 * From so many losses on a task runs alone: a first one may be anybody's fault. That needs `Consumer.secure`. Counted for what a dead
 * worker merely held, the third loss would park those who have two and wait while the one at fault dies alone.
 */
const ALONE_FROM = 2;
/** After so many losses a message is parked as poison. */
export const MAX_LOSSES = 3;

export type Verdict =
  | {
      readonly kind: 'run';
      readonly headers: TaskHeaders;
      readonly message: WireMessage;
      readonly facts: TaskFacts;
      readonly claim: boolean;
      readonly epoch: number;
      /** It needs an executor to itself: workers died under it, or it is suspected of keeping its loop. */
      readonly alone: boolean;
    }
  | { readonly kind: 'expired' | 'revoked'; readonly headers: TaskHeaders }
  | { readonly kind: 'defer'; readonly headers: TaskHeaders; readonly untilMs: number }
  /** Nobody here knows the task: back through the delay store, with the time of the first meeting in a header. */
  | { readonly kind: 'unknown'; readonly headers: TaskHeaders; readonly untilMs: number; readonly message: WireMessage }
  | { readonly kind: 'park'; readonly headers: TaskHeaders | null; readonly code: ErrorCode; readonly reason: string };

export interface AdmissionContext {
  readonly nowMs: number;
  readonly facts: ReadonlyMap<string, TaskFacts>;
  readonly unknownTaskPatienceMs: number;
  /** Whether somebody said that it must not run. */
  readonly isRevoked: (headers: TaskHeaders) => boolean;
  /** When a paused task is to be looked at again; `null` = it is not paused. */
  readonly pausedUntilMs: (task: string) => number | null;
  /** For the jitter of unknown tasks. */
  readonly random: number;
}

/** How many workers or executors died under this delivery, as far as anybody knows. */
export function lossesOf(delivery: Delivery): number {
  return delivery.losses + countOf(delivery.message.headers[LOSSES_HEADER]);
}

/** For people: whose deaths these were. */
function lossesTold(delivery: Delivery, losses: number): string {
  const executors = losses - delivery.losses;
  const parts: string[] = [];
  if (delivery.losses > 0) parts.push(`${delivery.losses} with their worker, whose lease ended`);
  if (executors > 0) parts.push(`${executors} in a living worker, that lost a thread or child process`);
  return `${losses} times the executor died while this task was running: ${parts.join(', ')}`;
}

/** Headers of our own come from the wire like all others: anything but a count is none. */
function countOf(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

/** Whether somebody may have claimed this task before, so that results need an epoch. */
export function wasClaimed(delivery: Delivery): boolean {
  const { headers } = delivery.message;
  return delivery.redelivered || lossesOf(delivery) > 0 || headers[RESENT_HEADER] === true || headers[EPOCH_HEADER] !== undefined;
}

/** A copy of the message with one more header. */
export function withHeader(message: WireMessage, name: string, value: unknown): WireMessage {
  return { ...message, headers: { ...message.headers, [name]: value } };
}

/** 1 s doubling to 30 s with the time already waited, half of it random. */
function unknownDelayMs(waitedMs: number, random: number): number {
  const plain = Math.min(Math.max(1_000, waitedMs), 30_000);
  return Math.round(plain / 2 + (plain / 2) * random);
}

export function admit(delivery: Delivery, context: AdmissionContext): Verdict {
  let headers: TaskHeaders | null;
  let message = delivery.message;
  try {
    headers = readTaskHeaders(message);
    if (headers === null) {
      message = upgradeProtocol1(message);
      headers = readTaskHeaders(message);
    }
  } catch (error) {
    // Whatever it is, a bug of ours too: thrown on, it would take the messages of the whole batch with it.
    return { kind: 'park', headers: null, code: codeOf(error) ?? 'E_INTERNAL', reason: toError(error).message };
  }
  if (headers === null) return { kind: 'park', headers: null, code: 'E_DECODE', reason: 'neither protocol 2 nor protocol 1' };
  const { nowMs } = context;
  if (headers.expiresMs !== null && headers.expiresMs <= nowMs) return { kind: 'expired', headers };
  if (context.isRevoked(headers)) return { kind: 'revoked', headers };
  if (headers.etaMs !== null && headers.etaMs > nowMs) return { kind: 'defer', headers, untilMs: headers.etaMs };
  const pausedUntilMs = context.pausedUntilMs(headers.task);
  if (pausedUntilMs !== null) return { kind: 'defer', headers, untilMs: pausedUntilMs };
  const facts = context.facts.get(headers.task);
  if (facts === undefined) {
    const since = message.headers[UNKNOWN_SINCE_HEADER];
    // A time to come, or no time at all, would keep it waiting for ever.
    const sinceMs = typeof since === 'number' && since >= 0 ? Math.min(since, nowMs) : nowMs;
    const waitedMs = nowMs - sinceMs;
    if (waitedMs >= context.unknownTaskPatienceMs) {
      return {
        kind: 'park',
        headers,
        code: 'E_NOT_REGISTERED',
        reason: `no task named ${JSON.stringify(headers.task)} is registered here, and none appeared for ${Math.round(waitedMs / 1_000)} s`,
      };
    }
    return {
      kind: 'unknown',
      headers,
      untilMs: nowMs + Math.min(unknownDelayMs(waitedMs, context.random), context.unknownTaskPatienceMs - waitedMs),
      message: withHeader(message, UNKNOWN_SINCE_HEADER, sinceMs),
    };
  }
  const losses = lossesOf(delivery);
  if (losses >= MAX_LOSSES) {
    return { kind: 'park', headers, code: 'E_WORKER_LOST', reason: lossesTold(delivery, losses) };
  }
  const alone = losses >= ALONE_FROM || message.headers[SUSPECT_HEADER] === true;
  const claim = delivery.redelivered || losses > 0 || message.headers[RESENT_HEADER] === true;
  return { kind: 'run', headers, message, facts, claim, epoch: countOf(message.headers[EPOCH_HEADER]), alone };
}
