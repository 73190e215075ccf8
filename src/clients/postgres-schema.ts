/**
 * Makes and upgrades tables of ours in a schema: any number of processes may start at once, one of them does it, under a lock that ends
 * with its transaction. What is up to date is only read, so that a role without the right to make anything works. Which tables: results
 * have theirs (`results/postgres/schema.ts`) and schedules have theirs (`beat/stores/postgres/schema.ts`), each with a version of its own,
 * so that whoever uses one of them needs nothing of the other.
 */
import { BrokerError, ConfigError } from '../core/errors.js';
import { type PostgresSession, sqlState } from './postgres-library.js';
import type { PostgresTarget } from './postgres-url.js';

/** Tables that are made and upgraded together. */
export interface PostgresTables {
  /** For messages: `results`. */
  readonly what: string;
  /** The table that says which version the others have. Never another name, or they are made twice. */
  readonly versionTable: string;
  /** A step for each version, in order: a schema gets those that it has not had. What was released is never changed. */
  readonly migrations: readonly ((schema: string) => readonly string[])[];
  /** The oldest code, by its number of migrations, that can work with the newest version. */
  readonly oldestReader: number;
}

/** Functions and `sha256` that we use; what is older gets no more repairs of its own. */
const OLDEST_SERVER = 130_000;
/** Another process may be at it. */
const PATIENCE_MS = 30_000;

interface Place extends Pick<PostgresTarget, 'schema' | 'label'> {
  readonly tables: PostgresTables;
}

interface Version {
  readonly version: number;
  readonly oldest: number;
}

/**
 * Sees to it that these tables are in the schema of the URL and fit.
 * @throws BrokerError `E_NOT_SUPPORTED` for a server or a schema that is too old or too new; ConfigError `E_CONFIG_URL` where the
 * schema has tables of others; and what the server says
 */
export async function migrate(
  session: PostgresSession,
  { schema, label }: PostgresTarget,
  tables: PostgresTables,
): Promise<void> {
  const [server] = await session.run<{ readonly version: number; readonly encoding: string }>(
    "SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding",
  );
  if ((server?.version ?? 0) < OLDEST_SERVER)
    throw new BrokerError(
      'E_NOT_SUPPORTED',
      `${label} runs PostgreSQL ${Math.floor((server?.version ?? 0) / 10_000)}: ${tables.what} need 13 or later`,
    );
  if (server?.encoding !== 'UTF8')
    throw new BrokerError(
      'E_NOT_SUPPORTED',
      `the database at ${label} is encoded as ${server?.encoding}, which has no place for every text: create one with ENCODING 'UTF8'`,
    );
  const place = { schema, label, tables };
  if (isCurrent(await versionOf(session, place), place)) return;
  await session.run('BEGIN');
  try {
    await session.run(`SELECT pg_advisory_xact_lock(hashtextextended('lovage:migrate:${schema}', 0))`, [], PATIENCE_MS);
    // somebody else may have done it meanwhile
    const found = await versionOf(session, place);
    if (!isCurrent(found, place)) await upgrade(session, place, found?.version ?? 0);
    await session.run('COMMIT');
  } catch (error) {
    await session.run('ROLLBACK').catch(() => {});
    if (sqlState(error) !== '42P07' && sqlState(error) !== '42723') throw error;
    const message = `the schema "${schema}" at ${label} has tables or functions of another program: name another one, ?schema=NAME`;
    throw new ConfigError('E_CONFIG_URL', message, { cause: error });
  }
}

async function upgrade(session: PostgresSession, { schema, tables }: Place, from: number): Promise<void> {
  const { versionTable, migrations, oldestReader } = tables;
  if (from === 0) {
    const [there] = await session.run<{ readonly is: boolean }>(
      `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = '${schema}') AS is`,
    );
    // asked first: whoever may not make a schema is refused even if it is there
    if (!there?.is) await session.run(`CREATE SCHEMA "${schema}"`);
    await session.run(`CREATE TABLE "${schema}".${versionTable}(version integer NOT NULL, oldest integer NOT NULL)`);
    await session.run(`INSERT INTO "${schema}".${versionTable} VALUES (0, 0)`);
  }
  for (const step of migrations.slice(from)) for (const sql of step(schema)) await session.run(sql, [], PATIENCE_MS);
  await session.run(`UPDATE "${schema}".${versionTable} SET version = ${migrations.length}, oldest = ${oldestReader}`);
}

/**
 * `null`: it has not been made. The catalogue is asked by a query: functions like to_regclass answer from what the session remembers,
 * and would not see what another process made while this one waited for the lock.
 */
async function versionOf(session: PostgresSession, { schema, tables: { versionTable } }: Place): Promise<Version | null> {
  const [there] = await session.run<{ readonly is: boolean }>(
    `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = '${schema}' AND c.relname = '${versionTable}') AS is`,
  );
  if (!there?.is) return null;
  const [version] = await session.run<Version>(`SELECT version, oldest FROM "${schema}".${versionTable}`);
  return version ?? null;
}

/** Newer is fine while it is not too new: workers of two releases run side by side. */
function isCurrent(found: Version | null, { schema, label, tables }: Place): boolean {
  const known = tables.migrations.length;
  if (found === null || found.version < known) return false;
  if (found.oldest <= known) return true;
  throw new BrokerError(
    'E_NOT_SUPPORTED',
    `the schema "${schema}" at ${label} was made by a newer Lovage (version ${found.version}, this one knows ${known}): upgrade every process that uses it`,
  );
}
