/** Worker options with every default filled in, and the queue syntax of the command line. Pure. */
import { hostname } from 'node:os';
import { resolve as resolvePath } from 'node:path';
import { type EventMode, eventMode } from '../app/events/event-mode.js';
import type { ConsumedQueue } from '../brokers/broker.js';
import { type ByteSize, sizeBytes } from '../core/byte-size.js';
import { type Duration, durationMs } from '../core/duration.js';
import { ConfigError } from '../core/errors.js';

export const POOLS = ['threads', 'processes', 'async', 'inline'] as const;
export type PoolName = (typeof POOLS)[number];

/** One queue to consume; `credit: null` = no share of its own. */
export interface QueueOption {
  readonly name: string;
  readonly credit: number | null;
}

/** Where the health server listens; port 0 = any free one. */
export interface HealthAddress {
  readonly host: string;
  readonly port: number;
}

/** What the engine needs; can be cloned, because it may live in another thread. */
export interface EngineOptions {
  readonly name: string;
  /** `null`: the app's own. */
  readonly brokerUrl: string | null;
  readonly resultUrl: string | null;
  /** `null`: the app's default queue. */
  readonly queues: readonly QueueOption[] | null;
  readonly slotsPerExecutor: number;
  readonly pool: PoolName;
  /** Bounds of the number of executors, which follows the load; `null` = it stays. */
  readonly autoscale: { readonly min: number; readonly max: number } | null;
  /** How many runs an executor is given before it is replaced; `null` = no limit. */
  readonly tasksPerExecutor: number | null;
  readonly leaseMs: number;
  /** For tasks and calls without a limit of their own; `null` = none. */
  readonly softTimeLimitMs: number | null;
  readonly timeLimitMs: number | null;
  readonly unknownTaskPatienceMs: number;
  readonly connectTimeoutMs: number;
  /** Tries to reach the broker at the start; `null` = for ever. */
  readonly connectTries: number | null;
  /** Where the health server listens; `null` = there is none. */
  readonly health: HealthAddress | null;
  /** When events are sent; `null`: as the app has it. */
  readonly events: EventMode | null;
  /** Touched while the engine's loop turns; `null` = none. */
  readonly heartbeatFile: string | null;
  /** Outcomes that may be between run and settlement before credit is held back. */
  readonly maxUnsettled: number;
}

/** The options of a worker before they are resolved; the same for the API and the command line. */
export interface RawWorkerOptions {
  readonly name?: string;
  readonly broker?: string;
  readonly results?: string;
  readonly queues?: string | readonly string[] | Readonly<Record<string, number>>;
  readonly pool?: PoolName;
  readonly threads?: number;
  readonly processes?: number;
  readonly autoscale?: { readonly max: number; readonly min?: number };
  readonly maxTasksPerChild?: number;
  readonly maxMemoryPerChild?: ByteSize;
  readonly spare?: boolean;
  readonly concurrency?: number;
  readonly grace?: Duration;
  readonly lease?: Duration;
  readonly softTimeLimit?: Duration;
  readonly timeLimit?: Duration;
  readonly unknownTaskPatience?: Duration;
  readonly connectTries?: number;
  readonly health?: { readonly port?: number; readonly host?: string };
  readonly heartbeatFile?: string;
  readonly events?: boolean | 'on-demand';
}

export interface ResolvedWorkerOptions {
  readonly pool: PoolName;
  readonly executors: number;
  /** Bytes beyond which a child is replaced; `null` = no limit. */
  readonly childMemoryBytes: number | null;
  /** Whether one more child stands ready to take the place of another. */
  readonly spare: boolean;
  readonly graceMs: number;
  readonly engine: EngineOptions;
}

/** A machine has no more to offer; and each costs memory. */
export const MAX_EXECUTORS = 512;
/** Tasks at a time in a worker. */
export const MAX_CONCURRENCY = 100_000;

const OPTIONS_OF_A_POOL = [
  ['threads', 'threads'],
  ['processes', 'processes'],
  ['maxTasksPerChild', 'processes'],
  ['maxMemoryPerChild', 'processes'],
  ['spare', 'processes'],
] as const satisfies readonly (readonly [keyof RawWorkerOptions, PoolName])[];

function positiveInteger(value: number, name: string, most: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new ConfigError('E_CONFIG_RANGE', `${name} is ${value}: it must be a whole number from 1 to ${most}`);
}

/**
 * `celery:40,slow:10`, `['celery', 'slow']` or `{ celery: 40, slow: 10 }`.
 * @throws ConfigError `E_CONFIG_RANGE`
 */
export function parseQueues(value: NonNullable<RawWorkerOptions['queues']>): QueueOption[] {
  const parts: [string, number | null][] =
    typeof value === 'string' || Array.isArray(value)
      ? (typeof value === 'string' ? value.split(',') : (value as readonly string[])).map((part) => {
          const match = /^(.*?)(?::(\d+))?$/.exec(part.trim());
          return [match?.[1] ?? '', match?.[2] === undefined ? null : Number(match[2])];
        })
      : Object.entries(value as Readonly<Record<string, number>>);
  const seen = new Set<string>();
  return parts.map(([name, credit]) => {
    if (name === '') throw new ConfigError('E_CONFIG_RANGE', `queues: an empty queue name in ${JSON.stringify(value)}`);
    if (seen.has(name)) throw new ConfigError('E_CONFIG_CONFLICT', `queues: ${JSON.stringify(name)} is named twice`);
    seen.add(name);
    return {
      name,
      credit: credit === null ? null : positiveInteger(credit, `the share of queue ${JSON.stringify(name)}`, 100_000),
    };
  });
}

