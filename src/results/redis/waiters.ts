/**
 * Waiting for results without polling: one listening connection for all waits of a process. A wait subscribes to the
 * result's channel and then looks once, so a result that came before or meanwhile is not missed; after a reconnect it
 * subscribes and looks again.
 */
import { RedisConnection, RedisLinkError } from '../../clients/redis.js';
import type { RedisTarget } from '../../clients/redis-url.js';
import { BrokerError, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { FINAL_STATES } from '../result-store.js';

interface Waiter {
  onMeta(meta: string, isFinal: boolean): void;
  onError(error: Error): void;
}

/** Names in one SUBSCRIBE, UNSUBSCRIBE or MGET. */
const PAGE = 500;
/** Proves now and then that the listening connection lives; only while somebody waits. */
const PING_MS = 30_000;

/** The state in a meta; metas of ours and of Celery begin with it. */
export function stateOf(meta: string): string {
  const quick = /^\{"status": ?"([A-Z_]+)"/.exec(meta)?.[1];
  if (quick !== undefined) return quick;
  try {
    const parsed: unknown = JSON.parse(meta);
    const status = typeof parsed === 'object' && parsed !== null ? (parsed as { readonly status?: unknown }).status : undefined;
    return typeof status === 'string' ? status : '';
  } catch {
    return '';
  }
}

export class ResultWaiters {
  readonly #commands: RedisConnection;
  readonly #listening: RedisConnection;
  readonly #waiters = new Map<string, Set<Waiter>>();
  readonly #toSubscribe = new Set<string>();
  readonly #toLeave = new Set<string>();
  #flushPlanned = false;
  #isClosed = false;
  #ping: NodeJS.Timeout | undefined;

  /** @param commands answers the look that follows a subscription */
  constructor(target: RedisTarget, logger: Logger, commands: RedisConnection) {
    this.#commands = commands;
    this.#listening = new RedisConnection({
      target,
      logger,
      name: 'lovage:results-listening',
      setup: async (link) => {
        const channels = [...this.#waiters.keys()];
        this.#toSubscribe.clear();
        this.#toLeave.clear();
        for (const page of pages(channels)) await link.call('subscribe', page);
      },
      onReady: () => {
        for (const page of pages([...this.#waiters.keys()])) void this.#look(page);
        this.#planFlush();
      },
      onMessage: (channel, payload) => this.#tell(channel, String(payload)),
    });
  }

  /** How many results are waited for. */
  get size(): number {
    return this.#waiters.size;
  }

  /** Resolves with the final meta under `key`; rejects with the signal's reason or `E_CLOSED`. */
  wait(key: string, signal: AbortSignal, onUpdate?: (meta: string) => void): Promise<string> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const leave = (): void => {
        signal.removeEventListener('abort', onAbort);
        this.#remove(key, waiter);
      };
      const onAbort = (): void => {
        leave();
        reject(signal.reason);
      };
      const waiter: Waiter = {
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
      this.#add(key, waiter);
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#ping);
    const error = new BrokerError('E_CLOSED', 'the result store was closed while a result was waited for');
    for (const waiters of [...this.#waiters.values()]) for (const waiter of [...waiters]) waiter.onError(error);
    await this.#listening.close();
  }

  #add(key: string, waiter: Waiter): void {
    let waiters = this.#waiters.get(key);
    if (!waiters) {
      waiters = new Set();
      this.#waiters.set(key, waiters);
    }
    waiters.add(waiter);
    // subscribing again when it is subscribed already costs little, and its look serves the newcomer too
    this.#toSubscribe.add(key);
    this.#toLeave.delete(key);
    this.#listening.open();
    this.#ping ??= setInterval(() => {
      if (this.#listening.isReady) this.#listening.call('ping', []).catch(() => {});
    }, PING_MS).unref();
    this.#planFlush();
  }

  #remove(key: string, waiter: Waiter): void {
    const waiters = this.#waiters.get(key);
    if (!waiters?.delete(waiter) || waiters.size > 0) return;
    this.#waiters.delete(key);
    if (!this.#toSubscribe.delete(key) || this.#listening.isReady) this.#toLeave.add(key);
    if (this.#waiters.size === 0) {
      clearInterval(this.#ping);
      this.#ping = undefined;
    }
    if (!this.#isClosed) this.#planFlush();
  }

  #planFlush(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    process.nextTick(() => {
      this.#flushPlanned = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (!this.#listening.isReady) return;
    const leave = [...this.#toLeave];
    const subscribe = [...this.#toSubscribe];
    this.#toLeave.clear();
    this.#toSubscribe.clear();
    for (const page of pages(leave)) this.#listening.call('unsubscribe', page).catch(() => {});
    // if the connection dies first, the next one's set-up subscribes to everything that is waited for
    for (const page of pages(subscribe))
      this.#listening.call('subscribe', page).then(
        () => this.#look(page),
        () => {},
      );
  }

  /** The one look after subscribing. */
  async #look(keys: readonly string[]): Promise<void> {
    for (;;) {
      const wanted = keys.filter((key) => this.#waiters.has(key));
      if (wanted.length === 0 || this.#isClosed) return;
      try {
        await this.#commands.whenReady(Infinity);
        const metas = (await this.#commands.call('mget', wanted)) as (Buffer | null)[];
        metas.forEach((meta, index) => meta && this.#tell(wanted[index] as string, meta.toString()));
        return;
      } catch (error) {
        if (error instanceof RedisLinkError) continue;
        for (const key of wanted) for (const waiter of [...(this.#waiters.get(key) ?? [])]) waiter.onError(toError(error));
        return;
      }
    }
  }

  #tell(key: string, meta: string): void {
    const waiters = this.#waiters.get(key);
    if (!waiters) return;
    const isFinal = FINAL_STATES.has(stateOf(meta));
    // a copy: whoever hears a final state leaves the set
    for (const waiter of [...waiters]) waiter.onMeta(meta, isFinal);
  }
}

function* pages(names: readonly string[]): Generator<string[]> {
  for (let from = 0; from < names.length; from += PAGE) yield names.slice(from, from + PAGE);
}
