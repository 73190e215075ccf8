/**
 * Names of workers that were heard a short while ago. Where a broker cannot tell how many listen, these are the ones whose
 * answers are awaited; elsewhere they tell which of the listeners a pattern means.
 */

/** Who was not heard for so long may be gone. */
const FRESH_MS = 60_000;
/** More names than this are not remembered: then answers are awaited until the timeout. */
const MOST_NODES = 10_000;

export class KnownNodes {
  readonly #heardMs = new Map<string, number>();
  readonly #nowMs: () => number;

  /** @param nowMs monotonic */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  hear(node: string): void {
    // Deleted first: so the map is in the order of hearing, and the stale ones are at its start.
    this.#heardMs.delete(node);
    this.#heardMs.set(node, this.#nowMs());
    if (this.#heardMs.size > MOST_NODES) this.#heardMs.delete(this.#heardMs.keys().next().value as string);
  }

  /** Those who were asked and kept silent. */
  forget(nodes: Iterable<string>): void {
    for (const node of nodes) this.#heardMs.delete(node);
  }

  fresh(): ReadonlySet<string> {
    const oldestMs = this.#nowMs() - FRESH_MS;
    for (const [node, heardMs] of this.#heardMs) {
      if (heardMs >= oldestMs) break;
      this.#heardMs.delete(node);
    }
    return new Set(this.#heardMs.keys());
  }
}
