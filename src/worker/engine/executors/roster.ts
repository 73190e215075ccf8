/**
 * The coming and going of executors: all must be ready before the first task; a new one that cannot start is given up; one that
 * has run its number of tasks or has grown too large retires. That one takes nothing new, its running tasks end, it runs its
 * onStop hooks and goes: nothing is lost and no attempt is burnt. Who takes a place, and when, is the pool's business
 * (`pools/crew.ts`), which hears of a retirement when it begins and not only when it is over.
 */
import { formatBytes } from '../../../core/byte-size.js';
import { formatMs } from '../../../core/duration.js';
import type { Logger } from '../../../core/logger.js';
import type { ExecutorHello, FromExecutor, PortError, TaskFacts } from '../../port.js';
import type { Executors } from './executors.js';
import type { ExecutorHost } from './overrun.js';

/** A pool whose executors come and go. */
export interface ExecutorCrew extends ExecutorHost {
  /** It has said `ready`. True: it may take tasks now; false: it waits until the crew opens it. */
  ready(executor: number): boolean;
  /** It takes nothing new; somebody else may. */
  retiring(executor: number): void;
  /** So many are to work from now on; more are started. */
  resize(count: number): void;
  /** It takes nothing new, and nobody shall take its place. */
  leaving(executor: number): void;
  /** It has nothing to do and its hooks have run. */
  dismiss(executor: number): void;
}

/** What a pool with executors of their own gives the engine. */
export interface EngineHost {
  readonly host: ExecutorHost;
  /** A host whose executors come and go. */
  readonly crew?: ExecutorCrew;
  /** An executor cannot be ended; all else was handed back, and the process must end. */
  readonly onStuck: (error: Error) => void;
}

export interface RosterOptions {
  readonly executors: Executors;
  /** Those that there are at the start, numbered from 0. */
  readonly count: number;
  /** `null`: the executors never change. */
  readonly crew: ExecutorCrew | null;
  readonly facts: Map<string, TaskFacts>;
  /** What was changed of a task while the worker ran; holds over what executors say that start later. */
  readonly changes: ReadonlyMap<string, Partial<TaskFacts>>;
  readonly logger: Logger;
  /** An executor was opened, or one is gone. */
  readonly onCount: () => void;
  /** After so many tasks an executor retires; for the log. */
  readonly maxTasks: number | null;
}

/** What is heard here. */
type RosterMessage = Extract<FromExecutor, { type: 'ready' | 'broken' | 'over-memory' | 'stopped' }>;

/** The onStop hooks of a retired executor may take this long; then it is ended by force. Its tasks are long over by then. */
const HOOKS_MS = 30_000;

export class Roster {
  readonly #options: RosterOptions;
  /** One entry a retired executor whose hooks run. */
  readonly #hooks = new Map<number, NodeJS.Timeout>();
  /** Process ids; one entry an executor that has said `ready` and lives. */
  readonly #pids = new Map<number, number>();
  #readyCount = 0;
  #opened = false;
  #ready!: (hello: ExecutorHello) => void;
  #broken!: (error: PortError) => void;
  /** Resolves once all of the start are ready; rejects if one says that it cannot start. */
  readonly ready = new Promise<ExecutorHello>((resolve, reject) => {
    this.#ready = resolve;
    this.#broken = reject;
  });

  constructor(options: RosterOptions) {
    this.#options = options;
    // Whoever starts the engine hears of it; an engine that is never started must not end the process.
    this.ready.catch(() => {});
  }

  /** The worker takes tasks from now on. */
  open(): void {
    this.#opened = true;
    for (let executor = 0; executor < this.#options.count; executor++) this.#options.executors.open(executor);
  }

  hear(executor: number, message: RosterMessage): void {
    switch (message.type) {
      case 'ready':
        this.#onReady(executor, message.hello);
        return;
      case 'broken':
        this.#onBroken(executor, message.error);
        return;
      case 'over-memory':
        this.#retire(
          executor,
          { rss: formatBytes(message.rssBytes) },
          'an executor has grown beyond its memory limit and is replaced',
        );
        return;
      case 'stopped':
        this.#options.executors.stopped(executor);
        this.#over(executor);
        return;
    }
  }

  /** It was given as many tasks as it may run. */
  spent(executor: number): void {
    this.#retire(executor, { tasks: this.#options.maxTasks }, 'an executor has run its number of tasks and is replaced');
  }

  /** It retires, and what it had has ended. */
  empty(executor: number): void {
    const { crew, executors, logger } = this.#options;
    executors.post(executor, { type: 'stop' });
    const timer = setTimeout(() => {
      logger.error({ executor }, `the onStop hooks of a retired executor took more than ${formatMs(HOOKS_MS)}: it is ended`);
      void crew?.end(executor);
    }, HOOKS_MS);
    timer.unref();
    this.#hooks.set(executor, timer);
  }

  /** Its thread or process has ended. */
  gone(executor: number): void {
    clearTimeout(this.#hooks.get(executor));
    this.#hooks.delete(executor);
    this.#pids.delete(executor);
    this.#options.executors.detach(executor);
    this.#options.onCount();
  }

  /** The executors of this pool never change. */
  get isFixed(): boolean {
    return this.#options.crew === null;
  }

  /** The process in which an executor runs. */
  pidOf(executor: number): number | null {
    return this.#pids.get(executor) ?? null;
  }

  /** All of them, each once. */
  get pids(): number[] {
    return [...new Set(this.#pids.values())];
  }

  /** So many are to work; not in a pool that is fixed. */
  resize(count: number): void {
    const { crew, executors, logger } = this.#options;
    if (crew === null) return;
    const before = executors.count;
    logger.info({ executors: count, before }, 'the number of executors changes');
    executors.resize(count, executors.slotsEach);
    crew.resize(count);
    const tooMany = Math.max(0, executors.idlest().length - count);
    for (const executor of executors.idlest().slice(0, tooMany)) {
      crew.leaving(executor);
      executors.retire(executor);
    }
  }

  /** The worker has stopped. */
  close(): void {
    for (const timer of this.#hooks.values()) clearTimeout(timer);
    this.#hooks.clear();
  }

  #onReady(executor: number, hello: ExecutorHello): void {
    const { crew, executors, facts, changes, count, onCount } = this.#options;
    for (const task of hello.tasks) facts.set(task.name, { ...task, ...changes.get(task.name) });
    this.#pids.set(executor, hello.pid);
    this.#readyCount += 1;
    const mayWork = crew?.ready(executor) ?? true;
    if (this.#opened && mayWork) {
      executors.open(executor);
      onCount();
    } else if (this.#readyCount === count) this.#ready(hello);
  }

  #onBroken(executor: number, error: PortError): void {
    this.#broken(error);
    // A stop does not wait for it.
    this.#options.executors.stopped(executor);
    if (!this.#opened) return;
    this.#options.logger.error({ executor, code: error.code, error: error.message }, 'a new executor could not start');
    void this.#options.crew?.end(executor);
  }

  #retire(executor: number, why: object, message: string): void {
    if (!this.#options.executors.retire(executor)) return;
    this.#options.logger.info({ executor, ...why }, message);
    this.#options.crew?.retiring(executor);
  }

  #over(executor: number): void {
    if (!this.#hooks.has(executor)) return;
    this.gone(executor);
    this.#options.crew?.dismiss(executor);
  }
}