/** Shares out the slots: a named share as it is; without one a queue may have all, but the last when there are several. */
export function queueCredits(queues: readonly QueueOption[], slots: number): ConsumedQueue[] {
  const open = queues.length > 1 && slots > 1 ? slots - 1 : slots;
  return queues.map(({ name, credit }) => ({ name, credit: Math.min(credit ?? open, slots) }));
}

/** @throws ConfigError `E_CONFIG_RANGE`, `E_CONFIG_CONFLICT` */
function autoscaleBounds({ autoscale, threads, processes }: RawWorkerOptions, pool: PoolName): EngineOptions['autoscale'] {
  if (autoscale === undefined) return null;
  if (pool !== 'threads' && pool !== 'processes')
    throw new ConfigError('E_CONFIG_CONFLICT', `autoscale is for the pools 'threads' and 'processes', and this is '${pool}'`);
  if (threads !== undefined || processes !== undefined)
    throw new ConfigError('E_CONFIG_CONFLICT', `autoscale sets the number of ${pool} by itself: leave ${pool} out`);
  const max = positiveInteger(autoscale.max, 'autoscale.max', MAX_EXECUTORS);
  return { max, min: positiveInteger(autoscale.min ?? 1, 'autoscale.min', max) };
}

/** Only this machine may ask, unless told otherwise: the answers name tasks and queues. */
function healthAddress(health: RawWorkerOptions['health']): HealthAddress | null {
  if (health === undefined) return null;
  const { port = 0, host = '127.0.0.1' } = health;
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new ConfigError('E_CONFIG_RANGE', `health.port is ${port}: it must be a whole number from 0 (any free port) to 65535`);
  if (host === '') throw new ConfigError('E_CONFIG_RANGE', 'health.host is an empty string: leave it out for 127.0.0.1');
  return { host, port };
}

/** `%h` is the host, `%p` the process id. The name becomes part of keys, tags and connection names. */
function nodeName(pattern: string): string {
  const name = pattern.replaceAll('%h', hostname()).replaceAll('%p', String(process.pid));
  if (name !== '' && Buffer.byteLength(name) <= 255 && !/[\s\p{Cc}]/u.test(name)) return name;
  throw new ConfigError('E_CONFIG_RANGE', `name is ${JSON.stringify(pattern)}: a node name has 1 to 255 bytes and no blanks`);
}

/** @throws ConfigError `E_CONFIG_RANGE`, `E_CONFIG_CONFLICT` */
export function resolveWorkerOptions(raw: RawWorkerOptions): ResolvedWorkerOptions {
  const pool = raw.pool ?? 'threads';
  if (!POOLS.includes(pool)) {
    const names = POOLS.map((name) => `'${name}'`).join(', ');
    throw new ConfigError('E_CONFIG_RANGE', `pool is ${JSON.stringify(pool)}: use one of ${names}`);
  }
  for (const [option, owner] of OPTIONS_OF_A_POOL) {
    if (raw[option] !== undefined && pool !== owner)
      throw new ConfigError(
        'E_CONFIG_CONFLICT',
        `${option} is for the pool '${owner}', and this is '${pool}': set pool, or leave ${option} out`,
      );
  }
  const autoscale = autoscaleBounds(raw, pool);
  const executors =
    pool === 'threads' || pool === 'processes' ? positiveInteger(raw[pool] ?? autoscale?.min ?? 2, pool, MAX_EXECUTORS) : 1;
  const tasksPerExecutor =
    raw.maxTasksPerChild === undefined ? null : positiveInteger(raw.maxTasksPerChild, 'maxTasksPerChild', 1_000_000_000);
  const queues = raw.queues === undefined ? null : parseQueues(raw.queues);
  const shares = queues?.reduce((sum, queue) => sum + (queue.credit ?? 0), 0) ?? 0;
  const concurrency = positiveInteger(raw.concurrency ?? Math.max(shares, 10 * executors), 'concurrency', MAX_CONCURRENCY);
  // More slots than an executor has runs left would only hold messages that others could run.
  const slotsPerExecutor = Math.min(Math.max(1, Math.ceil(concurrency / executors)), tasksPerExecutor ?? concurrency);
  const leaseMs = durationMs(raw.lease ?? '15s', 'lease');
  if (leaseMs < 1_000) throw new ConfigError('E_CONFIG_RANGE', `lease is ${raw.lease}: it must be at least 1s`);
  return {
    pool,
    executors,
    childMemoryBytes: raw.maxMemoryPerChild === undefined ? null : sizeBytes(raw.maxMemoryPerChild, 'maxMemoryPerChild'),
    spare: pool === 'processes' && (raw.spare ?? true),
    graceMs: durationMs(raw.grace ?? '25s', 'grace'),
    engine: {
      name: nodeName(raw.name ?? 'lovage@%h'),
      brokerUrl: raw.broker ?? null,
      resultUrl: raw.results ?? null,
      queues,
      slotsPerExecutor,
      pool,
      autoscale,
      tasksPerExecutor,
      leaseMs,
      softTimeLimitMs: raw.softTimeLimit === undefined ? null : durationMs(raw.softTimeLimit, 'softTimeLimit'),
      timeLimitMs: raw.timeLimit === undefined ? null : durationMs(raw.timeLimit, 'timeLimit'),
      unknownTaskPatienceMs: durationMs(raw.unknownTaskPatience ?? '10m', 'unknownTaskPatience'),
      connectTimeoutMs: 5_000,
      connectTries: raw.connectTries === undefined ? null : positiveInteger(raw.connectTries, 'connectTries', 1_000_000),
      health: healthAddress(raw.health),
      heartbeatFile: raw.heartbeatFile === undefined ? null : resolvePath(raw.heartbeatFile),
      events: raw.events === undefined ? null : eventMode(raw.events, 'events'),
      maxUnsettled: Math.max(1_000, 4 * slotsPerExecutor * executors),
    },
  };
}
