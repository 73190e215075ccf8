/**
 * Keeps the leases of what a consumer holds: three times a lease everything is renewed in one script, and what is found
 * gone is told. Sends nothing while nothing is held.
 */
import { toError } from '../../core/errors.js';
import type { ConsumeOptions } from '../broker.js';
import type { RedisLinks } from './connection.js';
import type { Held, HeldMessages } from './held.js';
import { renew } from './scripts/renew.js';

/** Tags in one script. */
const PAGE = 4_000;

export class RedisLeases {
  readonly #links: RedisLinks;
  readonly #held: HeldMessages;
  readonly #options: ConsumeOptions;
  readonly #timer: NodeJS.Timeout;

  constructor(links: RedisLinks, held: HeldMessages, options: ConsumeOptions) {
    this.#links = links;
    this.#held = held;
    this.#options = options;
    this.#timer = setInterval(() => void this.renew(), options.leaseMs / 3);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Renews at once; called by itself, and on a new connection. */
  async renew(): Promise<void> {
    this.#dropExpired();
    const { leaseMs, logger } = this.#options;
    const { commands, keys } = this.#links;
    if (this.#held.size === 0 || !commands.isReady) return;
    const all = this.#held.all();
    for (let from = 0; from < all.length; from += PAGE) {
      const part = all.slice(from, from + PAGE);
      const tags = part.map(({ tag }) => tag);
      const leaseEndsMs = performance.now() + leaseMs;
      try {
        const gone = await renew(commands, keys.unackedIndex, leaseMs, tags);
        this.#note(part, new Set(gone), leaseEndsMs);
      } catch (error) {
        // The leases run on; the next round, or the next connection, tries again.
        logger.warn({ cause: toError(error).message, held: part.length }, 'redis: leases could not be renewed');
        return;
      }
    }
  }

  /** What `holds()` has denied must not be held again: its outcome was dropped, so somebody has to run it once more. */
  #dropExpired(): void {
    const nowMs = performance.now();
    const lost = this.#held.all().filter((held) => !held.isSettling && nowMs >= held.leaseEndsMs);
    this.#tell(lost);
  }

  #note(part: readonly Held[], gone: ReadonlySet<number>, leaseEndsMs: number): void {
    const lost: Held[] = [];
    part.forEach((held, index) => {
      if (!gone.has(index)) held.leaseEndsMs = leaseEndsMs;
      else if (!held.isSettling) lost.push(held);
    });
    this.#tell(lost);
  }

  #tell(lost: readonly Held[]): void {
    const tags = lost.map(({ tag }) => tag).filter((tag) => this.#held.delete(tag));
    if (tags.length > 0) this.#options.onLost(tags);
  }
}
