/**
 * A pool of connections to PostgreSQL that come back by themselves, for statements that may be repeated: each call has one
 * total deadline, within which it waits for a connection and is asked again when one breaks.
 *
 * Owns: who gets which connection, reconnecting (only while somebody wants something), preparing the schema once, putting
 * idle connections away. Does not own: statements and their meaning (`results/postgres`), the listening connection
 * (`postgres-listener.ts`).
 */
import { reconnectDelayMs } from '../core/backoff.js';
import { BrokerError, ConfigError, toError } from '../core/errors.js';
import { inTime } from '../core/in-time.js';
import type { Logger } from '../core/logger.js';
import {
  explainPostgres,
  isGone,
  isMissing,
  isToRepeat,
  PostgresLinkError,
  type PostgresSession,
  type PostgresStatement,
  type PostgresValue,
} from './postgres-library.js';
import { PostgresLine } from './postgres-line.js';
import type { PostgresTarget } from './postgres-url.js';

export interface PostgresPoolOptions {
  readonly target: PostgresTarget;
  readonly logger: Logger;
  /** What `pg_stat_activity` shows. */
  readonly name: string;
  /** Runs on the first connection before anything else does, and again when something of the schema is found missing. */
  readonly prepare: (session: PostgresSession) => Promise<void>;
  /** How long a connection may be idle. Default 60 s. */
  readonly idleMs?: number;
}

export interface PostgresQueryOptions {
  /** Total deadline: waiting for a connection, all tries, the answer. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

interface Waiter {
  take(line: PostgresLine): void;
  refuse(error: Error): void;
}

const IDLE_MS = 60_000;
/** The longest wait between two tries. */
const LONGEST_WAIT_MS = 1_000;
/** A connection that stayed up this long was a good one: the next trouble starts again with short waits. */
const STABLE_MS = 1_000;
/** Who waits for a connection, at most: more are refused at once. Each leaves at its deadline. */
const MOST_WAITERS = 10_000;

export class PostgresPool {
  readonly target: PostgresTarget;
  readonly #options: PostgresPoolOptions;
  readonly #stop = new AbortController();
  /** All connections that live; bounded by `poolMax`. */
  readonly #lines = new Set<PostgresLine>();
  /** Those that nobody uses, the one used last at the end, with what takes them away. */
  readonly #idle: { readonly line: PostgresLine; readonly timer: NodeJS.Timeout }[] = [];
  readonly #waiters = new Set<Waiter>();
  readonly #connecting = new Set<Promise<void>>();
  #prepared: Promise<void> | null = null;
  #retryTimer: NodeJS.Timeout | null = null;
  /** Tries that failed, or did not last, in a row. */
  #failures = 0;
  #lastError: Error | null = null;

  constructor(options: PostgresPoolOptions) {
    this.#options = options;
    this.target = options.target;
  }

  /** Connections that are open; for tests and reports. */
  get size(): number {
    return this.#lines.size;
  }

  get isClosed(): boolean {
    return this.#stop.signal.aborted;
  }

  /**
   * Asks one statement, again if the connection breaks: it must do no harm twice.
   * @throws BrokerError `E_BROKER_UNREACHABLE` or `E_CONNECTION_LOST` at the deadline, `E_BROKER_AUTH`, `E_BROKER_FULL`, `E_NOT_SUPPORTED`,
   * `E_CLOSED`; ConfigError `E_DRIVER_MISSING`, `E_CONFIG_URL`; the signal's reason
   */
  async query<Row>(
    statement: PostgresStatement,
    values: readonly PostgresValue[],
    { timeoutMs, signal }: PostgresQueryOptions,
  ): Promise<readonly Row[]> {
    const endMs = performance.now() + timeoutMs;
    for (let mended = false; ; ) {
      const line = await this.#acquire(endMs, signal);
      const leftMs = endMs - performance.now();
      // half of the whole: a connection that died without a word leaves time for another one
      const asked = line.run<Row>(statement, values, Math.max(Math.min(leftMs, timeoutMs / 2), 1));
      asked.then(
        () => this.#release(line),
        (error: unknown) => {
          if (isGone(error)) line.destroy();
          this.#release(line);
        },
      );
      try {
        return await (signal ? abortable(asked, leftMs, signal) : asked);
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (this.isClosed) throw this.#stop.signal.reason;
        if (isMissing(error) && !mended) {
          mended = true;
          this.#prepared = null;
          continue;
        }
        if (!(isGone(error) || isToRepeat(error)) || performance.now() >= endMs) throw explainPostgres(error, this.target);
      }
    }
  }

