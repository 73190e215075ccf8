/**
 * A delivery is *claimed* by a copy that is published to a claim queue of this channel's own; when it has come to us the original is
 * acknowledged, and the copy is what we hold from then on. The reasons, and what happens when one of the steps is cut, are in
 * docs/decisions/rabbitmq-claims.md. Two things need it: the broker's `consumer_timeout`, which must not strike (what becomes half
 * as old is claimed, again and again), and counting losses: the copy says whose it is, so its return tells who may have died.
 *
 * While the channel lives the copy is delivered and not acknowledged, so its time to live does not run. When the channel ends, the
 * broker puts it back into the claim queue, finds it too old, and dead-letters it to its source queue, marked as redelivered.
 *
 * Bounded: one claim a delivery; one claim queue a source queue and channel, which the broker removes a day after its last use.
 * Next stop: `session.ts`, which holds the deliveries.
 */
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { AmqpOutgoing } from '../../clients/amqp-batch.js';
import type { ConfirmPublisher } from '../../clients/amqp-publisher.js';
import { AMQP_FORBIDDEN, amqpCode } from '../../clients/amqp-setup.js';
import { within } from '../../clients/within.js';
import { sleep } from '../../core/clock.js';
import { codeOf, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { encodeClaim } from './codec.js';
import type { Held } from './held.js';
import type { Holders } from './holders.js';
import type { Session } from './session.js';
import type { Topology } from './topology.js';

const DECLARE_MS = 10_000;
const LONGEST_LOOK_MS = 30_000;
const SHORTEST_LOOK_MS = 50;
const RETRY_MS = 1_000;
/** A claim may need a new queue, which takes longer than the shortest leases. */
const LEAST_TO_SECURE_MS = 5_000;
/**
 * Time to live of a copy in its claim queue. It runs once the channel has gone, when nobody waits for the copy any more; before,
 * the copy is pushed to us in the moment in which it is there. Longer only delays the take-over.
 */
const COPY_MS = 2_000;

export interface ClaimsOptions {
  readonly session: Session;
  readonly topology: Topology;
  readonly publisher: ConfirmPublisher;
  readonly logger: Logger;
  readonly holders: Holders;
  /** Age at which a delivery is claimed; `null` = no timeout strikes here. */
  readonly afterMs: number | null;
  /** How long a copy is waited for; in the claim queue it stays no longer. */
  readonly leaseMs: number;
}

/** A copy on its way from us to us. */
interface Pending {
  readonly held: Held;
  readonly sinceMs: number;
  /** Told once, whether the copy is ours or it came to nothing. */
  readonly end: () => void;
}

/** The claims of one session; ends with it. */
export class Claims {
  readonly #options: ClaimsOptions;
  /** By claim id. A delivery is in here at most once. */
  readonly #pending = new Map<string, Pending>();
  /** The claim queue of each source queue, once it can be published to. */
  readonly #queues = new Map<string, Promise<string>>();
  /** Deliveries that no copy can carry; told of once. Weak: they go with the delivery. */
  readonly #impossible = new WeakSet<Held>();
  readonly #stopped = new AbortController();
  /** No new claims. */
  readonly #finished = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #looking: Promise<void> | undefined;
  #emptied: (() => void) | undefined;

  constructor(options: ClaimsOptions) {
    this.#options = options;
    // Every claim listens to both while it is made; as many as there are deliveries.
    setMaxListeners(0, this.#stopped.signal, this.#finished.signal);
    // Six looks before the timeout strikes: a claim that fails has time to be tried again.
    const everyMs = Math.min(Math.max((options.afterMs ?? Infinity) / 6, SHORTEST_LOOK_MS), LONGEST_LOOK_MS);
    this.#timer = setInterval(() => (this.#looking ??= this.#look().finally(() => (this.#looking = undefined))), everyMs);
    this.#timer.unref();
  }

  /**
   * Claims a delivery before it is started, in our name. Resolves when that is done, or cannot be (headers that no copy can carry, a
   * broker that takes nothing for a lease or 5 s, the channel gone): then its loss would not be counted. Never rejects.
   */
  async secure(held: Held): Promise<void> {
    const { session, leaseMs } = this.#options;
    const deadline = performance.now() + Math.max(leaseMs, LEAST_TO_SECURE_MS);
    const wanted = (): boolean =>
      held.window !== null &&
      session.held.get(held.arrival.tag) === held &&
      !this.#finished.signal.aborted &&
      !this.#impossible.has(held) &&
      performance.now() < deadline;
    for (let tries = 0; wanted(); tries += 1) {
      if (tries > 0) await sleep(Math.min(RETRY_MS, leaseMs / 6), this.#finished.signal).catch(() => undefined);
      const ended = new Promise<void>((end) => {
        this.#claim([held], end).catch((error: unknown) => {
          if (isForbidden(error)) this.#impossible.add(held);
          if (wanted() || isForbidden(error)) this.#warn(error);
          end();
        });
      });
      await within(ended, deadline - performance.now());
    }
  }

  /** Begins no more claims, and resolves when those under way have come to their end: a copy must not outlive the delivery. */
  async finish(): Promise<void> {
    clearInterval(this.#timer);
    this.#finished.abort(new Error('the worker closes'));
    await this.#looking;
    if (this.#pending.size > 0) await new Promise<void>((resolve) => (this.#emptied = resolve));
  }

  /** The channel has gone, and every delivery with it: nothing more may be published. */
  stop(): void {
    clearInterval(this.#timer);
    this.#finished.abort(new Error('the channel has gone'));
    this.#stopped.abort();
    for (const id of [...this.#pending.keys()]) this.#settled(id);
    this.#emptied?.();
  }

  async #look(): Promise<void> {
    const { session, afterMs, leaseMs } = this.#options;
    const nowMs = performance.now();
    for (const [id, { sinceMs }] of this.#pending) if (nowMs - sinceMs > leaseMs) this.#settled(id);
    const pending = new Set([...this.#pending.values()].map(({ held }) => held));
    const due: Held[] = [];
    for (const held of session.held.values()) {
      if (
        nowMs - held.sinceMs >= (afterMs ?? Infinity) &&
        held.arrival.kind === 'delivery' &&
        !pending.has(held) &&
        !this.#impossible.has(held)
      )
        due.push(held);
    }
    if (due.length === 0 || !session.open) return;
    try {
      await this.#claim(due);
    } catch (error) {
      if (session.open && !this.#finished.signal.aborted) this.#warn(error);
    }
  }

  #warn(error: unknown): void {
    this.#options.logger.warn({ error: toError(error).message }, 'deliveries could not be claimed, trying again');
  }

  /** `end` is called for each of them, when it has been claimed or that came to nothing, unless this rejects. */
  async #claim(due: readonly Held[], end: () => void = () => undefined): Promise<void> {
    const { session, publisher, holders, logger, leaseMs } = this.#options;
    const ids: string[] = [];
    const outgoing: AmqpOutgoing[] = [];
    for (const held of due) {
      const { arrival } = held;
      if (arrival.kind !== 'delivery') continue;
      // Our sign of life first: a claim without it would look like that of a dead process.
      const [routingKey] = await Promise.all([this.#claimQueue(arrival.queue), holders.show()]);
      // The task may have ended while the queue was made.
      if (!session.open || session.held.get(arrival.tag) !== held) {
        end();
        continue;
      }
      const id = randomUUID();
      this.#pending.set(id, { held, sinceMs: performance.now(), end });
      ids.push(id);
      outgoing.push({ exchange: '', routingKey, ...encodeClaim(arrival, id, holders.id) });
    }
    // The signal: what a lost connection left unwritten must not be written on the next one, where the original has come back.
    const failures = await publisher.publish(outgoing, { timeoutMs: leaseMs, signal: this.#stopped.signal });
    failures.forEach((failure, index) => {
      const id = ids[index]!;
      if (failure === null || this.#stopped.signal.aborted) return;
      const held = this.#pending.get(id)?.held;
      this.#settled(id);
      if (!held) return;
      if (failure.code === 'E_MESSAGE_TOO_LARGE') this.#impossible.add(held);
      if (failure.missing) this.#queues.delete(held.arrival.queue);
      logger.warn({ queue: held.arrival.queue, error: failure.message }, 'a delivery could not be claimed');
    });
  }

  #claimQueue(source: string): Promise<string> {
    let queue = this.#queues.get(source);
    if (!queue) {
      queue = this.#makeQueue(source);
      this.#queues.set(source, queue);
      queue.catch(() => this.#queues.delete(source));
    }
    return queue;
  }

  async #makeQueue(source: string): Promise<string> {
    const { session, topology, leaseMs } = this.#options;
    const name = await topology.claims(source, Math.min(leaseMs, COPY_MS), DECLARE_MS);
    await session.receiveCopies(name, {
      onCopy: (deliveryTag, id) => this.#onCopy(deliveryTag, id),
      // Somebody deleted it, and the copies in it: everything that was claimed there is claimed anew at the next look.
      onCancelled: () => {
        this.#queues.delete(source);
        for (const held of session.held.values())
          if (held.window === null && held.arrival.queue === source) held.sinceMs = -Infinity;
      },
    });
    return name;
  }

  /** The copy is ours, so the original may go; or the delivery was settled meanwhile, and the copy must. */
  #onCopy(deliveryTag: number, id: string): void {
    const { session, logger } = this.#options;
    const held = this.#pending.get(id)?.held;
    if (held && session.held.get(held.arrival.tag) === held) {
      // Before the original has gone nothing may start: a task that kills us at once would leave both.
      void session.exchange(held, deliveryTag).then(() => this.#settled(id));
      logger.debug({ queue: held.arrival.queue }, 'a delivery was claimed');
    } else {
      this.#settled(id);
      session.drop(deliveryTag);
    }
  }

  #settled(id: string): void {
    this.#pending.get(id)?.end();
    this.#pending.delete(id);
    if (this.#pending.size === 0) this.#emptied?.();
  }
}

/** The user may not declare what claims need: trying again does not mend that. */
const isForbidden = (error: unknown): boolean => codeOf(error) === 'E_BROKER_AUTH' || amqpCode(error) === AMQP_FORBIDDEN;
