/** One executor in the engine's books, and what the engine does about its executors. The books are kept in `executors.ts`. */
import type { EngineEnd, FromExecutor, RunRequest } from '../../port.js';
import type { ActiveRun } from '../state.js';

export interface ExecutorSlot {
  readonly end: EngineEnd;
  /** `starting` until it is opened; `retiring` takes no new runs; `stopped` has run its onStop hooks. */
  state: 'starting' | 'open' | 'retiring' | 'stopped';
  /** Runs that it may be given at this moment. */
  free: number;
  /** Runs that it has. */
  busy: number;
  /** Runs that it may be given until it is spent. */
  left: number;
  /** Emptied within the turn. */
  outbox: RunRequest[];
}

/** What the engine does about its executors. */
export interface ExecutorsOptions {
  /** How many work at a time. */
  readonly count: number;
  /** Runs at once in each. */
  readonly slotsEach: number;
  /** Runs in each until it is spent; `null` = no limit. */
  readonly runsEach: number | null;
  onMessage(executor: number, message: FromExecutor): void;
  /** A run is being given to an executor. */
  onGiven(run: ActiveRun): void;
  /** It was given its last run. */
  onSpent(executor: number): void;
  /** It was retired, and what it had has ended. */
  onEmpty(executor: number): void;
}
