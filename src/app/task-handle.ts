/** What `send()` gives: the id of a task that was sent, and ways to its result. Holds no connection. */
import { type Duration, durationMs } from '../core/duration.js';
import { ConfigError, ResultError, TaskFailedError } from '../core/errors.js';
import { decodeException } from '../wire/exception-info.js';
import { decodeResultMeta, type ResultMeta } from '../wire/result-meta.js';
import { type ResultTree, treeOfChild } from '../wire/result-tree.js';
import { holdsException } from '../wire/task-states.js';
import { checkKeys, checkObject } from './config-schema.js';
import { checkRevokeOptions, type RevokeOptions, type RevokeOutcome, revokeTasks } from './control/revoke.js';
import type { Gateway } from './gateway.js';
import { activeRun } from './task-context.js';
import { type AnyHandle, handlesOf } from './workflows/group-handle.js';
import { saveResult } from './workflows/saved.js';
import { type GraphOptions, readGraph, type WorkflowGraph } from './workflows/workflow-graph.js';

/** Options of `handle.result()`. */
export interface ResultOptions {
  /** How long to wait; required, because a task may never run. */
  readonly timeout: Duration;
  /** Gives up the wait; the task is not touched. */
  readonly signal?: AbortSignal;
  /** Hears of states before the last, such as PROGRESS. */
  readonly onUpdate?: (status: TaskStatus) => void;
  /** Opens waiting inside a task, which takes a slot from the task that is waited for. @defaultValue false */
  readonly allowWaitInsideTask?: boolean;
}

/** What is stored about a task. */
export interface TaskStatus {
  readonly id: string;
  /** PENDING (nothing known), STARTED, RETRY, SUCCESS, FAILURE, REVOKED, or a state of the task's own such as PROGRESS. */
  readonly state: string;
  /** The result of a SUCCESS; `undefined` otherwise. */
  readonly result: unknown;
  /** What the task told with `progress()` or `updateState()`. */
  readonly info: unknown;
  /** The error of a FAILURE, RETRY or REVOKED. */
  readonly error: { readonly type: string; readonly message: string } | null;
  /** Stack or Python traceback. */
  readonly traceback: string | null;
  readonly finishedAt: Date | null;
  /** Ids of what the task sent. */
  readonly children: readonly string[];
}

/** A task that was sent. */
export interface TaskHandle<R> {
  readonly id: string;
  /** Nothing was sent: this is the handle of a task that was sent before with the same dedupe key. */
  readonly deduplicated: boolean;
  /**
   * Waits for the result.
   * @throws TaskFailedError `E_TASK_FAILED`; ResultError `E_RESULT_TIMEOUT`, `E_TASK_REVOKED`, `E_RESULT_NOT_KEPT`, `E_WAIT_INSIDE_TASK`
   */
  result(options: ResultOptions): Promise<R>;
  /** The state's name; `PENDING` also for an id that nobody knows. */
  state(): Promise<string>;
  /** All that is stored. */
  status(): Promise<TaskStatus>;
  /**
   * Keeps the task from running: it is removed where it waits, or dropped by the worker that gets it. Celery's workers hear of
   * it too. Says which, see {@link RevokeOutcome}. One that runs goes on, unless `terminate` is given.
   * @throws BrokerError `E_BROKER_UNREACHABLE`; ConfigError `E_CONFIG_*`
   * @remarks Source: Celery's `AsyncResult.revoke()`.
   */
  revoke(options?: RevokeOptions): Promise<RevokeOutcome>;
  /** Removes the stored result. */
  forget(): Promise<void>;
  /**
   * What the task sent while it ran, and what followed it: callbacks, the next step of its chain. Known once its result is stored.
   * @remarks Source: Celery's `AsyncResult.children`.
   */
  children(): Promise<readonly AnyHandle[]>;
  /**
   * What stands before it in the workflow that was sent or restored here, else the task that sent it, which its result tells; `null` =
   * nothing, or it is not known.
   * @remarks Source: Celery's `AsyncResult.parent`.
   */
  parent(): Promise<AnyHandle | null>;
  /**
   * Saves what stands before it, for as long as results are kept (`resultTtl`), so that `app.restore(id)` gives this handle again.
   * @throws ResultError `E_NOT_SUPPORTED` with `rpc:` results
   */
  save(): Promise<void>;
  /**
   * The workflow that it belongs to, as far as it is known: what was sent, what results tell, and how far each task has come.
   * @throws ConfigError `E_CONFIG_RANGE`
   * @remarks Source: Celery's `AsyncResult.graph`.
   */
  graph(options?: GraphOptions): Promise<WorkflowGraph>;
}

const RESULT_KEYS: ReadonlySet<string> = new Set(['timeout', 'signal', 'onUpdate', 'allowWaitInsideTask']);

/** What handles share. */
export interface HandleOwner {
  readonly gateway: () => Gateway;
  readonly resultTtlMs: number | null;
  readonly nowMs: () => number;
}

/** The handle of an id. One is made for each send, so it has few fields and no closures. */
export class ResultHandle<R> implements TaskHandle<R> {
  readonly id: string;
  readonly deduplicated: boolean;
  readonly #keepsResult: boolean;
  readonly #owner: HandleOwner;
  /** Wall time before which the task does not run; `null` = none, or not known. */
  readonly #etaMs: number | null;
  /** What stands before it, if it is part of a workflow that was sent here. */
  readonly #tree: ResultTree | null;

  constructor(
    id: string,
    keepsResult: boolean,
    owner: HandleOwner,
    deduplicated = false,
    etaMs: number | null = null,
    tree: ResultTree | null = null,
  ) {
    this.id = id;
    this.deduplicated = deduplicated;
    this.#keepsResult = keepsResult;
    this.#owner = owner;
    this.#etaMs = etaMs;
    this.#tree = tree;
  }

