/**
 * The executors as the engine sees them: their ports, their free slots, and the runs that wait for a slot. Gives each
 * run to the executor with the most free slots and posts one message an executor for all that came in one turn.
 * Next stop: `worker/executor/execute.ts`, across the port.
 */
import { toError } from '../../core/errors.js';
import type { EngineEnd, FromExecutor, Outcome, RunRequest } from '../port.js';
import type { ActiveRun } from './state.js';

interface ExecutorSlot {
  end: EngineEnd | null;
  /** It has said `ready`. */
  opened: boolean;
  free: number;
  /** Runs that it has. */
  busy: number;
  outbox: RunRequest[];
}

export class Executors {
  readonly #slots: ExecutorSlot[] = [];
  readonly #slotsEach: number;
  readonly #onMessage: (executor: number, message: FromExecutor) => void;
  readonly #onGiven: (run: ActiveRun) => void;
  /** Runs beyond the free slots: only while a broker gives more than asked for; bounded by its credit. */
  readonly #waiting: ActiveRun[] = [];
  /** The run that needs an executor to itself and waits for one to be empty. One at a time: see `takeAlone`. */
  #waitingAlone: ActiveRun | null = null;
  /** Those that will need it next; bounded by the credit. */
  readonly #suspects: ActiveRun[] = [];
  /** Such a run was admitted and has not ended. */
  #aloneTaken = false;
  /** The executor that is emptied for a run alone, or that has one; -1 for none. */
  #reserved = -1;
  #flushing = false;

  /** @param onGiven called when a run is given to an executor */
  constructor(
    slotsEach: number,
    onMessage: (executor: number, message: FromExecutor) => void,
    onGiven: (run: ActiveRun) => void = () => {},
  ) {
    this.#slotsEach = slotsEach;
    this.#onMessage = onMessage;
    this.#onGiven = onGiven;
  }

  get waiting(): number {
    return this.#waiting.length + this.#suspects.length + (this.#waitingAlone ? 1 : 0);
  }

  get count(): number {
    return this.#slots.length;
  }

  /** Those that can run something: they have said `ready` and have not died. */
  get alive(): number {
    return this.#slots.filter((slot) => slot.end !== null && slot.opened).length;
  }

  isBusy(index: number): boolean {
    return (this.#slots[index]?.busy ?? 0) > 0;
  }

  /** The run whose handler was entered there and has not yielded yet; 0 for none or not known. */
  entered(index: number): number {
    return this.#slots[index]?.end?.entered?.() ?? 0;
  }

  /** Adds an executor, or puts a new one in the place of a dead one. */
  attach(index: number, end: EngineEnd): void {
    this.#slots[index] = { end, opened: false, free: 0, busy: 0, outbox: [] };
    end.onMessage((message) => this.#onMessage(index, message));
  }

  /** Opens the slots of an executor that said `ready`. */
  open(index: number): void {
    const slot = this.#slots[index];
    if (!slot) return;
    slot.opened = true;
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
    if (this.#reserved === index) this.#aloneMayGo();
  }

  /**
   * Takes the one place for a run that must be alone; false when it is taken. One at a time a worker: a second one would
   * only be held, and would count as lost again if the first takes the whole process with it.
   */
  takeAlone(): boolean {
    if (this.#aloneTaken) return false;
    this.#aloneTaken = true;
    return true;
  }

  /** Gives the place back without a run: it turned out that nothing has to run. */
  leaveAlone(): void {
    this.#aloneTaken = false;
    this.#nextSuspect();
  }

  /** Hands a run over that must be alone, as soon as the place is free. Its worker lives, so it is held here and nothing is lost. */
  dispatchSuspect(run: ActiveRun): void {
    this.#suspects.push(run);
    this.#nextSuspect();
  }

  /** Hands a run over, or lets it wait for a slot. A run alone only after `takeAlone()`. */
  dispatch(run: ActiveRun): void {
    if (run.alone) {
      this.#waitingAlone = run;
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

  /** The suspects that still wait, who are none any more. */
  takeSuspects(): ActiveRun[] {
    return this.#suspects.splice(0);
  }

  /** A slot of this executor is free again. */
  release(index: number): void {
    const slot = this.#slots[index];
    if (!slot?.end) return;
    slot.free += 1;
    slot.busy -= 1;
    if (this.#reserved === index && slot.busy === 0) this.#aloneMayGo();
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
    const alone = this.#waitingAlone ? [this.#waitingAlone] : [];
    this.#waitingAlone = null;
    this.#aloneTaken = false;
    return [...alone, ...this.#suspects.splice(0), ...this.#waiting.splice(0)];
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
    this.#onGiven(run);
    slot.free -= 1;
    slot.busy += 1;
    const { delivery } = run;
    slot.outbox.push({
      run: run.run,
      name: run.headers.task,
      queue: delivery.queue,
      redelivered: delivery.redelivered,
      message: run.message,
      softTimeLimitMs: run.softTimeLimitMs,
      timeLimitMs: run.timeLimitMs,
    });
    if (!this.#flushing) {
      this.#flushing = true;
      queueMicrotask(() => this.#flush());
    }
  }

  /** The reserved executor is empty or gone: the run that waited for it starts (there or elsewhere), or the one alone has ended. */
  #aloneMayGo(): void {
    this.#reserved = -1;
    if (this.#waitingAlone) this.#dispatchAlone();
    else this.leaveAlone();
  }

  #nextSuspect(): void {
    if (this.#aloneTaken || this.#suspects.length === 0) return;
    this.#aloneTaken = true;
    this.#waitingAlone = this.#suspects.shift() as ActiveRun;
    this.#dispatchAlone();
  }

  /** Gives the run that must be alone to an executor that has nothing, or keeps one free until it has. */
  #dispatchAlone(): void {
    const run = this.#waitingAlone;
    if (run === null) return;
    if (this.#reserved < 0) this.#reserved = this.#freest();
    const slot = this.#slots[this.#reserved];
    if (!slot?.end || slot.busy > 0 || slot.free === 0) return;
    this.#waitingAlone = null;
    this.#give(this.#reserved, run);
  }

  #flush(): void {
    this.#flushing = false;
    for (const [index, slot] of this.#slots.entries()) {
      if (slot.outbox.length === 0) continue;
      const tasks = slot.outbox;
      slot.outbox = [];
      try {
        slot.end?.post({ type: 'run', tasks });
      } catch {
        for (const task of tasks) this.#postAlone(index, task);
      }
    }
  }

  /** After a batch could not be copied to its thread: the message at fault is parked, its neighbours run. */
  #postAlone(index: number, task: RunRequest): void {
    try {
      this.#slots[index]?.end?.post({ type: 'run', tasks: [task] });
    } catch (error) {
      const reason = `the message cannot be handed to an executor: ${toError(error).message}`;
      const outcome: Outcome = { run: task.run, kind: 'undecodable', code: 'E_DECODE', reason, runtimeMs: 0, children: [] };
      this.#onMessage(index, { type: 'outcomes', outcomes: [outcome] });
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
