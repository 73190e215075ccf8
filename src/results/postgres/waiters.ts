/**
 * Waiting for results in PostgreSQL without polling: one listening connection for all waits of a store, made when somebody waits.
 * Notifications name results by hashes; those that are waited for are looked up, many in one statement.
 *
 * No result is missed: the connection listens, says in the table `listeners` that it does, lets the writers end that did not see it
 * yet (the barrier), and only then looks. After every new connection it does so again, and a re-check now and then is the back-stop.
 */
import { randomUUID } from 'node:crypto';
import type { PostgresLine } from '../../clients/postgres-line.js';
import { PostgresListener } from '../../clients/postgres-listener.js';
import { migrate } from '../../clients/postgres-schema.js';
import type { PostgresTarget } from '../../clients/postgres-url.js';
import { reconnectDelayMs } from '../../core/backoff.js';
import { BrokerError, codeOf, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { FINAL_STATES } from '../result-store.js';
import { barrierOf, channelOf } from './result-functions.js';
import { RESULT_TABLES } from './schema.js';
import type { Statements } from './statements.js';
import { HASH_LENGTH, hashOf } from './texts.js';

interface Waiter {
  readonly key: string;
  /** What it was told last: a look may find the same again. */
  lastMeta: string | null;
  onMeta(meta: string, isFinal: boolean): void;
  onError(error: Error): void;
}

export interface ResultWaitersOptions {
  readonly target: PostgresTarget;
  readonly logger: Logger;
  readonly statements: Statements;
  /** What is stored under these keys. */
  readonly look: (
    keys: readonly string[],
  ) => Promise<readonly { readonly id: string; readonly state: string; readonly meta: string }[]>;
}

/** Proves that the connection lives and that somebody listens; and is the re-check. */
const BEAT_MS = 30_000;
/** How long writers believe that somebody listens who does not say so any more. */
const LISTENER_TTL_MS = 120_000;
/** How long it is listened on when nobody waits: connections are dear, and so is making one for each wait. */
const LINGER_MS = 30_000;
/** Keys in one look. */
const PAGE = 500;
/** Writers in flight may hold the barrier up. */
const BARRIER_MS = 15_000;

export class ResultWaiters {
  readonly #options: ResultWaitersOptions;
  readonly #listener: PostgresListener;
  readonly #id = randomUUID();
  /** Who waits, by the hash of the key. */
  readonly #waiters = new Map<string, Set<Waiter>>();
  /** Hashes to look up; those of `#waiters` at most. */
  readonly #stirred = new Set<string>();
  #isLooking = false;
  #failures = 0;
  #retry: NodeJS.Timeout | null = null;
  #linger: NodeJS.Timeout | null = null;
  #resting: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: ResultWaitersOptions) {
    this.#options = options;
    const { target, logger } = options;
    this.#listener = new PostgresListener({
      ...{ target, logger, name: 'lovage:results:listening', channel: channelOf(target.schema) },
      setup: async (line) => {
        await migrate(line, target, RESULT_TABLES);
        await this.#register(line);
      },
      onReady: () => this.#stirAll(),
      onPayload: (payload) => this.#heard(payload),
      beat: async (line) => {
        await this.#register(line);
        this.#stirAll();
      },
      beatMs: BEAT_MS,
      farewell: async (line) => void (await line.run(options.statements.unregister, [this.#id])),
      onFailed: (error) => this.#onFailed(error),
    });
  }

  /** How many waits there are. */
  get size(): number {
    let count = 0;
    for (const waiters of this.#waiters.values()) count += waiters.size;
    return count;
  }

  /** Resolves with the final meta under `key`; rejects with the signal's reason, `E_CLOSED`, or what will not mend by itself. */
  wait(key: string, signal: AbortSignal, onUpdate?: (meta: string) => void): Promise<string> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const leave = (): void => {
        signal.removeEventListener('abort', onAbort);
        this.#remove(waiter);
      };
      const onAbort = (): void => {
        leave();
        reject(signal.reason);
      };
      const waiter: Waiter = {
        key,
        lastMeta: null,
        onMeta(meta, isFinal) {
          if (!isFinal) return onUpdate?.(meta);
          leave();
          resolve(meta);
        },
        onError(error) {
          leave();
          reject(error);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#add(waiter);
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#rejectAll(new BrokerError('E_CLOSED', 'the result store was closed while a result was waited for'));
    if (this.#retry) clearTimeout(this.#retry);
    if (this.#linger) clearTimeout(this.#linger);
    await this.#resting;
    await this.#listener.rest();
  }

  #add(waiter: Waiter): void {
    const hash = hashOf(waiter.key);
    const waiters = this.#waiters.get(hash);
    if (waiters) waiters.add(waiter);
    else this.#waiters.set(hash, new Set([waiter]));
    if (this.#linger) clearTimeout(this.#linger);
    this.#linger = null;
    this.#stirred.add(hash);
    this.#listener.open();
    if (this.#listener.isReady) this.#plan();
  }

  #remove(waiter: Waiter): void {
    const hash = hashOf(waiter.key);
    const waiters = this.#waiters.get(hash);
    if (!waiters?.delete(waiter) || waiters.size > 0) return;
    this.#waiters.delete(hash);
    this.#stirred.delete(hash);
    if (this.#waiters.size > 0 || this.#isClosed) return;
    this.#linger = setTimeout(() => {
      this.#linger = null;
      this.#resting = this.#listener.rest();
    }, LINGER_MS).unref();
  }

  /** Tells writers that somebody listens. If none knew, those on their way are waited for. */
  async #register(line: PostgresLine): Promise<void> {
    const { statements, target } = this.#options;
    const [row] = await line.run<{ readonly fresh: boolean }>(statements.register, [this.#id, LISTENER_TTL_MS]);
    if (row?.fresh) await line.run(`SELECT pg_advisory_xact_lock(${barrierOf(target.schema)})`, [], BARRIER_MS);
  }

  #heard(payload: string): void {
    for (let at = 0; at + HASH_LENGTH <= payload.length; at += HASH_LENGTH) {
      const hash = payload.slice(at, at + HASH_LENGTH);
      if (this.#waiters.has(hash)) this.#stirred.add(hash);
    }
    if (this.#listener.isReady) this.#plan();
  }

  #stirAll(): void {
    for (const hash of this.#waiters.keys()) this.#stirred.add(hash);
    this.#plan();
  }

  /** One look for all that is heard and added in a turn, and one at a time. */
  #plan(): void {
    if (this.#isLooking || this.#retry || this.#stirred.size === 0) return;
    this.#isLooking = true;
    setImmediate(() => void this.#look());
  }

  async #look(): Promise<void> {
    try {
      while (this.#stirred.size > 0 && !this.#isClosed) {
        const page = [...this.#stirred].slice(0, PAGE);
        for (const hash of page) this.#stirred.delete(hash);
        const keys = page.flatMap((hash) => [...(this.#waiters.get(hash) ?? [])].map(({ key }) => key));
        if (keys.length > 0) await this.#lookAt(page, [...new Set(keys)]);
      }
      this.#failures = 0;
    } catch (error) {
      if (this.#isClosed) return;
      this.#failures += 1;
      this.#onFailed(toError(error));
      this.#retry = setTimeout(
        () => {
          this.#retry = null;
          this.#plan();
        },
        reconnectDelayMs(this.#failures - 1, Math.random(), 1_000),
      );
    } finally {
      this.#isLooking = false;
    }
  }

  async #lookAt(hashes: readonly string[], keys: readonly string[]): Promise<void> {
    try {
      for (const { id, state, meta } of await this.#options.look(keys)) this.#tell(id, state, meta);
    } catch (error) {
      for (const hash of hashes) if (this.#waiters.has(hash)) this.#stirred.add(hash);
      throw error;
    }
  }

  #tell(key: string, state: string, meta: string): void {
    const isFinal = FINAL_STATES.has(state);
    // a copy: whoever hears a final state leaves the set
    for (const waiter of [...(this.#waiters.get(hashOf(key)) ?? [])]) {
      if (waiter.key !== key || waiter.lastMeta === meta) continue;
      waiter.lastMeta = meta;
      waiter.onMeta(meta, isFinal);
    }
  }

  /** An outage is waited out; a refusal is told at once, because nobody may be there to mend it. */
  #onFailed(error: Error): void {
    const code = codeOf(error);
    if (code === 'E_BROKER_UNREACHABLE' || code === 'E_CONNECTION_LOST' || code === 'E_BROKER_FULL') return;
    this.#rejectAll(error);
  }

  #rejectAll(error: Error): void {
    for (const waiters of [...this.#waiters.values()]) for (const waiter of [...waiters]) waiter.onError(error);
  }
}
