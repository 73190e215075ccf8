/** What a group gives when it was sent: the handles of its members in order, and ways to all their results. Holds no connection. */
import { setMaxListeners } from 'node:events';
import { ConfigError, codeOf } from '../../core/errors.js';
import { FINAL_STATES } from '../../results/result-store.js';
import { decodeResultMeta } from '../../wire/result-meta.js';
import type { ResultTree } from '../../wire/result-tree.js';
import type { HandleOwner, ResultOptions, TaskHandle } from '../task-handle.js';
import { saveResult } from './saved.js';
import { type GraphOptions, readGraph, type WorkflowGraph } from './workflow-graph.js';

/** How far a group has come. */
export interface GroupProgress {
  readonly total: number;
  /** Ended, in whatever way. */
  readonly done: number;
  /** Ended without a result: failed, revoked or expired. */
  readonly failed: number;
}

/** How one member of a group ended. */
export type MemberResult<R> =
  | { readonly index: number; readonly status: 'fulfilled'; readonly value: R }
  | { readonly index: number; readonly status: 'rejected'; readonly reason: unknown };

/** A group that was sent. `T` are the results of its members, in order. */
export interface GroupHandle<T extends readonly unknown[]> {
  /** Of the group. */
  readonly id: string;
  /** One a member. */
  readonly children: { readonly [K in keyof T]: T[K] extends readonly unknown[] ? MemberHandle<T[K]> : TaskHandle<T[K]> };
  /**
   * Waits for all results; the first failure rejects it.
   * @throws as `handle.result()` of the member
   */
  result(options: ResultOptions): Promise<T>;
  /** The members as they end, whichever comes first: `for await (const { index, value } of handle.results({ timeout }))`. */
  results(options: ResultOptions): AsyncIterableIterator<MemberResult<T[number]>>;
  /** One look at the store. */
  progress(): Promise<GroupProgress>;
  /**
   * How far the group has come, now and as its members end, without polling: `for await (const { done, total } of handle.watch(…))`.
   * Ends when all have. Members of a group in the group count one by one.
   * @throws as `handle.result()`, but for tasks that failed: those are counted
   */
  watch(options: ResultOptions): AsyncIterableIterator<GroupProgress>;
  /** What stands before it in the workflow that was sent or restored; `null` = nothing, or it is not known. */
  parent(): Promise<AnyHandle | null>;
  /**
   * Saves which tasks belong to the group, for as long as results are kept (`resultTtl`), so that `app.restore(id)` gives this handle
   * again, here or in Python.
   * @throws ResultError `E_NOT_SUPPORTED` with `rpc:` results
   * @remarks Source: Celery's `GroupResult.save()`.
   */
  save(): Promise<void>;
  /**
   * The workflow that it belongs to, as far as it is known: what was sent, what results tell, and how far each task has come.
   * @throws ConfigError `E_CONFIG_RANGE`
   * @remarks Source: Celery's `AsyncResult.graph`.
   */
  graph(options?: GraphOptions): Promise<WorkflowGraph>;
  /** Revokes every member that has not ended. */
  revoke(): Promise<void>;
  /** Removes the stored results. */
  forget(): Promise<void>;
}

/** Of a member that gives an array: a task, or a group in the group. */
export type MemberHandle<T extends readonly unknown[]> = TaskHandle<T> | GroupHandle<T>;

/** The handle of a task or of a group, where only what was stored tells which. */
export type AnyHandle = TaskHandle<unknown> | GroupHandle<readonly unknown[]>;

export interface GroupHandleOwner extends HandleOwner {
  /** Of a task. */
  readonly handle: (tree: ResultTree) => TaskHandle<unknown>;
}

/** The handles of a canvas that was sent. */
export function handlesOf(tree: ResultTree, owner: GroupHandleOwner): AnyHandle {
  return tree.members === null ? owner.handle(tree) : new SentGroup(tree, tree.members, owner);
}

/** What a task that has ended without a result throws; anything else tells of the wait. */
const isEnd = (error: unknown): boolean => ['E_TASK_FAILED', 'E_TASK_REVOKED'].includes(codeOf(error) ?? '');

