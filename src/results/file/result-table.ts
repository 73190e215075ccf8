/**
 * Rows of results: found by a hash of their id, inserted in bulk. A batch of new results costs one look for ids that are
 * there already, one insert for 32 rows and one for all their keys, because a call into SQLite costs as much as a row.
 * Knows nothing of what may replace what; that is in `operations.ts`.
 */
import type { SqliteConnection, SqliteRow, SqliteStatement, SqliteValue } from '../../clients/sqlite/driver.js';
import type { OperationContext } from '../../clients/sqlite/operations.js';

const ROWS_AT_ONCE = 32;
const COLUMNS = 10;
/** New keys are moved to the large table when there are so many. */
const MAX_NEW_KEYS = 4_000;
/** Rows written between two counts of the new keys; others write too, so each looks for itself. */
const ROWS_BETWEEN_COUNTS = 500;

/** What is stored under an id; parts whose time is over are gone. */
export interface StoredResult {
  readonly seq: number;
  readonly hash: number;
  readonly id: string;
  /** `null` with `meta`. */
  state: string | null;
  meta: string | null;
  metaEpoch: number;
  metaUntilMs: number | null;
  epoch: number;
  epochUntilMs: number | null;
}

export type NewResult = Omit<StoredResult, 'seq' | 'hash'>;

export class ResultTable {
  readonly #context: OperationContext;
  readonly #insertMany: SqliteStatement;
  readonly #insertOne: SqliteStatement;
  readonly #addKeys: SqliteStatement;
  readonly #known: SqliteStatement;
  readonly #find: SqliteStatement;
  readonly #drop: SqliteStatement;
  readonly #dropKey: SqliteStatement;
  readonly #dropNewKey: SqliteStatement;
  readonly #countNewKeys: SqliteStatement;
  readonly #moveKeys: SqliteStatement;
  readonly #dropNewKeys: SqliteStatement;
  readonly #dropExpired: SqliteStatement;
  readonly #dropExpiredKeys: SqliteStatement;
  readonly #dropExpiredNewKeys: SqliteStatement;
  #rowsUntilCount = 0;
  /** New rows, flat, without seq; and their hashes. */
  #fresh: SqliteValue[] = [];
  #freshHashes = new Set<number>();

