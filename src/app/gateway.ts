/**
 * How an app reaches its broker and result store. In a client that is a connection of its own, opened at the first use;
 * inside an executor it is the message port to the engine, because executors hold no connection.
 */
import type { Broadcast, Broker, OutgoingMessage, PublishOptions, PublishResult } from '../brokers/broker.js';
import type { HopelessPart, OpenChord } from '../results/chords.js';
import type { ResultWrite } from '../results/result-store.js';
import type { SavedCall } from '../results/saved-results.js';
import type { WireMessage } from '../wire/message.js';
import type { ControlAnswers } from './control/control-types.js';

/** A question to workers as plain data, so that it can cross from an executor to its engine. */
export interface ControlQuestion {
  readonly method: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly destination: readonly string[] | null;
  readonly pattern: string | null;
  readonly matcher: 'glob' | 'pcre' | null;
  readonly timeoutMs: number;
  readonly limit: number | null;
}

export interface Gateway {
  publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]>;
  /** The reply queue to write into messages, or `null` when the store needs none. Must resolve before the first send. */
  prepareResults(): Promise<string | null>;
  getResults(ids: readonly string[]): Promise<readonly (string | null)[]>;
  /** Resolves with the final meta text; `onUpdate` hears of other states. */
  waitResult(id: string, signal: AbortSignal, onUpdate?: (meta: string) => void): Promise<string>;
  forgetResults(ids: readonly string[]): Promise<void>;
  /** Stores results that no worker will: of tasks that were revoked. */
  storeResults(writes: readonly ResultWrite[]): Promise<void>;
  /** Saves, loads or forgets saved results of workflows; texts of a `load`. Rejects with `E_NOT_SUPPORTED` where only the sender reads results. */
  savedResults(call: SavedCall): Promise<readonly (string | null)[]>;
  /** Before the parts of chords are sent. Rejects with `E_CHORD_NEEDS_STORE` where nobody could count them. */
  openChords(chords: readonly OpenChord[]): Promise<void>;
  /** These parts of chords will never run: a worker ends the chords. */
  giveUpParts(parts: readonly HopelessPart[], resultTtlMs: number | null): Promise<void>;
  /** Takes waiting messages of these tasks away, where the broker can; what it took, by task id. */
  withdraw(ids: readonly string[]): Promise<ReadonlyMap<string, WireMessage>>;
  /** Notes for so long that these tasks must not run; `false` each where there is no place for that. */
  recordRevoked(ids: readonly string[], ttlMs: number): Promise<readonly boolean[]>;
  /** Asks workers, where there is no connection. */
  ask?(question: ControlQuestion, signal?: AbortSignal): Promise<ControlAnswers>;
  /** Tells workers, without waiting for answers; resolves with how many heard it, as far as the broker can tell. */
  tell?(question: ControlQuestion): Promise<number | null>;
  /** Tells whoever listens; nobody may. */
  broadcast(broadcast: Broadcast): Promise<void>;
  /** The broker itself, opened if need be. Rejects with `E_NOT_SUPPORTED` in an executor, which holds no connection. */
  broker(): Promise<Broker>;
  close(): Promise<void>;
}
