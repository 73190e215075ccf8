/** The queues of a consumer: their lists, their credit, and which of them are known to be empty. */
import { queueKeys } from '../../wire/redis-envelope.js';
import type { ConsumedQueue } from '../broker.js';
import { checkQueueName } from './keys.js';

export interface QueueState {
  readonly name: string;
  /** Names of its lists, soonest first, without and with the global prefix. */
  readonly lists: readonly string[];
  readonly keys: readonly string[];
  credit: number;
  /** Messages taken so far. */
  taken: number;
  /** Found empty; a push will tell. */
  isDry: boolean;
  /** Woken while a pop was under way, whose answer may be older than the wake-up. */
  wasWoken: boolean;
}

export class QueueStates {
  readonly all: readonly QueueState[];
  readonly #prefix: string;
  readonly #byKey = new Map<string, QueueState>();
  #turn = 0;

  /** @throws ConfigError `E_CONFIG_RANGE` */
  constructor(prefix: string, queues: readonly ConsumedQueue[]) {
    this.#prefix = prefix;
    this.all = queues.map(({ name, credit }) => {
      checkQueueName(name);
      const lists = queueKeys(name);
      return { name, credit, taken: 0, lists, keys: lists.map((list) => prefix + list), isDry: false, wasWoken: false };
    });
    for (const queue of this.all) for (const key of queue.keys) this.#byKey.set(key, queue);
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
