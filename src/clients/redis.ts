/**
 * One connection to Redis that comes back by itself. With `redis-library.ts` the only importer of the client library.
 *
 * Owns: the state machine connecting → ready → lost → waiting → connecting …, scripts by hash, what is known of a command
 * whose connection died. It never repeats a command: only its caller knows whether that is safe.
 * Does not own: keys and meaning (`brokers/redis`, `results/redis`).
 *
 * Each try uses a fresh client object, with the library's own reconnect, resend and offline queue switched off: with
 * resending on it would repeat pops, with it off it leaves commands unsettled for ever.
 */
import type { Command as CommandClass, Redis } from 'ioredis';
import { reconnectDelayMs } from '../core/backoff.js';
import { sleep } from '../core/clock.js';
import { BrokerError, ConfigError, toError } from '../core/errors.js';
import {
  BYTES,
  EXEC,
  isAuthError,
  type Library,
  loadLibrary,
  MULTI,
  NOT_NOW,
  type RedisPayload,
  type RedisScript,
  redisErrorCode,
} from './redis-library.js';
import {
  type Identity,
  identityIn,
  type RedisConnectionOptions,
  type RedisLink,
  RedisLinkError,
  type RedisReply,
} from './redis-link.js';
import type { RedisTarget } from './redis-url.js';
import { ReadyWaiters } from './redis-waiters.js';
import { encodeCommand, type RedisArg } from './resp.js';

export { defineScript, type RedisPayload, type RedisScript, redisErrorCode } from './redis-library.js';
export { type RedisLink, RedisLinkError, type RedisReply } from './redis-link.js';
export type { RedisArg } from './resp.js';

/** A connection that stayed up this long was a good one: the next trouble starts again with short waits. */
const STABLE_MS = 1_000;
export class RedisConnection implements RedisLink {
  readonly target: RedisTarget;
  readonly #options: RedisConnectionOptions;
  readonly #stop = new AbortController();
  readonly #waiters = new ReadyWaiters();
  #loop: Promise<void> | null = null;
  #redis: Redis | null = null;
  #library: Library | null = null;
  #lastError: Error | null = null;
  #lastAliveMs = performance.now();
  #identity: Identity | null = null;
  #isPredecessorGone = true;
  /** Rises by one with each connection made. */
  epoch = 0;

  constructor(options: RedisConnectionOptions) {
    this.#options = options;
    this.target = options.target;
  }

  get isReady(): boolean {
    return this.#redis !== null;
  }

  /**
   * Whether nothing of the connection before this one can still be carried out. A server that was stopped may hold commands
   * of a connection that we have given up; the new one has it killed before anybody may use it.
   */
  get isPredecessorGone(): boolean {
    return this.#isPredecessorGone;
  }

