import { describe, expect, test } from 'vitest';
import { formatBytes, sizeBytes } from './byte-size.js';

describe('sizes', () => {
  test.each([
    ['1B', 1],
    ['64KiB', 65_536],
    ['300MiB', 314_572_800],
    ['1.5GiB', 1_610_612_736],
    ['500MB', 500_000_000],
    ['2GB', 2_000_000_000],
  ])('%s is %i bytes', (text, bytes) => {
    expect(sizeBytes(text, 'it')).toBe(bytes);
  });

  test.each(['300', '0MiB', '-1MiB', '300mib', ' 1MiB', '1TiB', '9999999999GiB', ''])('%j is refused with a code', (text) => {
    expect(() => sizeBytes(text, 'it')).toThrow(expect.objectContaining({ code: 'E_CONFIG_RANGE' }));
  });

  test('people read them in MiB', () => {
    expect(formatBytes(314_572_800)).toBe('300MiB');
    expect(formatBytes(1_600_000)).toBe('1.5MiB');
  });
});
