/**
 * Makes and upgrades the schema: any number of processes may start at once, one of them does it, under a lock that ends
 * with its transaction. A schema that is up to date is only read, so that a role without the right to make anything works.
 */
import { type PostgresSession, sqlState } from '../../clients/postgres-library.js';
import type { PostgresTarget } from '../../clients/postgres-url.js';
import { BrokerError, ConfigError } from '../../core/errors.js';
import { MIGRATIONS, OLDEST_READER, SCHEMA_VERSION } from './schema.js';

/** Functions and `sha256` that we use; what is older gets no more repairs of its own. */
const OLDEST_SERVER = 130_000;
/** Another process may be at it. */
const PATIENCE_MS = 30_000;

interface Version {
  readonly version: number;
  readonly oldest: number;
}

/**
 * Sees to it that the schema of the URL is there and fits.
 * @throws BrokerError `E_NOT_SUPPORTED` for a server or a schema that is too old or too new; ConfigError `E_CONFIG_URL` where the
 * schema has tables of others; and what the server says
 */
export async function migrate(session: PostgresSession, { schema, label }: PostgresTarget): Promise<void> {
  const [server] = await session.run<{ readonly version: number; readonly encoding: string }>(
    "SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding",
  );
  if ((server?.version ?? 0) < OLDEST_SERVER)
    throw new BrokerError(
      'E_NOT_SUPPORTED',
      `${label} runs PostgreSQL ${Math.floor((server?.version ?? 0) / 10_000)}: results need 13 or later`,
    );
  if (server?.encoding !== 'UTF8')
    throw new BrokerError(
      'E_NOT_SUPPORTED',
      `the database at ${label} is encoded as ${server?.encoding}, which has no place for every text: create one with ENCODING 'UTF8'`,
    );
  if (isCurrent(await versionOf(session, schema), schema, label)) return;
  await session.run('BEGIN');
  try {
    await session.run(`SELECT pg_advisory_xact_lock(hashtextextended('lovage:migrate:${schema}', 0))`, [], PATIENCE_MS);
    // somebody else may have done it meanwhile
    const found = await versionOf(session, schema);
    if (!isCurrent(found, schema, label)) await upgrade(session, schema, found?.version ?? 0);
    await session.run('COMMIT');
  } catch (error) {
    await session.run('ROLLBACK').catch(() => {});
    if (sqlState(error) !== '42P07' && sqlState(error) !== '42723') throw error;
    const message = `the schema "${schema}" at ${label} has tables or functions of another program: name another one, ?schema=NAME`;
    throw new ConfigError('E_CONFIG_URL', message, { cause: error });
  }
}

async function upgrade(session: PostgresSession, schema: string, from: number): Promise<void> {
  if (from === 0) {
    const [there] = await session.run<{ readonly is: boolean }>(
      `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = '${schema}') AS is`,
    );
    // asked first: whoever may not make a schema is refused even if it is there
    if (!there?.is) await session.run(`CREATE SCHEMA "${schema}"`);
    await session.run(`CREATE TABLE "${schema}".lovage_schema(version integer NOT NULL, oldest integer NOT NULL)`);
    await session.run(`INSERT INTO "${schema}".lovage_schema VALUES (0, 0)`);
  }
  for (const step of MIGRATIONS.slice(from)) for (const sql of step(schema)) await session.run(sql, [], PATIENCE_MS);
  await session.run(`UPDATE "${schema}".lovage_schema SET version = ${SCHEMA_VERSION}, oldest = ${OLDEST_READER}`);
}

/**
 * `null`: it has not been made. The catalogue is asked by a query: functions like to_regclass answer from what the session remembers,
 * and would not see what another process made while this one waited for the lock.
 */
async function versionOf(session: PostgresSession, schema: string): Promise<Version | null> {
  const [there] = await session.run<{ readonly is: boolean }>(
    `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = '${schema}' AND c.relname = 'lovage_schema') AS is`,
  );
  if (!there?.is) return null;
  const [version] = await session.run<Version>(`SELECT version, oldest FROM "${schema}".lovage_schema`);
  return version ?? null;
}

/** Newer is fine while it is not too new: workers of two releases run side by side. */
function isCurrent(found: Version | null, schema: string, label: string): boolean {
  if (found === null || found.version < SCHEMA_VERSION) return false;
  if (found.oldest <= SCHEMA_VERSION) return true;
  throw new BrokerError(
    'E_NOT_SUPPORTED',
    `the schema "${schema}" at ${label} was made by a newer Lovage (version ${found.version}, this one knows ${SCHEMA_VERSION}): upgrade every process that uses it`,
  );
}
