/** Who waits for a connection, and for how long. */
import { toError } from '../core/errors.js';

interface Waiter {
  /** Waits without a limit, through everything but the end of the connection. */
  readonly isPatient: boolean;
  resolve(): void;
  reject(error: Error): void;
}

export class ReadyWaiters {
  readonly #waiters = new Set<Waiter>();

  /** Resolves with `resolveAll`; rejects with `rejectAll`, the signal's reason, or `late()` after `timeoutMs` (`Infinity`: never). */
  async wait(timeoutMs: number, signal: AbortSignal | undefined, late: () => Error): Promise<void> {
    let cleanUp = (): void => {};
    try {
      await new Promise<void>((resolve, reject) => {
        const isPatient = !Number.isFinite(timeoutMs);
        const waiter: Waiter = { isPatient, resolve, reject };
        this.#waiters.add(waiter);
        const timer = isPatient ? undefined : setTimeout(() => reject(late()), timeoutMs);
        const onAbort = (): void => reject(toError(signal?.reason));
        signal?.addEventListener('abort', onAbort, { once: true });
        cleanUp = () => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', onAbort);
          this.#waiters.delete(waiter);
        };
      });
    } finally {
      cleanUp();
    }
  }

  resolveAll(): void {
    for (const waiter of this.#waiters) waiter.resolve();
  }

  rejectAll(error: Error): void {
    for (const waiter of this.#waiters) waiter.reject(error);
  }

  /** Rejects those who wait for a limited time only. */
  rejectImpatient(error: Error): void {
    for (const waiter of this.#waiters) if (!waiter.isPatient) waiter.reject(error);
  }
}
