/**
 * Types only: what a signature looks like to its callers, and what a chain checks at compile time. Made by `signature.ts`. Kept
 * cheap for the compiler: a project with hundreds of chains must not feel them.
 */
import type { WireSignature } from '../../wire/signature.js';
import type { CallOptions } from '../call-options.js';
import type { TaskHandle } from '../task-handle.js';
import type { GroupHandle } from './group-handle.js';

declare const MISSING: unique symbol;
declare const RESULT: unique symbol;

/** Options that a signature can carry: those of a call but what belongs to the moment of sending. */
export type SignatureOptions = Omit<CallOptions, 'timeout' | 'signal' | 'dedupe'>;

/** Options of `signature.send()`. */
export type SendOptions = Pick<CallOptions, 'timeout' | 'signal'>;

/** Options of `chord()`. */
export interface ChordOptions {
  /** The body runs when all parts have ended, whatever they came to, and gets their outcomes. */
  readonly settle: 'all';
}

/** What may stand behind something that gives `R`: a signature that takes it, or one that takes nothing more. */
export type Follower<R> = Signature<[previous: R], unknown, string, unknown> | Signature<[], unknown, string, unknown>;

/**
 * A call that is not made yet: a task with arguments, or a chain of such. It can be sent, put behind others, or written as JSON
 * (Celery's form). Nothing changes it: each method gives a new one.
 *
 * `Missing` are the arguments that the link before it supplies: none, or one. There is no `then`, so nothing awaits it by accident.
 */
export interface Signature<Missing extends readonly unknown[], R, N extends string = string, H = TaskHandle<R>> {
  /** Exists for the compiler only. */
  readonly [MISSING]: (missing: Missing) => void;
  /** Exists for the compiler only. */
  readonly [RESULT]: R;
  /** Of its task; of a chain, that of its last. */
  readonly name: N;
  /**
   * The same with these options over its own; of a chain, those of its first task, of a group those of all, of a chord those of its body;
   * stamps are those of every task in it.
   * @throws ConfigError `E_CONFIG_*`
   */
  with(options: SignatureOptions): Signature<Missing, R, N, H>;
  /** A chain of this and the next: for chains that are made in a loop. */
  pipe<M extends readonly unknown[], R2, N2 extends string, H2>(
    next: Signature<M, R2, N2, H2> & Joint<R, N, M, N2>,
  ): Signature<Missing, R2, N2, H2>;
  /**
   * Sent after its success, with its result as the first argument unless it is immutable; behind a group, with the results of all.
   * @remarks Source: Celery's `link`.
   */
  link(callback: Follower<R>): Signature<Missing, R, N>;
  /**
   * Sent after its failure, with the id of the task that failed; of a chain, whichever of its tasks fails.
   * @remarks Source: Celery's `link_error`.
   */
  onError(errback: Follower<string>): Signature<Missing, R, N, H>;
  /**
   * Sends what can run at once; workers send the rest as it goes. The handle is that of the last task.
   * @throws ArgumentError `E_ARGUMENTS`, `E_NOT_SERIALISABLE`, `E_MESSAGE_TOO_LARGE`: nothing was sent
   * @throws PublishError `E_PUBLISH_FAILED`, `E_PUBLISH_TIMEOUT`, … with `outcome`
   */
  send(...options: Missing extends readonly [] ? [options?: SendOptions] : [missing: MissingArgument<N>]): Promise<H>;
  /** An equal one. A signature never changes, so nothing needs it but code that comes from Celery. */
  clone(): Signature<Missing, R, N, H>;
  /**
   * As Celery writes it: plain JSON, from which `app.signature()` and Python's `app.signature()` make it again.
   * @throws ArgumentError `E_NOT_SERIALISABLE`
   */
  toJSON(): WireSignature;
}

/** Shown by the compiler. */
export interface MissingArgument<N extends string> {
  readonly error: `${N} still waits for an argument: put it behind a task in a chain, or bind all arguments with si()`;
}

