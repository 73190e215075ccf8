/** What the file broker asks of the database: arguments and answers of `operations.ts`. Types only; all can be cloned. */
import type { SqliteValue } from '../../clients/sqlite/driver.js';

/** A message to store. `dueMs` 0: at once. `once`: only if nobody has this key. */
export type NewRow = readonly [
  queue: string,
  rank: number,
  dueMs: number,
  head: string,
  body: string | Uint8Array,
  once?: { readonly key: string; readonly id: string; readonly ttlMs: number },
];

export interface PopArgument {
  /** The consumer's holder row; `null` before its first delivery and after it was lost. */
  readonly holder: number | null;
  readonly name: string;
  readonly leaseMs: number;
  /** In the order of this turn. */
  readonly queues: readonly { readonly name: string; readonly limit: number }[];
  readonly limit: number;
}

/** A claimed message. */
export interface PoppedRow {
  readonly id: number;
  readonly claim: number;
  readonly queue: string;
  readonly seen: boolean;
  readonly losses: number;
  readonly head: SqliteValue;
  readonly body: SqliteValue;
}

export interface PopAnswer {
  /** Who holds now; another one than asked if that one had been lost. */
  readonly holder: number | null;
  readonly rows: readonly PoppedRow[];
  /** There is more for the credit that is left. */
  readonly more: boolean;
  /** Version of the records of revoked tasks. */
  readonly revocations: number;
}

export interface WatchArgument {
  readonly queues: readonly string[];
  readonly holder: number | null;
}

/** What a consumer must know before it sleeps. */
export interface WatchAnswer {
  /** Something can be popped now. */
  readonly ready: boolean;
  /** Wall time of the next delayed message or lease expiry, whichever is first; `null` if none. */
  readonly nextMs: number | null;
}

export interface SettleArgument {
  readonly holder: number;
  /** Ids whose messages go. */
  readonly acks: readonly number[];
  /** To the front, in the order in which they are to be served. */
  readonly fronts: readonly number[];
  readonly backs: readonly number[];
  readonly defers: readonly DeferRow[];
  readonly parks: readonly ParkRow[];
  /** Claims of which nothing is left. */
  readonly claims: readonly number[];
}

/** `successor` takes the place of the message. */
export interface DeferRow {
  readonly id: number;
  readonly untilMs: number;
  readonly queue: string | null;
  readonly successor: { readonly rank: number | null; readonly head: string; readonly body: string | Uint8Array } | null;
}

/** `facts`: JSON of `DeadFacts`. */
export interface ParkRow {
  readonly id: number;
  readonly facts: string;
}

/** A dead letter without its content. */
export interface DeadFactsRow {
  readonly id: number;
  readonly parkedAtMs: number;
  /** Of head and body. */
  readonly bytes: number;
  readonly facts: string;
}

export interface DeadContentRow {
  readonly head: SqliteValue;
  readonly body: SqliteValue;
}

/** A message that takes the place of a dead letter. */
export interface DeadPutBackRow {
  readonly id: number;
  readonly queue: string;
  readonly rank: number;
  readonly head: string;
  readonly body: string | Uint8Array;
}

/** A message that was taken out before its time. */
export interface WithdrawnRow {
  readonly task: string;
  readonly head: SqliteValue;
  readonly body: SqliteValue;
}

export interface PeekRow {
  readonly head: SqliteValue;
  readonly body: SqliteValue;
  readonly dueMs: number | null;
}

export interface DepthRow {
  readonly queue: string;
  readonly ready: number;
  readonly delayed: number;
  readonly unacked: number;
}

export interface BroadcastRow {
  readonly id: number;
  readonly exchange: string;
  readonly routingKey: string;
  readonly head: SqliteValue;
  readonly body: SqliteValue;
}

/** A broadcast or a reply on its way in. */
export interface NewBroadcastRow {
  readonly exchange: string;
  readonly routingKey: string;
  readonly head: string;
  readonly body: string | Uint8Array;
}

/** `inbox`: listens to replies and to no broadcast. */
export interface ListenerRow {
  readonly exchange: string;
  readonly pattern: string;
  readonly inbox: boolean;
  readonly ttlMs: number;
}

export interface ReplyRow {
  readonly id: number;
  readonly head: SqliteValue;
  readonly body: SqliteValue;
}
