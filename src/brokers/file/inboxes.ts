/** The inboxes of this process: each a listener whose replies lie in a table until it has read them. */
import { randomUUID } from 'node:crypto';
import type { FileSession } from '../../clients/sqlite/session.js';
import { WireError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { WireMessage } from '../../wire/message.js';
import type { Inbox } from '../broker.js';
import { BellReader } from './bell-reader.js';
import type { ReplyRow } from './call-types.js';
import type { ListenerRows } from './listener-rows.js';
import { decodeRow } from './row-message.js';

export class Inboxes {
  readonly #session: FileSession;
  readonly #rows: ListenerRows;
  readonly #logger: Logger;
  readonly #open = new Set<BellReader>();

  constructor(session: FileSession, rows: ListenerRows, logger: Logger) {
    this.#session = session;
    this.#rows = rows;
    this.#logger = logger;
  }

  async open(exchange: string, onReply: (message: WireMessage) => void): Promise<Inbox> {
    const session = this.#session;
    const logger = this.#logger;
    const address = { exchange, routingKey: randomUUID() };
    const { id } = await this.#rows.add({ exchange, pattern: address.routingKey, inbox: true });
    const reader = new BellReader({ session, logger, kind: 'replies', read: () => this.#read(id, onReply) });
    this.#open.add(reader);
    await reader.start();
    return {
      address,
      close: async () => {
        if (!this.#open.delete(reader)) return;
        reader.stop();
        await this.#rows.remove(id);
      },
    };
  }

  close(): void {
    for (const reader of this.#open) reader.stop();
    this.#open.clear();
  }

  async #read(listener: number, onReply: (message: WireMessage) => void): Promise<boolean> {
    const rows = await this.#session.call<ReplyRow[]>('repliesOf', listener, { mode: 'read' });
    const last = rows.at(-1);
    if (!last) return false;
    // first, so that a reply is never told twice: one that is lost is only late, and its asker stops waiting
    await this.#session.call('takeReplies', { listener, upTo: last.id }, { mode: 'relaxed' });
    for (const { head, body } of rows) {
      const message = decodeRow(head, body);
      if (message instanceof WireError) this.#logger.warn({ err: message }, 'a reply could not be read');
      else onReply(message);
    }
    return true;
  }
}
