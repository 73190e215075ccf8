import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { travelling } from '../../../tests/vectors/travelling.js';
import { ArgumentError, codeOf, WireError } from '../../core/errors.js';
import { WireDate, WireDecimal, WireTime, WireUuid } from '../typed-values.js';
import { decodeJson, encodeJson } from './json.js';

describe('encodeJson', () => {
  test('writes what JSON.stringify writes when there is nothing special', () => {
    for (const value of [
      1,
      -1.5,
      'é\u2028"\\',
      true,
      null,
      [],
      {},
      [1, [2, { a: null }]],
      { a: { b: [''] } },
      Object.create(null),
    ]) {
      expect(encodeJson(value)).toBe(JSON.stringify(value));
    }
  });

  test('leaves out undefined members, turns undefined items into null, and undefined itself too', () => {
    expect(encodeJson({ a: undefined, b: [undefined, 1] })).toBe('{"b":[null,1]}');
    expect(encodeJson({ a: undefined, b: [undefined, 1n] })).toBe('{"b":[null,1]}');
    expect(encodeJson(undefined)).toBe('null');
  });

  test.each([
    [
      'a Date',
      new Date('2026-01-01T00:00:00.123Z'),
      '{"__type__":"datetime","__value__":"2026-01-01T00:00:00.123000+00:00"}',
      '"2026-01-01T00:00:00.123000Z"',
    ],
    [
      'a Date without a fraction',
      new Date('2026-01-01T00:00:00Z'),
      '{"__type__":"datetime","__value__":"2026-01-01T00:00:00+00:00"}',
      '"2026-01-01T00:00:00Z"',
    ],
    [
      'a Date before 1970',
      new Date(-1),
      '{"__type__":"datetime","__value__":"1969-12-31T23:59:59.999000+00:00"}',
      '"1969-12-31T23:59:59.999000Z"',
    ],
    ['a Decimal', new WireDecimal('1.10'), '{"__type__":"decimal","__value__":"1.10"}', '"1.10"'],
    [
      'a UUID',
      new WireUuid('12345678-1234-5678-1234-567812345678'),
      '{"__type__":"uuid","__value__":{"hex":"12345678123456781234567812345678"}}',
      '"12345678-1234-5678-1234-567812345678"',
    ],
    ['a date', new WireDate('2024-02-29'), '{"__type__":"date","__value__":"2024-02-29"}', '"2024-02-29T00:00:00"'],
    ['a time', new WireTime('13:05:06'), '{"__type__":"time","__value__":"13:05:06"}', '"13:05:06"'],
    ['an integer beyond 2^53', 2n ** 64n, '18446744073709551616', '18446744073709551616'],
    ['NaN', Number.NaN, 'NaN', 'NaN'],
    ['-Infinity', Number.NEGATIVE_INFINITY, '-Infinity', '-Infinity'],
    ['minus zero', -0, '-0.0', '-0.0'],
    ['a number beyond 2^53', 2 ** 60, '1.152921504606847e+18', '1.152921504606847e+18'],
  ])('writes %s as Celery 5.3 and 5.2 read it', (_what, value, tagged, plain) => {
    expect(encodeJson([value])).toBe(`[${tagged}]`);
    expect(encodeJson([value], { mode: 'plain' })).toBe(`[${plain}]`);
  });

  test('writes bytes as text when they are UTF-8 and as base64 when they are not, and refuses them for Celery 5.2', () => {
    expect(encodeJson(Buffer.from('abc'))).toBe('{"__type__":"bytes","__value__":"abc"}');
    expect(encodeJson(Uint8Array.of(0xff, 0))).toBe('{"__type__":"base64","__value__":"/wA="}');
    expect(() => encodeJson({ a: Uint8Array.of(1) }, { mode: 'plain', path: 'kwargs' })).toThrow(/^kwargs\.a holds bytes/);
  });

  class Row {
    save(): void {}
  }
  const cycle: Record<string, unknown> = { list: [] };
  (cycle.list as unknown[]).push(cycle);
  let deep: unknown = 1;
  for (let level = 0; level < 201; level++) deep = [deep];
  const throwing = {
    get name(): string {
      throw new Error('no');
    },
  };

  test.each([
    ['a function', [{ save: () => 1 }], 'args[0].save is a function: pass the id and load the row inside the task'],
    ['a symbol', [Symbol('x')], 'args[0] is a symbol, which has no form on the wire'],
    [
      'a class instance',
      { 'odd key': [new Row()] },
      'args["odd key"][0] is an instance of Row: pass plain data, or its id and load it inside the task',
    ],
    ['a Map', [new Map()], 'args[0] is a Map: pass Object.fromEntries(map) or an array of its entries'],
    ['a Set', [new Set()], 'args[0] is a Set: pass an array ([...set])'],
    ['a Promise', [Promise.resolve()], 'args[0] is a Promise: await it first'],
    ['an Error', [new Error('x')], 'args[0] is an Error: pass its message, or plain data that describes it'],
    ['other binary data', [new Float32Array(1)], 'args[0] is binary data of another kind: pass a Uint8Array'],
    ['a boxed string', [Object('x')], 'args[0] is an instance of String: pass plain data, or its id and load it inside the task'],
    ['a cycle', [cycle], 'args[0].list[0] contains itself (a cycle): pass plain data without back references'],
    ['too many levels', deep, /levels deep$/],
    ['an invalid Date', [new Date(Number.NaN)], 'args[0] is an invalid Date'],
    [
      'a Date that Python cannot hold',
      [new Date(8.64e15)],
      'args[0] is a Date outside the years 1 to 9999, which Python cannot hold',
    ],
    [
      'a typed value that Python would misread',
      [{ __type__: 'x', __value__: 1 }],
      /^args\[0\] has exactly the keys __type__ and __value__/,
    ],
    [
      'the same with a member that is left out',
      [{ __type__: 'x', __value__: 1, a: undefined }],
      /^args\[0\] has exactly the keys/,
    ],
    [
      'a key that could change prototypes',
      [JSON.parse('{"__proto__":1}')],
      'args[0].__proto__ is a key that could change prototypes; no reader takes it',
    ],
    [
      'an integer that Python refuses to read',
      [10n ** 4300n],
      'args[0] is an integer of more than 4300 digits, which Python refuses to read',
    ],
    ['a getter that throws', [throwing], 'args cannot be read: a getter or proxy in it threw'],
  ])('refuses %s and says where', (_what, value, message) => {
    const attempt = (): string => encodeJson(value, { path: 'args' });
    expect(attempt).toThrow(ArgumentError);
    expect(attempt).toThrow(expect.objectContaining({ code: 'E_NOT_SERIALISABLE' }));
    expect(attempt).toThrow(message as string);
  });

  test('does not call toJSON and does not take a third key for a typed value', () => {
    expect(() => encodeJson({ toJSON: () => 1 })).toThrow('value.toJSON is a function');
    expect(encodeJson({ __type__: 'x', __value__: 1, more: 2 })).toBe('{"__type__":"x","__value__":1,"more":2}');
    expect(encodeJson('"__type__"')).toBe('"\\"__type__\\""');
  });

  test('the same object twice is no cycle', () => {
    const twice = { at: new Date(0) };
    expect(encodeJson([twice, twice])).toContain('},{');
  });
});

