import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LovageError, WireError } from '../../core/errors.js';
import type { EncodedBody, WireMessage } from '../message.js';
import { WireDate } from '../typed-values.js';
import { compressBody, decodeBody, encodeWith } from './registry.js';

const ALL = ['json', 'msgpack', 'yaml'] as const;

function message(data: string | Uint8Array, more: Partial<WireMessage> = {}): WireMessage {
  const body: EncodedBody = typeof data === 'string' ? { encoding: 'utf8', data } : { encoding: 'binary', data };
  return { contentType: 'application/json', contentEncoding: 'utf-8', headers: {}, properties: {}, body, ...more };
}

const compressed = (data: Uint8Array, compression: unknown = 'application/x-gzip'): WireMessage =>
  message(data, { headers: { compression } });

describe('what is accepted', () => {
  test.each([
    ['application/x-python-serialize', 'is pickle, which is never read'],
    ['application/x-yaml', 'is yaml, which is not turned on here'],
    ['application/x-msgpack', 'is msgpack, which is not turned on here'],
    ['application/data', 'is not one that can be read'],
    ['application/text', 'is not one that can be read'],
    ['text/plain', 'is not one that can be read'],
    ['', 'is missing'],
  ])('refuses the content type %j by default', (contentType, why) => {
    expect(() => decodeBody(message('1', { contentType }))).toThrow(expect.objectContaining({ code: 'E_CONTENT_REFUSED' }));
    expect(() => decodeBody(message('1', { contentType }))).toThrow(why);
  });

  test('never accepts pickle', () => {
    const pickle = message(Buffer.from('gAQu', 'base64'), {
      contentType: 'application/x-python-serialize',
      contentEncoding: 'binary',
    });
    expect(() => decodeBody(pickle, { accept: ALL })).toThrow('pickle, which is never read');
    expect(() => decodeBody(pickle, { accept: ['pickle' as 'json'] })).toThrow(WireError);
  });

  test('json can be turned off', () => {
    expect(() => decodeBody(message('1'), { accept: ['yaml'] })).toThrow('(accepted: yaml)');
  });

  test('reads text under the names that Python has for UTF-8 and refuses other encodings', () => {
    for (const contentEncoding of ['utf-8', 'utf8', 'us-ascii', 'binary', ''])
      expect(decodeBody(message('[1]', { contentEncoding }))).toEqual([1]);
    expect(() => decodeBody(message('[1]', { contentEncoding: 'utf-16' }))).toThrow('content encoding "utf-16" is not utf-8');
    expect(() => decodeBody(message(Uint8Array.of(0x22, 0xff, 0x22)))).toThrow('the bytes are not UTF-8');
  });

  test('reads base64 bodies', () => {
    expect(decodeBody(message('', { body: { encoding: 'base64', data: Buffer.from('["é"]').toString('base64') } }))).toEqual([
      'é',
    ]);
  });
});

describe('bounds', () => {
  const body = JSON.stringify('x'.repeat(1000));

  test('refuses a body over the limit before it is parsed, however it is encoded', () => {
    const tooLarge = expect.objectContaining({ code: 'E_MESSAGE_TOO_LARGE' });
    const forms: EncodedBody[] = [
      { encoding: 'utf8', data: `${body}` },
      { encoding: 'utf8', data: JSON.stringify('é'.repeat(500)) },
      { encoding: 'binary', data: Buffer.from(body) },
      { encoding: 'base64', data: Buffer.from(body).toString('base64') },
    ];
    for (const form of forms) {
      expect(() => decodeBody(message('', { body: form }), { maxBytes: 990 })).toThrow(tooLarge);
      expect(decodeBody(message('', { body: form }), { maxBytes: 1002 })).toHaveLength(
        form.data.length === 502 ? 500 : form === forms[1] ? 500 : 1000,
      );
    }
    expect(() => decodeBody(message(`"${'x'.repeat(50_000_000)}"`))).toThrow(tooLarge);
  });

  test('a small body that inflates beyond the limit is refused without inflating it', () => {
    const bomb = deflateSync(Buffer.alloc(50_000_000, 0x20));
    expect(bomb.length).toBeLessThan(60_000);
    expect(() => decodeBody(compressed(bomb))).toThrow(expect.objectContaining({ code: 'E_COMPRESSION' }));
    expect(() => decodeBody(compressed(bomb))).toThrow('grows beyond 16777216 bytes');
    expect(() => decodeBody(compressed(brotliCompressSync(Buffer.alloc(50_000_000)), 'application/x-brotli'))).toThrow(
      'grows beyond',
    );
  });

  test('yaml aliases cannot multiply', () => {
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      ...'bcdefgh'.split('').map((key, i) => `${key}: &${key} [${Array(9).fill(`*${'abcdefg'[i]}`).join(',')}]`),
    ].join('\n');
    expect(() => decodeBody(message(bomb, { contentType: 'application/x-yaml' }), { accept: ALL })).toThrow(WireError);
  });
});

