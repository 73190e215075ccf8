/** What a `redis://` URL says, checked at once. No connection is made here; next stop: `redis.ts`. */
import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { ConfigError } from '../core/errors.js';

/** Where and how to connect. */
export interface RedisTarget {
  readonly host: string;
  readonly port: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly db: number;
  readonly tls: ConnectionOptions | undefined;
  /** Put before every key and channel, as kombu's `global_keyprefix`; `''` by default. */
  readonly prefix: string;
  /** `redis://host:port/db` without credentials, for messages and logs. */
  readonly label: string;
}

const QUERY_KEYS = ['prefix', 'ssl_cert_reqs', 'ssl_ca_certs', 'ssl_certfile', 'ssl_keyfile'];

function refuse(url: string, why: string, cause?: unknown): never {
  const shown = url.replace(/\/\/[^@/]*@/, '//***@');
  throw new ConfigError('E_CONFIG_URL', `Redis URL ${JSON.stringify(shown)}: ${why}`, { cause });
}

/** Celery's names for TLS options, so that one URL serves both languages. */
function tlsOptions(url: string, host: string, query: URLSearchParams): ConnectionOptions {
  const file = (key: string): Buffer | undefined => {
    const path = query.get(key);
    if (path === null) return undefined;
    try {
      return readFileSync(path);
    } catch (cause) {
      return refuse(url, `cannot read ${key} ${JSON.stringify(path)}`, cause);
    }
  };
  const check = (query.get('ssl_cert_reqs') ?? 'required').toLowerCase().replace(/^cert_/, '');
  if (!['required', 'optional', 'none'].includes(check))
    refuse(url, `ssl_cert_reqs is ${JSON.stringify(check)}: use required, optional or none`);
  return {
    servername: host,
    rejectUnauthorized: check !== 'none',
    ca: file('ssl_ca_certs'),
    cert: file('ssl_certfile'),
    key: file('ssl_keyfile'),
  };
}

/**
 * Reads `redis[s]://[user[:password]@]host[:port][/db][?prefix=…]`.
 * @throws ConfigError `E_CONFIG_URL`
 */
export function parseRedisUrl(url: string): RedisTarget {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch (cause) {
    return refuse(url, 'not a URL; write redis://host:6379/0', cause);
  }
  if (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:')
    refuse(url, `the scheme is ${parsed.protocol}, not redis: or rediss:`);
  for (const key of parsed.searchParams.keys()) {
    if (!QUERY_KEYS.includes(key)) refuse(url, `unknown option ${JSON.stringify(key)}; known are ${QUERY_KEYS.join(', ')}`);
  }
  const host = parsed.hostname.replace(/^\[|\]$/g, '') || 'localhost';
  const port = parsed.port === '' ? 6379 : Number(parsed.port);
  const path = parsed.pathname.replace(/^\//, '');
  if (path !== '' && !/^\d{1,5}$/.test(path)) refuse(url, `the database ${JSON.stringify(path)} is not a number`);
  const db = path === '' ? 0 : Number(path);
  return {
    host,
    port,
    username: parsed.username === '' ? undefined : decodeURIComponent(parsed.username),
    password: parsed.password === '' ? undefined : decodeURIComponent(parsed.password),
    db,
    tls: parsed.protocol === 'rediss:' ? tlsOptions(url, host, parsed.searchParams) : undefined,
    prefix: parsed.searchParams.get('prefix') ?? '',
    label: `${parsed.protocol}//${parsed.hostname || 'localhost'}:${port}/${db}`,
  };
}
