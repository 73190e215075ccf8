/**
 * Deliveries that come back from a claim: before the engine gets one, its last holder is looked for. If that is dead the delivery
 * has one more loss.
 *
 * Bounded: what waits here counts against the prefetch of its subscription. It takes no credit, because nobody could start it yet, and
 * a slot kept for it would idle for a lease. It waits for a lease at most while the broker answers.
 * Next stop: `holders.ts`. Decision: docs/decisions/rabbitmq-losses.md.
 */
import type { Logger } from '../../core/logger.js';
import type { Delivery } from '../broker.js';
import type { Held } from './held.js';
import type { Holders } from './holders.js';

/** The broker's clock is compared with ours: what says more than this says that they differ. */
const LONGEST_CREDIBLE_MS = 600_000;

export class Inquests {
  readonly #holders: Holders;
  readonly #leaseMs: number;
  readonly #logger: Logger;
  readonly #onKnown: (held: Held) => void;
  readonly #waiting = new Set<Held>();
  #over = new AbortController();

  /** @param onKnown gets the delivery with its losses, if its session lives */
  constructor(holders: Holders, leaseMs: number, logger: Logger, onKnown: (held: Held) => void) {
    this.#holders = holders;
    this.#logger = logger;
    this.#leaseMs = leaseMs;
    this.#onKnown = onKnown;
  }

  /** Looks for `holder`, who held the delivery before us. */
  open(held: Held, holder: string): void {
    this.#waiting.add(held);
    const { message, queue, losses } = held.arrival as Delivery;
    // for whoever follows one through its deaths: the engine says the same when it gets it
    this.#logger.debug({ id: message.headers['id'], queue, losses, holder }, 'delivered again');
    void this.#decide(held, holder, this.#over.signal);
  }

  /** Ends them all, undecided, and returns their deliveries. */
  clear(): Held[] {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    this.#over.abort();
    this.#over = new AbortController();
    return waiting;
  }

  /** How much of the lease had passed when the delivery came: workers that live shorter than a lease would look for ever. */
  #goneMs({ orphanedMs }: Held): number {
    const goneMs = orphanedMs === null ? 0 : Date.now() - orphanedMs;
    return goneMs > LONGEST_CREDIBLE_MS ? 0 : Math.min(Math.max(goneMs, 0), this.#leaseMs);
  }

  async #decide(held: Held, holder: string, signal: AbortSignal): Promise<void> {
    try {
      const died = await this.#holders.died(holder, this.#leaseMs, signal, this.#goneMs(held));
      if (!this.#waiting.delete(held)) return;
      const arrival = held.arrival as Delivery;
      if (died) held.arrival = { ...arrival, losses: arrival.losses + 1 };
      held.holder = null;
      if (held.session.open) this.#onKnown(held);
    } catch {
      // Cleared. A look that another consumer's end took with it is begun again.
      if (this.#waiting.has(held) && !signal.aborted) void this.#decide(held, holder, signal);
    }
  }
}
