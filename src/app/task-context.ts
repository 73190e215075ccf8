/**
 * The context of a running task: second argument of `run`, and `taskContext()` anywhere below it. The type and the
 * AsyncLocalStorage live here; the executor makes the contexts.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Duration } from '../core/duration.js';
import { TaskError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { WireSignature } from '../wire/signature.js';
import type { Signature } from './workflows/signature-types.js';

/** What a running task knows and can do. */
export interface TaskContext {
  readonly id: string;
  readonly name: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly queue: string;
  /** 1 for the first try. */
  readonly attempt: number;
  /** `retry.max + 1`; 1 without a policy; `Infinity` for `max: 'unlimited'`. */
  readonly maxAttempts: number;
  readonly rootId: string;
  readonly parentId: string | null;
  readonly groupId: string | null;
  /** User headers of the message. */
  readonly headers: Readonly<Record<string, unknown>>;
  /** Stamps of the message, by name. */
  readonly stamps: Readonly<Record<string, unknown>>;
  readonly eta: Date | null;
  readonly expires: Date | null;
  /** A worker may have started this delivery before. */
  readonly redelivered: boolean;
  /** Aborts on the soft time limit, shutdown, revocation or a lost lease; `reason` is an error with a code. */
  readonly signal: AbortSignal;
  /** A logger whose lines carry the task's id and name. */
  readonly log: Logger;
  /** State PROGRESS with `{ current, total, note? }`. */
  progress(current: number, total?: number, note?: string): void;
  /** A state of the task's own, with data that `handle.status()` and Celery's `AsyncResult.info` show. */
  updateState(state: string, meta: unknown): void;
  /**
   * Tells whoever listens to events something of the task's own, for example `sendEvent('task-page', { page: 3 })`. Sent while somebody
   * listens, and dropped when there are too many: for what must arrive use `progress`, `updateState` or a task.
   * @param type begins with `task-`, and is none of Celery's own
   * @param fields at most 16 KiB of JSON
   * @throws ConfigError `E_CONFIG_RANGE`; ArgumentError `E_NOT_SERIALISABLE`, `E_MESSAGE_TOO_LARGE`
   * @remarks Source: Celery's `Task.send_event`.
   */
  sendEvent(type: string, fields?: Readonly<Record<string, unknown>>): void;
  /**
   * Runs `work` unless a step of this name has finished in an earlier try of the task, and gives what it gave. So a task that is retried,
   * or delivered again after its worker died, goes on behind its last finished step. A step that was not finished runs again.
   *
   * What a step gives has to travel as JSON, and comes back as it does from the store (a function or a class is gone). Kept for the
   * `resultTtl` of the task after its last step, 24 h where results are kept for ever, and removed when the task has succeeded.
   * In `task.run()` steps are kept for that call alone.
   * @param name one of its own for each step of the task, and the same in each try; 1 to 200 characters
   * @throws ResultError `E_STEP_NEEDS_STORE` with `rpc:` results; ArgumentError `E_NOT_SERIALISABLE`, and `E_STEP_LIMIT` beyond 1,000
   * steps or 256 KiB of JSON; TaskError `E_STEP_BUSY`, and `E_LEASE_LOST` when another worker has the task; ConfigError `E_CONFIG_RANGE`
   */
  step<T>(name: string, work: () => T | PromiseLike<T>): Promise<T>;
  /**
   * Makes the value to throw for a workflow that takes the place of the task: `throw ctx.replace(chain(a.si(1), b.s()))`. Its end has the
   * id of the task, so whoever waits for that gets its result; callbacks, errbacks, the rest of a chain and the chord that the task was
   * a part of go over to it. A group gives the list of its results. Nothing is stored for the task itself.
   * @remarks Source: Celery's `Task.replace`.
   */
  replace(signature: Signature<[], unknown, string, unknown>): ReplaceSignal;
  /**
   * Sends one more part for the chord that this task is a part of; its body waits for that too, and has its result behind all others.
   * Resolves with the id of the part. Called again by a later try it adds nothing new, as long as the tries add the same.
   * @throws TaskError `E_NO_CHORD`; BrokerError `E_NOT_SUPPORTED` where the store takes none; PublishError
   * @remarks Source: Celery's `Task.add_to_chord`.
   */
  addToChord(signature: Signature<[], unknown, string, unknown>): Promise<string>;
  /** Makes the value to throw for another try: `throw ctx.retry({ in: '60s' })`. Counts as a retry of the policy (3 without one). */
  retry(options?: { readonly in?: Duration; readonly because?: unknown }): RetrySignal;
}

/** Thrown to ask for another try. Not a failure, hence no LovageError. */
export class RetrySignal extends Error {
  readonly steer = 'retry';
  readonly delayMs: number | null;
  constructor(delayMs: number | null, because?: unknown) {
    super('the task asked for another try', { cause: because });
    this.name = 'Retry';
    this.delayMs = delayMs;
  }
}

/** Thrown to give the place of the task to a workflow. Not a failure, hence no LovageError. */
export class ReplaceSignal extends Error {
  readonly steer = 'replace';
  override readonly name = 'Replace';
  readonly signature: { toJSON(): WireSignature };
  constructor(signature: { toJSON(): WireSignature }) {
    super('the task was replaced by a workflow');
    this.signature = signature;
  }
}

/** Throw this to end a task without storing any outcome (Celery's `Ignore`). */
export class Ignore extends Error {
  readonly steer = 'ignore';
  override readonly name = 'Ignore';
}

/** Throw this to refuse the message: dropped, or with `requeue` put back (Celery's `Reject`). */
export class Reject extends Error {
  readonly steer = 'reject';
  override readonly name = 'Reject';
  readonly requeue: boolean;
  constructor(reason?: string, options: { readonly requeue?: boolean } = {}) {
    super(reason ?? 'rejected');
    this.requeue = options.requeue ?? false;
  }
}

/** How many ids of what it sent a result lists; the tasks themselves are not limited. */
export const MAX_CHILDREN = 1_000;

/** What the storage holds: the context, and the ids of what was sent from inside (at most `MAX_CHILDREN`). */
export interface ActiveRun {
  readonly context: TaskContext;
  readonly children: string[];
}

const ACTIVE_RUN = Symbol.for('lovage.activeRun');
const shared = globalThis as { [ACTIVE_RUN]?: AsyncLocalStorage<ActiveRun> };

/** One storage a thread, whatever number of copies of the package are loaded: the command line's and the app's must agree. */
export const activeRun: AsyncLocalStorage<ActiveRun> = (shared[ACTIVE_RUN] ??= new AsyncLocalStorage<ActiveRun>());

/**
 * The context of the task that is running here.
 * @throws TaskError `E_NO_CONTEXT` outside a task
 */
export function taskContext(): TaskContext {
  const run = activeRun.getStore();
  if (!run)
    throw new TaskError(
      'E_NO_CONTEXT',
      'taskContext() was called outside a running task: call it below the function given to app.task or app.fn',
    );
  return run.context;
}
