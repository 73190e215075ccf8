/**
 * A node's logical clock (Lamport), as Celery's: it orders events and control messages of several nodes without their wall
 * clocks agreeing. One a worker or client; whoever sends or hears something that carries `clock` asks here.
 */

/** Beyond it additions would lose precision; a foreign clock is not believed that far. */
const LARGEST = Number.MAX_SAFE_INTEGER - 2 ** 32;

export class LamportClock {
  #value = 0;

  /** The time now; nothing happens. */
  get value(): number {
    return this.#value;
  }

  /** Something happened here, or is about to be sent: the time to write on it. */
  tick(): number {
    this.#value += 1;
    return this.#value;
  }

  /** Something came from another node that had this time: ours is later now. Nonsense is ignored. */
  adjust(theirs: unknown): number {
    if (typeof theirs === 'number' && Number.isSafeInteger(theirs) && theirs <= LARGEST && theirs > this.#value)
      this.#value = theirs;
    return this.tick();
  }
}
