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

/** How long an end is waited for that may never come. */
export interface Limits {
  /** Without any progress for so long, it will not come. */
  readonly idleMs: number;
  /** Whatever happens: something that fails and begins anew for ever makes progress too. */
  readonly totalMs: number;
}

/** Polls until the condition holds, `progress` stands still or the time is over; tells whether it held. The ledger then says what is missing. */
export async function untilOrStuck(
  condition: () => boolean | Promise<boolean>,
  progress: () => unknown,
  { idleMs, totalMs }: Limits,
): Promise<boolean> {
  let last = progress();
  const end = performance.now() + totalMs;
  let stuckAt = performance.now() + idleMs;
  while (!(await condition())) {
    const current = progress();
    if (current !== last) stuckAt = performance.now() + idleMs;
    last = current;
    if (performance.now() > Math.min(stuckAt, end)) return false;
    await pause(50);
  }
  return true;
}
