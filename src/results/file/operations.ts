/**
 * The file result store's operations inside a transaction. Rules of `result-store.ts`: a SUCCESS stands; another final
 * state gives way only to a higher epoch or to SUCCESS; a lower epoch than the claimed one is fenced off. Every write
 * takes a new `seq`, so that those who wait read only what is new.
 */
import type { SqliteConnection, SqliteRow } from '../../clients/sqlite/driver.js';
import type { OperationContext, OperationModule, PrepareOperations } from '../../clients/sqlite/operations.js';
import { FINAL_STATES, type Claim, type ResultWrite, type WriteResult } from '../result-store.js';

/** A result that is news to somebody. */
export interface FreshResult {
  readonly seq: number;
  readonly id: string;
  readonly state: string;
  readonly meta: string;
}

export interface NewsArgument {
  /** Ids to look up, whenever they were written. */
  readonly ids: readonly string[];
  /** Where to read on, for those who wait for so many ids that looking each up costs more than reading all news; or `null`. */
  readonly after: number | null;
}

export interface NewsAnswer {
  readonly found: readonly FreshResult[];
  /** Everything up to here is in `found`, or was looked up. */
  readonly seq: number;
  readonly more: boolean;
}

/** Expired rows are removed by those who write, a few more than are written; so the store cannot grow for ever. */
const SWEEP_EVERY_MS = 1_000;
const SWEEP_STEP = 1_000;
const READ_STEP = 200;

export const prepareOperations: PrepareOperations = (connection, context) => {
  const { calls, sweep } = resultOperations(connection, context);
  return { calls, beforeCommit: sweep };
};

export const resultsOperations: OperationModule = { name: 'results', prepareOperations, href: import.meta.url };

