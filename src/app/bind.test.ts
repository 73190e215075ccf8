import { describe, expect, test } from 'vitest';
import { codeOf } from '../core/errors.js';
import { bindObject, positionalBinder } from './bind.js';

const message = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    expect(codeOf(error)).toBe('E_ARGUMENTS');
    return (error as Error).message;
  }
  throw new Error('it was accepted');
};

describe('positionalBinder', () => {
  const add = positionalBinder('math.add', ['x', 'y'], 2);

  test.each([
    [[1, 2], {}, [1, 2]],
    [[], { x: 1, y: 2 }, [1, 2]],
    [[], { y: 2, x: 1 }, [1, 2]],
    [[1], { y: 2 }, [1, 2]],
    [[null, null], {}, [null, null]],
  ])('binds %j and %j', (args, kwargs, expected) => {
    expect(add(args, kwargs)).toEqual(expected);
  });

  test.each([
    [[1, 2, 3], {}, 'math.add(x, y) takes at most 2 arguments, and got 3'],
    [[1], {}, 'math.add(x, y) needs "y", and did not get it'],
    [[], {}, 'math.add(x, y) needs "x", and did not get it'],
    [[], { y: 1 }, 'math.add(x, y) needs "x", and did not get it'],
    [[1, 2], { z: 3 }, 'math.add(x, y) has no parameter "z"'],
    [[1, 2], { x: 3 }, 'math.add(x, y) got "x" twice: by position and by keyword'],
    [[], { __proto__x: 1 }, 'math.add(x, y) has no parameter "__proto__x"'],
  ])('refuses %j and %j', (args, kwargs, text) => {
    expect(message(() => add(args, kwargs))).toBe(text);
  });

  test('parameters with a default or a question mark may be left out, also in the middle', () => {
    const byMark = positionalBinder('t', ['a', 'b?', 'c?'], 3);
    expect(byMark([1], {})).toEqual([1]);
    const bound = byMark([1], { c: 3 });
    expect(bound).toEqual([1, undefined, 3]);
    expect(positionalBinder('t', ['a', 'b'], 1)([1], {})).toEqual([1]);
  });

  test('a rest parameter takes any number, and open keywords pass through', () => {
    const echo = positionalBinder('echo', ['...args', '**kwargs'], 0);
    expect(echo([1, 2, 3], {})).toEqual([1, 2, 3]);
    expect(echo([1], { any: true })).toEqual([1]);
  });

  test('without params keywords are refused with the way out', () => {
    const bind = positionalBinder('t', undefined, 2);
    expect(bind([1], {})).toEqual([1]);
    expect(message(() => bind([], { x: 1 }))).toContain('name its parameters');
  });

  test.each([[['x', 'x']], [['1x']], [['...a', 'b']], [['**k', 'a']], [[5 as unknown as string]], ['xy' as unknown as string[]]])(
    'refuses the params %j',
    (params) => {
      expect(() => positionalBinder('t', params, 1)).toThrow(expect.objectContaining({ code: 'E_CONFIG_RANGE' }));
    },
  );
});

describe('bindObject', () => {
  test('takes keywords, or one object by position under the keywords', () => {
    expect(bindObject('t', [], { a: 1 })).toEqual({ a: 1 });
    expect(bindObject('t', [{ a: 1, b: 2 }], {})).toEqual({ a: 1, b: 2 });
    expect(bindObject('t', [{ a: 1, b: 2 }], { b: 3 })).toEqual({ a: 1, b: 3 });
  });

  test.each([
    [[1], 'a number'],
    [[null], 'null'],
    [[[1]], 'an array'],
    [[new Date()], 'a date'],
    [[new Uint8Array()], 'bytes'],
    [[{}, {}], '2 arguments'],
  ])('refuses %j', (args, text) => {
    expect(message(() => bindObject('t', args, {}))).toContain(text);
  });

  test('an own key named __proto__ stays a plain key', () => {
    const arrived = JSON.parse('{"__proto__":{"admin":true}}') as Record<string, unknown>;
    const bound = bindObject('t', [arrived], { a: 1 });
    expect(Object.getPrototypeOf(bound)).toBe(Object.prototype);
    expect((bound as { admin?: unknown }).admin).toBeUndefined();
  });
});