  get isClosed(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Monotonic milliseconds of the last bytes from the server. */
  get lastAliveMs(): number {
    return this.#lastAliveMs;
  }

  /** Starts connecting if that has not happened yet. */
  open(): void {
    if (!this.isClosed) this.#loop ??= this.#run();
  }

  /**
   * Resolves once there is a connection. With `Infinity` it waits until the connection is closed for good.
   * @throws BrokerError `E_BROKER_UNREACHABLE` after `timeoutMs`, `E_BROKER_AUTH` at once, `E_CLOSED`, or the signal's reason
   */
  async whenReady(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#redis) return;
    if (this.isClosed) throw new BrokerError('E_CLOSED', `the connection to ${this.target.label} is closed`);
    this.open();
    await this.#waiters.wait(timeoutMs, signal, () => {
      const why = this.#lastError ? `: ${this.#lastError.message}` : '';
      const message = `no connection to ${this.target.label} within ${Math.round(timeoutMs)} ms${why}`;
      return new BrokerError('E_BROKER_UNREACHABLE', message, { cause: this.#lastError });
    });
  }

  /**
   * One command; the answer as bytes.
   * @throws RedisLinkError when there is no connection or it died; ReplyError as Redis sent it
   */
  call(name: string, args: readonly RedisArg[]): Promise<RedisReply> {
    const redis = this.#redis;
    if (!redis) return Promise.reject(this.#linkError(false, this.#lastError));
    return this.#send(redis, name, args);
  }

  /**
   * Runs a script. `args` is `[sha, number of keys, …keys, …arguments]`, made by the script's wrapper in one go, so that a
   * batch of hundreds is not copied once more here.
   */
  async run(script: RedisScript, args: RedisArg[]): Promise<RedisReply> {
    try {
      return await this.call('evalsha', args);
    } catch (error) {
      // Not loaded yet on this server, or flushed: nothing was run, so running it by its text is no repetition.
      if (redisErrorCode(error) !== 'NOSCRIPT') throw error;
      return this.call('eval', [script.lua, ...args.slice(1)]);
    }
  }

  /**
   * Several commands that are done together or not at all; the answer of each.
   * @throws as `call`; a refusal of one command is thrown, and then none was done unless it was refused at the end
   */
  async transaction(commands: readonly RedisPayload[]): Promise<RedisReply[]> {
    const redis = this.#redis;
    if (!redis) throw this.#linkError(false, this.#lastError);
    let refusal: unknown;
    const note = (error: unknown): void => {
      refusal ??= error;
    };
    // one write for all of them
    redis.stream.cork();
    this.#sendPayload(redis, MULTI).catch(note);
    for (const command of commands) this.#sendPayload(redis, command).catch(note);
    const answer = this.#sendPayload(redis, EXEC);
    redis.stream.uncork();
    let replies: (RedisReply | Error)[];
    try {
      replies = (await answer) as RedisReply[];
    } catch (error) {
      throw refusal ?? error;
    }
    for (const reply of replies) if (reply instanceof Error) throw reply;
    return replies as RedisReply[];
  }

  /** Drops the current connection; the next is made at once. For watchdogs and tests. */
  reconnect(): void {
    this.#redis?.disconnect();
  }

  /** Ends the connection for good; commands without an answer reject. */
  async close(): Promise<void> {
    if (!this.isClosed) this.#stop.abort(new BrokerError('E_CLOSED', `the connection to ${this.target.label} is closed`));
    this.#waiters.rejectAll(this.#stop.signal.reason as Error);
    this.#redis?.disconnect();
    await this.#loop;
  }

  #linkError(sent: boolean, cause: unknown): Error {
    if (this.isClosed) return new BrokerError('E_CLOSED', `the connection to ${this.target.label} is closed`, { cause });
    const what = sent
      ? `the connection to ${this.target.label} was lost before the answer came`
      : `there is no connection to ${this.target.label}`;
    return new RedisLinkError(cause instanceof Error ? `${what}: ${cause.message}` : what, sent, cause);
  }

  #send(redis: Redis, name: string, args: readonly RedisArg[]): Promise<RedisReply> {
    // the library counts the answers to these by their arguments
    if (name.endsWith('subscribe'))
      return this.#dispatch(redis, new (this.#library as Library).Command(name, args as RedisArg[], BYTES));
    return this.#sendPayload(redis, { name, parts: [encodeCommand(name, args)] });
  }

