/**
 * The executors as the engine sees them: their ports, their free slots, and the runs that wait for a slot. Gives each
 * run to the executor with the most free slots and posts one message an executor for all that came in one turn.
 * Next stop: `worker/executor/execute.ts`, across the port.
 */
import type { EngineEnd, FromExecutor, RunRequest } from '../port.js';
import type { ActiveRun } from './state.js';

interface ExecutorSlot {
  end: EngineEnd | null;
  free: number;
  /** Runs that it has. */
  busy: number;
  outbox: RunRequest[];
}

export class Executors {
  readonly #slots: ExecutorSlot[] = [];
  readonly #slotsEach: number;
  readonly #onMessage: (executor: number, message: FromExecutor) => void;
  /** Runs beyond the free slots: only while a broker gives more than asked for; bounded by its credit. */
  readonly #waiting: ActiveRun[] = [];
  /** Runs that need an executor to themselves; while there are any, one executor is kept from taking others. */
  readonly #waitingAlone: ActiveRun[] = [];
  /** The executor that is emptied for a run alone, or that has one; -1 for none. */
  #reserved = -1;
  #flushing = false;

  constructor(slotsEach: number, onMessage: (executor: number, message: FromExecutor) => void) {
    this.#slotsEach = slotsEach;
    this.#onMessage = onMessage;
  }

  get waiting(): number {
    return this.#waiting.length + this.#waitingAlone.length;
  }

  /** Adds an executor, or puts a new one in the place of a dead one. */
  attach(index: number, end: EngineEnd): void {
    this.#slots[index] = { end, free: 0, busy: 0, outbox: [] };
    end.onMessage((message) => this.#onMessage(index, message));
  }

  /** Opens the slots of an executor that said `ready`. */
  open(index: number): void {
    const slot = this.#slots[index];
    if (!slot) return;
    slot.free = this.#slotsEach;
    slot.busy = 0;
    this.#dispatchAlone();
    this.#dispatchWaiting();
  }

  /** The executor is dead: no run goes there until another is attached in its place. */
  detach(index: number): void {
    const slot = this.#slots[index];
    if (!slot) return;
    slot.end = null;
    slot.free = 0;
    slot.busy = 0;
    slot.outbox = [];
    if (this.#reserved === index) this.#reserved = -1;
    this.#dispatchAlone();
  }

  /** Hands a run over, or lets it wait for a slot. */
  dispatch(run: ActiveRun): void {
    if (run.alone) {
      this.#waitingAlone.push(run);
      this.#dispatchAlone();
      return;
    }
    const index = this.#freest();
    if (index < 0) {
      this.#waiting.push(run);
      return;
    }
    this.#give(index, run);
  }

  /** A slot of this executor is free again. */
  release(index: number): void {
    const slot = this.#slots[index];
    if (!slot?.end) return;
    slot.free += 1;
    slot.busy -= 1;
    if (this.#reserved === index && slot.busy === 0) this.#reserved = -1;
    if (this.#waitingAlone.length > 0) this.#dispatchAlone();
    if (this.#waiting.length > 0) this.#dispatchWaiting();
  }

  post(index: number, message: Parameters<EngineEnd['post']>[0]): void {
    this.#slots[index]?.end?.post(message);
  }

  broadcast(message: Parameters<EngineEnd['post']>[0]): void {
    for (const slot of this.#slots) slot.end?.post(message);
  }

  /** Takes back what no executor has seen yet. */
  takeWaiting(): ActiveRun[] {
    return [...this.#waitingAlone.splice(0), ...this.#waiting.splice(0)];
  }

  closeAll(): void {
    for (const slot of this.#slots) slot.end?.close();
  }

  #freest(): number {
    let best = -1;
    let most = 0;
    for (let index = 0; index < this.#slots.length; index++) {
      const free = this.#slots[index]?.free ?? 0;
      if (free > most && index !== this.#reserved) {
        most = free;
        best = index;
      }
    }
    return best;
  }

  #give(index: number, run: ActiveRun): void {
    const slot = this.#slots[index] as ExecutorSlot;
    run.executor = index;
    slot.free -= 1;
    slot.busy += 1;
    const { delivery } = run;
    slot.outbox.push({
      run: run.run,
      name: run.headers.task,
      queue: delivery.queue,
      redelivered: delivery.redelivered,
      message: run.message,
    });
    if (!this.#flushing) {
      this.#flushing = true;
      queueMicrotask(() => this.#flush());
    }
  }

  /** Gives the next run that must be alone to an executor that has nothing, or keeps one free until it has. */
  #dispatchAlone(): void {
    if (this.#waitingAlone.length === 0) return;
    if (this.#reserved < 0) this.#reserved = this.#freest();
    const slot = this.#slots[this.#reserved];
    if (slot?.end && slot.busy === 0 && slot.free > 0) this.#give(this.#reserved, this.#waitingAlone.shift() as ActiveRun);
  }

  #flush(): void {
    this.#flushing = false;
    for (const slot of this.#slots) {
      if (slot.outbox.length === 0) continue;
      const tasks = slot.outbox;
      slot.outbox = [];
      slot.end?.post({ type: 'run', tasks });
    }
  }

  #dispatchWaiting(): void {
    while (this.#waiting.length > 0) {
      const index = this.#freest();
      if (index < 0) return;
      this.#give(index, this.#waiting.shift() as ActiveRun);
    }
  }
}