describe('compression', () => {
  test('reads zlib streams, as Celery writes them, and gzip and brotli too', () => {
    for (const [data, name] of [
      [deflateSync('[1]'), 'application/x-gzip'],
      [gzipSync('[1]'), 'application/x-gzip'],
      [brotliCompressSync('[1]'), 'application/x-brotli'],
    ] as const) {
      expect(decodeBody(compressed(data, name))).toEqual([1]);
    }
    const body = compressBody({ encoding: 'utf8', data: '[1]' });
    expect((body.data as Uint8Array)[0]).toBe(0x78);
    expect(decodeBody({ ...compressed(new Uint8Array()), body })).toEqual([1]);
  });

  test.each([
    ['an unknown name', 'application/x-bz2', deflateSync('[1]'), 'compression "application/x-bz2" is unknown here'],
    ['no name at all', { a: 1 }, deflateSync('[1]'), 'is unknown here'],
    ['garbage', 'application/x-gzip', Buffer.from('garbage'), 'the compressed body is corrupt'],
    [
      'a stream that ends early',
      'application/x-gzip',
      deflateSync('x'.repeat(1000)).subarray(0, 10),
      'the compressed body is corrupt',
    ],
  ])('refuses %s', (_what, compression, data, why) => {
    expect(() => decodeBody(compressed(data, compression))).toThrow(expect.objectContaining({ code: 'E_COMPRESSION' }));
    expect(() => decodeBody(compressed(data, compression))).toThrow(why);
  });
});

describe('msgpack and yaml', () => {
  const value = { list: [1, -1, 2 ** 40, 1.5, 'é', true, null, 'yes', '0x1f', '1e3', ''], big: 2n ** 63n, nested: { a: {} } };
  const read = (serializer: 'msgpack' | 'yaml', body: EncodedBody, depth = 200): unknown =>
    decodeBody(
      message('', {
        body,
        contentType: `application/x-${serializer}`,
        contentEncoding: serializer === 'msgpack' ? 'binary' : 'utf-8',
      }),
      {
        accept: ALL,
        maxDepth: depth,
      },
    );

  test.each(['msgpack', 'yaml'] as const)('%s carries JSON values, integers of 64 bits and bytes', (serializer) => {
    expect(read(serializer, encodeWith(serializer, value, 'args', 'tagged'))).toEqual(value);
    expect(read(serializer, encodeWith(serializer, [Uint8Array.of(0, 255)], 'args', 'tagged'))).toEqual([Uint8Array.of(0, 255)]);
  });

  test('dates and typed values become text, and what cannot travel is refused with its path', () => {
    expect(read('msgpack', encodeWith('msgpack', [new Date(0), new WireDate('2024-02-29')], 'args', 'tagged'))).toEqual([
      '1970-01-01T00:00:00+00:00',
      '2024-02-29',
    ]);
    expect(() => encodeWith('yaml', [() => 1], 'args', 'tagged')).toThrow('args[0] is a function');
    expect(() => encodeWith('msgpack', [2n ** 64n], 'args', 'tagged')).toThrow('does not fit in 64 bits');
  });

  test.each([
    ['yaml', 'a: [1'],
    ['yaml', '__proto__: {a: 1}'],
    ['yaml', '? [1, 2]\n: 3'],
    ['msgpack', Buffer.from([0xc1])],
    ['msgpack', Buffer.from([0x92, 0x01])],
    ['msgpack', Buffer.from([0x81, 0xa9, ...Buffer.from('__proto__'), 0x80])],
  ] as const)('%s that is none, or harmful, gives a WireError: %j', (serializer, data) => {
    const body: EncodedBody = typeof data === 'string' ? { encoding: 'utf8', data } : { encoding: 'binary', data };
    expect(() => read(serializer, body)).toThrow(WireError);
  });

  test('numbers as keys become text, as in JSON', () => {
    expect(read('yaml', { encoding: 'utf8', data: '{1: {2.5: x}}' })).toEqual({ 1: { 2.5: 'x' } });
  });

  test('refuses deep nesting', () => {
    expect(() => read('msgpack', { encoding: 'binary', data: Buffer.concat([Buffer.alloc(300, 0x91), Buffer.of(1)]) })).toThrow(
      WireError,
    );
    expect(() =>
      read('msgpack', { encoding: 'binary', data: Buffer.concat([Buffer.alloc(100_000, 0x91), Buffer.of(1)]) }),
    ).toThrow(WireError);
    expect(() => read('yaml', { encoding: 'utf8', data: `${'['.repeat(300)}${']'.repeat(300)}` })).toThrow(WireError);
  });

  test('any bytes give a value or an error with a code', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.constantFrom(...ALL), (data, name) => {
        try {
          decodeBody(message(data, { contentType: name === 'json' ? 'application/json' : `application/x-${name}` }), {
            accept: ALL,
          });
        } catch (error) {
          expect(error).toBeInstanceOf(LovageError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