  /** Ends all connections; what was asked and not answered rejects. */
  async close(): Promise<void> {
    if (!this.isClosed) this.#stop.abort(new BrokerError('E_CLOSED', `the connections to ${this.target.label} are closed`));
    if (this.#retryTimer) clearTimeout(this.#retryTimer);
    this.#refuseAll(this.#stop.signal.reason as Error);
    for (const { timer } of this.#idle.splice(0)) clearTimeout(timer);
    await Promise.all([...[...this.#lines].map((line) => line.end()), ...this.#connecting]);
  }

  async #acquire(endMs: number, signal: AbortSignal | undefined): Promise<PostgresLine> {
    signal?.throwIfAborted();
    if (this.isClosed) throw this.#stop.signal.reason;
    // none is idle as long as its schema is to be made again
    for (let spare = this.#idle.pop(); spare; spare = this.#idle.pop()) {
      clearTimeout(spare.timer);
      if (this.#prepared && !spare.line.isDead) return spare.line;
      this.#forget(spare.line);
    }
    const { label, poolMax } = this.target;
    if (this.#waiters.size >= MOST_WAITERS)
      throw new PostgresLinkError(
        'E_BROKER_UNREACHABLE',
        `${MOST_WAITERS} calls wait for one of the ${poolMax} connections to ${label}: raise pool_max, or ask for less at a time`,
      );
    let given: PostgresLine | undefined;
    let waiter: Waiter | undefined;
    const waited = new Promise<PostgresLine>((resolve, refuse) => {
      const take = (line: PostgresLine): void => {
        given = line;
        resolve(line);
      };
      waiter = { take, refuse };
      this.#waiters.add(waiter);
    });
    this.#grow();
    try {
      return await inTime(waited, {
        timeoutMs: Math.max(endMs - performance.now(), 0),
        signal,
        onLate: () => this.#late(),
        onAbort: (reason) => toError(reason),
      });
    } catch (error) {
      if (waiter) this.#waiters.delete(waiter);
      // given and given up in one turn
      if (given) this.#release(given);
      throw error;
    }
  }

  /** Why there was no connection in time. */
  #late(): Error {
    const { label, poolMax } = this.target;
    const busy = `all ${poolMax} connections to ${label} were busy: raise pool_max, or look there for what holds them up`;
    if (this.#lines.size >= poolMax) return new PostgresLinkError('E_BROKER_UNREACHABLE', busy);
    const why = this.#lastError ? `: ${this.#lastError.message}` : '';
    return new PostgresLinkError('E_BROKER_UNREACHABLE', `no connection to ${label} in time${why}`, { cause: this.#lastError });
  }

  #release(line: PostgresLine): void {
    if (line.isDead || this.isClosed || !this.#prepared) return this.#forget(line);
    const [waiter] = this.#waiters;
    if (waiter) {
      this.#waiters.delete(waiter);
      waiter.take(line);
      return;
    }
    const timer = setTimeout(() => this.#forget(line), this.#options.idleMs ?? IDLE_MS).unref();
    this.#idle.push({ line, timer });
  }

  /** Ends a connection; another takes its place if somebody waits. */
  #forget(line: PostgresLine): void {
    const at = this.#idle.findIndex((spare) => spare.line === line);
    if (at >= 0) clearTimeout(this.#idle.splice(at, 1)[0]?.timer);
    if (!this.#lines.delete(line)) return;
    if (line.isDead && performance.now() - line.sinceMs < STABLE_MS) this.#failures += 1;
    void line.end();
    this.#grow();
  }

  /** Opens connections while more wait than are on their way. After a failure one at a time, and not at once. */
  #grow(): void {
    if (this.isClosed || this.#retryTimer) return;
    const room = this.target.poolMax - this.#lines.size - this.#connecting.size;
    const wanted = Math.min(room, this.#waiters.size - this.#connecting.size);
    if (wanted <= 0) return;
    if (this.#failures > 0) {
      if (this.#connecting.size > 0) return;
      this.#retryTimer = setTimeout(
        () => {
          this.#retryTimer = null;
          if (this.#waiters.size > 0 && this.#lines.size < this.target.poolMax) this.#connect();
        },
        reconnectDelayMs(this.#failures - 1, Math.random(), LONGEST_WAIT_MS),
      );
      return;
    }
    for (let count = 0; count < wanted; count += 1) this.#connect();
  }

  #connect(): void {
    const opening = this.#open().then(
      (line) => {
        this.#connecting.delete(opening);
        this.#failures = 0;
        this.#lastError = null;
        this.#lines.add(line);
        void line.ended.then(() => this.#forget(line));
        this.#release(line);
        this.#grow();
      },
      (error: unknown) => {
        this.#connecting.delete(opening);
        this.#failed(explainPostgres(error, this.target));
      },
    );
    this.#connecting.add(opening);
  }

  async #open(): Promise<PostgresLine> {
    const { target, options } = { target: this.target, options: this.#options };
    const { signal } = this.#stop;
    const line = await PostgresLine.open({ target, name: options.name, signal });
    // preparing may wait for other processes
    const onStop = (): void => line.destroy();
    signal.addEventListener('abort', onStop, { once: true });
    try {
      // a standby answers everything and takes no writes: what the URL points at may soon be a primary
      const [facts] = await line.run<{ readonly standby: boolean }>('SELECT pg_is_in_recovery() AS standby');
      if (facts?.standby)
        throw new PostgresLinkError(
          'E_BROKER_UNREACHABLE',
          `${target.label} is a standby, which takes no writes: name the primary`,
        );
      this.#prepared ??= this.#prepare(line);
      await this.#prepared;
      return line;
    } catch (error) {
      await line.end();
      throw error;
    } finally {
      signal.removeEventListener('abort', onStop);
    }
  }

  #prepare(line: PostgresLine): Promise<void> {
    const preparing = this.#options.prepare(line);
    preparing.catch(() => {
      if (this.#prepared === preparing) this.#prepared = null;
    });
    return preparing;
  }

  #failed(error: Error): void {
    if (this.isClosed) return;
    this.#lastError = error;
    this.#failures += 1;
    this.#options.logger.debug({ server: this.target.label, cause: error.message }, 'postgresql: connecting failed');
    // what waiting does not mend is said at once, unless another connection works
    const isHopeless = error instanceof ConfigError || !(error instanceof PostgresLinkError);
    if (isHopeless && this.#lines.size === 0) this.#refuseAll(error);
    this.#grow();
  }

  #refuseAll(error: Error): void {
    for (const waiter of [...this.#waiters]) waiter.refuse(error);
    this.#waiters.clear();
  }
}

/** The statement itself goes on, and its connection is free when it has ended. */
function abortable<T>(work: Promise<T>, timeoutMs: number, signal: AbortSignal): Promise<T> {
  return inTime(work, {
    timeoutMs: timeoutMs + LONGEST_WAIT_MS,
    signal,
    onLate: () => new PostgresLinkError('E_CONNECTION_LOST', 'no answer in time'),
    onAbort: (reason) => toError(reason),
  });
}
