/**
 * `Retry-After` of an error: how long the other side asks us to stay away. Read from what HTTP clients throw: `error.retryAfter`,
 * `error.headers` or `error.response.headers`, as seconds or as an HTTP date. Pure, and never throws. Why it counts as it does:
 * docs/decisions/retry-after.md.
 */
import { type BackoffPolicy, backoffMs } from '../core/backoff.js';

/** Longer than this nobody means; a broken header must not park a task for years. */
export const LONGEST_RETRY_AFTER_MS = 86_400_000;

/** Milliseconds that the error asks for, at most a day; `null` if it asks for none. */
export function retryAfterMs(error: unknown, nowMs: number): number | null {
  try {
    if (typeof error !== 'object' || error === null) return null;
    const { retryAfter, headers, response } = error as { retryAfter?: unknown; headers?: unknown; response?: unknown };
    const value = retryAfter ?? header(headers) ?? header((response as { headers?: unknown } | null | undefined)?.headers);
    const ms = parse(value, nowMs);
    return ms === null ? null : Math.min(Math.max(ms, 0), LONGEST_RETRY_AFTER_MS);
  } catch {
    // A getter or proxy that throws asks for nothing.
    return null;
  }
}

/**
 * The wait before the next try: what the error asks for and never less, plus the policy's own wait with jitter, so that a crowd
 * that was told the same does not come back in one instant. Without jitter the longer of the two.
 */
export function retryDelayMs(policy: BackoffPolicy, retry: number, random: number, error: unknown, nowMs: number): number {
  const own = backoffMs(policy, retry, random);
  const asked = retryAfterMs(error, nowMs);
  if (asked === null) return own;
  return policy.jitter === 'full' ? asked + own : Math.max(asked, own);
}

/** `Headers` of fetch, and plain objects whose names are written in any case. */
function header(headers: unknown): unknown {
  if (typeof headers !== 'object' || headers === null) return undefined;
  const { get } = headers as { get?: unknown };
  if (typeof get === 'function') return (get as (name: string) => unknown).call(headers, 'retry-after') ?? undefined;
  for (const name in headers) {
    if (name.length === 11 && name.toLowerCase() === 'retry-after') return (headers as Record<string, unknown>)[name];
  }
  return undefined;
}

function parse(value: unknown, nowMs: number): number | null {
  if (Array.isArray(value)) return parse(value[0], nowMs);
  if (value instanceof Date) return finite(value.getTime() - nowMs);
  if (typeof value === 'number') return finite(value * 1_000);
  if (typeof value !== 'string') return null;
  const text = value.trim();
  if (/^\d+(\.\d+)?$/.test(text)) return finite(Number(text) * 1_000);
  // An HTTP date has a day and a time; `Date.parse` alone would take '-5' for a year.
  return /[a-z]{3}.*\d\d:\d\d/i.test(text) ? finite(Date.parse(text) - nowMs) : null;
}

function finite(ms: number): number | null {
  return Number.isNaN(ms) ? null : ms;
}
