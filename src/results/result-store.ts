/**
 * Stop 8 of the walk: the result-store seam. Meta travels as JSON text (made and read by `wire/result-meta.ts`), so a
 * store moves text and knows only the state. A driver is finished when it passes `testing/result-store-conformance.ts`.
 */
import type { Logger } from '../core/logger.js';
import type { SendKeyStore } from '../core/send-keys.js';
import type { TimedSet } from '../core/timed-set.js';
import type { ChordStore } from './chords.js';
import type { SavedResults } from './saved-results.js';
import type { StepStore } from './steps.js';

/** `true`, or the reason why not. */
export interface ResultStoreCapabilities {
  /** Anyone may read a result by its id; otherwise only the process that sent the task. */
  readonly readableByAnyone: true | string;
  /** Late results of a worker that lost its lease are refused. */
  readonly fence: true | string;
  /** It can keep dedupe keys for a broker that cannot. */
  readonly sendKeys: true | string;
  /** It counts the parts of chords. */
  readonly chords: true | string;
  /** It keeps finished steps of tasks. */
  readonly steps: true | string;
}

export interface ResultWrite {
  readonly id: string;
  /** Celery's state name; SUCCESS, FAILURE and REVOKED are final. */
  readonly state: string;
  /** The meta as JSON text. */
  readonly meta: string;
  /** 0: never claimed (a first delivery). Otherwise the epoch that `claim` returned. A lower epoch than the stored one is refused. */
  readonly epoch: number;
  /** How long the result is kept; `null` for ever. */
  readonly ttlMs: number | null;
  /** The sender's reply queue, for `rpc:`. */
  readonly replyTo: string | null;
  /** The message's correlation id, for `rpc:`. */
  readonly correlationId: string | null;
}

/** `stored`; `final`: a SUCCESS stands there already and is kept; `fenced`: somebody claimed a higher epoch. */
export type WriteResult = 'stored' | 'final' | 'fenced';

/** What a claim found: a new epoch, or the meta of a result that is final already (then the task must not run again). */
export type Claim = { readonly epoch: number } | { readonly final: string };

export interface WaitOptions {
  readonly signal: AbortSignal;
}

export interface ResultStore extends SendKeyStore {
  readonly name: string;
  readonly capabilities: ResultStoreCapabilities;
  /** Ids of revoked tasks, where a store has room for them; used with brokers that have none (`brokers/revocations.ts`). */
  readonly revocations?: TimedSet;
  /** Counts the parts of chords; absent where only the sender reads results, so that nobody could. */
  readonly chords?: ChordStore;
  /** Keeps what finished steps of tasks gave; absent where there is no place that the next worker could read. */
  readonly steps?: StepStore;
  /** Where saved results have a place of their own; without it they are kept like results (`savedIn`). */
  readonly saved?: SavedResults;
  connect(options: { readonly timeoutMs: number }): Promise<void>;
  /** Writes a batch; results in order. SUCCESS is never overwritten; another final state only by a higher epoch, by SUCCESS, or as `givesWay` says. */
  set(writes: readonly ResultWrite[]): Promise<readonly WriteResult[]>;
  /** Metas in order, `null` where nothing is stored (PENDING). */
  get(ids: readonly string[]): Promise<readonly (string | null)[]>;
  /** Called before a redelivered task runs: raises the epoch (kept for `ttlMs`), or tells that the result is final. */
  claim(id: string, options: { readonly ttlMs: number }): Promise<Claim>;
  /**
   * Tells a sender's store that results for these ids will be waited for, before the task is sent. Stores that answer
   * by reply queue return its name here (`reply_to`); others return `null`.
   */
  prepare(): Promise<string | null>;
  /** Resolves with the meta once the state is final, woken and not polled; rejects with the signal's reason. Other states go to `onUpdate`. */
  wait(id: string, options: WaitOptions, onUpdate?: (meta: string) => void): Promise<string>;
  forget(ids: readonly string[]): Promise<void>;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface ResultStoreOptions {
  readonly url: string;
  readonly logger: Logger;
  readonly role: 'engine' | 'client';
}

export const FINAL_STATES: ReadonlySet<string> = new Set(['SUCCESS', 'FAILURE', 'REVOKED']);

/**
 * Whether this final write may take the place of what stands: a REVOKED without children was stored by somebody who revoked the
 * task (Celery's workers do so too), and what a worker says of how it ended counts more. It may have run all the while.
 */
export function givesWay(stands: { readonly state: string | null; readonly meta: string | null }, write: ResultWrite): boolean {
  return stands.state === 'REVOKED' && FINAL_STATES.has(write.state) && NO_CHILDREN.test(stands.meta ?? '');
}
const NO_CHILDREN = /"children": ?null/;
