/** Reads news whenever a bell rings, one reading at a time, and sleeps in between. Costs nothing while nothing comes. */

import type { BellKind } from '../../clients/sqlite/operations.js';
import type { FileSession } from '../../clients/sqlite/session.js';
import { systemClock } from '../../core/clock.js';
import { toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';

export interface BellReaderOptions {
  readonly session: FileSession;
  readonly logger: Logger;
  readonly kind: BellKind;
  /** Reads a part of what is new; true when there may be more. */
  readonly read: () => Promise<boolean>;
}

export class BellReader {
  readonly #options: BellReaderOptions;
  #stopListening: (() => void) | null = null;
  #cancelRecheck: (() => void) | null = null;
  #reading = false;
  #rung = false;

  constructor(options: BellReaderOptions) {
    this.#options = options;
  }

  /** Reads once, then at each ring. */
  async start(): Promise<void> {
    const { session, kind } = this.#options;
    this.#stopListening ??= session.bell.listen(kind, () => void this.#read());
    await this.#read();
  }

  stop(): void {
    this.#stopListening?.();
    this.#stopListening = null;
    this.#cancelRecheck?.();
    this.#cancelRecheck = null;
  }

  async #read(): Promise<void> {
    const { session, logger, kind, read } = this.#options;
    this.#rung = true;
    if (this.#reading) return;
    this.#reading = true;
    let longestMs = 1_000;
    this.#cancelRecheck?.();
    this.#cancelRecheck = null;
    try {
      while (this.#rung && this.#stopListening) {
        this.#rung = false;
        // before looking: what comes after the look rings
        longestMs = session.bell.arm(kind);
        if (await read()) this.#rung = true;
      }
    } catch (error) {
      logger.warn({ err: toError(error) }, `${kind} could not be read; trying again soon`);
      longestMs = 1_000;
    } finally {
      this.#reading = false;
      if (this.#stopListening) this.#cancelRecheck = systemClock.after(longestMs, () => void this.#read());
    }
  }
}
