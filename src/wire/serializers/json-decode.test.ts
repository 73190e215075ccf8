import { describe, expect, test } from 'vitest';
import { WireError } from '../../core/errors.js';
import { WireDate, WireDecimal, WireUuid } from '../typed-values.js';
import { decodeJson } from './json-decode.js';

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

  test('reads the same in a long text as in a short one', () => {
    const filler = JSON.stringify(Array.from({ length: 100 }, (_, i) => ({ text: `"${i}\\`, number: i / 7 })));
    for (const text of [
      '9007199254740993',
      '-9007199254740993',
      '0.1234567890123456789',
      '12345678901234567.5',
      '1e400',
      'NaN',
      '"9007199254740993"',
    ]) {
      const [short] = decodeJson(`[${text}]`) as unknown[];
      const [long, rest] = decodeJson(`[ ${text} ,${filler}]`) as unknown[];
      expect(long).toEqual(short);
      expect(rest).toEqual(JSON.parse(filler));
    }
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
