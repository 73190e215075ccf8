/**
 * The client library as we use it: loaded when the first connection is made, fed with commands that are bytes already,
 * its errors told apart. The state of a connection is in `redis.ts`.
 */
import { createHash } from 'node:crypto';
import type { Writable } from 'node:stream';
import type { Command as CommandClass, Redis, RedisOptions } from 'ioredis';
import { ConfigError } from '../core/errors.js';
import type { RedisTarget, SentinelTarget } from './redis-url.js';
import { encodeCommand, type RedisArg } from './resp.js';

/** A Lua script, run by its hash. */
export interface RedisScript {
  readonly lua: string;
  readonly sha: string;
}

/** Prepares a script; its header comment says what keys, arguments and answer are. */
export function defineScript(lua: string): RedisScript {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') };
}

/**
 * With the longest wait between two tries (see redis.ts) less than five seconds, in which a server that is back must be
 * found again.
 */
export const CONNECT_TIMEOUT_MS = 2_500;
/** A connection is closed in good order within this; beyond it the socket goes. */
const DISCONNECT_TIMEOUT_MS = 200;
/** The kernel asks a quiet other side whether it is there: costs the server nothing, and finds hosts that are gone. */
const KEEP_ALIVE_MS = 5_000;
/** Answers stay bytes. */
const BYTES = { replyEncoding: null } as const;
const NO_ARGS: RedisArg[] = [];

/** A name, after the prefix, of a key that never exists. */
export const ABSENT_KEY = 'lovage:probe';

/** A command whose bytes are made already. */
export interface RedisPayload {
  /** In lower case. */
  readonly name: string;
  /** The whole command in one or several pieces, see `resp.ts`. */
  readonly parts: readonly Buffer[];
}

/** Frame a transaction. */
export const MULTI: RedisPayload = { name: 'multi', parts: [encodeCommand('multi', [])] };
export const EXEC: RedisPayload = { name: 'exec', parts: [encodeCommand('exec', [])] };

/** What is used of the library. */
export interface Library {
  /** A client that is not connected yet and never reconnects by itself. */
  open(target: RedisTarget, name: string, tries: number): Redis;
  readonly toCommand: (payload: RedisPayload) => CommandClass;
  readonly Command: typeof CommandClass;
}
let library: Promise<Library> | undefined;

function toLibrary({ Redis: Client, Command }: { readonly Redis: typeof Redis; readonly Command: typeof CommandClass }): Library {
  class Prepared extends Command {
    readonly #parts: readonly Buffer[];
    constructor({ name, parts }: RedisPayload) {
      super(name, NO_ARGS, BYTES);
      this.#parts = parts;
    }
    override toWritable(socket: object): Buffer {
      const last = this.#parts.length - 1;
      for (let at = 0; at < last; at += 1) (socket as Writable).write(this.#parts[at]);
      return this.#parts[last] as Buffer;
    }
  }
  return {
    Command,
    toCommand: (payload) => new Prepared(payload),
    open: (target, name, tries) => silenced(new Client(clientOptions(target, name, tries))),
  };
}

/**
 * Nobody listens to the errors of the clients that the library makes for sentinels, so it prints them to the console, for
 * example when it ends one in its TLS handshake. What matters of them reaches us another way.
 */
function silenced(client: Redis): Redis {
  const { connector } = client as unknown as { readonly connector?: { connectToSentinel?: (...args: unknown[]) => Redis } };
  const connect = connector?.connectToSentinel?.bind(connector);
  if (connector && connect) connector.connectToSentinel = (...args) => connect(...args).on('error', () => {});
  return client;
}

function clientOptions(target: RedisTarget, name: string, tries: number): RedisOptions {
  return {
    ...(target.sentinel ? sentinelOptions(target.sentinel, target.tls, tries) : { host: target.host, port: target.port }),
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
    db: target.db,
    ...(target.tls ? { tls: target.tls } : {}),
    connectionName: name.replace(/[^\x21-\x7e]/g, '-'),
    disableClientInfo: true,
    // Under RESP3 the library drops `invalidate` pushes, which are what wakes an idle worker.
    protocol: 2,
    lazyConnect: true,
    noDelay: true,
    enableOfflineQueue: false,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    retryStrategy: () => null,
    maxRetriesPerRequest: null,
    connectTimeout: CONNECT_TIMEOUT_MS,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    keepAlive: KEEP_ALIVE_MS,
    // `redis-line.ts` asks by itself: the library would print to the console where INFO is not allowed.
    enableReadyCheck: false,
  };
}

/** The library asks one sentinel after the other where the primary is; each try begins with another, so a dead one costs little. */
function sentinelOptions(sentinel: SentinelTarget, tls: RedisTarget['tls'], tries: number): RedisOptions {
  const { hosts, master, username, password } = sentinel;
  const first = tries % hosts.length;
  return {
    sentinels: [...hosts.slice(first), ...hosts.slice(0, first)],
    name: master,
    ...(username === undefined ? {} : { sentinelUsername: username }),
    ...(password === undefined ? {} : { sentinelPassword: password }),
    ...(tls ? { enableTLSForSentinelMode: true, sentinelTLS: tls } : {}),
    sentinelRetryStrategy: () => null,
    sentinelCommandTimeout: CONNECT_TIMEOUT_MS,
    // those of the URL and no others: what a sentinel knows of its kind may be addresses of another network
    updateSentinels: false,
    // The old primary may take writes for seconds after its successor was named, and then throws them away: two sentinels
    // are listened to, and the connection ends when they name another.
    failoverDetector: true,
    sentinelMaxConnections: 2,
  };
}

/** The library, loaded once. @throws ConfigError `E_DRIVER_MISSING` */
export async function loadLibrary(): Promise<Library> {
  library ??= import('ioredis').then(toLibrary);
  try {
    return await library;
  } catch (cause) {
    library = undefined;
    throw new ConfigError('E_DRIVER_MISSING', 'redis:// URLs need the package ioredis, which is not installed: npm i ioredis', {
      cause,
    });
  }
}

/** Whether Redis itself refused (its text starts with the error's code, for example `OOM`), as opposed to a broken connection. */
export function redisErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return undefined;
  const code = /^[A-Z]+/.exec(error.message)?.[0] ?? 'ERR';
  // Redis 6 wraps what a script's command was refused with: "ERR Error running script (call to f_…): …: -OOM command not …"
  return code === 'ERR' ? (/^ERR Error running script.*?: -([A-Z]+) /.exec(error.message)?.[1] ?? code) : code;
}

const AUTH_CODES = new Set(['NOAUTH', 'WRONGPASS', 'NOPERM']);
/** Whether the server does not let us in. */
export const isAuthError = (error: unknown): boolean =>
  AUTH_CODES.has(redisErrorCode(error) ?? '') || /invalid password|invalid username|Last error: NOAUTH/i.test(String(error));

/**
 * Refusals of everything, with nothing done, until somebody or something mends it: loading its data, a replica since a
 * moment ago, busy with a script, too few replicas, a disk that it cannot save to, in a cluster not the owner of our keys. Such a server counts as away: the
 * connection is dropped, and the next one waits until writes are taken, perhaps by another primary.
 */
export const NOT_NOW = new Set([
  'MOVED',
  'ASK',
  'LOADING',
  'READONLY',
  'MASTERDOWN',
  'TRYAGAIN',
  'CLUSTERDOWN',
  'BUSY',
  'NOREPLICAS',
  'MISCONF',
]);
