/**
 * Stop 1 of the walk: a task as its callers see it. `send` checks the arguments and hands them to the publisher; `run`
 * runs the handler in place. Also makes the definition that the executor runs. Next stop: `publish.ts`.
 */
import { destinationOf } from '../canvas/routes.js';
import { ArgumentError, ConfigError, TaskError } from '../core/errors.js';
import type { Destination } from '../wire/message.js';
import { type Args, bindObject, type Kwargs, oneObject, positionalBinder, trimmed } from './bind.js';
import { type CallOptions, NO_CALL_OPTIONS, type ResolvedCallOptions, resolveCallOptions } from './call-options.js';
import type { AppConfig } from './config.js';
import { checkObject } from './config-schema.js';
import type { ResolvedTaskOptions, TaskDefinition } from './definition.js';
import { resolveExchangeRoute } from './exchange-route.js';
import { runInline } from './inline-context.js';
import type { PreparedCall, Publisher } from './publish.js';
import type { Route } from './router.js';
import { SendManyError, type SendManyResult } from './send-many-error.js';
import type { TaskContext } from './task-context.js';
import type { TaskHandle } from './task-handle.js';
import {
  checkRemoteOptions,
  FN_OPTION_KEYS,
  OBJECT_OPTION_KEYS,
  REMOTE_OPTION_KEYS,
  type RemoteTaskOptions,
  resolveTaskOptions,
  type TaskOptions,
} from './task-options.js';
import type { AnyObjectTask, BoundTask, RemoteTask, SendRow, Task } from './task-types.js';
import { type Eventually, isSchema, isThenable, validate } from './validate.js';
import type { SignatureHost } from './workflows/signature.js';
import { signaturesOf } from './workflows/task-signatures.js';

/** What tasks need of their app. */
export interface TaskHost {
  readonly config: AppConfig;
  readonly publisher: Publisher;
  readonly signatures: SignatureHost;
  handle(id: string, keepsResult: boolean, deduplicated: boolean, etaMs: number | null): TaskHandle<unknown>;
}

/** What all callers of one task share. */
interface TaskCore {
  readonly host: TaskHost;
  readonly name: string;
  readonly queue: string | null;
  readonly priority: number | undefined;
  readonly ignoreResult: boolean;
  /** Whether calls with a time wait where workers of any make find them. */
  readonly anyWorker: boolean;
  /** Whether the one argument is an object that travels as keywords. */
  readonly byKeyword: boolean;
  /** Checks arguments before they are sent; what it returns is only awaited. */
  check(args: Args): Eventually<unknown>;
}

/** Any options, after the compiler has had its say. */
type AnyTaskOptions = TaskOptions<never>;

const NO_ARGS: Args = Object.freeze([]);
const NO_KWARGS: Kwargs = Object.freeze({});
const POSITION_KEYS: ReadonlySet<string> = new Set([...REMOTE_OPTION_KEYS, 'by']);

// --- sending

/** Route and options of a call, worked out once for all its sends. */
function prepare(core: TaskCore, options: ResolvedCallOptions): PreparedCall {
  const { config } = core.host;
  const route = config.router.find(core.name);
  const ignoreResult = options.ignoreResult ?? core.ignoreResult;
  return {
    task: core.name,
    to: byExchange(core, options) ?? destinationOf(options.queue ?? core.queue, route, config.defaultQueue),
    priority: options.priority ?? core.priority ?? route?.priority,
    // Tells the worker to look whether this id has a final result before it runs; others are spared the look.
    headers: options.id === null ? options.headers : { ...options.headers, lovage_resent: true },
    ignoreResult,
    anyWorker: core.anyWorker,
    timeoutMs: options.timeoutMs ?? config.sendTimeoutMs,
    keywordsName: core.byKeyword ? 'input' : 'kwargs',
    options,
    handle: (id, deduplicated = false) => core.host.handle(id, !ignoreResult, deduplicated, etaOf(options)),
  };
}

/** Where a call goes that names an exchange or a routing key; `null` for others. @throws ConfigError `E_CONFIG_RANGE`, `E_CONFIG_CONFLICT` */
function byExchange({ host, name }: TaskCore, { queue, exchange, routingKey }: ResolvedCallOptions): Destination | null {
  if (exchange === null && routingKey === null) return null;
  const route = { queue: queue ?? undefined, exchange: exchange ?? undefined, routingKey: routingKey ?? undefined };
  return resolveExchangeRoute(route as Route, host.config.queues, `task ${name}: with()`);
}

