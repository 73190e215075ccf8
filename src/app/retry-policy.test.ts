import { describe, expect, test } from 'vitest';
import { ArgumentError } from '../core/errors.js';
import { errorMatcher, NonRetryableError, type RetryOptions, resolveRetry } from './retry-policy.js';

class Transient extends Error {}

describe('resolveRetry', () => {
  test('without the option there is no policy', () => {
    expect(resolveRetry(undefined)).toBeNull();
    expect(resolveRetry(false)).toBeNull();
  });

  test('true is three retries, exponential from 1 s, at most 10 min, with full jitter', () => {
    expect(resolveRetry(true)).toMatchObject({ max: 3, backoff: 'exponential', baseMs: 1_000, capMs: 600_000, jitter: 'full' });
  });

  test('endless must be asked for by name', () => {
    expect(resolveRetry({ max: 'unlimited' })?.max).toBe(Number.POSITIVE_INFINITY);
    expect(() => resolveRetry({ max: Number.POSITIVE_INFINITY })).toThrow(expect.objectContaining({ code: 'E_CONFIG_RANGE' }));
  });

  test.each<[unknown, string]>([
    [{ max: -1 }, 'E_CONFIG_RANGE'],
    [{ max: 1.5 }, 'E_CONFIG_RANGE'],
    [{ backoff: 'linear' }, 'E_CONFIG_RANGE'],
    [{ jitter: true }, 'E_CONFIG_RANGE'],
    [{ base: 5 }, 'E_CONFIG_RANGE'],
    [{ base: '10s', cap: '1s' }, 'E_CONFIG_CONFLICT'],
    [{ tries: 5 }, 'E_CONFIG_UNKNOWN_KEY'],
    [{ on: 5 }, 'E_CONFIG_TYPE'],
    ['yes', 'E_CONFIG_TYPE'],
  ])('refuses %j', (options, code) => {
    expect(() => resolveRetry(options as RetryOptions)).toThrow(expect.objectContaining({ code }));
  });

  test('a base beyond the default cap lifts the cap', () => {
    expect(resolveRetry({ base: '1h' })).toMatchObject({ baseMs: 3_600_000, capMs: 3_600_000 });
  });

  test('retries every error but those that cannot go better next time', () => {
    const policy = resolveRetry(true);
    expect(policy?.isRetryable(new Error('x'))).toBe(true);
    expect(policy?.isRetryable('thrown text')).toBe(true);
    expect(policy?.isRetryable(null)).toBe(true);
    expect(policy?.isRetryable(new NonRetryableError('no'))).toBe(false);
    expect(policy?.isRetryable({ name: 'NonRetryableError', retryable: false })).toBe(false);
    expect(policy?.isRetryable(new ArgumentError('E_ARGUMENTS', 'no'))).toBe(false);
  });

  test('on picks, and notOn counts before it', () => {
    const policy = resolveRetry({
      on: [Transient, 'ECONNRESET', 'TimeoutError', (error) => error === 42],
      notOn: (error) => (error as Error).message === 'fatal',
    });
    expect(policy?.isRetryable(new Transient())).toBe(true);
    expect(policy?.isRetryable(Object.assign(new Error(), { code: 'ECONNRESET' }))).toBe(true);
    expect(policy?.isRetryable(AbortSignal.timeout(0).reason ?? new DOMException('', 'TimeoutError'))).toBe(true);
    expect(policy?.isRetryable(42)).toBe(true);
    expect(policy?.isRetryable(new Error('other'))).toBe(false);
    expect(policy?.isRetryable(new Transient('fatal'))).toBe(false);
  });
});

test('a predicate that throws says no, and anything may be asked', () => {
  const matches = errorMatcher((error) => (error as Error).message.length > 0, 'on');
  expect(matches(undefined)).toBe(false);
  expect(matches(new Error('x'))).toBe(true);
  const hostile = new Proxy(
    {},
    {
      get: () => {
        throw new Error('trap');
      },
    },
  );
  expect(errorMatcher('CODE', 'on')(hostile)).toBe(false);
  expect(resolveRetry(true)?.isRetryable(hostile)).toBe(true);
});

test('the base class Error matches every error and nothing else', () => {
  const matches = errorMatcher(Error, 'on');
  expect(matches(new TypeError())).toBe(true);
  expect(matches('text')).toBe(false);
});
