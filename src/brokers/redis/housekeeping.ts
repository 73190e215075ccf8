/**
 * What a consumer does for everybody now and then: takes over the messages of workers whose lease is over, and moves
 * delayed messages whose time has come to their queues. While it does, `lovage:promoter` is there and says so to senders.
 *
 * It knows when to look: each look tells when the next live lease ends and when the next delayed message is due, and at
 * least once a lease it looks again, because another worker may have taken something since. An idle consumer of 15 s
 * leases thus sends four commands a minute, whatever its number of queues.
 *
 * Nothing is taken over after a silence of the server: the owners could not renew either, and they live. Three signs tell:
 * our connection is new, or the server carried a look out later than it was asked to, for the length of a lease; or we
 * have not heard of it for half a lease, which an idle worker never has: it looks twice then.
 */
import { RedisCanary } from './canary.js';
import type { RedisConsumer } from './consume.js';
import { deadLetterOf } from './delayed.js';
import { listFor } from './held.js';
import { LOSS_TTL_MS } from './losses.js';
import type { QueueState } from './queues.js';
import { parkDelayed } from './scripts/park-delayed.js';
import { promote, type Refused } from './scripts/promote.js';
import { sweep } from './scripts/sweep.js';
import type { Taken } from './taken.js';

/** Looked at in one script. */
const SWEEP_PAGE = 500;
/** Moved in one script. */
const PROMOTE_PAGE = 500;
/** Each so many passes start from the beginning again: what changed behind the cursor is found then. */
const FULL_PASS_EVERY = 10;
/** A look after the end of a lease, not before it. */
const AFTER_LEASE_MS = 20;
const SOONEST_MS = 5;
/** An expired message that only waits for our credit: looked for again when there is some, not more often than this, */
const SWEEP_APART_MS = 25;
/** and so much later if there is none that it can have. */
const BLOCKED_AGAIN_MS = 500;
/**
 * Between the two looks of somebody who was idle, at most: a take-over is promised within five seconds of a lease's end, and
 * most owners that were cut off are back within two. Shorter gaps call for no second look, or short leases never saw one.
 */
const LOOK_TWICE_MS = 3_000;
/** A look is due once a lease: one that is late must not make senders think that nobody promotes. */
const PROMOTER_LEASES = 2;
/** What a slow answer may add to the difference of two clocks. */
const CLOCK_DOUBT_MS = 50;
/** How much later somebody looks for delayed messages who found that another had moved them. */
const OTHERS_FIRST_MS = 20;

export class RedisHousekeeping {
  readonly #consumer: RedisConsumer;
  readonly #lists: readonly string[];
  #fromScore = '-inf';
  #passes = 0;
  /** The last number used for a tag at the sweep before. */
  #tagBefore = -1;
  readonly #canary: RedisCanary;
  /** Until then nothing is taken over. */
  #quietUntilMs = -Infinity;
  /** The server's wall clock less that of this machine, by the last look; 0 if they may well be equal. */
  clockAheadMs = 0;
  /** The server's clock less our monotonic one, by the last look. */
  #serverAheadMs = Infinity;
  #sweepAtMs = Infinity;
  /** When to look before new messages take the credit: a lapsed one lacked it at the last look. `Infinity`: none did. */
  #blockedAtMs = Infinity;
  #promoteAtMs = Infinity;
  #timer: NodeJS.Timeout | undefined;