/** Asked when the call was sent: its countdown has begun by then. */
function etaOf({ eta, countdownMs }: ResolvedCallOptions): number | null {
  if (countdownMs !== null) return Date.now() + countdownMs;
  return eta === null ? null : eta.getTime();
}

function sendOne(core: TaskCore, call: PreparedCall, given: Args): Promise<TaskHandle<unknown>> {
  const { publisher } = core.host;
  try {
    const args = trimmed(given);
    const checked = core.check(args);
    const send = (): Promise<TaskHandle<unknown>> =>
      core.byKeyword ? publisher.send(call, NO_ARGS, args[0] as Kwargs) : publisher.send(call, args, NO_KWARGS);
    return isThenable(checked) ? Promise.resolve(checked).then(send) : send();
  } catch (error) {
    return Promise.reject(error);
  }
}

async function sendRows(
  core: TaskCore,
  call: PreparedCall,
  given: CallOptions,
  rows: readonly SendRow<Args>[],
): Promise<TaskHandle<unknown>[]> {
  if (given.id !== undefined)
    throw new ConfigError('E_CONFIG_CONFLICT', `task ${core.name}: with({ id }) and sendMany: give each row its own options.id`);
  if (given.dedupe !== undefined) {
    throw new ConfigError(
      'E_CONFIG_CONFLICT',
      `task ${core.name}: with({ dedupe }) and sendMany: give each row its own options.dedupe, or all but one are the same`,
    );
  }
  const results = await core.host.publisher.sendMany(rows, (row) => {
    checkObject(row, `task ${core.name}: a row of sendMany`);
    if (!Array.isArray(row.args)) throw new ArgumentError('E_ARGUMENTS', `task ${core.name}: a row of sendMany is { args: […] }`);
    const rowCall =
      row.options === undefined
        ? call
        : prepare(core, resolveCallOptions({ ...given, ...row.options }, `task ${core.name}: row options`));
    const args = trimmed(row.args);
    const parts = {
      call: rowCall,
      args: core.byKeyword ? NO_ARGS : args,
      kwargs: core.byKeyword ? (args[0] as Kwargs) : NO_KWARGS,
    };
    const checked = core.check(args);
    return isThenable(checked) ? checked.then(() => parts) : parts;
  });
  const outcomes = results.map(
    (result): SendManyResult<unknown> =>
      result instanceof Error ? { status: 'failed', error: result } : { status: 'sent', handle: result },
  );
  if (results.some((result) => result instanceof Error)) throw new SendManyError(core.name, outcomes);
  return results as TaskHandle<unknown>[];
}

/** The sending half. Closures and no `this`, so that `const { send } = task` works. */
function bound(core: TaskCore, given: CallOptions): BoundTask<Args, unknown> {
  const call = prepare(core, given === NO_OPTIONS ? NO_CALL_OPTIONS : resolveCallOptions(given, `task ${core.name}: with()`));
  return {
    send: (...args) => sendOne(core, call, args),
    sendMany: (rows) => sendRows(core, call, given, rows),
    ...signaturesOf(core, call, given),
  };
}

const NO_OPTIONS: CallOptions = Object.freeze({});

function sendable(core: TaskCore): RemoteTask<Args, unknown> {
  return { name: core.name, ...bound(core, NO_OPTIONS), with: (options) => bound(core, options) };
}

// --- the three constructors

/** A task and what the registry keeps of it. */
export interface MadeTask {
  readonly task: Task<Args, unknown>;
  readonly definition: TaskDefinition;
}

function made(core: TaskCore, options: ResolvedTaskOptions, hooks: AnyTaskOptions, execute: TaskDefinition['execute']): MadeTask {
  const definition: TaskDefinition = {
    name: core.name,
    options,
    execute,
    onSuccess: (hooks.onSuccess as TaskDefinition['onSuccess'] | undefined) ?? null,
    onFailure: hooks.onFailure ?? null,
    onRetry: hooks.onRetry ?? null,
    onExhausted: hooks.onExhausted ?? null,
  };
  const { config } = core.host;
  const setup = {
    name: core.name,
    queue: prepare(core, NO_CALL_OPTIONS).to.queue,
    maxAttempts: (options.retry?.max ?? 0) + 1,
    logger: () => config.logger,
    json: config.json,
  };
  const run = async (...args: Args): Promise<unknown> =>
    runInline(setup, args, NO_KWARGS, (context) => execute(args, NO_KWARGS, context));
  return { task: Object.freeze({ ...sendable(core), run }), definition };
}

