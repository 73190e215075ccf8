/** Chords in the embedded file: one transaction notes the end of a part and tells the verdict. Rules: `results/chords.ts`. */
import type { SqliteConnection } from '../../clients/sqlite/driver.js';
import type { OperationContext } from '../../clients/sqlite/operations.js';
import {
  type ChordState,
  type ChordVerdict,
  OPEN,
  type OpenChord,
  type OverdueChord,
  type PartEnd,
  verdictOf,
} from '../chords.js';

/** The size of a chord that was closed. */
const CLOSED = -1;
const SWEEP_STEP = 100;

interface ChordRow {
  readonly size: number | null;
  readonly done: number;
  readonly failed: string | null;
}

export function chordOperations(connection: SqliteConnection, { nowMs }: OperationContext) {
  const find = connection.prepare('SELECT size, done, until, failed FROM chords WHERE group_id = ?');
  const touch = connection.prepare(
    `INSERT INTO chords(group_id, size, done, until) VALUES(?, NULL, 0, ?)
      ON CONFLICT DO UPDATE SET until = max(until, excluded.until)`,
  );
  const opening = connection.prepare('UPDATE chords SET size = ?, deadline = ?, body = ? WHERE group_id = ? AND size IS NULL');
  const failing = connection.prepare('UPDATE chords SET failed = ? WHERE group_id = ?');
  const addPart = connection.prepare('INSERT OR IGNORE INTO chord_parts VALUES(?, ?, ?, ?, ?) RETURNING 1');
  const count = connection.prepare('UPDATE chords SET done = done + 1 WHERE group_id = ?');
  const noted = connection.prepare('SELECT state, result FROM chord_parts WHERE group_id = ? AND task_id = ?');
  const all = connection.prepare(
    'SELECT task_id, place, state, result FROM chord_parts WHERE group_id = ? ORDER BY place IS NULL, place, task_id',
  );
  const closing = connection.prepare('UPDATE chords SET size = ?, deadline = NULL, body = NULL, done = 0 WHERE group_id = ?');
  const hastening = connection.prepare(
    'UPDATE chords SET deadline = min(deadline, ?) WHERE group_id = ? AND deadline IS NOT NULL',
  );
  const addLater = connection.prepare('INSERT OR IGNORE INTO chord_added VALUES(?, ?) RETURNING 1');
  const grow = connection.prepare('UPDATE chords SET size = size + 1 WHERE group_id = ? AND size >= 0');
  const dropAdded = connection.prepare('DELETE FROM chord_added WHERE group_id = ?');
  const dropParts = connection.prepare('DELETE FROM chord_parts WHERE group_id = ?');
  const due = connection.prepare(
    'SELECT group_id, deadline, body FROM chords WHERE deadline IS NOT NULL ORDER BY deadline LIMIT ?',
  );
  const expired = connection.prepare('SELECT group_id FROM chords WHERE until <= ? LIMIT ?');
  const drop = connection.prepare('DELETE FROM chords WHERE group_id = ?');

  const forget = (groupId: string): void => {
    dropParts.run([groupId]);
    dropAdded.run([groupId]);
    drop.run([groupId]);
  };

  /** Its row, made or kept for longer. */
  const rowOf = (groupId: string, ttlMs: number): ChordRow => {
    const known = find.get([groupId]) as (ChordRow & { readonly until: number }) | undefined;
    const isExpired = known !== undefined && known.until <= nowMs();
    if (isExpired) forget(groupId);
    touch.run([groupId, nowMs() + ttlMs]);
    return known === undefined || isExpired ? { size: null, done: 0, failed: null } : known;
  };

  const endsOf = (groupId: string): ChordState['ends'] =>
    all.all([groupId]).map(({ task_id, place, state, result }) => ({
      ...{ taskId: String(task_id), index: place === null ? null : Number(place), state: String(state) },
      resultJson: String(result),
    }));

  const report = ({ groupId, index, taskId, state, resultJson, ttlMs, settlesAll }: PartEnd): ChordVerdict => {
    const { size, done, failed } = rowOf(groupId, ttlMs);
    if (size === CLOSED) return OPEN;
    const isNew = addPart.get([groupId, taskId, index, state, resultJson]) !== undefined;
    if (isNew) count.run([groupId]);
    if (size === null || (failed !== null && failed !== taskId)) return OPEN;
    const own = isNew ? { state, result: resultJson } : (noted.get([groupId, taskId]) as { state: string; result: string });
    if (own.state !== 'SUCCESS' && settlesAll !== true) {
      failing.run([taskId, groupId]);
      return { kind: 'failed', part: { taskId, state: own.state, resultJson: own.result } };
    }
    if (Number(done) + (isNew ? 1 : 0) < size) return OPEN;
    return verdictOf(endsOf(groupId));
  };

  return {
    calls: {
      openChords: (chords: readonly OpenChord[]): null[] => {
        for (const { groupId, size, body, deadlineMs, ttlMs } of chords) {
          rowOf(groupId, ttlMs);
          opening.run([size, deadlineMs, body, groupId]);
        }
        return chords.map(() => null);
      },
      reportParts: (parts: readonly PartEnd[]): ChordVerdict[] => parts.map(report),
      addChordPart: ({
        groupId,
        taskId,
        ttlMs,
      }: {
        readonly groupId: string;
        readonly taskId: string;
        readonly ttlMs: number;
      }): null => {
        rowOf(groupId, ttlMs);
        if (addLater.get([groupId, taskId]) !== undefined) grow.run([groupId]);
        return null;
      },
      chordState: (groupId: string): ChordState | null => {
        const row = find.get([groupId]) as ChordRow | undefined;
        const size = row?.size ?? CLOSED;
        return size === CLOSED ? null : { size: Number(size), ends: endsOf(groupId) };
      },
      closeChords: (groupIds: readonly string[]): null[] => {
        for (const groupId of groupIds) {
          closing.run([CLOSED, groupId]);
          dropParts.run([groupId]);
        }
        return groupIds.map(() => null);
      },
      hastenChords: (rows: readonly { readonly groupId: string; readonly nowMs: number }[]): null[] => {
        for (const { groupId, nowMs: wallMs } of rows) hastening.run([wallMs, groupId]);
        return rows.map(() => null);
      },
      overdueChords: ({ nowMs: wallMs, most }: { readonly nowMs: number; readonly most: number }) => {
        const chords: OverdueChord[] = [];
        for (const { group_id, deadline, body } of due.all([most + 1])) {
          if (Number(deadline) > wallMs || chords.length === most) return { chords, nextMs: Number(deadline) };
          chords.push({ groupId: String(group_id), body: String(body) });
        }
        return { chords, nextMs: null };
      },
    },
    /** Removes chords whose time is over, with their parts. */
    sweep(wallMs: number): void {
      for (const { group_id } of expired.all([wallMs, SWEEP_STEP])) forget(String(group_id));
    },
  };
}
