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
import { reconnectDelayMs } from '../core/backoff.js';
import { sleep } from '../core/clock.js';
import { BrokerError, ConfigError } from '../core/errors.js';
import { clusterOwner, explainOwnerless, guarded } from './redis-cluster.js';
import { loadLibrary, type RedisPayload, type RedisScript, redisErrorCode } from './redis-library.js';
import { RedisLine } from './redis-line.js';
import {
  type Identity,
  type RedisConnectionOptions,
  type RedisLink,
  RedisLinkError,
  type RedisReply,
  type ServerFacts,
} from './redis-link.js';
import type { RedisTarget } from './redis-url.js';
import { ReadyWaiters } from './redis-waiters.js';
import type { RedisArg } from './resp.js';

export { defineScript, type RedisPayload, type RedisScript, redisErrorCode } from './redis-library.js';
export { RedisLinkError, type RedisReply } from './redis-link.js';
export type { RedisArg } from './resp.js';

/** A connection that stayed up this long was a good one: the next trouble starts again with short waits. */
const STABLE_MS = 1_000;
/** The longest wait between two tries: with the time that a try may take less than five seconds in all. */
const LONGEST_WAIT_MS = 1_000;

export class RedisConnection implements RedisLink {
  readonly target: RedisTarget;
  readonly #options: RedisConnectionOptions;
  readonly #stop = new AbortController();
  readonly #waiters = new ReadyWaiters();
  #loop: Promise<void> | null = null;
  /** The one that may be used. */
  #line: RedisLine | null = null;
  #lastError: Error | null = null;
  #lastAliveMs = performance.now();
  #identity: Identity | null = null;
  #isPredecessorGone = true;
  /** Rises by one with each connection made. */
  epoch = 0;
  /** Monotonic milliseconds at which the latest was made. */
  readySinceMs = 0;

  constructor(options: RedisConnectionOptions) {
    this.#options = options;
    this.target = options.target;
  }

  get isReady(): boolean {
    return this.#line !== null;
  }

  /** What the server of the present connection says of itself; `null` without a connection, or where INFO is not allowed. */
  get server(): ServerFacts | null {
    return this.#line?.server ?? null;
  }

