/** The public face of a worker. The worker itself lives in `worker/`, which the app must not know; `index.ts` joins them. */
import type { ByteSize } from '../core/byte-size.js';
import type { Duration } from '../core/duration.js';
import type { Logger } from '../core/logger.js';
import type { WorkerReport } from '../core/worker-report.js';

/** Options of `app.worker()`; the command line has the same. */
export interface WorkerOptions {
  /** Node name; `%h` is the host, `%p` the process id. @defaultValue `'lovage@%h'` */
  readonly name?: string;
  /**
   * Queues to consume, with their shares of the slots: `{ celery: 40, slow: 10 }`, `['celery', 'slow']` or `'celery:40,slow:10'`.
   * Without numbers no queue may take the last slot.
   * @defaultValue the app's default queue
   */
  readonly queues?: string | readonly string[] | Readonly<Record<string, number>>;
  /**
   * Where user code runs: `'threads'` (worker threads; the connections stay on this thread), `'processes'` (child processes: real
   * isolation, a memory limit, recycling), `'async'` (this thread; the
   * connections move to a thread of their own) or `'inline'` (one loop for both: quick, and without that protection).
   * @defaultValue `'threads'` with `module`, else `'async'` (`'inline'` on a `memory:` broker)
   */
  readonly pool?: 'threads' | 'processes' | 'async' | 'inline';
  /** Number of threads. @defaultValue 2 */
  readonly threads?: number;
  /** Number of child processes. @defaultValue 2 @remarks Source: Celery `worker_concurrency` of its pool `prefork`. */
  readonly processes?: number;
  /**
   * Lets the number of threads or processes follow the load: one more while every slot is busy, one less once as many slots as it
   * has have been free for 30 s. `concurrency` counts for the least of them. Changed live by the remote command `autoscale`.
   * @defaultValue the number stays
   * @throws ConfigError `E_CONFIG_CONFLICT` with another pool, or with `threads` or `processes`
   * @remarks Source: Celery's `worker --autoscale`.
   */
  readonly autoscale?: { readonly max: number; readonly min?: number };
  /**
   * A child is replaced after so many tasks, whatever became of them: those that it runs end first, and its `onStop` hooks run.
   * @defaultValue no limit
   * @remarks Source: Celery `worker_max_tasks_per_child`.
   */
  readonly maxTasksPerChild?: number;
  /**
   * A child whose resident memory is beyond this after a task is replaced in the same way, for example `'300MiB'`. It must leave room
   * for the app itself, or each child is replaced after its first task.
   * @defaultValue no limit
   * @throws ConfigError `E_CONFIG_RANGE` when it is not a size
   * @remarks Source: Celery `worker_max_memory_per_child`.
   */
  readonly maxMemoryPerChild?: ByteSize;
  /** Keeps one more child ready, which takes the place of one that is replaced or has died at once. @defaultValue true */
  readonly spare?: boolean;
  /** How many tasks may run at once in all. @defaultValue the shares of the queues, at least 10 a thread or process */
  readonly concurrency?: number;
  /** `import.meta.url` of the module that exports the app: threads and processes load it. */
  readonly module?: string;
  /** How long running tasks may still finish after a stop. @defaultValue `'25s'` @remarks Source: Celery `worker_soft_shutdown_timeout`. */
  readonly grace?: Duration;
  /** How long a task stays ours without a sign of life: after a crash others wait this long. @defaultValue `'15s'` */
  readonly lease?: Duration;
  /** Soft time limit of tasks and calls that have none of their own: the signal aborts. @defaultValue none @remarks Source: Celery `task_soft_time_limit`. */
  readonly softTimeLimit?: Duration;
  /** Hard time limit of tasks and calls that have none of their own. @defaultValue none @remarks Source: Celery `task_time_limit`. */
  readonly timeLimit?: Duration;
  /** How long a task that is not registered here waits for a worker that knows it. @defaultValue `'10m'` */
  readonly unknownTaskPatience?: Duration;
  /** Tries to reach the broker at the start before giving up with `E_BROKER_UNREACHABLE`. @defaultValue for ever */
  readonly connectTries?: number;
  /**
   * An HTTP server beside the connections with `/livez`, `/readyz`, `/metrics` and `/report`; it goes on answering while tasks block
   * (except in pool `'inline'`), and no answer costs a message to the broker. Port 0 takes any free one; `report()` says which.
   * @defaultValue none; the host is `'127.0.0.1'`
   * @throws ConfigError `E_HEALTH` from `app.worker()` when the port is taken
   */
  readonly health?: { readonly port?: number; readonly host?: string };
  /** A file that is written anew every 5 s while the worker lives, and removed when it ends: probes look at its age. @defaultValue none */
  readonly heartbeatFile?: string;
  /** When this worker sends events for monitors: `true` always, `'on-demand'` while somebody listens, `false` not unless it is asked to. @defaultValue the app's `events` @remarks Source: Celery's `worker -E`. */
  readonly events?: boolean | 'on-demand';
  readonly logger?: Logger;
}

/** What a worker has done and is doing. */
export interface WorkerStats {
  readonly received: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly retried: number;
  readonly active: number;
}

/** A running worker. */
export interface Worker {
  /** Stops taking tasks, lets running ones finish within `grace`, hands the rest back. Calling it again hurries. */
  close(): Promise<void>;
  /** Resolves when the worker has ended, for whatever reason. */
  readonly done: Promise<{ readonly exitCode: number }>;
  stats(): Promise<WorkerStats>;
  /** What it knows of itself: run times a task, whether it is ready and if not why, and findings in words. Bounded; costs the broker nothing. */
  report(): Promise<WorkerReport>;
  [Symbol.asyncDispose](): Promise<void>;
}
