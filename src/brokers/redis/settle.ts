/**
 * How deliveries end on Redis: ack, requeue, defer, park. Everything of one call goes out in one round trip, each kind as
 * one script. Waits through outages: a settlement is repeated until it is answered or the consumer is closed, and a
 * repeated one is safe because its tag is gone once it was done.
 */
import { randomUUID } from 'node:crypto';
import { RedisLinkError } from '../../clients/redis.js';
import { BrokerError } from '../../core/errors.js';
import { encodeEnvelope, queueKey } from '../../wire/redis-envelope.js';
import type { Arrival, ParkReason, Settlement, SettleResult } from '../broker.js';
import { deadFacts, newDeadLetterId } from '../dead-letters.js';
import type { RedisConsumer } from './consume.js';
import type { RedisDeadFacts } from './dead-letters.js';
import type { Held } from './held.js';
import { checkQueueName } from './keys.js';
import { forgetLosses, lossesKey } from './losses.js';
import { markRedelivered } from './redelivered.js';
import { ack } from './scripts/ack.js';
import { defer } from './scripts/defer.js';
import { delayedMember, delayedTask } from './scripts/delayed-member.js';
import { type Park, park } from './scripts/park.js';
import { requeue } from './scripts/requeue.js';

type Of<K extends Settlement['kind']> = Extract<Settlement, { readonly kind: K }>;
/** For each message: held, lost, or why Redis refused. */
type Flags = readonly (boolean | string)[];

/** A successor has losses of its own, under its own tag. */
function endsMessage(settlement: Settlement): boolean {
  return (
    settlement.kind === 'ack' || settlement.kind === 'park' || (settlement.kind === 'defer' && settlement.message !== undefined)
  );
}

export class RedisSettler {
  readonly #consumer: RedisConsumer;
  readonly #stop = new AbortController();

