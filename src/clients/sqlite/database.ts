/**
 * One open database: its settings, its transactions, its counters, flushing, and checkpoints under a lock. Owns the two
 * connections; knows no table but `counters`. Next stop: `group-commit.ts`, which decides what goes into a transaction.
 *
 * Traps that this file is built around:
 * - Never open and close the database or its -shm file by other means in this process: closing any descriptor of a file
 *   drops all POSIX locks that the process holds on it.
 * - SQLite before 3.51.3 can lose pages when a transaction commits while a second checkpoint runs right after a first
 *   ("WAL-reset bug"). So automatic checkpoints are off, and ours run on a second connection while the first one holds
 *   the write lock: nobody can commit meanwhile, in any process, and the kernel frees the lock if we die.
 * - SQLite would block the loop for each fsync. So it runs with synchronous = NORMAL, which orders writes but does not
 *   flush commits, and the WAL is flushed here, by Node's thread pool, before a durable call is confirmed. A flush covers
 *   everything that any process committed before; SQLite holds no locks on the WAL file, so opening it is harmless.
 */
import { closeSync, fdatasync, fdatasyncSync, openSync, statSync } from 'node:fs';
import { sleep } from '../../core/clock.js';
import { BrokerError, toError } from '../../core/errors.js';
import { loadDriver, type SqliteConnection, type SqliteDriver, type SqliteStatement } from './driver.js';
import { isBusy, toBrokerError } from './faults.js';
import { type FileLocation, prepareLocation } from './location.js';
import type { CounterName } from './operations.js';
import { isCurrent, migrate } from './schema.js';

/** The WAL is copied back into the database when its file has grown past this, and cut to it afterwards. */
const WAL_LIMIT_BYTES = 16 * 1_048_576;
/** Asking for the size of the WAL is cheap, not free. */
const COMMITS_BETWEEN_LOOKS = 8;
const OPEN_RETRY_MS = 20;

interface Counter {
  value: number;
  saved: number;
}

export class Database {
  readonly path: string;
  readonly connection: SqliteConnection;
  readonly #driver: SqliteDriver;
  readonly #location: FileLocation;
  readonly #commit: SqliteStatement;
  readonly #rollback: SqliteStatement;
  readonly #readCounter: SqliteStatement;
  readonly #writeCounter: SqliteStatement;
  readonly #counters = new Map<CounterName, Counter>();
  #checkpointer: SqliteConnection | null = null;
  #wal: number | null = null;
  #looksIn = COMMITS_BETWEEN_LOOKS;
  #checkpointAtBytes = WAL_LIMIT_BYTES;
  #closed = false;

  constructor(driver: SqliteDriver, location: FileLocation, connection: SqliteConnection) {
    this.#driver = driver;
    this.#location = location;
    this.path = location.path;
    this.connection = connection;
    this.#commit = connection.prepare('COMMIT');
    this.#rollback = connection.prepare('ROLLBACK');
    this.#readCounter = connection.prepare('SELECT value FROM counters WHERE name = ?');
    this.#writeCounter = connection.prepare('UPDATE counters SET value = ? WHERE name = ?');
  }

  /** Begins a write transaction. @throws SQLite's own busy error while another process writes */
  begin(): void {
    // Never prepared: libsql does not reset a statement that found the file locked. As long as it is not run again, SQLite takes it for
    // a transaction under way, and every read of this connection sees the file as it was then.
    this.connection.exec('BEGIN IMMEDIATE');
  }

  commit(): void {
    for (const [name, counter] of this.#counters) {
      if (counter.value !== counter.saved) this.#writeCounter.run([counter.value, name]);
    }
    this.#commit.run([]);
    this.#counters.clear();
  }

  /** Whether a confirmed call must be flushed first: not with `sync=normal`. */
  get flushes(): boolean {
    return this.#location.sync === 'full';
  }

