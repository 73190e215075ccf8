/**
 * The seam of schedules: where entries, what was decided of them, and the lead are kept, for all schedulers of one app. Definitions and
 * states travel as text, so a store knows only revisions and numbers. A driver is finished when it passes
 * `testing/conformance/beat-store.ts`. Next stop: `scheduler.ts`.
 *
 * Two fences hold it together. The lead's epoch: only the scheduler that took it last may decide (`fire`), so one that stood still for a
 * minute decides nothing any more. And an entry's own numbers: its revision (it was edited) and the number of its state (a decision whose
 * answer was lost has been taken). No clock is compared with another's anywhere.
 */
import type { OutgoingMessage } from '../brokers/broker.js';
import type { QueueTable } from '../brokers/queue-table.js';
import type { Logger } from '../core/logger.js';

/** Entries of one app. */
export const MOST_ENTRIES = 100_000;
/** Bytes of one definition. */
export const MOST_DEFINITION_BYTES = 262_144;
/** Requests to run an entry now that no scheduler has taken up. */
export const MOST_REQUESTS = 1_000;
/** Ids remembered as changed; who has seen less than that reads all entries again. */
export const MOST_CHANGES = 1_000;

/** Who leads. `owner` null: nobody; the epoch rises with each one that takes the lead. */
export interface Lead {
  readonly owner: string | null;
  readonly epoch: number;
}

export interface EntryRecord {
  readonly id: string;
  /** Another one after each edit. */
  readonly revision: number;
  readonly paused: boolean;
  /** See `definition.ts`. */
  readonly definition: string;
  /** Rises by one with each decision; 0: none yet. */
  readonly seq: number;
  /** What was decided, see `entry-state.ts`; `null`: nothing yet. */
  readonly state: string | null;
}

/** Somebody wants an entry to run now. */
export interface RunRequest {
  readonly id: string;
  readonly entry: string;
}

export interface EntrySnapshot {
  readonly version: number;
  readonly entries: readonly EntryRecord[];
  readonly requests: readonly RunRequest[];
}

export interface EntryNews extends EntrySnapshot {
  readonly removed: readonly string[];
}

/**
 * `expect`: only if the entry has this revision now, 0 = only if there is none; absent = whatever there is. A put keeps the entry's
 * state, a remove takes it away.
 */
export type EntryChange =
  | {
      readonly kind: 'put';
      readonly id: string;
      readonly definition: string;
      readonly paused: boolean;
      readonly expect?: number;
    }
  | { readonly kind: 'remove'; readonly id: string; readonly expect?: number }
  | { readonly kind: 'run'; readonly id: string; readonly request: string };

/** `conflict`: it has another revision than expected. `full`: there is no room. Nothing was done unless `done`. */
export type ChangeAnswer = 'done' | 'conflict' | 'missing' | 'full';

/** A decision about an entry. */
export interface Firing {
  readonly id: string;
  /** What the entry must have, or nothing is done. */
  readonly revision: number;
  readonly seq: number;
  /** The state from now on; its number is one higher. */
  readonly state: string;
  /** Handed to the broker in the same step, or before it. Empty unless `handsOver` or `publishes`. */
  readonly messages: readonly OutgoingMessage[];
  /** The request that it answers: gone with it, and without it nothing is done. */
  readonly request: string | null;
}

/** `stale`: the entry was edited, or this was decided before; nothing was done. */
export type FireAnswer = 'done' | 'stale';

/** What a scheduler hears, without asking. */
export interface BeatListener {
  /** The lead lives, or has changed hands. */
  onLead(lead: Lead): void;
  /** Entries were changed, or a run is wanted. */
  onChange(): void;
  /** From now on, or again, nothing is missed. */
  onUp(): void;
  onDown(cause: Error): void;
}

export interface BeatStore {
  readonly name: string;
  /** Message and decision are one step; otherwise why not, and whoever decides publishes first. */
  readonly handsOver: true | string;
  /** `fire` sends the messages and then notes the decision: two steps, but on a connection that is gone when the lead is. */
  readonly publishes?: true;
  /**
   * Keeps entries of the code alone, those of the process that asks, and not how their runs ended: why, and what to do. A scheduler can
   * use it; whoever wants to look at entries or change them cannot.
   */
  readonly codeOnly?: string;
  connect(options: { readonly timeoutMs: number }): Promise<void>;
  /** All entries. */
  load(): Promise<EntrySnapshot>;
  /** One entry, `null` if there is none. */
  get(id: string): Promise<EntryRecord | null>;
  /** What was changed after this version; `null`: too much, load again. Decisions of `fire` are no changes. */
  changesSince(version: number): Promise<EntryNews | null>;
  /** Each by itself, in order. */
  change(changes: readonly EntryChange[]): Promise<readonly ChangeAnswer[]>;
  /** Decides, if this epoch still leads; `null`: it does not, and nothing was done. A handful of hundreds at a time. */
  fire(epoch: number, firings: readonly Firing[]): Promise<readonly FireAnswer[] | null>;
  lead(): Promise<Lead>;
  /** Takes the lead with the next epoch if it still stands at this one, and tells all listeners. Answers who leads now. */
  takeLead(owner: string, seenEpoch: number): Promise<Lead>;
  /** Gives the lead back, if it is still this one, and tells all listeners. */
  resign(lead: Lead): Promise<void>;
  /** Tells all listeners that this lead lives. Stores nothing. */
  beat(lead: Lead): Promise<void>;
  listen(listener: BeatListener): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

export interface BeatStoreOptions {
  readonly url: string;
  /** Schedules of different apps do not see each other. */
  readonly app: string;
  readonly logger: Logger;
  /** The broker that messages are for: where it is the store's own place, they are handed over in one step. */
  readonly brokerUrl: string;
  /** How the app declares queues, for a store that publishes. @defaultValue none */
  readonly queues?: QueueTable;
}
