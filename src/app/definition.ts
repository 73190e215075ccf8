/**
 * What the app knows of a task and the executor needs to run it. Types only: made by `task.ts`, used by
 * `worker/executor/execute.ts`.
 */
import type { BackoffPolicy } from '../core/backoff.js';
import type { TaskContext } from './task-context.js';

/** The retry policy with every default filled in. */
export interface ResolvedRetryPolicy extends BackoffPolicy {
  /** Retries after the first try; `Infinity` only for `max: 'unlimited'`. */
  readonly max: number;
  /** Whether this error is worth another try: by class, code or predicate of `on` and `notOn`. */
  isRetryable(error: unknown): boolean;
}

/** Task options with every default filled in. */
export interface ResolvedTaskOptions {
  /** The queue named at the task, if any; routes come next, then the app's default queue. */
  readonly queue: string | null;
  /** `null`: the first failure is final. */
  readonly retry: ResolvedRetryPolicy | null;
  readonly softTimeLimitMs: number | null;
  readonly timeLimitMs: number | null;
  /** As text; `null` = none. */
  readonly rateLimit: string | null;
  readonly ack: 'late' | 'early';
  readonly ignoreResult: boolean;
  readonly resultTtlMs: number | null;
  readonly trackStarted: boolean;
  /** Errors that are expected: logged in one line, without a stack. */
  isExpected(error: unknown): boolean;
}

/** A registered task. */
export interface TaskDefinition {
  readonly name: string;
  readonly options: ResolvedTaskOptions;
  /**
   * Binds what arrived (positions, keywords, or one object for object tasks) to the handler, parses it, runs it and
   * parses the output.
   * @throws ArgumentError `E_ARGUMENTS` before the handler runs
   */
  execute(args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>, context: TaskContext): unknown;
  readonly onSuccess: ((result: unknown, context: TaskContext) => unknown) | null;
  readonly onFailure: ((error: unknown, context: TaskContext) => unknown) | null;
  readonly onRetry: ((error: unknown, context: TaskContext) => unknown) | null;
  readonly onExhausted: ((error: unknown, context: TaskContext) => unknown) | null;
}
