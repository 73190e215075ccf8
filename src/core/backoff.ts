/** How long to wait before try n. Pure: the random number is passed in. Used by task retries and by reconnects. */
export interface BackoffPolicy {
  readonly backoff: 'exponential' | 'fixed';
  readonly baseMs: number;
  readonly capMs: number;
  readonly jitter: 'full' | 'none';
}

/**
 * Milliseconds to wait before retry number `retry` (1 = the first).
 * Full jitter draws from [0, delay]: a crowd that failed together does not come back together.
 */
export function backoffMs(policy: BackoffPolicy, retry: number, random: number): number {
  const plain = policy.backoff === 'fixed' ? policy.baseMs : policy.baseMs * 2 ** Math.min(Math.max(retry - 1, 0), 60);
  const capped = Math.min(plain, policy.capMs);
  return policy.jitter === 'full' ? Math.round(capped * random) : capped;
}

/** Reconnects: 50 ms doubling to 5 s (or another cap), half of it random. Never gives up by itself. */
export function reconnectDelayMs(tries: number, random: number, capMs = 5_000): number {
  const plain = Math.min(50 * 2 ** Math.min(tries, 10), capMs);
  return Math.round(plain / 2 + (plain / 2) * random);
}
