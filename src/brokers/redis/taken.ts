/** From what was taken out of Redis to what the engine gets: decoding, losses, and finding what a lost answer had taken. */
import { versionOf } from '../../clients/redis-timed-set.js';
import { toError, WireError } from '../../core/errors.js';
import { decodeEnvelope } from '../../wire/redis-envelope.js';
import type { Arrival, ConsumeOptions, Delivery } from '../broker.js';
import type { RedisLinks } from './connection.js';
import { listFor, unframe } from './held.js';
import { queueOf } from './keys.js';
import { countLosses, lossesKey } from './losses.js';
import type { QueueState } from './queues.js';
import { pop } from './scripts/pop.js';
import { renew } from './scripts/renew.js';

/** A message taken from Redis, not decoded yet. */
export interface Taken {
  readonly tag: string;
  /** The list it came from, without the global prefix. */
  readonly list: string;
  readonly raw: Buffer;
  /** Known for a take-over; `null`: look it up if the envelope says that somebody had it before. */
  readonly losses: number | null;
}

/** The tags that a command may use: if its answer is lost, they tell what it took. */
export interface Asked {
  readonly tagPrefix: string;
  readonly first: number;
  readonly last: number;
  /** It takes over what others held, so what it took has losses although its envelope does not say so. */
  readonly takesOver: boolean;
}

/** What to pop. */
export interface BatchRequest {
  readonly from: readonly QueueState[];
  /** Credit of each of them. */
  readonly credits: readonly number[];
  readonly total: number;
  readonly tagPrefix: string;
  readonly lastTag: number;
}

/** A batch ends once it has so many bytes: it stands in the memory of both sides. */
const LARGEST_BATCH_BYTES = 8 * 1024 * 1024;
/** Tags in one command. */
const PAGE = 4_000;

/** Pops a batch. A queue that cannot be read is named in the log and does not keep the others waiting. */
export async function fetchBatch(
  links: RedisLinks,
  { leaseMs, logger, onRevocations }: ConsumeOptions,
  { from, credits, total, tagPrefix, lastTag }: BatchRequest,
): Promise<{ readonly taken: readonly Taken[]; readonly hasDrained: boolean }> {
  const { unacked, unackedIndex, revokedVersion, prefix } = links.keys;
  const keys: string[] = [];
  const lists: string[] = [];
  for (let step = 0; step < (from[0] as QueueState).keys.length; step += 1) {
    for (const queue of from) {
      keys.push(queue.keys[step] as string);
      lists.push(queue.lists[step] as string);
    }
  }
  const { groups, hasDrained, revocations } = await pop(links.commands, {
    unacked,
    unackedIndex,
    revokedVersion,
    lists: keys,
    credits,
    total,
    leaseMs,
    tagPrefix,
    lastTag,
    globalPrefix: prefix,
    mostBytes: LARGEST_BATCH_BYTES,
  });
  onRevocations?.(revocations);
  const taken: Taken[] = [];
  for (const group of groups) {
    const list = lists[group.list] as string;
    if ('fault' in group) {
      logger.error(
        { queue: queueOf(list), list, cause: group.fault },
        'redis: a queue cannot be read; is its key something else than a list?',
      );
      continue;
    }
    for (const raw of group.messages) taken.push({ tag: tagPrefix + (lastTag + taken.length + 1), list, raw, losses: null });
  }
  return { taken, hasDrained };
}

/** Hands batches to the engine in the order in which they were taken, even when one of them has to ask for losses. */
export class Deliveries {
  readonly #links: RedisLinks;
  readonly #options: ConsumeOptions;
  /** Set while a batch waits for an answer. */
  #waiting: Promise<void> | null = null;

  constructor(links: RedisLinks, options: ConsumeOptions) {
    this.#links = links;
    this.#options = options;
  }

  /** Decodes, and hands over at once if nothing is to be asked. */
  hand(taken: readonly Taken[]): void {
    if (taken.length === 0) return;
    const arrivals = toArrivals(this.#links, taken);
    if (Array.isArray(arrivals) && !this.#waiting) return this.#options.onArrivals(arrivals);
    const before = this.#waiting;
    const inTurn = async (): Promise<void> => {
      await before;
      this.#options.onArrivals(await arrivals);
    };
    const waiting = inTurn().finally(() => {
      if (this.#waiting === waiting) this.#waiting = null;
    });
    this.#waiting = waiting;
  }

  /** Resolves once everything has been handed over. */
  async settled(): Promise<void> {
    while (this.#waiting) await this.#waiting;
  }
}

/** Decodes; what is no message becomes garbage. Asks Redis only for messages that somebody had before. */
function toArrivals(links: RedisLinks, taken: readonly Taken[]): Arrival[] | Promise<Arrival[]> {
  const arrivals: Arrival[] = new Array<Arrival>(taken.length);
  let suspects: Suspect[] | null = null;
  for (let at = 0; at < taken.length; at += 1) {
    const { tag, list, raw, losses } = taken[at] as Taken;
    const queue = queueOf(list);
    try {
      const { message, deliveryTag, redelivered } = decodeEnvelope(raw);
      arrivals[at] = { kind: 'delivery', tag, queue, message, redelivered: redelivered || losses !== null, losses: losses ?? 0 };
      if (redelivered && losses === null && deliveryTag !== '')
        (suspects ??= []).push({ at, key: links.keys.losses + deliveryTag });
    } catch (error) {
      const fault = error instanceof WireError ? error : new WireError('E_DECODE', toError(error).message, { cause: error });
      arrivals[at] = { kind: 'garbage', tag, queue, raw, fault };
    }
  }
  return suspects ? withLosses(links, arrivals, suspects) : arrivals;
}

interface Suspect {
  readonly at: number;
  /** Key of its losses. */
  readonly key: string;
}

/** A worker may have died with it before it was put back. */
async function withLosses(links: RedisLinks, arrivals: Arrival[], suspects: readonly Suspect[]): Promise<Arrival[]> {
  const counts = await countLosses(
    links,
    suspects.map(({ key }) => key),
  );
  suspects.forEach(({ at }, index) => {
    const losses = counts[index] as number;
    if (losses > 0) arrivals[at] = { ...(arrivals[at] as Delivery), losses };
  });
  return arrivals;
}

/** The connection died with a command under way. If it was carried out, its messages lie under tags that only we know. */
export async function findUnanswered(
  links: RedisLinks,
  asked: Asked,
  { leaseMs, onRevocations }: ConsumeOptions,
): Promise<Taken[]> {
  const { commands, keys } = links;
  onRevocations?.(versionOf(await commands.call('get', [keys.revokedVersion])));
  const found: Taken[] = [];
  for (let first = asked.first; first <= asked.last; first += PAGE) {
    const tags: string[] = [];
    for (let number = first; number <= Math.min(asked.last, first + PAGE - 1); number += 1) tags.push(asked.tagPrefix + number);
    const gone = new Set(await renew(commands, keys.unackedIndex, leaseMs, tags));
    const values = (await commands.call('hmget', [keys.unacked, ...tags])) as (Buffer | null)[];
    tags.forEach((tag, index) => {
      const value = values[index];
      const framed = value && !gone.has(index) ? unframe(value) : null;
      if (framed) found.push({ tag, list: listFor(framed.queue, framed.raw), raw: framed.raw, losses: null });
    });
  }
  if (!asked.takesOver) return found;
  const counts = await countLosses(
    links,
    found.map(({ raw }) => lossesKey(keys, raw)),
  );
  return found.map((taken, index) => ({ ...taken, losses: counts[index] as number }));
}
