/**
 * Reads django-celery-beat's tables out of a PostgreSQL database, all at one moment and without a lock. Rows come as JSON with whatever
 * columns they have, because each version of django-celery-beat has others. What becomes of them is `schedules/django-import.ts`.
 */
import { explainPostgres } from '../clients/postgres-library.js';
import { PostgresLine } from '../clients/postgres-line.js';
import { parsePostgresUrl } from '../clients/postgres-url.js';
import { ConfigError } from '../core/errors.js';
import { MOST_ENTRIES } from './schedules/celery-import.js';
import { DJANGO_KINDS, type DjangoKind, type DjangoTables } from './schedules/django-import.js';

const PREFIX = 'django_celery_beat_';
/** Rows in one answer. */
const PAGE = 1_000;

type Row = Readonly<Record<string, unknown>>;

/**
 * The tables at this URL: in the schema that it names (`?schema=`), else where the role's search path finds them.
 * @throws ConfigError `E_CONFIG_URL` where there are no such tables, or more rows than an app can have entries; what PostgreSQL says, explained
 */
export async function readDjangoTables(url: string, timeoutMs: number): Promise<DjangoTables> {
  const target = parsePostgresUrl(url);
  const named = new URL(url.replace(/^postgres(?:ql)?:/i, 'postgresql:')).searchParams.get('schema');
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const line = await PostgresLine.open({ target, name: 'lovage:import', signal });
    try {
      await line.run('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      await line.run("SET LOCAL TIME ZONE 'UTC'");
      const places = await placesOf(line, named);
      const tasks = places.get('periodictask');
      if (tasks === undefined) {
        const where = named === null ? 'the search path' : `the schema "${named}"`;
        throw new ConfigError(
          'E_CONFIG_URL',
          `${target.label} has no table ${PREFIX}periodictask in ${where}: name its database, and its schema with ?schema=NAME`,
        );
      }
      const of = async (kind: DjangoKind): Promise<ReadonlyMap<unknown, Row>> => {
        const place = places.get(`${kind}schedule`);
        return new Map((place === undefined ? [] : await rowsOf(line, place)).map((row) => [row['id'], row]));
      };
      const schedules = {} as Record<DjangoKind, ReadonlyMap<unknown, Row>>;
      for (const kind of DJANGO_KINDS) schedules[kind] = await of(kind);
      return { tasks: await rowsOf(line, tasks), schedules };
    } finally {
      await line.end();
    }
  } catch (error) {
    throw explainPostgres(error, target);
  }
}

/** The tables that there are: what follows the prefix → the quoted name. */
async function placesOf(line: PostgresLine, schema: string | null): Promise<ReadonlyMap<string, string>> {
  const where = schema === null ? 'pg_table_is_visible(c.oid)' : 'n.nspname = $1::text';
  const rows = await line.run<{ readonly name: string; readonly place: string }>(
    `SELECT substr(c.relname, ${PREFIX.length + 1}) AS name, format('%I.%I', n.nspname, c.relname) AS place
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE starts_with(c.relname, '${PREFIX}') AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND ${where}`,
    schema === null ? [] : [schema],
  );
  return new Map(rows.map(({ name, place }) => [name, place]));
}

async function rowsOf(line: PostgresLine, place: string): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (let after = '-1'; ; ) {
    const page = await line.run<{ readonly id: string; readonly row: string }>(
      `SELECT t.id::text AS id, to_jsonb(t)::text AS row FROM ${place} t WHERE t.id > $1::bigint ORDER BY t.id LIMIT ${PAGE}`,
      [after],
    );
    for (const { row } of page) rows.push(JSON.parse(row) as Row);
    if (rows.length > MOST_ENTRIES)
      throw new ConfigError('E_CONFIG_URL', `${place} has more rows than the ${MOST_ENTRIES} entries that an app can have`);
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) return rows;
    after = last.id;
  }
}
