/**
 * The event `task-sent` of each task that the broker has confirmed, for apps with `sendSentEvent` (wire section 9). A send never
 * waits for it: what the broker does not take in time is dropped, with a count.
 */
import type { OutgoingMessage } from '../../brokers/broker.js';
import { type Clock, utcOffset } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import { encodeEvent, type WireEvent } from '../../wire/event-message.js';
import type { Gateway } from '../gateway.js';

/** Events that may be under way at once; those beyond it are dropped. */
export const MAX_SENT_EVENTS = 1_000;
const WARN_EVERY_MS = 60_000;

export class SentEvents {
  /** Since the start. */
  dropped = 0;
  readonly #gateway: () => Gateway;
  readonly #hostname: string;
  readonly #logger: () => Logger;
  #underWay = 0;
  /** A client's logical clock is in step with nobody's, in Celery too; it orders the events of this client. */
  #clock = 0;
  #warnedMs = Number.NEGATIVE_INFINITY;

  /** @param hostname what the client is called: Celery's `gen<pid>@<host>` */
  constructor(gateway: () => Gateway, hostname: string, logger: () => Logger) {
    this.#gateway = gateway;
    this.#hostname = hostname;
    this.#logger = logger;
  }

  /** Tells of a message that was confirmed. Never throws. */
  tell({ to, message }: OutgoingMessage, clock: Clock): void {
    if (this.#underWay >= MAX_SENT_EVENTS) return this.#drop(clock);
    const { headers } = message;
    this.#clock += 1;
    const event: WireEvent = {
      hostname: this.#hostname,
      utcoffset: utcOffset(),
      pid: process.pid,
      clock: this.#clock,
      uuid: headers.id,
      root_id: headers.root_id ?? null,
      parent_id: headers.parent_id ?? null,
      name: headers.task,
      args: headers.argsrepr ?? null,
      kwargs: headers.kwargsrepr ?? null,
      retries: headers.retries ?? 0,
      eta: headers.eta ?? null,
      expires: headers.expires ?? null,
      queue: to.queue,
      exchange: to.exchange ?? '',
      routing_key: to.routingKey ?? to.queue,
      timestamp: clock.nowMs() / 1_000,
      type: 'task-sent',
    };
    this.#underWay += 1;
    void this.#send(event)
      .catch(() => this.#drop(clock))
      .finally(() => {
        this.#underWay -= 1;
      });
  }

  async #send(event: WireEvent): Promise<void> {
    await this.#gateway().broadcast(encodeEvent(event));
  }

  #drop(clock: Clock): void {
    this.dropped += 1;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#warnedMs < WARN_EVERY_MS) return;
    this.#warnedMs = nowMs;
    this.#logger().warn({ dropped: this.dropped }, 'events task-sent were dropped: the broker did not take them in time');
  }
}
