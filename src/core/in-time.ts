/** A deadline and a signal around work that has neither. The work itself goes on; only nobody waits for it any more. */

interface Limits {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** What to reject with when the time is over. */
  onLate(): Error;
  /** What to reject with when the signal aborts. */
  onAbort(reason: unknown): Error;
}

/** As `work`, but no longer than the limits say. */
export function inTime<T>(work: Promise<T>, { timeoutMs, signal, onLate, onAbort }: Limits): Promise<T> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
    const abort = (): void => {
      done();
      reject(onAbort(signal?.reason));
    };
    const timer = setTimeout(() => {
      done();
      reject(onLate());
    }, timeoutMs);
    if (signal?.aborted) return abort();
    signal?.addEventListener('abort', abort, { once: true });
    work.then(
      (value) => {
        done();
        resolve(value);
      },
      (error: unknown) => {
        done();
        reject(error);
      },
    );
  });
}
