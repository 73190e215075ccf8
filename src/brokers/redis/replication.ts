/**
 * With `wait_replicas`: what was written and is confirmed only once so many replicas have it. One WAIT at a time, for
 * everything that was written before it; it is repeated until it is satisfied or nobody waits any more.
 *
 * Bounded: it holds chunks of the publisher's outbox, which counts them against its own limits until they leave here.
 */
import { RedisLinkError } from '../../clients/redis.js';
import type { RedisLinks } from './connection.js';
import type { Chunk } from './outbox.js';

/** How long one WAIT may keep its connection; less than the time in which a silent connection is given up. */
const WAIT_MS = '500';

export interface ReplicationEvents {
  /** Enough replicas have it. */
  onDone(chunk: Chunk): void;
  /** Everybody who waited for it has given up. */
  onUnwanted(chunk: Chunk): void;
  /** The connection died; the next one tells whether it is there. */
  onLost(chunk: Chunk): void;
  /** The server refuses WAIT. */
  onRefused(chunk: Chunk, error: unknown): void;
}

export class Replication {
  readonly #links: RedisLinks;
  readonly #events: ReplicationEvents;
  #chunks: Chunk[] = [];
  #isWaiting = false;
  /** How many replicas had it, the last time that it were too few. */
  #had = 0;

  constructor(links: RedisLinks, events: ReplicationEvents) {
    this.#links = links;
    this.#events = events;
  }

  /** For the error of a send that waited in vain; `''` when nothing waits. */
  get shortage(): string {
    const { waitReplicas, label } = this.#links.target;
    return this.#chunks.length === 0 && !this.#isWaiting ? '' : `${label} has it, but ${this.#had} of ${waitReplicas} replicas`;
  }

  /** Takes over a chunk that this connection has written. */
  add(chunk: Chunk): void {
    this.#chunks.push(chunk);
    if (!this.#isWaiting) void this.#wait();
  }

  async #wait(): Promise<void> {
    const { sending, target } = this.#links;
    this.#isWaiting = true;
    while (this.#chunks.length > 0) {
      const covered = this.#chunks.splice(0);
      try {
        const count = (await sending.call('wait', [String(target.waitReplicas), WAIT_MS])) as number;
        if (count < target.waitReplicas) {
          this.#had = count;
          this.#chunks.unshift(...covered.filter((chunk) => this.#isWanted(chunk)));
        } else for (const chunk of covered) this.#events.onDone(chunk);
      } catch (error) {
        const isLost = error instanceof RedisLinkError;
        // what was written meanwhile went over the same connection
        for (const chunk of [...covered, ...this.#chunks.splice(0)])
          if (isLost) this.#events.onLost(chunk);
          else this.#events.onRefused(chunk, error);
      }
    }
    this.#isWaiting = false;
  }

  #isWanted(chunk: Chunk): boolean {
    if (chunk.batches.some((batch) => !batch.isOver)) return true;
    this.#events.onUnwanted(chunk);
    return false;
  }
}
