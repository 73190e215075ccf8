/**
 * One synchronous face for the two SQLite bindings: `node:sqlite` where Node has it (>= 22.13), else the package
 * `libsql`. Owns loading them and evening out their differences; knows no table and no transaction.
 * Next stop: `database.ts`.
 */
import { ConfigError } from '../../core/errors.js';

/** What SQLite stores. Blobs are read as `Uint8Array`. */
export type SqliteValue = string | number | null | Uint8Array;

/** One row, by column name. */
export type SqliteRow = Record<string, SqliteValue>;

export interface SqliteStatement {
  /** Runs it and tells how many rows changed. */
  run(parameters: readonly SqliteValue[]): number;
  get(parameters: readonly SqliteValue[]): SqliteRow | undefined;
  all(parameters: readonly SqliteValue[]): SqliteRow[];
}

export interface SqliteConnection {
  exec(sql: string): void;
  prepare(sql: string): SqliteStatement;
  close(): void;
}

export interface SqliteDriver {
  readonly name: 'node:sqlite' | 'libsql';
  open(path: string): SqliteConnection;
}

interface RawStatement {
  run(...parameters: unknown[]): { readonly changes: number | bigint };
  get(...parameters: unknown[]): SqliteRow | undefined;
  all(...parameters: unknown[]): SqliteRow[];
}

interface RawConnection {
  exec(sql: string): void;
  prepare(sql: string): RawStatement;
  close(): void;
}

type RawConstructor = new (path: string) => RawConnection;

let loaded: Promise<SqliteDriver> | undefined;

/**
 * The driver of this Node.
 * @throws ConfigError `E_DRIVER_MISSING` when neither binding is there
 */
export function loadDriver(): Promise<SqliteDriver> {
  loaded ??= load();
  // a failed load must not be remembered: the package may be installed meanwhile
  loaded.catch(() => {
    loaded = undefined;
  });
  return loaded;
}

async function load(): Promise<SqliteDriver> {
  const builtin = await loadBuiltin();
  if (builtin) return { name: 'node:sqlite', open: (path) => new BuiltinConnection(new builtin(path)) };
  try {
    // a variable, so that compilers and bundlers leave an optional package alone
    const name: string = 'libsql';
    const module = (await import(name)) as { readonly default: RawConstructor };
    return { name: 'libsql', open: (path) => new LibsqlConnection(new module.default(path)) };
  } catch (error) {
    throw new ConfigError(
      'E_DRIVER_MISSING',
      `file: brokers and results need SQLite, and Node ${process.versions.node} has none built in: run \`npm install libsql\`, or use Node 22.13 or later`,
      { cause: error },
    );
  }
}

async function loadBuiltin(): Promise<RawConstructor | undefined> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 22 || (major === 22 && minor < 13)) return undefined;
  const emitWarning = process.emitWarning;
  try {
    const name: string = 'node:sqlite';
    // Node 22 warns at every start that SQLite is experimental; nobody who runs a worker can act on that line
    process.emitWarning = ((warning: unknown, ...rest: unknown[]) => {
      if (!String(warning).startsWith('SQLite is an experimental feature'))
        Reflect.apply(emitWarning, process, [warning, ...rest]);
    }) as typeof process.emitWarning;
    return ((await import(name)) as { readonly DatabaseSync: RawConstructor }).DatabaseSync;
  } catch {
    return undefined; // Node built without SQLite
  } finally {
    process.emitWarning = emitWarning;
  }
}

class BuiltinConnection implements SqliteConnection {
  readonly #raw: RawConnection;

  constructor(raw: RawConnection) {
    this.#raw = raw;
  }

  exec(sql: string): void {
    this.#raw.exec(sql);
  }

  prepare(sql: string): SqliteStatement {
    const statement = this.#raw.prepare(sql);
    return {
      run: (parameters) => Number(statement.run(...parameters).changes),
      get: (parameters) => statement.get(...parameters),
      all: (parameters) => statement.all(...parameters),
    };
  }

  close(): void {
    this.#raw.close();
  }
}

/** libsql takes parameters as one array (spread ones it would flatten again) and gives blobs as `ArrayBuffer`. */
class LibsqlConnection implements SqliteConnection {
  readonly #raw: RawConnection;

  constructor(raw: RawConnection) {
    this.#raw = raw;
  }

  exec(sql: string): void {
    this.#raw.exec(sql);
  }

  prepare(sql: string): SqliteStatement {
    const statement = this.#raw.prepare(sql);
    return {
      run: (parameters) => Number(statement.run(parameters).changes),
      get: (parameters) => {
        const row = statement.get(parameters);
        return row === undefined ? undefined : withBytes(row);
      },
      all: (parameters) => {
        const rows = statement.all(parameters);
        for (const row of rows) withBytes(row);
        return rows;
      },
    };
  }

  close(): void {
    this.#raw.close();
  }
}

function withBytes(row: SqliteRow): SqliteRow {
  for (const key in row) {
    const value: unknown = row[key];
    if (value instanceof ArrayBuffer) row[key] = new Uint8Array(value);
  }
  return row;
}
