/**
 * Two clocks, because they answer different questions: `nowMs` is wall time (stored, compared across machines),
 * `monotonicMs` never jumps (deadlines, leases, measuring). Everything that waits takes a Clock so that tests can drive it.
 */
export interface Clock {
  /** Wall time in milliseconds since 1970. */
  nowMs(): number;
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonicMs(): number;
  /** Calls back once after `delayMs`; the returned function cancels. Timers never keep the process alive. */
  after(delayMs: number, callback: () => void): () => void;
}

/** Hours west of UTC at this moment, as Python counts them in events. */
export function utcOffset(): number {
  return Math.floor(new Date().getTimezoneOffset() / 60);
}

/** Node clamps longer timers to 1 ms; longer waits are made of several. */
const LONGEST_TIMER_MS = 2_147_000_000;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    let timer: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      const stepMs = Math.min(Math.max(leftMs, 0), LONGEST_TIMER_MS);
      timer = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : callback()), stepMs);
      timer.unref();
    };
    arm(delayMs);
    return () => clearTimeout(timer);
  },
};

/** Resolves after `delayMs`, or rejects with the signal's reason. Keeps the process alive while it waits. */
export function sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
