/**
 * Our rows in the table of listeners, renewed by one timer for all. A row that is not renewed runs out, and its inboxes are emptied
 * after it. Who listens for broadcasts does so for weeks and must not write into the file meanwhile: its row holds for an hour,
 * and what tells within a minute that it was killed are its signs of life (`life-signs.ts`).
 */
import type { FileSession } from '../../clients/sqlite/session.js';
import { systemClock } from '../../core/clock.js';
import { codeOf, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { INBOX_LIMITS } from '../broker.js';
import type { ListenerRow } from './call-types.js';
import { LifeSigns } from './life-signs.js';

/** How long the row of a listener holds, and when it is written anew. */
const ROW_TTL_MS = 3_600_000;
const ROW_RENEW_MS = 1_200_000;

export class ListenerRows {
  readonly #session: FileSession;
  readonly #logger: Logger;
  /** By id; one for each listener and inbox that is open here. */
  readonly #rows = new Map<number, ListenerRow>();
  readonly #signs: LifeSigns;
  /** When the rows of listeners were last written. */
  #writtenMs = 0;
  #cancelRenew: (() => void) | null = null;

  constructor(session: FileSession, logger: Logger) {
    this.#session = session;
    this.#logger = logger;
    this.#signs = new LifeSigns(session.location.path, INBOX_LIMITS.ttlMs, logger);
  }

  /** How many of these listeners, of any process, live as far as anybody knows. */
  countLiving(ids: readonly number[]): number {
    return this.#signs.countLiving(ids);
  }

  /** Adds one; `after` is the newest broadcast that it does not hear. */
  async add(row: Omit<ListenerRow, 'ttlMs'>): Promise<{ readonly id: number; readonly after: number }> {
    const whole: ListenerRow = { ...row, ttlMs: row.inbox ? INBOX_LIMITS.ttlMs : ROW_TTL_MS };
    const added = await this.#session.call<{ id: number; after: number }>('addListener', whole, { mode: 'relaxed' });
    if (this.#rows.size === 0) this.#writtenMs = Date.now();
    this.#rows.set(added.id, whole);
    if (!row.inbox) this.#signs.give([added.id]);
    this.#cancelRenew ??= this.#renewLater();
    return added;
  }

  async remove(id: number): Promise<void> {
    if (!this.#rows.delete(id)) return;
    if (this.#rows.size === 0) this.#rest();
    await this.#forget([id]);
  }

  /** Removes all. */
  async close(): Promise<void> {
    const ids = [...this.#rows.keys()];
    this.kill();
    if (ids.length > 0) await this.#forget(ids);
  }

  /** Leaves the rows to run out. */
  kill(): void {
    this.#rows.clear();
    this.#signs.close();
    this.#rest();
  }

  /** A row that cannot be removed runs out. */
  async #forget(ids: readonly number[]): Promise<void> {
    await this.#session.call('removeListeners', ids, { mode: 'relaxed' }).catch(() => {});
  }

  #rest(): void {
    this.#cancelRenew?.();
    this.#cancelRenew = null;
  }

  #renewLater(): () => void {
    return systemClock.after(INBOX_LIMITS.renewMs, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    const nowMs = Date.now();
    const isDue = nowMs - this.#writtenMs >= ROW_RENEW_MS;
    const rows = [...this.#rows].map(([id, row]) => ({ id, ...row }));
    const due = rows.filter(({ inbox }) => inbox || isDue);
    try {
      this.#signs.give(rows.flatMap(({ id, inbox }) => (inbox ? [] : [id])));
      if (due.length > 0) await this.#session.call('renewListeners', due, { mode: 'relaxed' });
      if (isDue) this.#writtenMs = nowMs;
    } catch (error) {
      if (codeOf(error) === 'E_CLOSED') return;
      this.#logger.warn({ err: toError(error) }, 'listeners could not be renewed; trying again');
    }
    if (this.#rows.size > 0) this.#cancelRenew = this.#renewLater();
  }
}