/** Shown by the compiler. */
export interface WrongJoint<N extends string, R, N2 extends string, M extends readonly unknown[]> {
  readonly error: `what ${N} gives does not fit what ${N2} takes`;
  readonly gives: R;
  readonly takes: M;
}

/** `unknown` when a task that gives `R` may stand before one that misses `M`. */
export type Joint<R, N extends string, M extends readonly unknown[], N2 extends string> = M extends readonly []
  ? unknown
  : [R] extends M
    ? unknown
    : WrongJoint<N, R, N2, M>;

/** What `s()` leaves to the link before. */
export type HeadOf<A extends readonly unknown[]> = A extends readonly []
  ? []
  : A extends readonly [infer H, ...unknown[]]
    ? [previous: H]
    : [previous?: A[0]];

/** How the arguments of a task travel: by position, or as the fields of one object. */
export type By = 'position' | 'object';

/** `task.s`: binds the arguments behind the first; of an object task, fields that go over what the link before gives. */
export type Behind<A extends readonly unknown[], R, N extends string, B extends By> = B extends 'object'
  ? <const F extends Partial<A[0]> = Record<never, never>>(fields?: F) => Signature<[previous: Omit<A[0], keyof F>], R, N>
  : A extends readonly []
    ? (none: TakesNothing) => never
    : (...bound: TailOf<A>) => Signature<HeadOf<A>, R, N>;

/** Shown by the compiler. */
export interface TakesNothing {
  readonly error: 'this task takes no argument that the task before could give: use si()';
}

type TailOf<A extends readonly unknown[]> = A extends readonly [unknown?, ...infer T] ? T : [];

/** Any signature; for lists of them. */
// biome-ignore lint/suspicious/noExplicitAny: a signature takes what it misses and gives a result, so no other type holds all of them
export type AnySignature = Signature<any, any, string, any>;

type MissingOf<S> = S extends { readonly [MISSING]: (missing: infer M extends readonly unknown[]) => void } ? M : never;
type ResultOf<S> = S extends { readonly [RESULT]: infer R } ? R : never;
type NameOf<S> = S extends { readonly name: infer N extends string } ? N : never;

/** Each step with what is wrong with it. */
export type Joined<T extends readonly unknown[], Before = never> = T extends readonly [infer S, ...infer Rest]
  ? [[Before] extends [never] ? S : S & Joint<ResultOf<Before>, NameOf<Before>, MissingOf<S>, NameOf<S>>, ...Joined<Rest, S>]
  : [];

type LastOf<T extends readonly unknown[]> = T extends readonly [...unknown[], infer L] ? L : never;

/** What a chain of these steps misses, gives and is called. */
export type ChainOf<T extends readonly unknown[]> = Signature<
  MissingOf<T[0]>,
  ResultOf<LastOf<T>>,
  NameOf<LastOf<T>>,
  HandleOf<LastOf<T>>
>;

type HandleOf<S> = S extends { send(...args: never[]): Promise<infer H> } ? H : never;
type ResultsOf<T extends readonly unknown[]> = { -readonly [K in keyof T]: ResultOf<T[K]> };
/** Of members that take something, all get the same. */
type Shared<M> = [M] extends [never]
  ? []
  : (M extends readonly unknown[] ? (taken: M[0]) => void : never) extends (taken: infer I) => void
    ? [previous: I]
    : [];

/** What a group of these members misses and gives. */
export type GroupOf<T extends readonly unknown[]> = Signature<
  Shared<Exclude<MissingOf<T[number]>, readonly []>>,
  ResultsOf<T>,
  'celery.group',
  GroupHandle<ResultsOf<T>>
>;

/** What the handle of a signature is whose kind only the data tells. */
export type HandleOfAny<R> = unknown extends R
  ? TaskHandle<unknown> | GroupHandle<readonly unknown[]>
  : R extends readonly unknown[]
    ? TaskHandle<R> | GroupHandle<R>
    : TaskHandle<R>;
