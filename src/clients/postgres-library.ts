/**
 * The PostgreSQL library as we use it: loaded when the first connection is made, its errors told apart and said in our
 * words. With `postgres-line.ts` the only importer. Next stop: `postgres.ts`, the pool.
 */
import type { Client, ClientConfig } from 'pg';
import { BrokerError, ConfigError, codeOf, toError } from '../core/errors.js';
import type { PostgresTarget } from './postgres-url.js';
import { tlsRefusal } from './tls.js';

/** A statement that is prepared once a connection, under its name. */
export interface PostgresStatement {
  /** At most 63 bytes, and the same text always. */
  readonly name: string;
  readonly text: string;
}

/** A parameter: bytes go as they are (see `textArray`), all else as text. */
export type PostgresValue = string | number | boolean | null | Buffer | readonly (number | boolean | null)[];

/** Several steps on one connection, as a transaction needs them. */
export interface PostgresSession {
  /** Rows of one statement. @throws as the library and the server say it */
  run<Row>(statement: string | PostgresStatement, values?: readonly PostgresValue[], timeoutMs?: number): Promise<readonly Row[]>;
}

/** What was asked may have been done, but the answer is lost; or there is no connection at all. Asking again is the caller's choice. */
export class PostgresLinkError extends BrokerError {}

interface Library {
  readonly Client: typeof Client;
}
let library: Promise<Library> | undefined;

/** With the longest wait between two tries less than five seconds, in which a server that is back must be found again. */
export const CONNECT_TIMEOUT_MS = 2_500;
/** The kernel asks a quiet other side whether it is there. */
const KEEP_ALIVE_MS = 5_000;

/** The library, loaded once. @throws ConfigError `E_DRIVER_MISSING` */
export async function loadPostgres(): Promise<Library> {
  library ??= import('pg').then((loaded) => {
    const { Client: found } = (loaded.default ?? loaded) as Library;
    return { Client: found };
  });
  try {
    return await library;
  } catch (cause) {
    library = undefined;
    const message = 'postgresql:// URLs need the package pg, which is not installed: npm i pg';
    throw new ConfigError('E_DRIVER_MISSING', message, { cause });
  }
}

/** Answers are text; booleans, int4 and float8 are what JavaScript has too. */
const PARSERS: ReadonlyMap<number, (text: string) => unknown> = new Map<number, (text: string) => unknown>([
  [16, (text) => text === 't'],
  [23, Number],
  [701, Number],
]);

/** What a client is made with. */
export function clientConfig(target: PostgresTarget, name: string): ClientConfig {
  const { host, port, user, password, database, tls } = target;
  return {
    ...{ host, port, user, password, database },
    // never undefined: the library would look into the environment
    ssl: tls ?? false,
    application_name: name,
    // ours alone: whoever shares the library with us may have changed its own
    types: { getTypeParser: (oid: number) => PARSERS.get(oid) ?? String } as NonNullable<ClientConfig['types']>,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
  };
}

/** Texts as the binary form of `text[]`: nothing is escaped, and nothing parsed. */
export function textArray(texts: readonly (string | null)[]): Buffer {
  const sizes = texts.map((text) => (text === null ? 0 : Buffer.byteLength(text)));
  const bytes = Buffer.allocUnsafe(20 + sizes.reduce((sum, size) => sum + 4 + size, 0));
  bytes.writeInt32BE(texts.length === 0 ? 0 : 1, 0); // dimensions
  bytes.writeInt32BE(texts.includes(null) ? 1 : 0, 4);
  bytes.writeInt32BE(TEXT_TYPE, 8);
  if (texts.length === 0) return bytes.subarray(0, 12);
  bytes.writeInt32BE(texts.length, 12);
  bytes.writeInt32BE(1, 16); // number of the first
  let at = 20;
  for (const [index, text] of texts.entries()) {
    const size = sizes[index] as number;
    at = bytes.writeInt32BE(text === null ? -1 : size, at);
    if (text !== null) at += bytes.write(text, at, size, 'utf8');
  }
  return bytes;
}

const TEXT_TYPE = 25;

