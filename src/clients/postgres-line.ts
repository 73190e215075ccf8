/**
 * One physical connection to PostgreSQL, from its opening to its end. It is never repaired; `postgres.ts` and
 * `postgres-listener.ts` open the next one.
 */
import type { Client, QueryResult } from 'pg';
import { inTime } from '../core/in-time.js';
import {
  CONNECT_TIMEOUT_MS,
  clientConfig,
  loadPostgres,
  type PostgresSession,
  type PostgresStatement,
  type PostgresValue,
  sqlState,
} from './postgres-library.js';
import type { PostgresTarget } from './postgres-url.js';
import { GOODBYE_MS, within } from './within.js';

export interface PostgresLineOptions {
  readonly target: PostgresTarget;
  /** What `pg_stat_activity` shows. */
  readonly name: string;
  /** Ends the try. */
  readonly signal: AbortSignal;
  readonly onNotification?: (payload: string) => void;
}

/** Said by us when a server has not answered in time; what it was asked may still be done. */
class LateError extends Error {}

export class PostgresLine implements PostgresSession {
  /** Resolves when the connection is over, however it ended. */
  readonly ended: Promise<void>;
  /** Monotonic milliseconds at which it was made. */
  readonly sinceMs = performance.now();
  readonly #client: Client;
  /** Why it ended, as far as is known. */
  #lastError: Error | null = null;
  #isDead = false;

  private constructor(client: Client) {
    this.#client = client;
    this.ended = new Promise((resolve) => {
      client.once('end', () => {
        this.#isDead = true;
        resolve();
      });
    });
    client.on('error', (error: Error) => {
      this.#lastError ??= error;
      this.#isDead = true;
    });
  }

  /** @throws what the library or the server says, `E_DRIVER_MISSING`, or the signal's reason */
  static async open({ target, name, signal, onNotification }: PostgresLineOptions): Promise<PostgresLine> {
    const { Client: Made } = await loadPostgres();
    signal.throwIfAborted();
    const client = new Made(clientConfig(target, name));
    const line = new PostgresLine(client);
    if (onNotification) client.on('notification', ({ payload }) => onNotification(payload ?? ''));
    const connecting = client.connect();
    connecting.catch(() => {});
    try {
      await inTime(connecting, {
        timeoutMs: 2 * CONNECT_TIMEOUT_MS,
        signal,
        onLate: () => new LateError(`no greeting within ${2 * CONNECT_TIMEOUT_MS} ms`),
        onAbort: (reason) => reason as Error,
      });
    } catch (error) {
      line.destroy();
      throw error;
    }
    return line;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  get lastError(): Error {
    return this.#lastError ?? new Error('the server closed the connection');
  }

  /** One statement. If it is not answered in time, the connection is dropped: it would be busy for ever. */
  async run<Row>(
    statement: string | PostgresStatement,
    values: readonly PostgresValue[] = [],
    timeoutMs: number = CONNECT_TIMEOUT_MS,
  ): Promise<readonly Row[]> {
    const query = typeof statement === 'string' ? { text: statement } : statement;
    const asked: Promise<QueryResult> = this.#client.query({ ...query, values: [...values] });
    try {
      const { rows } = await inTime(asked, {
        timeoutMs,
        onLate: () => new LateError(`no answer within ${Math.round(timeoutMs)} ms`),
        onAbort: (reason) => reason as Error,
      });
      return rows as Row[];
    } catch (error) {
      // at once, not at the library's event: whoever tries again must not get this one
      if (sqlState(error) === undefined) this.destroy();
      throw this.#lastError !== null && sqlState(error) === undefined && !(error instanceof LateError) ? this.#lastError : error;
    }
  }

  /** Ends it now; what was asked rejects. */
  destroy(): void {
    this.#isDead = true;
    (this.#client.connection.stream as { destroy(): void }).destroy();
  }

  /** Ends it in good order, within a moment. */
  async end(): Promise<void> {
    if (!this.#isDead) {
      this.#isDead = true;
      await within(this.#client.end(), GOODBYE_MS);
    }
    this.destroy();
  }
}
