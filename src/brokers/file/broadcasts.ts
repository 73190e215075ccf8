/**
 * Broadcasts and replies inside the database. Broadcasts are kept for a minute, and never more than a few thousand, and not
 * at all when nobody listens; replies until their inbox reads them. Not durable by contract: who does not listen misses them.
 *
 * The table of listeners tells whom a broadcast reaches; which of them live is `life-signs.ts`.
 */
import type { SqliteConnection } from '../../clients/sqlite/driver.js';
import type { OperationContext } from '../../clients/sqlite/operations.js';
import { INBOX_LIMITS } from '../broker.js';
import { topicMatcher } from '../topic-pattern.js';
import type { BroadcastRow, ListenerRow, NewBroadcastRow, ReplyRow } from './call-types.js';

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
  const listening = connection.prepare('SELECT id, pattern FROM listeners WHERE exchange = ? AND inbox = 0 AND until > ?');
  const renew = connection.prepare('INSERT OR REPLACE INTO listeners VALUES(?, ?, ?, ?, ?)');
  const leave = connection.prepare('DELETE FROM listeners WHERE id = ?');
  const dropDead = connection.prepare('DELETE FROM listeners WHERE until <= ?');
  const dropOrphans = connection.prepare('DELETE FROM replies WHERE listener NOT IN (SELECT id FROM listeners)');
  const dropReplies = connection.prepare('DELETE FROM replies WHERE listener = ?');
  const inboxes = connection.prepare('SELECT id FROM listeners WHERE exchange = ? AND pattern = ? AND inbox = 1 AND until > ?');
  const room = connection.prepare('SELECT count(*) AS n, coalesce(sum(bytes), 0) AS bytes FROM replies WHERE listener = ?');
  const reply = connection.prepare('INSERT INTO replies VALUES(?, ?, ?, ?, ?)');
  const repliesOf = connection.prepare('SELECT id, head, body FROM replies WHERE listener = ? ORDER BY id LIMIT ?');
  const takeReplies = connection.prepare('DELETE FROM replies WHERE listener = ? AND id <= ?');
  const newest = (): number => Number(last.get([])?.['id'] ?? 0);
  let sweptAtMs = 0;

  const sweep = (nowMs: number): void => {
    if (Math.abs(nowMs - sweptAtMs) <= KEPT_MS / 4) return;
    sweptAtMs = nowMs;
    dropOld.run([Number(lastOld.get([nowMs - KEPT_MS])?.['id'] ?? 0)]);
    if (dropDead.run([nowMs]) > 0) dropOrphans.run([]);
  };

  return {
    /** Ids of those who listen to it, by the table; who was killed lately is among them. */
    broadcast: (row: NewBroadcastRow): number[] => {
      const nowMs = context.nowMs();
      sweep(nowMs);
      const rows = listening.all([row.exchange, nowMs]);
      const reached = rows.flatMap(({ id, pattern }) => (topicMatcher(String(pattern))(row.routingKey) ? [Number(id)] : []));
      if (reached.length === 0) return [];
      const id = context.take('broadcast', 1);
      add.run([id, nowMs, row.exchange, row.routingKey, row.head, row.body]);
      dropOld.run([id - MAX_KEPT]);
      context.ring('broadcasts');
      return reached;
    },

    /** Adds a listener; it hears what comes behind the newest broadcast, whose number is returned. */
    addListener: ({ exchange, pattern, inbox, ttlMs }: ListenerRow): { readonly id: number; readonly after: number } => {
      const nowMs = context.nowMs();
      sweep(nowMs);
      const id = context.take('listener', 1);
      renew.run([id, exchange, pattern, inbox ? 1 : 0, nowMs + ttlMs]);
      return { id, after: newest() };
    },

    /** Also those whose rows ran out while their process slept. */
    renewListeners: (rows: readonly (ListenerRow & { readonly id: number })[]): null => {
      const nowMs = context.nowMs();
      for (const { id, exchange, pattern, inbox, ttlMs } of rows)
        renew.run([id, exchange, pattern, inbox ? 1 : 0, nowMs + ttlMs]);
      return null;
    },

    removeListeners: (ids: readonly number[]): null => {
      for (const id of ids) {
        leave.run([id]);
        dropReplies.run([id]);
      }
      return null;
    },

    broadcastsSince: (id: number): BroadcastRow[] =>
      since.all([id, READ_STEP]).map((row) => ({
        id: Number(row['id']),
        exchange: String(row['exchange']),
        routingKey: String(row['routing_key']),
        head: row['head'] ?? null,
        body: row['body'] ?? null,
      })),

    /** Into the inbox of this address, if it is there and has room. */
    reply: (row: NewBroadcastRow): null => {
      const nowMs = context.nowMs();
      sweep(nowMs);
      const bytes = row.head.length + row.body.length;
      for (const { id: listener } of inboxes.all([row.exchange, row.routingKey, nowMs])) {
        const used = room.get([Number(listener)]);
        if (Number(used?.['n']) >= INBOX_LIMITS.messages || Number(used?.['bytes']) + bytes > INBOX_LIMITS.bytes) continue;
        reply.run([context.take('reply', 1), Number(listener), bytes, row.head, row.body]);
        context.ring('replies');
      }
      return null;
    },

    repliesOf: (listener: number): ReplyRow[] =>
      repliesOf.all([listener, READ_STEP]).map((row) => ({
        id: Number(row['id']),
        head: row['head'] ?? null,
        body: row['body'] ?? null,
      })),

    /** They were read, up to this one. */
    takeReplies: ({ listener, upTo }: { readonly listener: number; readonly upTo: number }): null => {
      takeReplies.run([listener, upTo]);
      return null;
    },
  };
}
