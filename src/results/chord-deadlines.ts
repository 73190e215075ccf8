/**
 * Telling workers of deadlines that they would learn of too late. Each looks for overdue chords every half minute, and learns then when
 * the next is due; a chord whose deadline is nearer than that is told by whoever opens it. Python's workers pass over it: it is addressed
 * to a name that none of them can have. Who hears it: `control/commands/chords.ts`, `worker/engine/following/overdue.ts`.
 */
import { inTime } from '../core/in-time.js';
import type { AddressedMessage } from '../wire/broadcast-message.js';
import { encodeControlRequest, OUR_WORKERS } from '../wire/control-message.js';
import type { OpenChord } from './chords.js';

/** How often a worker looks for overdue chords if it knows of none. */
export const LOOK_MS = 30_000;
/** Of chords that are due later every worker knows in time: it looks before, however late its timer and its store are. */
const NEAR_MS = LOOK_MS + 5_000;
/** Nobody waits longer for the news to be out: without it a chord ends too, only later. */
const TELL_MS = 1_000;

/** The command of these news; its argument `at` is wall time in milliseconds. */
export const CHORDS_DUE = 'chords_due';

/** Whether a chord may be due before a worker has looked. */
export const isNear = (deadlineMs: number, nowMs: number): boolean => deadlineMs - nowMs <= NEAR_MS;

export interface ChordDeadlinesOptions {
  readonly broadcast: (message: AddressedMessage) => Promise<unknown>;
  readonly nowMs: () => number;
}

export class ChordDeadlines {
  readonly #options: ChordDeadlinesOptions;
  /** Until then workers look often, so that what is due later need not be told. */
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(options: ChordDeadlinesOptions) {
    this.#options = options;
  }

  /** After chords were opened. Resolves when workers are told, if they must be, or after a second. Never rejects. */
  async tell(chords: readonly Pick<OpenChord, 'deadlineMs'>[]): Promise<void> {
    const { broadcast, nowMs } = this.#options;
    const sinceMs = nowMs();
    // not spread into one call: there may be more chords than it takes arguments
    const dueMs = Math.ceil(chords.reduce((least, { deadlineMs }) => Math.min(least, deadlineMs), Number.POSITIVE_INFINITY));
    if (!isNear(dueMs, sinceMs) || (sinceMs < this.#toldMs && this.#toldMs <= dueMs)) return;
    this.#toldMs = dueMs;
    const late = (): Error => new Error('the broker did not answer in time');
    try {
      // plain JSON: workers of any language read it
      const request = { method: CHORDS_DUE, arguments: { at: dueMs }, destination: [OUR_WORKERS] };
      const told = broadcast(encodeControlRequest(request, { json: 'plain' }));
      await inTime(told, { timeoutMs: TELL_MS, onLate: late, onAbort: late });
    } catch {
      this.#toldMs = Number.NEGATIVE_INFINITY;
    }
  }
}
