import { describe, expect, test } from 'vitest';
import { ArgumentError } from '../../core/errors.js';
import { WireDate, WireDecimal, WireTime, WireUuid } from '../typed-values.js';
import { decodeJson } from './json-decode.js';
import { encodeJson } from './json-encode.js';

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

  test('the deepest value that is written can be read as an argument of the next task, and of the one after it', () => {
    let value: unknown = 'x';
    for (let level = 0; level < 190; level++) value = [value];
    expect(decodeJson(`[[${encodeJson(value)}],{},null]`)).toHaveLength(3);
    expect(() => encodeJson([value])).toThrow('is nested more than 190 levels deep');
  });

  test('does not call toJSON and does not take a third key for a typed value', () => {
    expect(() => encodeJson({ toJSON: () => 1 })).toThrow('value.toJSON is a function');
    expect(encodeJson(Object.defineProperty({ a: 1 }, 'toJSON', { value: () => 1 }))).toBe('{"a":1}');
    expect(encodeJson(Object.assign([1], { toJSON: () => 5 }))).toBe('[1]');
    expect(encodeJson({ __type__: 'x', __value__: 1, more: 2 })).toBe('{"__type__":"x","__value__":1,"more":2}');
    expect(encodeJson('"__type__"')).toBe('"\\"__type__\\""');
  });

  test('the same object twice is no cycle', () => {
    const twice = { at: new Date(0) };
    expect(encodeJson([twice, twice])).toContain('},{');
  });
});