  constructor(consumer: RedisConsumer) {
    this.#consumer = consumer;
    this.#canary = new RedisCanary(consumer.links);
    const steps = consumer.queues.all[0]?.keys.length ?? 0;
    this.#lists = Array.from({ length: steps }, (_, step) =>
      consumer.queues.all.map((queue) => queue.keys[step] as string),
    ).flat();
  }

  /** Tells senders that delayed messages are looked after from now on. At once, so that what this process sends next knows it. */
  announce(): void {
    const { links, options } = this.#consumer;
    const args = [links.keys.promoter, '1', 'nx', 'px', String(options.leaseMs * PROMOTER_LEASES)];
    links.commands.call('set', args).catch(() => {});
  }

  /** Looks at once, and from then on by itself. */
  start(): void {
    const { epoch, readySinceMs } = this.#consumer.links.commands;
    if (epoch > 1) this.#beQuietUntil(readySinceMs + this.#consumer.options.leaseMs);
    this.#sweepAtMs = 0;
    this.#arm();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sweepAtMs = Infinity;
    this.#blockedAtMs = Infinity;
    this.#promoteAtMs = Infinity;
    // It may be the last one; another says so again within its lease, and until then messages go to their queues.
    const { commands, keys } = this.#consumer.links;
    if (commands.isReady) commands.call('unlink', [keys.promoter]).catch(() => {});
  }

  /** Something becomes due in so many milliseconds. */
  dueIn(delayMs: number): void {
    const atMs = performance.now() + Math.max(delayMs, SOONEST_MS);
    if (atMs >= this.#promoteAtMs) return;
    this.#promoteAtMs = atMs;
    this.#arm();
  }

  /** Runs what is due; false when nothing is. */
  runIfDue(): boolean {
    const nowMs = performance.now();
    if (nowMs >= this.#sweepAtMs || (nowMs >= this.#blockedAtMs && this.#consumer.credit > 0))
      return this.#consumer.exclusively(() => this.#sweep());
    if (nowMs >= this.#promoteAtMs) return this.#consumer.exclusively(() => this.#promote());
    // Timers may fire a fraction of a millisecond early; the fired one must not have been the last.
    if (this.#timer === undefined) this.#arm();
    return false;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const atMs = Math.min(this.#sweepAtMs, this.#promoteAtMs);
    if (atMs === Infinity || !this.#consumer.isRunning) return;
    const delayMs = Math.min(Math.max(0, Math.ceil(atMs - performance.now())), 0x7fffffff);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#consumer.planPump();
    }, delayMs);
  }

  async #promote(): Promise<readonly Taken[]> {
    this.#promoteAtMs = Infinity;
    try {
      const { commands, keys } = this.#consumer.links;
      const { moved, nextInMs, refused } = await promote(commands, keys, PROMOTE_PAGE);
      if (refused.length > 0) await this.#parkRefused(refused);
      // Others were faster: somewhat later next time, so that a fleet does not come to every message.
      if (nextInMs !== null) this.dueIn(moved > 0 ? nextInMs : nextInMs + Math.random() * OTHERS_FIRST_MS);
      return [];
    } catch (error) {
      this.dueIn(1_000);
      throw error;
    }
  }

  /** The list of a queue is a key of another kind, and stays one: left where they are, its messages would come again each minute. */
  async #parkRefused(refused: readonly Refused[]): Promise<void> {
    const { links, options } = this.#consumer;
    const foreign = refused.filter(({ reason }) => /\bWRONGTYPE\b/.test(reason));
    options.logger.error(
      { messages: refused.length, parked: foreign.length, cause: refused[0]?.reason },
      'redis: delayed messages whose time has come were refused by their queue',
    );
    const letters = foreign.map((each) => deadLetterOf(each, options.consumerName));
    if (letters.length > 0) await parkDelayed(links.commands, links.keys, letters);
  }

  async #sweep(): Promise<readonly Taken[]> {
    const { options, links } = this.#consumer;
    // The next look in any case: whatever goes wrong below must not end the looking.
    const startMs = performance.now();
    this.#sweepAtMs = startMs + options.leaseMs;
    if (startMs - links.commands.lastAliveMs > Math.max(options.leaseMs / 2, LOOK_TWICE_MS))
      this.#beQuietUntil(startMs + Math.min(options.leaseMs / 3, LOOK_TWICE_MS));
    let skip = 0;
    let blocked: string | null = null;
    let started: string | null = null;
    let isFull = true;
    while (isFull && this.#consumer.isRunning) {
      const reply = await this.#page(skip);
      skip += reply.kept;
      blocked ??= reply.blockedScore;
      started ??= reply.nowScore;
      isFull = reply.looked === SWEEP_PAGE;
      if (isFull) continue;
      if (reply.dueInMs !== null) this.dueIn(reply.dueInMs);
      // A queue that holds something although nobody woke us: the back-stop for a lost wake-up.
      if (reply.readyLists > 0) this.#consumer.onFound(this.#tagBefore === this.#consumer.lastTag);
      this.#tagBefore = this.#consumer.lastTag;
      void this.#canary.seen(reply.hasCanary);
      const nowMs = performance.now();
      const againMs = nowMs < this.#quietUntilMs ? this.#quietUntilMs : nowMs + BLOCKED_AGAIN_MS;
      this.#blockedAtMs = blocked === null ? Infinity : Math.max(this.#quietUntilMs, nowMs + SWEEP_APART_MS);
      const nextMs = blocked === null ? nowMs + (reply.leaseEndsInMs ?? Infinity) + AFTER_LEASE_MS : againMs;
      this.#sweepAtMs = Math.min(this.#sweepAtMs, nextMs);
    }
    this.#passes += 1;
    if (!isFull) this.#fromScore = this.#passes % FULL_PASS_EVERY === 0 ? '-inf' : (blocked ?? started ?? '-inf');
    if (links.commands.isReady) this.#arm();
    return [];
  }

  async #page(skip: number): Promise<Awaited<ReturnType<typeof sweep>>> {
    const consumer = this.#consumer;
    const { tagPrefix, options } = consumer;
    const { keys, commands } = consumer.links;
    const askedMs = performance.now();
    const askedWallMs = Date.now();
    const leaseEndsMs = askedMs + options.leaseMs;
    const notAfterMs = Math.min(askedMs + this.#serverAheadMs + options.leaseMs / 3, Number.MAX_SAFE_INTEGER);
    const credit = askedMs < this.#quietUntilMs ? 0 : consumer.credit;
    const { lastTag } = consumer;
    const last = lastTag + Math.max(0, Math.min(credit, SWEEP_PAGE));
    consumer.asked = { tagPrefix, first: lastTag + 1, last, takesOver: true };
    const reply = await sweep(commands, {
      unacked: keys.unacked,
      unackedIndex: keys.unackedIndex,
      delayed: keys.delayed,
      canary: this.#canary.key,
      revokedVersion: keys.revokedVersion,
      promoter: keys.promoter,
      promoterMs: options.leaseMs * PROMOTER_LEASES,
      lists: this.#lists,
      credits: consumer.queues.all.map((queue) => queue.credit),
      total: credit,
      leaseMs: options.leaseMs,
      tagPrefix,
      lastTag,
      globalPrefix: keys.prefix,
      fromScore: this.#fromScore,
      skip,
      limit: SWEEP_PAGE,
      lossTtlMs: LOSS_TTL_MS,
      notAfterMs,
    });
    consumer.asked = null;
    options.onRevocations?.(reply.revocations);
    const serverMs = Number(reply.nowScore) * 1_000;
    if (serverMs > notAfterMs) this.#beQuietUntil(performance.now() + options.leaseMs);
    this.#serverAheadMs = serverMs - askedMs;
    this.clockAheadMs = clockAhead(askedWallMs, serverMs, Date.now());
    const taken: Taken[] = reply.taken.map(({ queue, losses, raw }) => ({
      tag: tagPrefix + ++consumer.lastTag,
      list: listFor((consumer.queues.all[queue] as QueueState).name, raw),
      raw,
      losses,
    }));
    if (taken.length > 0) {
      options.logger.warn({ taken: taken.length }, 'redis: took over messages of a worker whose lease ended');
      consumer.take(taken, leaseEndsMs);
      consumer.deliveries.hand(taken);
    }
    return reply;
  }

  #beQuietUntil(atMs: number): void {
    this.#quietUntilMs = Math.max(this.#quietUntilMs, atMs);
  }
}

/**
 * The server said its time between the two of ours. Equal clocks are told as equal to the millisecond, so that due times stay what was
 * asked for; of others rather too much ahead, because what comes too early is put off again.
 */
function clockAhead(askedMs: number, serverMs: number, answeredMs: number): number {
  if (serverMs >= askedMs - 1 && serverMs <= answeredMs + 1) return 0;
  return Math.round(Math.min(serverMs - askedMs, serverMs - answeredMs + CLOCK_DOUBT_MS));
}
