/**
 * amqp:// URLs: what we hand to the client, what may be shown in logs, and our own options in the query.
 * Makes no connection. TLS options are those of `tls.ts`, under Celery's names as at `rediss://` or under RabbitMQ's own.
 */
import type { ConnectionOptions } from 'node:tls';
import { durationMs } from '../core/duration.js';
import { ConfigError } from '../core/errors.js';
import { TLS_KEYS, tlsOptions } from './tls.js';

/** What may stand behind the `?` of an amqp URL. */
export interface AmqpUrlOptions {
  /** `x-max-priority` of the queues that we create; `null` = plain queues, equal to Celery's default. */
  readonly maxPriority: number | null;
  /** `x-queue-type` of the queues that we create; `null` = the virtual host's default, as Celery. */
  readonly queueType: 'classic' | 'quorum' | null;
  /** The broker's `consumer_timeout`, which AMQP cannot ask for. */
  readonly consumerTimeoutMs: number;
}

/** A parsed broker URL. */
export interface AmqpTarget {
  /** One or several (`amqp://a;amqp://b`), tried in turn. They hold the password: never log them. */
  readonly urls: readonly string[];
  /** All of them without password and query. */
  readonly shown: string;
  readonly options: AmqpUrlOptions;
  /** Options of the TLS sockets; `null` if no address is `amqps:`. */
  readonly tls: ConnectionOptions | null;
}

const KNOWN = [
  'max_priority',
  'queue_type',
  'consumer_timeout',
  'heartbeat',
  ...TLS_KEYS,
  'cacertfile',
  'certfile',
  'keyfile',
  'verify',
] as const;
/** RabbitMQ's names of TLS options → Celery's. */
const RABBITMQ_TLS = {
  cacertfile: 'ssl_ca_certs',
  certfile: 'ssl_certfile',
  keyfile: 'ssl_keyfile',
  verify: 'ssl_cert_reqs',
} as const;
/** A dead peer is noticed in two to three of these. The server's default of 60 s would take minutes. */
const HEARTBEAT_S = 10;
/** RabbitMQ's own default since 3.8.17. */
const CONSUMER_TIMEOUT = '30m';

function bad(url: string, why: string): ConfigError {
  return new ConfigError('E_CONFIG_URL', `broker URL ${hidePassword(url)}: ${why}`);
}

const hidePassword = (url: string): string => url.replace(/(:\/\/[^:@/]*):[^@/]*@/g, '$1:***@');

function wholeNumber(url: string, name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max)
    throw bad(url, `${name} is ${JSON.stringify(text)}, not a whole number from ${min} to ${max}`);
  return value;
}

/** Less than a second would be a slip of the unit, and a claim of every message. */
function consumerTimeoutMs(url: string, text: string): number {
  try {
    const ms = durationMs(text, 'consumer_timeout');
    if (ms >= 1_000) return ms;
  } catch {
    // said below
  }
  throw bad(
    url,
    `consumer_timeout is ${JSON.stringify(text)}: write the broker's own as a duration of a second or more, for example 30m`,
  );
}

/** Options hold for all addresses, wherever they stand: at the first, or at the end of the text. */
function optionsOf(text: string, urls: readonly URL[]): URLSearchParams {
  const options = new URLSearchParams();
  for (const { searchParams } of urls)
    for (const [key, value] of searchParams) {
      if (!(KNOWN as readonly string[]).includes(key)) throw bad(text, `unknown option ${key}; known are ${KNOWN.join(', ')}`);
      const before = options.get(key);
      if (before !== null && before !== value)
        throw bad(text, `${key} is ${before} and ${value}: options hold for all addresses, so write it once`);
      options.set(key, value);
    }
  return options;
}

/** Of all addresses: each server is checked under the name by which the URL calls it, unless `servername` says another. */
function tlsOf(text: string, query: URLSearchParams, isTls: boolean): ConnectionOptions | null {
  const verify = query.get('verify');
  if (verify !== null && verify !== 'verify_peer' && verify !== 'verify_none')
    throw bad(text, `verify is ${verify}: use verify_peer or verify_none`);
  const options = new URLSearchParams();
  for (const key of TLS_KEYS) if (query.has(key)) options.set(key, query.get(key) as string);
  for (const [name, key] of Object.entries(RABBITMQ_TLS)) {
    const value = query.get(name);
    if (value === null) continue;
    if (options.has(key)) throw bad(text, `${name} and ${key} are two names of one option: leave one out`);
    options.set(key, name === 'verify' ? (value === 'verify_none' ? 'none' : 'required') : value);
  }
  const [given] = [...query.keys()].filter((key) => options.has(key) || key in RABBITMQ_TLS);
  if (given !== undefined && !isTls) throw bad(text, `${given} has no meaning without TLS: write amqps://`);
  return isTls
    ? tlsOptions(options, undefined, (why, cause) => {
        throw new ConfigError('E_CONFIG_URL', bad(text, why).message, { cause });
      })
    : null;
}

/** @throws ConfigError `E_CONFIG_URL` when it is malformed or has an unknown option */
export function parseAmqpUrl(text: string): AmqpTarget {
  const parts = text
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  const parsed = parts.map((part) => {
    try {
      return new URL(part);
    } catch (error) {
      throw new ConfigError(
        'E_CONFIG_URL',
        `broker URL ${hidePassword(part)} is malformed: write amqp://user:password@host:5672/vhost`,
        { cause: error },
      );
    }
  });
  if (parsed.length === 0)
    throw new ConfigError('E_CONFIG_URL', 'the broker URL is empty: write amqp://user:password@host:5672/vhost');
  const query = optionsOf(text, parsed);
  const queueType = query.get('queue_type');
  if (queueType !== null && queueType !== 'classic' && queueType !== 'quorum')
    throw bad(text, `queue_type is ${queueType}: use classic or quorum`);
  const maxPriority = query.get('max_priority');
  if (maxPriority !== null && queueType === 'quorum')
    throw bad(text, 'max_priority has no effect on quorum queues: choose one of the two');
  const heartbeat = wholeNumber(text, 'heartbeat', query.get('heartbeat') ?? String(HEARTBEAT_S), 0, 3_600);
  return {
    urls: parsed.map((url) => {
      if (url.protocol !== 'amqp:' && url.protocol !== 'amqps:') throw bad(text, `scheme ${url.protocol} is not amqp: or amqps:`);
      if (url.hostname === '') throw bad(text, 'it names no host');
      const clean = new URL(url);
      clean.search = `?heartbeat=${heartbeat}`;
      return clean.href;
    }),
    shown: parsed.map(({ protocol, host, pathname }) => `${protocol}//${host}${pathname === '/' ? '' : pathname}`).join(';'),
    options: {
      maxPriority: maxPriority === null ? null : wholeNumber(text, 'max_priority', maxPriority, 1, 255),
      queueType,
      consumerTimeoutMs: consumerTimeoutMs(text, query.get('consumer_timeout') ?? CONSUMER_TIMEOUT),
    },
    tls: tlsOf(
      text,
      query,
      parsed.some(({ protocol }) => protocol === 'amqps:'),
    ),
  };
}

/** The same broker with another heartbeat, whatever the URL says: a connection whose end means something cannot be left to chance. */
export function withHeartbeat(target: AmqpTarget, seconds: number): AmqpTarget {
  const urls = target.urls.map((text) => {
    const url = new URL(text);
    url.search = `?heartbeat=${seconds}`;
    return url.href;
  });
  return { ...target, urls };
}
