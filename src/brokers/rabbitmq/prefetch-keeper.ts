/**
 * Keeps the broker's prefetch in step with the engine's credit, which is another thing (see `credit-gate.ts`): wider where the engine
 * could take more, given up where what was prefetched finds no credit.
 */
import type { CreditGate } from './credit-gate.js';
import type { Held } from './held.js';
import type { Session } from './session.js';

/** How long a queue may be out of prefetch while the engine has credit for it, before its window is widened. */
const WIDEN_AFTER_MS = 20;
/** How long prefetched messages may wait here for credit before others get them. */
const RETURN_AFTER_MS = 100;

export class PrefetchKeeper {
  readonly #gate: CreditGate<Held>;
  readonly #queues: () => readonly string[];
  readonly #giveBack: (waiting: readonly Held[]) => void;
  #widenTimer: NodeJS.Timeout | undefined;
  #returnTimer: NodeJS.Timeout | undefined;

  /** @param giveBack puts back what was prefetched and never seen by the engine */
  constructor(gate: CreditGate<Held>, queues: () => readonly string[], giveBack: (waiting: readonly Held[]) => void) {
    this.#gate = gate;
    this.#queues = queues;
    this.#giveBack = giveBack;
  }

  /** To be called after credit or deliveries have changed. */
  look(session: Session): void {
    this.#watchCredit(session);
    this.#watchWaiting(session);
  }

  /** The session has ended, or takes nothing more. */
  stop(): void {
    clearTimeout(this.#widenTimer);
    clearTimeout(this.#returnTimer);
    this.#widenTimer = this.#returnTimer = undefined;
  }

  /**
   * The engine may have credit again while the broker still counts the delivery against the prefetch (its result is being stored).
   * If that lasts, a further subscription widens the window; each at least doubles it, so there are only a few.
   */
  #watchCredit(session: Session): void {
    let narrow = false;
    for (const queue of this.#queues()) {
      const starving = this.#gate.starving(queue);
      if (starving === 0) continue;
      if (session.full(queue)) narrow = true;
      else if (!session.subscribed(queue)) widen(session, queue, starving); // it was left for want of credit
    }
    if (!narrow || this.#widenTimer !== undefined) return;
    this.#widenTimer = setTimeout(() => {
      this.#widenTimer = undefined;
      if (!session.open) return;
      for (const queue of this.#queues()) {
        const starving = this.#gate.starving(queue);
        if (starving > 0 && session.full(queue)) widen(session, queue, Math.max(starving, session.size(queue)));
      }
    }, WIDEN_AFTER_MS);
  }

  /**
   * Messages that were prefetched and then find no credit (the slots went to another queue) are hostages: an idle worker elsewhere
   * could run them. After a moment they go back, and the queue is left until there is credit for it again.
   */
  #watchWaiting(session: Session): void {
    if (this.#returnTimer !== undefined || this.#gate.waiting === 0) return;
    this.#returnTimer = setTimeout(() => {
      this.#returnTimer = undefined;
      if (!session.open) return;
      for (const queue of this.#gate.stalled(performance.now() - RETURN_AFTER_MS)) {
        // What was on its way when we left has come by then, and goes back too.
        void session.unsubscribe(queue).then(() => this.#giveBack(this.#gate.clear(queue)));
      }
      this.#watchWaiting(session);
    }, RETURN_AFTER_MS);
  }
}

function widen(session: Session, queue: string, prefetch: number): void {
  session.subscribe(queue, prefetch).catch(() => undefined); // a broken channel is made again anyway
}
