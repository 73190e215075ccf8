/** One timer for the deadlines of many sends: it rings at the earliest of them. Holds no more than that one time. */
export class DeadlineTimer {
  readonly #onDue: (nowMs: number) => number;
  #timer: NodeJS.Timeout | undefined;
  #atMs = Infinity;

  /** @param onDue told the present monotonic time; gives the next deadline, `Infinity` when there is none */
  constructor(onDue: (nowMs: number) => number) {
    this.#onDue = onDue;
  }

  /** Rings at this monotonic time, or before. */
  ringBy(atMs: number): void {
    if (atMs >= this.#atMs) return;
    clearTimeout(this.#timer);
    this.#atMs = atMs;
    this.#timer = setTimeout(() => this.#ring(), Math.max(0, Math.ceil(atMs - performance.now())));
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #ring(): void {
    this.#atMs = Infinity;
    const nextMs = this.#onDue(performance.now());
    if (nextMs < Infinity) this.ringBy(nextMs);
  }
}
