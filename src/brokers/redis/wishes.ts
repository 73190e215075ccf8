/** Changes of what a consumer takes. They wait until no command is under way that takes messages by the old state. */
export class Wishes {
  /** In order; bounded by whoever asks, one at a time in practice. */
  readonly #waiting: { apply(): void; resolve(): void; reject(error: unknown): void }[] = [];

  /** Resolves when it has been applied, or rejects with what it threw. */
  add(apply: () => void): Promise<void> {
    return new Promise((resolve, reject) => this.#waiting.push({ apply, resolve, reject }));
  }

  /** No command is under way. */
  apply(): void {
    for (const { apply, resolve, reject } of this.#waiting.splice(0)) {
      try {
        apply();
        resolve();
      } catch (error) {
        reject(error);
      }
    }
  }
}
