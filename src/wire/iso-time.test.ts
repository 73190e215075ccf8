import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isoFromMs, isPythonInstant, parseIsoMs } from './iso-time.js';

describe('parseIsoMs', () => {
  test.each([
    ['2026-11-21T02:44:15.907532+00:00', '2026-11-21T02:44:15.907Z'],
    ['2026-11-21T02:44:15.907Z', '2026-11-21T02:44:15.907Z'],
    ['2026-11-21T02:44:15z', '2026-11-21T02:44:15.000Z'],
    ['2026-11-21T02:44:15.9', '2026-11-21T02:44:15.900Z'],
    ['2026-11-21 02:44:15', '2026-11-21T02:44:15.000Z'],
    ['2026-11-21T02:44', '2026-11-21T02:44:00.000Z'],
    ['2026-11-21', '2026-11-21T00:00:00.000Z'],
    ['2030-01-01T12:00:00+02:00', '2030-01-01T10:00:00.000Z'],
    ['2030-01-01T12:00:00-0530', '2030-01-01T17:30:00.000Z'],
    ['2030-01-01T12:00:00+02', '2030-01-01T10:00:00.000Z'],
    ['0001-01-01T00:00:00+00:00', '0001-01-01T00:00:00.000Z'],
    ['9999-12-31T23:59:59.999999+00:00', '9999-12-31T23:59:59.999Z'],
  ])('reads %s', (text, utc) => {
    expect(parseIsoMs(text)).toBe(Date.parse(utc));
  });

  test.each([
    '',
    'null',
    'undefined',
    'tomorrow',
    '1795229374',
    '2026-13-01',
    '2026-02-30T00:00:00',
    '2025-02-29',
    '2026-01-01T24:00:00',
    '2026-01-01T00:60:00',
    '2026-01-01T00:00:60',
    '2026-01-01T00:00:00+24:00',
    '2026-01-01T00:00:00 +2',
    '26-01-01',
    '+002026-01-01T00:00:00Z',
    '2026-01-01T',
    '0000-01-01',
  ])('does not take %j for a time', (text) => {
    expect(parseIsoMs(text)).toBeNull();
  });

  test('isoFromMs writes what Date does, with microseconds, whatever instant came before', () => {
    const plain = (ms: number): string => new Date(ms).toISOString().replace('.000Z', '+00:00').replace('Z', '000+00:00');
    const first = Date.parse('0001-01-01T00:00:00Z');
    const near = fc.integer({ min: -2_000, max: 2_000 });
    fc.assert(
      fc.property(
        fc.integer({ min: first + 2_000, max: 250_000_000_000_000 }),
        fc.array(near, { minLength: 1 }),
        (start, steps) => {
          for (const step of steps) expect(isoFromMs(start + step)).toBe(plain(start + step));
        },
      ),
    );
  });

  test('reads what isoFromMs writes, for every instant that Python can hold', () => {
    const first = Date.parse('0001-01-01T00:00:00Z');
    const last = Date.parse('9999-12-31T23:59:59.999Z');
    fc.assert(
      fc.property(fc.integer({ min: first, max: last }), (ms) => {
        expect(parseIsoMs(isoFromMs(ms))).toBe(ms);
        expect(parseIsoMs(new Date(ms).toISOString())).toBe(ms);
        expect(isoFromMs(ms)).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00$/);
      }),
    );
    expect([first - 1, first, last, last + 1, Number.NaN].map(isPythonInstant)).toEqual([false, true, true, false, false]);
  });
});
