/** The revocations of the embedded file: records in its `marks`, and what waits for a time by the index on task ids. */
import type { FileSession } from '../../clients/sqlite/session.js';
import { sqliteTimedSet } from '../../clients/sqlite/timed-set.js';
import { WireError } from '../../core/errors.js';
import { MOST_REVOCATIONS } from '../../core/timed-set.js';
import type { WireMessage } from '../../wire/message.js';
import { REVOKE_STEP, type Revocations } from '../revocations.js';
import type { WithdrawnRow } from './call-types.js';
import { decodeRow } from './row-message.js';

/** @param assertOpen throws once the broker was closed */
export function fileRevocations(session: FileSession, assertOpen: () => void): Revocations {
  return {
    records: sqliteTimedSet(session, MOST_REVOCATIONS, assertOpen),
    async withdraw(ids) {
      assertOpen();
      const withdrawn = new Map<string, WireMessage>();
      for (let from = 0; from < ids.length; from += REVOKE_STEP) {
        const part = ids.slice(from, from + REVOKE_STEP);
        const rows = await session.call<WithdrawnRow[]>('withdraw', part, { mode: 'durable', weight: part.length });
        for (const { task, head, body } of rows) {
          const message = decodeRow(head, body);
          if (!(message instanceof WireError)) withdrawn.set(task, message);
        }
      }
      return withdrawn;
    },
  };
}
