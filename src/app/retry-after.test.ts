import { describe, expect, test } from 'vitest';
import { LONGEST_RETRY_AFTER_MS, retryAfterMs, retryDelayMs } from './retry-after.js';

const NOW = Date.parse('2026-01-01T00:00:00Z');
const with_ = (fields: object): Error => Object.assign(new Error('429'), fields);

describe('Retry-After', () => {
  test.each<[string, unknown, number | null]>([
    ['seconds as a number', with_({ retryAfter: 2.5 }), 2_500],
    ['seconds as text', with_({ retryAfter: ' 120 ' }), 120_000],
    ['a date', with_({ retryAfter: new Date(NOW + 7_000) }), 7_000],
    ['an HTTP date', with_({ retryAfter: 'Thu, 01 Jan 2026 00:01:00 GMT' }), 60_000],
    ['a date that has passed', with_({ retryAfter: 'Wed, 31 Dec 2025 00:01:00 GMT' }), 0],
    ["fetch's headers", with_({ headers: new Headers({ 'Retry-After': '3' }) }), 3_000],
    ['plain headers, whatever their case', with_({ headers: { 'Content-Type': 'x', 'Retry-After': '3' } }), 3_000],
    ['headers with lists', with_({ headers: { 'retry-after': ['4', '5'] } }), 4_000],
    [
      'a response inside the error',
      with_({ response: new Response('', { status: 429, headers: { 'retry-after': '9' } }) }),
      9_000,
    ],
    ['a thrown response', new Response('', { status: 503, headers: { 'retry-after': '10' } }), 10_000],
    ['years', with_({ retryAfter: 1e12 }), LONGEST_RETRY_AFTER_MS],
    ['infinity', with_({ retryAfter: Number.POSITIVE_INFINITY }), LONGEST_RETRY_AFTER_MS],
    ['no such header', with_({ headers: new Headers() }), null],
    ['nonsense', with_({ retryAfter: 'soon' }), null],
    ['a negative number as text', with_({ retryAfter: '-5' }), null],
    ['a negative number', with_({ retryAfter: -5 }), 0],
    ['not a number', with_({ retryAfter: Number.NaN }), null],
    ['an object', with_({ retryAfter: {} }), null],
    ['a plain error', new Error('x'), null],
    ['text', '429', null],
    ['nothing', null, null],
    [
      'a getter that throws',
      Object.defineProperty(new Error('x'), 'headers', {
        get: () => {
          throw new Error('no');
        },
      }),
      null,
    ],
  ])('%s', (_, error, ms) => {
    expect(retryAfterMs(error, NOW)).toBe(ms);
  });

  test('never sooner than asked, and a crowd that was told the same is spread by the jitter', () => {
    const policy = { backoff: 'exponential', baseMs: 1_000, capMs: 600_000, jitter: 'full' } as const;
    const delays = [0, 0.25, 1].map((random) => retryDelayMs(policy, 2, random, with_({ retryAfter: 60 }), NOW));
    expect(delays).toEqual([60_000, 60_500, 62_000]);
    expect(retryDelayMs(policy, 2, 0.5, new Error('x'), NOW)).toBe(1_000);
  });

  test('without jitter the longer of the two waits counts', () => {
    const policy = { backoff: 'fixed', baseMs: 10_000, capMs: 10_000, jitter: 'none' } as const;
    expect(retryDelayMs(policy, 1, 0.5, with_({ retryAfter: 60 }), NOW)).toBe(60_000);
    expect(retryDelayMs(policy, 1, 0.5, with_({ retryAfter: 1 }), NOW)).toBe(10_000);
  });
});
