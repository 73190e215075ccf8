/**
 * Signs of life of listeners, in a small file beside the database: who has nothing to do must not write into the database, and
 * whoever was killed must not be taken for a listener for long. One slot a listener: its id and when it last lived.
 *
 * Best effort, and nothing of it must last. A slot that another listener has taken since tells nothing: then the row in the table
 * holds until it runs out (`listener-rows.ts`).
 */
import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';

/** The file has 16 bytes for each: 64 KiB. */
const SLOTS = 4_096;
const SLOT_BYTES = 16;

export class LifeSigns {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #silentAfterMs: number;
  #file: number | null = null;

  /** @param path of the database; nothing is touched before the first use */
  constructor(path: string, silentAfterMs: number, logger: Logger) {
    this.#path = `${path}-bell/listeners`;
    this.#silentAfterMs = silentAfterMs;
    this.#logger = logger;
  }

  /** Says that these live. Never throws: who cannot say so is counted by fewer. */
  give(ids: Iterable<number>): void {
    try {
      for (const id of ids) {
        const slot = Buffer.alloc(SLOT_BYTES);
        slot.writeDoubleLE(id, 0);
        slot.writeDoubleLE(Date.now(), 8);
        writeSync(this.#open(), slot, 0, SLOT_BYTES, positionOf(id));
      }
    } catch (error) {
      this.#logger.warn({ error: toError(error).message, path: this.#path }, 'cannot say that somebody listens here');
    }
  }

  /** How many of these may still live: all but those who have said so once, and not lately. */
  countLiving(ids: readonly number[]): number {
    if (ids.length === 0) return 0;
    let slots: Buffer;
    try {
      slots = readFileSync(this.#path);
    } catch {
      return ids.length; // nobody has said anything yet
    }
    const oldestMs = Date.now() - this.#silentAfterMs;
    const isSilent = (id: number): boolean => {
      const at = positionOf(id);
      if (at + SLOT_BYTES > slots.length || slots.readDoubleLE(at) !== id) return false;
      return slots.readDoubleLE(at + 8) < oldestMs;
    };
    return ids.filter((id) => !isSilent(id)).length;
  }

  close(): void {
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }

  #open(): number {
    if (this.#file === null) {
      mkdirSync(dirname(this.#path), { recursive: true });
      closeSync(openSync(this.#path, 'a'));
      this.#file = openSync(this.#path, 'r+');
    }
    return this.#file;
  }
}

const positionOf = (id: number): number => (id % SLOTS) * SLOT_BYTES;
