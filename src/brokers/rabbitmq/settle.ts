/**
 * Settlements that need a copy elsewhere before the original may go: to the back of the queue, into the delay ladder, to the dead
 * letters. A copy is confirmed before the original is acknowledged, so a crash between the two makes a duplicate, never a loss.
 */
import { retryDelayMs } from '../../clients/amqp.js';
import type { AmqpOutgoing } from '../../clients/amqp-batch.js';
import type { ConfirmPublisher } from '../../clients/amqp-publisher.js';
import { sleep } from '../../core/clock.js';
import { toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Delivery, Settlement, SettleResult } from '../broker.js';
import { encodeCopy, encodeForQueue, rawCopy, redelivered } from './codec.js';
import { encodeDead, type Parking, parking, wrap } from './dead-codec.js';
import { delayRoute, legMs } from './delay.js';
import type { Held } from './held.js';
import type { Session } from './session.js';
import { DEAD_QUEUE, type Topology } from './topology.js';

const TOO_LARGE = {
  code: 'E_MESSAGE_TOO_LARGE',
  reason: 'its headers are larger than the 64 KiB that can be written, so it could not be put back',
} as const;

/** One try; what fails is tried again for as long as the delivery is ours. */
const TRY_MS = 10_000;

/** A settlement that needs a copy: what it is about, and where its answer goes. */
export interface Slow {
  readonly index: number;
  readonly settlement: Settlement;
  readonly held: Held;
}

export class Settler {
  readonly #publisher: ConfirmPublisher;
  readonly #topology: Topology;
  readonly #logger: Logger;
  readonly #nowMs: () => number;

  constructor(publisher: ConfirmPublisher, topology: Topology, logger: Logger, nowMs: () => number) {
    this.#publisher = publisher;
    this.#topology = topology;
    this.#logger = logger;
    this.#nowMs = nowMs;
  }

  /** Copies first, confirmed; then the originals are acknowledged, and theirs is `held` in `results`. `by`: who parks. */
  async settle(session: Session, slow: readonly Slow[], results: SettleResult[], by: string): Promise<void> {
    const stillOurs = (each: number): boolean => session.held.has(slow[each]!.held.arrival.tag);
    const copied = await this.#copied(slow, stillOurs, by);
    const acked: number[] = [];
    slow.forEach(({ held, index }, each) => {
      if (!copied[each] || !session.held.has(held.arrival.tag)) return;
      session.ack(held);
      acked.push(index);
    });
    if (acked.length > 0 && (await session.flush())) for (const index of acked) results[index] = 'held';
  }

  /** Publishes the copies until the broker has confirmed them, or `stillOurs` says that the delivery is lost. True = confirmed. Never rejects. */
  async #copied(wanted: readonly Slow[], stillOurs: (each: number) => boolean, by: string): Promise<readonly boolean[]> {
    const done = new Array<boolean>(wanted.length).fill(false);
    const tooLarge = new Set<number>();
    const parkings: (Parking | undefined)[] = [];
    const parked = (each: number): Parking => {
      const { settlement } = wanted[each]!;
      const reason = settlement.kind === 'park' ? settlement.reason : TOO_LARGE;
      parkings[each] ??= parking(settlement.arrival, reason, by, this.#nowMs());
      return parkings[each];
    };
    let open = wanted.map((_, each) => each);
    for (let tries = 0; open.length > 0; tries += 1) {
      if (tries > 0 && open.some((each) => !tooLarge.has(each))) await sleep(retryDelayMs(tries));
      open = open.filter(stillOurs);
      try {
        const messages: AmqpOutgoing[] = [];
        for (const each of open) {
          const { settlement, held } = wanted[each]!;
          messages.push(
            tooLarge.has(each)
              ? await this.#wrapped(settlement, held, parked(each))
              : await this.#copyOf(settlement, held, () => parked(each), tries),
          );
        }
        const failures = await this.#publisher.publish(messages, { timeoutMs: TRY_MS });
        open = open.filter((each, position) => {
          const failure = failures[position];
          if (!failure) done[each] = true;
          else {
            if (failure.missing) this.#topology.forget();
            if (failure.code === 'E_MESSAGE_TOO_LARGE') tooLarge.add(each);
            this.#logger.warn(
              { error: failure.message, queue: wanted[each]!.held.arrival.queue },
              'a copy was not confirmed, trying again',
            );
          }
          return failure !== null;
        });
      } catch (error) {
        this.#logger.warn({ error: toError(error).message }, 'settling failed, trying again');
      }
    }
    return done;
  }

  async #copyOf(settlement: Settlement, held: Held, parked: () => Parking, tries: number): Promise<AmqpOutgoing> {
    const { queue } = settlement.arrival;
    switch (settlement.kind) {
      case 'defer': {
        const message = settlement.message ?? settlement.arrival.message;
        return this.#later(kept(settlement.arrival, message), settlement.untilMs, settlement.to?.queue ?? queue);
      }
      case 'park': {
        await this.#topology.dead(TRY_MS);
        const original = held.received ? rawCopy(held.received) : encodeCopy((settlement.arrival as Delivery).message);
        return { exchange: '', routingKey: DEAD_QUEUE, ...encodeDead(original, parked()) };
      }
      default: {
        // To its front, as far as there is one: workers of ours take orphans first. It may have been deleted.
        const orphans =
          settlement.kind === 'requeue' && settlement.where === 'front' && tries === 0
            ? held.session.orphansOf(queue)
            : undefined;
        const copy = encodeCopy(kept(settlement.arrival as Delivery));
        if (orphans !== undefined) return { exchange: '', routingKey: orphans, ...copy };
        await this.#topology.queue(queue, TRY_MS);
        return { exchange: '', routingKey: queue, ...copy };
      }
    }
  }

  /** What no copy can carry is parked whole: tried as it is, it would be tried for ever. */
  async #wrapped(settlement: Settlement, held: Held, parked: Parking): Promise<AmqpOutgoing> {
    await this.#topology.dead(TRY_MS);
    const message = settlement.kind === 'defer' ? settlement.message : undefined;
    const original = held.received ?? message ?? (settlement.arrival as Delivery).message;
    return { exchange: '', routingKey: DEAD_QUEUE, ...encodeDead(wrap(original), parked) };
  }

  async #later(message: Delivery['message'], untilMs: number, queue: string): Promise<AmqpOutgoing> {
    const nowMs = this.#nowMs();
    if (untilMs <= nowMs) {
      if (!this.#topology.hasQueue(queue)) await this.#topology.queue(queue, TRY_MS);
      return { exchange: '', routingKey: queue, ...encodeForQueue(message, undefined, 'queue') };
    }
    if (!this.#topology.hasDelay(queue)) {
      await this.#topology.delay(queue, TRY_MS);
      return this.#later(message, untilMs, queue); // that may have taken seconds
    }
    const { exchange, routingKey } = delayRoute(legMs(message, untilMs, nowMs), queue, this.#topology.delayWord(queue));
    return { exchange, routingKey, ...encodeForQueue(message, undefined, 'delay') };
  }
}

/** What takes the delivery's place in a queue: marked if somebody may have had the delivery before, for the flag of the broker stays behind. */
function kept(delivery: Delivery, message = delivery.message): Delivery['message'] {
  // Losses belong to the message itself: a successor in its place is a new one, on other brokers too.
  return delivery.redelivered ? redelivered(message, message === delivery.message ? delivery.losses : 0) : message;
}
