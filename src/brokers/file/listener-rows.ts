/**
 * Our rows in the table of listeners, renewed by one timer for all. A row that is not renewed runs out: a process that was
 * killed is counted as a listener for so long, and its inboxes are emptied after it.
 */
import type { FileSession } from '../../clients/sqlite/session.js';
import { systemClock } from '../../core/clock.js';
import { codeOf, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { INBOX_LIMITS } from '../broker.js';
import type { ListenerRow } from './call-types.js';

export class ListenerRows {
  readonly #session: FileSession;
  readonly #logger: Logger;
  /** By id; one for each listener and inbox that is open here. */
  readonly #rows = new Map<number, ListenerRow>();
  #cancelRenew: (() => void) | null = null;

  constructor(session: FileSession, logger: Logger) {
    this.#session = session;
    this.#logger = logger;
  }

  /** Adds one; `after` is the newest broadcast that it does not hear. */
  async add(row: Omit<ListenerRow, 'ttlMs'>): Promise<{ readonly id: number; readonly after: number }> {
    const whole: ListenerRow = { ...row, ttlMs: INBOX_LIMITS.ttlMs };
    const added = await this.#session.call<{ id: number; after: number }>('addListener', whole, { mode: 'relaxed' });
    this.#rows.set(added.id, whole);
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
    const rows = [...this.#rows].map(([id, row]) => ({ id, ...row }));
    try {
      await this.#session.call('renewListeners', rows, { mode: 'relaxed' });
    } catch (error) {
      if (codeOf(error) === 'E_CLOSED') return;
      this.#logger.warn({ err: toError(error) }, 'listeners could not be renewed; trying again');
    }
    if (this.#rows.size > 0) this.#cancelRenew = this.#renewLater();
  }
}