  async result(options: ResultOptions): Promise<R> {
    checkObject(options, 'result()');
    checkKeys(options, RESULT_KEYS, 'result()');
    if (options.timeout === undefined)
      throw new ConfigError('E_CONFIG_TYPE', "result() needs a timeout, for example { timeout: '10s' }: a task may never run");
    const timeoutMs = durationMs(options.timeout, 'timeout');
    if (!this.#keepsResult) {
      throw new ResultError('E_RESULT_NOT_KEPT', `task ${this.id} was sent with ignoreResult, so there is no result to wait for`);
    }
    if (options.allowWaitInsideTask !== true && activeRun.getStore() !== undefined) {
      throw new ResultError(
        'E_WAIT_INSIDE_TASK',
        'a task that waits for another holds a slot which that one may need: use a chain or a chord to continue with its result, or pass allowWaitInsideTask: true',
      );
    }
    return outcomeOf(this.id, decodeResultMeta(await this.#wait(options, timeoutMs))) as R;
  }

  async #wait(options: ResultOptions, timeoutMs: number): Promise<string> {
    const { signal: given, onUpdate } = options;
    given?.throwIfAborted();
    const controller = new AbortController();
    const timer = setTimeout(
      () => {
        controller.abort(
          new ResultError('E_RESULT_TIMEOUT', `no result of task ${this.id} within ${options.timeout}; it may still run`),
        );
      },
      Math.min(timeoutMs, 2_147_000_000),
    );
    const onAbort = (): void => controller.abort(given?.reason);
    given?.addEventListener('abort', onAbort, { once: true });
    try {
      const hear = onUpdate && ((meta: string) => onUpdate(statusOf(this.id, decodeResultMeta(meta))));
      return await this.#owner.gateway().waitResult(this.id, controller.signal, hear);
    } finally {
      clearTimeout(timer);
      given?.removeEventListener('abort', onAbort);
    }
  }

  async state(): Promise<string> {
    return (await this.status()).state;
  }

  async status(): Promise<TaskStatus> {
    const [meta] = await this.#owner.gateway().getResults([this.id]);
    return meta == null ? PENDING(this.id) : statusOf(this.id, decodeResultMeta(meta));
  }

  async revoke(options: RevokeOptions = {}): Promise<RevokeOutcome> {
    checkRevokeOptions(options, 'revoke()', 'one');
    const revoker = { ...this.#owner, gateway: this.#owner.gateway() };
    const facts = { etaMs: this.#etaMs, keepsResults: this.#keepsResult };
    return (await revokeTasks(revoker, [this.id], options, facts)).get(this.id) as RevokeOutcome;
  }

  forget(): Promise<void> {
    return this.#owner.gateway().forgetResults([this.id]);
  }

  async children(): Promise<readonly AnyHandle[]> {
    const [meta] = await this.#owner.gateway().getResults([this.id]);
    const children = meta == null ? null : decodeResultMeta(meta).childTree;
    return (children ?? []).map((child) => handlesIn(treeOfChild(child), this.#owner));
  }

  async parent(): Promise<AnyHandle | null> {
    if (this.#tree?.parent) return handlesIn(this.#tree.parent, this.#owner);
    const [meta] = await this.#owner.gateway().getResults([this.id]);
    const parentId = meta == null ? null : decodeResultMeta(meta).parentId;
    return parentId === null ? null : handlesIn(lone(parentId), this.#owner);
  }

  save(): Promise<void> {
    return saveResult(this.#owner, this.#tree ?? lone(this.id));
  }

  graph(options: GraphOptions = {}): Promise<WorkflowGraph> {
    return readGraph(this.#owner.gateway(), this.#tree ?? lone(this.id), options);
  }
}

const lone = (id: string): ResultTree => ({ id, name: null, parent: null, members: null });

/** Handles of what was sent, restored, or read from a result. @param unkept ids of tasks whose results nobody keeps */
export function handlesIn(tree: ResultTree, owner: HandleOwner, unkept: readonly string[] = []): AnyHandle {
  const ignored = new Set(unkept);
  const handle = (part: ResultTree): TaskHandle<unknown> =>
    new ResultHandle(part.id, !ignored.has(part.id), owner, false, null, part);
  return handlesOf(tree, { ...owner, handle });
}

const PENDING = (id: string): TaskStatus => ({
  id,
  state: 'PENDING',
  result: undefined,
  info: null,
  error: null,
  traceback: null,
  finishedAt: null,
  children: [],
});

function statusOf(id: string, meta: ResultMeta): TaskStatus {
  const { status: state } = meta;
  const error = holdsException(state) ? decodeException(meta.result) : null;
  return {
    id,
    state,
    result: state === 'SUCCESS' ? meta.result : undefined,
    info: state === 'SUCCESS' || error !== null ? null : meta.result,
    error: error && { type: error.type, message: error.message },
    traceback: meta.traceback,
    finishedAt: meta.dateDone,
    children: meta.children ?? [],
  };
}

/** The result of a final meta, or its error thrown. */
function outcomeOf(id: string, meta: ResultMeta): unknown {
  if (meta.status === 'SUCCESS') return meta.result;
  const { type, message } = decodeException(meta.result);
  if (meta.status === 'REVOKED') {
    throw new ResultError('E_TASK_REVOKED', `task ${id} was revoked or had expired${message === '' ? '' : `: ${message}`}`);
  }
  throw new TaskFailedError(message === '' ? type : `${type}: ${message}`, { type, traceback: meta.traceback, taskId: id });
}
