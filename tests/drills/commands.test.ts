/** How commands are counted on their way to a server: each once, whatever the pieces in which its bytes come. */
import { expect, test } from 'vitest';
import { type CommandReader, readAmqp, readResp } from '../../drills/harness/commands.js';

const resp = (...words: readonly string[]): string =>
  `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;

/** A frame with a payload of so many bytes after its first ones. */
function frame(type: number, first: readonly number[], more = 0): Buffer {
  const payload = Buffer.concat([Buffer.from(first), Buffer.alloc(more, 0x01)]);
  const head = Buffer.alloc(7);
  head.writeUInt8(type, 0);
  head.writeUInt16BE(1, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([0xce])]);
}

/** The names that a reader tells when it is given the bytes in pieces of this size. */
function told(read: (onCommand: (name: string) => void) => CommandReader, bytes: Buffer, size: number): string[] {
  const names: string[] = [];
  const reader = read((name) => names.push(name));
  for (let at = 0; at < bytes.length; at += size) reader(bytes.subarray(at, at + size));
  return names;
}

const SIZES = [1, 2, 3, 7, 64, 100_000];

test.each(SIZES)('commands of Redis are told by their names, in pieces of %d bytes', (size) => {
  const long = '*3\r\n$3\r\nSET\r\n'.repeat(1_000);
  const bytes = Buffer.from(resp('PING') + resp('SET', 'a\r\n*1\r\n$4\r\n', long) + resp('GET', '') + resp('evalsha', 'x', '0'));
  expect(told(readResp, bytes, size)).toEqual(['ping', 'set', 'get', 'evalsha']);
});

test('what is no command of Redis is an error, not nothing', () => {
  expect(() => told(readResp, Buffer.from('GET / HTTP/1.1\r\n'), 100)).toThrow('no command of Redis');
  expect(() => told(readResp, Buffer.from('$3\r\nGET\r\n'), 100)).toThrow('no command of Redis');
});

test.each(SIZES)('commands of RabbitMQ are its method frames, in pieces of %d bytes; contents are none', (size) => {
  const publish = [frame(1, [0, 60, 0, 40], 30), frame(2, [0, 60], 200), frame(3, [], 70_000)];
  const bytes = Buffer.concat([
    Buffer.from('AMQP\0\0\x09\x01', 'latin1'),
    ...[frame(1, [0, 10, 0, 11], 90), frame(8, []), ...publish, frame(1, [0, 60, 0, 80], 9), frame(8, [])],
  ]);
  expect(told(readAmqp, bytes, size)).toEqual(['10.11', 'heartbeat', '60.40', '60.80', 'heartbeat']);
});
