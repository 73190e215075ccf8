/**
 * Rate limits of this worker: how often each of its tasks may start. Pure: it owns the arithmetic, and neither waits nor
 * holds a message; `consumer.ts` sends who has to wait back through the delay store. Limits count starts of this worker
 * only, as Celery's do. Why it is built like this: docs/decisions/rate-limits.md.
 *
 * Bounded: one bucket of four numbers a registered task, whatever waits.
 */
import { parseRate, type Rate } from '../../../core/rate-limit.js';
import type { TaskFacts } from '../../port.js';

/** Places are promised so far ahead; beyond it nobody has one, and a limit that is changed is felt this soon. */
const HORIZON_MS = 60_000;
/** Who finds no place within the horizon looks again after it, one after the other, at the latest so long apart. */
const LONGEST_STEP_MS = 250;
/** A promised start that comes late keeps its turn for so long, and for two intervals. */
const LATE_MS = 250;
const LATE_INTERVALS = 2;

/** Delay stores count whole milliseconds, so what was told a fraction more may come that much early. */
const EARLY_MS = 1;

/** One task's limit. Times are monotonic milliseconds. */
export class RateBucket {
  readonly #intervalMs: number;
  readonly #lateMs: number;
  /** From then on one may start. Lags behind now while promised starts are late. */
  #nextMs = Number.NEGATIVE_INFINITY;
  /** The last place that was promised, and how many of those with a place have not come, as far as that can be told: tasks are not known apart. */
  #promisedMs = Number.NEGATIVE_INFINITY;
  #expected = 0;
  /** When the last of those without a place looks again. */
  #beyondMs = Number.NEGATIVE_INFINITY;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
    this.#lateMs = Math.max(LATE_MS, LATE_INTERVALS * intervalMs);
  }

  /**
   * 0: it may start now, and has. Otherwise in how many milliseconds it should ask again.
   * @param expiresInMs one that cannot start before this takes no place from others: it comes back to expire
   */
  take(nowMs: number, expiresInMs = Number.POSITIVE_INFINITY): number {
    if (this.#promisedMs + this.#lateMs < nowMs) this.#expected = 0;
    // What nobody used is lost, or an idle minute would be followed by a burst; but those who were promised a start may be late.
    this.#nextMs = Math.max(this.#nextMs, this.#expected > 0 ? nowMs - this.#lateMs : nowMs);
    if (this.#nextMs <= nowMs + EARLY_MS) {
      this.#nextMs += this.#intervalMs;
      this.#expected = Math.max(0, this.#expected - 1);
      return 0;
    }
    const placeMs = Math.max(this.#promisedMs + this.#intervalMs, this.#nextMs);
    if (placeMs - nowMs >= expiresInMs) return Math.max(1, expiresInMs);
    if (placeMs <= nowMs + HORIZON_MS) {
      this.#promisedMs = placeMs;
      this.#expected += 1;
      return placeMs - nowMs;
    }
    const stepMs = Math.min(Math.max(this.#intervalMs, 1), LONGEST_STEP_MS);
    this.#beyondMs = Math.max(this.#beyondMs, nowMs + HORIZON_MS) + stepMs;
    return this.#beyondMs - nowMs;
  }
}

/** The limits of all tasks of a worker, and changes while it runs. */
export class RateLimits {
  readonly #facts: ReadonlyMap<string, TaskFacts>;
  /** By task, made at its first start; `null` = no limit. Bounded by the registered tasks, for nobody else is asked about. */
  readonly #limits = new Map<string, { readonly text: string; readonly bucket: RateBucket } | null>();

  constructor(facts: ReadonlyMap<string, TaskFacts>) {
    this.#facts = facts;
  }

  /** As `RateBucket.take`; a task without a limit may always start. */
  take(task: TaskFacts, nowMs: number, expiresInMs?: number): number {
    // Most tasks have no limit and never had: they pay for one look.
    if (task.rateLimit === null && this.#limits.size === 0) return 0;
    return this.#limitOf(task)?.bucket.take(nowMs, expiresInMs) ?? 0;
  }

  /** The limit that holds for this task now, as text; `null` = none. */
  of(name: string): string | null {
    const facts = this.#facts.get(name);
    return facts === undefined ? null : (this.#limitOf(facts)?.text ?? null);
  }

  /**
   * Changes a limit at once and until the worker ends. What waits already looks again when it was told to.
   * @param limit as Celery takes it: `'10/m'`, a number a second, 0 or `null` = no limit
   * @returns the limit that holds from now on; `undefined`: no such task is registered
   * @throws ConfigError `E_CONFIG_RANGE`
   */
  set(name: string, limit: unknown): string | null | undefined {
    const rate = parseRate(limit, `rate limit of ${name}`);
    if (!this.#facts.has(name)) return undefined;
    this.#put(name, rate);
    return rate?.text ?? null;
  }

  #limitOf({ name, rateLimit }: TaskFacts): { readonly text: string; readonly bucket: RateBucket } | null {
    const known = this.#limits.get(name);
    return known === undefined ? this.#put(name, parseRate(rateLimit, `rate limit of ${name}`)) : known;
  }

  #put(name: string, rate: Rate | null) {
    const limit = rate && { text: rate.text, bucket: new RateBucket(rate.intervalMs) };
    this.#limits.set(name, limit);
    return limit;
  }
}
