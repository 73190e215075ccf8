import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { pythonRepr, REPR_LIMIT, reprArgs, reprKwargs } from './python-repr.js';

describe('reprs as Python prints them', () => {
  test.each([
    [[], '()'],
    [[1], '(1,)'],
    [[2, 2], '(2, 2)'],
    [[1, null, true, undefined], '(1, None, True, None)'],
    [['a', "it's", 'both "\'', 'line\nfeed\t\u0001\u00a0'], `('a', "it's", 'both "\\'', 'line\\nfeed\\t\\x01\\xa0')`],
    [['héllo ☃ 𝄞'], "('héllo ☃ 𝄞',)"],
    [['\ud800'], "('\\ud800',)"],
    [[1.5, 10n ** 20n, Number.NaN, Number.NEGATIVE_INFINITY], '(1.5, 100000000000000000000, nan, -inf)'],
    [[[1, [2, [3, [4]]]]], '([1, [2, [...]]],)'],
    [[{ a: { b: { c: 1 } } }], "({'a': {'b': {...}}},)"],
    [[new Date(0), Buffer.from('ab')], "('1970-01-01T00:00:00.000Z', <2 bytes>)"],
  ])('case %#', (args, text) => {
    expect(reprArgs(args)).toBe(text);
  });

  test('keywords print as a dict, without members that do not travel', () => {
    expect(reprKwargs({ a: 'b', n: null, l: [1.5, {}], no: undefined })).toBe("{'a': 'b', 'n': None, 'l': [1.5, {}]}");
  });

  test('secret arguments are redacted by position, by keyword, or all of them', () => {
    expect(reprArgs(['token', 2], [0])).toBe("('***', 2)");
    expect(reprKwargs({ password: 'x', user: 'y' }, ['password'])).toBe("{'password': '***', 'user': 'y'}");
    expect(reprArgs(['a', 'b'], true) + reprKwargs({ c: 1 }, true)).toBe("('***', '***'){'c': '***'}");
  });

  test('nothing gets longer than the limit, however large the value, and no character is cut in half', () => {
    expect(reprArgs(['x'.repeat(1_000_000)])).toHaveLength(REPR_LIMIT);
    expect(reprArgs(Array.from({ length: 100_000 }, (_, i) => i))).toMatch(/^\(0, 1, .*\.\.\.$/);
    expect(reprKwargs(Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`key${i}`, i])))).toHaveLength(REPR_LIMIT);
    for (let shift = 0; shift < 4; shift++) {
      expect(/[\ud800-\udfff]/u.test(reprArgs([`${'a'.repeat(shift)}${'𝄞'.repeat(1000)}`]))).toBe(false);
    }
  });

  test('any value prints, also one that throws when it is read', () => {
    const hostile = new Proxy(
      {},
      {
        ownKeys: () => {
          throw new Error('no');
        },
        getPrototypeOf: () => Object.prototype,
      },
    );
    expect(pythonRepr(hostile)).toBe('<unreadable>');
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(pythonRepr(value).length).toBeLessThanOrEqual(REPR_LIMIT);
      }),
    );
  });
});
