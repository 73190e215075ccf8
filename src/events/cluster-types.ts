/** What `cluster-state.ts` makes of events: workers, tasks and totals. Types only. */

/** What a `ClusterState` keeps at most. */
export interface ClusterLimits {
  /** Workers; the one that was not heard of for longest goes first. @defaultValue 5,000 */
  readonly maxWorkers?: number;
  /** Tasks; the oldest that has ended goes first, then the oldest. @defaultValue 10,000 */
  readonly maxTasks?: number;
  /** How long a worker that is gone, and a task that has ended, are remembered, in milliseconds. @defaultValue one hour */
  readonly keepMs?: number;
}

/** A worker as its events show it. */
export interface ClusterWorker {
  /** Node name. */
  readonly name: string;
  /** By its last word and what it said of the next one. */
  readonly alive: boolean;
  /** Process id. */
  readonly pid: number | null;
  /** Seconds between heartbeats. */
  readonly freq: number;
  /** Tasks that it runs, or that wait for a slot there. */
  readonly active: number | null;
  /** Tasks that it has run. */
  readonly processed: number | null;
  /** Load of its machine over 1, 5 and 15 minutes. */
  readonly loadavg: readonly number[] | null;
  /** For example `lovage 0.1.0` or `py-celery 5.6.2`. */
  readonly software: string | null;
  /** Events that it could not send in time. */
  readonly droppedEvents: number;
  /** Wall milliseconds, of this machine. */
  readonly lastSeenMs: number;
  /** It has said that it stops. */
  readonly offline: boolean;
}

/** Celery's states; `SENT` is a task of which only its client has told, `CANCELLED` one whose worker has lost it. */
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

/** A task as its events show it; `null` where none has told. Times are wall milliseconds of whoever told; texts are cut. */
export interface ClusterTask {
  readonly id: string;
  /** Its name, or its display name. */
  readonly name: string | null;
  readonly state: ClusterTaskState;
  /** Node name of the worker that told last. */
  readonly worker: string | null;
  /** Told by its client only. */
  readonly queue: string | null;
  /** Arguments as text. */
  readonly args: string | null;
  /** Keyword arguments as text. */
  readonly kwargs: string | null;
  /** Id of the first task of its workflow. */
  readonly rootId: string | null;
  /** Id of the task that sent it. */
  readonly parentId: string | null;
  /** How many times it was tried before. */
  readonly retries: number | null;
  /** ISO time before which it must not run. */
  readonly eta: string | null;
  /** ISO time after which it must not run. */
  readonly expires: string | null;
  /** When the broker had it. */
  readonly sentAtMs: number | null;
  /** When a worker last took it. */
  readonly receivedAtMs: number | null;
  /** When it began to run, if it still runs or has ended. */
  readonly startedAtMs: number | null;
  /** When it ended for good. */
  readonly endedAtMs: number | null;
  /** Milliseconds that it ran. */
  readonly runtimeMs: number | null;
  /** What it returned, as text. */
  readonly result: string | null;
  /** Its last error, as text. */
  readonly exception: string | null;
  /** The stack of that error. */
  readonly traceback: string | null;
}

/** Totals of one task name, since the first event. */
export interface ClusterTaskName {
  /** `'(other)'` sums up the names beyond the first 999. */
  readonly name: string;
  readonly succeeded: number;
  readonly failed: number;
  readonly retried: number;
  /** Milliseconds of those that succeeded. */
  readonly runtimeMs: number;
  /** Milliseconds of the longest that succeeded. */
  readonly longestMs: number;
}

/** How many events of each kind there were. */
export interface ClusterTotals {
  /** Of all kinds. */
  readonly events: number;
  readonly received: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly retried: number;
  readonly revoked: number;
}
