/** Waiting for a condition, with a deadline and a reason. */

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Polls until the condition holds. @throws Error naming `what` when it does not within `timeoutMs` */
export async function until(condition: () => boolean | Promise<boolean>, what: string, timeoutMs = 30_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${Math.round(timeoutMs / 1_000)} s in vain until ${what}`);
    await pause(20);
  }
}

/**
 * Polls until the condition holds or `progress` has not changed for `idleMs`; tells which. For ends that may never come:
 * the ledger then says what is missing.
 */
export async function untilOrStuck(
  condition: () => boolean | Promise<boolean>,
  progress: () => unknown,
  idleMs: number,
): Promise<boolean> {
  let last = progress();
  let end = performance.now() + idleMs;
  while (!(await condition())) {
    const now = progress();
    if (now !== last) {
      last = now;
      end = performance.now() + idleMs;
    }
    if (performance.now() > end) return false;
    await pause(50);
  }
  return true;
}
