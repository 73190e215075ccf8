/** Who listens to broadcasts through the file, and reading the new ones when the bell rings. */
import type { FileSession } from '../../clients/sqlite/session.js';
import { WireError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Broadcast, Subscription } from '../broker.js';
import { topicMatcher } from '../topic-pattern.js';
import { BellReader } from './bell-reader.js';
import type { BroadcastRow } from './call-types.js';
import type { ListenerRows } from './listener-rows.js';
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
  readonly #rows: ListenerRows;
  readonly #logger: Logger;
  readonly #reader: BellReader;
  readonly #listeners = new Set<Listener>();
  #last = 0;

  constructor(session: FileSession, rows: ListenerRows, logger: Logger) {
    this.#session = session;
    this.#rows = rows;
    this.#logger = logger;
    this.#reader = new BellReader({ session, logger, kind: 'broadcasts', read: () => this.#read() });
  }

  async add(exchange: string, pattern: string, onBroadcast: (broadcast: Broadcast) => void): Promise<Subscription> {
    const { id, after } = await this.#rows.add({ exchange, pattern, inbox: false });
    const listener: Listener = { exchange, matches: topicMatcher(pattern), onBroadcast, after };
    if (this.#listeners.size === 0) this.#last = after;
    this.#listeners.add(listener);
    await this.#reader.start();
    return {
      close: async () => {
        if (!this.#listeners.delete(listener)) return;
        if (this.#listeners.size === 0) this.#reader.stop();
        await this.#rows.remove(id);
      },
    };
  }

  close(): void {
    this.#listeners.clear();
    this.#reader.stop();
  }

  async #read(): Promise<boolean> {
    const rows = await this.#session.call<BroadcastRow[]>('broadcastsSince', this.#last, { mode: 'read' });
    for (const row of rows) this.#tell(row);
    return rows.length > 0;
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
