/**
 * Dead letters inside a transaction: parking is in `hand-out.ts`, this is looking at them, putting them back and removing
 * them. What was written down at parking stands in `facts`, before the large columns, so that a page reads no body.
 */
import type { SqliteConnection, SqliteRow } from '../../clients/sqlite/driver.js';
import type { DeadContentRow, DeadFactsRow, DeadPutBackRow } from './call-types.js';
import type { MessageTable } from './message-table.js';

export function deadOperations(connection: SqliteConnection, table: MessageTable) {
  const count = connection.prepare('SELECT count(*) AS n FROM dead');
  const columns = 'SELECT id, parked_at, bytes, facts FROM dead';
  const older = connection.prepare(`${columns} WHERE id < ? ORDER BY id DESC LIMIT ?`);
  const newer = connection.prepare(`${columns} WHERE id > ? ORDER BY id LIMIT ?`);
  const find = connection.prepare(`${columns} WHERE id IN (SELECT value FROM json_each(?))`);
  const content = connection.prepare('SELECT head, body FROM dead WHERE id = ?');
  const remove = connection.prepare('DELETE FROM dead WHERE id IN (SELECT value FROM json_each(?))');
  const rowsOf = (rows: readonly SqliteRow[]): DeadFactsRow[] =>
    rows.map(({ id, parked_at, bytes, facts }) => ({
      id: Number(id),
      parkedAtMs: Number(parked_at),
      bytes: Number(bytes),
      facts: String(facts),
    }));

  return {
    deadCount: (): number => Number(count.get([])?.['n'] ?? 0),

    deadPage: ({
      towards,
      beyond,
      limit,
    }: {
      towards: 'older' | 'newer';
      beyond: number | null;
      limit: number;
    }): DeadFactsRow[] =>
      rowsOf(towards === 'older' ? older.all([beyond ?? Number.MAX_SAFE_INTEGER, limit]) : newer.all([beyond ?? 0, limit])),

    deadFind: (ids: readonly number[]): DeadFactsRow[] => rowsOf(find.all([JSON.stringify(ids)])),

    deadContents: (ids: readonly number[]): (DeadContentRow | null)[] =>
      ids.map((id) => {
        const row = content.get([id]);
        return row ? { head: row['head'] ?? null, body: row['body'] ?? null } : null;
      }),

    /** Message and letter change places in one transaction. */
    deadPutBack: (rows: readonly DeadPutBackRow[]): boolean[] =>
      rows.map(({ id, queue, rank, head, body }) => {
        if (remove.run([JSON.stringify([id])]) === 0) return false;
        table.lineUp(table.insert(table.queue(queue), rank, head, body));
        return true;
      }),

    deadRemove: (ids: readonly number[]): number => remove.run([JSON.stringify(ids)]),
  };
}
