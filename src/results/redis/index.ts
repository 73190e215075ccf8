/**
 * The Redis result store, in Celery's layout: `celery-task-meta-<id>` holds the meta and is also its channel. One
 * connection for commands; a second one only once somebody waits for a result.
 */
import { RedisConnection, RedisLinkError, redisErrorCode } from '../../clients/redis.js';
import { loadLibrary } from '../../clients/redis-library.js';
import { redisTimedSet } from '../../clients/redis-timed-set.js';
import { parseRedisUrl } from '../../clients/redis-url.js';
import { BrokerError, toError } from '../../core/errors.js';
import type { SendKeySwap } from '../../core/send-keys.js';
import { MOST_REVOCATIONS, type TimedSet } from '../../core/timed-set.js';
import type { ChordStore } from '../chords.js';
import type {
  Claim,
  ResultStore,
  ResultStoreCapabilities,
  ResultStoreOptions,
  ResultWrite,
  WaitOptions,
  WriteResult,
} from '../result-store.js';
import type { SavedResults } from '../saved-results.js';
import type { StepStore } from '../steps.js';
import { RedisChords } from './chords.js';
import { RedisSavedResults } from './saved.js';
import { claim } from './scripts/claim.js';
import { swap } from './scripts/swap.js';
import { type WriteGroup, write } from './scripts/write.js';
import { RedisSteps } from './steps.js';
import { ResultWaiters } from './waiters.js';

/** Results in one script: longer ones would keep other clients waiting. */
const WRITE_PAGE = 500;
/** For reads that people or senders wait for. */
const REACH_MS = 5_000;
const READ_PAGE = 1_000;

/** Opens the Redis result store of this URL; connects at the first use. @throws ConfigError `E_CONFIG_URL` */
export async function openRedisResults(options: ResultStoreOptions): Promise<ResultStore> {
  await loadLibrary();
  return new RedisResults(options);
}

/** Celery's rule for `global_keyprefix` of results: an underscore follows unless the prefix ends in a separator. */
function resultPrefix(prefix: string): string {
  return prefix === '' || /[:_.-]$/.test(prefix) ? prefix : `${prefix}_`;
}

class RedisResults implements ResultStore {
  readonly name = 'redis';
  readonly capabilities: ResultStoreCapabilities = {
    ...{ readableByAnyone: true, fence: true, sendKeys: true, chords: true, steps: true },
  };
  readonly revocations: TimedSet;
  readonly chords: ChordStore;
  readonly steps: StepStore;
  readonly saved: SavedResults;
  readonly #commands: RedisConnection;
  readonly #waiters: ResultWaiters;
  readonly #names: { readonly metas: string; readonly epochs: string; readonly claims: string; readonly sendKeys: string };
  #closing: Promise<void> | null = null;

