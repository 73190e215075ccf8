/** What a `postgresql://` URL says, checked at once. No connection is made here; next stop: `postgres.ts`. */
import { type ConnectionOptions, checkServerIdentity } from 'node:tls';
import { ConfigError } from '../core/errors.js';
import { tlsOptions } from './tls.js';

/** Where and how to connect. */
export interface PostgresTarget {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  /** `undefined`: what the library finds in `PGUSER` or takes from the system. */
  readonly user: string | undefined;
  /** `undefined`: what the library finds in `PGPASSWORD` or `~/.pgpass`. */
  readonly password: string | undefined;
  /** `undefined`: `PGDATABASE`, else the name of the user. */
  readonly database: string | undefined;
  readonly tls: ConnectionOptions | undefined;
  /** Holds our tables and functions; plain enough to be part of a channel's name. */
  readonly schema: string;
  /** Connections at a time, the listening one not counted. */
  readonly poolMax: number;
  /** `postgresql://host:port/database` without credentials, for messages and logs. */
  readonly label: string;
}

/** What libpq calls them; `sslmode` says how much of TLS is wanted. */
const TLS_FILES = { sslrootcert: 'ssl_ca_certs', sslcert: 'ssl_certfile', sslkey: 'ssl_keyfile' } as const;
const QUERY_KEYS = ['schema', 'pool_max', 'host', 'sslmode', ...Object.keys(TLS_FILES), 'servername'];
const TLS_MODES = ['disable', 'require', 'verify-ca', 'verify-full'];
const DEFAULT_SCHEMA = 'lovage';
const DEFAULT_POOL_MAX = 4;
const MOST_CONNECTIONS = 100;
/** Names of PostgreSQL have 63 bytes at most, and ours carry something behind the schema. */
const SCHEMA = /^[a-z_][a-z0-9_]{0,39}$/;

function refuse(url: string, why: string, cause?: unknown): never {
  const shown = url.replace(/\/\/[^@/]*@/, '//***@').replace(/(password=)[^&]*/gi, '$1***');
  throw new ConfigError('E_CONFIG_URL', `PostgreSQL URL ${JSON.stringify(shown)}: ${why}`, { cause });
}

/**
 * Reads `postgresql://[user[:password]@]host[:port][/database][?schema=…&sslmode=…&pool_max=…]`; `postgres://` means the same.
 * @throws ConfigError `E_CONFIG_URL`
 */
export function parsePostgresUrl(url: string): PostgresTarget {
  let parsed: URL;
  try {
    // a scheme that URL knows, so that an empty host (a Unix socket) is the only thing that differs
    parsed = new URL(url.replace(/^postgres(?:ql)?:/i, 'postgresql:'));
  } catch (cause) {
    const text = 'not a URL; write postgresql://user:password@host:5432/database (and %40 for an @ in a password)';
    return refuse(url, text, cause);
  }
  const query = parsed.searchParams;
  for (const key of query.keys())
    if (!QUERY_KEYS.includes(key)) refuse(url, `unknown option ${JSON.stringify(key)}; known are ${QUERY_KEYS.join(', ')}`);
  if (parsed.hostname.includes(',')) refuse(url, 'it names several servers: name one, or an address that follows the primary');

  const decoded = (text: string): string | undefined => {
    try {
      return text === '' ? undefined : decodeURIComponent(text);
    } catch (cause) {
      return refuse(url, 'its user, password or database has a % that is no escape: write %25', cause);
    }
  };
  const schema = query.get('schema') ?? DEFAULT_SCHEMA;
  if (!SCHEMA.test(schema) || schema.startsWith('pg_'))
    refuse(
      url,
      `the schema ${JSON.stringify(schema)} is no plain name: up to 40 small letters, digits and _, not beginning with a digit or pg_`,
    );
  const pool = query.get('pool_max') ?? String(DEFAULT_POOL_MAX);
  if (!/^\d{1,3}$/.test(pool) || Number(pool) < 1 || Number(pool) > MOST_CONNECTIONS)
    refuse(url, `pool_max is ${JSON.stringify(pool)}: use a number from 1 to ${MOST_CONNECTIONS}`);
  const host = query.get('host') ?? (parsed.hostname.replace(/^\[|\]$/g, '') || 'localhost');
  const port = parsed.port === '' ? 5432 : Number(parsed.port);
  const database = decoded(parsed.pathname.replace(/^\//, ''));
  return {
    ...{ host, port, schema, database },
    user: decoded(parsed.username),
    password: decoded(parsed.password),
    tls: tlsOf(query, host, (why, cause) => refuse(url, why, cause)),
    poolMax: Number(pool),
    label: `postgresql://${host}:${port}/${database ?? ''}`,
  };
}

/** `sslmode` as libpq means it, without the two modes that protect from nobody. */
function tlsOf(
  query: URLSearchParams,
  host: string,
  refused: (why: string, cause?: unknown) => never,
): ConnectionOptions | undefined {
  const mode = query.get('sslmode') ?? 'disable';
  if (!TLS_MODES.includes(mode)) refused(`sslmode is ${JSON.stringify(mode)}: use ${TLS_MODES.join(', ')}`);
  const files = Object.entries(TLS_FILES).filter(([key]) => query.has(key));
  if (mode === 'disable') {
    const [key] = files[0] ?? (query.has('servername') ? ['servername'] : []);
    if (key !== undefined) refused(`${key} has no meaning without TLS: add sslmode=verify-full`);
    return undefined;
  }
  if (host.startsWith('/')) refused(`sslmode=${mode} has no meaning on a Unix socket: leave it out`);
  const named = new URLSearchParams(Object.fromEntries(files.map(([key, name]) => [name, query.get(key) as string])));
  // libpq too checks the certificate in this mode if it is told whose it must be
  if (mode === 'require' && !query.has('sslrootcert')) named.set('ssl_cert_reqs', 'none');
  const options = tlsOptions(named, host, (why, cause) => refused(asLibpq(why), cause));
  if (mode !== 'verify-full') return { ...options, checkServerIdentity: () => undefined };
  const servername = query.get('servername');
  // the library asks TLS for the host of the URL whatever it is told, so the other name is only compared
  return servername === null
    ? options
    : { ...options, checkServerIdentity: (_, certificate) => checkServerIdentity(servername, certificate) };
}

const asLibpq = (why: string): string => Object.entries(TLS_FILES).reduce((text, [key, name]) => text.replaceAll(name, key), why);
