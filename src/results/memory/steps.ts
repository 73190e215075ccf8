/** Steps of a `memory:NAME`: the reference for the rules of `steps.ts`. Bounded by the time that they are kept, and so many a task. */
import type { Clock } from '../../core/clock.js';
import { MOST_STEPS, type StepAnswer, type StepWrite } from '../steps.js';

interface Kept {
  readonly results: Map<string, string>;
  untilMs: number;
}

/** Each step looks at this many tasks and drops what has expired. */
const SWEEP_STEP = 2;

export class MemorySteps {
  readonly #clock: Clock;
  readonly #epochOf: (taskId: string) => number;
  readonly #tasks = new Map<string, Kept>();
  #sweep: IterableIterator<[string, Kept]> = this.#tasks.entries();

  /** @param epochOf the one that was claimed for a task, 0 if none was */
  constructor(clock: Clock, epochOf: (taskId: string) => number) {
    this.#clock = clock;
    this.#epochOf = epochOf;
  }

  /** Tasks with steps, expired ones that were not swept yet included. */
  get size(): number {
    return this.#tasks.size;
  }

  get(taskId: string, name: string): string | null {
    return this.#live(taskId)?.results.get(name) ?? null;
  }

  put({ taskId, name, resultJson, epoch, ttlMs }: StepWrite): StepAnswer {
    this.#sweepSome();
    if (epoch < this.#epochOf(taskId)) return { kind: 'fenced' };
    const kept = this.#live(taskId) ?? { results: new Map<string, string>(), untilMs: 0 };
    const present = kept.results.get(name);
    if (present !== undefined) return { kind: 'present', resultJson: present };
    if (kept.results.size >= MOST_STEPS) return { kind: 'full' };
    kept.results.set(name, resultJson);
    kept.untilMs = this.#clock.monotonicMs() + ttlMs;
    this.#tasks.set(taskId, kept);
    return { kind: 'stored' };
  }

  forget(taskId: string): void {
    this.#tasks.delete(taskId);
  }

  #live(taskId: string): Kept | undefined {
    const kept = this.#tasks.get(taskId);
    if (!kept || kept.untilMs > this.#clock.monotonicMs()) return kept;
    this.#tasks.delete(taskId);
    return undefined;
  }

  #sweepSome(): void {
    for (let step = 0; step < SWEEP_STEP; step += 1) {
      const next = this.#sweep.next();
      if (next.done) {
        this.#sweep = this.#tasks.entries();
        return;
      }
      const [taskId, { untilMs }] = next.value;
      if (untilMs <= this.#clock.monotonicMs()) this.#tasks.delete(taskId);
    }
  }
}