  constructor(options: ResultStoreOptions) {
    const target = parseRedisUrl(options.url);
    const prefix = resultPrefix(target.prefix);
    this.#names = {
      metas: `${prefix}celery-task-meta-`,
      epochs: `${prefix}lovage:epoch:`,
      claims: `${prefix}lovage:epochs`,
      sendKeys: `${prefix}lovage:dedupe:`,
    };
    this.#commands = new RedisConnection({ target, logger: options.logger, name: 'lovage:results' });
    const untilAnswered = <T>(key: string, step: () => Promise<T>): Promise<T> => {
      this.#assertOpen();
      return this.#untilAnswered(key, step);
    };
    this.chords = new RedisChords(this.#commands, prefix, untilAnswered);
    this.steps = new RedisSteps(this.#commands, prefix, untilAnswered);
    this.saved = new RedisSavedResults(this.#commands, prefix, untilAnswered);
    this.#waiters = new ResultWaiters(target, options.logger, this.#commands);
    this.revocations = redisTimedSet({
      ...{ connection: this.#commands, most: MOST_REVOCATIONS, timeoutMs: REACH_MS, assertOpen: () => this.#assertOpen() },
      keys: { set: `${prefix}lovage:revoked`, version: `${prefix}lovage:revoked:version` },
    });
  }

  async connect(options: { readonly timeoutMs: number }): Promise<void> {
    this.#assertOpen();
    await this.#commands.whenReady(options.timeoutMs);
  }

  async set(writes: readonly ResultWrite[]): Promise<readonly WriteResult[]> {
    this.#assertOpen();
    const results = new Array<WriteResult>(writes.length).fill('stored');
    const work: Promise<void>[] = [];
    for (const { group, positions } of this.#groups(writes)) {
      work.push(
        this.#untilAnswered(group.keys.length === 1 ? (group.keys[0] as string) : `${this.#names.metas}…`, () =>
          write(this.#commands, this.#names, group),
        ).then((answers) => {
          answers?.forEach((answer, index) => (results[positions[index] as number] = answer));
        }),
      );
    }
    await Promise.all(work);
    return results;
  }

  async get(ids: readonly string[]): Promise<readonly (string | null)[]> {
    const metas: (string | null)[] = [];
    for (let from = 0; from < ids.length; from += READ_PAGE) {
      const keys = ids.slice(from, from + READ_PAGE).map((id) => this.#names.metas + id);
      for (const meta of (await this.#ask('mget', keys)) as (Buffer | null)[]) metas.push(meta?.toString() ?? null);
    }
    if (ids.length === 0) this.#assertOpen();
    return metas;
  }

  async claim(id: string, options: { readonly ttlMs: number }): Promise<Claim> {
    this.#assertOpen();
    const keys = { claims: this.#names.claims, meta: this.#names.metas + id, epoch: this.#names.epochs + id };
    // Repeated after a lost answer it skips an epoch, which harms nobody.
    return this.#untilAnswered(`${keys.meta} or ${keys.epoch}`, () => claim(this.#commands, keys, options.ttlMs));
  }

  async prepare(): Promise<null> {
    this.#assertOpen();
    return null;
  }

  async wait(id: string, options: WaitOptions, onUpdate?: (meta: string) => void): Promise<string> {
    this.#assertOpen();
    this.#commands.open();
    return this.#waiters.wait(this.#names.metas + id, options.signal, onUpdate);
  }

  /** Forgets results; claims stay until they expire, because the workers that they fence off may still write. */
  async forget(ids: readonly string[]): Promise<void> {
    for (let from = 0; from < ids.length; from += READ_PAGE) {
      await this.#ask(
        'unlink',
        ids.slice(from, from + READ_PAGE).map((id) => this.#names.metas + id),
      );
    }
    if (ids.length === 0) this.#assertOpen();
  }

  async swapSendKey(change: SendKeySwap): Promise<string | null> {
    return this.#within(() => swap(this.#commands, this.#names.sendKeys + change.key, change));
  }

  close(): Promise<void> {
    this.#closing ??= Promise.all([this.#waiters.close(), this.#commands.close()]).then(() => {});
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Nearly always one group: all of a batch are first deliveries with one time to live. */
  #groups(writes: readonly ResultWrite[]): Iterable<{ readonly group: WriteGroup; readonly positions: readonly number[] }> {
    interface Open {
      group: WriteGroup & { keys: string[]; metas: string[] };
      positions: number[];
    }
    const done: Open[] = [];
    const open = new Map<string, Open>();
    let last: Open | undefined;
    for (let at = 0; at < writes.length; at += 1) {
      const { id, meta, epoch, ttlMs } = writes[at] as ResultWrite;
      if (!last || last.group.epoch !== epoch || last.group.ttlMs !== ttlMs || last.positions.length >= WRITE_PAGE) {
        const name = `${epoch}:${ttlMs}`;
        last = open.get(name);
        if (!last || last.positions.length >= WRITE_PAGE) {
          last = { group: { epoch, ttlMs, keys: [], metas: [] }, positions: [] };
          open.set(name, last);
          done.push(last);
        }
      }
      last.group.keys.push(this.#names.metas + id);
      last.group.metas.push(meta);
      last.positions.push(at);
    }
    return done;
  }

  /** Through outages, until it is answered or the store is closed: every step given here may be repeated. */
  async #untilAnswered<T>(key: string, step: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        await this.#commands.whenReady(Infinity);
        return await step();
      } catch (error) {
        if (!(error instanceof RedisLinkError)) throw explain(error, this.#commands.target.label, key);
      }
    }
  }

  /** A read, or another command that may be repeated; waits a few seconds for a connection. */
  #ask(name: string, args: readonly string[]): Promise<unknown> {
    return this.#within(() => this.#commands.call(name, args));
  }

  async #within<T>(step: () => Promise<T>): Promise<T> {
    this.#assertOpen();
    for (let tries = 0; ; tries += 1) {
      try {
        await this.#commands.whenReady(REACH_MS);
        return await step();
      } catch (error) {
        if (!(error instanceof RedisLinkError) || tries > 0) throw explain(error, this.#commands.target.label);
      }
    }
  }

  #assertOpen(): void {
    if (this.#closing) throw new BrokerError('E_CLOSED', 'the Redis result store was used after close()');
  }
}

/** @param key what the command was about, for people */
function explain(error: unknown, label: string, key = ''): Error {
  const code = redisErrorCode(error);
  if (code === 'WRONGTYPE') {
    return new BrokerError(
      'E_KEY_TYPE',
      `${key} at ${label} holds something else than a result of Celery: somebody else uses that key`,
      {
        cause: error,
      },
    );
  }
  if (code !== 'OOM') return toError(error);
  return new BrokerError('E_BROKER_FULL', `${label} has no memory left for results: raise maxmemory or shorten the result TTL`, {
    cause: error,
  });
}
