/**
 * What an operation on the embedded file is: a synchronous function that runs inside a transaction, named so that it
 * can be called from another thread. Brokers and results bring tables of them; `group-commit.ts` runs them. Types only.
 */
import type { SqliteConnection } from './driver.js';

/** What there is to wait for; each kind has a bell of its own, so that nobody is woken for nothing. */
export type BellKind = 'messages' | 'results' | 'broadcasts' | 'replies';

/** Names of numbers that are never used twice, also after a restart. */
export type CounterName =
  | 'message'
  | 'front'
  | 'holder'
  | 'claim'
  | 'result'
  | 'broadcast'
  | 'dead'
  | 'listener'
  | 'reply'
  | 'mark';

/** What an operation may use besides its statements. */
export interface OperationContext {
  /** Wall time of this transaction. */
  nowMs(): number;
  /** Rings for the waiting processes once this transaction is committed. */
  ring(kind: BellKind): void;
  /** Takes `count` numbers and returns the first; `front` counts downwards. */
  take(counter: CounterName, count: number): number;
}

/** One driver's operations, prepared on one connection. */
export interface OperationTable {
  /** By name; the argument's type is agreed between the caller and the operation. */
  readonly calls: Readonly<Record<string, (argument: never) => unknown>>;
  /** Writes what the operations of this transaction only collected. */
  beforeCommit?(): void;
  /** The transaction was rolled back: forget what was learnt in it. */
  afterRollback?(): void;
}

/** The shape of a module that a writer thread can load: it exports this as `prepareOperations`. */
export type PrepareOperations = (connection: SqliteConnection, context: OperationContext) => OperationTable;

/** A table as a driver hands it over: the function for this thread, and where another thread finds the same one. */
export interface OperationModule {
  /** Prefix of its calls: `broker.publish`. */
  readonly name: string;
  readonly prepareOperations: PrepareOperations;
  /** `import.meta.url`-based address of the module that exports it. */
  readonly href: string;
}

/**
 * - `durable`: on the disk when it resolves (with `sync=full`).
 * - `relaxed`: survives the death of the process, and a power loss only once something durable follows. For what costs
 *   nothing but a second run when lost: claims, acks, leases.
 * - `read`: takes no write lock.
 */
export type CallMode = 'durable' | 'relaxed' | 'read';

export interface CallOptions {
  readonly mode: CallMode;
  /** Rows written, roughly: bounds the size of a transaction. Default 1. */
  readonly weight?: number;
  /** Wall time after which the call must not begin any more; it then rejects with `E_PUBLISH_TIMEOUT`. */
  readonly deadlineMs?: number;
}
