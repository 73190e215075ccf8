/** Types only: what a task looks like to its callers. Made by `task.ts`; the constructors are on `app.ts`. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { CallOptions } from './call-options.js';
import type { TaskContext } from './task-context.js';
import type { TaskHandle } from './task-handle.js';
import type { RemoteTaskOptions, TaskOptions } from './task-options.js';
import type { WireSafeArguments, WireSafeResult } from './wire-safe.js';
import type { GroupHandle } from './workflows/group-handle.js';
import type { Behind, By, Signature } from './workflows/signature-types.js';

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
  /**
   * One task that calls this one for each row, one after the other, and gives the list of what they return. Each row is the first
   * argument. Limits and retries of this task do not count in it: those of the whole are given by `with()`.
   * @throws ArgumentError `E_ARGUMENTS` for what is no list; ConfigError `E_CONFIG_CONFLICT`
   * @remarks Source: Celery's `Task.map` (`xmap`).
   */
  map(rows: MapRows<A>): Signature<[], R[], 'celery.map'>;
  /**
   * As `map`, with all arguments in each row.
   * @throws ArgumentError `E_ARGUMENTS` for what is no list of lists; ConfigError `E_CONFIG_CONFLICT`
   * @remarks Source: Celery's `Task.starmap` (`xstarmap`).
   */
  starmap(rows: readonly A[]): Signature<[], R[], 'celery.starmap'>;
  /**
   * A group of `starmap` tasks with so many rows each: a message for each chunk instead of one for each row. Gives a list of results
   * for each chunk.
   * @param size 1 or more
   * @throws ArgumentError `E_ARGUMENTS`; ConfigError `E_CONFIG_RANGE`, `E_CONFIG_CONFLICT`
   * @remarks Source: Celery's `Task.chunks`.
   */
  chunks(rows: readonly A[], size: number): Signature<[], R[][], 'celery.group', GroupHandle<R[][]>>;
}

/** What `map` goes through: first arguments, of a task that needs no second one. */
export type MapRows<A extends readonly unknown[]> = A extends readonly []
  ? NeedsOneArgument
  : [A[0]] extends A
    ? readonly A[0][]
    : NeedsOneArgument;

/** Shown by the compiler. */
export interface NeedsOneArgument {
  readonly error: 'map() gives one argument a row, and this task takes none or needs more: use starmap()';
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

/** What `app.task` takes, after the compiler has had its say. */
export interface AnyObjectTask extends TaskOptions<never> {
  readonly name: string;
  readonly input: StandardSchemaV1;
  readonly output?: StandardSchemaV1 | undefined;
  readonly run: (input: never, context: TaskContext) => unknown;
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
