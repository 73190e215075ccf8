/** Rates as people and Celery's control commands write them. */
import { describe, expect, test } from 'vitest';
import { parseRate } from './rate-limit.js';

describe('a rate', () => {
  test.each<[unknown, number]>([
    ['10/s', 100],
    ['100/m', 600],
    ['5/h', 720_000],
    ['0.5/m', 120_000],
    ['2.5/s', 400],
    [' 10 / m ', 6_000],
    ['20', 50],
    [20, 50],
    [0.25, 4_000],
  ])('%o is one start every %d ms', (given, intervalMs) => {
    expect(parseRate(given, 'rate')?.intervalMs).toBeCloseTo(intervalMs, 6);
  });

  test('keeps the text that people gave, for those who ask', () => {
    expect(parseRate('10/m', 'rate')?.text).toBe('10/m');
    expect(parseRate(20, 'rate')?.text).toBe('20');
  });

  test.each([null, 0, '0', '0/m', '0.0/h'])('%o is no limit', (given) => {
    expect(parseRate(given, 'rate')).toBeNull();
  });

  test.each([
    undefined,
    '',
    'often',
    '10/d',
    '10 per minute',
    '-1/s',
    -1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '1e3/s',
    true,
    {},
    [],
    '10/s/m',
  ])('%o is refused with what to write instead', (given) => {
    expect(() => parseRate(given, 'task add: rateLimit')).toThrow(
      expect.objectContaining({ code: 'E_CONFIG_RANGE', message: expect.stringMatching(/^task add: rateLimit is .*'10\/s'/s) }),
    );
  });

  test.each(['99999999/s', '0.000000001/h'])('%o is refused as a slip of the pen', (given) => {
    expect(() => parseRate(given, 'rate')).toThrow(expect.objectContaining({ code: 'E_CONFIG_RANGE' }));
  });
});
