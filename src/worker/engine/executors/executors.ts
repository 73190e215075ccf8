/**
 * The executors as the engine sees them: their ports, their free slots, and the runs that wait for a slot. Gives each
 * run to the executor with the most free slots and posts one message an executor for all that came in one turn.
 * Next stop: `worker/executor/execute.ts`, across the port.
 */
import { toError } from '../../../core/errors.js';
import type { EngineEnd, Outcome, RunRequest } from '../../port.js';
import type { ActiveRun } from '../state.js';
import { AlonePlace } from './alone-place.js';
import type { ExecutorSlot, ExecutorsOptions } from './executor-slot.js';

export class Executors {
  readonly #options: ExecutorsOptions;
  /**
   * By number. Numbers are never used twice: what a dead executor still says, and answers to what it asked, reach nobody else.
   * Bounded by what the pool keeps alive: its executors, as many that retire, and a spare.
   */
  readonly #slots = new Map<number, ExecutorSlot>();
  /** Runs beyond the free slots: only while a broker gives more than asked for; bounded by its credit. */
  readonly #waiting: ActiveRun[] = [];
  /** The place of runs that must be alone. */
  readonly alone = new AlonePlace({
    freest: () => this.#freest(),
    isEmpty: (executor) => {
      const slot = this.#slots.get(executor);
      return slot !== undefined && slot.busy === 0 && slot.free > 0;
    },
    give: (executor, run) => this.#give(executor, run),
  });
  #flushing = false;
  /** How many work at a time, when none is missing, and how many runs each; changed by `resize`. */
  count: number;
  slotsEach: number;

  constructor(options: ExecutorsOptions) {
    this.#options = options;
    this.count = options.count;
    this.slotsEach = options.slotsEach;
  }

  get waiting(): number {
    return this.#waiting.length + this.alone.waiting;
  }

  /** The numbers of those that are here. */
  numbers(): Iterable<number> {
    return this.#slots.keys();
  }

  /** Runs at a time, when none is missing. */
  get slots(): number {
    return this.count * this.slotsEach;
  }

