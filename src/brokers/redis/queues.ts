/** The queues of a consumer: their lists, their credit, and which of them are known to be empty. */
import { queueKeys } from '../../wire/redis-envelope.js';
import type { ConsumedQueue, ConsumeWish } from '../broker.js';
import { LeftQueues } from '../left-queues.js';
import { checkQueueName } from './keys.js';

/** Messages in one script: it must not keep other clients waiting for milliseconds. */
const LARGEST_POP = 500;
/** Splitting smaller credits costs more commands than it gains. */
const SMALLEST_HALF = 16;

export interface QueueState {
  readonly name: string;
  /** Names of its lists, soonest first, without and with the global prefix. */
  readonly lists: readonly string[];
  readonly keys: readonly string[];
  limit: number;
  credit: number;
  /** Messages taken so far. */
  taken: number;
  /** Found empty; a push will tell. */
  isDry: boolean;
  /** Woken while a pop was under way, whose answer may be older than the wake-up. */
  wasWoken: boolean;
}

export class QueueStates {
  all: readonly QueueState[];
  readonly #prefix: string;
  readonly #byKey = new Map<string, QueueState>();
  readonly #left = new LeftQueues();
  #turn = 0;
  /** The total credit as it was wished for. */
  #limit: number;

  /** @throws ConfigError `E_CONFIG_RANGE` */
  constructor(prefix: string, { queues, credit }: ConsumeWish) {
    this.#prefix = prefix;
    this.#limit = credit;
    this.all = queues.map((queue) => this.#stateOf(queue));
  }

  /** One half of the credit is worked on while the other is fetched. */
  get mostAtOnce(): number {
    return Math.min(LARGEST_POP, Math.max(SMALLEST_HALF, Math.ceil(this.#limit / 2)));
  }

  /**
   * To be called while no command that takes messages is under way. Returns by how much the total credit rises or falls.
   * @throws ConfigError `E_CONFIG_RANGE`; then nothing has changed
   */
  change({ queues, credit: total }: ConsumeWish): number {
    for (const { name } of queues) checkQueueName(name);
    const before = new Map(this.all.map((queue) => [queue.name, queue]));
    this.all = queues.map((wanted) => {
      const known = before.get(wanted.name);
      if (!known) {
        const state = this.#stateOf(wanted);
        state.credit -= this.#left.take(wanted.name);
        return state;
      }
      before.delete(wanted.name);
      known.credit += wanted.credit - known.limit;
      known.limit = wanted.credit;
      return known;
    });
    for (const { name, limit, credit, keys } of before.values()) {
      this.#left.add(name, limit - credit);
      for (const key of keys) this.#byKey.delete(key);
    }
    this.#turn = 0;
    const rise = total - this.#limit;
    this.#limit = total;
    return rise;
  }

  grant(name: string, count: number): void {
    const queue = this.all.find((candidate) => candidate.name === name);
    if (queue) queue.credit += count;
    else this.#left.grant(name, count);
  }

  #stateOf({ name, credit }: ConsumedQueue): QueueState {
    checkQueueName(name);
    const lists = queueKeys(name);
    const keys = lists.map((list) => this.#prefix + list);
    const queue = { name, limit: credit, credit, taken: 0, lists, keys, isDry: false, wasWoken: false };
    for (const key of keys) this.#byKey.set(key, queue);
    return queue;
  }

  /** The queue of a list, named without prefix. */
  of(list: string): QueueState | undefined {
    return this.#byKey.get(this.#prefix + list);
  }

  /** Those that may hold something and have credit; another one leads each time. */
  hungry(): QueueState[] {
    const found: QueueState[] = [];
    for (let step = 0; step < this.all.length; step += 1) {
      const queue = this.all[(this.#turn + step) % this.all.length] as QueueState;
      if (queue.credit > 0 && !queue.isDry) found.push(queue);
    }
    if (found.length > 0) this.#turn = (this.#turn + 1) % this.all.length;
    return found;
  }

  /** These keys got something (`null`: any may have). False when none of them is ours. */
  wake(keys: readonly string[] | null): boolean {
    let isOurs = false;
    for (const queue of keys === null ? this.all : keys.map((key) => this.#byKey.get(key))) {
      if (!queue) continue;
      isOurs = true;
      queue.isDry = false;
      queue.wasWoken = true;
    }
    return isOurs;
  }
}
