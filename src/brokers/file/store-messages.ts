/** Storing messages and looking at queues: publish, declare, depth, peek, purge. */
import type { SqliteConnection, SqliteRow } from '../../clients/sqlite/driver.js';
import type { OperationContext } from '../../clients/sqlite/operations.js';
import { sendKeyRows } from '../../clients/sqlite/send-keys.js';
import type { DepthRow, NewRow, PeekRow, WithdrawnRow } from './call-types.js';
import type { MessageTable } from './message-table.js';

/** What one step of a purge removes: the lock is free for others in between. */
const PURGE_STEP = 1_000;

export function storeOperations(connection: SqliteConnection, context: OperationContext, table: MessageTable) {
  const keys = sendKeyRows(connection, context);
  const names = connection.prepare('SELECT name FROM queues ORDER BY name');
  const countLine = connection.prepare('SELECT count(*) AS n FROM line WHERE queue = ?');
  const countLater = connection.prepare('SELECT count(*) AS n FROM later WHERE queue = ?');
  const countHeld = connection.prepare(
    'SELECT count(*) AS n FROM claims c, json_each(c.ids) i JOIN messages m ON m.id = i.value WHERE c.queue = ?',
  );
  const peekLine = connection.prepare(
    'SELECT m.head, m.body, NULL AS due FROM line l JOIN messages m ON m.id = l.id WHERE l.queue = ? ORDER BY l.rank, l.id LIMIT ?',
  );
  const peekLater = connection.prepare(
    'SELECT m.head, m.body, l.due FROM later l JOIN messages m ON m.id = l.id WHERE l.queue = ? ORDER BY l.due, l.id LIMIT ?',
  );
  const lineIds = connection.prepare('SELECT rank, id FROM line WHERE queue = ? ORDER BY rank, id LIMIT ?');
  const laterIds = connection.prepare('SELECT due, id FROM later WHERE queue = ? ORDER BY due, id LIMIT ?');
  const cutLine = connection.prepare('DELETE FROM line WHERE queue = ? AND (rank, id) <= (?, ?)');
  const cutLater = connection.prepare('DELETE FROM later WHERE queue = ? AND (due, id) <= (?, ?)');
  const remove = connection.prepare('DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))');
  const findTask = connection.prepare(
    'SELECT t.id, t.due, m.queue, m.head, m.body FROM later_tasks t JOIN messages m ON m.id = t.id WHERE t.task = ?',
  );
  const cutOne = connection.prepare('DELETE FROM later WHERE queue = ? AND due = ? AND id = ?');
  const cutTask = connection.prepare('DELETE FROM later_tasks WHERE task = ? AND id = ?');
  const count = (row: SqliteRow | undefined): number => Number(row?.['n'] ?? 0);
  const removeIds = (rows: readonly SqliteRow[]): void => void remove.run([JSON.stringify(rows.map(({ id }) => id))]);

  return {
    /** For each row the id that has its key, `null` where it was stored; `null` for all of them where none has a key. */
    publish: (rows: readonly NewRow[]): (string | null)[] | null => {
      let holders: (string | null)[] | null = null;
      for (let at = 0; at < rows.length; at += 1) {
        const row = rows[at] as NewRow;
        const once = row[5];
        const holder = once === undefined ? null : keys.swap({ ...once, expected: null, value: once.id });
        if (holder === null) table.add(row);
        else (holders ??= rows.map(() => null))[at] = holder;
      }
      return holders;
    },

    declare: (queue: string): null => {
      table.queue(queue);
      return null;
    },

    queues: (): string[] => names.all([]).map(({ name }) => String(name)),

    depth: (queues: readonly string[]): DepthRow[] =>
      queues.map((queue) => {
        const id = table.findQueue(queue);
        if (id === undefined) return { queue, ready: 0, delayed: 0, unacked: 0 };
        return {
          queue,
          ready: count(countLine.get([id])),
          delayed: count(countLater.get([id])),
          unacked: count(countHeld.get([id])),
        };
      }),

    peek: ({ queue, limit }: { readonly queue: string; readonly limit: number }): PeekRow[] => {
      const id = table.findQueue(queue);
      if (id === undefined) return [];
      const rows = peekLine.all([id, limit]);
      if (rows.length < limit) rows.push(...peekLater.all([id, limit - rows.length]));
      return rows.map(({ head, body, due }) => ({
        head: head ?? null,
        body: body ?? null,
        dueMs: typeof due === 'number' ? due : null,
      }));
    },

    /** One step; 0 when nothing is left. */
    purge: ({ queue, limit }: { readonly queue: string; readonly limit: number }): number => {
      table.flush();
      const id = table.findQueue(queue);
      if (id === undefined) return 0;
      const ready = lineIds.all([id, Math.min(limit, PURGE_STEP)]);
      const lastReady = ready.at(-1);
      if (lastReady) {
        removeIds(ready);
        cutLine.run([id, lastReady['rank'] ?? 0, lastReady['id'] ?? 0]);
        return ready.length;
      }
      const delayed = laterIds.all([id, Math.min(limit, PURGE_STEP)]);
      const lastDelayed = delayed.at(-1);
      if (lastDelayed) {
        table.endWaits(id, lastDelayed['due'] ?? 0, lastDelayed['id'] ?? 0);
        removeIds(delayed);
        cutLater.run([id, lastDelayed['due'] ?? 0, lastDelayed['id'] ?? 0]);
      }
      return delayed.length;
    },

    /** Removes what waits for a time and belongs to these tasks; of each that was there, the message. */
    withdraw: (tasks: readonly string[]): WithdrawnRow[] => {
      const withdrawn: WithdrawnRow[] = [];
      for (const task of tasks) {
        for (const { id, due, queue, head, body } of findTask.all([task])) {
          cutOne.run([queue ?? null, due ?? null, id ?? null]);
          cutTask.run([task, id ?? null]);
          remove.run([JSON.stringify([id])]);
          withdrawn.push({ task, head: head ?? null, body: body ?? null });
        }
      }
      return withdrawn;
    },

    /** For tests: bytes that are no message, at the back of a queue. */
    putRaw: ({
      queue,
      bytes,
      head,
    }: {
      readonly queue: string;
      readonly bytes: Uint8Array;
      readonly head: string | null;
    }): null => {
      table.lineUp(table.insert(table.queue(queue), 9, head, bytes));
      return null;
    },
  };
}
