/** What a connection to Redis is given and gives: options, answers, and the error of a connection that is not there. */
import { BrokerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { RedisTarget } from './redis-url.js';
import type { RedisArg } from './resp.js';

/** What Redis answers. Texts stay bytes: only the caller knows whether they are text. */
export type RedisReply = Buffer | number | null | RedisReply[];

/** The connection was not there, or died before the answer came. */
export class RedisLinkError extends BrokerError {
  /** Whether the command may have reached the server. */
  readonly sent: boolean;
  constructor(message: string, sent: boolean, cause: unknown) {
    super('E_CONNECTION_LOST', message, { cause });
    this.sent = sent;
  }
}

/** What a connection is made of, and whom it tells. */
export interface RedisConnectionOptions {
  readonly target: RedisTarget;
  /** Shown by `CLIENT LIST`, for example `lovage:w1@host:commands`. */
  readonly name: string;
  readonly logger: Logger;
  /**
   * How long the connection may be quiet before it is asked whether it lives; `null` for now not at all. Asked again every
   * other second. Default never: then a dead connection is found by the next command on it.
   */
  readonly heartbeatMs?: () => number | null;
  /** Runs on each new connection before anyone else may use it; a rejection counts as a failed try. */
  readonly setup?: (link: RedisLink) => Promise<void>;
  /** A new connection is ready. */
  readonly onReady?: () => void;
  /** A ready connection was lost; the next is being made. */
  readonly onLost?: (cause: Error) => void;
  /** Messages of subscribed channels; the payload of `__redis__:invalidate` is a list of keys or null. */
  readonly onMessage?: (channel: string, payload: RedisReply) => void;
  readonly onPatternMessage?: (pattern: string, channel: string, payload: Buffer) => void;
}

/** Commands on a connection that is being set up. */
export interface RedisLink {
  call(name: string, args: readonly RedisArg[]): Promise<RedisReply>;
}

/** A connection as the server names it. */
export interface Identity {
  readonly id: string;
  readonly addr: string;
}

/** What a server says of itself. */
export interface ServerFacts {
  readonly role: string;
  /** It is a node of a cluster. */
  readonly isCluster: boolean;
  /** Another one after each start of the server. */
  readonly runId: string;
  /** What it does when its memory is full. */
  readonly evictionPolicy: string;
  /** 0: no limit. */
  readonly maxMemory: number;
}

/** Reads the answer to `INFO`. */
export function factsIn(info: RedisReply): ServerFacts {
  const text = String(info);
  const field = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(text)?.[1];
  return {
    role: field('role') ?? 'master',
    isCluster: field('redis_mode') === 'cluster',
    runId: field('run_id') ?? '',
    evictionPolicy: field('maxmemory_policy') ?? 'noeviction',
    maxMemory: Number(field('maxmemory') ?? 0),
  };
}

/** Reads the answer to `CLIENT INFO`. */
export function identityIn(info: RedisReply): Identity {
  const field = (name: string): string => new RegExp(`(?:^| )${name}=(\\S+)`).exec(String(info))?.[1] ?? '';
  return { id: field('id'), addr: field('addr') };
}
