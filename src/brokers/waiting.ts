/**
 * Waiting messages: the part of the broker seam for people who look for a task in a queue, take it out, or move it to
 * another queue. Owns paging, filters, steps and reports, once for all drivers; a driver brings a `WaitingWalk`.
 *
 * Bounded: one step is in memory, a walk sees what was there when it began, and what is found is limited.
 * Next stop: `redis/waiting.ts`, `file/waiting.ts`, `memory/waiting.ts`, `rabbitmq/waiting.ts`.
 */
import { type BrokerError, ConfigError } from '../core/errors.js';
import type { WireMessage } from '../wire/message.js';
import { taskOf } from './dead-letters.js';

/** All given conditions hold; `{}` = every message. */
export interface WaitingFilter {
  readonly ids?: readonly string[] | undefined;
  readonly task?: string | undefined;
}

/** A message in a queue, without its body. */
export interface WaitingMessage {
  readonly queue: string;
  readonly id: string | null;
  readonly task: string | null;
  /** When it is due, if it waits for a time; wall milliseconds. */
  readonly notBeforeMs: number | null;
  readonly headers: Readonly<Record<string, unknown>>;
}

export interface WaitingProgress {
  /** Messages looked at so far … */
  readonly looked: number;
  /** … of so many, about: the queue goes on living. */
  readonly total: number;
  /** Found, removed or moved so far. */
  readonly done: number;
}

export interface WaitingOptions {
  /** How long one step may take, reconnects included. */
  readonly timeoutMs: number;
  /** Ends after so many. Of `find` 100 by default and `MOST_FOUND` at most; else no limit by default. */
  readonly limit?: number | undefined;
  /** Stops between two steps; what was done stays done. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: WaitingProgress) => void) | undefined;
}

export interface WaitingWork extends WaitingOptions {
  /** Counts what would be done, and touches nothing. */
  readonly dryRun?: boolean | undefined;
}

export interface WaitingReport {
  readonly looked: number;
  /** Messages that were removed or moved; with `dryRun` those that would be. */
  readonly done: number;
  /** Ids that were asked for and do not wait in this queue. */
  readonly missing: readonly string[];
}

/** What waits in the queues of a broker: ready, or for a time where the broker can tell. What workers hold is not touched, and what is no message stays. */
export interface WaitingMessages {
  /** In the order of serving, delayed ones last. */
  find(queue: string, filter: WaitingFilter, options: WaitingOptions): Promise<readonly WaitingMessage[]>;
  /** Removes messages for good. No worker, result or revocation hears of it. */
  remove(queue: string, filter: WaitingFilter, work: WaitingWork): Promise<WaitingReport>;
  /**
   * Moves messages to the back of another queue, in their order; delayed ones keep their time. Killed in the middle, it has
   * moved a part: nothing is lost, and where the broker has no step for both (RabbitMQ) the messages of one step may be in both queues.
   * @throws ConfigError `E_CONFIG_CONFLICT` when both are the same queue
   */
  move(from: string, to: string, filter: WaitingFilter, work: WaitingWork): Promise<WaitingReport>;
}

/** What `find` gives at most. */
export const MOST_FOUND = 10_000;
const DEFAULT_FOUND = 100;

/** A step: so many messages, or so much of them. */
const STEP_MESSAGES = 500;
const STEP_BYTES = 8 * 1_048_576;
/** Before anything is known of their size. */
const FIRST_STEP = 8;

/**
 * What a walk is for: `look` changes nothing, `pick` takes a few out, `sift` takes out all that match and goes through to the end.
 * A driver for which it makes no difference need not know.
 */
export type WalkPurpose = 'look' | 'pick' | 'sift';

/** A message as a walk meets it. */
export interface Met {
  readonly message: WireMessage;
  readonly notBeforeMs: number | null;
  /** Bytes that it took to read it. */
  readonly size: number;
}

