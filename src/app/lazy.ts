/** Opening something at its first use, once. */
import { BrokerError } from '../core/errors.js';

/** Something opened once, on demand; a failed opening is tried again by the next caller. */
export class Lazy<T extends { close(): Promise<void> }> {
  readonly #open: () => Promise<T>;
  #opening: Promise<T> | null = null;
  #closed = false;
  /** Set once it is open, so that callers in a hurry need no promise. */
  value: T | null = null;

  constructor(open: () => Promise<T>) {
    this.#open = open;
  }

  get(): Promise<T> {
    if (this.#closed)
      return Promise.reject(new BrokerError('E_CLOSED', 'the app was closed: create a new one, or close it later'));
    if (this.#opening === null) {
      const opening = this.#open();
      this.#opening = opening;
      opening.then(
        (value) => {
          if (!this.#closed) this.value = value;
        },
        () => {
          if (this.#opening === opening) this.#opening = null;
        },
      );
    }
    return this.#opening;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.value = null;
    const opening = this.#opening;
    this.#opening = null;
    const opened = await opening?.catch(() => null);
    await opened?.close();
  }
}
