/**
 * Looks for chords that will never end by themselves: seldom, because each look costs the store a command. What becomes of one that is
 * overdue is `chords.ts`.
 */
import { type Clock, systemClock } from '../../../core/clock.js';
import { codeOf, toError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import type { ResultStore } from '../../../results/result-store.js';
import { decodeJson } from '../../../wire/serializers/json.js';
import { parseSignature, type WireSignature } from '../../../wire/signature.js';

/** How often an idle worker looks, and how soon at the soonest. */
export const LOOK_MS = 20_000;
const LEAST_LOOK_MS = 1_000;
const MOST_AT_ONCE = 100;

export interface OverdueOptions {
  readonly store: ResultStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly endOne: (groupId: string, body: WireSignature) => Promise<void>;
}

export class OverdueChords {
  readonly #options: OverdueOptions;
  #cancel: (() => void) | null = null;
  #isClosed = false;

  constructor(options: OverdueOptions) {
    this.#options = options;
  }

  /** From now on. */
  watch(): void {
    const look = async (): Promise<void> => {
      let nextMs: number | null = null;
      try {
        nextMs = await this.#endOverdue();
      } catch (error) {
        if (!this.#isClosed)
          this.#options.logger.warn({ error: toError(error).message }, 'overdue chords could not be looked up');
      }
      if (this.#isClosed) return;
      const dueMs = nextMs === null ? LOOK_MS : nextMs - this.#options.clock.nowMs();
      const waitMs = Math.min(Math.max(dueMs, LEAST_LOOK_MS), LOOK_MS);
      // not all workers at once
      this.#cancel = systemClock.after(waitMs * (1 + Math.random() / 10), () => void look());
    };
    if (this.#options.store.chords) this.#cancel = systemClock.after(LEAST_LOOK_MS, () => void look());
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
  }

  /** Resolves with when the next is due, as far as known. */
  async #endOverdue(): Promise<number | null> {
    const { store, clock, logger, endOne } = this.#options;
    if (!store.chords) return null;
    const { chords, nextMs } = await store.chords.overdue(clock.nowMs(), MOST_AT_ONCE);
    for (const { groupId, body } of chords) {
      try {
        await endOne(groupId, parseSignature(decodeJson(body), 'the body of a chord'));
      } catch (error) {
        if (codeOf(error) !== 'E_DECODE') throw error;
        logger.error({ group: groupId, error: toError(error).message }, 'an overdue chord cannot be read: forgotten');
        await store.chords.close([groupId]);
      }
    }
    return nextMs;
  }
}
