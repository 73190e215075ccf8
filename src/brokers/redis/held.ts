/**
 * What a consumer holds, and until when: the messages that it popped and has not settled, with the monotonic time at which
 * each lease ends. Knows nothing of Redis but the frame in which a message lies in `unacked`.
 */
import { decodeEnvelope, queueKey } from '../../wire/redis-envelope.js';

/** A message in our hands. */
export interface Held {
  readonly tag: string;
  readonly queue: string;
  /** The list it came from, without the global prefix. */
  readonly list: string;
  /** The envelope as it was in the list; or whatever was there instead. */
  readonly raw: Buffer;
  /** It was taken over from a dead worker, so its envelope does not say yet that somebody had it before. */
  readonly takenOver: boolean;
  /** Monotonic end of the lease. */
  leaseEndsMs: number;
  /** A settlement is on its way; that its tag vanishes is then no loss. */
  isSettling: boolean;
  /** Its tag is, or may be, among its losses already, because it was about to start. */
  isSecured?: boolean;
}

export class HeldMessages {
  readonly #held = new Map<string, Held>();

  get size(): number {
    return this.#held.size;
  }

  add(held: Held): void {
    this.#held.set(held.tag, held);
  }

  get(tag: string): Held | undefined {
    return this.#held.get(tag);
  }

  delete(tag: string): boolean {
    return this.#held.delete(tag);
  }

  /** Oldest first. */
  all(): Held[] {
    return [...this.#held.values()];
  }

  /** Whether the lease of this tag has not ended by our own clock. */
  holds(tag: string): boolean {
    const held = this.#held.get(tag);
    return held !== undefined && performance.now() < held.leaseEndsMs;
  }

  clear(): void {
    this.#held.clear();
  }
}

/**
 * The list that a message belongs to by its own priority. For messages that come back from `unacked`, where only the
 * queue is known.
 */
export function listFor(queue: string, raw: Buffer): string {
  try {
    return queueKey(queue, decodeEnvelope(raw).message.properties.priority ?? 0);
  } catch {
    return queue;
  }
}

/** Takes the frame `[envelope,"","queue"]` of an `unacked` entry apart; `null` when it is not such a frame. */
export function unframe(value: Buffer): { readonly raw: Buffer; readonly queue: string } | null {
  // the queue's name is JSON text, where a quote is written \": this text cannot occur in it, so the last one is the frame's
  const cut = value.lastIndexOf(',"",');
  if (cut < 1) return null;
  try {
    const queue: unknown = JSON.parse(value.toString('utf8', cut + 4, value.length - 1));
    return typeof queue === 'string' ? { raw: value.subarray(1, cut), queue } : null;
  } catch {
    return null;
  }
}
