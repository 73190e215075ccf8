/**
 * The pool seam: where a worker's engine and its executors live. A pool starts both, joins them by ports, and answers
 * for executors that die. Pools: `threads`, `processes`, `async`, `inline`.
 */
import type { App } from '../../app/app.js';
import type { LogFormat, LogLevel } from '../../core/log-output.js';
import type { Logger } from '../../core/logger.js';
import type { WorkerReport } from '../../core/worker-report.js';
import type { EngineCounters } from '../engine/state.js';
import type { ResolvedWorkerOptions } from '../options.js';

/** The app itself (it lives on this thread), or the file that an executor loads it from. */
export type AppSource = { readonly app: App } | { readonly file: string; readonly exportName: string | null };

/**
 * How the parts of a worker log; can be cloned. `forward`: through the caller's own logger, which lives on its own thread only,
 * so that the lines of other threads and processes cross the port to it.
 */
export type LogSettings = { readonly level: LogLevel; readonly format: LogFormat } | 'forward';

export interface PoolSetup {
  readonly options: ResolvedWorkerOptions;
  readonly source: AppSource;
  readonly logger: Logger;
  readonly log: LogSettings;
  /** Called when a running worker cannot go on. */
  onFatal(error: Error): void;
}

export interface WorkerStats extends EngineCounters {
  /** Tasks that run now, or wait for a slot. */
  readonly active: number;
}

/** How a stop went. `handBackFailed`: unfinished deliveries come back only when their lease ends. */
export interface StopReport {
  readonly handedBack: number;
  readonly handBackFailed: boolean;
  /** An executor is inside a native call and cannot be ended: `process.exit()` would wait for it. */
  readonly stuck?: boolean;
}

/** A started pool. */
export interface RunningPool {
  /**
   * Warm stop; called again it hurries.
   * @param crash user code broke the process that it shares with the worker: what it had started goes back with the loss counted,
   * or a task that does so each time would do it for ever
   */
  stop(graceMs: number, crash?: string): Promise<StopReport>;
  stats(): Promise<WorkerStats>;
  /** What the worker knows of itself. */
  report(): Promise<WorkerReport>;
  /** Resolves with the reason when remote control asks this worker to stop. */
  readonly askedToStop: Promise<string>;
}
