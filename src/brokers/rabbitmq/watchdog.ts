/**
 * Whether the broker still answers a consumer, and whether what looks like a subscription still is one. It asks only while nothing
 * moves, so a busy worker pays nothing, and an idle one four questions a minute whatever its number of queues, of the ten that a worker may send in all.
 *
 * Two kinds of death that no error tells of: a connection on which nobody answers (given up, a new one follows), and a channel that
 * answers while a queue with ready messages delivers none of them (made again). Next stop: `consumer.ts`.
 */
import type { Session } from './session.js';

const LOOK_EVERY_MS = 2_000;
/** Asked after so long a silence: soon where messages came a moment ago and stopped, seldom where there were none. */
const BUSY_SILENCE_MS = 2_000;
const IDLE_SILENCE_MS = 19_000;
const BUSY_FOR_MS = 15_000;
const ANSWER_MS = 5_000;
/** Each so many looks one of the queues is asked for what it holds ready. */
const LOOKS_PER_QUESTION = 3;
/** A queue may have its reasons (an active consumer elsewhere that is the only one allowed), so a cure that does not help gets rarer. */
const LONGEST_PATIENCE = 256;

export interface WatchdogOptions {
  readonly session: () => Session | undefined;
  /** Queues of which the engine would take more, and the broker sends nothing. */
  readonly hungry: () => readonly string[];
  /** Ready messages of a queue. */
  readonly ready: (queue: string) => Promise<number>;
  /** Nobody answers on the connection. */
  readonly abandon: (cause: Error) => void;
  /** Messages wait and do not come. */
  readonly rebuild: (queue: string) => void;
}

/** Watches one consumer until closed. */
export class Watchdog {
  /** Monotonic milliseconds of the last answer or delivery. */
  lastAliveMs = performance.now();
  readonly #options: WatchdogOptions;
  readonly #timer: NodeJS.Timeout;
  #lastDeliveryMs = Number.NEGATIVE_INFINITY;
  #looks = 0;
  /** A question is out. */
  #asking = false;
  /** Which of the hungry queues is asked next. */
  #turn = 0;
  #patience = 1;
  #suspect: { readonly queue: string; readonly sinceMs: number; looks: number } | undefined;

  constructor(options: WatchdogOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.look(), LOOK_EVERY_MS);
    this.#timer.unref();
  }

  /** The broker answered. */
  answered(): void {
    this.lastAliveMs = performance.now();
  }

  /** The broker sent a message. */
  delivered(): void {
    this.lastAliveMs = this.#lastDeliveryMs = performance.now();
    this.#patience = 1;
    this.#suspect = undefined;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** One look; by the timer. */
  async look(): Promise<void> {
    const session = this.#options.session();
    const nowMs = performance.now();
    const patienceMs = nowMs - this.#lastDeliveryMs < BUSY_FOR_MS ? BUSY_SILENCE_MS : IDLE_SILENCE_MS;
    if (!session?.open || this.#asking || nowMs - this.lastAliveMs < patienceMs) return;
    this.#asking = true;
    const timer = setTimeout(
      () => this.#options.abandon(new Error(`the broker did not answer a question for ${ANSWER_MS / 1_000} s`)),
      ANSWER_MS,
    );
    const answered = await session.ping().then(
      () => true,
      () => false, // the channel has gone; its `close` event does the rest
    );
    clearTimeout(timer);
    this.#asking = false;
    // With deliveries in its hands the worker loses more by a new channel than it gains.
    if (!answered || session.held.size > 0) this.#suspect = undefined;
    else await this.#lookAtQueues();
  }

  async #lookAtQueues(): Promise<void> {
    const suspect = this.#suspect;
    if (suspect) {
      suspect.looks += 1;
      if (suspect.looks < this.#patience) return;
      this.#suspect = undefined;
      if ((await this.#readyOf(suspect.queue)) === 0 || this.#lastDeliveryMs > suspect.sinceMs) return;
      this.#patience = Math.min(this.#patience * 2, LONGEST_PATIENCE);
      this.#options.rebuild(suspect.queue);
      return;
    }
    this.#looks += 1;
    if (this.#looks % LOOKS_PER_QUESTION !== 0) return;
    const hungry = this.#options.hungry();
    const queue = hungry[this.#turn++ % Math.max(hungry.length, 1)];
    if (queue === undefined) return;
    const sinceMs = performance.now();
    if ((await this.#readyOf(queue)) > 0 && this.#lastDeliveryMs < sinceMs) this.#suspect = { queue, sinceMs, looks: 0 };
  }

  /** None if it cannot be told. */
  #readyOf(queue: string): Promise<number> {
    return this.#options.ready(queue).catch(() => 0);
  }
}
