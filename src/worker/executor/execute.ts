/**
 * Stop 6 of the walk: one run, as named steps: decode the body → find the task → make the context → run under
 * middleware and limits → turn what came of it into an outcome. Holds no connection; what it needs comes with the
 * request. Next stop: `worker/engine/settle.ts`, back across the port.
 */
import type { TaskDefinition } from '../../app/definition.js';
import type { ExecuteMiddleware } from '../../app/middleware.js';
import { type ActiveRun, activeRun, type RetrySignal } from '../../app/task-context.js';
import { backoffMs } from '../../core/backoff.js';
import { codeOf, TaskError, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { encodeException } from '../../wire/exception-info.js';
import { encodeJson, type JsonMode } from '../../wire/serializers/json.js';
import { decodeTaskBody, readTaskHeaders, type TaskHeaders } from '../../wire/task-message.js';
import type { Outcome, RunRequest } from '../port.js';
import { type PostState, RunContext } from './context.js';
import { startLimits } from './limits.js';

export interface ExecuteOptions {
  readonly find: (name: string) => TaskDefinition | undefined;
  readonly middleware: readonly ExecuteMiddleware[];
  readonly logger: Logger;
  /** How results are written; the app's `json` option. */
  readonly json: JsonMode;
  readonly postState: PostState;
  /** Hands in the outcome; called exactly once a run. */
  readonly finish: (outcome: Outcome) => void;
  /** Memory shared with the engine; says which run keeps the loop, if one does. */
  readonly entered: Int32Array | null;
}

/** A run that was started; `context` is there to be aborted. */
export interface StartedRun {
  readonly context: RunContext;
}

const NO_CHILDREN: readonly string[] = [];
/** `ctx.retry()` without a policy: Celery's default of three, one second doubling, with full jitter. */
const PLAIN_RETRY = { max: 3, backoff: 'exponential', baseMs: 1_000, capMs: 600_000, jitter: 'full' } as const;

/** Starts a run. Returns `null` when it is over already (an undecodable body, a handler that returned at once). */
export function startRun(request: RunRequest, options: ExecuteOptions): StartedRun | null {
  const startedMs = performance.now();
  const { run } = request;
  let context: RunContext;
  let definition: TaskDefinition;
  try {
    const found = options.find(request.name);
    if (!found)
      throw new TaskError('E_NOT_REGISTERED', `no task named ${JSON.stringify(request.name)} is registered in this executor`);
    definition = found;
    const headers = readTaskHeaders(request.message) as TaskHeaders;
    const body = decodeTaskBody(request.message);
    refuseCanvas(body.embed);
    context = new RunContext(request, headers, definition, body.args, body.kwargs, options);
  } catch (error) {
    const base = { run, runtimeMs: performance.now() - startedMs, children: NO_CHILDREN };
    const code = codeOf(error) ?? 'E_DECODE';
    // Wrong arguments are the sender's failure to learn of; everything else is no message, and is parked.
    if (code === 'E_ARGUMENTS') options.finish({ ...base, ...plainFailure(error) });
    else options.finish({ ...base, kind: 'undecodable', code, reason: toError(error).message });
    return null;
  }
  const active: ActiveRun = { context, children: [] };
  let over = false;
  const settle = (outcome: OutcomeBody): void => {
    if (over) return;
    over = true;
    stopLimits?.();
    // The outcome was made for this call alone: completing it in place spares a copy of every result.
    options.finish(
      Object.assign(outcome, { run, runtimeMs: performance.now() - startedMs, children: active.children }) as Outcome,
    );
  };
  const fail = (error: unknown): void => settle(failureOutcome(error, definition, context));
  const stopLimits = startLimits(request, context, settle);
  const { entered } = options;
  try {
    if (entered) entered[0] = run;
    const returned = activeRun.run(active, callHandler, definition, context, options.middleware);
    if (entered) entered[0] = 0;
    if (isPromise(returned)) {
      returned.then(
        (value) => finishValue(value, options.json, definition, context, active, settle, fail),
        (error: unknown) => runHookThen(definition, context, active, error, fail),
      );
      return over ? null : { context };
    }
    finishValue(returned, options.json, definition, context, active, settle, fail);
  } catch (error) {
    if (entered) entered[0] = 0;
    runHookThen(definition, context, active, error, fail);
  }
  return over ? null : { context };
}

/** An outcome without what every outcome has. */
export type OutcomeBody = DistributiveOmit<Outcome, 'run' | 'runtimeMs' | 'children'>;
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

/** Middleware from the outside in, then the handler. */
function callHandler(definition: TaskDefinition, context: RunContext, middleware: readonly ExecuteMiddleware[]): unknown {
  if (middleware.length === 0) return definition.execute(context.args, context.kwargs, context);
  const call = (index: number): unknown => {
    const layer = middleware[index];
    return layer ? layer(context, async () => call(index + 1)) : definition.execute(context.args, context.kwargs, context);
  };
  return call(0);
}

function finishValue(
  value: unknown,
  json: JsonMode,
  definition: TaskDefinition,
  context: RunContext,
  active: ActiveRun,
  settle: (outcome: OutcomeBody) => void,
  fail: (error: unknown) => void,
): void {
  let resultJson: string;
  try {
    resultJson = value === undefined ? 'null' : encodeJson(value, { path: 'result', mode: json });
  } catch (error) {
    fail(error);
    return;
  }
  if (definition.onSuccess === null) {
    settle({ kind: 'success', resultJson });
    return;
  }
  runHook(() => definition.onSuccess?.(value, context), context, active).then(() => settle({ kind: 'success', resultJson }));
}

/** Runs `onFailure` or `onRetry`, whichever the outcome will be, before the outcome is handed in. */
function runHookThen(
  definition: TaskDefinition,
  context: RunContext,
  active: ActiveRun,
  error: unknown,
  fail: (error: unknown) => void,
): void {
  if (definition.onFailure === null && definition.onRetry === null) return fail(error);
  const kind = failureOutcome(error, definition, context).kind;
  const hook = kind === 'failure' ? definition.onFailure : kind === 'retry' ? definition.onRetry : null;
  if (hook === null) return fail(error);
  runHook(() => hook(error, context), context, active).then(() => fail(error));
}

/** A hook's own error is logged and changes nothing: the outcome of the task is already known. */
async function runHook(hook: () => unknown, context: RunContext, active: ActiveRun): Promise<void> {
  try {
    await activeRun.run(active, hook);
  } catch (error) {
    context.log.error({ err: toError(error) }, 'a task hook threw; the outcome of the task stands');
  }
}

/** What a thrown value means: steering (retry, ignore, reject), a hand-back, another try by policy, or failure. */
function failureOutcome(thrown: unknown, definition: TaskDefinition, context: RunContext): OutcomeBody {
  const steer = typeof thrown === 'object' && thrown !== null ? (thrown as { steer?: unknown }).steer : undefined;
  if (steer === 'ignore') return { kind: 'ignored' };
  if (steer === 'reject') return { kind: 'rejected', requeue: (thrown as { requeue?: unknown }).requeue === true };
  if (context.aborted === 'shutdown' || context.aborted === 'lease-lost') return { kind: 'handed-back' };
  const policy = definition.options.retry;
  const retries = context.attempt - 1;
  if (steer === 'retry') {
    const signal = thrown as RetrySignal;
    const { max, ...backoff } = policy ?? PLAIN_RETRY;
    if (retries < max) {
      const because = signal.cause === undefined ? null : encodeException(signal.cause);
      return {
        kind: 'retry',
        delayMs: signal.delayMs ?? backoffMs(backoff, retries + 1, Math.random()),
        exceptionJson: because?.json ?? null,
        traceback: because?.traceback ?? null,
      };
    }
    const cause = signal.cause ?? new TaskError('E_MAX_RETRIES', `gave up after ${retries + 1} tries`);
    return failure(cause, definition);
  }
  if (policy !== null && retries < policy.max && codeOf(thrown) !== 'E_ARGUMENTS' && policy.isRetryable(thrown)) {
    const { json, traceback } = encodeException(thrown);
    return { kind: 'retry', delayMs: backoffMs(policy, retries + 1, Math.random()), exceptionJson: json, traceback };
  }
  return failure(thrown, definition);
}

function failure(thrown: unknown, definition: TaskDefinition): OutcomeBody {
  return { ...plainFailure(thrown), expected: definition.options.isExpected(thrown) };
}

function plainFailure(thrown: unknown): Extract<OutcomeBody, { kind: 'failure' }> {
  const { json, traceback } = encodeException(thrown);
  return { kind: 'failure', exceptionJson: json, traceback, expected: false };
}

/** Until workflows are built, a message that asks for a continuation is parked: running it and forgetting the rest would lose work. */
function refuseCanvas(embed: { callbacks: unknown; errbacks: unknown; chain: unknown; chord: unknown }): void {
  for (const part of ['callbacks', 'errbacks', 'chain', 'chord'] as const) {
    const value = embed[part];
    if (value === null || value === undefined || (Array.isArray(value) && value.length === 0)) continue;
    throw new TaskError('E_NOT_SUPPORTED', `the message has a ${part} to continue with, and this version runs single tasks only`);
  }
}
