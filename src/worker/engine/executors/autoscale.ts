/**
 * Scales the executors of a worker by its load, as `celery worker --autoscale` does: one more when every slot has been busy for a
 * moment, one less when a whole executor's worth of slots has been free for half a minute. Owns when; how is `pool-control.ts`.
 */

import { PoolError } from '../../../control/worker-port.js';
import type { Clock } from '../../../core/clock.js';

const LOOK_MS = 1_000;
/** Celery's `AUTOSCALE_KEEPALIVE`. */
const KEEP_MS = 30_000;

export interface AutoscaleOptions {
  readonly min: number;
  readonly max: number;
  readonly clock: Clock;
  /** Executors now, and runs at a time in each. */
  readonly size: () => { readonly executors: number; readonly slotsEach: number };
  /** Runs that it has, waiting ones included. */
  readonly load: () => number;
  readonly resize: (executors: number) => void;
}

export class Autoscaler {
  readonly #options: AutoscaleOptions;
  #min: number;
  #max: number;
  #fullLooks = 0;
  #spareSinceMs: number | null = null;
  #cancel: (() => void) | null = null;

  constructor(options: AutoscaleOptions) {
    this.#options = options;
    this.#min = options.min;
    this.#max = options.max;
  }

  get bounds(): { readonly min: number; readonly max: number } {
    return { min: this.#min, max: this.#max };
  }

  start(): void {
    this.#cancel ??= this.#options.clock.after(LOOK_MS, () => {
      this.#cancel = null;
      this.#look();
      this.start();
    });
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  /** `null` leaves a bound as it is. @throws PoolError for bounds that cross */
  update(max: number | null, min: number | null): { readonly min: number; readonly max: number } {
    const [newMax, newMin] = [max ?? this.#max, Math.max(1, min ?? this.#min)];
    if (newMin > newMax) throw new PoolError(`min=${newMin} is more than max=${newMax}`);
    this.#max = newMax;
    this.#min = newMin;
    const { executors } = this.#options.size();
    const within = Math.min(newMax, Math.max(newMin, executors));
    if (within !== executors) this.#options.resize(within);
    return this.bounds;
  }

  #look(): void {
    const { clock, size, load, resize } = this.#options;
    const { executors, slotsEach } = size();
    const free = executors * slotsEach - load();
    this.#fullLooks = free <= 0 ? this.#fullLooks + 1 : 0;
    const hasSpare = executors > this.#min && free >= slotsEach;
    this.#spareSinceMs = hasSpare ? (this.#spareSinceMs ?? clock.monotonicMs()) : null;
    // twice: one look may fall on a burst that is over in a moment
    if (this.#fullLooks >= 2 && executors < this.#max) {
      this.#fullLooks = 0;
      resize(executors + 1);
    } else if (this.#spareSinceMs !== null && clock.monotonicMs() - this.#spareSinceMs >= KEEP_MS) {
      this.#spareSinceMs = null;
      resize(executors - 1);
    }
  }
}