class SentGroup implements GroupHandle<readonly unknown[]> {
  readonly id: string;
  readonly children: never;
  readonly #tree: ResultTree;
  readonly #members: readonly AnyHandle[];
  readonly #ids: readonly string[];
  readonly #owner: GroupHandleOwner;

  constructor(tree: ResultTree, members: readonly ResultTree[], owner: GroupHandleOwner) {
    this.id = tree.id;
    this.#tree = tree;
    this.#owner = owner;
    this.#members = members.map((member) => handlesOf(member, owner));
    this.#ids = members.flatMap(idsIn);
    this.children = this.#members as never;
  }

  async result(options: ResultOptions): Promise<readonly unknown[]> {
    return Promise.all(this.#members.map((member) => member.result(options)));
  }

  async *results(options: ResultOptions): AsyncIterableIterator<MemberResult<unknown>> {
    checkTimeout(options, 'results()');
    const ends = endsOf(this.#members, options);
    for await (const { index, error, value } of ends)
      yield error === null ? { index, status: 'fulfilled', value } : { index, status: 'rejected', reason: error.thrown };
  }

  async progress(): Promise<GroupProgress> {
    const states = (await this.#owner.gateway().getResults(this.#ids)).map((meta) =>
      meta === null ? 'PENDING' : decodeResultMeta(meta).status,
    );
    const done = states.filter((state) => FINAL_STATES.has(state)).length;
    const failed = states.filter((state) => state === 'FAILURE' || state === 'REVOKED').length;
    return { total: this.#ids.length, done, failed };
  }

  async *watch(options: ResultOptions): AsyncIterableIterator<GroupProgress> {
    checkTimeout(options, 'watch()');
    const total = this.#ids.length;
    // who has ended already is told at once, by one look; from then on each end is heard of
    let shown = await this.progress();
    yield shown;
    if (shown.done === total) return;
    let [done, failed] = [0, 0];
    const tasks = this.#ids.map((id) => this.#owner.handle({ id, name: null, parent: null, members: null }));
    for await (const { error } of endsOf(tasks, options)) {
      if (error !== null && !isEnd(error.thrown)) throw error.thrown;
      done += 1;
      if (error !== null) failed += 1;
      if (done <= shown.done) continue;
      shown = { total, done, failed };
      yield shown;
    }
  }

  async parent(): Promise<AnyHandle | null> {
    return this.#tree.parent === null ? null : handlesOf(this.#tree.parent, this.#owner);
  }

  save(): Promise<void> {
    return saveResult(this.#owner, this.#tree);
  }

  graph(options: GraphOptions = {}): Promise<WorkflowGraph> {
    return readGraph(this.#owner.gateway(), this.#tree, options);
  }

  async revoke(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.revoke()));
  }

  async forget(): Promise<void> {
    await this.#owner.gateway().forgetResults(this.#ids);
  }
}

interface End {
  readonly index: number;
  readonly value: unknown;
  /** `null` = it has a result. */
  readonly error: { readonly thrown: unknown } | null;
}

/** Each as it ends, whichever comes first. A loop that is left early waits for nothing more. */
async function* endsOf(handles: readonly AnyHandle[], options: ResultOptions): AsyncGenerator<End> {
  const left = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
  setMaxListeners(0, signal);
  // at most one entry a handle
  const ended: End[] = [];
  let wake = (): void => {};
  const end = (entry: End): void => {
    ended.push(entry);
    wake();
  };
  for (const [index, handle] of handles.entries())
    handle.result({ ...options, signal }).then(
      (value) => end({ index, value, error: null }),
      (thrown: unknown) => end({ index, value: undefined, error: { thrown } }),
    );
  try {
    for (let given = 0; given < handles.length; given++) {
      if (given === ended.length) await new Promise<void>((resolve) => void (wake = resolve));
      yield ended[given] as End;
    }
  } finally {
    left.abort();
  }
}

/** @throws ConfigError `E_CONFIG_TYPE` */
function checkTimeout(options: ResultOptions | undefined, what: string): void {
  if (options?.timeout === undefined) throw new ConfigError('E_CONFIG_TYPE', `${what} needs a timeout`);
}

const idsIn = ({ id, members }: ResultTree): readonly string[] => (members === null ? [id] : members.flatMap(idsIn));
