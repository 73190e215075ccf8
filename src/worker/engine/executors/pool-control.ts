/**
 * The size of a pool, changed while it runs. Threads and processes come and go as whole executors; a pool with one executor has
 * more or fewer slots. The broker is asked for more only once those are there who can run it.
 */
import { PoolError, type PoolPort } from '../../../control/worker-port.js';
import type { Clock } from '../../../core/clock.js';
import { MAX_CONCURRENCY, MAX_EXECUTORS } from '../../options.js';
import type { Subscriptions } from '../subscriptions.js';
import { Autoscaler } from './autoscale.js';
import type { Executors } from './executors.js';
import type { Roster } from './roster.js';

export interface PoolControlOptions {
  readonly executors: Executors;
  readonly roster: Roster;
  readonly subscriptions: Subscriptions;
  /** Bounds in executors; `null`: the worker does not scale by itself. */
  readonly autoscale: { readonly min: number; readonly max: number } | null;
  readonly clock: Clock;
  /** Runs that the worker has. */
  readonly load: () => number;
}

export class PoolControl implements PoolPort {
  readonly #options: PoolControlOptions;
  readonly #autoscaler: Autoscaler | null;

  constructor(options: PoolControlOptions) {
    this.#options = options;
    const { executors, autoscale, clock, load } = options;
    this.#autoscaler =
      autoscale &&
      new Autoscaler({
        ...autoscale,
        ...{ clock, load },
        size: () => ({ executors: executors.count, slotsEach: executors.slotsEach }),
        resize: (count) => this.#resize(count),
      });
  }

  start(): void {
    this.#autoscaler?.start();
  }

  close(): void {
    this.#autoscaler?.close();
  }

  grow(count: number): void {
    this.#change('pool_grow', count);
  }

  shrink(count: number): void {
    this.#change('pool_shrink', -count);
  }

  autoscale(max: number | null, min: number | null): { readonly max: number; readonly min: number } {
    if (this.#autoscaler === null) throw new PoolError('Autoscale not enabled');
    if ((max ?? 0) > MAX_EXECUTORS) throw new PoolError(`max=${max} is more than ${MAX_EXECUTORS}, the most there may be`);
    return this.#autoscaler.update(max, min);
  }

  /** An executor was opened, or is gone: those that are here may run so much. */
  counted(): void {
    const { executors, subscriptions } = this.#options;
    const slots = Math.min(executors.idlest().length, executors.count) * executors.slotsEach;
    if (slots > subscriptions.slots) subscriptions.resize(slots);
  }

  #change(command: string, by: number): void {
    const { executors, roster, subscriptions } = this.#options;
    if (this.#autoscaler !== null)
      throw new PoolError(`${command} is not supported with autoscale. Adjust autoscale range instead.`);
    if (roster.isFixed) {
      executors.resize(executors.count, this.#within('slots', executors.slotsEach, by, MAX_CONCURRENCY));
      subscriptions.resize(executors.slots);
    } else this.#resize(this.#within('executors', executors.count, by, MAX_EXECUTORS));
  }

  #within(what: string, now: number, by: number, most: number): number {
    const wanted = now + by;
    if (wanted >= 1 && wanted <= most) return wanted;
    throw new PoolError(`the pool has ${now} ${what}: it can have 1 to ${most}`);
  }

  #resize(count: number): void {
    const { executors, roster, subscriptions } = this.#options;
    roster.resize(count);
    // more is asked for as they are opened
    if (executors.slots < subscriptions.slots) subscriptions.resize(executors.slots);
  }
}
