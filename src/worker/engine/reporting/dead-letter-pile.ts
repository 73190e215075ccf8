/**
 * Watches how many dead letters there are, because nothing removes them but people. After something was parked it asks the
 * broker for their number, at most every ten seconds, and says so in the log when it has reached another power of ten.
 */
import type { Logger } from '../../../core/logger.js';

/** Parking comes in bursts; one question a burst. */
const ASK_EVERY_MS = 10_000;

export class DeadLetterPile {
  readonly #count: () => Promise<number>;
  readonly #logger: Logger;
  #isPlanned = false;
  /** Digits of the number that was told last. */
  #digits = 0;

  /** @param count one cheap question to the broker */
  constructor(count: () => Promise<number>, logger: Logger) {
    this.#count = count;
    this.#logger = logger;
  }

  /** Something is being parked. */
  grows(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    // No timer of the engine's clock: who moves that by hand waits for tasks, and not for a remark in the log.
    setTimeout(() => {
      this.#isPlanned = false;
      void this.#look();
    }, ASK_EVERY_MS).unref();
  }

  async #look(): Promise<void> {
    try {
      const count = await this.#count();
      const digits = count > 0 ? String(count).length : 0;
      if (digits > this.#digits) {
        this.#logger.warn(
          { count },
          'dead letters wait for a decision: lovage dead list shows them, nothing removes them by itself',
        );
      }
      this.#digits = digits;
    } catch {
      // Only a remark: the next parking asks again.
    }
  }
}