/** `app.fn`: arguments by position. */
export function makeFn(
  host: TaskHost,
  name: string,
  handler: (...args: never[]) => unknown,
  given: AnyTaskOptions & { readonly params?: readonly string[] },
): MadeTask {
  if (typeof handler !== 'function')
    throw new ConfigError('E_CONFIG_TYPE', `task ${name}: app.fn(name, handler) takes a function`);
  const options = resolveTaskOptions(name, given, FN_OPTION_KEYS, host.config);
  const bind = positionalBinder(name, given.params, handler.length);
  const call = handler as (...args: Args) => unknown;
  const core: TaskCore = {
    host,
    name,
    queue: options.queue,
    priority: given.priority,
    ignoreResult: options.ignoreResult,
    anyWorker: given.delays === 'queue',
    byKeyword: false,
    check: given.params === undefined ? () => undefined : (args) => bind(args, NO_KWARGS),
  };
  return made(core, options, given, (args, kwargs) => call(...bind(args, kwargs)));
}

/** `app.task`: one object, as keywords. */
export function makeObjectTask(host: TaskHost, given: AnyObjectTask): MadeTask {
  const { name, input: inputSchema, output: outputSchema } = given;
  const options = resolveTaskOptions(name, given, OBJECT_OPTION_KEYS, host.config);
  const call = given.run as (input: unknown, context: TaskContext) => unknown;
  if (typeof call !== 'function') throw new ConfigError('E_CONFIG_TYPE', `task ${name}: run is not a function`);
  for (const [key, schema] of [
    ['input', inputSchema],
    ['output', outputSchema],
  ] as const) {
    if (isSchema(schema) || (key === 'output' && schema === undefined)) continue;
    throw new ConfigError(
      'E_CONFIG_TYPE',
      `task ${name}: ${key} is not a Standard Schema: use zod, valibot, arktype or another library that implements it`,
    );
  }
  const refuseInput = (issues: string): ArgumentError =>
    new ArgumentError('E_ARGUMENTS', `task ${name}: the input does not fit: ${issues}`);
  const refuseOutput = (issues: string): TaskError =>
    new TaskError('E_OUTPUT', `task ${name}: what run() returned does not fit the output schema: ${issues}`);
  const checkOutput = (value: unknown): Eventually<unknown> =>
    outputSchema === undefined ? value : validate(outputSchema, value, refuseOutput);
  const core: TaskCore = {
    host,
    name,
    queue: options.queue,
    priority: given.priority,
    ignoreResult: options.ignoreResult,
    anyWorker: given.delays === 'queue',
    byKeyword: true,
    // What the schema makes of the input is thrown away: it runs once, on the worker.
    check: (args) => validate(inputSchema, oneObject(name, args), refuseInput),
  };
  return made(core, options, given, (args, kwargs, context) => {
    const parsed = validate(inputSchema, bindObject(name, args, kwargs), refuseInput);
    const returned = isThenable(parsed) ? parsed.then((input) => call(input, context)) : call(parsed, context);
    if (outputSchema === undefined) return returned;
    return isThenable(returned) ? returned.then(checkOutput) : checkOutput(returned);
  });
}

/** `app.remote`: a task that lives elsewhere. */
export function makeRemote(
  host: TaskHost,
  name: string,
  given: RemoteTaskOptions & { readonly by?: 'position' | 'keyword' },
): RemoteTask<Args, unknown> {
  checkRemoteOptions(name, given, POSITION_KEYS);
  if (given.by !== undefined && given.by !== 'position' && given.by !== 'keyword') {
    throw new ConfigError('E_CONFIG_RANGE', `task ${name}: by is ${JSON.stringify(given.by)}: use 'position' or 'keyword'`);
  }
  const byKeyword = given.by === 'keyword';
  return Object.freeze(
    sendable({
      host,
      name,
      queue: given.queue ?? null,
      priority: given.priority,
      ignoreResult: given.ignoreResult ?? false,
      anyWorker: given.delays !== 'broker',
      byKeyword,
      check: byKeyword ? (args) => oneObject(name, args) : () => undefined,
    }),
  );
}