  constructor(consumer: RedisConsumer) {
    this.#consumer = consumer;
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const results = new Array<SettleResult>(settlements.length).fill('lost');
    const { held } = this.#consumer;
    const nowMs = performance.now();
    const groups: Record<Settlement['kind'], { holds: Held[]; positions: number[] }> = {
      ack: { holds: [], positions: [] },
      requeue: { holds: [], positions: [] },
      defer: { holds: [], positions: [] },
      park: { holds: [], positions: [] },
    };
    for (let at = 0; at < settlements.length; at += 1) {
      const settlement = settlements[at] as Settlement;
      const hold = held.get(settlement.arrival.tag);
      // An ended lease is lost, even if nobody has taken the message over yet; the next renewal tells so.
      if (!hold || hold.isSettling || nowMs >= hold.leaseEndsMs) continue;
      hold.isSettling = true;
      const group = groups[settlement.kind];
      group.holds.push(hold);
      group.positions.push(at);
    }
    const work: Promise<void>[] = [];
    for (const kind of ['ack', 'requeue', 'defer', 'park'] as const) {
      const { holds, positions } = groups[kind];
      if (holds.length === 0) continue;
      const part = positions.map((at) => settlements[at] as Settlement);
      work.push(
        this.#untilAnswered(holds, this.#prepare(kind, holds, part), part).then((flags) => {
          positions.forEach((at, index) => {
            if (flags === null || flags[index]) results[at] = 'held';
          });
          forgetLosses(
            this.#consumer.links,
            holds.filter((_, index) => (flags === null || flags[index]) && endsMessage(part[index] as Settlement)),
          );
          if (flags?.includes(false)) this.#consumer.leases.giveBack(holds.filter((_, index) => !flags[index]));
        }),
      );
    }
    await Promise.all(work);
    return results;
  }

  /** Everything that is held goes back to the front of its list, the oldest in front. Resolves with how many. */
  async handBack(): Promise<number> {
    const holds = this.#consumer.held.all().filter((hold) => !hold.isSettling);
    for (const hold of holds) hold.isSettling = true;
    const flags = await this.#untilAnswered(
      holds,
      this.#requeueStep(holds, () => 'front'),
    );
    return flags === null ? holds.length : flags.filter(Boolean).length;
  }

  /**
   * To the front of their lists what is still filed under these tags; takes the loss back of what was taken over. One try.
   * Answers for each whether it was still filed, or why its list refused it.
   */
  async giveBack(holds: readonly Held[]): Promise<Flags> {
    return this.#requeueStep(holds, () => 'front')();
  }

  /** Settlements that wait for a connection give up. */
  close(): void {
    this.#stop.abort(new BrokerError('E_CLOSED', 'the consumer was closed before the broker could be reached'));
  }

  #prepare(kind: Settlement['kind'], holds: readonly Held[], settlements: readonly Settlement[]): () => Promise<Flags | null> {
    const { commands, keys } = this.#consumer.links;
    switch (kind) {
      case 'ack': {
        const tags = holds.map(({ tag }) => tag);
        return () => ack(commands, keys, tags);
      }
      case 'requeue':
        return this.#requeueStep(holds, (index) => (settlements[index] as Of<'requeue'>).where);
      case 'defer': {
        const defers = holds.map((hold, index) => this.#deferOf(hold, settlements[index] as Of<'defer'>));
        const soonestMs = Math.min(...defers.map(({ dueMs }) => dueMs)) - this.#consumer.clockAheadMs;
        return async () => {
          const flags = await defer(commands, keys, defers);
          this.#consumer.onDue(soonestMs - Date.now());
          return flags;
        };
      }
      case 'park': {
        const parkedAtMs = Date.now();
        const parks = holds.map((hold, index) => {
          const { arrival, reason } = settlements[index] as Of<'park'>;
          return this.#parkOf(hold, arrival, reason, parkedAtMs);
        });
        return () => park(commands, keys, parks);
      }
    }
  }

  #parkOf({ tag, raw }: Held, arrival: Arrival, reason: ParkReason, parkedAtMs: number): Park {
    const known = deadFacts(arrival, reason, this.#consumer.options.consumerName);
    const facts: RedisDeadFacts = { ...known, parkedAtMs, size: raw.length };
    return { tag, id: newDeadLetterId(parkedAtMs), facts: JSON.stringify(facts), element: raw };
  }

  /** From the last to the first for the front, because each goes in front of the one before: so they keep their order. */
  #requeueStep(holds: readonly Held[], where: (index: number) => 'front' | 'back'): () => Promise<Flags> {
    const { commands, keys } = this.#consumer.links;
    const front: number[] = [];
    const back: number[] = [];
    for (let index = 0; index < holds.length; index += 1) (where(index) === 'front' ? front : back).push(index);
    const order = [...front.reverse(), ...back];
    const messages = order.map((index) => {
      const { tag, list, raw } = holds[index] as Held;
      const envelope = markRedelivered(raw);
      return { tag, list: keys.prefix + list, where: where(index), envelope, losses: lossesKey(keys, raw) };
    });
    return async () => {
      const flags = await requeue(commands, keys, messages);
      const inPlace = new Array<boolean | string>(holds.length);
      order.forEach((index, at) => (inPlace[index] = flags[at] as boolean | string));
      return inPlace;
    };
  }

  #deferOf(hold: Held, settlement: Of<'defer'>): Parameters<typeof defer>[2][number] {
    const { untilMs, message, to } = settlement;
    const queue = to?.queue ?? hold.queue;
    if (to) checkQueueName(queue);
    let list = queue + hold.list.slice(hold.queue.length);
    let envelope: string | Buffer = hold.takenOver ? markRedelivered(hold.raw) : hold.raw;
    if (message) {
      list = queueKey(queue, message.properties.priority ?? 0);
      envelope = encodeEnvelope(message, {
        exchange: to?.exchange ?? '',
        routingKey: to?.routingKey ?? queue,
        deliveryTag: randomUUID(),
      });
    }
    const losses = hold.isSecured ? lossesKey(this.#consumer.links.keys, hold.raw) : '';
    const task = delayedTask((message ?? settlement.arrival.message).headers);
    const member = delayedMember(hold.tag, list, task, envelope);
    // By the server's clock, which says what is due: else a server that is ahead would give it back again and again until our time has come.
    return { tag: hold.tag, queue, dueMs: Math.ceil(untilMs) + this.#consumer.clockAheadMs, member, losses };
  }

  /** @param settlements those of the holds; without them a refused message cannot be parked */
  async #untilAnswered(
    holds: readonly Held[],
    step: () => Promise<Flags | null>,
    settlements: readonly Settlement[] = [],
  ): Promise<readonly boolean[] | null> {
    const { commands } = this.#consumer.links;
    try {
      for (let isRepeat = false; ; isRepeat = true) {
        try {
          await commands.whenReady(Infinity, this.#stop.signal);
          const flags = await step();
          return flags === null ? null : await this.#judge(holds, settlements, flags, isRepeat);
        } catch (error) {
          if (!(error instanceof RedisLinkError)) throw error;
        }
      }
    } finally {
      for (const { tag } of holds) this.#consumer.held.delete(tag);
    }
  }

  async #judge(
    holds: readonly Held[],
    settlements: readonly Settlement[],
    flags: Flags,
    isRepeat: boolean,
  ): Promise<readonly boolean[]> {
    const nowMs = performance.now();
    const parks: Park[] = [];
    let refusal: string | undefined;
    flags.forEach((flag, index) => {
      if (typeof flag !== 'string') return;
      const settlement = settlements[index];
      if (settlement && settlement.kind !== 'park' && /\bWRONGTYPE\b/.test(flag))
        parks.push(this.#parkOf(holds[index] as Held, settlement.arrival, { code: 'E_KEY_TYPE', reason: flag }, Date.now()));
      else refusal ??= flag;
    });
    if (parks.length > 0) refusal ??= await this.#parkRefused(parks);
    if (refusal !== undefined) {
      throw new BrokerError(
        'E_PUBLISH_FAILED',
        `Redis refused to move a message: ${refusal}. It stays in 'unacked' and comes back when its lease is over`,
      );
    }
    // Gone at a repeat, within a lease that nobody else can have ended: our first try did it before the connection died.
    return flags.map((flag, index) => flag !== false || (isRepeat && nowMs < (holds[index] as Held).leaseEndsMs));
  }

  /** The list or the delay set is a key of another kind, and stays one: put back, the messages would come again for ever. */
  async #parkRefused(parks: readonly Park[]): Promise<string | undefined> {
    const { links, options } = this.#consumer;
    options.logger.error(
      { messages: parks.length },
      'redis: a queue or its delay set holds something of another kind: what should go there is parked',
    );
    return (await park(links.commands, links.keys, parks)).find((flag) => typeof flag === 'string');
  }
}
