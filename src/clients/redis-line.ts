/**
 * One physical connection to Redis, from its opening to its end: a client object of the library, what the server says of
 * itself, and the watch that finds out when it is dead. It is never repaired; `redis.ts` opens the next one.
 */
import type { Command as CommandClass, Redis } from 'ioredis';
import { BrokerError, toError } from '../core/errors.js';
import {
  ABSENT_KEY,
  CONNECT_TIMEOUT_MS,
  EXEC,
  isAuthError,
  type Library,
  MULTI,
  NOT_NOW,
  type RedisPayload,
  redisErrorCode,
} from './redis-library.js';
import {
  factsIn,
  type Identity,
  identityIn,
  type RedisLink,
  RedisLinkError,
  type RedisReply,
  type ServerFacts,
} from './redis-link.js';
import type { RedisTarget } from './redis-url.js';
import { LinkWatch } from './redis-watch.js';
import { encodeCommand, type RedisArg } from './resp.js';
import { tlsError, tlsRefusal } from './tls.js';

export interface RedisLineOptions {
  readonly library: Library;
  readonly target: RedisTarget;
  readonly name: string;
  /** Which try this is: the sentinels are asked in another order each time. */
  readonly tries: number;
  readonly heartbeatMs: () => number | null;
  /** A command failed and was not refused; the error that its caller shall get. `sent`: it may have reached the server. */
  readonly onFailed: (line: RedisLine, cause: Error, sent: boolean) => Error;
}

/** Neither server says that the other language is wanted: one waits for more, the other hangs up. */
const PERHAPS_PLAIN = 'if that port does not speak TLS, write redis:// without the second s';
const PERHAPS_TLS = 'if that port speaks TLS only, write rediss://';

/** How the library begins what it says when no sentinel has named the primary. */
const SENTINELS_FAILED = 'All sentinels are unreachable and retry is disabled. Last error: ';

export class RedisLine implements RedisLink {
  readonly redis: Redis;
  /** Resolves when the connection is over, however it ended. */
  readonly ended: Promise<void>;
  /** `null` where the user may not ask for it. */
  server: ServerFacts | null = null;
  identity: Identity | null = null;
  /** Monotonic milliseconds of the last whole answer: bytes alone prove nothing. */
  lastAnswerMs = performance.now();
  #heardMs = performance.now();
  /** The connection was made and nothing has come yet. */
  #isMute = false;
  /** What the library or the watch told last. */
  lastError: Error | null = null;
  readonly #options: RedisLineOptions;
  readonly #watch: LinkWatch;