/** PostgreSQL's five letters, if the server itself refused; `undefined` for everything that happened to the connection. */
export function sqlState(error: unknown): string | undefined {
  const { code, severity } = (error ?? {}) as { readonly code?: unknown; readonly severity?: unknown };
  return typeof code === 'string' && typeof severity === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** The server ends connections, starts, or is no primary (any more): another connection may find it well. */
const GONE = /^(?:08...|57P0[1235]|25006|25P0[35]|5330[03])$/;
/** Nothing was done, because two transactions stood in each other's way: to be repeated at once. */
const REPEAT = /^(?:40001|40P01)$/;
/** Something of our schema is missing: it was dropped while we ran, or was never made. */
const MISSING = /^(?:3F000|42P01|42883)$/;

/** Whether the connection is of no more use. */
export const isGone = (error: unknown): boolean => {
  const state = sqlState(error);
  return state === undefined ? !(error instanceof ConfigError || codeOf(error) === 'E_CLOSED') : GONE.test(state);
};
export const isToRepeat = (error: unknown): boolean => REPEAT.test(sqlState(error) ?? '');
export const isMissing = (error: unknown): boolean => MISSING.test(sqlState(error) ?? '');

/** An error of the server or of the connection in our words, with what to do about it. Errors of ours stay as they are. */
export function explainPostgres(error: unknown, { label, schema, user, database, poolMax, tls }: PostgresTarget): Error {
  if (codeOf(error) !== undefined) return toError(error);
  const cause = toError(error);
  const text = cause.message;
  const state = sqlState(error);
  const as = user === undefined ? 'the user' : `user ${JSON.stringify(user)}`;
  const auth = (why: string): Error => new BrokerError('E_BROKER_AUTH', `${label} refused us (${text}): ${why}`, { cause });
  const link = (why: string): Error => new PostgresLinkError('E_BROKER_UNREACHABLE', why, { cause });
  if (state === undefined) {
    const refusal = tlsRefusal(error);
    if (refusal !== null)
      return new BrokerError('E_BROKER_AUTH', `no TLS connection to ${label}: ${asLibpq(refusal)}`, { cause });
    if (text === 'The server does not support SSL connections')
      return auth('it does not speak TLS: switch it on there (ssl = on), or write sslmode=disable');
    const reason = text === '' ? ((error as { readonly code?: string }).code ?? 'no reason given') : text;
    return new PostgresLinkError('E_CONNECTION_LOST', `the connection to ${label} failed: ${reason}`, { cause });
  }
  if (state === '28P01') return auth('check user and password in the URL');
  if (state === '28000')
    return auth(
      `pg_hba.conf there has no line that lets ${as} in from here${tls ? '' : '; if it wants TLS, add sslmode=verify-full'}`,
    );
  if (state === '3D000') return auth(`create the database (createdb ${database ?? 'NAME'}) or name another in the URL`);
  if (state === '42501')
    return auth(
      `a role that may do so makes the schema once, and ${as} gets the rights of docs/guides/postgresql.md (GRANT CREATE ON DATABASE lets it make "${schema}" itself)`,
    );
  if (state.startsWith('53') && !state.startsWith('533'))
    return new BrokerError('E_BROKER_FULL', `${label} has no room left (${text}): make some, or shorten the result TTL`, {
      cause,
    });
  if (state === '53300')
    return link(`${label} takes no more connections (${text}): raise max_connections there or lower pool_max, now ${poolMax}`);
  if (state === '25006') return link(`${label} is a standby, which takes no writes: name the primary`);
  if (state === '57014' || state === '55P03') {
    const why = `${label} did not let a statement of ours finish (${text}): look for statement_timeout and lock_timeout of ${as}`;
    return new PostgresLinkError('E_CONNECTION_LOST', why, { cause });
  }
  if (GONE.test(state)) return new PostgresLinkError('E_CONNECTION_LOST', `${label} ended the connection: ${text}`, { cause });
  return new BrokerError('E_INTERNAL', `${label} refused a statement of ours (${state}): ${text}`, { cause });
}

/** The advice of `tls.ts` names Celery's options. */
const asLibpq = (advice: string): string =>
  advice
    .replace('ssl_ca_certs', 'sslrootcert')
    .replace('ssl_certfile', 'sslcert')
    .replace('ssl_keyfile', 'sslkey')
    .replace('use its TLS port, or the scheme without the second s', 'write sslmode=disable');
