/** The pauses of the embedded file: a small table, bounded by `MOST_PAUSES`. Both sides are here: what the broker asks, and what happens in a transaction. */
import type { SqliteConnection } from '../../clients/sqlite/driver.js';
import type { FileSession } from '../../clients/sqlite/session.js';
import { MOST_PAUSES, type Pause, type Paused, type Pauses, sortPauses, tooManyPauses } from '../pauses.js';

export function pauseOperations(connection: SqliteConnection) {
  const list = connection.prepare('SELECT kind, name, since FROM pauses');
  const count = connection.prepare('SELECT count(*) AS n FROM pauses');
  const find = connection.prepare('SELECT 1 AS found FROM pauses WHERE kind = ? AND name = ?');
  const add = connection.prepare('INSERT OR IGNORE INTO pauses VALUES(?, ?, ?)');
  const remove = connection.prepare('DELETE FROM pauses WHERE kind = ? AND name = ?');
  return {
    pauses: (): Pause[] =>
      list.all([]).map(({ kind, name, since }) => ({
        kind: kind === 'task' ? 'task' : 'queue',
        name: String(name),
        sinceMs: Number(since),
      })),

    /** `null`: there is no room, and nothing was done. */
    addPauses: (pauses: readonly Pause[]): boolean[] | null => {
      const isNew = pauses.map(({ kind, name }) => find.get([kind, name]) === undefined);
      if (Number(count.get([])?.['n']) + isNew.filter(Boolean).length > MOST_PAUSES) return null;
      return pauses.map(({ kind, name, sinceMs }, index) => isNew[index] === true && add.run([kind, name, sinceMs]) > 0);
    },

    removePauses: (names: readonly Paused[]): boolean[] => names.map(({ kind, name }) => remove.run([kind, name]) > 0),
  };
}

/** @param assertOpen throws once the broker was closed */
export function filePauses(session: FileSession, assertOpen: () => void): Pauses {
  return {
    async list() {
      assertOpen();
      return sortPauses(await session.call<Pause[]>('pauses', null, { mode: 'read' }));
    },
    async add(pauses) {
      assertOpen();
      const added = await session.call<boolean[] | null>('addPauses', pauses, { mode: 'durable', weight: pauses.length });
      if (added === null) throw tooManyPauses();
      return added;
    },
    async remove(names) {
      assertOpen();
      return session.call<boolean[]>('removePauses', names, { mode: 'durable', weight: names.length });
    },
  };
}
