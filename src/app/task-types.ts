/** Types only: what a task looks like to its callers. Made by `task.ts`; the constructors are on `app.ts`. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { CallOptions } from './call-options.js';
import type { Behind, By, Signature } from './signature-types.js';
import type { TaskContext } from './task-context.js';
import type { TaskHandle } from './task-handle.js';
import type { RemoteTaskOptions, TaskOptions } from './task-options.js';
import type { WireSafeArguments, WireSafeResult } from './wire-safe.js';

/** One row of `sendMany`. Deadline and signal are those of the whole call: `task.with({ timeout, signal }).sendMany(rows)`. */
export interface SendRow<A extends readonly unknown[]> {
  readonly args: A;
  readonly options?: Omit<CallOptions, 'timeout' | 'signal'>;
}

/** A task with call options: `task.with({ … })`. */
export interface BoundTask<A extends readonly unknown[], R, N extends string = string, B extends By = 'position'> {
  /**
   * Sends the task; resolves once the broker has confirmed.
   * @throws ArgumentError `E_ARGUMENTS`, `E_NOT_SERIALISABLE`, `E_MESSAGE_TOO_LARGE`: nothing was sent
   * @throws PublishError `E_PUBLISH_FAILED`, `E_PUBLISH_TIMEOUT`, …, with `taskId` and `outcome`; repeat it with `with({ id })`
   */
  send(...args: A): Promise<TaskHandle<R>>;
  /**
   * Sends many at once, a thousand rows a round trip, and settles each row by itself. The deadline counts for each thousand.
   * @throws SendManyError if a row failed; `results` tells which, and the other rows were sent
   */
  sendMany(rows: readonly SendRow<A>[]): Promise<TaskHandle<R>[]>;
  /**
   * A call to make later, whose first argument the link before it gives; an object task gets an object, and these fields over it.
   * @throws ConfigError `E_CONFIG_CONFLICT`
   * @remarks Source: Celery's `Task.s`.
   */
  readonly s: Behind<A, R, N, B>;
  /**
   * A call to make later with exactly these arguments.
   * @throws ConfigError `E_CONFIG_CONFLICT`
   * @remarks Source: Celery's `Task.si`.
   */
  si(...args: A): Signature<[], R, N>;
}

/** A task that can be sent. Not callable, so a forgotten `send` does not compile. */
export interface RemoteTask<A extends readonly unknown[], R, N extends string = string, B extends By = 'position'>
  extends BoundTask<A, R, N, B> {
  readonly name: N;
  /**
   * Options for the calls made with what this returns.
   * @throws ConfigError `E_CONFIG_*`
   */
  with(options: CallOptions): BoundTask<A, R, N, B>;
}

/** A task of this app: it can be sent, and run in place. */
export interface Task<A extends readonly unknown[], R, N extends string = string, B extends By = 'position'>
  extends RemoteTask<A, R, N, B> {
  /**
   * Runs the handler here and now, without broker, worker, retries or limits: for unit tests. Inside a running task it
   * shares that task's context.
   */
  run(...args: A): Promise<R>;
}

/** Input and output types of a schema. */
export type InputOf<S extends StandardSchemaV1> = StandardSchemaV1.InferInput<S>;
export type OutputOf<S extends StandardSchemaV1> = StandardSchemaV1.InferOutput<S>;

/** Any schema whose input is an object: its fields travel as keywords. */
export type ObjectSchema = StandardSchemaV1<object, unknown>;

/** Definition of an object task without output schema; `Returned` is what `run` returns, a promise or not. */
export interface ObjectTask<S extends ObjectSchema, Returned, N extends string> extends TaskOptions<Awaited<NoInfer<Returned>>> {
  readonly name: N;
  /** Validates at `send()`, which sends what was given, and parses on the worker. */
  readonly input: S & WireSafeArguments<readonly [InputOf<S>]>;
  readonly output?: undefined;
  readonly run: (input: OutputOf<S>, context: TaskContext) => Returned & WireSafeResult<Awaited<Returned>>;
}

/** Definition of an object task whose result is parsed on the worker. */
export interface CheckedObjectTask<S extends ObjectSchema, O extends StandardSchemaV1, N extends string>
  extends TaskOptions<OutputOf<NoInfer<O>>> {
  readonly name: N;
  /** Validates at `send()`, which sends what was given, and parses on the worker. */
  readonly input: S & WireSafeArguments<readonly [InputOf<S>]>;
  /** Parses what `run` returned; what comes out travels. */
  readonly output: O & WireSafeResult<OutputOf<O>>;
  readonly run: (input: OutputOf<S>, context: TaskContext) => InputOf<O> | Promise<InputOf<O>>;
}

/** Options of `app.fn`. */
export interface FnOptions<R> extends TaskOptions<R> {
  /**
   * Names of the parameters in order, so that callers (Python's, above all) can use keywords. `'name?'` is optional, a
   * last `'...name'` takes any number, and `'**name'` lets other keywords through to `taskContext().kwargs`.
   */
  readonly params?: readonly string[];
}

/** Arguments of a remote task: a tuple goes by position, an object by keyword. */
export type RemoteArguments<A extends object> = A extends readonly unknown[] ? A : [input: A];

/** Types are gone at run time, so a task that takes keywords says so. */
export type RemoteRest<A extends object> = A extends readonly unknown[]
  ? [options?: RemoteTaskOptions & { readonly by?: 'position' }]
  : [options: RemoteTaskOptions & { readonly by: 'keyword' }];

/** How they travel. */
export type RemoteBy<A extends object> = A extends readonly unknown[] ? 'position' : 'object';
