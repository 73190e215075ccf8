/** What `cluster-state.ts` makes of events: workers, tasks and totals. Types only. */

/** What is kept at most. */
export interface ClusterLimits {
  /** @defaultValue 5,000 */
  readonly maxWorkers?: number;
  /** Tasks; the oldest that has ended goes first, then the oldest. @defaultValue 10,000 */
  readonly maxTasks?: number;
  /** How long a worker that is gone, and a task that has ended, are remembered, in milliseconds. @defaultValue one hour */
  readonly keepMs?: number;
}

/** A worker as its events show it. */
export interface ClusterWorker {
  readonly name: string;
  /** By its last word and what it said of the next one. */
  alive: boolean;
  pid: number | null;
  /** Seconds between heartbeats. */
  freq: number;
  active: number | null;
  processed: number | null;
  loadavg: readonly number[] | null;
  /** For example `lovage 0.1.0` or `py-celery 5.6.2`. */
  software: string | null;
  droppedEvents: number;
  /** Wall milliseconds, of this machine. */
  lastSeenMs: number;
  offline: boolean;
}

/** Celery's states; `SENT` is a task of which only its client has told. */
export type ClusterTaskState =
  | 'SENT'
  | 'RECEIVED'
  | 'STARTED'
  | 'RETRY'
  | 'SUCCESS'
  | 'FAILURE'
  | 'REVOKED'
  | 'REJECTED'
  | 'CANCELLED';

/** A task as its events show it; `null` where none has told. Times are wall milliseconds of whoever told. */
export interface ClusterTask {
  readonly id: string;
  name: string | null;
  state: ClusterTaskState;
  worker: string | null;
  queue: string | null;
  args: string | null;
  kwargs: string | null;
  rootId: string | null;
  parentId: string | null;
  retries: number | null;
  eta: string | null;
  expires: string | null;
  sentAtMs: number | null;
  receivedAtMs: number | null;
  startedAtMs: number | null;
  endedAtMs: number | null;
  /** Milliseconds. */
  runtimeMs: number | null;
  result: string | null;
  exception: string | null;
  traceback: string | null;
}

/** Totals of one task name. */
export interface ClusterTaskName {
  readonly name: string;
  succeeded: number;
  failed: number;
  retried: number;
  runtimeMs: number;
  longestMs: number;
}

export interface ClusterTotals {
  events: number;
  received: number;
  succeeded: number;
  failed: number;
  retried: number;
  revoked: number;
}
