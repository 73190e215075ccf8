/** What a `redis://`, `sentinel://` or `redis+cluster://` URL says, checked at once. No connection is made here; next stop: `redis.ts`. */
import type { ConnectionOptions } from 'node:tls';
import { ConfigError } from '../core/errors.js';
import { TLS_KEYS, tlsOptions } from './tls.js';

/** Who knows where the primary is. */
export interface SentinelTarget {
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  /** The name under which they watch it. */
  readonly master: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** Who knows which node of a cluster has our keys. */
export interface ClusterTarget {
  /** Any nodes; those that they name themselves are only ever asked as owners. */
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
}

/** Where and how to connect. */
export interface RedisTarget {
  /** Of the server; with sentinels or a cluster the first that the URL names. */
  readonly host: string;
  readonly port: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly db: number;
  readonly tls: ConnectionOptions | undefined;
  /** Put before every key and channel, as kombu's `global_keyprefix`; `''` by default. */
  readonly prefix: string;
  /** `null`: host and port are those of the server itself. */
  readonly sentinel: SentinelTarget | null;
  /** `null`: no cluster. Otherwise the prefix has a hash tag, so that all our keys are in one slot. */
  readonly cluster: ClusterTarget | null;
  /** How many replicas must have a message before its send is confirmed; 0 by default. */
  readonly waitReplicas: number;
  /** `redis://host:port/db` without credentials, for messages and logs. */
  readonly label: string;
}

const QUERY_KEYS = ['prefix', 'wait_replicas', ...TLS_KEYS];
const SENTINEL_KEYS = ['master', 'sentinel_username', 'sentinel_password'];
const SENTINEL_PORT = 26379;
/** The prefix of whoever names none, in a cluster. */
const CLUSTER_PREFIX = '{lovage}:';
/** Redis hashes only what stands between the first brace and the next closing one, if that is something. */
const HASH_TAG = /^[^{]*\{[^}]+\}/;
const MOST_REPLICAS = 100;

/** Schemes whose hosts are sentinels. */
const SENTINEL_SCHEME = /^(?:sentinel|redis\+sentinel|rediss\+sentinel):\/\//i;
/** Schemes whose hosts are nodes of a cluster. */
const CLUSTER_SCHEME = /^(?:redis|rediss)\+cluster:\/\//i;

function refuse(url: string, why: string, cause?: unknown): never {
  const shown = url.replace(/\/\/[^@/]*@/, '//***@').replace(/(password=)[^&]*/, '$1***');
  throw new ConfigError('E_CONFIG_URL', `Redis URL ${JSON.stringify(shown)}: ${why}`, { cause });
}

/**
 * Reads `redis[s]://[user[:password]@]host[:port][/db][?prefix=…]` and
 * `sentinel://[user[:password]@]host[:port][,host…][/db]?master=name` (with TLS: `rediss+sentinel://`), where user and
 * password are those of the servers behind the sentinels. A cluster is `redis+cluster://host[:port][,host…]/?prefix={tag}:`.
 * @throws ConfigError `E_CONFIG_URL`
 */
export function parseRedisUrl(url: string): RedisTarget {
  const isSentinel = SENTINEL_SCHEME.test(url);
  const isCluster = CLUSTER_SCHEME.test(url);
  const scheme = /^[^:]*/.exec(url)?.[0].toLowerCase() ?? '';
  const { parsed, others } = isSentinel || isCluster ? splitHosts(url, scheme) : { parsed: read(url, url), others: [] };
  if (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:')
    refuse(url, `the scheme is ${parsed.protocol}, not redis:, rediss:, sentinel: or redis+cluster:`);
  const query = parsed.searchParams;
  const known = isSentinel ? [...QUERY_KEYS, ...SENTINEL_KEYS] : QUERY_KEYS;
  for (const key of query.keys()) {
    if (!known.includes(key)) refuse(url, `unknown option ${JSON.stringify(key)}; known are ${known.join(', ')}`);
  }
  const isTls = parsed.protocol === 'rediss:';
  const tlsKey = isTls ? undefined : TLS_KEYS.find((key) => query.has(key));
  if (tlsKey !== undefined)
    refuse(
      url,
      `${tlsKey} has no meaning without TLS: write ${`rediss${isSentinel ? '+sentinel' : isCluster ? '+cluster' : ''}`}://`,
    );
  if (parsed.hostname.includes(','))
    refuse(
      url,
      'it names several servers; for the sentinels of one primary write sentinel://host:26379,host2:26379/0?master=mymaster, for a cluster redis+cluster://host:6379,host2:6379/?prefix={app}:',
    );
  const hosts = [parsed, ...others].map((each) => hostOf(each, isSentinel ? SENTINEL_PORT : 6379));
  const [{ host, port }] = hosts as [{ host: string; port: number }];
  const master = query.get('master') ?? '';
  if (isSentinel && master === '')
    refuse(url, 'add ?master=NAME, the name under which the sentinels watch the primary, for example mymaster');
  const path = parsed.pathname.replace(/^\//, '');
  if (path !== '' && !/^\d{1,5}$/.test(path)) refuse(url, `the database ${JSON.stringify(path)} is not a number`);
  const db = path === '' ? 0 : Number(path);
  if (isCluster && db !== 0) refuse(url, 'a cluster has only the database 0: leave the number out');
  const prefix = query.get('prefix') ?? (isCluster ? CLUSTER_PREFIX : '');
  if (isCluster && !HASH_TAG.test(prefix))
    refuse(
      url,
      `the prefix ${JSON.stringify(prefix)} has no hash tag, which keeps an app's keys on one node: write prefix={shop}:`,
    );
  const replicas = query.get('wait_replicas') ?? '0';
  if (!/^\d{1,3}$/.test(replicas) || Number(replicas) > MOST_REPLICAS)
    refuse(url, `wait_replicas is ${JSON.stringify(replicas)}: use a number from 0 to ${MOST_REPLICAS}`);
  const label = `${scheme}://${hosts.map((each) => `${each.host}:${each.port}`).join(',')}/${isCluster ? '' : db}`;
  return {
    host,
    port,
    username: parsed.username === '' ? undefined : decodeURIComponent(parsed.username),
    password: parsed.password === '' ? undefined : decodeURIComponent(parsed.password),
    db,
    // behind sentinels, and in a cluster, a server's name is what they tell, so the certificate is checked against that
    tls: isTls
      ? tlsOptions(query, isSentinel || isCluster ? undefined : host, (why, cause) => refuse(url, why, cause))
      : undefined,
    prefix,
    sentinel: isSentinel
      ? {
          hosts,
          master,
          username: query.get('sentinel_username') ?? undefined,
          password: query.get('sentinel_password') ?? undefined,
        }
      : null,
    cluster: isCluster ? { hosts } : null,
    waitReplicas: Number(replicas),
    label: isSentinel ? `${label}?master=${master}` : label,
  };
}

function read(text: string, url: string): URL {
  try {
    return new URL(text);
  } catch (cause) {
    return refuse(url, 'not a URL; write redis://host:6379/0 or sentinel://host:26379,host2:26379/0?master=mymaster', cause);
  }
}

/** A list of hosts is not allowed in a URL: the first one stays in it, the others are read as URLs of their own. */
function splitHosts(url: string, scheme: string): { readonly parsed: URL; readonly others: readonly URL[] } {
  const [, user = '', list = '', rest = ''] = /^[^:]+:\/\/([^/?]*@)?([^/?]*)(.*)$/.exec(url) ?? [];
  const plain = scheme.startsWith('rediss') ? 'rediss' : 'redis';
  const [first = '', ...others] = list.split(',');
  return { parsed: read(`${plain}://${user}${first}${rest}`, url), others: others.map((each) => read(`redis://${each}`, url)) };
}

function hostOf(parsed: URL, defaultPort: number): { readonly host: string; readonly port: number } {
  return {
    host: parsed.hostname.replace(/^\[|\]$/g, '') || 'localhost',
    port: parsed.port === '' ? defaultPort : Number(parsed.port),
  };
}