  constructor(options: RedisLineOptions) {
    this.#options = options;
    const redis = options.library.open(options.target, options.name, options.tries);
    this.redis = redis;
    this.#watch = new LinkWatch({
      heartbeatMs: options.heartbeatMs,
      // what it is refused with is judged like any other refusal
      ping: () => void this.probe().catch(() => {}),
      unwritten: () => redis.stream?.writableLength ?? 0,
      onDead: (cause) => this.#destroy(cause),
    });
    this.ended = new Promise<void>((resolve) => {
      redis.once('end', () => {
        this.#watch.stop();
        resolve();
      });
    });
    redis.on('error', (error: Error) => {
      this.lastError ??= error;
    });
    redis.once('connect', () => {
      this.#isMute = true;
      redis.stream.on('data', (chunk: Buffer) => {
        this.#isMute = false;
        this.#heardMs = performance.now();
        this.#watch.heard(chunk.length);
      });
    });
  }

  /** Connects and learns who answers. @throws Error why not; `E_BROKER_AUTH`, `E_NOT_SUPPORTED` */
  async connect(): Promise<void> {
    // the library's own greeting counts as one command
    this.redis.once('connect', () => this.#watch.sent(0));
    // what goes wrong between it and a sentinel the library keeps to itself
    await this.redis.connect().catch(async (error: unknown) => {
      const { sentinel, tls } = this.#options.target;
      const [first] = sentinel?.hosts ?? [];
      if (first && tls) this.lastError = (await tlsError(first.host, first.port, tls, CONNECT_TIMEOUT_MS)) ?? this.lastError;
      throw error;
    });
    this.#watch.answered(0);
    const [server, identity] = await Promise.all([
      this.call('info', []).then(factsIn, (error: unknown) => orNull(error)),
      this.call('client', ['info']).then(identityIn, (error: unknown) => this.#withoutIdentity(error)),
    ]);
    this.server = server;
    this.identity = identity;
    if (server?.isCluster && this.#options.target.cluster === null) {
      throw new BrokerError(
        'E_NOT_SUPPORTED',
        `${this.#options.target.label} is a node of a cluster, which would refuse most of our keys: write redis+cluster:// and a prefix with a hash tag, ?prefix={shop}:`,
      );
    }
    if (server !== null && server.role !== 'master') {
      throw new BrokerError(
        'E_BROKER_UNREACHABLE',
        `${this.#options.target.label} is a replica, which takes no writes: it is tried again until it, or what the URL points at, is a primary`,
      );
    }
  }

  /**
   * Proves that the server takes writes, by one that changes nothing: a replica or a full disk refuses it, and a node of a
   * cluster that has not all of our keys. @throws as `call`
   */
  async probe(): Promise<void> {
    const { redis } = this;
    // A listening connection may send little else than this.
    if (redis.mode === 'subscriber') await this.call('ping', []);
    else {
      await this.call('unlink', [this.#options.target.prefix + ABSENT_KEY]).catch((error: unknown) => {
        if (redisErrorCode(error) !== 'NOPERM') throw error;
      });
    }
  }

  call(name: string, args: readonly RedisArg[]): Promise<RedisReply> {
    const { library } = this.#options;
    // the library counts the answers to these by their arguments
    if (name.endsWith('subscribe'))
      return this.#dispatch(new library.Command(name, args as RedisArg[], { replyEncoding: null }), 0);
    return this.send({ name, parts: [encodeCommand(name, args)] });
  }

  send(payload: RedisPayload): Promise<RedisReply> {
    let bytes = 0;
    for (const part of payload.parts) bytes += part.length;
    return this.#dispatch(this.#options.library.toCommand(payload), bytes);
  }

  /** See `RedisConnection.transaction`. */
  async transaction(commands: readonly RedisPayload[]): Promise<RedisReply[]> {
    let refusal: unknown;
    const note = (error: unknown): void => {
      refusal ??= error;
    };
    const { stream } = this.redis;
    // one write for all of them
    stream.cork();
    this.send(MULTI).catch(note);
    for (const command of commands) this.send(command).catch(note);
    const answer = this.send(EXEC);
    stream.uncork();
    let replies: (RedisReply | Error)[];
    try {
      replies = (await answer) as RedisReply[];
    } catch (error) {
      throw refusal ?? error;
    }
    for (const reply of replies) if (reply instanceof Error) throw reply;
    return replies as RedisReply[];
  }

  /** Ends it in good order: answers that are on their way are still taken. */
  disconnect(): void {
    this.redis.disconnect();
  }

  async #dispatch(command: CommandClass, bytes: number): Promise<RedisReply> {
    const { redis } = this;
    const isWritable = redis.status === 'ready' && redis.stream?.writable;
    this.#watch.sent(bytes);
    try {
      const reply = (await redis.sendCommand(command)) as RedisReply;
      this.lastAnswerMs = this.#heardMs;
      return reply;
    } catch (error) {
      const code = redisErrorCode(error);
      if (code !== undefined && !NOT_NOW.has(code)) throw error;
      const cause = code === undefined ? (this.lastError ?? toError(error)) : toError(error);
      throw this.#options.onFailed(this, cause, code === undefined && Boolean(isWritable));
    } finally {
      this.#watch.answered(bytes);
    }
  }

  /** At once: in good order it would wait for the other side, which does not answer. */
  #destroy(cause: Error): void {
    this.lastError = cause;
    this.redis.stream?.destroy();
    this.redis.disconnect();
  }

  #withoutIdentity(error: unknown): null {
    if (redisErrorCode(error) === 'ERR') {
      throw new BrokerError(
        'E_NOT_SUPPORTED',
        `${this.#options.target.label} is older than Redis 6.2 (or Valkey 7.2), which Lovage needs: upgrade the server`,
        { cause: error },
      );
    }
    // A user who may not ask: then a predecessor cannot be ended, and sends that it carried are told as unknown.
    return orNull(error);
  }

  /** What the wrong kind of port looks like from here; so do other troubles. */
  #hint(cause: Error): string | null {
    const { code } = cause as NodeJS.ErrnoException;
    if (this.#options.target.tls) return code === 'ETIMEDOUT' ? PERHAPS_PLAIN : null;
    return this.#isMute && code === 'ECONNRESET' ? PERHAPS_TLS : null;
  }

  /** Why it could not be made ready, for people. */
  explain(error: unknown): Error {
    // The library rejects connect() with "Connection is closed." and tells the reason by an event before.
    let cause =
      /Connection is closed|sentinels are unreachable/.test(String(error)) && this.lastError ? this.lastError : toError(error);
    if (cause instanceof RedisLinkError && cause.cause instanceof Error) cause = cause.cause;
    const { label } = this.#options.target;
    const refusal = this.#options.target.tls ? tlsRefusal(cause) : null;
    if (refusal !== null) return new BrokerError('E_BROKER_AUTH', `no TLS connection to ${label}: ${refusal}`, { cause });
    const hint = this.#hint(cause);
    if (hint !== null) return new Error(`${cause.message}; ${hint}`, { cause });
    if (!isAuthError(cause)) return cause;
    if (cause.message.startsWith(SENTINELS_FAILED)) {
      const what = `the sentinels of ${label} refused the credentials: ${cause.message.slice(SENTINELS_FAILED.length)}`;
      return new BrokerError('E_BROKER_AUTH', `${what}; theirs are sentinel_username and sentinel_password in the URL`, {
        cause,
      });
    }
    return new BrokerError('E_BROKER_AUTH', `${label} refused the credentials: ${cause.message}`, { cause });
  }
}

function orNull(error: unknown): null {
  if (redisErrorCode(error) === 'NOPERM') return null;
  throw error;
}
