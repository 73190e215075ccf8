/**
 * Keeps the leases of what a consumer holds: three times a lease everything is renewed in one script, and what is found
 * gone is told. Sends nothing while nothing is held.
 *
 * What lapsed here while we lived is no loss: we give it back to the front of its list as soon as the server hears us, or,
 * if somebody has taken it over, take the loss back that this counted.
 */
import { RedisLinkError } from '../../clients/redis.js';
import { codeOf, toError } from '../../core/errors.js';
import type { ConsumeOptions } from '../broker.js';
import type { RedisLinks } from './connection.js';
import type { Held, HeldMessages } from './held.js';
import { LOSS_TTL_MS, lossesKey } from './losses.js';
import { renew } from './scripts/renew.js';
import { secure } from './scripts/secure.js';

/** Tags in one script. */
const PAGE = 4_000;
/** Messages in one script. */
const GIVE_BACK_PAGE = 500;

export class RedisLeases {
  readonly #links: RedisLinks;
  readonly #held: HeldMessages;
  readonly #options: ConsumeOptions;
  readonly #handBack: (holds: readonly Held[]) => Promise<readonly (boolean | string)[]>;
  readonly #timer: NodeJS.Timeout;
  /**
   * Ours no longer, and not given back yet; the oldest first. Bounded by the credit: without a connection nothing is
   * popped, so it is at most what was held when the connection went, and with one it is emptied at once.
   */
  readonly #lapsed: Held[] = [];

  /** @param handBack one try to give holds back; for each whether it was still filed under its tag, or a refusal */
  constructor(
    links: RedisLinks,
    held: HeldMessages,
    options: ConsumeOptions,
    handBack: (holds: readonly Held[]) => Promise<readonly (boolean | string)[]>,
  ) {
    this.#links = links;
    this.#held = held;
    this.#options = options;
    this.#handBack = handBack;
    this.#timer = setInterval(() => void this.renew(), options.leaseMs / 3);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#lapsed.length = 0;
  }

  /** Renews at once; called by itself, and on a new connection. */
  async renew(): Promise<void> {
    this.#dropExpired();
    if (!this.#links.commands.isReady) return;
    // both are sent before anything else that may come to be sent
    await Promise.all([this.#renewHeld(), this.#giveBackLapsed()]);
  }

  /** These were lost though we live: the messages are given back, or the losses taken back. */
  giveBack(lost: readonly Held[]): void {
    this.#lapsed.push(...lost);
    if (this.#links.commands.isReady) void this.#giveBackLapsed();
  }

  /** From now on our death counts as a loss of this message. Tries while it is ours; not being able to keeps nothing from starting. */
  async secure(held: Held): Promise<void> {
    const { commands, keys } = this.#links;
    while (this.#held.holds(held.tag) && !held.isSettling) {
      try {
        await commands.whenReady(held.leaseEndsMs - performance.now());
        // said before the answer, which may be lost
        held.isSecured = true;
        const losses = { key: lossesKey(keys, held.raw), ttlMs: LOSS_TTL_MS };
        if (!(await secure(commands, keys, held.tag, losses)) && !held.isSettling) this.giveBack(this.#tell([held]));
        return;
      } catch (error) {
        if (error instanceof RedisLinkError) continue;
        const cause = toError(error).message;
        this.#options.logger.warn(
          { cause },
          'redis: a message could not be secured: should this worker die now, it may not be counted',
        );
        return;
      }
    }
  }

  async #renewHeld(): Promise<void> {
    const { leaseMs, logger } = this.#options;
    const { commands, keys } = this.#links;
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
    this.#lapsed.push(...this.#tell(lost));
  }

  #note(part: readonly Held[], gone: ReadonlySet<number>, leaseEndsMs: number): void {
    const lost: Held[] = [];
    part.forEach((held, index) => {
      if (!gone.has(index)) held.leaseEndsMs = leaseEndsMs;
      else if (!held.isSettling) lost.push(held);
    });
    this.giveBack(this.#tell(lost));
  }

  /** Tells first and gives back later: outcomes are dropped before the message can be with somebody else. */
  #tell(lost: readonly Held[]): readonly Held[] {
    const told = lost.filter(({ tag }) => this.#held.delete(tag));
    if (told.length > 0) this.#options.onLost(told.map(({ tag }) => tag));
    return told;
  }

  /** From the last page to the first, because each goes in front of the one before: so they keep their order. */
  async #giveBackLapsed(): Promise<void> {
    const { logger } = this.#options;
    let lapsed = this.#lapsed.splice(0);
    if (lapsed.length === 0) return;
    let returned = 0;
    const messages = lapsed.length;
    try {
      while (lapsed.length > 0) {
        const flags = await this.#handBack(lapsed.slice(-GIVE_BACK_PAGE));
        lapsed = lapsed.slice(0, -GIVE_BACK_PAGE);
        returned += flags.filter((flag) => flag === true).length;
      }
      logger.warn(
        { messages, returned },
        'redis: leases ended while no renewal got through: what nobody had taken over went back to its queue, and no loss is counted',
      );
    } catch (error) {
      // What was given back already is not found under its tag again: to repeat it changes nothing.
      if (error instanceof RedisLinkError) this.#lapsed.unshift(...lapsed);
      else if (codeOf(error) !== 'E_CLOSED')
        logger.error(
          { messages: lapsed.length, cause: toError(error).message },
          'redis: messages whose leases ended here could not be given back: others take them over, which counts as a loss',
        );
    }
  }
}