  /** Brings everything that is committed to the disk, in another thread. */
  flush(onFlushed: (error: Error | null) => void): void {
    try {
      fdatasync(this.#walFile(), onFlushed);
    } catch (error) {
      onFlushed(toError(error));
    }
  }

  /** The same, here and now. */
  flushNow(): void {
    fdatasyncSync(this.#walFile());
  }

  rollback(): void {
    this.#counters.clear();
    try {
      this.#rollback.run([]);
    } catch {
      // a full disk or an I/O error has rolled back already
    }
  }

  /** Takes numbers from a counter inside the running transaction. */
  take(name: CounterName, count: number): number {
    let counter = this.#counters.get(name);
    if (!counter) {
      const value = Number(this.#readCounter.get([name])?.['value']);
      counter = { value, saved: value };
      this.#counters.set(name, counter);
    }
    const first = counter.value;
    counter.value += name === 'front' ? -count : count;
    return first;
  }

  /** Copies the WAL back if it has grown too long. Call after a commit. Never throws: a checkpoint can wait. */
  checkpointIfDue(): void {
    this.#looksIn -= 1;
    if (this.#looksIn > 0) return;
    this.#looksIn = COMMITS_BETWEEN_LOOKS;
    const bytes = this.#walBytes();
    if (bytes <= this.#checkpointAtBytes) return;
    // A reader of old pages (a backup) keeps the WAL from starting over: then not again before it has grown by as much.
    const complete = this.checkpoint();
    this.#checkpointAtBytes = complete ? WAL_LIMIT_BYTES : bytes + WAL_LIMIT_BYTES;
  }

  /** Copies the WAL back into the database; `true` if all of it was, so that the next transaction starts it over. */
  checkpoint(): boolean {
    try {
      this.#checkpointer ??= this.#openCheckpointer();
      this.begin();
    } catch {
      return false; // somebody writes; the next look comes soon
    }
    try {
      const row = this.#checkpointer.prepare('PRAGMA wal_checkpoint(PASSIVE)').get([]);
      return row?.['busy'] === 0 && row['log'] === row['checkpointed'];
    } catch {
      return false;
    } finally {
      this.rollback();
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // The last one to close copies the WAL back under an exclusive lock, which no race can touch. Not so libsql: it really
    // closes only once its statements are collected, so the WAL is copied back here.
    if (this.#driver.name === 'libsql') this.checkpoint();
    this.#checkpointer?.close();
    this.connection.close();
    if (this.#wal !== null) closeSync(this.#wal);
    this.#wal = null;
  }

  /** The WAL stays the same file as long as a connection is open. */
  #walFile(): number {
    this.#wal ??= openSync(`${this.path}-wal`, 'r+');
    return this.#wal;
  }

  #walBytes(): number {
    try {
      return statSync(`${this.path}-wal`).size;
    } catch {
      return 0;
    }
  }

  #openCheckpointer(): SqliteConnection {
    const connection = this.#driver.open(this.path);
    connection.exec('PRAGMA busy_timeout = 0');
    connection.exec('PRAGMA wal_autocheckpoint = 0');
    return connection;
  }
}

/**
 * Opens the database, made and upgraded if need be.
 * @throws ConfigError `E_DRIVER_MISSING`
 * @throws BrokerError `E_BROKER_UNREACHABLE`, `E_BROKER_CORRUPT`, `E_FILE_SYSTEM`, `E_BROKER_FULL`
 */
export async function openDatabase(location: FileLocation, timeoutMs: number): Promise<Database> {
  const driver = await loadDriver();
  prepareLocation(location);
  const untilMs = performance.now() + timeoutMs;
  for (;;) {
    try {
      return openOnce(driver, location);
    } catch (error) {
      // Another process is making the file, recovering it, or closing it as the last one.
      if (!isBusy(error) || performance.now() > untilMs) throw toBrokerError(error, location.path);
    }
    await sleep(OPEN_RETRY_MS * (0.5 + Math.random()));
  }
}

function openOnce(driver: SqliteDriver, location: FileLocation): Database {
  const connection = driver.open(location.path);
  try {
    connection.exec('PRAGMA busy_timeout = 0');
    connection.exec('PRAGMA wal_autocheckpoint = 0');
    const mode = connection.prepare('PRAGMA journal_mode = WAL').get([])?.['journal_mode'];
    if (mode !== 'wal') {
      throw new BrokerError(
        'E_FILE_SYSTEM',
        `${location.path} cannot use a write-ahead log (journal mode stays ${mode}): put it on a local disk`,
      );
    }
    connection.exec('PRAGMA synchronous = NORMAL');
    connection.exec(`PRAGMA journal_size_limit = ${WAL_LIMIT_BYTES}`);
    // With 16 MiB a worker kept growing until a million results were stored (drill midnight-restart); 8 are no slower.
    connection.exec('PRAGMA cache_size = -8192');
    connection.exec('PRAGMA temp_store = MEMORY');
    if (!isCurrent(connection)) {
      connection.exec('BEGIN IMMEDIATE');
      migrate(connection, location.path);
      connection.exec('COMMIT');
    }
    if (location.maxBytes !== null) {
      const pageSize = Number(connection.prepare('PRAGMA page_size').get([])?.['page_size']);
      connection.exec(`PRAGMA max_page_count = ${Math.floor(location.maxBytes / pageSize)}`);
    }
    return new Database(driver, location, connection);
  } catch (error) {
    connection.close();
    throw error;
  }
}
