/** The dead letters of the embedded file, for `keyed-dead-letters.ts`. What happens in the database is in `dead-operations.ts`. */
import type { FileSession } from '../../clients/sqlite/session.js';
import { WireError } from '../../core/errors.js';
import type { DeadFacts, DeadLetter } from '../dead-letters.js';
import type { DeadStore } from '../keyed-dead-letters.js';
import type { DeadContentRow, DeadFactsRow, DeadPutBackRow } from './call-types.js';
import { rankOf } from './rank.js';
import { decodeRow, encodeBody, encodeHead, rawBytes } from './row-message.js';

/** @param assertOpen throws once the broker was closed */
export function fileDeadStore(session: FileSession, assertOpen: () => void): DeadStore {
  const read = async <Value>(name: string, argument: unknown): Promise<Value> => {
    assertOpen();
    return session.call<Value>(name, argument, { mode: 'read' });
  };
  const write = async <Value>(name: string, argument: readonly unknown[], timeoutMs: number): Promise<Value> => {
    assertOpen();
    return session.call<Value>(name, argument, {
      mode: 'durable',
      weight: argument.length,
      deadlineMs: Date.now() + timeoutMs,
    });
  };
  return {
    count: () => read('deadCount', null),
    page: async (towards, beyond, limit) => {
      const rows = await read<DeadFactsRow[]>('deadPage', { towards, beyond: beyond === null ? null : rowId(beyond), limit });
      return rows.map(toLetter);
    },
    find: async (ids) => {
      const rows = await read<DeadFactsRow[]>('deadFind', ids.map(rowId));
      const letters = new Map(rows.map((row) => [String(row.id), toLetter(row)]));
      return ids.map((id) => letters.get(id) ?? null);
    },
    contents: async (letters) => {
      const rows = await read<(DeadContentRow | null)[]>(
        'deadContents',
        letters.map(({ id }) => rowId(id)),
      );
      return rows.map((row, index) => {
        if (row === null) return null;
        const message = decodeRow(row.head, row.body);
        const raw = rawBytes(row.head, row.body);
        return { letter: letters[index] as DeadLetter, raw, message: message instanceof WireError ? null : message };
      });
    },
    putBack: (returns, timeoutMs) => {
      const rows = returns.map(
        ({ letter, message, queue }): DeadPutBackRow => ({
          id: rowId(letter.id),
          queue: queue ?? letter.queue,
          rank: rankOf(message.properties.priority),
          head: encodeHead(message, undefined),
          body: encodeBody(message.body),
        }),
      );
      return write('deadPutBack', rows, timeoutMs);
    },
    remove: (letters, timeoutMs) =>
      write(
        'deadRemove',
        letters.map(({ id }) => rowId(id)),
        timeoutMs,
      ),
  };
}

/** Row ids are written as plain decimals; what is none is no letter of ours. */
function rowId(id: string): number {
  return /^[1-9]\d{0,15}$/.test(id) ? Number(id) : -1;
}

function toLetter({ id, parkedAtMs, bytes, facts }: DeadFactsRow): DeadLetter {
  return { id: String(id), parkedAtMs, size: bytes, ...(JSON.parse(facts) as DeadFacts) };
}
