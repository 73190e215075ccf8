/**
 * What the engine holds at this moment: runs that were handed to an executor. Owned by the engine, bounded by the
 * broker's credit (one entry a delivery that is out).
 */
import type { Delivery } from '../../brokers/broker.js';
import type { WireMessage } from '../../wire/message.js';
import type { TaskHeaders } from '../../wire/task-message.js';
import type { TaskFacts } from '../port.js';

/** A delivery on its way through an executor. */
export interface ActiveRun {
  readonly run: number;
  readonly delivery: Delivery;
  /** The delivery's message, or its protocol 2 form if it came in protocol 1. */
  readonly message: WireMessage;
  readonly headers: TaskHeaders;
  readonly facts: TaskFacts;
  /** 0 on a first delivery; else what the result store gave when the redelivered task was claimed. */
  readonly epoch: number;
  /** A worker or executor died under it: it gets an executor to itself, so that no innocent neighbour is lost with it. */
  readonly alone: boolean;
  /** Acked before it ran (`ack: 'early'`): nothing is left to settle but the result. */
  readonly settled: boolean;
  /** The limits that hold for this run, in milliseconds; `null` = none. */
  readonly softTimeLimitMs: number | null;
  readonly timeLimitMs: number | null;
  /** Number of the executor it was given to; -1 while it waits for one. */
  executor: number;
  /** Monotonic milliseconds when it was given there, and how long that executor had been blocked in all by then. */
  startedMs: number;
  blockedBeforeMs: number;
  /** Number of the signal that it was told to end with; `null` if nobody knows such a signal. Absent: nobody has told it. */
  terminatedBy?: number | null;
  /** It has asked for steps, so they have to go when it has succeeded. */
  hasSteps?: true;
}

/** Counters for `stats()`, the last log line and tests. They are totals since the start. */
export interface EngineCounters {
  received: number;
  succeeded: number;
  failed: number;
  retried: number;
  expired: number;
  /** Ended by a revoke, before they began or while they ran. */
  revoked: number;
  deferred: number;
  parked: number;
  handedBack: number;
  /** Outcomes refused because the lease was lost or another worker claimed the task. */
  fenced: number;
  /** Ended by the hard limit while they yielded: their code may still go on, and counts for nothing. */
  abandoned: number;
  /** Deliveries dropped because their result was final already. */
  duplicates: number;
}

export function newCounters(): EngineCounters {
  return {
    received: 0,
    succeeded: 0,
    failed: 0,
    retried: 0,
    expired: 0,
    revoked: 0,
    deferred: 0,
    parked: 0,
    handedBack: 0,
    fenced: 0,
    abandoned: 0,
    duplicates: 0,
  };
}