  /** Why there is no connection, as far as is known. */
  get lastError(): Error | null {
    return this.#lastError;
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

  /** Monotonic milliseconds of the last answer of a server that could be used. */
  get lastAliveMs(): number {
    return this.#line?.lastAnswerMs ?? this.#lastAliveMs;
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
    if (this.#line) return;
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
    const line = this.#line;
    if (!line) return Promise.reject(this.#linkError(false, this.#lastError));
    return line.call(name, args);
  }

  /**
   * Runs a script. `args` is `[sha, number of keys, …keys, …arguments]`, made by the script's wrapper in one go, so that a
   * batch of hundreds is not copied once more here.
   */
  async run(script: RedisScript, args: RedisArg[]): Promise<RedisReply> {
    if (!this.target.cluster) return this.#eval(script, args);
    const guard = guarded(script, this.target.prefix, args);
    return this.#eval(guard.script, guard.args);
  }

  async #eval(script: RedisScript, args: RedisArg[]): Promise<RedisReply> {
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
    const line = this.#line;
    if (!line) throw this.#linkError(false, this.#lastError);
    return line.transaction(commands);
  }

  /** Asks the server whether it is there, if there is a connection; without an answer the connection is dropped soon. */
  check(): void {
    this.#line?.probe().catch(() => {});
  }

  /** Drops the current connection because of something; the next is made at once. */
  reconnect(cause: Error): void {
    if (this.#line) this.#drop(this.#line, cause);
  }

  /** Ends the connection for good; commands without an answer reject. */
  async close(): Promise<void> {
    if (!this.isClosed) this.#stop.abort(new BrokerError('E_CLOSED', `the connection to ${this.target.label} is closed`));
    this.#waiters.rejectAll(this.#stop.signal.reason as Error);
    this.#line?.disconnect();
    await this.#loop;
  }

  #linkError(sent: boolean, cause: unknown): Error {
    if (this.isClosed) return new BrokerError('E_CLOSED', `the connection to ${this.target.label} is closed`, { cause });
    const what = sent
      ? `the connection to ${this.target.label} was lost before the answer came`
      : `there is no connection to ${this.target.label}`;
    return new RedisLinkError(cause instanceof Error ? `${what}: ${cause.message}` : what, sent, cause);
  }

  /** Refused for now, or the connection broke: it is dropped, and the caller is told what is known. */
  #failed(line: RedisLine, cause: Error, sent: boolean): Error {
    // At once, not at the library's event: whoever tries again must wait for the next connection, not spin on this one.
    this.#drop(line, cause);
    return this.#linkError(sent, cause);
  }

  /** This connection is no longer used. Answers that are on their way are still taken: they tell what was done. */
  #drop(line: RedisLine, cause: Error): void {
    if (this.#line !== line) return;
    this.#line = null;
    this.#lastAliveMs = line.lastAnswerMs;
    this.#lastError = cause;
    setImmediate(() => line.disconnect());
    if (!this.isClosed) this.#options.onLost?.(cause);
  }

  async #run(): Promise<void> {
    for (let tries = 0, made = 0; !this.isClosed; tries += 1, made += 1) {
      if (tries > 0) {
        const delayMs = reconnectDelayMs(tries - 1, Math.random(), LONGEST_WAIT_MS);
        await sleep(delayMs, this.#stop.signal).catch(() => {});
        if (this.isClosed) break;
      }
      let line: RedisLine | undefined;
      try {
        const library = await loadLibrary();
        line = new RedisLine({
          library,
          target: this.target.cluster ? await clusterOwner(library, this.target, made) : this.target,
          name: this.#options.name,
          tries: made,
          heartbeatMs: this.#options.heartbeatMs ?? (() => null),
          onFailed: (failed, cause, sent) => this.#failed(failed, cause, sent),
        });
        const since = await this.#connect(line);
        await line.ended;
        if (performance.now() - since > STABLE_MS) tries = 0;
        this.#drop(line, line.lastError ?? new Error('the server closed the connection'));
      } catch (error) {
        line?.disconnect();
        this.#tellFailure(line ? line.explain(error) : explainOwnerless(error, this.target));
      }
    }
  }

  #tellFailure(error: Error): void {
    this.#lastError = error;
    // Without the library nobody need wait; wrong credentials may be mended on the server.
    if (error instanceof ConfigError) this.#waiters.rejectAll(error);
    else if (error instanceof BrokerError && !(error instanceof RedisLinkError) && error.code !== 'E_BROKER_UNREACHABLE')
      this.#waiters.rejectImpatient(error);
    this.#options.logger.debug(
      { server: this.target.label, connection: this.#options.name, cause: String(error) },
      'redis: connecting failed',
    );
  }

  /** Resolves with the time at which the connection was handed to its users. */
  async #connect(line: RedisLine): Promise<number> {
    const onStop = (): void => line.disconnect();
    this.#stop.signal.addEventListener('abort', onStop, { once: true });
    try {
      if (this.isClosed) throw new Error('closed');
      await line.connect();
      const { onMessage, onPatternMessage, setup } = this.#options;
      const { redis } = line;
      if (onMessage) redis.on('messageBuffer', (channel: Buffer, payload: RedisReply) => onMessage(channel.toString(), payload));
      if (onPatternMessage) {
        redis.on('pmessageBuffer', (pattern: string, channel: Buffer, payload: Buffer) =>
          onPatternMessage(pattern, channel.toString(), payload),
        );
      }
      await this.#replacePredecessor(line);
      await line.probe();
      await setup?.(line);
    } finally {
      this.#stop.signal.removeEventListener('abort', onStop);
    }
    if (this.isClosed || line.redis.status !== 'ready') throw line.lastError ?? new Error('the server closed the connection');
    this.#lastError = null;
    this.#line = line;
    this.epoch += 1;
    this.readySinceMs = performance.now();
    this.#waiters.resolveAll();
    this.#options.onReady?.();
    return this.readySinceMs;
  }

  async #replacePredecessor(line: RedisLine): Promise<void> {
    const before = this.#identity;
    // Both must fit: after a restart of the server the old number may be somebody else's.
    const killed = before ? line.call('client', ['kill', 'id', before.id, 'addr', before.addr]) : Promise.resolve(0);
    this.#isPredecessorGone = await killed.then(
      () => this.epoch === 0 || before !== null,
      (error: unknown) => {
        if (redisErrorCode(error) === undefined) throw error;
        return false;
      },
    );
    this.#identity = line.identity;
  }
}
