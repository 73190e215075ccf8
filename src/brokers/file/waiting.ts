/**
 * A way through a queue of the embedded file, for `brokers/waiting.ts`: both what the broker asks, and what happens in a
 * transaction. A page reads heads and no bodies; a step removes or moves its messages in one transaction.
 */
import type { SqliteConnection, SqliteRow, SqliteValue } from '../../clients/sqlite/driver.js';
import type { FileSession } from '../../clients/sqlite/session.js';
import { WireError } from '../../core/errors.js';
import type { Met, WaitingWalk } from '../waiting.js';
import type { DepthRow } from './call-types.js';
import type { MessageTable } from './message-table.js';
import { decodeHead, decodeRow } from './row-message.js';

/** Where a message waits: in the line by its rank, or for its time. */
interface Place {
  readonly in: 'line' | 'later';
  /** Rank or due time: with the id, the key of its row. */
  readonly key: number;
  readonly id: number;
}

interface WaitingRow extends Place {
  readonly head: SqliteValue;
  /** Only of messages whose head does not name their task (protocol 1). */
  readonly body: SqliteValue;
}

interface MetRow extends Met {
  readonly place: Place;
}

export function waitingOperations(connection: SqliteConnection, table: MessageTable) {
  const page = (place: 'line' | 'later', key: 'rank' | 'due') =>
    connection.prepare(
      `SELECT p.${key} AS key, p.id, m.head, CASE WHEN instr(m.head, '"task":') = 0 THEN m.body END AS body
       FROM ${place} p JOIN messages m ON m.id = p.id
       WHERE p.queue = ? AND (p.${key}, p.id) > (?, ?) ORDER BY p.${key}, p.id LIMIT ?`,
    );
  const pages = { line: page('line', 'rank'), later: page('later', 'due') };
  const leave = {
    line: connection.prepare('DELETE FROM line WHERE queue = ? AND rank = ? AND id = ?'),
    later: connection.prepare('DELETE FROM later WHERE queue = ? AND due = ? AND id = ?'),
  };
  const forgetTask = connection.prepare(
    `DELETE FROM later_tasks WHERE (task, id) IN (
       SELECT CASE WHEN json_valid(head) THEN json_extract(head, '$[3].id') END, id FROM messages WHERE id = ?)`,
  );
  const remove = connection.prepare('DELETE FROM messages WHERE id = ?');
  return {
    waitingPage: (asked: {
      readonly queue: string;
      readonly in: Place['in'];
      readonly beyond: Place | null;
      readonly limit: number;
    }): WaitingRow[] => {
      const queue = table.findQueue(asked.queue);
      if (queue === undefined) return [];
      const { key, id } = asked.beyond ?? { key: Number.MIN_SAFE_INTEGER, id: 0 };
      return pages[asked.in].all([queue, key, id, asked.limit]).map((row: SqliteRow) => ({
        in: asked.in,
        key: Number(row['key']),
        id: Number(row['id']),
        head: row['head'] ?? null,
        body: row['body'] ?? null,
      }));
    },

    /** For each whether it was still there. */
    waitingTake: ({
      queue,
      to,
      places,
    }: {
      readonly queue: string;
      readonly to: string | null;
      readonly places: readonly Place[];
    }): boolean[] => {
      const from = table.findQueue(queue);
      if (from === undefined) return places.map(() => false);
      const target = to === null ? null : table.queue(to);
      return places.map((place) => {
        if (leave[place.in].run([from, place.key, place.id]) === 0) return false;
        if (place.in === 'later') forgetTask.run([place.id]);
        if (target === null) remove.run([place.id]);
        else {
          const id = table.renumber(place.id, 'back', { queueId: target, seen: false });
          if (place.in === 'line') table.lineUp(id);
          else table.postpone(id, place.key);
        }
        return true;
      });
    },
  };
}

/** @param assertOpen throws once the broker was closed */
export function fileWalk(session: FileSession, assertOpen: () => void): (queue: string) => Promise<WaitingWalk> {
  return async (queue) => {
    assertOpen();
    const [depth] = await session.call<DepthRow[]>('depth', [queue], { mode: 'read' });
    const left = { line: depth?.ready ?? 0, later: depth?.delayed ?? 0 };
    let place: Place['in'] = 'line';
    let beyond: Place | null = null;
    const walk: WaitingWalk<MetRow> = {
      total: left.line + left.later,
      next: async (limit) => {
        for (;;) {
          assertOpen();
          const asked = { queue, in: place, beyond, limit: Math.min(limit, left[place]) };
          const rows = asked.limit > 0 ? await session.call<WaitingRow[]>('waitingPage', asked, { mode: 'read' }) : [];
          const last = rows.at(-1);
          if (last) {
            beyond = { in: place, key: last.key, id: last.id };
            left[place] -= rows.length;
            return { looked: rows.length, met: rows.flatMap(toMet) };
          }
          if (place === 'later') return null;
          place = 'later';
          beyond = null;
        }
      },
      take: async (messages, to, timeoutMs) => {
        assertOpen();
        const places = messages.map((each) => each.place);
        const options = { mode: 'durable', weight: places.length, deadlineMs: Date.now() + timeoutMs } as const;
        return session.call<boolean[]>('waitingTake', { queue, to, places }, options);
      },
      close: async () => {},
    };
    return walk as WaitingWalk;
  };
}

function toMet({ head, body, ...place }: WaitingRow): MetRow[] {
  const message = body === null ? decodeHead(head) : decodeRow(head, body);
  if (message instanceof WireError) return [];
  const size = String(head).length + (typeof body === 'string' || body instanceof Uint8Array ? body.length : 0);
  return [{ message, notBeforeMs: place.in === 'later' ? place.key : null, size, place }];
}
