/**
 * The file result store: results in the same SQLite file as the broker's queues (or another one). Owns the seam
 * (`result-store.ts`); rules and statements are in `operations.ts`, waiting in `waiters.ts`, the file in
 * `clients/sqlite/`.
 */
import { FileSession } from '../../clients/sqlite/session.js';
import { sqliteTimedSet } from '../../clients/sqlite/timed-set.js';
import { BrokerError } from '../../core/errors.js';
import type { SendKeySwap } from '../../core/send-keys.js';
import { MOST_REVOCATIONS, type TimedSet } from '../../core/timed-set.js';
import type { ChordState, ChordStore, ChordVerdict, PartEnd } from '../chords.js';
import type {
  Claim,
  ResultStore,
  ResultStoreCapabilities,
  ResultStoreOptions,
  ResultWrite,
  WaitOptions,
  WriteResult,
} from '../result-store.js';
import type { StepStore } from '../steps.js';
import { resultsOperations } from './operations.js';
import { type Waiter, Waiters } from './waiters.js';

/** A call to the database carries so many results. */
const CHUNK = 1_000;

/** Opens the file result store of this URL; the file itself is opened by `connect` or the first use. @throws ConfigError */
export async function openFileResults(options: ResultStoreOptions): Promise<ResultStore> {
  return new FileResults(options);
}

/** How many waits a store that `openFileResults` made has registered; for tests of leaks. */
export function fileResultWaits(store: ResultStore): number {
  if (!(store instanceof FileResults)) throw new TypeError('fileResultWaits() takes a store that openFileResults() opened');
  return store.waits;
}

class FileResults implements ResultStore {
  readonly name = 'file';
  readonly capabilities: ResultStoreCapabilities = {
    ...{ readableByAnyone: true, fence: true, sendKeys: true, chords: true, steps: true },
  };
  readonly revocations: TimedSet;
  readonly chords: ChordStore;
  readonly steps: StepStore;
  readonly #session: FileSession;
  readonly #waiters: Waiters;
  #closed = false;

  constructor(options: ResultStoreOptions) {
    this.#session = new FileSession(options, resultsOperations);
    this.#waiters = new Waiters(this.#session, options.logger);
    this.chords = {
      open: async (chords) => void (await this.#chords('openChords', chords)),
      report: (parts) => this.#chords<PartEnd, ChordVerdict>('reportParts', parts),
      close: async (groupIds) => void (await this.#chords('closeChords', groupIds)),
      hasten: async (groupIds, nowMs) =>
        void (await this.#chords(
          'hastenChords',
          groupIds.map((groupId) => ({ groupId, nowMs })),
        )),
      add: (groupId, taskId, ttlMs) => this.#session.call('addChordPart', { groupId, taskId, ttlMs }, { mode: 'durable' }),
      state: (groupId) => this.#session.call<ChordState | null>('chordState', groupId, { mode: 'read' }),
      overdue: (nowMs, most) => this.#session.call('overdueChords', { nowMs, most }, { mode: 'read' }),
    };
    this.steps = {
      get: (taskId, name) => this.#session.call<string | null>('getStep', { taskId, name }, { mode: 'read' }),
      put: (write) => this.#session.call('putStep', write, { mode: 'durable' }),
      forget: async (taskIds) => void (await this.#inChunks(taskIds, (chunk) => this.#forgetSteps(chunk))),
    };
    this.revocations = sqliteTimedSet(this.#session, MOST_REVOCATIONS, () => this.#assertOpen());
  }

  /** See `fileResultWaits`. */
  get waits(): number {
    return this.#waiters.size;
  }

  async connect({ timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
    this.#assertOpen();
    await this.#session.open(timeoutMs);
  }

  async set(writes: readonly ResultWrite[]): Promise<readonly WriteResult[]> {
    this.#assertOpen();
    return this.#inChunks(writes, (chunk) =>
      this.#session.call<WriteResult[]>('set', chunk, { mode: 'durable', weight: chunk.length }),
    );
  }

  async get(ids: readonly string[]): Promise<readonly (string | null)[]> {
    this.#assertOpen();
    return this.#inChunks(ids, (chunk) => this.#session.call<(string | null)[]>('get', chunk, { mode: 'read' }));
  }

  async claim(id: string, { ttlMs }: { readonly ttlMs: number }): Promise<Claim> {
    this.#assertOpen();
    return this.#session.call<Claim>('claim', { id, ttlMs }, { mode: 'durable' });
  }

  async prepare(): Promise<null> {
    this.#assertOpen();
    return null;
  }

  async wait(id: string, { signal }: WaitOptions, onUpdate?: (meta: string) => void): Promise<string> {
    this.#assertOpen();
    signal.throwIfAborted();
    return new Promise<string>((resolve, reject) => {
      const leave = (): void => {
        remove();
        signal.removeEventListener('abort', onAbort);
      };
      const onAbort = (): void => {
        leave();
        reject(signal.reason);
      };
      const waiter: Waiter = {
        onFinal(meta) {
          leave();
          resolve(meta);
        },
        onUpdate: (meta) => onUpdate?.(meta),
        onClosed(error) {
          leave();
          reject(error);
        },
      };
      const remove = this.#waiters.add(id, waiter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  async forget(ids: readonly string[]): Promise<void> {
    this.#assertOpen();
    await this.#inChunks(ids, (chunk) =>
      this.#session.call<null>('forget', chunk, { mode: 'relaxed', weight: chunk.length }).then(() => []),
    );
  }

  async swapSendKey(swap: SendKeySwap): Promise<string | null> {
    this.#assertOpen();
    return this.#session.call<string | null>('swapSendKey', swap, { mode: 'durable' });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#waiters.close(new BrokerError('E_CLOSED', 'the file result store was closed while a result was waited for'));
    await this.#session.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #forgetSteps(taskIds: readonly string[]): Promise<readonly never[]> {
    await this.#session.call<null>('forgetSteps', taskIds, { mode: 'relaxed', weight: taskIds.length });
    return [];
  }

  async #chords<Item, Answer>(name: string, items: readonly Item[]): Promise<readonly Answer[]> {
    this.#assertOpen();
    return this.#inChunks(items, (chunk) =>
      this.#session.call<readonly Answer[]>(name, chunk, { mode: 'durable', weight: chunk.length }),
    );
  }

  async #inChunks<Item, Answer>(
    items: readonly Item[],
    call: (chunk: readonly Item[]) => Promise<readonly Answer[]>,
  ): Promise<readonly Answer[]> {
    if (items.length <= CHUNK) return call(items);
    const chunks: Promise<readonly Answer[]>[] = [];
    for (let start = 0; start < items.length; start += CHUNK) chunks.push(call(items.slice(start, start + CHUNK)));
    return (await Promise.all(chunks)).flat();
  }

  #assertOpen(): void {
    if (this.#closed) throw new BrokerError('E_CLOSED', 'the file result store was used after close()');
  }
}
