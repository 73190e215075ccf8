/** Who listens to broadcasts through the file, and reading the new ones when the bell rings. */
import type { FileSession } from '../../clients/sqlite/session.js';
import { systemClock } from '../../core/clock.js';
import { toError, WireError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Broadcast, Subscription } from '../broker.js';
import { topicMatcher } from '../topic-pattern.js';
import type { BroadcastRow } from './call-types.js';
import { decodeRow } from './row-message.js';

interface Listener {
  readonly exchange: string;
  readonly matches: (routingKey: string) => boolean;
  readonly onBroadcast: (broadcast: Broadcast) => void;
  /** Hears what comes behind this one. */
  readonly after: number;
}

export class BroadcastListeners {
  readonly #session: FileSession;
  readonly #logger: Logger;
  readonly #listeners = new Set<Listener>();
  #stopListening: (() => void) | null = null;
  #cancelRecheck: (() => void) | null = null;
  #reading = false;
  #rung = false;
  #last = 0;

  constructor(session: FileSession, logger: Logger) {
    this.#session = session;
    this.#logger = logger;
  }

  async add(exchange: string, pattern: string, onBroadcast: (broadcast: Broadcast) => void): Promise<Subscription> {
    await this.#session.open();
    const after = await this.#session.call<number>('newestBroadcast', null, { mode: 'read' });
    const listener: Listener = { exchange, matches: topicMatcher(pattern), onBroadcast, after };
    if (this.#listeners.size === 0) {
      this.#last = after;
      this.#stopListening = this.#session.bell.listen('broadcasts', () => void this.#read());
    }
    this.#listeners.add(listener);
    await this.#read();
    return {
      close: async () => {
        this.#listeners.delete(listener);
        if (this.#listeners.size === 0) this.close();
      },
    };
  }

  close(): void {
    this.#listeners.clear();
    this.#stopListening?.();
    this.#stopListening = null;
    this.#cancelRecheck?.();
    this.#cancelRecheck = null;
  }

  /** Reads until nothing new is left, then sleeps. */
  async #read(): Promise<void> {
    this.#rung = true;
    if (this.#reading) return;
    this.#reading = true;
    let longestMs = 1_000;
    this.#cancelRecheck?.();
    this.#cancelRecheck = null;
    try {
      while (this.#rung && this.#listeners.size > 0) {
        this.#rung = false;
        longestMs = this.#session.bell.arm('broadcasts');
        const rows = await this.#session.call<BroadcastRow[]>('broadcastsSince', this.#last, { mode: 'read' });
        if (rows.length > 0) this.#rung = true;
        for (const row of rows) this.#tell(row);
      }
    } catch (error) {
      this.#logger.warn({ err: toError(error) }, 'broadcasts could not be read; trying again at the next one');
    } finally {
      this.#reading = false;
      if (this.#listeners.size > 0) this.#cancelRecheck = systemClock.after(longestMs, () => void this.#read());
    }
  }

  #tell({ id, exchange, routingKey, head, body }: BroadcastRow): void {
    this.#last = id;
    const message = decodeRow(head, body);
    if (message instanceof WireError) return this.#logger.warn({ err: message }, 'a broadcast could not be read');
    for (const listener of [...this.#listeners]) {
      if (id > listener.after && listener.exchange === exchange && listener.matches(routingKey))
        listener.onBroadcast({ exchange, routingKey, message });
    }
  }
}