function resultOperations(connection: SqliteConnection, context: OperationContext) {
  const add = connection.prepare(
    'INSERT INTO results(seq, id, state, meta_epoch, meta_until, epoch, epoch_until, expires, meta) VALUES(?, ?, ?, ?, ?, 0, NULL, ?, ?) ON CONFLICT(id) DO NOTHING',
  );
  const addClaim = connection.prepare(
    'INSERT INTO results(seq, id, state, meta_epoch, meta_until, epoch, epoch_until, expires, meta) VALUES(?, ?, NULL, 0, NULL, 1, ?, ?, NULL)',
  );
  const find = connection.prepare('SELECT seq, state, meta, meta_epoch, meta_until, epoch, epoch_until FROM results WHERE id = ?');
  const update = connection.prepare('UPDATE results SET seq = ?, state = ?, meta_epoch = ?, meta_until = ?, expires = ?, meta = ? WHERE id = ?');
  const raise = connection.prepare('UPDATE results SET epoch = ?, epoch_until = ?, expires = ?, state = ?, meta = ? WHERE id = ?');
  const drop = connection.prepare('DELETE FROM results WHERE id = ?');
  const clearMeta = connection.prepare('UPDATE results SET state = NULL, meta = NULL, meta_until = NULL, meta_epoch = 0, expires = epoch_until WHERE id = ?');
  const read = connection.prepare('SELECT meta FROM results WHERE id = ? AND meta IS NOT NULL AND (meta_until IS NULL OR meta_until > ?)');
  const readState = connection.prepare(
    'SELECT seq, state, meta FROM results WHERE id = ? AND meta IS NOT NULL AND (meta_until IS NULL OR meta_until > ?)',
  );
  const newest = connection.prepare("SELECT value FROM counters WHERE name = 'result'");
  const newsSince = connection.prepare('SELECT seq, id, state, meta FROM results WHERE seq > ? ORDER BY seq LIMIT ?');
  const dropExpired = connection.prepare('DELETE FROM results WHERE seq IN (SELECT seq FROM results WHERE expires <= ? ORDER BY expires LIMIT ?)');
  let sweptAtMs = 0;
  let written = 0;

  /** What is stored under an id, without what has expired. */
  const live = (id: string, nowMs: number): SqliteRow | undefined => {
    const row = find.get([id]);
    if (!row) return undefined;
    if (isOver(row['meta_until'], nowMs)) {
      row['state'] = null;
      row['meta'] = null;
      row['meta_until'] = null;
      row['meta_epoch'] = 0;
    }
    if (isOver(row['epoch_until'], nowMs)) {
      row['epoch'] = 0;
      row['epoch_until'] = null;
    }
    return row;
  };

  const write = ({ id, state, meta, epoch, ttlMs }: ResultWrite): WriteResult => {
    const nowMs = context.nowMs();
    const untilMs = ttlMs === null ? null : nowMs + ttlMs;
    written += 1;
    const seq = context.take('result', 1);
    if (add.run([seq, id, state, epoch, untilMs, untilMs, meta]) === 1) return 'stored';
    const row = live(id, nowMs);
    const stored = row?.['state'];
    if (stored === 'SUCCESS') return 'final';
    if (epoch < Number(row?.['epoch'] ?? 0)) return 'fenced';
    if (typeof stored === 'string' && FINAL_STATES.has(stored) && state !== 'SUCCESS' && epoch <= Number(row?.['meta_epoch'])) return 'final';
    update.run([seq, state, epoch, untilMs, later(untilMs, row?.['epoch_until']), meta, id]);
    return 'stored';
  };

  const calls = {
    set: (writes: readonly ResultWrite[]): WriteResult[] => {
      const results = writes.map(write);
      context.ring('results');
      return results;
    },

    get: (ids: readonly string[]): (string | null)[] => {
      const nowMs = Date.now();
      return ids.map((id) => {
        const meta = read.get([id, nowMs])?.['meta'];
        return typeof meta === 'string' ? meta : null;
      });
    },

    claim: ({ id, ttlMs }: { readonly id: string; readonly ttlMs: number }): Claim => {
      const nowMs = context.nowMs();
      const row = live(id, nowMs);
      written += 1;
      if (!row) {
        addClaim.run([context.take('result', 1), id, nowMs + ttlMs, nowMs + ttlMs]);
        return { epoch: 1 };
      }
      const { state, meta } = row;
      if (typeof meta === 'string' && typeof state === 'string' && FINAL_STATES.has(state)) return { final: meta };
      const epoch = Number(row['epoch']) + 1;
      const metaUntilMs = row['meta_until'] ?? null;
      const expires = typeof meta === 'string' ? later(Number.isFinite(metaUntilMs) ? Number(metaUntilMs) : null, nowMs + ttlMs) : nowMs + ttlMs;
      raise.run([epoch, nowMs + ttlMs, expires, state ?? null, meta ?? null, id]);
      return { epoch };
    },

    /** Forgets results; a claim stays, because the worker that it fences off may still write. */
    forget: (ids: readonly string[]): null => {
      for (const id of ids) {
        const row = live(id, context.nowMs());
        if (Number(row?.['epoch'] ?? 0) > 0) clearMeta.run([id]);
        else drop.run([id]);
      }
      return null;
    },

    news: ({ ids, after }: NewsArgument): NewsAnswer => {
      // before looking: what is written in between comes again rather than never
      const seq = Number(newest.get([])?.['value'] ?? 1) - 1;
      const nowMs = Date.now();
      const found = ids.map((id) => fresh(readState.get([id, nowMs]), id)).filter((result) => result !== null);
      if (after === null) return { found, seq, more: false };
      const rows = newsSince.all([after, READ_STEP]);
      for (const row of rows) {
        const result = fresh(row, String(row['id']));
        if (result) found.push(result);
      }
      const more = rows.length === READ_STEP;
      return { found, seq: more ? Number(rows.at(-1)?.['seq']) : Math.max(seq, after), more };
    },
  };

  const sweep = (): void => {
    if (written === 0) return;
    const nowMs = context.nowMs();
    if (Math.abs(nowMs - sweptAtMs) < SWEEP_EVERY_MS && written < SWEEP_STEP) return;
    dropExpired.run([nowMs, SWEEP_STEP + written]);
    sweptAtMs = nowMs;
    written = 0;
  };

  return { calls, sweep };
}

function isOver(untilMs: unknown, nowMs: number): boolean {
  return typeof untilMs === 'number' && untilMs <= nowMs;
}

/** When a row may go: once both of its parts are over; `null`: never. A part that is kept for ever keeps the row. */
function later(metaUntilMs: number | null, epochUntilMs: unknown): number | null {
  if (metaUntilMs === null) return null;
  return typeof epochUntilMs === 'number' ? Math.max(metaUntilMs, epochUntilMs) : metaUntilMs;
}

function fresh(row: SqliteRow | undefined, id: string): FreshResult | null {
  if (!row || typeof row['meta'] !== 'string') return null;
  return { seq: Number(row['seq']), id, state: String(row['state']), meta: row['meta'] };
}
