/** The form of what a worker says of itself: `worker.report()`, `/report`, `lovage report`. Types only; made in `worker/engine/health/vitals.ts`. */

/** Why a worker cannot take tasks now. */
export interface NotReady {
  readonly code:
    | 'starting'
    | 'stopping'
    | 'broker-disconnected'
    | 'broker-silent'
    | 'no-executor'
    | 'executors-blocked'
    | 'results-behind';
  readonly message: string;
}

/** What the runs of one task from one queue have been like. Times are those of the executor. */
export interface TaskRunTimes {
  readonly queue: string;
  /** `'(other)'` sums up the tasks beyond the first 1,000 names. */
  readonly task: string;
  /** Since the start. */
  readonly runs: number;
  readonly failures: number;
  readonly retries: number;
  readonly totalMs: number;
  readonly meanMs: number;
  /** Of the last 8,000 runs or so, to a fifth. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** How late runs began that had a time to begin at (countdown, eta, retry); `null`: there were none. */
  readonly lateMeanMs: number | null;
  /** Milliseconds since the last run ended. */
  readonly idleMs: number;
}

/** Something that a person should know, in words and with figures. */
export interface Finding {
  readonly code: 'mixed-queue' | 'endless-retry' | 'blocked-loop' | 'lost-deliveries' | 'abandoned-tasks' | 'broker-warning';
  readonly text: string;
}

/** What a worker knows of itself; bounded, whatever it has run. */
export interface WorkerReport {
  readonly name: string;
  readonly uptimeMs: number;
  /** Where the health server listens, if there is one. */
  readonly health: { readonly host: string; readonly port: number } | null;
  readonly ready: boolean;
  readonly notReady: readonly NotReady[];
  readonly slots: number;
  readonly active: number;
  readonly executors: number;
  readonly blockedExecutors: number;
  /** Totals since the start, by name. */
  readonly counters: Readonly<Record<string, number>>;
  /** The most time-consuming first. */
  readonly tasks: readonly TaskRunTimes[];
  readonly findings: readonly Finding[];
}
