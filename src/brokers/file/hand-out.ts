/**
 * Handing messages out: pop, settle, leases, recovery. What a consumer holds is one row in `holders` (its lease) and one
 * row in `claims` for each batch, so that a pop or an ack touches a small row a batch and the payload never. A holder row
 * exists as long as its claims are good: who finds it missing has lost everything that it held.
 */
import type { SqliteConnection, SqliteRow } from '../../clients/sqlite/driver.js';
import type { OperationContext } from '../../clients/sqlite/operations.js';
import { timedSetOperations } from '../../clients/sqlite/timed-set.js';
import { systemClock } from '../../core/clock.js';
import type { PopAnswer, PopArgument, PoppedRow, SettleArgument, WatchAnswer, WatchArgument } from './call-types.js';
import { type LapsedLease, type LapsedLeases, MOST_LAPSED } from './lapsed-leases.js';
import { type MessageTable, SECURED, SEEN } from './message-table.js';

/** A transaction moves so many delayed messages at most; the rest is moved by the next. */
const PROMOTE_STEP = 500;
const RECOVER_STEP = 10;

export function handOutOperations(
  connection: SqliteConnection,
  context: OperationContext,
  table: MessageTable,
  lapsed: LapsedLeases,
) {
  const next = connection.prepare(
    'SELECT l.rank, l.id, m.seen, m.losses, m.head, m.body FROM line l JOIN messages m ON m.id = l.id WHERE l.queue = ? ORDER BY l.rank, l.id LIMIT ?',
  );
  const takeOut = connection.prepare('DELETE FROM line WHERE queue = ? AND (rank, id) <= (?, ?)');
  const due = connection.prepare('SELECT due, id FROM later WHERE queue = ? AND due <= ? ORDER BY due, id LIMIT ?');
  const takeDue = connection.prepare('DELETE FROM later WHERE queue = ? AND (due, id) <= (?, ?)');
  const anyReady = connection.prepare('SELECT 1 FROM line WHERE queue = ? LIMIT 1');
  const firstDue = connection.prepare('SELECT min(due) AS due FROM later WHERE queue = ?');
  const findHolder = connection.prepare('SELECT lease_until FROM holders WHERE id = ?');
  const addHolder = connection.prepare('INSERT INTO holders VALUES(?, ?, ?, ?)');
  const renewHolder = connection.prepare('UPDATE holders SET lease_until = ? WHERE id = ?');
  const dropHolder = connection.prepare('DELETE FROM holders WHERE id = ?');
  // A lease that ends further away than it can be long was written before the clock was set back.
  const findLapsed = connection.prepare(
    'SELECT id, lease_until, lease_ms FROM holders WHERE lease_until <= ? OR lease_until > ? + 2 * lease_ms LIMIT ?',
  );
  const nextExpiry = connection.prepare('SELECT min(lease_until) AS at FROM holders WHERE id <> ? AND lease_until > ?');
  const addClaim = connection.prepare('INSERT INTO claims VALUES(?, ?, ?, ?)');
  const claimsOf = connection.prepare('SELECT ids FROM claims WHERE holder = ?');
  const dropClaim = connection.prepare('DELETE FROM claims WHERE holder = ? AND id = ?');
  const dropClaims = connection.prepare('DELETE FROM claims WHERE holder = ?');
  // The first loss counts for all that was held, because nobody knows what had begun; a further one only for what was secured.
  const markBack = connection.prepare(
    `UPDATE messages SET losses = losses + (? AND (losses = 0 OR seen = ${SECURED})), seen = ${SEEN} WHERE id IN (SELECT value FROM json_each(?))`,
  );
  const markSecured = connection.prepare(`UPDATE messages SET seen = ${SECURED} WHERE id = ?`);
  const lineUpBack = connection.prepare(
    'INSERT INTO line SELECT queue, rank, id FROM messages WHERE id IN (SELECT value FROM json_each(?))',
  );
  const removeOne = connection.prepare('DELETE FROM messages WHERE id = ?');
  const removeMany = connection.prepare('DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))');
  const readPlace = connection.prepare('SELECT queue, rank FROM messages WHERE id = ?');
  const marks = timedSetOperations(connection, context);
  const park = connection.prepare(
    `INSERT INTO dead SELECT ?, ?, coalesce(length(CAST(head AS BLOB)), 0) + coalesce(length(CAST(body AS BLOB)), 0), ?, head, body
     FROM messages WHERE id = ?`,
  );

  /** Moves what is due to the back of its queue; `true` if there may be more. */
  const promote = (queueId: number): boolean => {
    const rows = due.all([queueId, context.nowMs(), PROMOTE_STEP]);
    const last = rows.at(-1);
    if (!last) return false;
    table.endWaits(queueId, last['due'] ?? 0, last['id'] ?? 0);
    for (const row of rows) table.lineUp(table.renumber(Number(row['id']), 'back', { seen: false }));
    takeDue.run([queueId, last['due'] ?? 0, last['id'] ?? 0]);
    return rows.length === PROMOTE_STEP;
  };

  /** Puts all that a holder still has back where it was, and forgets the holder. */
  const putBack = (holder: number, losses: 0 | 1): number => {
    let count = 0;
    for (const { ids } of claimsOf.all([holder])) {
      markBack.run([losses, ids ?? '[]']);
      count += lineUpBack.run([ids ?? '[]']);
    }
    dropClaims.run([holder]);
    dropHolder.run([holder]);
    if (count > 0) context.ring('messages');
    return count;
  };

  const lapsedAt = (nowMs: number): LapsedLease[] =>
    findLapsed
      .all([nowMs, nowMs, MOST_LAPSED])
      .map((row) => ({ id: Number(row['id']), untilMs: Number(row['lease_until']), leaseMs: Number(row['lease_ms']) }));

  /** Takes over from those whose lease was over at a look before; notes the others. */
  const recoverLapsed = (self: number): void => {
    const nowMs = systemClock.monotonicMs();
    const all = lapsedAt(context.nowMs());
    lapsed.note(all, nowMs);
    const due = all.filter((lease) => lease.id !== self && lapsed.waitMs(lease, nowMs) === 0);
    for (const { id } of due.slice(0, RECOVER_STEP)) putBack(id, 1);
  };

  /** The holder that new claims are good for: the one asked for, renewed if it is time, or a new one. */
  const keepHolder = ({ holder, name, leaseMs }: PopArgument): number => {
    const untilMs = context.nowMs() + leaseMs;
    const lease = holder === null ? undefined : findHolder.get([holder]);
    if (holder === null || !lease) {
      const id = context.take('holder', 1);
      addHolder.run([id, name, untilMs, leaseMs]);
      return id;
    }
    if (Number(lease['lease_until']) < untilMs - leaseMs / 3) renewHolder.run([untilMs, holder]);
    return holder;
  };

  const take = (queueId: number, limit: number): SqliteRow[] => {
    const rows = next.all([queueId, limit]);
    const last = rows.at(-1);
    if (last) takeOut.run([queueId, last['rank'] ?? 0, last['id'] ?? 0]);
    return rows;
  };

  const settle = ({ holder, acks, fronts, backs, defers, parks, claims }: SettleArgument): boolean => {
    if (!findHolder.get([holder])) return false;
    if (acks.length > 2) removeMany.run([JSON.stringify(acks)]);
    else for (const id of acks) removeOne.run([id]);
    // the last one put in front is served first
    for (let index = fronts.length - 1; index >= 0; index -= 1)
      table.lineUp(table.renumber(fronts[index] as number, 'front', { seen: true }));
    for (const id of backs) table.lineUp(table.renumber(id, 'back', { seen: true }));
    for (const { id, untilMs, queue, successor } of defers) {
      const queueId = queue === null ? null : table.queue(queue);
      let waiting: number;
      if (successor) {
        const place = readPlace.get([id]);
        // settled before, and asked again because nobody could say so
        if (!place) continue;
        waiting = table.insert(
          queueId ?? Number(place['queue']),
          successor.rank ?? Number(place['rank']),
          successor.head,
          successor.body,
        );
        removeOne.run([id]);
      } else waiting = table.renumber(id, 'back', { queueId, seen: false });
      if (untilMs > context.nowMs()) table.postpone(waiting, untilMs);
      else table.lineUp(waiting);
    }
    for (const { id, facts } of parks) {
      park.run([context.take('dead', 1), context.nowMs(), facts, id]);
      removeOne.run([id]);
    }
    for (const claim of claims) dropClaim.run([holder, claim]);
    return true;
  };

  return {
    ...marks.calls,

    /** Claims messages: every queue its share first, then what is left to whoever has more. */
    pop: (argument: PopArgument): PopAnswer => {
      table.flush();
      recoverLapsed(argument.holder ?? -1);
      const sources: { id: number; name: string; left: number; rows: SqliteRow[] }[] = [];
      let more = false;
      for (const { name, limit } of argument.queues) {
        const id = table.findQueue(name);
        if (id === undefined) continue;
        if (promote(id)) more = true;
        sources.push({ id, name, left: limit, rows: [] });
      }
      let left = argument.limit;
      for (const share of sources.length > 1 ? [Math.ceil(left / sources.length), left] : [left]) {
        for (const source of sources) {
          const limit = Math.min(share, source.left, left);
          if (limit <= 0) continue;
          const rows = take(source.id, limit);
          source.rows = source.rows.length === 0 ? rows : [...source.rows, ...rows];
          // a queue that had less than asked has no more
          source.left = rows.length < limit ? 0 : source.left - rows.length;
          left -= rows.length;
        }
      }
      const revocations = marks.currentVersion();
      if (left === argument.limit) return { holder: argument.holder, rows: [], more, revocations };
      const holder = keepHolder(argument);
      const popped: PoppedRow[] = [];
      for (const { id: queueId, name, rows } of sources) {
        if (rows.length === 0) continue;
        const claim = context.take('claim', 1);
        const ids: number[] = [];
        for (const { id, seen, losses, head, body } of rows) {
          ids.push(Number(id));
          popped.push({
            id: Number(id),
            claim,
            queue: name,
            seen: Number(seen) >= SEEN,
            losses: Number(losses),
            head: head ?? null,
            body: body ?? null,
          });
        }
        addClaim.run([holder, claim, queueId, JSON.stringify(ids)]);
      }
      return { holder, rows: popped, more: more && left > 0, revocations };
    },

    /** Whether there is something to pop, and when to look again. Read only. */
    watch: ({ queues, holder }: WatchArgument): WatchAnswer => {
      const nowMs = Date.now();
      const self = holder ?? -1;
      const expiry = nextExpiry.get([self, nowMs])?.['at'];
      let nextMs = typeof expiry === 'number' ? expiry : Infinity;
      for (const lease of lapsedAt(nowMs)) {
        if (lease.id === self) continue;
        const waitMs = lapsed.waitMs(lease, systemClock.monotonicMs());
        if (!waitMs) return { ready: true, nextMs: null };
        nextMs = Math.min(nextMs, nowMs + waitMs);
      }
      for (const name of queues) {
        const id = table.findQueue(name);
        if (id === undefined) continue;
        const dueMs = firstDue.get([id])?.['due'];
        if (typeof dueMs === 'number') nextMs = Math.min(nextMs, dueMs);
        if (nextMs <= nowMs || anyReady.get([id])) return { ready: true, nextMs: null };
      }
      return { ready: false, nextMs: nextMs === Infinity ? null : nextMs };
    },

    /** All of them, or `false` if the holder has lost everything. */
    settle,

    /** From now on the holder's death counts against the message; `false`: lost. Its caller knows that the holder's claim lists it. */
    secure: ({ holder, id }: { readonly holder: number; readonly id: number }): boolean => {
      if (!findHolder.get([holder])) return false;
      markSecured.run([id]);
      return true;
    },

    /** `false`: lost. */
    renew: ({ holder, leaseMs }: { readonly holder: number; readonly leaseMs: number }): boolean =>
      renewHolder.run([context.nowMs() + leaseMs, holder]) === 1,

    /** Hands everything back without a loss; tells how many. */
    leave: ({ holder }: { readonly holder: number }): number => putBack(holder, 0),

    /** Ends a lease before its time, as a loss. */
    expire: ({ holder }: { readonly holder: number }): number => putBack(holder, 1),
  };
}
