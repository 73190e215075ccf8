/** What we ask PostgreSQL about schedules, prepared once a connection. What the functions do: `schema.ts`. `$1` is the app wherever it occurs. */
import { createHash } from 'node:crypto';
import type { PostgresStatement } from '../../../clients/postgres-library.js';

/** The channel of an app in a schema: signs of life, changes of hands, and word of news. At most 62 bytes, as a name of PostgreSQL must be. */
export const channelOf = (schema: string, appKey: string): string =>
  `${schema}:beat:${createHash('sha256').update(appKey).digest('hex').slice(0, 16)}`;

export interface BeatStatements {
  readonly ready: PostgresStatement;
  /** Version and wishes, in one look. */
  readonly head: PostgresStatement;
  readonly page: PostgresStatement;
  readonly get: PostgresStatement;
  readonly news: PostgresStatement;
  readonly change: PostgresStatement;
  readonly fire: PostgresStatement;
  readonly lead: PostgresStatement;
  readonly takeLead: PostgresStatement;
  readonly resign: PostgresStatement;
  readonly notify: PostgresStatement;
}

export function statementsOf(schema: string): BeatStatements {
  const q = `"${schema}"`;
  const named = (name: string, text: string): PostgresStatement => ({ name: `lovage:beat:${name}`, text });
  const entry = 'e.id, e.revision::float8 AS revision, e.paused, e.definition, e.seq::float8 AS seq, e.state';
  const head = `SELECT 'head' AS kind, NULL AS id, a.version::float8 AS revision, false AS paused, NULL AS definition, a.horizon::float8 AS seq,
        NULL AS state FROM ${q}.beat_apps a WHERE a.app = $1::text
      UNION ALL SELECT 'request', r.id, 0, false, r.entry, 0, NULL FROM ${q}.beat_requests r WHERE r.app = $1::text`;
  return {
    ready: named('ready', `SELECT version FROM ${q}.lovage_beat_schema`),
    head: named('head', head),
    page: named(
      'page',
      `SELECT ${entry} FROM ${q}.beat_entries e WHERE e.app = $1::text AND e.id > $2::text ORDER BY e.id LIMIT $3::int`,
    ),
    get: named('get', `SELECT ${entry} FROM ${q}.beat_entries e WHERE e.app = $1::text AND e.id = $2::text`),
    // one statement: all parts are of the same moment
    news: named(
      'news',
      `${head}
      UNION ALL (SELECT 'removed', x.id, 0, false, NULL, 0, NULL FROM ${q}.beat_removed x
        WHERE x.app = $1::text AND x.version > $2::bigint LIMIT $3::int)
      UNION ALL (SELECT 'entry', ${entry} FROM ${q}.beat_entries e
        WHERE e.app = $1::text AND e.revision > $2::bigint ORDER BY e.revision LIMIT $3::int)`,
    ),
    change: named(
      'change',
      `SELECT ${q}.beat_change($1::text, $2::text, $3::text[], $4::text[], $5::float8[], $6::text[], $7::boolean[], $8::int, $9::int, $10::int)
        AS answers`,
    ),
    fire: named(
      'fire',
      `SELECT ${q}.beat_fire($1::text, $2::bigint, $3::text[], $4::float8[], $5::float8[], $6::text[], $7::text[]) AS answers`,
    ),
    lead: named('lead', `SELECT a.owner AS leader, a.epoch::float8 AS term FROM ${q}.beat_apps a WHERE a.app = $1::text`),
    takeLead: named('take-lead', `SELECT leader, term FROM ${q}.beat_take_lead($1::text, $2::text, $3::text, $4::bigint)`),
    resign: named('resign', `SELECT ${q}.beat_resign($1::text, $2::text, $3::text, $4::bigint)`),
    notify: named('notify', 'SELECT pg_notify($1::text, $2::text)'),
  };
}
