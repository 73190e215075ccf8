/**
 * The pauses that hold for this worker: read from the broker at the start, after each reconnect, whenever a broadcast says
 * that they changed (`pauses_changed`), and now and then in case one was missed. A paused queue is not consumed; messages of
 * a paused task wait in the delay store, which counts nothing against them. Who consumes is told of queues.
 *
 * Bounded: the broker remembers a thousand pauses.
 */
import type { Broker } from '../../../brokers/broker.js';
import type { Pause } from '../../../brokers/pauses.js';
import type { Clock } from '../../../core/clock.js';
import { codeOf, toError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';

/** A broadcast is not durable. An idle worker may ask its broker ten things a minute; this is a fifth of one. */
const READ_AGAIN_MS = 300_000;
/** What is read at the start must not keep a worker from starting. */
const FIRST_MS = 5_000;
/**
 * A message of a paused task comes back after so long, a tenth of the pause at least, with jitter: each coming costs what a task
 * costs, and a million of them must not keep the workers busy. So a task that is resumed goes on within that time.
 */
const SOONEST_MS = 15_000;
const LATEST_MS = 60_000;

export interface PauseWatchOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class PauseWatch {
  readonly #options: PauseWatchOptions;
  /** Who consumes; told when other queues than before are paused. */
  onQueues: (paused: ReadonlySet<string>) => void = () => {};
  #queues: ReadonlySet<string> = new Set();
  /** Since when; wall milliseconds. */
  #tasks: ReadonlyMap<string, number> = new Map();
  #reading: Promise<void> | null = null;
  /** Something changed while it was being read. */
  #again = false;
  #disarm: (() => void) | null = null;
  #closed = false;

  constructor(options: PauseWatchOptions) {
    this.#options = options;
  }

  get queues(): ReadonlySet<string> {
    return this.#queues;
  }

  get tasks(): readonly string[] {
    return [...this.#tasks.keys()];
  }

  /** When a message of this task may be looked at again; `null` = the task is not paused. */
  waitUntilMs(task: string, nowMs: number, random: number): number | null {
    const sinceMs = this.#tasks.size === 0 ? undefined : this.#tasks.get(task);
    if (sinceMs === undefined) return null;
    const waitMs = Math.min(LATEST_MS, Math.max(SOONEST_MS, (nowMs - sinceMs) / 10));
    return nowMs + Math.round(waitMs * (0.5 + random / 2));
  }

  /** Reads them for the first time. A broker that does not answer in time is asked again in the background. */
  async start(): Promise<void> {
    this.#arm();
    let disarm: (() => void) | undefined;
    const late = new Promise<void>((resolve) => (disarm = this.#options.clock.after(FIRST_MS, resolve)));
    await Promise.race([this.refresh(), late]);
    disarm?.();
  }

  /** Reads them again. Resolves when what is in the broker now holds here; never rejects. */
  refresh(): Promise<void> {
    if (this.#reading) this.#again = true;
    this.#reading ??= this.#read().finally(() => (this.#reading = null));
    return this.#reading;
  }

  close(): void {
    this.#closed = true;
    this.#disarm?.();
  }

  #arm(): void {
    this.#disarm = this.#options.clock.after(READ_AGAIN_MS, () => {
      if (this.#closed) return;
      void this.refresh();
      this.#arm();
    });
  }

  async #read(): Promise<void> {
    do {
      this.#again = false;
      try {
        const pauses = await this.#options.broker.pauses.list();
        if (!this.#closed) this.#take(pauses);
      } catch (error) {
        if (this.#closed || codeOf(error) === 'E_CLOSED') return;
        this.#options.logger.warn(
          { error: toError(error).message },
          'cannot read what is paused: what was paused before stays so, and it is read again later',
        );
      }
    } while (this.#again);
  }

  #take(pauses: readonly Pause[]): void {
    const queues = new Set(pauses.filter(({ kind }) => kind === 'queue').map(({ name }) => name));
    const tasks = new Map(pauses.filter(({ kind }) => kind === 'task').map(({ name, sinceMs }) => [name, sinceMs]));
    const changed = [...queues].some((name) => !this.#queues.has(name)) || queues.size !== this.#queues.size;
    const tasksChanged = [...tasks.keys()].some((name) => !this.#tasks.has(name)) || tasks.size !== this.#tasks.size;
    this.#queues = queues;
    this.#tasks = tasks;
    if (changed || tasksChanged)
      this.#options.logger.info({ queues: [...queues].slice(0, 20), tasks: [...tasks.keys()].slice(0, 20) }, 'paused by people');
    if (changed) this.onQueues(queues);
  }
}