  #sendPayload(redis: Redis, payload: RedisPayload): Promise<RedisReply> {
    return this.#dispatch(redis, (this.#library as Library).toCommand(payload));
  }

  async #dispatch(redis: Redis, command: CommandClass): Promise<RedisReply> {
    const isWritable = redis.status === 'ready' && redis.stream?.writable;
    try {
      return (await redis.sendCommand(command)) as RedisReply;
    } catch (error) {
      const code = redisErrorCode(error);
      if (code !== undefined && NOT_NOW.has(code)) {
        this.#drop(redis, toError(error));
        throw this.#linkError(false, error);
      }
      if (code !== undefined) throw error;
      const cause = this.#lastError ?? toError(error);
      // At once, not at the library's event: whoever tries again must wait for the next connection, not spin on this one.
      this.#drop(redis, cause);
      throw this.#linkError(Boolean(isWritable), cause);
    }
  }

  /** This connection is no longer used. Answers that are on their way are still taken: they tell what was done. */
  #drop(redis: Redis, cause: Error): void {
    if (this.#redis !== redis) return;
    this.#redis = null;
    setImmediate(() => redis.disconnect());
    if (!this.isClosed) this.#options.onLost?.(cause);
  }

  async #run(): Promise<void> {
    for (let tries = 0; !this.isClosed; tries += 1) {
      if (tries > 0) {
        await sleep(reconnectDelayMs(tries - 1, Math.random()), this.#stop.signal).catch(() => {});
        if (this.isClosed) break;
      }
      let redis: Redis | undefined;
      try {
        this.#library = await loadLibrary();
        if (this.isClosed) break;
        redis = this.#library.open(this.target, this.#options.name, this.#options.answerTimeoutMs ?? 10_000);
        const ended = new Promise<void>((resolve) => redis?.once('end', resolve));
        const since = await this.#connect(redis);
        await ended;
        if (performance.now() - since > STABLE_MS) tries = 0;
        this.#drop(redis, this.#lastError ?? new Error('the server closed the connection'));
      } catch (error) {
        redis?.disconnect();
        this.#lastError = this.#explain(error);
        if (this.#lastError instanceof ConfigError || this.#lastError instanceof BrokerError) {
          // Without the library nobody need wait; wrong credentials may be mended on the server.
          if (this.#lastError instanceof ConfigError) this.#waiters.rejectAll(this.#lastError);
          else this.#waiters.rejectImpatient(this.#lastError);
        }
        this.#options.logger.debug(
          { server: this.target.label, connection: this.#options.name, cause: String(error) },
          'redis: connecting failed',
        );
      }
    }
  }

  /** Resolves with the time at which the connection was handed to its users. */
  async #connect(redis: Redis): Promise<number> {
    const onStop = (): void => redis.disconnect();
    this.#stop.signal.addEventListener('abort', onStop, { once: true });
    try {
      this.#lastError = null;
      redis.on('error', (error: Error) => {
        this.#lastError = error;
      });
      await redis.connect();
      redis.stream.on('data', () => {
        this.#lastAliveMs = performance.now();
      });
      const { onMessage, onPatternMessage, setup } = this.#options;
      if (onMessage) redis.on('messageBuffer', (channel: Buffer, payload: RedisReply) => onMessage(channel.toString(), payload));
      if (onPatternMessage) {
        redis.on('pmessageBuffer', (pattern: string, channel: Buffer, payload: Buffer) =>
          onPatternMessage(pattern, channel.toString(), payload),
        );
      }
      const link: RedisLink = { call: (name, args) => this.#send(redis, name, args) };
      await this.#replacePredecessor(link);
      await setup?.(link);
    } finally {
      this.#stop.signal.removeEventListener('abort', onStop);
    }
    if (this.isClosed || redis.status !== 'ready') throw this.#lastError ?? new Error('the server closed the connection');
    this.#lastAliveMs = performance.now();
    this.#lastError = null;
    this.#redis = redis;
    this.epoch += 1;
    this.#waiters.resolveAll();
    this.#options.onReady?.();
    return performance.now();
  }

  async #replacePredecessor(link: RedisLink): Promise<void> {
    const before = this.#identity;
    this.#identity = await link.call('client', ['info']).then(identityIn, (error: unknown) => this.#withoutIdentity(error));
    // Both must fit: after a restart of the server the old number may be somebody else's.
    const killed = before ? link.call('client', ['kill', 'id', before.id, 'addr', before.addr]) : Promise.resolve(0);
    this.#isPredecessorGone = await killed.then(
      () => this.epoch === 0 || before !== null,
      (error: unknown) => {
        if (redisErrorCode(error) === undefined) throw error;
        return false;
      },
    );
  }

  #withoutIdentity(error: unknown): null {
    // A user who may not ask: then a predecessor cannot be ended, and sends that it carried are told as unknown.
    if (redisErrorCode(error) === 'NOPERM') return null;
    if (redisErrorCode(error) === 'ERR') {
      throw new BrokerError(
        'E_NOT_SUPPORTED',
        `${this.target.label} is older than Redis 6.2 (or Valkey 7.2), which Lovage needs: upgrade the server`,
        { cause: error },
      );
    }
    throw error;
  }

  #explain(error: unknown): Error {
    // The library rejects connect() with "Connection is closed." and tells the reason by an event before.
    const cause = /Connection is closed/.test(String(error)) && this.#lastError ? this.#lastError : toError(error);
    if (!isAuthError(cause)) return cause;
    return new BrokerError('E_BROKER_AUTH', `${this.target.label} refused the credentials: ${cause.message}`, { cause });
  }
}
