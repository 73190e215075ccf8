import fc from 'fast-check';
import { expect, test } from 'vitest';
import { topicMatcher } from './topic-pattern.js';

test.each([
  ['#', '', true],
  ['#', 'a.b.c', true],
  ['a', 'a', true],
  ['a', 'a.b', false],
  ['a.*', 'a.b', true],
  ['a.*', 'a', false],
  ['a.*', 'a.b.c', false],
  ['a.#', 'a', true],
  ['a.#', 'a.b.c', true],
  ['a.#', 'ab', false],
  ['#.z', 'z', true],
  ['#.z', 'x.y.z', true],
  ['#.z', 'x.z.y', false],
  ['*.*', 'a.b', true],
  ['*.#.*', 'a', false],
  ['*.#.*', 'a.b', true],
  ['a.#.#.b', 'a.b', true],
  ['a.+', 'a.+', true],
  ['a.b', 'aXb', false],
  ['*', '', false],
  ['#.#', '', true],
])('pattern %j and key %j: %j', (pattern, key, expected) => {
  expect(topicMatcher(pattern)(key)).toBe(expected);
});

test('agrees with a recursive reading of the AMQP rules for any pattern and key', () => {
  const reference = (pattern: readonly string[], words: readonly string[]): boolean => {
    const [part, ...parts] = pattern;
    if (part === undefined) return words.length === 0;
    if (part === '#') return reference(parts, words) || (words.length > 0 && reference(pattern, words.slice(1)));
    return words.length > 0 && (part === '*' || part === words[0]) && reference(parts, words.slice(1));
  };
  const word = fc.constantFrom('a', 'b', 'ab');
  fc.assert(
    fc.property(
      fc.array(fc.oneof(word, fc.constantFrom('*', '#')), { minLength: 1, maxLength: 6 }),
      fc.array(word, { maxLength: 6 }),
      (pattern, words) => {
        expect(topicMatcher(pattern.join('.'))(words.join('.'))).toBe(reference(pattern, words));
      },
    ),
    { numRuns: 2_000 },
  );
});

test('a hostile pattern costs no more than its length times the key’s', () => {
  const matches = topicMatcher(`${'#.'.repeat(400)}z`);
  expect(matches('a.'.repeat(2_000) + 'y')).toBe(false);
});
