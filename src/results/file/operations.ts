/**
 * The file result store's operations inside a transaction. Rules of `result-store.ts`: a SUCCESS stands; another final
 * state gives way only to a higher epoch or to SUCCESS; a lower epoch than the claimed one is fenced off. Every write
 * takes a new `seq`, so that those who wait read only what is new. Rows and statements: `result-table.ts`.
 */
import type { SqliteConnection, SqliteRow } from '../../clients/sqlite/driver.js';
import type { OperationContext, OperationModule, PrepareOperations } from '../../clients/sqlite/operations.js';
import { sendKeyRows } from '../../clients/sqlite/send-keys.js';
import { timedSetOperations } from '../../clients/sqlite/timed-set.js';
import { type Claim, FINAL_STATES, givesWay, type ResultWrite, type WriteResult } from '../result-store.js';
import { chordOperations } from './chord-operations.js';
import { hashOf, ResultTable } from './result-table.js';
import { stepOperations } from './step-operations.js';

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

/** Expired rows are removed by those who write, more than are written; so the store cannot grow for ever. */
const SWEEP_EVERY_MS = 1_000;
const SWEEP_STEP = 1_000;
const READ_STEP = 200;

export const prepareOperations: PrepareOperations = (connection, context) => {
  const table = new ResultTable(connection, context);
  const sendKeys = sendKeyRows(connection, context);
  const chords = chordOperations(connection, context);
  const steps = stepOperations(connection, context, (taskId) => {
    table.flush();
    return table.find(hashOf(taskId), taskId, context.nowMs())?.epoch ?? 0;
  });
  let sweptAtMs = 0;
  const marks = timedSetOperations(connection, context);
  let written = 0;
  return {
    calls: {
      ...marks.calls,
      ...writeOperations(context, table, (count) => {
        written += count;
      }),
      ...readOperations(connection, table),
      ...chords.calls,
      ...steps.calls,
      swapSendKey: sendKeys.swap,
    },
    beforeCommit() {
      table.flush();
      const nowMs = context.nowMs();
      if (written === 0 || (Math.abs(nowMs - sweptAtMs) < SWEEP_EVERY_MS && written < SWEEP_STEP)) return;
      table.sweep(nowMs, SWEEP_STEP + written);
      chords.sweep(nowMs);
      steps.sweep(nowMs);
      sweptAtMs = nowMs;
      written = 0;
    },
    afterRollback: () => table.forget(),
  };
};

export const resultsOperations: OperationModule = { name: 'results', prepareOperations, href: import.meta.url };

function writeOperations(context: OperationContext, table: ResultTable, onWritten: (count: number) => void) {
  /** A write to an id that is, or may be, stored already. */
  const overwrite = (hash: number, write: ResultWrite): WriteResult => {
    const { id, state, meta, epoch, ttlMs } = write;
    table.flush();
    const nowMs = context.nowMs();
    const metaUntilMs = ttlMs === null ? null : nowMs + ttlMs;
    const stored = table.find(hash, id, nowMs);
    if (!stored) {
      table.add(hash, { id, state, meta, metaEpoch: epoch, metaUntilMs, epoch: 0, epochUntilMs: null });
      return 'stored';
    }
    if (stored.state === 'SUCCESS') return 'final';
    if (epoch < stored.epoch) return 'fenced';
    const isOlder = stored.state !== null && FINAL_STATES.has(stored.state) && state !== 'SUCCESS' && epoch <= stored.metaEpoch;
    if (isOlder && !givesWay(stored, write)) return 'final';
    table.replace(stored, { state, meta, metaEpoch: epoch, metaUntilMs });
    return 'stored';
  };

  return {
    set: (writes: readonly ResultWrite[]): WriteResult[] => {
      onWritten(writes.length);
      context.ring('results');
      const nowMs = context.nowMs();
      const hashes = writes.map(({ id }) => hashOf(id));
      const known = table.known(hashes);
      return writes.map((write, index) => {
        const hash = hashes[index] as number;
        if (known.has(hash)) return overwrite(hash, write);
        // it may come again in this batch
        known.add(hash);
        const { id, state, meta, epoch, ttlMs } = write;
        table.add(hash, {
          id,
          state,
          meta,
          metaEpoch: epoch,
          metaUntilMs: ttlMs === null ? null : nowMs + ttlMs,
          epoch: 0,
          epochUntilMs: null,
        });
        return 'stored';
      });
    },

    claim: ({ id, ttlMs }: { readonly id: string; readonly ttlMs: number }): Claim => {
      table.flush();
      onWritten(1);
      const nowMs = context.nowMs();
      const epochUntilMs = nowMs + ttlMs;
      const hash = hashOf(id);
      const stored = table.find(hash, id, nowMs);
      if (!stored) {
        table.add(hash, { id, state: null, meta: null, metaEpoch: 0, metaUntilMs: null, epoch: 1, epochUntilMs });
        return { epoch: 1 };
      }
      if (stored.meta !== null && stored.state !== null && FINAL_STATES.has(stored.state)) return { final: stored.meta };
      const epoch = stored.epoch + 1;
      table.replace(stored, { epoch, epochUntilMs });
      return { epoch };
    },

    /** Forgets results; a claim stays, because the worker that it fences off may still write. */
    forget: (ids: readonly string[]): null => {
      table.flush();
      for (const id of ids) {
        const stored = table.find(hashOf(id), id, context.nowMs());
        if (!stored) continue;
        if (stored.epoch > 0) table.replace(stored, { state: null, meta: null, metaEpoch: 0, metaUntilMs: null });
        else table.remove(stored);
        table.flush();
      }
      return null;
    },
  };
}

function readOperations(connection: SqliteConnection, table: ResultTable) {
  const newest = connection.prepare("SELECT value FROM counters WHERE name = 'result'");
  const newsSince = connection.prepare('SELECT seq, id, state, meta, meta_until FROM results WHERE seq > ? ORDER BY seq LIMIT ?');

  return {
    get: (ids: readonly string[]): (string | null)[] => {
      const nowMs = Date.now();
      return ids.map((id) => table.find(hashOf(id), id, nowMs)?.meta ?? null);
    },

    news: ({ ids, after }: NewsArgument): NewsAnswer => {
      // before looking: what is written in between comes again rather than never
      const seq = Number(newest.get([])?.['value'] ?? 1) - 1;
      const nowMs = Date.now();
      const found: FreshResult[] = [];
      for (const id of ids) {
        const stored = table.find(hashOf(id), id, nowMs);
        if (stored && stored.meta !== null && stored.state !== null)
          found.push({ seq: stored.seq, id, state: stored.state, meta: stored.meta });
      }
      if (after === null) return { found, seq, more: false };
      const rows = newsSince.all([after, READ_STEP]);
      for (const row of rows) {
        const result = toFresh(row, nowMs);
        if (result) found.push(result);
      }
      const more = rows.length === READ_STEP;
      return { found, seq: more ? Number(rows.at(-1)?.['seq']) : Math.max(seq, after), more };
    },
  };
}

function toFresh(row: SqliteRow, nowMs: number): FreshResult | null {
  const { seq, id, state, meta, meta_until: untilMs } = row;
  if (typeof meta !== 'string' || (typeof untilMs === 'number' && untilMs <= nowMs)) return null;
  return { seq: Number(seq), id: String(id), state: String(state), meta };
}
