/** What a group gives when it was sent: the handles of its members in order, and ways to all their results. Holds no connection. */
import { setMaxListeners } from 'node:events';
import { ConfigError } from '../core/errors.js';
import { FINAL_STATES } from '../results/result-store.js';
import { decodeResultMeta, type ResultChild } from '../wire/result-meta.js';
import type { Gateway } from './gateway.js';
import type { ResultOptions, TaskHandle } from './task-handle.js';

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
  /** Revokes every member that has not ended. */
  revoke(): Promise<void>;
  /** Removes the stored results. */
  forget(): Promise<void>;
}

/** Of a member that gives an array: a task, or a group in the group. */
export type MemberHandle<T extends readonly unknown[]> = TaskHandle<T> | GroupHandle<T>;

type AnyHandle = TaskHandle<unknown> | GroupHandle<readonly unknown[]>;

export interface GroupHandleOwner {
  readonly gateway: () => Gateway;
  readonly handle: (id: string) => TaskHandle<unknown>;
}

/** The handles of a canvas that was sent. */
export function handlesOf(node: ResultChild, owner: GroupHandleOwner): AnyHandle {
  return typeof node === 'string' ? owner.handle(node) : new SentGroup(node, owner);
}

class SentGroup implements GroupHandle<readonly unknown[]> {
  readonly id: string;
  readonly children: never;
  readonly #members: readonly AnyHandle[];
  readonly #ids: readonly string[];
  readonly #owner: GroupHandleOwner;

  constructor(node: Exclude<ResultChild, string>, owner: GroupHandleOwner) {
    this.id = node.group;
    this.#owner = owner;
    this.#members = node.members.map((member) => handlesOf(member, owner));
    this.#ids = idsIn(node);
    this.children = this.#members as never;
  }

  result(options: ResultOptions): Promise<readonly unknown[]> {
    return Promise.all(this.#members.map((member) => member.result(options)));
  }

  async *results(options: ResultOptions): AsyncIterableIterator<MemberResult<unknown>> {
    if (options?.timeout === undefined) throw new ConfigError('E_CONFIG_TYPE', 'results() needs a timeout');
    // a loop that is left early waits for nothing more
    const left = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
    setMaxListeners(0, signal);
    const pending = new Map<number, Promise<MemberResult<unknown>>>(
      this.#members.map((member, index) => [
        index,
        member.result({ ...options, signal }).then(
          (value) => ({ index, status: 'fulfilled', value }),
          (reason: unknown) => ({ index, status: 'rejected', reason }),
        ),
      ]),
    );
    try {
      while (pending.size > 0) {
        const next = await Promise.race(pending.values());
        pending.delete(next.index);
        yield next;
      }
    } finally {
      left.abort();
    }
  }

  async progress(): Promise<GroupProgress> {
    const states = (await this.#owner.gateway().getResults(this.#ids)).map((meta) =>
      meta === null ? 'PENDING' : decodeResultMeta(meta).status,
    );
    const done = states.filter((state) => FINAL_STATES.has(state)).length;
    const failed = states.filter((state) => state === 'FAILURE' || state === 'REVOKED').length;
    return { total: this.#ids.length, done, failed };
  }

  async revoke(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.revoke()));
  }

  forget(): Promise<void> {
    return this.#owner.gateway().forgetResults(this.#ids);
  }
}

const idsIn = (node: ResultChild): string[] => (typeof node === 'string' ? [node] : node.members.flatMap(idsIn));