  constructor(connection: SqliteConnection, context: OperationContext) {
    this.#context = context;
    const row = `(${Array<string>(COLUMNS).fill('?').join(',')})`;
    this.#insertMany = connection.prepare(`INSERT INTO results VALUES ${Array<string>(ROWS_AT_ONCE).fill(row).join(',')}`);
    this.#insertOne = connection.prepare(`INSERT INTO results VALUES ${row}`);
    this.#addKeys = connection.prepare('INSERT INTO new_result_keys SELECT hash, seq FROM results WHERE seq BETWEEN ? AND ?');
    this.#known = connection.prepare(
      `SELECT j.value AS hash FROM json_each(?) j
       WHERE EXISTS (SELECT 1 FROM new_result_keys WHERE hash = j.value) OR EXISTS (SELECT 1 FROM result_keys WHERE hash = j.value)`,
    );
    this.#find = connection.prepare(
      `SELECT * FROM results WHERE id = ? AND seq IN
       (SELECT seq FROM new_result_keys WHERE hash = ? UNION ALL SELECT seq FROM result_keys WHERE hash = ?)`,
    );
    this.#drop = connection.prepare('DELETE FROM results WHERE seq = ?');
    this.#dropKey = connection.prepare('DELETE FROM result_keys WHERE hash = ? AND seq = ?');
    this.#dropNewKey = connection.prepare('DELETE FROM new_result_keys WHERE hash = ? AND seq = ?');
    this.#countNewKeys = connection.prepare('SELECT count(*) AS n FROM new_result_keys');
    this.#moveKeys = connection.prepare('INSERT INTO result_keys SELECT hash, seq FROM new_result_keys ORDER BY hash, seq');
    this.#dropNewKeys = connection.prepare('DELETE FROM new_result_keys');
    const over = 'FROM results WHERE expires <= ? ORDER BY expires, seq LIMIT ?';
    this.#dropExpiredKeys = connection.prepare(`DELETE FROM result_keys WHERE (hash, seq) IN (SELECT hash, seq ${over})`);
    this.#dropExpiredNewKeys = connection.prepare(`DELETE FROM new_result_keys WHERE (hash, seq) IN (SELECT hash, seq ${over})`);
    this.#dropExpired = connection.prepare(`DELETE FROM results WHERE seq IN (SELECT seq ${over})`);
  }

  /** Hashes of these that are stored, or about to be. */
  known(hashes: readonly number[]): Set<number> {
    const known = new Set<number>();
    for (const row of this.#known.all([JSON.stringify(hashes)])) known.add(Number(row['hash']));
    for (const hash of hashes) if (this.#freshHashes.has(hash)) known.add(hash);
    return known;
  }

  /** Takes a result whose id is not stored; it is written with its like by `flush`. */
  add(hash: number, { id, state, meta, metaEpoch, metaUntilMs, epoch, epochUntilMs }: NewResult): void {
    this.#freshHashes.add(hash);
    this.#fresh.push(
      0,
      hash,
      id,
      state,
      metaEpoch,
      metaUntilMs,
      epoch,
      epochUntilMs,
      expiry(meta, metaUntilMs, epochUntilMs),
      meta,
    );
  }

  /** Writes what was added. */
  flush(): void {
    const fresh = this.#fresh;
    if (fresh.length === 0) return;
    this.forget();
    const count = fresh.length / COLUMNS;
    const first = this.#context.take('result', count);
    for (let index = 0; index < count; index += 1) fresh[index * COLUMNS] = first + index;
    const step = ROWS_AT_ONCE * COLUMNS;
    let start = 0;
    for (; start + step <= fresh.length; start += step) this.#insertMany.run(fresh.slice(start, start + step));
    for (; start < fresh.length; start += COLUMNS) this.#insertOne.run(fresh.slice(start, start + COLUMNS));
    this.#addKeys.run([first, first + count - 1]);
    this.#rowsUntilCount -= count;
    if (this.#rowsUntilCount > 0) return;
    this.#rowsUntilCount = ROWS_BETWEEN_COUNTS;
    if (Number(this.#countNewKeys.get([])?.['n']) < MAX_NEW_KEYS) return;
    this.#moveKeys.run([]);
    this.#dropNewKeys.run([]);
  }

  /** What is stored, as of this moment. Call `flush` first if the id may have been added. */
  find(hash: number, id: string, nowMs: number): StoredResult | undefined {
    const row = this.#find.get([id, hash, hash]);
    return row ? toStored(row, nowMs) : undefined;
  }

  /** Replaces a row; the new one has a new `seq`, so that those who wait find it among the news. */
  replace(stored: StoredResult, changes: Partial<NewResult>): void {
    this.remove(stored);
    this.add(stored.hash, { ...stored, ...changes });
  }

  remove({ seq, hash }: StoredResult): void {
    this.#drop.run([seq]);
    this.#dropNewKey.run([hash, seq]);
    this.#dropKey.run([hash, seq]);
  }

  /** Removes results whose time is over, the oldest first. */
  sweep(nowMs: number, limit: number): void {
    this.#dropExpiredNewKeys.run([nowMs, limit]);
    this.#dropExpiredKeys.run([nowMs, limit]);
    this.#dropExpired.run([nowMs, limit]);
  }

  /** Drops what was not written yet. */
  forget(): void {
    this.#fresh = [];
    this.#freshHashes = new Set();
  }
}

/** 53 bits that depend on every character: two FNV-1a hashes with different starts. Ids that share one are told apart by themselves. */
export function hashOf(id: string): number {
  let high = 0x811c9dc5;
  let low = 0x2f0b4a27;
  for (let index = 0; index < id.length; index += 1) {
    const code = id.charCodeAt(index);
    high = Math.imul(high ^ code, 0x01000193);
    low = Math.imul(low ^ code, 0x01000193) ^ (high >>> 15);
  }
  return (high >>> 11) * 0x1_0000_0000 + (low >>> 0);
}

/** When a row may go: once both of its parts are over; `null`: never. */
function expiry(meta: string | null, metaUntilMs: number | null, epochUntilMs: number | null): number | null {
  if (meta !== null && metaUntilMs === null) return null;
  return Math.max(metaUntilMs ?? 0, epochUntilMs ?? 0);
}

function toStored(row: SqliteRow, nowMs: number): StoredResult {
  const metaUntilMs = toNumber(row['meta_until']);
  const epochUntilMs = toNumber(row['epoch_until']);
  const hasMeta = typeof row['meta'] === 'string' && (metaUntilMs === null || metaUntilMs > nowMs);
  const hasEpoch = epochUntilMs !== null && epochUntilMs > nowMs;
  return {
    seq: Number(row['seq']),
    hash: Number(row['hash']),
    id: String(row['id']),
    state: hasMeta ? String(row['state']) : null,
    meta: hasMeta ? String(row['meta']) : null,
    metaEpoch: hasMeta ? Number(row['meta_epoch']) : 0,
    metaUntilMs: hasMeta ? metaUntilMs : null,
    epoch: hasEpoch ? Number(row['epoch']) : 0,
    epochUntilMs: hasEpoch ? epochUntilMs : null,
  };
}

function toNumber(value: SqliteValue | undefined): number | null {
  return typeof value === 'number' ? value : null;
}
