/** Texts as values and keys of PostgreSQL. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { textArray } from '../../clients/postgres-library.js';
import { decode, encode, keyOf, nameOf } from './texts.js';

const odd = fc.string({ unit: fc.constantFrom('\0', '\x01', '\x02', '\x03', '\x04', 'a', '☃'), maxLength: 12 });

test('every text comes back from its encoding, which has no NUL', () => {
  fc.assert(
    fc.property(fc.oneof(odd, fc.string()), (text) => {
      expect(encode(text)).not.toContain('\0');
      expect(decode(encode(text))).toBe(text);
    }),
  );
});

test('a key is short, and belongs to one text only', () => {
  const long = fc.tuple(odd, fc.nat(2_000)).map(([text, times]) => text + 'é'.repeat(times));
  fc.assert(
    fc.property(long, long, (one, other) => {
      expect(Buffer.byteLength(keyOf(one))).toBeLessThanOrEqual(1_000);
      expect(keyOf(one) === keyOf(other)).toBe(one === other);
      expect(decode(nameOf(one, keyOf(one)) ?? keyOf(one))).toBe(one);
    }),
  );
});

test('an array of texts has the length and the bytes that PostgreSQL reads', () => {
  expect(textArray([]).toString('hex')).toBe('000000000000000000000019');
  expect(textArray(['é', null, '']).toString('hex')).toBe(
    ['00000001', '00000001', '00000019', '00000003', '00000001', '00000002c3a9', 'ffffffff', '00000000'].join(''),
  );
});
