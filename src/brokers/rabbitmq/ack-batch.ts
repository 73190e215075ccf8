/**
 * Which acknowledgement frames to write. Pure.
 *
 * AMQP can acknowledge "everything up to here" in one frame; one by one costs the broker almost twice as much. Tags rise with every
 * delivery of a channel, so all finished tags below the lowest open one go out as one frame, the others singly.
 */

/** Open tags of one channel, in order, and those that are finished but not written. */
export class AckBatch {
  /** A set keeps insertion order and deliveries come in tag order, so the first is the lowest. */
  readonly #open = new Set<number>();
  #finished: number[] = [];

  /** Deliveries that the broker still counts against our prefetch. */
  get open(): number {
    return this.#open.size;
  }

  /** Whether `flush` would write anything. */
  get due(): boolean {
    return this.#finished.length > 0;
  }

  deliver(tag: number): void {
    this.#open.add(tag);
  }

  /** To be acknowledged at the next flush. */
  finish(tag: number): void {
    if (this.#open.delete(tag)) this.#finished.push(tag);
  }

  /** Settled by a frame of its own (a nack). */
  drop(tag: number): void {
    this.#open.delete(tag);
  }

  /** Writes the fewest frames that acknowledge what is finished and nothing else. */
  flush(write: (tag: number, upTo: boolean) => void): void {
    const finished = this.#finished;
    if (finished.length === 0) return;
    this.#finished = [];
    const lowest = this.#lowest();
    let upTo = 0;
    let below = 0;
    for (const tag of finished) {
      if (tag > lowest) continue;
      below += 1;
      if (tag > upTo) upTo = tag;
    }
    if (below > 0) write(upTo, below > 1);
    if (below === finished.length) return;
    for (const tag of finished) if (tag > lowest) write(tag, false);
  }

  #lowest(): number {
    for (const tag of this.#open) return tag;
    return Infinity;
  }
}
