import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeException,
  encodeException,
  exceptionRepr,
  MAX_EXCEPTION_JSON,
  MAX_TRACEBACK,
  pythonError,
} from './exception-info.js';

const parsed = (json: string): unknown => JSON.parse(json);

describe('encodeException', () => {
  test('an error becomes its name, its message and its stack', () => {
    const encoded = encodeException(new RangeError('too far'));
    expect(parsed(encoded.json)).toEqual({ exc_type: 'RangeError', exc_message: ['too far'], exc_module: null });
    expect(encoded).toMatchObject({ type: 'RangeError', message: 'too far' });
    expect(encoded.traceback).toMatch(/^RangeError: too far\n\s+at .*exception-info\.test/);
  });

  test('only names of Python built-in exceptions say that they are built in', () => {
    const error = new Error('boom');
    error.name = 'ValueError';
    expect(parsed(encodeException(error).json)).toEqual({
      exc_type: 'ValueError',
      exc_message: ['boom'],
      exc_module: 'builtins',
    });
    error.name = 'print';
    expect(parsed(encodeException(error).json)).toMatchObject({ exc_type: 'print', exc_module: null });
  });

  test('a subclass without a name of its own goes by its class; odd names are cleaned', () => {
    class PaymentRefused extends Error {}
    expect(encodeException(new PaymentRefused('x')).type).toBe('PaymentRefused');
    expect(encodeException(Object.assign(new Error('x'), { name: '1. My/Error\n' })).type).toBe('MyError');
    expect(encodeException(Object.assign(new Error('x'), { name: 'Outer.Inner' })).type).toBe('Outer.Inner');
  });

  test('causes and aggregated errors are in the traceback, a chain of causes ends', () => {
    const cause = new TypeError('inner');
    const outer = new AggregateError([new Error('first'), 'second'], 'outer', { cause });
    Object.assign(cause, { cause: outer });
    const { traceback } = encodeException(outer);
    expect(traceback).toContain('AggregateError: outer');
    expect(traceback).toContain('One of the errors: Error: first');
    expect(traceback).toContain('One of the errors: Error: second');
    expect(traceback).toContain('Caused by: TypeError: inner');
    let long = new Error('end');
    for (let i = 0; i < 100; i++) long = new Error(`level ${i}`, { cause: long });
    expect(encodeException(long).traceback.split('Caused by').length).toBe(9);
  });

  const bomb = (): never => {
    throw new Error('trap');
  };
  const hostile = new Proxy(new Error('x'), {
    get: bomb,
    has: bomb,
    ownKeys: bomb,
    getPrototypeOf: bomb,
    getOwnPropertyDescriptor: bomb,
  });
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;

  test.each([
    ['a string', 'plain text', 'Error', 'plain text'],
    ['undefined', undefined, 'Error', 'undefined'],
    ['null', null, 'Error', 'null'],
    ['a number', 42, 'Error', '42'],
    ['a symbol', Symbol('s'), 'Error', 'Symbol(s)'],
    ['a plain object', { code: 7 }, 'Error', '{"code":7}'],
    ['an object with a message', { message: 'hello', name: 'Custom' }, 'Custom', 'hello'],
    ['an array', [1, 2], 'Error', '[1,2]'],
    ['a cycle', cycle, 'Error', '[object Object]'],
    ['a function', function named() {}, 'Error', 'function named() {}'],
    ['an object without a prototype', Object.create(null), 'Error', '{}'],
    ['a proxy that throws at every touch', hostile, 'Error', 'a thrown value that cannot be shown'],
    ['a revoked proxy', revoked.proxy, 'Error', 'a thrown value that cannot be shown'],
    ['a getter that throws', Object.defineProperty(new Error('ok'), 'stack', { get: bomb }), 'Error', 'ok'],
    ['toString that throws', { toString: bomb }, 'Error', 'a thrown value that cannot be shown'],
    ['toString that gives no text', { toString: () => ({}) }, 'Error', 'a thrown value that cannot be shown'],
  ])('%s can be thrown and stored', (_what, thrown, type, message) => {
    const encoded = encodeException(thrown);
    expect(encoded).toMatchObject({ type, message });
    expect(parsed(encoded.json)).toEqual({ exc_type: type, exc_message: [message], exc_module: null });
    expect(encoded.traceback).not.toBe('');
  });

  test('50 MB of message and stack stay within 64 KiB each, and both ends of a stack are kept', () => {
    const error = new Error('m'.repeat(50_000_000));
    error.stack = `Error: ${error.message}\n    at last (file.js:1:1)`;
    const encoded = encodeException(error);
    expect(encoded.json.length).toBeLessThanOrEqual(MAX_EXCEPTION_JSON);
    expect(encoded.traceback.length).toBeLessThanOrEqual(MAX_TRACEBACK);
    expect(encoded.traceback).toMatch(/^Error: mmm/);
    expect(encoded.traceback).toMatch(/at last \(file\.js:1:1\)$/);
    // six bytes each once they are escaped
    const escapes = encodeException(new Error('\u0001'.repeat(1_000_000)));
    expect(Buffer.byteLength(escapes.json)).toBeLessThanOrEqual(MAX_EXCEPTION_JSON);
    expect(decodeException(parsed(escapes.json)).message.startsWith('\u0001'.repeat(6000))).toBe(true);
    const many = new AggregateError(
      Array.from({ length: 1000 }, () => new Error('x'.repeat(20_000))),
      'many',
    );
    expect(Buffer.byteLength(encodeException(many).traceback)).toBeLessThanOrEqual(MAX_TRACEBACK);
    const wide = encodeException(new Error('€𝄞'.repeat(1_000_000), { cause: new Error('€'.repeat(100_000)) }));
    expect(Buffer.byteLength(wide.json)).toBeLessThanOrEqual(MAX_EXCEPTION_JSON);
    expect(Buffer.byteLength(wide.traceback)).toBeLessThanOrEqual(MAX_TRACEBACK);
  });

  test('anything can be thrown', () => {
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true, withSparseArray: true }),
        (thrown) => {
          const encoded = encodeException(thrown);
          expect(parsed(encoded.json)).toMatchObject({ exc_type: encoded.type });
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('pythonError', () => {
  test('errors that Celery knows carry its modules', () => {
    expect(pythonError('NotRegistered', ['a.b'])).toBe(
      '{"exc_type":"NotRegistered","exc_message":["a.b"],"exc_module":"celery.exceptions"}',
    );
    expect(pythonError('TimeLimitExceeded', [30])).toBe(
      '{"exc_type":"TimeLimitExceeded","exc_message":[30],"exc_module":"billiard.exceptions"}',
    );
    expect(pythonError('Mine', [], null)).toBe('{"exc_type":"Mine","exc_message":[],"exc_module":null}');
  });

  test('arguments that cannot travel become text, and many or large ones are cut', () => {
    expect(parsed(pythonError('ValueError', [() => 1, new Map()], null))).toMatchObject({
      exc_message: ['() => 1', '[object Map]'],
    });
    const large = pythonError(
      'ValueError',
      Array.from({ length: 100 }, () => 'x'.repeat(100_000)),
      null,
    );
    expect(large.length).toBeLessThanOrEqual(MAX_EXCEPTION_JSON);
    expect((parsed(large) as { exc_message: unknown[] }).exc_message).toHaveLength(32);
  });
});

describe('decodeException', () => {
  test.each([
    [
      { exc_type: 'ValueError', exc_message: ['boom'], exc_module: 'builtins' },
      { type: 'ValueError', message: 'boom', module: 'builtins' },
    ],
    [
      { exc_type: 'KeyError', exc_message: ['a', 1, null, { b: 2 }] },
      { type: 'KeyError', message: 'a, 1, , {"b":2}', module: null },
    ],
    [
      { exc_type: 'Old', exc_message: 'a plain text' },
      { type: 'Old', message: 'a plain text', module: null },
    ],
    [{ exc_type: 7 }, { type: 'Error', message: '{"exc_type":7}', module: null }],
    ['text', { type: 'Error', message: 'text', module: null }],
    [null, { type: 'Error', message: '', module: null }],
    [[1], { type: 'Error', message: '[1]', module: null }],
  ])('reads %j', (result, expected) => {
    expect(decodeException(result)).toEqual(expected);
  });

  test('what was encoded is read', () => {
    const error = new Error('first\nsecond "quoted" é');
    expect(decodeException(parsed(encodeException(error).json))).toEqual({ type: 'Error', message: error.message, module: null });
  });
});

describe('exceptionRepr', () => {
  test.each([
    [{ exc_type: 'ValueError', exc_message: ['boom ☃'], exc_module: 'builtins' }, "ValueError('boom ☃')"],
    [{ exc_type: 'KeyError', exc_message: ['a', 1, null] }, "KeyError('a', 1, None)"],
    [{ exc_type: 'Old', exc_message: "it's plain" }, `Old("it's plain")`],
    [{ exc_type: 'Empty', exc_message: [] }, 'Empty()'],
    [{ exc_type: 'Bare' }, 'Bare()'],
    [null, 'None'],
    ['text', 'Error()'],
  ])('%j as Python shows it', (result, expected) => {
    expect(exceptionRepr(result)).toBe(expected);
  });

  test('is cut, however much there is', () => {
    const shown = exceptionRepr({ exc_type: 'E', exc_message: ['x'.repeat(1_000_000), 'y'] });
    expect(shown).toHaveLength(1_024);
    expect(shown.endsWith('...')).toBe(true);
  });
});
