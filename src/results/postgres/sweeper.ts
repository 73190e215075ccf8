/**
 * When rows that are over are removed from PostgreSQL: by processes that write, now and then, in bounded batches and one process at
 * a time (the server sees to that). Nobody who is idle sweeps, and nothing grows while nobody writes.
 */
import { toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';

/** Rows of each kind in one transaction: short enough that nobody waits for it. */
const BATCH = 1_000;
const EVERY_MS = 15_000;
/** Between two batches while there is more, so that those who work come in between. */
const PAUSE_MS = 20;

export class Sweeper {
  readonly #sweep: (most: number) => Promise<number>;
  readonly #logger: Logger;
  #dueMs = performance.now() + EVERY_MS * Math.random();
  #isBusy = false;
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;

  /** @param sweep removes at most so many rows of each kind; resolves with how many it were at most */
  constructor(sweep: (most: number) => Promise<number>, logger: Logger) {
    this.#sweep = sweep;
    this.#logger = logger;
  }

  /** Something was written: sweeps if it is time. */
  written(): void {
    if (this.#isStopped || this.#isBusy || performance.now() < this.#dueMs) return;
    this.#isBusy = true;
    void this.#batch();
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer) clearTimeout(this.#timer);
  }

  async #batch(): Promise<void> {
    let removed = 0;
    try {
      removed = await this.#sweep(BATCH);
    } catch (error) {
      if (!this.#isStopped) this.#logger.debug({ err: toError(error) }, 'postgresql: results that are over could not be removed');
    }
    if (this.#isStopped) return;
    if (removed >= BATCH) {
      this.#timer = setTimeout(() => void this.#batch(), PAUSE_MS).unref();
      return;
    }
    this.#isBusy = false;
    this.#dueMs = performance.now() + EVERY_MS * (0.75 + Math.random() / 2);
  }
}
