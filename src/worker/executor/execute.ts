/**
 * Stop 6 of the walk: one run, as named steps: decode the body → find the task → make the context → run under
 * middleware and limits → turn what came of it into an outcome. Holds no connection; what it needs comes with the
 * request. Next stop: `worker/engine/settle.ts`, back across the port.
 */
import type { TaskDefinition } from '../../app/definition.js';
import type { ExecuteMiddleware, ResolvedMiddleware } from '../../app/middleware.js';
import { type ActiveRun, activeRun } from '../../app/task-context.js';
import type { StepPlace } from '../../app/task-steps.js';
import { type Embed, hasCanvas } from '../../canvas/after.js';
import { BARE, wrapped } from '../../canvas/outcomes.js';
import type { CanvasFacts } from '../../canvas/routes.js';
import { codeOf, TaskError, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { OUTCOMES_HEADER } from '../../wire/own-headers.js';
import type { ResultChild } from '../../wire/result-meta.js';
import { encodeJson, type JsonMode } from '../../wire/serializers/json.js';
import { decodeTaskBody, readTaskHeaders, type TaskHeaders } from '../../wire/task-message.js';
import type { Outcome, RunRequest } from '../port.js';
import type { AddedPart } from './added.js';
import { type PostEvent, type PostState, RunContext } from './context.js';
import { judgeThrown, plainFailure } from './failure.js';
import { withFollowing } from './following.js';
import { startLimits } from './limits.js';
import { isReplacing, passHooks, replacedBy } from './replaced.js';

export interface ExecuteOptions {
  readonly find: (name: string) => TaskDefinition | undefined;
  readonly middleware: readonly ExecuteMiddleware[];
  /** For what takes the place of a task. */
  readonly publishHooks: ResolvedMiddleware['publish'];
  readonly logger: Logger;
  /** How results are written; the app's `json` option. */
  readonly json: JsonMode;
  /** For what follows a task; asked for when something does. */
  readonly canvas: () => CanvasFacts;
  readonly postState: PostState;
  readonly postEvent: PostEvent;
  readonly stepsOf: (run: number) => StepPlace;
  readonly addPart: (part: AddedPart) => Promise<string>;
  /** Hands in the outcome; called exactly once a run. */
  readonly finish: (outcome: Outcome) => void;
  /** Memory shared with the engine; says which run keeps the loop, if one does. */
  readonly entered: Int32Array | null;
}

/** A run that was started; `context` is there to be aborted. */
export interface StartedRun {
  readonly context: RunContext;
  /** Hands in an outcome in place of the handler's, if that has none yet. */
  readonly settle: (outcome: OutcomeBody) => void;
}

const NO_CHILDREN: readonly never[] = [];

/** The body of a chord that settles all, sent by a Python worker, which knows of no outcomes. */
const wrapFirst = ([results, ...others]: readonly unknown[]): readonly unknown[] => [wrapped(results), ...others];

/** Starts a run. Returns `null` when it is over already (an undecodable body, a handler that returned at once). */
export function startRun(request: RunRequest, options: ExecuteOptions): StartedRun | null {
  const startedMs = performance.now();
  const { run } = request;
  let context: RunContext;
  let definition: TaskDefinition;
  let embed: Embed | null = null;
  let headers: TaskHeaders;
  try {
    const found = options.find(request.name);
    if (!found)
      throw new TaskError('E_NOT_REGISTERED', `no task named ${JSON.stringify(request.name)} is registered in this executor`);
    definition = found;
    headers = readTaskHeaders(request.message) as TaskHeaders;
    const body = decodeTaskBody(request.message);
    if (hasCanvas(body.embed)) embed = body.embed;
    const args = request.message.headers[OUTCOMES_HEADER] === BARE ? wrapFirst(body.args) : body.args;
    const made = new RunContext(request, headers, definition, args, body.kwargs, options);
    made.behind = embed;
    context = made;
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
  const settle = (body: OutcomeBody): void => {
    if (over) return;
    over = true;
    stopLimits?.();
    let outcome = context.isRevoked ? revoked(body) : body;
    if (outcome.kind === 'replaced') outcome = replacedBy(context, headers, request, embed, options.canvas());
    const sent: readonly ResultChild[] = active.children;
    let rest: { readonly children: readonly ResultChild[]; readonly canvas?: true } = { children: sent };
    if (embed !== null) {
      const following = outcome.kind === 'success' ? withFollowing(outcome, context, embed, options.canvas) : null;
      if (following !== null) outcome = following.outcome;
      rest = { children: following === null ? sent : [...sent, ...following.children], canvas: true };
    }
    // The outcome was made for this call alone: completing it in place spares a copy of every result.
    options.finish(Object.assign(outcome, { run, runtimeMs: performance.now() - startedMs, ...rest }) as Outcome);
  };
  const fail = (error: unknown): void => settle(judgeThrown(error, definition, context).outcome);
  const pass = options.publishHooks.length === 0 ? null : () => passHooks(context, headers, request, options);
  const stopLimits = startLimits(request, context, settle);
  const { entered } = options;
  try {
    if (entered) entered[0] = run;
    const returned = activeRun.run(active, callHandler, definition, context, options.middleware);
    if (entered) entered[0] = 0;
    if (isPromise(returned)) {
      returned.then(
        (value) => finishValue(value, options.json, definition, context, active, settle, fail),
        (error: unknown) => runHooksThen(error, definition, context, active, settle, pass),
      );
      return over ? null : { context, settle };
    }
    finishValue(returned, options.json, definition, context, active, settle, fail);
  } catch (error) {
    if (entered) entered[0] = 0;
    runHooksThen(error, definition, context, active, settle, pass);
  }
  return over ? null : { context, settle };
}

/** However it ends: whoever revoked it wants to read that, and a handler that heeds its signal may well end by returning. */
function revoked(outcome: OutcomeBody): OutcomeBody {
  if (outcome.kind === 'revoked') return outcome;
  return { kind: 'revoked', begun: true, abandoned: outcome.kind === 'failure' && outcome.abandoned === true };
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
  if (definition.onSuccess === null || context.isRevoked) {
    settle({ kind: 'success', resultJson });
    return;
  }
  runHook(() => definition.onSuccess?.(value, context), context, active).then(() => settle({ kind: 'success', resultJson }));
}

/** Runs the hooks of what the outcome will be, before it is handed in. */
function runHooksThen(
  thrown: unknown,
  definition: TaskDefinition,
  context: RunContext,
  active: ActiveRun,
  settle: (outcome: OutcomeBody) => void,
  passReplacement: (() => Promise<void>) | null,
): void {
  const { outcome, exhausted } = judgeThrown(thrown, definition, context);
  if (outcome.kind === 'replaced' && passReplacement !== null) {
    // a hook that replaces the task once more would do so for ever
    const refused = (error: unknown): void =>
      isReplacing(error) ? settle(plainFailure(error)) : runHooksThen(error, definition, context, active, settle, null);
    void activeRun.run(active, passReplacement).then(() => settle(outcome), refused);
    return;
  }
  const { onFailure, onRetry, onExhausted } = definition;
  const ofKind = outcome.kind === 'failure' ? onFailure : outcome.kind === 'retry' ? onRetry : null;
  const hooks = context.isRevoked ? [] : [exhausted ? onExhausted : null, ofKind].filter((hook) => hook !== null);
  if (hooks.length === 0) return settle(outcome);
  const runAll = async (): Promise<void> => {
    for (const hook of hooks) await runHook(() => hook(thrown, context), context, active);
  };
  void runAll().then(() => settle(outcome));
}

/** A hook's own error is logged and changes nothing: the outcome of the task is already known. */
async function runHook(hook: () => unknown, context: RunContext, active: ActiveRun): Promise<void> {
  try {
    await activeRun.run(active, hook);
  } catch (error) {
    context.log.error({ err: toError(error) }, 'a task hook threw; the outcome of the task stands');
  }
}
