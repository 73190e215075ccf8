/**
 * Looks for chords that will never end by themselves: seldom, because each look costs the store a command, and often while chords are
 * opened that are due sooner (`results/chord-deadlines.ts`). What becomes of one that is overdue is `chords.ts`.
 */
import { type Clock, systemClock } from '../../../core/clock.js';
import { codeOf, toError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import { ChordDeadlines, isNear, LOOK_MS } from '../../../results/chord-deadlines.js';
import type { OpenChord } from '../../../results/chords.js';
import type { ResultStore } from '../../../results/result-store.js';
import type { AddressedMessage } from '../../../wire/broadcast-message.js';
import { decodeJson } from '../../../wire/serializers/json.js';
import { parseSignature, type WireSignature } from '../../../wire/signature.js';

/** How soon at the soonest. */
const LEAST_LOOK_MS = 1_000;
/** How often while chords with a near deadline are opened, and after another worker has begun to end one. */
const OFTEN_MS = 5_000;
/** Not all workers at once: by so much a look may be later than it is due. */
const MOST_LATE_MS = 1_000;
const MOST_AT_ONCE = 100;

export interface OverdueOptions {
  readonly store: ResultStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** To all workers. */
  readonly broadcast: (message: AddressedMessage) => Promise<unknown>;
  /** Resolves with whether it is ended; `false`: another worker is about it. */
  readonly endOne: (groupId: string, body: WireSignature) => Promise<boolean>;
}

export class OverdueChords {
  readonly #options: OverdueOptions;
  readonly #deadlines: ChordDeadlines;
  /** `null`: not yet watching, or a look is under way. */
  #cancel: (() => void) | null = null;
  #isClosed = false;
  /** When the next look is, by the monotonic clock. */
  #plannedMs = Number.POSITIVE_INFINITY;
  /** What became due during a look, and is not planned yet; wall time. */
  #heardMs = Number.POSITIVE_INFINITY;
  /** Until then looks are frequent; wall time. */
  #oftenUntilMs = Number.NEGATIVE_INFINITY;
  readonly #look = (): void => void this.#lookOnce();

  constructor(options: OverdueOptions) {
    this.#options = options;
    const { broadcast, clock } = options;
    this.#deadlines = new ChordDeadlines({ broadcast, nowMs: () => clock.nowMs() });
  }

  /** From now on. */
  watch(): void {
    if (this.#options.store.chords) this.#planWithin(LEAST_LOOK_MS);
  }

  /** Somebody may have made one overdue just now: whoever revokes a part that no worker will ever see. */
  soon(): void {
    this.#bringForward(Number.NEGATIVE_INFINITY);
  }

  /** These were opened here: all workers know of their deadlines in time, should this one be gone by then. */
  opened(chords: readonly Pick<OpenChord, 'deadlineMs'>[]): void {
    for (const { deadlineMs } of chords) this.dueBy(deadlineMs);
    void this.#deadlines.tell(chords);
  }

  /** Somebody opens chords, of which the first is due then: the others are known by looking often until then. */
  dueBy(deadlineMs: number): void {
    const nowMs = this.#options.clock.nowMs();
    if (!isNear(deadlineMs, nowMs)) return;
    this.#oftenUntilMs = Math.max(this.#oftenUntilMs, deadlineMs);
    this.#bringForward(Math.min(deadlineMs, nowMs + OFTEN_MS));
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
  }

  #bringForward(dueMs: number): void {
    if (this.#isClosed) return;
    // while a look is under way there is nothing to bring forward: it minds this when it is through
    if (this.#cancel === null) this.#heardMs = Math.min(this.#heardMs, dueMs);
    else this.#planWithin(dueMs - this.#options.clock.nowMs());
  }

  /** Never later than it was: whoever asks for a look again and again must not put it off. */
  #planWithin(waitMs: number): void {
    const leastMs = Math.max(waitMs, LEAST_LOOK_MS);
    const lateMs = leastMs + Math.random() * Math.min(leastMs / 10, MOST_LATE_MS);
    const atMs = systemClock.monotonicMs() + lateMs;
    if (this.#cancel !== null && atMs >= this.#plannedMs) return;
    this.#cancel?.();
    this.#plannedMs = atMs;
    this.#cancel = systemClock.after(lateMs, this.#look);
  }

  async #lookOnce(): Promise<void> {
    const { clock, logger } = this.#options;
    this.#cancel = null;
    this.#heardMs = Number.POSITIVE_INFINITY;
    let nextMs = Number.POSITIVE_INFINITY;
    try {
      nextMs = await this.#endOverdue();
    } catch (error) {
      if (!this.#isClosed) logger.warn({ error: toError(error).message }, 'overdue chords could not be looked up');
    }
    if (this.#isClosed) return;
    const nowMs = clock.nowMs();
    const mostMs = nowMs < this.#oftenUntilMs ? OFTEN_MS : LOOK_MS;
    this.#planWithin(Math.min(Math.min(nextMs, this.#heardMs) - nowMs, mostMs));
  }

  /** Resolves with when the next is due, as far as known. */
  async #endOverdue(): Promise<number> {
    const { store, clock, logger, endOne } = this.#options;
    if (!store.chords) return Number.POSITIVE_INFINITY;
    const { chords, nextMs } = await store.chords.overdue(clock.nowMs(), MOST_AT_ONCE);
    let againMs = nextMs ?? Number.POSITIVE_INFINITY;
    for (const { groupId, body } of chords) {
      try {
        const isEnded = await endOne(groupId, parseSignature(decodeJson(body), 'the body of a chord'));
        // whoever is about it may have died over it
        if (!isEnded) againMs = Math.min(againMs, clock.nowMs() + OFTEN_MS);
      } catch (error) {
        if (codeOf(error) !== 'E_DECODE') throw error;
        logger.error({ group: groupId, error: toError(error).message }, 'an overdue chord cannot be read: forgotten');
        await store.chords.close([groupId]);
      }
    }
    return againMs;
  }
}
