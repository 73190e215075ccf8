/**
 * The one connection that listens to a channel of PostgreSQL, made again until it is put to rest. After each connection
 * `onReady` tells that something may have been missed.
 */
import { reconnectDelayMs } from '../core/backoff.js';
import { sleep } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { explainPostgres } from './postgres-library.js';
import { PostgresLine } from './postgres-line.js';
import type { PostgresTarget } from './postgres-url.js';

export interface PostgresListenerOptions {
  readonly target: PostgresTarget;
  readonly logger: Logger;
  /** What `pg_stat_activity` shows. */
  readonly name: string;
  /** At most 63 bytes. */
  readonly channel: string;
  /** Before and after it listens; what it throws ends the connection. */
  readonly setup: (line: PostgresLine) => Promise<void>;
  readonly onReady: () => void;
  /** It was ready and is so no more, and not because it was put to rest. */
  readonly onLost?: (cause: Error) => void;
  readonly onPayload: (payload: string) => void;
  /** Asked in this rhythm; without an answer the connection is dropped. */
  readonly beat: (line: PostgresLine) => Promise<void>;
  readonly beatMs: number;
  /** Just before it is put to rest. */
  readonly farewell: (line: PostgresLine) => Promise<void>;
  /** A try to connect failed; it is repeated. */
  readonly onFailed: (error: Error) => void;
}

const LONGEST_WAIT_MS = 1_000;
const STABLE_MS = 1_000;

export class PostgresListener {
  readonly #options: PostgresListenerOptions;
  #stop: AbortController | null = null;
  #running: Promise<void> = Promise.resolve();
  #line: PostgresLine | null = null;

  constructor(options: PostgresListenerOptions) {
    this.#options = options;
  }

  get isReady(): boolean {
    return this.#line !== null;
  }

  /** Starts listening if it does not yet. */
  open(): void {
    if (this.#stop) return;
    const stop = new AbortController();
    this.#stop = stop;
    this.#running = this.#running.then(() => this.#run(stop.signal));
  }

  /** Ends the connection; it may be opened again. */
  async rest(): Promise<void> {
    const line = this.#line;
    this.#stop?.abort(new Error('nobody listens any more'));
    this.#stop = null;
    this.#line = null;
    if (line && !line.isDead) await this.#options.farewell(line).catch(() => {});
    await line?.end();
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; failures += 1) {
      if (failures > 0) await sleep(reconnectDelayMs(failures - 1, Math.random(), LONGEST_WAIT_MS), signal).catch(() => {});
      if (signal.aborted) return;
      let line: PostgresLine | undefined;
      try {
        const { target, name, onPayload } = this.#options;
        line = await PostgresLine.open({ target, name, signal, onNotification: onPayload });
        await this.#listen(line, signal);
        if (performance.now() - line.sinceMs > STABLE_MS) failures = 0;
      } catch (error) {
        if (signal.aborted) continue;
        const told = explainPostgres(error, this.#options.target);
        this.#options.logger.debug({ server: this.#options.target.label, cause: told.message }, 'postgresql: listening failed');
        this.#options.onFailed(told);
      } finally {
        if (this.#line === line) this.#line = null;
        // whoever puts it to rest ends it, after a farewell
        if (!signal.aborted || line?.isDead) line?.destroy();
      }
    }
  }

  /** Resolves when the connection is over. */
  async #listen(line: PostgresLine, signal: AbortSignal): Promise<void> {
    const { channel, setup, beat, beatMs, onReady } = this.#options;
    // whoever puts it to rest meanwhile does not wait for the set-up; one that is ready gets a farewell
    const onRest = (): void => {
      if (this.#line !== line) line.destroy();
    };
    signal.addEventListener('abort', onRest, { once: true });
    try {
      await line.run(`LISTEN "${channel}"`);
      await setup(line);
    } finally {
      signal.removeEventListener('abort', onRest);
    }
    if (signal.aborted) return line.destroy();
    this.#line = line;
    onReady();
    const timer = setInterval(() => beat(line).catch(() => line.destroy()), beatMs).unref();
    await line.ended;
    clearInterval(timer);
    if (!signal.aborted) this.#options.onLost?.(line.lastError);
  }
}
