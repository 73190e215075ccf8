/**
 * What a worker knows of revoked tasks. Three sources: ids that it heard of while it lived, values of stamped headers that it
 * heard of, and the records of the broker or store, of which it keeps no copy: it asks for the ids in its hands, and only
 * while there are any records at all. What is done about a revoked task that is here already: `terminate.ts`.
 *
 * Bounded: as many ids as a Celery worker keeps, for as long; so many headers, so many values each. Nothing here grows with
 * traffic, and expired tasks never come here.
 */
import type { Clock } from '../../../core/clock.js';
import { MemoryTimedSet, MOST_REVOCATIONS, type TimedSet } from '../../../core/timed-set.js';
import type { TaskHeaders } from '../../../wire/task-message.js';

/** Celery's `CELERY_WORKER_REVOKE_EXPIRES`; how many is `CELERY_WORKER_REVOKES_MAX`. */
const KEPT_MS = 3 * 3_600_000;
const MOST_HEADERS = 100;
const MOST_VALUES = 1_000;
/** Where no driver tells the version, it is asked for with the first arrivals after so long. */
const VERSION_HOLDS_MS = 30_000;
const NOBODY: ReadonlySet<string> = new Set();

/** What becomes of a run that was revoked before it began. */
export const REVOKED_UNBEGUN = { kind: 'revoked', begun: false, abandoned: false, runtimeMs: 0, children: [] } as const;

export interface RevokedOptions {
  /** `null`: nobody keeps records, and what is heard is all. */
  readonly records: TimedSet | null;
  /** The consumer calls `learn` by itself. */
  readonly isTold: boolean;
  readonly clock: Clock;
  /** There are other records than before: what waits here may be among them. */
  readonly onChange: () => void;
  /** Somebody has revoked tasks by their ids, just now. */
  readonly onHeard: () => void;
}

export class Revoked {
  readonly #options: RevokedOptions;
  readonly #heard: MemoryTimedSet;
  /** Values by header. Bounded: `MOST_HEADERS`, the oldest goes; `MOST_VALUES` each. */
  readonly #stamps = new Map<string, MemoryTimedSet>();
  #version = 0;
  #askedMs = Number.NEGATIVE_INFINITY;
  /** It has been asked for once. */
  #isKnown = false;

  constructor(options: RevokedOptions) {
    this.#options = options;
    this.#heard = this.#newSet(MOST_REVOCATIONS);
  }

  /** How many ids are held; for people and tests. */
  get size(): number {
    return this.#heard.size;
  }

  /** Whether a look at the ids of an arriving batch is due before it is judged. */
  get mustAsk(): boolean {
    const { records, isTold } = this.#options;
    return records !== null && (this.#version !== 0 || (!isTold && this.#isStale));
  }

  get #isStale(): boolean {
    return this.#options.clock.monotonicMs() - this.#askedMs > VERSION_HOLDS_MS;
  }

  hear(ids: readonly string[]): void {
    for (const id of ids) this.#heard.add(id, KEPT_MS);
    if (ids.length > 0) this.#options.onHeard();
  }

  hearStamps(header: string, values: readonly string[]): void {
    let known = this.#stamps.get(header);
    if (known === undefined) {
      if (this.#stamps.size >= MOST_HEADERS) this.#stamps.delete(this.#stamps.keys().next().value as string);
      known = this.#newSet(MOST_VALUES);
      this.#stamps.set(header, known);
    }
    for (const value of values) known.add(value, KEPT_MS);
  }

  /** By what was heard. Asked at arrival and just before the start. */
  has(headers: TaskHeaders): boolean {
    if (this.#heard.size > 0 && this.#heard.has(headers.id)) return true;
    if (this.#stamps.size === 0 || headers.stampedHeaders === null) return false;
    return headers.stampedHeaders.some((name) => {
      const revoked = this.#stamps.get(name);
      return revoked !== undefined && valuesOf(headers.stamps[name]).some((value) => revoked.has(value));
    });
  }

  /** What the consumer says: the version of the records, 0 for none. */
  learn(version: number): void {
    if (version === this.#version) return;
    this.#version = version;
    if (version !== 0) this.#options.onChange();
  }

  /** Broadcasts may have been missed, so what is known of the records counts no more. */
  doubt(): void {
    this.#askedMs = Number.NEGATIVE_INFINITY;
  }

  /** Which of these are recorded. @throws BrokerError when there are records and they cannot be reached */
  async ask(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const { records, isTold } = this.#options;
    if (records === null || ids.length === 0) return NOBODY;
    if (!isTold && this.#isStale) await this.#refresh(records);
    return this.#version === 0 ? NOBODY : records.find(ids);
  }

  /** A store that is away must not keep tasks from running which nobody has revoked: then what was known counts on. */
  async #refresh(records: TimedSet): Promise<void> {
    const askedMs = this.#options.clock.monotonicMs();
    try {
      this.#version = await records.version();
      this.#isKnown = true;
    } catch (error) {
      if (!this.#isKnown) throw error;
    }
    this.#askedMs = askedMs;
  }

  /** Ids that were heard of, newest first, as many as fit into so many bytes of JSON. */
  list(limitBytes: number): string[] {
    const ids: string[] = [];
    let left = limitBytes;
    this.#heard.forEachNewest((id) => {
      left -= Buffer.byteLength(id) + 4;
      if (left < 0) return false;
      ids.push(id);
      return true;
    });
    return ids;
  }

  #newSet(most: number): MemoryTimedSet {
    const { clock } = this.#options;
    return new MemoryTimedSet({ most, whenFull: 'drop-oldest', nowMs: () => clock.monotonicMs() });
  }
}

/** A stamp is one value or a list; numbers and texts are equal when they read the same. */
export function valuesOf(stamp: unknown): string[] {
  if (Array.isArray(stamp)) return (stamp as unknown[]).flatMap(valuesOf);
  return typeof stamp === 'string' || typeof stamp === 'number' || typeof stamp === 'boolean' ? [String(stamp)] : [];
}