  /** So many from now on, with so many slots each. Executors that are too many are for the caller to retire. */
  resize(count: number, slotsEach: number): void {
    this.count = count;
    for (const slot of this.#slots.values()) if (slot.state === 'open') slot.free += slotsEach - this.slotsEach;
    this.slotsEach = slotsEach;
    this.#dispatchWaiting();
  }

  /** How many can run something: they have said `ready` and have not died; without the spare. */
  get alive(): number {
    let alive = 0;
    for (const { state } of this.#slots.values()) if (state === 'open' || state === 'retiring') alive += 1;
    return alive;
  }

  isBusy(executor: number): boolean {
    return (this.#slots.get(executor)?.busy ?? 0) > 0;
  }

  /** Those that take runs, the least busy first. */
  idlest(): number[] {
    const open = [...this.#slots].filter(([, { state }]) => state === 'open');
    return open.sort(([, a], [, b]) => a.busy - b.busy).map(([executor]) => executor);
  }

  /** Whether each has run its onStop hooks. */
  get allStopped(): boolean {
    for (const slot of this.#slots.values()) if (slot.state !== 'stopped') return false;
    return true;
  }

  /** The run whose handler was entered there and has not yielded yet; 0 for none or not known. */
  entered(executor: number): number {
    return this.#slots.get(executor)?.end.entered?.() ?? 0;
  }

  /** Adds an executor, which takes nothing before it is opened. */
  attach(executor: number, end: EngineEnd): void {
    const left = this.#options.runsEach ?? Number.POSITIVE_INFINITY;
    this.#slots.set(executor, { end, state: 'starting', free: 0, busy: 0, left, outbox: [] });
    end.onMessage((message) => this.#options.onMessage(executor, message));
  }

  /** Opens the slots of an executor that said `ready`. */
  open(executor: number): void {
    const slot = this.#slots.get(executor);
    if (slot?.state !== 'starting') return;
    slot.state = 'open';
    slot.free = this.slotsEach;
    this.alone.tryStart();
    this.#dispatchWaiting();
  }

  /** No run goes there any more; `onEmpty` follows once those that it has have ended. False when it is on its way out already. */
  retire(executor: number): boolean {
    const slot = this.#slots.get(executor);
    if (!slot || slot.state === 'retiring' || slot.state === 'stopped') return false;
    slot.state = 'retiring';
    slot.free = 0;
    this.alone.retired(executor);
    if (slot.busy === 0) this.#options.onEmpty(executor);
    return true;
  }

  /** It has run its onStop hooks. */
  stopped(executor: number): void {
    const slot = this.#slots.get(executor);
    if (!slot) return;
    slot.state = 'stopped';
    slot.free = 0;
  }

  /** The executor is gone, or must not be heard any more. */
  detach(executor: number): void {
    if (this.#slots.delete(executor)) this.alone.emptied(executor);
  }

  /** Hands a run over, or lets it wait for a slot. A run alone only after `alone.take()`. */
  dispatch(run: ActiveRun): void {
    if (run.alone) {
      this.alone.dispatch(run);
      return;
    }
    const executor = this.#freest();
    if (executor < 0) {
      this.#waiting.push(run);
      return;
    }
    this.#give(executor, run);
  }

  /** Takes back a run that still waits for a slot; false when it does not. */
  withdraw(run: ActiveRun): boolean {
    if (this.alone.withdraw(run)) {
      this.#dispatchWaiting();
      return true;
    }
    const place = this.#waiting.indexOf(run);
    if (place >= 0) this.#waiting.splice(place, 1);
    return place >= 0;
  }

  /** A run there has ended. */
  release(executor: number): void {
    const slot = this.#slots.get(executor);
    if (!slot) return;
    slot.busy -= 1;
    if (slot.state === 'open') slot.free += 1;
    if (slot.busy === 0) this.alone.emptied(executor);
    else this.alone.freed();
    if (this.#waiting.length > 0) this.#dispatchWaiting();
    if (slot.state === 'retiring' && slot.busy === 0) this.#options.onEmpty(executor);
  }

  post(executor: number, message: Parameters<EngineEnd['post']>[0]): void {
    this.#slots.get(executor)?.end.post(message);
  }

  broadcast(message: Parameters<EngineEnd['post']>[0]): void {
    for (const slot of this.#slots.values()) slot.end.post(message);
  }

  /** Takes back what no executor has seen yet. */
  takeWaiting(): ActiveRun[] {
    return [...this.alone.takeWaiting(), ...this.#waiting.splice(0)];
  }

  closeAll(): void {
    for (const slot of this.#slots.values()) slot.end.close();
  }

  #freest(): number {
    let best = -1;
    let most = 0;
    for (const [executor, { free }] of this.#slots) {
      if (free <= most || executor === this.alone.reserved) continue;
      most = free;
      best = executor;
    }
    return best;
  }

  #give(executor: number, run: ActiveRun): void {
    const slot = this.#slots.get(executor) as ExecutorSlot;
    run.executor = executor;
    this.#options.onGiven(run);
    slot.left -= 1;
    slot.free -= 1;
    slot.busy += 1;
    const { delivery } = run;
    slot.outbox.push({
      run: run.run,
      name: run.headers.task,
      queue: delivery.queue,
      redelivered: delivery.redelivered,
      ...(run.epoch > 0 && { epoch: run.epoch }),
      message: run.message,
      softTimeLimitMs: run.softTimeLimitMs,
      timeLimitMs: run.timeLimitMs,
    });
    if (!this.#flushing) {
      this.#flushing = true;
      queueMicrotask(() => this.#flush());
    }
    if (slot.left === 0) this.#options.onSpent(executor);
  }

  #flush(): void {
    this.#flushing = false;
    for (const [executor, slot] of this.#slots) {
      if (slot.outbox.length === 0) continue;
      const tasks = slot.outbox;
      slot.outbox = [];
      try {
        slot.end.post({ type: 'run', tasks });
      } catch {
        for (const task of tasks) this.#postAlone(executor, task);
      }
    }
  }

  /** After a batch could not be copied to its executor: the message at fault is parked, its neighbours run. */
  #postAlone(executor: number, task: RunRequest): void {
    try {
      this.#slots.get(executor)?.end.post({ type: 'run', tasks: [task] });
    } catch (error) {
      const reason = `the message cannot be handed to an executor: ${toError(error).message}`;
      const outcome: Outcome = { run: task.run, kind: 'undecodable', code: 'E_DECODE', reason, runtimeMs: 0, children: [] };
      this.#options.onMessage(executor, { type: 'outcomes', outcomes: [outcome] });
    }
  }

  #dispatchWaiting(): void {
    while (this.#waiting.length > 0) {
      const executor = this.#freest();
      if (executor < 0) return;
      this.#give(executor, this.#waiting.shift() as ActiveRun);
    }
  }
}
