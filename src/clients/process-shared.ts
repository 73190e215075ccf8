/**
 * Things that everybody in this process shares by name for as long as somebody uses them: what `memory:NAME` opens.
 * Owns the counting of users and nothing of what is shared.
 */

/** A use of a shared thing; `release` may be called more than once. */
export interface SharedUse<T> {
  readonly value: T;
  release(): void;
}

/** A registry that makes a value at its first use and forgets it when its last user has released it. */
export class ProcessShared<T> {
  readonly #entries = new Map<string, { readonly value: T; users: number }>();
  readonly #dispose: (value: T) => void;

  /** @param dispose called with a value that is being forgotten */
  constructor(dispose: (value: T) => void = () => {}) {
    this.#dispose = dispose;
  }

  /** How many names are in use. */
  get size(): number {
    return this.#entries.size;
  }

  use(name: string, make: () => T): SharedUse<T> {
    let entry = this.#entries.get(name);
    if (!entry) {
      entry = { value: make(), users: 0 };
      this.#entries.set(name, entry);
    }
    const used = entry;
    used.users += 1;
    let released = false;
    return {
      value: used.value,
      release: () => {
        if (released) return;
        released = true;
        used.users -= 1;
        if (used.users > 0) return;
        this.#entries.delete(name);
        this.#dispose(used.value);
      },
    };
  }

  /** The value in use under this name, if any. */
  peek(name: string): T | undefined {
    return this.#entries.get(name)?.value;
  }
}
