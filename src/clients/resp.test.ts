import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeCommand, type RedisArg, RespWriter } from './resp.js';

/** The plain way to write a command. */
function reference(parts: readonly RedisArg[]): Buffer {
  const bytes = parts.flatMap((part) => {
    const body = Buffer.from(part as string);
    return [Buffer.from(`$${body.length}\r\n`), body, Buffer.from('\r\n')];
  });
  return Buffer.concat([Buffer.from(`*${parts.length}\r\n`), ...bytes]);
}

const argument = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
);

describe('encodeCommand', () => {
  test('writes any arguments as the plain way does', () => {
    fc.assert(
      fc.property(fc.array(argument, { maxLength: 20 }), (args) => {
        expect(encodeCommand('lpush', args).equals(reference(['lpush', ...args]))).toBe(true);
      }),
    );
  });

  test.each([3, 4, 33, 34, 333, 334, 3_333, 3_334])(
    'gets the length right where %i characters of three bytes change its digits',
    (count) => {
      const text = '€'.repeat(count);
      expect(encodeCommand('set', ['k', text]).equals(reference(['set', 'k', text]))).toBe(true);
    },
  );

  test('does not touch the bytes of earlier commands, however many follow', () => {
    const first = encodeCommand('set', ['a', 'x'.repeat(1_000)]);
    const before = Buffer.from(first);
    for (let round = 0; round < 2_000; round += 1) encodeCommand('set', ['b', 'é'.repeat(500)]);
    expect(first.equals(before)).toBe(true);
  });

  test.each([10, 300, 2_000, 20_000])(
    'uses memory in slabs of the same size, however many commands of %i bytes it writes',
    (bytes) => {
      const sizes = new Set<number>();
      for (let round = 0; round < 3_000; round += 1) sizes.add(encodeCommand('set', ['k', 'x'.repeat(bytes)]).buffer.byteLength);
      expect([...sizes].filter((size) => size > 256 * 1_024)).toEqual([]);
    },
  );

  test('writes an argument of megabytes', () => {
    const text = 'ü'.repeat(3_000_000);
    expect(encodeCommand('set', ['k', text]).length).toBe(reference(['set', 'k', text]).length);
  });
});

describe('RespWriter', () => {
  test('keeps what it has when it grows', () => {
    const writer = new RespWriter(16);
    for (let index = 0; index < 200; index += 1) writer.argument(`value ${index} ß`);
    const expected = Array.from({ length: 200 }, (_, index) => `value ${index} ß`);
    expect(writer.since(0).toString()).toBe(reference(expected).toString().slice('*200\r\n'.length));
  });
});