describe('decodeJson', () => {
  test.each([
    ['9007199254740993', 9007199254740993n],
    ['[1,-9007199254740993]', [1, -9007199254740993n]],
    ['{"a":12345678901234567890}', { a: 12345678901234567890n }],
    ['9007199254740991', 9007199254740991],
    ['[NaN,Infinity,-Infinity]', [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]],
    ['[ NaN , "NaN" , -0 , 1E5 , 0.25e-3 ] ', [Number.NaN, 'NaN', -0, 1e5, 0.25e-3]],
    ['{"__type__":"datetime","__value__":"2024-02-29T13:05:06.000789"}', new Date('2024-02-29T13:05:06Z')],
    ['{"__value__":"2024-02-29T13:05:06.123456+02:00","__type__":"datetime"}', new Date('2024-02-29T11:05:06.123Z')],
    [
      '{"__type__":"uuid","__value__":{"hex":"12345678123456781234567812345678"}}',
      new WireUuid('12345678123456781234567812345678'),
    ],
    ['{"__type__":"decimal","__value__":"1.10"}', new WireDecimal('1.10')],
    ['{"__type__":"bytes","__value__":"é"}', Uint8Array.of(0xc3, 0xa9)],
    ['{"__type__":"base64","__value__":"/wA="}', Uint8Array.of(0xff, 0)],
    ['{"__type__":"unknown","__value__":1}', { __type__: 'unknown', __value__: 1 }],
    ['{"__type__":"datetime","__value__":"yesterday"}', { __type__: 'datetime', __value__: 'yesterday' }],
    ['{"__type__":"date","__value__":"2024-02-29","more":1}', { __type__: 'date', __value__: '2024-02-29', more: 1 }],
    ['{"__typ\\u0065__":"date","__value__":"2024-02-29"}', new WireDate('2024-02-29')],
    ['{"constructor":{"prototype":1},"n":NaN}', { constructor: { prototype: 1 }, n: Number.NaN }],
  ])('reads %s', (text, value) => {
    expect(decodeJson(text)).toEqual(value);
  });

  test('leaves typed values alone when asked to', () => {
    const text = '{"__type__":"date","__value__":"2024-02-29"}';
    expect(decodeJson(text, { typed: false })).toEqual(JSON.parse(text));
  });

  test.each(['{"__proto__":{"polluted":1}}', '[{"\\u005f_proto__":1}]', '[NaN,{"a":{"__proto__":1}}]'])(
    'refuses the key __proto__ in %s',
    (text) => {
      expect(() => decodeJson(text)).toThrow(expect.objectContaining({ code: 'E_DECODE' }));
      expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    },
  );

  test.each([
    '',
    ' ',
    '[',
    '{',
    '[1,]',
    '{"a":1,}',
    '{a:1}',
    "['a']",
    '01',
    '1.',
    '.5',
    '+1',
    '--1',
    '-NaN',
    'nan',
    'NaNN',
    '[NaN',
    '[NaN 1]',
    '"NaN',
    '"NaN\n"',
    '"__\\x"',
    '{"__a"1}',
    '{"NaN":}',
    '\ufeff1',
    '1 2',
    'undefined',
  ])('refuses %j', (text) => {
    expect(() => decodeJson(text)).toThrow(WireError);
    expect(() => decodeJson(`[NaN,${text}`)).toThrow(WireError);
  });

  test('refuses deep nesting before it costs anything, but not brackets inside strings', () => {
    const nested = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;
    expect(decodeJson(nested(200))).toHaveLength(1);
    expect(() => decodeJson(nested(201))).toThrow('nested more than 200 levels deep');
    expect(() => decodeJson(`[NaN,${nested(200)}]`)).toThrow('nested more than 200 levels deep');
    expect(() => decodeJson('['.repeat(10_000_000))).toThrow(WireError);
    expect(() => decodeJson('{"a":'.repeat(1_000_000))).toThrow(WireError);
    const brackets = JSON.stringify([`${'['.repeat(1000)}\\"`, '{'.repeat(1000)]);
    expect(decodeJson(brackets)).toEqual(JSON.parse(brackets));
    expect(() => decodeJson('[[[1]]]', { maxDepth: 2 })).toThrow('nested more than 2 levels deep');
  });

  test('refuses an integer of more digits than Python reads', () => {
    expect(decodeJson(`1${'0'.repeat(4299)}`)).toBe(10n ** 4299n);
    expect(() => decodeJson(`1${'0'.repeat(4300)}`)).toThrow('more than 4300 digits');
    expect(() => decodeJson(`[${'9'.repeat(5_000_000)}]`)).toThrow(WireError);
  });
});

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
