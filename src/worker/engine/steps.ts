/**
 * Steps of running tasks (`ctx.step`): the executor asks for them by run, and here that becomes the task, its epoch and its time to
 * live. A run that was lost may still ask; it gets nothing. Next stop: `results/steps.ts`.
 */
import { TaskError } from '../../core/errors.js';
import type { ResultStore } from '../../results/result-store.js';
import { LONGEST_STEP_MS, type StepAnswer, stepsOf } from '../../results/steps.js';
import type { EngineCall } from '../port.js';
import type { ActiveRun } from './state.js';

export interface StepsOptions {
  readonly store: ResultStore;
  /** Runs by number. */
  readonly active: ReadonlyMap<number, ActiveRun>;
  readonly resultTtlMs: number | null;
}

type Asked<Method extends EngineCall['method']> = Extract<EngineCall, { readonly method: Method }>;

export class Steps {
  readonly #options: StepsOptions;

  constructor(options: StepsOptions) {
    this.#options = options;
  }

  async get(executor: number, { run, name }: Asked<'getStep'>): Promise<string | null> {
    const { store } = this.#options;
    const steps = stepsOf(store);
    const active = this.#active(executor, run);
    if (!active) throw new TaskError('E_LEASE_LOST', 'this worker no longer holds the task whose step was asked for');
    active.hasSteps = true;
    return steps.get(active.headers.id, name);
  }

  async put(executor: number, { run, name, resultJson }: Asked<'putStep'>): Promise<StepAnswer> {
    const { store, resultTtlMs } = this.#options;
    const steps = stepsOf(store);
    const active = this.#active(executor, run);
    if (!active) return { kind: 'fenced' };
    const { headers, epoch, facts } = active;
    const ttlMs = facts.resultTtlMs ?? resultTtlMs ?? LONGEST_STEP_MS;
    return steps.put({ taskId: headers.id, name, resultJson, epoch, ttlMs });
  }

  #active(executor: number, run: number): ActiveRun | undefined {
    const active = this.#options.active.get(run);
    return active?.executor === executor ? active : undefined;
  }
}
