/**
 * The memory result store: `memory:` (one for the process) and `memory:NAME`, shared by everybody in this process who
 * opens the same name and forgotten when the last of them closes. For tests, and the reference for other stores.
 */
import { ProcessShared, type SharedUse } from '../../clients/process-shared.js';
import { BrokerError, ConfigError } from '../../core/errors.js';
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
import type { StepStore } from '../steps.js';
import { MemoryResultsSpace, type MemoryResultsSpaceOptions, type Waiter } from './space.js';

export type { MemoryResultsSpaceOptions } from './space.js';

const SPACES = new ProcessShared<MemoryResultsSpace>();

/** Opens the memory result store of this URL. @throws ConfigError `E_CONFIG_URL` */
export async function openMemoryResults(options: ResultStoreOptions): Promise<ResultStore> {
  return new MemoryResults(SPACES.use(spaceName(options.url), () => new MemoryResultsSpace()));
}

/** A hold on the results behind a memory URL: gives them a clock and a limit, and lets tests look. */
export interface MemoryResultsHandle {
  /** How many waits are registered. */
  waits(): number;
  /** How many ids are kept. */
  size(): number;
  release(): void;
}

/**
 * Holds the results of a memory URL open. With `options` it must be the first user of the name.
 * @throws ConfigError `E_CONFIG_URL`, `E_CONFIG_CONFLICT`
 */
export function holdMemoryResults(url: string, options?: MemoryResultsSpaceOptions): MemoryResultsHandle {
  const name = spaceName(url);
  if (options && SPACES.peek(name)) {
    throw new ConfigError(
      'E_CONFIG_CONFLICT',
      `memory result store '${name}' is open already: give it its clock and limit before anything opens it`,
    );
  }
  const { value: space, release } = SPACES.use(name, () => new MemoryResultsSpace(options));
  return { waits: () => space.waits, size: () => space.size, release };
}

/** How many memory result stores this process has by name; for tests of leaks. */
export function openMemoryResultSpaces(): number {
  return SPACES.size;
}

function spaceName(url: string): string {
  const match = /^memory:(?:\/\/)?([A-Za-z0-9_.-]*)$/i.exec(url);
  if (!match) {
    throw new ConfigError(
      'E_CONFIG_URL',
      `${JSON.stringify(url)} is no memory URL: write memory: or memory:NAME with letters, digits, '.', '_' and '-'`,
    );
  }
  return match[1] ?? '';
}

class MemoryResults implements ResultStore {
  readonly name = 'memory';
  readonly capabilities: ResultStoreCapabilities = {
    readableByAnyone: true,
    fence: true,
    sendKeys: 'the memory store lives in one process, and others send to the same queues: use results: redis:// or file:PATH',
    chords: true,
    steps: true,
  };
  readonly chords: ChordStore;
  readonly steps: StepStore;
  readonly #use: SharedUse<MemoryResultsSpace>;
  readonly #space: MemoryResultsSpace;
  #closed = false;

  constructor(use: SharedUse<MemoryResultsSpace>) {
    this.#use = use;
    this.#space = use.value;
    const { chords, steps } = this.#space;
    this.chords = {
      open: async (opened) => opened.forEach((chord) => chords.open(chord)),
      report: async (parts) => parts.map((part) => chords.report(part)),
      close: async (groupIds) => groupIds.forEach((groupId) => chords.close(groupId)),
      hasten: async (groupIds, nowMs) => groupIds.forEach((groupId) => chords.hasten(groupId, nowMs)),
      add: async (groupId, taskId, ttlMs) => chords.add(groupId, taskId, ttlMs),
      state: async (groupId) => chords.state(groupId),
      overdue: async (nowMs, most) => chords.overdue(nowMs, most),
    };
    this.steps = {
      get: async (taskId, step) => steps.get(taskId, step),
      put: async (write) => steps.put(write),
      forget: async (taskIds) => taskIds.forEach((taskId) => steps.forget(taskId)),
    };
  }

  async connect(): Promise<void> {
    this.#assertOpen();
  }

  async set(writes: readonly ResultWrite[]): Promise<readonly WriteResult[]> {
    this.#assertOpen();
    return writes.map((write) => this.#space.write(write));
  }

  async get(ids: readonly string[]): Promise<readonly (string | null)[]> {
    this.#assertOpen();
    return ids.map((id) => this.#space.read(id));
  }

  async claim(id: string, options: { readonly ttlMs: number }): Promise<Claim> {
    this.#assertOpen();
    return this.#space.claim(id, options.ttlMs);
  }

  async prepare(): Promise<null> {
    this.#assertOpen();
    return null;
  }

  async wait(id: string, options: WaitOptions, onUpdate?: (meta: string) => void): Promise<string> {
    this.#assertOpen();
    const { signal } = options;
    signal.throwIfAborted();
    return new Promise<string>((resolve, reject) => {
      const leave = (): void => {
        removeWaiter();
        signal.removeEventListener('abort', onAbort);
      };
      const onAbort = (): void => {
        leave();
        reject(signal.reason);
      };
      const waiter: Waiter = {
        owner: this,
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
      const removeWaiter = this.#space.wait(id, waiter);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#space.tellPresent(id, waiter);
    });
  }

  async forget(ids: readonly string[]): Promise<void> {
    this.#assertOpen();
    for (const id of ids) this.#space.forget(id);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#space.rejectWaits(
      this,
      new BrokerError('E_CLOSED', 'the memory result store was closed while a result was waited for'),
    );
    this.#use.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #assertOpen(): void {
    if (this.#closed) throw new BrokerError('E_CLOSED', 'the memory result store was used after close()');
  }
}
