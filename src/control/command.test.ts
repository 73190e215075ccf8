import { describe, expect, test } from 'vitest';
import { CELERY_COMMANDS } from '../wire/control-message.js';
import { CommandError, type ControlCommand, checkArguments, errorText, isTruthy, numberOf, textsOf } from './command.js';
import { COMMANDS } from './commands/table.js';

const command = (parameters: readonly string[], open = false): ControlCommand => ({
  name: 'f',
  parameters,
  open,
  run: () => null,
});
const refusal = (parameters: readonly string[], args: Readonly<Record<string, unknown>>, open = false): string | null => {
  try {
    checkArguments(command(parameters, open), args);
    return null;
  } catch (error) {
    return errorText(error);
  }
};

describe('the table of commands', () => {
  test("has all of Celery's, by all their names, and those of ours say so in theirs", () => {
    const names = [...COMMANDS.keys()].filter((name) => CELERY_COMMANDS.has(name));
    expect(new Set(names)).toEqual(CELERY_COMMANDS);
  });
});

describe('arguments', () => {
  test('are checked as Python checks a call', () => {
    expect(refusal(['a', 'b?'], { a: 1, b: 2 })).toBeNull();
    expect(refusal(['a', 'b?'], { a: null })).toBeNull();
    expect(refusal([], { a: 1 })).toBe(`TypeError("f() got an unexpected keyword argument 'a'")`);
    expect(refusal(['a'], {})).toBe(`TypeError("f() missing 1 required positional argument: 'a'")`);
    expect(refusal(['a', 'b'], {})).toBe(`TypeError("f() missing 2 required positional arguments: 'a' and 'b'")`);
    expect(refusal(['a', 'b', 'c'], {})).toBe(`TypeError("f() missing 3 required positional arguments: 'a', 'b', and 'c'")`);
  });

  test('that a command does not know are passed over where Python would', () => {
    expect(refusal(['a'], { a: 1, other: 2 }, true)).toBeNull();
  });

  test('may be one text or a list', () => {
    expect(textsOf('one')).toEqual(['one']);
    expect(textsOf(['one', 2, 'two'])).toEqual(['one', 'two']);
    expect(textsOf(null)).toEqual([]);
  });

  test('are true where Python would take them for true', () => {
    expect([true, 1, 0.5, 'false', [0], { a: 0 }, 2n].filter((value) => !isTruthy(value))).toEqual([]);
    expect([false, 0, null, undefined, '', [], {}, 0n].filter(isTruthy)).toEqual([]);
  });

  test.each([
    [3, 3],
    ['4', 4],
  ])('%j is a number', (given, expected) => {
    expect(numberOf(given, 'n', 1, 10)).toBe(expected);
  });

  test.each([[0], [11], [1.5], ['x'], [''], [null], [true]])('%j is no number from 1 to 10', (given) => {
    expect(() => numberOf(given, 'n', 1, 10)).toThrow(CommandError);
  });
});

describe('an error', () => {
  test("is shown as Python's repr of it, and is bounded", () => {
    expect(errorText(new CommandError('KeyError', 'nope'))).toBe("KeyError('nope')");
    expect(errorText(new RangeError("it's"))).toBe(`RangeError("it's")`);
    expect(errorText('thrown text')).toBe("Error('thrown text')");
    expect(errorText(new Error('x'.repeat(100_000))).length).toBeLessThan(5_000);
  });
});
