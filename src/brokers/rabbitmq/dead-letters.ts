/**
 * The dead letters of RabbitMQ: one queue for all, `lovage.dead`. Nothing there can be found by its id, so every question
 * but the count walks through all of it (`dead-walk.ts`), once, however many letters are meant.
 */
import type { ConfirmPublisher } from '../../clients/amqp-publisher.js';
import type { SetupChannel } from '../../clients/amqp-setup.js';
import type { ErrorCode } from '../../core/error-codes.js';
import { BrokerError } from '../../core/errors.js';
import {
  DEFAULT_PAGE,
  type DeadFilter,
  type DeadLetter,
  type DeadLetterContent,
  type DeadLetters,
  type DeadPage,
  type DeadQuery,
  type DeadReport,
  type DeadSelection,
  DeadSum,
  DeadTally,
  type DeadTotals,
  type DeadWorkOptions,
  freshStart,
  LARGEST_PAGE,
  matchesFilter,
  type ReplayOptions,
} from '../dead-letters.js';
import { encodeForQueue } from './codec.js';
import type { DeadWalks } from './dead-walk.js';
import { depth } from './inspect.js';
import { DEAD_QUEUE, type Topology } from './topology.js';

/** For looking, which people do: the connection, and the end of somebody else's walk. */
const LOOK_MS = 10_000;

/** Refusals of one message; anything else that goes wrong with it goes wrong with all. */
const OF_ONE_MESSAGE: ReadonlySet<ErrorCode> = new Set(['E_MESSAGE_TOO_LARGE', 'E_PUBLISH_FAILED', 'E_QUEUE_MISSING']);

export interface RabbitmqDeadParts {
  readonly walks: DeadWalks;
  readonly publisher: ConfirmPublisher;
  readonly topology: Topology;
  readonly setup: () => SetupChannel;
  /** Throws once the broker was closed. */
  readonly assertOpen: () => void;
}

export class RabbitmqDeadLetters implements DeadLetters {
  readonly #parts: RabbitmqDeadParts;

  constructor(parts: RabbitmqDeadParts) {
    this.#parts = parts;
  }

  async count(): Promise<number> {
    this.#parts.assertOpen();
    const [dead] = await depth(this.#parts.setup(), [DEAD_QUEUE]);
    return dead?.ready ?? 0;
  }

  async totals(filter: DeadFilter = {}): Promise<DeadTotals> {
    const sum = new DeadSum();
    for await (const { found } of this.#walk(LOOK_MS))
      for (const { letter } of found) if (matchesFilter(filter, letter)) sum.add(letter);
    return sum;
  }

  async list({ filter = {}, cursor = null, limit = DEFAULT_PAGE }: DeadQuery = {}): Promise<DeadPage> {
    const wanted = Math.min(Math.max(1, limit), LARGEST_PAGE);
    const newest = new Newest(wanted + 1);
    for await (const { found } of this.#walk(LOOK_MS)) {
      for (const { letter } of found) {
        if (matchesFilter(filter, letter) && (cursor === null || placeOf(letter) < cursor)) newest.add(letter);
      }
    }
    const letters = newest.sorted();
    const page = letters.slice(0, wanted);
    const last = page.at(-1);
    return { letters: page, next: letters.length > wanted && last ? placeOf(last) : null };
  }

  async get(id: string): Promise<DeadLetterContent | null> {
    for await (const { found } of this.#walk(LOOK_MS)) {
      const content = found.find(({ letter }) => letter.id === id);
      if (content) return { letter: content.letter, raw: content.raw, message: content.message };
    }
    return null;
  }

  async replay(which: DeadSelection, options: ReplayOptions): Promise<DeadReport> {
    const { publisher, topology } = this.#parts;
    const tally = new DeadTally();
    for await (const { step, chosen } of this.#chosen(which, options, tally)) {
      const going = chosen.filter((content) => {
        if (content.message === null) tally.refuseGarbage(content.letter);
        return content.message !== null;
      });
      const letters = going.map(({ letter }) => letter);
      const messages = going.flatMap(({ message }) => message ?? []);
      if (letters.length > 0) await options.beforeStep?.(letters, messages);
      const queueOf = ({ queue }: DeadLetter): string => options.queue ?? queue;
      for (const queue of new Set(letters.map(queueOf)))
        if (!topology.hasQueue(queue)) await topology.queue(queue, options.timeoutMs);
      const failures = await publisher.publish(
        going.map(({ letter, message }) => ({
          exchange: '',
          routingKey: queueOf(letter),
          ...encodeForQueue(freshStart(message as NonNullable<typeof message>), undefined, 'queue'),
        })),
        { timeoutMs: options.timeoutMs },
      );
      for (const [index, failure] of failures.entries()) {
        const content = going[index] as DeadLetterContent;
        if (failure === null) {
          step.remove(content);
          tally.done += 1;
        } else if (OF_ONE_MESSAGE.has(failure.code)) {
          if (failure.missing) topology.forget();
          tally.refuse({ id: content.letter.id, code: failure.code, message: failure.message });
        }
      }
      options.onProgress?.(tally.done + tally.refusedCount);
      const broken = failures.find((failure) => failure !== null && !OF_ONE_MESSAGE.has(failure.code));
      if (broken) throw new BrokerError(broken.code, `the replay stopped: ${broken.message}`, { cause: broken.cause });
    }
    return tally;
  }

  async purge(which: DeadSelection, options: DeadWorkOptions): Promise<DeadReport> {
    const tally = new DeadTally();
    for await (const { step, chosen } of this.#chosen(which, options, tally)) {
      for (const content of chosen) step.remove(content);
      tally.done += chosen.length;
      options.onProgress?.(tally.done);
    }
    return tally;
  }

  #walk(timeoutMs: number): ReturnType<DeadWalks['walk']> {
    this.#parts.assertOpen();
    return this.#parts.walks.walk(timeoutMs);
  }

  /** Steps with what was meant of them. What was named and did not turn up is missing. */
  async *#chosen(which: DeadSelection, { timeoutMs, signal }: DeadWorkOptions, tally: DeadTally) {
    const named = 'ids' in which ? new Set(which.ids) : null;
    const filter = 'ids' in which ? {} : which.filter;
    for await (const step of this.#walk(timeoutMs)) {
      signal?.throwIfAborted();
      const chosen = step.found.filter(({ letter }) => (named ? named.delete(letter.id) : matchesFilter(filter, letter)));
      if (chosen.length > 0) yield { step, chosen };
      if (named?.size === 0) return;
    }
    if (named) tally.missing.push(...named);
  }
}

/** Where a letter stands among the others, as text that sorts; the cursor of a list. */
function placeOf({ parkedAtMs, id }: DeadLetter): string {
  return `${String(parkedAtMs).padStart(16, '0')} ${id}`;
}

/** The newest letters of all that are added; holds twice as many at most. */
class Newest {
  readonly #most: number;
  #letters: DeadLetter[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  add(letter: DeadLetter): void {
    this.#letters.push(letter);
    if (this.#letters.length >= 2 * this.#most) this.#letters = this.sorted();
  }

  sorted(): DeadLetter[] {
    return this.#letters.sort((a, b) => (placeOf(a) < placeOf(b) ? 1 : -1)).slice(0, this.#most);
  }
}
