/**
 * Broadcasts through the file: kept for a minute for those who listen now, and never more than a few thousand. Not
 * durable by contract: who does not listen misses them.
 */
import type { SqliteConnection } from '../../clients/sqlite/driver.js';
import type { OperationContext } from '../../clients/sqlite/operations.js';
import type { BroadcastRow } from './call-types.js';

const KEPT_MS = 60_000;
const MAX_KEPT = 10_000;
const READ_STEP = 500;

export function broadcastOperations(connection: SqliteConnection, context: OperationContext) {
  const add = connection.prepare('INSERT INTO broadcasts VALUES(?, ?, ?, ?, ?, ?)');
  const dropOld = connection.prepare('DELETE FROM broadcasts WHERE id <= ?');
  const lastOld = connection.prepare('SELECT max(id) AS id FROM broadcasts WHERE at < ?');
  const last = connection.prepare('SELECT max(id) AS id FROM broadcasts');
  const since = connection.prepare(
    'SELECT id, exchange, routing_key, head, body FROM broadcasts WHERE id > ? ORDER BY id LIMIT ?',
  );
  let sweptAtMs = 0;

  return {
    broadcast: (row: {
      readonly exchange: string;
      readonly routingKey: string;
      readonly head: string;
      readonly body: string | Uint8Array;
    }): null => {
      const id = context.take('broadcast', 1);
      const nowMs = context.nowMs();
      add.run([id, nowMs, row.exchange, row.routingKey, row.head, row.body]);
      dropOld.run([id - MAX_KEPT]);
      if (Math.abs(nowMs - sweptAtMs) > KEPT_MS / 4) {
        sweptAtMs = nowMs;
        dropOld.run([Number(lastOld.get([nowMs - KEPT_MS])?.['id'] ?? 0)]);
      }
      context.ring('broadcasts');
      return null;
    },

    /** The newest broadcast: a listener hears what comes behind it. */
    newestBroadcast: (): number => Number(last.get([])?.['id'] ?? 0),

    broadcastsSince: (id: number): BroadcastRow[] =>
      since.all([id, READ_STEP]).map((row) => ({
        id: Number(row['id']),
        exchange: String(row['exchange']),
        routingKey: String(row['routing_key']),
        head: row['head'] ?? null,
        body: row['body'] ?? null,
      })),
  };
}