/** A way through one queue, from what is served next to what is served last; over what was there when it began. */
export interface WaitingWalk<M extends Met = Met> {
  /** About how many there are. */
  readonly total: number;
  /** The next ones, at least one of `limit`; `null` = the end. What is no message counts and is not among them. */
  next(limit: number): Promise<{ readonly looked: number; readonly met: readonly M[] } | null>;
  /**
   * Removes messages of the last page, or puts them into queue `to`; each at once or not at all. `false` = somebody
   * has taken it meanwhile. A text = the broker refused it: it is where it was.
   */
  take(messages: readonly M[], to: string | null, timeoutMs: number): Promise<readonly (boolean | BrokerError)[]>;
  close(): Promise<void>;
}

export class WalkedMessages implements WaitingMessages {
  readonly #open: (queue: string, purpose: WalkPurpose) => Promise<WaitingWalk>;

  /** @param open throws once the broker was closed */
  constructor(open: (queue: string, purpose: WalkPurpose) => Promise<WaitingWalk>) {
    this.#open = open;
  }

  async find(queue: string, filter: WaitingFilter, options: WaitingOptions): Promise<readonly WaitingMessage[]> {
    const limit = Math.min(options.limit ?? DEFAULT_FOUND, MOST_FOUND);
    const found: WaitingMessage[] = [];
    await this.#walk(queue, filter, { ...options, limit }, 'look', async (_walk, matching) => {
      for (const { message, notBeforeMs } of matching) {
        const { task, taskId } = taskOf(message);
        found.push({ queue, id: taskId, task, notBeforeMs, headers: message.headers });
      }
      return matching.length;
    });
    return found;
  }

  remove(queue: string, filter: WaitingFilter, work: WaitingWork): Promise<WaitingReport> {
    return this.#take(queue, null, filter, work);
  }

  async move(from: string, to: string, filter: WaitingFilter, work: WaitingWork): Promise<WaitingReport> {
    if (from === to)
      throw new ConfigError('E_CONFIG_CONFLICT', `queue ${from} is where these messages are already: name another`);
    return this.#take(from, to, filter, work);
  }

  #take(queue: string, to: string | null, filter: WaitingFilter, work: WaitingWork): Promise<WaitingReport> {
    const few = filter.ids !== undefined || work.limit !== undefined;
    const purpose = work.dryRun === true ? 'look' : few ? 'pick' : 'sift';
    return this.#walk(queue, filter, work, purpose, async (walk, matching) => {
      if (purpose === 'look') return matching.length;
      const flags = await walk.take(matching, to, work.timeoutMs);
      const refused = flags.find((flag) => typeof flag !== 'boolean');
      if (refused) throw refused;
      return flags.filter((flag) => flag === true).length;
    });
  }

  /** Goes through the queue and does something with what matches, a step at a time. */
  async #walk(
    queue: string,
    { ids, task }: WaitingFilter,
    { limit = Infinity, signal, onProgress }: WaitingOptions,
    purpose: WalkPurpose,
    act: (walk: WaitingWalk, matching: readonly Met[]) => Promise<number>,
  ): Promise<WaitingReport> {
    const wanted = ids && new Set(ids);
    const walk = await this.#open(queue, purpose);
    let [looked, done, bytes, sized] = [0, 0, 0, 0];
    try {
      while (done < limit && wanted?.size !== 0) {
        signal?.throwIfAborted();
        const bySize = sized < FIRST_STEP ? FIRST_STEP : Math.floor((STEP_BYTES * sized) / (bytes + 1));
        const page = await walk.next(Math.max(1, Math.min(STEP_MESSAGES, bySize)));
        if (page === null) break;
        looked += page.looked;
        const matching: Met[] = [];
        for (const each of page.met) {
          bytes += each.size;
          sized += 1;
          if (done + matching.length >= limit) continue;
          const known = taskOf(each.message);
          if (task !== undefined && known.task !== task) continue;
          if (wanted && !(known.taskId !== null && wanted.delete(known.taskId))) continue;
          matching.push(each);
        }
        if (matching.length > 0) done += await act(walk, matching);
        onProgress?.({ looked, total: walk.total, done });
      }
    } finally {
      await walk.close();
    }
    return { looked, done, missing: wanted ? [...wanted] : [] };
  }
}
