/**
 * Dead letters of a broker that finds each by its id: memory, file and Redis. Owns paging, filters, steps and reports,
 * once for all of them; a driver brings the few operations of `DeadStore`. Holds at most one page or one step in memory.
 */
import { BrokerError, toError } from '../core/errors.js';
import type { WireMessage } from '../wire/message.js';
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
} from './dead-letters.js';

/** A letter on its way back. */
export interface DeadReturn {
  readonly letter: DeadLetter;
  readonly message: WireMessage;
  /** `null`: back to where it was, by its own exchange and routing key. */
  readonly queue: string | null;
}

/** What a driver does. Every call may be repeated after a lost answer. */
export interface DeadStore {
  count(): Promise<number>;
  /** Up to `limit` letters beyond this id in the given direction; from the end if `null`. In order. */
  page(towards: 'older' | 'newer', beyond: string | null, limit: number): Promise<readonly DeadLetter[]>;
  /** In order; `null` where there is none. */
  find(ids: readonly string[]): Promise<readonly (DeadLetter | null)[]>;
  /** In order; `null` where it has gone meanwhile. */
  contents(letters: readonly DeadLetter[]): Promise<readonly (DeadLetterContent | null)[]>;
  /** Puts messages into their queues and removes the letters, each in one step. `true` = done, `false` = it has gone meanwhile. */
  putBack(returns: readonly DeadReturn[], timeoutMs: number): Promise<readonly (boolean | BrokerError)[]>;
  /** How many of them were there. */
  remove(letters: readonly DeadLetter[], timeoutMs: number): Promise<number>;
}

/** Letters that a call of `list` looks at, at most. */
const MOST_LOOKED_AT = 10_000;
/** A step of a replay, whose contents are in memory, and of a purge, which has none. */
const REPLAY_STEP = { letters: 100, bytes: 8 * 1_048_576 };
const PURGE_STEP = { letters: LARGEST_PAGE, bytes: Infinity };

export class KeyedDeadLetters implements DeadLetters {
  readonly #store: DeadStore;

  constructor(store: DeadStore) {
    this.#store = store;
  }

  count(): Promise<number> {
    return this.#store.count();
  }

  async totals(filter: DeadFilter = {}): Promise<DeadTotals> {
    const sum = new DeadSum();
    for await (const page of this.#walk()) for (const letter of page) if (matchesFilter(filter, letter)) sum.add(letter);
    return sum;
  }

  async list({ filter = {}, cursor = null, limit = DEFAULT_PAGE }: DeadQuery = {}): Promise<DeadPage> {
    const wanted = Math.min(Math.max(1, limit), LARGEST_PAGE);
    // what a filter leaves out costs no page of its own
    const step = Object.values(filter).every((condition) => condition === undefined) ? wanted : LARGEST_PAGE;
    const letters: DeadLetter[] = [];
    let next = cursor;
    for (let looked = 0; looked < MOST_LOOKED_AT; ) {
      const page = await this.#store.page('older', next, step);
      for (const letter of page) {
        next = letter.id;
        if (matchesFilter(filter, letter)) letters.push(letter);
        if (letters.length === wanted) return { letters, next };
      }
      if (page.length < step) return { letters, next: null };
      looked += page.length;
    }
    return { letters, next };
  }

  async get(id: string): Promise<DeadLetterContent | null> {
    const [letter] = await this.#store.find([id]);
    if (!letter) return null;
    const [content] = await this.#store.contents([letter]);
    return content ?? null;
  }

  async replay(which: DeadSelection, options: ReplayOptions): Promise<DeadReport> {
    const tally = new DeadTally();
    for await (const letters of this.#steps(which, options, tally, REPLAY_STEP)) {
      const returns: DeadReturn[] = [];
      for (const [index, content] of (await this.#store.contents(letters)).entries()) {
        const letter = letters[index] as DeadLetter;
        if (content === null) tally.gone(which, letter.id);
        else if (content.message === null) tally.refuseGarbage(letter);
        else returns.push({ letter, message: freshStart(content.message), queue: options.queue ?? null });
      }
      if (returns.length === 0) continue;
      await options.beforeStep?.(
        returns.map(({ letter }) => letter),
        returns.map(({ message }) => message),
      );
      for (const [index, done] of (await this.#store.putBack(returns, options.timeoutMs)).entries()) {
        const { letter } = returns[index] as DeadReturn;
        if (done === true) tally.done += 1;
        else if (done === false) tally.gone(which, letter.id);
        else tally.refuse({ id: letter.id, code: done.code, message: done.message });
      }
      options.onProgress?.(tally.done + tally.refusedCount);
    }
    return tally;
  }

  async purge(which: DeadSelection, options: DeadWorkOptions): Promise<DeadReport> {
    const tally = new DeadTally();
    for await (const letters of this.#steps(which, options, tally, PURGE_STEP)) {
      tally.done += await this.#store.remove(letters, options.timeoutMs);
      options.onProgress?.(tally.done);
    }
    return tally;
  }

  /** Everything that is there now, oldest first: what is parked meanwhile comes behind it, and a replayed letter that is parked again must not be replayed again. */
  async *#walk(): AsyncGenerator<readonly DeadLetter[]> {
    let left = await this.#store.count();
    for (let beyond: string | null = null; left > 0; ) {
      const page: readonly DeadLetter[] = await this.#store.page('newer', beyond, Math.min(left, LARGEST_PAGE));
      const last = page.at(-1);
      if (!last) return;
      beyond = last.id;
      left -= page.length;
      yield page;
    }
  }

  async *#steps(
    which: DeadSelection,
    { signal }: DeadWorkOptions,
    tally: DeadTally,
    most: { readonly letters: number; readonly bytes: number },
  ): AsyncGenerator<readonly DeadLetter[]> {
    const pages = 'ids' in which ? this.#named([...new Set(which.ids)], tally) : this.#walk();
    const filter = 'ids' in which ? {} : which.filter;
    for await (const page of pages) {
      let step: DeadLetter[] = [];
      let bytes = 0;
      for (const letter of page) {
        if (!matchesFilter(filter, letter)) continue;
        if (step.length === most.letters || (step.length > 0 && bytes + letter.size > most.bytes)) {
          signal?.throwIfAborted();
          yield step;
          step = [];
          bytes = 0;
        }
        step.push(letter);
        bytes += letter.size;
      }
      signal?.throwIfAborted();
      if (step.length > 0) yield step;
    }
  }

  async *#named(ids: readonly string[], tally: DeadTally): AsyncGenerator<readonly DeadLetter[]> {
    for (let from = 0; from < ids.length; from += LARGEST_PAGE) {
      const asked = ids.slice(from, from + LARGEST_PAGE);
      const found = await this.#store.find(asked);
      tally.missing.push(...asked.filter((_, index) => !found[index]));
      yield found.filter((letter) => letter !== null);
    }
  }
}

/** A letter that could not be put back, as a reason for its report. */
export function putBackFault(error: unknown): BrokerError {
  return error instanceof BrokerError ? error : new BrokerError('E_PUBLISH_FAILED', toError(error).message, { cause: error });
}
