/**
 * What finished steps of tasks gave (`ctx.step`): a part of the result-store seam. A step is stored once; the next try of its task, or
 * the next worker that gets it, reads it in place of doing the work again. Drivers pass `testing/conformance/steps.ts`.
 *
 * Bounded: so many steps a task, so long each, and all of a task expire together, so long after the last one was stored.
 */
import { ResultError } from '../core/errors.js';
import type { ResultStore } from './result-store.js';

/** Steps of one task. */
export const MOST_STEPS = 1_000;
/** Bytes of the result of one step, as JSON. */
export const MOST_STEP_BYTES = 262_144;
/** Where results are kept for ever, steps are not: a task that was not tried for so long begins anew. */
export const LONGEST_STEP_MS = 86_400_000;

export interface StepWrite {
  readonly taskId: string;
  readonly name: string;
  /** What it gave, as JSON text. */
  readonly resultJson: string;
  /** As in `ResultWrite`: lower than the one that was claimed for the task, it is refused. */
  readonly epoch: number;
  /** How long the steps of the task are kept from now on. */
  readonly ttlMs: number;
}

/** `present`: another run stored this step before, and what that gave stands. `fenced`: somebody claimed a higher epoch. */
export type StepAnswer =
  | { readonly kind: 'stored' | 'fenced' | 'full' }
  | { readonly kind: 'present'; readonly resultJson: string };

export interface StepStore {
  /** What the step gave; `null` when it has not finished. */
  get(taskId: string, name: string): Promise<string | null>;
  /** Repeated, it answers `present`. A task that has `MOST_STEPS` takes no other: `full`. */
  put(write: StepWrite): Promise<StepAnswer>;
  /** Removes all steps of these tasks: they have ended. */
  forget(taskIds: readonly string[]): Promise<void>;
}

/** @throws ResultError `E_STEP_NEEDS_STORE` */
export function stepsOf({ steps, capabilities, name }: ResultStore): StepStore {
  if (steps) return steps;
  const why = typeof capabilities.steps === 'string' ? capabilities.steps : `the result store ${name} keeps no steps`;
  throw new ResultError('E_STEP_NEEDS_STORE', why);
}
