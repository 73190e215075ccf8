/**
 * Who waits for which result, and reading the news when the bell rings. Owns the sleep: the bell is armed, one look makes
 * sure that nothing came in between, then only a bell or the re-check after 30 s makes a query again.
 */
import type { FileSession } from '../../clients/sqlite/session.js';
import { type BackoffPolicy, backoffMs } from '../../core/backoff.js';
import { systemClock } from '../../core/clock.js';
import { codeOf, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { FINAL_STATES } from '../result-store.js';
import type { FreshResult, NewsAnswer } from './operations.js';

const RETRY: BackoffPolicy = { backoff: 'exponential', baseMs: 50, capMs: 5_000, jitter: 'full' };
/** Up to so many ids are looked up one by one; for more it is cheaper to read whatever is new. */
const MAX_LOOKED_UP = 50;

/** One wait. */
export interface Waiter {
  onFinal(meta: string): void;
  onUpdate(meta: string): void;
  onClosed(error: Error): void;
}

interface Waiting {
  readonly waiter: Waiter;
  /** The newest write that it was told of. */
  seq: number;
}

export class Waiters {
  readonly #session: FileSession;
  readonly #logger: Logger;
  readonly #waiting = new Map<string, Set<Waiting>>();
  /** Ids that nobody has looked up since they were added. */
  #unseen = new Set<string>();
  #seq: number | null = null;
  #stopListening: (() => void) | null = null;
  #cancelWake: (() => void) | null = null;
  #reading = false;
  #stirred = false;
  /** Readings that failed in a row. */
  #failures = 0;

  constructor(session: FileSession, logger: Logger) {
    this.#session = session;
    this.#logger = logger;
  }

  /** How many waits there are. */
  get size(): number {
    let count = 0;
    for (const waiting of this.#waiting.values()) count += waiting.size;
    return count;
  }

  /** Registers a wait, which is told of what is there already too; the returned function takes it away. */
  add(id: string, waiter: Waiter): () => void {
    const waiting: Waiting = { waiter, seq: 0 };
    let all = this.#waiting.get(id);
    if (!all) {
      all = new Set();
      this.#waiting.set(id, all);
    }
    const added = all;
    added.add(waiting);
    this.#unseen.add(id);
    this.#stir();
    return () => {
      added.delete(waiting);
      if (added.size === 0 && this.#waiting.get(id) === added) this.#waiting.delete(id);
      if (this.#waiting.size === 0) this.#rest();
    };
  }

  close(error: Error): void {
    for (const all of [...this.#waiting.values()]) for (const { waiter } of [...all]) waiter.onClosed(error);
    this.#waiting.clear();
    this.#rest();
  }

  /** Nobody waits any more: no watch, no timer, and where to read on is not known when somebody waits again. */
  #rest(): void {
    this.#stopListening?.();
    this.#stopListening = null;
    this.#cancelWake?.();
    this.#cancelWake = null;
    this.#unseen.clear();
    this.#seq = null;
  }

  #stir(): void {
    this.#stirred = true;
    if (this.#reading) return;
    this.#reading = true;
    this.#cancelWake?.();
    this.#cancelWake = null;
    // one reading for all that begin to wait in this turn
    queueMicrotask(() => void this.#read());
  }

  async #read(): Promise<void> {
    let wakeInMs = 1_000;
    try {
      while (this.#stirred && this.#waiting.size > 0) {
        this.#stirred = false;
        wakeInMs = await this.#readOnce();
      }
    } catch (error) {
      if (codeOf(error) === 'E_CLOSED') return;
      this.#failures += 1;
      wakeInMs = backoffMs(RETRY, this.#failures, Math.random());
      this.#logger.warn({ err: toError(error) }, 'results could not be read; trying again');
    } finally {
      this.#reading = false;
      if (this.#waiting.size > 0) this.#cancelWake = systemClock.after(wakeInMs, () => this.#stir());
    }
    if (this.#stirred && this.#waiting.size > 0) this.#stir();
  }

  /** Resolves with how long to sleep at most. */
  async #readOnce(): Promise<number> {
    // opens the file, in a folder that the bell then has
    await this.#session.open();
    this.#stopListening ??= this.#session.bell.listen('results', () => this.#stir());
    const longestMs = this.#session.bell.arm('results');
    const few = this.#waiting.size <= MAX_LOOKED_UP || this.#seq === null;
    const ids = few ? [...this.#waiting.keys()] : [...this.#unseen];
    this.#unseen = new Set();
    const { found, seq, more } = await this.#session.call<NewsAnswer>(
      'news',
      { ids, after: few ? null : this.#seq },
      { mode: 'read' },
    );
    this.#failures = 0;
    if (this.#stopListening !== null) this.#seq = seq;
    if (more) this.#stirred = true;
    for (const result of found) this.#tell(result);
    return longestMs;
  }

  #tell({ id, seq, state, meta }: FreshResult): void {
    const all = this.#waiting.get(id);
    if (!all) return;
    const final = FINAL_STATES.has(state);
    // a copy: whoever hears the final state leaves the set
    for (const waiting of [...all]) {
      if (seq <= waiting.seq) continue;
      waiting.seq = seq;
      if (final) waiting.waiter.onFinal(meta);
      else waiting.waiter.onUpdate(meta);
    }
  }
}
