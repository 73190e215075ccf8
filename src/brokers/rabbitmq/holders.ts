/**
 * Who lives. Every process that holds claims has an exclusive queue as its sign of life: the broker removes it with the connection,
 * whatever the process died of. So a claim that came back can be told from a lost connection: whose queue stays away is dead.
 *
 * Bounded: a holder is looked for once at a time however many deliveries name it, so there are never more looks than deliveries
 * that wait for one (the credit); who was found dead is remembered for a lease. The queue goes with its connection.
 * Next stop: `inquests.ts`, where deliveries wait for the answer. Decision: docs/decisions/rabbitmq-losses.md.
 */
import { randomUUID } from 'node:crypto';
import { AMQP_NOT_FOUND, amqpCode, type SetupChannel } from '../../clients/amqp-setup.js';
import { sleep } from '../../core/clock.js';

const ASK_MS = 5_000;
const LONGEST_PAUSE_MS = 1_000;
const SHORTEST_PAUSE_MS = 100;

const queueOf = (holder: string): string => `lovage.node.${holder}`;

/** What `id` looks like. Any other text in a header is nobody's: it must not become part of a queue's name. */
export const isHolder = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f-]{36}$/.test(value);

/** One for a broker object: the holder that this process is, and questions about others. */
export class Holders {
  /** Ours; random, so that a restarted process is another holder. */
  readonly id = randomUUID();
  readonly #setup: SetupChannel;
  /** Looks under way, and those that ended with "dead" less than a lease ago. */
  readonly #looks = new Map<string, Promise<boolean>>();
  /** The sign of life on the connection of now. */
  #shown: Promise<void> | undefined;
  #wanted = false;

  /** @param setup on the connection that consumes: the queue must go when deliveries do */
  constructor(setup: SetupChannel) {
    this.#setup = setup;
  }

  /** Shows that we live; at once if that has been done. To be awaited before anything is claimed in our name. */
  show(): Promise<void> {
    this.#wanted = true;
    if (!this.#shown) {
      const shown = this.#setup
        .run(ASK_MS, (channel) => channel.assertQueue(queueOf(this.id), { exclusive: true, durable: false }))
        .then(() => undefined);
      this.#shown = shown;
      shown.catch(() => void (this.#shown === shown && (this.#shown = undefined)));
    }
    return this.#shown;
  }

  /** The connection has gone, and our queue with it. */
  hidden(): void {
    this.#shown = undefined;
  }

  /** A new connection: what we claimed on the last one may be in somebody's hands, who looks for us. */
  reconnected(): void {
    if (this.#wanted) this.show().catch(() => undefined); // a connection that broke again comes here again
  }

  /**
   * Whether the holder is dead. That takes until it has not been seen for `leaseMs`, because after a restart of the broker or a cut
   * connection everybody is away for a moment. Rejects when `signal` ends it.
   * @param goneMs how long it is known to have been away
   */
  async died(holder: string, leaseMs: number, signal: AbortSignal, goneMs = 0): Promise<boolean> {
    if (holder === this.id) return false;
    let look = this.#looks.get(holder);
    if (!look) {
      look = this.#look(holder, leaseMs - goneMs, signal);
      this.#looks.set(holder, look);
      const forget = (): void => void this.#looks.delete(holder);
      look.then((dead) => (dead ? void setTimeout(forget, leaseMs).unref() : forget()), forget);
    }
    return look;
  }

  async #look(holder: string, awayMs: number, signal: AbortSignal): Promise<boolean> {
    const pauseMs = Math.min(Math.max(awayMs / 6, SHORTEST_PAUSE_MS), LONGEST_PAUSE_MS);
    // Only time in which the broker said "not here" counts.
    let missingSince: number | undefined;
    for (;;) {
      signal.throwIfAborted();
      const seen = await this.#seen(holder);
      if (seen === true) return false;
      const nowMs = performance.now();
      if (seen === null) missingSince = undefined;
      else if (nowMs - (missingSince ??= nowMs) >= awayMs) return true;
      await sleep(pauseMs, signal);
    }
  }

  /** `null`: nobody could be asked. */
  #seen(holder: string): Promise<boolean | null> {
    return this.#setup
      .run(ASK_MS, (channel) => channel.checkQueue(queueOf(holder)))
      .then(
        () => true,
        (error: unknown) => {
          const code = amqpCode(error);
          if (code === AMQP_NOT_FOUND) return false;
          // 405 (RESOURCE_LOCKED): the queue is another connection's, which is what we wanted to know. Any other refusal is no proof of a death.
          return code === undefined ? null : true;
        },
      );
  }
}
