import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { travelling } from '../../../tests/vectors/travelling.js';
import { ArgumentError, codeOf, WireError } from '../../core/errors.js';
import { decodeJson, encodeJson } from './json.js';

describe('both directions', () => {
  test('whatever can be sent comes back equal', () => {
    fc.assert(
      fc.property(travelling, (value) => {
        expect(decodeJson(encodeJson(value))).toEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  test('our parser and JSON.parse agree on every JSON text', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        const text = JSON.stringify(value);
        // long integers are where we differ on purpose
        fc.pre(!/(?<![.\d])\d{16}(?![\d.]*e)/.test(text));
        // a NaN in front sends the rest through our own parser
        let expected: unknown[];
        try {
          expected = decodeJson(`[NaN,${text}]`) as unknown[];
        } catch (error) {
          expect(text).toContain('__proto__');
          expect(codeOf(error)).toBe('E_DECODE');
          return;
        }
        expect(expected[1]).toEqual(JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  test('any text gives a value or a WireError, never anything else', () => {
    const fragments = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      '\\u005f',
      'NaN',
      '-Infinity',
      '1',
      '-',
      '.5',
      'e9',
      'null',
      '"__type__"',
      '"__value__"',
      '"__proto__"',
      '"datetime"',
      '1234567890123456789',
      ' ',
    );
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(fragments, { maxLength: 30 }).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          decodeJson(text);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 3000 },
    );
  });

  test('any value is encoded or refused with an ArgumentError, never anything else', () => {
    fc.assert(
      fc.property(
        fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withTypedArray: true,
          withBoxedValues: true,
          withNullPrototype: true,
        }),
        (value) => {
          try {
            encodeJson(value);
          } catch (error) {
            expect(error).toBeInstanceOf(ArgumentError);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});
